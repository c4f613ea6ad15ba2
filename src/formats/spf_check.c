/* SPDX-License-Identifier: GPL-2.0-or-later */
/* check_host() of RFC 7208 section 4 (spf.h).  Floor: formats. */
#include "formats/spf.h"

/* The explanation that a domain offers (exp=) is text of a stranger for a reply of ours: it is checked with the record and not used. */
enum { LOOKUPS_MAX = 10, VOIDS_MAX = 2, HOSTS_MAX = 10 };

/* What a mechanism says. */
enum found { MATCH, NO_MATCH, FOUND_TEMPERROR, FOUND_PERMERROR };

static enum spf_result problem(struct spf_check *c, enum spf_result r, const char *text) {
  c->problem = text;
  return r;
}

static enum found no_good(struct spf_check *c, bool temporary, const char *text) {
  (void)problem(c, SPF_NONE, text);
  return temporary ? FOUND_TEMPERROR : FOUND_PERMERROR;
}

/* Labels of 1 to 63 octets, at least two of them, 253 in all. */
static bool domain_can_be_asked(struct str d) {
  size_t labels = 0;
  if (d.n > 0 && d.p[d.n - 1] == '.') d.n--;
  if (d.n == 0 || d.n > 253 || d.p[d.n - 1] == '.') return false;
  while (d.n > 0) {
    struct str label = str_cut(&d, '.');
    if (label.n == 0 || label.n > 63) return false;
    labels++;
  }
  return labels >= 2;
}

static enum spf_answer ask(struct spf_check *c, enum spf_ask what, const char *name, struct vec *ret) {
  *ret = vec_new(c->a);
  if (!domain_can_be_asked(str_c(name))) return SPF_NO_ANSWER;
  return c->ask(c->ctx, what, name, ret);
}

/* ---- names of the client ---- */

static bool is_below(const char *name, const char *domain) {
  struct str n = str_c(name), d = str_c(domain);
  if (n.n && n.p[n.n - 1] == '.') n.n--;
  if (d.n && d.p[d.n - 1] == '.') d.n--;
  return str_endsic(n, d) && (n.n == d.n || n.p[n.n - d.n - 1] == '.');
}

static bool has_client_address(struct spf_check *c, const char *name, int bits4, int bits6, enum spf_answer *ret) {
  struct vec v;
  *ret = ask(c, c->ip.family == 4 ? SPF_ASK_A : SPF_ASK_AAAA, name, &v);
  for (size_t i = 0; *ret == SPF_ANSWER && i < v.n; i++) {
    struct ip ip;
    if (ip_parse(str_c(v.v[i]), &ip) && ip_in_net(&c->ip, &ip, c->ip.family == 4 ? bits4 : bits6)) return true;
  }
  return false;
}

/* A name of the client that leads back to it; of domain's own or below it (section 5.5), any one for %{p} with is_strict false. */
static const char *validated_name(struct spf_check *c, const char *domain, bool is_strict, enum spf_answer *ret) {
  char query[96];
  struct vec names;
  const char *any = NULL, *below = NULL;
  *ret = ask(c, SPF_ASK_PTR, ip_reverse(&c->ip, true, query, sizeof query), &names);
  for (size_t i = 0; *ret == SPF_ANSWER && i < names.n && i < HOSTS_MAX; i++) {
    enum spf_answer unused;
    const char *name = names.v[i];
    if (is_strict && !is_below(name, domain)) continue;
    if (!has_client_address(c, name, 32, 128, &unused)) continue;
    if (strcmpic(name, domain) == 0) return name;
    if (!below && is_below(name, domain)) below = name;
    if (!any) any = name;
  }
  return below ? below : any;
}

/* ---- macros ---- */

static bool expand(struct spf_check *c, struct str text, const char *domain, const char **ret) {
  struct strbuf b = strbuf_new_t(c->a, TAINTED, 256);
  if (spf_wants_validated(text) && !c->validated_known) {
    enum spf_answer unused;
    c->validated_known = true;
    c->validated = validated_name(c, domain, false, &unused);
  }
  struct spf_names n = {.ip = &c->ip, .sender = c->sender, .domain = domain, .helo = c->helo, .validated = c->validated};
  if (!spf_expand(&b, text, &n, SPF_FOR_DOMAIN)) return false;
  *ret = b.p;
  return true;
}

static bool target_of(struct spf_check *c, const struct spf_term *t, const char *domain, const char **ret) {
  *ret = domain;
  return t->domain.n == 0 || expand(c, t->domain, domain, ret);
}

/* ---- mechanisms ---- */

static enum spf_result check(struct spf_check *c, const char *domain, const char *record);

/* A guess asks for names that need not be there. */
static bool count_void(struct spf_check *c, enum spf_answer a) { return a != SPF_NO_ANSWER || c->is_guess || ++c->voids <= VOIDS_MAX; }

static enum found judge(struct spf_check *c, enum spf_answer a, bool matches) {
  if (a == SPF_ANSWER_LATER) return no_good(c, true, "Temporary DNS failure");
  if (!count_void(c, a)) return no_good(c, false, "Too many DNS lookups without an answer");
  return matches ? MATCH : NO_MATCH;
}

static enum found match_a(struct spf_check *c, const struct spf_term *t, const char *name) {
  enum spf_answer a;
  bool is_there = has_client_address(c, name, t->bits4, t->bits6, &a);
  return judge(c, a, is_there);
}

static enum found match_mx(struct spf_check *c, const struct spf_term *t, const char *name) {
  struct vec hosts;
  enum spf_answer a = ask(c, SPF_ASK_MX, name, &hosts);
  if (a != SPF_ANSWER) return judge(c, a, false);
  if (hosts.n > HOSTS_MAX) return no_good(c, false, "Too many MX hosts");
  for (size_t i = 0; i < hosts.n; i++) {
    if (has_client_address(c, hosts.v[i], t->bits4, t->bits6, &a)) return MATCH;
    if (a == SPF_ANSWER_LATER) return judge(c, a, false);
  }
  return NO_MATCH;
}

/* An error of the DNS is no match here, section 5.5. */
static enum found match_ptr(struct spf_check *c, const char *name) {
  enum spf_answer a;
  const char *found = validated_name(c, name, true, &a);
  return a == SPF_ANSWER_LATER ? NO_MATCH : judge(c, a, found != NULL);
}

static enum found match_exists(struct spf_check *c, const char *name) {
  struct vec v;
  enum spf_answer a = ask(c, SPF_ASK_A, name, &v);
  return judge(c, a, a == SPF_ANSWER && v.n > 0);
}

static enum found match_include(struct spf_check *c, const char *name) {
  bool by_mechanism = c->by_mechanism;
  enum spf_result r = check(c, name, NULL);
  c->by_mechanism = by_mechanism;
  switch (r) {
  case SPF_PASS: return MATCH;
  case SPF_FAIL:
  case SPF_SOFTFAIL:
  case SPF_NEUTRAL: return NO_MATCH;
  case SPF_TEMPERROR: return FOUND_TEMPERROR;
  case SPF_NONE: return no_good(c, false, "Could not find a valid SPF record");
  case SPF_PERMERROR:
  case SPF_RESULT_COUNT: break;
  }
  return FOUND_PERMERROR;
}

static enum found match_term(struct spf_check *c, const struct spf_term *t, const char *domain) {
  const char *name;
  bool asks = t->kind != SPF_ALL && t->kind != SPF_IP4 && t->kind != SPF_IP6;
  if (asks && ++c->lookups > LOOKUPS_MAX) return no_good(c, false, "Too many DNS lookups");
  if (asks && !target_of(c, t, domain, &name)) return no_good(c, false, "Malformed macro");
  switch (t->kind) {
  case SPF_ALL: return MATCH;
  case SPF_IP4: return c->ip.family == 4 && ip_in_net(&c->ip, &t->net, t->bits4) ? MATCH : NO_MATCH;
  case SPF_IP6: return c->ip.family == 6 && ip_in_net(&c->ip, &t->net, t->bits6) ? MATCH : NO_MATCH;
  case SPF_INCLUDE: return match_include(c, name);
  case SPF_A: return match_a(c, t, name);
  case SPF_MX: return match_mx(c, t, name);
  case SPF_PTR: return match_ptr(c, name);
  case SPF_EXISTS: break;
  }
  return match_exists(c, name);
}

/* ---- records ---- */

/* One record of version 1, or the reason why not. */
static enum spf_result find_record(struct spf_check *c, const char *domain, const char **ret) {
  struct vec v;
  const char *found = NULL;
  if (!domain_can_be_asked(str_c(domain))) return SPF_NONE;
  enum spf_answer a = ask(c, SPF_ASK_TXT, domain, &v);
  if (a == SPF_ANSWER_LATER) return problem(c, SPF_TEMPERROR, "Temporary DNS failure");
  for (size_t i = 0; a == SPF_ANSWER && i < v.n; i++) {
    if (!spf_is_record(str_c(v.v[i]))) continue;
    if (found) return problem(c, SPF_PERMERROR, "Multiple SPF or TXT records for domain.");
    found = v.v[i];
  }
  if (!found) return SPF_NONE;
  *ret = found;
  return SPF_PASS;
}

static enum spf_result follow(struct spf_check *c, const struct spf_record *r, const char *domain) {
  const char *name;
  if (r->redirect.n == 0) return SPF_NEUTRAL;
  if (++c->lookups > LOOKUPS_MAX) return problem(c, SPF_PERMERROR, "Too many DNS lookups");
  if (!expand(c, r->redirect, domain, &name)) return problem(c, SPF_PERMERROR, "Malformed macro");
  enum spf_result result = check(c, name, NULL);
  return result == SPF_NONE ? problem(c, SPF_PERMERROR, "Could not find a valid SPF record") : result;
}

static enum spf_result check(struct spf_check *c, const char *domain, const char *text) {
  struct spf_record r;
  enum spf_result found = text ? SPF_PASS : find_record(c, domain, &text);
  if (found != SPF_PASS) return found;
  const char *wrong = spf_parse_record(c->a, str_c(text), &r);
  if (wrong) return problem(c, SPF_PERMERROR, wrong);
  for (size_t i = 0; i < r.count; i++)
    switch (match_term(c, &r.terms[i], domain)) {
    case MATCH:
      c->by_mechanism = true;
      return r.terms[i].result;
    case NO_MATCH: break;
    case FOUND_TEMPERROR: return SPF_TEMPERROR;
    case FOUND_PERMERROR: return SPF_PERMERROR;
    }
  return follow(c, &r, domain);
}

enum spf_result spf_check_host(struct spf_check *c, const char *domain, const char *record) {
  c->problem = NULL;
  c->lookups = c->voids = 0;
  c->is_guess = record != NULL;
  c->by_mechanism = c->validated_known = false;
  c->ip = ip_unmap(c->ip);
  return check(c, domain, record);
}
