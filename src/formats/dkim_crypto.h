/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Digests and signatures of DKIM, with GnuTLS.  Floor: formats (pure; keys from the DNS are hostile).  RFC 6376 section 3.3, RFC 8463.
 *
 * Handles of the library live outside the arenas: whoever starts a digest or loads a key ends or frees it. */
#ifndef FORMATS_DKIM_CRYPTO_H
#define FORMATS_DKIM_CRYPTO_H

#include "formats/dkim.h"

struct dkim_digest {
  void *handle;            /* NULL: not started, or ended */
  enum dkim_hash hash;
};
struct dkim_sum {
  uint8_t p[64];
  size_t n;
};
void dkim_digest_start(struct dkim_digest *d, enum dkim_hash hash);
/* ctx: struct dkim_digest *; the form of dkim_canon_fn. */
void dkim_digest_add(void *ctx, const void *p, size_t n);
/* Any further call does nothing.  ret NULL: only free it. */
void dkim_digest_end(struct dkim_digest *d, struct dkim_sum *ret);

/* Does data sign the sum?  key: as p= of a key record has it (DER of the public key; for Ed25519 also the bare 32 bytes).
 * *ret_bits: size of the key, once it could be read (0 before); *ret_error: why not (static text). */
enum dkim_check { DKIM_CHECK_PASS, DKIM_CHECK_WRONG, DKIM_CHECK_BAD_KEY, DKIM_CHECK_SHORT_KEY };
enum dkim_check dkim_check_signature(enum dkim_keytype keytype, enum dkim_hash hash, struct str key, const struct dkim_sum *sum,
                                     struct str data, int min_bits, int *ret_bits, const char **ret_error);

struct dkim_private_key {
  void *handle;            /* NULL: none */
  enum dkim_keytype keytype;
};
/* From PEM text (PKCS #1 or #8, not encrypted).  False: *ret_error (static text). */
MUST_CHECK bool dkim_key_load(struct str pem, struct dkim_private_key *ret, const char **ret_error);
void dkim_key_free(struct dkim_private_key *k);
/* base64 of the signature in the arena, NULL: *ret_error. */
const char *dkim_key_sign(struct arena *a, const struct dkim_private_key *k, enum dkim_hash hash, const struct dkim_sum *sum, const char **ret_error);

#endif
