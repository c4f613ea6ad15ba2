/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hosts_pipe_next against scripted servers: the envelope of the next message stands behind the end of this one.  Whatever is said to either, and wherever
 * the connection ends, no message may be lost or come twice, and an answer to an envelope that was written ahead fails nobody that a plain one would not. */
#include "smtp_server.h"

#include "transports/smtp_priv.h"

#ifdef EXPERIMENTAL_PIPE_CONNECT

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})
enum { MAX_STEPS = 80, NOT_TRIED = 99 };

static size_t add(const char **out, size_t n, const char *const *steps) {
  for (; *steps; steps++) {
    assert_true(n < MAX_STEPS - 1);
    out[n++] = *steps;
  }
  out[n] = NULL;
  return n;
}

static int occurrences(const char *text, const char *what) {
  int n = 0;
  for (const char *p = text; (p = strstr(p, what)); p += strlen(what)) n++;
  return n;
}

#define GREETING ">220 hi\n", "<EHLO", ">250-s\n250 PIPELINING\n"
#define ENVELOPE "<MAIL", "<RCPT", "<DATA"
#define GO ">250 ok\n250 ok\n354 go\n"
#define AHEAD "early", ENVELOPE /* before the reply to the end of the message in front */
#define ALONE "<RSET", ">250 ok\n", ENVELOPE, "quiet"
#define OK ">250 ok\n"

/* The client's own message 0, and message 1 up to its end.  The server has shown by message 1 that it takes a second one. */
static const char *const to_the_end_of_one[] = {GREETING, ENVELOPE, GO, "data", "quiet", OK, ENVELOPE, GO, "data", NULL};

struct row {
  const char *name;
  const char *const *steps;  /* from the end of message 1 on */
  int results[4];            /* of the messages, NOT_TRIED */
  const char *story;
  int contents;              /* that the server was sent */
  int recipients;            /* of message 2, 0: one */
  int refuse_go;
};

static const struct row rows[] = {
  {"all is well", SCRIPT(AHEAD, ">250 ok\n250 ok\n250 ok\n354 go\n", "data", AHEAD, ">250 ok\n250 ok\n250 ok\n354 go\n", "data", "quiet", OK, "<QUIT"),
   {OUTCOME_OK, OUTCOME_OK, OUTCOME_OK, OUTCOME_OK}, "find 2, done 1, go 1 2, find 3, done 2, go 2 3, done 3", 4, 0, 0},
  {"replies one by one", SCRIPT(AHEAD, OK, OK, OK, "quiet", ">354 go\n", "data", "early", OK, "<MAIL", OK, "<RCPT", OK, "<DATA", ">354 go\n", "data", OK, "<QUIT"),
   {OUTCOME_OK, OUTCOME_OK, OUTCOME_OK, OUTCOME_OK}, "find 2, done 1, go 1 2, find 3, done 2, go 2 3, done 3", 4, 0, 0},
  {"message refused", SCRIPT(AHEAD, ">550 no\n250 ok\n250 ok\n354 go\n", "data", AHEAD, ">250 ok\n250 ok\n250 ok\n354 go\n", "data", OK, "<QUIT"),
   {OUTCOME_OK, OUTCOME_FAIL, OUTCOME_OK, OUTCOME_OK}, "find 2, done 1, go 1 2, find 3, done 2, go 2 3, done 3", 4, 0, 0},
  {"message deferred", SCRIPT(AHEAD, ">450 later\n250 ok\n250 ok\n354 go\n", "data", AHEAD, ">450 later\n250 ok\n250 ok\n354 go\n", "data", OK, "<QUIT"),
   {OUTCOME_OK, OUTCOME_DEFER, OUTCOME_DEFER, OUTCOME_OK}, "find 2, done 1, go 1 2, find 3, done 2, go 2 3, done 3", 4, 0, 0},
  {"closed before the reply", SCRIPT(AHEAD, "close"), {OUTCOME_OK, OUTCOME_DEFER, NOT_TRIED, NOT_TRIED}, "find 2, done 1, back 2", 2, 0, 0},
  {"reset before the reply", SCRIPT(AHEAD, "reset"), {OUTCOME_OK, OUTCOME_DEFER, NOT_TRIED, NOT_TRIED}, "find 2, done 1, back 2", 2, 0, 0},
  {"garbage for a reply", SCRIPT(AHEAD, ">hello\n"), {OUTCOME_OK, OUTCOME_DEFER, NOT_TRIED, NOT_TRIED}, "find 2, done 1, back 2", 2, 0, 0},
  {"no reply", SCRIPT(AHEAD, "hang"), {OUTCOME_OK, OUTCOME_DEFER, NOT_TRIED, NOT_TRIED}, "find 2, done 1, back 2", 2, 0, 0},
  {"taken and closed", SCRIPT(AHEAD, OK, "close"), {OUTCOME_OK, OUTCOME_OK, NOT_TRIED, NOT_TRIED}, "find 2, done 1, go 1 2, back 2", 2, 0, 0},
  {"taken and closed, nothing read", SCRIPT("early", OK, "close"), {OUTCOME_OK, OUTCOME_OK, NOT_TRIED, NOT_TRIED}, "find 2, done 1, go 1 2, back 2", 2, 0, 0},
  {"421 and closed", SCRIPT(AHEAD, ">421 enough\n", "close"), {OUTCOME_OK, OUTCOME_DEFER, NOT_TRIED, NOT_TRIED}, "find 2, done 1, go 1 2, back 2", 2, 0, 0},
  {"closed behind MAIL", SCRIPT(AHEAD, ">250 ok\n250 ok\n", "close"), {OUTCOME_OK, OUTCOME_OK, NOT_TRIED, NOT_TRIED}, "find 2, done 1, go 1 2, back 2", 2, 0, 0},
  {"closed in front of 354", SCRIPT(AHEAD, ">250 ok\n250 ok\n550 nobody\n", "close"), {OUTCOME_OK, OUTCOME_OK, NOT_TRIED, NOT_TRIED},
   "find 2, done 1, go 1 2, back 2", 2, 0, 0},
  {"what was ahead is forgotten", SCRIPT(AHEAD, OK, "hang"), {OUTCOME_OK, OUTCOME_OK, NOT_TRIED, NOT_TRIED}, "find 2, done 1, go 1 2, back 2", 2, 0, 0},
  {"MAIL refused, accepted alone", SCRIPT(AHEAD, ">250 ok\n503 a\n503 b\n503 c\n", ALONE, GO, "data", AHEAD, ">250 ok\n250 ok\n250 ok\n354 go\n", "data", OK, "<QUIT"),
   {OUTCOME_OK, OUTCOME_OK, OUTCOME_OK, OUTCOME_OK}, "find 2, done 1, go 1 2, find 3, done 2, go 2 3, done 3", 4, 0, 0},
  {"MAIL refused, refused alone", SCRIPT(AHEAD, ">250 ok\n550 no\n503 b\n503 c\n", ALONE, ">550 no\n503 b\n503 c\n", "<QUIT"),
   {OUTCOME_OK, OUTCOME_OK, OUTCOME_FAIL, NOT_TRIED}, "find 2, done 1, go 1 2, done 2", 2, 0, 0},
  {"MAIL refused, RSET too", SCRIPT(AHEAD, ">250 ok\n550 no\n503 b\n503 c\n", "<RSET", ">421 enough\n", "<QUIT"), {OUTCOME_OK, OUTCOME_OK, NOT_TRIED, NOT_TRIED},
   "find 2, done 1, go 1 2, back 2", 2, 0, 0},
  {"MAIL refused, 354 all the same", SCRIPT(AHEAD, ">250 ok\n550 no\n503 b\n354 go\n", "hang"), {OUTCOME_OK, OUTCOME_OK, NOT_TRIED, NOT_TRIED},
   "find 2, done 1, go 1 2, back 2", 2, 0, 0},
  {"RCPT refused", SCRIPT(AHEAD, ">250 ok\n250 ok\n550 nobody\n503 c\n", "<RSET", OK, ENVELOPE, GO, "data", OK, "<QUIT"),
   {OUTCOME_OK, OUTCOME_OK, OUTCOME_FAIL, OUTCOME_OK}, "find 2, done 1, go 1 2, done 2, done 3", 3, 0, 0},
  {"RCPT refused, RSET too", SCRIPT(AHEAD, ">250 ok\n250 ok\n550 nobody\n503 c\n", "<RSET", ">421 enough\n", "<QUIT"),
   {OUTCOME_OK, OUTCOME_OK, OUTCOME_FAIL, NOT_TRIED}, "find 2, done 1, go 1 2, done 2, back 3", 2, 0, 0},
  {"RCPT put off", SCRIPT(AHEAD, ">250 ok\n250 ok\n450 later\n503 c\n", "<QUIT"), {OUTCOME_OK, OUTCOME_OK, OUTCOME_DEFER, NOT_TRIED},
   "find 2, done 1, go 1 2, done 2", 2, 0, 0},
  {"message and RCPT refused, accepted alone", SCRIPT(AHEAD, ">550 no\n250 ok\n550 nobody\n503 c\n", ALONE, GO, "data", AHEAD, ">250 ok\n250 ok\n250 ok\n354 go\n", "data", OK, "<QUIT"),
   {OUTCOME_OK, OUTCOME_FAIL, OUTCOME_OK, OUTCOME_OK}, "find 2, done 1, go 1 2, find 3, done 2, go 2 3, done 3", 4, 0, 0},
  {"message and one RCPT refused, 354", SCRIPT("early", "<MAIL", "<RCPT", "<RCPT", "<DATA", ">550 no\n250 ok\n250 ok\n550 nobody\n354 go\n", "hang"),
   {OUTCOME_OK, OUTCOME_FAIL, NOT_TRIED, NOT_TRIED}, "find 2, done 1, go 1 2, back 2", 2, 2, 0},
  {"message deferred, DATA refused", SCRIPT(AHEAD, ">450 no\n250 ok\n250 ok\n451 c\n", ALONE, GO, "data", AHEAD, ">250 ok\n250 ok\n250 ok\n354 go\n", "data", OK, "<QUIT"),
   {OUTCOME_OK, OUTCOME_DEFER, OUTCOME_OK, OUTCOME_OK}, "find 2, done 1, go 1 2, find 3, done 2, go 2 3, done 3", 4, 0, 0},
  {"no journal", SCRIPT(AHEAD, ">250 ok\n250 ok\n250 ok\n354 go\n"), {OUTCOME_OK, OUTCOME_OK, NOT_TRIED, NOT_TRIED}, "find 2, done 1, go 1 2, back 2", 2, 0, 2},
};

static void prepare(struct client *c, struct client_queue *q, int recipients) {
  client_new(c, "x\n", recipients);
  client_option(c, "hosts_pipe_next", "*");
  client_option(c, "command_timeout", "1s");
  client_option(c, "final_timeout", "1s");
  memset(q, 0, sizeof *q);
}

/* What a message came to; a message that was given back has no say, whatever its addresses look like now. */
static int result_of(const struct client_queue *q, const struct delivery *d) {
  char back[32];
  snprintf(back, sizeof back, "back %d", queue_number(d));
  if (queue_number(d) > q->next || strstr(q->story.p, back)) return NOT_TRIED;
  return d->addrs->result == OUTCOME_DEFER && !d->addrs->message ? NOT_TRIED : (int)d->addrs->result;
}

static void walk_row(const struct row *r) {
  struct client c;
  struct client_queue q;
  const char *script[MAX_STEPS];
  prepare(&c, &q, 1);
  (void)add(script, add(script, 0, to_the_end_of_one), r->steps);
  struct server s = {.scripts = {script}};
  server_start(&s);
  client_host(&c, s.port);
  for (int i = 1; i <= 3; i++) (void)client_enqueue(&q, &c, i == 2 && r->recipients ? r->recipients : 1);
  q.refuse_go = r->refuse_go;
  assert_true(smtp_transport.deliver(&c.d));
  server_finish(&s);
  CHECK_INT(r->name, c.d.addrs->result, r->results[0]);
  for (int i = 1; i <= 3; i++) CHECK_INT(r->name, result_of(&q, &q.waiting[i - 1]), r->results[i]);
  CHECK_STR(r->name, q.story.p, r->story);
  CHECK_INT(r->name, s.connections, 1);
  CHECK_INT(r->name, occurrences(s.got[0], "Subject: t\r\n"), r->contents);
  CHECK_INT(r->name, occurrences(s.got[0], "\r\n.\r\n"), r->contents); /* and no lone dot */
  int resets = 0;
  for (const char *const *step = r->steps; *step; step++) resets += strcmp(*step, "<RSET") == 0;
  CHECK_INT(r->name, occurrences(s.got[0], "RSET"), resets);
  client_free(&c);
}

static void test_rows(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) walk_row(&rows[i]);
}

/* ---- when it is not done ---------------------------------------------------------------------------------- */

#define WAITS "quiet", OK /* nothing stands behind the end */
#define ONE_WAITS ENVELOPE, GO, "data", WAITS
#define ONE_IS_LAST ENVELOPE, GO, "data", "<QUIT", OK /* nothing can follow */

static void walk_alone(const char *name, struct client *c, struct client_queue *q, const char *const *script, const char *story, bool all) {
  struct server s = {.scripts = {script}};
  server_start(&s);
  client_host(c, s.port);
  for (int i = 0; i < q->count; i++) q->waiting[i].addrs->host_list = c->d.addrs->host_list;
  assert_true(smtp_transport.deliver(&c->d));
  server_finish(&s);
  CHECK_STR(name, q->story.p, story);
  CHECK_INT(name, c->d.addrs->result, OUTCOME_OK);
  for (int i = 0; all && i < q->count; i++) CHECK_INT(name, q->waiting[i].addrs->result, OUTCOME_OK);
}

static void test_options_and_facts(void **state) {
  (void)state;
  const struct {
    const char *name, *option, *value;
    const char *const *script;
    const char *story;
    bool all;
  } cases[] = {
    {"not listed", "hosts_pipe_next", "192.0.2.1", SCRIPT(GREETING, ONE_WAITS, ONE_WAITS, ONE_WAITS, "<QUIT"), "done 1, done 2", true},
    {"last one allowed", "connection_max_messages", "2", SCRIPT(GREETING, ONE_WAITS, ONE_IS_LAST), "done 1", false},
    {"MAILMAX", NULL, NULL, SCRIPT(">220 hi\n", "<EHLO", ">250-s\n250-LIMITS MAILMAX=2\n250 PIPELINING\n", ONE_WAITS, ONE_IS_LAST), "done 1", false},
    {"no PIPELINING", NULL, NULL,
     SCRIPT(">220 hi\n", "<EHLO", ">250 s\n", "<MAIL", OK, "<RCPT", OK, "<DATA", ">354 go\n", "data", OK, "<MAIL", OK, "<RCPT", OK, "<DATA", ">354 go\n", "data", WAITS,
            "<MAIL", OK, "<RCPT", OK, "<DATA", ">354 go\n", "data", OK, "<QUIT"),
     "done 1, done 2", true},
    {"hosts_avoid_pipelining", "hosts_avoid_pipelining", "*",
     SCRIPT(GREETING, "<MAIL", OK, "<RCPT", OK, "<DATA", ">354 go\n", "data", OK, "<MAIL", OK, "<RCPT", OK, "<DATA", ">354 go\n", "data", WAITS, "<MAIL", OK, "<RCPT", OK,
            "<DATA", ">354 go\n", "data", OK, "<QUIT"),
     "done 1, done 2", true},
    {"LMTP", "protocol", "lmtp", SCRIPT(">220 hi\n", "<LHLO", ">250-s\n250 PIPELINING\n", ONE_WAITS, ONE_WAITS, ONE_WAITS, "<QUIT"), "done 1, done 2", true},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct client c;
    struct client_queue q;
    prepare(&c, &q, 1);
    if (cases[i].option) client_option(&c, cases[i].option, cases[i].value);
    (void)client_enqueue(&q, &c, 1);
    (void)client_enqueue(&q, &c, 1);
    walk_alone(cases[i].name, &c, &q, cases[i].script, cases[i].story, cases[i].all);
    client_free(&c);
  }
}

/* How an internationalised message is written is decided when it has its turn. */
static void test_internationalised(void **state) {
  (void)state;
  struct client c;
  struct client_queue q;
  prepare(&c, &q, 1);
  (void)client_enqueue(&q, &c, 1);
  client_enqueue(&q, &c, 1)->msg->smtputf8 = true;
  walk_alone("SMTPUTF8", &c, &q, SCRIPT(GREETING, ONE_WAITS, ONE_WAITS, ONE_WAITS, "<QUIT"), "find 2, done 1, go 1 2, done 2", true);
  client_free(&c);
}

/* A recipient that is to stand in the next transaction, and replies whose number is not known before they come. */
static void test_more_of_the_same_message(void **state) {
  (void)state;
  struct client c;
  struct client_queue q;
  const char *story = "find 2, done 1, go 1 2, done 2";
  prepare(&c, &q, 1);
  (void)client_enqueue(&q, &c, 2);
  (void)client_enqueue(&q, &c, 1);
  walk_alone("452", &c, &q, SCRIPT(GREETING, ONE_WAITS, "<MAIL", "<RCPT", "<RCPT", "<DATA", ">250 ok\n250 ok\n452 too many\n354 go\n", "data", WAITS, ENVELOPE, GO, "data",
                                   AHEAD, ">250 ok\n250 ok\n250 ok\n354 go\n", "data", OK, "<QUIT"), story, true);
  client_free(&c);
  prepare(&c, &q, 1);
  client_option(&c, "hosts_try_prdr", "*");
  (void)client_enqueue(&q, &c, 2);
  (void)client_enqueue(&q, &c, 1);
  walk_alone("PRDR", &c, &q, SCRIPT(">220 hi\n", "<EHLO", ">250-s\n250-PRDR\n250 PIPELINING\n", ONE_WAITS, "<MAIL FROM:<s@me.test> PRDR", "<RCPT", "<RCPT", "<DATA",
                                    ">250 ok\n250 ok\n250 ok\n354 go\n", "data", "quiet", ">353 each\n250 ok\n250 ok\n", WAITS, ENVELOPE, GO, "data", OK, "<QUIT"),
             "done 1, done 2", true);
  client_free(&c);
}

/* ---- other forms of it ------------------------------------------------------------------------------------ */

/* Its second group has shown that the server takes another transaction: the first message has one behind it. */
static void test_first_message_in_groups(void **state) {
  (void)state;
  for (int refused = 0; refused < 2; refused++) {
    struct client c;
    struct client_queue q;
    prepare(&c, &q, 2);
    client_option(&c, "max_rcpt", "1");
    (void)client_enqueue(&q, &c, 1);
    struct address *second = c.d.addrs->next;
    walk_alone("groups", &c, &q, SCRIPT(GREETING, ENVELOPE, GO, "data", "quiet", OK, ENVELOPE, GO, "data", AHEAD,
                                        refused ? ">550 no\n250 ok\n250 ok\n354 go\n" : ">250 ok\n250 ok\n250 ok\n354 go\n", "data", OK, "<QUIT"),
               "find 1, go 0 1, done 1", true);
    CHECK_INT("second recipient", second->result, refused ? OUTCOME_FAIL : OUTCOME_OK);
    client_free(&c);
  }
}

/* A large message waits for its recipients' replies, and the envelope of the next stands behind its BDAT LAST; that one has no DATA. */
static void test_behind_bdat(void **state) {
  (void)state;
  const struct {
    const char *name, *reply;
    enum outcome result;
  } cases[] = {{"taken", ">250 ok\n250 ok\n250 ok\n", OUTCOME_OK}, {"refused", ">550 no\n250 ok\n250 ok\n", OUTCOME_FAIL}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct client c;
    struct client_queue q;
    prepare(&c, &q, 1);
    client_option(&c, "hosts_try_chunking", "*");
    c.m->message_size = 1000000;
    const struct delivery *one = client_enqueue(&q, &c, 1), *two = client_enqueue(&q, &c, 1);
    walk_alone(cases[i].name, &c, &q, SCRIPT(">220 hi\n", "<EHLO", ">250-s\n250-CHUNKING\n250 PIPELINING\n", "<MAIL", "<RCPT", OK, OK, "<BDAT", "bdat", "quiet", OK, "<MAIL",
                                             "<RCPT", OK, OK, "<BDAT", "bdat", "early", "<MAIL", "<RCPT", cases[i].reply, "<BDAT", "bdat", OK, "<QUIT"),
               "find 2, done 1, go 1 2, done 2", false);
    CHECK_INT(cases[i].name, one->addrs->result, cases[i].result);
    CHECK_INT(cases[i].name, two->addrs->result, OUTCOME_OK);
    client_free(&c);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_rows),
    cmocka_unit_test(test_options_and_facts),
    cmocka_unit_test(test_internationalised),
    cmocka_unit_test(test_more_of_the_same_message),
    cmocka_unit_test(test_first_message_in_groups),
    cmocka_unit_test(test_behind_bdat),
  };
  return cmocka_run_group_tests(tests, test_log_start, test_log_end);
}
#else
static void test_not_built(void **state) {
  (void)state;
  assert_null(opt_find(smtp_transport.options, smtp_transport.option_count, STR("hosts_pipe_nothing")));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_not_built)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
