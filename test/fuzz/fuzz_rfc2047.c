/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RFC 2047: arbitrary bytes as a header line to decode; what we encode is in ASCII, and decodes to the same text. */
#include "formats/codecs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const charsets[] = {"UTF-8", "ISO-8859-1", "no-such-charset", "UTF-16"};
  if (size < 1 || size > 4096) return 0;
  struct arena *a = arena_new("fuzz");
  struct str s = str_n((const char *)data + 1, size - 1);
  const char *charset = charsets[data[0] & 3];
  (void)rfc2047_decode(a, s, charset, data[0] & 4, data[0] & 8 ? '?' : ' ');
  const char *encoded = rfc2047_encode_always(a, s, "ISO-8859-1");
  for (const char *p = encoded; *p; p++) INVARIANT((unsigned char)*p < 0x80);
  (void)rfc2047_encode(a, s, charset);
  arena_free(a);
  return 0;
}
