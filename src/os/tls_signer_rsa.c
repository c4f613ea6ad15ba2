/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RSA signatures by libcrypto (tls_signer_rsa.h).  Floor: os.  RFC 8017 8.1, 8.2; RFC 8446 4.2.3.
 *
 * libcrypto blinds, works in constant time, and checks each signature with the public exponent before it gives it out, so that a fault of the
 * machine does not betray the key.  It is told not to read a configuration file, which could name further libraries. */
#include "os/tls_signer_rsa.h"

#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#include "buildconfig.h"
#include "os/library.h"

#define CALLS(F) \
  F(OPENSSL_init_crypto) F(d2i_AutoPrivateKey) F(EVP_PKEY_free) F(EVP_PKEY_CTX_new) F(EVP_PKEY_CTX_free) F(EVP_PKEY_sign_init) F(EVP_PKEY_sign) \
  F(EVP_PKEY_CTX_set_rsa_padding) F(EVP_PKEY_CTX_set_signature_md) F(EVP_PKEY_CTX_set_rsa_pss_saltlen) F(EVP_sha256) F(EVP_sha384) \
  F(EVP_sha512) F(ERR_clear_error)
static struct {
  CALLS(LIBRARY_MEMBER)
} lib;
static const char *const lib_names[] = {CALLS(LIBRARY_NAME)};

static bool load_library(void) {
  return library_load(CFG_SONAME_CRYPTO, lib_names, ARRAY_SIZE(lib_names), &lib) == NULL &&
         lib.OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) == 1;
}

static EVP_PKEY *import_der(const gnutls_datum_t *der) {
  const unsigned char *p = der->data;
  EVP_PKEY *key = lib.d2i_AutoPrivateKey(NULL, &p, (long)der->size);
  if (!key) lib.ERR_clear_error();
  return key;
}

struct signer_rsa signer_rsa_import(gnutls_privkey_t key) {
  gnutls_x509_privkey_t x509;
  gnutls_datum_t der;
  struct signer_rsa k = {NULL};
  /* A key that may be used for PSS only is GNUTLS_PK_RSA_PSS: GnuTLS keeps to what it says. */
  if (gnutls_privkey_get_pk_algorithm(key, NULL) != GNUTLS_PK_RSA || !load_library() || gnutls_privkey_export_x509(key, &x509) < 0) return k;
  if (gnutls_x509_privkey_export2_pkcs8(x509, GNUTLS_X509_FMT_DER, NULL, GNUTLS_PKCS_PLAIN, &der) == 0) {
    k.key = import_der(&der);
    explicit_bzero(der.data, der.size);
    gnutls_free(der.data);
  }
  gnutls_x509_privkey_deinit(x509);
  return k;
}

void signer_rsa_clear(struct signer_rsa *k) {
  if (k->key) lib.EVP_PKEY_free(k->key);
  k->key = NULL;
}

/* ---- signing --------------------------------------------------------------------------------------------------- */

struct rsa_algorithm {
  gnutls_sign_algorithm_t sign;
  gnutls_digest_algorithm_t hash;
  unsigned hash_size;
  bool is_pss;                     /* salt as long as the hash, MGF1 with the same one */
};

static const struct rsa_algorithm algorithms[] = {
  {GNUTLS_SIGN_RSA_PSS_RSAE_SHA256, GNUTLS_DIG_SHA256, 32, true}, {GNUTLS_SIGN_RSA_PSS_RSAE_SHA384, GNUTLS_DIG_SHA384, 48, true},
  {GNUTLS_SIGN_RSA_PSS_RSAE_SHA512, GNUTLS_DIG_SHA512, 64, true}, {GNUTLS_SIGN_RSA_SHA256, GNUTLS_DIG_SHA256, 32, false},
  {GNUTLS_SIGN_RSA_SHA384, GNUTLS_DIG_SHA384, 48, false},         {GNUTLS_SIGN_RSA_SHA512, GNUTLS_DIG_SHA512, 64, false},
};

static const struct rsa_algorithm *find_algorithm(gnutls_sign_algorithm_t sign, unsigned flags) {
  for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++)
    if (algorithms[i].sign == sign && (flags == 0 || (flags == GNUTLS_PRIVKEY_SIGN_FLAG_RSA_PSS && algorithms[i].is_pss))) return &algorithms[i];
  return NULL;
}

static const EVP_MD *digest_of(const struct rsa_algorithm *a) {
  return a->hash == GNUTLS_DIG_SHA256 ? lib.EVP_sha256() : a->hash == GNUTLS_DIG_SHA384 ? lib.EVP_sha384() : lib.EVP_sha512();
}

/* The length of the signature, 0 when there is none. */
static size_t sign_hash(EVP_PKEY_CTX *ctx, const struct rsa_algorithm *a, const unsigned char *hash, char *buf, size_t size) {
  size_t n = size;
  if (lib.EVP_PKEY_sign_init(ctx) != 1 ||
      lib.EVP_PKEY_CTX_set_rsa_padding(ctx, a->is_pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING) != 1 ||
      lib.EVP_PKEY_CTX_set_signature_md(ctx, digest_of(a)) != 1 ||
      (a->is_pss && lib.EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) != 1))
    return 0;
  return lib.EVP_PKEY_sign(ctx, (unsigned char *)buf, &n, hash, a->hash_size) == 1 ? n : 0;
}

int signer_rsa_sign(const struct signer_rsa *k, gnutls_sign_algorithm_t algorithm, unsigned flags, bool is_hash, struct str data, char *buf,
                    size_t size) {
  const struct rsa_algorithm *a = find_algorithm(algorithm, flags);
  unsigned char hash[64];
  if (!k->key || !a || (is_hash && data.n != a->hash_size)) return GNUTLS_E_UNIMPLEMENTED_FEATURE;
  if (is_hash) memcpy(hash, data.p, data.n);
  else if (gnutls_hash_fast(a->hash, data.p, data.n, hash) < 0) return GNUTLS_E_UNIMPLEMENTED_FEATURE;
  EVP_PKEY_CTX *ctx = lib.EVP_PKEY_CTX_new(k->key, NULL);
  size_t n = ctx ? sign_hash(ctx, a, hash, buf, size) : 0;
  if (ctx) lib.EVP_PKEY_CTX_free(ctx);
  if (n == 0) lib.ERR_clear_error();
  return n > 0 ? (int)n : GNUTLS_E_UNIMPLEMENTED_FEATURE;
}
