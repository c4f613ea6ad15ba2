/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The AVL tree: order, balance after sorted and scattered insertion, duplicates. */
#include "unit.h"

#include "base/tree.h"

static int check_height(const struct tree_node *node) {
  if (!node) {
    return 0;
  }
  int left = check_height(node->left), right = check_height(node->right);
  assert_true(left - right <= 1 && right - left <= 1);
  assert_int_equal(node->height, 1 + MAX(left, right));
  return node->height;
}

struct walk {
  const char *last;
  size_t seen;
  size_t stop_after;
};

static bool check_order(struct tree_node *node, void *ctx) {
  struct walk *w = ctx;
  assert_true(!w->last || strcmp(w->last, node->name) < 0);
  w->last = node->name;
  w->seen++;
  return w->seen != w->stop_after;
}

static void fill_and_check(unsigned step) {
  enum { COUNT = 1009 };
  struct arena *a = arena_new("test");
  struct tree t = {0};
  bool is_new = false;
  for (unsigned i = 0; i < COUNT; i++) {
    char *name = arena_printf(a, "key%05u", i * step % COUNT);
    tree_insert(&t, a, name, &is_new)->val = i;
    assert_true(is_new);
    check_height(t.root);
  }
  assert_int_equal(t.count, COUNT);
  struct walk w = {0};
  tree_walk(&t, check_order, &w);
  assert_int_equal(w.seen, COUNT);
  w = (struct walk){.stop_after = 5};
  tree_walk(&t, check_order, &w);
  assert_int_equal(w.seen, 5);
  for (unsigned i = 0; i < COUNT; i++) {
    struct tree_node *node = tree_find(&t, arena_printf(a, "key%05u", i * step % COUNT));
    assert_non_null(node);
    assert_int_equal(node->val, i);
  }
  assert_null(tree_find(&t, "key"));
  struct tree_node *again = tree_insert(&t, a, "key00000", &is_new);
  assert_false(is_new);
  assert_int_equal(again->val, 0);
  assert_int_equal(t.count, COUNT);
  arena_free(a);
}

static void test_ascending(void **state) {
  (void)state;
  fill_and_check(1);
}

static void test_descending(void **state) {
  (void)state;
  fill_and_check(1008);
}

static void test_scattered(void **state) {
  (void)state;
  fill_and_check(617);
}

static void test_empty_and_copies(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct tree t = {0};
  struct walk w = {0};
  tree_walk(&t, check_order, &w);
  assert_null(tree_find(&t, "x"));
  char key[] = "name";
  tree_insert(&t, a, key, NULL);
  key[0] = 'g';
  assert_non_null(tree_find(&t, "name"));
  const char *dirty = arena_strdup_t(a, "dirty", TAINTED);
  struct tree_node *node = tree_insert(&t, a, dirty, NULL);
  assert_true(is_tainted(node->name));
  assert_false(is_tainted(node));
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_ascending),
      cmocka_unit_test(test_descending),
      cmocka_unit_test(test_scattered),
      cmocka_unit_test(test_empty_and_copies),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
