/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The smtp transport against scripted servers.  Expected classes and texts: manual ch. 49 "Errors in outgoing SMTP".  Early attempts:
 * t_early_client.c. */
#include "smtp_server.h"

#include "pipe_connect.h"
#include "retry.h"
#include "transports/smtp_priv.h"

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})
#define GOOD_END "data", ">250 ok id=1\n", "<QUIT", ">221 bye\n"

static void run(struct client *c, struct server *s) {
  server_start(s);
  client_host(c, s->port);
  assert_true(smtp_transport.deliver(&c->d));
  server_finish(s);
}

/* ---- plain ------------------------------------------------------------------------------------------------ */

static void test_plain_delivery(void **state) {
  (void)state;
  for (size_t split = 0; split < 12; split++) {
    struct client c;
    client_new(&c, "one\n.two\n\nlast", 1);
    struct server s = {.split = split,
                       .scripts = {SCRIPT("quiet", ">220-srv\n220 hello\n", "<EHLO me.test", ">250-srv\n250-SIZE 99\n250 HELP\n",
                                          "<MAIL FROM:<s@me.test> SIZE=", ">250 ok\n", "<RCPT TO:<a@x.test>", ">250 ok\n", "<DATA", ">354 go\n",
                                          GOOD_END)}};
    run(&c, &s);
    assert_int_equal(c.d.addrs->result, OUTCOME_OK);
    assert_string_equal(c.d.addrs->confirmation, "250 ok id=1");
    assert_false(c.d.addrs->pipelining_used);
    assert_non_null(strstr(s.got[0], "DATA\r\nSubject: t\r\n\r\none\r\n..two\r\n\r\nlast\r\n.\r\n"));
    client_free(&c);
  }
}

static void test_pipelined_delivery(void **state) {
  (void)state;
  struct client c;
  client_new(&c, "x\n", 3);
  struct server s = {.scripts = {SCRIPT("quiet", ">220 hello\n", "<EHLO", ">250-srv\n250 PIPELINING\n", "<MAIL", "<RCPT TO:<a@", "<RCPT TO:<b@",
                                        "<RCPT TO:<c@", "<DATA", ">250 ok\n250 ok\n550-no\n550 such user\n450 later\n354 go\n", GOOD_END)}};
  run(&c, &s);
  struct address *a = c.d.addrs;
  assert_int_equal(a->result, OUTCOME_OK);
  assert_true(a->pipelining_used);
  assert_false(a->early_pipe_used);
  a = a->next;
  assert_int_equal(a->result, OUTCOME_FAIL);
  assert_string_equal(a->message, "SMTP error from remote mail server after RCPT TO:<b@x.test>: 550-no\n550 such user");
  a = a->next;
  assert_int_equal(a->result, OUTCOME_DEFER);
  assert_int_equal(a->basic_errno, ERRNO_RCPT4XX);
  assert_non_null(a->retries);
  client_free(&c);
}

static void test_chunking(void **state) {
  (void)state;
  struct client c;
  client_new(&c, ".dot\nbare \r cr\n", 1);
  client_option(&c, "hosts_try_chunking", "*");
  struct server s = {.scripts = {SCRIPT(">220 hello\n", "<EHLO", ">250-srv\n250-CHUNKING\n250 PIPELINING\n", "<MAIL", "<RCPT", ">250 ok\n250 ok\n",
                                        "<BDAT ", "bdat", ">250 got it\n", "<QUIT")}};
  run(&c, &s);
  assert_int_equal(c.d.addrs->result, OUTCOME_OK);
  assert_true(c.d.addrs->chunking_used);
  assert_non_null(strstr(s.got[0], "LAST\r\nSubject: t\r\n\r\n.dot\r\nbare   cr\r\nQUIT"));
  client_free(&c);
}

#define CHUNK_GROUP ">220 hello\n", "<EHLO", ">250-srv\n250-CHUNKING\n250 PIPELINING\n", "<MAIL", "<RCPT TO:<a@", "<RCPT TO:<b@", "<BDAT ", "bdat"

/* The server says nothing before it has the whole group, chunk included: one wait for all of it (RFC 3030 section 4.2). */
static void test_chunk_rides_along(void **state) {
  (void)state;
  const struct {
    const char *const *script;
    enum outcome first, second;
    int basic_errno;
  } rows[] = {
    {SCRIPT(CHUNK_GROUP, ">250 ok\n250 ok\n550 no\n250 got it\n", "<QUIT"), OUTCOME_OK, OUTCOME_FAIL, 0},
    {SCRIPT(CHUNK_GROUP, ">250 ok\n550 no\n550 no\n503 no recipients\n", "<QUIT"), OUTCOME_FAIL, OUTCOME_FAIL, 0},
    {SCRIPT(CHUNK_GROUP, ">450 later\n503 what\n503 what\n503 what\n", "<QUIT"), OUTCOME_DEFER, OUTCOME_DEFER, ERRNO_MAIL4XX},
    {SCRIPT(CHUNK_GROUP, ">250 ok\n250 ok\n250 ok\n554 virus\n", "<QUIT"), OUTCOME_FAIL, OUTCOME_FAIL, 0},
    {SCRIPT(CHUNK_GROUP, ">250 ok\n250 ok\n250 ok\n", "close"), OUTCOME_DEFER, OUTCOME_DEFER, ERRNO_SMTPCLOSED},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct client c;
    client_new(&c, "x\n", 2);
    client_option(&c, "hosts_try_chunking", "*");
    struct server s = {.scripts = {rows[i].script}};
    run(&c, &s);
    assert_int_equal(s.connections, 1);
    assert_int_equal(c.d.addrs->result, rows[i].first);
    assert_int_equal(c.d.addrs->next->result, rows[i].second);
    if (rows[i].basic_errno) assert_int_equal(c.d.addrs->basic_errno, rows[i].basic_errno);
    client_free(&c);
  }
}

/* RFC 5321 section 4.5.3.1.10: 452 may mean no more than that one transaction has enough recipients. */
static void test_too_many_for_one_transaction(void **state) {
  (void)state;
  struct client c;
  client_new(&c, "x\n", 3);
  struct server s = {.scripts = {SCRIPT(">220 hello\n", "<EHLO", ">250-srv\n250 PIPELINING\n", "<MAIL", "<RCPT TO:<a@", "<RCPT TO:<b@",
                                        "<RCPT TO:<c@", "<DATA", ">250 ok\n250 ok\n452 enough\n452 enough\n354 go\n", "data", ">250 first\n",
                                        "<MAIL", "<RCPT TO:<b@", "<RCPT TO:<c@", "<DATA", ">250 ok\n250 ok\n452 still\n354 go\n",
                                        "data", ">250 second\n", "<MAIL", "<RCPT TO:<c@", "<DATA", ">250 ok\n452 never\n503 no\n", "<QUIT")}};
  run(&c, &s);
  assert_int_equal(s.connections, 1);
  struct address *a = c.d.addrs, *b = a->next, *last = b->next;
  assert_int_equal(a->result, OUTCOME_OK);
  assert_int_equal(b->result, OUTCOME_OK);
  assert_null(b->message);
  assert_null(b->retries); /* nothing is remembered of a refusal that was none */
  assert_int_equal(last->result, OUTCOME_DEFER);
  assert_int_equal(last->basic_errno, ERRNO_RCPT4XX);
  client_free(&c);
}

/* Without PIPELINING the refused wait for the next attempt, as in Exim. */
static void test_too_many_one_by_one(void **state) {
  (void)state;
  struct client c;
  client_new(&c, "x\n", 2);
  struct server s = {.scripts = {SCRIPT(">220 hello\n", "<EHLO", ">250 srv\n", "<MAIL", ">250 ok\n", "<RCPT TO:<a@", ">250 ok\n", "<RCPT TO:<b@",
                                        ">452 enough\n", "<DATA", ">354 go\n", "data", ">250 first\n", "<QUIT")}};
  run(&c, &s);
  assert_int_equal(c.d.addrs->result, OUTCOME_OK);
  assert_int_equal(c.d.addrs->next->result, OUTCOME_DEFER);
  assert_int_equal(c.d.addrs->next->basic_errno, ERRNO_RCPT4XX);
  client_free(&c);
}

/* A group of which nobody was accepted leaves the server in a transaction: the next group begins with RSET, also behind one that was sent. */
static void test_refused_group_is_reset(void **state) {
  (void)state;
  struct client c;
  client_new(&c, "x\n", 3);
  client_option(&c, "max_rcpt", "1");
  struct server s = {.scripts = {SCRIPT(">220 hello\n", "<EHLO", ">250 srv\n", "<MAIL", ">250 ok\n", "<RCPT TO:<a@", ">250 ok\n", "<DATA", ">354 go\n",
                                        "data", ">250 first\n", "<MAIL", ">250 ok\n", "<RCPT TO:<b@", ">550 no\n", "<RSET", ">250 ok\n",
                                        "<MAIL", ">250 ok\n", "<RCPT TO:<c@", ">250 ok\n", "<DATA", ">354 go\n", "data", ">250 third\n", "<QUIT")}};
  run(&c, &s);
  assert_int_equal(s.connections, 1);
  assert_int_equal(c.d.addrs->result, OUTCOME_OK);
  assert_int_equal(c.d.addrs->next->result, OUTCOME_FAIL);
  assert_int_equal(c.d.addrs->next->next->result, OUTCOME_OK);
  client_free(&c);
}

static void test_helo_fallback_and_all_refused(void **state) {
  (void)state;
  struct client c;
  client_new(&c, "x\n", 1);
  struct server s = {.scripts = {SCRIPT(">220 hello\n", "<EHLO", ">500 what\n", "<HELO me.test", ">250 ok\n", "<MAIL FROM:<s@me.test>", ">250 ok\n",
                                        "<RCPT", ">550 no\n", "<QUIT")}};
  run(&c, &s);
  assert_int_equal(c.d.addrs->result, OUTCOME_FAIL);
  client_free(&c);
}

struct failure_case {
  const char *name;
  const char *const *script;
  enum outcome result;
  int basic_errno;
  const char *message; /* NULL: none */
  bool host_retry, message_retry;
};

#define ID "10HmaX-000000005vi-0000"
#define UP_TO_EHLO ">220 hello\n", "<EHLO", ">250-srv\n250 PIPELINING\n"
#define UP_TO_GROUP UP_TO_EHLO, "<MAIL", "<RCPT", "<DATA"

static void test_failures(void **state) {
  (void)state;
  const struct failure_case cases[] = {
    {"greeting 5xx", SCRIPT(">550 Go away\n"), OUTCOME_FAIL, 0, "SMTP error from remote mail server after initial connection: 550 Go away", false, false},
    {"greeting 4xx", SCRIPT(">450 I'm busy\n"), OUTCOME_DEFER, 0, "SMTP error from remote mail server after initial connection: 450 I'm busy", true, false},
    {"greeting EOF", SCRIPT("close"), OUTCOME_DEFER, ERRNO_SMTPCLOSED, "Remote host closed connection in response to initial connection", true, false},
    {"greeting garbage", SCRIPT(">hello there\n"), OUTCOME_DEFER, ERRNO_SMTPFORMAT, "Malformed SMTP reply in response to initial connection: hello there", true, false},
    {"greeting timeout", SCRIPT("hang"), OUTCOME_DEFER, ETIMEDOUT, "SMTP timeout after initial connection", true, false},
    {"ehlo EOF", SCRIPT(">220 hi\n", "<EHLO", "close"), OUTCOME_DEFER, ERRNO_SMTPCLOSED, "Remote host closed connection in response to EHLO me.test", true, false},
    {"ehlo half", SCRIPT(">220 hi\n", "<EHLO", ">250-srv\n250-PIPE", "close"), OUTCOME_DEFER, ERRNO_SMTPCLOSED, "Remote host closed connection in response to EHLO me.test", true, false},
    {"helo 5xx", SCRIPT(">220 hi\n", "<EHLO", ">550 no\n", "<HELO", ">550 Go away (C)\n"), OUTCOME_FAIL, 0, "SMTP error from remote mail server after HELO me.test: 550 Go away (C)", false, false},
    {"helo EOF", SCRIPT(">220 hi\n", "<EHLO", ">550 You are banned\n", "<HELO", "close"), OUTCOME_DEFER, ERRNO_SMTPCLOSED, "Remote host closed connection in response to HELO me.test (EHLO response was: 550 You are banned)", true, false},
    {"mail 5xx", SCRIPT(UP_TO_GROUP, ">550 BAD MAIL\n503 no\n503 no\n"), OUTCOME_FAIL, 0, "SMTP error from remote mail server after pipelined MAIL FROM:<s@me.test>: 550 BAD MAIL", false, false},
    {"mail 4xx", SCRIPT(UP_TO_GROUP, ">450 Defer\n503 no\n503 no\n"), OUTCOME_DEFER, ERRNO_MAIL4XX, "SMTP error from remote mail server after pipelined MAIL FROM:<s@me.test>: 450 Defer", false, true},
    {"mail refused, data accepted", SCRIPT(UP_TO_GROUP, ">550 no\n550 no\n354 go\n", "<.", ">554 no\n", "<QUIT"), OUTCOME_FAIL, 0, "SMTP error from remote mail server after pipelined MAIL FROM:<s@me.test>: 550 no", false, false},
    {"rcpt 4xx, data 354", SCRIPT(UP_TO_GROUP, ">250 ok\n452 full\n354 go\n", "<.", ">554 no\n", "<QUIT"), OUTCOME_DEFER, ERRNO_RCPT4XX, "SMTP error from remote mail server after RCPT TO:<a@x.test>: 452 full", false, false},
    {"rcpt timeout", SCRIPT(UP_TO_GROUP, ">250 ok\n", "hang"), OUTCOME_DEFER, ETIMEDOUT, "SMTP timeout after RCPT TO:<a@x.test>", false, false},
    {"rcpt EOF", SCRIPT(UP_TO_GROUP, ">250 ok\n", "close"), OUTCOME_DEFER, ERRNO_SMTPCLOSED, "Remote host closed connection in response to pipelined RCPT TO:<a@x.test>", true, false},
    {"empty line", SCRIPT(UP_TO_GROUP, ">250 ok\n250 ok\n\n"), OUTCOME_DEFER, ERRNO_SMTPFORMAT, "Malformed SMTP reply (an empty line) in response to pipelined DATA", true, false},
    {"data 4xx", SCRIPT(UP_TO_GROUP, ">250 ok\n250 ok\n451 not now\n"), OUTCOME_DEFER, ERRNO_DATA4XX, "SMTP error from remote mail server after pipelined DATA: 451 not now", false, true},
    {"data timeout", SCRIPT(UP_TO_GROUP, ">250 ok\n250 ok\n", "hang"), OUTCOME_DEFER, ETIMEDOUT, "SMTP timeout after pipelined DATA", true, false},
    {"end 5xx", SCRIPT(UP_TO_GROUP, ">250 ok\n250 ok\n354 go\n", "data", ">550 naah mate\n", "<QUIT"), OUTCOME_FAIL, 0, "SMTP error from remote mail server after end of data: 550 naah mate", false, false},
    {"end 4xx", SCRIPT(UP_TO_GROUP, ">250 ok\n250 ok\n354 go\n", "data", ">450 oops\n", "<QUIT"), OUTCOME_DEFER, ERRNO_DATA4XX, "SMTP error from remote mail server after end of data: 450 oops", false, true},
    {"end 8xx", SCRIPT(UP_TO_GROUP, ">250 ok\n250 ok\n354 go\n", "data", ">850 NONSENSE\n", "<QUIT"), OUTCOME_DEFER, 0, "SMTP error from remote mail server after end of data: 850 NONSENSE", false, true},
    {"end EOF", SCRIPT(UP_TO_GROUP, ">250 ok\n250 ok\n354 go\n", "data", "close"), OUTCOME_DEFER, ERRNO_SMTPCLOSED, "Remote host closed connection in response to end of data", false, true},
    {"end timeout", SCRIPT(UP_TO_GROUP, ">250 ok\n250 ok\n354 go\n", "data", "hang"), OUTCOME_DEFER, ETIMEDOUT, "SMTP timeout after end of data (20 bytes written)", false, true},
    {"mixed codes", SCRIPT(">220-a\n250 b\n"), OUTCOME_DEFER, ERRNO_SMTPFORMAT, "Malformed SMTP reply in response to initial connection: 250 b", true, false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    const struct failure_case *t = &cases[i];
    struct client c;
    client_new(&c, "x\n", 1);
    client_option(&c, "command_timeout", "1s");
    client_option(&c, "final_timeout", "1s");
    struct server s = {.scripts = {t->script}};
    run(&c, &s);
    const struct address *a = c.d.addrs;
    if (a->result != t->result || a->basic_errno != t->basic_errno || !a->message || strcmp(a->message, t->message) != 0)
      fail_msg("%s: got %d %d \"%s\"", t->name, a->result, a->basic_errno, a->message ? a->message : "NULL");
    bool has_host = false, has_message = false;
    for (const struct retry_item *r = a->retries; r; r = r->next) {
      bool is_message = strstr(r->key, ID) != NULL;
      if (r->key[0] == 'T' && !is_message) has_host = true;
      if (r->key[0] == 'T' && is_message) has_message = true;
    }
    if (has_host != t->host_retry || has_message != t->message_retry)
      fail_msg("%s: retry items: host %d, message %d", t->name, has_host, has_message);
    client_free(&c);
  }
}

static void test_refused_connection_goes_to_next_host(void **state) {
  (void)state;
  struct client c;
  client_new(&c, "x\n", 1);
  struct server gone = {0};
  server_start(&gone);
  server_finish(&gone); /* nobody listens there any more */
  client_host(&c, gone.port);
  struct server s = {.scripts = {SCRIPT(UP_TO_GROUP, ">250 ok\n250 ok\n354 go\n", GOOD_END)}};
  run(&c, &s);
  assert_int_equal(c.d.addrs->result, OUTCOME_OK);
  assert_int_equal(c.d.addrs->host_used->port, s.port);
  client_free(&c);
  client_new(&c, "x\n", 1);
  client_host(&c, gone.port);
  assert_true(smtp_transport.deliver(&c.d));
  assert_int_equal(c.d.addrs->result, OUTCOME_DEFER);
  assert_int_equal(c.d.addrs->basic_errno, ECONNREFUSED);
  assert_null(c.d.addrs->message);
  assert_null(c.d.addrs->host_used);
  client_free(&c);
}

static void test_overlong_reply(void **state) {
  (void)state;
  struct client c;
  client_new(&c, "x\n", 1);
  char *line = arena_alloc(c.a, 5010);
  memset(line, 'y', 5008);
  memcpy(line, ">220 long ", 10);
  line[5008] = '\n';
  struct server s = {.scripts = {SCRIPT(line)}};
  run(&c, &s);
  assert_int_equal(c.d.addrs->result, OUTCOME_DEFER);
  assert_int_equal(c.d.addrs->basic_errno, ERRNO_SMTPFORMAT);
  assert_int_equal(strlen(c.d.addrs->message), 1024);
  assert_non_null(strstr(c.d.addrs->message, "in response to initial connection: 220 long yyy"));
  client_free(&c);
}

static void test_no_line_end_in_commands(void **state) {
  (void)state;
  struct client c;
  client_new(&c, "x\n", 1);
  c.d.addrs->address = "a@x.test>\r\nRCPT TO:<evil@x.test";
  struct server s = {.scripts = {SCRIPT(UP_TO_EHLO, "stop")}};
  run(&c, &s);
  assert_int_equal(c.d.addrs->result, OUTCOME_DEFER);
  assert_null(strstr(s.got[0], "evil"));
  client_free(&c);
}

static void test_lmtp(void **state) {
  (void)state;
  struct client c;
  client_new(&c, "x\n", 3);
  client_option(&c, "protocol", "lmtp");
  struct server s = {.scripts = {SCRIPT(">220 hi\n", "<LHLO me.test", ">250-srv\n250 PIPELINING\n", "<MAIL", "<RCPT", "<RCPT", "<RCPT", "<DATA",
                                        ">250 ok\n250 ok\n550 no\n250 ok\n354 go\n", "data", ">250 saved\n440 Temporary error\n", "<QUIT")}};
  run(&c, &s);
  struct address *a = c.d.addrs;
  assert_int_equal(a->result, OUTCOME_OK);
  assert_int_equal(a->next->result, OUTCOME_FAIL);
  assert_int_equal(a->next->next->result, OUTCOME_DEFER);
  assert_string_equal(a->next->next->message, "LMTP error after DATA: 440 Temporary error");
  client_free(&c);
}

static void test_ehlo_keywords(void **state) {
  (void)state;
  const struct {
    const char *reply;
    unsigned features;
    long size;
  } cases[] = {
    {"250 srv PIPELINING", 0, 0},
    {"250-srv\n250-pipelining\n250 Size 100", EHLO_PIPELINING | EHLO_SIZE, 100},
    {"250-srv\n250-SIZE\n250-X_y bad\n250-=\n250 STARTTLS", EHLO_SIZE | EHLO_TLS, 0},
    {"250-srv\n250-CHUNKINGX\n250-CHUNKING\n250-DSN\n250-PRDR\n250 SMTPUTF8", EHLO_CHUNKING | EHLO_DSN | EHLO_PRDR | EHLO_SMTPUTF8, 0},
    {"", 0, 0},
#ifdef EXPERIMENTAL_PIPE_CONNECT
    {"250-srv\n250 X_PIPE_CONNECT", EHLO_PIPE_CONNECT, 0},
    {"250-srv\n250 pipe_connect", EHLO_PIPE_CONNECT, 0},
    {"250-srv\n250 PipeConnect", EHLO_PIPE_CONNECT, 0},
    {"250-srv\n250 PIPECONNECTX", 0, 0},
#endif
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct ehlo_facts f = smtp_parse_ehlo(str_c(cases[i].reply));
    assert_int_equal(f.features, cases[i].features);
    assert_int_equal(f.size_limit, cases[i].size);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_too_many_for_one_transaction),
    cmocka_unit_test(test_too_many_one_by_one),
    cmocka_unit_test(test_refused_group_is_reset),
    cmocka_unit_test(test_plain_delivery),
    cmocka_unit_test(test_pipelined_delivery),
    cmocka_unit_test(test_chunking),
    cmocka_unit_test(test_chunk_rides_along),
    cmocka_unit_test(test_helo_fallback_and_all_refused),
    cmocka_unit_test(test_failures),
    cmocka_unit_test(test_refused_connection_goes_to_next_host),
    cmocka_unit_test(test_overlong_reply),
    cmocka_unit_test(test_no_line_end_in_commands),
    cmocka_unit_test(test_lmtp),
    cmocka_unit_test(test_ehlo_keywords),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
