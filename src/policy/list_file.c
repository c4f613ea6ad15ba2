/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files in lists.  Floor: policy.  Manual ch. 10.3.
 *
 * Each file has an arena of its own, freed when it is neither in use (a line may hold a lookup that walks another list) nor kept.  What is
 * kept is bounded in number and bytes.  A file that was changed less than two seconds before it was read is not kept: a change that
 * follows in the same tick of the file system's clock would not show.  The files kept are on the list of allowed writable globals. */
#include "policy/list_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/timeutil.h"
#include "os/sys.h"

enum { FILE_BYTES_MAX = 64 << 20, KEPT_MAX = 16, KEPT_BYTES_MAX = 8 << 20, SETTLED_SEC = 2 };

struct kept_file {
  struct list_file public; /* first: what callers hold */
  struct arena *arena;     /* of this struct too */
  const char *path;
  bool comments_anywhere;
  struct stat st;
  int users;
  bool is_kept;
};

static struct {
  struct kept_file *file[KEPT_MAX]; /* newest use first, NULL at the end */
} kept;

/* ---- reading ---- */

static struct str without_comment(struct str line, bool anywhere) {
  for (size_t i = 0; i < line.n; i++)
    if (line.p[i] == '#' && (anywhere || i == 0 || ch_isspace(line.p[i - 1]))) line.n = i;
  return str_trim(line);
}

/* Not a pattern, a lookup, a named list, or another special item. */
static bool is_literal(struct str item) { return item.n > 0 && !strchr("^*@+", item.p[0]) && !memchr(item.p, ';', item.n); }

/* name@domain, both literal. */
static bool is_literal_address(struct str item) {
  size_t at = str_index(item, '@');
  return is_literal(item) && at + 1 < item.n && ch_isalnum(item.p[at + 1]) && !memchr(item.p + at + 1, '@', item.n - at - 1) &&
         !memchr(item.p, '"', item.n);
}

static struct list_line read_line(struct arena *a, struct str line) {
  bool negated = line.p[0] == '!';
  struct str item = negated ? str_ltrim(str_n(line.p + 1, line.n - 1)) : line;
  const char *text = str_dup(a, line);
  item = str_c(text + (item.p - line.p)); /* a NUL ends it */
  return (struct list_line){text, item.p, item.n, negated, is_literal(item), is_literal_address(item)};
}

static void read_lines(struct kept_file *f, struct str text) {
  size_t most = 1;
  for (size_t i = 0; i < text.n; i++) most += text.p[i] == '\n';
  struct list_line *lines = ARENA_NEW_N(f->arena, struct list_line, most);
  while (text.n > 0) {
    struct str line = without_comment(str_cut(&text, '\n'), f->comments_anywhere);
    if (line.n > 0) lines[f->public.count++] = read_line(f->arena, line);
  }
  f->public.lines = lines;
}

static int read_file(const char *path, bool comments_anywhere, struct kept_file **ret) {
  struct stat st;
  char *p;
  size_t n;
  int fd = sys_open_file(path);
  if (fd < 0) return fd;
  struct arena *a = arena_new("list file"), *raw = arena_new("list file as read");
  int rc = fstat(fd, &st) < 0 ? -errno : sys_read_file_t(fd, raw, FILE_BYTES_MAX, UNTAINTED, &p, &n);
  if (sys_close(fd) < 0 && rc >= 0) rc = -EIO;
  if (rc >= 0) {
    struct kept_file *f = ARENA_NEW(a, struct kept_file);
    *f = (struct kept_file){.arena = a, .path = arena_strdup(a, path), .comments_anywhere = comments_anywhere, .st = st};
    read_lines(f, str_n(p, n));
    *ret = f;
  } else {
    arena_free(a);
  }
  arena_free(raw);
  return rc;
}

/* ---- keeping ---- */

static bool same_time(struct timespec a, struct timespec b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

static bool is_unchanged(const struct kept_file *f, const char *path) {
  struct stat now;
  return stat(path, &now) == 0 && now.st_dev == f->st.st_dev && now.st_ino == f->st.st_ino && now.st_size == f->st.st_size &&
         same_time(now.st_mtim, f->st.st_mtim) && same_time(now.st_ctim, f->st.st_ctim);
}

static void drop(size_t i) {
  struct kept_file *f = kept.file[i];
  memmove(&kept.file[i], &kept.file[i + 1], (KEPT_MAX - 1 - i) * sizeof kept.file[0]);
  kept.file[KEPT_MAX - 1] = NULL;
  f->is_kept = false;
  if (!f->users) arena_free(f->arena);
}

/* In front of the others; the oldest go while there are too many, or too many bytes. */
static void keep(struct kept_file *f) {
  size_t bytes = arena_used_bytes(f->arena), n = 0;
  bool is_settled = f->st.st_ctim.tv_sec + SETTLED_SEC <= time_sec();
  if (!S_ISREG(f->st.st_mode) || !is_settled || bytes > KEPT_BYTES_MAX) return;
  if (kept.file[KEPT_MAX - 1]) drop(KEPT_MAX - 1);
  while (n < KEPT_MAX && kept.file[n] && (bytes += arena_used_bytes(kept.file[n]->arena)) <= KEPT_BYTES_MAX) n++;
  while (n < KEPT_MAX && kept.file[n]) drop(n);
  memmove(&kept.file[1], &kept.file[0], (KEPT_MAX - 1) * sizeof kept.file[0]);
  kept.file[0] = f;
  f->is_kept = true;
}

static struct kept_file *find_kept(const char *path, bool comments_anywhere) {
  for (size_t i = 0; i < KEPT_MAX && kept.file[i]; i++) {
    struct kept_file *f = kept.file[i];
    if (f->comments_anywhere != comments_anywhere || strcmp(f->path, path) != 0) continue;
    if (!is_unchanged(f, path)) {
      drop(i);
      return NULL;
    }
    memmove(&kept.file[1], &kept.file[0], i * sizeof kept.file[0]);
    kept.file[0] = f;
    return f;
  }
  return NULL;
}

int list_file_get(const char *path, enum list_kind kind, const struct list_file **ret) {
  bool comments_anywhere = kind == LIST_DOMAIN || kind == LIST_HOST;
  struct kept_file *f = find_kept(path, comments_anywhere);
  if (!f) {
    int rc = read_file(path, comments_anywhere, &f);
    if (rc < 0) return rc;
    keep(f);
  }
  f->users++;
  *ret = &f->public;
  return 0;
}

void list_file_done(const struct list_file *file) {
  struct kept_file *f = (struct kept_file *)(uintptr_t)file;
  if (--f->users == 0 && !f->is_kept) arena_free(f->arena);
}

void list_file_forget(void) {
  while (kept.file[0]) drop(0);
}
