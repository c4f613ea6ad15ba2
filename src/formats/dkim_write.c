/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing DKIM-Signature: headers, and choosing the header lines that are signed.
 *
 * Floor: formats.  Where the folds stand is part of what is signed, so it is settled here once: no line is longer than 78 characters,
 * a word moves to the next line as a whole when it fits there, and what fits on no line is cut.  RFC 6376 sections 3.5, 5.4. */
#include "formats/dkim.h"

#include <stdio.h>

static void fold_line(struct dkim_folder *f) {
  strbuf_adds(&f->b, "\n\t");
  f->column = 1;
}

static void put(struct dkim_folder *f, const char *p, size_t n) {
  strbuf_add(&f->b, p, n);
  f->column += n;
}

/* Cut wherever a line is full. */
static void put_anywhere(struct dkim_folder *f, const char *p, size_t n) {
  while (n > 0) {
    if (f->column >= DKIM_LINE_MAX) fold_line(f);
    size_t part = MIN(n, DKIM_LINE_MAX - f->column);
    put(f, p, part);
    p += part;
    n -= part;
  }
}

/* Add blank (true: one in front, or a fold instead), intro (in one piece) and payload (kept in one piece when a line can hold it). */
static void dkim_fold(struct dkim_folder *f, bool blank, const char *intro, const char *payload) {
  size_t intro_n = strlen(intro), rest = strlen(payload), whole = intro_n + rest;
  if (rest > 0 && 1 + whole <= DKIM_LINE_MAX && f->column + blank + whole > DKIM_LINE_MAX) {
    fold_line(f);
    blank = false;
  }
  if (blank && f->column + 1 <= DKIM_LINE_MAX) put(f, " ", 1);
  else if (blank) fold_line(f);
  if (f->column + intro_n > DKIM_LINE_MAX) fold_line(f);
  put(f, intro, intro_n);
  put_anywhere(f, payload, rest);
}

/* A list with colons. */
static void dkim_fold_list(struct dkim_folder *f, const char *intro, const char *list) {
  bool first = true;
  for (struct str rest = str_c(list); first || rest.n > 0; first = false) {
    struct str name = str_cut(&rest, ':');
    if (!first) dkim_fold(f, false, ":", "");
    dkim_fold(f, first, first ? intro : "", str_dup(f->b.a, name));
  }
}

static void add_tag(struct dkim_folder *f, const char *intro, const char *value) {
  dkim_fold(f, true, intro, value);
  dkim_fold(f, false, ";", "");
}

static void add_number(struct dkim_folder *f, const char *intro, int64_t t) {
  char buf[24];
  snprintf(buf, sizeof(buf), "%lld", (long long)t);
  add_tag(f, intro, buf);
}

const char *dkim_make_header(struct arena *a, const struct dkim_header_spec *s) {
  struct dkim_folder f = {.b = strbuf_new(a)};
  put(&f, s->name, strlen(s->name));
  put(&f, ":", 1);
  if (s->instance) add_number(&f, "i=", s->instance);
  else add_tag(&f, "v=", "1");
  if (s->chain_state) add_tag(&f, "cv=", s->chain_state);
  add_tag(&f, "a=", s->algorithm);
  if (!s->instance) add_tag(&f, "q=", "dns/txt");
  if (s->has_canon) add_tag(&f, "c=", s->relaxed ? "relaxed/relaxed" : "simple/simple");
  add_tag(&f, "d=", s->domain);
  add_tag(&f, "s=", s->selector);
  if (s->names) {
    dkim_fold_list(&f, "h=", s->names);
    dkim_fold(&f, false, ";", "");
  }
  if (s->body_hash) add_tag(&f, "bh=", s->body_hash);
  if (s->identity) add_tag(&f, "i=", s->identity);
  if (s->created > 0) add_number(&f, "t=", s->created);
  if (s->expires > 0) add_number(&f, "x=", s->expires);
  dkim_fold(&f, true, "b=", "");
  put_anywhere(&f, s->data, strlen(s->data));
  dkim_fold(&f, false, ";", "");
  strbuf_addc(&f.b, '\n');
  return f.b.p;
}

/* ---- header lines ---- */

static struct str line_name(struct str line) {
  size_t n = str_index(line, ':');
  return n == line.n ? str_n(line.p, 0) : str_trim(str_n(line.p, n));
}

size_t dkim_count_names(const char *names) {
  size_t n = *names != '\0';
  for (; *names; names++) n += *names == ':';
  return n;
}

/* Equal for equal names. */
static uint32_t name_mark(struct str name) {
  uint32_t h = 2166136261u;
  for (size_t i = 0; i < name.n; i++) h = (h ^ (uint32_t)ch_lower(name.p[i])) * 16777619u;
  return h;
}

/* The last line above upper that has the name. */
static int find_line(const struct str *lines, const uint32_t *marks, int upper, struct str name) {
  uint32_t mark = name_mark(name);
  for (int k = upper - 1; k >= 0; k--)
    if (marks[k] == mark && str_eqic(line_name(lines[k]), name)) return k;
  return -1;
}

void dkim_select_headers(struct arena *a, const struct str *lines, size_t count, const char *names, int *ret) {
  struct arena_mark mark = arena_mark(a);
  uint32_t *marks = ARENA_NEW_N(a, uint32_t, count + 1);
  for (size_t i = 0; i < count; i++) marks[i] = name_mark(line_name(lines[i]));
  struct str rest = str_c(names);
  for (size_t i = 0; rest.n > 0; i++) {
    struct str name = str_trim(str_cut(&rest, ':')), before = str_c(names);
    int upper = (int)count;
    for (size_t k = 0; k < i; k++) /* it stood in the list before: go on above the line it took then */
      if (str_eqic(str_trim(str_cut(&before, ':')), name)) upper = MIN(upper, ret[k]);
    ret[i] = find_line(lines, marks, upper, name);
  }
  arena_release(a, mark);
}

/* One name of the signer's list. */
struct wanted {
  struct str name;
  char prefix;    /* '=', '+', or 0 */
  bool is_used;   /* a plain name stands for one line */
};

static size_t parse_wanted(const char *list, struct wanted *w) {
  size_t n = 0;
  for (struct str rest = str_c(list); rest.n > 0;) {
    struct str name = str_trim(str_cut(&rest, ':'));
    struct wanted *one = &w[n];
    *one = (struct wanted){0};
    if (name.n > 0 && (name.p[0] == '=' || name.p[0] == '+')) {
      one->prefix = name.p[0];
      name = str_trim(str_n(name.p + 1, name.n - 1));
    }
    one->name = name;
    n += name.n > 0;
  }
  return n;
}

static bool takes(struct wanted *w, size_t n, struct str name) {
  for (size_t i = 0; i < n; i++) {
    if (!str_eqic(w[i].name, name) || (w[i].is_used && !w[i].prefix)) continue;
    w[i].is_used = true;
    return true;
  }
  return false;
}

static void add_name(struct strbuf *b, struct str name) {
  if (b->n > 0) strbuf_addc(b, ':');
  strbuf_addstr(b, name);
}

const char *dkim_choose_names(struct arena *a, const struct str *lines, size_t count, const char *list) {
  struct wanted *w = ARENA_NEW_N(a, struct wanted, dkim_count_names(list) + 1);
  size_t n = parse_wanted(list, w);
  struct strbuf b = strbuf_new(a);
  for (size_t i = count; i-- > 0;) {
    struct str name = line_name(lines[i]);
    if (name.n > 0 && takes(w, n, name)) add_name(&b, name);
  }
  for (size_t i = 0; i < n; i++)
    if (w[i].prefix == '+' || (!w[i].prefix && !w[i].is_used)) add_name(&b, w[i].name);
  return b.p;
}
