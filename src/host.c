/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hosts: names to addresses by the system's means, host lists, "is it us".  Floor: drivers.  Manual ch. 13, 20, 30.
 *
 * Names are hostile when they come from the DNS or an address.  Results lie in the context's arena.  A temporary failure of the name
 * service is HOST_FIND_AGAIN, never "no such host". */

#include "host.h"

#include <netdb.h>
#include <sys/socket.h>

#include "base/rand.h"
#include "conn.h"
#include "host_priv.h"
#include "os/debug.h"
#include "os/log.h"
#include "os/net.h"
#include "policy/match.h"
#include "policy/narrate.h"

bool host_is_local(struct expand_ctx *x, const char *ip) { return match_is_local_ip(x, ip); }

bool host_is_ignored(struct expand_ctx *x, const struct host_find_opts *o, const char *name, const char *address) {
  if (!o || !o->ignore_target_hosts) return false;
  struct host *outer = x->host;
  struct host one = {.name = name, .address = address, .mx = -1};
  x->host = &one; /* the list may ask for $host_address */
  bool is_ignored = match_this_host(x, "ignore_target_hosts", o->ignore_target_hosts, name, address) == OUTCOME_OK;
  x->host = outer;
  return is_ignored;
}

bool host_name_in(struct expand_ctx *x, const char *name, const char *list) {
  return match_domain(x, name, list, NULL) == OUTCOME_OK;
}

static bool in_dnssec_list(struct expand_ctx *x, const struct host_find_opts *o, const char *name, const char *option, const char *list) {
  struct match_opts mo = {.caseless = true, .allow_named = true, .name = o && o->for_router ? option : NULL};
  narrate_indent(1);
  bool yes = match_list(x, LIST_DOMAIN, name, list, &mo) == OUTCOME_OK;
  narrate_indent(-1);
  return yes;
}

bool host_wants_dnssec(struct expand_ctx *x, const struct host_find_opts *o, const char *name, bool *ret_required) {
  if (o && o->dnssec_decided) {
    *ret_required = o->dnssec_required;
    return o->dnssec_wanted;
  }
  narrate(x, D_DNS, "check dnssec require list");
  *ret_required = in_dnssec_list(x, o, name, "dnssec_require_domains", o ? o->dnssec_require_domains : NULL);
  narrate(x, D_DNS, "check dnssec request list");
  bool wanted = in_dnssec_list(x, o, name, "dnssec_request_domains", o ? o->dnssec_request_domains : NULL);
  return wanted || *ret_required;
}

/* ---- lists of hosts ---- */

static int parse_port(struct str s) {
  int port;
  return str_parse_int(s, &port) && port > 0 && port < 65536 ? port : 0;
}

int host_port_split(struct arena *a, const char **text) {
  struct str s = str_c(*text);
  struct ip ip;
  if (s.n > 0 && s.p[0] == '[') {
    size_t close = str_index(s, ']');
    if (close == s.n) return 0;
    int port = close + 1 < s.n && s.p[close + 1] == ':' ? parse_port(str_n(s.p + close + 2, s.n - close - 2)) : 0;
    *text = arena_strndup(a, s.p + 1, close - 1);
    return port;
  }
  if (ip_parse(s, &ip)) return 0;
  const char *colon = strrchr(*text, ':'), *dot = strrchr(*text, '.');
  if (dot && ip_parse(str_n(s.p, (size_t)(dot - s.p)), &ip)) {
    int port = parse_port(str_c(dot + 1));
    if (port) *text = arena_strndup(a, s.p, (size_t)(dot - s.p));
    return port;
  }
  if (!colon || memchr(s.p, ':', (size_t)(colon - s.p))) return 0;
  int port = parse_port(str_c(colon + 1));
  if (port) *text = arena_strndup(a, s.p, (size_t)(colon - s.p));
  return port;
}

/* Put h behind the hosts of the same group that sort before it. */
static void insert_sorted(struct host **list, struct host *h) {
  while (*list && ((*list)->mx > h->mx || ((*list)->mx == h->mx && (*list)->sort_key <= h->sort_key))) list = &(*list)->next;
  h->next = *list;
  *list = h;
}

struct host *host_build_list(struct expand_ctx *x, const char *list, bool randomize) {
  struct host *first = NULL;
  const char *item;
  int sep = 0, group = -1, part = 0;
  while ((item = list_next(x->a, &list, &sep)) != NULL) {
    if (strcmp(item, "+") == 0) {
      group--;
      part++;
      continue;
    }
    if (!*item) continue;
    struct host *h = ARENA_NEW(x->a, struct host);
    h->name = item;
    h->port = host_port_split(x->a, &h->name);
    /* Without shuffling each host is a group of its own, so that the order stays. */
    h->mx = group;
    h->group = part;
    h->is_shuffled = randomize;
    h->sort_key = randomize ? (int)rand_below(HOST_SHUFFLE) : 0;
    if (!randomize) group--;
    insert_sorted(&first, h);
  }
  return first;
}

/* ---- by name ---- */

static struct host *append_address(struct expand_ctx *x, struct host *first, struct host *last, const char *address) {
  if (!first->address) {
    first->address = address;
    return first;
  }
  struct host *h = ARENA_NEW(x->a, struct host);
  *h = *last;
  h->address = address;
  last->next = h;
  return h;
}

static enum host_find settle_local(struct expand_ctx *x, const struct host *h) {
  return host_is_local(x, h->address) ? HOST_FOUND_LOCAL : HOST_FOUND;
}

static enum host_find narrate_found(struct expand_ctx *x, struct host *first, const struct host *last, const char *fqdn) {
  bool local = false;
  for (const struct host *h = first; !local; h = h->next) {
    local = settle_local(x, h) == HOST_FOUND_LOCAL;
    if (h == last) break;
  }
  if (fqdn) { /* a router asks */
    if (local) narrate(x, D_HOST_LOOKUP, "local host found for non-MX address");
    narrate(x, D_HOST_LOOKUP, "fully qualified name = %s", fqdn);
  }
  narrate(x, D_HOST_LOOKUP, "get[host|ipnode]byname[2] looked up these IP addresses:");
  for (const struct host *h = first;; h = h->next) {
    narrate(x, D_HOST_LOOKUP, "  name=%s address=%s", h->name, h->address);
    if (h == last) break;
  }
  return local ? HOST_FOUND_LOCAL : HOST_FOUND;
}

static bool wants_v4_only(struct expand_ctx *x, const struct host *h, const struct host_find_opts *o) {
  if (x->cfg->o.disable_ipv6 || (o && o->how & HOST_FIND_IPV4_ONLY)) return true;
  return x->cfg->o.dns_ipv4_lookup && host_name_in(x, h->name, x->cfg->o.dns_ipv4_lookup);
}

/* The harness has no system name service: its fake DNS answers, in the order of its records, and "localhost" is what it always is. */
static enum host_find find_in_harness(struct expand_ctx *x, struct host *h, const struct host_find_opts *o, struct host **ret_last) {
  static const int types[] = {DNS_T_AAAA, DNS_T_A};
  bool v4_only = wants_v4_only(x, h, o), again = false;
  if (strcmpic(h->name, "localhost") == 0) {
    *ret_last = append_address(x, h, h, "127.0.0.1");
    return HOST_FOUND;
  }
  for (size_t i = v4_only ? 1 : 0; i < ARRAY_SIZE(types); i++) {
    struct dns_answer ans = {0};
    enum dns_status st = dns_lookup(x, h->name, types[i], NULL, &ans, NULL);
    if (st == DNS_AGAIN || st == DNS_FAIL) again = true;
    if (st != DNS_SUCCEED) continue;
    for (const struct dns_rr *rr = ans.answers; rr; rr = rr->next) *ret_last = append_address(x, h, *ret_last, rr->address);
  }
  return h->address ? HOST_FOUND : again ? HOST_FIND_AGAIN : HOST_FIND_FAILED;
}

static enum host_find find_by_system(struct expand_ctx *x, struct host *h, const struct host_find_opts *o, struct host **ret_last,
                                     const char **ret_fqdn) {
  bool v4_only = wants_v4_only(x, h, o);
  struct addrinfo hints = {.ai_family = v4_only ? AF_INET : AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_CANONNAME}, *list = NULL;
  int rc = getaddrinfo(h->name, NULL, &hints, &list);
  if (rc != 0) {
    DEBUG(D_HOST_LOOKUP) debug_printf("getaddrinfo(%s): %s\n", h->name, gai_strerror(rc));
    return rc == EAI_NONAME || rc == EAI_NODATA || rc == EAI_FAIL ? HOST_FIND_FAILED : HOST_FIND_AGAIN;
  }
  struct host *last = h;
  for (struct addrinfo *ai = list; ai; ai = ai->ai_next) {
    char text[NI_MAXHOST];
    if (getnameinfo(ai->ai_addr, ai->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0)
      last = append_address(x, h, last, arena_strdup_t(x->a, text, UNTAINTED));
  }
  if (ret_fqdn && list->ai_canonname) *ret_fqdn = arena_strdup_t(x->a, list->ai_canonname, TAINTED);
  freeaddrinfo(list);
  *ret_last = last;
  return h->address ? HOST_FOUND : HOST_FIND_FAILED;
}

/* Drop the addresses that are to be ignored; false when none is left. */
static bool drop_ignored(struct expand_ctx *x, struct host *h, struct host **last, const struct host_find_opts *o) {
  struct host *end = (*last)->next, *kept_last = NULL;
  for (struct host *p = h; p != end; p = p->next) {
    if (host_is_ignored(x, o, p->name, p->address)) continue;
    if (!kept_last) {
      h->address = p->address;
      kept_last = h;
    } else {
      kept_last = kept_last->next;
      kept_last->address = p->address;
    }
  }
  if (!kept_last) return false;
  kept_last->next = end;
  *last = kept_last;
  return true;
}

enum host_find host_find_byname(struct expand_ctx *x, struct host *h, const struct host_find_opts *o, const char **ret_fqdn) {
  struct ip ip;
  struct host *last = h;
  if (ret_fqdn) *ret_fqdn = h->name;
  if (ip_parse(str_c(h->name), &ip)) {
    if (ip.family == 6 && x->cfg->o.disable_ipv6) return HOST_IGNORED;
    h->address = h->name;
    return host_is_ignored(x, o, h->name, h->address) ? HOST_IGNORED : settle_local(x, h);
  }
  enum host_find found = x->cfg->harness_mode ? find_in_harness(x, h, o, &last) : find_by_system(x, h, o, &last, ret_fqdn);
  if (found != HOST_FOUND && found != HOST_FOUND_LOCAL) return found;
  if (!drop_ignored(x, h, &last, o)) {
    h->address = NULL;
    return HOST_IGNORED;
  }
  return narrate_found(x, h, last, ret_fqdn ? *ret_fqdn : NULL);
}

/* ---- hooks ---- */

enum outcome host_hook_resolve(struct expand_ctx *x, const char *name, struct vec *ret_ips) {
  struct host h = {.name = name};
  enum host_find found = host_find_byname(x, &h, NULL, NULL);
  if (found == HOST_FIND_AGAIN || found == HOST_FIND_SECURITY) return OUTCOME_DEFER;
  if (found != HOST_FOUND && found != HOST_FOUND_LOCAL) return OUTCOME_FAIL;
  for (const struct host *p = &h; p; p = p->next) {
    struct ip *ip = ARENA_NEW(x->a, struct ip);
    if (p->address && ip_parse(str_c(p->address), ip)) vec_push(ret_ips, ip);
  }
  return ret_ips->n ? OUTCOME_OK : OUTCOME_FAIL;
}

static enum outcome hook_addresses(struct expand_ctx *x, const char *name, struct vec *ret) {
  struct host h = {.name = name};
  enum host_find found = host_find_byname(x, &h, NULL, NULL);
  const char *who = x->conn ? x->conn->from.fullhost : NULL;
  const char *text = arena_printf(x->a, "no IP address found for host %s%s%s%s", name, who ? " (during SMTP connection from " : "",
                                  who ? who : "", who ? ")" : "");
  if (found == HOST_FIND_AGAIN) {
    struct match_opts again = {.caseless = true, .allow_named = true, .name = "dns_again_means_nonexist"};
    narrate(x, D_HOST_LOOKUP, "%s", text);
    /* asked of the resolver already; readers of -bh are used to see it a second time */
    if (narrate_wanted(x, D_HOST_LOOKUP)) (void)match_list(x, LIST_DOMAIN, name, x->cfg->o.dns_again_means_nonexist, &again);
    return OUTCOME_DEFER;
  }
  for (struct host *p = &h; p; p = p->next)
    if (p->address) vec_push(ret, arena_strdup(x->a, p->address));
  if (ret->n == 0) {
    narrate(x, D_HOST_LOOKUP, "%s", text);
    log_write(LS_HOST_LOOKUP_FAILED, LOG_MAIN, "%s", text);
  }
  return ret->n ? OUTCOME_OK : OUTCOME_FAIL;
}

static enum outcome hook_sender_name(struct expand_ctx *x) {
  const char *msg = NULL;
  return host_name_lookup(x, &msg);
}

void host_hook_sender_name(struct expand_ctx *x) {
  const char *msg = NULL;
  if (host_name_lookup(x, &msg) != OUTCOME_OK) DEBUG(D_HOST_LOOKUP) debug_printf("no name for the peer\n");
}

void host_init(void) {
  static const struct match_hooks hooks = {hook_sender_name, hook_addresses, host_mx_is_local};
  static const struct expand_hooks for_expand = {.resolve = host_hook_resolve, .sender_host_name = host_hook_sender_name};
  match_set_hooks(&hooks);
  expand_set_hooks(&for_expand);
}
