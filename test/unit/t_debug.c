/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What stands after -d: names of chapter 5 of the manual, added to and taken from the default set.  Floor: tests. */
#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include "os/debug.h"
#include "scratch.h"

/* The manual lists these as left out of the default set. */
static const unsigned not_by_default = (unsigned)D_EXPAND | (unsigned)D_INTERFACE | (unsigned)D_LISTS | (unsigned)D_LOAD |
                                       (unsigned)D_LOCAL_SCAN | (unsigned)D_MEMORY | (unsigned)D_PID | (unsigned)D_RESOLVER |
                                       (unsigned)D_TIMESTAMP;

static void selectors(void **state) {
  (void)state;
  unsigned got, standard;
  assert_true(debug_parse("", &standard));
  assert_int_equal(standard & not_by_default, 0);
  assert_int_equal(standard | not_by_default, ~0u);
  assert_true(debug_parse("+all", &got));
  assert_int_equal(got, ~0u);
  assert_true(debug_parse("-all", &got));
  assert_int_equal(got, 0);
  assert_true(debug_parse("-all+route", &got));
  assert_int_equal(got, D_ROUTE);
  assert_true(debug_parse("-all+route+acl-route", &got));
  assert_int_equal(got, D_ACL);
  assert_true(debug_parse("+expand", &got));
  assert_int_equal(got, standard | (unsigned)D_EXPAND);
  assert_true(debug_parse("-deliver", &got));
  assert_int_equal(got, standard & ~(unsigned)D_DELIVER);
  assert_true(debug_parse("-all+hints_lookup+host_lookup+local_scan+process_info+queue_run", &got));
  assert_int_equal(got, D_HINTS | D_HOST_LOOKUP | D_LOCAL_SCAN | D_PROCESS_INFO | D_QUEUE_RUN);
}

static void what_is_no_selector(void **state) {
  (void)state;
  static const char *const rows[] = {"route", "+nothing", "+", "-", "+all+", "+route,acl", "+Route", " +all", "+rout", "++all"};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    unsigned got = 7;
    CHECK_INT(rows[i], debug_parse(rows[i], &got), false);
    CHECK_INT(rows[i], got, 7);
  }
}

static void pid_marks_stand_at_line_starts(void **state) {
  (void)state;
  char want[200];
  fflush(stderr);
  int keep = dup(2), fd = open(scratch_path("err"), O_RDWR | O_CREAT | O_APPEND, 0600);
  dup2(fd, 2);
  debug_printf("plain %d\n", 1);
  debug_selector = D_PID | D_ACL;
  debug_printf("one ");
  debug_printf("two\n");
  debug_printf("three\n");
  debug_selector = 0;
  dup2(keep, 2);
  close(keep);
  close(fd);
  snprintf(want, sizeof want, "plain 1\n%5d one two\n%5d three\n", (int)getpid(), (int)getpid());
  CHECK_STR("stderr", scratch_read("err"), want);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(selectors), cmocka_unit_test(what_is_no_selector),
                                     cmocka_unit_test(pid_marks_stand_at_line_starts)};
  return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
