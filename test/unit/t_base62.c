/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Base 62 and message ids; expected digits from ${base62:} and ${base62d:} of Exim 4.96. */
#include "unit.h"

#include "base/base62.h"
#include "base/buildinfo.h"

static void test_encode(void **state) {
  (void)state;
  static const struct {
    uint64_t v;
    int width;
    const char *want;
  } rows[] = {
      {12345, 6, "0003D7"}, {0, 6, "000000"}, {4294967295u, 6, "4gfFC3"}, {12345, 2, "D7"}, {0, 0, ""}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    char buf[16] = "";
    base62_encode(rows[i].v, rows[i].width, buf);
    CHECK_STR("base62", buf, rows[i].want);
  }
}

static void test_decode(void **state) {
  (void)state;
  static const struct {
    const char *text;
    bool ok;
    uint64_t want;
  } rows[] = {{"0000zZ", true, 3817},
              {"4gfFC3", true, 4294967295u},
              {"", false, 0},
              {"a-b", false, 0},
              {"LygHa16AHYF", true, UINT64_MAX},
              {"LygHa16AHYG", false, 0},
              {"zzzzzzzzzzzzzzzzzzz", false, 0}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uint64_t got = 0;
    CHECK_INT(rows[i].text, base62_decode(str_c(rows[i].text), &got), rows[i].ok);
    CHECK_INT(rows[i].text, got, rows[i].want);
  }
}

static void test_message_ids(void **state) {
  (void)state;
  static const struct {
    const char *text;
    size_t prefix;
    bool valid;
  } rows[] = {
      {"10HmaX-000000005vi-0000", 23, true}, {"10HmaX-000000005vi-0000-H", 23, false},
      {"10HmaX-0005vi-00", 16, true},        {"10HmaX-0005vi-00-D", 16, false},
      {"10HmaX-0005vi-000", 0, false},       {"10HmaX-000000005vi-00000", 0, false},
      {"10HmaX-000000005vi-000", 0, false},  {"10Hma-000000005vi-0000", 0, false},
      {"10Hm/X-0005vi-00", 0, false},        {"", 0, false},
      {"10HmaX-0005vi-00 rest", 16, false},  {"10HmaX-0005vi-0", 0, false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    CHECK_INT(rows[i].text, msgid_prefix_len(str_c(rows[i].text)), rows[i].prefix);
    CHECK_INT(rows[i].text, msgid_is_valid(str_c(rows[i].text)), rows[i].valid);
  }
}

static void test_build_marks(void **state) {
  (void)state;
  const char *version = build_version();
  assert_string_equal(version + strlen(version) + 1, "<<eximversion>>");
  assert_false(build_in_harness_mode());
  assert_int_equal(strlen(build_date()), strlen("04-Mar-2025 10:11:12"));
  assert_int_equal(build_date()[2], '-');
  assert_true(build_info()->exim_user[0] != 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_encode),
      cmocka_unit_test(test_decode),
      cmocka_unit_test(test_message_ids),
      cmocka_unit_test(test_build_marks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
