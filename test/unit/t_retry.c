/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Retry rules: intervals (manual ch. 32 "Retry parameters"), error names, keys. */
#include "unit.h"

#include <errno.h>

#include "retry.h"

enum { H = 3600, M = 60, D = 86400 };

/* F,2h,15m; G,16h,1h,1.5; F,4d,6h */
static struct retry_step last = {.kind = 'F', .timeout_sec = 4 * D, .interval_sec = 6 * H, .factor_thousandths = 1000};
static struct retry_step middle = {.next = &last, .kind = 'G', .timeout_sec = 16 * H, .interval_sec = H, .factor_thousandths = 1500};
static struct retry_step first = {.next = &middle, .kind = 'F', .timeout_sec = 2 * H, .interval_sec = 15 * M, .factor_thousandths = 1000};
static struct retry_rule usual = {.pattern = "*", .steps = &first};

static const struct {
  int64_t failing, gap, max, want;
  bool expired;
} steps[] = {
    {0, 0, D, 15 * M, false},
    {2 * H - 1, 15 * M, D, 15 * M, false},
    {2 * H, 15 * M, D, H, false},
    {3 * H, H, D, 5400, false},       /* 1h * 1.5 */
    {5 * H, 5400, D, 8100, false},    /* * 1.5 again */
    {16 * H, 8100, D, 6 * H, false},
    {4 * D - 1, 6 * H, D, 6 * H, false},
    {4 * D, 6 * H, D, 6 * H, true},   /* past the end: the last step, expired */
    {40 * D, 6 * H, D, 6 * H, true},
    {4 * D - 1, 6 * H, 2 * H, 2 * H, false}, /* retry_interval_max */
};

static void test_intervals(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
    bool expired = !steps[i].expired;
    int64_t got = retry_next_interval(&usual, steps[i].failing, steps[i].gap, steps[i].max, &expired);
    if (got != steps[i].want || expired != steps[i].expired)
      fail_msg("row %zu: got %lld %d want %lld %d", i, (long long)got, expired, (long long)steps[i].want, steps[i].expired);
  }
}

static void test_random_interval(void **state) {
  (void)state;
  struct retry_step s = {.kind = 'H', .timeout_sec = D, .interval_sec = 10 * M, .factor_thousandths = 2000};
  struct retry_rule r = {.steps = &s};
  bool expired;
  for (int i = 0; i < 200; i++) {
    int64_t got = retry_next_interval(&r, 0, H, D, &expired);
    assert_true(got >= 10 * M && got <= 2 * H);
  }
  assert_int_equal(retry_next_interval(&r, 0, 0, D, &expired), 10 * M);
}

static void test_empty_rule(void **state) {
  (void)state;
  struct retry_rule r = {.pattern = "*"};
  bool expired = false;
  assert_int_equal(retry_next_interval(&r, 0, 0, D, &expired), 0);
  assert_true(expired);
}

static const struct {
  const char *name;
  int rule_basic, rule_more, basic, more;
  bool want;
} errors[] = {
    {NULL, 0, 0, ECONNREFUSED, 'A', true},
    {"refused", ECONNREFUSED, 0, ECONNREFUSED, 'M', true},
    {"refused_A", ECONNREFUSED, 'A', ECONNREFUSED, 'A', true},
    {"refused_A", ECONNREFUSED, 'A', ECONNREFUSED, 'M', false},
    {"refused", ECONNREFUSED, 0, ETIMEDOUT, 'A', false},
    {"timeout", ETIMEDOUT, 0, ETIMEDOUT, RETRY_TIMEOUT_CONNECT | 'A', true},
    {"timeout_connect", ETIMEDOUT, RETRY_TIMEOUT_CONNECT, ETIMEDOUT, RETRY_TIMEOUT_CONNECT | 'A', true},
    {"timeout_connect", ETIMEDOUT, RETRY_TIMEOUT_CONNECT, ETIMEDOUT, 'A', false},
    {"timeout_connect_MX", ETIMEDOUT, RETRY_TIMEOUT_CONNECT | 'M', ETIMEDOUT, RETRY_TIMEOUT_CONNECT | 'A', false},
    {"rcpt_4xx", ERRNO_RCPT4XX, 255 << 8, ERRNO_RCPT4XX, 51 << 8 | 'A', true},
    {"rcpt_45x", ERRNO_RCPT4XX, (100 + 50) << 8, ERRNO_RCPT4XX, 51 << 8 | 'A', true},
    {"rcpt_45x", ERRNO_RCPT4XX, (100 + 50) << 8, ERRNO_RCPT4XX, 21 << 8, false},
    {"rcpt_452", ERRNO_RCPT4XX, 52 << 8, ERRNO_RCPT4XX, 52 << 8, true},
    {"rcpt_452", ERRNO_RCPT4XX, 52 << 8, ERRNO_RCPT4XX, 51 << 8, false},
    {"rcpt_4xx", ERRNO_RCPT4XX, 255 << 8, ERRNO_MAIL4XX, 51 << 8, false},
    {"quota", ERRNO_EXIMQUOTA, 0, ERRNO_EXIMQUOTA, 0, true},
    {"quota", ERRNO_EXIMQUOTA, 0, ENOSPC, 0, true},
    {"quota_4d", ERRNO_EXIMQUOTA, 4 * D, ERRNO_EXIMQUOTA, 5 * D, true},
    {"quota_4d", ERRNO_EXIMQUOTA, 4 * D, ERRNO_EXIMQUOTA, 3 * D, false},
    {"auth_failed", ERRNO_AUTHFAIL, 0, ERRNO_AUTHFAIL, 0, true},
    {"tls_required", ERRNO_TLSREQUIRED, 0, ERRNO_TLSFAILURE, 0, true},
    {"lost_connection", ERRNO_SMTPCLOSED, 0, ERRNO_SMTPCLOSED, 'A', true},
};

static void test_errors(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
    struct retry_rule r = {.error = errors[i].name, .basic_errno = errors[i].rule_basic, .more_errno = errors[i].rule_more};
    if (retry_error_matches(&r, errors[i].basic, errors[i].more) != errors[i].want) fail_msg("row %zu", i);
  }
}

static void test_host_keys(void **state) {
  (void)state;
  static const struct {
    const char *name, *address;
    int port;
    bool include_ip;
    const char *interface, *want;
  } t[] = {
      {"mx.example", "192.0.2.1", 25, true, NULL, "T:mx.example:192.0.2.1"},
      {"mx.example", "192.0.2.1", 1225, true, NULL, "T:mx.example:192.0.2.1:1225"},
      {"mx.example", "192.0.2.1", 25, false, NULL, "T:mx.example"},
      {"127.0.0.1", "127.0.0.1", 1224, true, NULL, "T:[127.0.0.1]:127.0.0.1:1224"},
      {"mx.example", "2001:db8::1", 25, true, NULL, "T:mx.example:[2001:db8::1]"},
      {"mx.example", "192.0.2.1", 25, true, "192.0.2.9", "T:mx.example:192.0.2.1/192.0.2.9"},
  };
  struct arena *a = arena_new("test");
  for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
    struct host h = {.name = t[i].name, .address = t[i].address};
    assert_string_equal(retry_host_key_build(a, &h, t[i].port, t[i].include_ip, t[i].interface), t[i].want);
  }
  arena_free(a);
}

/* A rule that cannot be looked up must not look like no rule at all, which would fail the address at once. */
static void test_rule_not_to_be_had(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct retry_rule broken = {.next = &usual, .pattern = "lsearch;/nonexistent/rules", .steps = &first};
  struct config cfg = {.arena = a, .retry_rules = &broken};
  struct expand_ctx x = expand_ctx_new(a, &cfg);
  const struct retry_rule *rule = retry_find_rule(&x, "a@b.test", NULL, 0, 0);
  assert_non_null(rule);
  assert_ptr_not_equal(rule, &usual); /* which of the rules counts is not known */
  bool expired = true;
  assert_int_equal(retry_next_interval(rule, 400 * D, 0, D, &expired), 15 * M);
  assert_false(expired);
  /* What is said of it shows the pattern as it was written. */
  broken.pattern = "/nonexistent/rules";
  assert_ptr_not_equal(retry_find_rule(&x, "a@b.test", NULL, 0, 0), &usual);
  assert_string_equal(x.error, "failed to open /nonexistent/rules when checking \"/nonexistent/rules\": No such file or directory");
  cfg.retry_rules = &usual;
  assert_ptr_equal(retry_find_rule(&x, "a@b.test", NULL, 0, 0), &usual);
  arena_free(a);
}

/* A clock that was ahead for a while must not keep mail waiting until that time comes. */
static void test_records_of_another_time(void **state) {
  (void)state;
  static struct config cfg;
  enum { NOW = 1700000000 };
  cfg.o.retry_data_expire = 7 * D;
  static const struct {
    int64_t stamp;
    bool is_fresh;
  } rows[] = {{NOW, true}, {NOW - 7 * D, true}, {NOW - 7 * D - 1, false}, {NOW + 60, true}, {NOW + 61, false}, {NOW + 400 * D, false}, {0, false}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    const struct hints_retry r = {.stamp = rows[i].stamp};
    if (retry_is_fresh(&cfg, &r, NOW) != rows[i].is_fresh) fail_msg("stamp %lld", (long long)rows[i].stamp);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_intervals), cmocka_unit_test(test_random_interval),
                                     cmocka_unit_test(test_empty_rule), cmocka_unit_test(test_errors),
                                     cmocka_unit_test(test_host_keys), cmocka_unit_test(test_rule_not_to_be_had),
                                     cmocka_unit_test(test_records_of_another_time)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
