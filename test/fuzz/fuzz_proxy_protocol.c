/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arbitrary first bytes of a connection, read as the program does it: never more than is there, and always an end. */
#include "formats/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  size_t have = 0, need = 0;
  struct proxy_header h;
  enum proxy_parse r;
  while ((r = proxy_parse_header(str_n((const char *)data, have), &h, &need)) == PROXY_MORE) {
    INVARIANT(need > 0 && have + need <= PROXY_HEADER_MAX);
    if (have + need > size) return 0;
    have += need;
  }
  if (r == PROXY_DONE && h.has_addresses) INVARIANT(h.source.family == h.destination.family && h.source.family != 0);
  (void)proxy_parse_header(str_n((const char *)data, size), &h, &need);
  return 0;
}
