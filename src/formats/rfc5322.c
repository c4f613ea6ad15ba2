/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses and header lines (rfc5322.h).  Floor: formats, pure; input hostile.
 *
 * The address reader is a small recursive-descent parser over a slice.  It is tolerant where Exim is (dots anywhere but doubled or trailing in
 * local parts, comments, source routes) and gives Exim's error texts. */
#include "formats/rfc5322.h"

#include <stdio.h>
#include <time.h>

#include "base/strbuf.h"
#include "formats/codecs.h"

struct scan {
  struct arena *a;
  const char *start, *p, *end;
  struct addr_opts o;
  const char *error;
};

static bool at_end(const struct scan *s) { return s->p >= s->end; }
static int peek(const struct scan *s) { return at_end(s) ? -1 : (unsigned char)*s->p; }

static void set_error(struct scan *s, const char *error) {
  if (!s->error) s->error = error;
}

static void set_trailing_error(struct scan *s) {
  set_error(s, arena_printf(s->a, "malformed address: %.*s may not follow %.*s", (int)MIN(s->end - s->p, 32), s->p,
                            (int)MIN(s->p - s->start, 256), s->start));
}

/* White space and nested comments. */
static void skip_comments(struct scan *s) {
  int depth = 0;
  for (; !at_end(s); s->p++) {
    char c = *s->p;
    if (c == '(') {
      depth++;
    } else if (depth > 0) {
      if (c == ')') depth--;
      if (c == '\\' && s->p + 1 < s->end) s->p++;
    } else if (!ch_isspace(c)) {
      return;
    }
  }
}

static bool is_atom_char(int c) {
  if (c >= 128) return true; /* 8-bit is passed on, as Exim does */
  return c > 32 && c < 127 && !strchr("()<>@,;:\\\".[]", c);
}

/* "..." including the quotes; false with error when it does not end. */
static bool read_quoted(struct scan *s, struct strbuf *out, const char *error) {
  strbuf_addc(out, '"');
  for (s->p++; !at_end(s); s->p++) {
    char c = *s->p;
    bool before_fold = c == '\\' && s->p + 1 < s->end && (s->p[1] == '\n' || s->p[1] == '\r');
    if (c == '\n' || c == '\r' || before_fold) continue; /* a fold inside the quotes: its blanks stay */
    strbuf_add(out, s->p, 1);
    if (c == '"') {
      s->p++;
      return true;
    }
    if (c == '\\' && s->p + 1 < s->end) strbuf_add(out, ++s->p, 1);
  }
  set_error(s, error);
  return false;
}

/* One atom; backslash pairs are kept as they are. */
static void read_atom(struct scan *s, struct strbuf *out) {
  while (!at_end(s)) {
    int c = peek(s);
    bool pair = c == '\\' && s->p + 1 < s->end && s->p[1] != '\n' && s->p[1] != '\r'; /* no line end gets into an address */
    size_t n = pair ? 2 : is_atom_char(c) ? 1 : 0;
    if (n == 0) return;
    strbuf_add(out, s->p, n);
    s->p += n;
  }
}

/* Words and dots in any order, but two words need a dot between them: real mail has leading, doubled and trailing dots. */
static bool read_local_part(struct scan *s, struct strbuf *out) {
  size_t start = out->n;
  for (bool after_word = false;;) {
    skip_comments(s);
    int c = peek(s);
    if (c == '.') {
      strbuf_add(out, s->p++, 1);
      after_word = false;
      continue;
    }
    if (after_word || c < 0 || (c != '"' && c != '\\' && !is_atom_char(c))) return out->n > start;
    size_t before = out->n;
    if (c == '"' && !read_quoted(s, out, "unmatched doublequote in local part")) return false;
    if (c != '"') read_atom(s, out);
    if (out->n == before) return out->n > start; /* a lone backslash at the end */
    after_word = true;
  }
}

static bool read_domain_literal(struct scan *s, struct strbuf *out) {
  if (!s->o.allow_domain_literal) {
    set_error(s, "domain literals not allowed");
    return false;
  }
  strbuf_add(out, s->p++, 1);
  while (!at_end(s) && (ch_isalnum(*s->p) || (*s->p && strchr(":.-_", *s->p)))) strbuf_add(out, s->p++, 1);
  if (peek(s) != ']') {
    set_error(s, "malformed domain literal");
    return false;
  }
  strbuf_addc(out, ']');
  s->p++;
  return true;
}

static bool read_domain(struct scan *s, struct strbuf *out) {
  skip_comments(s);
  if (peek(s) == '[') return read_domain_literal(s, out);
  size_t start = out->n;
  for (;;) {
    skip_comments(s);
    size_t before = out->n;
    while (!at_end(s) && (ch_isalnum(*s->p) || (*s->p == '-' && out->n > before) ||
                          ((unsigned char)*s->p >= 128 && s->o.allow_utf8)))
      strbuf_add(out, s->p++, 1);
    if (out->n == before) {
      if (out->n > start && out->p[out->n - 1] == '.' && s->o.strip_trailing_dot && peek(s) != '.') {
        strbuf_truncate(out, out->n - 1);
        return true;
      }
      set_error(s, "domain missing or malformed");
      return false;
    }
    skip_comments(s);
    if (peek(s) != '.') return true;
    strbuf_addc(out, '.');
    s->p++;
  }
}

/* What follows a route names its domain itself: nothing completes it. */
static bool lacks_domain(struct scan *s, size_t domain) {
  if (domain > 0) return false;
  set_error(s, "domain missing in source-routed address");
  return true;
}

/* "@a,@b:" in front of an address inside angle brackets: dropped. */
static bool skip_route(struct scan *s) {
  struct strbuf dropped = strbuf_new(s->a);
  for (;;) {
    skip_comments(s);
    if (peek(s) != '@') {
      set_error(s, "colon expected after route list");
      return false;
    }
    s->p++;
    if (!read_domain(s, &dropped)) return false;
    skip_comments(s);
    if (peek(s) == ':') {
      s->p++;
      return true;
    }
    if (peek(s) != ',') {
      set_error(s, "no local part");
      return false;
    }
    s->p++;
  }
}

/* local[@domain] */
static bool read_addr_spec(struct scan *s, bool in_angle, struct strbuf *out, size_t *ret_domain) {
  *ret_domain = 0;
  bool has_no_word = !in_angle && !at_end(s) && peek(s) != '@';
  if (!read_local_part(s, out)) {
    set_error(s, has_no_word ? "missing or malformed local part (expected word or \"<\")" : "missing or malformed local part");
    return false;
  }
  skip_comments(s);
  if (at_end(s) ? !in_angle : *s->p == '>') return true;
  int c = peek(s);
  if (c != '@') {
    /* Several words can only be a display name. */
    if (!in_angle && (c == '"' || is_atom_char(c))) set_error(s, "missing or malformed local part (expected word or \"<\")");
    else set_error(s, arena_printf(s->a, "\"@\" or \".\" expected after \"%s\"", out->p));
    return false;
  }
  s->p++;
  strbuf_addc(out, '@');
  *ret_domain = out->n;
  return read_domain(s, out);
}

static bool read_route_addr(struct scan *s, struct strbuf *out, size_t *ret_domain) {
  unsigned excess = 0;
  s->p++; /* '<' */
  skip_comments(s);
  while (s->o.strip_angle_excess && peek(s) == '<') {
    excess++;
    s->p++;
    skip_comments(s);
  }
  if (peek(s) == '>' && s->o.allow_empty) {
    *ret_domain = 0;
  } else {
    bool has_route = peek(s) == '@';
    if (has_route && !skip_route(s)) return false;
    if (!read_addr_spec(s, true, out, ret_domain) || (has_route && lacks_domain(s, *ret_domain))) return false;
  }
  for (unsigned i = 0; i <= excess; i++) {
    skip_comments(s);
    if (peek(s) != '>') {
      if (at_end(s)) set_error(s, "'>' missing at end of address");
      set_trailing_error(s);
      return false;
    }
    s->p++;
  }
  return true;
}

/* A display name in front of '<': words, dots and comments.  True with s->p at the '<'; false with s->p unchanged when this is no
 * display name (an '@' or the end comes first), or with an error set when it is a bad one. */
static bool skip_phrase(struct scan *s) {
  const char *start = s->p;
  struct strbuf dropped = strbuf_new(s->a);
  for (;;) {
    skip_comments(s);
    int c = peek(s);
    if (c == '<') return true;
    if (c == '"') {
      if (!read_quoted(s, &dropped, "unmatched doublequote in local part")) return false;
    } else if (c >= 0 && (c == '.' || c == '\\' || is_atom_char(c))) {
      s->p += c == '\\' && s->p + 1 < s->end ? 2 : 1;
    } else {
      if (c == ',' || c == ':' || c == '[' || c == '>') set_error(s, "missing or malformed local part (expected word or \"<\")");
      if (c == ';') set_trailing_error(s);
      s->p = start;
      return false;
    }
  }
}

/* Up to the next c that stands neither in quotes nor in a comment; the end when there is none. */
static const char *find_plain(const char *p, char c) {
  struct str s = str_c(p);
  int depth = 0;
  for (size_t i = 0; i < s.n; i++)
    if (!rfc5322_skip_opaque(s, &i, &depth) && s.p[i] == c) return s.p + i;
  return s.p + s.n;
}

const char *rfc5322_put_in_brackets(struct arena *a, const char *text, const char *address) {
  const char *open = find_plain(text, '<'), *close = find_plain(open, '>');
  return *close ? arena_printf(a, "%.*s<%s%s", (int)(open - text), text, address, close) : NULL;
}

/* Without quotes that are not needed: "abc"@x stays, but quotes around plain text in front of < do not matter here. */
const char *rfc5322_extract_address(struct arena *a, struct str in, struct addr_opts o, size_t *ret_domain,
                                    const char **ret_error) {
  struct scan s = {a, in.p, in.p, in.p + in.n, o, NULL};
  struct strbuf out = strbuf_new_t(a, is_tainted(in.p) ? TAINTED : UNTAINTED, in.n + 1);
  size_t domain = 0;
  skip_comments(&s);
  bool ok;
  if (peek(&s) == '<' || skip_phrase(&s)) {
    ok = !s.error && read_route_addr(&s, &out, &domain);
  } else if (!s.error && at_end(&s)) {
    ok = o.allow_empty;
    if (!ok) set_error(&s, "empty address");
  } else {
    bool has_route = peek(&s) == '@';
    if (!has_route) s.o.allow_domain_literal = true; /* as with Exim the option is about what stands in angle brackets */
    ok = !s.error && (!has_route || skip_route(&s)) && read_addr_spec(&s, false, &out, &domain) && !(has_route && lacks_domain(&s, domain));
  }
  if (ok) {
    skip_comments(&s);
    if (!at_end(&s)) {
      set_trailing_error(&s);
      ok = false;
    }
  }
  if (!ok) {
    *ret_error = s.error ? s.error : "malformed address";
    return NULL;
  }
  if (ret_domain) *ret_domain = domain;
  return out.p;
}

/* "@one, @two:local@domain" outside angle brackets: does the route go on behind the comma? */
static bool route_goes_on(struct str s, size_t comma) {
  struct str rest = str_ltrim(str_n(s.p + comma + 1, s.n - comma - 1));
  return rest.n && rest.p[0] == '@';
}

bool rfc5322_skip_opaque(struct str s, size_t *i, int *depth) {
  char c = s.p[*i];
  if (c == '\\') {
    ++*i;
    return true;
  }
  if (c == '(' || c == ')') {
    *depth += c == '(' ? 1 : *depth > 0 ? -1 : 0;
    return true;
  }
  if (*depth > 0 || c != '"') return *depth > 0;
  for (++*i; *i < s.n && s.p[*i] != '"'; ++*i)
    if (s.p[*i] == '\\') ++*i;
  return true;
}

size_t rfc5322_find_address_end(struct str s) {
  int depth = 0;
  struct str begin = str_ltrim(s);
  bool in_group = false, in_angle = false, in_route = begin.n && begin.p[0] == '@';
  for (size_t i = 0; i < s.n; i++) {
    char c = s.p[i];
    if (rfc5322_skip_opaque(s, &i, &depth)) continue;
    if (c == '<') {
      in_angle = true;
    } else if (c == '>') {
      in_angle = false;
    } else if (c == ':' && !in_angle) {
      in_group = in_group || !in_route;
      in_route = false;
    } else if (c == ';' && in_group) {
      return i;
    } else if (c == ',' && !in_angle && !(in_route && route_goes_on(s, i))) {
      return i;
    }
  }
  return s.n;
}

struct str rfc5322_trim(struct str item) {
  item = str_ltrim(item);
  struct str cut = str_rtrim(item);
  size_t slashes = 0;
  while (slashes < cut.n && cut.p[cut.n - 1 - slashes] == '\\') slashes++;
  return slashes % 2 && cut.n < item.n ? str_n(cut.p, cut.n + 1) : cut;
}

/* Behind the comment that begins at i; 0 when it is not closed. */
static size_t comment_end(struct str s, size_t i) {
  for (int depth = 0; i < s.n; i++) {
    if (s.p[i] == '\\') i++;
    else if (s.p[i] == '(') depth++;
    else if (s.p[i] == ')' && --depth == 0) return i + 1;
  }
  return 0;
}

/* Behind the quoted string that begins at i; 0 when it is not closed. */
static size_t quoted_end(struct str s, size_t i) {
  for (i++; i < s.n; i++) {
    if (s.p[i] == '\\') i++;
    else if (s.p[i] == '"') return i + 1;
  }
  return 0;
}

struct str rfc5322_strip_group(struct str item) {
  size_t colon = 0, end;
  bool unclosed = false; /* a comment: nobody looks for the end of another one, or a line of brackets would cost its square */
  while (colon < item.n && !strchr(":<@", item.p[colon])) {
    char c = item.p[colon];
    end = c == '(' && !unclosed ? comment_end(item, colon) : c == '"' ? quoted_end(item, colon) : 0;
    if (c == '"' && !end) break;
    unclosed = unclosed || (c == '(' && !end);
    colon = end ? end : colon + 1;
  }
  if (colon < item.n && item.p[colon] == ':') item = str_n(item.p + colon + 1, item.n - colon - 1);
  item = rfc5322_trim(item);
  while (item.n && item.p[item.n - 1] == ';') item = str_rtrim(str_n(item.p, item.n - 1));
  return item;
}

bool addr_split(const char *address, struct str *ret_local, struct str *ret_domain) {
  /* The domain never holds '@' or a quote, so the last '@' separates. */
  const char *at = strrchr(address, '@');
  if (!at) return false;
  *ret_local = str_n(address, (size_t)(at - address));
  *ret_domain = str_c(at + 1);
  return true;
}

const char *addr_dequote_local_part(struct arena *a, struct str local) {
  char *out = arena_strndup(a, local.p, local.n);
  size_t n = 0;
  for (size_t i = 0; i < local.n; i++) {
    if (local.p[i] == '"') continue;
    if (local.p[i] == '\\' && i + 1 < local.n) i++;
    out[n++] = local.p[i];
  }
  out[n] = '\0';
  return out;
}

const char *addr_quote_local_part(struct arena *a, struct str local) {
  bool needs = local.n == 0;
  for (size_t i = 0; i < local.n && !needs; i++) {
    char c = local.p[i];
    needs = !ch_isalnum(c) && !strchr("!#$%&'*+-/=?^_`{|}~", c) &&
            (c != '.' || i == 0 || i == local.n - 1);
    if (c == '\0') needs = true;
  }
  if (!needs) return str_dup(a, local);
  struct strbuf b = strbuf_new_t(a, is_tainted(local.p) ? TAINTED : UNTAINTED, local.n + 3);
  strbuf_addc(&b, '"');
  for (size_t i = 0; i < local.n; i++) {
    char c = local.p[i];
    if (c == '\n') {
      strbuf_adds(&b, "\\n");
    } else if (c == '\r') {
      strbuf_adds(&b, "\\r");
    } else {
      if (c == '"' || c == '\\') strbuf_addc(&b, '\\');
      strbuf_addc(&b, c);
    }
  }
  strbuf_addc(&b, '"');
  return b.p;
}

/* From i to the next quotation mark outside comments; *ret_special: not made of atoms and comments only.  *unclosed: a comment was found that
 * does not end, and nobody looks for the end of another one (a phrase of a megabyte of brackets must not cost its square). */
static size_t plain_end(struct str s, size_t i, bool *ret_special, bool *unclosed) {
  while (i < s.n && s.p[i] != '"') {
    size_t end = s.p[i] == '(' && !*unclosed ? comment_end(s, i) : 0;
    if (s.p[i] == '(' && !end) *unclosed = true;
    if (end) {
      i = end;
      continue;
    }
    if (!ch_isalnum(s.p[i]) && !ch_isblank(s.p[i]) && !strchr("!#$%&'*+-/=?^_`{|}~", s.p[i])) *ret_special = true;
    i += s.p[i] == '\\' && i + 1 < s.n ? 2 : 1;
  }
  return i;
}

/* Into quotes, white space at either end outside; pairs with a backslash stay. */
static void add_quoted_text(struct strbuf *b, struct str s) {
  struct str text = str_trim(s);
  strbuf_add(b, s.p, (size_t)(text.p - s.p));
  strbuf_addc(b, '"');
  for (size_t i = 0; i < text.n; i++) {
    bool is_pair = text.p[i] == '\\' && i + 1 < text.n;
    if (text.p[i] == '"' || (text.p[i] == '\\' && !is_pair)) strbuf_addc(b, '\\');
    strbuf_addc(b, text.p[i]);
    if (is_pair) strbuf_addc(b, text.p[++i]);
  }
  strbuf_addc(b, '"');
  strbuf_add(b, text.p + text.n, (size_t)(s.p + s.n - (text.p + text.n)));
}

/* The quoted string at i as it is, closed when it is not; the index behind it. */
static size_t add_quoted_string(struct strbuf *b, struct str s, size_t i) {
  size_t end = i + 1;
  while (end < s.n && s.p[end] != '"') end += s.p[end] == '\\' && end + 1 < s.n ? 2 : 1;
  bool is_closed = end < s.n, dangles = !is_closed && (s.n - i) > 1 && s.p[s.n - 1] == '\\';
  for (size_t k = i + 1; dangles && k + 1 < s.n; k++)
    if (s.p[k] == '\\' && ++k + 1 == s.n) dangles = false; /* it is the second of a pair */
  end += is_closed;
  strbuf_add(b, s.p + i, end - i);
  if (dangles) strbuf_addc(b, '\\');
  if (!is_closed) strbuf_addc(b, '"');
  return end;
}

/* Of printable characters and blanks, with no line end but one that folds a line: any other would begin a header line of its own. */
static bool can_stand_in_header(struct str s) {
  for (size_t i = 0; i < s.n; i++) {
    bool is_folding = s.p[i] == '\n' && i + 1 < s.n && ch_isblank(s.p[i + 1]);
    if (!ch_isprint(s.p[i]) && !ch_isblank(s.p[i]) && !is_folding) return false;
  }
  return true;
}

const char *rfc5322_fix_phrase(struct arena *a, struct str phrase, const char *charset) {
  phrase = str_trim(phrase);
  if (!can_stand_in_header(phrase)) return rfc2047_encode_always(a, phrase, charset);
  struct strbuf b = strbuf_new_t(a, is_tainted(phrase.p) ? TAINTED : UNTAINTED, phrase.n + 3);
  bool unclosed = false;
  for (size_t i = 0, end; i < phrase.n; i = end) {
    bool special = false;
    if (phrase.p[i] == '"') {
      end = add_quoted_string(&b, phrase, i);
      continue;
    }
    end = plain_end(phrase, i, &special, &unclosed);
    struct str text = str_n(phrase.p + i, end - i);
    if (special) add_quoted_text(&b, text);
    else strbuf_addstr(&b, text);
  }
  return b.p;
}

/* ---- header lines ------------------------------------------------------------------------------------------- */

bool header_is_valid_start(struct str line) {
  size_t i = 0;
  while (i < line.n && line.p[i] > 32 && line.p[i] != 127 && line.p[i] != ':') i++; /* 8-bit names: verify = header_names_ascii */
  if (i == 0) return false;
  while (i < line.n && ch_isblank(line.p[i])) i++;
  return i < line.n && line.p[i] == ':';
}

bool header_split(struct str line, struct str *ret_name, struct str *ret_value) {
  size_t colon = str_index(line, ':');
  if (colon == line.n) return false;
  *ret_name = str_rtrim(str_n(line.p, colon));
  *ret_value = str_trim(str_n(line.p + colon + 1, line.n - colon - 1));
  return true;
}

char header_type_of(struct str line, bool *ret_is_resent) {
  static const struct {
    struct str name;
    char type;
    bool allow_resent;
  } table[] = {{{"bcc", 3}, 'B', true},         {{"cc", 2}, 'C', true},        {{"date", 4}, ' ', true},
               {{"delivery-date", 13}, ' ', 0}, {{"envelope-to", 11}, ' ', 0}, {{"from", 4}, 'F', true},
               {{"message-id", 10}, 'I', true}, {{"received", 8}, 'P', false}, {{"reply-to", 8}, 'R', false},
               {{"return-path", 11}, ' ', 0},   {{"sender", 6}, 'S', true},    {{"to", 2}, 'T', true}};
  struct str name, value;
  if (ret_is_resent) *ret_is_resent = false;
  if (!header_split(line, &name, &value)) return ' ';
  bool resent = str_startsic(name, STR("resent-"));
  if (resent) name = str_n(name.p + 7, name.n - 7);
  for (size_t i = 0; i < ARRAY_SIZE(table); i++)
    if (str_eqic(name, table[i].name)) {
      if (resent && !table[i].allow_resent) return ' ';
      if (ret_is_resent) *ret_is_resent = resent;
      return table[i].type;
    }
  return ' ';
}
