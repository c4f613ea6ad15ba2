/* SPDX-License-Identifier: GPL-2.0-or-later */
/* formats/scanner_reply: what scanners say, and what they must not be taken to say. */
#include "formats/scanner_reply.h"
#include "unit.h"

static void assert_name(struct str got, const char *want) {
  assert_int_equal(got.n, strlen(want));
  assert_memory_equal(got.p, want, got.n);
}

static void test_clamd(void **state) {
  (void)state;
  static const struct {
    struct str in;
    enum scanner_verdict want;
    const char *name;
  } rows[] = {
    {STR("stream: OK"), SCANNER_CLEAN, ""},
    {STR("/spool/x.eml: OK\n"), SCANNER_CLEAN, ""},
    {STR("stream: Eicar-Test-Signature FOUND"), SCANNER_FOUND, "Eicar-Test-Signature"},
    {STR("/a: OK: Win.Test FOUND"), SCANNER_FOUND, "Win.Test"},
    {STR("stream: 666 ERROR"), SCANNER_STRANGE, ""},
    {STR("INSTREAM size limit exceeded. ERROR"), SCANNER_STRANGE, ""},
    {STR("OK"), SCANNER_STRANGE, ""}, {STR(""), SCANNER_STRANGE, ""}, {STR("x:"), SCANNER_STRANGE, ""}, {STR("x: "), SCANNER_STRANGE, ""},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct str name = STR("");
    assert_int_equal(scanner_clamd_reply(rows[i].in, &name), rows[i].want);
    assert_name(name, rows[i].name);
  }
}

static void test_avast(void **state) {
  (void)state;
  struct str t = STR("");
  assert_int_equal(scanner_avast_line(STR("210 SCAN DATA\r"), &t), AVAST_DATA);
  assert_int_equal(scanner_avast_line(STR("200 SCAN OK"), &t), AVAST_DONE);
  assert_int_equal(scanner_avast_line(STR("220 ready"), &t), AVAST_DONE);
  assert_int_equal(scanner_avast_line(STR("451 SCAN Engine error 13 Permission denied"), &t), AVAST_FAILED);
  assert_int_equal(scanner_avast_line(STR("/a\\ b\t[+]"), &t), AVAST_CLEAN);
  assert_int_equal(scanner_avast_line(STR("/a\\ b\t[L]9.0\t0 VNAME"), &t), AVAST_FOUND);
  assert_name(t, "VNAME");
  assert_int_equal(scanner_avast_line(STR("/a\t[E]0.0\tError 42110 The\\ file"), &t), AVAST_UNSCANNED);
  assert_name(t, "The\\ file");
  assert_int_equal(scanner_avast_line(STR("anything"), &t), AVAST_OTHER);
  assert_int_equal(scanner_avast_line(STR(""), &t), AVAST_OTHER);
}

static void test_lines(void **state) {
  (void)state;
  struct str t = STR("");
  assert_int_equal(scanner_fsecure_line(STR("OK\tScan ok."), &t), SCANNER_CLEAN);
  assert_int_equal(scanner_fsecure_line(STR("noise"), &t), SCANNER_STRANGE);
  assert_int_equal(scanner_fsecure_line(STR("xINFECTED\tfile\tVNAME\tmore"), &t), SCANNER_FOUND);
  assert_name(t, "VNAME");
  assert_int_equal(scanner_fsecure_line(STR("INFECTED\t"), &t), SCANNER_FOUND);
  assert_int_equal(scanner_fprot6d_line(STR("0 <clean> /a"), &t), SCANNER_CLEAN);
  assert_int_equal(scanner_fprot6d_line(STR("1 <infected: EICAR_Test_File> /a"), &t), SCANNER_FOUND);
  assert_name(t, "EICAR_Test_File");
  assert_int_equal(scanner_fprot6d_line(STR("64 <error> /a"), &t), SCANNER_STRANGE);
  assert_int_equal(scanner_fprot6d_line(STR("<clean>"), &t), SCANNER_STRANGE);
  assert_name(scanner_between(STR("a <name>wibble</name>"), "<name>", "</name>"), "wibble");
  assert_name(scanner_between(STR("a"), "<name>", "</name>"), "");
}

static void test_spam(void **state) {
  (void)state;
  struct scanner_spam r;
  assert_true(scanner_spam_reply(STR("SPAMD/1.1 0 EX_OK\r\nContent-length: 3\r\nSpam: False ; -4.56 / 5.0\r\n\r\nrep\r\n"), false, &r));
  assert_int_equal(r.score, -4560);
  assert_int_equal(r.threshold, 5000);
  assert_name(r.report, "rep\r\n");
  assert_true(scanner_spam_reply(STR("RSPAMD/1.3 0 EX_OK\nMetric: default; True; 15.00 / 14.50 / 0.0\nAction: reject\n"), true, &r));
  assert_int_equal(r.score, 15000);
  assert_int_equal(r.threshold, 14500);
  assert_name(r.report, "Action: reject\n");
  static const struct str bad[] = {STR(""), STR("SPAMD/1.1 76 EX_PROTOCOL\r\nSpam: False ; 1 / 5\r\n\r\n"), STR("SPAMD/1.1 0 EX_OK\r\n"),
                                   STR("SPAMD/1.1 0 EX_OK\r\nSpam: False ; x / 5\r\n"), STR("SPAMD/1.1 0 EX_OK\r\nSpam: False ; 1\r\n"),
                                   STR("RSPAMD/1.3 0 EX_OK\nMetric: default; True; 1 / 2\n"), STR("SPAMD/1.1 0 EX_OK\r\nSpam: True ; 99999999 / 5\r\n")};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) assert_false(scanner_spam_reply(bad[i], false, &r));
}

int main(void) {
  static const struct CMUnitTest tests[] = {cmocka_unit_test(test_clamd), cmocka_unit_test(test_avast), cmocka_unit_test(test_lines), cmocka_unit_test(test_spam)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
