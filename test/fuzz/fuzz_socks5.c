/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers of a SOCKS5 proxy of any bytes: never longer than what came, and the same for every longer input. */
#include "formats/socks5.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct str in = str_n((const char *)data, size);
  struct socks5_bound bound;
  unsigned v;
  INVARIANT(socks5_get_method(in, &v) <= 2 && socks5_get_login(in, &v) <= 2);
  int used = socks5_get_connect(in, &bound);
  INVARIANT(used >= SOCKS5_BAD && used <= (int)size);
  if (used <= 0) return 0;
  INVARIANT(bound.reply || (used >= 7 && bound.port >= 0 && bound.port < 65536));
  for (size_t n = 0; !bound.reply && n < (size_t)used; n++) INVARIANT(socks5_get_connect(str_n(in.p, n), &bound) == SOCKS5_MORE);
  return 0;
}
