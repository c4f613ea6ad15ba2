/* SPDX-License-Identifier: GPL-2.0-or-later */
/* formats/saslauthd: questions and answers byte by byte. */
#include "formats/saslauthd.h"
#include "unit.h"

static void test_question(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct strbuf b = strbuf_new(a);
  const char *const args[SASLAUTHD_ARGS] = {"ann", "secret", "", "r"};
  assert_true(saslauthd_question(&b, args));
  static const char wanted[] = "\0\3ann\0\6secret\0\0\0\1r";
  assert_int_equal(b.n, sizeof wanted - 1);
  assert_memory_equal(b.p, wanted, b.n);

  struct strbuf longest = strbuf_new(a);
  for (int i = 0; i < SASLAUTHD_MAX_BYTES; i++) strbuf_addc(&longest, 'x');
  const char *const at_limit[SASLAUTHD_ARGS] = {longest.p, "", "", ""};
  b = strbuf_new(a);
  assert_true(saslauthd_question(&b, at_limit));
  assert_memory_equal(b.p, "\xff\xffx", 3);
  strbuf_addc(&longest, 'x');
  const char *const too_long[SASLAUTHD_ARGS] = {"", longest.p, "", ""};
  assert_false(saslauthd_question(&b, too_long));
  arena_free(a);
}

static void test_answers(void **state) {
  (void)state;
  static const struct {
    struct str bytes;
    enum saslauthd_verdict verdict;
    const char *text;
    bool complete;
  } rows[] = {
    {STR("\0\2OK"), SASLAUTHD_YES, "OK", true},
    {STR("\0\7OK fine"), SASLAUTHD_YES, "OK fine", true},
    {STR("\0\5OK"), SASLAUTHD_YES, "OK", false},
    {STR("\0\2OKAY"), SASLAUTHD_YES, "OK", true},
    {STR("\0\2NO"), SASLAUTHD_NO, "NO", true},
    {STR("\0\11NO reason"), SASLAUTHD_NO, "NO reason", true},
    {STR("\0\1OK"), SASLAUTHD_UNKNOWN, "O", true},
    {STR("\0\2ok"), SASLAUTHD_UNKNOWN, "ok", true},
    {STR("\0\0OK"), SASLAUTHD_UNKNOWN, "", true},
    {STR("\1\2"), SASLAUTHD_UNKNOWN, "", false},
    {STR("\0"), SASLAUTHD_UNKNOWN, "", false},
    {STR(""), SASLAUTHD_UNKNOWN, "", false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct str text;
    assert_int_equal(saslauthd_answer(rows[i].bytes, &text), rows[i].verdict);
    assert_true(str_eq_c(text, rows[i].text));
    assert_int_equal(saslauthd_is_complete(rows[i].bytes), rows[i].complete);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_question),
    cmocka_unit_test(test_answers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
