/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Early pipelining around and inside TLS: STARTTLS behind an early EHLO, the envelope behind the handshake, TLS on connect.  The
 * rows of early_rows.h are walked inside TLS; what may only happen in front of it has its own.  Whatever a stale record brings: nobody is failed or
 * delayed by it, nothing of the message goes in clear, and a plain attempt keeps TLS. */
#include "early_layers.h"

#include "transports/smtp_priv.h"

#ifdef EXPERIMENTAL_PIPE_CONNECT

/* The plain attempt that follows: as careful as ever, and encrypted. */
static void plain_script(const struct row *r, enum mode m, enum layer l, const char **out) {
  const char *ehlo = r->ehlo && strcmp(r->ehlo, BARE) == 0 ? ehlo_reply(BARE, m) : ">250-s\n250 PIPELINING\n";
  size_t n = start_plainly(l, out);
  (void)add(out, n, SCRIPT("<EHLO me.test", ehlo, "<MAIL", "<RCPT", "<DATA", ">250 ok\n250 ok\n354 go\n", "data", ">250 ok id=1\n", "<QUIT"));
}

static void walk_row(const struct row *r, enum mode m, enum layer l, bool second_host) {
  char what[160];
  const char *early[40], *plain[40];
  struct client c;
  struct tls_server one = {.scripts = {early}}, two = {.scripts = {plain}};
  bool in_flight = m == WITH_BODY && (l == SMTPS || strcmp(r->greeting, HI) == 0); /* the message: only behind the handshake */
  bool lost = in_flight && r->body_result, again = r->again && !lost;
  enum outcome result = lost ? (enum outcome)(r->body_result - 1) : r->result;
  bool moves_on = second_host && result == OUTCOME_DEFER && !(lost && r->record == SUSPENDED);
  if (second_host && !moves_on) return; /* as without: nobody would be asked */
  snprintf(what, sizeof what, "%s %s, %s, %s%s", r->classes, r->name, mode_names[m], layer_names[l], second_host ? ", second host" : "");
  prepare(&c, &two, l, m);
  one.params = two.params;
  early_script_in(l, r, m, early);
  plain_script(r, m, l, plain);
  if (again) one.scripts[1] = plain;
  int64_t logged = log_size(test_log_path);
  if (second_host) tls_server_start(&two), client_host(&c, two.port);
  deliver(&c, &one, clear_bits(l, m), crypted_bits(l, m), m == WITH_BODY ? HINTS_EHLO_CONFIRMED_CHUNKING : 0);
  if (second_host) tls_server_finish(&two);
  const struct address *a = c.d.addrs;
  CHECK_INT(what, a->result, moves_on ? OUTCOME_OK : result);
  if (result == OUTCOME_OK) {
    CHECK_INT(what, a->early_pipe_used, r->mark);
    CHECK_INT(what, a->tls_on && a->tls_certificate_verified, true);
    CHECK_INT(what, log_size(test_log_path), logged); /* K11 */
  }
  if (!moves_on) check_retries(what, r, result, a);
  /* the plain attempt may learn the half in front of TLS anew */
  bool learnt = l == STARTTLS && again && r->record == NO_RECORD;
  CHECK_INT(what, record_left(&c, one.port), learnt ? USABLE : r->record);
  client_free(&c);
}

static void test_failure_classes_in_tls(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
    for (int m = 0; m < MODES; m++)
      for (int l = STARTTLS; l < LAYERS; l++)
        for (int second = 0; second < 2; second++) walk_row(&rows[i], (enum mode)m, (enum layer)l, second);
}

/* ---- in front of TLS ----------------------------------------------------------------------------------------- */

#define EHLO_ST "early", "<EHLO me.test", "<STARTTLS"
#define IN_TLS_PLAIN "<EHLO me.test", ">250-s\n250 PIPELINING\n", "<MAIL", "<RCPT", "<DATA", ">250 ok\n250 ok\n354 go\n", "data", ">250 ok id=1\n", "<QUIT"
#define IN_CLEAR "<MAIL", "<RCPT", "<DATA", ">250 ok\n250 ok\n354 go\n", "data", ">250 ok id=2\n", "<QUIT"
#define PLAIN_TLS SCRIPT("quiet", ">220 hi\n", "<EHLO", ">250-s\n250-PIPELINING\n250 STARTTLS\n", "<STARTTLS", ">220 go\n", "tls", IN_TLS_PLAIN)
#define NO_PROMISE ">250-s\n250-PIPELINING\n250 STARTTLS\n"
#define NO_TLS ">250-s\n250-SIZE 9999\n250-PIPELINING\n250 PIPECONNECT\n"

static void test_in_front_of_tls(void **state) {
  (void)state;
  const struct {
    const char *name;
    const char *const *first, *const *second;
    const char *option, *value;
    enum outcome result;
    bool tls;
    enum record record;
  } cases[] = {
    {"F2", SCRIPT("early", ">554 SMTP synchronization error\n"), PLAIN_TLS, NULL, NULL, OUTCOME_OK, true, SUSPENDED},
    {"F3", SCRIPT("early", ">421 busy\n"), PLAIN_TLS, NULL, NULL, OUTCOME_OK, true, SUSPENDED},
    {"F4", SCRIPT(EHLO_ST, ">220 hi\n550 no\n503 no\n"), PLAIN_TLS, NULL, NULL, OUTCOME_OK, true, SUSPENDED},
    {"F6", SCRIPT("early", "close"), PLAIN_TLS, NULL, NULL, OUTCOME_OK, true, SUSPENDED},
    {"F8", SCRIPT("early", ">HTTP/1.1 400 Bad\n"), PLAIN_TLS, NULL, NULL, OUTCOME_OK, true, SUSPENDED},
    {"F9: promise gone, STARTTLS taken: plain inside", SCRIPT(EHLO_ST, ">220 hi\n", NO_PROMISE, ">220 go\n", "tls", IN_TLS_PLAIN), NULL, NULL, NULL, OUTCOME_OK, true, NO_RECORD},
    {"F10: promise gone, STARTTLS refused", SCRIPT(EHLO_ST, ">220 hi\n", NO_PROMISE, ">503 Protocol error\n"), PLAIN_TLS, NULL, NULL, OUTCOME_OK, true, NO_RECORD},
    {"F15: STARTTLS gone", SCRIPT(EHLO_ST, ">220 hi\n", NO_TLS, ">503 what\n", IN_CLEAR), NULL, NULL, NULL, OUTCOME_OK, false, KEPT},
    {"F15: STARTTLS gone, required", SCRIPT(EHLO_ST, ">220 hi\n", NO_TLS, ">503 what\n", "<QUIT"), NULL, "hosts_require_tls", "*", OUTCOME_DEFER, false, KEPT},
    {"F16: 454", SCRIPT(EHLO_ST, ">220 hi\n", CLEAR_EHLO, ">454 not now\n", IN_CLEAR), NULL, NULL, NULL, OUTCOME_OK, false, KEPT},
    {"F16: 454, no clear", SCRIPT(EHLO_ST, ">220 hi\n", CLEAR_EHLO, ">454 not now\n", "<QUIT"), NULL, "tls_tempfail_tryclear", "false", OUTCOME_DEFER, false, KEPT},
    {"F17: handshake fails", SCRIPT(EHLO_ST, ">220 hi\n", CLEAR_EHLO, ">220 go\n", "close"), SCRIPT("quiet", ">220 hi\n", "<EHLO", CLEAR_EHLO, IN_CLEAR), NULL, NULL,
     OUTCOME_OK, false, KEPT},
    {"F18: injected", SCRIPT(EHLO_ST, ">220 hi\n", CLEAR_EHLO, ">220 go\n250 evil\n", "eof"), NULL, "hosts_require_tls", "*", OUTCOME_DEFER, false, KEPT},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct client c;
    struct tls_server s = {.scripts = {cases[i].first, cases[i].second}};
    prepare(&c, &s, STARTTLS, WITH_DATA);
    if (cases[i].option) client_option(&c, cases[i].option, cases[i].value);
    deliver(&c, &s, CLEAR, BASIC, 0);
    const struct address *a = c.d.addrs;
    CHECK_INT(cases[i].name, a->result, cases[i].result);
    CHECK_INT(cases[i].name, a->tls_on, cases[i].tls);
    CHECK_INT(cases[i].name, record_left(&c, s.port), cases[i].record);
    if (cases[i].record == SUSPENDED) CHECK_INT(cases[i].name, a->early_pipe_used, false);
    client_free(&c);
  }
}

/* F14: the cleartext record knows no STARTTLS, the server has it now: the envelope has leaked, the message must not. */
static void test_tls_was_added(void **state) {
  (void)state;
  struct client c;
  struct tls_server s = {.scripts = {SCRIPT("early", "<EHLO", "<MAIL", "<RCPT", "<DATA", ">220 hi\n", CLEAR_EHLO, ">250 ok\n250 ok\n354 go\n", "eof"), PLAIN_TLS}};
  prepare(&c, &s, STARTTLS, WITH_DATA);
  deliver(&c, &s, BASIC, 0, 0);
  assert_int_equal(c.d.addrs->result, OUTCOME_OK);
  assert_true(c.d.addrs->tls_on);
  client_free(&c);
}

#define FLIGHT_EHLO "250-s\n250-SIZE 9999\n250-PIPELINING\n250-PIPECONNECT\n250-STARTTLS\n250 XTLSFLIGHT\n"
#define IN_TLS_EARLY "<EHLO", "<MAIL", "<RCPT", "<DATA", ">250-s\n250-SIZE 9999\n250-PIPELINING\n250 PIPECONNECT\n250 ok\n250 ok\n354 go\n", "data", ">250 ok\n", "<QUIT"

/* The ClientHello right behind STARTTLS, where the server says that it may stand there. */
static void test_hello_in_flight(void **state) {
  (void)state;
  const struct {
    const char *name;
    const char *const *first, *const *second;
    bool tls, mark;
  } cases[] = {
    {"taken", SCRIPT(EHLO_ST, ">220 hi\n" FLIGHT_EHLO "220 go\n", "tls", IN_TLS_EARLY), NULL, true, true},
    {"not known any more", SCRIPT(EHLO_ST, ">220 hi\n" CLEAR_EHLO_REST "220 go\n", "eof-after-hello"), PLAIN_TLS, true, false},
    {"STARTTLS refused", SCRIPT(EHLO_ST, ">220 hi\n" FLIGHT_EHLO "454 not now\n"), PLAIN_TLS, true, false},
    {"F4", SCRIPT(EHLO_ST, ">220 hi\n550 no\n503 no\n"), PLAIN_TLS, true, false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct client c;
    struct tls_server s = {.scripts = {cases[i].first, cases[i].second}};
    prepare(&c, &s, STARTTLS, WITH_DATA);
    client_option(&c, "starttls_pipeline_hosts", "*");
    deliver(&c, &s, CLEAR | EHLO_TLSFLIGHT, BASIC, 0);
    CHECK_INT(cases[i].name, c.d.addrs->result, OUTCOME_OK);
    CHECK_INT(cases[i].name, c.d.addrs->tls_on, cases[i].tls);
    CHECK_INT(cases[i].name, c.d.addrs->early_pipe_used, cases[i].mark);
    client_free(&c);
  }
}

/* First contact teaches both halves; the second message uses both. */
static void test_learn_both_halves(void **state) {
  (void)state;
  struct client c;
  struct hints_ehlo r;
  struct tls_server s = {.scripts = {SCRIPT("quiet", ">220 hi\n", "<EHLO", CLEAR_EHLO, "<STARTTLS", ">220 go\n", "tls", "<EHLO",
                                            ">250-s\n250-SIZE 9999\n250-PIPELINING\n250 PIPECONNECT\n", "<MAIL", "<RCPT", "<DATA", ">250 ok\n250 ok\n354 go\n", "data",
                                            ">250 ok\n", "<QUIT", ">221 bye\n"),
                                     SCRIPT(EHLO_ST, ">220 hi\n", CLEAR_EHLO, ">220 go\n", "tls", "<EHLO", "<MAIL", "<RCPT", "<DATA",
                                            ">250-s\n250-SIZE 9999\n250-PIPELINING\n250 PIPECONNECT\n250 ok\n250 ok\n354 go\n", "data", ">250 ok\n", "<QUIT")}};
  prepare(&c, &s, STARTTLS, WITH_DATA);
  tls_server_start(&s);
  for (int i = 0; i < 2; i++) {
    client_recipients(&c, 1);
    client_host(&c, s.port);
    c.d.addrs->host_list->name = "mx.test";
    assert_true(smtp_transport.deliver(&c.d));
    assert_int_equal(c.d.addrs->result, OUTCOME_OK);
    assert_int_equal(c.d.addrs->early_pipe_used, i);
    assert_true(recall(&c, s.port, &r));
    assert_int_equal(r.clear_features, CLEAR);
    assert_int_equal(r.crypted_features, BASIC);
  }
  tls_server_finish(&s);
  client_free(&c);
}

#define BASIC_REPLY "250-s\n250-SIZE 9999\n250-PIPELINING\n250 PIPECONNECT\n"

#define NAMED(name) "250-" name ".test hi\n250-SIZE 9999\n250-PIPELINING\n250-PIPECONNECT\n250 STARTTLS\n"
#define NAMED_EARLY(name) \
  SCRIPT(EHLO_ST, ">220 hi\n" NAMED(name) "220 go\n", "tls", "<EHLO", "<MAIL", "<RCPT", "<DATA", ">" BASIC_REPLY "250 ok\n250 ok\n354 go\n", "data", ">250 ok\n", "<QUIT")

/* host_name_extract tells the servers behind one address apart by their EHLO replies; STARTTLS has left by then. */
static void test_resumption_with_extracted_name(void **state) {
  (void)state;
  struct client c;
  struct tls_server s = {.scripts = {SCRIPT("quiet", ">220 hi\n", "<EHLO", ">" NAMED("one"), "<STARTTLS", ">220 go\n", "tls", "<EHLO", ">" BASIC_REPLY, "<MAIL", "<RCPT",
                                            "<DATA", ">250 ok\n250 ok\n354 go\n", "data", ">250 ok\n", "<QUIT"),
                                     NAMED_EARLY("one"), NAMED_EARLY("two"), NAMED_EARLY("one")}};
  static const bool resumed[] = {false, true, false, true};
  prepare(&c, &s, STARTTLS, WITH_DATA);
  s.params.resumption = true;
  client_option(&c, "tls_resumption_hosts", "*");
  client_option(&c, "host_name_extract", "${if match{$item}{\\N^250-([\\w.]+)\\s\\N}{$1}}");
  tls_server_start(&s);
  for (size_t i = 0; i < ARRAY_SIZE(resumed); i++) {
    client_recipients(&c, 1);
    client_host(&c, s.port);
    c.d.addrs->host_list->name = "mx.test";
    assert_true(smtp_transport.deliver(&c.d));
    assert_int_equal(c.d.addrs->result, OUTCOME_OK);
    assert_int_equal(c.d.addrs->early_pipe_used, i > 0);
    if (c.d.addrs->tls_resumed != resumed[i]) fail_msg("connection %zu: resumed %d", i, c.d.addrs->tls_resumed);
  }
  tls_server_finish(&s);
  client_free(&c);
}

/* ---- many recipients ------------------------------------------------------------------------------------------ */

enum { MANY = 300, FIRST_GROUP = 240 }; /* room for the replies that stand in front of the envelope's */

/* One transaction with n recipients, the replies after all of its commands; lead: what is answered with it. */
static size_t add_transaction(struct client *c, const char **out, size_t n, int recipients, const char *lead) {
  struct strbuf b = strbuf_new(c->a);
  strbuf_addl(&b, ">", lead, "250 ok\n", NULL);
  out[n++] = "<MAIL";
  for (int i = 0; i < recipients; i++) {
    out[n++] = "<RCPT";
    strbuf_adds(&b, "250 ok\n");
  }
  strbuf_adds(&b, "354 go\n");
  out[n++] = "<DATA";
  out[n++] = b.p;
  return add(out, n, SCRIPT("data", ">250 ok\n"));
}

static void test_many_recipients(void **state) {
  (void)state;
  const struct {
    const char *name;
    enum layer layer;
    bool early, auth;
  } cases[] = {{"early on connect", SMTPS, true, false}, {"early behind STARTTLS", STARTTLS, true, false}, {"behind AUTH", STARTTLS, false, true}};
  for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
    const char *script[MANY + 60];
    struct client c;
    struct auth_instance plain = {.name = "p", .driver = &plain_driver, .o = {.public_name = "PLAIN"}, .is_client = true};
    struct tls_server s = {.scripts = {script}};
    size_t n = 0;
    prepare(&c, &s, cases[k].layer, WITH_DATA);
    client_option(&c, "max_rcpt", "0");
    struct address **tail = &c.d.addrs;
    *tail = NULL;
    for (int i = 0; i < MANY; i++) {
      *tail = address_new(c.a, arena_printf(c.a, "u%d@x.test", i));
      tail = &(*tail)->next;
    }
    c.x.addr = c.d.addrs;
    if (cases[k].auth) {
      c.cfg.auths = &plain;
      client_option(&c, "hosts_require_auth", "*");
      client_option(&c, "hosts_pipe_auth", "*");
      n = add(script, n, SCRIPT("quiet", ">220 hi\n", "<EHLO", CLEAR_EHLO, "<STARTTLS", ">220 go\n", "tls", "<EHLO", ">" AUTH_EHLO("PLAIN"), "<AUTH PLAIN"));
      n = add_transaction(&c, script, n, FIRST_GROUP, "235 ok\n");
    } else {
      bool behind = cases[k].layer == STARTTLS;
      n = behind ? add(script, n, SCRIPT(TO_TLS)) : add(script, n, SCRIPT("tls", "<EHLO"));
      n = add_transaction(&c, script, n, FIRST_GROUP, behind ? BASIC_REPLY : "220 hi\n" BASIC_REPLY);
    }
    n = add_transaction(&c, script, n, MANY - FIRST_GROUP, "");
    (void)add(script, n, SCRIPT("<QUIT"));
    unsigned clear = cases[k].layer == STARTTLS ? CLEAR : 0;
    deliver(&c, &s, cases[k].early ? clear : 0, cases[k].early ? BASIC : 0, 0);
    for (const struct address *a = c.d.addrs; a; a = a->next) CHECK_INT(cases[k].name, a->result, OUTCOME_OK);
    CHECK_INT(cases[k].name, c.d.addrs->early_pipe_used, cases[k].early);
    client_free(&c);
  }
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
#ifdef EXPERIMENTAL_PIPE_CONNECT
    cmocka_unit_test(test_failure_classes_in_tls),
    cmocka_unit_test(test_in_front_of_tls),
    cmocka_unit_test(test_tls_was_added),
    cmocka_unit_test(test_hello_in_flight),
    cmocka_unit_test(test_learn_both_halves),
    cmocka_unit_test(test_resumption_with_extracted_name),
    cmocka_unit_test(test_many_recipients),
#else
    cmocka_unit_test(test_not_built),
#endif
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
