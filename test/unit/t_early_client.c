/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Early pipelining, the client against scripted servers: a walk of the failure classes of doc/experimental-spec.txt section 7, each with DATA, with
 * BDAT behind the EHLO reply and with the message in the first flight, alone and with a second host in the list.  Each row asserts what went over the
 * wire, the fate of the recipient, retry items, log, and the record that is left.  Nothing may be lost or come twice, and a stale record may fail nobody. */
#include "smtp_server.h"

#include "early_rows.h"
#include "transports/smtp_priv.h"

#ifdef EXPERIMENTAL_PIPE_CONNECT

/* ---- the walk --------------------------------------------------------------------------------------------- */

static void prepare(struct client *c, enum mode m) {
  client_new(c, "x\n", 1);
  client_option(c, "hosts_pipe_connect", "*");
  client_option(c, "command_timeout", "1s");
  if (m != WITH_DATA) client_option(c, "hosts_try_chunking", "*");
  if (m == WITH_BODY) {
    client_option(c, "hosts_pipe_connect_body", "*");
    client_option(c, "hosts_avoid_tls", "*");
  }
}

static void walk_row(const struct row *r, enum mode m, bool second_host) {
  char what[160];
  const char *early[32];
  const char *ehlo = r->ehlo && strcmp(r->ehlo, BARE) == 0 ? ehlo_reply(BARE, m) : ">250-s\n250 PIPELINING\n";
  const char *const plain[] = {"quiet", ">220 hello\n", "<EHLO me.test", ehlo, "<MAIL", "<RCPT", "<DATA", ">250 ok\n250 ok\n354 go\n",
                               "data", ">250 ok id=1\n", "<QUIT", NULL};
  struct client c;
  bool lost = m == WITH_BODY && r->body_result, again = r->again && !lost;
  enum outcome result = lost ? (enum outcome)(r->body_result - 1) : r->result;
  snprintf(what, sizeof what, "%s %s, %s%s", r->classes, r->name, mode_names[m], second_host ? ", second host" : "");
  prepare(&c, m);
  early_script(r, m, true, early);
  struct server one = {.scripts = {early, plain}}, two = {.scripts = {plain}};
  server_start(&one);
  client_host(&c, one.port);
  if (second_host) {
    server_start(&two);
    client_host(&c, two.port);
  }
  remember(&c, one.port, features_of(m), 0, m == WITH_BODY ? HINTS_EHLO_CONFIRMED_CHUNKING : 0);
  int64_t logged = log_size(test_log_path);
  assert_true(smtp_transport.deliver(&c.d));
  server_finish(&one);
  const struct address *a = c.d.addrs;
  /* A message that is deferred goes to the next host, as it would after a plain attempt. */
  bool moves_on = second_host && result == OUTCOME_DEFER && !(lost && r->record == SUSPENDED);
  if (second_host) {
    server_finish(&two);
    CHECK_INT(what, two.connections, moves_on ? 1 : 0);
  }
  CHECK_INT(what, one.connections, again ? 2 : 1);
  CHECK_INT(what, a->result, moves_on ? OUTCOME_OK : result);
  if (result == OUTCOME_OK) CHECK_INT(what, a->early_pipe_used, r->mark);
  CHECK_INT(what, record_left(&c, one.port), lost && r->record == SUSPENDED ? SUSPENDED : r->record);
  /* the wire: the early connection never carries a message twice, and none at all in front of the EHLO reply unless that was asked for */
  CHECK_INT(what, occurrences(one.got[0], "Subject: t\r\n") <= 1, true);
  if (m != WITH_BODY && !r->end) CHECK_INT(what, occurrences(one.got[0], "Subject: t"), 0);
  if (again) CHECK_INT(what, occurrences(one.got[1], "Subject: t"), 1);
  if (!moves_on) check_retries(what, r, result, a);
  if (result == OUTCOME_OK) CHECK_INT(what, log_size(test_log_path), logged); /* K11: nothing is said of the early attempt */
  client_free(&c);
}

static void test_failure_classes(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
    for (int m = 0; m < MODES; m++)
      for (int second = 0; second < 2; second++)
        if (strcmp(rows[i].classes, "F7") != 0 || !second) walk_row(&rows[i], (enum mode)m, second);
}

/* Every row of the table of rules is met by the walk, or by a test below. */
static void test_rules_are_walked(void **state) {
  (void)state;
  for (int e = 0; e < PIPE_EVENTS; e++) {
    const struct pipe_failure_rule *rule = pipe_connect_rule((enum pipe_event)e);
    bool met = e == PIPE_EV_CONNECT_FAILED || e == PIPE_EV_TLS_ADDED || e == PIPE_EV_AUTH_REFUSED;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) met = met || strcmp(rows[i].classes, rule->classes) == 0;
    CHECK_INT(rule->classes, met, true);
    if (rule->replain) CHECK_INT(rule->classes, rule->believe, false);
  }
}

/* ---- hosts that fail twice, or do not answer ----------------------------------------------------------------- */

#define PLAIN_OK SCRIPT("quiet", ">220 hello\n", "<EHLO me.test", ">250-s\n250 PIPELINING\n", "<MAIL", "<RCPT", "<DATA", ">250 ok\n250 ok\n354 go\n", "data", ">250 ok\n", "<QUIT")

static void test_f26_next_host(void **state) {
  (void)state;
  const struct {
    const char *name;
    const char *const *first, *const *second;
    enum outcome alone;
    bool moves_on;
  } cases[] = {
    {"554 both times", SCRIPT("early", ">554 no\n"), SCRIPT("quiet", ">554 really\n"), OUTCOME_FAIL, true},
    {"421 both times", SCRIPT("early", ">421 no\n"), SCRIPT("quiet", ">421 really\n"), OUTCOME_DEFER, true},
    {"closed both times", SCRIPT("early", "close"), SCRIPT("quiet", "close"), OUTCOME_DEFER, true},
    {"closed, then RCPT refused", SCRIPT("early", "close"),
     SCRIPT("quiet", ">220 hi\n", "<EHLO", ">250-s\n250 PIPELINING\n", "<MAIL", "<RCPT", "<DATA", ">250 ok\n550 no\n503 no\n", "<QUIT"), OUTCOME_FAIL, false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    for (int with_next = 0; with_next < 2; with_next++) {
      struct client c;
      prepare(&c, WITH_DATA);
      struct server one = {.scripts = {cases[i].first, cases[i].second}}, two = {.scripts = {PLAIN_OK}};
      server_start(&one);
      client_host(&c, one.port);
      if (with_next) server_start(&two), client_host(&c, two.port);
      remember(&c, one.port, BASIC, 0, 0);
      assert_true(smtp_transport.deliver(&c.d));
      server_finish(&one);
      CHECK_INT(cases[i].name, one.connections, 2);
      CHECK_INT(cases[i].name, c.d.addrs->result, with_next && cases[i].moves_on ? OUTCOME_OK : cases[i].alone);
      if (with_next) {
        server_finish(&two);
        CHECK_INT(cases[i].name, two.connections, cases[i].moves_on);
      }
      CHECK_INT(cases[i].name, record_left(&c, one.port), SUSPENDED);
      client_free(&c);
    }
}

static void test_f1_refused(void **state) {
  (void)state;
  struct client c;
  prepare(&c, WITH_DATA);
  struct server gone = {0};
  server_start(&gone);
  server_finish(&gone); /* nobody listens there any more */
  client_host(&c, gone.port);
  remember(&c, gone.port, BASIC, 0, 0);
  assert_true(smtp_transport.deliver(&c.d));
  assert_int_equal(c.d.addrs->result, OUTCOME_DEFER);
  assert_int_equal(c.d.addrs->basic_errno, ECONNREFUSED);
  assert_int_equal(record_left(&c, gone.port), KEPT);
  client_free(&c);
}

/* ---- learning, suspending ----------------------------------------------------------------------------------- */

static void deliver_again(struct client *c, int port) {
  client_recipients(c, 1);
  client_host(c, port);
  assert_true(smtp_transport.deliver(&c->d));
  assert_int_equal(c->d.addrs->result, OUTCOME_OK);
}

#define EHLO_GOOD ">250-srv\n250-SIZE 1000000\n250-PIPELINING\n250 PIPECONNECT\n"
#define EHLO_CHUNK ">250-srv\n250-SIZE 1000000\n250-PIPELINING\n250-X_PIPE_CONNECT\n250 CHUNKING\n"
#define LEARN(ehlo) SCRIPT("quiet", ">220 hello\n", "<EHLO me.test", ehlo, "<MAIL", "<RCPT", "<DATA", ">250 ok\n250 ok\n354 go\n", "data", ">250 ok\n", "<QUIT")
#define EARLY_OK SCRIPT("early", "<EHLO", "<MAIL", "<RCPT", "<DATA", ">220 hi\n", EHLO_GOOD, ">250 ok\n250 ok\n354 go\n", "data", ">250 ok\n", "<QUIT")

static void test_learn_then_talk_early(void **state) {
  (void)state;
  struct client c;
  struct hints_ehlo r;
  prepare(&c, WITH_DATA);
  struct server s = {.scripts = {LEARN(EHLO_GOOD), EARLY_OK, SCRIPT("early", "close"), LEARN(EHLO_GOOD), LEARN(EHLO_GOOD)}};
  server_start(&s);
  deliver_again(&c, s.port);
  assert_false(c.d.addrs->early_pipe_used);
  assert_true(recall(&c, s.port, &r));
  assert_int_equal(r.clear_features, BASIC);
  deliver_again(&c, s.port);
  assert_true(c.d.addrs->early_pipe_used && c.d.addrs->pipelining_used);
  deliver_again(&c, s.port); /* fails early, goes plainly, is suspended: the next one is plain at once */
  assert_false(c.d.addrs->early_pipe_used);
  assert_int_equal(record_left(&c, s.port), SUSPENDED);
  deliver_again(&c, s.port);
  assert_false(c.d.addrs->early_pipe_used);
  assert_int_equal(record_left(&c, s.port), SUSPENDED);
  server_finish(&s);
  assert_int_equal(s.connections, 5);
  client_free(&c);
}

/* The first chunked message goes behind the EHLO reply, and only then may one go in the flight. */
static void test_body_needs_a_confirmed_chunk(void **state) {
  (void)state;
  struct client c;
  struct hints_ehlo r;
  prepare(&c, WITH_BODY);
  struct server s = {.scripts = {SCRIPT("quiet", ">220 hello\n", "<EHLO me.test", EHLO_CHUNK, "<MAIL", "<RCPT", "<BDAT", "bdat", ">250 ok\n250 ok\n250 ok\n", "<QUIT"),
                                 SCRIPT("early", "<EHLO", "<MAIL", "<RCPT", "<BDAT ", "bdat", ">220 hi\n", EHLO_CHUNK, ">250 ok\n250 ok\n250 ok\n", "<QUIT")}};
  server_start(&s);
  deliver_again(&c, s.port);
  assert_true(recall(&c, s.port, &r));
  assert_true(r.flags & HINTS_EHLO_CONFIRMED_CHUNKING);
  deliver_again(&c, s.port);
  assert_true(c.d.addrs->early_pipe_used && c.d.addrs->chunking_used);
  server_finish(&s);
  client_free(&c);
}

static void test_body_guards(void **state) {
  (void)state;
  const struct {
    const char *name, *body, *option, *value;
    unsigned flags;
  } cases[] = {
    {"a line that could be a command", "a\n  mail FROM:<x@y>\n", NULL, NULL, HINTS_EHLO_CONFIRMED_CHUNKING},
    {"not confirmed", "x\n", NULL, NULL, 0},
    {"it could be encrypted", "x\n", "hosts_avoid_tls", "", HINTS_EHLO_CONFIRMED_CHUNKING},
    {"not asked for", "x\n", "hosts_pipe_connect_body", "", HINTS_EHLO_CONFIRMED_CHUNKING},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct client c;
    prepare(&c, WITH_BODY);
    client_free(&c);
    client_new(&c, cases[i].body, 1);
    client_option(&c, "hosts_pipe_connect", "*");
    client_option(&c, "hosts_try_chunking", "*");
    client_option(&c, "hosts_pipe_connect_body", "*");
    client_option(&c, "hosts_avoid_tls", "*");
    if (cases[i].option) client_option(&c, cases[i].option, cases[i].value);
    struct server s = {.scripts = {SCRIPT("early", "<EHLO", "<MAIL", "<RCPT", "quiet", ">220 hi\n", EHLO_CHUNK, ">250 ok\n250 ok\n", "<BDAT ", "bdat", ">250 ok\n", "<QUIT")}};
    server_start(&s);
    client_host(&c, s.port);
    remember(&c, s.port, CHUNKED, 0, cases[i].flags);
    assert_true(smtp_transport.deliver(&c.d));
    server_finish(&s);
    CHECK_INT(cases[i].name, c.d.addrs->result, OUTCOME_OK);
    client_free(&c);
  }
}

static void test_text_has_verbs(void **state) {
  (void)state;
  const struct {
    const char *text;
    bool has;
  } cases[] = {
    {"", false},           {"Subject: x\r\n\r\nhello mail\r\n", false}, {"MAIL FROM:<a@b>", true}, {"x\rquit", true},
    {"x\n \t bdat 1", true}, {"x\r\n\r\nDATA\r\n", true},                {"remail data", false},    {"Mailing-List: y\r\n", true},
    {"x\r\nstarttl", false}, {"x\r\nStartTLS", true},                    {"a\nb\nxclient", true},   {"Date: today\r\n", false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) CHECK_INT(cases[i].text, smtp_text_has_verbs(str_c(cases[i].text)), cases[i].has);
}

static void test_partial_acceptance(void **state) {
  (void)state;
  struct client c;
  client_new(&c, "x\n", 2);
  client_option(&c, "hosts_pipe_connect", "*");
  /* the promise is gone and one recipient refused: the accepted one is delivered, only the other one is asked again */
  struct server s = {.scripts = {SCRIPT("early", "<EHLO", "<MAIL", "<RCPT TO:<a@", "<RCPT TO:<b@", "<DATA", ">220 hi\n250-s\n250-SIZE 10000\n250 PIPELINING\n",
                                        ">250 ok\n250 ok\n550 Protocol error\n354 go\n", "data", ">250 one\n"),
                                 SCRIPT("quiet", ">220 hello\n", "<EHLO", ">250-s\n250 PIPELINING\n", "<MAIL", "<RCPT TO:<b@", "<DATA", ">250 ok\n250 ok\n354 go\n",
                                        "data", ">250 two\n", "<QUIT")}};
  server_start(&s);
  client_host(&c, s.port);
  remember(&c, s.port, BASIC, 0, 0);
  assert_true(smtp_transport.deliver(&c.d));
  server_finish(&s);
  assert_int_equal(s.connections, 2);
  assert_string_equal(c.d.addrs->confirmation, "250 one");
  assert_string_equal(c.d.addrs->next->confirmation, "250 two");
  client_free(&c);
}

#define PRDR_EARLY(final) \
  SCRIPT("early", "<EHLO", "<MAIL FROM:<s@me.test> SIZE=", "<RCPT TO:<a@", "<RCPT TO:<b@", "<DATA", ">220 hi\n250-s\n250-SIZE 10000\n250-PRDR\n250 PIPELINING\n", \
         ">250 ok\n250 ok\n250 ok\n354 go\n", "data", final)

/* The same of answers that come for each recipient behind the message. */
static void test_partial_acceptance_behind_the_message(void **state) {
  (void)state;
  const struct {
    const char *name;
    const char *const *first, *const *second;
    const char *a, *b;
  } cases[] = {
    {"one refused", PRDR_EARLY(">353 go\n250 one\n550 Protocol error\n250 all\n"),
     SCRIPT("quiet", ">220 hello\n", "<EHLO", ">250-s\n250 PIPELINING\n", "<MAIL", "<RCPT TO:<b@", "<DATA", ">250 ok\n250 ok\n354 go\n", "data", ">250 two\n", "<QUIT"),
     "250 one\\n250 all", "250 two"},
    {"one deferred", PRDR_EARLY(">353 go\n250 one\n450 Protocol error\n250 all\n"),
     SCRIPT("quiet", ">220 hello\n", "<EHLO", ">250-s\n250 PIPELINING\n", "<MAIL", "<RCPT TO:<b@", "<DATA", ">250 ok\n250 ok\n354 go\n", "data", ">250 two\n", "<QUIT"),
     "250 one\\n250 all", "250 two"},
    {"all refused", PRDR_EARLY(">353 go\n250 one\n250 two\n550 Protocol error\n"),
     SCRIPT("quiet", ">220 hello\n", "<EHLO", ">250-s\n250 PIPELINING\n", "<MAIL", "<RCPT TO:<a@", "<RCPT TO:<b@", "<DATA", ">250 ok\n250 ok\n250 ok\n354 go\n", "data",
            ">250 both\n", "<QUIT"),
     "250 both", "250 both"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct client c;
    client_new(&c, "x\n", 2);
    client_option(&c, "hosts_pipe_connect", "*");
    client_option(&c, "hosts_try_prdr", "*");
    struct server s = {.scripts = {cases[i].first, cases[i].second}};
    server_start(&s);
    client_host(&c, s.port);
    remember(&c, s.port, BASIC | EHLO_PRDR, 0, 0);
    assert_true(smtp_transport.deliver(&c.d));
    server_finish(&s);
    CHECK_INT(cases[i].name, s.connections, 2);
    CHECK_STR(cases[i].name, c.d.addrs->confirmation ? c.d.addrs->confirmation : "none", cases[i].a);
    CHECK_STR(cases[i].name, c.d.addrs->next->confirmation ? c.d.addrs->next->confirmation : "none", cases[i].b);
    for (const struct retry_item *r = c.d.addrs->next->retries; r; r = r->next) CHECK_INT(cases[i].name, r->flags & RETRY_DELETE, RETRY_DELETE);
    client_free(&c);
  }
}

/* The next message on the connection has waited for the EHLO reply: what is said about it is believed, and its group is sent as that reply allows. */
static void test_next_message_is_plain(void **state) {
  (void)state;
  const struct {
    const char *name, *ehlo, *reply;
    bool one_by_one;
    enum outcome result;
  } cases[] = {
    {"refused", ">250-s\n250 PIPELINING\n", "550 no\n", false, OUTCOME_FAIL},
    {"deferred", ">250-s\n250 PIPELINING\n", "450 no\n", false, OUTCOME_DEFER},
    {"PIPELINING is gone, refused", ">250 s\n", "550 no\n", true, OUTCOME_FAIL},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct client c;
    struct client_queue q = {0};
    const char *script[40];
    size_t n = 0;
    prepare(&c, WITH_DATA);
    const char *const first[] = {"early", "<EHLO", "<MAIL", "<RCPT", "<DATA", HI, cases[i].ehlo, OK, OK, GO, "data", OK, "<MAIL"};
    const char *const one_by_one[] = {"quiet", OK, "<RCPT", "quiet"}, *const group[] = {"<RCPT", "<DATA", OK};
    for (size_t k = 0; k < ARRAY_SIZE(first); k++) script[n++] = first[k];
    for (size_t k = 0; k < ARRAY_SIZE(one_by_one) && cases[i].one_by_one; k++) script[n++] = one_by_one[k];
    for (size_t k = 0; k < ARRAY_SIZE(group) && !cases[i].one_by_one; k++) script[n++] = group[k];
    script[n++] = arena_printf(c.a, ">%s%s", cases[i].reply, cases[i].one_by_one ? "" : "503 no\n");
    script[n++] = "<QUIT";
    script[n] = NULL;
    struct server s = {.scripts = {script}};
    server_start(&s);
    client_host(&c, s.port);
    remember(&c, s.port, BASIC, 0, 0);
    struct delivery *next = client_enqueue(&q, &c, 1);
    assert_true(smtp_transport.deliver(&c.d));
    server_finish(&s);
    CHECK_INT(cases[i].name, c.d.addrs->result, OUTCOME_OK);
    CHECK_INT(cases[i].name, next->addrs->result, cases[i].result);
    assert_non_null(next->addrs->message);
    CHECK_INT(cases[i].name, strncmp(next->addrs->message, "SMTP error from remote mail server after RCPT TO:<q1-a@x.test>: ", 64), 0);
    CHECK_INT(cases[i].name, q.done, 1);
    client_free(&c);
  }
}

/* K1: what the expansion reads decides, not what the text mentions. */
static void test_early_name(void **state) {
  (void)state;
  const struct {
    const char *helo, *interface, *name;
  } cases[] = {{"h${if def:sending_ip_address{$sending_ip_address}{-none}}", NULL, "<EHLO h-none"},
               {"h${if def:sending_port{$sending_port}{-none}}", NULL, "<EHLO h-none"},
               {"h${if eq{1}{2}{$sending_port$sending_ip_address}{-none}}", NULL, "<EHLO h-none"},
               {"h$sending_ip_address", "127.0.0.1", "<EHLO h127.0.0.1"}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct client c;
    struct hints_ehlo r = {.stamp = time_sec(), .clear_features = BASIC};
    prepare(&c, WITH_DATA);
    client_option(&c, "helo_data", cases[i].helo);
    if (cases[i].interface) client_option(&c, "interface", cases[i].interface);
    struct server s = {.scripts = {SCRIPT("early", cases[i].name, "<MAIL", "<RCPT", "<DATA", HI, EHLO_GOOD, OK, OK, GO, "data", OK, "<QUIT")}};
    server_start(&s);
    client_host(&c, s.port);
    r.fingerprint = pipe_connect_fingerprint(&c.cfg, cases[i].helo, cases[i].interface);
    put_record(&c, s.port, &r);
    assert_true(smtp_transport.deliver(&c.d));
    server_finish(&s);
    CHECK_INT(cases[i].helo, c.d.addrs->early_pipe_used, true);
    client_free(&c);
  }
}

static void test_not_early(void **state) {
  (void)state;
  const struct {
    const char *name, *option, *value, *ehlo;
  } cases[] = {{"C3", "hosts_avoid_pipelining", "*", "<EHLO me.test"}, {"C9", "helo_data", "me.test${if eq{1}{1}{}{}}", "<EHLO me.test"},
               {"C3 HELO", "hosts_avoid_esmtp", "*", "<HELO me.test"}, {"C4", "helo_data", "h$sending_port", "<EHLO h"},
               {"K1", "helo_data", "h${if def:sending_ip_address{}{}}$sending_ip_address", "<EHLO h127.0.0.1"},
               {"K1", "helo_data", "h${sending_ip_address}", "<EHLO h127.0.0.1"}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct client c;
    prepare(&c, WITH_DATA);
    client_option(&c, cases[i].option, cases[i].value);
    struct server s = {.scripts = {SCRIPT("quiet", ">220 hello\n", cases[i].ehlo, ">250 srv\n", "<MAIL", ">250 ok\n", "<RCPT", ">250 ok\n", "<DATA", ">354 go\n",
                                          "data", ">250 ok\n", "<QUIT")}};
    server_start(&s);
    client_host(&c, s.port);
    remember(&c, s.port, BASIC, 0, 0);
    assert_true(smtp_transport.deliver(&c.d));
    server_finish(&s);
    CHECK_INT(cases[i].name, c.d.addrs->result, OUTCOME_OK);
    client_free(&c);
  }
}

#endif

int main(void) {
  const struct CMUnitTest tests[] = {
#ifdef EXPERIMENTAL_PIPE_CONNECT
    cmocka_unit_test(test_failure_classes),      cmocka_unit_test(test_rules_are_walked), cmocka_unit_test(test_f26_next_host),
    cmocka_unit_test(test_f1_refused),           cmocka_unit_test(test_learn_then_talk_early), cmocka_unit_test(test_body_needs_a_confirmed_chunk),
    cmocka_unit_test(test_body_guards),          cmocka_unit_test(test_text_has_verbs),   cmocka_unit_test(test_partial_acceptance),
    cmocka_unit_test(test_partial_acceptance_behind_the_message),
    cmocka_unit_test(test_not_early),            cmocka_unit_test(test_next_message_is_plain), cmocka_unit_test(test_early_name),
#else
    cmocka_unit_test(test_not_built),
#endif
  };
  return cmocka_run_group_tests(tests, test_log_start, test_log_end);
}
