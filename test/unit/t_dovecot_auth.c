/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines of Dovecot's authentication protocol: as its description draws them, and broken at each field. */
#include "unit.h"

#include "formats/dovecot_auth.h"

static void test_lines(void **state) {
  (void)state;
  static const struct {
    const char *line;
    bool ok;
    enum dovecot_kind kind;
    unsigned number;
    const char *text, *user;
    bool temporary;
  } rows[] = {
    {"VERSION\t1\t2", true, DOVECOT_VERSION, 1, "", "", false},
    {"VERSION\tx\t2", false, 0, 0, "", "", false},
    {"VERSION", false, 0, 0, "", "", false},
    {"MECH\tPLAIN\tplaintext", true, DOVECOT_MECH, 0, "PLAIN", "", false},
    {"MECH\t", false, 0, 0, "", "", false},
    {"SPID\t123", true, DOVECOT_OTHER, 0, "", "", false},
    {"DONE", true, DOVECOT_DONE, 0, "", "", false},
    {"CONT\t1\tVXNlcm5hbWU6", true, DOVECOT_CONT, 1, "VXNlcm5hbWU6", "", false},
    {"CONT\t1\t", true, DOVECOT_CONT, 1, "", "", false},
    {"CONT\t1\t250 x", false, 0, 0, "", "", false},
    {"CONT\t-1\tAA==", false, 0, 0, "", "", false},
    {"OK\t1\tuser=me@x\tresp=", true, DOVECOT_OK, 1, "", "me@x", false},
    {"OK\t1", true, DOVECOT_OK, 1, "", "", false},
    {"OK\t99999999999999999999999\tuser=x", false, 0, 0, "", "", false},
    {"FAIL\t1\tuser=you\ttemp", true, DOVECOT_FAIL, 1, "", "you", true},
    {"FAIL\t7\treason=user=x\tcode=temp", true, DOVECOT_FAIL, 7, "", "", false},
    {"", true, DOVECOT_OTHER, 0, "", "", false},
    {"OK\t1\r", false, 0, 0, "", "", false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct dovecot_line l;
    CHECK_INT(rows[i].line, dovecot_parse_line(str_c(rows[i].line), &l), rows[i].ok);
    if (!rows[i].ok) continue;
    CHECK_INT(rows[i].line, l.kind, rows[i].kind);
    CHECK_INT(rows[i].line, l.number, rows[i].number);
    assert_true(str_eq_c(l.text, rows[i].text));
    assert_true(str_eq_c(l.user, rows[i].user));
    CHECK_INT(rows[i].line, l.is_temporary, rows[i].temporary);
  }
  struct dovecot_line l;
  assert_false(dovecot_parse_line(STR("OK\t1\0\tuser=x"), &l));
}

static void test_base64(void **state) {
  (void)state;
  static const char *const good[] = {"", "AAAA", "AA==", "AAA=", "+/9z"}, *const bad[] = {"A\tB", "A B", "A=A", "====", "A\n", "-_"};
  for (size_t i = 0; i < ARRAY_SIZE(good); i++) CHECK_INT(good[i], dovecot_is_base64(str_c(good[i])), true);
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) CHECK_INT(bad[i], dovecot_is_base64(str_c(bad[i])), false);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines), cmocka_unit_test(test_base64)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
