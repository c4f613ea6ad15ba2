/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DNS questions: options, cache, and CNAME chains over several queries.  Floor: drivers.  Manual ch. 14, dns_* options.
 *
 * Every name that came out of an answer is hostile and checked again before it is asked (dns_check_names_pattern).  A loop, a truncated
 * set, and an answer nothing of which can be used count as temporary failures; "success" always carries at least one record.
 * Raw answers are kept per process for their smallest TTL, refusals for the SOA's negative TTL; the cache is on the list of allowed
 * writable globals and is bounded. */

#include "dns.h"

#include "base/timeutil.h"
#include "formats/utf8_domain.h"
#include "os/debug.h"
#include "os/log.h"
#include "os/resolver.h"
#include "policy/event.h"
#include "policy/match.h"

enum { CACHE_MAX = 2000, CACHE_BYTES_MAX = 8 << 20, TTL_MAX = 86400, TTL_NEGATIVE_DEFAULT = 300, TTL_TRYAGAIN = 30, CNAME_LIMIT_MAX = 50 };

struct cached {
  enum dns_status status;
  const uint8_t *bytes;
  size_t n;
  int64_t expires_ms;
};

static struct {
  struct arena *arena;
  struct tree entries;
} cache;

void dns_cache_clear(void) {
  arena_free(cache.arena);
  cache.arena = NULL;
  cache.entries = (struct tree){0};
}

static void cache_put(const char *key, enum dns_status st, const uint8_t *bytes, size_t n, int64_t ttl_sec) {
  if (ttl_sec <= 0) return;
  if (cache.arena && (cache.entries.count >= CACHE_MAX || arena_used_bytes(cache.arena) > CACHE_BYTES_MAX)) dns_cache_clear();
  if (!cache.arena) cache.arena = arena_new("dns cache");
  struct cached *c = ARENA_NEW(cache.arena, struct cached);
  uint8_t *copy = n ? arena_alloc_t(cache.arena, n, TAINTED) : NULL;
  if (n) memcpy(copy, bytes, n);
  *c = (struct cached){st, copy, n, time_mono_ms() + MIN(ttl_sec, TTL_MAX) * 1000};
  tree_insert(&cache.entries, cache.arena, key, NULL)->data = c;
}

/* ---- names ---- */

/* May this name be asked for?  Addresses turned round and texts are exempt: their names are not host names. */
static bool name_is_allowed(struct expand_ctx *x, const char *name, int type) {
  const char *pattern = x->cfg ? x->cfg->o.dns_check_names_pattern : NULL;
  if (strlen(name) > 1024) return false;
  if (type == DNS_T_PTR || type == DNS_T_TXT) return true;
  if (!pattern || !*pattern) return true;
  struct expand_scope saved = x->s;
  enum outcome o = regex_match(x, pattern, true, str_c(name), false);
  x->s = saved;
  return o != OUTCOME_FAIL;
}

/* ---- one query ---- */

static enum dns_status settle_again(struct expand_ctx *x, const char *name) {
  struct match_opts o = {.caseless = true, .allow_named = true, .name = "dns_again_means_nonexist"};
  DEBUG(D_DNS) debug_printf("DNS lookup of %s: temporary failure\n", name);
  if (!x->cfg) return DNS_AGAIN;
  /* The option may itself use lookups: no recursion into this test. */
  if (x->depth > EXPAND_MAX_DEPTH / 2) return DNS_AGAIN;
  return match_list(x, LIST_DOMAIN, name, x->cfg->o.dns_again_means_nonexist, &o) == OUTCOME_OK ? DNS_NOMATCH : DNS_AGAIN;
}

static enum dns_status status_of_answer(struct expand_ctx *x, const char *name, int type, const struct dns_answer *a) {
  if (a->bad_record) log_write(LS_ALWAYS, LOG_MAIN, "DNS answer for %s (%s): %s ignored", name, dns_type_name(type), a->bad_record);
  if (a->tc) return settle_again(x, name);
  switch (a->rcode) {
  case 0: break;
  case 2: return settle_again(x, name);
  case 3: return DNS_NOMATCH;
  default: return DNS_FAIL;
  }
  if (a->count > 0) return DNS_SUCCEED;
  if (a->malformed) return DNS_FAIL;
  return DNS_NODATA;
}

static struct resolver_opts resolver_opts_of(const struct expand_ctx *x, const struct dns_query_opts *o) {
  const struct main_options *m = x->cfg ? &x->cfg->o : NULL;
  struct resolver_opts r = {.use_edns0 = -1};
  r.retrans_sec = o->retrans_sec ? o->retrans_sec : m ? (int)m->dns_retrans : 0;
  r.retry = o->retry ? o->retry : m ? (int)m->dns_retry : 0;
  r.want_dnssec = o->want_dnssec;
  if (m && m->dns_dnssec_ok >= 0) r.want_dnssec = m->dns_dnssec_ok > 0;
  if (m) r.use_edns0 = (int)m->dns_use_edns0;
  r.qualify_single = o->qualify_single;
  r.search_parents = o->search_parents;
  return r;
}

static int64_t ttl_of(enum dns_status st, const struct dns_answer *a) {
  switch (st) {
  case DNS_SUCCEED: return a->min_ttl;
  case DNS_NOMATCH:
  case DNS_NODATA: return a->negative_ttl >= 0 ? a->negative_ttl : a->chain_open ? 0 : TTL_NEGATIVE_DEFAULT;
  case DNS_AGAIN:
  case DNS_FAIL: break;
  }
  return TTL_TRYAGAIN;
}

/* dns:fail; not for what its own action asks. */
static void raise_failed(struct expand_ctx *x, enum dns_status st, const char *name, int type) {
  static const char *const names[] = {
    [DNS_SUCCEED] = "DNS_SUCCEED", [DNS_NOMATCH] = "DNS_NOMATCH", [DNS_NODATA] = "DNS_NODATA", [DNS_AGAIN] = "DNS_AGAIN", [DNS_FAIL] = "DNS_FAIL"};
  if (!x->cfg || !x->cfg->o.event_action || x->event_name) return;
  bool is_plain = true;
  for (const char *p = name; *p; p++) is_plain = is_plain && (ch_isalnum(*p) || strchr("-._", *p));
  if (is_plain) name = arena_strdup_t(x->a, name, UNTAINTED); /* an action may put it into the text of an ACL */
  struct expand_ctx before = *x; /* the question may stand in the middle of an expansion */
  (void)event_raise(x, x->cfg->o.event_action, "main", "dns:fail", arena_printf(x->a, "%s:%s:%s", names[st], name, dns_type_name(type)), 0);
  x->s = before.s;
  x->error = before.error;
  x->forced_fail = before.forced_fail;
  x->lookup_deferred = before.lookup_deferred;
}

/* Ask once.  *ret is filled (zero when there was no answer at all). */
static enum dns_status query_once(struct expand_ctx *x, const char *name, int type, const struct dns_query_opts *o, struct dns_answer *ret) {
  const uint8_t *bytes = NULL;
  size_t n = 0;
  struct resolver_opts ro = resolver_opts_of(x, o);
  const char *key = arena_printf(x->a, "%d%d%d %d %s", ro.want_dnssec, o->qualify_single, o->search_parents, type, str_dup_lower(x->a, str_c(name)));
  const struct tree_node *node = tree_find(&cache.entries, key);
  const struct cached *c = node ? node->data : NULL;
  *ret = (struct dns_answer){.negative_ttl = -1, .min_ttl = UINT32_MAX, .final_name = name, .question = name};
  if (c && c->expires_ms > time_mono_ms()) {
    DEBUG(D_DNS) debug_printf("DNS lookup of %s-%s: using cached value\n", name, dns_type_name(type));
    if (c->n && !dns_parse_answer(x->a, c->bytes, c->n, name, type, ret)) return DNS_FAIL;
    return c->status;
  }
  deadline_ms asked_at = time_mono_ms();
  enum resolver_status rs = resolver_query(x->a, name, type, &ro, &bytes, &n);
  int64_t slow_ms = x->cfg ? x->cfg->o.slow_lookup_log : 0, took_ms = time_mono_ms() - asked_at;
  if (slow_ms > 0 && took_ms > slow_ms) log_write(LS_ALWAYS, LOG_MAIN, "Long %s lookup for '%s': %lld msec", dns_type_name(type), name, (long long)took_ms);
  enum dns_status st = DNS_FAIL;
  bool parsed = n > 0 && dns_parse_answer(x->a, bytes, n, name, type, ret);
  switch (rs) {
  case RESOLVER_ANSWER: st = parsed ? status_of_answer(x, name, type, ret) : DNS_FAIL; break;
  case RESOLVER_NXDOMAIN: st = DNS_NOMATCH; break;
  case RESOLVER_NODATA: st = DNS_NODATA; break;
  case RESOLVER_TRYAGAIN: st = settle_again(x, name); break;
  case RESOLVER_PASS:
  case RESOLVER_FAIL: st = DNS_FAIL; break;
  }
  DEBUG(D_DNS) debug_printf("DNS lookup of %s (%s): %s\n", name, dns_type_name(type),
                            st == DNS_SUCCEED ? "succeeded" : st == DNS_NOMATCH ? "HOST_NOT_FOUND" : st == DNS_NODATA ? "NO_DATA"
                                              : st == DNS_AGAIN ? "TRY_AGAIN" : "NO_RECOVERY");
  cache_put(key, st, bytes, parsed ? n : 0, ttl_of(st, ret));
  if (st != DNS_SUCCEED && !(st == DNS_NODATA && ret->chain_open)) raise_failed(x, st, parsed ? ret->final_name : name, type);
  return st;
}

/* ---- chains ---- */

enum dns_status dns_lookup(struct expand_ctx *x, const char *name, int type, const struct dns_query_opts *o, struct dns_answer *ret,
                           const char **ret_final) {
  static const struct dns_query_opts none = {.cname_limit = -1};
  if (!o) o = &none;
  int limit = o->cname_limit >= 0 ? o->cname_limit : x->cfg ? (int)x->cfg->o.dns_cname_loops : 1;
  const char *given = name, *question = NULL;
  if (!utf8_is_ascii(str_c(name)) && !(x->cfg && x->cfg->o.allow_utf8_domains)) { /* on the wire a domain is ASCII */
    const char *error = NULL, *alabel = utf8_domain_to_alabel(x->a, name, &error);
    if (alabel) name = alabel;
  }
  const char *asked = name;
  bool all_secure = true;
  limit = MAX(0, MIN(limit, CNAME_LIMIT_MAX));
  for (int step = 0; step <= limit; step++) {
    if (!*name || !name_is_allowed(x, name, type)) {
      DEBUG(D_DNS) debug_printf("DNS name syntax check failed: %s (%s)\n", name, dns_type_name(type));
      return DNS_NOMATCH;
    }
    enum dns_status st = query_once(x, name, type, o, ret);
    all_secure = all_secure && ret->ad;
    if (!question) question = ret->question && dns_name_eq(ret->question, asked) ? given : ret->question;
    ret->question = question;
    if (ret->chain_loop && ret->rcode == 0 && st != DNS_AGAIN) break;
    if (st != DNS_NODATA || !ret->chain_open) {
      ret->ad = all_secure;
      if (st == DNS_SUCCEED && ret_final) *ret_final = ret->final_name;
      return st;
    }
    DEBUG(D_DNS) debug_printf("CNAME found: change to %s\n", ret->final_name);
    name = ret->final_name;
    /* Longer than the root: a name of the root alone is no host. */
    if (strcmp(name, ".") == 0) return DNS_NOMATCH;
  }
  log_write(LS_ALWAYS, LOG_MAIN, "CNAME loop for %s encountered", asked);
  return DNS_FAIL;
}

bool dns_is_secure(struct expand_ctx *x, const struct dns_answer *a) {
  if (a->ad) return true;
  if (!a->aa || !x->cfg || !x->cfg->o.dns_trust_aa) return false;
  const struct dns_rr *rr = a->all;
  while (rr && rr->section != 2) rr = rr->next; /* the zone, if the answer names it */
  const char *name = rr ? rr->owner : a->question;
  if (!name) return false;
  struct match_opts o = {.caseless = true, .allow_named = true, .name = "dns_trust_aa"};
  return match_list(x, LIST_DOMAIN, name, x->cfg->o.dns_trust_aa, &o) == OUTCOME_OK;
}
