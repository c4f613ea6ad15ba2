/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DMARC (RFC 7489): the domain in From:, its policy, and whether SPF or DKIM speak for it (dmarc.h).
 *
 * Floor: drivers.  Header lines and the DNS are hostile.  What SPF found is taken from the condition spf, which must have run before.  pct= is not
 * heeded: what a domain asks for a part of its mail it gets for all of it, as with the library that Exim uses; the ACL can do otherwise.  The history
 * file has the form that the tools of OpenDMARC read; one write for each message, so that records of several processes do not mix. */
#include "dmarc.h"

#include <errno.h>
#include <fcntl.h>

#include "dns.h"
#include "message.h"
#include "os/log.h"
#include "os/sys.h"
#include "policy/arc.h"
#include "policy/config.h"
#include "policy/dkim.h"
#include "policy/match.h"
#include "policy/spf.h"

enum { LIST_MAX_BYTES = 8 << 20 };

/* Numbers of OpenDMARC's history format. */
enum { ARES_PASS = 0, ARES_SOFTFAIL = 2, ARES_NEUTRAL = 3, ARES_TEMPERROR = 4, ARES_PERMERROR = 5, ARES_NONE = 6, ARES_FAIL = 7, ARES_UNKNOWN = 11,
       ALIGNED_YES = 4, ALIGNED_NO = 5, POLICY_ABSENT = 14, POLICY_PASS = 15, POLICY_REJECT = 16, POLICY_QUARANTINE = 17, POLICY_NONE = 18,
       RESULT_REJECT = 0, RESULT_ACCEPT = 2, RESULT_QUARANTINE = 4,
       ARC_POLICY_PASS = 0, ARC_POLICY_UNUSED = 1, ARC_POLICY_FAIL = 2 };

struct check {
  struct expand_ctx *x;
  struct message *m;
  struct dmarc_state *st;
  struct str suffixes;           /* text of dmarc_tld_file */
  const char *org;               /* organizational domain of From: */
  struct dmarc_record record;
  bool has_record, is_subdomain; /* the record is that of the organization */
};

/* ---- From: ---- */

/* One From: line with one address in it, or nobody can say whose policy counts (section 6.6.1). */
static const char *from_domain(const struct message *m) {
  const struct header_line *found = NULL;
  struct str name, value;
  const char *error;
  size_t domain = 0;
  for (const struct header_line *h = m->headers; h; h = h->next) {
    if (h->type == '*' || !header_split(str_n(h->text, h->n), &name, &value) || !str_eqic_c(name, "from")) continue;
    if (found) return NULL;
    found = h;
  }
  if (!found || !header_split(str_n(found->text, found->n), &name, &value)) return NULL;
  value = str_trim(value);
  if (rfc5322_find_address_end(value) < value.n) return NULL;
  const char *address = rfc5322_extract_address(m->arena, value, (struct addr_opts){.strip_trailing_dot = true, .allow_utf8 = true}, &domain, &error);
  return address && domain ? str_dup_lower(m->arena, str_c(address + domain)) : NULL;
}

/* ---- the record ---- */

/* At _dmarc.DOMAIN; false: the DNS cannot say now. */
static bool look_for_record(struct check *c, const char *domain) {
  struct dns_answer found;
  size_t count = 0;
  struct str record = STR_NULL;
  switch (dns_lookup(c->x, arena_printf(c->x->a, "_dmarc.%s", domain), DNS_T_TXT, NULL, &found, NULL)) {
  case DNS_SUCCEED: break;
  case DNS_NOMATCH:
  case DNS_NODATA: return true;
  case DNS_AGAIN:
  case DNS_FAIL: return false;
  }
  for (const struct dns_rr *rr = found.answers; rr; rr = rr->next) {
    struct strbuf b = dns_txt_join(c->m->arena, rr, SIZE_MAX);
    if (!dmarc_is_record(strbuf_str(&b))) continue;
    record = strbuf_str(&b);
    count++;
  }
  c->has_record = count == 1 && dmarc_parse_record(record, &c->record); /* several are none, section 6.6.3 */
  if (c->has_record) c->st->used_domain = domain;
  return true;
}

static bool find_record(struct check *c) {
  struct str from = str_c(c->st->from);
  c->org = str_dup(c->m->arena, dmarc_org_domain(c->suffixes, from));
  if (!look_for_record(c, c->st->from)) return false;
  if (c->has_record || str_eq_c(from, c->org)) return true;
  c->is_subdomain = true;
  return look_for_record(c, c->org);
}

/* ---- identifiers ---- */

static bool spf_speaks(const struct check *c) {
  const struct spf_state *s = c->m->spf;
  return s && s->result == SPF_PASS && !s->is_guessed && dmarc_is_aligned(c->suffixes, str_c(s->domain), str_c(c->st->from), c->record.strict_spf);
}

static bool has_passed(const struct dkim_result *r) { return r->sig.domain && strcmp(dkim_status_text(r), "pass") == 0; }

static bool dkim_speaks(const struct check *c) {
  const struct dkim_state *s = c->m->dkim;
  for (size_t i = 0; s && i < s->count; i++)
    if (has_passed(&s->sigs[i]) && dmarc_is_aligned(c->suffixes, str_c(s->sigs[i].sig.domain), str_c(c->st->from), c->record.strict_dkim)) return true;
  return false;
}

static enum dmarc_status judge(struct check *c) {
  static const enum dmarc_status by_policy[] = {DMARC_NONE, DMARC_NONE, DMARC_QUARANTINE, DMARC_REJECT};
  struct dmarc_state *st = c->st;
  st->from = from_domain(c->m);
  if (!st->from) return DMARC_NOFROM;
  if (!find_record(c)) return DMARC_TEMPERROR;
  if (!c->has_record) return DMARC_NORECORD;
  st->policy = dmarc_policy_names[c->record.policy];
  st->spf_aligned = spf_speaks(c);
  st->dkim_aligned = dkim_speaks(c);
  if (st->spf_aligned || st->dkim_aligned) return DMARC_ACCEPT;
  const struct spf_state *spf = c->m->spf;
  if (spf && spf->result == SPF_TEMPERROR) return DMARC_TEMPERROR; /* it might have passed: temporary troubles lead to no refusal for good */
  bool by_sub = c->is_subdomain && c->record.subdomain_policy != DMARC_UNSPECIFIED;
  return by_policy[by_sub ? c->record.subdomain_policy : c->record.policy];
}

/* ---- history ---- */

static int spf_number(const struct spf_state *s) {
  static const int numbers[] = {[SPF_NONE] = ARES_NONE, [SPF_NEUTRAL] = ARES_NEUTRAL, [SPF_PASS] = ARES_PASS, [SPF_FAIL] = ARES_FAIL, [SPF_SOFTFAIL] = ARES_SOFTFAIL,
                                [SPF_TEMPERROR] = ARES_TEMPERROR, [SPF_PERMERROR] = ARES_PERMERROR};
  return s ? numbers[s->result] : ARES_NONE;
}

static int policy_letter(enum dmarc_policy p) { return p == DMARC_UNSPECIFIED ? 0 : dmarc_policy_names[p][0]; }

static void add_signatures(struct strbuf *b, const struct dkim_state *s) {
  for (size_t i = 0; s && i < s->count; i++) {
    const struct dkim_result *r = &s->sigs[i];
    if (r->sig.domain && r->sig.selector) strbuf_addf(b, "dkim %s %s %d\n", r->sig.domain, r->sig.selector, has_passed(r) ? ARES_PASS : ARES_FAIL);
  }
}

/* Names and addresses of a stranger's header lines are shown when they are nothing else. */
static void add_arc_word(struct strbuf *b, const char *key, struct str s) {
  bool is_plain = s.n <= 255;
  for (size_t i = 0; i < s.n; i++) is_plain = is_plain && s.p[i] && (ch_isalnum(s.p[i]) || strchr(".:-_", s.p[i]));
  strbuf_addf(b, ", \"%s\":\"%.*s\"", key, is_plain ? (int)s.n : 0, s.p ? s.p : "");
}

/* The client's address as the hop has noted it. */
static struct str arc_remote_ip(struct str results) {
  static const struct str mark = {"smtp.remote-ip=", 15};
  for (size_t i = 0; i + mark.n <= results.n; i++) {
    if (!str_startsic(str_n(results.p + i, results.n - i), mark)) continue;
    struct str rest = str_n(results.p + i + mark.n, results.n - i - mark.n), one = str_cut(&rest, ';');
    return str_word(&one);
  }
  return STR_NULL;
}

static void add_arc(struct strbuf *b, const struct message *m) {
  bool is_used = m->arc && strcmp(m->arc->state, "none") != 0, is_good = is_used && strcmp(m->arc->state, "pass") == 0;
  const struct arc_chain *chain = is_good && m->dkim ? m->dkim->arc : NULL;
  strbuf_addf(b, "arc %d\narc_policy %d json[", is_good ? ARES_PASS : is_used ? ARES_FAIL : ARES_UNKNOWN,
              is_good ? ARC_POLICY_PASS : is_used ? ARC_POLICY_FAIL : ARC_POLICY_UNUSED);
  for (int i = 1; chain && i <= chain->count; i++) {
    const struct arc_set *set = &chain->sets[i];
    strbuf_addf(b, "%s (\"i\":%d", i > 1 ? "," : "", i);
    add_arc_word(b, "d", str_c(set->as.domain ? set->as.domain : ""));
    add_arc_word(b, "s", str_c(set->as.selector ? set->as.selector : ""));
    add_arc_word(b, "ip", arc_remote_ip(set->results));
    strbuf_addc(b, ')');
  }
  strbuf_adds(b, " ]\n");
}

static void write_history(const struct check *c) {
  static const int policies[] = {[DMARC_ACCEPT] = POLICY_PASS, [DMARC_NONE] = POLICY_NONE, [DMARC_QUARANTINE] = POLICY_QUARANTINE, [DMARC_REJECT] = POLICY_REJECT};
  const struct dmarc_state *st = c->st;
  const struct origin *o = c->x->conn ? &c->x->conn->from : NULL;
  const char *path = c->x->cfg->o.dmarc_history_file, *sender = c->m->sender ? c->m->sender : "", *at = strrchr(sender, '@');
  path = path ? expand_string(c->x, path) : "";
  if (!path || !*path || st->status == DMARC_OFF || st->status == DMARC_NOFROM || st->status == DMARC_TEMPERROR) return;
  struct strbuf b = strbuf_new(c->x->a);
  strbuf_addf(&b, "job %s\nreporter %s\nreceived %lld\nipaddr %s\nfrom %s\nmfrom %s\nspf %d\n", c->m->id, c->x->cfg->primary_hostname,
              (long long)time_sec(), o && o->host_address ? o->host_address : "", st->from, at ? at + 1 : sender, spf_number(c->m->spf));
  add_signatures(&b, c->m->dkim);
  strbuf_addf(&b, "pdomain %s\npolicy %d\n", *st->used_domain ? st->used_domain : st->from, st->status <= DMARC_REJECT ? policies[st->status] : POLICY_ABSENT);
  if (c->record.rua.n) strbuf_addf(&b, "rua %.*s\n", STR_FMT(c->record.rua));
  else strbuf_adds(&b, "rua -\n");
  strbuf_addf(&b, "pct %d\nadkim %d\naspf %d\np %d\nsp %d\nalign_dkim %d\nalign_spf %d\naction %d\n", c->record.percent,
              c->record.strict_dkim ? 's' : 'r', c->record.strict_spf ? 's' : 'r', policy_letter(c->record.policy), policy_letter(c->record.subdomain_policy),
              st->dkim_aligned ? ALIGNED_YES : ALIGNED_NO, st->spf_aligned ? ALIGNED_YES : ALIGNED_NO,
              st->status == DMARC_REJECT ? RESULT_REJECT : st->status == DMARC_QUARANTINE ? RESULT_QUARANTINE : RESULT_ACCEPT);
  add_arc(&b, c->m);
  int fd = is_tainted(path) ? -EACCES : sys_open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0644);
  int rc = fd < 0 ? fd : sys_write_all(fd, b.p, b.n);
  if (fd >= 0) IGNORE_RESULT(sys_close(fd));
  if (rc < 0) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failure to write the DMARC history file %s: %s", path, strerror(-rc));
}

/* ---- */

/* False: there is no list of suffixes, and so no check. */
static bool read_suffixes(struct check *c) {
  const char *path = c->x->cfg->o.dmarc_tld_file;
  char *p;
  size_t n;
  path = path ? expand_string(c->x, path) : "";
  if (!path || !*path) return false;
  int fd = sys_open(path, O_RDONLY, 0), rc = fd < 0 ? fd : sys_read_file_t(fd, c->x->a, LIST_MAX_BYTES, UNTAINTED, &p, &n);
  if (fd >= 0) IGNORE_RESULT(sys_close(fd));
  if (rc < 0) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "DMARC failure to load tld list '%s': %s", path, strerror(-rc));
    return false;
  }
  c->suffixes = str_n(p, n);
  return true;
}

static void look(struct expand_ctx *x) {
  struct check c = {.x = x, .m = x->msg};
  const struct origin *o = x->conn ? &x->conn->from : NULL;
  c.st = ARENA_NEW(c.m->arena, struct dmarc_state);
  *c.st = (struct dmarc_state){.status = DMARC_OFF, .used_domain = "", .policy = ""};
  c.m->dmarc = c.st;
  /* For remote clients that did not authenticate themselves. */
  if (c.m->dmarc_disabled || !o || !o->host_address || o->auth_name || !read_suffixes(&c)) return;
  c.st->status = judge(&c);
  write_history(&c);
}

enum outcome dmarc_condition(struct expand_ctx *x, const char *list, const char **ret_log) {
  const char *item;
  int sep = 0;
  if (!x->msg) {
    *ret_log = "there is no message yet";
    return OUTCOME_ERROR;
  }
  if (!x->msg->dmarc) look(x);
  while ((item = list_next(x->a, &list, &sep))) {
    bool is_negated = *item == '!';
    bool is_it = strcmp(item + is_negated, "*") == 0 || strcmp(item + is_negated, dmarc_status_names[x->msg->dmarc->status]) == 0;
    if (is_it != is_negated) return OUTCOME_OK;
  }
  return OUTCOME_FAIL;
}
