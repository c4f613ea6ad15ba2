/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Words, strings, numbers and comments of Sieve scripts.  Floor: drivers (pure; the text is hostile).  RFC 5228 ch. 2.
 *
 * Line ends are LF or CRLF.  "\0" in a quoted string is a NUL byte, as Exim has it. */
#include <string.h>

#include "filters/sieve_priv.h"

bool sieve_wrong(struct sieve_reader *r, const char *fmt, ...) {
  va_list ap;
  if (r->error) return false;
  va_start(ap, fmt);
  r->error = arena_vprintf(r->a, fmt, ap);
  va_end(ap);
  r->error_line = r->line;
  return false;
}

static struct str rest(const struct sieve_reader *r) { return str_n(r->p, (size_t)(r->end - r->p)); }

static bool skip_comment(struct sieve_reader *r) {
  unsigned line = r->line;
  for (const char *p = r->p + 2; p + 1 < r->end; p++) {
    if (*p == '\n') line++;
    if (p[0] != '*' || p[1] != '/') continue;
    r->p = p + 2;
    r->line = line;
    return true;
  }
  return sieve_wrong(r, "missing end of comment");
}

bool sieve_skip(struct sieve_reader *r) {
  while (r->p < r->end && !r->error) {
    char c = *r->p;
    if (c == '#') {
      r->p += str_index(rest(r), '\n');
      continue;
    }
    if (c == '/' && r->p + 1 < r->end && r->p[1] == '*') {
      if (!skip_comment(r)) return false;
      continue;
    }
    if (c == '\n') r->line++;
    else if (c != ' ' && c != '\t' && c != '\r') break;
    r->p++;
  }
  return !r->error;
}

bool sieve_take_char(struct sieve_reader *r, char c) {
  if (!sieve_skip(r) || r->p == r->end || *r->p != c) return false;
  r->p++;
  return true;
}

static bool take(struct sieve_reader *r, struct str word) {
  if (!sieve_skip(r) || !str_startsic(rest(r), word)) return false;
  const char *behind = r->p + word.n;
  if (behind < r->end && (ch_isalnum(*behind) || *behind == '_')) return false;
  r->p = behind;
  return true;
}
bool sieve_take_word(struct sieve_reader *r, const char *word) { return take(r, str_c(word)); }
bool sieve_take_tag(struct sieve_reader *r, const char *tag) { return take(r, str_c(tag)); }

/* ---- strings ---- */

/* "hex:" and "unicode:" inside ${...}: the decoded bytes; *ret_bad: a number that is no character of Unicode. */
static bool decode_encoded(struct strbuf *out, struct str text, bool *ret_bad) {
  bool is_hex = str_startsic(text, STR("hex:"));
  if (!is_hex && !str_startsic(text, STR("unicode:"))) return false;
  size_t skip = is_hex ? 4 : 8;
  text = str_n(text.p + skip, text.n - skip);
  struct str word, again = text;
  size_t count = 0;
  for (; (word = str_word(&again)).n; count++) /* all of them or none */
    for (size_t i = 0; i < word.n; i++)
      if (ch_hexval(word.p[i]) < 0 || (is_hex && word.n > 2)) return false;
  if (!count) return false;
  while ((word = str_word(&text)).n) {
    uint32_t v = 0;
    for (size_t i = 0; i < word.n && v <= 0x10ffff; i++) v = v * 16 + (uint32_t)ch_hexval(word.p[i]);
    if (!is_hex && (v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))) {
      *ret_bad = true;
      return true;
    }
    if (is_hex) strbuf_addc(out, (char)v);
    else strbuf_add_utf8(out, v);
  }
  return true;
}

/* RFC 5228 section 2.4.2.4; what is no such sequence stands for itself. */
static bool decode_all(struct sieve_reader *r, struct str *s) {
  struct strbuf b = strbuf_new_t(r->a, taint_kind(s->p), s->n + 1);
  struct str in = *s;
  bool bad = false;
  while (in.n && !bad) {
    size_t close = in.n > 2 && in.p[0] == '$' && in.p[1] == '{' ? str_index(in, '}') : in.n;
    if (close < in.n && decode_encoded(&b, str_n(in.p + 2, close - 2), &bad)) in = str_n(in.p + close + 1, in.n - close - 1);
    else {
      strbuf_add(&b, in.p, 1);
      in = str_n(in.p + 1, in.n - 1);
    }
  }
  *s = strbuf_str(&b);
  return !bad || sieve_wrong(r, "unicode character out of range");
}

static bool read_quoted(struct sieve_reader *r, struct str *ret) {
  struct strbuf b = strbuf_new_t(r->a, taint_kind(r->p), 64);
  const char *p = r->p + 1, *start = p;
  for (; p < r->end && *p != '"'; p++) {
    if (*p == '\n') r->line++;
    if (*p != '\\' || p + 1 == r->end) continue;
    strbuf_add(&b, start, (size_t)(p - start));
    start = ++p;
    if (*p == '\n') r->line++;
    if (*p != '0') continue;
    strbuf_addc(&b, '\0');
    start = p + 1;
  }
  if (p >= r->end) return sieve_wrong(r, "missing end of string");
  strbuf_add(&b, start, (size_t)(p - start));
  *ret = strbuf_str(&b);
  r->p = p + 1;
  return true;
}

/* The rest of the line behind "text:" is blank, or a comment. */
static bool end_of_line(struct sieve_reader *r) {
  struct str line = rest(r);
  size_t n = str_index(line, '\n');
  bool is_last = n == line.n;
  line = str_trim(str_n(line.p, n));
  if (is_last || (line.n && line.p[0] != '#')) return sieve_wrong(r, "syntax error");
  r->p += n + 1;
  r->line++;
  return true;
}

static bool read_multiline(struct sieve_reader *r, struct str *ret) {
  struct strbuf b = strbuf_new_t(r->a, taint_kind(r->p), 256);
  r->p += 5;
  if (!end_of_line(r)) return false;
  while (r->p < r->end) {
    struct str line = rest(r);
    size_t n = str_index(line, '\n');
    if (n == line.n) break;
    r->p += n + 1;
    r->line++;
    if (n && line.p[n - 1] == '\r') n--;
    if (n == 1 && *line.p == '.') {
      *ret = strbuf_str(&b);
      return true;
    }
    size_t dots = n > 1 && line.p[0] == '.' && line.p[1] == '.' ? 1 : 0;
    strbuf_add(&b, line.p + dots, n - dots);
    strbuf_addc(&b, '\n');
  }
  return sieve_wrong(r, "missing end of multi line string");
}

bool sieve_read_string(struct sieve_reader *r, struct str *ret) {
  struct str s = STR_NULL;
  if (!sieve_skip(r) || r->p == r->end) return false;
  if (*r->p == '"') {
    if (!read_quoted(r, &s)) return false;
  } else if (str_startsic(rest(r), STR("text:"))) {
    if (!read_multiline(r, &s)) return false;
  } else return false;
  if ((r->capabilities & CAN_ENCODED) && !decode_all(r, &s)) return false;
  *ret = s;
  return true;
}

bool sieve_read_strings(struct sieve_reader *r, struct sieve_strings *ret) {
  struct str s;
  struct strbuf all = strbuf_new(r->a);
  if (!sieve_take_char(r, '[')) {
    if (!sieve_read_string(r, &s)) return false;
    *ret = (struct sieve_strings){.v = ARENA_NEW(r->a, struct str), .n = 1};
    ret->v[0] = s;
    return true;
  }
  if (!sieve_take_char(r, ']')) {
    do {
      if (!sieve_read_string(r, &s)) return sieve_wrong(r, "missing string list");
      strbuf_add_t(&all, (const char *)&s, sizeof s, UNTAINTED);
    } while (sieve_take_char(r, ','));
    if (!sieve_take_char(r, ']')) return sieve_wrong(r, "missing string list");
  }
  ret->n = all.n / sizeof s;
  ret->v = ARENA_NEW_N(r->a, struct str, ret->n + 1);
  memcpy(ret->v, all.p, all.n);
  return true;
}

bool sieve_read_number(struct sieve_reader *r, int64_t *ret) {
  int64_t v = 0;
  if (!sieve_skip(r) || r->p == r->end || !ch_isdigit(*r->p)) return sieve_wrong(r, "missing number");
  for (; r->p < r->end && ch_isdigit(*r->p); r->p++)
    if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *r->p - '0', &v)) return sieve_wrong(r, "Numerical result out of range");
  static const struct {
    const char *letter;
    int64_t factor;
  } units[] = {{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}};
  for (size_t i = 0; i < ARRAY_SIZE(units); i++)
    if (r->p < r->end && *r->p == *units[i].letter) {
      if (__builtin_mul_overflow(v, units[i].factor, &v)) return sieve_wrong(r, "Numerical result out of range");
      r->p++;
      break;
    }
  *ret = v;
  return true;
}

bool sieve_count_node(struct sieve_reader *r) { return ++r->nodes <= SIEVE_NODES_MAX || sieve_wrong(r, "too many commands and tests"); }
bool sieve_enter(struct sieve_reader *r) { return ++r->depth <= SIEVE_NESTING_MAX || sieve_wrong(r, "nested too deeply"); }
