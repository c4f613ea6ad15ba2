/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Callouts that talk early: the walk of early_rows.h once more, in clear, behind STARTTLS and inside TLS on connect.  What an early connection says is a
 * verdict only when its EHLO reply confirms what was used (K3): asserted are the verdict, the commands on the wire, the connections made, the EHLO record
 * and, above all, that the callout cache holds nothing that came from anything else. */
#include "early_layers.h"

#include "callout_call.h"

#ifdef EXPERIMENTAL_PIPE_CONNECT

/* What the plain connection meets that follows an early one which proved nothing. */
enum after { PLAIN_ACCEPTS, PLAIN_REFUSES, PLAIN_CLOSES, NEXT_HOST_ACCEPTS, AFTERS };
static const char *const after_names[AFTERS] = {"accepted plainly", "refused plainly", "closed again", "closed again, second host"};

/* The answer of a row to a callout: what is said behind RCPT plays no part. */
struct verdict {
  bool again;            /* nothing is proved: a plain connection must follow */
  enum outcome result;   /* when it does not */
  int domain, address;   /* what the cache then holds, CALLOUT_* */
};

static bool is_code(const char *reply, char class) { return reply && reply[0] == '>' && reply[1] == class; }

static struct verdict verdict_of(const struct row *r) {
  bool accepted = is_code(r->mail, '2') && is_code(r->rcpt, '2');
  if (accepted) return (struct verdict){false, OUTCOME_OK, CALLOUT_ACCEPT, CALLOUT_ACCEPT};
  if (r->again) return (struct verdict){.again = true};
  if (is_code(r->mail, '5')) return (struct verdict){false, OUTCOME_FAIL, CALLOUT_REJECT_NULL, CALLOUT_UNKNOWN};
  int domain = is_code(r->mail, '2') ? CALLOUT_ACCEPT : CALLOUT_UNKNOWN;
  if (is_code(r->rcpt, '5') && domain) return (struct verdict){false, OUTCOME_FAIL, domain, CALLOUT_REJECT};
  return (struct verdict){false, OUTCOME_DEFER, domain, CALLOUT_UNKNOWN};
}

/* What a delivery's row says up to RCPT. */
static struct row without_content(const struct row *r) {
  struct row own = *r;
  own.data = own.end = NULL;
  return own;
}

static size_t plain_callout(const struct row *r, enum layer l, enum after how, const char **out) {
  const char *ehlo = r->ehlo && strcmp(r->ehlo, BARE) == 0 ? ehlo_reply(BARE, WITH_BDAT) : ">250-s\n250 PIPELINING\n";
  size_t n = start_plainly(l, out);
  if (how == PLAIN_CLOSES) return add(out, 0, l == SMTPS ? SCRIPT("tls", "quiet", "close") : SCRIPT("quiet", "close"));
  n = add(out, n, SCRIPT("<EHLO me.test", ehlo, "<MAIL FROM:<>", "quiet", ">250 ok\n", "<RCPT TO:<a@x.test>"));
  return add(out, n, how == PLAIN_REFUSES ? SCRIPT(">550 really not\n", "<QUIT") : SCRIPT(">250 ok\n", "<QUIT"));
}

static void check_cache(const char *what, struct call *k, int domain, int address) {
  struct callout_facts f = {0};
  callout_cache_read_domain(&k->c.x, "x.test", &f);
  CHECK_INT(what, f.domain.result, domain);
  if (domain != CALLOUT_REJECT_NULL) callout_cache_read_address(&k->c.x, callout_cache_key(k->c.a, "a@x.test", ""), &f);
  CHECK_INT(what, f.address_result, address);
}

static void check_end(const char *what, struct call *k, const struct verdict *v, enum after how, enum outcome got) {
  bool is_taken = how == PLAIN_ACCEPTS || how == NEXT_HOST_ACCEPTS;
  if (!v->again) {
    CHECK_INT(what, got, v->result);
    check_cache(what, k, v->domain, v->address);
  } else if (is_taken) {
    CHECK_INT(what, got, OUTCOME_OK);
    check_cache(what, k, CALLOUT_ACCEPT, CALLOUT_ACCEPT);
  } else if (how == PLAIN_REFUSES) {
    CHECK_INT(what, got, OUTCOME_FAIL);
    CHECK_STR(what, k->r.user, "Callout verification failed:\n550 really not");
    check_cache(what, k, CALLOUT_ACCEPT, CALLOUT_REJECT);
  } else {
    CHECK_INT(what, got, OUTCOME_DEFER);
    check_cache(what, k, CALLOUT_UNKNOWN, CALLOUT_UNKNOWN);
  }
}

static void walk_row(const struct row *whole, enum layer l, enum after how) {
  char what[160];
  const char *early[40], *plain[40], *next[40];
  struct row r = without_content(whole);
  struct verdict v = verdict_of(whole);
  struct call k = {0};
  struct tls_server one = {.scripts = {early, v.again ? plain : NULL}}, two = {.scripts = {next}};
  if (!v.again && how != PLAIN_ACCEPTS) return;
  snprintf(what, sizeof what, "%s %s, %s%s%s", r.classes, r.name, layer_names[l], v.again ? ", " : "", v.again ? after_names[how] : "");
  prepare_with(&k.c, &two, l, WITH_BDAT, "x\n"); /* no DATA stands behind the envelope */
  call_prepare(&k, "callout=1s");
  k.c.m->message_size = 100;
  one.params = two.params;
  early_script_in(l, &r, WITH_BDAT, early);
  for (size_t i = 0; early[i]; i++)
    if (strncmp(early[i], "<MAIL", 5) == 0) early[i] = "<MAIL FROM:<> SIZE=";
  (void)plain_callout(&r, l, how == NEXT_HOST_ACCEPTS ? PLAIN_CLOSES : how, plain);
  (void)plain_callout(&r, l, PLAIN_ACCEPTS, next);
  tls_server_start(&one);
  client_host(&k.c, one.port);
  if (how == NEXT_HOST_ACCEPTS) tls_server_start(&two), client_host(&k.c, two.port);
  for (struct host *h = k.c.d.addrs->host_list; h; h = h->next) h->name = "mx.test";
  remember(&k.c, one.port, clear_bits(l, WITH_BDAT), crypted_bits(l, WITH_BDAT), 0);
  enum outcome got = call(&k);
  tls_server_finish(&one);
  if (how == NEXT_HOST_ACCEPTS) tls_server_finish(&two);
  check_end(what, &k, &v, how, got);
  bool learnt = l == STARTTLS && v.again && r.record == NO_RECORD && (how == PLAIN_ACCEPTS || how == PLAIN_REFUSES);
  CHECK_INT(what, record_left(&k.c, one.port), learnt ? USABLE : r.record);
  call_free(&k);
}

static void test_failure_classes(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
    for (int l = CLEARTEXT; l < LAYERS; l++)
      for (int how = 0; how < AFTERS; how++) {
        bool waits = strcmp(rows[i].classes, "F7") == 0, is_body_row = strncmp(rows[i].classes, "F24", 3) == 0;
        if (!is_body_row && (!waits || how == PLAIN_ACCEPTS)) walk_row(&rows[i], (enum layer)l, (enum after)how);
      }
}

/* ---- what else leaves early, or does not ------------------------------------------------------------------------ */

#define EARLY_EHLO "250-s\n250-SIZE 9999\n250-PIPELINING\n250 PIPECONNECT\n"
#define OPENING(rcpt) "early", "<EHLO me.test", "<MAIL FROM:<> SIZE=", "<RCPT TO:<" rcpt ">"

static void test_dialogues(void **state) {
  (void)state;
  const struct {
    const char *name, *options;
    const char *const *first, *const *second;
    enum outcome want;
    const char *option, *value;
  } cases[] = {
    {"two hold to what was said", "callout=1s", SCRIPT(OPENING("a@x.test"), "quiet", HI, ">" EARLY_EHLO, OK, OK, "<QUIT"), NULL, OUTCOME_OK, NULL, NULL},
    {"no SIZE for a name nobody has", "callout=1s,random",
     SCRIPT("early", "<EHLO", "<MAIL FROM:<>", "<RCPT TO:<nobody-testing@x.test>", "quiet", HI, ">" EARLY_EHLO, OK, ">550 no\n", "<RSET", OK, "<MAIL FROM:<> SIZE=", "quiet", OK,
            "<RCPT TO:<a@x.test>", OK, "<QUIT"), NULL, OUTCOME_OK, NULL, NULL},
    {"random, promise gone", "callout=1s,random", SCRIPT("early", "<EHLO", "<MAIL", "<RCPT TO:<nobody", HI, ">250-s\n250 PIPELINING\n", OK, ">550 no\n"),
     SCRIPT("quiet", HI, "<EHLO", ">250-s\n250 PIPELINING\n", "<MAIL FROM:<>", "quiet", OK, "<RCPT TO:<nobody", OK, "<QUIT"), OUTCOME_OK, NULL, NULL},
    {"postmaster comes behind", "callout=1s,postmaster",
     SCRIPT(OPENING("a@x.test"), HI, ">" EARLY_EHLO, OK, OK, "<RSET", OK, "<MAIL FROM:<>", "quiet", OK, "<RCPT TO:<postmaster@x.test>", OK, "<QUIT"), NULL, OUTCOME_OK, NULL, NULL},
    {"F14", "callout=1s", SCRIPT(OPENING("a@x.test"), HI, ">250-s\n250-SIZE 9\n250-PIPELINING\n250-STARTTLS\n250 PIPECONNECT\n", OK, ">550 no\n", "eof"),
     SCRIPT("quiet", HI, "<EHLO", CLEAR_EHLO, "<STARTTLS", ">220 go\n", "tls", "<EHLO", ">250 s\n", "<MAIL", OK, "<RCPT", OK, "<QUIT"), OUTCOME_OK, NULL, NULL},
    {"K1", "callout=1s", SCRIPT("quiet", HI, "<EHLO h127.0.0.1", ">250 s\n", "<MAIL", OK, "<RCPT", OK, "<QUIT"), NULL, OUTCOME_OK, "helo_data", "h$sending_ip_address"},
    {"C3", "callout=1s", SCRIPT("quiet", HI, "<EHLO", ">250 s\n", "<MAIL", OK, "<RCPT", OK, "<QUIT"), NULL, OUTCOME_OK, "hosts_avoid_pipelining", "*"},
    {"C1", "callout=1s", SCRIPT("quiet", HI, "<EHLO", ">250 s\n", "<MAIL", OK, "<RCPT", OK, "<QUIT"), NULL, OUTCOME_OK, "hosts_pipe_connect", ""},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct call k = {0};
    struct tls_server s = {.scripts = {cases[i].first, cases[i].second}};
    prepare_with(&k.c, &s, CLEARTEXT, WITH_DATA, "x\n");
    call_prepare(&k, cases[i].options);
    k.c.m->message_size = 100;
    if (cases[i].option) client_option(&k.c, cases[i].option, cases[i].value);
    tls_server_start(&s);
    client_host(&k.c, s.port);
    k.c.d.addrs->host_list->name = "mx.test";
    remember(&k.c, s.port, BASIC, 0, 0);
    enum outcome got = call(&k);
    tls_server_finish(&s);
    if (got != cases[i].want) fail_msg("%s: outcome %d, %s", cases[i].name, (int)got, k.r.log ? k.r.log : "");
    call_free(&k);
  }
}

/* A callout learns, the next one talks early; one that fails suspends. */
static void test_learn_and_suspend(void **state) {
  (void)state;
#define PLAIN_CALLOUT SCRIPT("quiet", HI, "<EHLO", ">" EARLY_EHLO, "<MAIL FROM:<>", "quiet", OK, "<RCPT", OK, "<QUIT", ">221 bye\n")
  struct call k = {0};
  struct tls_server s = {.scripts = {PLAIN_CALLOUT, SCRIPT(OPENING("a@x.test"), ">421 busy\n"), PLAIN_CALLOUT, PLAIN_CALLOUT}};
  prepare_with(&k.c, &s, CLEARTEXT, WITH_DATA, "x\n");
  call_prepare(&k, "callout=1s,no_cache");
  k.c.m->message_size = 100;
  tls_server_start(&s);
  client_host(&k.c, s.port);
  assert_int_equal(record_left(&k.c, s.port), NO_RECORD);
  assert_int_equal(call(&k), OUTCOME_OK);
  assert_int_equal(record_left(&k.c, s.port), USABLE);
  assert_int_equal(call(&k), OUTCOME_OK); /* early, then plain */
  assert_int_equal(record_left(&k.c, s.port), SUSPENDED);
  assert_int_equal(call(&k), OUTCOME_OK); /* plain at once */
  tls_server_finish(&s);
  call_free(&k);
}

#endif

int main(void) {
  const struct CMUnitTest tests[] = {
#ifdef EXPERIMENTAL_PIPE_CONNECT
    cmocka_unit_test(test_failure_classes), cmocka_unit_test(test_dialogues), cmocka_unit_test(test_learn_and_suspend),
#else
    cmocka_unit_test(test_not_built),
#endif
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
