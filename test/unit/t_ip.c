/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses: what ${if isip:} and ${reverse_ip:} of Exim 4.96 say, canonical text, networks. */
#include "unit.h"

#include "base/ip.h"

static void test_kind(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int kind;        /* without a mask allowed */
    int masked_kind; /* with */
    int mask;
  } rows[] = {
      {"1.2.3.4", 4, 4, -1},
      {"01.2.3.4", 0, 0, 0},
      {"1.2.3", 0, 0, 0},
      {"1.2.3.256", 0, 0, 0},
      {"::1", 6, 6, -1},
      {"::ffff:1.2.3.4", 6, 6, -1},
      {"1::2::3", 0, 0, 0},
      {"fe80::1%eth0", 6, 6, -1},
      {"fe80::1%", 0, 0, 0},
      {"1.2.3.4%lo", 0, 0, 0},
      {"1.2.3.4/24", 0, 4, 24},
      {"1.2.3.4/33", 0, 0, 0},
      {"::1/128", 0, 6, 128},
      {"::1/129", 0, 0, 0},
      {"1.2.3.4/", 0, 0, 0},
      {"1.2.3.4/-1", 0, 0, 0},
      {"1.2.3.4/ 4", 0, 0, 0},
      {"12345::1", 0, 0, 0},
      {"", 0, 0, 0},
      {"1.2.3.4 ", 0, 0, 0},
      {"1:2:3:4:5:6:7:8:9", 0, 0, 0},
      {"1:2:3:4:5:6:7::", 6, 6, -1},
      {"0.0.0.0/0", 0, 4, 0},
      {"::1%lo/64", 0, 6, 64},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    int mask = 0;
    CHECK_INT(rows[i].text, ip_text_kind(rows[i].text, NULL), rows[i].kind);
    CHECK_INT(rows[i].text, ip_text_kind(rows[i].text, &mask), rows[i].masked_kind);
    CHECK_INT(rows[i].text, mask, rows[i].mask);
  }
}

static void test_parse_and_format(void **state) {
  (void)state;
  static const struct {
    const char *text;
    const char *want;
  } rows[] = {
      {"192.0.2.1", "192.0.2.1"},
      {"2001:0DB8:0:0:0:0:0:1", "2001:db8::1"},
      {"::ffff:1.2.3.4", "::ffff:1.2.3.4"},
      {"::", "::"},
  };
  char buf[IP_TEXT_SIZE];
  struct ip ip;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    assert_true(ip_parse(str_c(rows[i].text), &ip));
    CHECK_STR(rows[i].text, ip_format(&ip, buf), rows[i].want);
  }
  assert_false(ip_parse(str_n("1.2.3.4\0", 8), &ip));
  assert_false(ip_parse(STR("1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee"), &ip));
  assert_true(ip_parse(STR("fe80::1%lo"), &ip));
  assert_int_not_equal(ip.scope, 0);
  assert_true(ip_parse(STR("fe80::1%7"), &ip));
  assert_int_equal(ip.scope, 7);
  assert_false(ip_parse(STR("fe80::1%no-such-name-of-an-interface"), &ip));
  struct ip none = {0};
  assert_string_equal(ip_format(&none, buf), "");
}

static void test_networks(void **state) {
  (void)state;
  static const struct {
    const char *ip, *net;
    int bits;
    bool inside;
  } rows[] = {
      {"192.0.2.77", "192.0.2.0", 24, true},
      {"192.0.3.77", "192.0.2.0", 24, false},
      {"192.0.3.77", "192.0.2.0", 23, true},
      {"1.2.3.4", "1.2.3.4", 32, true},
      {"1.2.3.5", "1.2.3.4", 32, false},
      {"1.2.3.5", "1.2.3.4", 31, true},
      {"1.2.3.4", "0.0.0.0", 0, true},
      {"::1", "0.0.0.0", 0, false},
      {"2001:db8::1", "2001:db8::", 32, true},
      {"2001:db9::1", "2001:db8::", 32, false},
      {"::1", "::1", 128, true},
      {"1.2.3.4", "1.2.3.4", 33, false},
      {"1.2.3.4", "1.2.3.4", -1, false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct ip ip, net;
    assert_true(ip_parse(str_c(rows[i].ip), &ip) && ip_parse(str_c(rows[i].net), &net));
    CHECK_INT(rows[i].ip, ip_in_net(&ip, &net, rows[i].bits), rows[i].inside);
  }
}

static void test_reverse_and_unmap(void **state) {
  (void)state;
  char buf[80];
  struct ip ip, other;
  assert_true(ip_parse(STR("192.0.2.4"), &ip));
  assert_string_equal(ip_reverse(&ip, false, buf, sizeof buf), "4.2.0.192");
  assert_string_equal(ip_reverse(&ip, true, buf, sizeof buf), "4.2.0.192.in-addr.arpa");
  assert_true(ip_parse(STR("2001:0db8:c42:9:1:abcd:192.0.2.127"), &ip));
  assert_string_equal(ip_reverse(&ip, false, buf, sizeof buf),
                      "f.7.2.0.0.0.0.c.d.c.b.a.1.0.0.0.9.0.0.0.2.4.c.0.8.b.d.0.1.0.0.2");
  assert_string_equal(ip_reverse(&ip, true, buf, sizeof buf),
                      "f.7.2.0.0.0.0.c.d.c.b.a.1.0.0.0.9.0.0.0.2.4.c.0.8.b.d.0.1.0.0.2.ip6.arpa");
  assert_true(ip_parse(STR("::ffff:10.1.2.3"), &ip) && ip_parse(STR("10.1.2.3"), &other));
  ip = ip_unmap(ip);
  assert_true(ip_equal(&ip, &other));
  assert_true(ip_parse(STR("::fffe:10.1.2.3"), &ip));
  assert_int_equal(ip_unmap(ip).family, 6);
  assert_false(ip_equal(&ip, &other));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_kind),
      cmocka_unit_test(test_parse_and_format),
      cmocka_unit_test(test_networks),
      cmocka_unit_test(test_reverse_and_unmap),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
