/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DKIM texts: canonical forms of RFC 6376 section 3.4.5, the signed message of RFC 8463 appendix A, parsers, folds of written headers (as the
 * reference program writes them), choice of header lines. */
#include "unit.h"

#include "formats/codecs.h"
#include "formats/dkim.h"
#include "formats/dkim_canon.h"
#include "formats/dkim_crypto.h"

static struct arena *a;

static int setup(void **state) {
  (void)state;
  a = arena_new("test");
  return 0;
}
static int teardown(void **state) {
  (void)state;
  arena_free(a);
  return 0;
}

/* ---- canonical forms ---- */

static void collect(void *ctx, const void *p, size_t n) { strbuf_add(ctx, p, n); }

static const char *canon_cut(struct str body, bool relaxed, int64_t limit, size_t piece) {
  struct strbuf out = strbuf_new(a);
  struct dkim_canon c;
  dkim_canon_init(&c, relaxed, limit, collect, &out);
  for (size_t i = 0; i < body.n; i += piece) dkim_canon_feed(&c, body.p + i, MIN(piece, body.n - i));
  dkim_canon_end(&c);
  return out.p;
}

static void body_forms(void **state) {
  (void)state;
  static const struct {
    const char *body;
    bool relaxed;
    int64_t limit;
    const char *want;
  } rows[] = {
    {" C \nD \t E\n\n\n", false, -1, " C \r\nD \t E\r\n"}, /* RFC 6376 section 3.4.5 */
    {" C \nD \t E\n\n\n", true, -1, " C\r\nD E\r\n"},
    {" C \r\nD \t E\r\n\r\n\r\n", true, -1, " C\r\nD E\r\n"},
    {"", false, -1, "\r\n"},
    {"", true, -1, ""},
    {"\n\n", false, -1, "\r\n"},
    {"\n \t \n", true, -1, ""},
    {"\n \t \n", false, -1, "\r\n \t \r\n"},
    {"a", false, -1, "a\r\n"},
    {"a", true, -1, "a\r\n"},
    {"a\n\n\nb\n", true, -1, "a\r\n\r\n\r\nb\r\n"},
    {"a\rb\r\r\n", false, -1, "a\rb\r\r\n"},
    {"a\r", false, -1, "a\r\r\n"},
    {"\t a\t\n", true, -1, " a\r\n"},
    {"abcdef\ngh\n", false, 4, "abcd"},
    {"abcdef\ngh\n", false, 7, "abcdef\r"},
    {"abc", false, 0, ""},
    {"a\n\n\nb", false, 5, "a\r\n\r\n"},
    {"a\n\n\n", false, 100, "a\r\n"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
    for (size_t piece = 1; piece < 9; piece++) {
      const char *got = canon_cut(str_c(rows[i].body), rows[i].relaxed, rows[i].limit, piece);
      if (strcmp(got, rows[i].want) != 0) fail_msg("row %zu in pieces of %zu: \"%s\"", i, piece, got);
    }
}

/* Long runs, limits within them and in front of them: as byte by byte. */
static void long_bodies(void **state) {
  (void)state;
  static const char letters[] = "abcdefgh \t\r\n";
  uint32_t seed = 1;
  for (int round = 0; round < 200; round++) {
    struct strbuf body = strbuf_new(a);
    while (body.n < 6000) {
      seed = seed * 1103515245 + 12345;
      size_t n = seed >> 8 & 1 ? 1 : seed >> 9 & 0x7ff; /* runs longer than the buffer, and single characters */
      for (char c = letters[(seed >> 20) % (sizeof letters - 1)]; n > 0; n--) strbuf_addc(&body, c);
    }
    int64_t limit = round % 4 == 0 ? -1 : (int64_t)(seed % 7000);
    for (int relaxed = 0; relaxed < 2; relaxed++) {
      const char *want = canon_cut(strbuf_str(&body), relaxed, limit, 1);
      for (size_t piece = 3; piece <= body.n; piece = piece * 7 + round) CHECK_STR("body", canon_cut(strbuf_str(&body), relaxed, limit, piece), want);
      CHECK_STR("body", canon_cut(strbuf_str(&body), relaxed, limit, body.n), want);
      if (limit >= 0) assert_true(strlen(want) <= (size_t)limit);
    }
  }
}

static void header_forms(void **state) {
  (void)state;
  static const struct {
    const char *line;
    bool relaxed;
    const char *want;
  } rows[] = {
    {"A: X\n", true, "a:X\r\n"}, /* RFC 6376 section 3.4.5 */
    {"B : Y\t\n\tZ  \n", true, "b:Y Z\r\n"},
    {"A: X\n", false, "A: X\r\n"},
    {"B : Y\t\n\tZ  \n", false, "B : Y\t\r\n\tZ  \r\n"},
    {"B : Y\t\r\n\tZ  \r\n", false, "B : Y\t\r\n\tZ  \r\n"},
    {"X:\n", true, "x:\r\n"},
    {"X:\n \n", true, "x:\r\n"},
    {"no colon\n", true, "no colon:\r\n"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct strbuf b = strbuf_new(a);
    dkim_canon_header(&b, str_c(rows[i].line), rows[i].relaxed, true);
    assert_string_equal(b.p, rows[i].want);
  }
  struct strbuf b = strbuf_new(a);
  dkim_canon_header(&b, STR("DKIM-Signature: a; b=;\n"), true, false);
  assert_string_equal(b.p, "dkim-signature:a; b=;");
}

/* ---- parsing ---- */

static void signatures(void **state) {
  (void)state;
  struct dkim_signature s;
  assert_true(dkim_parse_signature(a, STR("DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=test.ex;\n\ts=sel; h=From :\n\t To; "
                                          "i=joe@sub.test.ex; t=12; x=34; l=5; z=From:a|To:\n\tb; bh=YW\n\tJj; b=ZGVm\n\tZGVm ;\n"), &s));
  assert_int_equal(s.fault, DKIM_SIG_OK);
  assert_true(s.relaxed_headers && !s.relaxed_body && s.keytype == DKIM_KEY_RSA && s.hash == DKIM_SHA256);
  assert_string_equal(s.domain, "test.ex");
  assert_string_equal(s.selector, "sel");
  assert_string_equal(s.header_names, "From:To");
  assert_string_equal(s.identity, "joe@sub.test.ex");
  assert_string_equal(s.copied_headers, "From:a|To:\tb");
  assert_true(s.created == 12 && s.expires == 34 && s.body_length == 5);
  assert_true(str_eq(s.body_hash, STR("abc")) && str_eq(s.data, STR("defdef")));

  static const struct {
    const char *line;
    int want; /* fault, -1: to be ignored */
  } rows[] = {
    {"DKIM-Signature: v=1; a=rsa-sha1; d=a; s=b; h=c; b=ZGVm", DKIM_SIG_OK},
    {"DKIM-Signature: v=1; a=ed25519-sha256; d=a; s=b; h=c; b=ZGVm;;", DKIM_SIG_TAG},
    {"DKIM-Signature: v=2; a=rsa-sha1; d=a; s=b; h=c; b=ZGVm", DKIM_SIG_VERSION},
    {"DKIM-Signature: a=rsa-sha1; d=a; s=b; h=c; b=ZGVm", DKIM_SIG_TAG},
    {"DKIM-Signature: v=1; a=rsa-sha1; s=b; h=c; b=ZGVm", DKIM_SIG_TAG},
    {"DKIM-Signature: v=1; a=rsa-sha1; d=a; h=c; b=ZGVm", DKIM_SIG_TAG},
    {"DKIM-Signature: v=1; a=rsa-sha1; d=a; s=b; b=ZGVm", DKIM_SIG_TAG},
    {"DKIM-Signature: v=1; a=rsa-sha1; d=a; s=b; h=c; b=", DKIM_SIG_TAG},
    {"DKIM-Signature: v=1; a=rsa-sha1; d=a; s=b; h=c; b=!!!!", DKIM_SIG_TAG},
    {"DKIM-Signature: v=1; a=rsa-sha1; d=a b; s=b; h=c; b=ZGVm", DKIM_SIG_TAG},
    {"DKIM-Signature: v=1; a=rsa-sha1; d=test.ex; s=b; h=c; b=ZGVm; i=joe@other.ex", DKIM_SIG_TAG},
    {"DKIM-Signature: v=1; a=rsa-sha1; d=test.ex; s=b; h=c; b=ZGVm; i=joe@eviltest.ex", DKIM_SIG_TAG},
    {"DKIM-Signature: v=1; a=rsa-sha1; d=test.ex; s=b; h=c; b=ZGVm; l=-1", DKIM_SIG_TAG},
    {"DKIM-Signature: v=1; a=rsa-sha1; d=test.ex; s=b; h=c; b=ZGVm; l=99999999999999999999999", DKIM_SIG_TAG},
    {"DKIM-Signature: v=1; a=rsa-md5; d=a; s=b; h=c; b=ZGVm", -1},
    {"DKIM-Signature: v=1; d=a; s=b; h=c; b=ZGVm", -1},
    {"DKIM-Signature: v=1; foo; a=rsa-sha1; d=a; s=b; h=c; b=ZGVm", DKIM_SIG_TAG},
    {"DKIM-Signature: v=1; a=rsa-sha1; d=a; s=b; h=c; b=ZGVm; =1", DKIM_SIG_TAG},
    {"DKIM-Signature: v=1; a=rsa-sha1; d=a; s=b;; h=c; b=ZGVm", DKIM_SIG_TAG},
    {"DKIM-Signature:", -1},
    {"", -1},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    int got = dkim_parse_signature(a, str_c(rows[i].line), &s) ? (int)s.fault : -1;
    if (got != rows[i].want) fail_msg("%s: %d", rows[i].line, got);
  }
}

static void arc_headers(void **state) {
  (void)state;
  static const struct {
    const char *line;
    bool is_seal;
    int want; /* fault, -1: no tag list */
  } rows[] = {
    {"ARC-Seal: i=2; cv=pass; a=rsa-sha256; d=a; s=b; b=ZGVm", true, DKIM_SIG_OK},
    {"ARC-Seal: i=2; a=rsa-sha256; d=a; s=b; b=ZGVm", true, DKIM_SIG_TAG},
    {"ARC-Seal: i=2; cv=pass; a=rsa-sha256; d=a; s=b; h=from; b=ZGVm", true, DKIM_SIG_TAG},
    {"ARC-Seal: cv=pass; a=rsa-sha256; d=a; s=b; b=ZGVm", true, DKIM_SIG_TAG},
    {"ARC-Seal: i=x; cv=pass; a=rsa-sha256; d=a; s=b; b=ZGVm", true, DKIM_SIG_TAG},
    {"ARC-Message-Signature: i=2; a=rsa-sha256; d=a; s=b; h=from; bh=YWJj; b=ZGVm", false, DKIM_SIG_OK},
    {"ARC-Message-Signature: i=2; a=rsa-sha256; d=a; s=b; h=from; b=ZGVm", false, DKIM_SIG_TAG},
    {"ARC-Message-Signature: i=2; a=rsa-sha256; d=a; s=b; bh=YWJj; b=ZGVm", false, DKIM_SIG_TAG},
    {"ARC-Message-Signature: i=2; v=1; a=rsa-sha256; d=a; s=b; h=from; bh=YWJj; b=ZGVm", false, DKIM_SIG_TAG},
    {"ARC-Message-Signature: i=-2; a=rsa-sha256; d=a; s=b; h=from; bh=YWJj; b=ZGVm", false, DKIM_SIG_TAG},
    {"ARC-Message-Signature: i=2; junk", false, -1},
  };
  struct dkim_signature s;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    int got = dkim_parse_arc(a, str_c(rows[i].line), rows[i].is_seal, &s) ? (int)s.fault : -1;
    if (got != rows[i].want) fail_msg("%s: %d", rows[i].line, got);
    if (got == DKIM_SIG_OK) assert_int_equal(s.instance, 2);
  }
}

static void without_b(void **state) {
  (void)state;
  static const struct {
    const char *line, *want;
  } rows[] = {
    {"D: bh=abc; b=def; c=x\n", "D: bh=abc; b=; c=x\n"},
    {"D: b = d\n\tef ;bh=b\n", "D: b =;bh=b\n"},
    {"D: bh=abc; b=de\n\tf  \n", "D: bh=abc; b=\n"},
    {"D: b=x", "D: b="},
    {"D: bh=abc\n", "D: bh=abc\n"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct str got = dkim_without_b(a, str_c(rows[i].line));
    if (!str_eq_c(got, rows[i].want)) fail_msg("%s: \"%.*s\"", rows[i].line, STR_FMT(got));
  }
}

static void keys(void **state) {
  (void)state;
  struct dkim_key k;
  assert_true(dkim_parse_key(a, STR("v=DKIM1; k=ed25519; h=sha256:sha1; t=y:s; s=email; n=some note; g=joe; p=YW Jj; x9=y; junk"), &k));
  assert_true(k.keytype == DKIM_KEY_ED25519 && k.is_testing && k.no_subdomains && str_eq(k.data, STR("abc")));
  assert_string_equal(k.hashes, "sha256:sha1");
  assert_string_equal(k.service, "email");
  assert_string_equal(k.notes, "some note");
  assert_string_equal(k.granularity, "joe");
  assert_true(dkim_parse_key(a, STR("p=YWJj;"), &k));
  assert_true(k.keytype == DKIM_KEY_RSA && !k.hashes && !k.is_testing);
  assert_true(dkim_parse_key(a, STR("v=DKIM1; p="), &k) && k.data.n == 0); /* revoked */
  assert_true(dkim_parse_key(a, STR("k=dsa; p=YWJj"), &k) && k.keytype == -1);
  static const char *const bad[] = {"", "hello world", "v=DKIM1; n=x", "v=DKIM2; p=YWJj", "v=DKIM1\\; p=YWJj", "p=!!!!", "s=tlsrpt; p=YWJj", "v=spf1 -all"};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    if (dkim_parse_key(a, str_c(bad[i]), &k)) fail_msg("%s was taken for a key", bad[i]);
}

/* ---- writing ---- */

static void written_header(void **state) {
  (void)state;
  struct dkim_header_spec s = {.name = "DKIM-Signature", .algorithm = "rsa-sha256", .has_canon = true, .relaxed = true, .domain = "test.ex", .selector = "sel",
                               .identity = "foo@test.ex", .names = "Subject:To:From", .body_hash = "/Ab0giHZitYQbDhFszoqQRUkgqueaX9zatJttIU/plc=",
                               .data = "bjirVBQiHhEDFgYvuMdZcI+o9ou2xUIGF8Z2a+X9UEKpEZRNbecL0wRTaan3BDw9"};
  assert_string_equal(dkim_make_header(a, &s),
                      "DKIM-Signature: v=1; a=rsa-sha256; q=dns/txt; c=relaxed/relaxed; d=test.ex;\n"
                      "\ts=sel; h=Subject:To:From; bh=/Ab0giHZitYQbDhFszoqQRUkgqueaX9zatJttIU/plc=;\n"
                      "\ti=foo@test.ex; b=bjirVBQiHhEDFgYvuMdZcI+o9ou2xUIGF8Z2a+X9UEKpEZRNbecL0wRTaan3\n"
                      "\tBDw9;\n");
  s.algorithm = "ed25519-sha256";
  s.identity = NULL;
  assert_string_equal(dkim_make_header(a, &s),
                      "DKIM-Signature: v=1; a=ed25519-sha256; q=dns/txt; c=relaxed/relaxed; d=test.ex\n"
                      "\t; s=sel; h=Subject:To:From; bh=/Ab0giHZitYQbDhFszoqQRUkgqueaX9zatJttIU/plc=; \n"
                      "\tb=bjirVBQiHhEDFgYvuMdZcI+o9ou2xUIGF8Z2a+X9UEKpEZRNbecL0wRTaan3BDw9;\n");
  s.algorithm = "rsa-sha256";
  s.names = "From:Subject:To:Sender:Reply-To:Date:Message-ID:Cc:MIME-Version:Content-Type:Content-Transfer-Encoding:Content-ID";
  s.created = 1000;
  s.expires = 2000;
  s.data = "";
  assert_string_equal(dkim_make_header(a, &s),
                      "DKIM-Signature: v=1; a=rsa-sha256; q=dns/txt; c=relaxed/relaxed; d=test.ex;\n"
                      "\ts=sel; h=From:Subject:To:Sender:Reply-To:Date:Message-ID:Cc:MIME-Version:\n"
                      "\tContent-Type:Content-Transfer-Encoding:Content-ID;\n"
                      "\tbh=/Ab0giHZitYQbDhFszoqQRUkgqueaX9zatJttIU/plc=; t=1000; x=2000; b=;\n");
}

static void chosen_headers(void **state) {
  (void)state;
  const struct str lines[] = {STR("From: a\n"), STR("To: b\n"), STR("Subject: c\n"), STR("to: d\n"), STR("Message-Id: e\n"), STR("junk\n")};
  static const struct {
    const char *list, *want;
  } rows[] = {
    {"From:To:Subject", "to:Subject:From"},
    {"Subject:To:From:Cc:To", "to:Subject:To:From:Cc"},
    {"+Subject:=To:From:+Cc:=Bcc", "to:Subject:To:From:Subject:Cc"},
    {"+From", "From:From"},
    {"From:", "From"},
    {"message-id:message-id", "Message-Id:message-id"},
    {"", ""},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    const char *got = dkim_choose_names(a, lines, ARRAY_SIZE(lines), rows[i].list);
    if (strcmp(got, rows[i].want) != 0) fail_msg("%s: %s", rows[i].list, got);
  }
  int at[6];
  dkim_select_headers(a, lines, ARRAY_SIZE(lines), "to:TO:to:to:from:cc", at);
  const int want[] = {3, 1, -1, -1, 0, -1};
  for (size_t i = 0; i < 6; i++) assert_int_equal(at[i], want[i]);
}

/* ---- RFC 8463 appendix A ---- */

static const char *const rfc8463_headers[] = {
  "From: Joe SixPack <joe@football.example.com>\n", "To: Suzie Q <suzie@shopping.example.net>\n", "Subject: Is dinner ready?\n",
  "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\n", "Message-ID: <20030712040037.46341.5F8J@football.example.com>\n"};
static const char rfc8463_body[] = "Hi.\n\nWe lost the game.  Are you hungry yet?\n\nJoe.\n";
static const char rfc8463_signature[] =
  "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\n d=football.example.com; i=@football.example.com;\n"
  " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\n subject : date : message-id : from : subject : date;\n"
  " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\n b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\n"
  " Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\n";

static void rfc8463(void **state) {
  (void)state;
  struct dkim_signature s;
  struct dkim_key k;
  struct dkim_digest d;
  struct dkim_sum sum;
  struct str lines[5];
  int at[8], bits;
  const char *error;
  assert_true(dkim_parse_signature(a, str_c(rfc8463_signature), &s));
  assert_int_equal(s.fault, DKIM_SIG_OK);
  assert_true(dkim_parse_key(a, STR("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="), &k));
  struct dkim_canon c;
  dkim_digest_start(&d, s.hash);
  dkim_canon_init(&c, s.relaxed_body, s.body_length, dkim_digest_add, &d);
  dkim_canon_feed(&c, rfc8463_body, sizeof(rfc8463_body) - 1);
  dkim_canon_end(&c);
  dkim_digest_end(&d, &sum);
  assert_true(str_eq(s.body_hash, str_n((const char *)sum.p, sum.n)));
  for (size_t i = 0; i < 5; i++) lines[i] = str_c(rfc8463_headers[i]);
  assert_int_equal(dkim_count_names(s.header_names), 8);
  dkim_select_headers(a, lines, 5, s.header_names, at);
  struct strbuf b = strbuf_new(a);
  for (size_t i = 0; i < 8; i++)
    if (at[i] >= 0) dkim_canon_header(&b, lines[at[i]], true, true);
  dkim_canon_header(&b, dkim_without_b(a, str_c(rfc8463_signature)), true, false);
  dkim_digest_start(&d, s.hash);
  dkim_digest_add(&d, b.p, b.n);
  dkim_digest_end(&d, &sum);
  assert_int_equal(dkim_check_signature(s.keytype, s.hash, k.data, &sum, s.data, 250, &bits, &error), DKIM_CHECK_PASS);
  assert_int_equal(dkim_check_signature(s.keytype, s.hash, k.data, &sum, s.data, 300, &bits, &error), DKIM_CHECK_SHORT_KEY);
  assert_int_equal(dkim_check_signature(DKIM_KEY_RSA, s.hash, k.data, &sum, s.data, 0, &bits, &error), DKIM_CHECK_BAD_KEY);
  sum.p[0] ^= 1;
  assert_int_equal(dkim_check_signature(s.keytype, s.hash, k.data, &sum, s.data, 0, &bits, &error), DKIM_CHECK_WRONG);
}

/* What we sign we can check; Ed25519 key of RFC 8463, in PKCS #8. */
static void own_signature(void **state) {
  (void)state;
  static const char pem[] = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
  struct dkim_private_key k;
  struct dkim_sum sum = {.n = 32, .p = {1, 2, 3}};
  const char *error;
  size_t n;
  int bits;
  assert_false(dkim_key_load(STR("nonsense"), &k, &error));
  assert_true(dkim_key_load(str_n(pem, sizeof(pem) - 1), &k, &error));
  assert_int_equal(k.keytype, DKIM_KEY_ED25519);
  const char *text = dkim_key_sign(a, &k, DKIM_SHA256, &sum, &error);
  assert_non_null(text);
  char *data = base64_decode(a, str_c(text), &n);
  size_t key_n;
  char *key = base64_decode(a, STR("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="), &key_n);
  assert_int_equal(dkim_check_signature(DKIM_KEY_ED25519, DKIM_SHA256, str_n(key, key_n), &sum, str_n(data, n), 0, &bits, &error), DKIM_CHECK_PASS);
  dkim_key_free(&k);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(body_forms, setup, teardown),    cmocka_unit_test_setup_teardown(header_forms, setup, teardown),
    cmocka_unit_test_setup_teardown(long_bodies, setup, teardown),
    cmocka_unit_test_setup_teardown(signatures, setup, teardown),    cmocka_unit_test_setup_teardown(without_b, setup, teardown),
    cmocka_unit_test_setup_teardown(arc_headers, setup, teardown),
    cmocka_unit_test_setup_teardown(keys, setup, teardown),          cmocka_unit_test_setup_teardown(written_header, setup, teardown),
    cmocka_unit_test_setup_teardown(chosen_headers, setup, teardown), cmocka_unit_test_setup_teardown(rfc8463, setup, teardown),
    cmocka_unit_test_setup_teardown(own_signature, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
