/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lmtp transport: a Unix socket with a scripted server behind it, and a command.  RFC 2033; manual ch. 28. */
#include "smtp_server.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "scratch.h"

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})

/* A delivery of the lmtp transport for n recipients. */
static void lmtp_new(struct client *c, const char *body, int n) {
  client_new(c, body, n);
  c->t.driver = &lmtp_transport;
  c->t.ob = arena_alloc(c->a, lmtp_transport.ob_size);
  c->t.ob_block = opt_block_new(c->a, lmtp_transport.options, lmtp_transport.option_count, c->t.ob);
}

static void lmtp_option(struct client *c, const char *name, const char *value) {
  const struct option *o = opt_find(lmtp_transport.options, lmtp_transport.option_count, str_c(name));
  assert_non_null(o);
  const char *error = opt_store(c->a, c->t.ob_block, o, str_c(value), false, false, true);
  if (error) fail_msg("%s: %s", name, error);
}

static void run_socket(struct client *c, struct server *s) {
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  snprintf(un.sun_path, sizeof un.sun_path, "%s", scratch_path("lmtp.sock"));
  unlink(un.sun_path);
  s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(s->listener, (struct sockaddr *)&un, sizeof un), 0);
  assert_int_equal(listen(s->listener, 2), 0);
  pthread_create(&s->thread, NULL, server_main, s);
  lmtp_option(c, "socket", un.sun_path);
  assert_true(lmtp_transport.deliver(&c->d));
  server_finish(s);
}

#define GREET ">220 lmtp\n", "<LHLO me.test", ">250-srv\n250-IGNOREQUOTA\n250 PIPELINING\n"
#define MAIL_OK "<MAIL FROM:<s@me.test>", ">250 ok\n"

static void test_each_recipient(void **state) {
  (void)state;
  struct client c;
  lmtp_new(&c, "one\n.two\n", 3);
  lmtp_option(&c, "ignore_quota", "true");
  struct server s = {.split = 5,
                     .scripts = {SCRIPT(GREET, MAIL_OK, "<RCPT TO:<a@x.test> IGNOREQUOTA", ">250 ok\n", "<RCPT TO:<b@x.test> IGNOREQUOTA", ">450 later\n",
                                        "<RCPT TO:<c@x.test> IGNOREQUOTA", ">250 ok\n", "<DATA", ">354 go\n", "data", ">250-kept\n250 for a\n550 not c\n",
                                        "<QUIT", ">221 bye\n")}};
  run_socket(&c, &s);
  const struct address *a = c.d.addrs;
  assert_int_equal(a->result, OUTCOME_OK);
  assert_string_equal(a->confirmation, "250-kept\\n250 for a");
  a = a->next;
  assert_int_equal(a->result, OUTCOME_DEFER);
  assert_int_equal(a->basic_errno, ERRNO_RCPT4XX);
  assert_int_equal(a->more_errno, 50 << 8);
  assert_string_equal(a->message, "LMTP error after RCPT TO:<b@x.test>: 450 later");
  a = a->next;
  assert_int_equal(a->result, OUTCOME_FAIL);
  assert_string_equal(a->message, "LMTP error after end of data: 550 not c");
  assert_non_null(strstr(s.got[0], "DATA\r\nSubject: t\r\n\r\none\r\n..two\r\n.\r\nQUIT\r\n"));
  client_free(&c);
}

static void test_failures(void **state) {
  (void)state;
  const struct {
    const char *const *script;
    enum outcome first, second;
    int basic_errno;
    const char *message; /* of the second */
  } rows[] = {
    {SCRIPT(">450 no\n"), OUTCOME_DEFER, OUTCOME_DEFER, ERRNO_UNKNOWNERROR, "LMTP error after initial connection: 450 no"},
    {SCRIPT(">220 hi\n", "<LHLO", ">550 no\n"), OUTCOME_FAIL, OUTCOME_FAIL, 0, "LMTP error after LHLO me.test: 550 no"},
    {SCRIPT(GREET, "<MAIL", ">452 full\n"), OUTCOME_DEFER, OUTCOME_DEFER, ERRNO_MAIL4XX, "LMTP error after MAIL FROM:<s@me.test>: 452 full"},
    {SCRIPT(GREET, MAIL_OK, "<RCPT TO:<a", ">550 no\n", "<RCPT TO:<b", ">550 no\n", "<QUIT", ">221 bye\n"), OUTCOME_FAIL, OUTCOME_FAIL, 0,
     "LMTP error after RCPT TO:<b@x.test>: 550 no"},
    {SCRIPT(GREET, MAIL_OK, "<RCPT", ">250 ok\n", "<RCPT", "close"), OUTCOME_DEFER, OUTCOME_DEFER, ERRNO_UNKNOWNERROR,
     "LMTP connection closed after RCPT TO:<b@x.test>"},
    {SCRIPT(GREET, MAIL_OK, "<RCPT", ">250 ok\n", "<RCPT", "hang"), OUTCOME_DEFER, OUTCOME_DEFER, ERRNO_UNKNOWNERROR, "LMTP timeout after RCPT TO:<b@x.test>"},
    {SCRIPT(GREET, MAIL_OK, "<RCPT", ">250 ok\n", "<RCPT", ">250 ok\n", "<DATA", ">354 go\n", "data", ">250 ok\n", "close"), OUTCOME_OK, OUTCOME_DEFER,
     ERRNO_UNKNOWNERROR, "LMTP connection closed after end of data"},
    {SCRIPT(GREET, MAIL_OK, "<RCPT", ">250 ok\n", "<RCPT", ">rubbish\n"), OUTCOME_DEFER, OUTCOME_DEFER, ERRNO_SMTPFORMAT,
     "Malformed LMTP response after RCPT TO:<b@x.test>: rubbish"},
    {SCRIPT(GREET, MAIL_OK, "<RCPT", ">250 ok\n", "<RCPT", ">250 ok\n", "<DATA", ">554 no\n"), OUTCOME_FAIL, OUTCOME_FAIL, 0, "LMTP error after DATA: 554 no"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct client c;
    lmtp_new(&c, "x\n", 2);
    lmtp_option(&c, "timeout", "1s");
    struct server s = {.scripts = {rows[i].script}};
    run_socket(&c, &s);
    const struct address *b = c.d.addrs->next;
    if (c.d.addrs->result != rows[i].first || b->result != rows[i].second || b->basic_errno != rows[i].basic_errno ||
        strcmp(b->message ? b->message : "", rows[i].message) != 0)
      fail_msg("row %zu: got %d %d %d \"%s\"", i, c.d.addrs->result, b->result, b->basic_errno, b->message ? b->message : "NULL");
    client_free(&c);
  }
}

static void test_no_socket(void **state) {
  (void)state;
  struct client c;
  lmtp_new(&c, "x\n", 1);
  lmtp_option(&c, "socket", scratch_path("nobody"));
  assert_true(lmtp_transport.deliver(&c.d));
  assert_int_equal(c.d.addrs->result, OUTCOME_DEFER);
  assert_int_equal(c.d.addrs->basic_errno, ERRNO_UNKNOWNERROR);
  assert_non_null(strstr(c.d.addrs->message, " transport: No such file or directory"));
  client_free(&c);
  lmtp_new(&c, "x\n", 1); /* a tainted name is not used */
  c.m->sender = arena_strdup_t(c.a, scratch_path("nobody"), TAINTED);
  lmtp_option(&c, "socket", "$sender_address");
  assert_true(lmtp_transport.deliver(&c.d));
  assert_int_equal(c.d.addrs->basic_errno, ERRNO_UNKNOWNERROR);
  client_free(&c);
}

/* A shell script as the command; it keeps what it gets. */
static void test_command(void **state) {
  (void)state;
  FILE *f = fopen(scratch_path("server.sh"), "w");
  assert_non_null(f);
  fprintf(f, "#!/bin/sh\nexec 3>\"$1\"\nprintf '220 hi\\r\\n'\nwhile IFS= read -r line; do\n  printf '%%s\\n' \"$line\" >&3\n"
             "  case \"$line\" in\n    DATA*) printf '354 go\\r\\n';;\n    .*) printf '250 kept\\r\\n';;\n"
             "    QUIT*) printf '221 bye\\r\\n'; exit 0;;\n    LHLO*|MAIL*|RCPT*) printf '250 ok\\r\\n';;\n  esac\ndone\n");
  assert_int_equal(fclose(f), 0);
  assert_int_equal(chmod(scratch_path("server.sh"), 0755), 0);
  struct client c;
  char got[1024] = "";
  lmtp_new(&c, "body\n", 1);
  lmtp_option(&c, "command", arena_printf(c.a, "%s %s", scratch_path("server.sh"), scratch_path("got")));
  assert_true(lmtp_transport.deliver(&c.d));
  if (c.d.addrs->result != OUTCOME_OK) fail_msg("%s", c.d.addrs->message);
  assert_string_equal(c.d.addrs->confirmation, "250 kept");
  f = fopen(scratch_path("got"), "r");
  assert_non_null(f);
  assert_true(fread(got, 1, sizeof got - 1, f) > 0);
  fclose(f);
  assert_non_null(strstr(got, "LHLO me.test\r\nMAIL FROM:<s@me.test>\r\nRCPT TO:<a@x.test>\r\nDATA\r\nSubject: t\r\n\r\nbody\r\n.\r\nQUIT\r\n"));
  lmtp_option(&c, "command", "/nonexistent/program");
  assert_true(lmtp_transport.deliver(&c.d));
  assert_int_equal(c.d.addrs->result, OUTCOME_DEFER);
  assert_string_equal(c.d.addrs->message, "LMTP connection closed after initial connection");
  client_free(&c);
}

/* A command that never answers is ended when the time is up. */
static void test_silent_command(void **state) {
  (void)state;
  struct client c;
  lmtp_new(&c, "x\n", 1);
  lmtp_option(&c, "command", "/bin/sleep 60");
  lmtp_option(&c, "timeout", "1s");
  deadline_ms start = time_mono_ms();
  assert_true(lmtp_transport.deliver(&c.d));
  assert_true(time_mono_ms() - start < 5000);
  assert_int_equal(c.d.addrs->basic_errno, ERRNO_UNKNOWNERROR);
  assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing left behind */
  client_free(&c);
}

static void test_init(void **state) {
  (void)state;
  struct client c;
  lmtp_new(&c, "x\n", 1);
  assert_string_equal(lmtp_transport.init(c.a, &c.cfg, &c.t), "one (and only one) of command or socket must be set for the t1 transport");
  lmtp_option(&c, "command", "/bin/true");
  assert_null(lmtp_transport.init(c.a, &c.cfg, &c.t));
  lmtp_option(&c, "socket", "/x");
  assert_non_null(lmtp_transport.init(c.a, &c.cfg, &c.t));
  client_free(&c);
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_each_recipient), cmocka_unit_test(test_failures),       cmocka_unit_test(test_no_socket),
    cmocka_unit_test(test_command),        cmocka_unit_test(test_silent_command), cmocka_unit_test(test_init),
  };
  return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
