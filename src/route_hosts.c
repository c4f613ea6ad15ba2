/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Host lists of routers: looking up addresses, self=, host_find_failed=.  Floor: drivers.  Manual ch. 15 (self), 17, 20.
 *
 * Names come from configuration or lookups and may be hostile; what the DNS says is tainted and stays so.  A temporary lookup
 * problem defers the address (or passes it on with pass_on_timeout), it never fails it. */
#include "route_priv.h"

#include "host.h"
#include "message.h"
#include "os/debug.h"
#include "os/log.h"
#include "policy/narrate.h"
#include "policy/rewrite.h"

enum route_result route_failure_word(struct address *addr, const char *word) {
  if (strcmp(word, "decline") == 0) return ROUTE_DECLINE;
  if (strcmp(word, "pass") == 0) return ROUTE_PASS;
  if (strcmp(word, "fail") == 0) return ROUTE_FAIL;
  if (strcmp(word, "freeze") == 0) addr->special_action = SPECIAL_FREEZE;
  return ROUTE_DEFER;
}

/* The lines of the message say the full name too, where they said the short one. */
static void rewrite_domain_in_headers(struct expand_ctx *x, const char *old, const char *new) {
  struct message *m = x->msg;
  for (struct header_line *h = m->headers; h; h = h->next) {
    const char *text = strchr("BCFRST", h->type) ? rewrite_header_domain(x, h, old, new) : NULL;
    if (!text) continue;
    struct header_line *changed = ARENA_NEW(m->arena, struct header_line);
    *changed = (struct header_line){.next = h->next, .text = arena_strdup(m->arena, text), .n = strlen(text), .type = h->type};
    if (m->headers_tail == &h->next) m->headers_tail = &changed->next;
    h->next = changed;
    h->type = '*';
    h = changed;
  }
}

enum route_result route_change_domain(struct route_ctx *rc, struct router *r, struct address *addr, const char *domain, bool rewrite) {
  struct arena *a = rc->x->a;
  const char *local = addr_quote_local_part(a, str_c(addr->cc_local_part));
  if (rewrite && rc->verify == VERIFY_NONE && rc->x->msg) rewrite_domain_in_headers(rc->x, addr->domain, domain);
  struct address *child = address_child(a, addr, arena_printf(a, "%s@%s", local, domain));
  addr->router = r;
  child->start_router = r->redirect_router;
  rc->renamed = child->address;
  child->next = *rc->children;
  *rc->children = child;
  return ROUTE_REROUTED;
}

static enum route_result self_reroute(struct route_ctx *rc, struct router *r, struct address *addr, const char *text) {
  struct str s = str_trim(str_c(text));
  bool rewrite = str_startsic(s, STR("rewrite:"));
  if (rewrite) s = str_trim(str_n(s.p + 8, s.n - 8));
  return route_change_domain(rc, r, addr, str_dup(rc->x->a, s), rewrite);
}

/* Verifying for a host that is connected. */
static bool is_in_acl(const struct route_ctx *rc) {
  return rc->verify != VERIFY_NONE && rc->verify != VERIFY_TEST && rc->x->conn && rc->x->conn->from.fullhost;
}

enum route_result route_self_action(struct route_ctx *rc, struct router *r, struct address *addr, struct host *host) {
  const char *what = host->mx >= 0 ? "lowest numbered MX record points to local host" : "remote host address is the local host";
  const char *self = r->o.self;
  addr->message = what;
  if (strcmp(self, "send") == 0) {
    addr->message = NULL;
    return ROUTE_OK;
  }
  if (str_startsic(str_c(self), STR("reroute:"))) {
    addr->message = NULL;
    return self_reroute(rc, r, addr, self + 8);
  }
  if (strcmp(self, "pass") == 0) { /* the message stays, for the case that nobody takes the address */
    addr->self_hostname = host->name;
    return ROUTE_PASS;
  }
  if (strcmp(self, "fail") == 0) return ROUTE_FAIL;
  addr->basic_errno = ERRNO_UNKNOWNERROR;
  if (strcmp(self, "freeze") == 0) {
    addr->special_action = SPECIAL_FREEZE;
    log_write(LS_ALWAYS, LOG_MAIN, "%s: %s (while %s <%s>%s)", what, addr->domain, is_in_acl(rc) ? "verifying" : "routing", addr->address,
              is_in_acl(rc) ? arena_printf(rc->x->a, " from host %s", rc->x->conn->from.fullhost) : "");
  } else if (strcmp(self, "defer") != 0) {
    addr->message = arena_printf(rc->x->a, "bad value \"%s\" of option \"self\" in %s router", self, r->name);
  }
  return ROUTE_DEFER;
}

static enum host_find find_byname(struct route_ctx *rc, struct host *h, const struct host_find_opts *o, const char **ret_fqdn) {
  enum host_find found = host_find_byname(rc->x, h, o, ret_fqdn);
  if (found == HOST_FIND_FAILED && rc->verify == VERIFY_NONE)
    log_write(LS_HOST_LOOKUP_FAILED, LOG_MAIN, "no IP address found for host %s", h->name);
  return found;
}

/* One list item; the chain that replaces it starts with h and ends with the old rest of the list. */
static enum host_find find_one(struct route_ctx *rc, struct host *h, bool byname, const struct host_find_opts *o,
                               bool *ret_was_mx) {
  struct host *rest = h->next;
  h->next = NULL;
  struct host_find_opts lo = *o;
  size_t n = strlen(h->name);
  enum host_find found;
  const char *fqdn = NULL;
  bool removed = false;
  *ret_was_mx = n > 3 && strcmpic(h->name + n - 3, "/mx") == 0;
  struct ip ip;
  if (*ret_was_mx) {
    h->name = arena_strndup(rc->x->a, h->name, n - 3);
    lo.how = HOST_FIND_BY_MX | (o->how & (HOST_FIND_IPV4_ONLY | HOST_FIND_IPV4_FIRST));
    found = host_find_bydns(rc->x, h, &lo, &fqdn, &removed);
  } else if (ip_parse(str_c(h->name), &ip) || (byname && (o->how & (HOST_FIND_BY_A | HOST_FIND_BY_AAAA)) == 0)) {
    found = find_byname(rc, h, &lo, &fqdn);
  } else {
    lo.how |= HOST_FIND_BY_A | HOST_FIND_BY_AAAA;
    found = host_find_bydns(rc->x, h, &lo, &fqdn, &removed);
    if (found == HOST_FIND_FAILED && byname) {
      h->next = NULL;
      found = find_byname(rc, h, &lo, &fqdn);
    }
  }
  struct host *tail = h;
  while (tail->next) tail = tail->next;
  tail->next = rest;
  return found;
}

static bool is_name(const char *s) {
  const char *p = s;
  while (ch_isalnum(*p) || *p == '.' || *p == '-' || *p == '_' || (unsigned char)*p >= 0x80) p++;
  return p > s && *p == '\0';
}

static enum route_result find_problem(struct route_ctx *rc, struct router *r, struct address *addr, const struct host *h,
                                      enum host_find found, const char *host_find_failed) {
  struct arena *a = rc->x->a;
  if (found == HOST_FIND_SECURITY) {
    addr->message = "host lookup done insecurely";
    return ROUTE_DEFER;
  }
  if (found == HOST_FIND_AGAIN) {
    if (r->o.pass_on_timeout) return ROUTE_PASS;
    addr->message = arena_printf(a, "host lookup for %s did not complete (DNS timeout?)", h->name);
    addr->basic_errno = ERRNO_DNSDEFER;
    return ROUTE_DEFER;
  }
  addr->message = arena_printf(a, "lookup of host \"%s\" failed in %s router%s", h->name, r->name, is_name(h->name) ? "" : ": syntax error in name");
  addr->basic_errno = ERRNO_UNKNOWNHOST;
  enum route_result res = route_failure_word(addr, host_find_failed);
  if (res == ROUTE_DECLINE || res == ROUTE_PASS) addr->message = NULL;
  return res;
}

enum route_result route_lookup_hosts(struct route_ctx *rc, struct router *r, struct address *addr, struct host *hosts,
                                     bool byname, const char *host_find_failed, const struct host_find_opts *o) {
  struct host *list = hosts, **link = &list;
  bool is_first = true, self_send = false;
  while (*link) {
    struct host *h = *link, *rest = h->next;
    bool was_mx = false;
    enum host_find found = HOST_FOUND;
    narrate_indent(1);
    if (!h->address) found = find_one(rc, h, byname, o, &was_mx);
    narrate_indent(-1);
    switch (found) {
      case HOST_IGNORED: /* addresses that must not be used are as none */
      case HOST_FIND_FAILED:
        if (strcmp(host_find_failed, "ignore") == 0) {
          *link = rest;
          continue;
        }
        return find_problem(rc, r, addr, h, found, host_find_failed);
      case HOST_FIND_AGAIN:
      case HOST_FIND_SECURITY: return find_problem(rc, r, addr, h, found, host_find_failed);
      case HOST_FOUND_LOCAL:
        if (self_send) break; /* who sends to itself once does not mind a second time */
        if (!is_first) {
          /* The local host further down: it and what follows is cut off. */
          *link = NULL;
          continue;
        }
        if (!was_mx) h->mx = -1;
        enum route_result res = route_self_action(rc, r, addr, h);
        if (res != ROUTE_OK) return res;
        self_send = true;
        break;
      case HOST_FOUND: break;
    }
    is_first = false;
    while (*link != rest) link = &(*link)->next;
  }
  addr->host_list = list;
  return ROUTE_OK;
}
