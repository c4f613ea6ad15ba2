/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Early pipelining, the client against scripted servers: a walk of the failure classes of doc/experimental-spec.txt section 7, each with DATA, with
 * BDAT behind the EHLO reply and with the message in the first flight, alone and with a second host in the list.  Each row asserts what went over the
 * wire, the fate of the recipient, retry items, log, and the record that is left.  Nothing may be lost or come twice, and a stale record may fail nobody. */
#include "smtp_server.h"

#include "hints/hints.h"
#include "os/log.h"
#include "pipe_connect.h"
#include "retry.h"
#include "transports/smtp_priv.h"

#ifdef EXPERIMENTAL_PIPE_CONNECT

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})

enum mode { WITH_DATA, WITH_BDAT, WITH_BODY, MODES };
static const char *const mode_names[MODES] = {"DATA", "BDAT", "message in the flight"};
enum { BASIC = EHLO_PIPELINING | EHLO_SIZE | EHLO_PIPE_CONNECT, CHUNKED = BASIC | EHLO_CHUNKING };

static char log_path[64];

static unsigned features_of(enum mode m) { return m == WITH_DATA ? BASIC : CHUNKED; }

/* ---- records ---------------------------------------------------------------------------------------------- */

static const char *key_of(struct client *c, int port) { return arena_printf(c->a, "127.0.0.1:%d.EHLO", port); }

static void remember(struct client *c, int port, unsigned features, unsigned flags) {
  struct hints_ehlo r = {.stamp = time_sec(), .clear_features = (uint16_t)features, .flags = (uint16_t)flags,
                         .fingerprint = pipe_connect_fingerprint(&c->cfg, "me.test", NULL)};
  struct strbuf b = strbuf_new(c->a);
  hints_put_ehlo(&b, &r);
  struct hints_db *db = hints_open(c->spool, "misc", true);
  assert_non_null(db);
  assert_int_equal(hints_put(db, key_of(c, port), strbuf_str(&b)), 0);
  hints_close(db);
}

static bool recall(struct client *c, int port, struct hints_ehlo *ret) {
  struct hints_db *db = hints_open(c->spool, "misc", false);
  struct str rec;
  if (!db) return false;
  bool found = hints_get(db, c->a, key_of(c, port), &rec) && hints_get_ehlo(rec, ret);
  hints_close(db);
  return found;
}

enum record { NO_RECORD, USABLE, SUSPENDED, KEPT = USABLE };
static enum record record_left(struct client *c, int port) {
  struct hints_ehlo r;
  if (!recall(c, port, &r)) return NO_RECORD;
  return r.suspend_until > time_sec() ? SUSPENDED : USABLE;
}

/* ---- the walk --------------------------------------------------------------------------------------------- */

/* Replies of the early connection, an action of the scripted server in place of one ends it. */
struct row {
  const char *classes;                 /* as in the table of rules */
  const char *name;
  const char *greeting, *ehlo, *mail, *rcpt, *data, *end;
  bool again;                          /* a plain connection to the same host must follow, and is good */
  enum outcome result;
  bool mark;
  enum record record;
  int body_result;                     /* with the message in the flight: what differs; 0 nothing, else 1 + outcome, and no second connection */
};

#define HI ">220 hi\n"
#define OK ">250 ok\n"
#define GO ">354 go\n"
#define SAME "same" /* the EHLO reply that is remembered */
#define GONE "gone" /* without the promise */
#define BARE "bare" /* without SIZE and CHUNKING */
#define MORE "more" /* with DSN and PRDR */
#define LOST (1 + OUTCOME_DEFER)

static const struct row rows[] = {
  {"F2", "greeting 5xx", ">554 SMTP synchronization error\n", NULL, NULL, NULL, NULL, NULL, true, OUTCOME_OK, false, SUSPENDED, 0},
  {"F2", "greeting 5xx and its kin", ">554-go\n554 away\n", ">503 a\n", ">503 b\n", ">503 c\n", ">503 d\n", NULL, true, OUTCOME_OK, false, SUSPENDED, 0},
  {"F3", "greeting 421", ">421 busy\n", NULL, NULL, NULL, NULL, NULL, true, OUTCOME_OK, false, SUSPENDED, 0},
  {"F4", "EHLO 5xx", HI, ">550 no\n", ">503 a\n", ">503 b\n", ">503 c\n", NULL, true, OUTCOME_OK, false, SUSPENDED, 0},
  {"F5", "EHLO 4xx", HI, ">450 no\n", ">503 a\n", ">503 b\n", ">503 c\n", NULL, true, OUTCOME_OK, false, SUSPENDED, 0},
  {"F6 F25", "closed at once", "close", NULL, NULL, NULL, NULL, NULL, true, OUTCOME_OK, false, SUSPENDED, LOST},
  {"F6 F25", "reset at once", "reset", NULL, NULL, NULL, NULL, NULL, true, OUTCOME_OK, false, SUSPENDED, LOST},
  {"F6 F25", "closed after the greeting", HI, "close", NULL, NULL, NULL, NULL, true, OUTCOME_OK, false, SUSPENDED, LOST},
  {"F6 F25", "half an EHLO reply", HI, ">250-srv\n250-SI", "close", NULL, NULL, NULL, true, OUTCOME_OK, false, SUSPENDED, LOST},
  {"F7", "no EHLO reply", HI, "hang", NULL, NULL, NULL, NULL, true, OUTCOME_OK, false, SUSPENDED, LOST},
  {"F8", "garbage", ">HTTP/1.1 400 Bad\n", NULL, NULL, NULL, NULL, NULL, true, OUTCOME_OK, false, SUSPENDED, LOST},
  {"F9 F12", "promise gone, accepted", HI, GONE, OK, OK, GO, OK, false, OUTCOME_OK, false, NO_RECORD, 0},
  {"F10 F11", "promise gone, MAIL refused", HI, GONE, ">555 no\n", ">503 a\n", ">503 b\n", NULL, true, OUTCOME_OK, false, NO_RECORD, 0},
  {"F10 F11", "promise gone, RCPT refused", HI, GONE, OK, ">550 Protocol error\n", ">503 no\n", NULL, true, OUTCOME_OK, false, NO_RECORD, 0},
  {"F10 F11", "promise gone, RCPT deferred", HI, GONE, OK, ">450 Protocol error\n", ">503 no\n", NULL, true, OUTCOME_OK, false, NO_RECORD, 0},
  {"F10 F11", "promise gone, message refused", HI, GONE, OK, OK, GO, ">550 no\n", true, OUTCOME_OK, false, NO_RECORD, 0},
  {"F10 F11", "SIZE gone, MAIL refused", HI, BARE, ">555 SIZE not supported\n", ">503 a\n", ">503 b\n", NULL, true, OUTCOME_OK, false, KEPT, 0},
  {"F10 F11", "promise gone, closed at MAIL", HI, GONE, "close", NULL, NULL, NULL, true, OUTCOME_OK, false, NO_RECORD, LOST},
  {"F9 F12", "features gone, accepted", HI, BARE, OK, OK, GO, OK, false, OUTCOME_OK, false, KEPT, 0},
  {"-", "F13: features added", HI, MORE, OK, OK, GO, OK, false, OUTCOME_OK, true, KEPT, 0},
  {"-", "all is well", HI, SAME, OK, OK, GO, OK, false, OUTCOME_OK, true, KEPT, 0},
  {"F22", "MAIL refused", HI, SAME, ">550 no\n", ">503 a\n", ">503 b\n", NULL, false, OUTCOME_FAIL, false, KEPT, 0},
  {"F22", "MAIL deferred", HI, SAME, ">450 no\n", ">503 a\n", ">503 b\n", NULL, false, OUTCOME_DEFER, false, KEPT, 0},
  {"F22", "RCPT refused", HI, SAME, OK, ">550 no\n", ">503 no\n", NULL, false, OUTCOME_FAIL, false, KEPT, 0},
  {"F22", "F23: RCPT refused, 354 all the same", HI, SAME, OK, ">550 no\n", GO, NULL, false, OUTCOME_FAIL, false, KEPT, 0},
  {"F22", "RCPT deferred", HI, SAME, OK, ">451 later\n", ">503 no\n", NULL, false, OUTCOME_DEFER, false, KEPT, 0},
  {"F22", "message refused", HI, SAME, OK, OK, GO, ">554 virus\n", false, OUTCOME_FAIL, false, KEPT, 0},
  {"F22", "closed at RCPT", HI, SAME, OK, "close", NULL, NULL, false, OUTCOME_DEFER, false, KEPT, 0},
  {"F24", "lost after the message", HI, SAME, OK, OK, GO, "close", false, OUTCOME_DEFER, false, KEPT, 0},
  {"F24", "promise gone, lost after the message", HI, GONE, OK, OK, GO, "close", false, OUTCOME_DEFER, false, NO_RECORD, 0},
};

static const char *ehlo_reply(const char *what, enum mode m) {
  bool data = m == WITH_DATA;
  if (strcmp(what, SAME) == 0)
    return data ? ">250-s\n250-SIZE 9999\n250-PIPELINING\n250 PIPECONNECT\n" : ">250-s\n250-SIZE 9999\n250-PIPELINING\n250-PIPECONNECT\n250 CHUNKING\n";
  if (strcmp(what, GONE) == 0) return data ? ">250-s\n250-SIZE 9999\n250 PIPELINING\n" : ">250-s\n250-SIZE 9999\n250-PIPELINING\n250 CHUNKING\n";
  if (strcmp(what, BARE) == 0) return ">250-s\n250-PIPELINING\n250 PIPECONNECT\n";
  if (strcmp(what, MORE) == 0)
    return data ? ">250-s\n250-SIZE\n250-DSN\n250-PRDR\n250-PIPELINING\n250 PIPECONNECT\n" : ">250-s\n250-SIZE\n250-DSN\n250-PIPELINING\n250-PIPECONNECT\n250 CHUNKING\n";
  return what;
}

static bool is_good(const char *reply) { return reply && reply[0] == '>' && (reply[1] == '2' || reply[1] == '3'); }

/* The early connection's script. */
static void early_script(const struct row *r, enum mode m, const char **out) {
  size_t n = 0;
  static const char *const start[] = {"early", "<EHLO me.test", "<MAIL FROM:<s@me.test> SIZE=", "<RCPT TO:<a@x.test>"};
  if (strcmp(r->greeting, "reset") != 0) {
    for (size_t i = 0; i < ARRAY_SIZE(start); i++) out[n++] = start[i];
    if (m == WITH_DATA) out[n++] = "<DATA";
    if (m == WITH_BODY) out[n++] = "<BDAT ", out[n++] = "bdat";
  } else {
    out[n++] = "early";
  }
  const char *replies[] = {r->greeting, r->ehlo ? ehlo_reply(r->ehlo, m) : NULL, r->mail, r->rcpt, m == WITH_DATA ? r->data : NULL};
  for (size_t i = 0; i < ARRAY_SIZE(replies); i++)
    if (replies[i]) out[n++] = replies[i];
  bool lost_chunking = r->ehlo && strcmp(r->ehlo, BARE) == 0;
  if (m == WITH_BODY) {
    if (r->end) out[n++] = r->end;
    else if (r->rcpt && r->rcpt[0] == '>') out[n++] = ">503 no\n";
  } else if (r->end && m == WITH_BDAT) {
    if (lost_chunking) out[n++] = "<DATA", out[n++] = GO, out[n++] = "data";
    else out[n++] = "<BDAT ", out[n++] = "bdat";
    out[n++] = r->end;
  } else if (r->end) {
    out[n++] = "data";
    out[n++] = r->end;
  } else if (m == WITH_DATA && is_good(r->data)) {
    out[n++] = "<.";
    out[n++] = ">554 nobody\n";
  }
  out[n] = NULL;
}

static int64_t log_size(const char *path) {
  FILE *f = fopen(path, "r");
  if (!f) return 0;
  fseek(f, 0, SEEK_END);
  long n = ftell(f);
  fclose(f);
  return n;
}

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

static size_t occurrences(const char *text, const char *part) {
  size_t n = 0;
  while ((text = strstr(text, part))) n++, text++;
  return n;
}

static void check_retries(const char *what, const struct row *r, enum outcome result, const struct address *a) {
  for (const struct retry_item *i = a->retries; i; i = i->next) {
    bool host = i->key[0] == 'T' && !strstr(i->key, "10HmaX-");
    if (result == OUTCOME_OK && !(i->flags & RETRY_DELETE)) fail_msg("%s: retry item %s after a success", what, i->key);
    if (host && !(i->flags & RETRY_DELETE) && strcmp(r->name, "closed at RCPT") != 0) fail_msg("%s: host delayed by %s", what, i->key);
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
  early_script(r, m, early);
  struct server one = {.scripts = {early, plain}}, two = {.scripts = {plain}};
  server_start(&one);
  client_host(&c, one.port);
  if (second_host) {
    server_start(&two);
    client_host(&c, two.port);
  }
  remember(&c, one.port, features_of(m), m == WITH_BODY ? HINTS_EHLO_CONFIRMED_CHUNKING : 0);
  int64_t logged = log_size(log_path);
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
  if (result == OUTCOME_OK) CHECK_INT(what, log_size(log_path), logged); /* K11: nothing is said of the early attempt */
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
    bool met = e == PIPE_EV_CONNECT_FAILED || e == PIPE_EV_TLS_ADDED;
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
    {"554 both times", SCRIPT("early", ">554 no\n"), SCRIPT("quiet", ">554 really\n"), OUTCOME_FAIL, false},
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
      remember(&c, one.port, BASIC, 0);
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
  remember(&c, gone.port, BASIC, 0);
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
    remember(&c, s.port, CHUNKED, cases[i].flags);
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
  remember(&c, s.port, BASIC, 0);
  assert_true(smtp_transport.deliver(&c.d));
  server_finish(&s);
  assert_int_equal(s.connections, 2);
  assert_string_equal(c.d.addrs->confirmation, "250 one");
  assert_string_equal(c.d.addrs->next->confirmation, "250 two");
  client_free(&c);
}

static void test_not_early(void **state) {
  (void)state;
  const struct {
    const char *name, *option, *value, *ehlo;
  } cases[] = {{"C3", "hosts_avoid_pipelining", "*", "<EHLO me.test"}, {"C9", "helo_data", "me.test${if eq{1}{1}{}{}}", "<EHLO me.test"},
               {"C3 HELO", "hosts_avoid_esmtp", "*", "<HELO me.test"}, {"C4", "helo_data", "h$sending_port${if eq{1}{1}{}{}}", "<EHLO h"},
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
    remember(&c, s.port, BASIC, 0);
    assert_true(smtp_transport.deliver(&c.d));
    server_finish(&s);
    CHECK_INT(cases[i].name, c.d.addrs->result, OUTCOME_OK);
    client_free(&c);
  }
}

static int setup(void **state) {
  (void)state;
  snprintf(log_path, sizeof log_path, "/tmp/t_early_client_%d.log", getpid());
  log_init(&(struct log_settings){.file_path = log_path, .exim_uid = geteuid(), .exim_gid = getegid()});
  return 0;
}

static int teardown(void **state) {
  (void)state;
  log_close();
  unlink(log_path);
  return 0;
}
#else
static void test_not_built(void **state) {
  (void)state;
  assert_false(pipe_connect_is_keyword(STR("PIPECONNECT")));
}
static int setup(void **state) { return *state != NULL; }
static int teardown(void **state) { return *state != NULL; }
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
#ifdef EXPERIMENTAL_PIPE_CONNECT
    cmocka_unit_test(test_failure_classes),      cmocka_unit_test(test_rules_are_walked), cmocka_unit_test(test_f26_next_host),
    cmocka_unit_test(test_f1_refused),           cmocka_unit_test(test_learn_then_talk_early), cmocka_unit_test(test_body_needs_a_confirmed_chunk),
    cmocka_unit_test(test_body_guards),          cmocka_unit_test(test_text_has_verbs),   cmocka_unit_test(test_partial_acceptance),
    cmocka_unit_test(test_not_early),
#else
    cmocka_unit_test(test_not_built),
#endif
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
