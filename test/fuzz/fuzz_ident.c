/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arbitrary replies of ident servers: what is found lies inside the line and is short. */
#include "formats/ident.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct str line = str_n((const char *)data, size), user;
  if (!ident_parse_reply(line, 6193, 25, &user)) return 0;
  INVARIANT(user.n > 0 && user.n <= IDENT_USER_MAX && user.p > line.p && user.p + user.n <= line.p + line.n);
  return 0;
}
