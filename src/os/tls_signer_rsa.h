/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RSA signatures by OpenSSL's libcrypto, for the signer only (tls_signer_run.c).  Floor: os.  doc/tls.txt, "What a session costs".
 *
 * TLS itself is GnuTLS's.  An RSA signature is most of the cost of a handshake with an RSA certificate, and libcrypto, which keeps blinding and
 * reduction parameters from one signature to the next, makes it in a quarter of the time.  The library is loaded at the first RSA key; without it,
 * and for what is not in its table, the caller asks GnuTLS. */
#ifndef OS_TLS_SIGNER_RSA_H
#define OS_TLS_SIGNER_RSA_H

#include <gnutls/abstract.h>

#include "base/macros.h"
#include "buildconfig.h"
#include "base/str.h"

/* One key.  Signing with it from several threads at once is allowed. */
struct signer_rsa {
  void *key;                       /* libcrypto's; NULL: none, nothing can be signed */
};

#if CFG_TLS_SIGNER_LIBCRYPTO
/* A copy of key for the other library; none when it is not an RSA key or there is no such library.  Not for two threads at once. */
struct signer_rsa signer_rsa_import(gnutls_privkey_t key);
/* Give back and wipe what was imported, if anything. */
void signer_rsa_clear(struct signer_rsa *k);
/* Sign data (or, when is_hash, its hash) into buf.  The signature's length; or GNUTLS_E_UNIMPLEMENTED_FEATURE: let GnuTLS do it (no key, another
 * algorithm or flag than those of TLS 1.2 and 1.3 with SHA-2, a hash of another length, or a failure of the library). */
MUST_CHECK int signer_rsa_sign(const struct signer_rsa *k, gnutls_sign_algorithm_t algorithm, unsigned flags, bool is_hash, struct str data,
                               char *buf, size_t size);

#else
static inline struct signer_rsa signer_rsa_import(gnutls_privkey_t key) { (void)key; return (struct signer_rsa){0}; }
static inline void signer_rsa_clear(struct signer_rsa *k) { (void)k; }
static inline int signer_rsa_sign(const struct signer_rsa *k, gnutls_sign_algorithm_t algorithm, unsigned flags, bool is_hash, struct str data,
                                  char *buf, size_t size) {
  (void)k, (void)algorithm, (void)flags, (void)is_hash, (void)data, (void)buf, (void)size;
  return GNUTLS_E_UNIMPLEMENTED_FEATURE;
}
#endif

#endif
