/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The dnslookup router: hosts from MX, SRV and address records of the domain.  Floor: drivers.  Manual ch. 17, RFC 5321 5.1.
 *
 * What the DNS says is hostile and tainted; a temporary DNS problem defers (or passes on with pass_on_timeout), it never fails.
 * same_domain_copy_routing needs no code here: answers are cached for the life of the process. */
#include "formats/dns_message.h"
#include "host.h"
#include "policy/match.h"
#include "policy/narrate.h"
#include "router.h"
#include "routers/routers_priv.h"

struct dnslookup_options {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "routers/dnslookup_options.def"
#undef OPT_ROW
};

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct dnslookup_options, n, t, d, f)
static const struct option dnslookup_options[] = {
#include "routers/dnslookup_options.def"
};
#undef OPT_ROW

/* ipv4_only, ipv4_prefer: an expanded condition; forced failure means no. */
static enum route_result expanded_bool(struct route_ctx *rc, struct router *r, struct address *addr, const char *name,
                                       const char *text, unsigned bit, unsigned *how) {
  if (!text) return ROUTE_OK;
  enum outcome o = expand_condition_lax(rc->x, text);
  if (o == OUTCOME_OK) *how |= bit;
  if (o == OUTCOME_OK || o == OUTCOME_FAIL || rc->x->forced_fail) return ROUTE_OK;
  addr->message = arena_printf(rc->x->a, "failed to expand %s in %s router: %s", name, r->name,
                               rc->x->error ? rc->x->error : "");
  return ROUTE_DEFER;
}

/* *ret_mx_unknown: mx_domains could not be looked up, which matters only to a domain without MX records. */
static enum route_result how_to_look(struct route_ctx *rc, struct router *r, struct address *addr,
                                     const struct dnslookup_options *ob, struct host_find_opts *o, bool *ret_mx_unknown) {
  o->how = HOST_FIND_BY_MX | HOST_FIND_BY_A | HOST_FIND_BY_AAAA;
  if (ob->check_srv) {
    const char *s = expand_string(rc->x, ob->check_srv);
    if (!s && !rc->x->forced_fail) {
      addr->message = arena_printf(rc->x->a, "%s router: failed to expand \"%s\": %s", r->name, ob->check_srv,
                                   rc->x->error ? rc->x->error : "");
      return ROUTE_DEFER;
    }
    if (s && *s) {
      o->how |= HOST_FIND_BY_SRV;
      o->srv_service = s;
    }
  }
  if (ob->mx_domains) {
    enum outcome m = match_domain(rc->x, addr->domain, ob->mx_domains, NULL);
    *ret_mx_unknown = m != OUTCOME_OK && m != OUTCOME_FAIL;
    if (m != OUTCOME_FAIL) o->how &= ~(unsigned)(HOST_FIND_BY_A | HOST_FIND_BY_AAAA);
  }
  if (ob->qualify_single) o->how |= HOST_FIND_QUALIFY_SINGLE;
  if (ob->search_parents) o->how |= HOST_FIND_SEARCH_PARENTS;
  enum route_result res = expanded_bool(rc, r, addr, "ipv4_only", ob->ipv4_only, HOST_FIND_IPV4_ONLY, &o->how);
  if (res == ROUTE_OK) res = expanded_bool(rc, r, addr, "ipv4_prefer", ob->ipv4_prefer, HOST_FIND_IPV4_FIRST, &o->how);
  return res;
}

static enum route_result lookup_failed(struct route_ctx *rc, struct address *addr, const struct dnslookup_options *ob,
                                       const struct host *h) {
  if (!h->name || !*h->name || strcmp(h->name, ".") == 0) {
    addr->message = "an MX or SRV record indicated no SMTP service";
    addr->pass_message = true;
    return ROUTE_DECLINE;
  }
  struct ip ip;
  if (h->mx >= 0)
    addr->message = ip_parse(str_c(h->name), &ip)
                        ? "all relevant MX records point to non-existent hosts or (invalidly) to IP addresses"
                        : "all relevant MX records point to non-existent hosts";
  if (h->mx >= 0 && ip_parse(str_c(h->name), &ip))
    addr->user_message = arena_printf(rc->x->a, "It appears that the DNS operator for %s\nhas installed an invalid MX record with an IP address\n"
                                      "instead of a domain name on the right hand side.", addr->domain);
  if (!ob->fail_defer_domains) return ROUTE_DECLINE;
  enum outcome m = match_domain(rc->x, addr->domain, ob->fail_defer_domains, NULL);
  if (m == OUTCOME_FAIL) return ROUTE_DECLINE;
  addr->message = m == OUTCOME_OK ? "missing MX, or all MXs point to missing A records, and defer requested"
                                  : "lookup defer for fail_defer_domains";
  return ROUTE_DEFER;
}

static enum route_result found_hosts(struct route_ctx *rc, struct router *r, struct address *addr, struct host *h) {
  addr->host_list = h;
  enum route_result res = route_accept_common(rc, r, addr);
  if (res != ROUTE_OK) return res;
  route_queue_add(rc, r, addr);
  return ROUTE_OK;
}

/* A sender's domain is widened only when nothing would have to be rewritten for it. */
static bool may_widen(const struct route_ctx *rc, const struct dnslookup_options *ob) {
  return ob->widen_domains && (rc->verify != VERIFY_SENDER || !ob->rewrite_headers);
}

/* The DNS knows the domain under a longer name: by widen_domains, qualify_single or search_parents.  A wildcard's name is none. */
static const char *full_name(const char *asked, const char *fqdn) {
  return fqdn && *fqdn != '*' && !dns_name_eq(fqdn, asked) ? fqdn : asked;
}

/* What a search in the DNS has found. */
struct search {
  struct host *h;   /* the hosts, in their order; without any, the name that was tried last */
  const char *name; /* addr's domain, with an ending of widen_domains when nothing was found without */
  bool removed;     /* this host was an MX, and it and those after it were left out */
};

static enum host_find search_hosts(struct route_ctx *rc, const struct address *addr, const struct dnslookup_options *ob,
                                   const struct host_find_opts *o, struct search *s) {
  struct arena *a = rc->x->a;
  const char *fqdn = NULL, *widen = may_widen(rc, ob) ? ob->widen_domains : NULL, *ending;
  int sep = 0;
  enum host_find found;
  s->name = addr->domain;
  for (;;) {
    s->h = ARENA_NEW(a, struct host);
    s->h->name = s->name;
    s->h->mx = -1;
    narrate_indent(1);
    found = host_find_bydns(rc->x, s->h, o, &fqdn, &s->removed);
    narrate_indent(-1);
    if (found != HOST_FIND_FAILED || !widen || !(ending = list_next(a, &widen, &sep))) break;
    s->name = arena_printf(a, "%s.%s", addr->domain, ending);
  }
  if (found == HOST_FOUND || found == HOST_FOUND_LOCAL) s->name = full_name(s->name, fqdn);
  return found;
}

static enum route_result dnslookup_route(struct route_ctx *rc, struct router *r, struct address *addr) {
  const struct dnslookup_options *ob = r->ob;
  struct host_find_opts o = {.srv_fail_domains = ob->srv_fail_domains,
                             .mx_fail_domains = ob->mx_fail_domains,
                             .ignore_target_hosts = r->o.ignore_target_hosts,
                             .dnssec_request_domains = r->o.dnssec_request_domains,
                             .dnssec_require_domains = r->o.dnssec_require_domains,
                             .for_router = true,
                             .keep_useless = rc->verify == VERIFY_TEST};
  bool mx_unknown = false;
  enum route_result res = how_to_look(rc, r, addr, ob, &o, &mx_unknown);
  if (res != ROUTE_OK) return res;
  struct search s = {0};
  enum host_find found = search_hosts(rc, addr, ob, &o, &s);
  if ((found == HOST_FOUND || found == HOST_FOUND_LOCAL) && s.name != addr->domain)
    return route_change_domain(rc, r, addr, s.name, ob->rewrite_headers);
  switch (found) {
    case HOST_FIND_AGAIN:
      if (r->o.pass_on_timeout) return ROUTE_PASS;
      addr->message = "host lookup did not complete";
      return ROUTE_DEFER;
    case HOST_FIND_SECURITY:
      addr->message = "host lookup done insecurely";
      return ROUTE_DEFER;
    case HOST_IGNORED: return ROUTE_DECLINE;
    case HOST_FIND_FAILED:
      if (!mx_unknown || s.h->mx >= 0 || !*s.h->name) return lookup_failed(rc, addr, ob, s.h);
      addr->message = "lookup defer for mx_domains";
      return ROUTE_DEFER;
    case HOST_FOUND_LOCAL:
      res = route_self_action(rc, r, addr, s.h);
      return res == ROUTE_OK ? found_hosts(rc, r, addr, s.h) : res;
    case HOST_FOUND: break;
  }
  if (ob->check_secondary_mx && !s.removed) return ROUTE_DECLINE;
  addr->we_are_an_mx = s.removed;
  return found_hosts(rc, r, addr, s.h);
}

const struct router_driver dnslookup_router = {.name = "dnslookup",
                                               .options = dnslookup_options,
                                               .option_count = ARRAY_SIZE(dnslookup_options),
                                               .ob_size = sizeof(struct dnslookup_options),
                                               .init = route_init_needs_transport,
                                               .route = dnslookup_route};
