/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arbitrary bytes for every decoder; encoders must be undone by them, output stays bounded. */
#include "formats/codecs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena *a = arena_new("fuzz");
  struct str in = str_n((const char *)data, size);
  size_t n = 0;
  const char *coded = base64_encode(a, data, size);
  char *back = base64_decode(a, str_c(coded), &n);
  INVARIANT(back && n == size && (size == 0 || memcmp(back, data, size) == 0));
  if (base64_decode(a, in, &n)) INVARIANT(n <= size);
  INVARIANT(strlen(hex_encode(a, data, size)) == 2 * size);
  const char *plain = rfc2047_decode(a, in, "UTF-8", true, '?');
  INVARIANT(strlen(plain) <= size * 4 + 4);
  (void)rfc2047_decode(a, in, NULL, false, ' ');
  (void)rfc2047_encode(a, in, "UTF-8");
  for (size_t i = 0; i < size; i++)
    if (data[i] == '\\') {
      size_t used;
      (void)escape_interpret(str_n(in.p + i, size - i), &used);
      INVARIANT(used >= 1 && used <= size - i);
    }
  arena_free(a);
  return 0;
}
