/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arithmetic of the ratelimit condition: smoothing, and the set of events. */
#include "unit.h"

#include <math.h>
#include <stdio.h>

#include "hints/ratelimit.h"

static void test_smooth(void **state) {
  (void)state;
  static const struct { double old_rate, interval, period, count, want; } t[] = {
    {1, 0, 3600, 1, 2},               /* a burst counts in full */
    {0, 0, 3600, 5, 5},
    {10, 3600, 3600, 0, 3.6787944},   /* one period of silence: divided by e */
    {10, 36000, 3600, 0, 0.00045399},
    {60, 60, 3600, 1, 60},            /* one a minute stays sixty an hour */
    {7, -5, 60, 0, 7},                /* a clock set back */
  };
  for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
    double got = ratelimit_smooth(t[i].old_rate, t[i].interval, t[i].period, t[i].count);
    if (fabs(got - t[i].want) > 1e-4) fail_msg("row %zu: got %f, want %f", i, got, t[i].want);
  }
}

static void test_events(void **state) {
  (void)state;
  enum { LIMIT = 1000 };
  static uint8_t bits[LIMIT * 2];
  size_t wrong = 0;
  for (int i = 0; i < LIMIT; i++) {
    char event[32];
    snprintf(event, sizeof event, "user%d@example.com", i);
    if (ratelimit_seen(bits, sizeof bits, str_c(event), false)) wrong++;
    (void)ratelimit_seen(bits, sizeof bits, str_c(event), true);
    assert_true(ratelimit_seen(bits, sizeof bits, str_c(event), false));
  }
  if (wrong > LIMIT / 1000 + 1) fail_msg("%zu of %d new events were taken for old ones", wrong, LIMIT);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_smooth), cmocka_unit_test(test_events)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
