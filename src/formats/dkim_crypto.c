/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Digests, checking and making of signatures.
 *
 * Floor: formats.  GnuTLS does the arithmetic; this file chooses what it is asked.  Ed25519 signs the SHA-256 digest as its message (RFC 8463
 * section 3).  SHA-1 is computed when the administrator's list of hashes lets it in; that it is weak is his to judge (dkim_verify_hashes). */
#include "formats/dkim_crypto.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "formats/codecs.h"

static const gnutls_digest_algorithm_t digests[DKIM_HASH_COUNT] = {GNUTLS_DIG_SHA1, GNUTLS_DIG_SHA256, GNUTLS_DIG_SHA512};
static const gnutls_sign_algorithm_t rsa_algorithms[DKIM_HASH_COUNT] = {GNUTLS_SIGN_RSA_SHA1, GNUTLS_SIGN_RSA_SHA256, GNUTLS_SIGN_RSA_SHA512};
enum { ED25519_KEY_BYTES = 32 };

void dkim_digest_start(struct dkim_digest *d, enum dkim_hash hash) {
  gnutls_hash_hd_t h;
  *d = (struct dkim_digest){.hash = hash};
  if (gnutls_hash_init(&h, digests[hash]) == 0) d->handle = h;
}

void dkim_digest_add(void *ctx, const void *p, size_t n) {
  struct dkim_digest *d = ctx;
  if (d->handle && n > 0) (void)gnutls_hash(d->handle, p, n);
}

void dkim_digest_end(struct dkim_digest *d, struct dkim_sum *ret) {
  struct dkim_sum sum = {.n = gnutls_hash_get_len(digests[d->hash])};
  if (d->handle) gnutls_hash_deinit(d->handle, sum.p);
  else sum.n = 0; /* equals no digest */
  d->handle = NULL;
  if (ret) *ret = sum;
}

static gnutls_datum_t datum(const void *p, size_t n) { return (gnutls_datum_t){.data = (unsigned char *)(uintptr_t)p, .size = (unsigned)n}; }

static int import_public(gnutls_pubkey_t k, enum dkim_keytype keytype, struct str key) {
  gnutls_datum_t d = datum(key.p, key.n);
  if (keytype == DKIM_KEY_ED25519 && key.n == ED25519_KEY_BYTES) return gnutls_pubkey_import_ecc_raw(k, GNUTLS_ECC_CURVE_ED25519, &d, NULL);
  return gnutls_pubkey_import(k, &d, GNUTLS_X509_FMT_DER);
}

static int verify(gnutls_pubkey_t k, enum dkim_keytype keytype, enum dkim_hash hash, const struct dkim_sum *sum, struct str data) {
  gnutls_datum_t d = datum(sum->p, sum->n), sig = datum(data.p, data.n);
  if (keytype == DKIM_KEY_ED25519) return gnutls_pubkey_verify_data2(k, GNUTLS_SIGN_EDDSA_ED25519, 0, &d, &sig);
  return gnutls_pubkey_verify_hash2(k, rsa_algorithms[hash], GNUTLS_VERIFY_ALLOW_BROKEN, &d, &sig);
}

enum dkim_check dkim_check_signature(enum dkim_keytype keytype, enum dkim_hash hash, struct str key, const struct dkim_sum *sum,
                                     struct str data, int min_bits, int *ret_bits, const char **ret_error) {
  enum dkim_check result = DKIM_CHECK_BAD_KEY;
  gnutls_pubkey_t k;
  unsigned bits = 0;
  *ret_bits = 0;
  *ret_error = "out of memory";
  if (gnutls_pubkey_init(&k) != 0) return result;
  int r = import_public(k, keytype, key);
  int algorithm = r == 0 ? gnutls_pubkey_get_pk_algorithm(k, &bits) : r;
  if (r == 0 && algorithm != (keytype == DKIM_KEY_ED25519 ? GNUTLS_PK_EDDSA_ED25519 : GNUTLS_PK_RSA)) r = GNUTLS_E_INCOMPATIBLE_SIG_WITH_KEY;
  *ret_error = gnutls_strerror(r);
  if (r == 0) {
    *ret_bits = (int)bits;
    result = DKIM_CHECK_SHORT_KEY;
  }
  if (r == 0 && (int)bits >= min_bits) {
    r = verify(k, keytype, hash, sum, data);
    *ret_error = gnutls_strerror(r);
    result = r >= 0 ? DKIM_CHECK_PASS : DKIM_CHECK_WRONG;
  }
  gnutls_pubkey_deinit(k);
  return result;
}

/* ---- signing ---- */

bool dkim_key_load(struct str pem, struct dkim_private_key *ret, const char **ret_error) {
  gnutls_datum_t d = datum(pem.p, pem.n);
  gnutls_privkey_t k;
  *ret_error = "out of memory";
  if (gnutls_privkey_init(&k) != 0) return false;
  int r = gnutls_privkey_import_x509_raw(k, &d, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN);
  int algorithm = r == 0 ? gnutls_privkey_get_pk_algorithm(k, NULL) : r;
  if (algorithm == GNUTLS_PK_RSA || algorithm == GNUTLS_PK_EDDSA_ED25519) {
    *ret = (struct dkim_private_key){k, algorithm == GNUTLS_PK_RSA ? DKIM_KEY_RSA : DKIM_KEY_ED25519};
    return true;
  }
  *ret_error = r < 0 ? gnutls_strerror(r) : "the key is neither RSA nor Ed25519";
  gnutls_privkey_deinit(k);
  return false;
}

void dkim_key_free(struct dkim_private_key *k) {
  if (k->handle) gnutls_privkey_deinit(k->handle);
  k->handle = NULL;
}

const char *dkim_key_sign(struct arena *a, const struct dkim_private_key *k, enum dkim_hash hash, const struct dkim_sum *sum, const char **ret_error) {
  gnutls_datum_t d = datum(sum->p, sum->n), sig = {0};
  int r = k->keytype == DKIM_KEY_ED25519 ? gnutls_privkey_sign_data2(k->handle, GNUTLS_SIGN_EDDSA_ED25519, 0, &d, &sig)
                                         : gnutls_privkey_sign_hash2(k->handle, rsa_algorithms[hash], 0, &d, &sig);
  *ret_error = gnutls_strerror(r);
  if (r < 0) return NULL;
  const char *text = base64_encode(a, sig.data, sig.size);
  gnutls_free(sig.data);
  return text;
}
