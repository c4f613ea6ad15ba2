/* SPDX-License-Identifier: GPL-2.0-or-later */
/* formats/server_item: names of database servers, the older prefix of queries, fields of rows (manual ch. 9.21-9.25). */
#include "formats/server_item.h"
#include "unit.h"

static void test_split(void **state) {
  (void)state;
  struct str p[SERVER_ITEM_PARTS_MAX];
  assert_true(server_item_split(STR("(/tmp/.s.PGSQL.5432)/db/user/pw"), 4, p));
  assert_true(str_eq_c(p[0], "(/tmp/.s.PGSQL.5432)") && str_eq_c(p[1], "db") && str_eq_c(p[2], "user") && str_eq_c(p[3], "pw"));
  assert_true(server_item_split(STR("h///"), 4, p));
  assert_true(str_eq_c(p[0], "h") && p[1].n == 0 && p[2].n == 0 && p[3].n == 0);
  assert_false(server_item_split(STR("h/db/user"), 4, p));
  assert_true(server_item_split(STR("h/1/pw"), 3, p));
  assert_false(server_item_split(STR(""), 3, p));
}

static void test_host(void **state) {
  (void)state;
  static const struct {
    const char *text, *name, *port, *socket, *group;
  } rows[] = {
    {"h", "h", "", "", ""},
    {"h:3306(/s/k)[g]", "h", "3306", "/s/k", "g"},
    {"(/s/k)", "", "", "/s/k", ""},
    {"[g]", "", "", "", "g"},
    {":1", "", "1", "", ""},
    {"", "", "", "", ""},
    {"h()", "h", "", "", ""},
  };
  struct server_item_host h;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    assert_true(server_item_parse_host(str_c(rows[i].text), &h));
    assert_true(str_eq_c(h.name, rows[i].name) && str_eq_c(h.port, rows[i].port));
    assert_true(str_eq_c(h.socket, rows[i].socket) && str_eq_c(h.group, rows[i].group));
  }
  static const char *const wrong[] = {"h(", "h(x", "h)x(", "h[g", "h(s)x", "(s)[g]x", "(", "["};
  for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) assert_false(server_item_parse_host(str_c(wrong[i]), &h));
}

static void test_prefix(void **state) {
  (void)state;
  struct str q = STR(" servers = a:b/c/d/e ; select x; y"), list;
  bool bad;
  assert_true(server_item_cut_prefix(&q, &list, &bad));
  assert_true(str_eq_c(list, "a:b/c/d/e") && str_eq_c(q, "select x; y") && !bad);
  q = STR("servers=a");
  assert_false(server_item_cut_prefix(&q, &list, &bad));
  assert_true(bad && str_eq_c(q, "servers=a"));
  q = STR("select servers=1;");
  assert_false(server_item_cut_prefix(&q, &list, &bad));
  assert_false(bad);
  q = STR("servers");
  assert_false(server_item_cut_prefix(&q, &list, &bad));
  assert_false(bad);
}

static void test_fields(void **state) {
  (void)state;
  struct arena *a = arena_new("t_server_item");
  struct strbuf b = strbuf_new(a);
  server_item_add_field(&b, "home", STR("/home/userx"));
  server_item_add_field(&b, "name", STR("Mister \"X\" \\"));
  server_item_add_field(&b, "e", STR(""));
  server_item_add_field(&b, "q", STR("\"a"));
  server_item_add_field(&b, "b", STR("a\\b\"c"));
  CHECK_STR("row", b.p, "home=/home/userx name=\"Mister \\\"X\\\" \\\\\" e=\"\" q=\"\\\"a\" b=a\\b\"c ");
  arena_free(a);
}

static void test_words(void **state) {
  (void)state;
  struct arena *a = arena_new("t_server_item");
  struct server_item_words w;
  assert_true(server_item_cut_words(a, " set  key\\ one a\\\\b\tc\\", &w));
  assert_int_equal(w.n, 4);
  CHECK_STR("word", w.word[0], "set");
  CHECK_STR("word", w.word[1], "key one");
  CHECK_STR("word", w.word[2], "a\\b");
  CHECK_STR("word", w.word[3], "c\\");
  assert_true(server_item_cut_words(a, "  ", &w));
  assert_int_equal(w.n, 0);
  char many[2 * SERVER_ITEM_WORDS_MAX + 3];
  for (size_t i = 0; i < sizeof many; i++) many[i] = i % 2 ? ' ' : 'x';
  many[2 * SERVER_ITEM_WORDS_MAX] = '\0';
  assert_true(server_item_cut_words(a, many, &w));
  assert_int_equal(w.n, SERVER_ITEM_WORDS_MAX);
  many[2 * SERVER_ITEM_WORDS_MAX] = 'x';
  many[2 * SERVER_ITEM_WORDS_MAX + 1] = '\0';
  assert_false(server_item_cut_words(a, many, &w));
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_split), cmocka_unit_test(test_host), cmocka_unit_test(test_prefix),
                                     cmocka_unit_test(test_fields), cmocka_unit_test(test_words)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
