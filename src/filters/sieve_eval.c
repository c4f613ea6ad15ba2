/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The truth of Sieve tests.  Floor: drivers.  RFC 5228 ch. 2.7 and 5, RFC 5233 ch. 4; the filter document ch. 2.
 *
 * Header lines are a stranger's: every comparison is bounded by the lengths of both texts, and the whole run by SIEVE_WORK_MAX.
 * Each header line is looked at alone (RFC 5228 section 5.7); then all lines of a name at once, one below the other, as Exim does. */
#include <stdio.h>
#include <string.h>

#include "address.h"
#include "filters/sieve_priv.h"
#include "formats/codecs.h"
#include "message.h"

/* ---- comparators ---- */

static bool works(struct sieve_run *s, size_t steps) {
  s->work += (int64_t)steps;
  return s->work <= SIEVE_WORK_MAX;
}

static struct str folded(struct sieve_run *s, struct str text, enum sieve_comparator c) {
  if (c != SIEVE_CASEMAP) return text;
  char *p = arena_alloc_t(s->a, text.n + 1, taint_kind(text.p));
  for (size_t i = 0; i < text.n; i++) p[i] = (char)ch_lower(text.p[i]);
  return str_n(p, text.n);
}

/* "*" any text, "?" any octet, "\" takes the special meaning from the next.  Backtracks to the last "*" only. */
static bool matches(struct sieve_run *s, struct str text, struct str pat) {
  size_t t = 0, p = 0, star = SIZE_MAX, star_t = 0, steps = 0;
  while (t < text.n) {
    if (!(++steps & 0xffff) && !works(s, 0x10000)) return false;
    if (p < pat.n && pat.p[p] == '*') {
      star = ++p;
      star_t = t;
      continue;
    }
    bool is_escaped = p < pat.n && pat.p[p] == '\\';
    size_t at = p + (is_escaped ? 1 : 0);
    if (at < pat.n && (pat.p[at] == text.p[t] || (pat.p[at] == '?' && !is_escaped))) {
      p = at + 1;
      t++;
      continue;
    }
    if (star == SIZE_MAX) return false;
    p = star;
    t = ++star_t;
  }
  while (p < pat.n && pat.p[p] == '*') p++;
  return p == pat.n;
}

static bool is_pattern(struct str pat) {
  for (size_t i = 0; i < pat.n; i++)
    if (pat.p[i] == '\\' && ++i == pat.n) return false;
  return true;
}

/* RFC 4790 section 9.1: what begins with no digit is the largest number, and equal to its like. */
static bool numbers_equal(struct str a, struct str b) {
  struct str *both[] = {&a, &b};
  bool is_number[2];
  for (int i = 0; i < 2; i++) {
    struct str *v = both[i];
    size_t n = 0;
    while (n < v->n && ch_isdigit(v->p[n])) n++;
    is_number[i] = n > 0;
    v->n = n;
    while (v->n && *v->p == '0') v->p++, v->n--;
  }
  return is_number[0] == is_number[1] && (!is_number[0] || str_eq(a, b));
}

static void narrate(struct sieve_run *s, const struct sieve_test *t, struct str text, struct str key, bool result) {
  static const char *const match_names[] = {"is", "contains", "matches"};
  static const char *const comparators[] = {"en;ascii-casemap", "i;octet", "i;ascii-numeric"};
  if (!s->env->is_verbose) return;
  fprintf(stderr, "String comparison (match :%s, comparison \"%s\"):\n  Search = %.*s (%zu chars)\n  Inside = %.*s (%zu chars)\n  Result %s\n",
          match_names[t->match], comparators[t->comparator], STR_FMT(key), key.n, STR_FMT(text), text.n, result ? "true" : "false");
}

static bool compare(struct sieve_run *s, const struct sieve_test *t, struct str text, struct str key) {
  struct str in = folded(s, text, t->comparator), k = folded(s, key, t->comparator);
  switch (t->match) {
    case SIEVE_IS: return t->comparator == SIEVE_NUMERIC ? numbers_equal(in, k) : str_eq(in, k);
    case SIEVE_CONTAINS: return !k.n || (in.n && memmem(in.p, in.n, k.p, k.n));
    case SIEVE_MATCHES: return matches(s, in, k);
  }
  return false;
}

/* One value against all keys: *ret becomes true when one matches. */
static bool test_value(struct sieve_run *s, const struct sieve_test *t, struct str text, bool *ret) {
  for (size_t i = 0; i < t->keys.n && !*ret; i++) {
    struct str key = t->keys.v[i];
    struct arena_mark mark = arena_mark(s->a);
    if (t->is_unrequired) return sieve_broken(s, t->line, "missing previous require \"comparator-i;ascii-numeric\";");
    if (t->match == SIEVE_MATCHES && !is_pattern(key)) return sieve_broken(s, t->line, "syntactically invalid pattern");
    *ret = compare(s, t, text, key);
    arena_release(s->a, mark);
    if (!works(s, text.n + key.n + 64)) return sieve_broken(s, t->line, "filter takes too much work");
    narrate(s, t, text, key, *ret);
  }
  return true;
}

/* ---- header lines ---- */

/* RFC 2047 words decoded to UTF-8, lines joined; a decoded NUL stays one. */
static struct str decoded(struct sieve_run *s, struct str raw) {
  enum { NUL_STANDIN = 1 };
  struct strbuf b = strbuf_new_t(s->a, taint_kind(raw.p), raw.n + 1);
  raw = str_trim(raw);
  for (size_t i = 0; i < raw.n; i++)
    if (raw.p[i] != '\n' && raw.p[i] != '\r' && raw.p[i] != NUL_STANDIN) strbuf_addc(&b, raw.p[i]);
  if (!memchr(b.p, '?', b.n)) return strbuf_str(&b);
  const char *text = rfc2047_decode(s->a, strbuf_str(&b), "UTF-8", s->x->cfg->o.check_rfc2047_length, NUL_STANDIN);
  size_t n = strlen(text);
  char *p = arena_strndup(s->a, text, n);
  for (size_t i = 0; i < n; i++)
    if (p[i] == NUL_STANDIN) p[i] = '\0';
  return str_n(p, n);
}

static const struct header_line *find_header(struct sieve_run *s, struct str name, const struct header_line *after, struct str *ret_raw) {
  struct str found;
  for (const struct header_line *h = after ? after->next : s->x->msg->headers; h; h = h->next)
    if (works(s, 16) && h->type != '*' && header_split(str_n(h->text, h->n), &found, ret_raw) && str_eqic(str_rtrim(found), name)) return h;
  return NULL;
}

bool sieve_next_header(struct sieve_run *s, struct str name, const struct header_line **pos, struct str *ret) {
  struct str raw;
  *pos = find_header(s, name, *pos, &raw);
  if (*pos && works(s, raw.n)) *ret = decoded(s, raw);
  else *pos = NULL;
  return *pos != NULL;
}

bool sieve_next_raw_header(struct sieve_run *s, struct str name, const struct header_line **pos, struct str *ret) {
  *pos = find_header(s, name, *pos, ret);
  return *pos != NULL;
}

static bool test_header_name(struct sieve_run *s, const struct sieve_test *t, struct str name, bool *ret) {
  struct arena_mark mark = arena_mark(s->a);
  const struct header_line *pos = NULL;
  struct strbuf all = strbuf_new(s->a);
  struct str value;
  int lines = 0;
  while (!*ret && sieve_next_header(s, name, &pos, &value)) {
    if (lines++) strbuf_addc(&all, '\n');
    strbuf_addstr(&all, value);
    if (!test_value(s, t, value, ret)) return false;
  }
  if (lines > 1 && !test_value(s, t, strbuf_str(&all), ret)) return false;
  arena_release(s->a, mark);
  return works(s, 16) || sieve_broken(s, t->line, "filter takes too much work");
}

static bool test_header(struct sieve_run *s, const struct sieve_test *t, bool *ret) {
  for (size_t i = 0; i < t->names.n && !*ret; i++)
    if (!test_header_name(s, t, t->names.v[i], ret)) return false;
  return true;
}

static bool test_exists(struct sieve_run *s, const struct sieve_test *t, bool *ret) {
  struct str raw;
  *ret = true;
  for (size_t i = 0; i < t->names.n && *ret; i++) {
    struct str name = t->names.v[i];
    for (size_t k = 0; k < name.n; k++)
      if (name.p[k] <= ' ' || name.p[k] == ':') return sieve_broken(s, t->line, "header string expansion failed");
    *ret = find_header(s, name, NULL, &raw) != NULL;
    if (!works(s, 4096)) return sieve_broken(s, t->line, "filter takes too much work");
  }
  return true;
}

/* ---- addresses ---- */

/* The part of an address a test asks for; false: it has none.  The recipient's own :user and :detail are what the router says they are. */
static bool part_of(struct sieve_run *s, const struct sieve_test *t, const char *address, struct str *ret) {
  const char *own = s->x->addr ? s->x->addr->address : "";
  bool is_own = strcmpic(own, address) == 0;
  struct str local = str_c(address), domain = STR("");
  bool is_split = addr_split(address, &local, &domain);
  switch (t->part) {
    case SIEVE_ALL: *ret = str_c(address); return true;
    case SIEVE_DOMAIN: *ret = is_split ? domain : STR(""); return true;
    case SIEVE_DETAIL:
      if (!is_own || !s->env->detail) return false;
      *ret = str_c(s->env->detail);
      return true;
    case SIEVE_USER:
      if (is_own && s->env->user) {
        *ret = str_c(s->env->user);
        return true;
      }
      break;
    case SIEVE_LOCALPART: break;
  }
  *ret = str_c(addr_dequote_local_part(s->a, local));
  return true;
}

static bool test_part(struct sieve_run *s, const struct sieve_test *t, const char *address, bool *ret) {
  struct str part;
  return !part_of(s, t, address, &part) || test_value(s, t, part, ret);
}

static bool test_address_list(struct sieve_run *s, const struct sieve_test *t, struct str list, bool *ret) {
  struct arena_mark mark = arena_mark(s->a);
  while (list.n && !*ret) {
    const char *error;
    size_t n = rfc5322_find_address_end(list);
    struct str item = rfc5322_strip_group(str_n(list.p, n));
    const char *address = rfc5322_extract_address(s->a, item, (struct addr_opts){.allow_domain_literal = true, .allow_utf8 = true}, NULL, &error);
    if (address && !test_part(s, t, address, ret)) return false;
    if (!works(s, n + 64)) return sieve_broken(s, t->line, "filter takes too much work");
    list = n < list.n ? str_n(list.p + n + 1, list.n - n - 1) : STR_NULL;
  }
  arena_release(s->a, mark);
  return true;
}

static bool test_address(struct sieve_run *s, const struct sieve_test *t, bool *ret) {
  for (size_t i = 0; i < t->names.n && !*ret; i++) {
    const struct header_line *pos = NULL;
    struct str raw;
    while (!*ret && (pos = find_header(s, t->names.v[i], pos, &raw)))
      if (!test_address_list(s, t, str_trim(raw), ret)) return false;
  }
  return true;
}

static bool test_envelope(struct sieve_run *s, const struct sieve_test *t, bool *ret) {
  for (size_t i = 0; i < t->names.n && !*ret; i++) {
    const char *address;
    if (str_eqic_c(t->names.v[i], "from")) address = s->x->msg->sender ? s->x->msg->sender : "";
    else if (str_eqic_c(t->names.v[i], "to")) address = s->x->addr ? s->x->addr->address : "";
    else return sieve_broken(s, t->line, "invalid envelope string");
    if (!test_part(s, t, address, ret)) return false;
  }
  return true;
}

/* ---- the others ---- */

static bool test_size(struct sieve_run *s, const struct sieve_test *t, bool *ret) {
  *ret = t->is_over ? s->x->msg->message_size > t->size : s->x->msg->message_size < t->size;
  return true;
}

static bool test_valid_method(struct sieve_run *s, const struct sieve_test *t, bool *ret) {
  struct sieve_mailto ignored;
  *ret = true;
  for (size_t i = 0; i < t->names.n && *ret; i++) *ret = sieve_parse_mailto(s->a, t->names.v[i], &ignored) == NULL;
  return true;
}

/* RFC 5436 section 2.3: nobody knows whether a mailbox is read now. */
static bool test_method_capability(struct sieve_run *s, const struct sieve_test *t, bool *ret) {
  struct sieve_mailto ignored;
  if (sieve_parse_mailto(s->a, t->names.v[0], &ignored) || !str_eqic_c(t->names.v[1], "online")) return true;
  return test_value(s, t, STR("maybe"), ret);
}

static bool test_list(struct sieve_run *s, const struct sieve_test *t, bool *ret) {
  bool stops_at = t->kind == SIEVE_ANYOF;
  for (const struct sieve_test *i = t->inner; i; i = i->next) {
    if (!sieve_evaluate(s, i, ret)) return false;
    if (*ret == stops_at) return true;
  }
  *ret = !stops_at;
  return true;
}

bool sieve_evaluate(struct sieve_run *s, const struct sieve_test *t, bool *ret) {
  *ret = false;
  switch (t->kind) {
    case SIEVE_TRUE: *ret = true; return true;
    case SIEVE_FALSE: return true;
    case SIEVE_NOT: {
      bool inner;
      if (!sieve_evaluate(s, t->inner, &inner)) return false;
      *ret = !inner;
      return true;
    }
    case SIEVE_ANYOF: case SIEVE_ALLOF: return test_list(s, t, ret);
    case SIEVE_ADDRESS: return test_address(s, t, ret);
    case SIEVE_ENVELOPE: return test_envelope(s, t, ret);
    case SIEVE_HEADER: return test_header(s, t, ret);
    case SIEVE_EXISTS: return test_exists(s, t, ret);
    case SIEVE_SIZE: return test_size(s, t, ret);
    case SIEVE_VALID_METHOD: return test_valid_method(s, t, ret);
    case SIEVE_METHOD_CAPABILITY: return test_method_capability(s, t, ret);
  }
  return true;
}
