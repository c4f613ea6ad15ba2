/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lookups/server_pool: what is kept, what is closed, and that a child closes and uses nothing of its parent's. */
#include "lookups/server_pool.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

static int closed[64];

static void close_one(void *connection) { closed[(int *)connection - closed]++; }

static int count_closed(void) {
  int n = 0;
  for (size_t i = 0; i < ARRAY_SIZE(closed); i++) n += closed[i];
  return n;
}

static void test_kept(void **state) {
  (void)state;
  memset(closed, 0, sizeof closed);
  struct server_pool *p = server_pool_new(close_one);
  assert_null(server_pool_find(p, "a"));
  server_pool_add(p, "a", &closed[0]);
  server_pool_add(p, "b", &closed[1]);
  assert_ptr_equal(server_pool_find(p, "a"), &closed[0]);
  assert_ptr_equal(server_pool_find(p, "b"), &closed[1]);
  server_pool_drop(p, &closed[0]);
  assert_int_equal(closed[0], 1);
  assert_null(server_pool_find(p, "a"));
  server_pool_drop(p, &closed[0]); /* not there any more */
  assert_int_equal(closed[0], 1);
  server_pool_free(p);
  assert_int_equal(closed[1], 1);
  server_pool_free(NULL);
}

static void test_bounded(void **state) {
  (void)state;
  memset(closed, 0, sizeof closed);
  struct server_pool *p = server_pool_new(close_one);
  for (int i = 0; i < 20; i++) {
    char name[16];
    (void)snprintf(name, sizeof name, "s%d", i);
    server_pool_add(p, name, &closed[i]);
  }
  assert_int_equal(count_closed(), 4); /* doc/limits.txt: 16 are kept */
  for (int i = 0; i < 4; i++) assert_int_equal(closed[i], 1); /* the oldest */
  assert_null(server_pool_find(p, "s3"));
  assert_non_null(server_pool_find(p, "s4"));
  server_pool_free(p);
  assert_int_equal(count_closed(), 20);
}

static void test_child(void **state) {
  (void)state;
  memset(closed, 0, sizeof closed);
  struct server_pool *p = server_pool_new(close_one);
  server_pool_add(p, "a", &closed[0]);
  pid_t pid = fork();
  if (pid == 0) {
    bool ok = !server_pool_find(p, "a");
    server_pool_add(p, "a", &closed[1]);
    ok = ok && server_pool_find(p, "a") == &closed[1];
    server_pool_free(p);
    _exit(ok && closed[0] == 0 && closed[1] == 1 ? 0 : 1);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
  assert_ptr_equal(server_pool_find(p, "a"), &closed[0]);
  server_pool_free(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_kept), cmocka_unit_test(test_bounded), cmocka_unit_test(test_child)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
