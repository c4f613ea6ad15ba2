/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NTLM messages.  Floor: formats (pure; input hostile).  MS-NLMP sections 2.2.1 and 2.2.2.
 *
 * A message is "NTLMSSP\0", its type, and fields that point (length, offset) into its own bytes. */
#ifndef FORMATS_NTLM_H
#define FORMATS_NTLM_H

#include "base/strbuf.h"

enum { NTLM_NONCE = 8, NTLM_V1_RESPONSE = 24, NTLM_V2_MIN = 16 + 28, NTLM_MESSAGE_MAX = 8192 };
enum {
  NTLM_UNICODE = 0x1, NTLM_OEM = 0x2, NTLM_REQUEST_TARGET = 0x4, NTLM_NTLM = 0x200, NTLM_ALWAYS_SIGN = 0x8000,
  NTLM_TARGET_INFO = 0x800000
};

struct ntlm_challenge {
  uint32_t flags;
  unsigned char nonce[NTLM_NONCE];
  struct str target_info; /* into the message; empty: none */
};

struct ntlm_authenticate {
  uint32_t flags;
  struct str lm, nt;                     /* responses */
  struct str domain, user, workstation;  /* as sent: UTF-16LE with NTLM_UNICODE */
};

/* False: not such a message, or a field points outside of it. */
MUST_CHECK bool ntlm_parse_challenge(struct str message, struct ntlm_challenge *ret);
MUST_CHECK bool ntlm_parse_authenticate(struct str message, struct ntlm_authenticate *ret);

/* Text of a field as UTF-8 (arena, taint of the source).  NULL: odd length, half a surrogate, a control character or NUL. */
const char *ntlm_text(struct arena *a, struct str field, uint32_t flags);
/* UTF-8 to UTF-16LE; bytes that are no UTF-8 are taken for ISO 8859-1. */
struct str ntlm_utf16(struct arena *a, const char *text);

void ntlm_put_negotiate(struct strbuf *b);
void ntlm_put_challenge(struct strbuf *b, const unsigned char nonce[NTLM_NONCE]);
void ntlm_put_authenticate(struct strbuf *b, const struct ntlm_authenticate *m);

#endif
