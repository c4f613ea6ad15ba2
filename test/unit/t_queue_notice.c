/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Datagrams to the queue manager: what is written reads back, and nothing else is taken. */
#include "unit.h"

#include <stdio.h>

#include "queue_notice.h"

static void read_back(void **state) {
  (void)state;
  static const struct queue_notice rows[] = {
    {.kind = QUEUE_NOTICE_MESSAGE, .id = "1xXNLs-0005tZ-0T", .queue = ""},
    {.kind = QUEUE_NOTICE_MESSAGE, .id = "1xXNLs-0005tZ-0T", .queue = NULL, .hold_smtp = true},
    {.kind = QUEUE_NOTICE_MESSAGE, .id = "1xXNLs-00000005tZ0-0T00", .queue = "slow_mail.2"},
    {.kind = QUEUE_NOTICE_RUN, .pattern = "", .serialize_key = NULL},
    {.kind = QUEUE_NOTICE_QUOTA, .address = "a b@c.example", .size = 0},
    {.kind = QUEUE_NOTICE_QUOTA, .address = "x@y", .size = INT64_MAX},
    {.kind = QUEUE_NOTICE_RUN, .pattern = "-x y.example", .serialize_key = "etrn-0123456789abcdef"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    char buf[QUEUE_NOTICE_MAX];
    struct queue_notice got;
    size_t n = queue_notice_write(buf, &rows[i]);
    assert_true(n > 0);
    assert_true(queue_notice_read(str_n(buf, n), &got));
    assert_int_equal(got.kind, rows[i].kind);
    assert_int_equal(got.hold_smtp, rows[i].hold_smtp);
    if (got.kind == QUEUE_NOTICE_MESSAGE) {
      assert_string_equal(got.id, rows[i].id);
      assert_string_equal(got.queue, rows[i].queue ? rows[i].queue : "");
    } else if (got.kind == QUEUE_NOTICE_QUOTA) {
      assert_string_equal(got.address, rows[i].address);
      assert_true(got.size == rows[i].size);
    } else {
      assert_string_equal(got.pattern, rows[i].pattern);
      assert_string_equal(got.serialize_key, rows[i].serialize_key ? rows[i].serialize_key : "");
    }
    for (size_t cut = 0; cut < n; cut++) assert_false(queue_notice_read(str_n(buf, cut), &got));
  }
}

static void refused(void **state) {
  (void)state;
#define ROW(s) {s, sizeof(s) - 1}
  static const struct {
    const char *p;
    size_t n;
  } rows[] = {
    ROW(""), ROW("M"), ROW("M\0\0"), ROW("X1xXNLs-0005tZ-0T\0\0"), ROW("M1xXNLs-0005tZ-0T\0../x\0"), ROW("M1xXNLs-0005tZ-0T\0input\0"),
    ROW("M1xXNLs-0005tZ-0T\0\0x"), ROW("M../../etc/passwd\0\0"), ROW("Rx\0../../key\0"), ROW("Rx\0key"), ROW("R"),
    ROW("Qa@b\0"), ROW("Qa@b\0\0"), ROW("Qab\0001\0"), ROW("Qa@b\0-1\0"), ROW("Qa@b\000099\0"), ROW("Qa\n@b\0001\0"), ROW("Qa@b\0001\0x"),
    ROW("Qa@b\00018446744073709551616\0"), ROW("Rx\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\0"),
  };
  struct queue_notice got = {.id = "untouched"};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) assert_false(queue_notice_read(str_n(rows[i].p, rows[i].n), &got));
  assert_string_equal(got.id, "untouched");
}

static void too_long(void **state) {
  (void)state;
  char pattern[QUEUE_NOTICE_PATTERN_MAX + 2], buf[QUEUE_NOTICE_MAX];
  memset(pattern, 'x', sizeof(pattern) - 1);
  pattern[sizeof(pattern) - 1] = 0;
  struct queue_notice n = {.kind = QUEUE_NOTICE_RUN, .pattern = pattern, .serialize_key = ""};
  assert_int_equal(queue_notice_write(buf, &n), 0);
  pattern[QUEUE_NOTICE_PATTERN_MAX] = 0;
  assert_true(queue_notice_write(buf, &n) > QUEUE_NOTICE_PATTERN_MAX);
}

static void answers(void **state) {
  (void)state;
  char buf[QUEUE_ANSWER_MAX], text[3 * QUEUE_ANSWER_MAX];
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = 0;
  static const enum outcome outcomes[] = {OUTCOME_OK, OUTCOME_FAIL, OUTCOME_DEFER};
  for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++) {
    struct queue_answer got = {.log = "untouched"}, sent = {.outcome = outcomes[i], .user = i ? "mailbox is full" : NULL, .log = i == 2 ? text : "why"};
    size_t n = queue_answer_write(buf, &sent);
    assert_true(n <= sizeof buf);
    for (size_t cut = 0; cut < n; cut++) assert_false(queue_answer_read(str_n(buf, cut), &got));
    assert_string_equal(got.log, "untouched");
    assert_true(queue_answer_read(str_n(buf, n), &got));
    assert_int_equal(got.outcome, outcomes[i]);
    if (i) assert_string_equal(got.user, "mailbox is full");
    else assert_null(got.user);
    assert_int_equal(strncmp(got.log, i == 2 ? text : "why", strlen(got.log)), 0);
    assert_true(strlen(got.log) > (i == 2 ? 1000u : 2u));
  }
  struct queue_answer got;
  assert_false(queue_answer_read(str_n("x\0\0", 3), &got));
  assert_false(queue_answer_read(str_n("\0\0\0", 3), &got));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(read_back), cmocka_unit_test(refused), cmocka_unit_test(too_long), cmocka_unit_test(answers)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
