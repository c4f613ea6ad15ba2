/* SPDX-License-Identifier: GPL-2.0-or-later */
/* String expansion: the walk over the text, and the public entry points.  Floor: policy.  Manual ch. 11.
 *
 * One recursive descent over the text.  Results are built in the context's arena and belong to its owner.  The text itself must be
 * trusted: tainted text with '$' or '\' is refused.  Values of variables and headers are hostile; they are only copied, never
 * looked at as syntax.  Depth is limited by EXPAND_MAX_DEPTH.
 * The one writable static is the pointer to the hooks (set once at start-up). */
#include "policy/expand.h"

#include <stdlib.h>

#include "formats/codecs.h"
#include "os/debug.h"
#include "os/priv.h"
#include "policy/acl.h"
#include "policy/expand/expand_priv.h"

static const struct expand_hooks *hooks;

void expand_set_hooks(const struct expand_hooks *h) { hooks = h; }
const struct expand_hooks *exp_hooks(void) { return hooks; }

struct expand_ctx expand_ctx_new(struct arena *a, const struct config *cfg) {
  return (struct expand_ctx){.a = a, .cfg = cfg, .initial_cwd = cfg ? cfg->initial_cwd : NULL};
}

bool exp_fail(struct expand_ctx *x, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  x->error = arena_vprintf(x->a, fmt, ap);
  va_end(ap);
  return false;
}

bool exp_fail_forced(struct expand_ctx *x, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  x->error = arena_vprintf(x->a, fmt, ap);
  va_end(ap);
  x->forced_fail = true;
  return false;
}

/* One step of an expansion costs about as much time as copying so many bytes; both are counted as work. */
enum { STEP_BYTES = 128 };

bool exp_count_work(struct expand_ctx *x, size_t bytes) {
  x->work += bytes + STEP_BYTES;
  if (x->work <= (x->work_limit ? x->work_limit : EXPAND_MAX_WORK)) return true;
  return exp_fail(x, "expansion takes too much work");
}

void exp_save(const struct expand_ctx *x, struct exp_saved *sv) {
  sv->ncaptures = x->s.ncaptures;
  memcpy(sv->captures, x->s.captures, sizeof sv->captures);
  sv->value = x->s.value;
}

void exp_restore(struct expand_ctx *x, const struct exp_saved *sv) {
  x->s.ncaptures = sv->ncaptures;
  memcpy(x->s.captures, sv->captures, sizeof sv->captures);
  x->s.value = sv->value;
}

void exp_skip_space(struct parse *ps) {
  while (ch_isspace(*ps->s)) ps->s++;
}

/* What a character is to the walk.  Texts and names are mostly a few bytes: too short for strcspn() to be quick. */
enum { NAME_CHAR = 1, ENDS_PLAIN = 2, ENDS_PLAIN_IN_BRACES = 4 };
static const unsigned char char_kind[256] = {
  ['a' ... 'z'] = NAME_CHAR, ['A' ... 'Z'] = NAME_CHAR, ['0' ... '9'] = NAME_CHAR, ['_'] = NAME_CHAR,
  ['\0'] = ENDS_PLAIN | ENDS_PLAIN_IN_BRACES, ['$'] = ENDS_PLAIN | ENDS_PLAIN_IN_BRACES, ['\\'] = ENDS_PLAIN | ENDS_PLAIN_IN_BRACES,
  ['}'] = ENDS_PLAIN_IN_BRACES,
};
static unsigned kind_of(char c) { return char_kind[(unsigned char)c]; }

struct str exp_read_name(struct parse *ps, char extra) {
  const char *start = ps->s, *s = start;
  while ((kind_of(*s) & NAME_CHAR) || (*s == extra && extra)) s++;
  ps->s = s;
  return str_n(start, (size_t)(s - start));
}

static bool fail_unclosed(struct parse *ps) {
  return exp_fail(ps->x, ps->brace_in_header
                           ? "missing } at end of string - could be header name not terminated by colon"
                           : "missing } at end of string");
}

/* Length of the text at s that is copied as it is, up to the next character with a meaning. */
static size_t plain_length(const char *s, bool in_braces) {
  const unsigned ends = in_braces ? ENDS_PLAIN_IN_BRACES : ENDS_PLAIN;
  size_t n = 0;
  while (!(kind_of(s[n]) & ends)) n++;
  return n;
}

/* Expand up to the closing brace and go behind it.  Text without syntax, the usual case, needs no builder. */
static bool inside_brace(struct parse *ps, struct str *ret) {
  size_t n = plain_length(ps->s, true);
  if (ps->s[n] == '}') {
    *ret = ps->skip ? STR("") : str_n(arena_strndup(ps->x->a, ps->s, n), n);
    ps->s += n + 1;
    return exp_count_work(ps->x, n);
  }
  struct strbuf b = strbuf_new(ps->x->a);
  if (!exp_walk(ps, &b, true)) return false;
  ps->s++;
  *ret = strbuf_str(&b);
  return true;
}

bool exp_brace(struct parse *ps, const char **ret) {
  struct str text;
  ps->s++;
  if (!inside_brace(ps, &text)) return false;
  *ret = text.p;
  return true;
}

bool exp_args(struct parse *ps, const char *name, int min, int max, bool want_close, const char **args, int *ret_n) {
  int n = 0;
  for (exp_skip_space(ps); *ps->s == '{' && n < max; exp_skip_space(ps))
    if (!exp_brace(ps, &args[n++])) return false;
  if (n < min) return exp_fail(ps->x, "Not enough arguments for '%s' (min is %d)", name, min);
  if (*ps->s == '{') return exp_fail(ps->x, "Too many arguments for '%s' (max is %d)", name, max);
  if (want_close) {
    if (*ps->s != '}') return exp_fail(ps->x, "missing '}' after '%s'", name);
    ps->s++;
  }
  *ret_n = n;
  return true;
}

static bool fail_yes_no(struct parse *ps, const char *what) {
  if (ps->brace_in_header)
    return exp_fail(ps->x, "missing or misplaced { or } - could be header name not terminated by colon");
  return exp_fail(ps->x, "curly-bracket problem in conditional yes/no parsing: %s\n remaining string is '%s'", what, ps->s);
}

/* One of the strings {yes}{no} behind an item: evaluated into out when it is wanted, else only parsed. */
static bool branch(struct parse *ps, struct strbuf *out, bool wanted) {
  bool was_skipping = ps->skip;
  ps->skip = was_skipping || !wanted;
  ps->s++;
  bool ok = exp_walk(ps, out, true);
  if (ok) ps->s++;
  ps->skip = was_skipping;
  return ok;
}

bool exp_yes_no(struct parse *ps, struct strbuf *out, bool yes, const char *type) {
  exp_skip_space(ps);
  if (*ps->s == '}') {
    ps->s++;
    if (yes && !ps->skip) strbuf_adds(out, strcmp(type, "if") == 0 ? "true" : ps->x->s.value ? ps->x->s.value : "");
    return true;
  }
  if (*ps->s != '{') return fail_yes_no(ps, "'yes' part did not start with '{'");
  if (!branch(ps, out, yes)) return false;
  exp_skip_space(ps);
  if (*ps->s == '{') {
    if (!branch(ps, out, !yes)) return false;
  } else if (*ps->s != '}') {
    struct str word = exp_read_name(ps, 0);
    if (!str_eq_c(word, "fail")) return exp_fail(ps->x, "syntax error in \"%s\" item - \"fail\" expected", type);
    if (!yes && !ps->skip) return exp_fail_forced(ps->x, "\"%s\" failed and \"fail\" requested", type);
  }
  exp_skip_space(ps);
  if (*ps->s != '}') return fail_yes_no(ps, "did not close with '}'");
  ps->s++;
  return true;
}

/* ps->s behind the backslash. */
static bool walk_escape(struct parse *ps, struct strbuf *out) {
  if (*ps->s == 'N') {
    const char *start = ++ps->s;
    while (*ps->s && !(ps->s[0] == '\\' && ps->s[1] == 'N')) ps->s++;
    if (!ps->skip) strbuf_add(out, start, (size_t)(ps->s - start));
    if (*ps->s) ps->s += 2;
    return true;
  }
  if (!*ps->s) return exp_fail(ps->x, "\\ at end of string");
  size_t used;
  int c = escape_interpret(str_n(ps->s - 1, strnlen(ps->s - 1, 8)), &used);
  if (!ps->skip) strbuf_addc(out, (char)c);
  ps->s += used - 1;
  return true;
}

static bool unknown_variable(struct expand_ctx *x, struct str name) {
  return exp_fail(x, "unknown variable name \"%.*s\"%s", STR_FMT(name), exp_var_hint(name));
}

static bool add_variable(struct parse *ps, struct strbuf *out, struct str name, bool braced) {
  bool known = true;
  if (ps->skip) {
    known = exp_var_known(name);
  } else {
    const char *v = exp_var(ps->x, name, &known);
    if (known && !v) return false;
    if (v) strbuf_adds(out, v);
  }
  if (known) return true;
  if (braced) return exp_fail(ps->x, "unknown variable in \"${%.*s}\"%s", STR_FMT(name), exp_var_hint(name));
  return unknown_variable(ps->x, name);
}

static void add_capture(struct parse *ps, struct strbuf *out, struct str digits) {
  int n;
  if (ps->skip || !str_parse_int(digits, &n) || n >= ps->x->s.ncaptures || n >= EXPAND_MAX_CAPTURES) return;
  if (ps->x->s.captures[n]) strbuf_adds(out, ps->x->s.captures[n]);
}

static struct str read_digits(struct parse *ps) {
  const char *start = ps->s;
  while (ch_isdigit(*ps->s)) ps->s++;
  return str_n(start, (size_t)(ps->s - start));
}

static bool walk_operator(struct parse *ps, struct strbuf *out, const struct exp_op *op, const char *suffix) {
  ps->s++; /* the colon */
  struct str text;
  if (!inside_brace(ps, &text)) return false;
  return ps->skip || op->apply(ps->x, out, text, op, suffix);
}

static bool walk_item(struct parse *ps, struct strbuf *out, const struct exp_item *it) {
  if (it->parse) return it->parse(ps, out);
  const char *args[EXP_MAX_ARGS];
  int n;
  if (!exp_args(ps, it->name, it->min, it->max, true, args, &n)) return false;
  return ps->skip || it->eval(ps->x, out, args, n);
}

/* ps->s behind "${". */
static bool walk_braced(struct parse *ps, struct strbuf *out) {
  if (ch_isdigit(*ps->s)) {
    struct str digits = read_digits(ps);
    if (*ps->s != '}') return exp_fail(ps->x, "} expected after number");
    ps->s++;
    add_capture(ps, out, digits);
    return true;
  }
  if (!ch_isalpha(*ps->s)) return exp_fail(ps->x, "letter or digit expected after ${");
  struct str name = exp_read_name(ps, '-');
  const char *suffix = NULL;
  const struct exp_op *op = *ps->s == ':' ? exp_op_find(ps->x, name, &suffix) : NULL;
  /* Of an item and an operator of one name the item is meant, unless the operator's numbers are there. */
  const struct exp_item *it = op && (suffix || op->apply != exp_op_numeric) ? NULL : exp_item_find(name);
  if (it) return walk_item(ps, out, it);
  if (op) return walk_operator(ps, out, op, suffix);
  if (*ps->s == '}') {
    ps->s++;
    return add_variable(ps, out, name, true);
  }
  if (*ps->s == ':') return exp_fail(ps->x, "unknown expansion operator \"%.*s\"", STR_FMT(name));
  return exp_fail(ps->x, "\"${%.*s\" is not a known operator (or a } is missing in a variable reference)", STR_FMT(name));
}

/* ps->s behind the dollar. */
static bool walk_dollar(struct parse *ps, struct strbuf *out) {
  if (*ps->s == '{') {
    ps->s++;
    return walk_braced(ps, out);
  }
  if (ch_isdigit(*ps->s)) {
    add_capture(ps, out, read_digits(ps));
    return true;
  }
  if (!ch_isalpha(*ps->s)) return exp_fail(ps->x, "$ not followed by letter, digit, or {");
  const char *start = ps->s;
  struct str name = exp_read_name(ps, 0);
  size_t prefix;
  char kind = exp_header_kind(name, &prefix);
  if (!kind) return add_variable(ps, out, name, false);
  ps->s = start + prefix;
  struct str header = exp_read_header_name(ps);
  if (ps->skip) return true;
  const char *v = exp_header(ps->x, header, kind);
  if (v) strbuf_adds(out, v);
  return true;
}

static bool walk_text(struct parse *ps, struct strbuf *out, bool in_braces) {
  for (;;) {
    size_t n = plain_length(ps->s, in_braces);
    if (n && !ps->skip) strbuf_add(out, ps->s, n);
    ps->s += n;
    if (out->n > EXPAND_MAX_BYTES) return exp_fail(ps->x, "expanded text too long (more than %d bytes)", EXPAND_MAX_BYTES);
    if (*ps->s == '}') return true;
    if (*ps->s == '\0') return in_braces ? fail_unclosed(ps) : true;
    bool ok = *ps->s++ == '\\' ? walk_escape(ps, out) : walk_dollar(ps, out);
    if (!ok) return false;
  }
}

bool exp_walk(struct parse *ps, struct strbuf *out, bool in_braces) {
  if (ps->x->depth >= EXPAND_MAX_DEPTH) return exp_fail(ps->x, "expansion nested too deeply (more than %d levels)", EXPAND_MAX_DEPTH);
  size_t had = out->n;
  const char *start = ps->s;
  ps->x->depth++;
  bool ok = walk_text(ps, out, in_braces);
  ps->x->depth--;
  return ok && exp_count_work(ps->x, (size_t)(ps->s - start) + out->n - had);
}

bool exp_nested(struct expand_ctx *x, const char *text, const char **ret) {
  if (!text[strcspn(text, "$\\")]) {
    *ret = text;
    return true;
  }
  if (is_tainted(text)) return exp_fail(x, "attempt to expand tainted string '%s'", text);
  struct parse ps = {.x = x, .s = text};
  struct strbuf b = strbuf_new(x->a);
  if (!exp_walk(&ps, &b, false)) return false;
  *ret = b.p;
  return true;
}

const char *expand_string(struct expand_ctx *x, const char *in) {
  x->forced_fail = x->lookup_deferred = false;
  x->error = NULL;
  if (x->depth == 0) x->work = 0;
  if (!in) return ""; /* an option that is not set */
  INVARIANT(!priv_is_raised());
  const char *r;
  if (exp_nested(x, in, &r)) return r;
  DEBUG(D_EXPAND) debug_printf("failed to expand \"%s\": %s\n", in, x->error);
  return NULL;
}

const char *expand_option(struct expand_ctx *x, const char *option_name, const char *in) {
  const char *r = expand_string(x, in);
  if (!r) x->error = arena_printf(x->a, "failed to expand \"%s\" (%s): %s", in, option_name, x->error);
  return r;
}

static enum outcome truth_of(struct expand_ctx *x, const char *in, bool strict) {
  const char *r = expand_string(x, in);
  bool yes;
  if (!r) return OUTCOME_DEFER;
  if (!exp_truth(x, r, strict, &yes)) {
    x->error = arena_printf(x->a, "invalid \"condition\" value \"%s\"", r);
    return OUTCOME_DEFER;
  }
  return yes ? OUTCOME_OK : OUTCOME_FAIL;
}

enum outcome expand_condition_lax(struct expand_ctx *x, const char *in) { return truth_of(x, in, false); }
enum outcome expand_condition_strict(struct expand_ctx *x, const char *in) { return truth_of(x, in, true); }

bool expand_int(struct expand_ctx *x, const char *in, int64_t *ret) {
  const char *r = expand_string(x, in);
  return r && exp_integer(x, r, ret);
}

bool expand_taint_refused(struct expand_ctx *x, const char *text, const char *what) {
  if (!is_tainted(text)) return false;
  bool is_command = strncmp(what, "command", 7) == 0;
  x->error = is_command ? arena_printf(x->a, "Tainted '%s' (%s) not permitted", text, what)
                 : arena_printf(x->a, "Tainted name '%s' for %s not permitted", text, what);
  return true;
}

static const char *saved_args_set(struct expand_ctx *x, const char *const *args, int nargs) {
  for (int i = 0; i < ACL_MAX_ARGS; i++) x->s.acl_args[i] = i + 1 < nargs ? args[i + 1] : NULL;
  x->s.acl_narg = nargs - 1;
  return args[0];
}

/* Outside a session no verification and no delay is possible: an environment with nothing in it. */
static enum outcome run_acl(struct expand_ctx *x, const char *name, const char **ret_message) {
  struct acl_env none = {0};
  struct acl_result r = acl_check(x, x->acl_env ? x->acl_env : &none, ACL_WHERE_UNKNOWN, NULL, name);
  *ret_message = r.user_message;
  return r.outcome;
}

enum outcome exp_call_acl(struct expand_ctx *x, const char *const *args, int nargs, const char **ret_message) {
  const char *old[ACL_MAX_ARGS];
  int old_narg = x->s.acl_narg;
  memcpy(old, x->s.acl_args, sizeof old);
  const char *name = saved_args_set(x, args, nargs);
  enum outcome rc = hooks && hooks->acl ? hooks->acl(x, name, ret_message) : run_acl(x, name, ret_message);
  memcpy(x->s.acl_args, old, sizeof old);
  x->s.acl_narg = old_narg;
  return rc;
}
