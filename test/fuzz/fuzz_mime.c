/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MIME: first byte = what is tried; header fields with tainted, bounded results, delimiters, decoders fed in pieces as they are fed whole. */
#include "formats/mime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_decoder(struct arena *a, enum mime_encoding e, struct str in, size_t cut) {
  struct mime_decoder whole = {.encoding = e}, parts = {.encoding = e};
  char *one = arena_alloc(a, MIME_DECODED_ROOM(in.n)), *two = arena_alloc(a, MIME_DECODED_ROOM(in.n));
  size_t n = mime_decode(&whole, in, one);
  n += mime_decode_end(&whole, one + n);
  size_t m = mime_decode(&parts, str_n(in.p, cut), two);
  m += mime_decode(&parts, str_n(in.p + cut, in.n - cut), two + m);
  m += mime_decode_end(&parts, two + m);
  INVARIANT(n == m && n <= in.n && memcmp(one, two, n) == 0 && whole.is_broken == parts.is_broken);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) return 0;
  struct arena *a = arena_new("fuzz");
  struct str in = str_n(arena_strndup_t(a, (const char *)data + 2, size - 2, TAINTED), size - 2);
  switch (data[0] % 3) {
  case 0: {
    struct mime_fields f = {0};
    mime_take_field(a, &f, in, data[1] & 1 ? "UTF-8" : NULL);
    const char *texts[] = {f.type, f.disposition, f.encoding, f.id, f.description, f.boundary, f.charset, f.filename};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
      if (texts[i] && *texts[i]) INVARIANT(is_tainted(texts[i]) && strlen(texts[i]) <= 4 * in.n + 8);
    INVARIANT(!f.boundary || strlen(f.boundary) <= MIME_MAX_BOUNDARY);
    break;
  }
  case 1: {
    size_t n = MIN(in.n, (size_t)data[1]);
    (void)mime_classify_line(str_n(in.p + n, in.n - n), str_dup(a, str_n(in.p, n)));
    break;
  }
  default:
    for (int e = MIME_IDENTITY; e <= MIME_QUOTED_PRINTABLE; e++) try_decoder(a, (enum mime_encoding)e, in, MIN(in.n, (size_t)data[1]));
  }
  arena_free(a);
  return 0;
}
