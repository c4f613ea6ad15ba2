/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Canonicalization, "simple" and "relaxed" (RFC 6376 section 3.4).
 *
 * Floor: formats.  The body is a state machine over single bytes with a small output buffer: what must wait (a CR, white space that may turn out to
 * stand at the end of a line, empty lines that may turn out to be the last ones) is held as a flag or a count, never as bytes. */
#include "formats/dkim_canon.h"

/* ---- headers ---- */

static struct str cut_line_end(struct str line) {
  while (line.n > 0 && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r')) line.n--;
  return line;
}

/* Name in lower case, folds undone, runs of blanks one blank, none at the ends of the value. */
static void relaxed_header(struct strbuf *out, struct str line) {
  size_t colon = str_index(line, ':');
  struct str name = str_trim(str_n(line.p, colon)), value = str_trim(str_n(line.p + colon + (colon < line.n), line.n - colon - (colon < line.n)));
  for (size_t i = 0; i < name.n; i++) {
    char c = (char)ch_lower(name.p[i]);
    strbuf_add_t(out, &c, 1, UNTAINTED);
  }
  strbuf_addc(out, ':');
  bool held = false;
  for (size_t i = 0; i < value.n; i++) {
    char c = value.p[i];
    if (ch_isblank(c) || c == '\r' || c == '\n') {
      held = true;
      continue;
    }
    if (held) strbuf_addc(out, ' ');
    held = false;
    strbuf_add(out, value.p + i, 1);
  }
}

static void simple_header(struct strbuf *out, struct str line) {
  while (line.n > 0) {
    size_t n = str_index(line, '\n');
    bool has_end = n < line.n;
    size_t text = has_end && n > 0 && line.p[n - 1] == '\r' ? n - 1 : n;
    strbuf_add(out, line.p, text);
    if (has_end) strbuf_adds(out, "\r\n");
    line = str_n(line.p + n + has_end, line.n - n - has_end);
  }
}

void dkim_canon_header(struct strbuf *out, struct str line, bool relaxed, bool with_end) {
  line = cut_line_end(line);
  if (relaxed) relaxed_header(out, line);
  else simple_header(out, line);
  if (with_end) strbuf_adds(out, "\r\n");
}

/* ---- the body ---- */

void dkim_canon_init(struct dkim_canon *c, bool relaxed, int64_t limit, dkim_canon_fn fn, void *ctx) {
  memset(c, 0, offsetof(struct dkim_canon, buf));
  c->relaxed = relaxed;
  c->left = limit;
  c->fn = fn;
  c->ctx = ctx;
  c->at_line_start = true;
}

static void flush(struct dkim_canon *c) {
  if (c->n > 0) c->fn(c->ctx, c->buf, c->n);
  c->n = 0;
}

static void give(struct dkim_canon *c, char ch) {
  if (c->left == 0) return;
  if (c->left > 0) c->left--;
  if (c->n == sizeof(c->buf)) flush(c);
  c->buf[c->n++] = ch;
}

/* The same for many. */
static void give_all(struct dkim_canon *c, const char *p, size_t n) {
  if (c->left >= 0) n = MIN(n, (uint64_t)c->left);
  if (c->left > 0) c->left -= (int64_t)n;
  while (n > 0) {
    if (c->n == sizeof(c->buf)) flush(c);
    size_t take = MIN(n, sizeof(c->buf) - c->n);
    memcpy(c->buf + c->n, p, take);
    c->n += take;
    p += take;
    n -= take;
  }
}

static void give_line_end(struct dkim_canon *c) {
  give(c, '\r');
  give(c, '\n');
}

/* A character that belongs to a line: what was held back in front of it counts now. */
static void give_text(struct dkim_canon *c, char ch) {
  for (; c->empty_lines > 0 && c->left != 0; c->empty_lines--) give_line_end(c);
  c->empty_lines = 0;
  if (c->held_blank) give(c, ' ');
  c->held_blank = false;
  c->at_line_start = false;
  c->any = true;
  give(c, ch);
}

static void line_end(struct dkim_canon *c) {
  c->held_blank = false;
  if (c->at_line_start) {
    c->empty_lines++;
    return;
  }
  give_line_end(c);
  c->at_line_start = true;
}

static void text(struct dkim_canon *c, char ch) {
  if (c->relaxed && ch_isblank(ch)) c->held_blank = true;
  else give_text(c, ch);
}

/* Bytes at p that stand for themselves, wherever they are. */
static size_t plain_run(const struct dkim_canon *c, const char *p, size_t n) {
  size_t i = 0;
  while (i < n && p[i] != '\n' && p[i] != '\r' && !(c->relaxed && ch_isblank(p[i]))) i++;
  return i;
}

/* A message may carry dozens of signatures with a digest of the body each: text goes as a whole, and nothing is looked at behind a limit. */
void dkim_canon_feed(struct dkim_canon *c, const void *data, size_t n) {
  const char *p = data;
  for (size_t i = 0; i < n && c->left != 0; i++) {
    if (c->held_cr && p[i] != '\n') text(c, '\r');
    c->held_cr = p[i] == '\r';
    if (p[i] == '\n') {
      line_end(c);
    } else if (p[i] != '\r') {
      text(c, p[i]);
      size_t run = c->held_blank ? 0 : plain_run(c, p + i + 1, n - i - 1);
      give_all(c, p + i + 1, run);
      i += run;
    }
  }
}

void dkim_canon_end(struct dkim_canon *c) {
  if (c->held_cr) text(c, '\r');
  if (!c->at_line_start) line_end(c);              /* a last line without an end gets one */
  else if (!c->any && !c->relaxed) give_line_end(c); /* an empty body is one line end in the simple form, nothing in the relaxed one */
  flush(c);
}
