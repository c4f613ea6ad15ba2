/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arbitrary bytes as each kind of hints record: accepted ones are written back to the same bytes. */
#include "formats/hints_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROUND_TRIP(put, r)                                \
  do {                                                    \
    struct strbuf b_ = strbuf_new(a);                     \
    put(&b_, &(r));                                       \
    INVARIANT(str_eq(strbuf_str(&b_), in));               \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena *a = arena_new("fuzz");
  struct str in = str_n((const char *)data, size);
  struct hints_retry retry;
  struct hints_wait wait;
  struct hints_serialize serialize;
  struct hints_callout callout;
  struct hints_ratelimit rate;
  struct hints_seen seen;
  struct hints_ehlo ehlo;
  struct hints_tls tls;
  int64_t stamp;
  (void)!hints_get_stamp(in, &stamp);
  /* text with a NUL is cut, flags other than 0 and 1 are normalised: those need not come back alike */
  if (hints_get_retry(a, in, &retry)) INVARIANT(strlen(retry.text) <= 512);
  if (hints_get_wait(a, in, &wait)) ROUND_TRIP(hints_put_wait, wait);
  if (hints_get_serialize(in, &serialize)) ROUND_TRIP(hints_put_serialize, serialize);
  if (hints_get_callout(in, &callout)) INVARIANT(callout.result <= 3);
  if (hints_get_ratelimit(a, in, &rate)) ROUND_TRIP(hints_put_ratelimit, rate);
  if (hints_get_seen(in, &seen)) ROUND_TRIP(hints_put_seen, seen);
  if (hints_get_ehlo(in, &ehlo)) ROUND_TRIP(hints_put_ehlo, ehlo);
  if (hints_get_tls(in, &tls)) INVARIANT(tls.session.n < size);
  arena_free(a);
  return 0;
}
