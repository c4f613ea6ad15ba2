/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The SMTP server over memory streams: reply class of each verb in each state, limits, and the end-of-data matrix.
 *
 * The matrix takes 81 pairs X "." Y; a message may end only at CR LF . CR LF, whatever stands around it, and nothing inside a
 * message may ever act as a command.  Expected replies are those of RFC 5321 and of the reference program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/log.h"
#include "os/stream.h"
#include "policy/readconf.h"
#include "smtp_in.h"

/* cfg: a whole input is one segment; slow_cfg: without synchronisation checks, for dialogues (a memory stream has no clock). */
static struct {
  char dir[64];
  struct config *cfg, *slow_cfg;
} env;

static const char conf_text[] =
  "primary_hostname = mx.test.ex\n"
  "spool_directory = %s\n"
  "log_file_path = %s/%%slog\n"
  "acl_smtp_rcpt = check_rcpt\n"
  "acl_smtp_data = check_data\n"
  "keep_environment =\n"
  "tls_advertise_hosts =\n"
  "host_lookup =\n"
  "queue_only\n"
  "check_spool_space = 0\n"
  "check_spool_inodes = 0\n"
  ".ifdef _OPT_MAIN_PIPELINING_CONNECT_ADVERTISE_HOSTS\n"
  "pipelining_connect_advertise_hosts = *\n"
  ".endif\n"
  "%s"
  "begin acl\n"
  "check_rcpt:\n"
  "  deny local_parts = bad\n"
  "       message = 551 5.7.1 not\\nwanted\n"
  "  defer local_parts = later\n"
  "  drop local_parts = drop\n"
  "  discard local_parts = gone\n"
  "  accept domains = test.ex\n"
  "check_data:\n"
  "  deny condition = ${if match{$h_subject:}{spam}}\n"
  "  accept\n";

static struct config *read_config(const char *name, const char *extra) {
  char path[128];
  snprintf(path, sizeof(path), "%s/%s", env.dir, name);
  FILE *f = fopen(path, "w");
  if (!f) return NULL;
  fprintf(f, conf_text, env.dir, env.dir, extra);
  fclose(f);
  struct readconf_opts o = {.files = path};
  const char *error = NULL;
  struct config *cfg = readconf_read(&o, &error);
  if (!cfg) fprintf(stderr, "%s\n", error);
  return cfg;
}

static int setup(void **state) {
  (void)state;
  snprintf(env.dir, sizeof(env.dir), "/tmp/t_smtp_in.XXXXXX");
  if (!mkdtemp(env.dir)) return -1;
  env.cfg = read_config("conf", "");
  env.slow_cfg = read_config("slow", "smtp_enforce_sync = false\n");
  if (!env.cfg || !env.slow_cfg) return -1;
  log_init(&(struct log_settings){.file_path = env.cfg->log_file_path, .exim_uid = geteuid(), .exim_gid = getegid()});
  return 0;
}

static int teardown(void **state) {
  (void)state;
  log_close();
  const char *argv[] = {"/bin/rm", "-rf", env.dir, NULL};
  pid_t pid = fork();
  if (pid == 0) {
    execv(argv[0], (char *const *)(uintptr_t)argv);
    _exit(1);
  }
  if (pid > 0) (void)waitpid(pid, NULL, 0);
  return 0;
}

/* Run a session over input cut at the given places; the output in a. */
static const char *session(struct arena *a, const struct config *cfg, struct str input, const size_t *cuts, size_t ncuts) {
  struct conn *c = ARENA_NEW(a, struct conn);
  c->arena = a;
  c->cfg = cfg;
  c->io = stream_new_memory(a, input, cuts, ncuts);
  c->from.host_address = "192.0.2.1";
  c->from.host_port = 4321;
  struct smtp_opts o = {.mode = SMTP_MODE_SESSION, .queue_only = true};
  (void)smtp_session_run(c, &o);
  struct str out = stream_memory_output(c->io);
  const char *text = arena_strndup(a, out.p, out.n);
  stream_close(c->io);
  return text;
}

/* Line by line: each piece of the input (ended by '|') comes when the replies to the one before were taken. */
static const char *dialogue(struct arena *a, const char *text) {
  struct strbuf in = strbuf_new(a);
  size_t *cuts = ARENA_NEW_N(a, size_t, strlen(text) + 1), n = 0;
  for (const char *p = text; *p; p++) {
    if (*p == '|') {
      strbuf_adds(&in, "\r\n");
      cuts[n++] = in.n;
    } else {
      strbuf_addc(&in, *p);
    }
  }
  return session(a, env.slow_cfg, strbuf_str(&in), cuts, n);
}

/* Codes of the final lines of the replies: "220 250 ...". */
static const char *codes(struct arena *a, const char *out) {
  struct strbuf b = strbuf_new(a);
  struct str rest = str_c(out);
  while (rest.n > 0) {
    struct str line = str_cut(&rest, '\n');
    if (line.n >= 4 && line.p[3] == ' ') strbuf_addf(&b, "%s%.3s", b.n ? " " : "", line.p);
  }
  return b.p;
}

static void verbs_by_state(void **state) {
  (void)state;
  static const struct {
    const char *in, *want;
  } rows[] = {
    {"QUIT|", "220 221"},
    {"MAIL FROM:<a@b.c>|QUIT|", "220 503 221"},
    {"EHLO x|MAIL FROM:<a@b.c>|MAIL FROM:<a@b.c>|QUIT|", "220 250 250 503 221"},
    {"HELO x|RCPT TO:<a@test.ex>|DATA|QUIT|", "220 250 503 503 221"},
    {"EHLO|EHLO a_b|EHLO [1.2.3.4]|QUIT|", "220 501 501 250 221"},
    {"EHLO x|MAIL FROM:<>|RCPT TO:<a@test.ex>|RSET|DATA|QUIT|", "220 250 250 250 250 503 221"},
    {"EHLO x|MAIL FROM:<a@b>|RCPT TO:<bad@test.ex>|RCPT TO:<later@test.ex>|RCPT TO:<a@else.ex>|QUIT|",
     "220 250 250 551 451 550 221"},
    {"EHLO x|MAIL FROM:<a@b>|RCPT TO:<drop@test.ex>|NOOP|", "220 250 250 550"},
    {"EHLO x|MAIL FROM:<a@b|MAIL FROM:a b|MAIL FROM:<a@b> FOO=1|QUIT|", "220 250 501 501 501 221"},
    {"EHLO x|MAIL FROM:<a@b> SIZE=999999999999|MAIL FROM:<a@b> SIZE=10 BODY=8BITMIME|QUIT|", "220 250 552 250 221"},
    {"EHLO x|MAIL FROM:<x>|MAIL FROM:<a@b>|RCPT TO:<x>|QUIT|", "220 250 501 250 501 221"},
    {"EHLO x|NOOP|HELP|VRFY a@b|EXPN a|ETRN #x|STARTTLS|AUTH PLAIN|QUIT|", "220 250 250 214 252 550 458 503 503 221"},
    {"EHLO x|FOO|BAR|BAZ|FROB|", "220 250 500 500 500 500"},
    {"EHLO x|NOOP|NOOP|NOOP|NOOP|NOOP|NOOP|NOOP|NOOP|NOOP|NOOP|NOOP|NOOP|",
     "220 250 250 250 250 250 250 250 250 250 250 250 554"},
    {"EHLO x|MAIL|MAIL|RCPT|QUIT|", "220 250 500 500 500 221"},
    {"EHLO x|MAIL FROM:<a@b>|RCPT TO:<a@test.ex>|DATA|Subject: x||hello|.|QUIT|", "220 250 250 250 354 250 221"},
    {"EHLO x|MAIL FROM:<a@b>|RCPT TO:<a@test.ex>|DATA|Subject: spam||hello|.|QUIT|", "220 250 250 250 354 550 221"},
    {"EHLO x|MAIL FROM:<a@b>|RCPT TO:<gone@test.ex>|DATA|Subject: x||hello|.|QUIT|", "220 250 250 250 354 250 221"},
    {"EHLO x|DATA x|BDAT|BDAT x|QUIT|", "220 250 501 501 501 221"},
    {"EHLO x|MAIL FROM:<a@b>|RCPT TO:<a@test.ex>|BDAT 4|ab|BDAT 4 LAST|cd|QUIT|", "220 250 250 250 250 250 221"},
    {"EHLO x|MAIL FROM:<a@b>|RCPT TO:<a@test.ex>|BDAT 4|ab|NOOP|RSET|DATA|QUIT|", "220 250 250 250 250 250 250 503 221"},
    {"EHLO x|MAIL FROM:<a@b>|RCPT TO:<a@test.ex>|BDAT 4|ab|DATA|NOOP|BDAT 4|xy|RSET|MAIL FROM:<a@b>|QUIT|",
     "220 250 250 250 250 503 503 503 250 250 221"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("test");
    const char *out = dialogue(a, rows[i].in), *got = codes(a, out);
    if (strcmp(got, rows[i].want) != 0) print_error("%s\n%s\n", rows[i].in, out);
    assert_string_equal(got, rows[i].want);
    arena_free(a);
  }
}

static void synchronisation(void **state) {
  (void)state;
#ifdef EXPERIMENTAL_PIPE_CONNECT
  bool early_talk = true;
#else
  bool early_talk = false;
#endif
  static const struct {
    const char *in, *want; /* one chunk: everything is sent at once */
  } rows[] = {
    {"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@test.ex>\r\nDATA\r\n", "220 250 250 250 354"},
    {"HELO x\r\nMAIL FROM:<a@b>\r\n", "220 554"},
    {"GET / HTTP/1.0\r\n\r\n", "220 554"},
    {"EHLO x\r\nDATA\r\nNOOP\r\n", "220 250 554"},
    {"EHLO x\r\nNOOP\r\nMAIL FROM:<a@b>\r\n", "220 250 554"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("test");
    const char *out = session(a, env.cfg, str_c(rows[i].in), NULL, 0), *got = codes(a, out);
    const char *want = early_talk ? rows[i].want : "554"; /* before the greeting */
    if (strncmp(got, want, strlen(want)) != 0) print_error("%s\n%s\n", rows[i].in, out);
    assert_int_equal(strncmp(got, want, strlen(want)), 0);
    arena_free(a);
  }
}

static const struct {
  const char *p;
  size_t n;
} ends[] = {{"\r\n", 2}, {"\n", 1}, {"\r", 1}, {"\r\r\n", 3}, {"\n\r", 2}, {"\0\r\n", 3}, {"\r\n ", 3}, {"\v", 1}, {"\x85", 1}};

static unsigned count(const char *hay, const char *needle) {
  unsigned n = 0;
  for (const char *p = hay; (p = strstr(p, needle)); p++) n++;
  return n;
}

/* SMG-1, SMG-2: all pairs, whole and cut in two at each place around the dot. */
static void end_of_data(void **state) {
  (void)state;
  static const char head[] = "Subject: x\r\n\r\nline";
  static const char smuggled[] = "MAIL FROM:<evil@b>\r\nRCPT TO:<a@test.ex>\r\nDATA\r\nSubject: evil\r\n\r\nx\r\n.\r\n";
  static const char start[] = "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@test.ex>\r\nDATA\r\n";
  for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
    for (size_t j = 0; j < ARRAY_SIZE(ends); j++) {
      struct arena *a = arena_new("test");
      struct strbuf in = strbuf_new(a);
      size_t cuts[8];
      cuts[0] = 8;
      strbuf_adds(&in, start);
      cuts[1] = in.n;
      strbuf_adds(&in, head);
      strbuf_add(&in, ends[i].p, ends[i].n);
      cuts[2] = in.n - 1;
      cuts[3] = in.n;
      strbuf_addc(&in, '.');
      cuts[4] = in.n;
      strbuf_add(&in, ends[j].p, ends[j].n);
      size_t dot = in.n;
      cuts[5] = in.n - 1;
      cuts[6] = in.n;
      strbuf_adds(&in, smuggled);
      cuts[7] = in.n;
      strbuf_adds(&in, "QUIT\r\n");
      bool ends_here = memmem(in.p + cuts[1], dot - cuts[1], "\r\n.\r\n", 5) != NULL;
      if (cuts[2] == cuts[1]) cuts[2] = cuts[3];
      const char *out = session(a, env.slow_cfg, strbuf_str(&in), cuts, 8);
      unsigned accepted = count(out, "250 OK id=");
      if (ends_here) assert_true(accepted >= 1);
      else if (accepted != 1 || count(out, "354 ") != 1) {
        print_error("pair %zu %zu\n%s\n", i, j, out);
        fail();
      }
      arena_free(a);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(verbs_by_state), cmocka_unit_test(synchronisation),
                                     cmocka_unit_test(end_of_data)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
