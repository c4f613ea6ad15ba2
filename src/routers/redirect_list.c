/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parser of alias and forward lists.  Floor: formats (pure).
 *
 * Items are separated by commas or newlines; a comment starts with # at the start of a line or behind a comma.  An item that is wholly
 * inside double quotes loses them.  The text comes from users' files and lookups and is hostile: the scanner only ever moves
 * forward inside the slice, and its work is linear.  Policy (what is allowed, opening include files) is the redirect router's. */
#include "routers/redirect_list.h"

#include "base/strbuf.h"
#include "formats/rfc5322.h"

enum redirect_filter redirect_filter_kind(struct str text) {
  struct str line = str_n(text.p, str_index(text, '\n'));
  if (line.n == 0 || line.p[0] != '#') return REDIRECT_NO_FILTER;
  line.p++;
  line.n--;
  struct str first = str_word(&line), second = str_word(&line);
  if (second.n < 6 || !str_eqic(str_n(second.p, 6), STR("filter"))) return REDIRECT_NO_FILTER;
  if (second.n > 6 && ch_isalnum(second.p[6])) return REDIRECT_NO_FILTER;
  if (str_eqic_c(first, "exim")) return REDIRECT_EXIM_FILTER;
  return str_eqic_c(first, "sieve") ? REDIRECT_SIEVE_FILTER : REDIRECT_NO_FILTER;
}

/* Skip blanks, separators and comments. */
static void list_skip(struct str *s) {
  while (s->n) {
    char c = s->p[0];
    if (c == '#') {
      size_t end = str_index(*s, '\n');
      s->p += end;
      s->n -= end;
      continue;
    }
    if (!ch_isspace(c) && c != ',') return;
    s->p++;
    s->n--;
  }
}

/* Length of the item at the start of s: up to a comma or newline outside quotes and comments. */
static size_t list_item_end(struct str s) {
  bool quoted = false;
  int depth = 0;
  size_t i = 0;
  for (; i < s.n; i++) {
    char c = s.p[i];
    if (c == '\n') {
      /* A folded address goes on in an indented line only while a quote or comment is open. */
      if (!quoted && depth == 0) break;
    } else if (c == '\\' && i + 1 < s.n && s.p[i + 1] != '\n') {
      i++;
    } else if (c == '"' && depth == 0) {
      quoted = !quoted;
    } else if (quoted) {
      continue;
    } else if (c == '(') {
      depth++;
    } else if (c == ')' && depth > 0) {
      depth--;
    } else if (c == ',' && depth == 0) {
      break;
    }
  }
  if (i == s.n && (quoted || depth > 0)) {
    /* Something was left open: the item ends with its line, so that one typing error does not swallow the list. */
    size_t line = str_index(s, '\n');
    if (line < s.n) return line;
  }
  return i;
}

/* Text inside quotes that enclose the whole item, without its escapes; false when they do not enclose it. */
static bool list_dequote(struct arena *a, struct str item, struct str *ret) {
  if (item.n < 2 || item.p[0] != '"' || item.p[item.n - 1] != '"') return false;
  struct strbuf b = strbuf_new(a);
  for (size_t i = 1; i + 1 < item.n; i++) {
    char c = item.p[i];
    if (c == '"') return false;
    if (c == '\\') {
      if (i + 2 >= item.n) return false;
      c = item.p[++i];
    }
    strbuf_add(&b, item.p + i, 1);
  }
  *ret = strbuf_str(&b);
  return true;
}

static struct redirect_item *item_new(struct arena *a, enum redirect_kind kind, const char *text) {
  struct redirect_item *it = ARENA_NEW(a, struct redirect_item);
  it->kind = kind;
  it->text = text;
  return it;
}

static bool has_domain(struct arena *a, struct str s, struct addr_opts o) {
  size_t domain = 0;
  const char *err = NULL;
  return rfc5322_extract_address(a, s, o, &domain, &err) && domain != 0;
}

/* NULL for a lone comment. */
static struct redirect_item *item_address(struct arena *a, struct str item, struct addr_opts o) {
  struct str s = item;
  bool keep = s.p[0] == '\\' && !has_domain(a, s, o); /* before an address with a domain it is the local part's own */
  if (keep) {
    s.p++;
    s.n--;
  }
  size_t domain = 0;
  const char *err = "missing or malformed local part", *text = NULL;
  if (memchr(s.p, '\0', s.n) == NULL) text = rfc5322_extract_address(a, s, o, &domain, &err);
  if (item.n && item.p[0] == '(' && (text ? !*text : strcmp(err, "empty address") == 0)) return NULL;
  if (!text || !*text) {
    if (text) err = "empty address";
    return item_new(a, REDIRECT_BAD, arena_printf(a, "%s in \"%s\"", err, str_dup(a, item)));
  }
  struct redirect_item *it = item_new(a, REDIRECT_ADDRESS, text);
  it->is_qualified = domain != 0;
  it->keep_domain = keep && domain == 0;
  return it;
}

static const struct {
  const char *word;
  enum redirect_kind kind;
} special_words[] = {{":blackhole:", REDIRECT_BLACKHOLE}, {":unknown:", REDIRECT_UNKNOWN}, {":include:", REDIRECT_INCLUDE}};

static struct redirect_item *item_parse(struct arena *a, struct str item, struct addr_opts o) {
  struct str plain;
  bool was_quoted = list_dequote(a, item, &plain);
  struct str s = was_quoted ? str_trim(plain) : item;
  if (s.n == 0) return item_address(a, item, o);
  for (size_t i = 0; i < ARRAY_SIZE(special_words); i++) {
    struct str w = str_c(special_words[i].word);
    if (!str_startsic(s, w)) continue;
    struct str rest = str_trim(str_n(s.p + w.n, s.n - w.n));
    if (special_words[i].kind == REDIRECT_UNKNOWN && rest.n != 0) break; /* words behind :blackhole: are a remark */
    return item_new(a, special_words[i].kind, str_dup(a, rest));
  }
  if ((s.p[0] == '|' || s.p[0] == '/') && !has_domain(a, s, o)) {
    struct redirect_item *it = item_new(a, s.p[0] == '|' ? REDIRECT_PIPE : REDIRECT_FILE, NULL);
    if (s.p[0] == '|') {
      struct str cmd = str_trim(str_n(s.p + 1, s.n - 1));
      it->text = arena_printf(a, "|%s", str_dup(a, cmd));
    } else {
      it->text = str_dup(a, s);
    }
    return it;
  }
  return item_address(a, s, o);
}

/* :defer: and :fail: take the rest of their line. */
static struct redirect_item *item_final(struct arena *a, struct str s) {
  struct str line = str_n(s.p, str_index(s, '\n'));
  if (line.n && line.p[0] == '"') {
    struct str inner;
    if (!list_dequote(a, str_rtrim(line), &inner)) return NULL;
    line = str_ltrim(inner);
  }
  enum redirect_kind kind;
  size_t n;
  if (str_startsic(line, STR(":defer:"))) {
    kind = REDIRECT_DEFER;
    n = 7;
  } else if (str_startsic(line, STR(":fail:"))) {
    kind = REDIRECT_FAIL;
    n = 6;
  } else {
    return NULL;
  }
  return item_new(a, kind, str_dup(a, str_ltrim(str_n(line.p + n, line.n - n)))); /* white space at the end is kept, as in Exim */
}

struct redirect_item *redirect_list_parse(struct arena *a, struct str text, bool allow_domain_literal, bool allow_utf8) {
  struct addr_opts o = {.allow_domain_literal = allow_domain_literal, .allow_utf8 = allow_utf8};
  struct redirect_item *first = NULL, **tail = &first;
  struct str s = text;
  for (;;) {
    list_skip(&s);
    if (s.n == 0) return first;
    struct redirect_item *it = item_final(a, s);
    if (it) {
      *tail = it;
      return first;
    }
    size_t n = list_item_end(s);
    struct str item = str_trim(str_n(s.p, n));
    s.p += n;
    s.n -= n;
    if (item.n == 0) continue;
    it = item_parse(a, item, o);
    if (!it) continue;
    *tail = it;
    tail = &it->next;
  }
}
