/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses, lists, header lines, dates.  Addresses and error texts were obtained from Exim 4.96 (${address:...} and RCPT replies). */
#include "unit.h"

#include "formats/rfc5322.h"

static const struct {
  const char *in, *want, *error;
} addresses[] = {
  {"Joe Q <joe@x.y>", "joe@x.y", NULL}, {"\"J, Q\" <j@x>", "j@x", NULL}, {"a@b (c)", "a@b", NULL},
  {"(c) a (d) @ (e) b", "a@b", NULL}, {"\"a b\"@c.d", "\"a b\"@c.d", NULL}, {"a.b..c@d", "a.b..c@d", NULL}, {"a.@b", "a.@b", NULL},
  {".a@b", ".a@b", NULL}, {"..a@b", "..a@b", NULL}, {"<@r,@s:u@v>", "u@v", NULL}, {"x@[1.2.3.4]", "x@[1.2.3.4]", NULL},
  {"a\\@b@c", "a\\@b@c", NULL}, {"joe", "joe", NULL}, {"=?x?= <q@r>", "q@r", NULL}, {"a@b-.c", "a@b-.c", NULL},
  {"a@b .c", "a@b.c", NULL}, {"a . b@c", "a.b@c", NULL}, {"\"\"@b", "\"\"@b", NULL}, {"\"a\".b@c", "\"a\".b@c", NULL},
  {"<a@b> (x)", "a@b", NULL}, {"\xc3\xbc@b", "\xc3\xbc@b", NULL}, {"a@[::1]", "a@[::1]", NULL}, {"a'b@c", "a'b@c", NULL},
  {"<(x)a@b>", "a@b", NULL}, {".", ".", NULL}, {"<\"abc\n   def\"@x>", "\"abc   def\"@x", NULL},
  {"a<b@c>", "b@c", NULL}, {"@x,@y:a@b", "a@b", NULL}, {"a.b <c@d>", "c@d", NULL}, {"\"x@y\" <a@b>", "a@b", NULL}, {"(x@y) z <a@b>", "a@b", NULL},
  {"a\\@b <c@d>", "c@d", NULL}, {"a@b <c@d>", NULL, "malformed address: <c@d> may not follow a@b "},
  {"x@ <a@b>", NULL, "domain missing or malformed"}, {"x, y <a@b>", NULL, "missing or malformed local part (expected word or \"<\")"},
  {"x; <a@b>", NULL, "malformed address: ; <a@b> may not follow x"},
  {"<>", NULL, "missing or malformed local part"}, {"<a@b@c>", NULL, "malformed address: @c> may not follow <a@b"},
  {"<\"abc@d>", NULL, "unmatched doublequote in local part"}, {"<@a b@c>", NULL, "no local part"},
  {"<@a,b@c>", NULL, "colon expected after route list"}, {"<@a,@b:>", NULL, "missing or malformed local part"},
  {"<a@b.>", NULL, "domain missing or malformed"}, {"<a@b", NULL, "'>' missing at end of address"},
  {"<a@>", NULL, "domain missing or malformed"}, {"<a@-b>", NULL, "domain missing or malformed"},
  {"a,b@c", NULL, "missing or malformed local part (expected word or \"<\")"},
  {"a:b@c", NULL, "missing or malformed local part (expected word or \"<\")"},
  {"<@>", NULL, "domain missing or malformed"}, {"<a\"b\"@c>", NULL, "\"@\" or \".\" expected after \"a\""},
  {"<\"a\"b@c>", NULL, "\"@\" or \".\" expected after \"\"a\"\""}, {"<a@b>x", NULL, "malformed address: x may not follow <a@b>"},
  {"a@b c", NULL, "malformed address: c may not follow a@b "}, {"<a@b_c>", NULL, "malformed address: _c> may not follow <a@b"},
  {"bad address", NULL, "missing or malformed local part (expected word or \"<\")"}, {"x y@z", NULL, "missing or malformed local part (expected word or \"<\")"},
  {"<a b@c>", NULL, "\"@\" or \".\" expected after \"a\""}, {"<a(b@c>", NULL, "\"@\" or \".\" expected after \"a\""},
  {"<<a@b>>", NULL, "missing or malformed local part"}, {"<a@b>>", NULL, "malformed address: > may not follow <a@b>"},
  {"<,@b>", NULL, "missing or malformed local part"}, {"<a@b,c@d>", NULL, "malformed address: ,c@d> may not follow <a@b"},
};

static void extracts_addresses(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
    struct addr_opts o = {.allow_domain_literal = true};
    const char *error = NULL, *got = rfc5322_extract_address(a, str_c(addresses[i].in), o, NULL, &error);
    if (addresses[i].want) {
      if (!got) fail_msg("%s: refused: %s", addresses[i].in, error);
      CHECK_STR(addresses[i].in, got, addresses[i].want);
    } else {
      if (got) fail_msg("%s: accepted as %s", addresses[i].in, got);
      CHECK_STR(addresses[i].in, error, addresses[i].error);
    }
  }
  arena_free(a);
}

static void options_change_what_is_allowed(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  const char *error = NULL;
  assert_null(rfc5322_extract_address(a, STR("<a@[1.2.3.4]>"), (struct addr_opts){0}, NULL, &error));
  CHECK_STR("literal", error, "domain literals not allowed");
  CHECK_STR("empty", rfc5322_extract_address(a, STR("<>"), (struct addr_opts){.allow_empty = true}, NULL, &error), "");
  CHECK_STR("angles", rfc5322_extract_address(a, STR("<<a@b>>"), (struct addr_opts){.strip_angle_excess = true}, NULL, &error), "a@b");
  CHECK_STR("dot", rfc5322_extract_address(a, STR("<a@b.>"), (struct addr_opts){.strip_trailing_dot = true}, NULL, &error), "a@b");
  size_t domain;
  assert_non_null(rfc5322_extract_address(a, STR("x <ab@c.d>"), (struct addr_opts){0}, &domain, &error));
  CHECK_INT("domain offset", domain, 3);
  const char *tainted = arena_strdup_t(a, "a@b", TAINTED);
  assert_true(is_tainted(rfc5322_extract_address(a, str_c(tainted), (struct addr_opts){0}, NULL, &error)));
  arena_free(a);
}

static void finds_list_items(void **state) {
  (void)state;
  static const struct {
    const char *in;
    size_t end;
  } rows[] = {{"a@b, c@d", 3}, {"\"x,y\" <a@b>, c", 11}, {"(a,b) c@d,e", 9}, {"<@a,@b:c@d>,x", 11}, {"@a, @b:c@d,x", 10}, {"@a,x", 2}, {"g: a@b;,c", 6}, {"", 0}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) CHECK_INT(rows[i].in, rfc5322_find_address_end(str_c(rows[i].in)), rows[i].end);
}

static void classifies_headers(void **state) {
  (void)state;
  static const struct {
    const char *line;
    char type;
    bool resent;
  } rows[] = {{"From: x\n", 'F', 0}, {"received : y\n", 'P', 0}, {"Resent-To: z\n", 'T', 1}, {"Subject: from\n", ' ', 0},
              {"BCC: a\n", 'B', 0}, {"Reply-To: a\n", 'R', 0}, {"Message-Id: <a>\n", 'I', 0}, {"Sender: a\n", 'S', 0}, {"no colon\n", ' ', 0}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    bool resent;
    CHECK_INT(rows[i].line, header_type_of(str_c(rows[i].line), &resent), rows[i].type);
    CHECK_INT(rows[i].line, resent, rows[i].resent);
  }
  assert_true(header_is_valid_start(STR("X-A: b")));
  assert_true(header_is_valid_start(STR("X-A :")));
  assert_false(header_is_valid_start(STR("X A: b")));
  assert_false(header_is_valid_start(STR(": b")));
  assert_false(header_is_valid_start(STR(" folded: b")));
}

static void quotes_local_parts(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  static const char *const rows[][2] = {{"abc", "abc"}, {"a b", "\"a b\""}, {"a\"b", "\"a\\\"b\""}, {".a", "\".a\""},
                                        {"a..b", "a..b"}, {"a.", "\"a.\""}, {"a.b", "a.b"}, {"", "\"\""}, {"a@b", "\"a@b\""}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) CHECK_STR(rows[i][0], addr_quote_local_part(a, str_c(rows[i][0])), rows[i][1]);
  CHECK_INT("a space that is kept", rfc5322_trim(STR(" a\\  ")).n, 3);
  CHECK_INT("a backslash that is kept", rfc5322_trim(STR(" a\\\\  ")).n, 3);
  static const char *const quoted[][2] = {{"abc", "abc"}, {"\"a b\"", "a b"}, {"\"a\\\"b\"", "a\"b"}, {"a\\b", "ab"}, {"\"a\".b", "a.b"},
                                          {"\"\"", ""}, {"a\\", "a\\"}};
  for (size_t i = 0; i < ARRAY_SIZE(quoted); i++)
    CHECK_STR(quoted[i][0], addr_dequote_local_part(a, str_c(quoted[i][0])), quoted[i][1]);
  arena_free(a);
}

/* What 4.96 makes of -F; where that is no phrase (an end that is missing), ours is one. */
static const struct {
  const char *in, *want;
} phrases[] = {
  {"plain words", "plain words"}, {"J. Q. Public", "\"J. Q. Public\""}, {"a (comment)", "a (comment)"}, {"(comment) a", "(comment) a"},
  {"a.b (c.d)", "\"a.b (c.d)\""}, {"(c.d)", "(c.d)"}, {"(c.d) e.f", "\"(c.d) e.f\""}, {"\"quoted\"", "\"quoted\""},
  {"\"quoted\" word", "\"quoted\" word"}, {"word \"quoted\"", "word \"quoted\""}, {"word.dot \"quoted\"", "\"word.dot\" \"quoted\""},
  {"Na.me (x) \"q\" y", "\"Na.me (x)\" \"q\" y"}, {"\"quoted\" word.dot", "\"quoted\" \"word.dot\""}, {"\"unclosed", "\"unclosed\""},
  {"word.x \"unclosed", "\"word.x\" \"unclosed\""}, {"back\\slash", "\"back\\slash\""}, {"(com\\)ment) x", "(com\\)ment) x"},
  {"(nested (comment) here) x", "(nested (comment) here) x"}, {"(nested (comment here) x", "\"(nested (comment here) x\""},
  {"x) y", "\"x) y\""}, {"a@b", "\"a@b\""}, {"w.d (com\"ment)", "\"w.d (com\\\"ment)\""}, {"x\"y\"z", "x\"y\"z"}, {"a\\", "\"a\\\\\""},
  {"\\", "\"\\\\\""}, {"\"", "\"\""}, {"(", "\"(\""}, {"\"a\\", "\"a\\\\\""}, {"\"a\\\\", "\"a\\\\\""}, {"(a\\", "\"(a\\\\\""},
  {"", ""}, {"\xc3\xa9.x", "=?UTF-8?Q?=C3=A9=2Ex?="}, {"me\nBcc: evil@x", "=?UTF-8?Q?me=0ABcc=3A_evil=40x?="}, {"a\rb", "=?UTF-8?Q?a=0Db?="},
  {"a\033b", "=?UTF-8?Q?a=1Bb?="}, {"\"a\nb\"", "=?UTF-8?Q?=22a=0Ab=22?="}, {"(a\nb)", "=?UTF-8?Q?=28a=0Ab=29?="}, {"a\tb", "a\tb"},
};

static void makes_phrases(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  for (size_t i = 0; i < ARRAY_SIZE(phrases); i++)
    CHECK_STR(phrases[i].in, rfc5322_fix_phrase(a, str_c(phrases[i].in), "UTF-8"), phrases[i].want);
  arena_free(a);
}

static void takes_names_of_groups_away(void **state) {
  (void)state;
  static const char *const rows[][2] = {
    {"g: a@b", "a@b"}, {"g h: a@b;", "a@b"}, {"\"g h\": a@b", "a@b"}, {"\"g:h\" (x:y) i: a@b", "a@b"}, {"\"a:b\"@c", "\"a:b\"@c"},
    {"\"a\\\":b\"@c", "\"a\\\":b\"@c"}, {"\"open: a@b", "\"open: a@b"}, {"x <a:b@c>", "x <a:b@c>"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct str got = rfc5322_strip_group(str_c(rows[i][0]));
    CHECK_INT(rows[i][0], str_eq(got, str_c(rows[i][1])), true);
  }
}

/* A megabyte of brackets takes its time once: with the square of it this test does not end. */
static void brackets_cost_no_square(void **state) {
  (void)state;
  static const char *const pieces[] = {"(", "(()", "(\"a\"", "\\(("};
  enum { BYTES = 4000000 };
  struct arena *a = arena_new("test");
  char *line = arena_alloc(a, BYTES + 8);
  for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
    struct str piece = str_c(pieces[i]), all = str_n(line, BYTES / piece.n * piece.n);
    for (size_t n = 0; n < all.n; n += piece.n) memcpy(line + n, piece.p, piece.n);
    CHECK_INT(pieces[i], (long)rfc5322_strip_group(all).n, (long)all.n);
    CHECK_INT(pieces[i], (long)rfc5322_find_address_end(all), (long)all.n);
  }
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(extracts_addresses), cmocka_unit_test(options_change_what_is_allowed), cmocka_unit_test(finds_list_items),
    cmocka_unit_test(classifies_headers), cmocka_unit_test(quotes_local_parts), cmocka_unit_test(makes_phrases), cmocka_unit_test(takes_names_of_groups_away),
    cmocka_unit_test(brackets_cost_no_square),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
