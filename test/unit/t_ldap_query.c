/* SPDX-License-Identifier: GPL-2.0-or-later */
/* formats/ldap_query: settings in front of a URL, quoting, values, hidden passwords.  Expectations: manual ch. 9.16, 9.18, 9.19 and Debian's Exim 4.96. */
#include "formats/ldap_query.h"
#include "unit.h"

#define IS(got, want) CHECK_STR("text", got, want)

static struct arena *arena;

static int setup(void **state) {
  (void)state;
  arena = arena_new("t_ldap_query");
  return 0;
}

static int teardown(void **state) {
  (void)state;
  arena_free(arena);
  return 0;
}

static void test_settings(void **state) {
  (void)state;
  struct ldap_query q;
  assert_null(ldap_query_parse(arena, " USER=\"cn=a b,%6F=c%20d\" pass=\"x\\\"y\\\\z\"\tsize=3 Time=4 NETTIME=5 dereference=Finding referrals=nofollow "
                                      "servers=a:b::1 ldap:///o=x?y z",
                               &q));
  IS(q.user, "cn=a b,o=c d");
  IS(q.password, "x\"y\\z");
  IS(q.servers, "a:b::1");
  IS(q.url, "ldap:///o=x?y z");
  assert_int_equal(q.size_entries, 3);
  assert_int_equal(q.time_sec, 4);
  assert_int_equal(q.nettime_sec, 5);
  assert_int_equal(q.deref, LDAP_QUERY_DEREF_FINDING);
  assert_false(q.follow_referrals);

  assert_null(ldap_query_parse(arena, "LDAPS://h/", &q));
  assert_null(q.user);
  assert_null(q.password);
  assert_int_equal(q.deref, LDAP_QUERY_DEREF_UNSET);
  assert_true(q.follow_referrals);

  assert_null(ldap_query_parse(arena, "user= pass=\"\" size=-1 time=x nettime=7x connect= dereference=what user=%zz%00%4 ldap:", &q));
  IS(q.user, "%zz%00%4");
  IS(q.password, "");
  assert_int_equal(q.size_entries, 0);
  assert_int_equal(q.time_sec, 0);
  assert_int_equal(q.nettime_sec, 0);
  assert_int_equal(q.deref, LDAP_QUERY_DEREF_UNSET);
  assert_null(ldap_query_parse(arena, "size=99999999999 ldap:", &q));
  assert_int_equal(q.size_entries, INT32_MAX);

  /* ldapauth needs no URL. */
  assert_null(ldap_query_parse(arena, "user=u pass=p", &q));
  IS(q.url, "");
  IS(q.password, "p");
}

static void test_wrong_settings(void **state) {
  (void)state;
  static const char malformed[] = "malformed parameter setting precedes LDAP URL";
  static const struct {
    const char *text, *error;
  } rows[] = {
    {"foo", malformed},
    {"http://x/", malformed},
    {"user=x pass=\"secret ldap:///", malformed},
    {"user=\"x\"pass=y ldap:///", malformed},
    {"pass=a\"b c ldap:///", malformed},
    {"foo=bar", malformed},
    {"foo=bar ldap:///", "unknown parameter \"foo=\" precedes LDAP URL"},
    {"pass=se cret userx=1 ldap:///", "unknown parameter \"userx=\" precedes LDAP URL"},
    {"user =x ldap:///", "unknown parameter \"user=\" precedes LDAP URL"},
    {"referrals=some ldap:///", "LDAP option REFERRALS is not \"follow\" or \"nofollow\""},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct ldap_query q;
    IS(ldap_query_parse(arena, rows[i].text, &q), rows[i].error);
  }
  assert_true(ldap_query_is_url("LDAPI://x"));
  assert_true(ldap_query_is_url("ldaps:///"));
  assert_false(ldap_query_is_url("ldap:/x"));
  assert_false(ldap_query_is_url("ldapfoo://"));
}

static const char *filter(const char *s) {
  struct strbuf b = strbuf_new(arena);
  ldap_query_quote_filter(&b, str_c(s));
  return b.p;
}

static const char *dn(const char *s) {
  struct strbuf b = strbuf_new(arena);
  ldap_query_quote_dn(&b, str_c(s));
  return b.p;
}

static void test_quoting(void **state) {
  (void)state;
  IS(filter(" a(bc)*, a<yz>; "), "%20a%5C28bc%5C29%5C2A%2C%20a%3Cyz%3E%3B%20"); /* the manual's */
  IS(dn(" a(bc)*, a<yz>; "), "%5C%20a(bc)*%5C%2C%20a%5C%3Cyz%5C%3E%5C%3B%5C%20");
  IS(filter("a\\b"), "a%5C5Cb");
  IS(filter("!$'-._+\xc3\xa9"), "!$'-._+%C3%A9");
  IS(dn("  ##a#  "), "%5C%20%5C%20%5C%23%5C%23a%23%5C%20%5C%20");
  IS(dn("# "), "%5C%23%5C%20");
  IS(dn("   "), "%5C%20%5C%20%5C%20");
  IS(dn(""), "");
}

static void test_values(void **state) {
  (void)state;
  struct strbuf b = strbuf_new(arena);
  ldap_query_add_value(&b, STR("a,\"b\\\nc"), false);
  IS(b.p, "a,,\"b\\\nc");
  b = strbuf_new(arena);
  ldap_query_add_value(&b, STR("a,\"b\\\nc"), true);
  IS(b.p, "a,,\\\"b\\\\\\nc");
  b = strbuf_new(arena);
  ldap_query_add_value(&b, STR("ab\0cd"), true);
  IS(b.p, "ab");
}

static void test_hidden(void **state) {
  (void)state;
  static const char *const rows[][2] = {
    {"user=x pass=secret ldap:///", "user=x pass=XXX ldap:///"},
    {"PASS=\"se \\\" user=cret\" user=x ldap:///", "PASS=XXX user=x ldap:///"},
    {"pass=se cret more ldap:///o", "pass=XXX ldap:///o"},
    {"pass=\"sec\"ret\" ldap:///o", "pass=XXX ldap:///o"},
    {"pass=\"secret ldap:///o", "pass=XXX"},
    {"pass=secret", "pass=XXX"},
    {"pass=\"a\\", "pass=XXX"},
    {"size=1 ldap:///o=bypass=1?x", "size=1 ldap:///o=bypass=1?x"},
    {"pass=a pass=b ldap:", "pass=XXX pass=XXX ldap:"},
    {"", ""},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) IS(ldap_query_hide(arena, rows[i][0]), rows[i][1]);
}

static void test_taint(void **state) {
  (void)state;
  struct ldap_query q;
  const char *text = arena_strdup_t(arena, "user=\"x\" pass=y ldap:///", TAINTED);
  assert_null(ldap_query_parse(arena, text, &q));
  assert_true(is_tainted(q.user));
  assert_true(is_tainted(q.password));
  assert_true(is_tainted(q.url));
  assert_true(is_tainted(ldap_query_hide(arena, text)));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_settings), cmocka_unit_test(test_wrong_settings), cmocka_unit_test(test_quoting),
    cmocka_unit_test(test_values),   cmocka_unit_test(test_hidden),         cmocka_unit_test(test_taint),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
