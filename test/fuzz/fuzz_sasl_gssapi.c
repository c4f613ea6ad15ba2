/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a Kerberos client says last: one layer, a size of three octets, a name without NUL that lies in the token; or refused. */
#include "formats/sasl_gssapi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct gssapi_choice c;
  if (!gssapi_parse_choice(str_n((const char *)data, size), &c)) return 0;
  INVARIANT(c.layer == data[0] && c.size_bytes <= 0xffffff && c.authzid.n == size - 4);
  INVARIANT(c.authzid.n == 0 || !memchr(c.authzid.p, 0, c.authzid.n));
  return 0;
}
