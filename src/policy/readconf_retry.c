/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The retry and rewrite sections.  Floor: policy.  Manual ch. 31, 32.
 *
 * A retry error name becomes the pair (basic_errno, more_errno) that a delivery leaves in its addresses; the numbers of Exim's own conditions are
 * those of the retry hints database, where they are an interface (doc/hints-formats.txt). */
#include <errno.h>

#include "address.h"
#include "base/timeutil.h"
#include "policy/readconf_priv.h"
#include "policy/rewrite.h"

/* The next word, which may be quoted (quotes removed). */
static const char *take_item(struct readconf *r, struct str *s) {
  *s = str_ltrim(*s);
  if (!s->n || s->p[0] != '"') {
    size_t n = 0;
    while (n < s->n && !ch_isspace(s->p[n])) n++;
    const char *w = str_dup(r->a, str_n(s->p, n));
    *s = str_ltrim(str_n(s->p + n, s->n - n));
    return w;
  }
  size_t n = 1;
  while (n < s->n && s->p[n] != '"') n += s->p[n] == '\\' && n + 1 < s->n ? 2 : 1;
  const char *err = NULL;
  n = MIN(n + 1, s->n);
  const char *w = opt_parse_string(r->a, "retry rule", str_n(s->p, n), &err);
  if (!w) w = str_dup(r->a, str_n(s->p + 1, n - 1));
  *s = str_ltrim(str_n(s->p + n, s->n - n));
  return w;
}

/* rcpt_4xx, rcpt_45x, rcpt_451: more_errno holds the code with 255 ("any") for the open digits. */
static const char *parse_4xx(struct readconf *r, struct str name, size_t prefix, int base, struct retry_rule *rule) {
  const char *x = name.p + prefix;
  size_t n = name.n - prefix;
  bool ok = n == 2 && (ch_lower(x[0]) == 'x' ? ch_lower(x[1]) == 'x' : ch_isdigit(x[0]) && (ch_isdigit(x[1]) || ch_lower(x[1]) == 'x'));
  if (!ok)
    return arena_printf(r->a, "%.*s must be followed by xx, dx, or dd, where x is literal and d is any digit", (int)prefix, name.p);
  int code = 255;
  if (ch_isdigit(x[0])) code = (x[0] - '0') * 10 + (ch_isdigit(x[1]) ? x[1] - '0' : 100);
  rule->basic_errno = base;
  rule->more_errno = code << 8;
  return NULL;
}

static const char *parse_quota(struct readconf *r, struct str age, struct retry_rule *rule) {
  int64_t sec;
  if (!time_parse_interval(age, false, &sec)) return "bad time value";
  (void)r;
  rule->more_errno = (int)sec;
  return NULL;
}

static const char *parse_error_name(struct readconf *r, struct str name, struct retry_rule *rule) {
  static const struct {
    const char *name;
    int basic, more;
  } names[] = {
      {"auth_failed", ERRNO_AUTHFAIL, 0},
      {"lost_connection", ERRNO_SMTPCLOSED, 0},
      {"lookup", ERRNO_DNSDEFER, 0},
      {"quota", ERRNO_EXIMQUOTA, 0},
      {"refused", ECONNREFUSED, 0},
      {"refused_A", ECONNREFUSED, 'A'},
      {"refused_MX", ECONNREFUSED, 'M'},
      {"timeout", ETIMEDOUT, 0},
      {"timeout_A", ETIMEDOUT, 'A'},
      {"timeout_MX", ETIMEDOUT, 'M'},
      {"timeout_connect", ETIMEDOUT, RETRY_TIMEOUT_CONNECT},
      {"timeout_connect_A", ETIMEDOUT, RETRY_TIMEOUT_CONNECT | 'A'},
      {"timeout_connect_MX", ETIMEDOUT, RETRY_TIMEOUT_CONNECT | 'M'},
      {"timeout_DNS", ETIMEDOUT, 0},
      {"tls_required", ERRNO_TLSREQUIRED, 0},
  };
  if (str_eq_c(name, "*")) return NULL;
  rule->error = str_dup(r->a, name);
  if (str_startsic(name, STR("quota_"))) {
    rule->basic_errno = ERRNO_EXIMQUOTA;
    return parse_quota(r, str_n(name.p + 6, name.n - 6), rule);
  }
  if (str_startsic(name, STR("mail_4"))) return parse_4xx(r, name, 6, ERRNO_MAIL4XX, rule);
  if (str_startsic(name, STR("rcpt_4"))) return parse_4xx(r, name, 6, ERRNO_RCPT4XX, rule);
  if (str_startsic(name, STR("data_4"))) return parse_4xx(r, name, 6, ERRNO_DATA4XX, rule);
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
    if (!str_eqic_c(name, names[i].name)) continue;
    rule->basic_errno = names[i].basic;
    rule->more_errno = names[i].more;
    return NULL;
  }
  if (str_startsic(name, STR("timeout_"))) return "\"A\", \"MX\", or \"connect\" expected after \"timeout\"";
  if (str_startsic(name, STR("refused_"))) return "A or MX expected after \"refused\"";
  return arena_printf(r->a, "unknown or malformed retry error \"%.*s\"", STR_FMT(name));
}

/* Cut "value" up to a comma, semicolon or blank.  *ret_end: what ended it (NUL at the end); the comma is consumed. */
static struct str take_param(struct str *s) {
  size_t n = 0;
  *s = str_ltrim(*s);
  while (n < s->n && s->p[n] != ',' && s->p[n] != ';' && !ch_isspace(s->p[n])) n++;
  struct str v = str_n(s->p, n);
  *s = str_ltrim(str_n(s->p + n, s->n - n));
  return v;
}

static bool eat(struct str *s, char c) {
  if (!s->n || s->p[0] != c) return false;
  *s = str_ltrim(str_n(s->p + 1, s->n - 1));
  return true;
}

static bool parse_factor(struct str v, int *ret) {
  struct str frac = v;
  struct str whole = str_cut(&frac, '.');
  uint64_t w = 0;
  int f = 0, place = 100;
  if (!str_parse_u64(whole, &w) || w > 100000) return false;
  for (; frac.n && ch_isdigit(frac.p[0]); frac.p++, frac.n--, place /= 10) f += place * (frac.p[0] - '0');
  if (frac.n) return false;
  *ret = (int)w * 1000 + f;
  return true;
}

static const char *parse_step(struct readconf *r, struct str *s, struct retry_step **ret) {
  struct retry_step *step = ARENA_NEW(r->a, struct retry_step);
  step->kind = (char)ch_upper(s->p[0]);
  step->factor_thousandths = 1000;
  bool with_factor = step->kind == 'G' || step->kind == 'H';
  if (!with_factor && step->kind != 'F') return "unknown retry rule letter";
  *s = str_ltrim(str_n(s->p + 1, s->n - 1));
  if (!eat(s, ',')) return "comma expected";
  struct str timeout = take_param(s);
  if (!eat(s, ',')) return "comma expected";
  struct str interval = take_param(s), factor = STR("1");
  if (with_factor) {
    if (!eat(s, ',')) return "comma expected";
    factor = take_param(s);
  }
  if (!time_parse_interval(timeout, false, &step->timeout_sec) || !time_parse_interval(interval, false, &step->interval_sec) ||
      step->interval_sec <= 0 || step->timeout_sec <= 0 || !parse_factor(factor, &step->factor_thousandths) ||
      step->factor_thousandths < 1000)
    return "bad parameters for retry rule";
  if (s->n && !eat(s, ';')) return "semicolon expected";
  *ret = step;
  return NULL;
}

static const char *parse_rule(struct readconf *r, const char *line, struct retry_rule *rule) {
  struct str s = str_c(line);
  struct str first = s;
  rule->pattern = take_item(r, &s);
  if (!s.n && first.p[0] != '"') return "missing error type in retry rule";
  if (!s.n) return "missing error type in retry rule";
  struct str name = str_word(&s);
  const char *err = parse_error_name(r, name, rule);
  if (err) return err;
  s = str_ltrim(s);
  if (str_startsic(s, STR("senders"))) {
    struct str rest = str_ltrim(str_n(s.p + 7, s.n - 7));
    if (!eat(&rest, '=')) return "\"=\" expected after \"senders\" in retry rule";
    rule->senders = take_item(r, &rest);
    s = rest;
  }
  for (struct retry_step **tail = &rule->steps; s.n; tail = &(*tail)->next) {
    err = parse_step(r, &s, tail);
    if (err) return err;
  }
  return NULL;
}

static bool at_section_end(struct readconf *r, const char *line) {
  if (strncmp(line, "begin", 5) != 0 || !ch_isblank(line[5])) return false;
  rc_unread_line(r);
  return true;
}

bool rc_read_retry(struct readconf *r) {
  const char *line;
  struct retry_rule **tail = &r->cfg->retry_rules;
  while ((line = rc_next_line(r)) && !at_section_end(r, line)) {
    struct retry_rule *rule = ARENA_NEW(r->a, struct retry_rule);
    rule->pos = rc_pos(r);
    const char *err = parse_rule(r, line, rule);
    if (err) return rc_fail(r, "%s", err);
    *tail = rule;
    tail = &rule->next;
  }
  return !r->error;
}

bool rc_read_rewrite(struct readconf *r) {
  const char *line;
  int number = 0;
  struct rewrite_rule **tail = &r->cfg->rewrite_rules, **smtp_tail = &r->cfg->smtp_rewrite_rules;
  while ((line = rc_next_line(r)) && !at_section_end(r, line)) {
    struct rewrite_rule *rule = ARENA_NEW(r->a, struct rewrite_rule);
    const char *err = rewrite_parse_rule(r->a, line, rc_pos(r), number++, rule);
    if (err) return rc_fail(r, "%s", err);
    *tail = rule;
    tail = &rule->next;
    if (!(rule->flags & REWRITE_SMTP)) continue;
    struct rewrite_rule *copy = ARENA_NEW(r->a, struct rewrite_rule);
    *copy = *rule;
    copy->next = NULL;
    *smtp_tail = copy;
    smtp_tail = &copy->next;
  }
  return !r->error;
}

const char *readconf_retry_error(struct arena *a, const char *name, struct retry_rule *ret) {
  struct readconf r = {.a = a};
  return parse_error_name(&r, str_c(name), ret);
}
