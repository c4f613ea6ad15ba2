/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines of a Dovecot that lies: slices stay inside the line, and what may go to an SMTP client is base64. */
#include "formats/dovecot_auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_inside(struct str part, struct str whole) {
  return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct str in = str_n((const char *)data, size);
  while (in.n) {
    struct str line = str_cut(&in, '\n');
    struct dovecot_line l;
    if (!dovecot_parse_line(line, &l)) continue;
    INVARIANT(is_inside(l.text, line) && is_inside(l.user, line));
    if (l.kind == DOVECOT_CONT) INVARIANT(dovecot_is_base64(l.text));
    INVARIANT(!memchr(l.user.p, '\t', l.user.n));
  }
  return 0;
}
