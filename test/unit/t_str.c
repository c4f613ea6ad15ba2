/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Slices, case folding, number parsing, and the random numbers the harness relies on. */
#include "unit.h"

#include "base/arena.h"
#include "base/rand.h"
#include "base/str.h"

static void test_compare(void **state) {
  (void)state;
  assert_true(str_eq(STR("abc"), STR("abc")));
  assert_false(str_eq(STR("abc"), STR("abd")));
  assert_false(str_eq(STR("abc"), STR("ab")));
  assert_true(str_eq(STR_NULL, STR("")));
  assert_true(str_eqic(STR("aBc"), STR("AbC")));
  assert_false(str_eqic(STR("\xe4"), STR("\xc4"))); /* ASCII only */
  assert_true(str_cmpic(STR("abc"), STR("ABD")) < 0);
  assert_true(str_cmpic(STR("abc"), STR("AB")) > 0);
  assert_int_equal(str_cmpic(STR("abc"), STR("ABC")), 0);
  assert_true(str_eq_c(STR("x"), "x"));
  assert_true(str_eqic_c(STR("x"), "X"));
  assert_true(str_starts(STR("foobar"), STR("foo")));
  assert_true(str_startsic(STR("FOObar"), STR("foo")));
  assert_false(str_starts(STR("fo"), STR("foo")));
  assert_true(str_ends(STR("foobar"), STR("bar")));
  assert_true(str_endsic(STR("foobar"), STR("BAR")));
  assert_false(str_ends(STR("ar"), STR("bar")));
  assert_true(str_starts(STR_NULL, STR("")) && str_ends(STR_NULL, STR("")));
  assert_int_equal(strcmpic("Hello", "hELLO"), 0);
  assert_true(strcmpic("a", "b") < 0 && strcmpic("b", "") > 0);
  assert_int_equal(strncmpic("HELo", "helP", 3), 0);
  assert_string_equal(strstric("one TWO three", "two"), "TWO three");
  assert_null(strstric("one", "two"));
  assert_string_equal(strstric("one", ""), "one");
}

static void test_cut_and_trim(void **state) {
  (void)state;
  struct str s = STR("a:b::c");
  struct str part = str_cut(&s, ':');
  assert_true(str_eq_c(part, "a") && str_eq_c(s, "b::c"));
  part = str_cut(&s, ':');
  part = str_cut(&s, ':');
  assert_true(str_eq_c(part, "") && str_eq_c(s, "c"));
  part = str_cut(&s, ':');
  assert_true(str_eq_c(part, "c") && s.n == 0);
  part = str_cut(&s, ':');
  assert_true(part.n == 0 && s.n == 0);

  assert_true(str_eq_c(str_trim(STR(" \t a b\r\n ")), "a b"));
  assert_true(str_eq_c(str_ltrim(STR("  a ")), "a "));
  assert_true(str_eq_c(str_rtrim(STR("  a ")), "  a"));
  assert_int_equal(str_trim(STR("   ")).n, 0);
  assert_int_equal(str_trim(STR_NULL).n, 0);
  assert_int_equal(str_index(STR("abc"), 'c'), 2);
  assert_int_equal(str_index(STR("abc"), 'x'), 3);
  assert_int_equal(str_index(STR_NULL, 'x'), 0);

  s = STR("  one\ttwo ");
  assert_true(str_eq_c(str_word(&s), "one"));
  assert_true(str_eq_c(str_word(&s), "two"));
  assert_int_equal(str_word(&s).n, 0);
  assert_int_equal(str_word(&s).n, 0);
}

static void test_copies(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  assert_string_equal(str_dup(a, str_n("hello", 4)), "hell");
  assert_string_equal(str_dup_lower(a, STR("HeLLo-\xc4")), "hello-\xc4");
  assert_string_equal(str_dup(a, STR_NULL), "");
  arena_free(a);
}

static void test_numbers(void **state) {
  (void)state;
  static const struct {
    const char *text;
    bool u64_ok;
    uint64_t u64;
    bool i64_ok;
    int64_t i64;
    bool int_ok;
  } rows[] = {
      {"0", true, 0, true, 0, true},
      {"00012", true, 12, true, 12, true},
      {"-1", false, 0, true, -1, true},
      {"+7", false, 0, true, 7, true},
      {"", false, 0, false, 0, false},
      {"-", false, 0, false, 0, false},
      {" 1", false, 0, false, 0, false},
      {"1 ", false, 0, false, 0, false},
      {"1a", false, 0, false, 0, false},
      {"0x1", false, 0, false, 0, false},
      {"2147483647", true, 2147483647u, true, 2147483647, true},
      {"2147483648", true, 2147483648u, true, 2147483648, false},
      {"-2147483648", false, 0, true, -2147483648ll, true},
      {"9223372036854775807", true, INT64_MAX, true, INT64_MAX, false},
      {"9223372036854775808", true, (uint64_t)INT64_MAX + 1, false, 0, false},
      {"-9223372036854775808", false, 0, true, INT64_MIN, false},
      {"-9223372036854775809", false, 0, false, 0, false},
      {"18446744073709551615", true, UINT64_MAX, false, 0, false},
      {"18446744073709551616", false, 0, false, 0, false},
      {"99999999999999999999999", false, 0, false, 0, false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uint64_t u = 77;
    int64_t v = 77;
    int n = 77;
    CHECK_INT(rows[i].text, str_parse_u64(str_c(rows[i].text), &u), rows[i].u64_ok);
    CHECK_INT(rows[i].text, u, rows[i].u64_ok ? rows[i].u64 : 77);
    CHECK_INT(rows[i].text, str_parse_i64(str_c(rows[i].text), &v), rows[i].i64_ok);
    CHECK_INT(rows[i].text, v, rows[i].i64_ok ? rows[i].i64 : 77);
    CHECK_INT(rows[i].text, str_parse_int(str_c(rows[i].text), &n), rows[i].int_ok);
    CHECK_INT(rows[i].text, n, rows[i].int_ok ? rows[i].i64 : 77);
  }
  uint64_t hex = 0;
  assert_true(str_parse_hex(STR("dEadBEEF"), &hex));
  assert_true(hex == 0xdeadbeef);
  assert_false(str_parse_hex(STR("g"), &hex));
  assert_false(str_parse_hex(STR("10000000000000000"), &hex));
  assert_int_equal(ch_hexval('f'), 15);
  assert_int_equal(ch_hexval('G'), -1);
}

static void test_no(void **state) {
  (void)state;
  static const char *const no[] = {"", "0", "no", "NO", "false", "False"}, *const others[] = {"1", "yes", "true", "nope", "00", " "};
  for (size_t i = 0; i < ARRAY_SIZE(no); i++) CHECK_INT(no[i], text_means_no(no[i]), true);
  for (size_t i = 0; i < ARRAY_SIZE(others); i++) CHECK_INT(others[i], text_means_no(others[i]), false);
}

static void test_secrets(void **state) {
  (void)state;
  assert_true(bytes_eq_secret("abc", "abd", 2));
  assert_false(bytes_eq_secret("abc", "abd", 3));
  assert_false(bytes_eq_secret("\200bc", "\0bc", 3));
  assert_true(bytes_eq_secret("", "x", 0));
}

static void test_rand(void **state) {
  (void)state;
  for (int i = 0; i < 1000; i++) {
    assert_true(rand_below(7) < 7);
  }
  assert_int_equal(rand_below(0), 0);
  assert_int_equal(rand_below(1), 0);
  unsigned char a[16] = {0}, b[16] = {0};
  rand_bytes(a, sizeof a);
  rand_bytes(b, sizeof b);
  assert_memory_not_equal(a, b, sizeof a);
  /* 42 * 1103515245 + 12345 modulo 2^32 = 3397979675, computed by hand. */
  rand_set_seed(42);
  assert_int_equal(rand_below(1000), (3397979675u >> 16) % 1000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_compare), cmocka_unit_test(test_cut_and_trim), cmocka_unit_test(test_copies),
      cmocka_unit_test(test_numbers), cmocka_unit_test(test_rand),
      cmocka_unit_test(test_secrets), cmocka_unit_test(test_no),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
