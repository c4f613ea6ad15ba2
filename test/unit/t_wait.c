/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages that wait for a host (retry.h, wait.c): first come, first served, each once; when very many wait, it is said (queue_fast_ramp).
 * Floor: tests. */
#include "unit.h"

#include <stdio.h>

#include "retry.h"
#include "scratch.h"

enum { RECORD = 50, MANY = 250, ALL = 300 };

static const char *id_of(struct arena *a, int n) { return arena_printf(a, "1xXOBt-000000003B7-%04d", n); }

static bool exists(void *ctx, const char *id) { return !ctx || strcmp(ctx, id) != 0; }

static void test_order(void **state) {
  (void)state;
  struct arena *a = arena_new("wait");
  struct config cfg = {.spool_directory = scratch_dir};
  struct host h = {.name = "mx.test"};
  for (int n = 1; n <= ALL; n++) {
    bool is_full = wait_add(&cfg, "smtp", &h, id_of(a, n));
    if (is_full != (n >= MANY && n % RECORD == 0)) fail_msg("message %d: %d", n, is_full);
    assert_false(wait_add(&cfg, "smtp", &h, id_of(a, n))); /* it waits already */
  }
  char id[MSGID_SIZE];
  const struct wait_who who = {.exclude_id = id_of(a, 7), .exists = exists, .ctx = (void *)id_of(a, 9)};
  enum wait_found found, last = WAIT_NONE;
  int seen = 0;
  while ((found = wait_next(&cfg, a, "smtp", "mx.test", &who, id)) != WAIT_NONE) {
    assert_int_not_equal(last, WAIT_LAST);
    last = found;
    assert_string_not_equal(id, id_of(a, 7)); /* asked for by that one */
    assert_string_not_equal(id, id_of(a, 9)); /* gone meanwhile */
    seen++;
  }
  assert_int_equal(seen, ALL - 2);
  assert_int_equal(last, WAIT_LAST);
  assert_false(wait_add(&cfg, "smtp", &h, id_of(a, 1))); /* an empty list again */
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_order)};
  return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
