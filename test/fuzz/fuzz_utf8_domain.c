/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arbitrary bytes as an address: what becomes an A-label local part must come back as it was. */
#include "formats/utf8_domain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena *a = arena_new("fuzz");
  const char *error = NULL, *text = arena_strndup(a, (const char *)data, size);
  (void)utf8_address_to_alabel(a, text, &error);
  (void)utf8_localpart_from_alabel(a, str_n((const char *)data, size), &error);
  const char *label = utf8_localpart_to_alabel(a, str_c(text), &error);
  if (label && !utf8_is_ascii(str_c(text))) {
    const char *back = utf8_localpart_from_alabel(a, str_c(label), &error);
    INVARIANT(back && strcmp(back, text) == 0);
  }
  arena_free(a);
  return 0;
}
