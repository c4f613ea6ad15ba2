/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The SMTP server over memory streams: reply class of each verb in each state, limits, and the end-of-data matrix.
 *
 * The matrix takes 81 pairs X "." Y; a message may end only at CR LF . CR LF, whatever stands around it, and nothing inside a
 * message may ever act as a command.  Expected replies are those of RFC 5321 and of the reference program. */
#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/sys.h"
#include "smtp_session.h"
#include "smuggle_pairs.h"

/* cfg: a whole input is one segment; slow_cfg: without synchronisation checks, for dialogues (a memory stream has no clock); auth_cfg: the same, where
 * AUTH and STARTTLS are offered, and refused. */
static struct {
  struct config *cfg, *slow_cfg, *auth_cfg;
} env;

static const char conf_text[] =
  "primary_hostname = mx.test.ex\n"
  "spool_directory = %s\n"
  "log_file_path = %s/%%slog\n"
  "acl_smtp_rcpt = check_rcpt\n"
  "acl_smtp_data = check_data\n"
  "acl_smtp_mail = check_mail\n"
  "acl_smtp_predata = check_predata\n"
  "keep_environment =\n"
  "host_lookup =\n"
  "queue_only\n"
  "check_spool_space = 0\n"
  "check_spool_inodes = 0\n"
  ".ifdef _OPT_MAIN_PIPELINING_CONNECT_ADVERTISE_HOSTS\n"
  "pipelining_connect_advertise_hosts = *\n"
  ".endif\n"
  "%s"
  ".ifdef WITH_AUTH\n"
  "tls_advertise_hosts = *\n"
  "acl_smtp_starttls = refuse\n"
  "acl_smtp_vrfy = refuse\n"
  "auth_advertise_hosts = *\n"
  ".else\n"
  "tls_advertise_hosts =\n"
  ".endif\n"
  "begin acl\n"
  "refuse:\n"
  "  warn set acl_m0 = leaked\n"
  "  deny\n"
  "check_predata:\n"
  "  warn senders = nodata@b\n"
  "       set acl_m0 = leaked\n"
  "  deny senders = nodata@b\n"
  "  accept\n"
  "check_mail:\n"
  "  warn senders = refused@b\n"
  "       set acl_m0 = leaked\n"
  "       control = fakereject\n"
  "  deny senders = refused@b\n"
  "  defer senders = deferred@b\n"
  "  accept\n"
  "check_rcpt:\n"
  "  deny condition = ${if def:acl_m0}\n"
  "       message = 553 an old variable is here\n"
  "  warn condition = ${acl{nested}}\n" /* the recipient stays known behind it */
  "  deny local_parts = bad\n"
  "       message = 551 5.7.1 not\\nwanted\n"
  "  defer local_parts = later\n"
  "  drop local_parts = drop\n"
  "  discard local_parts = gone\n"
  "  accept domains = test.ex\n         delay = 0s\n"
  "nested:\n"
  "  accept message = ${if eq{$local_part}{}{no}{yes}}\n"
  "check_data:\n"
  "  deny condition = ${if match{$h_subject:}{spam}}\n"
  "  defer condition = ${if match{$h_subject:}{later}}\n"
  "  accept\n"
  ".ifdef WITH_AUTH\n"
  "begin authenticators\n"
  "plain:\n"
  "  driver = plaintext\n"
  "  public_name = PLAIN\n"
  "  server_prompts = :\n"
  "  server_condition = false\n"
  ".endif\n";

static struct config *read_config(const char *name, const char *extra) { return session_config(name, conf_text, scratch_dir, scratch_dir, extra); }

static int setup(void **state) {
  if (scratch_setup(state) != 0) return -1;
  env.cfg = read_config("conf", "");
  env.slow_cfg = read_config("slow", "smtp_enforce_sync = false\n");
  env.auth_cfg = read_config("auth", "smtp_enforce_sync = false\nWITH_AUTH = yes\n");
  if (!env.cfg || !env.slow_cfg || !env.auth_cfg) return -1;
  session_log(env.cfg);
  return 0;
}

static int teardown(void **state) {
  log_close();
  return scratch_teardown(state);
}

/* Line by line: each piece of the input (ended by '|') comes when the replies to the one before were taken. */
static const char *dialogue_with(struct arena *a, const struct config *cfg, const char *text) {
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
  return session_run(a, cfg, strbuf_str(&in), cuts, n);
}

static const char *dialogue(struct arena *a, const char *text) { return dialogue_with(a, env.slow_cfg, text); }

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
    {"EHLO x|XCLIENT ADDR=1.2.3.4|WELLKNOWN x|ATRN x|QUIT|", "220 250 501 503 502 221"},
    {"XCLIENT ADDR=1.2.3.4|WELLKNOWN x|EHLO x|MAIL FROM:<a@b>|ETRN #x|WELLKNOWN x|", "220 501 503 250 250 503 503"},
    {"EHLO x|MAIL FROM:<a@b> PRDR|MAIL FROM:<a@b> RET=HDRS|MAIL FROM:<a@b> SMTPUTF8=1|QUIT|", "220 250 501 501 501 221"},
    {"HELO x|MAIL FROM:<a@b> SMTPUTF8|QUIT|", "220 250 501 221"},
    {"EHLO x|MAIL FROM:<\xc3\xbc@b>|MAIL FROM:<\xc3\xbc@b.\xc3\xbc> SMTPUTF8|RCPT TO:<\xc3\xbc@test.ex>|RSET|MAIL FROM:<x@b.\xc3\xbc>|QUIT|",
     "220 250 250 503 250 250 501 221"},
    {"EHLO x|MAIL FROM:<a@b>|RCPT TO:<a@test.ex>|BDAT 0|BDAT 4|ab|BDAT 0|RSET|QUIT|", "220 250 250 250 504 250 504 250 221"},
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
    const char *out = dialogue(a, rows[i].in), *got = session_codes(a, out);
    if (strcmp(got, rows[i].want) != 0) print_error("%s\n%s\n", rows[i].in, out);
    assert_string_equal(got, rows[i].want);
    arena_free(a);
  }
}

/* PRO-2: behind each refusal there is no transaction: no RCPT, DATA or BDAT without a new MAIL, and nothing of the old one in it. */
static void after_rejection(void **state) {
  (void)state;
  static const struct {
    const char *in, *want;
  } rows[] = {
    {"MAIL FROM:<refused@b>|", "550"},
    {"MAIL FROM:<deferred@b>|", "451"},
    {"MAIL FROM:<a@b> SIZE=999999999999|", "552"},
    {"MAIL FROM:<a@b> FOO=1|", "501"},
    {"MAIL FROM:<a@b>|RCPT TO:<a@test.ex>|DATA|Subject: spam||MAIL FROM:<evil@b>|.|", "250 250 354 550"},
    {"MAIL FROM:<a@b>|RCPT TO:<a@test.ex>|DATA|Subject: later||x|.|", "250 250 354 451"},
    {"MAIL FROM:<a@b>|RCPT TO:<a@test.ex>|BDAT 36 LAST|Subject: spam||MAIL FROM:<e@b>||", "250 250 550"},
    {"MAIL FROM:<a@b>|RCPT TO:<a@test.ex>|BDAT 17|Subject: spam||RSET|", "250 250 250 250"},
    {"VRFY a@test.ex|", "252"},
    {"EXPN a@test.ex|", "550"},
    {"AUTH PLAIN AGEAYg==|", "535"},
    {"STARTTLS|", "550"},
    {"STARTTLS now|", "501"},
    {"MAIL FROM:<nodata@b>|RCPT TO:<a@test.ex>|DATA|RSET|", "250 250 550 250"},
    {"MAIL FROM:<a@b>|RCPT TO:<a@test.ex>|BDAT 0|RSET|", "250 250 504 250"},
    {"MAIL FROM:<a@b>|RCPT TO:<a@test.ex>|RSET|", "250 250 250"},
    {"MAIL FROM:<a@b>|RCPT TO:<a@test.ex>|EHLO again|", "250 250 250"},
  };
  static const struct {
    const char *in, *want;
  } then[] = {
    {"RCPT TO:<a@test.ex>|DATA|QUIT|", "503 503 221"},
    {"BDAT 12 LAST|RSET|RSET|MAIL FROM:<a@b>|RCPT TO:<a@test.ex>|DATA|Subject: x|||.|QUIT|", "503 250 250 354 250 221"},
    {"MAIL FROM:<a@b>|RCPT TO:<bad@test.ex>|DATA|BDAT 6 LAST|RSET|QUIT|", "250 551 503 503 221"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
    for (size_t j = 0; j < ARRAY_SIZE(then); j++) {
      struct arena *a = arena_new("test");
      const char *in = arena_printf(a, "EHLO x|%s%s", rows[i].in, then[j].in), *out = dialogue_with(a, env.auth_cfg, in);
      const char *got = session_codes(a, out), *want = arena_printf(a, "220 250 %s %s", rows[i].want, then[j].want);
      if (strcmp(got, want) != 0) print_error("%s\n%s\n", in, out);
      assert_string_equal(got, want);
      arena_free(a);
    }
}

/* What stands in a command besides text: SMG-3.  A bare LF ends a command, NUL and a lone CR are refused, and counted. */
#define TEXT(lit) {lit, sizeof(lit) - 1}
static void command_characters(void **state) {
  (void)state;
  static const struct {
    struct str in;
    const char *want;
  } rows[] = {
    {TEXT("EHLO x\nMAIL FROM:<a@b>\nRCPT TO:<a@test.ex>\nQUIT\n"), "220 250 250 250 221"},
    {TEXT("EHLO x\r\r\nQUIT \r\n"), "220 250 221"},
    {TEXT("EHLO a\rb\r\nQUIT\r\n"), "220 501 221"},
    {TEXT("EHLO x\r\nMAIL FROM:<a@b>\rRCPT TO:<a@test.ex>\r\nRCPT TO:<a@test.ex>\r\nQUIT\r\n"), "220 250 501 503 221"},
    {TEXT("EHLO x\r\nMAIL FROM:<a\\\rb@c>\r\nMAIL FROM:<\"a\rb\"@c>\r\nQUIT\r\n"), "220 250 501 501 221"},
    {TEXT("EHLO x\r\nNOOP \0\r\nNOOP\0\r\nMAIL FROM:<a\0@b>\r\nNOOP \0\r\nNOOP\r\n"), "220 250 501 501 501 501"},
    {TEXT("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@test.ex>\r\nBDAT 3\r\nabcNOOP \0\r\nNOOP\r\nQUIT\r\n"),
     "220 250 250 250 250 501 250 221"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("test");
    size_t *cuts = ARENA_NEW_N(a, size_t, rows[i].in.n), n = 0;
    for (size_t k = 0; k < rows[i].in.n; k++)
      if (rows[i].in.p[k] == '\n') cuts[n++] = k + 1;
    const char *out = session_run(a, env.slow_cfg, rows[i].in, cuts, n), *got = session_codes(a, out);
    if (strcmp(got, rows[i].want) != 0) print_error("row %zu\n%s\n", i, out);
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
    /* S7: EHLO refused, the group behind it answered one by one */
    {"EHLO a_b\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@test.ex>\r\nDATA\r\n", "220 501 503 503 503"},
    {"EHLO a_b\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@test.ex>\r\nBDAT 2 LAST\r\nxyQUIT\r\n", "220 501 503 503 503 221"},
    {"EHLO a_b\r\nDATA\r\nNOOP\r\n", "220 501 554"},
    {"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@test.ex>\r\nBDAT 2 LAST\r\nxyQUIT\r\n", "220 250 250 250 250 221"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("test");
    const char *out = session_run(a, env.cfg, str_c(rows[i].in), NULL, 0), *got = session_codes(a, out);
    const char *want = early_talk ? rows[i].want : "554"; /* before the greeting */
    if (strncmp(got, want, strlen(want)) != 0) print_error("%s\n%s\n", rows[i].in, out);
    assert_int_equal(strncmp(got, want, strlen(want)), 0);
    arena_free(a);
  }
}

/* CHUNKING without PIPELINING: what follows BDAT at once is its chunk. */
static void chunk_without_pipelining(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct config *cfg = read_config("nopipe", "pipelining_advertise_hosts =\n");
  assert_non_null(cfg);
  static const char in[] = "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@test.ex>\r\nBDAT 2 LAST\r\nxyQUIT\r\n";
  size_t cuts[] = {8, 8 + 17, 8 + 17 + 21};
  struct conn *c = ARENA_NEW(a, struct conn);
  c->arena = a;
  c->cfg = cfg;
  c->from.host_address = "192.0.2.1";
  struct smtp_opts o = {.mode = SMTP_MODE_SESSION, .queue_only = true};
  int fd[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
  pid_t pid = fork();
  if (pid == 0) {
    char buf[4096];
    close(fd[0]);
    bool ok = read(fd[1], buf, sizeof(buf)) > 0;
    for (size_t i = 0, from = 0; ok && i < ARRAY_SIZE(cuts); from = cuts[i++])
      ok = write(fd[1], in + from, cuts[i] - from) > 0 && read(fd[1], buf, sizeof(buf)) > 0;
    ok = ok && write(fd[1], in + cuts[2], sizeof(in) - 1 - cuts[2]) > 0;
    ssize_t n = ok ? read(fd[1], buf, sizeof(buf)) : 0;
    _exit(n > 3 && memcmp(buf, "250", 3) == 0 ? 0 : 1);
  }
  close(fd[1]);
  c->io = stream_new(a, fd[0], fd[0], true);
  (void)smtp_session_run(c, &o);
  stream_close(c->io);
  int status = -1;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
  arena_free(a);
}

/* One session with the pair X "." Y in its content.  The recipient's mail is thrown away after it was read, which saves thousands of waits for the
 * disk. */
static struct pair_input pair_session(struct arena *a, size_t i, size_t j, size_t pad) {
  struct pair_input p = pair_make(a, "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<gone@test.ex>\r\nDATA\r\n", i, j, pad);
  strbuf_adds(&p.in, "QUIT\r\n");
  return p;
}

/* What a cut at one more place gives; the cuts that make it a dialogue stay. */
static const char *pair_codes(struct arena *a, const struct pair_input *p, size_t cut) {
  size_t cuts[] = {8, p->content, cut, p->end};
  return session_codes(a, session_run(a, env.slow_cfg, strbuf_str(&p->in), cuts, 4));
}

/* SMG-1, SMG-2: all pairs, cut at each byte, at all bytes, and across the edge of the read buffer (over TLS records: t_smtp_in_hostile_tls). */
static void end_of_data(void **state) {
  (void)state;
  unsigned ending = 0, sessions = 0;
  for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
    for (size_t j = 0; j < ARRAY_SIZE(ends); j++) {
      struct arena *a = arena_new("test");
      struct pair_input p = pair_session(a, i, j, 0);
      /* the same pairs with the rest of Y in front of MAIL: a command with a blank or a lone CR is no MAIL */
      const char *want = "220 250 250 250 354 250 221";
      const char *whole = pair_codes(a, &p, p.content);
      ending += p.ends_here;
      if (!p.ends_here) CHECK_STR("whole", whole, want);
      else assert_int_equal(strncmp(whole, "220 250 250 250 354 250 ", 24), 0);
      for (size_t cut = p.content + 1; cut < p.end; cut++, sessions++) {
        struct arena_mark m = arena_mark(a);
        const char *got = pair_codes(a, &p, cut);
        if (strcmp(got, whole) != 0) fail_msg("pair %zu %zu cut %zu: got %s, want %s", i, j, cut, got, whole);
        arena_release(a, m);
      }
      size_t *all = ARENA_NEW_N(a, size_t, p.in.n);
      for (size_t k = 0; k < p.in.n; k++) all[k] = k + 1;
      CHECK_STR("byte by byte", session_codes(a, session_run(a, env.slow_cfg, strbuf_str(&p.in), all, p.in.n)), whole);
      enum { READ_BUFFER = 16384 };
      for (size_t before = 0; before < 8; before++) {
        struct pair_input e = pair_session(a, i, j, READ_BUFFER - (p.x - p.content) - before);
        CHECK_STR("buffer edge", pair_codes(a, &e, e.content), whole);
      }
      arena_free(a);
    }
  assert_int_equal(ending, 6);
  assert_true(sessions > 81 * 40);
}

/* ---- a connection that ends anywhere ---------------------------------------------------------------------- */

static unsigned count_text(const char *text, const char *word) {
  unsigned n = 0;
  for (const char *p = strstr(text, word); p; p = strstr(p + 1, word)) n++;
  return n;
}

/* The client is gone after each byte of a dialogue: a message counts from its last byte on, never before, and nothing else is said about it. */
static void disconnected(void **state) {
  (void)state;
  static const struct {
    const char *text;
    size_t accepted_from; /* bytes after which the message is whole, seen from the end */
  } rows[] = {
    {"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@test.ex>\r\nDATA\r\nSubject: x\r\n\r\nhello\r\n.y\r\n.\r\nQUIT\r\n", 6},
    {"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@test.ex>\r\nBDAT 14\r\nSubject: x\r\n\r\nBDAT 7 LAST\r\nhello\r\nQUIT\r\n", 6},
    {"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@test.ex>\r\nBDAT 14\r\nSubject: x\r\n\r\nNOOP\r\nBDAT 0 LAST\r\nQUIT\r\n", 6},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    size_t whole = strlen(rows[i].text) - rows[i].accepted_from;
    for (size_t n = 0; n <= strlen(rows[i].text); n++) {
      struct arena *a = arena_new("test");
      const char *out = session_run(a, env.slow_cfg, str_n(rows[i].text, n), &n, 1);
      unsigned got = count_text(out, "250 OK id=") + count_text(out, "chunk, total"), said = count_text(out, "250 OK id=");
      if (said != (n >= whole)) fail_msg("row %zu, %zu bytes: %u accepted (%u)\n%s", i, n, said, got, out);
      arena_free(a);
    }
  }
}

/* ---- limits: a client that never stops ------------------------------------------------------------------- */

#if defined(__SANITIZE_ADDRESS__) || defined(EXIM_ARENA_DEBUG)
enum { MANY = 20000, MEMORY_COUNTS = false };
#else
enum { MANY = 1000000, MEMORY_COUNTS = true };
#endif

/* What the process holds for itself; pages of the program come and go with the machine's mood. */
static long resident_kib(void) {
  long kib = 0;
  char line[128];
  FILE *f = fopen("/proc/self/status", "r");
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "RssAnon: %ld", &kib) == 1) break;
  if (f) fclose(f);
  return kib;
}

/* The client's side: a dialogue, then piece count times, then the end, not waiting for replies. */
static void write_flood(int fd, const char *start, const char *piece, size_t count, const char *end) {
  char buf[8192];
  size_t n = 0, len = strlen(piece);
  IGNORE_RESULT(write(fd, start, strlen(start)));
  for (size_t i = 0; i < count; i++) {
    if (n + len > sizeof(buf)) {
      if (write(fd, buf, n) != (ssize_t)n) _exit(0);
      n = 0;
    }
    memcpy(buf + n, piece, len);
    n += len;
  }
  IGNORE_RESULT(write(fd, buf, n));
  IGNORE_RESULT(write(fd, end, strlen(end)));
  shutdown(fd, SHUT_WR);
  _exit(0);
}

/* Count final reply lines by first digit until the end; exit status says nothing, the counts go through the pipe. */
static void read_flood(int fd, int to) {
  struct { size_t by_class[10]; char last[4]; } r = {{0}, ""};
  char buf[65536], line[8];
  size_t at = 0;
  for (ssize_t n; (n = read(fd, buf, sizeof(buf))) > 0;)
    for (ssize_t i = 0; i < n; i++) {
      if (buf[i] == '\n') {
        if (at > 3 && line[3] == ' ') {
          r.by_class[(line[0] - '0') % 10]++;
          memcpy(r.last, line, 3);
        }
        at = 0;
      } else if (at < sizeof(line)) {
        line[at++] = buf[i];
      }
    }
  IGNORE_RESULT(write(to, &r, sizeof(r)));
  _exit(0);
}

struct flood {
  size_t by_class[10];
  char last[4];
  long grown_kib;
  double cpu_sec; /* of the session */
};

static double cpu_used_sec(void) {
  struct rusage u;
  assert_int_equal(getrusage(RUSAGE_SELF, &u), 0);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static struct flood flood(const struct config *cfg, const char *start, const char *piece, size_t count, const char *end) {
  struct flood f = {{0}, "", 0, 0};
  int fd[2], back[2];
  pid_t pids[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
  assert_int_equal(pipe(back), 0);
  for (int i = 0; i < 2; i++) {
    pids[i] = fork();
    if (pids[i] != 0) continue;
    close(fd[0]);
    signal(SIGPIPE, SIG_IGN);
    if (i == 0) write_flood(fd[1], start, piece, count, end);
    else read_flood(fd[1], back[1]);
  }
  close(fd[1]);
  close(back[1]);
  struct arena *a = arena_new("test");
  struct conn *c = ARENA_NEW(a, struct conn);
  c->arena = a;
  c->cfg = cfg;
  c->io = stream_new(a, fd[0], fd[0], true);
  c->from.host_address = "192.0.2.1";
  struct smtp_opts o = {.mode = SMTP_MODE_SESSION, .queue_only = true};
  long before = resident_kib();
  double cpu = cpu_used_sec();
  (void)smtp_session_run(c, &o);
  f.cpu_sec = cpu_used_sec() - cpu;
  f.grown_kib = resident_kib() - before;
  stream_close(c->io);
  assert_int_equal(read(back[0], &f, sizeof(f.by_class) + sizeof(f.last)), sizeof(f.by_class) + sizeof(f.last));
  close(back[0]);
  for (int i = 0; i < 2; i++) (void)waitpid(pids[i], NULL, 0);
  arena_free(a);
  return f;
}

#define START "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@test.ex>\r\n"

/* LIM-1 to LIM-4.  The limits are taken off where they would end the session, to see what a session can be made to hold. */
static void endless_clients(void **state) {
  (void)state;
  struct config *lax = read_config("lax", "smtp_enforce_sync = false\nsmtp_accept_max_nonmail_hosts =\nsmtp_accept_max_per_connection = 0\nlog_selector = -all\n");
  assert_non_null(lax);
  static const struct {
    const char *what;
    bool lax;
    const char *start, *piece;
    size_t count;
    const char *end;
    size_t good, temporary, bad;
    const char *last;
    long max_kib;
  } rows[] = {
    {"BDAT of one byte", true, START "BDAT 14\r\nSubject: x\r\n\r\n", "BDAT 1\r\nx", MANY, "BDAT 0 LAST\r\nQUIT\r\n", MANY + 7, 0, 0, "221", 1024},
    {"NOOP", true, "EHLO x\r\n", "NOOP\r\n", MANY, "QUIT\r\n", MANY + 3, 0, 0, "221", 1024},
    {"MAIL, counted", false, "EHLO x\r\n", "MAIL FROM:<refused@b>\r\n", 2000, "QUIT\r\n", 2, 21, 1000, "421", 2048},
    {"NOOP, counted", false, "EHLO x\r\n", "NOOP\r\n", MANY, "QUIT\r\n", 12, 0, 1, "554", 1024},
    {"NOOP between chunks", false, START "BDAT 2\r\nab", "NOOP\r\n", MANY, "QUIT\r\n", 15, 0, 1, "554", 1024},
    {"RSET", true, START, "RSET\r\n", MANY, "QUIT\r\n", MANY + 5, 0, 0, "221", 1024},
    {"unknown", true, "EHLO x\r\n", "FOO\r\n", MANY, "QUIT\r\n", 2, 0, 4, "500", 1024},
    {"refused recipients", true, START, "RCPT TO:<bad@test.ex>\r\n", MANY / 25, "QUIT\r\n", 5, 0, MANY / 25, "221", 2048},
    {"refused senders", true, "EHLO x\r\n", "MAIL FROM:<refused@b>\r\n", MANY / 50, "QUIT\r\n", 3, 0, MANY / 50, "221", 2048},
    {"a line without end", true, "EHLO x\r\nNOOP ", "0123456789", MANY, "\r\nQUIT\r\n", 3, 0, 1, "221", 1024},
    {"headers of 1.5 MiB", true, START "DATA\r\n", "A: 0123456789\r\n", 105000, "\r\n.\r\nQUIT\r\n", 5, 0, 1, "221", 4096},
    {"a header line of 1 MiB", true, START "DATA\r\nA: ", "0123456789", 104900, "\r\n\r\n.\r\nQUIT\r\n", 5, 0, 1, "221", 4096},
    {"a header folded for ever", true, START "DATA\r\nA: b\r\n", " 012345\r\n", 150000, "\r\n.\r\nQUIT\r\n", 5, 0, 1, "221", 4096},
    {"a long EHLO", true, "EHLO ", "x123456789", 6554, "\r\nQUIT\r\n", 2, 0, 1, "221", 1024},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct flood f = flood(rows[i].lax ? lax : env.slow_cfg, rows[i].start, rows[i].piece, rows[i].count, rows[i].end);
    CHECK_STR(rows[i].what, f.last, rows[i].last);
    CHECK_INT(rows[i].what, f.by_class[2], rows[i].good);
    CHECK_INT(rows[i].what, f.by_class[4], rows[i].temporary);
    CHECK_INT(rows[i].what, f.by_class[5], rows[i].bad);
    if (MEMORY_COUNTS && f.grown_kib > rows[i].max_kib) fail_msg("%s: grew by %ld KiB", rows[i].what, f.grown_kib);
    /* What grows with the square of the count takes minutes; processor time on a busy machine may be several times that of an idle one. */
    if (MEMORY_COUNTS && !strstr(rows[i].piece, "BDAT") && f.cpu_sec >= 10) fail_msg("%s: took %.2f s", rows[i].what, f.cpu_sec);
  }
}

/* Bytes that a connection keeps after so many refused recipients, for each of which variables are set. */
static size_t kept_after(const struct config *cfg, int count) {
  struct arena *a = arena_new("test"), *io = arena_new("client");
  struct strbuf in = strbuf_new_t(io, TAINTED, 1024);
  strbuf_adds(&in, "EHLO x\r\nMAIL FROM:<a@b>\r\n");
  for (int i = 0; i < count; i++) strbuf_addf(&in, "RCPT TO:<bad%04d@test.ex>\r\n", i);
  strbuf_adds(&in, "QUIT\r\n");
  struct conn *c = ARENA_NEW(a, struct conn);
  c->arena = a;
  c->cfg = cfg;
  c->io = stream_new_memory(io, strbuf_str(&in), NULL, 0);
  c->from.host_address = "192.0.2.1";
  (void)smtp_session_run(c, &(struct smtp_opts){.mode = SMTP_MODE_SESSION, .queue_only = true});
  size_t bytes = arena_used_bytes(a);
  CHECK_INT("refused", strstr(str_dup(io, stream_memory_output(c->io)), arena_printf(io, "bad%04d ", count - 1)) != NULL, true);
  stream_close(c->io);
  arena_free(io);
  arena_free(a);
  return bytes;
}

static void variables_take_one_place(void **state) {
  (void)state;
  struct config *cfg = session_config("vars",
    "primary_hostname = mx.test.ex\nspool_directory = %s\nlog_file_path = %s/%%slog\nkeep_environment =\ntls_advertise_hosts =\nhost_lookup =\n"
    "queue_only\nsmtp_enforce_sync = false\nlog_selector = -all\nacl_smtp_rcpt = r\nbegin acl\nr:\n"
    "  warn set acl_c_last = $local_part was here\n       set acl_c_before = $acl_c_last\n       set acl_c_turn = ${if match{$local_part}{[02468]\\$}{x}{$local_part}}\n"
    "  deny message = $acl_c_before \n", scratch_dir, scratch_dir);
  assert_non_null(cfg);
  size_t few = kept_after(cfg, 200), many = kept_after(cfg, 5000);
  if (many > few) fail_msg("%zu bytes after 200, %zu after 5000", few, many);
}

/* A header line that an ACL adds for each refused recipient: all different, and all the same. */
static void headers_of_refused_recipients(void **state) {
  (void)state;
  struct config *cfg = session_config("added",
    "primary_hostname = mx.test.ex\nspool_directory = %s\nlog_file_path = %s/%%slog\nkeep_environment =\ntls_advertise_hosts =\nhost_lookup =\n"
    "queue_only\nsmtp_enforce_sync = false\nlog_selector = -all\nrecipients_max = 0\nacl_smtp_rcpt = r\nbegin acl\nr:\n"
    "  accept local_parts = good\n"
    "  warn local_parts = each\n       set acl_c_n = ${eval:$acl_c_n+1}\n       add_header = X-$acl_c_n: number\n"
    "  warn local_parts = same\n       add_header = X-Same: line\n  deny\n", scratch_dir, scratch_dir);
  assert_non_null(cfg);
  enum { count = 100000 };
  struct flood f = flood(cfg, "EHLO x\r\nMAIL FROM:<a@b>\r\n", "RCPT TO:<each@test.ex>\r\n", count, "QUIT\r\n");
  CHECK_INT("each refused", f.by_class[5], count);
  if (MEMORY_COUNTS && f.cpu_sec >= 10) fail_msg("took %.2f s", f.cpu_sec);
  f = flood(cfg, "EHLO x\r\nMAIL FROM:<a@b>\r\n", "RCPT TO:<same@test.ex>\r\n", count, "QUIT\r\n");
  CHECK_INT("the same refused", f.by_class[5], count);
  if (MEMORY_COUNTS && f.grown_kib > 1024) fail_msg("grew by %ld KiB", f.grown_kib);
}

/* LIM-1: one more than recipients_max is told to come later, and what was taken stays. */
static void recipients_limit(void **state) {
  (void)state;
  struct config *cfg = read_config("rcpts", "smtp_enforce_sync = false\n");
  assert_non_null(cfg);
  enum { max = 50000 };
  assert_string_equal(cfg->o.recipients_max, "50000");
  struct flood f = flood(cfg, START, "RCPT TO:<someone@test.ex>\r\n", max, "DATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n");
  CHECK_INT("taken", f.by_class[2], max + 5);
  CHECK_INT("later", f.by_class[4], 1);
  CHECK_STR("last", f.last, "221");
  if (MEMORY_COUNTS && f.grown_kib > 64 * 1024) fail_msg("grew by %ld KiB", f.grown_kib);
  /* five times as many take about five times as long */
  struct flood few = flood(cfg, START, "RCPT TO:<someone@test.ex>\r\n", max / 5, "DATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n");
  CHECK_INT("taken", few.by_class[2], max / 5 + 6);
  if (MEMORY_COUNTS && f.cpu_sec > 15 * few.cpu_sec + 0.5) fail_msg("%d took %.2f s, %d took %.2f s", max / 5, few.cpu_sec, max, f.cpu_sec);
}

int main(void) {
  sys_large_blocks_apart();
  const struct CMUnitTest tests[] = {cmocka_unit_test(verbs_by_state), cmocka_unit_test(after_rejection),
                                     cmocka_unit_test(command_characters), cmocka_unit_test(chunk_without_pipelining), cmocka_unit_test(synchronisation),
                                     cmocka_unit_test(end_of_data), cmocka_unit_test(disconnected),
                                     cmocka_unit_test(endless_clients), cmocka_unit_test(variables_take_one_place),
                                     cmocka_unit_test(headers_of_refused_recipients),
                                     cmocka_unit_test(recipients_limit)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
