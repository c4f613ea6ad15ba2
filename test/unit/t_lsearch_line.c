/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys and data of lsearch lines.  Expected: manual ch. 9.3, and Debian's Exim 4.96 -be '${lookup{key}lsearch{file}}' for the joined lines. */
#include "unit.h"

#include "formats/lsearch_line.h"

static const struct {
  const char *text, *key, *data; /* text: the line and what follows it */
} rows[] = {
  {"a: one", "a", "one"},
  {"a one", "a", "one"},
  {"a\t:\t one  ", "a", "one"},
  {"a:one: two", "a", "one: two"},
  {"a", "a", ""},
  {"", "", ""},
  {": x", "", "x"},
  {"\"q k\": data", "q k", "data"},
  {"\"q\\n\\101\\x42\\\"c\" data", "q\nAB\"c", "data"},
  {"\"open: data", "open: data", ""},
  {"\"open\\", "open\\", ""},
  {"\"q\"z: t", "q", "z: t"},
  {"a: one\n  two\n\tthree\nb: x", "a", "one two three"},
  {"a:\n  two", "a", " two"},
  {"a: one\n\n two", "a", "one"},
  {"a: one\n# c\n two", "a", "one"},
};

static void test_lines(void **state) {
  (void)state;
  struct arena *a = arena_new("lines");
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct str text = str_c(rows[i].text), line = str_cut(&text, '\n'), rest;
    struct str key = lsearch_key(a, line, &rest);
    CHECK_STR(rows[i].text, str_dup(a, key), rows[i].key);
    CHECK_STR(rows[i].text, lsearch_data(a, rest, text, line, false), rows[i].data);
  }
  struct str line = STR("a:  one "), rest;
  (void)lsearch_key(a, line, &rest);
  CHECK_STR("whole line", lsearch_data(a, rest, STR(" two"), line, true), "a:  one two");
  line = STR("\"q \\\"k\" :  one ");
  (void)lsearch_key(a, line, &rest);
  CHECK_STR("whole line with a quoted key", lsearch_data(a, rest, STR(" two"), line, true), "q \"k :  one two");
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
