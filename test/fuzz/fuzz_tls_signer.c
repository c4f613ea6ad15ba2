/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages to and from the process that holds the private keys: what parses is made again to the same bytes. */
#include "os/tls_signer_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static char buf[SIGNER_REPLY_MAX];
  struct str in = str_n((const char *)data, size), one;
  struct signer_request q;
  struct signer_reply r;
  if (signer_request_parse(in, &q)) {
    INVARIANT(q.op >= SIGNER_PAIR && q.op <= SIGNER_DECRYPT && q.data.n <= SIGNER_DATA_MAX && size <= SIGNER_REQUEST_MAX);
    INVARIANT(signer_request_put(&q, buf, sizeof buf) == size && memcmp(buf, data, size) == 0);
  }
  if (signer_reply_parse(in, &r)) {
    INVARIANT(r.status <= 0 && signer_reply_put(&r, buf, sizeof buf) == size && memcmp(buf, data, size) == 0);
    size_t left = r.data.n;
    while (signer_chain_next(&r.data, &one)) {
      INVARIANT(one.n > 0 && r.data.n + one.n + 4 == left);
      left = r.data.n;
    }
  }
  return 0;
}
