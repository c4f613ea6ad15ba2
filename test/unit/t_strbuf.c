/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The string builder: growth, truncation, self-append, and taint that arrives late. */
#include "unit.h"

#include "base/strbuf.h"

static void test_grow(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct strbuf b = strbuf_new(a);
  assert_string_equal(b.p, "");
  strbuf_truncate(&b, 0);
  strbuf_clear(&b);
  for (int i = 0; i < 5000; i++) {
    strbuf_addc(&b, (char)('a' + i % 26));
    assert_int_equal(b.p[b.n], 0);
  }
  assert_int_equal(strlen(b.p), 5000);
  strbuf_truncate(&b, 3);
  assert_string_equal(b.p, "abc");
  strbuf_addstr(&b, STR("-def-"));
  strbuf_addl(&b, "x", "", "yz", NULL);
  strbuf_addf(&b, "%d%s", 42, "!");
  assert_string_equal(b.p, "abc-def-xyz42!");
  strbuf_clear(&b);
  assert_string_equal(b.p, "");
  strbuf_add(&b, NULL, 0);
  assert_int_equal(b.n, 0);
  arena_free(a);
}

static void test_interleaved(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct strbuf one = strbuf_new(a), two = strbuf_new_t(a, UNTAINTED, 10);
  for (int i = 0; i < 1000; i++) {
    strbuf_addf(&one, "%d,", i);
    strbuf_addf(&two, "<%d>", i);
  }
  assert_int_equal(one.n, 10 * 2 + 90 * 3 + 900 * 4);
  assert_int_equal(two.n, 10 * 3 + 90 * 4 + 900 * 5);
  assert_memory_equal(one.p, "0,1,2,3,", 8);
  assert_memory_equal(two.p, "<0><1><2>", 9);
  arena_free(a);
}

static void test_long_printf(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct strbuf b = strbuf_new(a);
  strbuf_addf(&b, "%03000d", 7);
  assert_int_equal(b.n, 3000);
  strbuf_addf(&b, "%s", "");
  strbuf_addf(&b, "%s", "end");
  assert_string_equal(b.p + 2999, "7end");
  arena_free(a);
}

static void test_integers(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct strbuf b = strbuf_new(a);
  static const int64_t values[] = {0, 7, -1, 1234567890, INT64_MAX, INT64_MIN};
  for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
    strbuf_add_int(&b, values[i]);
    strbuf_addc(&b, ' ');
  }
  assert_string_equal(b.p, "0 7 -1 1234567890 9223372036854775807 -9223372036854775808 ");
  arena_free(a);
}

static void test_append_own_text(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct strbuf b = strbuf_new(a);
  strbuf_adds(&b, "ab");
  for (int i = 0; i < 10; i++) {
    strbuf_add(&b, b.p, b.n);
  }
  assert_int_equal(b.n, 2048);
  assert_string_equal(b.p + 2044, "abab");
  arena_free(a);
}

static void test_taint(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  const char *dirty = arena_strdup_t(a, "dirty", TAINTED);
  struct strbuf b = strbuf_new(a);
  strbuf_adds(&b, "clean ");
  assert_false(is_tainted(b.p) || b.taint);
  strbuf_adds(&b, dirty);
  assert_true(is_tainted(b.p) && b.taint);
  assert_string_equal(b.p, "clean dirty");
  strbuf_clear(&b);
  assert_true(is_tainted(b.p));

  struct strbuf q = strbuf_new(a);
  strbuf_adds(&q, "select '");
  strbuf_add_t(&q, "it''s", 5, TAINTED_QUOTED);
  strbuf_adds(&q, arena_strdup_t(a, "more", TAINTED_QUOTED));
  strbuf_addf(&q, "'%s", ";");
  assert_int_equal(taint_kind(q.p), TAINTED_QUOTED);
  strbuf_adds(&q, dirty);
  assert_int_equal(taint_kind(q.p), TAINTED);
  strbuf_add_t(&q, "x", 1, TAINTED_QUOTED);
  assert_int_equal(taint_kind(q.p), TAINTED);
  assert_string_equal(q.p, "select 'it''smore';dirtyx");

  struct strbuf c = strbuf_new(a);
  strbuf_addf(&c, "%d %s", 1, "x");
  assert_false(is_tainted(c.p));
  strbuf_addf(&c, "%.*s", 2, dirty);
  assert_true(is_tainted(c.p));
  assert_string_equal(c.p, "1 xdi");

  struct strbuf d = strbuf_new(a);
  strbuf_add_t(&d, "net", 3, TAINTED);
  assert_true(is_tainted(d.p));

  struct strbuf e = strbuf_new(a);
  strbuf_taint(&e);
  strbuf_adds(&e, "x");
  assert_true(is_tainted(e.p));
  struct strbuf f = strbuf_new_t(a, TAINTED, 0);
  strbuf_addc(&f, 'x');
  assert_true(is_tainted(f.p));
  arena_free(a);
}

static void test_utf8(void **state) {
  (void)state;
  static const struct {
    uint32_t c;
    const char *bytes;
  } rows[] = {{'a', "a"}, {0x7f, "\x7f"}, {0x80, "\xc2\x80"}, {0x7ff, "\xdf\xbf"}, {0x800, "\xe0\xa0\x80"}, {0xffff, "\xef\xbf\xbf"},
              {0x10000, "\xf0\x90\x80\x80"}, {0x10ffff, "\xf4\x8f\xbf\xbf"}};
  static const char *const bad[] = {"", "\x80", "\xc2", "\xc1\x81", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xe2\x82z"};
  struct arena *a = arena_new("t");
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct strbuf b = strbuf_new(a);
    uint32_t c = 0;
    strbuf_add_utf8(&b, rows[i].c);
    CHECK_STR("put", b.p, rows[i].bytes);
    strbuf_adds(&b, "xyz");
    CHECK_INT("length", utf8_next(strbuf_str(&b), &c), strlen(rows[i].bytes));
    CHECK_INT("value", c, rows[i].c);
  }
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    uint32_t c = 42;
    CHECK_INT("bad", utf8_next(str_c(bad[i]), &c), 0);
    CHECK_INT("untouched", c, 42);
  }
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_grow),        cmocka_unit_test(test_interleaved),
      cmocka_unit_test(test_long_printf), cmocka_unit_test(test_integers), cmocka_unit_test(test_append_own_text),
      cmocka_unit_test(test_taint), cmocka_unit_test(test_utf8),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
