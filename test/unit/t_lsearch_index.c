/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys of lsearch files, found by a scan and by the index.  Expected: manual ch. 9.3, and Debian's Exim 4.96 for the joined lines. */
#include "unit.h"

#include "base/strbuf.h"
#include "formats/lsearch_index.h"
#include "formats/lsearch_line.h"

/* The data of a key, by a scan and by the index; NULL for none. */
static const char *found(struct arena *a, const char *text, const char *key) {
  struct lsearch_hit scanned, indexed;
  const struct lsearch_index *ix = lsearch_index_new(a, str_c(text));
  bool by_scan = lsearch_scan(a, str_c(text), key, &scanned), by_index = lsearch_index_find(ix, a, key, &indexed);
  CHECK_INT(key, by_index, by_scan);
  if (!by_scan) return NULL;
  assert_ptr_equal(scanned.line.p, indexed.line.p);
  assert_ptr_equal(scanned.following.p, indexed.following.p);
  return lsearch_data(a, indexed.rest, indexed.following, indexed.line, false);
}

static void test_finding(void **state) {
  (void)state;
  static const char text[] = "# a: comment\n\nKey: 1\nkey: 2\n  more\n\"q k\": 3\n a: no key\nend 4\n cont\nlast";
  struct arena *a = arena_new("lines");
  CHECK_STR("first of two, case folded", found(a, text, "kEY"), "1");
  CHECK_STR("quoted, continued", found(a, text, "q k"), "3 a: no key");
  CHECK_STR("continued", found(a, text, "end"), "4 cont");
  CHECK_STR("no newline at the end", found(a, text, "LAST"), "");
  static const char *const absent[] = {"a", "#", "ke", "keyx", "key:", "\"q", "", "1"};
  for (size_t i = 0; i < ARRAY_SIZE(absent); i++) assert_null(found(a, text, absent[i]));
  assert_null(found(a, "", "x"));
  struct strbuf b = strbuf_new(a);
  for (int i = 0; i < 3000; i++) strbuf_addf(&b, "k%d: v%d\n", i % 2900, i);
  for (int i = 0; i < 2900; i += 97)
    CHECK_STR("many lines", found(a, b.p, arena_printf(a, "K%d", i)), arena_printf(a, "v%d", i));
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_finding)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
