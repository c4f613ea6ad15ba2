/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Feeds arbitrary bytes to every parser of formats/smtp_grammar; the round trip of xtext must be exact. */
#include <stdlib.h>

#include "formats/smtp_grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct str s = str_n((const char *)data, size), arg, key, value;
  bool flag;
  uint64_t n;
  smtp_parse_verb(s, &arg, &flag);
  size_t path = smtp_path_len(arg);
  INVARIANT(path <= arg.n);
  struct str rest = str_n(arg.p + path, arg.n - path);
  while (smtp_next_param(&rest, &key, &value, &flag)) INVARIANT(key.n > 0);
  if (smtp_parse_bdat(s, &n, &flag)) INVARIANT(n <= UINT64_C(1) << 62);
  INVARIANT(smtp_enhanced_code_len(s, 5) <= s.n);
  smtp_is_keyword(s);
  struct arena *a = arena_new("fuzz");
  xtext_decode(a, s);
  const char *encoded = xtext_encode(a, s), *back = xtext_decode(a, str_c(encoded));
  INVARIANT(memchr(s.p, 0, s.n) ? back == NULL : back != NULL && str_eq_c(s, back));
  arena_free(a);
  return 0;
}
