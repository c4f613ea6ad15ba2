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

static void read_all(const char *path, char *buf, size_t size) {
  int fd = open(path, O_RDONLY);
  ssize_t n = fd >= 0 ? read(fd, buf, size - 1) : 0;
  buf[n > 0 ? n : 0] = 0;
  if (fd >= 0) close(fd);
}

static void start_log(const char *path, size_t pretrigger, bool on_panic) {
  struct debug_log_opts o = {.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600), .path = path, .bits = D_ACL,
                             .pretrigger_bytes = pretrigger, .on_panic = on_panic};
  assert_true(o.fd >= 0);
  debug_log_start(&o);
}

/* control = debug (manual ch. 44): lines at once, or the newest ones when something happens; kill leaves nothing. */
static void debug_log(void **state) {
  (void)state;
  char got[400];
  const char *path = scratch_path("debuglog");
  start_log(path, 0, false);
  assert_int_equal(debug_selector, D_ACL);
  debug_printf("one\n");
  debug_log_stop(false);
  assert_int_equal(debug_selector, 0);
  read_all(path, got, sizeof got);
  assert_string_equal(got, "one\ndebug terminated by stop\n");

  start_log(path, 20, true);
  for (int i = 0; i < 9; i++) debug_printf("line %d\n", i);
  read_all(path, got, sizeof got);
  assert_string_equal(got, "");
  debug_log_panic();
  debug_printf("more\n");
  read_all(path, got, sizeof got);
  assert_string_equal(got, "line 7\nline 8\nmore\n"); /* 20 bytes hold two whole lines and the end of a third, which is left out */
  debug_log_stop(true);
  assert_int_equal(access(path, F_OK), -1);

  start_log(path, 100, false);
  debug_printf("never asked for\n");
  debug_log_panic();
  debug_log_stop(false);
  read_all(path, got, sizeof got);
  assert_string_equal(got, "");
  assert_false(debug_log_is_open());
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(selectors), cmocka_unit_test(what_is_no_selector),
                                     cmocka_unit_test(pid_marks_stand_at_line_starts), cmocka_unit_test(debug_log)};
  return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
