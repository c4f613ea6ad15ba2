/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The manualroute router: host lists from the configuration or a lookup.  Floor: drivers.  Manual ch. 20.
 *
 * A rule is "pattern hosts options" (route_list) or "hosts options" (route_data); the parts may be quoted.  The host part is expanded
 * once more with $0.. and $value from the pattern.  Memory: the context's arena.  same_domain_copy_routing needs no code here: answers of
 * the resolver are cached for the life of the process, so routing every address by itself gives the same lists at no cost. */
#include "host.h"
#include "os/log.h"
#include "policy/match.h"
#include "router.h"
#include "routers/routers_priv.h"
#include "transport.h"

struct manualroute_options {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "routers/manualroute_options.def"
#undef OPT_ROW
};

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct manualroute_options, n, t, d, f)
static const struct option manualroute_options[] = {
#include "routers/manualroute_options.def"
};
#undef OPT_ROW

struct rule_options {
  bool randomize, byname, bydns, ipv4_only, ipv4_first;
  struct transport *transport;
};

/* The next word of a rule; double quotes with backslash escapes enclose one with spaces. */
static const char *rule_word(struct arena *a, struct str *s) {
  *s = str_ltrim(*s);
  if (s->n == 0 || s->p[0] != '"') return str_dup(a, str_word(s));
  struct strbuf b = strbuf_new(a);
  size_t i = 1;
  for (; i < s->n && s->p[i] != '"'; i++) {
    if (s->p[i] == '\\' && i + 1 < s->n) i++;
    strbuf_add(&b, s->p + i, 1);
  }
  if (i < s->n) i++;
  s->p += i;
  s->n -= i;
  return b.p;
}

static const char *rule_options_parse(struct route_ctx *rc, struct str s, struct rule_options *o) {
  struct arena *a = rc->x->a;
  for (struct str here = s, w = str_word(&s); w.n; here = s, w = str_word(&s)) {
    if (str_eq_c(w, "randomize")) o->randomize = true;
    else if (str_eq_c(w, "no_randomize")) o->randomize = false;
    else if (str_eq_c(w, "byname")) o->byname = true;
    else if (str_eq_c(w, "bydns") || str_eq_c(w, "bydns_a")) o->bydns = true;
    else if (str_eq_c(w, "bydns_mx")) return "routing option \"bydns_mx\" is obsolete: use /MX behind the host name";
    else if (str_eq_c(w, "ipv4_only")) o->ipv4_only = true;
    else if (str_eq_c(w, "ipv4_prefer")) o->ipv4_first = true;
    else {
      o->transport = config_transport(rc->x->cfg, str_dup(a, w));
      if (!o->transport) return arena_printf(a, "unknown routing option or transport name \"%s\"", str_dup(a, str_trim(here)));
    }
  }
  return NULL;
}

/* The pattern is one item of a domain list, taken as it stands: it is not expanded. */
static enum outcome pattern_matches(struct expand_ctx *x, const char *domain, const char *pattern, const char **ret_value) {
  struct match_opts o = {.caseless = true, .allow_named = true, .no_expand = true, .single_item = true, .ret_value = ret_value};
  return match_list(x, LIST_DOMAIN, domain, pattern, &o);
}

/* The rule of route_list that fits: ROUTE_OK with the text behind the pattern. */
static enum route_result find_rule(struct route_ctx *rc, const struct manualroute_options *ob, struct address *addr,
                                   struct str *ret) {
  struct expand_ctx *x = rc->x;
  const char *pos = ob->route_list, *item;
  int sep = -';';
  while ((item = list_next(x->a, &pos, &sep))) {
    if (!*item) continue;
    struct str s = str_c(item);
    const char *pattern = rule_word(x->a, &s), *value = NULL;
    x->s.ncaptures = 0;
    enum outcome o = pattern_matches(x, addr->domain, pattern, &value);
    if (o == OUTCOME_FAIL) continue;
    if (o != OUTCOME_OK) {
      addr->message = "lookup defer in route_list";
      return ROUTE_DEFER;
    }
    x->s.value = value;
    if (x->s.ncaptures == 0) {
      x->s.captures[0] = addr->domain;
      x->s.ncaptures = 1;
    }
    *ret = s;
    return ROUTE_OK;
  }
  return ROUTE_DECLINE;
}

static enum route_result find_route_data(struct route_ctx *rc, const struct manualroute_options *ob, struct address *addr, struct str *ret) {
  const char *s = expand_string(rc->x, ob->route_data);
  if (s && *s) {
    *ret = str_c(s);
    return ROUTE_OK;
  }
  if (s || rc->x->forced_fail) return ROUTE_DECLINE;
  addr->message = arena_printf(rc->x->a, "failed to expand \"%s\": %s", ob->route_data, rc->x->error ? rc->x->error : "");
  return ROUTE_DEFER;
}

static enum route_result find_hosts(struct route_ctx *rc, struct router *r, const struct manualroute_options *ob,
                                    struct address *addr, struct host *hosts, const struct rule_options *ro) {
  struct host_find_opts ho = {.how = ro->byname && !ro->bydns ? 0u : HOST_FIND_BY_A | HOST_FIND_BY_AAAA,
                              .ignore_target_hosts = r->o.ignore_target_hosts,
                              .dnssec_request_domains = r->o.dnssec_request_domains,
                              .dnssec_require_domains = r->o.dnssec_require_domains,
                              .for_router = true};
  if (ro->ipv4_only) ho.how |= HOST_FIND_IPV4_ONLY;
  if (ro->ipv4_first) ho.how |= HOST_FIND_IPV4_FIRST;
  enum route_result res = route_lookup_hosts(rc, r, addr, hosts, !ro->bydns, ob->host_find_failed, &ho);
  if (res != ROUTE_OK || addr->host_list) return res;
  addr->message = arena_printf(rc->x->a, "lookup failed for all hosts in %s router: host_find_failed=%s host_all_ignored=%s", r->name,
                               ob->host_find_failed, ob->host_all_ignored);
  addr->basic_errno = ERRNO_UNKNOWNHOST;
  return route_failure_word(addr, ob->host_all_ignored);
}

/* The rule for the address, taken apart: *ret_list is its list of hosts, expanded. */
static enum route_result take_rule(struct route_ctx *rc, const struct router *r, struct address *addr, const char **ret_list,
                                   struct rule_options *ro) {
  const struct manualroute_options *ob = r->ob;
  struct expand_ctx *x = rc->x;
  struct str rule;
  enum route_result res = ob->route_list ? find_rule(rc, ob, addr, &rule) : find_route_data(rc, ob, addr, &rule);
  if (res != ROUTE_OK) return res;
  const char *host_text = rule_word(x->a, &rule), *error = rule_options_parse(rc, rule, ro);
  if (error) {
    log_write(LS_ALWAYS, LOG_MAIN, "Error in %s router: %s", r->name, error);
    addr->message = arena_printf(x->a, "error in router: %s", error);
    return ROUTE_DEFER;
  }
  *ret_list = expand_string(x, host_text);
  if (*ret_list) return ROUTE_OK;
  if (x->forced_fail) return ROUTE_DECLINE;
  addr->message = arena_printf(x->a, "%s router: failed to expand \"%s\": %s", r->name, host_text, x->error ? x->error : "");
  return ROUTE_DEFER;
}

/* For a local transport the text of the list is what $host says. */
static struct host *host_of_text(struct arena *a, const char *text) {
  struct host *h = ARENA_NEW(a, struct host);
  h->name = text;
  h->mx = -1;
  return h;
}

static enum route_result manualroute_route(struct route_ctx *rc, struct router *r, struct address *addr) {
  const struct manualroute_options *ob = r->ob;
  struct rule_options ro = {.randomize = ob->hosts_randomize};
  const char *list;
  enum route_result res = take_rule(rc, r, addr, &list, &ro);
  if (res != ROUTE_OK) return res;
  if (ro.transport) addr->transport = ro.transport;
  if (!addr->transport && r->o.transport) res = route_get_transport(rc, r, addr, false);
  if (res != ROUTE_OK) return res;
  /* Without a transport the hosts are looked up all the same: self= may pass the address on. */
  bool is_remote = !addr->transport || !addr->transport->driver->is_local;
  struct host *hosts = NULL;
  if (*list) hosts = is_remote ? host_build_list(rc->x, list, ro.randomize) : host_of_text(rc->x->a, list);
  bool is_to_deliver = rc->verify == VERIFY_NONE || rc->verify == VERIFY_TEST; /* a check asks no further where there is no transport */
  if (is_remote && !hosts && (addr->transport || is_to_deliver)) {
    addr->message = arena_printf(rc->x->a, "error in %s router: no host(s) specified for domain %s", r->name, addr->domain);
    log_write(LS_ALWAYS, LOG_MAIN, "%s", addr->message);
    return ROUTE_DEFER;
  }
  addr->host_list = hosts;
  if (is_remote && hosts) res = find_hosts(rc, r, ob, addr, hosts, &ro);
  if (res == ROUTE_OK && !addr->transport && is_to_deliver) {
    log_write(LS_ALWAYS, LOG_MAIN, "Error in %s router: no transport defined", r->name);
    addr->message = "error in router: transport missing";
    return ROUTE_DEFER;
  }
  if (res == ROUTE_OK) res = route_accept_common(rc, r, addr);
  if (res != ROUTE_OK) return res;
  route_queue_add(rc, r, addr);
  return ROUTE_OK;
}

static bool word_is_known(const char *s, bool allow_ignore) {
  static const char *const words[] = {"decline", "defer", "fail", "freeze", "pass"};
  for (size_t i = 0; i < ARRAY_SIZE(words); i++)
    if (strcmp(s, words[i]) == 0) return true;
  return allow_ignore && strcmp(s, "ignore") == 0;
}

static const char *manualroute_init(struct arena *a, struct config *c, struct router *r) {
  (void)c;
  const struct manualroute_options *ob = r->ob;
  if ((ob->route_list != NULL) == (ob->route_data != NULL))
    return arena_printf(a, "%s router:\n  route_list or route_data (but not both) must be specified", r->name);
  if (!word_is_known(ob->host_find_failed, true))
    return arena_printf(a, "%s router:\n  unrecognized setting for host_find_failed option", r->name);
  if (!word_is_known(ob->host_all_ignored, false))
    return arena_printf(a, "%s router:\n  unrecognized setting for host_all_ignored option", r->name);
  return NULL;
}

const struct router_driver manualroute_router = {.name = "manualroute",
                                                 .options = manualroute_options,
                                                 .option_count = ARRAY_SIZE(manualroute_options),
                                                 .ob_size = sizeof(struct manualroute_options),
                                                 .init = manualroute_init,
                                                 .route = manualroute_route};
