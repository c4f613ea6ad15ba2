/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RSA signatures of the other library: GnuTLS verifies each, and what is not for it is left to GnuTLS. */
#include "unit.h"

#include <gnutls/crypto.h>
#include <pthread.h>
#include <stdio.h>

#include "os/tls_signer_rsa.h"

enum { SIZE = 512 };

static gnutls_privkey_t new_key(gnutls_pk_algorithm_t pk, unsigned bits) {
  gnutls_privkey_t key;
  assert_int_equal(gnutls_privkey_init(&key), 0);
  assert_int_equal(gnutls_privkey_generate(key, pk, bits, 0), 0);
  return key;
}

static gnutls_pubkey_t public_of(gnutls_privkey_t key) {
  gnutls_pubkey_t pub;
  assert_int_equal(gnutls_pubkey_init(&pub), 0);
  assert_int_equal(gnutls_pubkey_import_privkey(pub, key, 0, 0), 0);
  return pub;
}

static const struct {
  const char *name;
  gnutls_sign_algorithm_t sign;
  gnutls_digest_algorithm_t hash;
  unsigned size, flags, verify;
} good[] = {
  {"PSS SHA256", GNUTLS_SIGN_RSA_PSS_RSAE_SHA256, GNUTLS_DIG_SHA256, 32, 0, 0},
  {"PSS SHA384", GNUTLS_SIGN_RSA_PSS_RSAE_SHA384, GNUTLS_DIG_SHA384, 48, 0, 0},
  {"PSS SHA512", GNUTLS_SIGN_RSA_PSS_RSAE_SHA512, GNUTLS_DIG_SHA512, 64, 0, 0},
  {"PSS SHA256, said twice", GNUTLS_SIGN_RSA_PSS_RSAE_SHA256, GNUTLS_DIG_SHA256, 32, GNUTLS_PRIVKEY_SIGN_FLAG_RSA_PSS, 0},
  {"SHA256", GNUTLS_SIGN_RSA_SHA256, GNUTLS_DIG_SHA256, 32, 0, 0},
  {"SHA384", GNUTLS_SIGN_RSA_SHA384, GNUTLS_DIG_SHA384, 48, 0, 0},
  {"SHA512", GNUTLS_SIGN_RSA_SHA512, GNUTLS_DIG_SHA512, 64, 0, 0},
};

static void verify(gnutls_pubkey_t pub, size_t i, struct str data, char *signature, int n) {
  gnutls_datum_t d = {(unsigned char *)(uintptr_t)data.p, (unsigned)data.n}, s = {(unsigned char *)signature, (unsigned)n};
  if (gnutls_pubkey_verify_data2(pub, good[i].sign, good[i].verify, &d, &s) < 0) fail_msg("%s: not a signature", good[i].name);
  d.size--;
  if (gnutls_pubkey_verify_data2(pub, good[i].sign, good[i].verify, &d, &s) >= 0) fail_msg("%s: good for other data", good[i].name);
}

static void signatures(void **state) {
  (void)state;
  char buf[SIZE];
  unsigned char hash[64];
  struct str data = STR("what a server says of its key exchange");
  static const unsigned bits[] = {2048, 3072};
  for (size_t b = 0; b < ARRAY_SIZE(bits); b++) {
    gnutls_privkey_t key = new_key(GNUTLS_PK_RSA, bits[b]);
    gnutls_pubkey_t pub = public_of(key);
    struct signer_rsa k = signer_rsa_import(key);
    assert_non_null(k.key);
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
      CHECK_INT(good[i].name, signer_rsa_sign(&k, good[i].sign, good[i].flags, false, data, buf, sizeof buf), bits[b] / 8);
      verify(pub, i, data, buf, (int)bits[b] / 8);
      assert_int_equal(gnutls_hash_fast(good[i].hash, data.p, data.n, hash), 0);
      CHECK_INT(good[i].name, signer_rsa_sign(&k, good[i].sign, good[i].flags, true, str_n((char *)hash, good[i].size), buf, sizeof buf), bits[b] / 8);
      verify(pub, i, data, buf, (int)bits[b] / 8);
    }
    signer_rsa_clear(&k);
    assert_null(k.key);
    gnutls_pubkey_deinit(pub);
    gnutls_privkey_deinit(key);
  }
}

static void left_to_gnutls(void **state) {
  (void)state;
  char buf[SIZE], zeros[64] = {0};
  gnutls_privkey_t key = new_key(GNUTLS_PK_RSA, 2048), pss = new_key(GNUTLS_PK_RSA_PSS, 2048), ecdsa = new_key(GNUTLS_PK_ECDSA, 256);
  struct signer_rsa k = signer_rsa_import(key);
  static const struct { gnutls_sign_algorithm_t sign; unsigned flags; bool is_hash; size_t n, size; } rows[] = {
    {GNUTLS_SIGN_RSA_SHA1, 0, false, 3, SIZE},
    {GNUTLS_SIGN_RSA_RAW, 0, true, 36, SIZE},                        /* TLS 1.1 */
    {GNUTLS_SIGN_RSA_PSS_SHA256, 0, false, 3, SIZE},                 /* for keys of that kind */
    {GNUTLS_SIGN_ECDSA_SHA256, 0, false, 3, SIZE},
    {GNUTLS_SIGN_UNKNOWN, 0, false, 3, SIZE},
    {(gnutls_sign_algorithm_t)12345, 0, false, 3, SIZE},
    {GNUTLS_SIGN_RSA_SHA256, GNUTLS_PRIVKEY_SIGN_FLAG_RSA_PSS, false, 3, SIZE},
    {GNUTLS_SIGN_RSA_SHA256, GNUTLS_PRIVKEY_SIGN_FLAG_TLS1_RSA, false, 3, SIZE},
    {GNUTLS_SIGN_RSA_SHA256, 0, true, 31, SIZE}, {GNUTLS_SIGN_RSA_SHA256, 0, true, 64, SIZE}, {GNUTLS_SIGN_RSA_SHA512, 0, true, 32, SIZE},
    {GNUTLS_SIGN_RSA_SHA256, 0, false, 3, 255}, {GNUTLS_SIGN_RSA_PSS_RSAE_SHA256, 0, false, 3, 0},
  };
  assert_non_null(k.key);
  assert_null(signer_rsa_import(pss).key);
  assert_null(signer_rsa_import(ecdsa).key);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
    if (signer_rsa_sign(&k, rows[i].sign, rows[i].flags, rows[i].is_hash, str_n(zeros, rows[i].n), buf, rows[i].size) !=
        GNUTLS_E_UNIMPLEMENTED_FEATURE)
      fail_msg("row %zu is not left to GnuTLS", i);
  CHECK_INT("no data", signer_rsa_sign(&k, GNUTLS_SIGN_RSA_SHA256, 0, false, str_n(zeros, 0), buf, sizeof buf), 256);
  signer_rsa_clear(&k);
  CHECK_INT("no key", signer_rsa_sign(&k, GNUTLS_SIGN_RSA_SHA256, 0, false, STR("x"), buf, sizeof buf), GNUTLS_E_UNIMPLEMENTED_FEATURE);
  gnutls_privkey_deinit(key);
  gnutls_privkey_deinit(pss);
  gnutls_privkey_deinit(ecdsa);
}

/* ---- threads: the signer's share one key ---------------------------------------------------------------------------- */

struct work {
  const struct signer_rsa *k;
  gnutls_pubkey_t pub;
  int made;
};

static void *sign_many(void *ctx) {
  struct work *w = ctx;
  char buf[SIZE], text[16];
  for (int i = 0; i < 40; i++) {
    size_t n = (size_t)snprintf(text, sizeof text, "message %d", i);
    verify(w->pub, 0, str_n(text, n), buf, signer_rsa_sign(w->k, good[0].sign, 0, false, str_n(text, n), buf, sizeof buf));
    w->made++;
  }
  return NULL;
}

static void threads(void **state) {
  (void)state;
  gnutls_privkey_t key = new_key(GNUTLS_PK_RSA, 2048);
  struct signer_rsa k = signer_rsa_import(key);
  struct work w[3];
  gnutls_pubkey_t pub = public_of(key);
  pthread_t t[3];
  assert_non_null(k.key);
  for (int i = 0; i < 3; i++) {
    w[i] = (struct work){.k = &k, .pub = pub};
    assert_int_equal(pthread_create(&t[i], NULL, sign_many, &w[i]), 0);
  }
  for (int i = 0; i < 3; i++) {
    pthread_join(t[i], NULL);
    assert_int_equal(w[i].made, 40);
  }
  signer_rsa_clear(&k);
  gnutls_pubkey_deinit(pub);
  gnutls_privkey_deinit(key);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(signatures), cmocka_unit_test(left_to_gnutls), cmocka_unit_test(threads)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
