/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Quota values and maildirsize files (manual ch. 26 "quota", "Using a maildirsize file"). */
#include "unit.h"

#include "transports/appendfile_priv.h"

static const struct {
  const char *text;
  bool ok;
  int64_t want;
  bool no_check;
} values[] = {
    {"0", true, 0, false},
    {"500", true, 500, false},
    {" 10M ", true, 10 << 20, false},
    {"1.5K", true, 1536, false},
    {"2g/no_check", true, INT64_C(2) << 30, true},
    {"1 / no_check", false, 0, false},
    {"7/no_check/", true, 7, true},
    {"7/other", false, 0, false},
    {"", false, 0, false},
    {"K", false, 0, false},
    {"-1", false, 0, false},
    {"10x", false, 0, false},
    {"99999999999999999999", false, 0, false},
    {"9999999999999G", false, 0, false},
};

static void test_values(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
    int64_t got = -7;
    bool no_check = false;
    const char *error = append_parse_quota(values[i].text, &got, &no_check);
    if (!error != values[i].ok || (!error && (got != values[i].want || no_check != values[i].no_check)))
      fail_msg("\"%s\": got %lld %d %s", values[i].text, (long long)got, no_check, error ? error : "ok");
  }
}

static const struct {
  const char *text;
  bool ok;
  int64_t bytes, files;
  int entries;
} sizefiles[] = {
    {"30S,1C\n100 2\n", true, 100, 2, 1},
    {"30S,1C\n     100      2\n50 1\n-20 -1\n", true, 130, 2, 3},
    {"30S,1C\n100 2", true, 100, 2, 1},
    {"30S\n100 2\n", false, 0, 0, 0},       /* another quota */
    {"30S,1C\n", false, 0, 0, 0},
    {"30S,1C\n-100 2\n", false, 0, 0, 0},
    {"30S,1C\n100\n", false, 0, 0, 0},
    {"30S,1C\n9223372036854775807 1\n1 1\n", false, 0, 0, 0},
    {"", false, 0, 0, 0},
};

static void test_sizefiles(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(sizefiles); i++) {
    struct append_usage u = {0};
    int entries = 0;
    bool ok = append_parse_sizefile(str_c(sizefiles[i].text), "30S,1C", &u, &entries);
    if (ok != sizefiles[i].ok || u.bytes != sizefiles[i].bytes || u.files != sizefiles[i].files || entries != sizefiles[i].entries)
      fail_msg("row %zu: got %d %lld %lld %d", i, ok, (long long)u.bytes, (long long)u.files, entries);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_sizefiles)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
