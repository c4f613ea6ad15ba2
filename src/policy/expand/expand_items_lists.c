/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Expansion items over lists and structured text: map, filter, reduce, sort, listextract, extract.  Floor: policy.
 *
 * Manual section 11.5.  The body of map and its kin is text of the configuration; it is walked again for each item (and once without
 * evaluation, so that its errors show with an empty list too).  List items and records are hostile. */
#include "formats/codecs.h"
#include "policy/expand/expand_priv.h"
#include "policy/match.h"

static bool inside_item(struct parse *ps, const char *name, const char *what) {
  ps->x->error = arena_printf(ps->x->a, "%s inside \"%s\" %s", ps->x->error, name, what);
  return false;
}

/* The first braced argument of a list item. */
static bool list_arg(struct parse *ps, const char *name, const char **ret) {
  exp_skip_space(ps);
  if (*ps->s != '{') return exp_fail(ps->x, "missing '{' for %s arg of %s", strcmp(name, "sort") == 0 ? "list" : "first", name);
  return exp_brace(ps, ret);
}

/* The separator of a list; the list made from it gets the same one. */
static char list_separator(const char *list) {
  while (ch_isspace(*list)) list++;
  if (*list == '<' && (ch_ispunct(list[1]) || ch_iscntrl(list[1]))) return list[1];
  return ':';
}

/* Where the body begins and ends; checks it without evaluating. */
struct body {
  const char *start, *end; /* end: behind the closing brace of the body */
  bool is_condition;
};

static bool find_body(struct parse *ps, const char *name, bool is_condition, struct body *ret) {
  bool was_skipping = ps->skip, ok, unused = false;
  exp_skip_space(ps);
  if (*ps->s != '{') return exp_fail(ps->x, "missing '{' for last arg of %s", name);
  ret->start = ++ps->s;
  ret->is_condition = is_condition;
  ps->skip = true;
  if (is_condition) {
    ok = exp_condition(ps, &unused);
  } else {
    struct strbuf none = strbuf_new(ps->x->a);
    ok = exp_walk(ps, &none, true);
  }
  ps->skip = was_skipping;
  if (!ok) return strcmp(name, "sort") == 0 ? false : inside_item(ps, name, "item");
  exp_skip_space(ps);
  if (*ps->s++ != '}') return exp_fail(ps->x, "missing } at end of condition or expression inside \"%s\"", name);
  ret->end = ps->s;
  return true;
}

static bool close_item(struct parse *ps, const char *name) {
  exp_skip_space(ps);
  if (*ps->s != '}') return exp_fail(ps->x, "missing } at end of \"%s\"", name);
  ps->s++;
  return true;
}

/* Items of result lists: the separator doubled inside, an empty one as a space. */
static void add_list_item(struct strbuf *b, char sep, const char *item, bool *first) {
  if (!*first) strbuf_addc(b, sep);
  *first = false;
  if (!*item) strbuf_addc(b, ' ');
  for (const char *end; *item; item = end + (*end != '\0')) {
    end = strchrnul(item, sep);
    strbuf_add(b, item, (size_t)(end - item));
    if (!*end) break;
    strbuf_addc(b, sep);
    strbuf_addc(b, sep);
  }
}

static bool eval_body(struct parse *ps, const struct body *body, const char **ret) {
  struct strbuf b = strbuf_new(ps->x->a);
  ps->s = body->start;
  if (!exp_walk(ps, &b, true)) return false;
  *ret = b.p;
  return true;
}

static bool filter_items(struct parse *ps, struct strbuf *out, const char *list, const struct body *body) {
  struct expand_ctx *x = ps->x;
  int sep = 0;
  bool first = true;
  char out_sep = list_separator(list);
  const char *item;
  while ((item = list_next(x->a, &list, &sep))) {
    bool keep = false;
    x->s.item = item;
    ps->s = body->start;
    if (!exp_condition(ps, &keep)) return inside_item(ps, "filter", "condition");
    if (keep) add_list_item(out, out_sep, item, &first);
  }
  return true;
}

static bool map_items(struct parse *ps, struct strbuf *out, const char *list, const struct body *body) {
  struct expand_ctx *x = ps->x;
  int sep = 0;
  bool first = true;
  char out_sep = list_separator(list);
  const char *result;
  while ((x->s.item = list_next(x->a, &list, &sep))) {
    if (!eval_body(ps, body, &result)) return inside_item(ps, "map", "item");
    add_list_item(out, out_sep, result, &first);
  }
  return true;
}

static bool over_items(struct parse *ps, struct strbuf *out, const char *name, bool is_condition) {
  struct expand_ctx *x = ps->x;
  const char *list, *saved = x->s.item;
  struct body body;
  if (!list_arg(ps, name, &list) || !find_body(ps, name, is_condition, &body) || !close_item(ps, name)) return false;
  const char *after = ps->s;
  bool ok = ps->skip || (is_condition ? filter_items(ps, out, list, &body) : map_items(ps, out, list, &body));
  x->s.item = saved;
  ps->s = after;
  return ok;
}

bool exp_item_filter(struct parse *ps, struct strbuf *out) { return over_items(ps, out, "filter", true); }
bool exp_item_map(struct parse *ps, struct strbuf *out) { return over_items(ps, out, "map", false); }

bool exp_item_reduce(struct parse *ps, struct strbuf *out) {
  struct expand_ctx *x = ps->x;
  const char *list, *init, *saved_item = x->s.item, *saved_value = x->s.value;
  struct body body;
  int sep = 0;
  bool ok = true;
  if (!list_arg(ps, "reduce", &list)) return false;
  exp_skip_space(ps);
  if (*ps->s != '{') return exp_fail(x, "missing '{' for second arg of reduce");
  if (!exp_brace(ps, &init)) return false;
  if (!find_body(ps, "reduce", false, &body) || !close_item(ps, "reduce")) return false;
  const char *after = ps->s;
  if (!ps->skip) {
    x->s.value = init;
    while (ok && (x->s.item = list_next(x->a, &list, &sep))) {
      const char *result = NULL;
      ok = eval_body(ps, &body, &result);
      if (ok) x->s.value = result;
    }
    if (ok) strbuf_adds(out, x->s.value);
    else (void)inside_item(ps, "reduce", "item");
  }
  ps->s = after;
  x->s.item = saved_item;
  x->s.value = saved_value;
  return ok;
}

/* ---- sort ---- */

struct sort_item {
  const char *text, *key;
};

/* Merge step on [lo, hi): stable whatever the comparison answers for equal keys. */
static bool merge_sort(struct expand_ctx *x, struct str op, struct sort_item *v, struct sort_item *tmp, size_t lo, size_t hi) {
  if (hi - lo < 2) return true;
  size_t mid = lo + (hi - lo) / 2, i = lo, j = mid, k = lo;
  if (!merge_sort(x, op, v, tmp, lo, mid) || !merge_sort(x, op, v, tmp, mid, hi)) return false;
  while (i < mid && j < hi) {
    bool later_first, earlier_first;
    if (!exp_order(x, op, v[j].key, v[i].key, &later_first)) return false;
    if (!exp_order(x, op, v[i].key, v[j].key, &earlier_first)) return false;
    tmp[k++] = later_first && !earlier_first ? v[j++] : v[i++];
  }
  while (i < mid) tmp[k++] = v[i++];
  while (j < hi) tmp[k++] = v[j++];
  memcpy(v + lo, tmp + lo, (hi - lo) * sizeof *v);
  return true;
}

static bool sort_items(struct parse *ps, struct strbuf *out, const char *list, const char *op, const struct body *body) {
  struct expand_ctx *x = ps->x;
  char out_sep = list_separator(list);
  struct vec items = vec_new(x->a);
  int sep = 0;
  bool first = true;
  while ((x->s.item = list_next(x->a, &list, &sep))) {
    struct sort_item *it = ARENA_NEW(x->a, struct sort_item);
    it->text = x->s.item;
    if (!eval_body(ps, body, &it->key)) return false;
    vec_push(&items, it);
  }
  struct sort_item *v = ARENA_NEW_N(x->a, struct sort_item, items.n + 1);
  struct sort_item *tmp = ARENA_NEW_N(x->a, struct sort_item, items.n + 1);
  for (size_t i = 0; i < items.n; i++) v[i] = *(struct sort_item *)items.v[i];
  if (!merge_sort(x, str_c(op), v, tmp, 0, items.n)) return false;
  for (size_t i = 0; i < items.n; i++) add_list_item(out, out_sep, v[i].text, &first);
  return true;
}

bool exp_item_sort(struct parse *ps, struct strbuf *out) {
  struct expand_ctx *x = ps->x;
  const char *list, *op, *saved = x->s.item;
  bool known;
  if (!list_arg(ps, "sort", &list)) return false;
  exp_skip_space(ps);
  if (*ps->s != '{') return exp_fail(x, "missing '{' for comparator arg of sort");
  if (!exp_brace(ps, &op)) return false;
  op = str_dup(x->a, str_trim(str_c(op)));
  if (!ps->skip && !exp_is_order_condition(x, str_c(op), &known))
    return known ? exp_fail(x, "comparator not handled for sort") : exp_fail(x, "unknown condition \"%s\"", op);
  exp_skip_space(ps);
  if (*ps->s != '{') return exp_fail(x, "missing '{' for extractor arg of sort");
  struct body body;
  if (!find_body(ps, "sort", false, &body) || !close_item(ps, "sort")) return false;
  const char *after = ps->s;
  bool ok = ps->skip || sort_items(ps, out, list, op, &body);
  x->s.item = saved;
  ps->s = after;
  return ok;
}

/* ---- listextract ---- */

static const char *list_nth(struct expand_ctx *x, const char *list, int64_t n) {
  const char *item, *pos = list;
  int sep = 0;
  if (n < 0) {
    int64_t count = 0;
    while (list_next(x->a, &pos, &sep)) count++;
    n += count + 1;
    pos = list;
    sep = 0;
  }
  if (n <= 0) return NULL;
  while ((item = list_next(x->a, &pos, &sep)) && --n > 0) {
  }
  return item;
}

bool exp_item_listextract(struct parse *ps, struct strbuf *out) {
  struct expand_ctx *x = ps->x;
  const char *args[2], *found = NULL;
  int64_t n = 0;
  for (int i = 0; i < 2; i++) {
    exp_skip_space(ps);
    if (*ps->s != '{') return exp_fail(x, "missing '{' for arg %d of listextract", i + 1);
    if (!exp_brace(ps, &args[i])) return false;
    if (i || ps->skip) continue;
    struct str t = str_trim(str_c(args[0]));
    if (!t.n) return exp_fail(x, "first argument of \"listextract\" must not be empty");
    if (!str_parse_i64(t, &n)) return exp_fail(x, "first argument of \"listextract\" must be numeric");
  }
  const char *saved = x->s.value;
  if (!ps->skip) found = list_nth(x, args[1], n);
  if (found) x->s.value = found;
  bool ok = exp_yes_no(ps, out, found != NULL, "listextract");
  x->s.value = saved;
  return ok;
}

/* ---- extract ---- */

static bool is_number(struct str s) {
  if (s.n && *s.p == '-') s = str_n(s.p + 1, s.n - 1);
  for (size_t i = 0; i < s.n; i++)
    if (!ch_isdigit(s.p[i])) return false;
  return s.n > 0;
}

/* Field n of s, where every byte of seps separates.  NULL when there are not so many. */
static const char *field_by_number(struct expand_ctx *x, const char *s, const char *seps, int64_t n) {
  if (n == 0) return s;
  if (n < 0) {
    int64_t count = 1;
    for (const char *p = s + strcspn(s, seps); *p; p += strcspn(p, seps)) {
      count++;
      p++;
    }
    n += count + 1;
    if (n <= 0) return NULL;
  }
  for (;; s++) {
    size_t len = strcspn(s, seps);
    if (--n == 0) return arena_strndup(x->a, s, len);
    s += len;
    if (!*s) return NULL;
  }
}

/* A word, or a quoted string with escapes; moves *pos behind it. */
static const char *read_record_value(struct expand_ctx *x, const char **pos) {
  const char *p = *pos;
  if (*p != '"') {
    size_t n = 0;
    while (p[n] && !ch_isspace(p[n])) n++;
    *pos = p + n;
    return arena_strndup(x->a, p, n);
  }
  struct strbuf b = strbuf_new_t(x->a, is_tainted(p) ? TAINTED : UNTAINTED, 32);
  for (p++; *p && *p != '"'; p++) {
    size_t used = 1;
    int c = *p == '\\' ? escape_interpret(str_n(p, strnlen(p, 8)), &used) : *p;
    strbuf_addc(&b, (char)c);
    p += used - 1;
  }
  *pos = *p ? p + 1 : p;
  return b.p;
}

/* Value of a key in "key1=value1 key2=value2"; the equals sign or the spaces around it may be missing. */
static const char *field_by_name(struct expand_ctx *x, const char *s, struct str key) {
  for (;;) {
    while (ch_isspace(*s)) s++;
    if (!*s) return NULL;
    size_t n = 0;
    while (s[n] && s[n] != '=' && !ch_isspace(s[n])) n++;
    struct str name = str_n(s, n);
    s += n;
    while (ch_isspace(*s)) s++;
    if (*s == '=') s++;
    while (ch_isspace(*s)) s++;
    const char *value = read_record_value(x, &s);
    if (str_eqic(name, key)) return value;
  }
}

enum extract_form { EXTRACT_RECORD, EXTRACT_JSON, EXTRACT_JSONS };

static bool extract_json(struct expand_ctx *x, const char *text, struct str key, bool by_number, enum extract_form form,
                         const char **ret) {
  struct str v, inner = str_trim(str_c(text));
  char open = by_number ? '[' : '{', close = by_number ? ']' : '}';
  if (inner.n == 0 || inner.p[0] != open || inner.p[inner.n - 1] != close)
    return exp_fail(x, "missing '%c' wrapping %s for extract json", inner.n > 0 && inner.p[0] == open ? close : open, by_number ? "array" : "object");
  int64_t n;
  int rc;
  *ret = NULL;
  if (by_number) {
    if (!str_parse_i64(key, &n) || n <= 0) return exp_fail(x, "first argument of \"extract\" must be greater than zero");
    rc = json_element(str_c(text), n, &v);
    if (rc < 0) return exp_fail(x, "missing '[' wrapping array for extract json");
  } else {
    rc = json_member(str_c(text), key, &v);
    if (rc < 0) return exp_fail(x, "missing '{' wrapping object for extract json");
  }
  if (rc == 0) return true;
  if (form == EXTRACT_JSONS) {
    if (v.n < 2 || v.p[0] != '"' || v.p[v.n - 1] != '"')
      return exp_fail(x, "missing '\"' wrapping string result for extract jsons");
    v = str_n(v.p + 1, v.n - 2);
  }
  *ret = arena_strndup(x->a, v.p, v.n);
  return true;
}

/* While skipping the key is unknown, and with it the number of arguments: take all braced strings there are. */
static bool skip_extract(struct parse *ps) {
  const char *unused;
  for (exp_skip_space(ps); *ps->s == '{'; exp_skip_space(ps))
    if (!exp_brace(ps, &unused)) return false;
  if (ch_isalpha(*ps->s) && !str_eq_c(exp_read_name(ps, 0), "fail"))
    return exp_fail(ps->x, "syntax error in \"extract\" item - \"fail\" expected");
  return close_item(ps, "extract");
}

static enum extract_form read_extract_form(struct parse *ps) {
  exp_skip_space(ps);
  if (strncmp(ps->s, "json", 4) != 0) return EXTRACT_RECORD;
  size_t n = ps->s[4] == 's' ? 5 : 4;
  if (ps->s[n] != '{' && !ch_isspace(ps->s[n])) return EXTRACT_RECORD;
  ps->s += n;
  return n == 5 ? EXTRACT_JSONS : EXTRACT_JSON;
}

bool exp_item_extract(struct parse *ps, struct strbuf *out) {
  struct expand_ctx *x = ps->x;
  enum extract_form form = read_extract_form(ps);
  if (ps->skip) return skip_extract(ps);
  const char *args[3], *found = NULL;
  struct str key = STR_NULL;
  bool by_number = false;
  for (int i = 0; i < (by_number && form == EXTRACT_RECORD ? 3 : 2); i++) {
    exp_skip_space(ps);
    if (*ps->s != '{') return exp_fail(x, "missing '{' for arg %d of extract", i + 1);
    if (!exp_brace(ps, &args[i])) return false;
    if (i) continue;
    key = str_trim(str_c(args[0]));
    by_number = is_number(key);
    if (!key.n) return exp_fail(x, "first argument of \"extract\" must not be empty");
  }
  int64_t n;
  if (form != EXTRACT_RECORD) {
    if (!extract_json(x, args[1], key, by_number, form, &found)) return false;
  } else if (!by_number) {
    found = field_by_name(x, args[1], key);
  } else if (str_parse_i64(key, &n)) {
    found = field_by_number(x, args[2], args[1], n);
  }
  const char *saved = x->s.value;
  if (found) x->s.value = found;
  bool ok = exp_yes_no(ps, out, found != NULL, "extract");
  x->s.value = saved;
  return ok;
}
