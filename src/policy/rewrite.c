/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Address rewriting: rules, addresses, header lines.  Floor: policy.  Manual ch. 31.
 *
 * Addresses are hostile; patterns and replacements are configuration.  A rule whose replacement fails is skipped (forced failure) or
 * ends the rewriting of that address (any other failure), and the address stays as it was; rewriting never loses one.
 * Log lines: "\"old\" from <header> rewritten as \"new\" by rule n" with log selector address_rewrite.  Results lie in x->a. */

#include "policy/rewrite.h"

#include "message.h"
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

/* What is being rewritten.  whole: the text a rule with the flag w gave, in which address stands; NULL when no such rule applied. */
struct subject {
  const char *address, *whole;
};

static const char *place_name(unsigned flag) {
  static const struct {
    unsigned flag;
    const char *name;
  } names[] = {{REWRITE_SENDER, "sender:"}, {REWRITE_FROM, "from:"},         {REWRITE_TO, "to:"},          {REWRITE_CC, "cc:"},
               {REWRITE_BCC, "bcc:"},       {REWRITE_REPLYTO, "reply-to:"},  {REWRITE_ENVFROM, "env-from"}, {REWRITE_ENVTO, "env-to"},
               {REWRITE_SMTP_SENDER, "smtp sender"}, {REWRITE_SMTP, "smtp recipient"}};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    if ((flag & names[i].flag) == names[i].flag) return names[i].name;
  return "address";
}

static bool rule_matches(struct expand_ctx *x, const struct rewrite_rule *r, const char *address) {
  struct match_opts o = {.allow_named = true, .want_captures = true, .single_item = true};
  if (r->flags & REWRITE_SMTP) {
    const char *pattern = expand_string(x, r->pattern);
    if (!pattern || regex_match(x, pattern, false, str_c(address), true) != OUTCOME_OK) return false; /* (?i) is the rule's to say */
    x->s.captures[0] = address;
    return true;
  }
  if (match_list(x, LIST_ADDRESS, address, r->pattern, &o) != OUTCOME_OK) return false;
  x->s.captures[0] = address;
  if (x->s.ncaptures == 0) x->s.ncaptures = 1;
  return true;
}

/* Where the address stands in a text that holds it; SIZE_MAX nowhere.  The last place counts: a phrase may repeat it. */
static size_t place_of(struct str text, const char *address) {
  size_t n = strlen(address), last = SIZE_MAX;
  for (size_t i = 0; i + n <= text.n; i++)
    if (strncmpic(text.p + i, address, n) == 0) last = i;
  return last;
}

/* The text with its address exchanged; in brackets nothing else stays. */
static const char *exchange(struct arena *a, const char *text, const char *old, const char *now) {
  const char *bracketed = rfc5322_put_in_brackets(a, text, now);
  if (bracketed) return bracketed;
  size_t at = place_of(str_c(text), old);
  if (at == SIZE_MAX) return now;
  return arena_printf(a, "%.*s%s%s", (int)at, text, now, text + at + strlen(old));
}

/* The address in the replacement; *text becomes the replacement with that address qualified.  NULL: not usable, logged. */
static const char *check_result(struct expand_ctx *x, const struct rewrite_rule *r, unsigned flag, const char **text, const char *old) {
  const char *error = NULL;
  size_t domain = 0;
  struct addr_opts o = {.allow_domain_literal = true, .allow_empty = flag & REWRITE_ENVFROM && str_trim(str_c(*text)).n > 0};
  const char *a = rfc5322_extract_address(x->a, str_c(*text), o, &domain, &error);
  if (!a) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "Rewrite of %s yielded unparseable address: %s in address %s", old, error, *text);
    return NULL;
  }
  if (domain || !*a) return a;
  if (!(r->flags & REWRITE_QUALIFY)) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "Rewrite of %s yielded unqualified address \"%s\"", old, *text);
    return NULL;
  }
  const char *full = arena_printf(x->a, "%s@%s", a, x->cfg->qualify_recipient);
  *text = exchange(x->a, *text, a, full);
  return full;
}

/* Phrase and comment of "phrase <address> comment" made fit for a header line. */
static const char *fix_whole(struct expand_ctx *x, const char *text) {
  const char *open = strrchr(text, '<'), *close = open ? strchr(open, '>') : NULL, *charset = x->cfg->o.headers_charset;
  if (!close || open == text) return text;
  struct strbuf b = strbuf_new(x->a);
  struct str comment = str_trim(str_c(close + 1));
  strbuf_addl(&b, rfc5322_fix_phrase(x->a, str_trim(str_n(text, (size_t)(open - text))), charset), " ", NULL);
  strbuf_add(&b, open, (size_t)(close + 1 - open));
  if (comment.n) strbuf_addl(&b, " ", rfc5322_fix_phrase(x->a, comment, charset), NULL);
  return b.p;
}

static void take_result(struct expand_ctx *x, const struct rewrite_rule *r, unsigned flag, struct subject *s, const char *text, const char *now) {
  if (!(flag & REWRITE_UNLOGGED))
    log_write(LS_ADDRESS_REWRITE, LOG_MAIN, "\"%s\" from %s rewritten as \"%s\" by rule %d", s->whole ? s->whole : s->address, place_name(flag), text,
              r->number + 1);
  DEBUG(D_REWRITE) debug_printf("%s rewritten as %s by rule %d\n", s->address, text, r->number + 1);
  const unsigned headers = REWRITE_HEADERS; /* an envelope has no room for more than the address */
  if (r->flags & REWRITE_WHOLE && flag & headers) s->whole = fix_whole(x, text);
  else if (s->whole) s->whole = exchange(x->a, s->whole, s->address, now);
  s->address = now;
}

enum step { STEP_NOTHING, STEP_REWRITTEN, STEP_STOP };

/* The rule matches: what its replacement makes of the address. */
static enum step replace(struct expand_ctx *x, const struct rewrite_rule *r, unsigned flag, struct subject *s) {
  if (strcmp(r->replacement, "*") == 0) return STEP_STOP;
  x->forced_fail = false;
  const char *text = expand_string(x, r->replacement);
  if (!text && x->forced_fail) return r->flags & REWRITE_QUIT ? STEP_STOP : STEP_NOTHING;
  if (!text) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "Expansion of %s failed while rewriting: %s", r->replacement, x->error ? x->error : "");
    return STEP_STOP;
  }
  const char *now = check_result(x, r, flag, &text, s->address);
  if (!now) return STEP_STOP;
  take_result(x, r, flag, s, text, now);
  return STEP_REWRITTEN;
}

/* Apply one rule once. */
static enum step apply_rule(struct expand_ctx *x, const struct rewrite_rule *r, unsigned flag, struct subject *s) {
  struct str local, domain;
  struct expand_scope saved = x->s;
  const char *saved_local = x->local_part_override, *saved_domain = x->domain_override;
  if (addr_split(s->address, &local, &domain) && !(r->flags & REWRITE_SMTP)) {
    x->local_part_override = str_dup(x->a, local);
    x->domain_override = str_dup(x->a, domain);
  }
  enum step step = rule_matches(x, r, s->address) ? replace(x, r, flag, s) : STEP_NOTHING;
  x->s = saved;
  x->local_part_override = saved_local;
  x->domain_override = saved_domain;
  return step;
}

static enum step repeat_rule(struct expand_ctx *x, const struct rewrite_rule *r, unsigned flag, struct subject *s) {
  for (int i = 0; i < REPEAT_MAX; i++) {
    enum step step = apply_rule(x, r, flag, s);
    if (step != STEP_REWRITTEN) return step;
  }
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "rewrite rule repeat ignored after %d times", REPEAT_MAX);
  return STEP_REWRITTEN;
}

static struct subject rewrite_one(struct expand_ctx *x, const char *address, unsigned flag, const struct rewrite_rule *rules) {
  struct subject s = {address, NULL};
  for (const struct rewrite_rule *r = rules; r && *s.address; r = r->next) {
    if (!(r->flags & flag)) continue;
    enum step step = apply_rule(x, r, flag, &s);
    if (step == STEP_NOTHING) continue;
    if (step == STEP_REWRITTEN && r->flags & REWRITE_REPEAT) step = repeat_rule(x, r, flag, &s);
    if (step == STEP_STOP || r->flags & REWRITE_QUIT) break;
  }
  return s;
}

const char *rewrite_address(struct expand_ctx *x, const char *address, unsigned flag, const struct rewrite_rule *rules) {
  if (*address == '\0') return address;
  const char *result = rewrite_one(x, address, flag, rules).address;
  return strcmp(result, address) == 0 ? address : result;
}

void rewrite_message_sender(struct expand_ctx *x) {
  struct message *m = x->msg;
  if (!m || !m->sender || m->sender_is_rewritten) return;
  m->sender_is_rewritten = true;
  if (!x->cfg->rewrite_rules) return;
  const char *given = m->sender, *now = rewrite_address(x, given, REWRITE_ENVFROM, x->cfg->rewrite_rules);
  if (strcmp(now, given) != 0) m->unrewritten_sender = given;
  m->sender = arena_strdup(m->arena, now);
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

/* How the addresses of a header line change: by the rules, or one domain stands for another. */
struct change {
  unsigned flag;
  const struct rewrite_rule *rules;
  const char *old_domain, *new_domain; /* when set, not the rules */
};

static struct subject change_address(struct expand_ctx *x, const struct change *c, const char *old, size_t domain) {
  if (!c->old_domain) return rewrite_one(x, old, c->flag, c->rules);
  if (strcmpic(old + domain, c->old_domain) != 0) return (struct subject){old, NULL};
  return (struct subject){arena_printf(x->a, "%.*s%s", (int)domain, old, c->new_domain), NULL};
}

/* One address of a header with its surroundings; true when it changed. */
static bool rewrite_item(struct expand_ctx *x, struct str item, const struct change *c, struct strbuf *out) {
  const char *error = NULL;
  size_t domain = 0;
  struct addr_opts o = {.allow_domain_literal = true};
  const char *old = rfc5322_extract_address(x->a, item, o, &domain, &error);
  if (!old || !*old || domain == 0) return false;
  struct subject now = change_address(x, c, old, domain);
  if (!now.whole && strcmp(now.address, old) == 0) return false;
  struct str trimmed = str_trim(item);
  strbuf_add(out, item.p, (size_t)(trimmed.p - item.p));
  strbuf_adds(out, now.whole ? now.whole : exchange(x->a, str_dup(x->a, trimmed), old, now.address));
  size_t tail = (size_t)(item.p + item.n - (trimmed.p + trimmed.n));
  strbuf_add(out, trimmed.p + trimmed.n, tail);
  return true;
}

/* The same for an item that may begin or end a group ("name: a@b", "c@d;"). */
static bool rewrite_in_group(struct expand_ctx *x, struct str item, const struct change *c, struct strbuf *out) {
  struct str inner = rfc5322_strip_group(item);
  size_t had = out->n, before = inner.n ? (size_t)(inner.p - item.p) : 0;
  if (!inner.n) return false;
  strbuf_add(out, item.p, before);
  if (rewrite_item(x, inner, c, out)) {
    strbuf_add(out, inner.p + inner.n, item.n - before - inner.n);
    return true;
  }
  strbuf_truncate(out, had);
  return false;
}

/* Behind an address that has grown a line that has become long goes on below; counted is from the beginning or from the last break made here. */
static size_t fold_behind(struct strbuf *out, size_t line_start, struct str *rest) {
  enum { FOLD_BEHIND = 40 };
  size_t blanks = 0;
  while (blanks < rest->n && ch_isblank(rest->p[blanks])) blanks++;
  if (blanks == rest->n || rest->p[blanks] == '\n' || out->n + blanks - line_start <= FOLD_BEHIND) return line_start;
  strbuf_add(out, rest->p, blanks);
  strbuf_addc(out, '\n');
  line_start = out->n;
  strbuf_addc(out, '\t');
  *rest = str_n(rest->p + blanks, rest->n - blanks);
  return line_start;
}

static const char *change_header(struct expand_ctx *x, const struct header_line *h, const struct change *c) {
  struct str name, value;
  bool any = false;
  size_t line_start = 0;
  if (!header_split(str_n(h->text, h->n), &name, &value)) return NULL;
  struct strbuf out = strbuf_new(x->a);
  /* Everything up to the value stays byte for byte. */
  strbuf_add(&out, h->text, (size_t)(value.p - h->text));
  struct str rest = str_n(value.p, (size_t)(h->text + h->n - value.p));
  while (rest.n > 0) {
    size_t n = MIN(rfc5322_find_address_end(rest), rest.n), had = out.n;
    struct str item = str_n(rest.p, n);
    bool changed = rewrite_in_group(x, item, c, &out), grown = changed && out.n - had > n;
    any |= changed;
    if (!changed) strbuf_addstr(&out, item);
    if (n < rest.n) strbuf_add(&out, rest.p + n, 1);
    n = MIN(n + 1, rest.n);
    rest = str_n(rest.p + n, rest.n - n);
    if (grown) line_start = fold_behind(&out, line_start, &rest);
  }
  if (!any) return NULL;
  if (out.n == 0 || out.p[out.n - 1] != '\n') strbuf_addc(&out, '\n');
  return out.p;
}

const char *rewrite_header(struct expand_ctx *x, const struct header_line *h, const struct rewrite_rule *rules) {
  unsigned flag = header_flag(h), wanted = 0;
  for (const struct rewrite_rule *r = rules; r; r = r->next) wanted |= r->flags;
  return flag & wanted ? change_header(x, h, &(struct change){.flag = flag, .rules = rules}) : NULL;
}

const char *rewrite_header_domain(struct expand_ctx *x, const struct header_line *h, const char *old_domain, const char *new_domain) {
  if (!header_flag(h)) return NULL;
  return change_header(x, h, &(struct change){.old_domain = old_domain, .new_domain = new_domain});
}
