/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Questions to and answers of saslauthd and pwcheck.  Floor: formats (pure; input hostile).  Cyrus SASL's documentation of the two daemons. */
#include "formats/saslauthd.h"

enum { LENGTH_BYTES = 2 };

bool saslauthd_question(struct strbuf *b, const char *const args[SASLAUTHD_ARGS]) {
  for (int i = 0; i < SASLAUTHD_ARGS; i++) {
    size_t n = strlen(args[i]);
    if (n > SASLAUTHD_MAX_BYTES) return false;
    strbuf_addc(b, (char)(n >> 8));
    strbuf_addc(b, (char)(n & 0xff));
    strbuf_add(b, args[i], n);
  }
  return true;
}

static size_t told_length(struct str bytes) { return ((size_t)(uint8_t)bytes.p[0] << 8) + (uint8_t)bytes.p[1]; }

bool saslauthd_is_complete(struct str bytes) { return bytes.n >= LENGTH_BYTES && bytes.n - LENGTH_BYTES >= told_length(bytes); }

enum saslauthd_verdict saslauthd_text_verdict(struct str text) {
  if (text.n < 2) return SASLAUTHD_UNKNOWN;
  if (memcmp(text.p, "OK", 2) == 0) return SASLAUTHD_YES;
  return memcmp(text.p, "NO", 2) == 0 ? SASLAUTHD_NO : SASLAUTHD_UNKNOWN;
}

enum saslauthd_verdict saslauthd_answer(struct str bytes, struct str *ret_text) {
  *ret_text = STR_NULL;
  if (bytes.n < LENGTH_BYTES) return SASLAUTHD_UNKNOWN;
  size_t there = bytes.n - LENGTH_BYTES, told = told_length(bytes);
  *ret_text = str_n(bytes.p + LENGTH_BYTES, MIN(there, told));
  return saslauthd_text_verdict(*ret_text);
}
