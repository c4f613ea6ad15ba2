/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages to and from the process that holds the private keys (tls_signer_msg.h).  Floor: os, pure.  Hostile: all of it. */
#include "os/tls_signer_msg.h"

#include <limits.h>

enum {
  /* Flags of gnutls_privkey_sign_...() that have a meaning in TLS: raw PKCS #1 of TLS 1.0, RSA-PSS. */
  FLAGS_KNOWN = 1 << 4 | 1 << 7,
  ALGORITHM_MAX = 0xffff,
  NUMBERS = 5,
};
static const char request_mark[] = "XSQ1", reply_mark[] = "XSR1";

static uint32_t get_u32(const char *p) {
  const uint8_t *b = (const uint8_t *)p;
  return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void put_u32(char *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (char)(uint8_t)(v >> (24 - 8 * i));
}

/* The last of the numbers is the length of the data. */
static size_t put(const char *mark, const uint32_t *numbers, const uint8_t *id, struct str data, char *buf, size_t size) {
  INVARIANT(size >= SIGNER_HEAD_SIZE && data.n <= size - SIGNER_HEAD_SIZE);
  memcpy(buf, mark, 4);
  for (int i = 0; i < NUMBERS; i++) put_u32(buf + 4 + 4 * i, numbers[i]);
  memcpy(buf + 24, id, SIGNER_ID_SIZE);
  if (data.n > 0) memcpy(buf + SIGNER_HEAD_SIZE, data.p, data.n);
  return SIGNER_HEAD_SIZE + data.n;
}

static bool get(const char *mark, struct str bytes, uint32_t *numbers, uint8_t *id, struct str *ret_data) {
  if (bytes.n < SIGNER_HEAD_SIZE || memcmp(bytes.p, mark, 4) != 0) return false;
  for (int i = 0; i < NUMBERS; i++) numbers[i] = get_u32(bytes.p + 4 + 4 * i);
  if (numbers[NUMBERS - 1] != bytes.n - SIGNER_HEAD_SIZE) return false;
  memcpy(id, bytes.p + 24, SIGNER_ID_SIZE);
  *ret_data = str_n(bytes.p + SIGNER_HEAD_SIZE, bytes.n - SIGNER_HEAD_SIZE);
  return true;
}

size_t signer_request_put(const struct signer_request *r, char *buf, size_t size) {
  const uint32_t numbers[NUMBERS] = {(uint32_t)r->op, r->pair, r->algorithm, r->flags, (uint32_t)r->data.n};
  return put(request_mark, numbers, r->id, r->data, buf, size);
}

size_t signer_reply_put(const struct signer_reply *r, char *buf, size_t size) {
  const uint32_t numbers[NUMBERS] = {(uint32_t)-r->status, r->pk_algorithm, r->bits, 0, (uint32_t)r->data.n};
  return put(reply_mark, numbers, r->id, r->data, buf, size);
}

bool signer_request_parse(struct str bytes, struct signer_request *ret) {
  static const struct { size_t least, most; } sizes[] = {
    [SIGNER_PAIR] = {0, 0}, [SIGNER_SIGN_DATA] = {1, SIGNER_DATA_MAX}, [SIGNER_SIGN_HASH] = {1, SIGNER_HASH_MAX},
    [SIGNER_DECRYPT] = {1, SIGNER_BLOCK_MAX}};
  struct signer_request r;
  uint32_t numbers[NUMBERS];
  if (!get(request_mark, bytes, numbers, r.id, &r.data)) return false;
  if (numbers[0] < SIGNER_PAIR || numbers[0] > SIGNER_DECRYPT) return false;
  r.op = (enum signer_op)numbers[0];
  r.pair = numbers[1];
  r.algorithm = numbers[2];
  r.flags = numbers[3];
  if (r.data.n < sizes[r.op].least || r.data.n > sizes[r.op].most) return false;
  if (r.algorithm > ALGORITHM_MAX || (r.flags & ~(uint32_t)FLAGS_KNOWN)) return false;
  *ret = r;
  return true;
}

bool signer_reply_parse(struct str bytes, struct signer_reply *ret) {
  struct signer_reply r;
  uint32_t numbers[NUMBERS];
  if (!get(reply_mark, bytes, numbers, r.id, &r.data) || numbers[0] > INT_MAX || numbers[3] != 0) return false;
  r.status = -(int)numbers[0];
  r.pk_algorithm = numbers[1];
  r.bits = numbers[2];
  if (r.data.n > SIGNER_CHAIN_MAX) return false;
  *ret = r;
  return true;
}

size_t signer_chain_add(char *buf, size_t size, size_t at, struct str der) {
  if (at > size || size - at < 4 || der.n > size - at - 4) return 0;
  put_u32(buf + at, (uint32_t)der.n);
  memcpy(buf + at + 4, der.p, der.n);
  return at + 4 + der.n;
}

bool signer_chain_next(struct str *rest, struct str *ret) {
  if (rest->n < 4) return false;
  size_t n = get_u32(rest->p);
  if (n == 0 || n > rest->n - 4) return false;
  *ret = str_n(rest->p + 4, n);
  *rest = str_n(rest->p + 4 + n, rest->n - 4 - n);
  return true;
}
