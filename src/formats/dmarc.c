/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DMARC records, organizational domains and alignment (formats/dmarc.h).  Floor: formats.  RFC 7489 sections 3.1, 3.2, 6.3, 6.4. */
#include "formats/dmarc.h"

const char *const dmarc_policy_names[] = {"", "none", "quarantine", "reject"};

static enum dmarc_policy policy_of(struct str s) {
  for (size_t i = DMARC_POLICY_NONE; i < ARRAY_SIZE(dmarc_policy_names); i++)
    if (str_eqic_c(s, dmarc_policy_names[i])) return (enum dmarc_policy)i;
  return DMARC_UNSPECIFIED;
}

/* "name = value" up to a semicolon. */
static bool next_tag(struct str *rest, struct str *ret_name, struct str *ret_value) {
  while (rest->n > 0) {
    struct str one = str_cut(rest, ';');
    struct str name = str_cut(&one, '=');
    *ret_name = str_trim(name);
    *ret_value = str_trim(one);
    if (ret_name->n > 0) return true;
  }
  return false;
}

/* The version comes first, and is written just so. */
bool dmarc_is_record(struct str s) {
  struct str name, value;
  return next_tag(&s, &name, &value) && str_eq_c(name, "v") && str_eq_c(value, "DMARC1");
}

static void take_tag(struct dmarc_record *r, struct str name, struct str value) {
  int n;
  if (str_eq_c(name, "p")) r->policy = policy_of(value);
  else if (str_eq_c(name, "sp")) r->subdomain_policy = policy_of(value);
  else if (str_eq_c(name, "adkim")) r->strict_dkim = str_eqic_c(value, "s");
  else if (str_eq_c(name, "aspf")) r->strict_spf = str_eqic_c(value, "s");
  else if (str_eq_c(name, "rua")) r->rua = value;
  else if (str_eq_c(name, "ruf")) r->ruf = value;
  else if (str_eq_c(name, "pct") && str_parse_int(value, &n) && n >= 0 && n <= 100) r->percent = n;
}

bool dmarc_parse_record(struct str s, struct dmarc_record *ret) {
  struct str name, value;
  if (!dmarc_is_record(s)) return false;
  *ret = (struct dmarc_record){.percent = 100};
  while (next_tag(&s, &name, &value)) take_tag(ret, name, value);
  if (ret->policy != DMARC_UNSPECIFIED) return true;
  ret->policy = DMARC_POLICY_NONE; /* a domain that wants reports says at least that it is watching */
  ret->subdomain_policy = DMARC_UNSPECIFIED;
  return ret->rua.n > 0;
}

/* ---- public suffixes ---- */

static size_t count_labels(struct str s) {
  size_t n = 1;
  for (size_t i = 0; i < s.n; i++) n += s.p[i] == '.';
  return n;
}

/* The last n labels. */
static struct str last_labels(struct str s, size_t n) {
  size_t at = s.n;
  while (at > 0) {
    if (s.p[at - 1] == '.' && --n == 0) break;
    at--;
  }
  return str_n(s.p + at, s.n - at);
}

/* How many labels of the domain the rule says are a public suffix, 0: it does not apply. */
static size_t suffix_labels(struct str rule, struct str domain, size_t domain_labels, bool *ret_is_exception) {
  *ret_is_exception = rule.n > 0 && rule.p[0] == '!';
  if (*ret_is_exception) rule = str_n(rule.p + 1, rule.n - 1);
  bool is_wild = str_starts(rule, STR("*."));
  if (is_wild) rule = str_n(rule.p + 2, rule.n - 2);
  if (rule.n == 0) return 0;
  size_t n = count_labels(rule);
  if (n + is_wild > domain_labels || !str_eqic(last_labels(domain, n), rule)) return 0;
  return n + is_wild - *ret_is_exception;
}

struct str dmarc_org_domain(struct str list, struct str domain) {
  size_t labels = count_labels(domain), best = 1;
  bool found_exception = false;
  while (list.n > 0 && !found_exception) {
    struct str line = str_cut(&list, '\n'), rule = str_word(&line);
    bool is_exception;
    if (rule.n == 0 || str_starts(rule, STR("//"))) continue;
    size_t n = suffix_labels(rule, domain, labels, &is_exception);
    if (n == 0) continue;
    if (is_exception || n > best) best = n;
    found_exception = is_exception;
  }
  return labels > best + 1 ? last_labels(domain, best + 1) : domain;
}

bool dmarc_is_aligned(struct str list, struct str authenticated, struct str from, bool strict) {
  if (authenticated.n == 0) return false;
  if (str_eqic(authenticated, from)) return true;
  return !strict && str_eqic(dmarc_org_domain(list, authenticated), dmarc_org_domain(list, from));
}
