/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Callouts: the options of verify, the life of cache records, the verdicts of scripted servers, and what the cache then says.
 * Expected texts: Exim 4.96 on the same dialogues (test/oracle/run-callouts). */
#include "callout_call.h"

#include "transports/smtp_probe.h"

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})
#define HELLO ">220 hi\n", "<EHLO me.test", ">250 ok\n"
#define BYE "<QUIT", ">221 bye\n"

/* ---- options ---------------------------------------------------------------------------------------------- */

static void test_option_errors(void **state) {
  (void)state;
  static const struct {
    const char *whole, *error;
  } rows[] = {
    {"sender/callout", NULL},
    {"sender/callout=", NULL},
    {"sender / callout = 10s , no_cache / defer_ok", NULL},
    {"sender/frob", "unknown option \"frob\" in ACL condition \"verify sender/frob\""},
    {"sender/callout=5s,frob", "bad time value in ACL condition \"verify sender/callout=5s,frob\""},
    {"sender/callout=connect=x", "bad time value in ACL condition \"verify sender/callout=connect=x\""},
    {"sender/callout=maxwait", "'=' expected after \"maxwait\" in ACL verify condition \"sender/callout=maxwait\""},
    {"sender/calloutx", "'=' expected after \"callout\" in ACL condition \"sender/calloutx\""},
    {"sender/callout=use_sender", "use_sender or use_postmaster cannot be used for a sender verify callout"},
    {"sender/callout=mailfrom=a@b", "\"mailfrom\" is allowed as a callout option only for verify=header_sender (detected in ACL "
                                    "condition \"sender/callout=mailfrom=a@b\")"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("test");
    struct verify_opts o = {.what = VERIFY_OF_SENDER};
    struct str rest = str_c(rows[i].whole);
    (void)str_cut(&rest, '/');
    const char *error = acl_parse_verify_opts(a, rows[i].whole, rest, &o);
    if (!rows[i].error) assert_null(error);
    else assert_string_equal(error, rows[i].error);
    arena_free(a);
  }
}

static void test_option_values(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct verify_opts o = {.what = VERIFY_OF_RECIPIENT};
  o = (struct verify_opts){.what = VERIFY_OF_RECIPIENT};
  assert_null(acl_parse_verify_opts(a, "", STR("quota"), &o));
  assert_true(o.quota && !o.callout && o.quota_pos_sec == 300 && o.quota_neg_sec == 3600);
  assert_null(acl_parse_verify_opts(a, "", STR("callout/quota=cachepos=1h, cacheneg=1d"), &o));
  assert_true(o.quota && o.callout && o.quota_pos_sec == 3600 && o.quota_neg_sec == 86400);
  assert_null(acl_parse_verify_opts(a, "", STR("quota = no_cache"), &o));
  assert_true(o.quota_pos_sec == 0 && o.quota_neg_sec == 0);
  assert_non_null(acl_parse_verify_opts(a, "", STR("quota=cachepos"), &o));
  assert_non_null(acl_parse_verify_opts(a, "", STR("quota=cache=1h"), &o));
  assert_non_null(acl_parse_verify_opts(a, "", STR("quotas"), &o));
  o = (struct verify_opts){.what = VERIFY_OF_SENDER};
  assert_non_null(acl_parse_verify_opts(a, "", STR("quota"), &o));
  o = (struct verify_opts){.what = VERIFY_OF_RECIPIENT};
  assert_null(acl_parse_verify_opts(a, "", STR("defer_ok/no_details/callout=10s,connect=2s,use_sender,random,fullpostmaster,hold"), &o));
  assert_true(o.defer_ok && o.no_details && o.callout && o.use_sender && o.random && o.full_postmaster && o.hold);
  assert_false(o.callout_defer_ok || o.no_cache || o.use_postmaster);
  assert_int_equal(o.timeout_sec, 10);
  assert_int_equal(o.connect_sec, 2);
  assert_int_equal(o.maxwait_sec, 40);
  assert_string_equal(o.postmaster_mailfrom, "");
  o = (struct verify_opts){.what = VERIFY_OF_RECIPIENT};
  assert_null(acl_parse_verify_opts(a, "", STR("callout_defer_ok/callout=postmaster_mailfrom=p@q"), &o));
  assert_true(o.callout && o.callout_defer_ok);
  assert_int_equal(o.timeout_sec, 30);
  assert_string_equal(o.postmaster_mailfrom, "p@q");
  arena_free(a);
}

/* ---- cache records ---------------------------------------------------------------------------------------- */

static void test_expiry(void **state) {
  (void)state;
  enum { POSITIVE = 1000, NEGATIVE = 100 };
  static const struct {
    int result, age, postmaster, postmaster_age, random, random_age, want, want_postmaster, want_random;
  } rows[] = {
    {CALLOUT_ACCEPT, 1000, 0, 0, 0, 0, CALLOUT_ACCEPT, 0, 0},
    {CALLOUT_ACCEPT, 1001, CALLOUT_ACCEPT, 5, CALLOUT_ACCEPT, 5, 0, 0, 0},
    {CALLOUT_REJECT, 100, 0, 0, 0, 0, CALLOUT_REJECT, 0, 0},
    {CALLOUT_REJECT, 101, 0, 0, 0, 0, 0, 0, 0},
    {CALLOUT_REJECT_NULL, 101, 0, 0, 0, 0, 0, 0, 0},
    {CALLOUT_REJECT, -60, 0, 0, 0, 0, CALLOUT_REJECT, 0, 0},
    {CALLOUT_REJECT, -61, 0, 0, 0, 0, 0, 0, 0}, /* from the future: the clock was wrong */
    {CALLOUT_ACCEPT, 500, CALLOUT_REJECT, 101, CALLOUT_REJECT, 101, CALLOUT_ACCEPT, 0, CALLOUT_REJECT},
    {CALLOUT_ACCEPT, 500, CALLOUT_ACCEPT, 101, CALLOUT_ACCEPT, 1001, CALLOUT_ACCEPT, CALLOUT_ACCEPT, 0},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    int64_t now = 1000000;
    struct hints_callout r = {.is_domain = true, .result = rows[i].result, .stamp = now - rows[i].age, .postmaster_result = rows[i].postmaster,
                              .postmaster_stamp = now - rows[i].postmaster_age, .random_result = rows[i].random,
                              .random_stamp = now - rows[i].random_age};
    r = callout_cache_still_good(r, now, POSITIVE, NEGATIVE);
    if (r.result != rows[i].want || r.postmaster_result != rows[i].want_postmaster || r.random_result != rows[i].want_random)
      fail_msg("row %zu: %d %d %d", i, r.result, r.postmaster_result, r.random_result);
  }
}

/* ---- verdicts --------------------------------------------------------------------------------------------- */

static void test_verdicts(void **state) {
  (void)state;
  const struct {
    const char *options;
    const char *const *script;
    enum outcome want, again;  /* again: with nobody there */
    const char *log, *failure;
  } rows[] = {
    {"callout=2s", SCRIPT(HELLO, "<MAIL FROM:<>", ">250 ok\n", "<RCPT TO:<a@x.test>", ">250 ok\n", BYE), OUTCOME_OK, OUTCOME_OK, NULL, NULL},
    {"callout=2s,no_cache", SCRIPT(HELLO, "<MAIL FROM:<>", ">250 ok\n", "<RCPT", ">250 ok\n", BYE), OUTCOME_OK, OUTCOME_DEFER, NULL, NULL},
    {"callout=2s", SCRIPT(HELLO, "<MAIL", ">250 ok\n", "<RCPT", ">550-no\n550 no\n", BYE), OUTCOME_FAIL, OUTCOME_FAIL,
     "127.0.0.1 [127.0.0.1] : SMTP error from remote mail server after RCPT TO:<a@x.test>: 550-no\\n550 no", "recipient"},
    {"callout=2s", SCRIPT(HELLO, "<MAIL", ">250 ok\n", "<RCPT", ">450 later\n", BYE), OUTCOME_DEFER, OUTCOME_DEFER,
     "Could not complete recipient verify callout: 127.0.0.1 [127.0.0.1] : SMTP error from remote mail server after RCPT TO:<a@x.test>: "
     "450 later", NULL},
    {"callout=2s", SCRIPT(HELLO, "<MAIL", ">550 no bounces\n", BYE), OUTCOME_FAIL, OUTCOME_FAIL,
     "127.0.0.1 [127.0.0.1] : response to \"MAIL FROM:<>\" was: 550 no bounces", "mail"},
    {"callout=2s,use_sender", SCRIPT(HELLO, "<MAIL FROM:<s@me.test>", ">550 not you\n", BYE), OUTCOME_FAIL, OUTCOME_DEFER,
     "127.0.0.1 [127.0.0.1] : response to \"MAIL FROM:<s@me.test>\" was: 550 not you", "mail"},
    {"callout=2s", SCRIPT(">554 go away\n", BYE), OUTCOME_FAIL, OUTCOME_DEFER,
     "127.0.0.1 [127.0.0.1] : SMTP error from remote mail server after initial connection: 554 go away", "mail"},
    {"callout=2s", SCRIPT(">421 later\n", BYE), OUTCOME_DEFER, OUTCOME_DEFER,
     "Could not complete recipient verify callout: 127.0.0.1 [127.0.0.1] : SMTP error from remote mail server after initial connection: "
     "421 later", NULL},
    {"callout=2s", SCRIPT(HELLO, "<MAIL", ">250 ok\n", "<RCPT", "close"), OUTCOME_DEFER, OUTCOME_DEFER,
     "Could not complete recipient verify callout: 127.0.0.1 [127.0.0.1] : response to \"RCPT TO:<a@x.test>\" was: connection dropped", NULL},
    {"callout=1s", SCRIPT(HELLO, "<MAIL", "hang"), OUTCOME_DEFER, OUTCOME_DEFER,
     "Could not complete recipient verify callout: 127.0.0.1 [127.0.0.1] : SMTP timeout after MAIL FROM:<>", NULL},
    {"callout=2s,defer_ok", SCRIPT(HELLO, "<MAIL", ">450 no\n", BYE), OUTCOME_OK, OUTCOME_OK, NULL, NULL},
    {"callout=2s,random", SCRIPT(HELLO, "<MAIL", ">250 ok\n", "<RCPT TO:<nobody-testing@x.test>", ">250 ok\n", BYE), OUTCOME_OK, OUTCOME_OK, NULL,
     "random"},
    {"callout=2s,random", SCRIPT(HELLO, "<MAIL", ">250 ok\n", "<RCPT TO:<nobody", ">550 no\n", "<RSET", ">250 ok\n", "<MAIL", ">250 ok\n",
                                 "<RCPT TO:<a@x.test>", ">250 ok\n", BYE), OUTCOME_OK, OUTCOME_OK, NULL, NULL},
    {"callout=2s,fullpostmaster", SCRIPT(HELLO, "<MAIL", ">250 ok\n", "<RCPT TO:<a@", ">250 ok\n", "<RSET", ">250 ok\n", "<MAIL FROM:<>", ">250 ok\n",
                                         "<RCPT TO:<postmaster@x.test>", ">550 no\n", "<RCPT TO:<postmaster>", ">550 never\n", BYE),
     OUTCOME_FAIL, OUTCOME_FAIL, "127.0.0.1 [127.0.0.1] : SMTP error from remote mail server after RCPT TO:<postmaster@x.test>: 550 no", "postmaster"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct call k;
    call_new(&k, rows[i].options);
    struct server s = {.scripts = {rows[i].script}};
    server_start(&s);
    client_host(&k.c, s.port);
    enum outcome got = call(&k);
    if (got != rows[i].want) fail_msg("row %zu: outcome %d, %s", i, (int)got, k.r.log ? k.r.log : "");
    if (rows[i].log) assert_string_equal(k.r.log, rows[i].log);
    if (rows[i].failure) assert_string_equal(k.r.failure, rows[i].failure);
    server_finish(&s);
    if ((got = call(&k)) != rows[i].again) fail_msg("row %zu: outcome from the cache %d", i, (int)got);
    call_free(&k);
  }
}

/* A temporary trouble at one host is no verdict: the next one is asked. */
static void test_next_host(void **state) {
  (void)state;
  struct call k;
  call_new(&k, "callout=2s");
  struct server s = {.scripts = {SCRIPT(HELLO, "<MAIL", ">250 ok\n", "<RCPT", ">450 later\n", BYE),
                                 SCRIPT(HELLO, "<MAIL", ">250 ok\n", "<RCPT", ">550 no\n", BYE)}};
  server_start(&s);
  client_host(&k.c, s.port);
  client_host(&k.c, s.port);
  assert_int_equal(call(&k), OUTCOME_FAIL);
  assert_string_equal(k.r.user, "Callout verification failed:\n550 no");
  server_finish(&s);
  call_free(&k);
}

/* What is shown to the client of a reply ends at the first byte that is not printable. */
static void test_unprintable(void **state) {
  (void)state;
  struct call k;
  call_new(&k, "callout=2s,no_cache");
  struct server s = {.scripts = {SCRIPT(HELLO, "<MAIL", ">250 ok\n", "<RCPT", ">550 a\x80z\n", BYE)}};
  server_start(&s);
  client_host(&k.c, s.port);
  assert_int_equal(call(&k), OUTCOME_FAIL);
  assert_string_equal(k.r.user, "Callout verification failed:\n550 a(truncated)");
  server_finish(&s);
  call_free(&k);
}

/* ---- the message over the same connection ----------------------------------------------------------------- */

static struct smtp_probe *open_and_keep(struct client *c, struct server *s) {
  struct probe_answer a;
  struct host *h = c->d.addrs->host_list;
  struct probe_opts o = {.x = &c->x, .transport = &c->t, .addr = c->d.addrs, .host = h, .port = s->port};
  struct smtp_probe *p = smtp_probe_open(&o, &a);
  assert_non_null(p);
  assert_true(smtp_probe_mail(p, "s@me.test", -1, &a));
  assert_true(smtp_probe_rcpt(p, "a@x.test", &a));
  smtp_probe_keep(p, c->d.addrs);
  return p;
}

static void test_message_follows(void **state) {
  (void)state;
  struct {
    const char *const *script;
    unsigned dsn_flags;
    enum probe_verdict want;
    enum probe_stage stage;
  } rows[] = {
    {SCRIPT(HELLO, "<MAIL", ">250 ok\n", "<RCPT", ">250 ok\n", "<DATA", ">354 go\n", "data", ">250 taken\n", BYE), 0, PROBE_YES, PROBE_AT_END},
    {SCRIPT(HELLO, "<MAIL", ">250 ok\n", "<RCPT", ">250 ok\n", "<DATA", ">354 go\n", "data", ">550 no\n", BYE), 0, PROBE_NO, PROBE_AT_END},
    {SCRIPT(HELLO, "<MAIL", ">250 ok\n", "<RCPT", ">250 ok\n", "<DATA", ">354 go\n", "data", "close"), 0, PROBE_LATER, PROBE_AT_END},
    {SCRIPT(HELLO, "<MAIL", ">250 ok\n", "<RCPT", ">250 ok\n", "<DATA", ">550 no\n", BYE), 0, PROBE_LATER, PROBE_AT_DATA}, /* not about the message */
    {SCRIPT(HELLO, "<MAIL", ">250 ok\n", "<RCPT", ">250 ok\n", BYE), DSN_SUCCESS, PROBE_LATER, PROBE_AT_DATA}, /* NOTIFY was not said */
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct client c;
    struct probe_answer a;
    client_new(&c, "body\n.dot\n", 1);
    c.d.addrs->transport = &c.t;
    message_add_recipient(c.m, "a@x.test")->dsn_flags = rows[i].dsn_flags;
    struct server s = {.scripts = {rows[i].script}};
    server_start(&s);
    client_host(&c, s.port);
    struct smtp_probe *p = open_and_keep(&c, &s);
    struct address *first = smtp_probe_recipients(p, NULL);
    assert_ptr_equal(first, c.d.addrs);
    enum probe_verdict got = smtp_probe_send(p, &c.d, &a);
    if (got != rows[i].want || a.stage != rows[i].stage) fail_msg("row %zu: verdict %d at %d", i, (int)got, (int)a.stage);
    if (got == PROBE_YES) assert_string_equal(c.d.addrs->confirmation, "250 taken");
    smtp_probe_close(p);
    server_finish(&s);
    if (i == 0) assert_non_null(strstr(s.got[0], "Subject: t\r\n\r\nbody\r\n..dot\r\n.\r\n"));
    client_free(&c);
  }
}

/* Another sender, another host or another port is another connection; a server's limit is kept. */
static void test_fits(void **state) {
  (void)state;
  struct client c;
  client_new(&c, "x\n", 2);
  for (struct address *a = c.d.addrs; a; a = a->next) a->transport = &c.t;
  struct server s = {.scripts = {SCRIPT(">220 hi\n", "<EHLO me.test", ">250-hi\n250 LIMITS RCPTMAX=2\n", "<MAIL", ">250 ok\n", "<RCPT", ">250 ok\n", BYE)}};
  server_start(&s);
  client_host(&c, s.port);
  struct address *first = c.d.addrs, *second = first->next;
  struct host *h = first->host_list, other = *h;
  other.address = "127.0.0.2";
  struct smtp_probe *p = open_and_keep(&c, &s);
  assert_true(smtp_probe_fits(p, &c.x, second, h, 25, "s@me.test"));
  assert_false(smtp_probe_fits(p, &c.x, second, h, 25, "t@me.test"));
  assert_false(smtp_probe_fits(p, &c.x, second, &other, 25, "s@me.test"));
  other = *h;
  other.port = s.port + 1;
  assert_false(smtp_probe_fits(p, &c.x, second, &other, 25, "s@me.test"));
  smtp_probe_keep(p, second);
  assert_false(smtp_probe_fits(p, &c.x, second, h, 25, "s@me.test"));
  smtp_probe_close(p);
  server_finish(&s);
  client_free(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_option_errors), cmocka_unit_test(test_option_values), cmocka_unit_test(test_expiry),
    cmocka_unit_test(test_verdicts),      cmocka_unit_test(test_next_host),     cmocka_unit_test(test_unprintable),
    cmocka_unit_test(test_message_follows), cmocka_unit_test(test_fits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
