/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of domains behind ATRN (RFC 2645 section 5.2). */
#include "unit.h"

#include "formats/atrn_domains.h"

static void lists(void **state) {
  (void)state;
  static const struct {
    const char *list;
    bool is_valid;
  } rows[] = {
    {"", true}, {"example.com", true}, {"example.com,example.org", true}, {"a", true}, {"a,b,c", true}, {"EXAMPLE.Com", true}, {"x_y.example", true},
    {"1.2.3", true}, {"xn--e1afmkfd.example", true},
    {",", false}, {"a,", false}, {",a", false}, {"a,,b", false}, {"a, b", false}, {"a b", false}, {" ", false},
    {"example.com.", false}, {".example.com", false}, {"example..com", false}, {"-a.example", false}, {"a-.example", false}, {"#x", false},
    {"*", false}, {"*.example.com", false}, {"!a", false}, {"+local_domains", false}, {"lsearch;/etc/passwd", false}, {"^a", false}, {"@", false},
    {"[1.2.3.4]", false}, {"a:b", false}, {"a/b", false}, {"${domain}", false}, {"user@example.com", false}, {"b\303\274cher.example", false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
    if (atrn_list_is_valid(str_c(rows[i].list)) != rows[i].is_valid) fail_msg("\"%s\": %d", rows[i].list, !rows[i].is_valid);
}

static void one_by_one(void **state) {
  (void)state;
  struct str list = STR("a.example,b.example"), name = STR_NULL;
  assert_true(atrn_next_domain(&list, &name));
  assert_true(str_eq_c(name, "a.example"));
  assert_true(atrn_next_domain(&list, &name));
  assert_true(str_eq_c(name, "b.example"));
  assert_false(atrn_next_domain(&list, &name));
  assert_true(str_eq_c(name, "b.example")); /* untouched */
}

/* A NUL ends nothing, and lengths have their limits. */
static void bounds(void **state) {
  (void)state;
  char text[ATRN_DOMAIN_MAX + 2];
  assert_false(atrn_list_is_valid(str_n("a\0b", 3)));
  for (size_t i = 0; i < sizeof(text); i++) text[i] = i % 64 == 63 ? '.' : 'x';
  assert_true(atrn_domain_is_valid(str_n(text, ATRN_DOMAIN_MAX)));
  assert_false(atrn_domain_is_valid(str_n(text, ATRN_DOMAIN_MAX + 1)));
  text[63] = 'x';
  assert_true(atrn_domain_is_valid(str_n(text, 63)));
  assert_false(atrn_domain_is_valid(str_n(text, 64)));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(lists), cmocka_unit_test(one_by_one), cmocka_unit_test(bounds)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
