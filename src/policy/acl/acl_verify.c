/* SPDX-License-Identifier: GPL-2.0-or-later */
/* verify = ...: what can be checked here, and the calls to the flows (struct acl_env) for the rest.
 *
 * Floor: policy.  The result for the message's sender is kept with the message.  Header texts are hostile.
 * Manual ch. 44 "Address verification". */
#include "buildconfig.h"
#include "os/debug.h"
#include "os/log.h"
#include "policy/acl/acl_priv.h"
#include "policy/match.h"
#include "policy/narrate.h"
#include "policy/rewrite.h"

static const char expected_text[] =
  "expected \"sender[=address]\", \"recipient\", \"helo\", \"header_syntax\", \"header_sender\", "
  "\"header_names_ascii\" or \"reverse_host_lookup\" at start of ACL condition \"verify %s\"";

static enum outcome not_here(struct acl_run *r, const char *what) {
  r->log_text = arena_printf(r->x->a, "cannot verify %s in ACL for %s", what, acl_where_name(r->where));
  return OUTCOME_ERROR;
}

static enum outcome not_built(struct acl_run *r, const char *what) {
  r->log_text = arena_printf(r->x->a, "ACL condition \"verify = %s\" is not supported by this build", what);
  return OUTCOME_ERROR;
}

/* ---- sender and recipient ---- */

static bool has_option(struct str opts, const char *name) {
  while (opts.n > 0)
    if (str_eq_c(str_trim(str_cut(&opts, '/')), name)) return true;
  return false;
}

static enum outcome bad_option(struct acl_run *r, const char *error) {
  r->log_text = error;
  return OUTCOME_ERROR;
}

/* Verify an address in a check of its own. */
static enum outcome address_check(struct acl_run *r, const char *address, const struct verify_opts *o, struct verify_report *ret) {
  enum outcome outcome = r->env->verify_address(r->env, r->x, address, o, ret);
  narrate(r->x, D_ACL, "----------- end verify ------------");
  return outcome;
}

static const char *keep(struct message *m, const char *text) { return text ? arena_strdup(m->arena, text) : NULL; }

static struct sender_check *find_sender_check(const struct message *m, const char *address) {
  struct sender_check *c = m->sender_checks;
  while (c && strcmp(c->address, address) != 0) c = c->next;
  return c;
}

/* What is known of an address without having asked its host; NULL: nothing. */
static struct sender_check *known_sender(const struct message *m, const char *address) {
  struct sender_check *c = find_sender_check(m, address);
  return c && !c->by_callout ? c : NULL;
}

/* What a refusal will tell the client and the log about the sender; without a callout it also serves the next time. */
static void remember_sender(struct message *m, const char *address, enum outcome o, const struct verify_opts *opts,
                            const struct verify_report *v) {
  struct sender_check *c = find_sender_check(m, address);
  if (!c) {
    c = ARENA_NEW(m->arena, struct sender_check);
    *c = (struct sender_check){.address = keep(m, address), .next = m->sender_checks};
    m->sender_checks = c;
  }
  c->by_callout = v->by_callout;
  c->result = o;
  c->user = keep(m, v->user);
  c->log = keep(m, v->log);
  c->details = keep(m, v->details);
  c->failure = v->failure;
  c->is_reported = opts->no_details;
  m->sender_check = c;
}

static enum outcome sender_failed(struct acl_run *r, enum outcome o, const struct verify_report *v) {
  r->user_text = o == OUTCOME_FAIL ? "Sender verify failed" : NULL;
  r->log_text = o == OUTCOME_FAIL ? NULL : "Could not complete sender verify";
  r->x->acl_verify_message = r->user_text ? r->user_text : r->log_text;
  if (!v->by_callout) return o;
  if (o == OUTCOME_DEFER) {
    r->log_text = "Could not complete sender verify callout";
    r->user_text = v->user;
  }
  r->x->acl_verify_message = r->user_text;
  return o;
}

static enum outcome verify_sender(struct acl_run *r, const char *arg, const char *address, struct str rest) {
  struct message *m = r->x->msg;
  struct verify_opts opts = {.what = VERIFY_OF_SENDER};
  const char *error = acl_parse_verify_opts(r->x->a, arg, rest, &opts);
  if (error) return bad_option(r, error);
  if (!m || !m->sender) return OUTCOME_ERROR;
  if (!r->env->verify_address) return not_built(r, "sender");
  if (!address) {
    rewrite_message_sender(r->x);
    address = m->sender;
  }
  struct verify_report v = {.user = NULL};
  enum outcome o;
  struct sender_check *known = opts.callout ? NULL : known_sender(m, address);
  if (known) {
    narrate(r->x, D_ACL, "using cached sender verify result");
    m->sender_check = known;
    o = (enum outcome)known->result;
    v = (struct verify_report){.user = known->user, .log = known->log, .failure = known->failure};
  } else {
    o = *address ? address_check(r, address, &opts, &v) : OUTCOME_OK;
    if (o == OUTCOME_OK || o == OUTCOME_FAIL || o == OUTCOME_DEFER) remember_sender(m, address, o, &opts, &v);
  }
  r->x->sender_verify_failure = v.failure;
  if (o == OUTCOME_OK) return o;
  if (o == OUTCOME_ERROR) return bad_option(r, v.log);
  enum outcome failed = sender_failed(r, o, &v);
  return o == OUTCOME_DEFER && opts.defer_ok ? OUTCOME_OK : failed;
}

static enum outcome verify_recipient(struct acl_run *r, const char *arg, struct str rest) {
  struct verify_opts opts = {.what = VERIFY_OF_RECIPIENT};
  const char *error = acl_parse_verify_opts(r->x->a, arg, rest, &opts);
  if (error) return bad_option(r, error);
  if (!r->env->verify_address) return not_built(r, "recipient");
  if (!r->recipient) return OUTCOME_OK;
  struct verify_report v = {.user = NULL};
  const char *address = r->recipient;
  /* Rewritten for this check only (manual 31.2). */
  if (r->x->cfg->rewrite_rules) address = rewrite_address(r->x, address, REWRITE_ENVTO, r->x->cfg->rewrite_rules);
  enum outcome o = address_check(r, address, &opts, &v);
  r->x->recipient_verify_failure = v.failure;
  if (o == OUTCOME_OK) return o;
  if (o == OUTCOME_DEFER && opts.defer_ok) return OUTCOME_OK;
  r->user_text = v.user;
  r->log_is_user = v.by_callout && !v.log;
  r->log_text = v.log && *v.log ? v.log : v.user;
  if (o == OUTCOME_DEFER && !r->log_text) r->log_text = "Could not complete recipient verify";
  r->x->acl_verify_message = v.user ? v.user : r->log_text;
  return o;
}

/* ---- headers ---- */

static enum outcome header_names_ascii(struct acl_run *r) {
  for (const struct header_line *h = r->x->msg ? r->x->msg->headers : NULL; h; h = h->next) {
    size_t n = str_index(str_n(h->text, h->n), ':');
    if (h->type == '*') continue;
    for (size_t i = 0; i < n; i++) {
      if (ch_isgraph((unsigned char)h->text[i]) || ch_isblank(h->text[i])) continue;
      r->log_text = arena_printf(r->x->a, "Invalid character in header \"%.*s\" found", (int)n, h->text);
      return OUTCOME_FAIL;
    }
  }
  return OUTCOME_OK;
}

/* Call fn for each address of a header line (item: as it stands there, with what there is of a group; address: NULL if it is none) until it
 * returns true.  ret_bad: NULL, or what is wrong with the first that is none, which is the last looked at then. */
static bool each_address(struct acl_run *r, const struct header_line *h,
                         bool (*fn)(struct acl_run *r, const char *address, struct str item, void *ctx), void *ctx,
                         const char **ret_bad) {
  struct str name, value;
  if (!header_split(str_n(h->text, h->n), &name, &value)) return false;
  struct addr_opts o = {.allow_empty = true, .allow_domain_literal = r->x->cfg->o.allow_domain_literals};
  while ((value = str_ltrim(value)).n > 0) {
    size_t n = rfc5322_find_address_end(value);
    size_t domain;
    bool ends_group = n < value.n && value.p[n] == ';';
    struct str whole = str_trim(str_n(value.p, MIN(n + ends_group, value.n))), item = str_trim(rfc5322_strip_group(whole));
    const char *error = NULL, *address = item.n ? rfc5322_extract_address(r->x->a, item, o, &domain, &error) : NULL;
    if (whole.n && fn(r, address, whole, ctx)) return true;
    if (item.n && !address && ret_bad) *ret_bad = arena_printf(r->x->a, "%s in \"%.*s\"", error ? error : "", STR_FMT(item));
    if (n >= value.n || (ret_bad && *ret_bad)) break;
    value = str_n(value.p + n + 1, value.n - n - 1);
  }
  return false;
}

static bool same_address(struct acl_run *r, const char *address, struct str item, void *ctx) {
  (void)r;
  (void)item;
  struct { const char *want; bool caseless; } *w = ctx;
  struct str l1, d1, l2, d2;
  if (!address || !addr_split(address, &l1, &d1) || !addr_split(w->want, &l2, &d2)) return false;
  return str_eqic(d1, d2) && (w->caseless ? str_eqic(l1, l2) : str_eq(l1, l2));
}

static enum outcome not_blind(struct acl_run *r, struct str opts) {
  struct message *m = r->x->msg;
  for (size_t i = 0; m && i < m->recipient_count; i++) {
    struct { const char *want; bool caseless; } w = {m->recipients[i].address, has_option(opts, "case_insensitive")};
    bool found = false;
    for (const struct header_line *h = m->headers; h && !found; h = h->next)
      if (h->type == 'T' || h->type == 'C') found = each_address(r, h, same_address, &w, NULL);
    if (found) continue;
    r->log_text = "bcc recipient detected";
    return OUTCOME_FAIL;
  }
  return OUTCOME_OK;
}

struct sender_search {
  struct verify_opts opts;
  const char *name;          /* of the header line */
  bool deferred;
};

static bool sender_verifies(struct acl_run *r, const char *address, struct str item, void *ctx) {
  struct sender_search *s = ctx;
  const struct message *m = r->x->msg;
  struct verify_report v = {.user = NULL};
  const struct sender_check *known = s->opts.callout || !m->sender ? NULL : known_sender(m, m->sender);
  enum outcome o;
  narrate_flat(r->x, D_ACL, "verifying %s: header address %.*s", s->name, STR_FMT(item));
  if (!address || !*address) return false;
  if (known && str_eq_c(item, m->sender)) {
    narrate_flat(r->x, D_ACL, "previously checked as envelope sender");
    o = (enum outcome)known->result;
  } else {
    o = r->env->verify_address(r->env, r->x, address, &s->opts, &v);
    r->x->sender_verify_failure = v.failure;
    r->x->acl_verify_message = NULL;
  }
  if (o == OUTCOME_DEFER || o == OUTCOME_ERROR) s->deferred = true;
  return o == OUTCOME_OK;
}

static enum outcome header_sender(struct acl_run *r, const char *arg, struct str rest) {
  static const char *const names[] = {"Sender", "Reply-To", "From"};
  struct sender_search s = {.opts = {.what = VERIFY_OF_HEADER}};
  const char *error = acl_parse_verify_opts(r->x->a, arg, rest, &s.opts);
  if (error) return bad_option(r, error);
  if (!r->env->verify_address) return not_built(r, "header_sender");
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    for (struct header_line *h = NULL; r->x->msg && (h = message_find_header(r->x->msg, names[i], h));) {
      const char *bad = NULL;
      if (s.name = names[i], each_address(r, h, sender_verifies, &s, &bad)) return OUTCOME_OK;
      if (!bad) continue;
      r->x->acl_verify_message = NULL;
      r->log_text = arena_printf(r->x->a, "syntax error in '%s:' header when scanning for sender: %s", names[i], bad);
      return OUTCOME_FAIL;
    }
  if (s.deferred && s.opts.defer_ok) return OUTCOME_OK;
  r->log_text = s.deferred ? "all attempts to verify a sender in a header line deferred"
                           : "there is no valid sender in any header line";
  return s.deferred ? OUTCOME_DEFER : OUTCOME_FAIL;
}

static enum outcome header_syntax(struct acl_run *r) {
  if (!r->env->verify_header_syntax) return not_built(r, "header_syntax");
  return r->env->verify_header_syntax(r->env, r->x, &r->user_text, &r->log_text);
}

static enum outcome reverse_lookup(struct acl_run *r, struct str opts) {
  if (!r->x->conn || !r->x->conn->from.host_address) return OUTCOME_OK;
  if (!r->env->verify_reverse) return not_built(r, "reverse_host_lookup");
  if (!r->x->conn->from.host_name && !r->x->conn->from.host_lookup_failed)
    narrate(r->x, D_ACL, "looking up host name to force name/address consistency check");
  enum outcome o = r->env->verify_reverse(r->env, r->x, &r->log_text);
  if (o == OUTCOME_DEFER && has_option(opts, "defer_ok")) return OUTCOME_OK;
  if (o == OUTCOME_FAIL)
    r->log_text = arena_printf(r->x->a, "host lookup failed for reverse lookup check%s", r->log_text ? r->log_text : "");
  else if (o == OUTCOME_DEFER) r->log_text = "host lookup deferred for reverse lookup check";
  return o;
}

/* The domain may be given; it was expanded with the rest. */
static enum outcome csa(struct acl_run *r, struct str domain) {
  const struct acl_hooks *h = acl_get_hooks();
  if (!h || !h->csa) return not_built(r, "csa");
  return h->csa(r->x, domain.n ? str_dup(r->x->a, str_trim(domain)) : NULL, &r->log_text);
}

static enum outcome arc(struct acl_run *r, const char *arg, struct str list) {
  const struct acl_hooks *h = acl_get_hooks();
  if (!CFG_EXPERIMENTAL_ARC || !h || !h->arc) return not_built(r, arg);
  if (r->where != ACL_WHERE_DATA) return not_here(r, "arc");
  return h->arc(r->x, str_dup(r->x->a, list), &r->log_text);
}

/* What takes no options. */
static bool has_no_options(struct str word) {
  static const char *const names[] = {"certificate", "helo", "header_syntax", "header_names_ascii"};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    if (str_eqic_c(word, names[i])) return true;
  return false;
}

static enum outcome verify_header(struct acl_run *r, const char *arg, struct str word, struct str rest) {
  bool have_data = 1u << r->where & ACL_HAVE_DATA_BITS;
  if (!have_data) return not_here(r, str_dup_lower(r->x->a, word));
  if (str_eqic(word, STR("header_syntax"))) return header_syntax(r);
  if (str_eqic(word, STR("header_sender"))) return header_sender(r, arg, rest);
  if (str_eqic(word, STR("header_names_ascii"))) return header_names_ascii(r);
  return not_blind(r, rest);
}

static enum outcome verify_word(struct acl_run *r, const char *arg) {
  struct str rest = str_trim(str_c(arg)), word = str_trim(str_cut(&rest, '/'));
  rest = str_n(rest.n > 0 ? rest.p : "", rest.n);
  unsigned here = 1u << r->where;
  if (strchr(arg, '/') && has_no_options(word))
    return bad_option(r, arena_printf(r->x->a, "unexpected '/' found in \"%s\" (this verify item has no options)", arg));
  if (str_eqic(word, STR("reverse_host_lookup"))) return reverse_lookup(r, rest);
  if (str_eqic(word, STR("certificate")))
    return r->x->conn && r->x->conn->from.tls.certificate_verified ? OUTCOME_OK : OUTCOME_FAIL;
  if (str_eqic(word, STR("helo"))) {
    if (!r->x->conn || !r->x->conn->from.host_address) return OUTCOME_OK;
    return r->env->verify_helo ? r->env->verify_helo(r->env, r->x) : not_built(r, "helo");
  }
  if (str_eqic(word, STR("csa"))) return csa(r, rest);
  if (str_eqic(word, STR("arc"))) return arc(r, arg, rest);
  if (str_eqic(word, STR("header_syntax")) || str_eqic(word, STR("header_sender")) || str_eqic(word, STR("header_names_ascii")) ||
      str_eqic(word, STR("not_blind")))
    return verify_header(r, arg, word, rest);
  if (str_eqic(word, STR("recipient")))
    return r->where == ACL_WHERE_RCPT ? verify_recipient(r, arg, rest) : not_here(r, "recipient");
  if (str_startsic(word, STR("sender"))) {
    struct str after = str_ltrim(str_n(word.p + 6, word.n - 6));
    if (after.n > 0 && after.p[0] != '=') goto bad;
    if (!(here & (ACL_BIT(MAIL) | ACL_BIT(RCPT) | ACL_BIT(PREDATA) | ACL_HAVE_DATA_BITS)))
      return not_here(r, "sender");
    return verify_sender(r, arg, after.n > 0 ? str_dup(r->x->a, str_trim(str_n(after.p + 1, after.n - 1))) : NULL, rest);
  }
bad:
  r->log_text = arena_printf(r->x->a, expected_text, arg);
  return OUTCOME_ERROR;
}

const char *acl_verify_refusal(struct arena *a, const char *arg) {
  static const char *const unbuilt[] = {CFG_EXPERIMENTAL_ARC ? "" : "arc"};
  struct str rest = str_c(arg);
  while (rest.n > 0) {
    struct str option = str_trim(str_cut(&rest, '/')), word = str_trim(str_cut(&option, '='));
    for (size_t i = 0; i < ARRAY_SIZE(unbuilt); i++)
      if (str_eqic_c(word, unbuilt[i])) return arena_printf(a, "ACL condition \"verify = %s\" is not supported by this build", arg);
  }
  return NULL;
}

enum outcome acl_cond_verify(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  narrate_indent(1);
  enum outcome o = verify_word(r, arg);
  narrate_indent(-1);
  bool gives_reason = r->x->cfg->o.smtp_return_error_details && (o == OUTCOME_FAIL || o == OUTCOME_DEFER);
  if (gives_reason && !r->user_text && r->log_text) {
    bool of_header = str_startsic(str_trim(str_c(arg)), STR("header_")) || str_startsic(str_trim(str_c(arg)), STR("not_blind"));
    r->user_text = of_header ? arena_printf(r->x->a, "Rejected after DATA: %s", r->log_text) : r->log_text;
    r->x->acl_verify_message = r->user_text;
  }
  return o;
}
