/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Preconditions of routers.  Floor: drivers.  Manual ch. 3.12 gives the order, which is part of the interface:
 * affixes, verify/address_test/verify_only/expn, domains, local_parts, check_local_user, router_home_directory, senders, require_files, condition.
 * A failed one skips the router, one that cannot be decided now defers the address. */
#include "route_priv.h"

#include <errno.h>
#include <string.h>

#include "message.h"
#include "os/debug.h"
#include "conn.h"
#include "policy/match.h"
#include "policy/narrate.h"

static enum route_pre pre_defer(struct route_ctx *rc, struct address *addr, const char *what) {
  addr->message = arena_printf(rc->x->a, "%s check lookup or other defer", what);
  return ROUTE_PRE_DEFER;
}

static enum route_pre pre_match(struct route_ctx *rc, struct address *addr, enum outcome o, const char *what) {
  switch (o) {
    case OUTCOME_OK: return ROUTE_PRE_OK;
    case OUTCOME_FAIL: return ROUTE_PRE_SKIP;
    case OUTCOME_DEFER:
    case OUTCOME_ERROR:
    case OUTCOME_FAIL_DROP:
    case OUTCOME_DISCARD: break;
  }
  return pre_defer(rc, addr, what);
}

int route_prefix_match(const char *pattern, struct str s, size_t *ret_wild) {
  *ret_wild = 0;
  if (pattern[0] != '*') {
    size_t n = strlen(pattern);
    return n <= s.n && strncmpic(s.p, pattern, n) == 0 ? (int)n : -1;
  }
  size_t n = strlen(pattern + 1);
  if (n > s.n) return -1;
  for (size_t at = s.n - n + 1; at-- > 0;) {
    if (strncmpic(s.p + at, pattern + 1, n) != 0) continue;
    *ret_wild = at;
    return (int)(at + n);
  }
  return -1;
}

int route_suffix_match(const char *pattern, struct str s, size_t *ret_wild) {
  *ret_wild = 0;
  size_t pn = strlen(pattern);
  if (pn == 0 || pattern[pn - 1] != '*') return pn < s.n && strncmpic(s.p + s.n - pn, pattern, pn) == 0 ? (int)pn : -1;
  size_t n = pn - 1;
  for (size_t at = 0; at + n <= s.n; at++) {
    if (strncmpic(s.p + at, pattern, n) != 0) continue;
    *ret_wild = s.n - at - n;
    return (int)(s.n - at);
  }
  return -1;
}

static bool pre_prefix(struct route_ctx *rc, const struct router *r, struct address *addr) {
  if (!r->o.local_part_prefix) return true;
  struct arena *a = rc->x->a;
  const char *pos = r->o.local_part_prefix, *item;
  int sep = 0;
  while ((item = list_next(a, &pos, &sep))) {
    size_t wild;
    int n = route_prefix_match(item, str_c(addr->local_part), &wild);
    if (n < 0) continue;
    addr->prefix = arena_strndup(a, addr->local_part, (size_t)n);
    if (item[0] == '*') addr->prefix_v = arena_strndup(a, addr->local_part, wild);
    addr->local_part += n;
    return true;
  }
  return r->o.local_part_prefix_optional;
}

static bool pre_suffix(struct route_ctx *rc, const struct router *r, struct address *addr) {
  if (!r->o.local_part_suffix) return true;
  struct arena *a = rc->x->a;
  const char *pos = r->o.local_part_suffix, *item;
  int sep = 0;
  while ((item = list_next(a, &pos, &sep))) {
    size_t wild;
    struct str s = str_c(addr->local_part);
    int n = route_suffix_match(item, s, &wild);
    if (n < 0) continue;
    size_t keep = s.n - (size_t)n;
    addr->suffix = arena_strdup(a, s.p + keep);
    if (item[0] && item[strlen(item) - 1] == '*') addr->suffix_v = arena_strdup(a, s.p + s.n - wild);
    addr->local_part = arena_strndup(a, s.p, keep);
    return true;
  }
  return r->o.local_part_suffix_optional;
}

/* verify, verify_only, address_test, expn. */
static bool pre_mode(const struct route_ctx *rc, const struct router *r) {
  switch (rc->verify) {
    case VERIFY_NONE: return !r->o.verify_only;
    case VERIFY_TEST: return r->o.address_test && !r->o.verify_only;
    case VERIFY_EXPN: return r->o.expn && !r->o.verify_only;
    case VERIFY_SENDER: return r->o.verify_sender && (r->o.verify || opt_was_set(r->block, "verify_sender"));
    case VERIFY_RECIPIENT: return r->o.verify_recipient && (r->o.verify || opt_was_set(r->block, "verify_recipient"));
  }
  return true;
}

static enum route_pre pre_lists(struct route_ctx *rc, const struct router *r, struct address *addr) {
  struct expand_ctx *x = rc->x;
  if (r->o.domains) {
    struct match_opts mo = {.caseless = true, .allow_named = true, .ret_value = &addr->prop.domain_data, .name = "domains"};
    enum route_pre p = pre_match(rc, addr, match_list(x, LIST_DOMAIN, addr->domain, r->o.domains, &mo), "domains");
    if (p != ROUTE_PRE_OK) return p;
    x->match.domain_data = addr->prop.domain_data;
  }
  if (r->o.local_parts) {
    struct match_opts mo = {.caseless = !r->o.caseful_local_part, .allow_named = true, .ret_value = &addr->prop.localpart_data,
                            .name = "local_parts"};
    enum outcome o = match_list(x, LIST_LOCALPART, addr->local_part, r->o.local_parts, &mo);
    enum route_pre p = pre_match(rc, addr, o, "local_parts");
    if (p != ROUTE_PRE_OK) return p;
    x->match.local_part_data = addr->prop.localpart_data;
  }
  return ROUTE_PRE_OK;
}

static enum route_pre pre_user(struct route_ctx *rc, const struct router *r, struct address *addr) {
  struct expand_ctx *x = rc->x;
  if (r->o.check_local_user) {
    struct passwd_entry *pw = ARENA_NEW(x->a, struct passwd_entry);
    /* A number is not a login name here. */
    if (ch_isdigit(addr->local_part[0]) && strspn(addr->local_part, "0123456789") == strlen(addr->local_part))
      return ROUTE_PRE_SKIP;
    enum outcome found = route_look_for_user(x->a, addr->local_part, pw);
    if (found == OUTCOME_DEFER) {
      addr->message = arena_printf(x->a, "login name \"%s\" cannot be looked for: %s", addr->local_part, strerror(errno));
      return ROUTE_PRE_DEFER;
    }
    if (found != OUTCOME_OK) return ROUTE_PRE_SKIP;
    rc->pw = pw;
    addr->prop.localpart_data = x->match.local_part_data = pw->name;
    x->home = pw->dir;
    x->local_user_uid_text = arena_printf_t(x->a, UNTAINTED, "%ld", (long)pw->uid);
    x->local_user_gid_text = arena_printf_t(x->a, UNTAINTED, "%ld", (long)pw->gid);
  }
  if (!r->o.router_home_directory) return ROUTE_PRE_OK;
  const char *s = expand_string(x, r->o.router_home_directory);
  if (s) {
    x->home = s;
  } else if (!x->forced_fail) {
    addr->message = arena_printf(x->a, "failed to expand \"%s\" for router_home_directory: %s", r->o.router_home_directory,
                                 x->error ? x->error : "");
    return ROUTE_PRE_DEFER;
  }
  return ROUTE_PRE_OK;
}

static enum route_pre pre_senders(struct route_ctx *rc, const struct router *r, struct address *addr) {
  if (!r->o.senders) return ROUTE_PRE_OK;
  const struct expand_ctx *x = rc->x;
  const char *sender = x->sender_override;
  if (!sender && x->msg) sender = x->msg->sender;
  /* A sender is verified as the recipient of a bounce. */
  if (rc->verify == VERIFY_SENDER) sender = "";
  struct match_opts mo = {.caseless = true, .allow_named = true, .name = "senders"};
  return pre_match(rc, addr, match_list(rc->x, LIST_ADDRESS, sender ? sender : "", r->o.senders, &mo), "senders");
}

/* "user[,group]" for the items that follow. */
static enum route_pre files_user(struct route_ctx *rc, struct address *addr, const char *item, uid_t *ret_uid, gid_t *ret_gid) {
  struct arena *a = rc->x->a;
  struct str s = str_c(item), user = str_trim(str_cut(&s, ',')), group = str_trim(s);
  const char *name = str_dup(a, user);
  struct passwd_entry pw;
  if (!route_find_user(a, name, &pw)) {
    addr->message = arena_printf(a, "user \"%s\" for require_files not found", name);
    return ROUTE_PRE_DEFER;
  }
  *ret_uid = pw.uid;
  if (group.n == 0) {
    if (!pw.name || ch_isdigit(name[0])) {
      addr->message = arena_printf(a, "group missing after numerical uid %ld for require_files", (long)pw.uid);
      return ROUTE_PRE_DEFER;
    }
    *ret_gid = pw.gid;
    return ROUTE_PRE_OK;
  }
  const char *gname = str_dup(a, group);
  if (route_find_group(gname, ret_gid)) return ROUTE_PRE_OK;
  addr->message = arena_printf(a, "group \"%s\" for require_files not found", gname);
  return ROUTE_PRE_DEFER;
}

static enum route_pre files_item(struct route_ctx *rc, struct address *addr, const char *item, bool has_user, uid_t uid,
                                 gid_t gid) {
  struct arena *a = rc->x->a;
  bool invert = false, eacces_is_no = false;
  for (; *item == '!' || *item == '+'; item++) {
    if (*item == '!') invert = !invert;
    else eacces_is_no = true;
    while (ch_isspace(item[1])) item++;
  }
  if (*item != '/') {
    addr->message = arena_printf(a, "require_files: \"%s\" is not absolute", item);
    return ROUTE_PRE_DEFER;
  }
  /* The name may be tainted: nothing is opened, and only "it is there" comes back. */
  int got = route_file_exists(uid, gid, has_user, item);
  if (got == -EACCES && eacces_is_no) got = 0;
  if (got < 0) {
    addr->message = arena_printf(a, "require_files: error for %s: %s", item, strerror(-got));
    return ROUTE_PRE_DEFER;
  }
  return (got == 1) != invert ? ROUTE_PRE_OK : ROUTE_PRE_SKIP;
}

static enum route_pre pre_files(struct route_ctx *rc, const struct router *r, struct address *addr) {
  if (!r->o.require_files) return ROUTE_PRE_OK;
  struct expand_ctx *x = rc->x;
  bool has_user = false;
  uid_t uid = (uid_t)-1;
  gid_t gid = (gid_t)-1;
  const char *pos = r->o.require_files, *item;
  int sep = 0;
  while ((item = list_next(x->a, &pos, &sep))) {
    const char *s = expand_string(x, item);
    if (!s) {
      if (x->forced_fail) continue;
      addr->message = arena_printf(x->a, "failed to expand \"%s\" for require_files: %s", item, x->error ? x->error : "");
      return ROUTE_PRE_DEFER;
    }
    while (ch_isspace(*s)) s++;
    if (!*s) continue;
    enum route_pre p;
    if (!strchr(s, '/')) {
      p = files_user(rc, addr, s, &uid, &gid);
      has_user = true;
    } else {
      p = files_item(rc, addr, s, has_user, uid, gid);
    }
    if (p != ROUTE_PRE_OK) return p;
  }
  return ROUTE_PRE_OK;
}

static enum route_pre pre_condition(struct route_ctx *rc, const struct router *r, struct address *addr) {
  if (!r->o.condition) return ROUTE_PRE_OK;
  enum outcome o = expand_condition_lax(rc->x, r->o.condition);
  if (o == OUTCOME_OK) return ROUTE_PRE_OK;
  if (o == OUTCOME_FAIL || rc->x->forced_fail) return ROUTE_PRE_SKIP;
  addr->message = arena_printf(rc->x->a, "condition check lookup defer");
  if (rc->x->error && !rc->x->lookup_deferred)
    addr->message = arena_printf(rc->x->a, "failed to expand condition \"%s\" for %s router: %s", r->o.condition, r->name,
                                 rc->x->error);
  return ROUTE_PRE_DEFER;
}

/* debug_print: said before files and the condition are looked at. */
static enum route_pre pre_debug(struct route_ctx *rc, const struct router *r, struct address *addr) {
  (void)addr;
  if (!r->o.debug_print) return ROUTE_PRE_OK;
  const char *s = expand_string(rc->x, r->o.debug_print);
  bool is_checking = rc->x->conn && rc->x->conn->host_checking; /* -bh shows it, too */
  if (is_checking) narrate_flat(rc->x, D_ROUTE, "%s", s ? s : r->o.debug_print);
  else DEBUG(D_ROUTE | D_V) debug_printf("%s\n", s ? s : r->o.debug_print);
  return ROUTE_PRE_OK;
}

enum route_pre route_preconditions(struct route_ctx *rc, struct router *r, struct address *addr) {
  if (!pre_prefix(rc, r, addr) || !pre_suffix(rc, r, addr) || !pre_mode(rc, r)) return ROUTE_PRE_SKIP;
  static enum route_pre (*const steps[])(struct route_ctx *, const struct router *, struct address *) = {
      pre_lists, pre_user, pre_senders, pre_debug, pre_files, pre_condition};
  for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
    enum route_pre p = steps[i](rc, r, addr);
    if (p != ROUTE_PRE_OK) return p;
  }
  return ROUTE_PRE_OK;
}

/* Router variables r_NAME live with the address: a fresh tree each time, so that siblings do not see each other's. */
static bool copy_var(struct tree_node *node, void *ctx) {
  void **c = ctx;
  tree_insert(c[0], c[1], node->name, NULL)->data = node->data;
  return true;
}

static enum route_result set_one(struct route_ctx *rc, struct router *r, struct address *addr, const char *item) {
  struct arena *a = rc->x->a;
  struct str s = str_c(item), name = str_trim(str_cut(&s, '=')), value = str_trim(s);
  if (!str_starts(name, STR("r_")) || name.n < 3) {
    addr->message = arena_printf(a, "bad \"set\" item \"%s\" in %s router: a name starting with r_ is expected", item, r->name);
    return ROUTE_DEFER;
  }
  const char *v = expand_string(rc->x, str_dup(a, value));
  if (!v) {
    if (rc->x->forced_fail) return ROUTE_DECLINE;
    addr->message = arena_printf(a, "expansion of \"%s\" failed in %s router: %s", item, r->name,
                                 rc->x->error ? rc->x->error : "");
    return ROUTE_DEFER; /* Exim fails the address: mail would bounce because of a slip of the pen */
  }
  tree_insert(&addr->prop.router_vars, a, str_dup(a, name), NULL)->data = arena_strdup(a, v);
  return ROUTE_OK;
}

enum route_result route_set_variables(struct route_ctx *rc, struct router *r, struct address *addr) {
  struct expand_ctx *x = rc->x;
  if (r->o.set) {
    struct tree fresh = {0};
    void *ctx[2] = {&fresh, x->a};
    tree_walk(&addr->prop.router_vars, copy_var, ctx);
    addr->prop.router_vars = fresh;
    const char *pos = r->o.set, *item;
    int sep = -';';
    while ((item = list_next(x->a, &pos, &sep))) {
      if (!*item) continue;
      enum route_result res = set_one(rc, r, addr, item);
      if (res != ROUTE_OK) return res;
    }
  }
  if (!r->o.address_data) return ROUTE_OK;
  const char *s = expand_string(x, r->o.address_data);
  if (s) {
    addr->prop.address_data = s;
    return ROUTE_OK;
  }
  if (x->forced_fail) return ROUTE_DECLINE;
  addr->message = arena_printf(x->a, "expansion of \"%s\" failed in %s router: %s", r->o.address_data, r->name,
                               x->error ? x->error : "");
  return ROUTE_DEFER;
}
