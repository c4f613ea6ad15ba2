/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NTLM: the worked examples of MS-NLMP section 4.2, messages cut at each byte, fields that point outside. */
#include "unit.h"

#include "auths/ntlm_proof.h"
#include "formats/codecs.h"

static const unsigned char nonce[NTLM_NONCE] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};

static void test_proofs(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  unsigned char v1[NTLM_V1_RESPONSE], v2[16];
  ntlm_proof_v1(a, "Password", nonce, v1);
  CHECK_STR("4.2.2.2.1", hex_encode(a, v1, sizeof v1), "67c43011f30298a2ad35ece64f16331c44bdbed927841f94");
  static const char info[] = "\2\0\14\0D\0o\0m\0a\0i\0n\0\1\0\14\0S\0e\0r\0v\0e\0r\0\0\0\0\0";
  static const unsigned char mine[NTLM_NONCE] = {0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa};
  struct str bytes = ntlm_client_bytes(a, str_n(info, sizeof info - 1), 0, mine);
  assert_true(ntlm_proof_v2(a, "Password", ntlm_utf16(a, "User"), ntlm_utf16(a, "Domain"), nonce, bytes, v2));
  CHECK_STR("4.2.4.2.2", hex_encode(a, v2, sizeof v2), "68cd0ab851e51c96aabc927bebef6a1c");
  arena_free(a);
}

static void test_texts(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  static const char *const same[] = {"", "user", "J\xc3\xb6rg", "\xe2\x82\xac", "\xf0\x9f\x93\xa7 mail"};
  for (size_t i = 0; i < ARRAY_SIZE(same); i++) CHECK_STR("round", ntlm_text(a, ntlm_utf16(a, same[i]), NTLM_UNICODE), same[i]);
  CHECK_STR("latin", ntlm_text(a, ntlm_utf16(a, "\xf6\xff"), NTLM_UNICODE), "\xc3\xb6\xc3\xbf");
  CHECK_STR("cut", ntlm_text(a, ntlm_utf16(a, "\xe2\x82"), NTLM_UNICODE), "\xc3\xa2\xc2\x82");
  CHECK_STR("oem", ntlm_text(a, STR("user"), NTLM_OEM), "user");
  assert_null(ntlm_text(a, STR("u\0s"), NTLM_UNICODE));          /* odd */
  assert_null(ntlm_text(a, STR("u\0\0\0"), NTLM_UNICODE));       /* NUL */
  assert_null(ntlm_text(a, STR("a\nb"), NTLM_OEM));
  assert_null(ntlm_text(a, STR("\0\xd8"), NTLM_UNICODE));        /* half a surrogate */
  assert_null(ntlm_text(a, STR("\0\xd8u\0"), NTLM_UNICODE));
  assert_null(ntlm_text(a, STR("\0\xdc"), NTLM_UNICODE));
  arena_free(a);
}

static void test_messages(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  struct strbuf b = strbuf_new(a);
  struct ntlm_challenge c;
  ntlm_put_challenge(&b, nonce);
  CHECK_INT("length", b.n, 48);
  assert_true(ntlm_parse_challenge(strbuf_str(&b), &c));
  assert_memory_equal(c.nonce, nonce, sizeof nonce);
  CHECK_INT("info", c.target_info.n, 0);
  for (size_t n = 0; n < 32; n++) assert_false(ntlm_parse_challenge(str_n(b.p, n), &c));
  b.p[22] = (char)0x80; /* target information, but its field points nowhere */
  b.p[40] = 4;
  b.p[44] = 100;
  assert_false(ntlm_parse_challenge(strbuf_str(&b), &c));
  strbuf_add(&b, "abcd", 4);
  b.p[44] = 48;
  assert_true(ntlm_parse_challenge(strbuf_str(&b), &c));
  assert_true(str_eq_c(c.target_info, "abcd"));

  struct ntlm_authenticate m = {.flags = NTLM_UNICODE, .lm = STR("LLLL"), .nt = STR("NNNNN"), .domain = STR(""), .user = ntlm_utf16(a, "user"),
                                .workstation = STR("W\0")}, got;
  strbuf_clear(&b);
  ntlm_put_authenticate(&b, &m);
  assert_true(ntlm_parse_authenticate(strbuf_str(&b), &got));
  assert_true(str_eq(got.lm, m.lm) && str_eq(got.nt, m.nt) && str_eq(got.user, m.user) && got.domain.n == 0 && got.flags == m.flags);
  for (size_t n = 0; n < b.n; n++) assert_false(ntlm_parse_authenticate(str_n(b.p, n), &got));
  for (size_t at = 12; at < 52; at += 8) { /* each field in turn beyond the end, and with an offset that wraps */
    struct strbuf bad = strbuf_new(a);
    strbuf_add(&bad, b.p, b.n);
    bad.p[at + 1] = 0x7f;
    assert_false(ntlm_parse_authenticate(strbuf_str(&bad), &got));
    bad.p[at] = 1, bad.p[at + 1] = 0;
    memset(bad.p + at + 4, 0xff, 4);
    assert_false(ntlm_parse_authenticate(strbuf_str(&bad), &got));
  }
  strbuf_clear(&b);
  ntlm_put_negotiate(&b);
  assert_false(ntlm_parse_challenge(strbuf_str(&b), &c)); /* another type */
  assert_false(ntlm_parse_authenticate(strbuf_str(&b), &got));
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_proofs), cmocka_unit_test(test_texts), cmocka_unit_test(test_messages)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
