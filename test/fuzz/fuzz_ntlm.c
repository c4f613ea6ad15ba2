/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NTLM messages of any bytes: fields stay inside, texts hold no control characters, and what was read is written alike. */
#include "formats/ntlm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_inside(struct str part, struct str whole) {
  return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena *a = arena_new("fuzz");
  struct str in = str_n((const char *)data, size);
  struct ntlm_challenge c;
  struct ntlm_authenticate m, again;
  if (ntlm_parse_challenge(in, &c)) INVARIANT(is_inside(c.target_info, in));
  if (ntlm_parse_authenticate(in, &m)) {
    INVARIANT(is_inside(m.lm, in) && is_inside(m.nt, in) && is_inside(m.user, in) && is_inside(m.domain, in) && is_inside(m.workstation, in));
    const char *user = ntlm_text(a, m.user, m.flags);
    for (const char *p = user; p && *p; p++) INVARIANT(!ch_iscntrl(*p));
    if (user && m.flags & NTLM_UNICODE) INVARIANT(str_eq(ntlm_utf16(a, user), m.user));
    struct strbuf b = strbuf_new(a);
    ntlm_put_authenticate(&b, &m);
    if (b.n <= NTLM_MESSAGE_MAX) INVARIANT(ntlm_parse_authenticate(strbuf_str(&b), &again) && str_eq(again.nt, m.nt) && str_eq(again.user, m.user));
  }
  arena_free(a);
  return 0;
}
