/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Certificates made for one test program, as PEM files in its scratch directory: NAME.pem, NAME.key.  Floor: tests.
 *
 * certs_make_ca("ca") first; certs_make() signs with it.  Keys are P-256: quick to make. */
#ifndef TEST_TLS_CERTS_H
#define TEST_TLS_CERTS_H

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <time.h>

#include "scratch.h"
#include "unit.h"

struct cert {
  gnutls_x509_crt_t crt;
  gnutls_x509_privkey_t key;
};

static inline void certs_write(const char *name, const char *ending, gnutls_datum_t *pem) {
  char file[64];
  snprintf(file, sizeof file, "%s%s", name, ending);
  FILE *f = fopen(scratch_path(file), "we");
  assert_non_null(f);
  assert_int_equal(fwrite(pem->data, 1, pem->size, f), pem->size);
  assert_int_equal(fclose(f), 0);
  gnutls_free(pem->data);
}

/* host NULL: a CA.  Valid from now + from_sec to now + to_sec. */
static inline struct cert certs_make_for(const char *name, const char *host, const struct cert *ca, long from_sec, long to_sec) {
  struct cert c;
  unsigned char serial[8];
  gnutls_datum_t pem;
  assert_int_equal(gnutls_x509_crt_init(&c.crt), 0);
  assert_int_equal(gnutls_x509_privkey_init(&c.key), 0);
  assert_int_equal(gnutls_x509_privkey_generate(c.key, GNUTLS_PK_EC, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0), 0);
  assert_int_equal(gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof serial), 0);
  serial[0] = serial[0] & 0x7f ? serial[0] & 0x7f : 1;
  assert_int_equal(gnutls_x509_crt_set_serial(c.crt, serial, sizeof serial), 0);
  assert_int_equal(gnutls_x509_crt_set_version(c.crt, 3), 0);
  assert_int_equal(gnutls_x509_crt_set_activation_time(c.crt, time(NULL) + from_sec), 0);
  assert_int_equal(gnutls_x509_crt_set_expiration_time(c.crt, time(NULL) + to_sec), 0);
  assert_int_equal(gnutls_x509_crt_set_dn_by_oid(c.crt, GNUTLS_OID_X520_COMMON_NAME, 0, host ? host : name,
                                                 (unsigned)strlen(host ? host : name)), 0);
  assert_int_equal(gnutls_x509_crt_set_key(c.crt, c.key), 0);
  if (host) {
    assert_int_equal(gnutls_x509_crt_set_subject_alt_name(c.crt, GNUTLS_SAN_DNSNAME, host, (unsigned)strlen(host), 0), 0);
    assert_int_equal(gnutls_x509_crt_set_basic_constraints(c.crt, 0, -1), 0);
    assert_int_equal(gnutls_x509_crt_set_key_usage(c.crt, GNUTLS_KEY_DIGITAL_SIGNATURE), 0);
  } else {
    assert_int_equal(gnutls_x509_crt_set_basic_constraints(c.crt, 1, -1), 0);
    assert_int_equal(gnutls_x509_crt_set_key_usage(c.crt, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN | GNUTLS_KEY_DIGITAL_SIGNATURE), 0);
  }
  assert_int_equal(gnutls_x509_crt_sign2(c.crt, ca ? ca->crt : c.crt, ca ? ca->key : c.key, GNUTLS_DIG_SHA256, 0), 0);
  assert_int_equal(gnutls_x509_crt_export2(c.crt, GNUTLS_X509_FMT_PEM, &pem), 0);
  certs_write(name, ".pem", &pem);
  assert_int_equal(gnutls_x509_privkey_export2(c.key, GNUTLS_X509_FMT_PEM, &pem), 0);
  certs_write(name, ".key", &pem);
  return c;
}

static inline struct cert certs_make_ca(const char *name) { return certs_make_for(name, NULL, NULL, -3600, 86400); }
static inline struct cert certs_make(const char *name, const char *host, const struct cert *ca) {
  return certs_make_for(name, host, ca, -3600, 86400);
}
static inline void certs_free(struct cert *c) {
  gnutls_x509_crt_deinit(c->crt);
  gnutls_x509_privkey_deinit(c->key);
}

/* NAME.crl of the CA, with one certificate revoked. */
static inline void certs_make_crl(const char *name, const struct cert *ca, const struct cert *revoked) {
  gnutls_x509_crl_t crl;
  gnutls_datum_t pem;
  assert_int_equal(gnutls_x509_crl_init(&crl), 0);
  assert_int_equal(gnutls_x509_crl_set_version(crl, 2), 0);
  assert_int_equal(gnutls_x509_crl_set_this_update(crl, time(NULL) - 60), 0);
  assert_int_equal(gnutls_x509_crl_set_next_update(crl, time(NULL) + 86400), 0);
  assert_int_equal(gnutls_x509_crl_set_crt(crl, revoked->crt, time(NULL) - 60), 0);
  assert_int_equal(gnutls_x509_crl_set_number(crl, "\1", 1), 0);
  assert_int_equal(gnutls_x509_crl_sign2(crl, ca->crt, ca->key, GNUTLS_DIG_SHA256, 0), 0);
  assert_int_equal(gnutls_x509_crl_export2(crl, GNUTLS_X509_FMT_PEM, &pem), 0);
  certs_write(name, ".crl", &pem);
  gnutls_x509_crl_deinit(crl);
}

/* NAME.both: certificate files joined, a chain. */
static inline void certs_join(const char *name, const char *first, const char *second) {
  char text[65536];
  size_t n = (size_t)snprintf(text, sizeof text, "%s", scratch_read(first));
  n += (size_t)snprintf(text + n, sizeof text - n, "%s", scratch_read(second));
  FILE *f = fopen(scratch_path(name), "we");
  assert_non_null(f);
  assert_int_equal(fwrite(text, 1, n, f), n);
  assert_int_equal(fclose(f), 0);
}

#endif
