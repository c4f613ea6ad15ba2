/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Option tables: every value form, what it is shown as, and each error text.  Expected texts: manual ch. 6 and Debian's binary. */
#include "unit.h"

#include "base/arena.h"
#include "policy/options.h"

struct sample {
  const char *address;
  bool flag, hidden_one, on_by_default;
  struct opt_bool_exp more;
  int64_t fixed, number, size_kib, size, mode, interval;
  const char *times, *users, *list, *heads, *cond, *vars;
  struct opt_id user;
  const char *old_name, *unbuilt, *unbuilt_list;
};

#define ROW(n, t, d, f) OPT_TABLE_ROW(struct sample, n, t, d, f)
static const struct option table[] = {
    ROW(address, STR, NULL, OPT_BUILT)
    ROW(cond, STR, NULL, OPT_BUILT | OPT_REP_CON)
    ROW(fixed, FIXED, NULL, OPT_BUILT)
    ROW(flag, BOOL, NULL, OPT_BUILT)
    ROW(heads, STRLIST, NULL, OPT_BUILT | OPT_REP_STR)
    ROW(hidden_one, BOOL, NULL, OPT_HIDDEN_FEATURE)
    ROW(interval, TIME, NULL, OPT_BUILT)
    ROW(list, STRLIST, NULL, OPT_BUILT | OPT_REP_LIST)
    ROW(mode, OCTAL, "0600", OPT_BUILT)
    ROW(more, BOOL_EXP, "true", OPT_BUILT)
    ROW(number, INT, NULL, OPT_BUILT)
    ROW(on_by_default, BOOL, "true", OPT_BUILT)
    ROW(size, MKINT, "100K", OPT_BUILT)
    ROW(size_kib, KINT, "10M", OPT_BUILT)
    ROW(times, TIMELIST, NULL, OPT_BUILT)
    ROW(unbuilt, STR, NULL, 0)
    ROW(unbuilt_list, HOSTLIST, "*", 0)
    ROW(user, UID, NULL, OPT_BUILT)
    ROW(users, UIDLIST, NULL, OPT_BUILT)
    ROW(vars, STRLIST, NULL, OPT_BUILT | OPT_REP_SEMI)
};

/* Store all values of the row in a fresh block; the error of the last, or how the option is shown. */
static const char *run(struct arena *a, const char *name, const char *const *values) {
  struct sample *s = ARENA_NEW(a, struct sample);
  struct opt_block *b = opt_block_new(a, table, ARRAY_SIZE(table), s);
  const struct option *o = opt_find(table, ARRAY_SIZE(table), str_c(name));
  assert_non_null(o);
  const char *err = NULL;
  for (; *values && !err; values++) err = opt_store(a, b, o, str_c(*values), false, false, false);
  return err ? err : opt_show(a, b, o, true, true);
}

static void test_values(void **state) {
  (void)state;
  static const struct {
    const char *name, *values[4], *want;
  } rows[] = {
      {"address", {NULL}, "address = "},
      {"address", {"a b "}, "address = a b "},
      {"address", {"\"x\\ty\\\"\\101\\x42\""}, "address = x\\ty\"AB"},
      {"address", {"\"abc"}, "missing quote at end of string value for address"},
      {"address", {"\"abc\" x"}, "extra characters follow string value for address"},
      {"address", {"a", "b"}, "\"address\" option set for the second time"},
      {"flag", {""}, "flag"},
      {"flag", {"YES"}, "flag"},
      {"flag", {"false"}, "no_flag"},
      {"flag", {"maybe"}, "\"maybe\" is not a valid value for the \"flag\" option"},
      {"flag", {"yes x"}, "extra characters follow \"yes\" for boolean option flag"},
      {"more", {NULL}, "more"},
      {"more", {"abc"}, "\"abc\" is not a valid value for the \"more\" option"},
      {"more", {"yes$x"}, "more = yes$x"},
      {"more", {"no"}, "no_more"},
      {"more", {"${if a}"}, "more = ${if a}"},
      {"fixed", {NULL}, "fixed ="},
      {"fixed", {"5"}, "fixed = 5.0"},
      {"fixed", {"5.1234"}, "fixed = 5.123"},
      {"fixed", {"5.5"}, "fixed = 5.5"},
      {"fixed", {"x"}, "fixed-point number expected for fixed"},
      {"fixed", {"5x"}, "extra characters follow fixed-point value for fixed"},
      {"number", {"0x10"}, "number = 16"},
      {"number", {"010"}, "number = 8"},
      {"number", {"-5"}, "number = -5"},
      {"number", {"2K"}, "number = 2048"},
      {"number", {"1G"}, "number = 1073741824"},
      {"number", {"3G"}, "absolute value of integer \"3G\" is too large (overflow)"},
      {"number", {"99999999999"}, "absolute value of integer \"99999999999\" is too large (overflow)"},
      {"number", {""}, "integer expected for number"},
      {"number", {"12x"}, "extra characters follow integer value for number"},
      {"size", {NULL}, "size = 100K"},
      {"size", {"1025"}, "size = 1025"},
      {"size", {"3M"}, "size = 3M"},
      {"size_kib", {NULL}, "size_kib = 10M"},
      {"size_kib", {"1"}, "size_kib = 1K"},
      {"size_kib", {"2049K"}, "size_kib = 2049K"},
      {"size_kib", {"5T"}, "size_kib = 5T"},
      {"mode", {NULL}, "mode = 0600"},
      {"mode", {"22"}, "mode = 022"},
      {"mode", {"9"}, "octal integer expected for mode"},
      {"interval", {NULL}, "interval = 0s"},
      {"interval", {"90m"}, "interval = 1h30m"},
      {"interval", {"90"}, "invalid time value for interval"},
      {"times", {"1h:90m:2d"}, "times = 1h:1h30m:2d"},
      {"times", {"1h:x"}, "invalid time value for times"},
      {"user", {"no-such-user-here"}, "user no-such-user-here was not found"},
      {"user", {"0"}, "user = root"},
      {"users", {NULL}, "users ="},
      {"users", {"root : 54321"}, "users = root:54321"},
      {"list", {"q", "p"}, "list = q:p"},
      {"heads", {"X: a", "Y: b"}, "heads = X: a\\nY: b"},
      {"vars", {"r_a = b", "r_b = c"}, "vars = r_a = b;r_b = c"},
      {"cond", {"a", "b"}, "cond = ${if and{{bool_lax{a}}{bool_lax{b}}}}"},
      {"unbuilt", {""}, "unbuilt = "},
      {"unbuilt", {"x"}, "option \"unbuilt\" is not supported by this build"},
      {"unbuilt_list", {"*"}, "unbuilt_list = *"},
      {"unbuilt_list", {""}, "unbuilt_list = "},
      {"unbuilt_list", {"a"}, "option \"unbuilt_list\" is not supported by this build"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("t");
    assert_string_equal(run(a, rows[i].name, rows[i].values), rows[i].want);
    arena_free(a);
  }
}

static void test_negation_and_hide(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  struct sample s = {0};
  struct opt_block *b = opt_block_new(a, table, ARRAY_SIZE(table), &s);
  const struct option *flag = opt_find(table, ARRAY_SIZE(table), STR("on_by_default"));
  const struct option *text = opt_find(table, ARRAY_SIZE(table), STR("address"));
  assert_true(s.on_by_default);
  assert_null(opt_store(a, b, flag, STR(""), true, false, false));
  assert_false(s.on_by_default);
  assert_true(opt_was_set(b, "on_by_default"));
  assert_false(opt_was_set(b, "address"));
  assert_string_equal(opt_store(a, b, text, STR(""), true, false, false), "negation prefix applied to a non-boolean option");
  assert_null(opt_store(a, b, text, STR("secret"), false, true, false));
  assert_string_equal(opt_show(a, b, text, true, false), "address = <value not displayable>");
  assert_string_equal(opt_show(a, b, text, true, true), "address = secret");
  assert_null(opt_find(table, ARRAY_SIZE(table), STR("hidden_one")));
  assert_null(opt_find(table, ARRAY_SIZE(table), STR("addres")));
  assert_null(opt_find(table, ARRAY_SIZE(table), STR("addresss")));
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_values),
      cmocka_unit_test(test_negation_and_hide),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
