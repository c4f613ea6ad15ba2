/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PROXY protocol headers: the examples of the specification, cut at every byte, and what must be refused.  Whoever reads as many bytes as are
 * asked for never takes one that belongs to the client. */
#include "unit.h"

#include "formats/proxy_protocol.h"

#define SIG "\r\n\r\n\0\r\nQUIT\n"
#define V4 "\x21\x11\0\x0c\x7f\0\0\x02\x7f\x2a\x2a\x2a\xc2\x95\x04\x01"
#define V6 "\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\0\x19\x01\x02"

static const struct {
  struct str in;
  bool has_addresses;
  const char *source, *destination;
  int source_port, destination_port;
} good[] = {
  {STR("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), true, "255.255.255.255", "255.255.255.255", 65535, 65535},
  {STR("PROXY TCP4 127.0.0.2 127.42.42.42 64000 25\r\n"), true, "127.0.0.2", "127.42.42.42", 64000, 25},
  {STR("PROXY TCP6 2001:db8::1 ::1 0 25\r\n"), true, "2001:db8::1", "::1", 0, 25},
  {STR("PROXY UNKNOWN\r\n"), false, NULL, NULL, 0, 0},
  {STR("PROXY UNKNOWN ffff::1 whatever 1 2\r\n"), false, NULL, NULL, 0, 0},
  {STR(SIG V4), true, "127.0.0.2", "127.42.42.42", 49813, 1025},
  {STR(SIG V6), true, "2001:db8::1", "2001:db8::2", 25, 258},
  {STR(SIG "\x20\0\0\0"), false, NULL, NULL, 0, 0},
  {STR(SIG "\x20\x11\0\x02xy"), false, NULL, NULL, 0, 0},
  {STR(SIG "\x21\0\0\x03xyz"), false, NULL, NULL, 0, 0},
  {STR(SIG "\x21\x11\0\x10\x7f\0\0\x02\x7f\x2a\x2a\x2a\xc2\x95\x04\x01\x04\0\x01x"), true, "127.0.0.2", "127.42.42.42", 49813, 1025},
};

static const struct str bad[] = {
  STR("EHLO x\r\n"), STR("PROXY\r\n"), STR("proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n"), STR("PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n"),
  STR("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n"), STR("PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n"), STR("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"),
  STR("PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n"), STR("PROXY TCP4 1.2.3.4 ::1 1 1\r\n"), STR("PROXY TCP6 1.2.3.4 ::1 1 1\r\n"),
  STR("PROXY TCP4 1.2.3.4 1.2.3.4 1 1 x\r\n"), STR("PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n"), STR("PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n"),
  STR("PROXY TCP4 1.2.3.4\0 1.2.3.4 1 1\r\n"),
  STR("PROXY UNKNOWN xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
  STR(SIG "\x31\x11\0\x0c"), STR(SIG "\x22\x11\0\x0c"), STR(SIG "\x21\x12\0\x0c\x7f\0\0\x02\x7f\x2a\x2a\x2a\xc2\x95\x04\x01"),
  STR(SIG "\x21\x11\0\x0b\x7f\0\0\x02\x7f\x2a\x2a\x2a\xc2\x95\x04"), STR(SIG "\x21\x21\0\x0c\x7f\0\0\x02\x7f\x2a\x2a\x2a\xc2\x95\x04\x01"),
  STR(SIG "\x21\x11\xff\xff"), STR("\r\n\r\n\0\r\nQUIT\r"),
};

/* Read as the program does; how many bytes were taken. */
static enum proxy_parse read_exactly(struct str all, struct proxy_header *h, size_t *ret_taken) {
  size_t have = 0, need = 0;
  enum proxy_parse r;
  while ((r = proxy_parse_header(str_n(all.p, have), h, &need)) == PROXY_MORE) {
    assert_true(need > 0);
    if (have + need > all.n) break;
    have += need;
  }
  *ret_taken = have;
  return r;
}

static void headers(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
    struct proxy_header h = {0};
    char buf[IP_TEXT_SIZE], text[256];
    size_t taken, n = good[i].in.n;
    memcpy(text, good[i].in.p, n);
    memcpy(text + n, "EHLO client\r\n", 13);
    assert_int_equal(read_exactly(str_n(text, n + 13), &h, &taken), PROXY_DONE);
    assert_int_equal(taken, n);
    assert_int_equal(h.has_addresses, good[i].has_addresses);
    for (size_t cut = 0; cut < n; cut++) {
      size_t need;
      struct proxy_header none;
      assert_int_equal(proxy_parse_header(str_n(text, cut), &none, &need), PROXY_MORE);
      assert_true(need > 0 && cut + need <= n);
    }
    if (!h.has_addresses) continue;
    assert_string_equal(ip_format(&h.source, buf), good[i].source);
    assert_string_equal(ip_format(&h.destination, buf), good[i].destination);
    assert_int_equal(h.source_port, good[i].source_port);
    assert_int_equal(h.destination_port, good[i].destination_port);
  }
}

static void refused(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    struct proxy_header h;
    size_t taken;
    if (read_exactly(bad[i], &h, &taken) != PROXY_BAD) fail_msg("accepted: %zu %.*s", i, STR_FMT(bad[i]));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(headers), cmocka_unit_test(refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
