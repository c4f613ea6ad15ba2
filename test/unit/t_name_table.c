/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables sorted by name: hits, and names that stand before, between, behind and within the rows. */
#include "base/name_table.h"

#include "unit.h"

struct row {
  const char *name;
  int value;
};
static const struct row rows[] = {{"a", 1}, {"ab", 2}, {"abc", 3}, {"b_c", 4}, {"zz", 5}};

static void test_find(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    const struct row *r = NAME_FIND(rows, ARRAY_SIZE(rows), str_c(rows[i].name));
    assert_ptr_equal(r, &rows[i]);
  }
  static const char *const absent[] = {"", "A", "aa", "abcd", "b", "b_", "b_cc", "z", "zzz", "\xff"};
  for (size_t i = 0; i < ARRAY_SIZE(absent); i++) assert_null(NAME_FIND(rows, ARRAY_SIZE(rows), str_c(absent[i])));
  assert_null(NAME_FIND(rows, ARRAY_SIZE(rows), STR("a\0")));
  assert_null(NAME_FIND(rows, 0, STR("a")));
  assert_int_equal(NAME_FIND(rows, ARRAY_SIZE(rows), str_n("abc", 2))->value, 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_find)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
