/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The responses of NTLM: proofs that one knows a password.  Floor: drivers (auths only).  MS-NLMP section 3.3. */
#ifndef AUTHS_NTLM_PROOF_H
#define AUTHS_NTLM_PROOF_H

#include "formats/ntlm.h"

/* Version 1: DES of the challenge under MD4 of the password. */
void ntlm_proof_v1(struct arena *a, const char *password, const unsigned char nonce[NTLM_NONCE], unsigned char ret[NTLM_V1_RESPONSE]);
/* Version 2: HMAC-MD5 over the challenge and the client's own bytes; user and domain in UTF-16LE.  False: the library refuses. */
MUST_CHECK bool ntlm_proof_v2(struct arena *a, const char *password, struct str user, struct str domain,
                              const unsigned char nonce[NTLM_NONCE], struct str client_bytes, unsigned char ret[16]);
/* The client's bytes of version 2 around the target information of a challenge. */
struct str ntlm_client_bytes(struct arena *a, struct str target_info, uint64_t filetime, const unsigned char nonce[NTLM_NONCE]);

#endif
