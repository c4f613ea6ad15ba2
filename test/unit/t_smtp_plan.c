/* SPDX-License-Identifier: GPL-2.0-or-later */
/* exim -bt --plan: what would be said first and how many round trips a message would take, for each way of talking of which doc/experimental-spec.txt
 * section 10 has the figure (doc/round-trips.txt: the same, measured). */
#include "early_layers.h"

#include "transports/smtp_plan.h"

#ifdef EXPERIMENTAL_PIPE_CONNECT

enum { PLAIN = 1, LOGIN = 2 };

struct plan_row {
  const char *name;
  enum layer layer;
  const char *options[4][2];         /* name, value; hosts_require_auth: authenticators are configured */
  struct hints_ehlo r;               /* remembered; features 0: nothing is */
  const char *want[3];               /* in the text */
};

#define AUTH_OPTION {"hosts_require_auth", "*"}
#define NO_TLS_OPTION {"hosts_avoid_tls", "*"}
#define PIPE_OPTION {"hosts_pipe_auth", "*"}

static const struct plan_row rows_of_plan[] = {
  {"first contact", CLEARTEXT, {{NULL, NULL}}, {0}, {"first flight: none, nothing is remembered", "expected: 5 (with PIPELINING and no TLS), 4 with Fast Open"}},
  {"first contact, AUTH", CLEARTEXT, {AUTH_OPTION}, {0}, {"expected: 6 ", ", 5 with Fast Open"}},
  {"first contact, AUTH, its envelope behind it", CLEARTEXT, {AUTH_OPTION, NO_TLS_OPTION, PIPE_OPTION}, {0}, {"expected: 5 ", ", 4 with Fast Open"}},
  {"first contact, AUTH, not in hosts_avoid_tls", CLEARTEXT, {AUTH_OPTION, PIPE_OPTION}, {0}, {"expected: 6 ", ", 5 with Fast Open"}},
  {"early", CLEARTEXT, {{NULL, NULL}}, {.clear_features = BASIC}, {"first flight: EHLO MAIL RCPT DATA\n", "expected: 3, 2 with Fast Open\n"}},
  {"early, chunk", CLEARTEXT, {{"hosts_try_chunking", "*"}}, {.clear_features = CHUNKED}, {"first flight: EHLO MAIL RCPT\n", "expected: 3, 2 with Fast Open\n"}},
  {"early, message", CLEARTEXT, {{"hosts_try_chunking", "*"}, {"hosts_pipe_connect_body", "*"}, NO_TLS_OPTION}, {.clear_features = CHUNKED, .flags = HINTS_EHLO_CONFIRMED_CHUNKING},
   {"first flight: EHLO MAIL RCPT BDAT", "expected: 2\n"}},
  {"message in the SYN", CLEARTEXT, {{"hosts_try_chunking", "*"}, {"hosts_pipe_connect_body", "*"}, NO_TLS_OPTION, {"hosts_try_fastopen_body", "*"}},
   {.clear_features = CHUNKED, .flags = HINTS_EHLO_CONFIRMED_CHUNKING}, {"first flight: EHLO MAIL RCPT BDAT", "expected: 2, 1 with Fast Open\n"}},
  {"early, AUTH", CLEARTEXT, {AUTH_OPTION, NO_TLS_OPTION}, {.clear_features = BASIC, .clear_auths = PLAIN}, {"first flight: EHLO AUTH\n", "expected: 4, 3 with Fast Open\n"}},
  {"early, AUTH, its envelope behind it", CLEARTEXT, {AUTH_OPTION, NO_TLS_OPTION, PIPE_OPTION}, {.clear_features = BASIC, .clear_auths = PLAIN},
   {"first flight: EHLO AUTH MAIL RCPT DATA\n", "expected: 3, 2 with Fast Open\n"}},
  {"early, AUTH, not in hosts_avoid_tls", CLEARTEXT, {AUTH_OPTION, PIPE_OPTION}, {.clear_features = BASIC, .clear_auths = PLAIN}, {"first flight: EHLO\n", "expected: 5, 4 with Fast Open\n"}},
  {"early, AUTH in steps", CLEARTEXT, {AUTH_OPTION, NO_TLS_OPTION, PIPE_OPTION}, {.clear_features = BASIC, .clear_auths = LOGIN},
   {"first flight: EHLO AUTH\n", "expected: 4, 3 with Fast Open and more when AUTH takes more than one step\n"}},
  {"needed and not remembered", CLEARTEXT, {AUTH_OPTION, NO_TLS_OPTION, PIPE_OPTION}, {.clear_features = BASIC}, {"first flight: none, something needed"}},
  {"STARTTLS", STARTTLS, {{NULL, NULL}}, {.clear_features = CLEAR, .crypted_features = BASIC},
   {"first flight: EHLO STARTTLS\n", "second flight: behind the handshake: EHLO MAIL RCPT DATA\n", "expected: 5, 4 with Fast Open\n"}},
  {"STARTTLS, its other half unknown", STARTTLS, {{NULL, NULL}}, {.clear_features = CLEAR}, {"first flight: EHLO STARTTLS\n", "expected: 6, 5 with Fast Open\n"}},
  {"STARTTLS, AUTH", STARTTLS, {AUTH_OPTION}, {.clear_features = CLEAR, .crypted_features = BASIC, .crypted_auths = PLAIN},
   {"second flight: behind the handshake: EHLO AUTH\n", "expected: 6, 5 with Fast Open\n"}},
  {"STARTTLS, AUTH, its envelope behind it", STARTTLS, {AUTH_OPTION, PIPE_OPTION}, {.clear_features = CLEAR, .crypted_features = BASIC, .crypted_auths = PLAIN},
   {"second flight: behind the handshake: EHLO AUTH MAIL RCPT DATA\n", "expected: 5, 4 with Fast Open\n"}},
  {"STARTTLS and ClientHello", STARTTLS, {{"starttls_pipeline_hosts", "*"}}, {.clear_features = CLEAR | EHLO_TLSFLIGHT, .crypted_features = BASIC},
   {"first flight: EHLO STARTTLS ClientHello\n", "expected: 4, 3 with Fast Open\n"}},
  {"on connect", SMTPS, {{NULL, NULL}}, {.crypted_features = BASIC}, {"first flight: behind the handshake: EHLO MAIL RCPT DATA\n", "expected: 4, 3 with Fast Open\n"}},
  {"on connect, AUTH", SMTPS, {AUTH_OPTION, PIPE_OPTION}, {.crypted_features = BASIC, .crypted_auths = PLAIN},
   {"first flight: behind the handshake: EHLO AUTH MAIL RCPT DATA\n", "expected: 4, 3 with Fast Open\n"}},
  {"no Fast Open", CLEARTEXT, {{"hosts_try_fastopen", ""}}, {.clear_features = BASIC}, {"expected: 3\n"}},
};

static void test_plans(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows_of_plan); i++) {
    const struct plan_row *row = &rows_of_plan[i];
    struct client c;
    struct hints_ehlo r = row->r;
    struct auth_instance login = {.name = "l", .driver = &login_driver, .o = {.public_name = "LOGIN"}, .is_client = true};
    struct auth_instance plain = {.next = &login, .name = "p", .driver = &plain_driver, .o = {.public_name = "PLAIN"}, .is_client = true};
    client_new(&c, "x\n", 1);
    client_option(&c, "hosts_pipe_connect", "*");
    client_option(&c, "hosts_try_fastopen", "*");
    client_option(&c, "hosts_try_dane", "");
    if (row->layer == SMTPS) client_option(&c, "protocol", "smtps");
    for (size_t k = 0; k < ARRAY_SIZE(row->options) && row->options[k][0]; k++) client_option(&c, row->options[k][0], row->options[k][1]);
    c.cfg.auths = &plain;
    client_host(&c, 2525);
    r.stamp = time_sec();
    r.fingerprint = pipe_connect_fingerprint(&c.cfg, "me.test", NULL);
    if (r.clear_features | r.crypted_features) put_record(&c, 2525, &r);
    const char *text = smtp_plan_text(&c.x, &c.t, c.d.addrs);
    for (size_t k = 0; k < ARRAY_SIZE(row->want) && row->want[k]; k++)
      if (!strstr(text, row->want[k])) fail_msg("%s: no \"%s\" in\n%s", row->name, row->want[k], text);
    client_free(&c);
  }
}

/* What is noted of failures is told. */
static void test_failures(void **state) {
  (void)state;
  struct client c;
  struct hints_ehlo r = {.stamp = time_sec(), .fail_count = 2, .suspend_until = time_sec() + 3000};
  struct strbuf b;
  client_new(&c, "x\n", 1);
  client_option(&c, "hosts_pipe_connect", "*");
  client_option(&c, "hosts_try_fastopen", "*");
  client_host(&c, 2525);
  put_record(&c, 2525, &r);
  const char *text = smtp_plan_text(&c.x, &c.t, c.d.addrs);
  assert_non_null(strstr(text, "failed early attempts: 2"));
  assert_non_null(strstr(text, "first flight: none, suspended"));
  assert_non_null(strstr(text, "expected: 5, 4 with Fast Open"));
  r = (struct hints_ehlo){.stamp = time_sec(), .clear_features = BASIC, .suspend_until = time_sec() - 5,
                          .fingerprint = pipe_connect_fingerprint(&c.cfg, "me.test", NULL)};
  put_record(&c, 2525, &r);
  b = strbuf_new(c.a);
  hints_put_serialize(&b, &(struct hints_serialize){.stamp = time_sec(), .count = 1});
  struct hints_db *db = hints_open(c.spool, "misc", true);
  assert_int_equal(hints_put(db, "fastopen-127.0.0.1", strbuf_str(&b)), 0);
  hints_close(db);
  text = smtp_plan_text(&c.x, &c.t, c.d.addrs);
  assert_non_null(strstr(text, "on probation"));
  assert_non_null(strstr(text, "expected: 3\n"));
  client_free(&c);
}

#endif

int main(void) {
  const struct CMUnitTest tests[] = {
#ifdef EXPERIMENTAL_PIPE_CONNECT
    cmocka_unit_test(test_plans), cmocka_unit_test(test_failures),
#else
    cmocka_unit_test(test_not_built),
#endif
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
