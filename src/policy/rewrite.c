/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Address rewriting: rules, addresses, header lines.  Floor: policy.  Manual ch. 31.
 *
 * Addresses are hostile; patterns and replacements are configuration.  A rule whose replacement fails is skipped (forced failure) or
 * ends the rewriting of that address (any other failure), and the address stays as it was; rewriting never loses one.
 * Log lines: "\"old\" from <header> rewritten as \"new\" by rule n" with log selector address_rewrite.  Results lie in x->a. */

#include "policy/rewrite.h"

#include "os/debug.h"
#include "os/log.h"
#include "policy/match.h"

enum { REPEAT_MAX = 10 };

/* ---- rules ---- */

/* The next word of a rule; one in double quotes is unescaped. */
static const char *take_word(struct arena *a, struct str *s) {
  *s = str_ltrim(*s);
  if (s->n == 0) return NULL;
  if (s->p[0] != '"') return str_dup(a, str_word(s));
  struct strbuf b = strbuf_new(a);
  size_t i = 1;
  for (; i < s->n && s->p[i] != '"'; i++) {
    char c = s->p[i];
    if (c == '\\' && i + 1 < s->n) {
      c = s->p[++i];
      c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
    }
    strbuf_addc(&b, c);
  }
  i = MIN(i + 1, s->n);
  *s = str_n(s->p + i, s->n - i);
  return b.p;
}

static const struct {
  char letter;
  unsigned flags;
} flag_letters[] = {
  {'E', REWRITE_ENVFROM | REWRITE_ENVTO}, {'F', REWRITE_ENVFROM}, {'Q', REWRITE_QUALIFY}, {'R', REWRITE_REPEAT}, {'S', REWRITE_SMTP},
  {'T', REWRITE_ENVTO},                   {'b', REWRITE_BCC},     {'c', REWRITE_CC},      {'f', REWRITE_FROM},   {'h', REWRITE_HEADERS},
  {'q', REWRITE_QUIT},                    {'r', REWRITE_REPLYTO}, {'s', REWRITE_SENDER},  {'t', REWRITE_TO},     {'w', REWRITE_WHOLE},
};

enum { PLACES = REWRITE_HEADERS | REWRITE_ENVFROM | REWRITE_ENVTO | REWRITE_SMTP };

const char *rewrite_parse_rule(struct arena *a, const char *line, struct conf_pos pos, int number, struct rewrite_rule *ret) {
  struct str s = str_c(line);
  struct rewrite_rule r = {.number = number, .pos = pos};
  r.pattern = take_word(a, &s);
  r.replacement = take_word(a, &s);
  if (!r.pattern || !r.replacement) return "missing rewrite replacement string";
  for (s = str_trim(s); s.n > 0; s = str_n(s.p + 1, s.n - 1)) {
    size_t i = 0;
    if (ch_isspace(s.p[0])) continue;
    while (i < ARRAY_SIZE(flag_letters) && flag_letters[i].letter != s.p[0]) i++;
    if (i == ARRAY_SIZE(flag_letters)) return arena_printf_t(a, UNTAINTED, "unknown rewrite flag character '%c' (could be missing quotes round replacement item)", s.p[0]);
    r.flags |= flag_letters[i].flags;
  }
  if (!(r.flags & PLACES)) r.flags |= REWRITE_HEADERS | REWRITE_ENVFROM | REWRITE_ENVTO;
  if (r.flags & REWRITE_SMTP && r.pattern[0] != '^' && strncmp(r.pattern, "\\N^", 3) != 0)
    return "rewrite rule has the S flag but is not a regular expression";
  *ret = r;
  return NULL;
}

/* ---- one address ---- */

static const char *place_name(unsigned flag) {
  static const struct {
    unsigned flag;
    const char *name;
  } names[] = {{REWRITE_SENDER, "sender"}, {REWRITE_FROM, "from"},         {REWRITE_TO, "to"},          {REWRITE_CC, "cc"},
               {REWRITE_BCC, "bcc"},       {REWRITE_REPLYTO, "reply-to"},  {REWRITE_ENVFROM, "env-from"}, {REWRITE_ENVTO, "env-to"},
               {REWRITE_SMTP, "SMTP"}};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    if (flag & names[i].flag) return names[i].name;
  return "address";
}

static bool rule_matches(struct expand_ctx *x, const struct rewrite_rule *r, const char *address) {
  struct match_opts o = {.allow_named = true, .want_captures = true};
  if (r->flags & REWRITE_SMTP) {
    const char *pattern = expand_string(x, r->pattern);
    return pattern && regex_match(x, pattern, true, str_c(address), true) == OUTCOME_OK;
  }
  /* As a list of one item: a separator that occurs in no pattern keeps it one. */
  if (match_list(x, LIST_ADDRESS, address, arena_printf(x->a, "<\x7f %s", r->pattern), &o) != OUTCOME_OK) return false;
  x->s.captures[0] = address;
  if (x->s.ncaptures == 0) x->s.ncaptures = 1;
  return true;
}

/* The replacement made into a whole, valid address.  NULL: not usable.  whole: "name <address>" is kept for headers. */
static const char *check_result(struct expand_ctx *x, const struct rewrite_rule *r, const char *text, const char *old, const char **ret_whole) {
  const char *error = NULL;
  size_t domain = 0;
  struct addr_opts o = {.allow_domain_literal = x->cfg->o.allow_domain_literals};
  *ret_whole = NULL;
  if (r->flags & REWRITE_SMTP) return text;
  const char *a = rfc5322_extract_address(x->a, str_c(text), o, &domain, &error);
  if (a && domain == 0 && r->flags & REWRITE_QUALIFY) {
    a = arena_printf(x->a, "%s@%s", a, x->cfg->qualify_recipient);
    domain = 1;
  }
  if (!a || domain == 0) {
    log_write(LS_ALWAYS, LOG_MAIN, "Rewrite of %s yielded unparseable address: %s in address %s", old, a ? "missing domain" : error, text);
    return NULL;
  }
  if (r->flags & REWRITE_WHOLE) *ret_whole = text;
  return a;
}

enum step { STEP_NOTHING, STEP_REWRITTEN, STEP_STOP };

/* Apply one rule once. */
static enum step apply_rule(struct expand_ctx *x, const struct rewrite_rule *r, unsigned flag, const char **address, const char **ret_whole) {
  struct str local, domain;
  struct expand_scope saved = x->s;
  const char *saved_local = x->local_part_override, *saved_domain = x->domain_override, *whole = NULL;
  enum step step = STEP_NOTHING;
  bool is_smtp = (r->flags & REWRITE_SMTP) != 0;
  if (addr_split(*address, &local, &domain) && !is_smtp) {
    x->local_part_override = str_dup(x->a, local);
    x->domain_override = str_dup(x->a, domain);
  }
  if (rule_matches(x, r, *address)) {
    if (strcmp(r->replacement, "*") == 0) {
      step = STEP_STOP;
    } else {
      x->forced_fail = false;
      const char *text = expand_string(x, r->replacement);
      if (!text) {
        if (!x->forced_fail) {
          log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "Expansion of %s failed while rewriting: %s", r->replacement, x->error ? x->error : "");
          step = STEP_STOP;
        }
      } else if ((text = check_result(x, r, text, *address, &whole)) == NULL) {
        step = STEP_STOP;
      } else {
        log_write(LS_ADDRESS_REWRITE, LOG_MAIN, "\"%s\" from %s rewritten as \"%s\" by rule %d", *address, place_name(flag), text, r->number);
        DEBUG(D_REWRITE) debug_printf("%s rewritten as %s by rule %d\n", *address, text, r->number);
        *address = text;
        if (whole) *ret_whole = whole;
        step = STEP_REWRITTEN;
      }
    }
    if (step == STEP_NOTHING && r->flags & REWRITE_QUIT) step = STEP_STOP;
  }
  x->s = saved;
  x->local_part_override = saved_local;
  x->domain_override = saved_domain;
  return step;
}

static const char *rewrite_one(struct expand_ctx *x, const char *address, unsigned flag, const struct rewrite_rule *rules, const char **ret_whole) {
  for (const struct rewrite_rule *r = rules; r; r = r->next) {
    if (!(r->flags & flag)) continue;
    enum step step = apply_rule(x, r, flag, &address, ret_whole);
    if (step == STEP_STOP) break;
    if (step == STEP_NOTHING) continue;
    if (r->flags & REWRITE_REPEAT) {
      int count = 1;
      while (count < REPEAT_MAX && step == STEP_REWRITTEN) {
        step = apply_rule(x, r, flag, &address, ret_whole);
        count++;
      }
      if (count >= REPEAT_MAX) log_write(LS_ALWAYS, LOG_MAIN, "rewrite rule repeat limit reached");
    }
    if (step == STEP_STOP || r->flags & REWRITE_QUIT) break;
  }
  return address;
}

const char *rewrite_address(struct expand_ctx *x, const char *address, unsigned flag, const struct rewrite_rule *rules) {
  const char *whole = NULL;
  if (*address == '\0') return address;
  const char *result = rewrite_one(x, address, flag, rules, &whole);
  return strcmp(result, address) == 0 ? address : result;
}

/* ---- header lines ---- */

static unsigned header_flag(const struct header_line *h) {
  bool resent;
  switch (header_type_of(str_n(h->text, h->n), &resent)) {
  case 'B': return REWRITE_BCC;
  case 'C': return REWRITE_CC;
  case 'F': return REWRITE_FROM;
  case 'R': return REWRITE_REPLYTO;
  case 'S': return REWRITE_SENDER;
  case 'T': return REWRITE_TO;
  default: return 0;
  }
}

/* Where does the working address stand in item?  Only when it stands there as written can it be exchanged alone. */
static bool find_working(struct str item, const char *address, size_t *ret_at) {
  size_t n = strlen(address), last = SIZE_MAX;
  for (size_t i = 0; i + n <= item.n; i++)
    if (strncmpic(item.p + i, address, n) == 0) last = i;
  if (last == SIZE_MAX) return false;
  *ret_at = last;
  return true;
}

/* One address of a header with its surroundings; true when it changed. */
static bool rewrite_item(struct expand_ctx *x, struct str item, unsigned flag, const struct rewrite_rule *rules, struct strbuf *out) {
  const char *error = NULL, *whole = NULL;
  size_t domain = 0, at;
  struct addr_opts o = {.allow_domain_literal = true};
  const char *old = rfc5322_extract_address(x->a, item, o, &domain, &error);
  if (!old || !*old || domain == 0) return false;
  const char *now = rewrite_one(x, old, flag, rules, &whole);
  if (!whole && strcmp(now, old) == 0) return false;
  struct str trimmed = str_trim(item);
  strbuf_add(out, item.p, (size_t)(trimmed.p - item.p));
  if (whole) {
    const char *angle = strrchr(whole, '<');
    if (angle && angle > whole) {
      strbuf_adds(out, rfc5322_fix_phrase(x->a, str_trim(str_n(whole, (size_t)(angle - whole))), x->cfg->o.headers_charset));
      strbuf_addc(out, ' ');
      strbuf_adds(out, angle);
    } else {
      strbuf_adds(out, whole);
    }
  } else if (find_working(trimmed, old, &at)) {
    size_t end = at + strlen(old);
    strbuf_add(out, trimmed.p, at);
    strbuf_adds(out, now);
    strbuf_add(out, trimmed.p + end, trimmed.n - end);
  } else {
    strbuf_adds(out, now);
  }
  size_t tail = (size_t)(item.p + item.n - (trimmed.p + trimmed.n));
  strbuf_add(out, trimmed.p + trimmed.n, tail);
  return true;
}

const char *rewrite_header(struct expand_ctx *x, const struct header_line *h, const struct rewrite_rule *rules) {
  unsigned flag = header_flag(h), wanted = 0;
  struct str name, value;
  bool changed = false;
  for (const struct rewrite_rule *r = rules; r; r = r->next) wanted |= r->flags;
  if (!flag || !(wanted & flag) || !header_split(str_n(h->text, h->n), &name, &value)) return NULL;
  struct strbuf out = strbuf_new(x->a);
  /* Everything up to the value stays byte for byte. */
  strbuf_add(&out, h->text, (size_t)(value.p - h->text));
  struct str rest = str_n(value.p, (size_t)(h->text + h->n - value.p));
  while (rest.n > 0) {
    size_t n = MIN(rfc5322_find_address_end(rest), rest.n);
    struct str item = str_n(rest.p, n);
    if (rewrite_item(x, item, flag, rules, &out)) changed = true;
    else strbuf_addstr(&out, item);
    if (n < rest.n) strbuf_add(&out, rest.p + n, 1);
    n = MIN(n + 1, rest.n);
    rest = str_n(rest.p + n, rest.n - n);
  }
  if (!changed) return NULL;
  if (out.n == 0 || out.p[out.n - 1] != '\n') strbuf_addc(&out, '\n');
  return out.p;
}
