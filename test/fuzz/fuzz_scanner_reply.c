/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers of scanners: first byte = which; names stay inside the answer, and clean is said only by what looks like it. */
#include "formats/scanner_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct str all, struct str part) {
  if (part.n > 0) INVARIANT(part.p >= all.p && part.p + part.n <= all.p + all.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1) return 0;
  struct str in = str_n((const char *)data + 1, size - 1), name = STR("");
  struct scanner_spam spam;
  switch (data[0] % 6) {
  case 0:
    if (scanner_clamd_reply(in, &name) == SCANNER_CLEAN) INVARIANT(str_ends(str_trim(in), STR("OK")));
    break;
  case 1: (void)scanner_avast_line(in, &name); break;
  case 2: (void)scanner_fsecure_line(in, &name); break;
  case 3: (void)scanner_fprot6d_line(in, &name); break;
  case 4: name = scanner_between(in, "<name>", "</name>"); break;
  default:
    if (!scanner_spam_reply(in, size & 1, &spam)) break;
    name = spam.report;
    INVARIANT(spam.score <= INT64_C(1000001000) && spam.score >= -INT64_C(1000001000));
  }
  inside(in, name);
  return 0;
}
