/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TLS of the smtp transport against scripted servers in a process of their own.  Expected texts and errors: manual ch. 30, 43, 49 and the log
 * tables; what goes on in clear after a failure: tls_tempfail_tryclear, hosts_require_tls. */
#include "tls_server.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "dns.h"
#include "os/resolver.h"
#include "retry.h"
#include "tls_certs.h"
#include "transports/smtp_priv.h"

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})
static struct cert ca, good, other_ca, stranger, expired, elsewhere;

static int make_certificates(void **state) {
  if (scratch_setup(state) < 0) return -1;
  ca = certs_make_ca("ca");
  good = certs_make("good", "mx.test", &ca);
  other_ca = certs_make_ca("other-ca");
  stranger = certs_make("stranger", "mx.test", &other_ca);
  expired = certs_make_for("expired", "mx.test", &ca, -7200, -3600);
  elsewhere = certs_make("elsewhere", "elsewhere.test", &ca);
  certs_make_crl("empty", &ca, &stranger);
  return 0;
}

static int drop_certificates(void **state) {
  struct cert *all[] = {&ca, &good, &other_ca, &stranger, &expired, &elsewhere};
  for (size_t i = 0; i < ARRAY_SIZE(all); i++) certs_free(all[i]);
  return scratch_teardown(state);
}

/* ---- the client ------------------------------------------------------------------------------------------- */

static void tls_client_new(struct client *c, struct tls_server *s, int recipients) {
  if (!s->params.certificate) {
    static char certificate[PATH_MAX], key[PATH_MAX];
    snprintf(certificate, sizeof certificate, "%s", scratch_path("good.pem"));
    snprintf(key, sizeof key, "%s", scratch_path("good.key"));
    s->params = (struct tls_params){.is_server = true, .certificate = certificate, .privatekey = key, .own_name = "mx.test"};
  }
  client_new(c, "x\n", recipients);
  client_option(c, "hosts_try_dane", "");
  client_option(c, "tls_verify_certificates", scratch_path("ca.pem"));
}

static void run(struct client *c, struct tls_server *s, const char *host_name) {
  tls_server_start(s);
  client_host(c, s->port);
  c->d.addrs->host_list->name = host_name;
  assert_true(smtp_transport.deliver(&c->d));
  tls_server_finish(s);
}

#define EHLO_TLS_LINES ">250-srv\n250-SIZE 1000000\n250-PIPELINING\n250 STARTTLS\n"
#define UP_TO_TLS ">220 hello\n", "<EHLO me.test", EHLO_TLS_LINES, "<STARTTLS", ">220 go\n", "tls"
#define IN_TLS "<EHLO me.test", ">250-srv\n250 HELP\n"
#define DELIVERY "<MAIL FROM:<s@me.test>", ">250 ok\n", "<RCPT TO:<a@x.test>", ">250 ok\n", "<DATA", ">354 go\n", "data", ">250 ok id=1\n", "<QUIT", ">221 bye\n"
#define CLEAR_DELIVERY "<MAIL FROM:<s@me.test>", "<RCPT TO:<a@x.test>", "<DATA", ">250 ok\n250 ok\n354 go\n", "data", ">250 ok id=2\n", "<QUIT", ">221 bye\n"

static void test_starttls(void **state) {
  (void)state;
  struct tls_server s = {.scripts = {SCRIPT(UP_TO_TLS, IN_TLS, DELIVERY)}};
  struct client c;
  tls_client_new(&c, &s, 1);
  client_option(&c, "tls_sni", "sni.test");
  run(&c, &s, "mx.test");
  const struct address *a = c.d.addrs;
  assert_int_equal(a->result, OUTCOME_OK);
  assert_true(a->tls_on && a->tls_certificate_verified && !a->tls_dane);
  assert_int_equal(strncmp(a->tls_cipher, "TLS1.", 5), 0);
  assert_string_equal(a->tls_peerdn, "CN=mx.test");
  assert_false(a->pipelining_used); /* not offered inside TLS, and what was said before counts no more */
  assert_string_equal(expand_string(&c.x, "$tls_out_sni $tls_out_certificate_verified $tls_out_peerdn $tls_out_dane $tls_out_tlsa_usage"),
                      "sni.test 1 CN=mx.test no 0");
  client_free(&c);
}

static void test_on_connect(void **state) {
  (void)state;
  struct tls_server s = {.scripts = {SCRIPT("tls", ">220 hello\n", IN_TLS, DELIVERY)}};
  struct client c;
  tls_client_new(&c, &s, 1);
  client_option(&c, "protocol", "smtps");
  run(&c, &s, "mx.test");
  assert_int_equal(c.d.addrs->result, OUTCOME_OK);
  assert_true(c.d.addrs->tls_on && c.d.addrs->tls_certificate_verified);
  client_free(&c);
}

struct tls_case {
  const char *name;
  const char *const *first, *const *second; /* scripts */
  const char *option[3][2];
  const char *host;
  enum outcome result;
  int basic_errno;
  const char *message;  /* NULL: none */
  bool tls_on, verified, is_host_error;
};

#define REQUIRED "a TLS session is required, but "
#define NO_TLS ">220 hello\n", "<EHLO", ">250-srv\n250 PIPELINING\n"
#define REFUSED(reply) ">220 hello\n", "<EHLO", EHLO_TLS_LINES, "<STARTTLS", reply

#define UNKNOWN_NOW "net-testdb;defer"
static const struct tls_case cases[] = {
  {"not offered", SCRIPT(NO_TLS, CLEAR_DELIVERY), NULL, {{0}}, "mx.test", OUTCOME_OK, 0, NULL, false, false, false},
  {"required, not offered", SCRIPT(NO_TLS, "<QUIT"), NULL, {{"hosts_require_tls", "*"}}, "mx.test", OUTCOME_DEFER, ERRNO_TLSREQUIRED,
   REQUIRED "the server did not offer TLS support", false, false, true},
  {"required, HELO only", SCRIPT(">220 hello\n", "<EHLO", ">500 what\n", "<HELO", ">250 ok\n", "<QUIT"), NULL, {{"hosts_require_tls", "*"}}, "mx.test",
   OUTCOME_DEFER, ERRNO_TLSREQUIRED, REQUIRED "the server did not offer TLS support", false, false, true},
  {"avoided", SCRIPT(">220 hello\n", "<EHLO", EHLO_TLS_LINES, CLEAR_DELIVERY), NULL, {{"hosts_avoid_tls", "*"}}, "mx.test", OUTCOME_OK, 0, NULL,
   false, false, false},
  {"5xx", SCRIPT(REFUSED(">554 no\n"), CLEAR_DELIVERY), NULL, {{"tls_tempfail_tryclear", "false"}}, "mx.test", OUTCOME_OK, 0, NULL, false, false, false},
  {"4xx, tryclear", SCRIPT(REFUSED(">450 no\n"), CLEAR_DELIVERY), NULL, {{0}}, "mx.test", OUTCOME_OK, 0, NULL, false, false, false},
  {"4xx, no tryclear", SCRIPT(REFUSED(">450 no\n"), "<QUIT"), NULL, {{"tls_tempfail_tryclear", "false"}}, "mx.test", OUTCOME_DEFER, 0,
   "SMTP error from remote mail server after STARTTLS: 450 no", false, false, true},
  {"4xx, required", SCRIPT(REFUSED(">450 no\n"), "<QUIT"), NULL, {{"hosts_require_tls", "*"}}, "mx.test", OUTCOME_DEFER, ERRNO_TLSREQUIRED,
   REQUIRED "an attempt to start TLS failed", false, false, true},
  {"name does not fit, only tried", SCRIPT(UP_TO_TLS, IN_TLS, DELIVERY), NULL, {{0}}, "elsewhere.test", OUTCOME_OK, 0, NULL, true, false, false},
  {"name does not fit, not looked at", SCRIPT(UP_TO_TLS, IN_TLS, DELIVERY), NULL, {{"tls_verify_cert_hostnames", ""}}, "elsewhere.test", OUTCOME_OK,
   0, NULL, true, true, false},
  {"verification needed, clear allowed", SCRIPT(REFUSED(">220 go\n"), "tls-fails"), SCRIPT(">220 hello\n", "<EHLO", EHLO_TLS_LINES, CLEAR_DELIVERY),
   {{"tls_verify_hosts", "*"}}, "elsewhere.test", OUTCOME_OK, 0, NULL, false, false, false},
  {"verification needed, clear not allowed", SCRIPT(REFUSED(">220 go\n"), "tls-fails"), NULL,
   {{"tls_verify_hosts", "*"}, {"hosts_require_tls", "*"}}, "elsewhere.test", OUTCOME_DEFER, ERRNO_TLSFAILURE,
   "TLS session: (certificate verification failed)", false, false, true},
  {"both lists unset", SCRIPT(REFUSED(">220 go\n"), "tls-fails"), NULL, {{"tls_try_verify_hosts", ""}, {"tls_tempfail_tryclear", "false"}},
   "elsewhere.test", OUTCOME_DEFER, ERRNO_TLSFAILURE, "TLS session: (certificate verification failed)", false, false, true},
  {"both lists empty", SCRIPT(UP_TO_TLS, IN_TLS, DELIVERY), NULL, {{"tls_verify_hosts", ""}, {"tls_try_verify_hosts", ""}}, "elsewhere.test", OUTCOME_OK, 0, NULL,
   true, false, false},
  {"data behind the reply", SCRIPT(REFUSED(">220 go\n250 injected\n"), "close"), NULL, {{"hosts_require_tls", "*"}}, "mx.test", OUTCOME_DEFER,
   ERRNO_TLSFAILURE, "TLS session: (STARTTLS): data behind the reply", false, false, true},
  {"garbage instead of a handshake", SCRIPT(REFUSED(">220 go\n"), ">hello there\n", "close"),
   SCRIPT(">220 hello\n", "<EHLO", EHLO_TLS_LINES, CLEAR_DELIVERY), {{0}}, "mx.test", OUTCOME_OK, 0, NULL, false, false, false},
  {"closed in the handshake", SCRIPT(REFUSED(">220 go\n"), "close"), NULL, {{"hosts_require_tls", "*"}}, "mx.test", OUTCOME_DEFER, ERRNO_TLSFAILURE,
   "TLS session: (", false, false, true},
  {"closed after the handshake", SCRIPT(UP_TO_TLS, "<EHLO", "close"), NULL, {{0}}, "mx.test", OUTCOME_DEFER, ERRNO_SMTPCLOSED,
   "Remote host closed connection in response to EHLO me.test", true, true, true},
  {"refused inside", SCRIPT(UP_TO_TLS, IN_TLS, "<MAIL", ">250 ok\n", "<RCPT", ">550 no\n", "<QUIT", ">221 bye\n"), NULL, {{0}}, "mx.test", OUTCOME_FAIL, 0,
   "SMTP error from remote mail server after RCPT TO:<a@x.test>: 550 no", true, true, false},
  {"smtps without TLS", SCRIPT(">220 hello\n", "close"), NULL, {{"protocol", "smtps"}}, "mx.test", OUTCOME_DEFER, ERRNO_TLSFAILURE, "TLS session: (",
   false, false, true},
  {"ALPN wanted", SCRIPT(REFUSED(">220 go\n"), "tls-fails"), NULL, {{"tls_alpn", "smtp"}, {"hosts_require_alpn", "*"}, {"hosts_require_tls", "*"}}, "mx.test",
   OUTCOME_DEFER, ERRNO_TLSFAILURE, "TLS session: (handshake): ALPN required but not negotiated", false, false, true},
  {"no cipher in common", SCRIPT(REFUSED(">220 go\n"), "tls-fails"), NULL,
   {{"tls_require_ciphers", "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA"}, {"hosts_require_tls", "*"}}, "mx.test", OUTCOME_DEFER, ERRNO_TLSFAILURE,
   "TLS session: (gnutls_handshake): Handshake failed", false, false, true},
  {"ciphers unknown", SCRIPT(REFUSED(">220 go\n"), "close"), NULL, {{"tls_require_ciphers", "nonsense"}, {"hosts_require_tls", "*"}}, "mx.test",
   OUTCOME_DEFER, ERRNO_TLSFAILURE, "TLS session: (", false, false, true},
  {"list that demands TLS cannot be looked up", NULL, NULL, {{"hosts_require_tls", UNKNOWN_NOW}}, "mx.test", OUTCOME_DEFER, ERRNO_EXPANDFAIL,
   "hosts_require_tls: ", false, false, false},
  {"list that demands DANE cannot be looked up", NULL, NULL, {{"hosts_try_dane", UNKNOWN_NOW}}, "mx.test", OUTCOME_DEFER, ERRNO_EXPANDFAIL,
   "hosts_try_dane: ", false, false, false},
  {"list that demands verification cannot be looked up", SCRIPT(">220 hello\n", "<EHLO", EHLO_TLS_LINES, "<QUIT"), NULL,
   {{"tls_verify_hosts", UNKNOWN_NOW}}, "mx.test", OUTCOME_DEFER, ERRNO_EXPANDFAIL, "tls_verify_hosts: ", false, false, false},
  {"list that demands a status cannot be looked up", SCRIPT(">220 hello\n", "<EHLO", EHLO_TLS_LINES, "<QUIT"), NULL,
   {{"hosts_require_ocsp", UNKNOWN_NOW}}, "mx.test", OUTCOME_DEFER, ERRNO_EXPANDFAIL, "hosts_require_ocsp: ", false, false, false},
  {"list that demands ALPN cannot be looked up", SCRIPT(">220 hello\n", "<EHLO", EHLO_TLS_LINES, "<QUIT"), NULL,
   {{"hosts_require_alpn", UNKNOWN_NOW}}, "mx.test", OUTCOME_DEFER, ERRNO_EXPANDFAIL, "hosts_require_alpn: ", false, false, false},
  {"list that demands authentication cannot be looked up", SCRIPT(UP_TO_TLS, IN_TLS, "<QUIT", ">221 bye\n"), NULL,
   {{"hosts_require_auth", UNKNOWN_NOW}}, "mx.test", OUTCOME_DEFER, ERRNO_AUTHFAIL,
   "authentication required but server did not advertise AUTH support", false, false, true},
  {"option cannot be expanded", SCRIPT(">220 hello\n", "<EHLO", EHLO_TLS_LINES, "<QUIT"), NULL, {{"tls_sni", "${if"}}, "mx.test", OUTCOME_DEFER, ERRNO_EXPANDFAIL,
   "failed to expand", false, false, false},
};

static void test_cases(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    const struct tls_case *t = &cases[i];
    struct tls_server s = {.scripts = {t->first, t->second}};
    struct client c;
    print_message("%s\n", t->name);
    tls_client_new(&c, &s, 1);
    for (size_t k = 0; k < ARRAY_SIZE(t->option) && t->option[k][0]; k++) client_option(&c, t->option[k][0], t->option[k][1]);
    run(&c, &s, t->host);
    const struct address *a = c.d.addrs;
    bool text_fits = t->message ? a->message && strncmp(a->message, t->message, strlen(t->message)) == 0 : !a->message;
    if (a->result != t->result || a->basic_errno != t->basic_errno || !text_fits)
      fail_msg("got %d %d \"%s\"", a->result, a->basic_errno, a->message ? a->message : "NULL");
    assert_int_equal(a->tls_on, t->tls_on);
    assert_int_equal(a->tls_certificate_verified, t->verified);
    bool host_error = false;
    for (const struct retry_item *r = a->retries; r; r = r->next) host_error = host_error || (r->key[0] == 'T' && !strstr(r->key, c.m->id));
    assert_int_equal(host_error, t->is_host_error);
    client_free(&c);
  }
}

/* tls:cert of the transport's event_action: what it says that is not empty refuses the server. */
static void test_event(void **state) {
  (void)state;
  for (int refuses = 0; refuses < 2; refuses++) {
    const char *const *accepted = SCRIPT(UP_TO_TLS, IN_TLS, DELIVERY), *const *refused = SCRIPT(REFUSED(">220 go\n"), "tls-fails");
    struct tls_server s = {.scripts = {refuses ? refused : accepted}};
    struct client c;
    tls_client_new(&c, &s, 1);
    client_option(&c, "hosts_require_tls", "*");
    c.t.o.event_action = refuses ? "${if eq{$event_name:$event_data:${certextract{subject}{$tls_out_peercert}}}{tls:cert:0:CN=mx.test}{no}}" : "";
    run(&c, &s, "mx.test");
    assert_int_equal(c.d.addrs->result, refuses ? OUTCOME_DEFER : OUTCOME_OK);
    if (refuses) assert_string_equal(c.d.addrs->message, "TLS session: (gnutls_handshake): Error in the certificate.");
    client_free(&c);
  }
}

/* The second connection resumes what the first one left, but not under other demands. */
static void test_resumption(void **state) {
  (void)state;
  static const char *const ciphers[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.3"};
  for (size_t i = 0; i < ARRAY_SIZE(ciphers); i++) {
    struct tls_server s = {.scripts = {SCRIPT(UP_TO_TLS, IN_TLS, DELIVERY), SCRIPT(UP_TO_TLS, IN_TLS, DELIVERY), SCRIPT(UP_TO_TLS, IN_TLS, DELIVERY)}};
    struct client c;
    tls_client_new(&c, &s, 1);
    s.params.resumption = true;
    client_option(&c, "tls_resumption_hosts", "*");
    client_option(&c, "tls_require_ciphers", ciphers[i]);
    tls_server_start(&s);
    client_host(&c, s.port);
    c.d.addrs->host_list->name = "mx.test";
    for (int round = 0; round < 3; round++) {
      if (round == 2) client_option(&c, "tls_sni", "other.test");
      assert_true(smtp_transport.deliver(&c.d));
      assert_int_equal(c.d.addrs->result, OUTCOME_OK);
      assert_int_equal(c.d.addrs->tls_resumed, round == 1);
      assert_true(c.d.addrs->tls_certificate_verified);
    }
    tls_server_finish(&s);
    client_free(&c);
  }
}

/* TLS-4: a session is taken up again only where everything the first handshake was asked to prove is the same. */
static void test_no_wrong_resumption(void **state) {
  (void)state;
  static const struct {
    const char *option, *value, *file; /* file: the value is one in the scratch directory */
    const char *host;
  } rows[] = {
    {"tls_sni", "other.test", NULL, NULL},
    {"tls_verify_certificates", NULL, "other-ca.pem", NULL},
    {"tls_verify_certificates", "", NULL, NULL},
    {"tls_crl", NULL, "empty.crl", NULL},
    {"tls_certificate", NULL, "good.pem", NULL},
    {"tls_require_ciphers", "NORMAL:%SERVER_PRECEDENCE", NULL, NULL},
    {"tls_alpn", "smtp", NULL, NULL},
    {"tls_verify_cert_hostnames", "", NULL, NULL},
    {"tls_verify_hosts", "*", NULL, NULL},
    {"hosts_request_ocsp", "", NULL, NULL},
    {"hosts_try_dane", "", NULL, "other.test"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct tls_server s = {.scripts = {SCRIPT(UP_TO_TLS, IN_TLS, DELIVERY), SCRIPT(UP_TO_TLS, IN_TLS, DELIVERY), SCRIPT(UP_TO_TLS, IN_TLS, DELIVERY)}};
    struct client c;
    tls_client_new(&c, &s, 1);
    s.params.resumption = true;
    client_option(&c, "tls_resumption_hosts", "*");
    if (strcmp(rows[i].option, "tls_certificate") == 0) client_option(&c, "tls_privatekey", scratch_path("good.key"));
    tls_server_start(&s);
    client_host(&c, s.port);
    for (int round = 0; round < 3; round++) {
      c.d.addrs->host_list->name = round == 2 && rows[i].host ? rows[i].host : "mx.test";
      if (round == 2) client_option(&c, rows[i].option, rows[i].file ? scratch_path(rows[i].file) : rows[i].value);
      assert_true(smtp_transport.deliver(&c.d));
      assert_int_equal(c.d.addrs->result, OUTCOME_OK);
      if (c.d.addrs->tls_resumed != (round == 1)) fail_msg("%s, round %d: resumed %d", rows[i].option, round, c.d.addrs->tls_resumed);
    }
    tls_server_finish(&s);
    client_free(&c);
  }
}

static void test_tlsa_usable(void **state) {
  (void)state;
  char r[3 + 64] = {3, 1, 1};
  assert_true(smtp_dane_is_usable(str_n(r, 3 + 32)));
  assert_false(smtp_dane_is_usable(str_n(r, 3 + 31)));
  assert_false(smtp_dane_is_usable(str_n(r, 3 + 64)));
  r[2] = 2;
  assert_true(smtp_dane_is_usable(str_n(r, 3 + 64)));
  r[2] = 0;
  assert_true(smtp_dane_is_usable(str_n(r, 4)));
  assert_false(smtp_dane_is_usable(str_n(r, 3)));
  r[2] = 3;
  assert_false(smtp_dane_is_usable(str_n(r, 3 + 32)));
  r[2] = 1, r[0] = 2;
  assert_true(smtp_dane_is_usable(str_n(r, 3 + 32)));
  r[1] = 2;
  assert_false(smtp_dane_is_usable(str_n(r, 3 + 32)));
  for (r[1] = 0, r[0] = 0; r[0] < 2; r[0]++) assert_false(smtp_dane_is_usable(str_n(r, 3 + 32))); /* PKIX: RFC 7672 section 3.1.3 */
}

/* ---- DANE -------------------------------------------------------------------------------------------------- */

enum tlsa_answer { TLSA_GOOD, TLSA_WRONG, TLSA_INSECURE, TLSA_SERVFAIL, TLSA_NONE, TLSA_PKIX_ONLY };

/* The reply to one question about TLSA: the question repeated, at most one record. */
static size_t dns_reply(uint8_t *msg, size_t n, enum tlsa_answer what, const uint8_t spki[32]) {
  size_t at = 12;
  while (at < n && msg[at]) at += msg[at] + 1u;
  at += 5;
  if (at > n) return 0;
  bool answers = what != TLSA_SERVFAIL && what != TLSA_NONE;
  uint8_t rdata[35] = {what == TLSA_PKIX_ONLY ? 1 : 3, 1, 1};
  memcpy(rdata + 3, spki, 32);
  if (what == TLSA_WRONG) rdata[20] ^= 1;
  msg[2] = 0x81;
  msg[3] = (uint8_t)(0x80 | (what != TLSA_INSECURE ? 0x20 : 0) | (what == TLSA_SERVFAIL ? 2 : what == TLSA_NONE ? 3 : 0));
  memset(msg + 6, 0, 6);
  msg[7] = answers;
  if (!answers) return at;
  static const uint8_t head[] = {0xc0, 12, 0, 52, 0, 1, 0, 0, 0, 60, 0, sizeof rdata};
  memcpy(msg + at, head, sizeof head);
  memcpy(msg + at + sizeof head, rdata, sizeof rdata);
  return at + sizeof head + sizeof rdata;
}

static pid_t dns_start(enum tlsa_answer what, const uint8_t spki[32], char address[32]) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t len = sizeof in;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
  snprintf(address, 32, "127.0.0.1:%d", ntohs(in.sin_port));
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    uint8_t msg[1024];
    alarm(20);
    for (;;) {
      struct sockaddr_in from;
      len = sizeof from;
      ssize_t n = recvfrom(fd, msg, 512, 0, (struct sockaddr *)&from, &len);
      size_t out = n > 12 ? dns_reply(msg, (size_t)n, what, spki) : 0;
      if (out && sendto(fd, msg, out, 0, (struct sockaddr *)&from, len) < 0) _exit(1);
    }
  }
  close(fd);
  return pid;
}

static void spki_digest(uint8_t ret[32]) {
  gnutls_pubkey_t key;
  gnutls_datum_t der;
  assert_int_equal(gnutls_pubkey_init(&key), 0);
  assert_int_equal(gnutls_pubkey_import_x509(key, good.crt, 0), 0);
  assert_int_equal(gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &der), 0);
  assert_int_equal(gnutls_hash_fast(GNUTLS_DIG_SHA256, der.data, der.size, ret), 0);
  gnutls_free(der.data);
  gnutls_pubkey_deinit(key);
}

/* Certificates of no known CA throughout: only the record can vouch for them. */
static void test_dane(void **state) {
  (void)state;
  const struct {
    const char *name;
    enum tlsa_answer answer;
    bool secure_host, required;
    const char *const *script;
    enum outcome result;
    int basic_errno;
    const char *message;
    bool tls_on, dane;
  } rows[] = {
    {"good", TLSA_GOOD, true, false, SCRIPT(UP_TO_TLS, IN_TLS, DELIVERY), OUTCOME_OK, 0, NULL, true, true},
    {"required and good", TLSA_GOOD, true, true, SCRIPT(UP_TO_TLS, IN_TLS, DELIVERY), OUTCOME_OK, 0, NULL, true, true},
    {"wrong", TLSA_WRONG, true, false, SCRIPT(REFUSED(">220 go\n"), "tls-fails"), OUTCOME_DEFER, ERRNO_TLSFAILURE, "TLS session: (certificate verification failed)", false, false},
    {"no STARTTLS", TLSA_GOOD, true, false, SCRIPT(NO_TLS, "<QUIT"), OUTCOME_DEFER, ERRNO_TLSREQUIRED, REQUIRED "the server did not offer TLS support", false, false},
    {"not secure", TLSA_INSECURE, true, false, SCRIPT(UP_TO_TLS, IN_TLS, DELIVERY), OUTCOME_OK, 0, NULL, true, false},
    {"not secure, required", TLSA_INSECURE, true, true, NULL, OUTCOME_FAIL, 0, "DANE error: tlsa lookup FAIL", false, false},
    {"cannot tell", TLSA_SERVFAIL, true, false, NULL, OUTCOME_DEFER, ERRNO_DNSDEFER, "DANE error: tlsa lookup DEFER", false, false},
    {"cannot tell, required", TLSA_SERVFAIL, true, true, NULL, OUTCOME_DEFER, ERRNO_DNSDEFER, "DANE error: tlsa lookup DEFER", false, false},
    {"no record", TLSA_NONE, true, false, SCRIPT(NO_TLS, CLEAR_DELIVERY), OUTCOME_OK, 0, NULL, false, false},
    {"no record, required", TLSA_NONE, true, true, NULL, OUTCOME_FAIL, 0, "DANE error: tlsa lookup FAIL", false, false},
    {"host not secure", TLSA_WRONG, false, false, SCRIPT(UP_TO_TLS, IN_TLS, DELIVERY), OUTCOME_OK, 0, NULL, true, false},
    {"host not secure, required", TLSA_GOOD, false, true, NULL, OUTCOME_FAIL, 0, "DANE error: mx.test lookup not DNSSEC", false, false},
    {"unusable: TLS all the same", TLSA_PKIX_ONLY, true, false, SCRIPT(NO_TLS, "<QUIT"), OUTCOME_DEFER, ERRNO_TLSREQUIRED,
     REQUIRED "the server did not offer TLS support", false, false},
  };
  uint8_t spki[32];
  spki_digest(spki);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct tls_server s = {.scripts = {rows[i].script}};
    struct client c;
    char address[32];
    print_message("DANE: %s\n", rows[i].name);
    pid_t dns = dns_start(rows[i].answer, spki, address);
    resolver_set_server(address);
    dns_cache_clear();
    tls_client_new(&c, &s, 1);
    c.cfg.o.dns_dnssec_ok = -1;
    c.cfg.o.dns_use_edns0 = -1;
    client_option(&c, "tls_verify_certificates", "");
    client_option(&c, rows[i].required ? "hosts_require_dane" : "hosts_try_dane", "*");
    tls_server_start(&s);
    client_host(&c, s.port);
    c.d.addrs->host_list->name = "mx.test";
    c.d.addrs->host_list->dnssec = rows[i].secure_host;
    assert_true(smtp_transport.deliver(&c.d));
    tls_server_finish(&s);
    kill(dns, SIGKILL);
    waitpid(dns, NULL, 0);
    const struct address *a = c.d.addrs;
    bool text_fits = rows[i].message ? a->message && strncmp(a->message, rows[i].message, strlen(rows[i].message)) == 0 : !a->message;
    if (a->result != rows[i].result || a->basic_errno != rows[i].basic_errno || !text_fits)
      fail_msg("got %d %d \"%s\"", a->result, a->basic_errno, a->message ? a->message : "NULL");
    assert_int_equal(a->tls_on, rows[i].tls_on);
    assert_int_equal(a->tls_dane, rows[i].dane);
    if (rows[i].dane) assert_string_equal(expand_string(&c.x, "$tls_out_dane $tls_out_tlsa_usage $tls_out_sni"), "yes 8 mx.test");
    client_free(&c);
  }
  resolver_set_server(NULL);
}

/* ---- TLS-1, TLS-2: attackers between us and a server that must be reached in TLS ---------------------------------------------- */

struct attack {
  const char *name, *cert; /* NULL: the good one */
  const char *const *script;
};

/* One attack, against TLS that is required and verified or that the DNS vouches for: the message waits, nothing of it was said in clear, and no second
 * connection was tried (the server is gone by then, which would show). */
static void check_attack(const struct attack *t, bool dane, const uint8_t spki[32]) {
  static char certificate[PATH_MAX], key[PATH_MAX];
  struct tls_server s = {.scripts = {t->script}};
  struct client c;
  char address[32];
  pid_t dns = dane ? dns_start(TLSA_GOOD, spki, address) : 0;
  if (dane) resolver_set_server(address);
  dns_cache_clear();
  snprintf(certificate, sizeof certificate, "%s/%s.pem", scratch_dir, t->cert ? t->cert : "good");
  snprintf(key, sizeof key, "%s/%s.key", scratch_dir, t->cert ? t->cert : "good");
  s.params = (struct tls_params){.is_server = true, .certificate = certificate, .privatekey = key, .own_name = "mx.test"};
  tls_client_new(&c, &s, 1);
  if (dane) {
    c.cfg.o.dns_dnssec_ok = -1;
    c.cfg.o.dns_use_edns0 = -1;
    client_option(&c, "hosts_try_dane", "*");
  } else {
    client_option(&c, "hosts_require_tls", "*");
    client_option(&c, "tls_verify_hosts", "*");
  }
  tls_server_start(&s);
  client_host(&c, s.port);
  c.d.addrs->host_list->name = "mx.test";
  c.d.addrs->host_list->dnssec = dane;
  assert_true(smtp_transport.deliver(&c.d));
  tls_server_finish(&s);
  if (dane) {
    kill(dns, SIGKILL);
    waitpid(dns, NULL, 0);
    resolver_set_server(NULL);
  }
  const struct address *a = c.d.addrs;
  if (a->result != OUTCOME_DEFER || a->tls_on || !a->message || strstr(a->message, "refused"))
    fail_msg("%s, %s: %d %d \"%s\"", t->name, dane ? "DANE" : "required", a->result, a->tls_on, a->message ? a->message : "NULL");
  client_free(&c);
}

static void test_downgrade(void **state) {
  (void)state;
  const struct attack attacks[] = {
    {"stripped", NULL, SCRIPT(NO_TLS, "<QUIT")},
    {"stripped, HELO only", NULL, SCRIPT(">220 hello\n", "<EHLO", ">502 what\n", "<HELO", ">250 ok\n", "<QUIT")},
    {"454", NULL, SCRIPT(REFUSED(">454 no\n"), "<QUIT")},
    {"554", NULL, SCRIPT(REFUSED(">554 no\n"), "<QUIT")},
    {"no reply", NULL, SCRIPT(REFUSED(">hello there\n"), "close")},
    {"closed", NULL, SCRIPT(REFUSED(">220 go\n"), "close")},
    {"no handshake", NULL, SCRIPT(REFUSED(">220 go\n"), ">hello there, hello there\n", "close")},
    {"another CA", "stranger", SCRIPT(REFUSED(">220 go\n"), "tls-fails")},
    {"expired", "expired", SCRIPT(REFUSED(">220 go\n"), "tls-fails")},
    {"another name", "elsewhere", SCRIPT(REFUSED(">220 go\n"), "tls-fails")},
  };
  uint8_t spki[32];
  spki_digest(spki);
  for (size_t i = 0; i < ARRAY_SIZE(attacks); i++)
    for (int dane = 0; dane < 2; dane++) check_attack(&attacks[i], dane, spki);
}

/* Bytes behind the 220 of STARTTLS, in the same segment and in the next, as many as an attacker likes. */
static void test_injected_replies(void **state) {
  (void)state;
  static const size_t sizes[] = {1, 100, 4096, 16000};
  static char same[17000], next[17000];
  uint8_t spki[32];
  spki_digest(spki);
  for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
    char *fill = same + snprintf(same, sizeof same, ">220 go\n");
    memset(fill, 'x', sizes[i]);
    fill[sizes[i]] = '\0';
    next[0] = '>';
    memset(next + 1, 'x', sizes[i]);
    next[sizes[i] + 1] = '\0';
    struct attack attacks[] = {{"same segment", NULL, SCRIPT(REFUSED(same), "close")}, {"next segment", NULL, SCRIPT(REFUSED(">220 go\n"), next, "close")}};
    for (size_t k = 0; k < ARRAY_SIZE(attacks); k++) check_attack(&attacks[k], false, spki);
  }
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_starttls),
    cmocka_unit_test(test_on_connect),
    cmocka_unit_test(test_cases),
    cmocka_unit_test(test_event), cmocka_unit_test(test_resumption),
    cmocka_unit_test(test_tlsa_usable),
    cmocka_unit_test(test_dane),
    cmocka_unit_test(test_no_wrong_resumption), cmocka_unit_test(test_downgrade), cmocka_unit_test(test_injected_replies),
  };
  return cmocka_run_group_tests(tests, make_certificates, drop_certificates);
}
