/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The seen condition: what a record means and what is written (manual ch. 44 "Previously seen user and hosts"). */
#include "unit.h"

#include <stdlib.h>

#include "hints/hints.h"
#include "hints/seen.h"
#include "scratch.h"

static void test_decide(void **state) {
  (void)state;
  enum { NOW = 1000000, DAY = 86400, NONE = -1 };
  static const struct {
    int interval, refresh;
    bool before, readonly, write;
    int age;                 /* of the record, NONE: there is none */
    bool want;
    int want_age;            /* of what is written, NONE: nothing is */
  } rows[] = {
    {300, 10 * DAY, .before = true, .age = NONE, .want = false, .want_age = 0},       /* greylisting: the first time */
    {300, 10 * DAY, .before = true, .age = 299, .want = false, .want_age = NONE},     /* too soon: the record stays as old as it is */
    {300, 10 * DAY, .before = true, .age = 300, .want = true, .want_age = NONE},
    {300, 10 * DAY, .before = true, .age = 10 * DAY + 1, .want = true, .want_age = 300}, /* refreshed, or it would be tidied away */
    {300, 60, .before = true, .age = 310, .want = true, .want_age = 300},
    {300, 10 * DAY, .before = false, .age = NONE, .want = false, .want_age = 0},
    {300, 10 * DAY, .before = false, .age = 300, .want = true, .want_age = 0},        /* "since" always updates */
    {300, 10 * DAY, .before = false, .age = 301, .want = false, .want_age = 0},
    {300, 10 * DAY, .before = false, .readonly = true, .age = 10, .want = true, .want_age = NONE},
    {300, 10 * DAY, .before = true, .readonly = true, .age = NONE, .want = false, .want_age = NONE},
    {300, 10 * DAY, .before = true, .readonly = true, .age = 20 * DAY, .want = true, .want_age = NONE},
    {300, 10 * DAY, .before = true, .write = true, .age = 299, .want = false, .want_age = 0},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct seen_request q = {.interval_sec = rows[i].interval, .refresh_sec = rows[i].refresh, .is_before = rows[i].before,
                             .is_readonly = rows[i].readonly, .is_write = rows[i].write};
    struct seen_verdict v = seen_decide(&q, rows[i].age != NONE, NOW - rows[i].age, NOW);
    int age = v.is_written ? (int)(NOW - v.stamp) : NONE;
    if (v.is_true != rows[i].want || age != rows[i].want_age) fail_msg("row %zu: %d, written %d", i, v.is_true, age);
  }
}

/* With a database, and arguments that make no sense.  Texts: Exim 4.96. */
static void test_check(void **state) {
  (void)state;
  static const struct {
    const char *arg;
    enum outcome want;
    const char *log;
  } rows[] = {
    {"-5m/key=a", OUTCOME_FAIL, NULL},
    {"-0s / key=a", OUTCOME_OK, NULL},
    {"5m / key=a", OUTCOME_OK, NULL},
    {"5m / key=b / readonly", OUTCOME_FAIL, NULL},
    {"5m / key=b", OUTCOME_FAIL, NULL},
    {"5m / key=b", OUTCOME_OK, NULL},
    {"xx", OUTCOME_ERROR, "failed to parse 'xx'"},
    {"", OUTCOME_ERROR, "failed to parse ''"},
    {"5m / frob", OUTCOME_ERROR, "unrecognised option 'frob' in '5m / frob'"},
    {"5m / refresh=z", OUTCOME_ERROR, "failed to parse '5m / refresh=z'"},
  };
  struct config cfg = {.spool_directory = scratch_dir};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("test");
    struct expand_ctx x = expand_ctx_new(a, &cfg);
    const char *log = NULL;
    enum outcome got = seen_check(&x, rows[i].arg, &log);
    if (got != rows[i].want) fail_msg("%s: %d %s", rows[i].arg, (int)got, log ? log : "");
    if (rows[i].log) assert_string_equal(log, rows[i].log);
    arena_free(a);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_decide), cmocka_unit_test(test_check)};
  return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
