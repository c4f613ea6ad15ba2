/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DNS lists (dns_list.h).  Floor: drivers.
 *
 * Keys may be chosen by the client (a sender's domain): they become part of a DNS name only, whose syntax the DNS floor checks.  Answers
 * are kept in the connection's arena up to CACHE_ENTRIES of them; beyond that each question is asked anew. */
#include "dns_list.h"

#include "base/ip.h"
#include "conn.h"
#include "dns.h"
#include "os/log.h"
#include "os/debug.h"
#include "policy/match.h"
#include "policy/narrate.h"

enum { CACHE_ENTRIES = 1000, NAME_BYTES = 256, TEXT_BYTES = 511, TTL_DEFAULT_SEC = 3600 };

struct answer {
  enum dns_status status;
  int64_t expires_ms;
  struct vec found;         /* const char *: addresses */
  const char *value;        /* the same as one text */
  const char *text;         /* of the TXT record, NULL not looked up yet */
};

enum unknown { UNKNOWN_EXCLUDE, UNKNOWN_INCLUDE, UNKNOWN_DEFER };

/* ---- one item ---- */

static bool addresses_are_good(struct str list) {
  do {
    struct ip ip;
    if (!ip_parse(str_trim(str_cut(&list, ',')), &ip)) return false;
  } while (list.n > 0);
  return true;
}

bool dns_list_parse(struct arena *a, struct str item, struct dns_list_item *ret) {
  struct dns_list_item it = {0};
  size_t slash = str_index(item, '/');
  if (slash < item.n) it.keys = str_dup(a, str_n(item.p + slash + 1, item.n - slash - 1));
  struct str head = str_trim(str_n(item.p, slash));
  size_t op = 0;
  while (op < head.n && head.p[op] != '=' && head.p[op] != '&') op++;
  struct str domains = str_n(head.p, op);
  if (op < head.n) {
    struct str rest = str_n(head.p + op, head.n - op);
    it.is_mask = rest.p[0] == '&';
    if (rest.n > 1 && rest.p[0] == '=' && (rest.p[1] == '=' || rest.p[1] == '&')) {
      it.all = true;
      it.is_mask = rest.p[1] == '&';
      rest = str_n(rest.p + 1, rest.n - 1);
    }
    rest = str_trim(str_n(rest.p + 1, rest.n - 1));
    if (!addresses_are_good(rest)) return false;
    it.addresses = str_dup(a, rest);
    it.negated = domains.n > 0 && domains.p[domains.n - 1] == '!';
    if (it.negated) domains.n--;
  }
  struct str first = str_trim(str_cut(&domains, ',')), second = str_trim(domains);
  if (first.n == 0) return false;
  it.text_domain = str_dup(a, first);
  it.domain = second.n > 0 ? str_dup(a, second) : it.text_domain;
  *ret = it;
  return true;
}

static bool is_loopback_net(const char *address) { return strncmp(address, "127.", 4) == 0; }

/* Does one address found agree with one of the list?  A mask asks for all its bits; negated, one of them is enough to agree.  It asks nothing
 * of an address that no list should have: a list that was given up may answer with any. */
static bool agrees(const struct dns_list_item *item, const char *found) {
  struct ip f, w;
  if (!ip_parse(str_c(found), &f) || (item->is_mask && !is_loopback_net(found))) return false;
  for (struct str list = str_c(item->addresses); list.n > 0;) {
    if (!ip_parse(str_trim(str_cut(&list, ',')), &w) || w.family != f.family) continue;
    if (!item->is_mask) {
      if (ip_equal(&f, &w)) return true;
      continue;
    }
    bool all_bits = true, any_bit = false;
    for (size_t i = 0; i < (w.family == 4 ? 4u : 16u); i++) {
      if ((f.b[i] & w.b[i]) != w.b[i]) all_bits = false;
      if (f.b[i] & w.b[i]) any_bit = true;
    }
    if (item->negated && !item->all ? any_bit : all_bits) return true;
  }
  return false;
}

bool dns_list_accepts(const struct dns_list_item *item, const struct vec *found) {
  size_t good = 0;
  for (size_t i = 0; i < found->n; i++) good += item->addresses ? agrees(item, found->v[i]) : is_loopback_net(found->v[i]);
  bool yes = item->all ? good == found->n : good > 0;
  return yes != item->negated;
}

/* ---- questions ---- */

static int64_t ttl_of(enum dns_status st, const struct dns_answer *a) {
  switch (st) {
  case DNS_SUCCEED: return a->min_ttl == UINT32_MAX ? TTL_DEFAULT_SEC : a->min_ttl;
  case DNS_NOMATCH:
  case DNS_NODATA: return a->negative_ttl >= 0 ? a->negative_ttl : TTL_DEFAULT_SEC;
  case DNS_AGAIN:
  case DNS_FAIL: break;
  }
  return TTL_DEFAULT_SEC;
}

static struct answer *lookup(struct expand_ctx *x, const char *query) {
  struct arena *a = x->conn->arena;
  const char *key = str_dup_lower(x->a, str_c(query));
  struct tree_node *node = tree_find(&x->conn->dns_list_answers, key);
  struct answer *known = node ? node->data : NULL;
  if (known && known->expires_ms > time_mono_ms()) {
    narrate(x, D_DNSBL, "dnslists: using result of previous lookup");
    return known;
  }
  if (known) narrate(x, D_DNSBL, "cached data found but past valid time; ");
  narrate(x, D_DNSBL, "new DNS lookup for %s", query);
  bool keep = node || x->conn->dns_list_answers.count < CACHE_ENTRIES;
  if (!keep) a = x->a;
  struct dns_answer dns = {.negative_ttl = -1, .min_ttl = UINT32_MAX};
  struct answer *n = ARENA_NEW(a, struct answer);
  n->status = dns_lookup(x, query, DNS_T_A, NULL, &dns, NULL);
  n->found = vec_new(a);
  struct strbuf value = strbuf_new(a);
  for (const struct dns_rr *rr = n->status == DNS_SUCCEED ? dns.answers : NULL; rr; rr = rr->next) {
    if (!rr->address) continue;
    vec_push(&n->found, arena_strdup(a, rr->address));
    strbuf_addl(&value, value.n ? ", " : "", rr->address, NULL);
  }
  n->value = value.p;
  if (n->status == DNS_SUCCEED && n->found.n == 0) n->status = DNS_NODATA;
  bool is_orphan = n->status != DNS_SUCCEED && dns.final_name && !dns_name_eq(dns.final_name, query); /* a CNAME led to nothing: that is no answer about the key */
  int64_t ttl = is_orphan ? TTL_DEFAULT_SEC : ttl_of(n->status, &dns);
  n->expires_ms = time_mono_ms() + ttl * 1000;
  if (!keep) return n;
  if (!node) node = tree_insert(&x->conn->dns_list_answers, a, key, NULL);
  node->data = n;
  narrate(x, D_DNSBL, "dnslists: wrote cache entry, ttl=%lld", (long long)ttl);
  return n;
}

/* The first TXT record of the name, on one line of limited length. */
static void find_text(struct expand_ctx *x, struct answer *n, const char *query) {
  struct dns_answer dns;
  if (n->text) return;
  if (dns_lookup(x, query, DNS_T_TXT, NULL, &dns, NULL) == DNS_SUCCEED && dns.answers) {
    struct strbuf b = dns_txt_join(x->conn->arena, dns.answers, TEXT_BYTES);
    if (b.n > TEXT_BYTES) strbuf_truncate(&b, TEXT_BYTES);
    n->text = b.p;
  } else {
    n->text = "";
  }
}

/* ---- one key in one list ---- */

static void set_variables(struct expand_ctx *x, const struct dns_list_item *item, const char *key, const struct answer *n) {
  struct arena *a = x->conn->arena;
  x->dnslist_domain = arena_strdup(a, item->text_domain);
  x->dnslist_matched = arena_strdup(a, key);
  x->dnslist_value = n->value && *n->value ? n->value : NULL;
  x->dnslist_text = n->text && *n->text ? n->text : NULL;
}

static enum outcome deferred(const char *query, enum unknown mode) {
  static const char *const words[] = {"assumed not in list", "assumed in list", "returned DEFER"};
  log_write(LS_DNSLIST_DEFER, LOG_MAIN, "DNS list lookup defer (probably timeout) for %s: %s", query, words[mode]);
  return mode == UNKNOWN_INCLUDE ? OUTCOME_OK : mode == UNKNOWN_DEFER ? OUTCOME_DEFER : OUTCOME_FAIL;
}

static void narrate_refusal(struct expand_ctx *x, const struct dns_list_item *item) {
  const char *what = item->all ? item->negated ? "were no IP addresses that did not" : "was an IP address that did not"
                               : item->negated ? "was an exclude" : "was no";
  narrate(x, D_DNSBL, "=> but we are not accepting this block class because");
  narrate(x, D_DNSBL, "=> there %s match for %s%s%s", what, item->all ? "=" : "",
          item->is_mask ? "&" : "=", item->addresses);
}

/* Log the answers outside 127/8, which do not count.  With "==" (all must match) the first of them has decided, and the rest are not looked at. */
static void log_discarded(const struct dns_list_item *item, const char *key, const struct vec *found) {
  for (size_t i = 0; i < found->n; i++) {
    if (is_loopback_net(found->v[i])) continue;
    log_write(LS_ALWAYS, LOG_MAIN, "DNS list lookup for %s at %s returned %s; not in 127.0/8 and discarded", key, item->domain, (const char *)found->v[i]);
    if (item->all) break;
  }
}

/* prefix: the key as it stands in the DNS. */
static enum outcome check_key(struct expand_ctx *x, const struct dns_list_item *item, const char *key, const char *prefix, enum unknown mode) {
  const char *query = arena_printf(x->a, "%s.%s", prefix, item->domain);
  if (strlen(query) >= NAME_BYTES) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "dnslist query is too long (ignored): %s...", query);
    return OUTCOME_FAIL;
  }
  struct answer *n = lookup(x, query);
  switch (n->status) {
  case DNS_SUCCEED:
    narrate(x, D_DNSBL, "DNS lookup for %s succeeded (yielding %s)", query, n->value);
    break;
  case DNS_NOMATCH:
  case DNS_NODATA:
    narrate(x, D_DNSBL, "DNS lookup for %s failed", query);
    narrate(x, D_DNSBL, "=> that means %s is not listed at %s", key, item->domain);
    return OUTCOME_FAIL;
  case DNS_AGAIN:
  case DNS_FAIL: {
    enum outcome o = deferred(query, mode);
    if (o == OUTCOME_OK) {
      narrate(x, D_DNSBL, "=> that means %s is listed at %s", key, item->text_domain);
      set_variables(x, item, key, n);
    }
    return o;
  }
  }
  if (!item->addresses || item->is_mask) log_discarded(item, key, &n->found);
  if (!dns_list_accepts(item, &n->found)) {
    if (item->addresses) narrate_refusal(x, item);
    return OUTCOME_FAIL;
  }
  if (item->text_domain != item->domain) {
    struct dns_list_item plain = {.domain = item->text_domain, .text_domain = item->text_domain};
    return check_key(x, &plain, key, prefix, mode);
  }
  find_text(x, n, query);
  narrate(x, D_DNSBL, "=> that means %s is listed at %s", key, item->domain);
  set_variables(x, item, key, n);
  return OUTCOME_OK;
}

static const char *prefix_of(struct arena *a, const char *key) {
  struct ip ip;
  char buf[96];
  if (!ip_parse(str_c(key), &ip)) return key;
  ip = ip_unmap(ip);
  return arena_strdup_t(a, ip_reverse(&ip, false, buf, sizeof buf), is_tainted(key) ? TAINTED : UNTAINTED);
}

static void warn_of_domain(const char *domain) {
  for (const char *p = domain; *p; p++) {
    if (ch_isalnum(*p) || strchr("-._", *p)) continue;
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "dnslists domain \"%s\" contains strange characters - is this right?", domain);
    return;
  }
}

static enum outcome check_item(struct expand_ctx *x, const struct dns_list_item *item, enum unknown mode) {
  const char *host = x->conn->from.host_address;
  if (!item->keys) return host ? check_key(x, item, host, prefix_of(x->a, host), mode) : OUTCOME_FAIL;
  const char *pos = item->keys, *key;
  int sep = 0;
  bool has_deferred = false;
  while ((key = list_next(x->a, &pos, &sep)) != NULL) {
    if (!*key) continue;
    enum outcome o = check_key(x, item, key, prefix_of(x->a, key), mode);
    if (o == OUTCOME_OK) return o;
    if (o == OUTCOME_DEFER) has_deferred = true;
  }
  return has_deferred ? OUTCOME_DEFER : OUTCOME_FAIL;
}

/* ---- the list ---- */

static bool read_mode(const char *item, enum unknown *mode) {
  static const char *const words[] = {"+exclude_unknown", "+include_unknown", "+defer_unknown"};
  for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
    if (strcmpic(item, words[i]) != 0) continue;
    *mode = (enum unknown)i;
    return true;
  }
  return false;
}

enum outcome dns_list_check(struct expand_ctx *x, const char *list, const char **ret_log) {
  x->dnslist_domain = x->dnslist_matched = x->dnslist_value = x->dnslist_text = NULL;
  const char *pos = expand_string(x, list), *item;
  if (!pos) {
    if (x->forced_fail) return OUTCOME_FAIL;
    *ret_log = arena_printf(x->a, "failed to expand DNS list \"%s\": %s", list, x->error ? x->error : "");
    return x->lookup_deferred ? OUTCOME_DEFER : OUTCOME_ERROR;
  }
  if (strcmp(pos, list) != 0) narrate(x, D_DNSBL, "expanded list: %s", pos);
  if (!x->conn) return OUTCOME_FAIL;
  enum unknown mode = UNKNOWN_EXCLUDE;
  int sep = 0;
  while ((item = list_next(x->a, &pos, &sep)) != NULL) {
    struct dns_list_item it;
    narrate(x, D_DNSBL, "dnslists check: %s", item);
    if (*item == '+') {
      if (!read_mode(item, &mode)) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "unknown item in dnslist (ignored): %s", item);
      continue;
    }
    if (!dns_list_parse(x->a, str_c(item), &it)) {
      log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "malformed item in dnslists \"%s\": ignored", item);
      continue;
    }
    warn_of_domain(it.domain);
    enum outcome o = check_item(x, &it, mode);
    if (o != OUTCOME_FAIL) return o;
  }
  return OUTCOME_FAIL;
}
