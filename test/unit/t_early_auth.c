/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AUTH in a flight, early and behind a real EHLO reply, inside TLS and in clear (doc/experimental-spec.txt sections 4 and 7, README.EXPERIMENTAL:
 * hosts_pipe_auth; RFC 4954 section 4).  Each row asserts the order on the wire, the fate of the recipient, the log, and the record that is left. */
#include "early_layers.h"

#ifdef EXPERIMENTAL_PIPE_CONNECT

/* ---- inside TLS ------------------------------------------------------------------------------------------------ */

#define PLAIN_AUTH \
  SCRIPT("quiet", ">220 hi\n", "<EHLO", CLEAR_EHLO, "<STARTTLS", ">220 go\n", "tls", "<EHLO", ">" AUTH_EHLO("PLAIN LOGIN"), "<AUTH PLAIN AGEAYg==", ">235 ok\n", "<MAIL", \
         "<RCPT", "<DATA", ">250 ok\n250 ok\n354 go\n", "data", ">250 ok\n", "<QUIT")
#define UTF8_EHLO "250-s\n250-SIZE 9999\n250-PIPELINING\n250-SMTPUTF8\n250-PIPECONNECT\n250 AUTH PLAIN\n"

static void test_auth(void **state) {
  (void)state;
  const struct {
    const char *name;
    unsigned bits;          /* remembered: 1 PLAIN, 2 LOGIN */
    bool group;             /* hosts_pipe_auth */
    const char *const *first, *const *second;
    enum outcome result;
    bool mark;
  } cases[] = {
    {"AUTH is last", 1, false, SCRIPT(TO_TLS, "<AUTH PLAIN AGEAYg==", "quiet", ">" AUTH_EHLO("PLAIN") "235 ok\n", "<MAIL", "<RCPT", "<DATA", ">250 ok\n250 ok\n354 go\n", REST),
     NULL, OUTCOME_OK, true},
    {"the envelope behind AUTH", 1, true, SCRIPT(TO_TLS, "<AUTH PLAIN AGEAYg==", "<MAIL", "<RCPT", "<DATA", ">" AUTH_EHLO("PLAIN") "235 ok\n250 ok\n250 ok\n354 go\n", REST),
     NULL, OUTCOME_OK, true},
    {"two steps: always last", 2, true, SCRIPT(TO_TLS, "<AUTH LOGIN", "quiet", ">" AUTH_EHLO("LOGIN") "334 dXNlcg==\n", "<Yg==", ">235 ok\n", "<MAIL", "<RCPT", "<DATA",
                                              ">250 ok\n250 ok\n354 go\n", REST), NULL, OUTCOME_OK, true},
    {"F20: AUTH gone", 1, true, SCRIPT(TO_TLS, "<AUTH", "<MAIL", ">" AUTH_EHLO("") "503 what\n530 no\n530 no\n503 no\n"), PLAIN_AUTH, OUTCOME_OK, false},
    {"F20: mechanism gone", 1, false, SCRIPT(TO_TLS, "<AUTH", ">" AUTH_EHLO("LOGIN") "504 what\n"), PLAIN_AUTH, OUTCOME_OK, false},
    {"F20: 535 with an envelope behind it", 1, true, SCRIPT(TO_TLS, "<AUTH", ">" AUTH_EHLO("PLAIN") "535 no\n250 ok\n250 ok\n354 go\n"), PLAIN_AUTH, OUTCOME_OK, false},
    {"F21: 535, genuine", 1, false, SCRIPT(TO_TLS, "<AUTH PLAIN", ">" AUTH_EHLO("PLAIN") "535 no\n", "<QUIT"), NULL, OUTCOME_DEFER, false},
    {"F21: 535, the next one", 1, false, SCRIPT(TO_TLS, "<AUTH PLAIN", ">" AUTH_EHLO("PLAIN LOGIN") "535 no\n", "<AUTH LOGIN", ">334 dXNlcg==\n", "<Yg==", ">235 ok\n", "<MAIL", "<RCPT",
                                               "<DATA", ">250 ok\n250 ok\n354 go\n", REST), NULL, OUTCOME_OK, true},
    {"late: the envelope behind AUTH", 4, true, SCRIPT("quiet", ">220 hi\n", "<EHLO", CLEAR_EHLO, "<STARTTLS", ">220 go\n", "tls", "<EHLO", ">" AUTH_EHLO("PLAIN"), "<AUTH PLAIN AGEAYg==", "<MAIL",
                                                      "<RCPT", "<DATA", ">235 ok\n250 ok\n250 ok\n354 go\n", REST), NULL, OUTCOME_OK, false},
    {"late: refused with the envelope behind it", 4, true, SCRIPT("quiet", ">220 hi\n", "<EHLO", CLEAR_EHLO, "<STARTTLS", ">220 go\n", "tls", "<EHLO", ">" AUTH_EHLO("PLAIN"), "<AUTH",
                                                                 "<MAIL", "<RCPT", "<DATA", ">535 no\n530 no\n503 no\n503 no\n"), PLAIN_AUTH, OUTCOME_OK, false},
    {"C7: none remembered, and one is needed", 0, false, SCRIPT(TO_TLS, "quiet", ">" AUTH_EHLO("PLAIN"), "<AUTH PLAIN", ">235 ok\n", "<MAIL", "<RCPT", "<DATA",
                                                             ">250 ok\n250 ok\n354 go\n", REST), NULL, OUTCOME_OK, true},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct client c;
    struct hints_ehlo r;
    struct auth_instance login = {.name = "l", .driver = &login_driver, .o = {.public_name = "LOGIN"}, .is_client = true};
    struct auth_instance plain = {.next = &login, .name = "p", .driver = &plain_driver, .o = {.public_name = "PLAIN"}, .is_client = true};
    struct tls_server s = {.scripts = {cases[i].first, cases[i].second}};
    prepare(&c, &s, STARTTLS, WITH_DATA);
    c.cfg.auths = &plain;
    client_option(&c, "hosts_require_auth", "*");
    if (cases[i].group) client_option(&c, "hosts_pipe_auth", "*");
    tls_server_start(&s);
    client_host(&c, s.port);
    c.d.addrs->host_list->name = "mx.test";
    if (cases[i].bits < 4) remember(&c, s.port, CLEAR, BASIC, 0);
    if (recall(&c, s.port, &r)) {
      r.crypted_auths = (uint16_t)cases[i].bits;
      put_record(&c, s.port, &r);
    }
    assert_true(smtp_transport.deliver(&c.d));
    tls_server_finish(&s);
    CHECK_INT(cases[i].name, c.d.addrs->result, cases[i].result);
    if (cases[i].result == OUTCOME_OK) CHECK_INT(cases[i].name, c.d.addrs->early_pipe_used, cases[i].mark);
    client_free(&c);
  }
}

/* ---- in clear -------------------------------------------------------------------------------------------------- */

#define GROUP_BEHIND_AUTH "early", "<EHLO me.test", "<AUTH PLAIN AGEAYg==", "<MAIL FROM:<s@me.test> SIZE=", "<RCPT TO:<a@x.test>", "<DATA", "quiet"
#define STEP_BY_STEP "quiet", ">220 hi\n", "<EHLO me.test", ">" AUTH_EHLO("PLAIN LOGIN"), "<AUTH PLAIN AGEAYg==", "quiet"
#define NO_AUTH "250-s\n250-SIZE 9999\n250-PIPELINING\n250 PIPECONNECT\n"
#define TLS_AND_AUTH "250-s\n250-SIZE 9999\n250-PIPELINING\n250-PIPECONNECT\n250-STARTTLS\n250 AUTH PLAIN\n"
#define CHUNK_AND_AUTH "250-s\n250-SIZE 9999\n250-PIPELINING\n250-PIPECONNECT\n250-CHUNKING\n250 AUTH PLAIN\n"

enum { NOTHING = 0 }; /* is remembered */

struct clear_row {
  const char *name, *avoid_tls, *pipe_auth;
  unsigned features, auths;               /* remembered */
  const char *const *first, *const *second;
  enum outcome result;
  bool mark, tls;
  enum record record;
  const char *log;                        /* once in the log; NULL: it says nothing */
};

static void walk_clear_row(const struct clear_row *r) {
  struct client c;
  struct hints_ehlo e;
  char what[100];
  struct auth_instance login = {.name = "l", .driver = &login_driver, .o = {.public_name = "LOGIN"}, .is_client = true};
  struct auth_instance plain = {.next = &login, .name = "p", .driver = &plain_driver, .o = {.public_name = "PLAIN"}, .is_client = true};
  struct tls_server s = {.scripts = {r->first, r->second}};
  snprintf(what, sizeof what, "in clear, %s", r->name);
  prepare_with(&c, &s, CLEARTEXT, r->features & EHLO_CHUNKING ? WITH_BDAT : WITH_DATA, "x\n");
  c.cfg.auths = &plain;
  client_option(&c, "hosts_require_auth", "*");
  client_option(&c, "hosts_avoid_tls", r->avoid_tls);
  client_option(&c, "hosts_pipe_auth", r->pipe_auth);
  tls_server_start(&s);
  client_host(&c, s.port);
  c.d.addrs->host_list->name = "mx.test";
  if (r->features != NOTHING) remember(&c, s.port, r->features, 0, 0);
  if (recall(&c, s.port, &e)) {
    e.clear_auths = (uint16_t)r->auths;
    put_record(&c, s.port, &e);
  }
  int64_t logged = log_size(test_log_path);
  assert_true(smtp_transport.deliver(&c.d));
  tls_server_finish(&s);
  const struct address *a = c.d.addrs;
  CHECK_INT(what, a->result, r->result);
  CHECK_INT(what, a->tls_on, r->tls);
  if (r->result == OUTCOME_OK) CHECK_INT(what, a->early_pipe_used, r->mark);
  CHECK_INT(what, record_left(&c, s.port), r->record);
  const char *log = log_since(test_log_path, logged);
  if (occurrences(log, "\n") != (r->log ? 1 : 0) || (r->log && !strstr(log, r->log))) fail_msg("%s: the log says %s", what, log);
  client_free(&c);
}

/* A host that may be given TLS never gets credentials or anything behind them in clear before its EHLO reply, nor the envelope behind AUTH after it:
 * whatever the record says.  In hosts_avoid_tls both go at once. */
static void test_auth_in_clear(void **state) {
  (void)state;
  const struct clear_row rows_in_clear[] = {
    {"early: the envelope behind AUTH", "*", "*", BASIC, 1, SCRIPT(GROUP_BEHIND_AUTH, ">220 hi\n" AUTH_EHLO("PLAIN") "235 ok\n250 ok\n250 ok\n354 go\n", REST), NULL,
     OUTCOME_OK, true, false, KEPT, NULL},
    {"early: STARTTLS is offered, and avoided", "*", "*", CLEAR, 1, SCRIPT(GROUP_BEHIND_AUTH, ">220 hi\n" TLS_AND_AUTH "235 ok\n250 ok\n250 ok\n354 go\n", REST), NULL,
     OUTCOME_OK, true, false, KEPT, NULL},
    {"early: the chunk waits for the EHLO reply", "*", "*", CHUNKED, 1,
     SCRIPT("early", "<EHLO", "<AUTH PLAIN", "<MAIL", "<RCPT", "quiet", ">220 hi\n" CHUNK_AND_AUTH "235 ok\n250 ok\n250 ok\n", "<BDAT ", "bdat", ">250 ok\n", "<QUIT"), NULL,
     OUTCOME_OK, true, false, KEPT, NULL},
    {"early: not in hosts_pipe_auth", "*", "", BASIC, 1, SCRIPT("early", "<EHLO", "<AUTH PLAIN", "quiet", ">220 hi\n" AUTH_EHLO("PLAIN") "235 ok\n", ENVELOPE, REST), NULL,
     OUTCOME_OK, true, false, KEPT, NULL},
    {"early: not in hosts_avoid_tls", "", "*", BASIC, 1,
     SCRIPT("early", "<EHLO", "quiet", ">220 hi\n" AUTH_EHLO("PLAIN"), "<AUTH PLAIN", "quiet", ">235 ok\n", ENVELOPE, REST), NULL, OUTCOME_OK, true, false, KEPT, NULL},
    {"early: another host is in hosts_avoid_tls", "192.0.2.9", "*", BASIC, 1,
     SCRIPT("early", "<EHLO", "quiet", ">220 hi\n" AUTH_EHLO("PLAIN"), "<AUTH PLAIN", "quiet", ">235 ok\n", ENVELOPE, REST), NULL, OUTCOME_OK, true, false, KEPT, NULL},
    {"early: not in hosts_avoid_tls, and STARTTLS is new", "", "*", BASIC, 1, SCRIPT("early", "<EHLO", "quiet", ">220 hi\n" TLS_AND_AUTH, "<QUIT"), PLAIN_AUTH, OUTCOME_OK, false, true,
     KEPT, NULL},
    {"early: two steps", "*", "*", BASIC, 2, SCRIPT("early", "<EHLO", "<AUTH LOGIN", "quiet", ">220 hi\n" AUTH_EHLO("LOGIN") "334 dXNlcg==\n", "<Yg==", ">235 ok\n", ENVELOPE, REST),
     NULL, OUTCOME_OK, true, false, KEPT, NULL},
    {"early: 535, the rest proves nothing", "*", "*", BASIC, 1, SCRIPT(GROUP_BEHIND_AUTH, ">220 hi\n" AUTH_EHLO("PLAIN") "535 no\n550 no\n550 no\n503 no\n"),
     SCRIPT(STEP_BY_STEP, ">235 ok\n", ENVELOPE, REST), OUTCOME_OK, false, false, SUSPENDED, NULL},
    {"early: 535, the rest accepted", "*", "*", BASIC, 1, SCRIPT(GROUP_BEHIND_AUTH, ">220 hi\n" AUTH_EHLO("PLAIN") "535 no\n250 ok\n250 ok\n354 go\n"),
     SCRIPT(STEP_BY_STEP, ">235 ok\n", ENVELOPE, REST), OUTCOME_OK, false, false, SUSPENDED, NULL},
    {"early: 535, and again", "*", "*", BASIC, 1, SCRIPT(GROUP_BEHIND_AUTH, ">220 hi\n" AUTH_EHLO("PLAIN") "535 no\n550 no\n550 no\n503 no\n"),
     SCRIPT("quiet", ">220 hi\n", "<EHLO me.test", ">" AUTH_EHLO("PLAIN"), "<AUTH PLAIN", "quiet", ">535 really\n", "<QUIT"), OUTCOME_DEFER, false, false, SUSPENDED,
     "p authenticator failed H=mx.test [127.0.0.1] 535 really"},
    {"early: F20, AUTH is gone", "*", "*", BASIC, 1, SCRIPT(GROUP_BEHIND_AUTH, ">220 hi\n" NO_AUTH "503 what\n530 no\n530 no\n503 no\n"),
     SCRIPT(STEP_BY_STEP, ">235 ok\n", ENVELOPE, REST), OUTCOME_OK, false, false, SUSPENDED, NULL},
    {"early: F2", "*", "*", BASIC, 1, SCRIPT("early", ">554 SMTP synchronization error\n"), SCRIPT(STEP_BY_STEP, ">235 ok\n", ENVELOPE, REST), OUTCOME_OK, false, false, SUSPENDED,
     NULL},
    {"early: F22, the recipient is refused", "*", "*", BASIC, 1, SCRIPT(GROUP_BEHIND_AUTH, ">220 hi\n" AUTH_EHLO("PLAIN") "235 ok\n250 ok\n550 no\n503 no\n", "<QUIT"), NULL,
     OUTCOME_FAIL, false, false, KEPT, NULL},
    {"C7: none remembered, and one is needed", "*", "*", BASIC, 0, SCRIPT("quiet", ">220 hi\n", "<EHLO", ">" AUTH_EHLO("PLAIN"), "<AUTH PLAIN", "<MAIL", "<RCPT", "<DATA", "quiet", ">235 ok\n250 ok\n250 ok\n354 go\n", REST), NULL,
     OUTCOME_OK, false, false, KEPT, NULL},
    {"late: the envelope behind AUTH", "*", "*", NOTHING, 0, SCRIPT("quiet", ">220 hi\n", "<EHLO", ">" AUTH_EHLO("PLAIN"), "<AUTH PLAIN AGEAYg==", "<MAIL", "<RCPT", "<DATA", "quiet", ">235 ok\n250 ok\n250 ok\n354 go\n", REST), NULL,
     OUTCOME_OK, false, false, KEPT, NULL},
    {"late: not in hosts_avoid_tls", "", "*", NOTHING, 0, SCRIPT(STEP_BY_STEP, ">235 ok\n", ENVELOPE, REST), NULL, OUTCOME_OK, false, false, KEPT, NULL},
    {"late: not in hosts_pipe_auth", "*", "", NOTHING, 0, SCRIPT(STEP_BY_STEP, ">235 ok\n", ENVELOPE, REST), NULL, OUTCOME_OK, false, false, KEPT, NULL},
    {"late: refused with the envelope behind it", "*", "*", NOTHING, 0,
     SCRIPT("quiet", ">220 hi\n", "<EHLO", ">" AUTH_EHLO("PLAIN"), "<AUTH PLAIN", "<MAIL", "<RCPT", "<DATA", ">535 no\n550 no\n550 no\n503 no\n"),
     SCRIPT(STEP_BY_STEP, ">235 ok\n", ENVELOPE, REST), OUTCOME_OK, false, false, SUSPENDED, NULL},
    {"a handshake has failed: step by step", "", "*", NOTHING, 0, SCRIPT("quiet", ">220 hi\n", "<EHLO", ">" TLS_AND_AUTH, "<STARTTLS", ">220 go\n", "close"),
     SCRIPT(STEP_BY_STEP, ">235 ok\n", ENVELOPE, REST), OUTCOME_OK, false, false, KEPT, "TLS session"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows_in_clear); i++) walk_clear_row(&rows_in_clear[i]);
}

/* Whether the message can go there at all, and how its addresses are written, is decided before MAIL leaves: then nothing stands behind AUTH. */
static void test_auth_and_utf8(void **state) {
  (void)state;
  const struct {
    const char *name, *ehlo, *forced, *mail;
    bool alone;
  } cases[] = {
    {"not offered", ">" AUTH_EHLO("PLAIN"), NULL, "<MAIL FROM:<s@xn--mnchen-3ya.test> SIZE", true},
    {"conversion is forced", ">" UTF8_EHLO, "1", "<MAIL FROM:<s@xn--mnchen-3ya.test> SIZE", true},
    {"offered", ">" UTF8_EHLO, NULL, "<MAIL FROM:<s@m\xc3\xbcnchen.test> SIZE", false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    const char *script[40];
    struct client c;
    struct auth_instance plain = {.name = "p", .driver = &plain_driver, .o = {.public_name = "PLAIN"}, .is_client = true};
    struct tls_server s = {.scripts = {script}};
    size_t n = 0;
    prepare(&c, &s, STARTTLS, WITH_DATA);
    c.cfg.auths = &plain;
    c.m->smtputf8 = true;
    c.d.return_path = "s@m\xc3\xbcnchen.test";
    client_option(&c, "hosts_require_auth", "*");
    client_option(&c, "hosts_pipe_auth", "*");
    if (cases[i].forced) client_option(&c, "utf8_downconvert", cases[i].forced);
    n = add(script, n, SCRIPT("quiet", ">220 hi\n", "<EHLO", CLEAR_EHLO, "<STARTTLS", ">220 go\n", "tls", "<EHLO", cases[i].ehlo, "<AUTH PLAIN"));
    n = cases[i].alone ? add(script, n, SCRIPT("quiet", ">235 ok\n", cases[i].mail, "<RCPT", "<DATA", ">250 ok\n250 ok\n354 go\n"))
                       : add(script, n, SCRIPT(cases[i].mail, "<RCPT", "<DATA", ">235 ok\n250 ok\n250 ok\n354 go\n"));
    (void)add(script, n, SCRIPT(REST));
    deliver(&c, &s, 0, 0, 0);
    CHECK_INT(cases[i].name, c.d.addrs->result, OUTCOME_OK);
    client_free(&c);
  }
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
#ifdef EXPERIMENTAL_PIPE_CONNECT
    cmocka_unit_test(test_auth), cmocka_unit_test(test_auth_in_clear), cmocka_unit_test(test_auth_and_utf8),
#else
    cmocka_unit_test(test_not_built),
#endif
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
