/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers of a saslauthd that lies: the text stays inside the answer, and "yes" is said by nothing but OK. */
#include "formats/saslauthd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct str bytes = str_n((const char *)data, size), text;
  enum saslauthd_verdict verdict = saslauthd_answer(bytes, &text);
  INVARIANT(text.n == 0 || (text.p == bytes.p + 2 && text.n <= bytes.n - 2));
  INVARIANT((verdict == SASLAUTHD_YES) == (text.n >= 2 && text.p[0] == 'O' && text.p[1] == 'K'));
  if (saslauthd_is_complete(bytes)) INVARIANT(size >= 2 && size - 2 >= text.n);
  return 0;
}
