/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hints records: what is written is read back; every truncation, wrong kind, version and length is treated as absent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "formats/hints_record.h"

static void refuses_everything_else(struct arena *a, struct str good, bool (*get)(struct arena *, struct str)) {
  assert_true(get(a, good));
  for (size_t n = 0; n < good.n; n++) assert_false(get(a, str_n(good.p, n)));
  char *longer = arena_alloc(a, good.n + 1);
  memcpy(longer, good.p, good.n);
  assert_false(get(a, str_n(longer, good.n + 1)));
  for (size_t i = 0; i < 8; i++) { /* magic, kind, version, length */
    char *bad = arena_strndup(a, good.p, good.n);
    bad[i] ^= 0x41;
    assert_false(get(a, str_n(bad, good.n)));
  }
}

static bool get_retry(struct arena *a, struct str s) {
  struct hints_retry r;
  return hints_get_retry(a, s, &r);
}
static bool get_wait(struct arena *a, struct str s) {
  struct hints_wait r;
  return hints_get_wait(a, s, &r);
}
static bool get_ehlo(struct arena *a, struct str s) {
  (void)a;
  struct hints_ehlo r;
  return hints_get_ehlo(s, &r);
}
static bool get_ratelimit(struct arena *a, struct str s) {
  struct hints_ratelimit r;
  return hints_get_ratelimit(a, s, &r);
}

static void retry(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct strbuf b = strbuf_new(a);
  struct hints_retry in = {1, 2, 3, 1LL << 40, true, -44, 321, "4xx to RCPT"}, out;
  hints_put_retry(&b, &in);
  assert_true(hints_get_retry(a, strbuf_str(&b), &out));
  assert_int_equal(out.next_try, 1LL << 40);
  assert_int_equal(out.basic_errno, -44);
  assert_true(out.expired);
  assert_string_equal(out.text, "4xx to RCPT");
  refuses_everything_else(a, strbuf_str(&b), get_retry);
  arena_free(a);
}

static void wait_ids(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct strbuf b = strbuf_new(a);
  struct hints_wait in = {9, 1, 2, "1xVZqc-0005N0abcde-2R001xVZqd-0005N0abcde-2R00"}, out;
  hints_put_wait(&b, &in);
  assert_true(hints_get_wait(a, strbuf_str(&b), &out));
  assert_int_equal(out.count, 2);
  assert_memory_equal(out.ids, in.ids, 46);
  refuses_everything_else(a, strbuf_str(&b), get_wait);
  b.p[b.n - 1] = '/'; /* an id that is none must never become a file name */
  assert_false(hints_get_wait(a, strbuf_str(&b), &out));
  arena_free(a);
}

static void ehlo(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct strbuf b = strbuf_new(a);
  struct hints_ehlo in = {.stamp = 5, .clear_features = 0x1e0, .crypted_auths = 3, .limit_rcptmax = 100, .fingerprint = 0xdeadbeef,
                          .fail_count = 2, .suspend_until = 77, .flags = HINTS_EHLO_USED_TLS, .rtt_us = 123456}, out;
  hints_put_ehlo(&b, &in);
  assert_true(hints_get_ehlo(strbuf_str(&b), &out));
  assert_int_equal(out.clear_features, 0x1e0);
  assert_int_equal(out.fingerprint, 0xdeadbeef);
  assert_int_equal(out.suspend_until, 77);
  assert_int_equal(out.rtt_us, 123456);
  refuses_everything_else(a, strbuf_str(&b), get_ehlo);
  arena_free(a);
}

static void ratelimit(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct strbuf b = strbuf_new(a);
  struct hints_ratelimit in = {.stamp = 5, .usec = 999999, .rate = 12.5, .bloom = (const uint8_t *)"abcd", .bloom_bytes = 4}, out;
  hints_put_ratelimit(&b, &in);
  assert_true(hints_get_ratelimit(a, strbuf_str(&b), &out));
  assert_true(out.rate > 12.4 && out.rate < 12.6);
  assert_memory_equal(out.bloom, "abcd", 4);
  refuses_everything_else(a, strbuf_str(&b), get_ratelimit);
  struct strbuf nan = strbuf_new(a);
  in.rate = __builtin_nan("");
  hints_put_ratelimit(&nan, &in);
  assert_false(hints_get_ratelimit(a, strbuf_str(&nan), &out));
  arena_free(a);
}

static bool get_tls(struct arena *a, struct str s) {
  (void)a;
  struct hints_tls r;
  return hints_get_tls(s, &r);
}

static void tls_session(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  struct strbuf b = strbuf_new(a);
  struct hints_tls in = {.stamp = 7, .is_verified = true, .session = STR("ab\0cd")}, out;
  hints_put_tls(&b, &in);
  assert_true(hints_get_tls(strbuf_str(&b), &out));
  assert_int_equal(out.stamp, 7);
  assert_true(out.is_verified);
  assert_true(str_eq(out.session, STR("ab\0cd")));
  refuses_everything_else(a, strbuf_str(&b), get_tls);
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(retry), cmocka_unit_test(wait_ids), cmocka_unit_test(ehlo), cmocka_unit_test(tls_session),
                                     cmocka_unit_test(ratelimit)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
