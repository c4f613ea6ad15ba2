/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared libraries loaded at need: found, absent, without the function asked for. */
#include "unit.h"

#include <math.h>

#include "base/macros.h"
#include "os/library.h"

#define CALLS(F) F(cos) F(floor)
typedef struct {
  CALLS(LIBRARY_MEMBER)
} math_calls;
static const char *const names[] = {CALLS(LIBRARY_NAME)};
static const char math_library[] = "libm.so.6";

static void loads(void **state) {
  (void)state;
  math_calls lib = {.cos = NULL};
  assert_null(library_load(math_library, names, ARRAY_SIZE(names), &lib));
  assert_true(lib.cos(0) == 1 && lib.floor(2.5) == 2);
  assert_null(library_load("no such library", names, ARRAY_SIZE(names), &lib)); /* it is there already */
}

static void says_what_is_wrong(void **state) {
  (void)state;
  static const char *const other[] = {"cos", "no_such_function"};
  math_calls lib = {.cos = NULL};
  const char *why = library_load("libno-such-library.so.1", names, ARRAY_SIZE(names), &lib);
  assert_non_null(why);
  assert_non_null(strstr(why, "libno-such-library.so.1"));
  assert_null(lib.cos);
  why = library_load(math_library, other, ARRAY_SIZE(other), &lib);
  assert_non_null(why);
  assert_non_null(strstr(why, "no_such_function"));
  assert_null(lib.cos); /* nothing counts as there */
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(loads), cmocka_unit_test(says_what_is_wrong)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
