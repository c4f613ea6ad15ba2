/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading ACL statements: verb, conditions, modifiers, one per line.
 *
 * Floor: policy.  The lines come joined and free of macros from the configuration reader, or are the lines of
 * an inline ACL.  Everything parsed lives in the arena given.  Text is trusted configuration; inline text built
 * from foreign data never gets here (acl_run.c refuses tainted text).  Manual ch. 44 "Format of an ACL". */
#include "base/strbuf.h"
#include "policy/acl/acl_priv.h"

const char *const acl_verb_names[ACL_VERB_COUNT] = {"accept", "defer",   "deny", "discard",
                                                    "drop",   "require", "warn"};

struct parse {
  struct arena *a;
  const char *line;        /* the whole line, for messages */
  struct acl_stmt *stmt;
  struct acl_cond **tail;
  const char *error;
};

static bool find_verb(struct str word, enum acl_verb *ret) {
  for (int i = 0; i < ACL_VERB_COUNT; i++) {
    if (!str_eqic_c(word, acl_verb_names[i])) continue;
    *ret = (enum acl_verb)i;
    return true;
  }
  return false;
}

static struct str take_name(struct str *s) {
  size_t n = 0;
  while (n < s->n && (ch_isalnum(s->p[n]) || s->p[n] == '_')) n++;
  struct str name = str_n(s->p, n);
  *s = str_ltrim(str_n(s->p + n, s->n - n));
  return name;
}

/* The variable after "set". */
static bool parse_variable(struct parse *p, struct acl_cond *c, struct str *rest) {
  struct str whole = *rest;
  if (str_starts(whole, STR("dkim_verify_"))) { /* results that an ACL may overrule, manual 58.3 */
    struct str name = take_name(rest);
    static const char *const names[] = {"dkim_verify_reason", "dkim_verify_signers", "dkim_verify_status"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
      if (str_eq_c(name, names[i])) c->var = names[i];
    if (c->var) return true;
    *rest = whole;
  }
  if (!str_starts(*rest, STR("acl_c")) && !str_starts(*rest, STR("acl_m"))) {
    p->error = arena_printf(p->a, "invalid variable name after \"set\" in ACL modifier \"set %.*s\" "
                            "(must start \"acl_c\" or \"acl_m\")", STR_FMT(whole));
    return false;
  }
  struct str name = take_name(rest);
  if (name.n == 5 || (!ch_isdigit(name.p[5]) && name.p[5] != '_')) {
    p->error = arena_printf(p->a, "invalid variable name after \"set\" in ACL modifier \"set %.*s\" "
                            "(digit or underscore must follow acl_c or acl_m)", STR_FMT(whole));
    return false;
  }
  c->var = str_dup(p->a, name);
  return true;
}

static bool check_type(struct parse *p, const struct acl_cond_type *t, struct str name, bool negated) {
  if (!t) {
    p->error = arena_printf(p->a, "unknown ACL condition/modifier in \"%s\"", p->line);
    return false;
  }
  if (negated && t->flags & ACL_COND_MODIFIER) {
    p->error = arena_printf(p->a, "ACL error: negation is not allowed with \"%.*s\"", STR_FMT(name));
    return false;
  }
  if (t->flags & ACL_COND_UNBUILT) {
    p->error = arena_printf(p->a, "ACL condition \"%s\" is not supported by this build", t->name);
    return false;
  }
  return true;
}

static bool parse_condition(struct parse *p, struct str rest) {
  bool negated = false;
  while (rest.n > 0 && rest.p[0] == '!') {
    negated = !negated;
    rest = str_ltrim(str_n(rest.p + 1, rest.n - 1));
  }
  struct str name = take_name(&rest);
  const struct acl_cond_type *t = acl_find_cond_type(name);
  if (!check_type(p, t, name, negated)) return false;
  struct acl_cond *c = ARENA_NEW(p->a, struct acl_cond);
  c->type = t;
  c->negated = negated;
  if (t->flags & ACL_COND_NOARG) {
    if (p->stmt->verb != ACL_ACCEPT && p->stmt->verb != ACL_DISCARD) {
      p->error = arena_printf(p->a, "ACL error: \"%s\" is not allowed with \"%s\"", t->name,
                              acl_verb_names[p->stmt->verb]);
      return false;
    }
  } else {
    if (strcmp(t->name, "set") == 0 && !parse_variable(p, c, &rest)) return false;
    if (rest.n == 0 || rest.p[0] != '=') {
      p->error = arena_printf(p->a, "\"=\" missing after ACL \"%s\" %s", t->name,
                              t->flags & ACL_COND_MODIFIER ? "modifier" : "condition");
      return false;
    }
    c->arg = str_dup(p->a, str_ltrim(str_n(rest.p + 1, rest.n - 1)));
    if (strcmp(t->name, "control") == 0 && (p->error = acl_control_refusal(p->a, c->arg))) return false;
    if (strcmp(t->name, "verify") == 0 && (p->error = acl_verify_refusal(p->a, c->arg))) return false;
  }
  *p->tail = c;
  p->tail = &c->next;
  return true;
}

/* Does the line name the next ACL ("name:")? */
static bool is_acl_name(struct str s) {
  size_t n = 0;
  while (n < s.n && (ch_isalnum(s.p[n]) || strchr("_-.", s.p[n]))) n++;
  if (n == 0) return false;
  s = str_ltrim(str_n(s.p + n, s.n - n));
  return s.n == 1 && s.p[0] == ':';
}

struct acl *acl_parse(struct arena *a, struct acl_reader *r, const char *name, const char **ret_error,
                      struct conf_pos *ret_error_pos) {
  struct acl *acl = ARENA_NEW(a, struct acl);
  struct acl_stmt **stmt_tail = &acl->stmts;
  struct parse p = {.a = a};
  struct conf_pos pos = {NULL, 0};
  acl->name = name ? arena_strdup(a, name) : NULL;
  while ((p.line = r->next_line(r, &pos))) {
    struct str rest = str_ltrim(str_c(p.line));
    if (rest.n == 0) continue;
    if (is_acl_name(rest)) {
      if (r->unread_line) r->unread_line(r);
      break;
    }
    struct str after = rest, word = take_name(&after);
    enum acl_verb verb;
    if (find_verb(word, &verb)) {
      struct acl_stmt *s = ARENA_NEW(a, struct acl_stmt);
      s->verb = verb;
      s->pos = pos;
      if (!acl->stmts) acl->pos = pos;
      *stmt_tail = s;
      stmt_tail = &s->next;
      p.stmt = s;
      p.tail = &s->conds;
      rest = after;
    } else if (!p.stmt) {
      p.error = arena_printf(a, "unknown ACL verb \"%.*s\" in \"%s\"", STR_FMT(word), p.line);
    }
    if (!p.error && rest.n > 0) parse_condition(&p, rest);
    if (!p.error) continue;
    *ret_error = p.error;
    if (ret_error_pos) *ret_error_pos = pos;
    return NULL;
  }
  return acl;
}
