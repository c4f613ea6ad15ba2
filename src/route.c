/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Routing one address: the loop over the routers and what follows a driver's answer.  Floor: drivers.  Manual ch. 3, 15.
 *
 * route_address() tries the routers from addr->start_router (or the first) on.  A router is skipped for an address that an ancestor with the
 * same text already gave to it.  Decline goes on to the next router unless "more" is false; pass always goes on; a deferral stays a
 * deferral.  All memory comes from the arena of the context, which lives as long as the message. */
#include "route_priv.h"

#include "host.h"
#include "message.h"
#include "os/debug.h"
#include "os/log.h"
#include "policy/match.h"
#include "policy/narrate.h"
#include "transport.h"

/* What expansions see while this router works on addr. */
static void route_set_context(struct route_ctx *rc, struct router *r, struct address *addr) {
  struct expand_ctx *x = rc->x;
  x->addr = addr;
  x->router = r;
  x->router_name = r ? r->name : NULL;
  x->self_hostname = addr->self_hostname;
  struct address *top = addr->parent ? address_top(addr) : NULL;
  x->original_domain = top ? top->domain : NULL;
  x->original_local_part = top ? address_local_part_given(x->a, top) : NULL;
  x->parent_domain = addr->parent ? addr->parent->domain : NULL;
  x->parent_local_part = addr->parent ? address_local_part_given(x->a, addr->parent) : NULL;
  x->forced_fail = x->lookup_deferred = false;
}

/* A boolean option that may be expanded; *ret untouched on DEFER. */
static enum route_result route_bool(struct route_ctx *rc, struct router *r, struct address *addr, const char *name,
                             const struct opt_bool_exp *o, bool *ret) {
  if (!o->expand) {
    *ret = o->value;
    return ROUTE_OK;
  }
  const char *s = expand_string(rc->x, o->expand);
  if (!s && rc->x->forced_fail) {
    *ret = o->value;
    return ROUTE_OK;
  }
  if (!s) {
    addr->message = arena_printf(rc->x->a, "failed to expand \"%s\" in %s router: %s", name, r->name,
                                 rc->x->error ? rc->x->error : "");
    return ROUTE_DEFER;
  }
  if (text_means_no(s)) {
    *ret = false;
  } else if (strcmpic(s, "yes") == 0 || strcmpic(s, "true") == 0 || strcmp(s, "1") == 0) {
    *ret = true;
  } else {
    addr->message = arena_printf(rc->x->a, "\"%s\" is not a valid value for the \"%s\" option in the %s router", s, name,
                                 r->name);
    return ROUTE_DEFER;
  }
  return ROUTE_OK;
}

/* Has an ancestor with the same address been through this router already (or any ancestor, without repeat_use)? */
static bool route_was_here(const struct router *r, const struct address *addr) {
  for (const struct address *p = addr->parent; p; p = p->parent) {
    if (p->router != r) continue;
    bool same_local = r->o.caseful_local_part ? strcmp(p->cc_local_part, addr->cc_local_part) == 0
                                              : strcmp(p->lc_local_part, addr->lc_local_part) == 0;
    if (same_local && strcmp(p->domain, addr->domain) == 0) return true;
  }
  return false;
}

static void route_reset_address(struct route_ctx *rc, struct router *r, struct address *addr) {
  struct expand_ctx *x = rc->x;
  addr->local_part = r->o.caseful_local_part ? addr->cc_local_part : addr->lc_local_part;
  addr->prefix = addr->prefix_v = addr->suffix = addr->suffix_v = NULL;
  addr->prop.domain_data = addr->prop.localpart_data = NULL;
  addr->message = addr->user_message = NULL;
  addr->basic_errno = addr->more_errno = 0;
  addr->uid_set = addr->gid_set = addr->initgroups = addr->local_user = false;
  addr->home_dir = addr->current_dir = NULL;
  addr->host_list = NULL;
  addr->transport = NULL;
  addr->special_action = SPECIAL_NONE;
  x->match = (struct match_data){0};
  x->home = x->local_user_uid_text = x->local_user_gid_text = NULL;
  x->s = (struct expand_scope){0};
  rc->pw = NULL;
}

void route_go_on(struct route_ctx *rc, struct router *r, struct address *addr) {
  struct address *rest = address_child(rc->x->a, addr, addr->address);
  rest->homonym = true;
  rest->prop.extra_headers = addr->prop.extra_headers;
  rest->prop.remove_headers = addr->prop.remove_headers;
  rest->start_router = r->next;
  rest->no_more_routers = !r->next;
  rest->next = *rc->children;
  *rc->children = rest;
  rc->was_unseen = true;
}

static bool route_has_accepted(enum route_result res) { return res == ROUTE_OK || res == ROUTE_REROUTED || res == ROUTE_DISCARD; }

/* Run the driver on addr, or with "unseen" on a copy so that routing can go on with another one. */
static enum route_result route_run_driver(struct route_ctx *rc, struct router *r, struct address *addr, bool is_unseen) {
  if (!is_unseen) {
    addr->router = r;
    return r->driver->route(rc, r, addr);
  }
  struct arena *a = rc->x->a;
  struct address *copy = address_child(a, addr, addr->address);
  struct address kept = *copy;
  *copy = *addr;
  copy->parent = addr;
  copy->next = NULL;
  copy->homonym = true;
  copy->child_count = 0;
  copy->dsn_flags = kept.dsn_flags;
  copy->router = r;
  copy->unseen_by = r->name;
  route_set_context(rc, r, copy);
  enum route_result res = r->driver->route(rc, r, copy);
  route_set_context(rc, r, addr);
  if (res == ROUTE_DISCARD && rc->verify == VERIFY_NONE) { /* nothing is delivered for the address then, whatever else there is: manual 22.6 */
    addr->child_count--;
    addr->is_filter_discard = copy->is_filter_discard;
    return res;
  }
  addr->router = r;
  if (route_has_accepted(res)) {
    route_go_on(rc, r, addr);
    return ROUTE_REROUTED;
  }
  addr->child_count--;
  addr->message = copy->message;
  addr->user_message = copy->user_message;
  addr->basic_errno = copy->basic_errno;
  addr->special_action = copy->special_action;
  addr->self_hostname = copy->self_hostname;
  addr->prop.errors_address = copy->prop.errors_address;
  addr->prop.ignore_error = copy->prop.ignore_error;
  return res;
}

static enum route_result route_unrouteable(struct route_ctx *rc, struct router *last, struct address *addr,
                                           const char *why_declined) {
  addr->router = NULL;
  addr->message = why_declined;
  addr->user_message = why_declined ? rc->why_declined_user : NULL;
  addr->basic_errno = 0;
  if (!why_declined && last && last->o.cannot_route_message) {
    const char *s = expand_string(rc->x, last->o.cannot_route_message);
    if (s) addr->message = s;
    else if (!rc->x->forced_fail)
      log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to expand cannot_route_message in %s router: %s", last->name,
                rc->x->error ? rc->x->error : "");
  }
  if (!addr->message) addr->message = "Unrouteable address";
  if (!why_declined) addr->user_message = addr->message;
  addr->pass_message = true;
  return ROUTE_FAIL;
}

/* fail_verify_*: an accepted address that must not verify. */
static bool fails_verify(struct route_ctx *rc, const struct router *r, struct address *addr) {
  bool fails = (rc->verify == VERIFY_SENDER && (r->o.fail_verify_sender || r->o.fail_verify)) ||
               (rc->verify == VERIFY_RECIPIENT && (r->o.fail_verify_recipient || r->o.fail_verify));
  if (!fails) return false;
  addr->message = arena_printf(rc->x->a, "%s router forced verify failure", r->name);
  addr->user_message = rc->verify == VERIFY_RECIPIENT ? addr->message : NULL; /* a sender is not told */
  return true;
}

enum route_step { STEP_DONE, STEP_NEXT, STEP_STOP };

/* What follows when a router has declined: the next one, unless its "more" is false. */
static enum route_step after_decline(struct route_ctx *rc, struct router *r, struct address *addr, enum route_result *ret_result) {
  bool more = true;
  narrate(rc->x, D_ROUTE, "%s router declined for %s", r->name, addr->address);
  if (route_bool(rc, r, addr, "more", &r->o.more, &more) != ROUTE_OK) {
    *ret_result = ROUTE_DEFER;
    return STEP_DONE;
  }
  if (more) return STEP_NEXT;
  narrate(rc->x, D_ROUTE, "\"more\" is false: skipping remaining routers");
  return STEP_STOP;
}

/* One router.  STEP_DONE: *ret_result is final.  STEP_NEXT: go on; STEP_STOP: declined with no_more. */
static enum route_step route_one(struct route_ctx *rc, struct router *r, struct address *addr, enum route_result *ret_result,
                                 bool *ret_ran, bool *ret_passed) {
  *ret_ran = *ret_passed = false;
  *ret_result = ROUTE_DEFER;
  switch (route_preconditions(rc, r, addr)) {
    case ROUTE_PRE_SKIP: return STEP_NEXT;
    case ROUTE_PRE_DEFER: addr->router = r; return STEP_DONE;
    case ROUTE_PRE_OK: break;
  }
  narrate(rc->x, D_ROUTE, "calling %s router", r->name);
  *ret_ran = true;
  enum route_result res = route_set_variables(rc, r, addr);
  bool is_unseen = false;
  if (res == ROUTE_OK) res = route_bool(rc, r, addr, "unseen", &r->o.unseen, &is_unseen);
  if (res == ROUTE_OK) res = route_run_driver(rc, r, addr, is_unseen);
  bool forced = route_has_accepted(res) && fails_verify(rc, r, addr);
  if (forced) res = ROUTE_FAIL;
  addr->router = r;
  *ret_result = res;
  switch (res) {
    case ROUTE_PASS:
      narrate(rc->x, D_ROUTE, "%s router passed for %s", r->name, addr->address);
      *ret_passed = true;
      return STEP_NEXT;
    case ROUTE_DECLINE: return after_decline(rc, r, addr, ret_result);
    case ROUTE_FAIL:
      if (!forced) narrate(rc->x, D_ROUTE, "%s router forced address failure", r->name);
      return STEP_DONE;
    case ROUTE_OK:
    case ROUTE_DEFER:
    case ROUTE_ERROR:
    case ROUTE_REROUTED:
    case ROUTE_DISCARD: break;
  }
  return STEP_DONE;
}

/* How it ended, in the words users of -bh know. */
static void narrate_end(const struct route_ctx *rc, const struct address *addr, enum route_result res, bool by_router) {
  const struct expand_ctx *x = rc->x;
  const char *name = addr->router ? addr->router->name : "";
  switch (res) {
    case ROUTE_OK:
    case ROUTE_REROUTED:
    case ROUTE_DISCARD:
      if (rc->renamed) narrate(x, D_ROUTE, "re-routed to %s", rc->renamed);
      else narrate(x, D_ROUTE, "routed by %s router%s", name, rc->was_unseen ? " (unseen)" : "");
      break;
    case ROUTE_DEFER:
      narrate(x, D_ROUTE, "%s router: defer for %s", name, addr->address);
      narrate(x, D_ROUTE, "  message: %s", addr->message ? addr->message : "<none>");
      break;
    case ROUTE_FAIL:
      if (!by_router) narrate(x, D_ROUTE, "no more routers");
      break;
    case ROUTE_DECLINE:
    case ROUTE_PASS:
    case ROUTE_ERROR: break;
  }
}

/* Try the routers from the first one on; false when none took the address. */
static bool try_routers(struct route_ctx *rc, struct address *addr, struct router **ret_last,
                        const char **ret_why_declined, enum route_result *ret) {
  struct router *next = NULL;
  struct router *first = addr->start_router ? addr->start_router : addr->no_more_routers ? NULL : rc->x->cfg->routers;
  for (struct router *r = first; r; r = next) {
    next = r->next;
    if (route_was_here(r, addr)) continue;
    route_reset_address(rc, r, addr);
    route_set_context(rc, r, addr);
    bool ran, passed;
    enum route_step step = route_one(rc, r, addr, ret, &ran, &passed);
    if (step == STEP_DONE) return true;
    *ret_last = r; /* considered, even when it was skipped */
    if (ran && addr->message) *ret_why_declined = addr->message;
    if (ran && addr->message) rc->why_declined_user = addr->user_message;
    if (step == STEP_STOP) break;
    if (passed && r->pass_router) next = r->pass_router;
  }
  return false;
}

enum route_result route_percent_hack(struct route_ctx *rc, struct address *addr) {
  const char *local = addr->cc_local_part, *domain = addr->domain;
  struct arena *a = rc->x->a;
  if (match_percent_hack(rc->x, &local, &domain) != OUTCOME_OK) {
    addr->message = "percent_hack_domains lookup deferred";
    addr->basic_errno = ERRNO_LISTDEFER;
    return ROUTE_DEFER;
  }
  if (local == addr->cc_local_part) return ROUTE_OK;
  struct address *child = address_child(a, addr, arena_printf(a, "%s@%s", addr_quote_local_part(a, str_c(local)), domain));
  child->next = *rc->children;
  *rc->children = child;
  return ROUTE_REROUTED;
}

/* Queries hold passwords of databases: what an expansion with one says when it fails is not for logs.  The words are those Exim looks for. */
static const char *without_queries(const char *message) {
  static const char *const words[] = {"mysql", "pgsql", "redis", "sqlite", "ldap:", "ldaps:", "ldapi:"};
  if (!message || !(strstr(message, "failed to expand") || strstr(message, "expansion of "))) return message;
  for (size_t i = 0; i < ARRAY_SIZE(words); i++)
    if (strstr(message, words[i])) return "Temporary internal error";
  return message;
}

enum route_result route_address(struct route_ctx *rc, struct address *addr) {
  enum route_result hacked = route_percent_hack(rc, addr);
  if (hacked != ROUTE_OK) return hacked;
  struct router *last = NULL;
  const char *why_declined = NULL;
  rc->why_declined_user = NULL;
  enum route_result res = ROUTE_DECLINE;
  narrate(rc->x, D_ROUTE, ">>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>");
  narrate(rc->x, D_ROUTE, "routing %s", addr->address);
  rc->was_unseen = false;
  rc->renamed = NULL;
  match_cache_new_subject();
  narrate_indent(1);
  bool decided = try_routers(rc, addr, &last, &why_declined, &res);
  narrate_indent(-1);
  if (!decided) res = route_unrouteable(rc, last, addr, why_declined);
  if (res == ROUTE_ERROR) res = ROUTE_DEFER;
  narrate_end(rc, addr, res, decided);
  if (res == ROUTE_DEFER && addr->basic_errno == 0) addr->basic_errno = ERRNO_UNKNOWNERROR;
  if (res == ROUTE_FAIL && !addr->message) addr->message = "Unrouteable address";
  if (res == ROUTE_FAIL) addr->pass_message = true;
  if (res == ROUTE_FAIL || res == ROUTE_DEFER) addr->message = without_queries(addr->message);
  if (res == ROUTE_FAIL || res == ROUTE_DEFER) addr->transport = NULL; /* it was not the transport that said no */
  rc->x->router = NULL;
  rc->x->router_name = NULL;
  return res;
}

/* A forced failure, or one that is only noted, means none: the address has hosts of its own. */
static struct host *fallback_list(struct route_ctx *rc, struct router *r) {
  const char *list = expand_option(rc->x, "fallback_hosts", r->o.fallback_hosts);
  if (!list && !rc->x->forced_fail)
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s router: %s", r->name, rc->x->error ? rc->x->error : "fallback_hosts: expansion failed");
  return list ? host_build_list(rc->x, list, false) : NULL;
}

void route_queue_add(struct route_ctx *rc, struct router *r, struct address *addr) {
  struct transport *t = addr->transport;
  addr->router = r;
  if (t && addr->homonym) addr->unique = arena_printf(rc->x->a, "%s/%s/%s", addr->unique, t->name, r->name);
  bool is_remote = t && !t->driver->is_local;
  if (is_remote && r->o.fallback_hosts) addr->fallback_hosts = fallback_list(rc, r);
  struct address **list = is_remote ? rc->remote : rc->local;
  addr->next = *list;
  *list = addr;
}

struct transport *route_named_transport(struct route_ctx *rc, const struct router *r, const char *text, struct address *addr) {
  struct arena *a = rc->x->a;
  const char *s = expand_string(rc->x, text);
  struct transport *t = s && !is_tainted(s) ? config_transport(rc->x->cfg, s) : NULL;
  if (t) return t;
  addr->basic_errno = ERRNO_BADTRANSPORT;
  if (!s) {
    addr->message = arena_printf(a, "failed to expand transport \"%s\" in %s router: %s", text, r->name, rc->x->error ? rc->x->error : "");
  } else if (is_tainted(s)) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "attempt to use tainted value '%s' from '%s' for transport", s, text);
    addr->message = "internal configuration error";
  } else {
    addr->message = arena_printf(a, "transport \"%s\" not found in %s router", s, r->name);
  }
  return NULL;
}

enum route_result route_get_transport(struct route_ctx *rc, struct router *r, struct address *addr, bool required) {
  const char *name = r->o.transport;
  struct arena *a = rc->x->a;
  if (!name) {
    if (!required || rc->verify != VERIFY_NONE) return ROUTE_OK;
    addr->message = arena_printf(a, "transport not set for %s router", r->name);
    addr->basic_errno = ERRNO_BADTRANSPORT;
    return ROUTE_DEFER;
  }
  if (r->transport) {
    addr->transport = r->transport;
    return ROUTE_OK;
  }
  addr->transport = route_named_transport(rc, r, name, addr);
  return addr->transport ? ROUTE_OK : ROUTE_DEFER;
}

/* Does an errors_to value route?  A single child is followed, several count as success. */
static bool route_verifies(struct route_ctx *rc, const char *text) {
  if (rc->verify == VERIFY_RECIPIENT) return true; /* errors_to inside such a check is not checked again */
  struct expand_ctx saved = *rc->x;
  struct expand_ctx x = *rc->x;
  struct address *local = NULL, *remote = NULL, *children = NULL;
  struct route_ctx sub = {.x = &x, .local = &local, .remote = &remote, .children = &children, .verify = VERIFY_RECIPIENT};
  x.verify_mode = "R";
  struct address *addr = address_new(x.a, text);
  bool ok = false;
  for (int depth = 0; addr && depth < 20; depth++) {
    children = NULL;
    enum route_result res = route_address(&sub, addr);
    ok = res == ROUTE_OK || res == ROUTE_REROUTED || res == ROUTE_DISCARD;
    if (res != ROUTE_REROUTED || !children || children->next) break;
    addr = children->is_file || children->is_pipe || children->is_reply ? NULL : children;
  }
  *rc->x = saved;
  return ok;
}

bool router_sets_errors_to(const struct router *r) { return r->o.errors_to || opt_was_set(r->block, "errors_to"); }

enum route_result route_get_errors_address(struct route_ctx *rc, struct router *r, struct address *addr, const char **ret) {
  *ret = addr->prop.errors_address;
  if (!router_sets_errors_to(r)) return ROUTE_OK;
  const char *s = expand_string(rc->x, r->o.errors_to ? r->o.errors_to : "");
  if (!s) {
    if (rc->x->forced_fail) return ROUTE_OK;
    addr->message = arena_printf(rc->x->a, "%s router failed to expand \"%s\": %s", r->name, r->o.errors_to,
                                 rc->x->error ? rc->x->error : "");
    return ROUTE_DEFER;
  }
  if (!*s) {
    *ret = "";
    return ROUTE_OK;
  }
  if (rc->verify != VERIFY_NONE) return ROUTE_OK;
  size_t domain = 0;
  const char *err = NULL;
  const char *text = rfc5322_extract_address(rc->x->a, str_c(s), (struct addr_opts){.allow_domain_literal = true}, &domain, &err);
  if (text && domain == 0) text = arena_printf(rc->x->a, "%s@%s", text, rc->x->cfg->qualify_domain);
  /* A bad value must not lose the bounces: it is ignored and they go where they went before. */
  if (text && route_verifies(rc, text)) *ret = text;
  return ROUTE_OK;
}

/* The items of headers_add, each expanded, as lines. */
static enum route_result added_headers(struct route_ctx *rc, const struct router *r, struct address *addr, struct strbuf *out) {
  const char *pos = r->o.headers_add, *item;
  int sep = -'\n'; /* unless the list says otherwise */
  while ((item = list_next(rc->x->a, &pos, &sep))) {
    const char *s = expand_string(rc->x, item);
    if (!s) {
      if (rc->x->forced_fail) continue;
      addr->message = arena_printf(rc->x->a, "%s router failed to expand add_headers item \"%s\": %s", r->name, item,
                                   rc->x->error ? rc->x->error : "");
      return ROUTE_DEFER;
    }
    if (!*s) continue;
    strbuf_adds(out, s);
    if (s[strlen(s) - 1] != '\n') strbuf_addc(out, '\n');
  }
  return ROUTE_OK;
}

/* The items of headers_remove behind what the address already has; each is expanded at transport time. */
static const char *removed_headers(struct arena *a, const char *old, const char *list) {
  struct strbuf b = strbuf_new(a);
  const char *item;
  int sep = 0;
  if (old) strbuf_adds(&b, old);
  while ((item = list_next(a, &list, &sep)))
    if (*item) list_append(&b, ':', item);
  return b.p;
}

/* Added header lines are chained as header_line structs in the order of the routers. */
static struct header_line *headers_from_text(struct arena *a, struct header_line *old, const char *text) {
  struct header_line *first = NULL, **tail = &first;
  for (const struct header_line *h = old; h; h = h->next) {
    struct header_line *c = ARENA_NEW(a, struct header_line);
    *c = *h;
    c->next = NULL;
    *tail = c;
    tail = &c->next;
  }
  for (const char *p = text; *p;) {
    const char *end = p;
    /* A line that starts with white space continues the header before it. */
    do {
      end = strchr(end, '\n');
      end = end ? end + 1 : p + strlen(p);
    } while (*end && ch_isblank(*end));
    struct header_line *h = ARENA_NEW(a, struct header_line);
    h->text = arena_strndup(a, p, (size_t)(end - p));
    h->n = (size_t)(end - p);
    bool is_resent;
    h->type = header_type_of(str_n(h->text, h->n), &is_resent);
    *tail = h;
    tail = &h->next;
    p = end;
  }
  return first;
}

enum route_result route_get_munge_headers(struct route_ctx *rc, struct router *r, struct address *addr) {
  struct arena *a = rc->x->a;
  if (r->o.headers_add) {
    struct strbuf b = strbuf_new(a);
    enum route_result res = added_headers(rc, r, addr, &b);
    if (res != ROUTE_OK) return res;
    if (b.n) addr->prop.extra_headers = headers_from_text(a, addr->prop.extra_headers, b.p);
  }
  if (r->o.headers_remove) addr->prop.remove_headers = removed_headers(a, addr->prop.remove_headers, r->o.headers_remove);
  return ROUTE_OK;
}

enum route_result route_accept_common(struct route_ctx *rc, struct router *r, struct address *addr) {
  const char *errors = NULL;
  enum route_result res = r->o.translate_ip_address ? route_translate_hosts(rc, r, addr) : ROUTE_OK;
  if (res == ROUTE_OK) res = route_get_errors_address(rc, r, addr, &errors);
  if (res != ROUTE_OK) return res;
  addr->prop.errors_address = errors;
  if (errors && router_sets_errors_to(r)) addr->prop.ignore_error = addr->prop.is_noerror || !*errors;
  res = route_get_munge_headers(rc, r, addr);
  if (res == ROUTE_OK && !addr->transport) res = route_get_transport(rc, r, addr, !r->o.verify_only);
  /* A remote transport does not run as the user of a router: none is looked for. */
  bool is_remote = addr->transport && !addr->transport->driver->is_local;
  if (res == ROUTE_OK && !is_remote) res = route_get_user(rc, r, addr);
  return res;
}

const char *route_init_needs_transport(struct arena *a, struct config *c, struct router *r) {
  (void)c;
  if (r->o.transport || r->o.verify_only) return NULL;
  return arena_printf(a, "\n  %s router:\n  a transport is required for this router", r->name);
}
