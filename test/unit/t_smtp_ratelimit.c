/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smtp_ratelimit_mail and _rcpt: the values of the manual (ch. 14) and what is no value. */
#include "unit.h"

#include "smtp_in_priv.h"

static void values(void **state) {
  (void)state;
  struct smtp_ratelimit r;
  assert_true(smtp_parse_ratelimit(STR("2,0.5s,1.05,4m"), &r));
  assert_int_equal(r.threshold, 2);
  assert_true(r.first_sec == 0.5 && r.max_sec == 240 && r.factor > 1.0499 && r.factor < 1.0501);
  assert_true(smtp_parse_ratelimit(STR(" 4 , 0.25s , 1.015 , 4m"), &r));
  static const char *const bad[] = {"", "2", "2,0.5s", "2,0.5s,1.05", "x,1s,1,1m", "-1,1s,1,1m", "2,1s,0.5,1m", "2,1..5s,1,1m", "2,1s,1,4q",
                                    "2,s,1,1m"};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    if (smtp_parse_ratelimit(str_c(bad[i]), &r)) fail_msg("accepted: %s", bad[i]);
}

static void delays(void **state) {
  (void)state;
  struct smtp_ratelimit r = {.threshold = 2, .first_sec = 0.5, .factor = 2, .max_sec = 3};
  static const double want[] = {0, 0, 0, 0.5, 1, 2, 3, 3};
  for (int64_t i = 0; i < (int64_t)ARRAY_SIZE(want); i++) assert_true(smtp_ratelimit_delay(&r, i) == want[i]);
  assert_true(smtp_ratelimit_delay(&r, 1000000000000) == 3); /* ends soon however often it is asked */
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(values), cmocka_unit_test(delays)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
