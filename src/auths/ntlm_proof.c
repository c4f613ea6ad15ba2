/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The responses of NTLM.  Floor: drivers.  MS-NLMP sections 3.3.1 (version 1) and 3.3.2 (version 2).
 *
 * MD4 and DES come from nettle, which GnuTLS stands on; both are broken by today's measure, and so is version 1: it is here because the
 * mechanism is, not because it protects. */
#include "auths/ntlm_proof.h"

#include <gnutls/crypto.h>
#include <nettle/des.h>
#include <nettle/md4.h>

enum { MD4_BYTES = 16, DES_KEY_BITS_BYTES = 7 };

static void password_hash(struct arena *a, const char *password, unsigned char ret[MD4_BYTES]) {
  struct md4_ctx ctx;
  struct str text = ntlm_utf16(a, password);
  md4_init(&ctx);
  md4_update(&ctx, text.n, (const uint8_t *)text.p);
  md4_digest(&ctx, MD4_BYTES, ret);
}

/* 56 bits spread over eight bytes; the parity bits do not matter. */
static void des_once(const unsigned char key[DES_KEY_BITS_BYTES], const unsigned char in[8], unsigned char out[8]) {
  struct des_ctx ctx;
  unsigned char wide[8];
  unsigned bits = 0;
  int have = 0, n = 0;
  for (int i = 0; i < 8; i++) {
    if (have < 7) {
      bits = bits << 8 | (n < DES_KEY_BITS_BYTES ? key[n] : 0);
      n++;
      have += 8;
    }
    wide[i] = (unsigned char)(bits >> (have - 7) << 1);
    have -= 7;
    bits &= (1u << have) - 1;
  }
  (void)des_set_key(&ctx, wide); /* says when a key is weak, and sets it all the same */
  des_encrypt(&ctx, 8, out, in);
}

void ntlm_proof_v1(struct arena *a, const char *password, const unsigned char nonce[NTLM_NONCE], unsigned char ret[NTLM_V1_RESPONSE]) {
  unsigned char key[3 * DES_KEY_BITS_BYTES] = {0};
  password_hash(a, password, key);
  for (int i = 0; i < 3; i++) des_once(key + DES_KEY_BITS_BYTES * i, nonce, ret + 8 * i);
}

static void add_upper(struct strbuf *b, struct str utf16) {
  for (size_t i = 0; i + 1 < utf16.n; i += 2) {
    strbuf_addc(b, (char)(utf16.p[i + 1] == 0 ? ch_upper(utf16.p[i]) : utf16.p[i]));
    strbuf_addc(b, utf16.p[i + 1]);
  }
}

bool ntlm_proof_v2(struct arena *a, const char *password, struct str user, struct str domain, const unsigned char nonce[NTLM_NONCE],
                   struct str client_bytes, unsigned char ret[16]) {
  unsigned char hash[MD4_BYTES], key[16];
  struct strbuf who = strbuf_new(a), what = strbuf_new(a);
  password_hash(a, password, hash);
  add_upper(&who, user);
  strbuf_addstr(&who, domain);
  if (gnutls_hmac_fast(GNUTLS_MAC_MD5, hash, sizeof(hash), who.p, who.n, key) < 0) return false;
  strbuf_add(&what, (const char *)nonce, NTLM_NONCE);
  strbuf_addstr(&what, client_bytes);
  return gnutls_hmac_fast(GNUTLS_MAC_MD5, key, sizeof(key), what.p, what.n, ret) >= 0;
}

struct str ntlm_client_bytes(struct arena *a, struct str target_info, uint64_t filetime, const unsigned char nonce[NTLM_NONCE]) {
  static const char head[8] = {1, 1}, zeros[4];
  struct strbuf b = strbuf_new(a);
  strbuf_add(&b, head, sizeof(head));
  for (int i = 0; i < 8; i++) strbuf_addc(&b, (char)(filetime >> (8 * i) & 0xff));
  strbuf_add(&b, (const char *)nonce, NTLM_NONCE);
  strbuf_add(&b, zeros, sizeof(zeros));
  strbuf_addstr(&b, target_info);
  strbuf_add(&b, zeros, sizeof(zeros));
  return strbuf_str(&b);
}
