/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verifying addresses through the routers, header syntax, and the output of -bt and -bv.  Floor: flows.  Manual ch. 44.
 *
 * Verification routes without delivering: a redirection to one address is followed, one to several counts as success.  Callouts:
 * verify_callout.c.  Addresses are hostile; memory is the context's arena. */
#include "verify.h"

#include <stdio.h>

#include "deliver.h"
#include "host.h"
#include "message.h"
#include "os/debug.h"
#include "os/log.h"
#include "policy/match.h"
#include "router.h"
#include "transport.h"
#include "transports/smtp_plan.h"
#include "verify_callout.h"
#include "verify_quota.h"

enum { VERIFY_MAX_DEPTH = 100 };

struct verify_lists {
  struct address *local, *remote, *children;
};

static struct route_ctx verify_ctx(struct expand_ctx *x, struct verify_lists *l, int mode) {
  *l = (struct verify_lists){0};
  struct route_ctx rc = {.x = x, .local = &l->local, .remote = &l->remote, .children = &l->children};
  rc.verify = mode;
  return rc;
}

static const char *text_or_empty(const char *s) { return s ? s : ""; }

static const char *qualify(struct expand_ctx *x, const char *address, unsigned options) {
  struct str local, domain;
  if (addr_split(address, &local, &domain)) return address;
  if (!(options & VOPT_QUALIFY)) return NULL;
  return arena_printf(x->a, "%s@%s", address,
                      options & VOPT_IS_RECIPIENT ? x->cfg->qualify_recipient : x->cfg->qualify_domain);
}

/* Follow single children until something is decided; the address that decided is in *ret_addr.  *ret_is_final: it goes to one place, which may
 * be asked. */
static enum outcome verify_route(struct expand_ctx *x, const char *text, unsigned options, struct address **ret_addr, bool *ret_is_final) {
  struct verify_lists l;
  struct route_ctx rc = verify_ctx(x, &l, options & VOPT_EXPN           ? VERIFY_EXPN
                                          : options & VOPT_IS_RECIPIENT ? VERIFY_RECIPIENT
                                                                        : VERIFY_SENDER);
  struct address *addr = address_new(x->a, text);
  *ret_is_final = false;
  for (int depth = 0; depth < VERIFY_MAX_DEPTH; depth++) {
    l.children = NULL;
    *ret_addr = addr;
    switch (route_address(&rc, addr)) {
      case ROUTE_OK: *ret_is_final = true; return OUTCOME_OK;
      case ROUTE_DISCARD: return OUTCOME_OK;
      case ROUTE_FAIL: return OUTCOME_FAIL;
      case ROUTE_DEFER:
      case ROUTE_ERROR:
      case ROUTE_DECLINE:
      case ROUTE_PASS: return OUTCOME_DEFER;
      case ROUTE_REROUTED: break;
    }
    struct address *child = l.children;
    if (options & VOPT_EXPN) (*ret_addr)->next = child;
    if (options & VOPT_EXPN || !child || child->next || options & VOPT_SUCCESS_ON_REDIRECT) return OUTCOME_OK;
    if (child->is_pipe || child->is_file || child->is_reply) return OUTCOME_OK;
    addr = child;
  }
  (*ret_addr)->message = "address redirection is too deep";
  return OUTCOME_DEFER;
}

enum outcome verify_quota_alone(struct expand_ctx *x, const char *address, int64_t size, struct verify_report *ret) {
  struct address *addr;
  bool is_final;
  enum outcome o = verify_route(x, address, VOPT_IS_RECIPIENT, &addr, &is_final);
  if (o == OUTCOME_OK && is_final) o = deliver_check_quota(x, addr, size);
  if (o != OUTCOME_OK) *ret = (struct verify_report){.user = addr->user_message, .log = addr->message};
  return o;
}

/* What EXPN answers: the children, one a line, or the address itself. */
static const char *expansion_text(struct expand_ctx *x, const struct address *addr) {
  if (!addr->next) return arena_printf(x->a, "<%s>", addr->address);
  struct strbuf b = strbuf_new(x->a);
  for (const struct address *child = addr->next; child; child = child->next)
    strbuf_addf(&b, "%s<%s>", b.n ? "\n" : "", child->address);
  return b.p;
}

/* $address_data as the last verification of a recipient left it, $sender_address_data of the sender. */
static void note_address_data(struct expand_ctx *x, unsigned options, const char *data) {
  const char *kept = data && x->msg ? arena_strdup(x->msg->arena, data) : data;
  if (options & VOPT_IS_RECIPIENT) x->address_data = kept;
  else x->sender_address_data = kept;
}

/* The routers' verdict, and then the callout's when one is wanted; addr: what was routed in the end. */
static enum outcome route_and_call(struct acl_env *env, struct expand_ctx *x, const char *text, unsigned options,
                                   const struct verify_opts *o, struct address **ret_addr, struct verify_report *ret) {
  x->verify_mode = options & VOPT_IS_RECIPIENT ? "R" : "S";
  x->address_data = NULL; /* that of the address, not of an earlier verification */
  x->local_part_override = x->domain_override = NULL; /* the routers see the address they work on, not the recipient of the ACL */
  if (!(options & VOPT_IS_RECIPIENT)) x->sender_override = ""; /* and a sender as the recipient of a bounce */
  bool is_final = true;
  enum outcome result = verify_route(x, text, options, ret_addr, &is_final);
  if (result == OUTCOME_OK && o && o->callout && is_final) result = callout_verify(env, x, *ret_addr, o, ret);
  if (result == OUTCOME_OK && o && o->quota && is_final) return quota_verify(x, *ret_addr, o, ret);
  if (o && o->callout && is_final) return result;
  if (result == OUTCOME_OK) return result;
  ret->log = text_or_empty((*ret_addr)->message);
  ret->user = (*ret_addr)->user_message;
  /* Who sends to an address is told why it is none, who came from it only what was meant for others. */
  if (!ret->user && result == OUTCOME_FAIL && options & VOPT_IS_RECIPIENT) ret->user = (*ret_addr)->message;
  ret->failure = result == OUTCOME_FAIL ? "route" : NULL;
  return result;
}

static enum outcome verify_in_session(struct acl_env *env, struct expand_ctx *x, const char *address, unsigned options,
                                      const struct verify_opts *o, struct address **ret_addr, struct verify_report *ret) {
  const char *text = qualify(x, address, options);
  if (!text) {
    ret->user = ret->log = "address without a domain is not verifiable";
    ret->failure = "qualify";
    return OUTCOME_FAIL;
  }
  struct expand_ctx saved = *x;
  struct address *addr = NULL;
  if (x->msg && o && (o->hold || x->msg->cutthrough != CUTTHROUGH_OFF)) { /* the address may be kept with its connection */
    x->a = x->msg->arena;
    text = arena_strdup(x->a, text);
  }
  enum outcome result = route_and_call(env, x, text, options, o, &addr, ret);
  const char *called = x->callout_address;
  *x = saved;
  x->callout_address = called;
  match_cache_new_subject();
  note_address_data(x, options, addr->prop.address_data);
  *ret_addr = addr;
  /* The rest of the ACL sees what a callout has confirmed, not what the routers found, nor what was found before. */
  bool is_called = result == OUTCOME_OK && o && o->callout;
  x->match.domain_data = is_called ? addr->prop.domain_data : NULL;
  x->match.local_part_data = is_called ? addr->prop.localpart_data : NULL;
  return result == OUTCOME_DEFER && options & VOPT_DEFER_OK ? OUTCOME_OK : result;
}

enum outcome verify_address(struct expand_ctx *x, const char *address, unsigned options, const char **ret_user, const char **ret_log) {
  struct verify_report report = {.user = NULL};
  struct address *addr = NULL;
  if (!*address && !(options & VOPT_IS_RECIPIENT)) return OUTCOME_OK;
  enum outcome o = verify_in_session(NULL, x, address, options, NULL, &addr, &report);
  *ret_user = o == OUTCOME_OK && options & VOPT_EXPN && addr ? expansion_text(x, addr) : report.user;
  *ret_log = report.log;
  return o;
}

enum outcome verify_for_cutthrough(struct acl_env *env, struct expand_ctx *x, const char *recipient, struct verify_report *ret) {
  enum { CUTTHROUGH_TIMEOUT_SEC = 30 };
  struct verify_opts o = {.what = VERIFY_OF_RECIPIENT, .callout = true, .use_sender = true, .no_cache = true,
                          .timeout_sec = CUTTHROUGH_TIMEOUT_SEC, .connect_sec = CUTTHROUGH_TIMEOUT_SEC, .maxwait_sec = 4 * CUTTHROUGH_TIMEOUT_SEC};
  struct address *addr;
  return verify_in_session(env, x, recipient, VOPT_IS_RECIPIENT | VOPT_QUALIFY, &o, &addr, ret);
}

/* --- header syntax ---------------------------------------------------------------------------------- */

static enum outcome check_header(struct expand_ctx *x, const struct header_line *h, const char **ret_log) {
  struct str name, value;
  if (!header_split(str_n(h->text, h->n), &name, &value)) return OUTCOME_OK;
  struct addr_opts o = {.allow_domain_literal = true, .allow_utf8 = x->msg->smtputf8};
  while ((value = str_ltrim(value)).n) {
    size_t end = rfc5322_find_address_end(value);
    struct str one = rfc5322_strip_group(str_n(value.p, MIN(end, value.n)));
    const char *err = NULL;
    size_t domain = 0;
    if (one.n) {
      const char *text = rfc5322_extract_address(x->a, one, o, &domain, &err);
      bool unqualified_ok = x->msg->allow_unqualified_recipient || x->msg->allow_unqualified_sender;
      if (text && domain == 0 && !unqualified_ok) {
        err = "unqualified address not permitted";
        text = NULL;
      }
      if (!text) {
        enum { SHOWN_MAX = 1024 };
        *ret_log = log_escape(x->a, str_c(arena_printf(x->a, "%s: failing address in \"%.*s:\" header %s: %.*s", err, STR_FMT(name),
                                                       one.n > SHOWN_MAX ? "begins" : "is", (int)MIN(one.n, (size_t)SHOWN_MAX), one.p)));
        return OUTCOME_FAIL;
      }
    }
    if (end >= value.n) break;
    value = str_n(value.p + end + 1, value.n - end - 1);
  }
  return OUTCOME_OK;
}

static enum outcome env_header_syntax(struct acl_env *env, struct expand_ctx *x, const char **ret_user, const char **ret_log) {
  (void)env;
  (void)ret_user; /* the reason is for the log */
  for (const struct header_line *h = x->msg ? x->msg->headers : NULL; h; h = h->next) {
    if (!h->type || !strchr("BCFRST", h->type)) continue;
    enum outcome o = check_header(x, h, ret_log);
    if (o != OUTCOME_OK) return o;
  }
  return OUTCOME_OK;
}

static enum outcome env_address(struct acl_env *env, struct expand_ctx *x, const char *address, const struct verify_opts *o,
                                struct verify_report *ret) {
  unsigned options = o->what == VERIFY_OF_RECIPIENT ? VOPT_IS_RECIPIENT | VOPT_QUALIFY : 0;
  struct address *addr;
  if (!*address && o->what != VERIFY_OF_RECIPIENT) return OUTCOME_OK;
  if (o->success_on_redirect) options |= VOPT_SUCCESS_ON_REDIRECT;
  return verify_in_session(env, x, address, options, o, &addr, ret);
}

static enum outcome env_helo(struct acl_env *env, struct expand_ctx *x) {
  (void)env;
  return host_verify_helo(x) ? OUTCOME_OK : OUTCOME_FAIL;
}

static enum outcome env_reverse(struct acl_env *env, struct expand_ctx *x, const char **ret_log) {
  (void)env;
  return host_name_lookup(x, ret_log);
}

void verify_fill_acl_env(struct acl_env *env) {
  env->verify_address = env_address;
  env->verify_header_syntax = env_header_syntax;
  env->verify_helo = env_helo;
  env->verify_reverse = env_reverse;
}

/* --- -bt and -bv ------------------------------------------------------------------------------------ */

static void print_parents(const struct address *addr) {
  for (const struct address *p = addr->parent; p; p = p->parent) printf("\n    <-- %s", p->address);
}

static void print_hosts(const struct host *list) {
  int name_width = 0, ip_width = 0;
  for (const struct host *h = list; h; h = h->next) {
    name_width = MAX(name_width, (int)strlen(h->name));
    ip_width = MAX(ip_width, h->address ? (int)strlen(h->address) : 7);
  }
  for (const struct host *h = list; h; h = h->next) {
    printf("  host %-*s ", name_width, h->name);
    bool is_useless = h->status == HOST_UNUSABLE;
    int used = h->address || is_useless ? printf("[%s]", h->address ? h->address : "unknown") : 0;
    bool more = h->mx >= 0 || h->port > 0;
    if (!h->address || more) printf("%*s", MAX(0, ip_width + 2 - used), "");
    if (h->mx >= 0) printf(" MX=%d", h->mx);
    if (h->port > 0) printf(" port=%d", h->port);
    if (h->dnssec) printf(" AD");
    if (is_useless) printf(" ** unusable **");
    printf("\n");
  }
}

static void print_routed(struct expand_ctx *x, struct address *addr, struct verify_seen *seen) {
  bool is_new = true;
  /* What was given and what came of a redirection are counted apart. */
  const char *key = arena_printf(seen->arena, "%c%s%s", addr->parent ? 'c' : 'g', addr->homonym ? "\\" : "", addr->unique);
  tree_insert(&seen->addresses, seen->arena, key, &is_new);
  printf("%s%s", addr->address, is_new ? "" : "   [duplicate, would not be delivered]");
  print_parents(addr);
  printf("\n  router = %s, ", addr->router ? addr->router->name : "<none>");
  if (addr->transport) printf("transport = %s\n", addr->transport->name);
  else printf("transport = unset\n");
  if (addr->transport) print_hosts(addr->host_list);
  if (seen->plan && addr->transport) fputs(smtp_plan_text(x, addr->transport, addr), stdout);
}

static void print_pseudo(const struct address *addr, const struct verify_seen *seen) {
  const char *text = addr->is_file ? address_file_name(addr) : addr->address + addr->is_reply;
  printf("%s -> %s%s", addr->parent ? addr->parent->address : "", addr->is_reply ? "mail " : "", text);
  if (addr->basic_errno == ERRNO_FORBIDPIPE || addr->basic_errno == ERRNO_FORBIDFILE || addr->basic_errno == ERRNO_FORBIDREPLY)
    printf(" *** forbidden ***\n");
  else if (addr->transport) printf("\n  transport = %s\n", addr->transport->name);
  else if (addr->basic_errno) printf("\n*** Error in setting up pipe, file, or autoreply:\n%s\n", seen->no_reasons ? "" : text_or_empty(addr->message));
  else printf("\n");
}

static void print_problem(const struct address *addr, const char *what, const struct verify_seen *seen) {
  printf("%s %s", addr->address, what);
  if (!seen->no_reasons) printf(": %s", text_or_empty(addr->message));
  print_parents(addr);
  printf("\n");
}

/* fail_verify: a router took the address and then said no. */
static void drop(struct address **list, const struct address *addr) {
  while (*list && *list != addr) list = &(*list)->next;
  if (*list) *list = addr->next;
}

/* -bt, and -bv with details: route everything and show it. */
static enum outcome print_all(struct expand_ctx *x, const char *text, int mode, struct verify_seen *seen) {
  struct verify_lists l;
  struct route_ctx rc = verify_ctx(x, &l, mode);
  const char *failed = mode == VERIFY_TEST ? "is undeliverable" : "failed to verify";
  struct address *list = address_new(x->a, text);
  enum outcome result = OUTCOME_OK;
  l.children = list;
  for (int n = 0; l.children && n < 100000; n++) {
    struct address *addr = l.children;
    l.children = addr->next;
    addr->next = NULL;
    if (addr->is_pipe || addr->is_file || addr->is_reply) {
      print_pseudo(addr, seen);
      continue;
    }
    switch (route_address(&rc, addr)) {
      case ROUTE_OK:
      case ROUTE_REROUTED: break;
      case ROUTE_DISCARD: printf("mail to %s is discarded\n", addr->address); break;
      case ROUTE_FAIL:
        drop(&l.local, addr);
        drop(&l.remote, addr);
        print_problem(addr, failed, seen);
        result = OUTCOME_FAIL;
        break;
      case ROUTE_DEFER:
      case ROUTE_ERROR:
      case ROUTE_DECLINE:
      case ROUTE_PASS:
        print_problem(addr, "cannot be resolved at this time", seen);
        if (result == OUTCOME_OK) result = OUTCOME_DEFER;
        break;
    }
  }
  for (struct address *addr = l.local; addr; addr = addr->next) print_routed(x, addr, seen);
  for (struct address *addr = l.remote; addr; addr = addr->next) print_routed(x, addr, seen);
  return result;
}

static enum outcome print_verified(struct expand_ctx *x, const char *text, bool is_recipient, struct verify_seen *seen) {
  struct address *addr = NULL;
  x->verify_mode = is_recipient ? "R" : "S";
  if (!is_recipient) x->sender_override = "";
  bool is_final;
  DEBUG(D_V) return print_all(x, text, is_recipient ? VERIFY_RECIPIENT : VERIFY_SENDER, seen);
  enum outcome o = verify_route(x, text, is_recipient ? VOPT_IS_RECIPIENT : 0, &addr, &is_final);
  if (o == OUTCOME_OK) printf("%s verified\n", text);
  else printf("%s %s%s%s\n", text, o == OUTCOME_FAIL ? "failed to verify" : "cannot be resolved at this time", seen->no_reasons ? "" : ": ",
              seen->no_reasons ? "" : text_or_empty(addr->message));
  return o;
}

enum outcome verify_print(struct expand_ctx *x, const char *address, bool is_test, bool is_recipient, struct verify_seen *seen) {
  const char *err = NULL;
  size_t domain = 0;
  struct str s = rfc5322_trim(str_c(address));
  if (s.n == 0) return OUTCOME_OK;
  struct addr_opts o = {.allow_domain_literal = x->cfg->o.allow_domain_literals, .allow_utf8 = x->cfg->o.allow_utf8_domains,
                        .strip_trailing_dot = x->cfg->o.strip_trailing_dot};
  const char *text = rfc5322_extract_address(x->a, s, o, &domain, &err);
  if (text && !*text) {
    text = NULL;
    err = "missing or malformed local part";
  }
  if (!text) {
    printf("syntax error: %s\n", err);
    fflush(stdout);
    return OUTCOME_FAIL;
  }
  if (domain == 0)
    text = arena_printf(x->a, "%s@%s", text, is_recipient || is_test ? x->cfg->qualify_recipient : x->cfg->qualify_domain);
  struct expand_ctx saved = *x;
  enum outcome result = is_test ? print_all(x, text, VERIFY_TEST, seen) : print_verified(x, text, is_recipient, seen);
  *x = saved;
  fflush(stdout);
  return result;
}
