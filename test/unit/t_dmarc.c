/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DMARC records, organizational domains, alignment.  Expected: RFC 7489 sections 3.1, 3.2, 6.3, 6.6.3; publicsuffix.org's rules and its examples.
 * Floor: tests. */
#include "unit.h"

#include <stdio.h>

#include "formats/dmarc.h"

static const char list[] =
  "// comment\n\ncom\nuk\nco.uk  // behind white space nothing counts\nck\n*.ck\n!www.ck\njp\nkyoto.jp\nide.kyoto.jp\n*.kobe.jp\n!city.kobe.jp\nblogspot.com\n";

static void records(void **state) {
  (void)state;
  static const struct {
    const char *in, *want; /* p sp adkim aspf pct rua, NULL: none */
  } rows[] = {
    {"v=DMARC1; p=none", "none//r/r/100/"}, {"v=DMARC1;p=reject;sp=quarantine;adkim=s;aspf=s;pct=5;rua=mailto:a@b.ex!5m", "reject/quarantine/s/s/5/mailto:a@b.ex!5m"},
    {"v = DMARC1 ; p = QUARANTINE ;", "quarantine//r/r/100/"}, {"v=DMARC1; p=nonsense; rua=mailto:a@b.ex", "none//r/r/100/mailto:a@b.ex"},
    {"v=DMARC1; sp=reject; rua=x", "none//r/r/100/x"}, {"v=DMARC1; p=nonsense", NULL}, {"v=DMARC1", NULL}, {"v=DMARC1; p=none; pct=101", "none//r/r/100/"},
    {"v=DMARC1; p=none; pct=-1; unknown=1; =;;", "none//r/r/100/"}, {"v=dmarc1; p=none", NULL}, {"V=DMARC1; p=none", NULL}, {"p=none; v=DMARC1", NULL}, {"v=DMARC10; p=none", NULL},
    {"", NULL}, {"v=spf1 -all", NULL},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct dmarc_record r;
    char got[200];
    bool ok = dmarc_parse_record(str_c(rows[i].in), &r);
    CHECK_INT(rows[i].in, ok, rows[i].want != NULL);
    if (!ok) continue;
    snprintf(got, sizeof got, "%s/%s/%c/%c/%d/%.*s", dmarc_policy_names[r.policy], dmarc_policy_names[r.subdomain_policy], r.strict_dkim ? 's' : 'r',
             r.strict_spf ? 's' : 'r', r.percent, STR_FMT(r.rua));
    CHECK_STR(rows[i].in, got, rows[i].want);
  }
}

static void org_domains(void **state) {
  (void)state;
  static const char *const rows[][2] = {
    {"com", "com"}, {"example.com", "example.com"}, {"b.example.com", "example.com"}, {"a.b.example.com", "example.com"}, {"example.co.uk", "example.co.uk"},
    {"a.example.co.uk", "example.co.uk"}, {"example.uk", "example.uk"}, {"a.example.uk", "example.uk"}, {"test.ck", "test.ck"}, {"b.test.ck", "b.test.ck"}, {"a.b.test.ck", "b.test.ck"},
    {"www.ck", "www.ck"}, {"www.www.ck", "www.ck"}, {"b.ide.kyoto.jp", "b.ide.kyoto.jp"}, {"a.b.ide.kyoto.jp", "b.ide.kyoto.jp"}, {"b.c.kobe.jp", "b.c.kobe.jp"},
    {"a.b.c.kobe.jp", "b.c.kobe.jp"}, {"city.kobe.jp", "city.kobe.jp"}, {"www.city.kobe.jp", "city.kobe.jp"}, {"a.x.unlisted", "x.unlisted"}, {"x.unlisted", "x.unlisted"},
    {"me.blogspot.com", "me.blogspot.com"}, {"", ""},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    char got[100];
    snprintf(got, sizeof got, "%.*s", STR_FMT(dmarc_org_domain(str_c(list), str_c(rows[i][0]))));
    CHECK_STR(rows[i][0], got, rows[i][1]);
  }
}

static void alignment(void **state) {
  (void)state;
  static const struct {
    const char *authenticated, *from;
    bool relaxed, strict;
  } rows[] = {
    {"example.com", "example.com", true, true}, {"EXAMPLE.com", "example.com", true, true}, {"a.example.com", "example.com", true, false}, {"example.com", "b.example.com", true, false},
    {"a.example.com", "b.example.com", true, false}, {"example.com", "other.com", false, false}, {"com", "example.com", false, false}, {"a.co.uk", "b.co.uk", false, false},
    {"me.blogspot.com", "you.blogspot.com", false, false}, {"", "example.com", false, false}, {"xexample.com", "example.com", false, false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    CHECK_INT(rows[i].authenticated, dmarc_is_aligned(str_c(list), str_c(rows[i].authenticated), str_c(rows[i].from), false), rows[i].relaxed);
    CHECK_INT(rows[i].authenticated, dmarc_is_aligned(str_c(list), str_c(rows[i].authenticated), str_c(rows[i].from), true), rows[i].strict);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(records), cmocka_unit_test(org_domains), cmocka_unit_test(alignment)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
