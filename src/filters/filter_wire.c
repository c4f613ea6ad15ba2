/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A filter's result as bytes: from the process that obeyed it to the one that delivers.  Floor: drivers (pure).
 *
 * The writing process belongs to the filter's owner, so the bytes are hostile: every length and number is checked.  Numbers are 8 bytes in this
 * machine's order; texts have a length in front, NULL is length -1, and a number that says whether the text is tainted.  Believing that opens no
 * door: deliveries of these texts run with the rights of the process that wrote them. */
#include "filters/filter.h"

#include <string.h>

enum { WIRE_ACTIONS_MAX = 100000 };

static void put_number(struct strbuf *b, int64_t v) { strbuf_add_t(b, (const char *)&v, sizeof v, UNTAINTED); }
static void put_text(struct strbuf *b, const char *s) {
  put_number(b, s ? (int64_t)strlen(s) : -1);
  if (!s) return;
  put_number(b, is_tainted(s) ? TAINTED : UNTAINTED);
  strbuf_add_t(b, s, strlen(s), UNTAINTED);
}

void filter_result_encode(const struct filter_result *r, struct strbuf *out) {
  int64_t count = 0;
  put_number(out, r->end);
  put_text(out, r->message);
  put_number(out, (r->is_temporary ? 1 : 0) | (r->is_significant ? 2 : 0));
  put_text(out, r->charset);
  for (int i = 0; i < FILTER_VARS; i++) put_number(out, r->n[i]);
  for (const struct filter_action *a = r->actions; a; a = a->next) count++;
  put_number(out, count);
  for (const struct filter_action *a = r->actions; a; a = a->next) {
    put_number(out, a->kind);
    put_text(out, a->text);
    put_text(out, a->errors_to);
    put_number(out, (a->ignore_error ? 1 : 0) | (a->file_expand ? 2 : 0) | (a->return_message ? 4 : 0) | (a->is_notification ? 8 : 0));
    put_number(out, a->mode);
    for (int i = 0; i < MAIL_ARGS; i++) put_text(out, a->mail[i]);
    put_number(out, a->once_repeat);
    put_number(out, a->ncaptures);
    for (int i = 0; i < a->ncaptures; i++) put_text(out, a->captures[i]);
    put_text(out, a->this_address);
  }
}

/* Reader with a sticky error. */
struct cursor {
  struct arena *a;
  struct str rest;
  bool bad;
};

static int64_t get_number(struct cursor *c, int64_t min, int64_t max) {
  int64_t v = min;
  if (c->bad || c->rest.n < sizeof v) {
    c->bad = true;
    return min;
  }
  memcpy(&v, c->rest.p, sizeof v);
  c->rest = str_n(c->rest.p + sizeof v, c->rest.n - sizeof v);
  if (v >= min && v <= max) return v;
  c->bad = true;
  return min;
}

static const char *get_text(struct cursor *c) {
  int64_t n = get_number(c, -1, INT32_MAX);
  if (c->bad || n < 0) return NULL;
  bool tainted = get_number(c, UNTAINTED, TAINTED) == TAINTED;
  if (c->bad || (uint64_t)n > c->rest.n || memchr(c->rest.p, 0, (size_t)n)) {
    c->bad = true;
    return NULL;
  }
  const char *s = tainted ? arena_strndup_t(c->a, c->rest.p, (size_t)n, TAINTED) : arena_untaint_copy(c->a, c->rest.p, (size_t)n);
  c->rest = str_n(c->rest.p + n, c->rest.n - (size_t)n);
  return s;
}

static struct filter_action *get_action(struct cursor *c) {
  struct filter_action *a = ARENA_NEW(c->a, struct filter_action);
  a->kind = (enum filter_action_kind)get_number(c, 0, ACTION_KINDS - 1);
  a->text = get_text(c);
  a->errors_to = get_text(c);
  int64_t flags = get_number(c, 0, 15);
  a->ignore_error = flags & 1;
  a->file_expand = flags & 2;
  a->return_message = flags & 4;
  a->is_notification = flags & 8;
  a->mode = (int)get_number(c, -1, 07777);
  for (int i = 0; i < MAIL_ARGS; i++) a->mail[i] = get_text(c);
  a->once_repeat = get_number(c, 0, INT64_MAX);
  a->ncaptures = (int)get_number(c, 0, EXPAND_MAX_CAPTURES);
  for (int i = 0; i < a->ncaptures; i++) a->captures[i] = get_text(c);
  a->this_address = get_text(c);
  if (!a->text) c->bad = true;
  return a;
}

bool filter_result_decode(struct arena *a, struct str bytes, struct filter_result *ret) {
  struct cursor c = {.a = a, .rest = bytes};
  struct filter_result r = {0};
  struct filter_action **tail = &r.actions;
  r.end = (enum filter_end)get_number(&c, 0, FILTER_END_KINDS - 1);
  r.message = get_text(&c);
  int64_t flags = get_number(&c, 0, 3);
  r.is_temporary = flags & 1;
  r.is_significant = flags & 2;
  r.charset = get_text(&c);
  for (int i = 0; i < FILTER_VARS; i++) r.n[i] = (int)get_number(&c, INT32_MIN, INT32_MAX);
  int64_t count = get_number(&c, 0, WIRE_ACTIONS_MAX);
  for (; count > 0 && !c.bad; count--) {
    *tail = get_action(&c);
    tail = &(*tail)->next;
  }
  if (c.bad || c.rest.n) return false;
  *ret = r;
  return true;
}
