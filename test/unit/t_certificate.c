/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fields of a certificate made here: names, lists with their separators, dates, what is not there, garbage. */
#include "unit.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/str.h"
#include "formats/certificate.h"

enum { FROM = 1572611661, TO = 2364208461 }; /* 1 Nov 2019, 1 Dec 2044 */

static const char *pem;

static int make(void **state) {
  (void)state;
  gnutls_x509_crt_t crt;
  gnutls_x509_privkey_t key;
  gnutls_datum_t ocsp = {(unsigned char *)(uintptr_t) "http://ocsp.example/", 20}, out;
  if (gnutls_x509_crt_init(&crt) || gnutls_x509_privkey_init(&key) ||
      gnutls_x509_privkey_generate(key, GNUTLS_PK_EC, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0))
    return -1;
  gnutls_x509_crt_set_version(crt, 3);
  gnutls_x509_crt_set_serial(crt, "\x01\xa6", 2);
  gnutls_x509_crt_set_activation_time(crt, FROM);
  gnutls_x509_crt_set_expiration_time(crt, TO);
  gnutls_x509_crt_set_key(crt, key);
  gnutls_x509_crt_set_dn(crt, "CN=mx.example,OU=two,OU=one,O=Mills\\, Hill,C=UK", NULL);
  gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, "a.example", 9, GNUTLS_FSAN_APPEND);
  gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_RFC822NAME, "x@y.example", 11, GNUTLS_FSAN_APPEND);
  gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, "b;.example", 10, GNUTLS_FSAN_APPEND);
  gnutls_x509_crt_set_authority_info_access(crt, GNUTLS_IA_OCSP_URI, &ocsp);
  gnutls_x509_crt_set_crl_dist_points2(crt, GNUTLS_SAN_URI, "http://crl.example/", 19, 0);
  if (gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0) || gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &out)) return -1;
  pem = strdup((const char *)out.data);
  gnutls_free(out.data);
  gnutls_x509_crt_deinit(crt);
  gnutls_x509_privkey_deinit(key);
  return 0;
}

static int drop(void **state) {
  (void)state;
  free((void *)(uintptr_t)pem);
  return 0;
}

static void all_fields(void **state) {
  (void)state;
  static const struct {
    const char *selector, *want; /* NULL: absent */
  } rows[] = {
    {"version", "3"},
    {"serial_number", "01a6"},
    {"subject", "C=UK,O=Mills\\, Hill,OU=one,OU=two,CN=mx.example"},
    {"issuer,CN", "mx.example"},
    {"subject,ou", "one\ntwo"},
    {"subject,OU,>;", "one;two"},
    {"subject,>:,OU", "one:two"},
    {"subject,O", "Mills\\, Hill"},
    {"subject,DC", NULL},
    {"notbefore", "Nov  1 12:34:21 2019 GMT"},
    {"notafter", "Dec  1 12:34:21 2044 GMT"},
    {"notafter,int", "2364208461"},
    {"sig_algorithm", "ECDSA-SHA256"},
    {"subj_altname", "DNS=a.example\nMAIL=x@y.example\nDNS=b;.example"},
    {"subj_altname,dns", "a.example\nb;.example"},
    {"subj_altname,>;,dns", "a.example;b;;.example"},
    {"subj_altname,mail", "x@y.example"},
    {"subj_altname,uri", NULL},
    {"ocsp_uri", "http://ocsp.example/"},
    {"crl_uri,>;", "http://crl.example/"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("t");
    const char *got = NULL;
    CHECK_INT(rows[i].selector, certificate_field(a, pem, rows[i].selector, true, &got),
              rows[i].want ? CERTIFICATE_FOUND : CERTIFICATE_ABSENT);
    if (rows[i].want) CHECK_STR(rows[i].selector, got, rows[i].want);
    arena_free(a);
  }
}

static void signature_is_hex(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  const char *got;
  assert_int_equal(certificate_field(a, pem, "signature", true, &got), CERTIFICATE_FOUND);
  assert_int_equal(strspn(got, "0123456789abcdef "), strlen(got));
  assert_int_equal(strlen(got) % 3, 2);
  arena_free(a);
}

static void what_is_none(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  const char *got = NULL;
  assert_int_equal(certificate_field(a, pem, "Subject", true, &got), CERTIFICATE_BAD_SELECTOR);
  assert_int_equal(certificate_field(a, pem, "", true, &got), CERTIFICATE_BAD_SELECTOR);
  assert_int_equal(certificate_field(a, "no certificate", "subject", true, &got), CERTIFICATE_UNREADABLE);
  assert_null(got);
  const char *tainted = arena_strdup_t(a, pem, TAINTED);
  assert_int_equal(certificate_field(a, tainted, "subject,CN", true, &got), CERTIFICATE_FOUND);
  assert_true(is_tainted(got));
  assert_int_equal(certificate_field(a, pem, "subject", true, &got), CERTIFICATE_FOUND);
  assert_false(is_tainted(got));
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(all_fields), cmocka_unit_test(signature_is_hex), cmocka_unit_test(what_is_none)};
  return cmocka_run_group_tests(tests, make, drop);
}
