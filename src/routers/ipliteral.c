/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ipliteral router: domains like [192.0.2.1] and [IPv6:2001:db8::1].  Floor: drivers.  Manual ch. 18. */
#include "host.h"
#include "policy/match.h"
#include "router.h"
#include "routers/routers_priv.h"

/* The address inside the brackets, NULL when the domain is no literal. */
static const char *literal_ip(struct arena *a, const char *domain) {
  size_t n = strlen(domain);
  if (n < 3 || domain[0] != '[' || domain[n - 1] != ']') return NULL;
  struct str s = str_n(domain + 1, n - 2);
  if (str_startsic(s, STR("ipv6:")) || str_startsic(s, STR("ipv4:"))) s = str_n(s.p + 5, s.n - 5);
  struct ip ip;
  return ip_parse(s, &ip) ? str_dup(a, s) : NULL;
}

static enum route_result ipliteral_route(struct route_ctx *rc, struct router *r, struct address *addr) {
  struct arena *a = rc->x->a;
  const char *ip = literal_ip(a, addr->domain);
  if (!ip || (rc->x->cfg->o.disable_ipv6 && strchr(ip, ':'))) return ROUTE_DECLINE;
  if (r->o.ignore_target_hosts) {
    enum outcome o = match_this_host(rc->x, "ignore_target_hosts", r->o.ignore_target_hosts, addr->domain, ip);
    if (o == OUTCOME_OK) return ROUTE_DECLINE;
    if (o != OUTCOME_FAIL) {
      addr->message = "ignore_target_hosts lookup deferred";
      return ROUTE_DEFER;
    }
  }
  struct host *h = ARENA_NEW(a, struct host);
  h->name = arena_strdup(a, addr->domain);
  h->address = ip;
  h->mx = -1;
  if (host_is_local(rc->x, ip)) {
    enum route_result res = route_self_action(rc, r, addr, h);
    if (res != ROUTE_OK) return res;
  }
  addr->host_list = h;
  enum route_result res = route_accept_common(rc, r, addr);
  if (res != ROUTE_OK) return res;
  route_queue_add(rc, r, addr);
  return ROUTE_OK;
}

const struct router_driver ipliteral_router = {.name = "ipliteral", .init = route_init_needs_transport, .route = ipliteral_route};
