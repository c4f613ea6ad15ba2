/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TLS of the SMTP server, as a client sees it: STARTTLS and TLS on connect, what is forgotten, commands in clear behind STARTTLS (TLS-2), clear
 * text behind the end of TLS (PRO-4, TLS-3), early talkers, SNI, client certificates, credentials that are no good.  Expected: RFC 3207,
 * manual ch. 43, and the answers of Exim. */
#include "smtp_tls_peer.h"

/* ---- tests ------------------------------------------------------------------------------------------------------------- */

static void a_whole_session(void **state) {
  (void)state;
  struct peer p = begin("log_selector = +tls_sni +tls_peerdn", false);
  struct tls_client_opts o = {.sni = "mx.example"};
  starttls(&p, &o);
  want(say(&p, "MAIL FROM:<a@b.example>\r\n"), "503"); /* HELO is forgotten */
  const char *ehlo = say(&p, "EHLO again.example\r\n");
  want(ehlo, "250-mx.example Hello again.example");
  assert_null(strstr(ehlo, "STARTTLS"));
  want(say(&p, "MAIL FROM:<a@b.example>\r\n"), "250");
  want(say(&p, "RCPT TO:<crypt@b.example>\r\n"), "250");
  want(say(&p, "RCPT TO:<cert@b.example>\r\n"), "550");
  want(say(&p, "DATA\r\n"), "354");
  want(say(&p, "Subject: x\r\n\r\n.\r\n"), "250 OK id=");
  CHECK_STR("again", say(&p, "STARTTLS\r\n"), "503 STARTTLS command used when not advertised");
  want(say(&p, "NOOP\r\n"), "250");
  want(say(&p, "QUIT\r\n"), "221");
  CHECK_STR("end", reply(&p), "");
  assert_null(tls_error(p.io)); /* the server said goodbye */
  const char *log = end(&p);
  assert_non_null(strstr(log, "ver=TLS1.3 sni=<mx.example> dn=<> verified=0 helo=<again.example> our=mx.example alias=same"));
  assert_non_null(strstr(log, " P=esmtps X=TLS1.3:ECDHE_"));
  assert_non_null(strstr(log, " SNI=mx.example S="));
  assert_non_null(strstr(log, " X=TLS1.3:ECDHE_"));
  assert_non_null(strstr(log, "rejected RCPT <cert@b.example>"));
}

/* Who says STARTTLS in TLS without greeting anew is answered that it has gone wrong, and so to all else. */
static void tls_twice(void **state) {
  (void)state;
  struct peer p = begin("", false);
  struct tls_client_opts o = {.sni = NULL};
  starttls(&p, &o);
  CHECK_STR("again", say(&p, "STARTTLS\r\n"), "554 Already in TLS");
  CHECK_STR("all else", say(&p, "NOOP\r\n"), "554 Security failure");
  want(say(&p, "QUIT\r\n"), "221");
  assert_non_null(strstr(end(&p), "(STARTTLS received after TLS started)"));
}

static void names_choose_certificates(void **state) {
  (void)state;
  struct peer p = begin("", false);
  struct tls_client_opts o = {.sni = "second.example"};
  const char *names[] = {"second.example", NULL};
  o.verify_names = names;
  o.params.verify = TLS_VERIFY_REQUIRE;
  o.params.verify_certificates = scratch_path("ca.pem");
  starttls(&p, &o);
  want(say(&p, "EHLO x.example\r\n"), "250");
  want(say(&p, "MAIL FROM:<>\r\n"), "250");
  want(say(&p, "QUIT\r\n"), "221");
  assert_non_null(strstr(end(&p), "sni=<second.example>"));
}

/* A file name that the client chose is refused. */
static void names_choose_no_files(void **state) {
  (void)state;
  struct peer p = begin("tls_crl = /tmp/$tls_in_sni", false);
  want(reply(&p), "220");
  want(say(&p, "EHLO client.example\r\n"), "250");
  want(say(&p, "STARTTLS\r\n"), "220");
  struct tls_client_opts o = {.sni = "mx.example"};
  struct tls_result r;
  const char *error;
  (void)stream_flush(p.io, deadline_in_ms(1000));
  assert_true(tls_start_client(p.io, p.a, &o, deadline_in_ms(4000), &r, &error) < 0);
  assert_non_null(strstr(end(&p), "(tls_crl): tainted filename '/tmp/mx.example'"));
}

static void client_certificates(void **state) {
  (void)state;
  for (int with = 0; with < 2; with++) {
    struct peer p = begin("tls_try_verify_hosts = *\nlog_selector = +tls_peerdn", false);
    struct tls_client_opts o = {0};
    char key[PATH_MAX];
    snprintf(key, sizeof key, "%s", scratch_path("client.key"));
    if (with) o.params.certificate = scratch_path("client.pem"), o.params.privatekey = key;
    starttls(&p, &o);
    want(say(&p, "EHLO x.example\r\n"), "250");
    want(say(&p, "MAIL FROM:<>\r\n"), "250");
    want(say(&p, "RCPT TO:<cert@b.example>\r\n"), with ? "250" : "550");
    want(say(&p, "QUIT\r\n"), "221");
    const char *log = end(&p);
    assert_non_null(strstr(log, with ? "dn=<CN=client.example> verified=1" : "dn=<> verified=0"));
  }
}

/* The tls authenticator takes a certificate that was shown and verified, and nothing else. */
static void certificates_authenticate(void **state) {
  (void)state;
  static const struct {
    const char *cert, *want;
  } rows[] = {{NULL, "by=<> id=<>"}, {"stranger", "by=<> id=<>"}, {"client", "by=<byc> id=<CN=client.example>"}};
  char key[PATH_MAX], pem[PATH_MAX];
  struct cert stranger = certs_make_ca("stranger");
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct peer p = begin("tls_try_verify_hosts = *\nbegin authenticators\nbyc:\n  driver = tls\n  server_param1 = $tls_in_peerdn\n  server_condition = yes\n"
                          "  server_set_id = $auth1\n", false);
    struct tls_client_opts o = {0};
    if (rows[i].cert) {
      snprintf(pem, sizeof pem, "%s/%s.pem", scratch_dir, rows[i].cert);
      snprintf(key, sizeof key, "%s/%s.key", scratch_dir, rows[i].cert);
      o.params.certificate = pem, o.params.privatekey = key;
    }
    starttls(&p, &o);
    want(say(&p, "EHLO x.example\r\n"), "250");
    want(say(&p, "MAIL FROM:<>\r\n"), "250");
    want(say(&p, "QUIT\r\n"), "221");
    if (!strstr(end(&p), rows[i].want)) fail_msg("no %s for %s", rows[i].want, rows[i].cert ? rows[i].cert : "none");
  }
  certs_free(&stranger);
  /* what cannot be expanded authenticates nobody, and is told */
  struct peer p = begin("tls_try_verify_hosts = *\nbegin authenticators\nbyc:\n  driver = tls\n  server_param1 = ${if\n  server_condition = yes\n", false);
  struct tls_client_opts o = {.params = {.certificate = pem, .privatekey = key}};
  starttls(&p, &o);
  want(say(&p, "EHLO x.example\r\n"), "250");
  want(say(&p, "MAIL FROM:<>\r\n"), "250");
  want(say(&p, "QUIT\r\n"), "221");
  const char *log = end(&p);
  assert_non_null(strstr(log, "byc authenticator failed for "));
  assert_non_null(strstr(log, ": 435 Unable to authenticate at present: "));
  assert_non_null(strstr(log, "by=<> id=<>"));
}

/* TLS-2: commands in the same segment as STARTTLS, or behind it, are never acted on. */
static void injected_commands(void **state) {
  (void)state;
  static const char *const confs[] = {"", "smtp_enforce_sync = false",
                                      ".ifdef _OPT_MAIN_PIPELINING_CONNECT_ADVERTISE_HOSTS\npipelining_connect_advertise_hosts = *\n.endif"};
  static const char *const behind[] = {"MAIL FROM:<evil@b.example>\r\n", "RSET\r\n", "\r\n", "X", "EHLO evil\r\nMAIL FROM:<evil@b.example>\r\n"};
  for (size_t c = 0; c < ARRAY_SIZE(confs); c++)
    for (size_t i = 0; i < ARRAY_SIZE(behind); i++) {
      struct peer p = begin(confs[c], false);
      want(reply(&p), "220");
      want(say(&p, "EHLO client.example\r\n"), "250");
      stream_puts(p.io, "STARTTLS\r\n");
      want(say(&p, behind[i]), "554 SMTP synchronization error");
      CHECK_STR("end", reply(&p), "");
      const char *log = end(&p);
      assert_null(strstr(log, "evil@b.example>: "));
      assert_null(strstr(log, "ver="));
      assert_non_null(strstr(log, "synchronization error"));
    }
}

/* Inside TLS input that comes too soon is no error, whoever sends it; as in Exim. */
static void input_too_soon_in_tls(void **state) {
  (void)state;
  static const char not_listed[] = ".ifdef _OPT_MAIN_PIPELINING_CONNECT_ADVERTISE_HOSTS\npipelining_connect_advertise_hosts =\n.endif";
  static const struct {
    const char *conf, *all;
    const char *codes[8];
  } cases[] = {
    {not_listed, "EHLO x.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nQUIT\r\n", {"250-mx", "250 ", "250 ", "221 "}},
    {"", "HELO x.example\r\nNOOP\r\nNOOP\r\nQUIT\r\n", {"250 mx", "250 ", "250 ", "221 "}},
    {not_listed, "EHLO x.example\r\nNOOP\r\nWHAT\r\nMAIL FROM:<a@b.example>\r\nQUIT\r\n", {"250-mx", "250 ", "500 ", "250 ", "221 "}},
    {"pipelining_advertise_hosts =", "EHLO x.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nQUIT\r\n", {"250-mx", "250 ", "250 ", "221 "}},
    {"pipelining_advertise_hosts =",
     "EHLO x.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 4 LAST\r\nhi\r\nQUIT\r\n", {"250-mx", "250 ", "250 ", "250", "221 "}},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    for (int on_connect = 0; on_connect < 2; on_connect++) {
      struct peer p = begin(cases[i].conf, on_connect);
      if (on_connect) crypt_with(&p, &plain_client);
      else starttls(&p, &plain_client);
      stream_puts(p.io, cases[i].all);
      if (on_connect) want(reply(&p), "220");
      for (const char *const *code = cases[i].codes; *code; code++) want(reply(&p), *code);
      assert_null(strstr(end(&p), "synchronization"));
    }
}

/* A client that goes on in clear after a handshake that failed is refused all it asks for. */
static void failed_handshake(void **state) {
  (void)state;
  struct peer p = begin("", false);
  want(reply(&p), "220");
  want(say(&p, "EHLO client.example\r\n"), "250");
  want(say(&p, "STARTTLS\r\n"), "220");
  assert_null(strstr(say(&p, "this is no TLS\r\nMAIL FROM:<evil@b.example>\r\n"), "250")); /* an alert, then text */
  CHECK_STR("no TLS", reply(&p), "554 Security failure");
  CHECK_STR("MAIL", reply(&p), "554 Security failure");
  CHECK_STR("RCPT", say(&p, "RCPT TO:<x@b.example>\r\n"), "554 Security failure");
  want(say(&p, "quit\r\n"), "221");
  CHECK_STR("end", reply(&p), "");
  const char *log = end(&p);
  assert_non_null(strstr(log, "TLS error on connection from (client.example) [192.0.2.1] (gnutls_handshake): An unexpected TLS packet was received."));
  assert_null(strstr(log, "ver="));
}

static void silent_client(void **state) {
  (void)state;
  struct peer p = begin("smtp_receive_timeout = 1s", false);
  want(reply(&p), "220");
  want(say(&p, "EHLO client.example\r\n"), "250");
  want(say(&p, "STARTTLS\r\n"), "220");
  CHECK_STR("late", reply(&p), "421 mx.example: SMTP command timeout - closing connection");
  const char *log = end(&p);
  assert_non_null(strstr(log, "(tls lib accept fn): timed out"));
  assert_non_null(strstr(log, "SMTP command timeout on connection from (client.example) [192.0.2.1]"));
}

/* PRO-4, TLS-3: the end of TLS is the end of the session wherever it comes; what follows in clear is no command and no content. */
static void end_of_tls_in_the_middle(void **state) {
  (void)state;
  static const struct {
    const char *said, *raw;
  } rows[] = {
    {"DATA\r\nSubject: x\r\n\r\nhalf", "\r\n.\r\nMAIL FROM:<evil@b.example>\r\n"},
    {"DATA\r\nSubject: x\r\n\r\nhalf\r\n", ".\r\n"},
    {"BDAT 100 LAST\r\nSubject: x\r\n\r\nhalf", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"BDAT 20\r\nSubject: x\r\n\r\n12345\r\nBDAT 5", " LAST\r\n12345"},
    {"NO", "OP\r\nMAIL FROM:<evil@b.example>\r\n"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
    for (int with_goodbye = 0; with_goodbye < 2; with_goodbye++) {
      struct peer p = begin("", false);
      starttls(&p, &plain_client);
      want(say(&p, "EHLO x.example\r\n"), "250");
      want(say(&p, "MAIL FROM:<a@b.example>\r\n"), "250");
      want(say(&p, "RCPT TO:<c@b.example>\r\n"), "250");
      stream_puts(p.io, rows[i].said);
      assert_int_equal(stream_flush(p.io, deadline_in_ms(1000)), STREAM_OK);
      if (with_goodbye) tls_end(p.io, false, deadline_in_ms(1000));
      IGNORE_RESULT(send(p.raw, rows[i].raw, strlen(rows[i].raw), MSG_NOSIGNAL)); /* the server may have closed by now */
      shutdown(p.raw, SHUT_WR);
      for (const char *got = "x"; *got;) { /* no acceptance in whatever the server still says */
        got = reply(&p);
        assert_null(strstr(got, "OK id="));
      }
      const char *log = end(&p);
      assert_null(strstr(log, "<="));
      assert_null(strstr(log, "evil"));
    }
}

/* How TLS breaks: its own goodbye, none, a record that is none (its bytes are the clear text), one that was changed on the way. */
enum tls_break { BREAK_GOODBYE, BREAK_NONE, BREAK_NO_RECORD, BREAK_BAD_RECORD, BREAK_COUNT };

/* Content up to n bytes, the break, the rest in clear with a transaction behind it: nothing of that is taken. */
static void check_break(const char *content, size_t n, enum tls_break how) {
  static const char bad_record[] = "\x17\x03\x03\x00\x20" "0123456789abcdef0123456789abcdef";
  struct peer p = begin("smtp_receive_timeout = 5s", false);
  starttls(&p, &plain_client);
  want(say(&p, "EHLO x.example\r\n"), "250");
  want(say(&p, "MAIL FROM:<a@b.example>\r\n"), "250");
  want(say(&p, "RCPT TO:<c@b.example>\r\n"), "250");
  stream_put(p.io, content, n);
  assert_int_equal(stream_flush(p.io, deadline_in_ms(1000)), STREAM_OK);
  if (how == BREAK_GOODBYE) tls_end(p.io, false, deadline_in_ms(1000));
  if (how == BREAK_BAD_RECORD) IGNORE_RESULT(send(p.raw, bad_record, sizeof(bad_record) - 1, MSG_NOSIGNAL));
  const char *rest = arena_printf(p.a, "%sMAIL FROM:<evil@b.example>\r\nRCPT TO:<c@b.example>\r\nDATA\r\n\r\n.\r\n", content + n);
  if (how != BREAK_NONE) IGNORE_RESULT(send(p.raw, rest, strlen(rest), MSG_NOSIGNAL)); /* the server may have closed by now */
  shutdown(p.raw, SHUT_WR);
  for (const char *got = "x"; *got;) {
    got = reply(&p);
    if (strstr(got, "OK id=")) fail_msg("\"%.*s\" and break %d: %s", (int)n, content, how, got);
  }
  const char *log = end(&p);
  if (strstr(log, "<=") || strstr(log, "evil")) fail_msg("\"%.*s\" and break %d: %s", (int)n, content, how, log);
}

/* PRO-4: at every byte of DATA and BDAT. */
static void tls_breaks_anywhere(void **state) {
  (void)state;
  static const char *const contents[] = {"DATA\r\nSubject: x\r\n\r\nhi\r\n.\r\n", "BDAT 14\r\nSubject: x\r\n\r\nBDAT 4 LAST\r\nhi\r\n"};
  for (size_t i = 0; i < ARRAY_SIZE(contents); i++)
    for (size_t n = 1; n < strlen(contents[i]); n++)
      for (int how = 0; how < BREAK_COUNT; how++) check_break(contents[i], n, (enum tls_break)how);
}

static void on_connect(void **state) {
  (void)state;
  struct peer p = begin("log_selector = +tls_on_connect", true);
  crypt_with(&p, &plain_client);
  want(reply(&p), "220 mx.example");
  const char *ehlo = say(&p, "EHLO x.example\r\n");
  want(ehlo, "250");
  assert_null(strstr(ehlo, "STARTTLS"));
  want(say(&p, "MAIL FROM:<a@b.example>\r\n"), "250");
  want(say(&p, "RCPT TO:<c@b.example>\r\n"), "250");
  want(say(&p, "DATA\r\n"), "354");
  want(say(&p, "Subject: x\r\n\r\n.\r\n"), "250 OK id=");
  want(say(&p, "QUIT\r\n"), "221");
  assert_non_null(strstr(end(&p), " P=essmtp X=TLS1.3:"));
}

static void on_connect_in_clear(void **state) {
  (void)state;
  struct peer p = begin("", true);
  const char *got = say(&p, "EHLO x.example\r\n");
  assert_null(strstr(got, "220"));
  assert_null(strstr(got, "554"));
  assert_non_null(strstr(end(&p), "TLS error on connection from [192.0.2.1] (gnutls_handshake): "));
}

/* A group behind an EHLO that has no answer yet, after STARTTLS, is what early pipelining grants. */
#ifdef EXPERIMENTAL_PIPE_CONNECT
static void early_talk_inside_tls(void **state) {
  (void)state;
  struct peer p = begin("pipelining_connect_advertise_hosts = *", false);
  starttls(&p, &plain_client);
  stream_puts(p.io, "EHLO x.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@b.example>\r\nDATA\r\n");
  want(reply(&p), "250");
  want(reply(&p), "250");
  want(reply(&p), "250");
  want(reply(&p), "354");
  want(say(&p, "Subject: x\r\n\r\n.\r\n"), "250 OK id=");
  want(say(&p, "QUIT\r\n"), "221");
  assert_non_null(strstr(end(&p), "<= a@b.example"));
}
#endif

#ifdef EXPERIMENTAL_PIPE_CONNECT
/* EHLO and STARTTLS before the greeting, then the encrypted EHLO with its group. */
static void early_starttls(void **state) {
  (void)state;
  struct peer p = begin(".ifdef _OPT_MAIN_PIPELINING_CONNECT_ADVERTISE_HOSTS\npipelining_connect_advertise_hosts = *\n.else\n"
                        "smtp_enforce_sync = false\n.endif", false);
  stream_puts(p.io, "EHLO x.example\r\nSTARTTLS\r\n");
  want(reply(&p), "220 mx.example");
  want(reply(&p), "250");
  CHECK_STR("starttls", reply(&p), "220 TLS go ahead");
  crypt_with(&p, &plain_client);
  stream_puts(p.io, "EHLO x.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<crypt@b.example>\r\nDATA\r\n");
  want(reply(&p), "250");
  want(reply(&p), "250");
  want(reply(&p), "250");
  want(reply(&p), "354");
  want(say(&p, "Subject: x\r\n\r\n.\r\n"), "250 OK id=");
  want(say(&p, "QUIT\r\n"), "221");
  assert_non_null(strstr(end(&p), " P=esmtps "));
}
#endif

static void no_certificate(void **state) {
  (void)state;
  struct peer p = begin("tls_crl = /nonexistent\ntls_try_verify_hosts = *", false);
  want(reply(&p), "220");
  want(say(&p, "EHLO client.example\r\n"), "250");
  CHECK_STR("454", say(&p, "STARTTLS\r\n"), "454 TLS currently unavailable");
  want(say(&p, "MAIL FROM:<a@b.example>\r\n"), "250"); /* the session goes on in clear, as Exim's does */
  want(say(&p, "RCPT TO:<crypt@b.example>\r\n"), "550");
  want(say(&p, "QUIT\r\n"), "221");
  assert_non_null(strstr(end(&p), "(gnutls_certificate_set_x509_crl_file): Error while reading file."));
}

/* Events of the manual: each certificate before it is verified, from the far end of the chain; the end of a handshake that fails.  The lines are
 * those of Exim 4.96 with the same configuration. */
static void events(void **state) {
  (void)state;
  static const struct {
    const char *cert, *verify, *refuse, *log[5];
    bool is_up;
  } rows[] = {
    {"joined", "tls_try_verify_hosts", "", {"tls:cert <1> CN=ca", "tls:cert <0> CN=client.example", "verified=1"}, true},
    {NULL, "tls_try_verify_hosts", "no", {"verified=0"}, true},
    {"joined", "tls_try_verify_hosts", "no", {"tls:cert <1> CN=ca", "tls:cert <0> CN=client.example", "SSL verify denied by event-action: depth=0: no\n",
     "tls:fail:connect <(gnutls_handshake): Error in the certificate.> ", "[192.0.2.1] (gnutls_handshake): Error in the certificate.\n"}, false},
    {NULL, "tls_verify_hosts", "", {"tls:fail:connect <(gnutls_handshake): "}, false},
  };
  certs_join("joined.pem", "client.pem", "ca.pem");
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    char extra[600], key[PATH_MAX], pem[PATH_MAX];
    snprintf(extra, sizeof extra, "%s = *\nevent_action = ${acl {ev}}\nREFUSE = %s",
             rows[i].verify, rows[i].refuse);
    struct peer p = begin(extra, false);
    struct tls_client_opts o = {0};
    if (rows[i].cert) {
      snprintf(pem, sizeof pem, "%s/%s.pem", scratch_dir, rows[i].cert);
      snprintf(key, sizeof key, "%s/client.key", scratch_dir);
      o.params.certificate = pem, o.params.privatekey = key;
    }
    starttls(&p, &o);
    if (rows[i].is_up) {
      want(say(&p, "EHLO x.example\r\n"), "250");
      want(say(&p, "MAIL FROM:<>\r\n"), "250");
      want(say(&p, "QUIT\r\n"), "221");
    } else {
      CHECK_STR("refused", say(&p, "EHLO x.example\r\n"), "");
    }
    const char *log = end(&p);
    for (size_t k = 0; k < ARRAY_SIZE(rows[i].log) && rows[i].log[k]; k++) {
      const char *at = strstr(log, rows[i].log[k]);
      if (!at) fail_msg("row %zu: no \"%s\" in %s", i, rows[i].log[k], log);
      log = at;
    }
  }
}

/* Whether a certificate is demanded cannot be known now: no TLS without. */
static void demand_unknown(void **state) {
  (void)state;
  static const char *const options[] = {"tls_verify_hosts", "hosts_require_alpn"};
  for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
    char extra[100], logged[100];
    snprintf(extra, sizeof extra, "%s = net-testdb;defer", options[i]);
    snprintf(logged, sizeof logged, "TLS error on connection from (client.example) [192.0.2.1] (%s): ", options[i]);
    struct peer p = begin(extra, false);
    want(reply(&p), "220");
    want(say(&p, "EHLO client.example\r\n"), "250");
    CHECK_STR("454", say(&p, "STARTTLS\r\n"), "454 TLS currently unavailable");
    want(say(&p, "QUIT\r\n"), "221");
    assert_non_null(strstr(end(&p), logged));
  }
}

static void not_offered(void **state) {
  (void)state;
  struct peer p = begin("tls_advertise_hosts =", false);
  want(reply(&p), "220");
  assert_null(strstr(say(&p, "EHLO client.example\r\n"), "STARTTLS"));
  CHECK_STR("503", say(&p, "STARTTLS\r\n"), "503 STARTTLS command used when not advertised");
  want(say(&p, "QUIT\r\n"), "221");
  (void)end(&p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_whole_session), cmocka_unit_test(tls_twice), cmocka_unit_test(names_choose_certificates), cmocka_unit_test(names_choose_no_files),
    cmocka_unit_test(client_certificates), cmocka_unit_test(certificates_authenticate), cmocka_unit_test(injected_commands),
    cmocka_unit_test(input_too_soon_in_tls), cmocka_unit_test(failed_handshake),
    cmocka_unit_test(silent_client), cmocka_unit_test(end_of_tls_in_the_middle), cmocka_unit_test(tls_breaks_anywhere), cmocka_unit_test(on_connect),
    cmocka_unit_test(on_connect_in_clear),
#ifdef EXPERIMENTAL_PIPE_CONNECT
    cmocka_unit_test(early_talk_inside_tls), cmocka_unit_test(early_starttls),
#endif
    cmocka_unit_test(no_certificate),
    cmocka_unit_test(events), cmocka_unit_test(demand_unknown), cmocka_unit_test(not_offered),
  };
  return cmocka_run_group_tests(tests, make_all, drop_all);
}
