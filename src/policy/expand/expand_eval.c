/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arithmetic of ${eval and ${eval10.  Floor: policy.
 *
 * Precedence as in C without comparisons (manual section 11.6): ~ - + over * / % over + - over << >> over & over ^ over |.
 * 64-bit signed; overflow of sums and products is an error, shift counts are taken modulo 64.  The text is hostile: depth is limited. */
#include "policy/expand/expand_priv.h"

enum { EVAL_MAX_DEPTH = 100 };

struct eval {
  const char *s;
  bool decimal;
  int depth;
  const char *error;
};

static int64_t eval_or(struct eval *e);

static void skip_space(struct eval *e) {
  while (ch_isspace(*e->s)) e->s++;
}

static int64_t fail(struct eval *e, const char *why) {
  if (!e->error) e->error = why;
  return 0;
}

static int digit_below(int c, int base) {
  int d = ch_hexval(c);
  return d >= 0 && d < base ? d : -1;
}

/* Too large a number is held at the largest, as the C library's conversion does. */
static int64_t eval_number(struct eval *e) {
  int base = 10, d, shift = 0;
  int64_t v = 0;
  if (!e->decimal && *e->s == '0') {
    base = 8;
    if (ch_lower(e->s[1]) == 'x') {
      base = 16;
      e->s += 2;
    }
  }
  for (; (d = digit_below(*e->s, base)) >= 0; e->s++)
    if (__builtin_mul_overflow(v, (int64_t)base, &v) || __builtin_add_overflow(v, (int64_t)d, &v)) v = INT64_MAX;
  switch (ch_lower(*e->s)) {
  case 'k': shift = 10; break;
  case 'm': shift = 20; break;
  case 'g': shift = 30; break;
  default: return v;
  }
  e->s++;
  return __builtin_mul_overflow(v, (int64_t)1 << shift, &v) ? fail(e, "overflow in number") : v;
}

static int64_t eval_primary(struct eval *e) {
  skip_space(e);
  int64_t v = 0;
  if (e->error) return 0;
  if (++e->depth > EVAL_MAX_DEPTH) return fail(e, "expression nested too deeply");
  char c = *e->s;
  if (ch_isdigit(c)) {
    v = eval_number(e);
  } else if (c == '+') {
    e->s++;
    v = eval_primary(e);
  } else if (c == '-') {
    e->s++;
    v = eval_primary(e);
    v = (int64_t)(0 - (uint64_t)v);
  } else if (c == '~') {
    e->s++;
    v = ~eval_primary(e);
  } else if (c == '(') {
    e->s++;
    v = eval_or(e);
    if (!e->error && *e->s != ')') return fail(e, "expecting closing parenthesis");
    if (!e->error) e->s++;
  } else {
    return fail(e, "expecting number or opening parenthesis");
  }
  e->depth--;
  if (!e->error) skip_space(e);
  return v;
}

static int64_t divide(struct eval *e, char op, int64_t a, int64_t b) {
  if (b == 0) return fail(e, op == '/' ? "divide by zero" : "modulo by zero");
  if (b == -1) /* the one quotient that does not fit; Exim's answer to it is the largest number */
    return a == INT64_MIN ? INT64_MAX : op == '/' ? -a : 0;
  return op == '/' ? a / b : a % b;
}

static int64_t eval_product(struct eval *e) {
  int64_t v = eval_primary(e);
  while (!e->error && (*e->s == '*' || *e->s == '/' || *e->s == '%')) {
    char op = *e->s++;
    int64_t w = eval_primary(e);
    if (e->error) break;
    if (op != '*')
      v = divide(e, op, v, w);
    else if (__builtin_mul_overflow(v, w, &v))
      return fail(e, "overflow in multiplication");
  }
  return v;
}

static int64_t eval_sum(struct eval *e) {
  int64_t v = eval_product(e);
  while (!e->error && (*e->s == '+' || *e->s == '-')) {
    char op = *e->s++;
    int64_t w = eval_product(e);
    if (e->error) break;
    if (op == '+' ? __builtin_add_overflow(v, w, &v) : __builtin_sub_overflow(v, w, &v))
      return fail(e, op == '+' ? "overflow in sum" : "overflow in difference");
  }
  return v;
}

static int64_t eval_shift(struct eval *e) {
  int64_t v = eval_sum(e);
  while (!e->error && ((e->s[0] == '<' && e->s[1] == '<') || (e->s[0] == '>' && e->s[1] == '>'))) {
    char op = *e->s;
    e->s += 2;
    unsigned n = (unsigned)((uint64_t)eval_sum(e) & 63);
    if (op == '<')
      v = (int64_t)((uint64_t)v << n);
    else
      v = v < 0 ? ~(~v >> n) : v >> n;
  }
  return v;
}

static int64_t eval_and(struct eval *e) {
  int64_t v = eval_shift(e);
  while (!e->error && *e->s == '&') {
    e->s++;
    v &= eval_shift(e);
  }
  return v;
}

static int64_t eval_xor(struct eval *e) {
  int64_t v = eval_and(e);
  while (!e->error && *e->s == '^') {
    e->s++;
    v ^= eval_and(e);
  }
  return v;
}

static int64_t eval_or(struct eval *e) {
  int64_t v = eval_xor(e);
  while (!e->error && *e->s == '|') {
    e->s++;
    v |= eval_xor(e);
  }
  return v;
}

/* Arithmetic: NULL on success, else the reason; *ret_pos: how far the text was understood. */
static const char *exp_eval(const char *text, bool decimal, int64_t *ret, size_t *ret_pos) {
  struct eval e = {.s = text, .decimal = decimal};
  int64_t v = eval_or(&e);
  if (!e.error && *e.s) e.error = "expecting operator";
  *ret_pos = (size_t)(e.s - text);
  if (!e.error) *ret = v;
  return e.error;
}

bool exp_op_eval(struct expand_ctx *x, struct strbuf *out, struct str arg, const struct exp_op *op, const char *suffix UNUSED) {
  int64_t v;
  size_t pos;
  const char *why = exp_eval(arg.p, op->kind == 10, &v, &pos);
  if (why)
    return exp_fail(x, "error in expression evaluation: %s (after processing \"%.*s\")", why, (int)pos, arg.p);
  if (is_tainted(arg.p)) strbuf_taint(out);
  strbuf_add_int(out, v);
  return true;
}
