/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The small parsers of the base floor: numbers, sizes, intervals, addresses, message ids.  The first byte chooses;
 * what was parsed must come back the same after formatting. */
#include <stdlib.h>

#include "base/arena.h"
#include "base/base62.h"
#include "base/ip.h"
#include "base/strbuf.h"
#include "base/timeutil.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_ip(struct str text) {
  char buf[IP_TEXT_SIZE], reversed[80];
  struct ip ip, again;
  if (!ip_parse(text, &ip)) return;
  INVARIANT(ip_parse(str_c(ip_format(&ip, buf)), &again));
  INVARIANT(ip_equal(&ip, &again));
  INVARIANT(ip_in_net(&ip, &again, ip.family == 4 ? 32 : 128));
  ip_reverse(&ip, true, reversed, sizeof reversed);
}

static void check_interval(struct str text) {
  char buf[48];
  int64_t sec, again;
  if (time_parse_interval(text, false, &sec)) {
    INVARIANT(sec >= 0);
    time_format_interval(sec, buf, sizeof buf);
    INVARIANT(time_parse_interval(str_c(buf), false, &again) && again == sec);
  }
  if (time_parse_interval(text, true, &sec)) INVARIANT(sec >= 0);
}

static void check_numbers(struct str text) {
  uint64_t u;
  int64_t i;
  int n;
  if (str_parse_u64(text, &u) && u <= INT64_MAX) INVARIANT(str_parse_i64(text, &i) && (uint64_t)i == u);
  if (str_parse_int(text, &n)) INVARIANT(str_parse_i64(text, &i) && i == n);
  (void)!str_parse_hex(text, &u);
}

static void check_id(struct str text) {
  uint64_t v;
  char buf[12];
  size_t n = msgid_prefix_len(text);
  INVARIANT(n <= text.n && (n == 0 || n == MSGID_LEN || n == MSGID_LEN_OLD));
  if (text.n <= 10 && base62_decode(text, &v)) {
    base62_encode(v, (int)text.n, buf);
    INVARIANT(str_eq(str_n(buf, text.n), text));
  }
}

static void check_words(struct str text) {
  struct arena *a = arena_new("fuzz");
  struct strbuf b = strbuf_new(a);
  struct str rest = text;
  for (struct str w = str_word(&rest); w.n > 0; w = str_word(&rest)) {
    strbuf_addf(&b, "%.*s ", STR_FMT(w));
    strbuf_add_t(&b, w.p, w.n, TAINTED);
  }
  for (rest = text; rest.n > 0;) strbuf_addstr(&b, str_trim(str_cut(&rest, ':')));
  str_dup_lower(a, strbuf_str(&b));
  arena_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static void (*const checks[])(struct str) = {check_ip, check_interval, check_numbers, check_id, check_words};
  if (size == 0) return 0;
  /* A copy of exactly this size: a read beyond the slice is seen. */
  char *copy = malloc(size);
  if (!copy) return 0;
  memcpy(copy, data, size);
  checks[data[0] % ARRAY_SIZE(checks)](str_n(copy + 1, size - 1));
  free(copy);
  return 0;
}
