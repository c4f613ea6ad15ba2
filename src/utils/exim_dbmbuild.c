/* SPDX-License-Identifier: GPL-2.0-or-later */
/* exim_dbmbuild [options] input output: make a DBM file from the lines of an lsearch file.  Floor: main.  Manual ch. 54.9.
 *
 * The file is written under a temporary name, synced, and renamed: readers see the old one or the new one.  Status 0 when all went well,
 * 1 after duplicate keys (unless -noduperr), 2 when no new file was made. */
#include <errno.h>
#include <fcntl.h>
#include <gdbm.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/strbuf.h"
#include "formats/lsearch_line.h"
#include "os/sys.h"

enum { EXIT_DUPLICATES = 1, EXIT_NO_FILE = 2, INPUT_MAX = 1 << 30 };

struct build {
  struct arena *a;
  GDBM_FILE db;
  bool lower, warn, duplicates_count, last_wins, with_zero;
  int entries, duplicates;
};

static int usage(void) {
  fprintf(stderr, "usage: exim_dbmbuild [-lastdup] [-noduperr] [-nolc] [-nowarn] [-nozero] <source file> <dbm file>\n");
  return EXIT_NO_FILE;
}

static bool set_option(struct build *b, const char *arg) {
  if (strcmp(arg, "-nolc") == 0) b->lower = false;
  else if (strcmp(arg, "-nowarn") == 0) b->warn = false;
  else if (strcmp(arg, "-lastdup") == 0) b->last_wins = true;
  else if (strcmp(arg, "-noduperr") == 0) b->duplicates_count = false;
  else if (strcmp(arg, "-nozero") == 0) b->with_zero = false;
  else return false;
  return true;
}

static datum datum_of(const struct build *b, struct str s) {
  return (datum){.dptr = arena_strndup(b->a, s.p, s.n), .dsize = (int)(s.n + b->with_zero)};
}

/* One item; false when the database could not take it. */
static bool store(struct build *b, struct str key, const char *data) {
  datum k = datum_of(b, key), d = datum_of(b, str_c(data));
  int rc = gdbm_store(b->db, k, d, GDBM_INSERT);
  if (rc == 0) {
    b->entries++;
    return true;
  }
  if (rc < 0) return false;
  b->duplicates++;
  if (b->warn) fprintf(stderr, "** Duplicate key \"%.*s\"\n", STR_FMT(key));
  return !b->last_wins || gdbm_store(b->db, k, d, GDBM_REPLACE) == 0;
}

/* Lines that continue the item at *text, each joined by one space.  Empty lines and comments are passed over. */
static void add_continuations(struct strbuf *data, struct str *text) {
  while (text->n > 0) {
    struct str rest = *text, line = str_cut(&rest, '\n'), t = str_trim(line);
    if (t.n > 0 && line.p[0] != '#') {
      if (!ch_isspace(line.p[0])) return;
      strbuf_addc(data, ' ');
      strbuf_addstr(data, t);
    }
    *text = rest;
  }
}

static bool store_all(struct build *b, struct str text) {
  while (text.n > 0) {
    struct str line = str_cut(&text, '\n'), rest;
    if (str_trim(line).n == 0 || line.p[0] == '#') continue;
    if (ch_isspace(line.p[0])) {
      printf("Unexpected continuation line ignored\n%.*s\n\n", STR_FMT(line));
      continue;
    }
    struct arena_mark mark = arena_mark(b->a);
    struct str key = lsearch_key(b->a, line, &rest);
    if (b->lower) key = str_c(str_dup_lower(b->a, key));
    struct strbuf data = strbuf_new(b->a);
    strbuf_adds(&data, lsearch_data(b->a, rest, STR(""), line, false));
    add_continuations(&data, &text);
    bool ok = store(b, key, data.p);
    arena_release(b->a, mark);
    if (!ok) return false;
  }
  return true;
}

static int no_file(const char *what, const char *name, const char *why) {
  fprintf(stderr, "exim_dbmbuild: %s %s: %s\n", what, name, why);
  return EXIT_NO_FILE;
}

static int read_input(struct build *b, const char *name, struct str *ret) {
  char *p;
  size_t n;
  bool is_stdin = strcmp(name, "-") == 0;
  int fd = is_stdin ? 0 : sys_open(name, O_RDONLY, 0);
  if (fd < 0) return no_file("unable to open", name, strerror(-fd));
  int rc = sys_read_file(fd, b->a, INPUT_MAX, &p, &n), closed = is_stdin ? 0 : sys_close(fd);
  if (rc < 0 || closed < 0) return no_file("unable to read", name, strerror(rc < 0 ? -rc : -closed));
  *ret = str_n(p, n);
  return 0;
}

/* Fill the new file and give it its name. */
static int build_file(struct build *b, struct str text, const char *temp, const char *name) {
  b->db = gdbm_open(temp, 0, GDBM_NEWDB | GDBM_CLOEXEC, 0644, NULL);
  if (!b->db) return no_file("unable to create", temp, gdbm_errno == GDBM_FILE_OPEN_ERROR ? strerror(errno) : gdbm_strerror(gdbm_errno));
  bool ok = store_all(b, text);
  const char *why = ok ? NULL : gdbm_strerror(gdbm_errno);
  if (ok && gdbm_sync(b->db) < 0) why = gdbm_strerror(gdbm_errno);
  if (gdbm_close(b->db) < 0 && !why) why = "close failed";
  int rc = why ? 0 : sys_rename(temp, name);
  if (rc < 0) why = strerror(-rc);
  if (!why) return 0;
  if (sys_unlink(temp) < 0) errno = 0; /* nothing more can be done */
  return no_file("unable to write", name, why);
}

int main(int argc, char **argv) {
  struct build b = {.a = arena_new("dbmbuild"), .lower = true, .warn = true, .duplicates_count = true, .with_zero = true};
  int i = 1;
  for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++)
    if (!set_option(&b, argv[i])) return usage();
  if (argc - i != 2) return usage();
  const char *name = argv[i + 1], *temp = arena_printf(b.a, "%s.dbmbuild_temp", name);
  if (strcmp(argv[i], name) == 0) {
    fprintf(stderr, "exim_dbmbuild: input and output filenames are the same\n");
    return EXIT_NO_FILE;
  }
  struct str text;
  int rc = read_input(&b, argv[i], &text);
  if (rc == 0) rc = build_file(&b, text, temp, name);
  if (rc != 0) return rc;
  printf("%d %s written\n", b.entries, b.entries == 1 ? "entry" : "entries");
  if (b.duplicates) printf("%d duplicate %s \n", b.duplicates, b.duplicates == 1 ? "key" : "keys");
  arena_free(b.a);
  return b.duplicates && b.duplicates_count ? EXIT_DUPLICATES : 0;
}
