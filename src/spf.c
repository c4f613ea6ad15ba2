/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SPF for ACLs and lookups: who is asked about what, and the texts (spf.h).
 *
 * Floor: drivers.  Names of senders, clients and all that the DNS says are hostile; the check itself is formats/spf_check.c.  A check as a whole has a
 * time limit (RFC 7208 section 4.6.4): behind it the DNS is not asked again and the result is a temporary error.  Texts are those of Exim 4.96. */
#include "spf.h"

#include "base/timeutil.h"
#include "dns.h"
#include "message.h"
#include "os/debug.h"
#include "policy/config.h"
#include "policy/match.h"

enum { CHECK_SEC = 20 };

/* ---- the DNS ---- */

struct asker {
  struct expand_ctx *x;
  deadline_ms deadline;
};

static const char *txt_of(struct arena *a, const struct dns_rr *rr) {
  struct strbuf b = dns_txt_join(a, rr, SIZE_MAX);
  for (size_t i = 0; i < b.n; i++)
    if (b.p[i] == '\0') b.p[i] = '\1'; /* no text of a record: it must not hide what follows */
  return b.p ? b.p : "";
}

static int by_pref(const void *a, const void *b) { return ((const struct dns_rr *)a)->pref - ((const struct dns_rr *)b)->pref; }

static enum spf_answer ask_dns(void *ctx, enum spf_ask what, const char *name, struct vec *answers) {
  static const int types[] = {[SPF_ASK_TXT] = DNS_T_TXT, [SPF_ASK_A] = DNS_T_A, [SPF_ASK_AAAA] = DNS_T_AAAA, [SPF_ASK_MX] = DNS_T_MX, [SPF_ASK_PTR] = DNS_T_PTR};
  struct asker *k = ctx;
  struct dns_answer found;
  if (deadline_passed(k->deadline)) return SPF_ANSWER_LATER;
  switch (dns_lookup(k->x, name, types[what], NULL, &found, NULL)) {
  case DNS_SUCCEED: break;
  case DNS_NOMATCH:
  case DNS_NODATA: return SPF_NO_ANSWER;
  case DNS_AGAIN:
  case DNS_FAIL: return SPF_ANSWER_LATER;
  }
  struct vec rrs = vec_new(k->x->a);
  for (struct dns_rr *rr = found.answers; rr; rr = rr->next) vec_push(&rrs, rr);
  if (what == SPF_ASK_MX) vec_sort(&rrs, by_pref);
  for (size_t i = 0; i < rrs.n; i++) {
    const struct dns_rr *rr = rrs.v[i];
    const char *text = what == SPF_ASK_TXT ? txt_of(k->x->a, rr) : what == SPF_ASK_A || what == SPF_ASK_AAAA ? rr->address : rr->name;
    if (text) vec_push(answers, (void *)(uintptr_t)text);
  }
  return answers->n ? SPF_ANSWER : SPF_NO_ANSWER;
}

/* ---- a check ---- */

struct subject {
  struct ip ip;
  const char *sender, *helo, *domain;
};

static bool is_localhost(const struct ip *ip) {
  static const struct ip six = {.family = 6, .b = {[15] = 1}};
  return ip->family == 4 ? ip->b[0] == 127 : ip_equal(ip, &six);
}

static enum spf_result run(struct expand_ctx *x, const struct subject *s, const char *record, struct spf_check *ret) {
  struct asker k = {.x = x, .deadline = deadline_in_sec(CHECK_SEC)};
  *ret = (struct spf_check){.a = x->a, .ip = s->ip, .sender = s->sender, .helo = s->helo, .ask = ask_dns, .ctx = &k};
  if (is_localhost(&s->ip)) return SPF_PASS; /* as the library that Exim uses has it */
  enum spf_result r = spf_check_host(ret, s->domain, record);
  DEBUG(D_ACL) debug_printf("SPF: %s for %s%s%s\n", spf_result_names[r], s->domain, ret->problem ? ": " : "", ret->problem ? ret->problem : "");
  return r;
}

enum spf_result spf_check_address(struct expand_ctx *x, const char *address, const struct ip *ip) {
  const char *at = strrchr(address, '@');
  struct subject s = {.ip = *ip, .sender = address, .domain = at ? at + 1 : address};
  struct spf_check c;
  return run(x, &s, NULL, &c);
}

/* ---- texts ---- */

static const char *header_comment(struct arena *a, const struct subject *s, enum spf_result r, const struct spf_check *c) {
  char ip[IP_TEXT_SIZE];
  ip_format(&s->ip, ip);
  if (is_localhost(&s->ip)) return "localhost is always allowed.";
  switch (r) {
  case SPF_PASS: return arena_printf(a, "domain of %s designates %s as permitted sender", s->domain, ip);
  case SPF_FAIL: return arena_printf(a, "domain of %s does not designate %s as permitted sender", s->domain, ip);
  case SPF_SOFTFAIL: return arena_printf(a, "transitioning domain of %s does not designate %s as permitted sender", s->domain, ip);
  case SPF_NEUTRAL: return arena_printf(a, "%s is neither permitted nor denied by domain of %s", ip, s->domain);
  case SPF_NONE: return arena_printf(a, "domain of %s does not provide an SPF record", s->domain);
  case SPF_TEMPERROR:
  case SPF_PERMERROR:
  case SPF_RESULT_COUNT: break;
  }
  return arena_printf(a, "error in processing during lookup of domain of %s: %s", s->domain, c->problem ? c->problem : "unknown error");
}

static const char *smtp_comment(struct expand_ctx *x, struct arena *a, const struct subject *s, enum spf_result r, const struct spf_check *c) {
  static const char fallback[] = "Please%_see%_http://www.openspf.org/Why?id=%{S}&ip=%{C}&receiver=%{R}";
  if (r != SPF_FAIL && r != SPF_SOFTFAIL && r != SPF_NEUTRAL) return "";
  const char *text = x->cfg->o.spf_smtp_comment_template, *expanded = text ? expand_string(x, text) : NULL;
  struct spf_names n = {.ip = &s->ip, .sender = s->sender, .domain = s->domain, .helo = s->helo, .receiver = x->cfg->primary_hostname, .now = time_sec()};
  struct strbuf b = strbuf_new(x->a);
  if (!expanded || !spf_expand(&b, str_c(expanded), &n, SPF_FOR_EXPLANATION)) {
    strbuf_clear(&b);
    IGNORE_RESULT(spf_expand(&b, str_c(fallback), &n, SPF_FOR_EXPLANATION)); /* it is well-formed */
  }
  return arena_printf(a, "%s : Reason: %s", b.p, c->by_mechanism ? "mechanism" : "default");
}

static void add_texts(struct expand_ctx *x, const struct subject *s, const struct spf_check *c, struct spf_state *st) {
  struct arena *a = x->msg->arena;
  char ip[IP_TEXT_SIZE];
  st->header_comment = arena_printf(a, "%s: %s", x->cfg->primary_hostname, header_comment(a, s, st->result, c));
  st->smtp_comment = smtp_comment(x, a, s, st->result, c);
  st->received = arena_printf(a, "Received-SPF: %s (%s) client-ip=%s; envelope-from=%s; helo=%s;", spf_result_names[st->result], st->header_comment,
                              ip_format(&s->ip, ip), s->sender, s->helo);
}

/* ---- the conditions ---- */

/* Who is to be looked at: the sender, or, when that is empty, the client by its name. */
static void find_subject(struct expand_ctx *x, struct subject *ret, bool *ret_is_helo) {
  const struct origin *o = x->conn ? &x->conn->from : NULL;
  const char *sender = x->msg->sender ? x->msg->sender : "", *at = strrchr(sender, '@');
  *ret = (struct subject){.helo = o && o->helo_name ? o->helo_name : "unknown"};
  if (!o || !o->host_address || !ip_parse(str_c(o->host_address), &ret->ip)) IGNORE_RESULT(ip_parse(STR("0.0.0.0"), &ret->ip)); /* no network */
  *ret_is_helo = !*sender;
  ret->sender = *sender ? sender : arena_printf(x->a, "postmaster@%s", ret->helo);
  ret->domain = !*sender ? ret->helo : at ? at + 1 : sender;
}

static void look(struct expand_ctx *x, bool use_guess) {
  struct spf_state *st = ARENA_NEW(x->msg->arena, struct spf_state);
  struct subject s;
  struct spf_check c;
  find_subject(x, &s, &st->is_of_helo);
  st->result = run(x, &s, NULL, &c);
  if (st->result == SPF_NONE && use_guess && x->cfg->o.spf_guess) {
    st->is_guessed = true;
    st->result = run(x, &s, x->cfg->o.spf_guess, &c);
  }
  st->domain = arena_strdup(x->msg->arena, s.domain);
  add_texts(x, &s, &c, st);
  x->msg->spf = st;
}

enum outcome spf_condition(struct expand_ctx *x, bool use_guess, const char *list, const char **ret_log) {
  const char *item;
  int sep = 0;
  if (!x->msg) {
    *ret_log = "there is no message yet";
    return OUTCOME_ERROR;
  }
  /* What is known stays, but a guess is made only where one is asked for. */
  const struct spf_state *known = x->msg->spf;
  if (!known || (known->is_guessed && !use_guess) || (use_guess && !known->is_guessed && known->result == SPF_NONE)) look(x, use_guess);
  while ((item = list_next(x->a, &list, &sep))) {
    bool is_negated = *item == '!';
    bool is_it = strcmp(item + is_negated, "*") == 0 || strcmp(item + is_negated, spf_result_names[x->msg->spf->result]) == 0;
    if (is_it != is_negated) return OUTCOME_OK;
  }
  return OUTCOME_FAIL;
}
