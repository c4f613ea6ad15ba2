/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * peer_tls_gnutls.c - TLS for the test peers, by GnuTLS.
 *
 * Certificates of the other side are not verified: the cases look at what the
 * program under test does, not at this tool; only a stapled OCSP answer is, on
 * demand. Failures are printed on stdout in the words of the library, because
 * the cases compare them. Memory is left to the end of the process. Test tool,
 * no floor; RFC 8446, RFC 6066.
 */
#include "peer_tls.h"

#include <gnutls/gnutls.h>
#include <gnutls/ocsp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETTLE_MS = 100, EXIT_BAD_CREDENTIALS = 96 };

struct peer_tls {
  struct peer_tls_options opt;
  bool is_server;
  gnutls_certificate_credentials_t cred;
  gnutls_session_t session;
};

const bool peer_tls_is_available = true;

static void
must(int rc, const char *what, const char *file) {
  if (rc >= 0)
    return;
  fprintf(stderr, "%s%s%s: %s\n", what, file ? " " : "", file ? file : "", gnutls_strerror(rc));
  exit(EXIT_BAD_CREDENTIALS);
}

struct peer_tls *
peer_tls_new(const struct peer_tls_options *opt, bool is_server) {
  struct peer_tls *t = calloc(1, sizeof *t);
  if (t == NULL)
    abort();
  t->opt = *opt;
  t->is_server = is_server;
  must(gnutls_global_init(), "gnutls_global_init", NULL);
  must(gnutls_certificate_allocate_credentials(&t->cred), "credentials", NULL);
  if (opt->cert_file != NULL) {
    const char *key = opt->key_file ? opt->key_file : opt->cert_file;
    must(gnutls_certificate_set_x509_key_file(t->cred, opt->cert_file, key, GNUTLS_X509_FMT_PEM),
      "certificate", opt->cert_file);
  }
  if (opt->ocsp_ca_file != NULL)
    must(gnutls_certificate_set_x509_trust_file(t->cred, opt->ocsp_ca_file, GNUTLS_X509_FMT_PEM),
      "CA file", opt->ocsp_ca_file);
  return t;
}

static int
session_open(struct peer_tls *t, int fd) {
  int rc = gnutls_init(&t->session, t->is_server ? GNUTLS_SERVER : GNUTLS_CLIENT);
  if (rc < 0)
    return rc;
  rc = t->opt.priority ? gnutls_priority_set_direct(t->session, t->opt.priority, NULL)
                       : gnutls_set_default_priority(t->session);
  if (rc >= 0)
    rc = gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, t->cred);
  if (rc >= 0 && t->opt.ocsp_ca_file != NULL)
    rc = gnutls_ocsp_status_request_enable_client(t->session, NULL, 0, NULL);
  if (rc < 0)
    return rc;
  if (t->is_server)
    gnutls_certificate_server_set_request(t->session, GNUTLS_CERT_IGNORE);
  gnutls_handshake_set_timeout(t->session, (unsigned)t->opt.timeout_ms);
  gnutls_record_set_timeout(t->session, (unsigned)t->opt.timeout_ms);
  gnutls_transport_set_int(t->session, fd);
  return 0;
}

/* Checks the stapled answer: 0 when it vouches for the certificate. */
static int
check_status_answer(struct peer_tls *t) {
  unsigned status = 0;
  int rc = gnutls_certificate_verify_peers2(t->session, &status);
  if (rc < 0) {
    printf("Failed to verify certificate: %s\n", gnutls_strerror(rc));
    return -1;
  }
  if ((status & (GNUTLS_CERT_INVALID | GNUTLS_CERT_REVOKED)) != 0) {
    printf("Bad certificate\n");
    return -1;
  }
  if (gnutls_ocsp_status_request_is_checked(t->session, 0) == 0) {
    printf("Failed to verify certificate status\n");
    return -1;
  }
  printf("OCSP status response: good signature\n");
  return 0;
}

int
peer_tls_start(struct peer_tls *t, int fd, bool is_named, bool *ret_has_ocsp) {
  int rc = session_open(t, fd);
  if (rc >= 0) {
    do
      rc = gnutls_handshake(t->session);
    while (rc < 0 && gnutls_error_is_fatal(rc) == 0);
  }
  if (rc < 0) {
    if (is_named)
      printf("gnutls_handshake: %s\n", gnutls_strerror(rc));
    return -1;
  }
  if (t->opt.ocsp_ca_file != NULL) {
    if (check_status_answer(t) != 0)
      return -1;
    *ret_has_ocsp = true;
  }
  return 0;
}

ssize_t
peer_tls_settle(struct peer_tls *t, bool is_quiet, char *buf, size_t size) {
  gnutls_record_set_timeout(t->session, SETTLE_MS);
  ssize_t n = gnutls_record_recv(t->session, buf, size);
  gnutls_record_set_timeout(t->session, (unsigned)t->opt.timeout_ms);
  if (n >= 0)
    return n;
  if (n == GNUTLS_E_TIMEDOUT || gnutls_error_is_fatal((int)n) == 0)
    return 0;
  if (!is_quiet)
    printf("gnutls_record_recv: %s\n", gnutls_strerror((int)n));
  return -1;
}

ssize_t
peer_tls_read(struct peer_tls *t, char *buf, size_t size) {
  ssize_t n;
  do
    n = gnutls_record_recv(t->session, buf, size);
  while (n < 0 && n != GNUTLS_E_TIMEDOUT && gnutls_error_is_fatal((int)n) == 0);
  if (n >= 0)
    return n;
  if (n == GNUTLS_E_TIMEDOUT)
    return -2;
  printf("%s\n", gnutls_strerror((int)n));
  return -1;
}

ssize_t
peer_tls_write(struct peer_tls *t, const char *buf, size_t size) {
  size_t done = 0;
  while (done < size) {
    ssize_t n = gnutls_record_send(t->session, buf + done, size - done);
    if (n > 0)
      done += (size_t)n;
    else if (n == 0 || gnutls_error_is_fatal((int)n) != 0)
      return -1;
  }
  return (ssize_t)size;
}

void
peer_tls_stop(struct peer_tls *t) {
  gnutls_bye(t->session, GNUTLS_SHUT_WR);
  gnutls_deinit(t->session);
  t->session = NULL;
}

const char *
peer_tls_suite(struct peer_tls *t) {
  static char name[128];
  const char *version = gnutls_protocol_get_name(gnutls_protocol_get_version(t->session));
  const char *cipher = gnutls_cipher_get_name(gnutls_cipher_get(t->session));
  if (strcmp(version, "TLS1.3") == 0) {
    bool is_256 = strstr(cipher, "256") != NULL;
    if (strstr(cipher, "CHACHA") != NULL)
      return "TLS_CHACHA20_POLY1305_SHA256";
    return is_256 ? "TLS_AES_256_GCM_SHA384" : "TLS_AES_128_GCM_SHA256";
  }
  snprintf(name, sizeof name, "%s-%s", version, cipher);
  return name;
}
