/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hostile replies to the smtp client: one reply after another out of arbitrary bytes, then the EHLO keywords.  Input: first byte = number of owed replies (mod 8)
 * and how the bytes are cut into reads; the rest is what the server says. */
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "transports/smtp_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) return 0;
  struct arena *a = arena_new("fuzz");
  size_t ends[4], n = size - 1, step = data[0] >> 3;
  size_t chunks = 0;
  for (size_t at = step + 1; chunks < 3 && at < n; at += step + 1) ends[chunks++] = at;
  ends[chunks++] = n;
  struct smtp_attempt *s = ARENA_NEW(a, struct smtp_attempt);
  s->a = a;
  s->io = stream_new_memory(a, str_n((const char *)data + 1, n), ends, chunks);
  s->reply_deadline = deadline_in_ms(50);
  for (int i = 0; i < (data[0] & 7) + 1; i++) smtp_expect(s, AT_RCPT, NULL, "RCPT TO:<x>");
  while (s->awaited_count) {
    struct smtp_awaited what;
    struct smtp_reply r;
    if (!smtp_read_reply(s, &what, &r)) {
      if (!s->dead || s->fail.trouble == TROUBLE_NONE) abort();
      break;
    }
    if (r.code < 0 || r.code > 999 || strlen(r.text) > SMTP_REPLY_MAX) abort();
    struct ehlo_facts f = smtp_parse_ehlo(str_c(r.text));
    if (f.size_limit < 0) abort();
  }
  stream_close(s->io);
  arena_free(a);
  return 0;
}
