/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TLS over streams: real handshakes between two processes, TLS 1.2 and 1.3; verification, names, DANE, SNI, ALPN, resumption, renewed
 * files; a connection cut at each byte and clear text behind it (TLS-2, TLS-3); no fallback. */
#include "unit.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "os/stream.h"
#include "os/tls_priv.h"
#include "tls_certs.h"

static const char *const versions[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.3"};
static struct cert ca, other_ca, good, second, expired, revoked, client;

/* What the client's process found, sent to the test through a pipe. */
struct report {
  int rc;
  bool verified, dane;
  int ocsp, resumption;
  char error[200], dn[100], alpn[40], line[100], end[200];
  size_t ticket_n;
  char ticket[8192];
};

static const char *path(const char *name) {
  static char kept[24][PATH_MAX];
  static unsigned turn;
  char *p = kept[turn++ % 24];
  snprintf(p, PATH_MAX, "%s", scratch_path(name));
  return p;
}

static int make_certificates(void **state) {
  if (scratch_setup(state) < 0) return -1;
  ca = certs_make_ca("ca");
  other_ca = certs_make_ca("other");
  good = certs_make("good", "mx.example", &ca);
  second = certs_make("second", "second.example", &ca);
  expired = certs_make_for("expired", "mx.example", &ca, -7200, -3600);
  revoked = certs_make("revoked", "mx.example", &ca);
  client = certs_make("client", "client.example", &ca);
  certs_make_crl("list", &ca, &revoked);
  certs_join("chain.pem", "good.pem", "ca.pem");
  return 0;
}

static int drop_certificates(void **state) {
  struct cert *all[] = {&ca, &other_ca, &good, &second, &expired, &revoked, &client};
  for (size_t i = 0; i < ARRAY_SIZE(all); i++) certs_free(all[i]);
  return scratch_teardown(state);
}

static void put(char *to, size_t size, const char *text) { snprintf(to, size, "%s", text ? text : ""); }

/* The client: handshake, says "hello", reads one line, ends orderly, reports. */
static void run_client(int fd, int report_fd, const struct tls_client_opts *o) {
  struct arena *a = arena_new("client");
  struct stream *io = stream_new(a, fd, fd, true);
  struct tls_result r;
  const char *error = NULL;
  struct report out = {0};
  struct str line;
  out.rc = tls_start_client(io, a, o, deadline_in_ms(5000), &r, &error);
  put(out.error, sizeof out.error, error);
  if (out.rc == 0) {
    put(out.dn, sizeof out.dn, r.peer_dn);
    put(out.alpn, sizeof out.alpn, r.alpn);
    out.verified = r.certificate_verified;
    out.dane = r.dane_verified;
    out.ocsp = r.ocsp;
    out.resumption = (int)r.resumption;
    stream_puts(io, "hello\r\n");
    if (stream_read_line(io, 100, false, deadline_in_ms(5000), &line, NULL) == STREAM_OK)
      snprintf(out.line, sizeof out.line, "%.*s", STR_FMT(line));
    put(out.end, sizeof out.end, tls_error(io));
    struct str ticket = tls_session_data(io, a);
    out.ticket_n = MIN(ticket.n, sizeof out.ticket);
    if (out.ticket_n) memcpy(out.ticket, ticket.p, out.ticket_n);
    tls_end(io, false, deadline_in_ms(1000));
  }
  if (write(report_fd, &out, sizeof out) != sizeof out) _exit(2);
  stream_close(io);
  arena_free(a);
  _exit(0);
}

struct session {
  struct arena *a;
  struct stream *io;
  int report_fd;
  pid_t pid;
  struct tls_result r;
  const char *error;
  int rc;
};

static struct session begin(const struct tls_client_opts *c) {
  int fds[2], report[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  assert_int_equal(pipe(report), 0);
  struct session s = {.a = arena_new("server"), .report_fd = report[0]};
  s.pid = fork();
  assert_true(s.pid >= 0);
  if (s.pid == 0) {
    close(fds[0]);
    close(report[0]);
    run_client(fds[1], report[1], c);
  }
  close(fds[1]);
  close(report[1]);
  s.io = stream_new(s.a, fds[0], fds[0], true);
  return s;
}

static struct report end(struct session *s) {
  struct report r = {0};
  stream_close(s->io);
  size_t got = 0;
  ssize_t n;
  while (got < sizeof r && (n = read(s->report_fd, (char *)&r + got, sizeof r - got)) > 0) got += (size_t)n;
  close(s->report_fd);
  assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
  assert_int_equal(got, sizeof r);
  return r;
}

static void handshake(struct session *s, const struct tls_server_opts *o) {
  s->rc = tls_start_server(s->io, s->a, o, deadline_in_ms(5000), &s->r, &s->error);
}

/* Handshake, the client's line, an answer, and the client's goodbye. */
static struct report talk(const struct tls_server_opts *so, const struct tls_client_opts *co, struct session *ret) {
  struct session s = begin(co);
  struct str line;
  handshake(&s, so);
  if (s.rc == 0 && stream_read_line(s.io, 100, false, deadline_in_ms(5000), &line, NULL) == STREAM_OK) {
    assert_true(str_eq_c(line, "hello"));
    stream_puts(s.io, "welcome\r\n");
    assert_int_equal(stream_flush(s.io, deadline_in_ms(1000)), STREAM_OK);
    assert_int_equal(stream_read_line(s.io, 100, false, deadline_in_ms(5000), &line, NULL), STREAM_EOF);
    assert_null(tls_error(s.io));
  } else if (s.rc == 0) {
    s.error = tls_error(s.io);
    s.rc = -EPROTO;
  }
  struct report r = end(&s);
  if (ret) *ret = s; /* the caller frees the arena */
  else arena_free(s.a);
  return r;
}

static struct tls_server_opts server_opts(const char *cert, const char *ciphers) {
  char key[64], file[64];
  snprintf(file, sizeof file, "%s.pem", cert);
  snprintf(key, sizeof key, "%s.key", strcmp(cert, "chain") == 0 ? "good" : cert);
  return (struct tls_server_opts){
    .params = {.is_server = true, .certificate = path(file), .privatekey = path(key), .ciphers = ciphers, .own_name = "own.example"}};
}

static struct tls_client_opts client_opts(enum tls_verify verify) {
  return (struct tls_client_opts){.params = {.verify = verify, .verify_certificates = path("ca.pem")}};
}

static void plain_handshake(void **state) {
  (void)state;
  static const char *const want[] = {"TLS1.2:ECDHE_", "TLS1.3:ECDHE_"};
  for (size_t v = 0; v < ARRAY_SIZE(versions); v++) {
    struct tls_server_opts so = server_opts("good", versions[v]);
    struct tls_client_opts co = client_opts(TLS_VERIFY_REQUIRE);
    const char *names[] = {"mx.example", NULL};
    co.verify_names = names;
    struct session s;
    struct report r = talk(&so, &co, &s);
    assert_int_equal(s.rc, 0);
    assert_memory_equal(s.r.cipher, want[v], 13);
    assert_memory_equal(s.r.ver, want[v], 6);
    assert_true(s.r.bits >= 128);
    assert_non_null(strstr(s.r.our_cert_pem, "BEGIN CERTIFICATE"));
    assert_null(s.r.peer_dn);
    assert_null(s.r.sni);
    assert_non_null(s.r.channel_binding);
    CHECK_STR("line", r.line, "welcome");
    CHECK_STR("dn", r.dn, "CN=mx.example");
    assert_true(r.verified);
    arena_free(s.a);
  }
}

struct refusal {
  const char *what, *cert, *name;
  const char *crl;
  enum tls_verify verify;
  const char *error; /* NULL: the handshake does succeed, unverified */
};

static void bad_certificates(void **state) {
  (void)state;
  static const struct refusal rows[] = {
    {"wrong name", "second", "mx.example", NULL, TLS_VERIFY_REQUIRE, "(certificate verification failed)"},
    {"expired", "expired", "mx.example", NULL, TLS_VERIFY_REQUIRE, "(certificate verification failed): certificate invalid"},
    {"revoked", "revoked", "mx.example", "list.crl", TLS_VERIFY_REQUIRE, "(certificate verification failed): certificate revoked"},
    {"unknown CA", "other", NULL, NULL, TLS_VERIFY_REQUIRE, "(certificate verification failed): certificate invalid"},
    {"expired, tried", "expired", "mx.example", NULL, TLS_VERIFY_TRY, NULL},
    {"wrong name, tried", "second", "mx.example", NULL, TLS_VERIFY_TRY, NULL},
    {"nothing asked", "expired", "mx.example", NULL, TLS_VERIFY_NONE, NULL},
  };
  for (size_t v = 0; v < ARRAY_SIZE(versions); v++)
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
      struct tls_server_opts so = server_opts(rows[i].cert, versions[v]);
      struct tls_client_opts co = client_opts(rows[i].verify);
      const char *names[] = {rows[i].name, NULL};
      co.verify_names = rows[i].name ? names : NULL;
      if (rows[i].crl) co.params.crl = path(rows[i].crl);
      struct session s;
      struct report r = talk(&so, &co, &s);
      CHECK_INT(rows[i].what, r.rc, rows[i].error ? -EACCES : 0);
      CHECK_STR(rows[i].what, r.error, rows[i].error ? rows[i].error : "");
      assert_false(r.verified);
      if (rows[i].error) CHECK_STR(rows[i].what, s.error, "(recv): A TLS fatal alert has been received: Certificate is bad");
      arena_free(s.a);
    }
}

static void client_certificates(void **state) {
  (void)state;
  static const struct {
    const char *what, *cert, *crl;
    enum tls_verify verify;
    const char *error;
    bool is_verified;
  } rows[] = {
    {"good", "client", NULL, TLS_VERIFY_REQUIRE, NULL, true},
    {"none, tried", NULL, NULL, TLS_VERIFY_TRY, NULL, false},
    {"none", NULL, NULL, TLS_VERIFY_REQUIRE, "(gnutls_handshake): ", false},
    {"revoked", "revoked", "list.crl", TLS_VERIFY_REQUIRE, "(certificate verification failed): certificate revoked", false},
    {"revoked, tried", "revoked", "list.crl", TLS_VERIFY_TRY, NULL, false},
    {"foreign, so not shown", "other", NULL, TLS_VERIFY_REQUIRE, "(gnutls_handshake): ", false},
  };
  for (size_t v = 0; v < ARRAY_SIZE(versions); v++)
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
      struct tls_server_opts so = server_opts("good", versions[v]);
      so.params.verify = rows[i].verify;
      so.params.verify_certificates = path("ca.pem");
      if (rows[i].crl) so.params.crl = path(rows[i].crl);
      struct tls_client_opts co = client_opts(TLS_VERIFY_NONE);
      struct tls_server_opts named = server_opts(rows[i].cert ? rows[i].cert : "good", NULL);
      if (rows[i].cert) co.params.certificate = named.params.certificate, co.params.privatekey = named.params.privatekey;
      struct session s;
      (void)talk(&so, &co, &s);
      CHECK_INT(rows[i].what, s.rc == 0, !rows[i].error);
      if (rows[i].error) assert_memory_equal(s.error, rows[i].error, strlen(rows[i].error));
      CHECK_INT(rows[i].what, s.r.certificate_verified, rows[i].is_verified);
      if (s.rc == 0) CHECK_INT(rows[i].what, s.r.peer_dn != NULL, rows[i].cert != NULL);
      if (s.rc == 0 && rows[i].cert) assert_true(is_tainted(s.r.peer_dn) && is_tainted(s.r.peer_cert_pem));
      arena_free(s.a);
    }
}

/* A client shows what is signed by an authority the server has named, or, told no names, what it has (manual ch. 43, a directory of certificates). */
static void names_of_authorities(void **state) {
  (void)state;
  static const struct {
    const char *what, *trust, *cert;
    bool is_shown, is_verified;
  } rows[] = {
    {"file, ours", "ca.pem", "client", true, true},
    {"file, foreign", "ca.pem", "other", false, false},
    {"directory, ours", "authorities", "client", true, true},
    {"directory, foreign", "authorities", "other", true, false},
  };
  assert_int_equal(mkdir(scratch_path("authorities"), 0755), 0);
  assert_int_equal(link(scratch_path("ca.pem"), scratch_path("authorities/ca.pem")), 0);
  for (size_t v = 0; v < ARRAY_SIZE(versions); v++)
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
      struct tls_server_opts so = server_opts("good", versions[v]);
      so.params.verify = TLS_VERIFY_TRY;
      so.params.verify_certificates = path(rows[i].trust);
      struct tls_client_opts co = client_opts(TLS_VERIFY_NONE);
      struct tls_server_opts named = server_opts(rows[i].cert, NULL);
      co.params.certificate = named.params.certificate;
      co.params.privatekey = named.params.privatekey;
      struct session s;
      (void)talk(&so, &co, &s);
      CHECK_INT(rows[i].what, s.rc, 0);
      CHECK_INT(rows[i].what, s.r.peer_dn != NULL, rows[i].is_shown);
      CHECK_INT(rows[i].what, s.r.certificate_verified, rows[i].is_verified);
      arena_free(s.a);
    }
}

static const struct tls_params *choose_second(void *ctx, const char *sni, const char **ret_error) {
  if (strcmp(sni, "second.example") == 0) return ctx;
  if (strcmp(sni, "refused.example") == 0) *ret_error = "(sni): no";
  return NULL;
}

static void server_names(void **state) {
  (void)state;
  static const struct {
    const char *sni, *dn, *seen, *error;
  } rows[] = {
    {"second.example", "CN=second.example", "second.example", NULL},
    {"mx.example", "CN=mx.example", "mx.example", NULL},
    {"", "CN=mx.example", NULL, NULL},
    {"refused.example", "", "refused.example", "(sni): no"},
  };
  for (size_t v = 0; v < ARRAY_SIZE(versions); v++)
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
      struct tls_server_opts so = server_opts("good", versions[v]), other = server_opts("second", versions[v]);
      so.on_sni = choose_second;
      so.ctx = &other.params;
      struct tls_client_opts co = client_opts(TLS_VERIFY_NONE);
      co.sni = rows[i].sni;
      struct session s;
      struct report r = talk(&so, &co, &s);
      CHECK_STR("dn", r.dn, rows[i].dn);
      CHECK_STR("sni", s.r.sni ? s.r.sni : "", rows[i].seen ? rows[i].seen : "");
      if (s.r.sni) assert_true(is_tainted(s.r.sni));
      if (rows[i].error) CHECK_STR("error", s.error, rows[i].error);
      else assert_int_equal(s.rc, 0);
      arena_free(s.a);
    }
}

static void application_protocols(void **state) {
  (void)state;
  static const struct {
    const char *offered, *chosen, *error;
    bool required;
  } rows[] = {
    {"smtp", "smtp", NULL, true},
    {"http", NULL, "(handshake): Bad ALPN presented (http)", false},
    {NULL, NULL, NULL, false},
    {NULL, NULL, "(handshake): ALPN required but not negotiated", true},
  };
  for (size_t v = 0; v < ARRAY_SIZE(versions); v++)
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
      struct tls_server_opts so = server_opts("good", versions[v]);
      so.params.alpn = "smtp:esmtp";
      so.params.alpn_required = rows[i].required;
      struct tls_client_opts co = client_opts(TLS_VERIFY_NONE);
      co.params.alpn = rows[i].offered;
      struct session s;
      struct report r = talk(&so, &co, &s);
      CHECK_STR("alpn", r.alpn, rows[i].chosen ? rows[i].chosen : "");
      if (rows[i].error) CHECK_STR("error", s.error, rows[i].error);
      else assert_int_equal(s.rc, 0);
      arena_free(s.a);
    }
}

static void resumption(void **state) {
  (void)state;
  for (size_t v = 0; v < ARRAY_SIZE(versions); v++) {
    struct tls_server_opts so = server_opts("good", versions[v]);
    so.params.resumption = true;
    struct tls_client_opts co = client_opts(TLS_VERIFY_REQUIRE);
    co.params.resumption = true;
    struct session s;
    struct report first = talk(&so, &co, &s);
    assert_int_equal(s.rc, 0);
    assert_true(first.ticket_n > 0);
    assert_int_equal(s.r.resumption, TLS_RESUME_CAPABLE | TLS_RESUME_ASKED | TLS_RESUME_GIVEN); /* 11, as Exim 4.96 */
    arena_free(s.a);
    co.resume = str_n(first.ticket, first.ticket_n);
    struct report again = talk(&so, &co, &s);
    assert_int_equal(s.rc, 0);
    assert_true(again.verified);
    assert_int_equal(again.resumption & (TLS_RESUME_OFFERED | TLS_RESUME_USED), TLS_RESUME_OFFERED | TLS_RESUME_USED);
    assert_int_equal(s.r.resumption, v == 0 ? 29 : 31); /* as Exim 4.96 */
    if (v == 1) assert_memory_equal(s.r.cipher, "TLS1.3:ECDHE_PSK_", 17);
    arena_free(s.a);
    so.params.resumption = false; /* a server that does not give any takes none */
    again = talk(&so, &co, &s);
    assert_int_equal(s.rc, 0);
    assert_false(again.resumption & TLS_RESUME_USED);
    arena_free(s.a);
  }
}

/* usage 3 or 2, selector 1 (key), SHA-256. */
static size_t tlsa_of(const struct cert *c, int usage, char rdata[35]) {
  gnutls_pubkey_t key;
  gnutls_datum_t der;
  assert_int_equal(gnutls_pubkey_init(&key), 0);
  assert_int_equal(gnutls_pubkey_import_x509(key, c->crt, 0), 0);
  assert_int_equal(gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &der), 0);
  rdata[0] = (char)usage, rdata[1] = 1, rdata[2] = 1;
  assert_int_equal(gnutls_hash_fast(GNUTLS_DIG_SHA256, der.data, der.size, rdata + 3), 0);
  gnutls_free(der.data);
  gnutls_pubkey_deinit(key);
  return 35;
}

static void dane(void **state) {
  (void)state;
  struct {
    const char *what, *cert;
    const struct cert *in_dns;
    int usage;
    const char *name;
    bool is_good;
  } rows[] = {
    {"EE", "good", &good, 3, "mx.example", true},
    {"EE, any name", "good", &good, 3, "elsewhere.example", true},
    {"EE, expired", "expired", &expired, 3, "mx.example", true}, /* RFC 7672 3.1.1: dates do not count */
    {"EE, another key", "good", &second, 3, "mx.example", false},
    {"TA", "chain", &ca, 2, "mx.example", true},
    {"TA, wrong name", "chain", &ca, 2, "elsewhere.example", false},
    {"TA, another", "chain", &other_ca, 2, "mx.example", false},
    {"TA, not sent", "good", &ca, 2, "mx.example", false},
  };
  for (size_t v = 0; v < ARRAY_SIZE(versions); v++)
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
      char rdata[35];
      struct tls_tlsa record = {str_n(rdata, tlsa_of(rows[i].in_dns, rows[i].usage, rdata))};
      const char *names[] = {rows[i].name, NULL};
      struct tls_server_opts so = server_opts(rows[i].cert, versions[v]);
      struct tls_client_opts co = {.tlsa = &record, .tlsa_count = 1, .verify_names = names};
      struct report r = talk(&so, &co, NULL);
      CHECK_INT(rows[i].what, r.rc, rows[i].is_good ? 0 : -EACCES);
      CHECK_INT(rows[i].what, r.dane, rows[i].is_good);
      if (!rows[i].is_good) assert_memory_equal(r.error, "(certificate verification failed): ", 35);
    }
}

/* What a record may say of a certificate: RFC 6698 2.1. */
static void dane_records(void **state) {
  (void)state;
  gnutls_datum_t der, key;
  gnutls_pubkey_t pub;
  assert_int_equal(gnutls_x509_crt_export2(good.crt, GNUTLS_X509_FMT_DER, &der), 0);
  assert_int_equal(gnutls_pubkey_init(&pub), 0);
  assert_int_equal(gnutls_pubkey_import_x509(pub, good.crt, 0), 0);
  assert_int_equal(gnutls_pubkey_export2(pub, GNUTLS_X509_FMT_DER, &key), 0);
  const gnutls_datum_t *const what[] = {&der, &key};
  const gnutls_digest_algorithm_t digests[] = {0, GNUTLS_DIG_SHA256, GNUTLS_DIG_SHA512};
  for (int selector = 0; selector < 2; selector++)
    for (int matching = 0; matching < 3; matching++) {
      char rdata[3 + 4096] = {3, (char)selector, (char)matching};
      size_t n = matching ? gnutls_hash_get_len(digests[matching]) : what[selector]->size;
      if (matching) assert_int_equal(gnutls_hash_fast(digests[matching], what[selector]->data, what[selector]->size, rdata + 3), 0);
      else memcpy(rdata + 3, what[selector]->data, n);
      assert_true(tls_dane_fits(&der, str_n(rdata, 3 + n)));
      assert_false(tls_dane_fits(&der, str_n(rdata, 3 + n - 1)));
      assert_false(tls_dane_fits(&der, str_n(rdata, 3)));
      rdata[3 + n - 1] ^= 1;
      assert_false(tls_dane_fits(&der, str_n(rdata, 3 + n)));
      rdata[3 + n - 1] ^= 1;
      rdata[1] ^= 1; /* the same bytes, said of the other thing */
      assert_false(tls_dane_fits(&der, str_n(rdata, 3 + n)));
      rdata[1] = 2; /* nothing that is known */
      assert_false(tls_dane_fits(&der, str_n(rdata, 3 + n)));
      rdata[1] = (char)selector, rdata[2] = 3;
      assert_false(tls_dane_fits(&der, str_n(rdata, 3 + n)));
    }
  gnutls_datum_t junk = {(unsigned char *)"\x30\x03\x02\x01", 4};
  assert_false(tls_dane_fits(&junk, STR("\3\1\1" "0123456789abcdef0123456789abcdef")));
  gnutls_free(der.data);
  gnutls_free(key.data);
  gnutls_pubkey_deinit(pub);
}

/* Run openssl in the scratch directory; false when it is not there or does not like it. */
static bool openssl(const char *const *args) {
  pid_t pid = fork();
  int status;
  if (pid == 0) {
    int null = open("/dev/null", O_RDWR);
    if (chdir(scratch_dir) < 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0) _exit(126);
    execvp("openssl", (char *const *)(uintptr_t)args);
    _exit(127);
  }
  return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* good.ocsp: what its CA says of the certificate. */
static bool make_ocsp_answer(void) {
  static const char *const request[] = {"openssl", "ocsp", "-issuer", "ca.pem", "-cert", "good.pem", "-no_nonce", "-reqout", "good.req", NULL};
  static const char *const answer[] = {"openssl", "ocsp", "-index", "index", "-CA", "ca.pem", "-rsigner", "ca.pem", "-rkey", "ca.key",
                                       "-reqin", "good.req", "-respout", "good.ocsp", "-ndays", "1", NULL};
  unsigned char serial[32];
  size_t n = sizeof serial;
  assert_int_equal(gnutls_x509_crt_get_serial(good.crt, serial, &n), 0);
  FILE *f = fopen(scratch_path("index"), "we");
  assert_non_null(f);
  fprintf(f, "V\t491231000000Z\t\t");
  for (size_t i = 0; i < n; i++) fprintf(f, "%02X", serial[i]);
  fprintf(f, "\tunknown\t/CN=mx.example\n");
  assert_int_equal(fclose(f), 0);
  return openssl(request) && openssl(answer);
}

static void stapled_status(void **state) {
  (void)state;
  static const struct {
    const char *what;
    bool is_stapled;
    enum tls_ocsp want;
    int rc, state;
  } rows[] = {
    {"stapled, required", true, TLS_OCSP_REQUIRE, 0, TLS_OCSP_VERIFIED},
    {"stapled, asked for", true, TLS_OCSP_REQUEST, 0, TLS_OCSP_VERIFIED},
    {"stapled, not asked for", true, TLS_OCSP_NONE, 0, TLS_OCSP_NOT_REQUESTED},
    {"none, asked for", false, TLS_OCSP_REQUEST, 0, TLS_OCSP_FAILED},
    {"none, required", false, TLS_OCSP_REQUIRE, -EACCES, TLS_OCSP_NOT_REQUESTED},
  };
  if (!make_ocsp_answer()) skip();
  for (size_t v = 0; v < ARRAY_SIZE(versions); v++)
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
      struct tls_server_opts so = server_opts("good", versions[v]);
      if (rows[i].is_stapled) so.params.ocsp_file = path("good.ocsp");
      struct tls_client_opts co = client_opts(TLS_VERIFY_REQUIRE);
      co.ocsp = rows[i].want;
      struct session s;
      struct report r = talk(&so, &co, &s);
      CHECK_INT(rows[i].what, r.rc, rows[i].rc);
      CHECK_INT(rows[i].what, r.ocsp, rows[i].state);
      if (rows[i].rc) CHECK_STR(rows[i].what, r.error, "(certificate status check failed)");
      arena_free(s.a);
    }
  /* an answer about another certificate is refused when it is read */
  struct arena *a = arena_new("t");
  struct tls_server_opts so = server_opts("second", NULL);
  so.params.ocsp_file = path("good.ocsp");
  const char *error = tls_preload(a, &so.params);
  assert_non_null(error);
  assert_non_null(strstr(error, "(gnutls_certificate_set_ocsp_status_request_file2): "));
  arena_free(a);
}

/* DANE decides about the chain, or nothing does; the stapled answer is looked at all the same. */
static void stapled_status_with_dane(void **state) {
  (void)state;
  static const struct {
    const char *what, *cert;
    int usage; /* 0: no DANE, nothing is verified */
    bool is_stapled;
    int rc, state;
  } rows[] = {
    {"TA, stapled", "chain", 2, true, 0, TLS_OCSP_VERIFIED},
    {"TA, none", "chain", 2, false, -EACCES, TLS_OCSP_FAILED},
    {"EE, chain sent", "chain", 3, true, 0, TLS_OCSP_VERIFIED},
    {"no verification", "chain", 0, true, 0, TLS_OCSP_VERIFIED},
  };
  if (!make_ocsp_answer()) skip();
  for (size_t v = 0; v < ARRAY_SIZE(versions); v++)
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
      char rdata[35];
      struct tls_tlsa record = {str_n(rdata, tlsa_of(rows[i].usage == 2 ? &ca : &good, rows[i].usage, rdata))};
      const char *names[] = {"mx.example", NULL};
      struct tls_server_opts so = server_opts(rows[i].cert, versions[v]);
      if (rows[i].is_stapled) so.params.ocsp_file = path("good.ocsp");
      struct tls_client_opts co = {.tlsa = &record, .tlsa_count = rows[i].usage ? 1 : 0, .verify_names = names, .ocsp = TLS_OCSP_REQUIRE};
      struct report r = talk(&so, &co, NULL);
      CHECK_INT(rows[i].what, r.rc, rows[i].rc);
      if (r.rc == 0) CHECK_INT(rows[i].what, r.ocsp, rows[i].state);
      if (r.rc == 0) CHECK_INT(rows[i].what, r.dane, rows[i].usage != 0);
    }
}

/* A server that asks for a certificate verifies it in a resumed session as well. */
static void resumption_with_client_certificates(void **state) {
  (void)state;
  static const enum tls_verify modes[] = {TLS_VERIFY_TRY, TLS_VERIFY_REQUIRE};
  for (size_t v = 0; v < ARRAY_SIZE(versions); v++)
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
      struct tls_server_opts so = server_opts("good", versions[v]), named = server_opts("client", NULL);
      struct tls_client_opts co = client_opts(TLS_VERIFY_REQUIRE);
      struct session s;
      so.params.resumption = co.params.resumption = true;
      so.params.verify_certificates = path("ca.pem");
      struct report first = talk(&so, &co, &s); /* nobody was asked who he is */
      arena_free(s.a);
      assert_true(first.ticket_n > 0);
      so.params.verify = modes[i];
      co.resume = str_n(first.ticket, first.ticket_n);
      (void)talk(&so, &co, &s);
      CHECK_INT("an old session, no certificate", s.rc == 0, modes[i] == TLS_VERIFY_TRY);
      assert_false(s.r.certificate_verified);
      arena_free(s.a);
      co.params.certificate = named.params.certificate, co.params.privatekey = named.params.privatekey;
      co.resume = STR_NULL;
      first = talk(&so, &co, &s);
      CHECK_INT("a certificate", s.rc, 0);
      assert_true(s.r.certificate_verified);
      arena_free(s.a);
      co.resume = str_n(first.ticket, first.ticket_n);
      (void)talk(&so, &co, &s);
      CHECK_INT("again", s.rc, 0);
      assert_true(s.r.certificate_verified && s.r.peer_dn);
      arena_free(s.a);
    }
}

/* The certificate the name's parameters demand is demanded, whatever the others say. */
static void server_names_choose_verification(void **state) {
  (void)state;
  static const struct {
    const char *what, *sni, *cert;
    enum tls_verify without, with;
    bool is_good, is_verified;
  } rows[] = {
    {"asked for, by name", "second.example", NULL, TLS_VERIFY_NONE, TLS_VERIFY_REQUIRE, false, false},
    {"given, by name", "second.example", "client", TLS_VERIFY_NONE, TLS_VERIFY_REQUIRE, true, true},
    {"bad, by name", "second.example", "revoked", TLS_VERIFY_NONE, TLS_VERIFY_REQUIRE, false, false},
    {"bad, tried by name", "second.example", "revoked", TLS_VERIFY_REQUIRE, TLS_VERIFY_TRY, true, false},
    {"another name", "mx.example", NULL, TLS_VERIFY_NONE, TLS_VERIFY_REQUIRE, true, false},
  };
  for (size_t v = 0; v < ARRAY_SIZE(versions); v++)
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
      struct tls_server_opts so = server_opts("good", versions[v]), other = server_opts("second", versions[v]);
      so.params.verify = rows[i].without;
      other.params.verify = rows[i].with;
      so.params.verify_certificates = other.params.verify_certificates = path("ca.pem");
      so.params.crl = other.params.crl = path("list.crl");
      so.on_sni = choose_second;
      so.ctx = &other.params;
      struct tls_client_opts co = client_opts(TLS_VERIFY_NONE);
      struct tls_server_opts named = server_opts(rows[i].cert ? rows[i].cert : "good", NULL);
      if (rows[i].cert) co.params.certificate = named.params.certificate, co.params.privatekey = named.params.privatekey;
      co.sni = rows[i].sni;
      struct session s;
      (void)talk(&so, &co, &s);
      CHECK_INT(rows[i].what, s.rc == 0, rows[i].is_good);
      CHECK_INT(rows[i].what, s.r.certificate_verified, rows[i].is_verified);
      arena_free(s.a);
    }
}

static void self_signed(void **state) {
  (void)state;
  struct tls_server_opts so = {.params = {.is_server = true, .own_name = "own.example"}};
  struct tls_client_opts co = client_opts(TLS_VERIFY_NONE);
  struct session s;
  struct report r = talk(&so, &co, &s);
  assert_int_equal(s.rc, 0);
  assert_non_null(strstr(r.dn, "CN=own.example"));
  assert_false(r.verified);
  arena_free(s.a);
}

static void copy(const char *from, const char *to) {
  FILE *f = fopen(scratch_path("new"), "we");
  assert_non_null(f);
  fputs(scratch_read(from), f);
  assert_int_equal(fclose(f), 0);
  assert_int_equal(rename(scratch_path("new"), scratch_path(to)), 0);
}

/* Files replaced under a running server: used from the next session on; bad ones are told once and the old go on. */
static void renewed_files(void **state) {
  (void)state;
  copy("good.pem", "live.pem");
  copy("good.key", "live.key");
  struct tls_server_opts so = server_opts("live", NULL);
  struct tls_client_opts co = client_opts(TLS_VERIFY_NONE);
  struct session s;
  struct report r = talk(&so, &co, NULL);
  CHECK_STR("first", r.dn, "CN=mx.example");
  copy("second.pem", "live.pem"); /* the key is still the old one */
  r = talk(&so, &co, &s);
  CHECK_STR("half a pair", r.dn, "CN=mx.example");
  assert_non_null(strstr(s.r.warning, "(cert/key setup: cert="));
  arena_free(s.a);
  r = talk(&so, &co, &s);
  CHECK_STR("still half", r.dn, "CN=mx.example");
  assert_null(s.r.warning);
  arena_free(s.a);
  copy("second.key", "live.key");
  r = talk(&so, &co, &s);
  CHECK_STR("renewed", r.dn, "CN=second.example");
  assert_null(s.r.warning);
  arena_free(s.a);
  struct arena *a = arena_new("t");
  so.params.certificate = path("absent.pem");
  const char *error = tls_preload(a, &so.params);
  assert_non_null(error);
  assert_non_null(strstr(error, "absent.pem"));
  assert_non_null(strstr(error, "): Error while reading file."));
  arena_free(a);
}

/* A first message made before the connection: what was wrong with the files then is told with the result. */
static void warning_of_an_early_hello(void **state) {
  (void)state;
  copy("client.pem", "live.pem");
  copy("client.key", "live.key");
  struct tls_server_opts so = server_opts("good", NULL), live = server_opts("live", NULL);
  struct tls_client_opts co = client_opts(TLS_VERIFY_NONE);
  co.params.certificate = live.params.certificate, co.params.privatekey = live.params.privatekey;
  struct arena *a = arena_new("t");
  assert_null(tls_preload(a, &co.params));
  copy("second.pem", "live.pem");
  const char *error = NULL;
  struct tls_result r;
  struct str hello;
  co.hello = tls_client_hello(a, &co, &hello, &error);
  assert_non_null(co.hello);
  int fds[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  pid_t pid = fork();
  if (pid == 0) {
    struct session s = {.a = arena_new("server")};
    s.io = stream_new(s.a, fds[0], fds[0], true);
    close(fds[1]);
    handshake(&s, &so);
    _exit(s.rc == 0 ? 0 : 1);
  }
  close(fds[0]);
  struct stream *io = stream_new(a, fds[1], fds[1], true);
  assert_int_equal(write(fds[1], hello.p, hello.n), hello.n);
  assert_int_equal(tls_start_client(io, a, &co, deadline_in_ms(5000), &r, &error), 0);
  assert_non_null(r.warning);
  assert_non_null(strstr(r.warning, "(cert/key setup: cert="));
  stream_close(io);
  assert_int_equal(waitpid(pid, NULL, 0), pid);
  arena_free(a);
}

/* ---- a transport that ends after so many bytes, or goes on in clear text ------------------------------------------ */

struct cut {
  struct stream_layer lower;
  size_t left, seen;
  const char *after; /* clear text instead of the end */
};

static ssize_t cut_read(void *self, void *buf, size_t n) {
  struct cut *c = self;
  if (c->left == 0) {
    size_t give = MIN(strlen(c->after), n);
    memcpy(buf, c->after, give);
    c->after += give;
    return (ssize_t)give;
  }
  ssize_t r = c->lower.read(c->lower.self, buf, MIN(n, c->left));
  if (r > 0) c->left -= (size_t)r, c->seen += (size_t)r;
  return r;
}

static ssize_t cut_write(void *self, const void *buf, size_t n) {
  struct cut *c = self;
  return c->lower.write(c->lower.self, buf, n);
}

static bool cut_pending(void *self) { return ((struct cut *)self)->left == 0; }

/* One session whose input ends after limit bytes; returns the bytes of a whole session when it was not reached. */
static size_t cut_session(const char *ciphers, size_t limit, const char *after) {
  struct tls_server_opts so = server_opts("good", ciphers);
  struct tls_client_opts co = client_opts(TLS_VERIFY_NONE);
  struct session s = begin(&co);
  struct cut cut = {stream_bottom(s.io), limit, 0, after};
  stream_push_layer(s.io, (struct stream_layer){.name = "cut", .read = cut_read, .write = cut_write, .has_pending = cut_pending, .self = &cut});
  handshake(&s, &so);
  struct str line;
  enum stream_status st = STREAM_OK;
  int lines = 0;
  for (int i = 0; s.rc == 0 && i < 3; i++) {
    st = stream_read_line(s.io, 100, true, deadline_in_ms(5000), &line, NULL);
    if (st != STREAM_OK) break;
    assert_true(str_eq_c(line, "hello")); /* never what came in clear */
    lines++;
    stream_puts(s.io, "welcome\r\n");
    IGNORE_RESULT(stream_flush(s.io, deadline_in_ms(1000))); /* the read decides */
  }
  if (cut.left == 0) {
    if (s.rc == 0 && st == STREAM_EOF) assert_int_equal(lines, 1); /* cut right behind the goodbye */
    else if (s.rc == 0) assert_int_equal(st, STREAM_ERROR);
    for (int i = 0; s.rc != 0 && i < 2; i++) /* a failed handshake leaves nothing to read and nowhere to write */
      assert_int_equal(stream_read_line(s.io, 100, true, deadline_in_ms(100), &line, NULL), STREAM_ERROR);
    stream_puts(s.io, "250 in clear\r\n");
    if (s.rc != 0) assert_int_equal(stream_flush(s.io, deadline_in_ms(100)), STREAM_ERROR);
  } else {
    assert_int_equal(st, STREAM_EOF);
    assert_int_equal(lines, 1);
  }
  size_t seen = cut.seen;
  (void)end(&s);
  arena_free(s.a);
  return seen;
}

static void cut_at_each_byte(void **state) {
  (void)state;
  for (size_t v = 0; v < ARRAY_SIZE(versions); v++) {
    size_t whole = cut_session(versions[v], SIZE_MAX, "");
    assert_true(whole > 200);
    for (size_t limit = 0; limit < whole; limit += limit + 120 < whole ? 7 : 1) {
      cut_session(versions[v], limit, "");
      if (limit % 3 == 0) cut_session(versions[v], limit, "RSET\r\nMAIL FROM:<>\r\n");
    }
  }
}

/* A peer that takes the handshake up and says no more. */
static void silent_peer(void **state) {
  (void)state;
  int fds[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  struct arena *a = arena_new("t");
  struct stream *io = stream_new(a, fds[0], fds[0], true);
  struct tls_server_opts so = server_opts("good", NULL);
  struct tls_result r;
  const char *error;
  int64_t before = time_mono_ms();
  assert_int_equal(tls_start_server(io, a, &so, deadline_in_ms(60), &r, &error), -ETIMEDOUT);
  CHECK_STR("error", error, "(tls lib accept fn): timed out");
  assert_true(time_mono_ms() - before < 2000);
  stream_close(io);
  close(fds[1]);
  arena_free(a);
}

/* More than the socket holds in both directions at once: neither side waits for the other. */
static void both_ways(void **state) {
  (void)state;
  enum { LINES = 6000 };
  int fds[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  pid_t pid = fork();
  struct arena *a = arena_new("t");
  struct stream *io = stream_new(a, fds[pid != 0], fds[pid != 0], true);
  close(fds[pid == 0]);
  struct tls_server_opts so = server_opts("good", NULL);
  struct tls_client_opts co = client_opts(TLS_VERIFY_NONE);
  struct tls_result r;
  const char *error;
  deadline_ms deadline = deadline_in_ms(20000);
  int rc = pid ? tls_start_server(io, a, &so, deadline, &r, &error) : tls_start_client(io, a, &co, deadline, &r, &error);
  bool is_good = rc == 0;
  for (int i = 0; i < LINES; i++) stream_putf(io, "%05d of a line long enough to fill the socket's buffers soon\r\n", i);
  struct str line;
  for (int i = 0; is_good && i < LINES; i++)
    is_good = stream_read_line(io, 200, false, deadline, &line, NULL) == STREAM_OK && line.n == 61 && atoll(line.p) == i;
  tls_end(io, true, deadline);
  stream_close(io);
  arena_free(a);
  if (pid == 0) _exit(is_good ? 0 : 1);
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(is_good);
  assert_int_equal(status, 0);
}

static void cipher_texts(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  assert_null(tls_check_ciphers(a, NULL));
  assert_null(tls_check_ciphers(a, "SECURE256:-VERS-TLS1.2"));
  assert_non_null(strstr(tls_check_ciphers(a, "NORMAL:+NO-SUCH"), "NORMAL:+NO-SUCH"));
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(plain_handshake), cmocka_unit_test(bad_certificates), cmocka_unit_test(client_certificates), cmocka_unit_test(names_of_authorities),
    cmocka_unit_test(server_names), cmocka_unit_test(application_protocols), cmocka_unit_test(resumption),
    cmocka_unit_test(dane), cmocka_unit_test(dane_records), cmocka_unit_test(stapled_status),
    cmocka_unit_test(stapled_status_with_dane), cmocka_unit_test(resumption_with_client_certificates),
    cmocka_unit_test(server_names_choose_verification), cmocka_unit_test(self_signed), cmocka_unit_test(renewed_files), cmocka_unit_test(warning_of_an_early_hello), cmocka_unit_test(cut_at_each_byte),
    cmocka_unit_test(silent_peer), cmocka_unit_test(both_ways), cmocka_unit_test(cipher_texts),
  };
  return cmocka_run_group_tests(tests, make_certificates, drop_certificates);
}
