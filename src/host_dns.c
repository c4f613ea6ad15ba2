/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hosts from the DNS: SRV, MX and address records, their order, and where we stand among them.  Floor: drivers.  Manual ch. 17, 48.
 *
 * RFC 5321 §5.1, 7505 (null MX), 2782.  Every name here came from the network.  Equal preferences are shuffled with rand_below(); a
 * host that is this one removes itself and everything not more preferred, so that mail cannot loop.  A list of which some hosts could
 * not be looked up for now is used without them; only when none is left is the whole a temporary failure. */

#include "base/rand.h"
#include "base/tree.h"
#include "buildconfig.h"
#include "host_priv.h"
#include "os/debug.h"
#include "os/log.h"
#include "policy/match.h"
#include "policy/narrate.h"

/* Preference counts above the shuffle (0..499) and the family (+500). */
enum { KEY_PER_MX = 1000, KEY_SHUFFLE = 500, MX_MAX = 1000 };

/* ---- addresses of one name ---- */

static struct host *add_address(struct expand_ctx *x, struct host *h, struct host *last, const struct dns_rr *rr, int base, bool v4_late) {
  struct host *n = h;
  if (h->address) {
    n = ARENA_NEW(x->a, struct host);
    *n = *h;
  }
  n->address = rr->address;
  n->sort_key = base + (int)rand_below(KEY_SHUFFLE) + (v4_late == (rr->type == DNS_T_A) ? KEY_SHUFFLE : 0);
  if (n == h) return h;
  /* Keep the chain of this name in order of its keys; h itself stays the first struct, so contents move. */
  struct host *p = h, *end = last->next;
  while (p->next != end && p->next->sort_key <= n->sort_key) p = p->next;
  if (p == h && n->sort_key < h->sort_key) {
    struct host tmp = *h;
    *h = *n;
    *n = tmp;
    h->next = n;
    n->next = tmp.next;
    return last == h ? n : last;
  }
  n->next = p->next;
  p->next = n;
  return p == last ? n : last;
}

/* The addresses of one name, family after family. */
struct tally {
  int base;               /* the sort key of the name; that of an address starts there */
  bool want_dnssec;
  struct host *last;      /* where the next address is added */
  bool again, ignored, insecure;
  const char *final; /* where a CNAME led, NULL: none */
  const char *question; /* the full form of the name asked for */
};

static void one_family(struct expand_ctx *x, struct host *h, const struct host_find_opts *o, int type, struct tally *t) {
  struct dns_answer ans = {0};
  struct dns_query_opts q = {.want_dnssec = t->want_dnssec, .cname_limit = -1};
  if (o && o->how & HOST_FIND_QUALIFY_SINGLE) q.qualify_single = true;
  if (o && o->how & HOST_FIND_SEARCH_PARENTS) q.search_parents = true;
  const char *final = h->name;
  switch (dns_lookup(x, h->name, type, &q, &ans, &final)) {
  case DNS_SUCCEED: t->question = ans.question; break;
  case DNS_NOMATCH:
  case DNS_NODATA: return;
  case DNS_AGAIN:
  case DNS_FAIL: t->again = true; return;
  }
  if (!dns_name_eq(final, h->name)) t->final = final;
  if (t->want_dnssec && !dns_is_secure(x, &ans)) t->insecure = true;
  bool v4_late = !(o && o->how & HOST_FIND_IPV4_FIRST);
  for (const struct dns_rr *rr = ans.answers; rr; rr = rr->next) {
    if (host_is_ignored(x, o, h->name, rr->address)) {
      DEBUG(D_HOST_LOOKUP) debug_printf("ignored host %s [%s]\n", h->name, rr->address);
      t->ignored = true;
      continue;
    }
    t->last = add_address(x, h, t->last, rr, t->base, v4_late);
  }
}

/* "mail" looked up as "mail.example.com" is no alias. */
static bool is_completed(const char *name, const char *final) {
  size_t n = strlen(name);
  return strlen(final) > n && final[n] == '.' && str_eqic(str_n(final, n), str_n(name, n));
}

static bool skips_ipv6(struct expand_ctx *x, const struct host_find_opts *o, const char *name) {
  if (x->cfg->o.disable_ipv6 || (o && o->how & HOST_FIND_IPV4_ONLY)) return true;
  return x->cfg->o.dns_ipv4_lookup && host_name_in(x, name, x->cfg->o.dns_ipv4_lookup);
}

/* *ret_full: the name as the resolver completed it. */
static enum host_find set_addresses(struct expand_ctx *x, struct host *h, const struct host_find_opts *o, int base, struct host **ret_last,
                                    const char **ret_full) {
  struct ip ip;
  struct tally t = {.base = base, .last = h};
  bool required = false;
  *ret_last = h;
  if (ip_parse(str_c(h->name), &ip)) {
    if (!x->cfg->o.allow_mx_to_ip && h->mx >= 0) return HOST_FIND_FAILED;
    if (host_is_ignored(x, o, h->name, h->name)) return HOST_IGNORED;
    h->address = h->name;
    h->sort_key = base;
    return HOST_FOUND;
  }
  bool lists = o && (o->dnssec_request_domains || o->dnssec_require_domains);
  t.want_dnssec = lists && host_wants_dnssec(x, o, h->name, &required);
  if (!skips_ipv6(x, o, h->name)) one_family(x, h, o, DNS_T_AAAA, &t);
  one_family(x, h, o, DNS_T_A, &t);
  *ret_last = t.last;
  if (!h->address) return t.again ? HOST_FIND_AGAIN : t.ignored ? HOST_IGNORED : HOST_FIND_FAILED;
  if (required && t.insecure) return HOST_FIND_SECURITY;
  if (t.question) *ret_full = t.question;
  for (struct host *p = h, *end = t.last->next; p != end; p = p->next) {
    p->dnssec = t.want_dnssec && !t.insecure;
    p->dnssec_used = t.want_dnssec;
    if (!t.final) continue;
    p->cert_name = is_completed(p->name, t.final) ? t.final : p->name;
    p->name = t.final;
  }
  return HOST_FOUND;
}

enum host_find host_set_addresses(struct expand_ctx *x, struct host *h, const struct host_find_opts *o, int base, struct host **ret_last) {
  const char *full;
  return set_addresses(x, h, o, base, ret_last, &full);
}

/* ---- SRV and MX records to a list of names ---- */

struct names {
  const char *domain, *fqdn; /* asked for; its full form, as the answer has it */
  struct host *first;
  int count;
  bool insecure; /* the records that name them came without DNSSEC */
  int tls;       /* HOST_TLS_... of the service asked for */
};

/* Sorted insertion; a name that is there already keeps its better preference. */
static void add_name(struct expand_ctx *x, struct names *l, const char *name, int mx, int key, int port) {
  struct host **pp = &l->first;
  if (l->count >= MX_MAX) return;
  for (struct host **q = &l->first; *q; q = &(*q)->next)
    if (dns_name_eq((*q)->name, name) && (*q)->port == port) {
      if ((*q)->mx <= mx) return;
      *q = (*q)->next;
      l->count--;
      break;
    }
  while (*pp && (*pp)->sort_key <= key) pp = &(*pp)->next;
  struct host *h = ARENA_NEW(x->a, struct host);
  *h = (struct host){.next = *pp, .name = name, .mx = mx, .sort_key = key, .port = port, .tls = l->tls};
  *pp = h;
  l->count++;
}

static void names_from_mx(struct expand_ctx *x, const struct dns_answer *ans, struct names *l) {
  for (const struct dns_rr *rr = ans->answers; rr; rr = rr->next)
    if (strcmp(rr->name, ".") != 0) add_name(x, l, rr->name, rr->pref, rr->pref * KEY_PER_MX + (int)rand_below(KEY_SHUFFLE), 0);
}

/* EXPERIMENTAL_SRV_SMTPS: services whose name says that TLS comes first. */
static int tls_of_service(const char *service) {
  static const struct {
    const char *service;
    int tls;
  } rows[] = {{"smtp-tls", HOST_TLS_ON_CONNECT_FIRST}, {"submissions", HOST_TLS_ON_CONNECT}};
  for (size_t i = 0; CFG_EXPERIMENTAL_SRV_SMTPS && i < ARRAY_SIZE(rows); i++)
    if (strcmpic(rows[i].service, service) == 0) return rows[i].tls;
  return HOST_TLS_AS_SET;
}

/* RFC 2782: within one priority hosts are drawn by weight. */
static void names_from_srv(struct expand_ctx *x, const struct dns_answer *ans, struct names *l) {
  struct vec left = vec_new(x->a);
  for (struct dns_rr *rr = ans->answers; rr && left.n < MX_MAX; rr = rr->next)
    if (strcmp(rr->name, ".") != 0) vec_push(&left, rr);
  for (int rank = 0; left.n > 0; rank++) {
    unsigned best = UINT32_MAX, total = 0;
    for (size_t i = 0; i < left.n; i++) best = MIN(best, ((struct dns_rr *)left.v[i])->pref);
    for (size_t i = 0; i < left.n; i++)
      if (((struct dns_rr *)left.v[i])->pref == best) total += ((struct dns_rr *)left.v[i])->weight;
    unsigned draw = total - rand_below(total + 1), sum = 0;
    size_t chosen = left.n;
    for (size_t i = 0; i < left.n; i++) {
      const struct dns_rr *rr = left.v[i];
      if (rr->pref != best) continue;
      sum += rr->weight;
      if (chosen == left.n || sum <= draw) chosen = i;
      if (sum >= draw) {
        chosen = i;
        break;
      }
    }
    const struct dns_rr *rr = left.v[chosen];
    add_name(x, l, rr->name, rr->pref, rank, rr->port);
    left.v[chosen] = left.v[--left.n];
  }
}

/* ---- us among them ---- */

static bool treated_as_local(struct expand_ctx *x, const char *name) {
  const char *list = x->cfg->o.hosts_treat_as_local;
  return list && host_name_in(x, name, list);
}

/* Cut the list before the first preference at which one of the hosts is local.  Names without addresses still hold their place. */
static enum host_find cut_at_local(struct expand_ctx *x, struct host **list, bool *ret_removed) {
  const struct host *local = NULL;
  for (const struct host *h = *list; h && !local; h = h->next)
    if ((h->address && host_is_local(x, h->address)) || treated_as_local(x, h->name)) local = h;
  if (!local) return HOST_FOUND;
  struct host **pp = list;
  while (*pp && (*pp)->mx < local->mx) pp = &(*pp)->next;
  if (pp == list) { /* nothing is preferred to us: all stay, for the caller's message */
    narrate(x, D_HOST_LOOKUP, "local host has lowest MX");
    return HOST_FOUND_LOCAL;
  }
  narrate(x, D_HOST_LOOKUP, "local host in host list - removed hosts:");
  for (const struct host *h = *pp; h; h = h->next) narrate(x, D_HOST_LOOKUP, "  %s %s %d", h->name, h->address ? h->address : "", h->mx);
  *pp = NULL;
  if (ret_removed) *ret_removed = true;
  return HOST_FOUND;
}

/* Give each name its addresses.  *list becomes the chain, in which names without any still stand.  What is said of the names that
 * have none counts only when no other name is left. */
static enum host_find resolve_all(struct expand_ctx *x, struct host **list, const struct host_find_opts *o, bool by_key) {
  bool again = false, security = false;
  struct host_find_opts as_is = *o;
  as_is.how &= ~(unsigned)(HOST_FIND_QUALIFY_SINGLE | HOST_FIND_SEARCH_PARENTS); /* the domain's name is completed, not those of its hosts */
  struct host *out = NULL, **tail = &out;
  for (struct host *h = *list, *next; h; h = next) {
    struct host *last;
    next = h->next;
    h->next = NULL;
    enum host_find f = host_set_addresses(x, h, &as_is, by_key ? h->mx * KEY_PER_MX : h->sort_key, &last);
    again |= f == HOST_FIND_AGAIN;
    security |= f == HOST_FIND_SECURITY;
    if (f == HOST_IGNORED) continue;
    if (f != HOST_FOUND) { /* perhaps with addresses that must not be used */
      h->address = NULL;
      h->status = HOST_UNUSABLE;
      last = h;
      h->next = NULL;
    }
    *tail = h;
    tail = &last->next;
  }
  *tail = NULL;
  *list = out;
  return again ? HOST_FIND_AGAIN : security ? HOST_FIND_SECURITY : HOST_FIND_FAILED;
}

/* Take out the names without addresses (keep: unless a host with one is left), and addresses that stand there already. */
static void drop_useless(struct expand_ctx *x, struct host **list, bool keep) {
  struct tree seen = {0};
  const struct host *any = *list;
  while (any && !any->address) any = any->next;
  for (struct host **pp = list; *pp;) {
    const struct host *h = *pp;
    bool is_new = !h->address && any && keep;
    if (h->address) (void)tree_insert(&seen, x->a, arena_printf(x->a, "%s %d", h->address, h->port), &is_new);
    if (is_new) pp = &(*pp)->next;
    else *pp = h->next;
  }
}

static bool is_late(const struct host *h, bool v4_first) { return !h->address || (strchr(h->address, ':') != NULL) == v4_first; }

/* Among the addresses of one preference those of the preferred family are tried first, whosever they are. */
static void put_family_first(struct host **list, bool v4_first) {
  for (struct host **rest = list; *rest;) {
    struct host *late = NULL, **tail = &late, **pp = rest;
    int mx = (*rest)->mx;
    while (*pp && (*pp)->mx == mx) {
      struct host *h = *pp;
      if (!is_late(h, v4_first)) {
        pp = &h->next;
        continue;
      }
      *pp = h->next;
      *tail = h;
      tail = &h->next;
    }
    rest = pp;
    if (!late) continue;
    *tail = *pp;
    *pp = late;
    rest = tail;
  }
}

/* The hosts of MX or SRV records.  When all are useless, *h says which was the first of them. */
static enum host_find find_named(struct expand_ctx *x, struct host *h, const struct host_find_opts *o, struct names *l, bool by_srv, bool *ret_removed) {
  int port = h->port;
  struct host first = *l->first;
  enum host_find why_none = resolve_all(x, &l->first, o, !by_srv);
  for (struct host *p = l->first; p && l->insecure; p = p->next) p->dnssec = false;
  if (!by_srv) put_family_first(&l->first, o->how & HOST_FIND_IPV4_FIRST);
  enum host_find f = cut_at_local(x, &l->first, ret_removed);
  drop_useless(x, &l->first, o->keep_useless);
  if (!l->first) {
    h->name = first.name;
    h->mx = first.mx;
    return why_none;
  }
  *h = *l->first;
  if (port)
    for (struct host *p = h; p; p = p->next) p->port = port;
  return f;
}

/* ---- the whole search ---- */

static struct dns_query_opts query_opts(struct expand_ctx *x, const struct host_find_opts *o, const char *name, bool *ret_required) {
  struct dns_query_opts q = {.cname_limit = -1, .qualify_single = (o->how & HOST_FIND_QUALIFY_SINGLE) != 0,
                             .search_parents = (o->how & HOST_FIND_SEARCH_PARENTS) != 0};
  q.want_dnssec = host_wants_dnssec(x, o, name, ret_required);
  return q;
}

/* The records of the name: MX, or SRV where it is a service of l's domain.  FAILED here means: no such records, try the next kind. */
static enum host_find list_by_type(struct expand_ctx *x, const char *name, int type, const struct dns_query_opts *q,
                                   const struct host_find_opts *o, struct names *l) {
  struct dns_answer ans = {0};
  const char *final = name, *fail_domains = type == DNS_T_SRV ? o->srv_fail_domains : o->mx_fail_domains;
  switch (dns_lookup(x, name, type, q, &ans, &final)) {
  case DNS_SUCCEED: break;
  case DNS_NOMATCH:
  case DNS_NODATA: return HOST_FIND_FAILED;
  case DNS_AGAIN:
  case DNS_FAIL: return host_name_in(x, l->domain, fail_domains) ? HOST_FIND_FAILED : HOST_FIND_AGAIN;
  }
  if (o->dnssec_required && !dns_is_secure(x, &ans)) return HOST_FIND_SECURITY;
  l->insecure = !dns_is_secure(x, &ans);
  if (type == DNS_T_MX) l->fqdn = ans.question;
  if (type == DNS_T_SRV) names_from_srv(x, &ans, l);
  else names_from_mx(x, &ans, l);
  return HOST_FOUND; /* perhaps with an empty list: the domain says it takes no mail */
}

static enum host_find by_address(struct expand_ctx *x, struct host *h, const struct host_find_opts *o, const char **ret_fqdn) {
  struct host *last;
  h->mx = -1;
  enum host_find f = set_addresses(x, h, o, 0, &last, ret_fqdn);
  if (f != HOST_FOUND) return f;
  last->next = NULL;
  for (const struct host *p = h; p; p = p->next)
    if (host_is_local(x, p->address) || treated_as_local(x, p->name)) {
      narrate(x, D_HOST_LOOKUP, "local host found for non-MX address");
      return HOST_FOUND_LOCAL;
    }
  return HOST_FOUND;
}

/* The services of srv_service in turn: the first that has records decides, for l->tls too. */
static enum host_find list_by_services(struct expand_ctx *x, const struct host_find_opts *o, const struct dns_query_opts *q, struct names *l) {
  const char *list = o->srv_service, *service;
  enum host_find f = HOST_FIND_FAILED;
  int sep = 0;
  while (f == HOST_FIND_FAILED && (service = list_next(x->a, &list, &sep))) {
    l->tls = tls_of_service(service);
    if (*service) f = list_by_type(x, arena_printf(x->a, "_%s._tcp.%s", service, l->domain), DNS_T_SRV, q, o, l);
  }
  if (f != HOST_FOUND) l->tls = HOST_TLS_AS_SET;
  return f;
}

enum host_find host_find_bydns(struct expand_ctx *x, struct host *h, const struct host_find_opts *opts, const char **ret_fqdn, bool *ret_removed) {
  struct host_find_opts o = *opts;
  struct names l = {.domain = h->name, .fqdn = h->name};
  struct host *after = h->next;
  enum host_find f = HOST_FIND_FAILED;
  if (ret_removed) *ret_removed = false;
  struct dns_query_opts q = query_opts(x, &o, h->name, &o.dnssec_required);
  o.dnssec_decided = true;
  o.dnssec_wanted = q.want_dnssec;
  if (o.how & HOST_FIND_BY_SRV && o.srv_service && *o.srv_service) f = list_by_services(x, &o, &q, &l);
  bool by_srv = f == HOST_FOUND;
  if (f == HOST_FIND_FAILED && o.how & HOST_FIND_BY_MX) f = list_by_type(x, h->name, DNS_T_MX, &q, &o, &l);
  if (f == HOST_FOUND && !l.first) {
    h->name = ""; /* says the caller why: the domain takes no mail */
    return HOST_FIND_FAILED;
  }
  if (f == HOST_FIND_FAILED && o.how & (HOST_FIND_BY_A | HOST_FIND_BY_AAAA)) {
    f = by_address(x, h, &o, &l.fqdn);
    if (ret_fqdn) *ret_fqdn = l.fqdn;
    if (f != HOST_FOUND && f != HOST_FOUND_LOCAL) return f;
  } else {
    if (f == HOST_FOUND) f = find_named(x, h, &o, &l, by_srv, ret_removed);
    if (f != HOST_FOUND && f != HOST_FOUND_LOCAL) return f;
    if (ret_fqdn) *ret_fqdn = l.fqdn;
  }
  DEBUG(D_HOST_LOOKUP) {
    for (const struct host *p = h; p; p = p->next) debug_printf("  %s %s MX=%d\n", p->name, p->address, p->mx);
  }
  struct host *last = h;
  while (last->next) last = last->next;
  last->next = after;
  return f;
}

/* ---- @mx_any, @mx_primary, @mx_secondary ---- */

enum outcome host_mx_is_local(struct expand_ctx *x, const char *domain, char which, const char *ignore) {
  struct host_find_opts o = {.ignore_target_hosts = ignore, .how = HOST_FIND_BY_MX};
  struct host h = {.name = domain, .mx = -1};
  bool removed = false;
  enum host_find f = host_find_bydns(x, &h, &o, NULL, &removed);
  if (f == HOST_FIND_AGAIN) return OUTCOME_DEFER;
  bool primary = f == HOST_FOUND_LOCAL, secondary = removed && !primary;
  bool yes = which == 'a' ? primary || secondary : which == 'p' ? primary : secondary;
  return yes ? OUTCOME_OK : OUTCOME_FAIL;
}
