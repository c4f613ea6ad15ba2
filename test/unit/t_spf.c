/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SPF: records, macros and checks over a zone in a table.  Expected: RFC 7208, its examples (section 7.4, appendix A) and its limits (4.6.4).
 * Floor: tests. */
#include "unit.h"

#include <stdio.h>

#include "formats/spf.h"

struct row {
  enum spf_ask type;
  const char *name, *data; /* data NULL: the DNS fails */
};

/* Zones of appendix A and cases of our own. */
static const struct row zone[] = {
  {SPF_ASK_TXT, "all.ex.com", "v=spf1 +all"}, {SPF_ASK_TXT, "none.ex.com", "v=spf10 -all"}, {SPF_ASK_TXT, "other.ex.com", "some text"},
  {SPF_ASK_TXT, "minus.ex.com", "v=spf1 -all"}, {SPF_ASK_TXT, "tilde.ex.com", "v=spf1 ~all"}, {SPF_ASK_TXT, "question.ex.com", "v=spf1 ?all"},
  {SPF_ASK_TXT, "empty.ex.com", "v=spf1"}, {SPF_ASK_TXT, "case.ex.com", "V=SPF1 IP4:192.0.2.0/24 -ALL"}, {SPF_ASK_TXT, "two.ex.com", "v=spf1 -all"},
  {SPF_ASK_TXT, "two.ex.com", "v=spf1 +all"}, {SPF_ASK_TXT, "one-of-two.ex.com", "hello"}, {SPF_ASK_TXT, "one-of-two.ex.com", "v=spf1 +all"},
  {SPF_ASK_TXT, "later.ex.com", NULL},
  {SPF_ASK_TXT, "a.ex.com", "v=spf1 a -all"}, {SPF_ASK_A, "a.ex.com", "192.0.2.10"}, {SPF_ASK_AAAA, "a.ex.com", "2001:db8::10"},
  {SPF_ASK_TXT, "a24.ex.com", "v=spf1 a:a.ex.com/24//64 -all"}, {SPF_ASK_TXT, "a-other.ex.com", "v=spf1 a:mail.ex.com -all"},
  {SPF_ASK_A, "mail.ex.com", "192.0.2.129"}, {SPF_ASK_A, "mail.ex.com", "192.0.2.130"},
  {SPF_ASK_TXT, "mx.ex.com", "v=spf1 mx -all"}, {SPF_ASK_MX, "mx.ex.com", "nothing.ex.com"}, {SPF_ASK_MX, "mx.ex.com", "mail.ex.com"},
  {SPF_ASK_TXT, "mx30.ex.com", "v=spf1 mx:mx.ex.com/30 -all"}, {SPF_ASK_TXT, "mx-later.ex.com", "v=spf1 mx -all"}, {SPF_ASK_MX, "mx-later.ex.com", "a-later.ex.com"},
  {SPF_ASK_A, "a-later.ex.com", NULL}, {SPF_ASK_TXT, "a-later.ex.com", "v=spf1 a -all"},
  {SPF_ASK_TXT, "ptr.ex.com", "v=spf1 ptr -all"}, {SPF_ASK_PTR, "129.2.0.192.in-addr.arpa", "liar.ex.com"}, {SPF_ASK_PTR, "129.2.0.192.in-addr.arpa", "host.ptr.ex.com"},
  {SPF_ASK_A, "host.ptr.ex.com", "192.0.2.129"}, {SPF_ASK_A, "liar.ex.com", "192.0.2.1"}, {SPF_ASK_TXT, "ptr-later.ex.com", "v=spf1 ptr ?all"},
  {SPF_ASK_PTR, "66.2.0.192.in-addr.arpa", NULL},
  {SPF_ASK_TXT, "exists.ex.com", "v=spf1 exists:%{ir}.%{l1r+-}._spf.%{d} -all"}, {SPF_ASK_A, "129.2.0.192.joe._spf.exists.ex.com", "127.0.0.2"},
  {SPF_ASK_TXT, "inc.ex.com", "v=spf1 include:a.ex.com ~all"}, {SPF_ASK_TXT, "inc-none.ex.com", "v=spf1 include:nothing.ex.com +all"},
  {SPF_ASK_TXT, "inc-later.ex.com", "v=spf1 include:later.ex.com +all"}, {SPF_ASK_TXT, "inc-bad.ex.com", "v=spf1 include:bad.ex.com +all"},
  {SPF_ASK_TXT, "bad.ex.com", "v=spf1 a:%{q} -all"}, {SPF_ASK_TXT, "late-error.ex.com", "v=spf1 +all nonsense"},
  {SPF_ASK_TXT, "red.ex.com", "v=spf1 redirect=a.ex.com"}, {SPF_ASK_TXT, "red-none.ex.com", "v=spf1 redirect=nothing.ex.com"},
  {SPF_ASK_TXT, "red-all.ex.com", "v=spf1 redirect=nothing.ex.com ?all"}, {SPF_ASK_TXT, "red-twice.ex.com", "v=spf1 redirect=a.ex.com redirect=a.ex.com"},
  {SPF_ASK_TXT, "loop.ex.com", "v=spf1 include:loop.ex.com -all"}, {SPF_ASK_TXT, "red-loop.ex.com", "v=spf1 redirect=red-loop.ex.com"},
  {SPF_ASK_TXT, "voids2.ex.com", "v=spf1 a:v1.ex.com a:v2.ex.com +all"}, {SPF_ASK_TXT, "voids3.ex.com", "v=spf1 a:v1.ex.com a:v2.ex.com mx:v3.ex.com +all"},
  {SPF_ASK_TXT, "ten.ex.com", "v=spf1 a:a.ex.com a:a.ex.com a:a.ex.com a:a.ex.com a:a.ex.com a:a.ex.com a:a.ex.com a:a.ex.com a:a.ex.com a:a.ex.com +all"},
  {SPF_ASK_TXT, "eleven.ex.com", "v=spf1 a:a.ex.com a:a.ex.com a:a.ex.com a:a.ex.com a:a.ex.com a:a.ex.com a:a.ex.com a:a.ex.com a:a.ex.com a:a.ex.com a:a.ex.com +all"},
  {SPF_ASK_TXT, "unknown-mod.ex.com", "v=spf1 foo=bar%{d} +all"}, {SPF_ASK_TXT, "unknown-bad.ex.com", "v=spf1 foo=%x +all"},
  {SPF_ASK_TXT, "ip6.ex.com", "v=spf1 ip6:2001:db8::/32 ip4:192.0.2.128/28 -all"}, {SPF_ASK_TXT, "p.ex.com", "v=spf1 exists:%{p}.p.ex.com -all"},
  {SPF_ASK_A, "host.ptr.ex.com.p.ex.com", "127.0.0.2"},
};

static int asked;

static enum spf_answer ask(void *ctx, enum spf_ask what, const char *name, struct vec *answers) {
  (void)ctx;
  asked++;
  for (size_t i = 0; i < ARRAY_SIZE(zone); i++) {
    if (zone[i].type != what || strcmpic(zone[i].name, name) != 0) continue;
    if (!zone[i].data) return SPF_ANSWER_LATER;
    vec_push(answers, (void *)(uintptr_t)zone[i].data);
  }
  return answers->n ? SPF_ANSWER : SPF_NO_ANSWER;
}

static enum spf_result check(struct arena *a, const char *ip, const char *sender, const char *domain, const char *record) {
  struct spf_check c = {.a = a, .sender = sender, .helo = "helo.ex.com", .ask = ask};
  assert_true(ip_parse(str_c(ip), &c.ip));
  asked = 0;
  return spf_check_host(&c, domain, record);
}

static void results(void **state) {
  (void)state;
  static const struct {
    const char *ip, *domain, *want;
  } rows[] = {
    {"192.0.2.1", "all.ex.com", "pass"}, {"192.0.2.1", "minus.ex.com", "fail"}, {"192.0.2.1", "tilde.ex.com", "softfail"}, {"192.0.2.1", "question.ex.com", "neutral"},
    {"192.0.2.1", "empty.ex.com", "neutral"}, {"192.0.2.1", "none.ex.com", "none"}, {"192.0.2.1", "other.ex.com", "none"}, {"192.0.2.1", "nothing.ex.com", "none"},
    {"192.0.2.1", "later.ex.com", "temperror"}, {"192.0.2.1", "two.ex.com", "permerror"}, {"192.0.2.1", "one-of-two.ex.com", "pass"}, {"192.0.2.1", "case.ex.com", "pass"},
    {"198.51.100.1", "case.ex.com", "fail"}, {"192.0.2.10", "a.ex.com", "pass"}, {"192.0.2.11", "a.ex.com", "fail"}, {"2001:db8::10", "a.ex.com", "pass"},
    {"::ffff:192.0.2.10", "a.ex.com", "pass"}, {"192.0.2.200", "a24.ex.com", "pass"}, {"192.0.3.200", "a24.ex.com", "fail"}, {"2001:db8::ffff", "a24.ex.com", "pass"},
    {"2001:db8:0:1::1", "a24.ex.com", "fail"}, {"192.0.2.130", "a-other.ex.com", "pass"}, {"192.0.2.129", "mx.ex.com", "pass"}, {"192.0.2.131", "mx.ex.com", "fail"},
    {"192.0.2.131", "mx30.ex.com", "pass"}, {"192.0.2.1", "mx-later.ex.com", "temperror"}, {"192.0.2.1", "a-later.ex.com", "temperror"}, {"192.0.2.129", "ptr.ex.com", "pass"},
    {"192.0.2.1", "ptr.ex.com", "fail"}, {"192.0.2.66", "ptr-later.ex.com", "neutral"}, {"192.0.2.129", "exists.ex.com", "pass"}, {"192.0.2.1", "exists.ex.com", "fail"},
    {"192.0.2.10", "inc.ex.com", "pass"}, {"192.0.2.11", "inc.ex.com", "softfail"}, {"192.0.2.1", "inc-none.ex.com", "permerror"}, {"192.0.2.1", "inc-later.ex.com", "temperror"},
    {"192.0.2.1", "inc-bad.ex.com", "permerror"}, {"192.0.2.1", "bad.ex.com", "permerror"}, {"192.0.2.1", "late-error.ex.com", "permerror"}, {"192.0.2.10", "red.ex.com", "pass"},
    {"192.0.2.11", "red.ex.com", "fail"}, {"192.0.2.1", "red-none.ex.com", "permerror"}, {"192.0.2.1", "red-all.ex.com", "neutral"}, {"192.0.2.1", "red-twice.ex.com", "permerror"},
    {"192.0.2.1", "loop.ex.com", "permerror"}, {"192.0.2.1", "red-loop.ex.com", "permerror"}, {"192.0.2.1", "voids2.ex.com", "pass"}, {"192.0.2.1", "voids3.ex.com", "permerror"},
    {"192.0.2.1", "ten.ex.com", "pass"}, {"192.0.2.1", "eleven.ex.com", "permerror"}, {"192.0.2.1", "unknown-mod.ex.com", "pass"}, {"192.0.2.1", "unknown-bad.ex.com", "permerror"},
    {"2001:db8:1::1", "ip6.ex.com", "pass"}, {"192.0.2.129", "ip6.ex.com", "pass"}, {"192.0.2.144", "ip6.ex.com", "fail"}, {"192.0.2.129", "p.ex.com", "pass"},
    {"192.0.2.1", "p.ex.com", "fail"}, {"192.0.2.1", "localhost", "none"}, {"192.0.2.1", "a..ex.com", "none"}, {"192.0.2.1", "[192.0.2.1]", "none"}, {"192.0.2.1", "", "none"},
    {"192.0.2.1", "a123456789a123456789a123456789a123456789a123456789a123456789a123456789.ex.com", "none"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("spf");
    enum spf_result r = check(a, rows[i].ip, "joe+x@ex.com", rows[i].domain, NULL);
    CHECK_STR(arena_printf(a, "%s from %s", rows[i].domain, rows[i].ip), spf_result_names[r], rows[i].want);
    assert_true(asked <= 1 + 10 * 11);
    arena_free(a);
  }
}

/* A guess speaks for the domain and may ask for what is not there. */
static void guesses(void **state) {
  (void)state;
  struct arena *a = arena_new("spf");
  static const char guess[] = "v=spf1 a/24 mx/24 ptr ?all";
  assert_int_equal(check(a, "192.0.2.77", "x@a.ex.com", "a.ex.com", guess), SPF_PASS);
  assert_int_equal(check(a, "203.0.113.7", "x@nothing.ex.com", "nothing.ex.com", guess), SPF_NEUTRAL);
  assert_int_equal(check(a, "203.0.113.7", "x@nothing.ex.com", "nothing.ex.com", "v=spf1 nonsense"), SPF_PERMERROR);
  arena_free(a);
}

/* RFC 7208 section 7.4. */
static void macros(void **state) {
  (void)state;
  static const struct {
    const char *in, *want; /* NULL: malformed */
    bool six;
  } rows[] = {
    {"%{s}", "strong-bad@email.example.com", false}, {"%{o}", "email.example.com", false}, {"%{d}", "email.example.com", false}, {"%{d4}", "email.example.com", false},
    {"%{d3}", "email.example.com", false}, {"%{d2}", "example.com", false}, {"%{d1}", "com", false}, {"%{dr}", "com.example.email", false}, {"%{d2r}", "example.email", false},
    {"%{l}", "strong-bad", false}, {"%{l-}", "strong.bad", false}, {"%{lr}", "strong-bad", false}, {"%{lr-}", "bad.strong", false}, {"%{l1r-}", "strong", false},
    {"%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com", false}, {"%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com", false},
    {"%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com", false},
    {"%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com", false},
    {"%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net", false},
    {"%{ir}.%{v}._spf.%{d2}", "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com", true},
    {"%{S}", "strong-bad%40email.example.com", false}, {"a%%b%_c%-d.%{h}", "a%b c%20d.mail.example.com", false}, {"%{p}", "unknown", false},
    {"%{d0}", NULL, false}, {"%{}", NULL, false}, {"%{x}", NULL, false}, {"%{d", NULL, false}, {"%d", NULL, false}, {"%", NULL, false}, {"%{d2z}", NULL, false}, {"%{c}", NULL, false},
    {"%{r}", NULL, false}, {"a b", NULL, false}, {"a\x80", NULL, false}, {"%{d99999999999999999999}", NULL, false},
  };
  struct arena *a = arena_new("spf");
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct ip ip;
    struct strbuf b = strbuf_new(a);
    assert_true(ip_parse(str_c(rows[i].six ? "2001:db8::cb01" : "192.0.2.3"), &ip));
    struct spf_names n = {.ip = &ip, .sender = "strong-bad@email.example.com", .domain = "email.example.com", .helo = "mail.example.com"};
    bool ok = spf_expand(&b, str_c(rows[i].in), &n, SPF_FOR_DOMAIN);
    CHECK_INT(rows[i].in, ok, rows[i].want != NULL);
    if (ok) CHECK_STR(rows[i].in, b.p, rows[i].want);
  }
  struct ip ip;
  assert_true(ip_parse(STR("2001:db8::1"), &ip));
  struct spf_names n = {.ip = &ip, .sender = "a@b.ex", .domain = "b.ex", .helo = "h", .receiver = "mx.ex", .now = 12};
  struct strbuf b = strbuf_new(a);
  assert_true(spf_expand(&b, STR("see%_this %{c} %{C} %{r} %{t}"), &n, SPF_FOR_EXPLANATION));
  CHECK_STR("explanation", b.p, "see this 2001:db8::1 2001%3adb8%3a%3a1 mx.ex 12");
  /* What is too long loses labels on its left. */
  strbuf_clear(&b);
  struct strbuf longer = strbuf_new(a);
  for (int i = 0; i < 30; i++) strbuf_adds(&longer, "%{d}.");
  strbuf_adds(&longer, "end.example");
  assert_true(spf_expand(&b, strbuf_str(&longer), &(struct spf_names){.ip = &ip, .sender = "x@y.zz", .domain = "abcdefghi.test", .helo = "h"}, SPF_FOR_DOMAIN));
  assert_true(b.n <= 253 && b.n > 230);
  assert_true(str_endsic(strbuf_str(&b), STR(".test.end.example")));
  arena_free(a);
}

static void records(void **state) {
  (void)state;
  static const struct {
    const char *in;
    bool good;
  } rows[] = {
    {"v=spf1 a mx ptr ip4:1.2.3.4 ip6:::1 include:x.ex exists:x.ex all", true}, {"v=spf1  -all ", true}, {"v=spf1 a/0 mx//0 a:x.ex/32//128", true}, {"v=spf1 a:%{d}/24", true},
    {"v=spf1 a:%{d/}/24", true}, {"v=spf1 redirect=x.ex exp=y.ex", true}, {"v=spf1 x-y.z_1=%{d}", true}, {"v=spf1 ip4:10.0.0.0/8", true}, {"v=spf1 include:x.ex.", true},
    {"v=spf1 all:x.ex", false}, {"v=spf1 all/8", false}, {"v=spf1 include", false}, {"v=spf1 include:", false}, {"v=spf1 include:x", false}, {"v=spf1 include:x.123", false},
    {"v=spf1 include:x.-a", false}, {"v=spf1 include:x.ex/24", false}, {"v=spf1 exists", false}, {"v=spf1 a/33", false}, {"v=spf1 a//129", false}, {"v=spf1 a/08", false}, {"v=spf1 a/", false},
    {"v=spf1 a//", false}, {"v=spf1 a:", false}, {"v=spf1 ip4", false}, {"v=spf1 ip4:1.2.3", false}, {"v=spf1 ip4:1.2.3.4/33", false}, {"v=spf1 ip4:::1", false},
    {"v=spf1 ip6:1.2.3.4", false}, {"v=spf1 ip6:::1/129", false}, {"v=spf1 ip6:fe80::1%1", false}, {"v=spf1 redirect=", false}, {"v=spf1 redirect=x", false},
    {"v=spf1 exp=a.ex exp=b.ex", false}, {"v=spf1 foo", false}, {"v=spf1 ++all", false}, {"v=spf1 -", false}, {"v=spf1 a\tmx", false}, {"v=spf1 =x", false}, {"v=spf2 all", false},
    {"v=spf1all", false}, {"", false},
  };
  struct arena *a = arena_new("spf");
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct spf_record r;
    CHECK_INT(rows[i].in, spf_parse_record(a, str_c(rows[i].in), &r) == NULL, rows[i].good);
  }
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(results), cmocka_unit_test(guesses), cmocka_unit_test(macros), cmocka_unit_test(records)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
