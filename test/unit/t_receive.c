/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reception over memory streams: what line ends and dots become in the spool files, the limits of a header section, and errors of the spool
 * that must be temporary and must leave the session in step.
 *
 * Expected forms are those of manual chapter 48 "Line endings", RFC 5321 section 4.5.2, RFC 3030 and of the reference program. */
#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/spool_file.h"
#include "smtp_session.h"

static const char conf_text[] =
  "primary_hostname = mx.test.ex\n"
  "spool_directory = %s\n"
  "log_file_path = %s/%%slog\n"
  "acl_smtp_rcpt = accept\n"
  "acl_smtp_data = check_data\n"
  "keep_environment =\n"
  "tls_advertise_hosts =\n"
  "host_lookup =\n"
  "queue_only\n"
  "check_spool_space = 0\n"
  "check_spool_inodes = 0\n"
  "smtp_enforce_sync = false\n"
  "%s"
  "begin acl\n"
  "check_data:\n"
  "  accept condition = ${if match{$h_subject:}{lookup}{${lookup{x}lsearch{%s/nothere}}}{1}}\n"
  "  deny\n";

static struct config *read_config(const char *name, const char *spool, const char *extra) {
  return session_config(name, conf_text, spool, scratch_dir, extra, scratch_dir);
}

static struct config *default_config;

static int setup(void **state) {
  if (scratch_setup(state) != 0) return -1;
  default_config = read_config("conf", scratch_path(""), "");
  if (!default_config) return -1;
  session_log(default_config);
  return 0;
}

static int teardown(void **state) {
  log_close();
  return scratch_teardown(state);
}

#define ENVELOPE "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@test.ex>\r\n"

/* A message by DATA (dot in content) or by BDAT chunks of the size given. */
static struct str dialogue(struct arena *a, struct str content, size_t chunk) {
  struct strbuf in = strbuf_new(a);
  strbuf_adds(&in, ENVELOPE);
  if (!chunk) {
    strbuf_adds(&in, "DATA\r\n");
    strbuf_add(&in, content.p, content.n);
  }
  for (size_t at = 0; chunk && at < content.n; at += chunk) {
    size_t n = MIN(chunk, content.n - at);
    strbuf_addf(&in, "BDAT %zu%s\r\n", n, at + n == content.n ? " LAST" : "");
    strbuf_add(&in, content.p + at, n);
  }
  strbuf_adds(&in, "QUIT\r\n");
  return strbuf_str(&in);
}

static const char *last_code_before_quit(struct arena *a, const char *out) {
  const char *code = "";
  struct str rest = str_c(out);
  while (rest.n > 0) {
    struct str line = str_cut(&rest, '\n');
    if (line.n >= 4 && line.p[3] == ' ' && !str_starts(line, STR("221"))) code = arena_printf(a, "%.3s", line.p);
  }
  return code;
}

static struct str read_file(struct arena *a, const char *name) {
  struct strbuf b = strbuf_new(a);
  char buf[4096];
  int fd = open(scratch_path(name), O_RDONLY);
  for (ssize_t n; fd >= 0 && (n = read(fd, buf, sizeof(buf))) > 0;) strbuf_add(&b, buf, (size_t)n);
  if (fd >= 0) close(fd);
  return strbuf_str(&b);
}

/* "headers|body" of the message accepted in out; Received: lines are left out; newlines as /, CR as ~, NUL as 0; "wire " in front as -H has it. */
static const char *spooled(struct arena *a, const char *out) {
  const char *id = strstr(out, "250 OK id=");
  if (!id) return "not accepted";
  size_t n = strcspn(id + 10, "\r\n");
  struct str h = read_file(a, arena_printf(a, "input/%.*s-H", (int)n, id + 10));
  struct str d = read_file(a, arena_printf(a, "input/%.*s-D", (int)n, id + 10));
  struct spool_header_file f;
  const char *error = spool_read_header_file(a, h, false, &f);
  if (error) return error;
  struct strbuf b = strbuf_new(a);
  if (f.wireformat) strbuf_adds(&b, "wire ");
  for (const struct header_line *l = f.headers; l; l = l->next)
    if (l->type != 'P') strbuf_add(&b, l->text, l->n);
  strbuf_addc(&b, '|');
  (void)str_cut(&d, '\n');
  strbuf_add(&b, d.p, d.n);
  for (size_t i = 0; i < b.n; i++)
    if (b.p[i] == '\n') b.p[i] = '/';
    else if (b.p[i] == '\r') b.p[i] = '~';
    else if (b.p[i] == 0) b.p[i] = '0';
  return b.p;
}

#define TEXT(lit) {lit, sizeof(lit) - 1}

static void line_ends(void **state) {
  (void)state;
  static const struct {
    struct str in;
    const char *want;
  } rows[] = {
    {TEXT("Subject: x\r\n\r\nbody\r\n.\r\n"), "Subject: x/|body/"},
    {TEXT(".\r\n"), "|"},
    {TEXT("\r\nbody\r\n.\r\n"), "|body/"},
    {TEXT("no header\r\n.\r\n"), "|no header/"},
    {TEXT("A: b\r\n c\r\nD: e\r\n\r\n..x\r\n.y\r\n...\r\n.\r\n"), "A: b/ c/D: e/|.x/y/../"},
    /* a LF alone is a blank in the body and a fold in the header once the first line ended in CR LF */
    {TEXT("A: b\r\nC: d\ne: f\r\n\r\none\ntwo\n.\nthree\r\n.\r\n"), "A: b/C: d/ e: f/|one two . three/"},
    {TEXT("A: b\nC: d\n\none\n.\n..\r\n.\r\n"), "A: b/C: d/|one/./../"},
    /* a lone CR ends a line, but of a header only to fold it, and no dot behind it is special */
    {TEXT("A: b\rc: d\r\n\r\none\r.\rtwo\r\n.\r\n"), "A: b/ c: d/|one/./two/"},
    {TEXT("A: b\r\n\r\none\r\r\n.\r\r\n.x\r\n.\r\n"), "A: b/|one////x/"},
    {TEXT("A: b\0c\r\n\r\n\0\r\n.\0\r\n.\r\n"), "A: bc/|0/0/"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("test");
    struct str in = dialogue(a, rows[i].in, 0);
    size_t *cuts = ARENA_NEW_N(a, size_t, in.n);
    for (size_t k = 0; k < in.n; k++) cuts[k] = k + 1;
    CHECK_STR("whole", spooled(a, session_run(a, default_config, in, NULL, 0)), rows[i].want);
    CHECK_STR("byte by byte", spooled(a, session_run(a, default_config, in, cuts, in.n)), rows[i].want);
    arena_free(a);
  }
}

/* SMG-4: the body of chunks is taken as it is, however they are cut. */
static void chunks(void **state) {
  (void)state;
  static const struct {
    struct str in;
    const char *want;
  } rows[] = {
    {TEXT("A: b\r\n\r\n.\r\n..\r\n\r\n.\r\nQUIT\r\n"), "A: b/|./..//./QUIT/"},
    {TEXT("A: b\r\n\r\nno end"), "A: b/|no end/"},
    {TEXT("A: b\r\n\r\nx\r"), "A: b/|x/"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
    for (size_t chunk = 1; chunk <= rows[i].in.n; chunk++) {
      struct arena *a = arena_new("test");
      CHECK_STR("chunks", spooled(a, session_run(a, default_config, dialogue(a, rows[i].in, chunk), NULL, 0)), rows[i].want);
      arena_free(a);
    }
}

/* spool_wireformat: the file is the LF form with each line end in CR LF, whatever the chunks, and what does not come in chunks stays in LF form. */
static void wire_form(void **state) {
  (void)state;
  struct config *cfg = read_config("wire", scratch_path(""), "spool_wireformat\n");
  assert_non_null(cfg);
  static const struct {
    struct str in;
    const char *want;
  } rows[] = {
    {TEXT("A: b\r\n\r\n.\r\n..\r\n\r\n.\r\nQUIT\r\n"), "wire A: b/|.~/..~/~/.~/QUIT~/"},
    {TEXT("A: b\r\n\r\nno end"), "wire A: b/|no end~/"},
    {TEXT("A: b\r\n\r\nx\r"), "wire A: b/|x~/"},
    {TEXT("A: b\r\n\r\none\ntwo\rthree\r\r\n\n.\n"), "wire A: b/|one~/two~/three~/~/~/.~/"},
    {TEXT("A: b\r\n\r\n\0\r\n"), "wire A: b/|0~/"},
    {TEXT("A: b\r\n\r\n"), "wire A: b/|"},
    {TEXT("no header\r\nx\r\n"), "wire |no header~/x~/"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
    for (size_t chunk = 1; chunk <= rows[i].in.n; chunk++) {
      struct arena *a = arena_new("test");
      struct str in = dialogue(a, rows[i].in, chunk);
      size_t *cuts = ARENA_NEW_N(a, size_t, in.n);
      for (size_t k = 0; k < in.n; k++) cuts[k] = k + 1;
      CHECK_STR("wire", spooled(a, session_run(a, cfg, in, NULL, 0)), rows[i].want);
      CHECK_STR("byte by byte", spooled(a, session_run(a, cfg, in, cuts, in.n)), rows[i].want);
      arena_free(a);
    }
  struct arena *a = arena_new("test");
  CHECK_STR("DATA", spooled(a, session_run(a, cfg, dialogue(a, str_c("A: b\r\n\r\nx\r\n..\r\n.\r\n"), 0), NULL, 0)), "A: b/|x/./");
  arena_free(a);
}

/* Larger than any buffer, with what must be looked at twice at every distance from their ends. */
static void wire_form_large(void **state) {
  (void)state;
  struct config *cfg = read_config("wire2", scratch_path(""), "spool_wireformat\n");
  assert_non_null(cfg);
  for (size_t shift = 0; shift < 80; shift += 3) {
    struct arena *a = arena_new("test");
    struct strbuf text = strbuf_new(a), want = strbuf_new(a);
    strbuf_adds(&text, "A: b\r\n\r\n");
    strbuf_adds(&want, "wire A: b/|");
    for (size_t k = 0; k < shift; k++) strbuf_adds(&text, "-");
    for (size_t k = 0; k < shift; k++) strbuf_adds(&want, "-");
    for (size_t k = 0; k < 3000; k++) {
      strbuf_adds(&text, k % 500 == 499 ? "bare\nline\rend\r\n" : "a line of text that comes again and again\r\n");
      strbuf_adds(&want, k % 500 == 499 ? "bare~/line~/end~/" : "a line of text that comes again and again~/");
    }
    assert_string_equal(spooled(a, session_run(a, cfg, dialogue(a, strbuf_str(&text), 50000), NULL, 0)), want.p);
    arena_free(a);
  }
}

/* PRO-4: a connection that ends anywhere inside a message has sent none. */
static void cut_short(void **state) {
  (void)state;
  static const struct str content = TEXT("A: b\r\n\r\none\r\n..\r\ntwo\r\n.\r\n");
  for (size_t chunk = 0; chunk <= content.n; chunk += 7) {
    struct arena *a = arena_new("test");
    struct str in = dialogue(a, content, chunk);
    size_t last = in.n - 6; /* QUIT */
    for (size_t n = sizeof(ENVELOPE) - 1; n < last; n++) {
      const char *out = session_run(a, default_config, str_n(in.p, n), NULL, 0);
      CHECK_STR("cut", spooled(a, out), "not accepted");
      CHECK_STR("cut", last_code_before_quit(a, out), "421");
    }
    assert_string_not_equal(spooled(a, session_run(a, default_config, str_n(in.p, last), NULL, 0)), "not accepted");
    arena_free(a);
  }
}

/* LIM-2 and SMG-5: what is too much is refused for good, read to its end, and the next message is taken. */
static void limits(void **state) {
  (void)state;
  struct config *cfg = read_config("limits", scratch_path(""), "header_maxsize = 20000\nheader_line_maxsize = 2000\nmessage_size_limit = 50000\n");
  assert_non_null(cfg);
  static const struct {
    const char *start, *piece;
    size_t count;
    const char *want;
  } rows[] = {
    {"A: ", "0123456789", 190, "250"},
    {"A: ", "0123456789", 2100, "552"},
    {"A: b\r\n", " folded\r\n", 3000, "552"},
    {"", "A: b\r\n", 5000, "552"},
    {"", "A: 0123456789\r\n", 1200, "250"},
    {"A: b\r\n\r\n", "0123456789\r\n", 5000, "552"},
    {"A: b\r\n\r\n", "0123456789\r\n", 100000, "552"},
    {"A: b\r\n\r\n", "0123456789\r\n", 4000, "250"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
    for (int bdat = 0; bdat < 2; bdat++) {
      struct arena *a = arena_new("test");
      struct strbuf in = strbuf_new(a), text = strbuf_new(a);
      strbuf_adds(&text, rows[i].start);
      for (size_t k = 0; k < rows[i].count; k++) strbuf_adds(&text, rows[i].piece);
      strbuf_adds(&text, "\r\n");
      if (!bdat) strbuf_adds(&text, ".\r\n");
      struct str one = dialogue(a, strbuf_str(&text), bdat ? 1000 : 0);
      CHECK_STR("limit", last_code_before_quit(a, session_run(a, cfg, one, NULL, 0)), rows[i].want);
      strbuf_add(&in, one.p, one.n - 6); /* without QUIT */
      strbuf_adds(&in, "RSET\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@test.ex>\r\nDATA\r\nB: c\r\n\r\nnext\r\n.\r\nQUIT\r\n");
      const char *last = "";
      for (const char *p = session_run(a, cfg, strbuf_str(&in), NULL, 0); (p = strstr(p, "250 OK id=")); p++) last = p;
      CHECK_STR("next", spooled(a, last), "B: c/|next/");
      arena_free(a);
    }
}

/* A session in a process of its own, whose files cannot grow past the size given: the last code before QUIT. */
static int session_with_small_disk(const struct config *cfg, struct str in, rlim_t bytes) {
  pid_t pid = fork();
  if (pid == 0) {
    struct arena *a = arena_new("test");
    log_init(&(struct log_settings){.file_path = "/dev/null", .exim_uid = geteuid(), .exim_gid = getegid()});
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &(struct rlimit){bytes, bytes}) != 0) _exit(1);
    const char *code = last_code_before_quit(a, session_run(a, cfg, in, NULL, 0));
    _exit(code[0] == '4' ? 4 : code[0] == '5' ? 5 : code[0] == '2' ? 2 : 1);
  }
  int status = -1;
  (void)waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int leftovers(void) {
  int n = 0;
  DIR *d = opendir(scratch_path("small/input"));
  for (struct dirent *e; d && (e = readdir(d));) n += e->d_name[0] != '.';
  if (d) closedir(d);
  return n;
}

/* Whatever the disk does is a reason to come later, and nothing half-written stays. */
static void spool_errors(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct strbuf text = strbuf_new(a);
  strbuf_adds(&text, "A: b\r\n\r\n");
  for (size_t k = 0; k < 10000; k++) strbuf_adds(&text, "0123456789\r\n");
  struct str chunked = dialogue(a, strbuf_str(&text), 10000);
  strbuf_adds(&text, ".\r\n");
  struct str in = dialogue(a, strbuf_str(&text), 0);
  assert_int_equal(mkdir(scratch_path("small"), 0700), 0);
  assert_int_equal(mkdir(scratch_path("small/input"), 0700), 0);
  struct config *small = read_config("small.conf", scratch_path("small"), "");
  assert_non_null(small);
  static const rlim_t sizes[] = {0, 10, 100, 500, 4096, 50000, 100000};
  for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
    CHECK_INT("data", session_with_small_disk(small, in, sizes[i]), 4);
    CHECK_INT("chunk", session_with_small_disk(small, chunked, sizes[i]), 4);
    CHECK_INT("left behind", leftovers(), 0);
  }
  CHECK_INT("enough", session_with_small_disk(small, in, 1 << 20), 2);
  CHECK_INT("stored", leftovers(), 2);
  int fd = open(scratch_path("blocked"), O_WRONLY | O_CREAT, 0600);
  assert_true(fd >= 0);
  close(fd);
  struct config *blocked = read_config("blocked.conf", scratch_path("blocked"), "");
  assert_non_null(blocked);
  CHECK_STR("no directory", last_code_before_quit(a, session_run(a, blocked, in, NULL, 0)), "451");
  CHECK_STR("lookup that defers",
            last_code_before_quit(a, session_run(a, default_config, dialogue(a, str_c("Subject: lookup\r\n\r\n.\r\n"), 0), NULL, 0)), "451");
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(line_ends), cmocka_unit_test(chunks), cmocka_unit_test(cut_short), cmocka_unit_test(limits),
                                     cmocka_unit_test(spool_errors), cmocka_unit_test(wire_form), cmocka_unit_test(wire_form_large)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
