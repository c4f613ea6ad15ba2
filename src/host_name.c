/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The name of the calling host, and the check of its HELO argument.  Floor: drivers.  Manual ch. 10.14, 14 (host_lookup, helo_...).
 *
 * A name from a reverse lookup is believed only when its own addresses include the caller's.  All names are hostile; one with a
 * character no host name has is dropped.  Log line: "no host name found for IP address ...". */

#include <netdb.h>
#include <sys/socket.h>

#include <arpa/inet.h>

#include "conn.h"
#include "host_priv.h"
#include "os/debug.h"
#include "os/log.h"
#include "policy/match.h"
#include "policy/narrate.h"

enum { NAMES_MAX = 50 };

/* The root: an address may be registered with no name at all. */
static bool is_empty_name(const char *s) { return !*s || strcmp(s, ".") == 0; }

static bool is_plausible_name(const char *s) {
  if (is_empty_name(s) || strlen(s) > 255) return false;
  for (; *s; s++)
    if (!ch_isalnum(*s) && *s != '-' && *s != '.' && *s != '_') return false;
  return true;
}

static enum outcome names_by_dns(struct expand_ctx *x, const struct ip *ip, struct vec *ret, bool *ret_secure) {
  char reversed[128];
  struct dns_answer ans = {0};
  struct dns_query_opts q = {.cname_limit = -1};
  const char *name = arena_strdup_t(x->a, ip_reverse(ip, true, reversed, sizeof reversed), UNTAINTED);
  switch (dns_lookup(x, name, DNS_T_PTR, &q, &ans, NULL)) {
  case DNS_SUCCEED: break;
  case DNS_NOMATCH:
  case DNS_NODATA: return OUTCOME_FAIL;
  case DNS_AGAIN:
  case DNS_FAIL: narrate(x, D_HOST_LOOKUP, "IP address PTR lookup gave temporary error"); return OUTCOME_DEFER;
  }
  *ret_secure = dns_is_secure(x, &ans);
  if (ans.answers && is_empty_name(ans.answers->name))
    narrate(x, D_HOST_LOOKUP, "IP address lookup yielded an empty name: treated as non-existent host name");
  for (const struct dns_rr *rr = ans.answers; rr && ret->n < NAMES_MAX; rr = rr->next)
    if (is_plausible_name(rr->name)) vec_push(ret, str_dup_lower(x->a, str_c(rr->name)));
  return ret->n ? OUTCOME_OK : OUTCOME_FAIL;
}

static enum outcome names_by_system(struct expand_ctx *x, const struct ip *ip, struct vec *ret) {
  struct sockaddr_in s4 = {.sin_family = AF_INET};
  struct sockaddr_in6 s6 = {.sin6_family = AF_INET6};
  char text[NI_MAXHOST];
  /* The harness has no system name service. */
  if (x->cfg->harness_mode) return OUTCOME_FAIL;
  memcpy(&s4.sin_addr, ip->b, sizeof s4.sin_addr);
  memcpy(&s6.sin6_addr, ip->b, sizeof s6.sin6_addr);
  const struct sockaddr *sa = ip->family == 4 ? (const struct sockaddr *)&s4 : (const struct sockaddr *)&s6;
  int rc = getnameinfo(sa, ip->family == 4 ? sizeof s4 : sizeof s6, text, sizeof text, NULL, 0, NI_NAMEREQD);
  if (rc == EAI_AGAIN) return OUTCOME_DEFER;
  if (rc != 0 || !is_plausible_name(text)) return OUTCOME_FAIL;
  vec_push(ret, str_dup_lower(x->a, str_c(arena_strdup_t(x->a, text, TAINTED))));
  return OUTCOME_OK;
}

/* All names, in host_lookup_order. */
static enum outcome find_names(struct expand_ctx *x, const struct ip *ip, struct vec *ret, bool *ret_secure) {
  const char *order = x->cfg->o.host_lookup_order, *item;
  int sep = 0;
  bool deferred = false;
  while (order && (item = list_next(x->a, &order, &sep)) != NULL) {
    enum outcome o = OUTCOME_FAIL;
    if (strcmpic(item, "bydns") == 0) o = names_by_dns(x, ip, ret, ret_secure);
    else if (strcmpic(item, "byaddr") == 0) o = names_by_system(x, ip, ret);
    if (o == OUTCOME_OK) return o;
    if (o == OUTCOME_DEFER) deferred = true;
  }
  return deferred ? OUTCOME_DEFER : OUTCOME_FAIL;
}

/* Do the name's addresses include ours? */
static enum outcome confirm(struct expand_ctx *x, const char *name, const struct ip *ip) {
  struct host h = {.name = name, .mx = -1}, *last;
  struct host_find_opts o = {0};
  struct ip one;
  bool required;
  (void)host_wants_dnssec(x, &o, name, &required);
  enum host_find f = host_set_addresses(x, &h, &o, 0, &last);
  if (f == HOST_FIND_FAILED && !x->cfg->harness_mode) f = host_find_byname(x, &h, &o, NULL);
  if (f == HOST_FIND_AGAIN) return OUTCOME_DEFER;
  if (!h.address) {
    narrate(x, D_HOST_LOOKUP, "no IP addresses found for %s", name);
    return OUTCOME_FAIL;
  }
  narrate(x, D_HOST_LOOKUP, "checking addresses for %s", name);
  for (const struct host *p = &h; p; p = p->next) {
    bool same = ip_parse(str_c(p->address), &one) && ip_equal(&one, ip);
    narrate(x, D_HOST_LOOKUP, same ? "  %s OK" : "  %s", p->address);
    if (same) return OUTCOME_OK;
  }
  narrate(x, D_HOST_LOOKUP, "no IP address for %s matched %s", name, x->conn->from.host_address);
  return OUTCOME_FAIL;
}

static const char *no_name(struct expand_ctx *x, bool deferred) {
  struct origin *from = &x->conn->from;
  if (deferred) {
    from->host_lookup_deferred = true;
    return arena_printf(x->a, " (failed to find host name from IP address)");
  }
  from->host_lookup_failed = true;
  return arena_printf(x->a, " (failed to find host name from IP address)");
}

/* The owner of an address can give it thousands of names; each costs lookups. */
enum { NAMES_CONFIRMED_MAX = 20 };

/* Keep the names that are confirmed; the first is the host's name, the others aliases.  They live as long as the connection. */
static enum outcome keep_confirmed(struct expand_ctx *x, const struct vec *names, const struct ip *ip) {
  struct origin *from = &x->conn->from;
  bool deferred = false;
  from->host_aliases = vec_new(x->conn->arena);
  for (size_t i = 0; i < names->n && i < NAMES_CONFIRMED_MAX; i++) {
    enum outcome o = confirm(x, names->v[i], ip);
    if (o == OUTCOME_DEFER) deferred = true;
    if (o != OUTCOME_OK) continue;
    const char *name = arena_strdup(x->conn->arena, names->v[i]);
    if (!from->host_name) from->host_name = name;
    else vec_push(&from->host_aliases, (void *)(uintptr_t)name);
  }
  if (from->host_name) return OUTCOME_OK;
  if (deferred) narrate(x, D_HOST_LOOKUP, "temporary error for host name lookup");
  return deferred ? OUTCOME_DEFER : OUTCOME_FAIL;
}

/* find_names(), and the one address about which the test suite wants no answer. */
static enum outcome ask_names(struct expand_ctx *x, const struct ip *ip, struct vec *ret_names, bool *ret_secure) {
  if (!x->cfg->harness_mode || strcmp(x->conn->from.host_address, "99.99.99.99") != 0) return find_names(x, ip, ret_names, ret_secure);
  narrate(x, D_HOST_LOOKUP, "Test harness: host name lookup returns DEFER");
  return OUTCOME_DEFER;
}

enum outcome host_name_lookup(struct expand_ctx *x, const char **ret_msg) {
  struct origin *from = x->conn ? &x->conn->from : NULL;
  struct vec names = vec_new(x->a);
  struct ip ip;
  bool secure = false;
  if (!from || !from->host_address || !ip_parse(str_c(from->host_address), &ip)) return OUTCOME_FAIL;
  if (from->host_name) return OUTCOME_OK;
  if (from->host_lookup_failed) return OUTCOME_FAIL;
  from->host_lookup_deferred = false;
  from->host_looked_up = true;
  ip = ip_unmap(ip);
  narrate(x, D_HOST_LOOKUP, "looking up host name for %s", from->host_address);
  narrate_indent(1);
  enum outcome o = ask_names(x, &ip, &names, &secure);
  if (o == OUTCOME_OK) {
    narrate(x, D_HOST_LOOKUP, "IP address lookup yielded \"%s\"", (const char *)names.v[0]);
    for (size_t i = 1; i < names.n; i++) narrate(x, D_HOST_LOOKUP, "  alias \"%s\"", (const char *)names.v[i]);
    o = keep_confirmed(x, &names, &ip);
    if (o == OUTCOME_FAIL) {
      const char *text = arena_printf(x->a, "%s does not match any IP address for %s", from->host_address, (const char *)names.v[0]);
      narrate(x, D_HOST_LOOKUP, "%s", text);
    }
    from->is_dnssec = o == OUTCOME_OK && secure;
  } else if (o == OUTCOME_FAIL) {
    log_write(LS_HOST_LOOKUP_FAILED, LOG_MAIN, "no host name found for IP address %s", from->host_address);
  }
  narrate_indent(-1);
  if (o == OUTCOME_OK) {
    origin_set_fullhost(x->conn->arena, from, log_selects(LS_INCOMING_PORT));
    return o;
  }
  const char *text = no_name(x, o == OUTCOME_DEFER);
  if (ret_msg) *ret_msg = text;
  return o == OUTCOME_DEFER ? OUTCOME_DEFER : OUTCOME_FAIL;
}

/* ---- HELO ---- */

static bool helo_is_literal_address(struct expand_ctx *x, const char *helo, const struct ip *ip) {
  struct str s = str_c(helo);
  struct ip given;
  if (s.n < 3 || s.p[0] != '[' || s.p[s.n - 1] != ']') return false;
  s = str_n(s.p + 1, s.n - 2);
  if (str_startsic(s, STR("ipv6:"))) s = str_n(s.p + 5, s.n - 5);
  if (!ip_parse(s, &given)) return false;
  given = ip_unmap(given);
  if (!ip_equal(&given, ip)) return false;
  narrate_flat(x, D_RECEIVE, "matched host address");
  return true;
}

static bool helo_is_name(struct expand_ctx *x, const char *helo) {
  const struct origin *from = &x->conn->from;
  if (!from->host_name) return false;
  if (strcmpic(helo, from->host_name) == 0) {
    narrate_flat(x, D_RECEIVE, "matched host name");
    return true;
  }
  for (size_t i = 0; i < from->host_aliases.n; i++)
    if (strcmpic(helo, from->host_aliases.v[i]) == 0) {
      narrate_flat(x, D_RECEIVE, "matched alias %s", (const char *)from->host_aliases.v[i]);
      return true;
    }
  return false;
}

static bool helo_resolves_here(struct expand_ctx *x, const char *helo, const struct ip *ip) {
  struct host h = {.name = helo, .mx = -1};
  struct host_find_opts o = {.how = HOST_FIND_BY_A | HOST_FIND_BY_AAAA, .dnssec_request_domains = "*", .dnssec_require_domains = ""};
  struct ip one;
  narrate_flat(x, D_RECEIVE, "getting IP address for %s", helo);
  enum host_find f = host_find_bydns(x, &h, &o, NULL, NULL);
  x->conn->from.helo_lookup_deferred = f == HOST_FIND_AGAIN;
  if (f != HOST_FOUND && f != HOST_FOUND_LOCAL) return false;
  for (const struct host *p = &h; p; p = p->next)
    if (ip_parse(str_c(p->address), &one) && ip_equal(&one, ip)) {
      narrate_flat(x, D_RECEIVE, "IP address for %s matches calling address", helo);
      narrate_flat(x, D_RECEIVE, "Forward DNS security status: %s", h.dnssec ? "verified" : "unverified");
      return true;
    }
  return false;
}

bool host_verify_helo(struct expand_ctx *x) {
  struct origin *from = &x->conn->from;
  const char *helo = from->helo_name, *msg = NULL;
  struct ip ip;
  if (!helo) {
    narrate_flat(x, D_RECEIVE, "verifying EHLO/HELO argument <NULL>");
    narrate_flat(x, D_RECEIVE, "no EHLO/HELO command was issued");
    return false;
  }
  if (from->helo_verified) return true;
  if (from->helo_verify_failed) return false;
  narrate_flat(x, D_RECEIVE, "verifying EHLO/HELO argument \"%s\"", helo);
  bool ok = !from->host_address;
  if (!ok && ip_parse(str_c(from->host_address), &ip)) {
    ip = ip_unmap(ip);
    if (helo[0] == '[') {
      ok = helo_is_literal_address(x, helo, &ip);
    } else {
      if (!from->host_name) (void)host_name_lookup(x, &msg);
      struct ip bare; /* without brackets it is no address literal and no name */
      ok = helo_is_name(x, helo) || (!ip_parse(str_c(helo), &bare) && helo_resolves_here(x, helo, &ip));
    }
  }
  from->helo_verified = ok;
  from->helo_verify_failed = !ok;
  return ok;
}
