/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base64, base32, hex, RFC 2047, escapes, UTF-8.  Expectations: RFC 4648 §10, RFC 2047 §8, the Unicode standard's table 3-7. */
#include "unit.h"

#include "base/timeutil.h"
#include "formats/codecs.h"

static void base64_both_ways(void **state) {
  (void)state;
  static const char *const rows[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="},
                                        {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
  static const char *const bad[] = {"Z", "Zg", "Zg=", "Zg=a", "Z===", "Zg==Zg==", "Zm9v ", "Zm-_", "===="};
  struct arena *a = arena_new("test");
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    size_t n = 99;
    CHECK_STR(rows[i][0], base64_encode(a, rows[i][0], strlen(rows[i][0])), rows[i][1]);
    CHECK_STR(rows[i][1], base64_decode(a, str_c(rows[i][1]), &n), rows[i][0]);
    CHECK_INT(rows[i][1], n, strlen(rows[i][0]));
  }
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    size_t n;
    if (base64_decode(a, str_c(bad[i]), &n)) fail_msg("accepted %s", bad[i]);
  }
  CHECK_STR("hex", hex_encode(a, "\x00\xffz", 3), "00ff7a");
  CHECK_STR("base32", base32_encode_u64(a, 0), "a");
  CHECK_STR("base32", base32_encode_u64(a, 32 * 31 + 5), "7f");
  arena_free(a);
}

static void encoded_words(void **state) {
  (void)state;
  static const char *const rows[][2] = {
    {"(=?ISO-8859-1?Q?a?=)", "(a)"}, {"(=?ISO-8859-1?Q?a?= b)", "(a b)"}, {"(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)"},
    {"(=?ISO-8859-1?Q?a?=\n    =?ISO-8859-1?Q?b?=)", "(ab)"}, {"(=?ISO-8859-1?Q?a_b?=)", "(a b)"},
    {"=?ISO-8859-1?Q?Gr=FC=DFe?=", "Gr\xc3\xbc\xc3\x9f" "e"}, {"=?UTF-8?B?w7w=?=", "\xc3\xbc"}, {"=?us-ascii*en?q?x?=", "x"},
    {"=?x?q?=GG?=", "=?x?q?=GG?="}, {"=?utf-8?b?w7w?=", "=?utf-8?b?w7w?="}, {"=?utf-8?z?a?=", "=?utf-8?z?a?="}, {"=?a?q?b", "=?a?q?b"},
    {"=?utf-8?q?a=00b?=", "a?b"},
  };
  struct arena *a = arena_new("test");
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
    CHECK_STR(rows[i][0], rfc2047_decode(a, str_c(rows[i][0]), "UTF-8", true, '?'), rows[i][1]);
  char word[100] = "=?utf-8?q?";
  memset(word + 10, 'x', 70);
  memcpy(word + 80, "?=", 3);
  CHECK_STR("over 75", rfc2047_decode(a, str_c(word), "UTF-8", true, '?'), word);
  assert_int_equal(strlen(rfc2047_decode(a, str_c(word), "UTF-8", false, '?')), 70);
  CHECK_STR("plain", rfc2047_encode(a, STR("plain text"), "UTF-8"), "plain text");
  const char *long_text = "\xc3\xbc a long line with many words in it so that one encoded word does not do, not by far";
  const char *coded = rfc2047_encode(a, str_c(long_text), "UTF-8");
  CHECK_STR("round trip", rfc2047_decode(a, str_c(coded), NULL, true, '?'), long_text);
  arena_free(a);
}

static void escapes(void **state) {
  (void)state;
  static const struct {
    const char *in;
    int value;
    size_t used;
  } rows[] = {{"\\n", '\n', 2}, {"\\t", '\t', 2}, {"\\x41B", 'A', 4}, {"\\x4g", 4, 3}, {"\\101", 'A', 4}, {"\\78", 7, 2},
              {"\\\\", '\\', 2}, {"\\z", 'z', 2}, {"\\", '\\', 1}, {"\\x", 0, 2}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    size_t used;
    CHECK_INT(rows[i].in, escape_interpret(str_c(rows[i].in), &used), rows[i].value);
    CHECK_INT(rows[i].in, used, rows[i].used);
  }
}

static bool is_utf8(struct str s) {
  uint32_t c;
  for (size_t n; s.n; s = str_n(s.p + n, s.n - n))
    if (!(n = utf8_next(s, &c))) return false;
  return true;
}

static void utf8(void **state) {
  (void)state;
  static const struct {
    const char *in;
    bool ok;
  } rows[] = {{"", 1}, {"abc", 1}, {"\xc3\xbc", 1}, {"\xe2\x9c\x89", 1}, {"\xf0\x9f\x93\xac", 1}, {"\xf4\x8f\xbf\xbf", 1}, {"\xc0\x80", 0},
              {"\xc3", 0}, {"\xbc", 0}, {"\xed\xa0\x80", 0}, {"\xf4\x90\x80\x80", 0}, {"\xe2\x9c", 0}, {"\xff", 0}, {"a\xe2\x28\xa1", 0}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) CHECK_INT(rows[i].in, is_utf8(str_c(rows[i].in)), rows[i].ok);
}

/* A megabyte of beginnings, or of blanks, is read once, not once for each. */
static void no_square_time(void **state) {
  (void)state;
  static const struct {
    const char *piece, *end;
  } rows[] = {{"=?u?q?x", ""}, {"=?u?b?x", " "}, {" ", "b"}, {"=?u?q?x?= ", "  "}, {"=?", ""}, {"=?u?", "?="}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("test");
    struct strbuf b = strbuf_new(a);
    while (b.n < 1000000) strbuf_adds(&b, rows[i].piece);
    strbuf_adds(&b, rows[i].end);
    int64_t start = time_mono_ms();
    assert_non_null(rfc2047_decode(a, strbuf_str(&b), "UTF-8", false, '?'));
    if (time_mono_ms() - start > 20000) fail_msg("row %zu took %lld ms", i, (long long)(time_mono_ms() - start));
    arena_free(a);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(base64_both_ways), cmocka_unit_test(encoded_words), cmocka_unit_test(no_square_time), cmocka_unit_test(escapes),
                                     cmocka_unit_test(utf8)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
