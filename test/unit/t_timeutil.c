/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Intervals and dates; expected values from the manual and from ${time_eval:}, ${time_interval:} of Exim 4.96. */
#include "unit.h"

#include "base/timeutil.h"

static void test_parse_interval(void **state) {
  (void)state;
  static const struct {
    const char *text;
    bool ok;
    int64_t sec;
    bool ms_ok;
    int64_t ms;
  } rows[] = {
      {"1w2d", true, 777600, true, 777600000},
      {"1d1w", true, 691200, true, 691200000},
      {"1h1h", true, 7200, true, 7200000},
      {"1w2d3h4m5s", true, 788645, true, 788645000},
      {"0s", true, 0, true, 0},
      {"3h0s", true, 10800, true, 10800000},
      {"1d3m", true, 86580, true, 86580000},
      {"5", false, 0, false, 0},
      {"", false, 0, false, 0},
      {"-3h", false, 0, false, 0},
      {" 3h", false, 0, false, 0},
      {"3h ", false, 0, false, 0},
      {"3s4", false, 0, false, 0},
      {"w", false, 0, false, 0},
      {"3W", false, 0, false, 0},
      {"3x", false, 0, false, 0},
      {"1.5s", false, 0, true, 1500},
      {"1m0.25s", false, 0, true, 60250},
      {"0.0005s", false, 0, true, 0},
      {"1.s", false, 0, false, 0},
      {".5s", false, 0, false, 0},
      {"1.5m", false, 0, false, 0},
      {"99999999999999999w", false, 0, false, 0},
      {"99999999999999999999999s", false, 0, false, 0},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    int64_t got = 0;
    CHECK_INT(rows[i].text, time_parse_interval(str_c(rows[i].text), false, &got), rows[i].ok);
    CHECK_INT(rows[i].text, got, rows[i].sec);
    got = 0;
    CHECK_INT(rows[i].text, time_parse_interval(str_c(rows[i].text), true, &got), rows[i].ms_ok);
    CHECK_INT(rows[i].text, got, rows[i].ms);
  }
}

static void test_format_interval(void **state) {
  (void)state;
  static const struct {
    int64_t sec;
    const char *want;
  } rows[] = {{59, "59s"},     {0, "0s"},           {60, "1m"},
              {3600, "1h"},    {604800, "1w"},      {694861, "1w1d1h1m1s"},
              {1209600, "2w"}, {90061, "1d1h1m1s"}, {-90, "-1m30s"}};
  char buf[48];
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    CHECK_STR("interval", time_format_interval(rows[i].sec, buf, sizeof buf), rows[i].want);
  }
  assert_non_null(time_format_interval(INT64_MAX, buf, sizeof buf));
  assert_non_null(time_format_interval(INT64_MIN, buf, sizeof buf));
}

static void test_format_dates(void **state) {
  (void)state;
  static const struct {
    const char *zone;
    enum time_style style;
    struct time_opts opts;
    const char *want;
  } rows[] = {
      {"UTC0", TIME_LOG, {0}, "2025-03-04 10:11:12"},
      {"UTC0", TIME_LOG, {.want_msec = true}, "2025-03-04 10:11:12.007"},
      {"UTC0", TIME_LOG, {.want_msec = true, .want_zone = true}, "2025-03-04 10:11:12.007 +0000"},
      {"UTC0", TIME_LOG_BARE, {.want_msec = true, .want_zone = true}, "2025-03-04 10:11:12.007"},
      {"CET-1", TIME_LOG, {.want_zone = true}, "2025-03-04 11:11:12 +0100"},
      {"CET-1", TIME_LOG, {.want_zone = true, .utc = true}, "2025-03-04 10:11:12 +0000"},
      {"EST5", TIME_FULL, {0}, "Tue, 04 Mar 2025 05:11:12 -0500"},
      {"NST3:30", TIME_ZONE, {0}, "-0330"},
      {"IST-5:30", TIME_ZONE, {0}, "+0530"},
      {"UTC0", TIME_FULL, {0}, "Tue, 04 Mar 2025 10:11:12 +0000"},
      {"UTC0", TIME_BSD_INBOX, {0}, "Tue Mar  4 10:11:12 2025"},
      {"EST5", TIME_ZULU, {0}, "20250304101112Z"},
      {"XXX-14", TIME_LOGFILE, {0}, "20250305"},
  };
  struct timeval tv = {.tv_sec = 1741083072, .tv_usec = 7900};
  char buf[48];
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    setenv("TZ", rows[i].zone, 1);
    tzset();
    CHECK_STR(rows[i].zone, time_format(tv, rows[i].style, rows[i].opts, buf, sizeof buf), rows[i].want);
  }
  struct timeval odd = {.tv_sec = INT64_MAX, .tv_usec = 999999};
  assert_non_null(time_format(odd, TIME_FULL, (struct time_opts){0}, buf, sizeof buf));
}

static void test_clocks(void **state) {
  (void)state;
  time_t before = time(NULL);
  assert_true(time_sec() - before <= 1);
  time_set_offset_sec(1000);
  assert_true(time_sec() - before >= 1000);
  time_set_offset_sec(0);
  assert_true(deadline_in_sec(0) == DEADLINE_NEVER && deadline_in_sec(-1) == DEADLINE_NEVER);
  assert_true(deadline_in_sec(INT64_MAX) == DEADLINE_NEVER);
  assert_int_equal(deadline_poll_ms(DEADLINE_NEVER), -1);
  assert_int_equal(deadline_poll_ms(time_mono_ms() - 5), 0);
  int left = deadline_poll_ms(deadline_in_ms(60000));
  assert_true(left > 50000 && left <= 60000);
  assert_true(deadline_passed(time_mono_ms() - 1));
  assert_false(deadline_passed(deadline_in_sec(100)) || deadline_passed(DEADLINE_NEVER));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_parse_interval),
      cmocka_unit_test(test_format_interval),
      cmocka_unit_test(test_format_dates),
      cmocka_unit_test(test_clocks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
