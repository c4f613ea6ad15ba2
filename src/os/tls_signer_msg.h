/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a session and the process that holds the private keys say to each other (tls_signer.h).  Floor: os, pure.
 *
 * One message each way, every number four bytes, the most significant first:
 *   request  "XSQ1" operation pair algorithm flags length, 32 bytes key id, data
 *   reply    "XSR1" status pk-algorithm bits length, 32 bytes key id, data
 * Hostile: a request comes from a session, which may have been taken over.  A message whose lengths do not fit exactly, or whose operation,
 * flags or data are not among those that a handshake needs, is no message. */
#ifndef OS_TLS_SIGNER_MSG_H
#define OS_TLS_SIGNER_MSG_H

#include "base/macros.h"
#include "base/str.h"

enum {
  SIGNER_ID_SIZE = 32,             /* SHA-256 of the public key, as gnutls_pubkey_get_key_id() makes it */
  SIGNER_HEAD_SIZE = 24 + SIGNER_ID_SIZE,
  SIGNER_DATA_MAX = 8192,          /* what is signed: the largest is a ServerKeyExchange with a group of 16384 bits */
  SIGNER_HASH_MAX = 64,
  SIGNER_BLOCK_MAX = 2048,         /* one RSA block of 16384 bits */
  SIGNER_PREMASTER_SIZE = 48,      /* what a block holds in TLS; RFC 5246 7.4.7.1 */
  SIGNER_REQUEST_MAX = SIGNER_HEAD_SIZE + SIGNER_DATA_MAX,
  SIGNER_SIGNATURE_MAX = 4096,
  SIGNER_CHAIN_MAX = 96 * 1024,
  SIGNER_REPLY_MAX = SIGNER_HEAD_SIZE + SIGNER_CHAIN_MAX,
};

enum signer_op {
  SIGNER_PAIR = 1,                 /* read the pair when it changed: its certificates and the id of its key */
  SIGNER_SIGN_DATA,
  SIGNER_SIGN_HASH,
  SIGNER_DECRYPT,                  /* RSA key exchange: 48 bytes, random ones when the block is no good */
};

struct signer_request {
  enum signer_op op;
  uint32_t pair;                   /* which of the certificates of the list, from 0 */
  uint32_t algorithm, flags;       /* of GnuTLS */
  uint8_t id[SIGNER_ID_SIZE];
  struct str data;
};

struct signer_reply {
  int status;                      /* 0 or GnuTLS's negative code */
  uint32_t pk_algorithm, bits;
  uint8_t id[SIGNER_ID_SIZE];
  struct str data;                 /* signature, 48 bytes, or certificates: length and DER of each */
};

/* The message in buf of at least head and data together; its length. */
size_t signer_request_put(const struct signer_request *r, char *buf, size_t size);
size_t signer_reply_put(const struct signer_reply *r, char *buf, size_t size);
/* The data is a part of bytes.  False: no such message. */
MUST_CHECK bool signer_request_parse(struct str bytes, struct signer_request *ret);
MUST_CHECK bool signer_reply_parse(struct str bytes, struct signer_reply *ret);
/* One certificate more at buf + at; where the next one goes, 0 when it does not fit. */
size_t signer_chain_add(char *buf, size_t size, size_t at, struct str der);
/* Take the first certificate off the rest.  False at the end, and where what is left is none. */
bool signer_chain_next(struct str *rest, struct str *ret);

#endif
