/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines, parameters, BDAT arguments, reply lines and xtext: tables of input and expected parse.
 * Expectations are from RFC 5321 §4.1.1, RFC 3030 §2 and RFC 3461 §4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "formats/smtp_grammar.h"

static void verbs(void **state) {
  (void)state;
  static const struct {
    const char *line;
    enum smtp_verb verb;
    const char *arg;
    bool bad_form;
  } rows[] = {
    {"HELO a.b", VERB_HELO, "a.b", false},
    {"ehlo  [1.2.3.4] ", VERB_EHLO, "[1.2.3.4]", false},
    {"MAIL FROM:<a@b>", VERB_MAIL, "<a@b>", false},
    {"mail from : <a@b> SIZE=1", VERB_MAIL, "<a@b> SIZE=1", false},
    {"RCPT TO:", VERB_RCPT, "", false},
    {"RCPT <a@b>", VERB_UNKNOWN, "<a@b>", true},
    {"MAIL", VERB_UNKNOWN, "", true},
    {"MAILFROM:<a@b>", VERB_UNKNOWN, "", false},
    {"DATA", VERB_DATA, "", false},
    {"BDAT 10 LAST", VERB_BDAT, "10 LAST", false},
    {"DATAX", VERB_UNKNOWN, "", false},
    {"", VERB_UNKNOWN, "", false},
    {"GET / HTTP/1.1", VERB_UNKNOWN, "/ HTTP/1.1", false},
    {"STARTTLS", VERB_STARTTLS, "", false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct str arg = STR_NULL;
    bool bad;
    assert_int_equal(smtp_parse_verb(str_c(rows[i].line), &arg, &bad), rows[i].verb);
    assert_true(str_eq_c(arg, rows[i].arg));
    assert_int_equal(bad, rows[i].bad_form);
  }
}

static void paths(void **state) {
  (void)state;
  static const struct {
    const char *arg;
    size_t n;
  } rows[] = {
    {"<a@b> SIZE=1", 5}, {"<>", 2}, {"<\"x> y\"@b> Q", 10}, {"a@b SIZE=1", 3}, {"<a@b", 4}, {"", 0},
    {"<a\\>@b> x", 7}, {"<<a@b>> x", 7}, {"<a@b>SIZE=1 BODY=7BIT", 11}, {"<>SIZE=1", 8}, {"<a@b>\tX", 5},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) assert_int_equal(smtp_path_len(str_c(rows[i].arg)), rows[i].n);
}

static void parameters(void **state) {
  (void)state;
  struct str rest = STR(" SIZE=10  SMTPUTF8 ORCPT=rfc822;a=b"), key, value;
  bool has;
  assert_true(smtp_next_param(&rest, &key, &value, &has));
  assert_true(has && str_eq_c(key, "SIZE") && str_eq_c(value, "10"));
  assert_true(smtp_next_param(&rest, &key, &value, &has));
  assert_true(!has && str_eq_c(key, "SMTPUTF8"));
  assert_true(smtp_next_param(&rest, &key, &value, &has));
  assert_true(has && str_eq_c(value, "rfc822;a=b"));
  assert_false(smtp_next_param(&rest, &key, &value, &has));
  rest = STR(" =x");
  assert_false(smtp_next_param(&rest, &key, &value, &has));
}

static void bdat(void **state) {
  (void)state;
  static const struct {
    const char *arg;
    bool ok, last;
    uint64_t size;
  } rows[] = {
    {"10", true, false, 10}, {"0 LAST", true, true, 0}, {"86 last", true, true, 86}, {"", false, false, 0},
    {"x", false, false, 0}, {"-1", false, false, 0}, {"10 LOST", false, false, 0}, {"10 LAST x", false, false, 0},
    {"99999999999999999999999", false, false, 0}, {"9223372036854775807", false, false, 0}, {"1x", false, false, 0},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uint64_t size = 0;
    bool last = false;
    assert_int_equal(smtp_parse_bdat(str_c(rows[i].arg), &size, &last), rows[i].ok);
    assert_int_equal(size, rows[i].size);
    assert_int_equal(last, rows[i].last);
  }
}

static void enhanced_codes(void **state) {
  (void)state;
  assert_int_equal(smtp_enhanced_code_len(STR("5.7.1 no"), 5), 6);
  assert_int_equal(smtp_enhanced_code_len(STR("5.7.1 no"), 4), 0);
  assert_int_equal(smtp_enhanced_code_len(STR("5.7.1"), 5), 0);
  assert_int_equal(smtp_enhanced_code_len(STR("5.1000.1 x"), 5), 0);
}

static void xtext(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  assert_string_equal(xtext_encode(a, STR("a+b=c d\x7f")), "a+2Bb+3Dc+20d+7F");
  assert_string_equal(xtext_decode(a, STR("a+2Bb+3Dc+20d")), "a+b=c d");
  assert_null(xtext_decode(a, STR("a+2")));
  assert_null(xtext_decode(a, STR("a+zz")));
  assert_null(xtext_decode(a, STR("a=b")));
  assert_null(xtext_decode(a, STR("a+00")));
  assert_true(smtp_is_keyword(STR("8BITMIME")));
  assert_true(smtp_is_keyword(STR("X-FOO")));
  assert_false(smtp_is_keyword(STR("X_PIPE_CONNECT")));
  assert_false(smtp_is_keyword(STR("")));
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(verbs), cmocka_unit_test(paths), cmocka_unit_test(parameters),
    cmocka_unit_test(bdat), cmocka_unit_test(enhanced_codes), cmocka_unit_test(xtext),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
