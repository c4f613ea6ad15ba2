/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing a message out: header changes, line ends, stuffing.  Floor: drivers.  Manual ch. 24 (generic transport options), 46.
 *
 * The header lines are few and are built in the delivery's arena; the body is read from the -D file with pread in pieces of 16 KiB and never
 * held whole.  Bytes of the message are hostile: what leaves here with crlf set contains CR only in front of LF.  A CR of the body that is not
 * part of a line end becomes a blank on the wire, because receivers disagree on whether it ends a line; local files get it as it is.
 * A body without a final newline is given one, or the end-of-data mark would not stand on a line of its own. */
#include "transport.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "os/sys.h"
#include "policy/match.h"
#include "policy/rewrite.h"
#include "transport_filter.h"

enum { PIECE_BYTES = 16 * 1024 };

/* ---- header lines ----------------------------------------------------------------------------------------- */

static bool name_matches(struct str name, const char *item) {
  struct str pattern = str_trim(str_c(item));
  if (pattern.n && pattern.p[pattern.n - 1] == '*')
    return str_startsic(name, str_n(pattern.p, pattern.n - 1));
  return str_eqic(name, pattern);
}

/* Names to be left out, collected once: the items of routers and transport are expanded one by one. */
static int collect_removals(struct delivery *d, const char *list, struct vec *names) {
  int sep = -':';
  const char *item;
  while ((item = list_next(d->arena, &list, &sep))) {
    const char *pos = expand_string(d->x, item);
    int inner = -':';
    if (!pos && d->x->forced_fail) continue;
    if (!pos) return -EPROTO;
    while ((item = list_next(d->arena, &pos, &inner))) vec_push(names, arena_strdup(d->arena, item));
  }
  return 0;
}

static bool is_removed(const struct header_line *h, const struct vec *names) {
  struct str name, value;
  if (!names->n || !header_split(str_n(h->text, h->n), &name, &value)) return false;
  for (size_t i = 0; i < names->n; i++)
    if (name_matches(name, names->v[i])) return true;
  return false;
}

/* One item, already expanded, written as it is: what stands in the middle of it is the administrator's. */
static int add_item(struct delivery *d, const char *item, struct strbuf *out) {
  const char *text = expand_string(d->x, item);
  if (!text) return d->x->forced_fail ? 0 : -EPROTO;
  if (!*text) return 0;
  strbuf_adds(out, text);
  if (!str_ends(str_c(text), STR("\n"))) strbuf_addc(out, '\n');
  return 0;
}

/* Up to a line end that is not followed by a blank (that would be a folded line). */
static struct str cut_item(struct str *rest) {
  size_t n = 0;
  while (n < rest->n && !(rest->p[n] == '\n' && !(n + 1 < rest->n && ch_isblank(rest->p[n + 1])))) n++;
  struct str item = str_n(rest->p, n);
  *rest = n < rest->n ? str_n(rest->p + n + 1, rest->n - n - 1) : str_n(rest->p + n, 0);
  return item;
}

/* headers_add: separated by real line ends unless another separator is given. */
static int add_transport_headers(struct delivery *d, const char *list, struct strbuf *out) {
  int r = 0, sep = 0;
  const char *item;
  if (!list || !*list) return 0;
  if (list[0] == '<') {
    while (r == 0 && (item = list_next(d->arena, &list, &sep))) r = add_item(d, item, out);
    return r;
  }
  for (struct str rest = str_c(list); r == 0 && rest.n;) {
    struct str one = cut_item(&rest);
    if (str_trim(one).n) r = add_item(d, str_dup(d->arena, one), out);
  }
  return r;
}

/* A recipient is named once, two recipients with one address twice. */
static void add_envelope_address(const struct address *a, struct tree *seen, struct arena *arena, struct strbuf *out) {
  const struct address *top = a;
  while (top->parent) top = top->parent;
  const char *text = top->onetime_parent ? top->onetime_parent : top->address;
  bool is_new;
  tree_insert(seen, arena, top->onetime_parent ? text : arena_printf(arena, "%p", (const void *)top), &is_new);
  if (is_new) strbuf_addl(out, seen->count > 1 ? ",\n " : "", text, NULL);
}

/* The recipients this copy is for, those included that lead to the same address. */
static void add_envelope_to(const struct delivery *d, struct strbuf *out) {
  struct tree seen = {0};
  strbuf_adds(out, "Envelope-to: ");
  for (const struct address *a = d->addrs; a; a = a->next) {
    for (const struct address *dup = a->duplicates; dup; dup = dup->next_duplicate)
      add_envelope_address(dup, &seen, d->arena, out);
    add_envelope_address(a, &seen, d->arena, out);
  }
  strbuf_addc(out, '\n');
}

static void add_trace_headers(const struct delivery *d, const struct write_opts *o, struct strbuf *out) {
  if (o->add_return_path) strbuf_addl(out, "Return-path: <", d->return_path ? d->return_path : "", ">\n", NULL);
  if (o->add_envelope_to) add_envelope_to(d, out);
  if (o->add_delivery_date) {
    char stamp[64];
    struct time_opts to = {.utc = false};
    strbuf_addl(out, "Delivery-date: ", time_format(time_now(), TIME_FULL, to, stamp, sizeof stamp), "\n", NULL);
  }
}

static void add_message_headers(struct delivery *d, const struct write_opts *o, const struct vec *removed, struct strbuf *out) {
  for (const struct header_line *h = d->msg->headers; h; h = h->next) {
    if (h->type == '*' || is_removed(h, removed)) continue;
    const char *changed = o->rewrite_rules ? rewrite_header(d->x, h, o->rewrite_rules) : NULL;
    if (changed)
      strbuf_adds(out, changed);
    else
      strbuf_add(out, h->text, h->n);
  }
}

/* -EPROTO means that an expansion failed: note for the transport what it says about that.  Other errors pass. */
static int header_fault(struct delivery *d, int r) {
  if (r != -EPROTO) return r;
  d->write_fault = (struct write_fault){.basic_errno = ERRNO_CHHEADER_FAIL, .text = "failed to expand headers_add or headers_remove",
                                        .tail = arena_printf(d->arena, ": %s", d->x->error ? d->x->error : "")};
  return r;
}

static int make_headers(struct delivery *d, const struct write_opts *o, struct strbuf *ret_headers) {
  struct vec removed = vec_new(d->arena);
  int r = 0;
  if (d->addrs && d->addrs->prop.remove_headers)
    r = collect_removals(d, d->addrs->prop.remove_headers, &removed);
  if (r == 0 && o->remove_headers) r = collect_removals(d, o->remove_headers, &removed);
  if (r < 0) return r;
  add_trace_headers(d, o, ret_headers);
  add_message_headers(d, o, &removed, ret_headers);
  for (const struct header_line *h = d->addrs ? d->addrs->prop.extra_headers : NULL; h; h = h->next)
    if (h->type != '*') strbuf_add(ret_headers, h->text, h->n);
  r = add_transport_headers(d, o->add_headers, ret_headers);
  if (r < 0) return r;
  strbuf_addc(ret_headers, '\n');
  return 0;
}

int transport_prepare_headers(struct delivery *d, const struct write_opts *o, struct strbuf *ret_headers) {
  return o->body_only ? 0 : header_fault(d, make_headers(d, o, ret_headers));
}

/* ---- bytes ------------------------------------------------------------------------------------------------ */

struct writer {
  write_fn fn;
  void *ctx;
  bool crlf;
  struct str check, escape; /* check.n == 0: no stuffing */
  bool at_line_start;
  bool input_has_crlf;      /* body kept in wire form */
  int64_t bytes;
  size_t n;
  char buf[PIECE_BYTES];
};

static int writer_flush(struct writer *w) {
  if (w->n == 0) return 0;
  int r = w->fn(w->ctx, w->buf, w->n);
  if (r < 0) return r;
  w->bytes += (int64_t)w->n;
  w->n = 0;
  return 0;
}

static int writer_put(struct writer *w, const char *p, size_t n) {
  while (n) {
    size_t part = MIN(n, sizeof w->buf - w->n);
    memcpy(w->buf + w->n, p, part);
    w->n += part;
    p += part;
    n -= part;
    if (w->n == sizeof w->buf) {
      int r = writer_flush(w);
      if (r < 0) return r;
    }
  }
  return 0;
}

static int writer_newline(struct writer *w) { return w->crlf ? writer_put(w, "\r\n", 2) : writer_put(w, "\n", 1); }

/* Text of one line (or part of one) without its newline. */
static int writer_text(struct writer *w, struct str s) {
  if (!w->crlf) return writer_put(w, s.p, s.n);
  while (s.n) {
    size_t i = str_index(s, '\r');
    int r = writer_put(w, s.p, i);
    if (r == 0 && i < s.n) r = writer_put(w, " ", 1);
    if (r < 0) return r;
    s = i < s.n ? str_n(s.p + i + 1, s.n - i - 1) : str_n(s.p + i, 0);
  }
  return 0;
}

/* Write what can be judged of s: *ret_used may be short when the rest must be seen together with what follows. */
static int writer_feed(struct writer *w, struct str s, bool is_last, size_t *ret_used) {
  size_t used = 0;
  while (used < s.n) {
    struct str rest = str_n(s.p + used, s.n - used);
    size_t len = str_index(rest, '\n');
    bool has_end = len < rest.n;
    if (!has_end && !is_last && w->at_line_start && rest.n < w->check.n) break;
    struct str text = str_n(rest.p, len);
    if (w->at_line_start && w->check.n && str_starts(has_end ? str_n(rest.p, len + 1) : rest, w->check)) {
      int r = writer_put(w, w->escape.p, w->escape.n);
      if (r < 0) return r;
      size_t cut = MIN(w->check.n, rest.n);
      w->at_line_start = rest.p[cut - 1] == '\n';
      used += cut;
      continue;
    }
    bool hold_cr = !has_end && !is_last && text.n && text.p[text.n - 1] == '\r';
    bool drop_cr = has_end && text.n && text.p[text.n - 1] == '\r' && (w->crlf || w->input_has_crlf);
    if (hold_cr || drop_cr) text.n--;
    int r = writer_text(w, text);
    if (r == 0 && has_end) r = writer_newline(w);
    if (r < 0) return r;
    if (text.n || has_end) w->at_line_start = has_end;
    used += has_end ? len + 1 : text.n;
    if (hold_cr) break;
  }
  *ret_used = used;
  return 0;
}

static int write_file(struct writer *w, int fd, off_t at) {
  char piece[PIECE_BYTES];
  if (fd < 0) return 0;
  for (;;) {
    ssize_t n = sys_pread(fd, piece, sizeof piece, at);
    if (n < 0) return (int)n;
    bool is_last = (size_t)n < sizeof piece;
    if (is_last && n > 0) { /* a short read may also be chance: only nothing more is the end */
      char one;
      ssize_t more = sys_pread(fd, &one, 1, at + n);
      if (more < 0) return (int)more;
      is_last = more == 0;
    }
    size_t used = 0;
    int r = writer_feed(w, str_n(piece, (size_t)n), is_last, &used);
    if (r < 0) return r;
    at += (off_t)used;
    if (is_last) break;
  }
  if (w->at_line_start) return 0;
  w->at_line_start = true;
  return writer_newline(w);
}

static struct writer *writer_new(struct arena *a, write_fn fn, void *ctx) {
  struct writer *w = ARENA_NEW(a, struct writer);
  w->fn = fn;
  w->ctx = ctx;
  w->at_line_start = true;
  return w;
}

/* Line ends and stuffing as the transport wants them. */
static struct writer *writer_for(struct arena *a, const struct write_opts *o, write_fn fn, void *ctx) {
  struct writer *w = writer_new(a, fn, ctx);
  w->crlf = o->crlf;
  if (o->dot_stuff) {
    w->check = STR(".");
    w->escape = STR("..");
  } else if (o->check_string && *o->check_string && o->escape_string) {
    w->check = str_c(o->check_string);
    w->escape = str_c(o->escape_string);
  }
  return w;
}

static int write_text(struct writer *w, struct delivery *d, const struct write_opts *o, struct str headers) {
  size_t used;
  struct str check = w->check;
  if (!o->dot_stuff) w->check = STR(""); /* check_string is looked for in the body */
  int r = o->body_only ? 0 : writer_feed(w, headers, true, &used);
  w->check = check;
  w->input_has_crlf = d->msg->spool_wireformat;
  w->at_line_start = true;
  return r == 0 && !o->headers_only ? write_file(w, d->msg->data_fd, d->msg->data_start) : r;
}

/* A whole message that was made before, with lines in front of it. */
static int write_kept(struct writer *w, const struct write_opts *o, struct str headers) {
  size_t used;
  int r = writer_feed(w, headers, true, &used);
  return r == 0 ? write_file(w, o->content_fd, 0) : r;
}

static int write_end(struct writer *w, const struct write_opts *o) {
  int r = o->end_dot ? w->crlf ? writer_put(w, ".\r\n", 3) : writer_put(w, ".\n", 2) : 0;
  return r < 0 ? r : writer_flush(w);
}

/* Output of a filter comes in pieces: what cannot be judged yet (a CR, the beginning of check_string) waits for the next one. */
struct refeed {
  struct writer *w;
  size_t n;
  char buf[2 * PIECE_BYTES];
};

static int filter_output(void *ctx, const void *p, size_t n) {
  struct refeed *f = ctx;
  const char *from = p;
  while (n) {
    size_t part = MIN(n, sizeof f->buf - f->n), used = 0;
    memcpy(f->buf + f->n, from, part);
    f->n += part;
    from += part;
    n -= part;
    int r = writer_feed(f->w, str_n(f->buf, f->n), f->n == sizeof f->buf, &used);
    if (r < 0) return r;
    f->n -= used;
    memmove(f->buf, f->buf + used, f->n);
  }
  return 0;
}

/* Through the filter: plain text to it, line ends and stuffing for what it makes of it. */
static int write_filtered(struct delivery *d, const struct write_opts *o, struct str headers, struct writer *w) {
  struct transport_filter f;
  struct refeed *back = ARENA_NEW(d->arena, struct refeed);
  size_t used;
  back->w = w;
  int r = transport_filter_start(&f, d, o, filter_output, back);
  if (r < 0) return r;
  struct writer *in = writer_new(d->arena, transport_filter_feed, &f);
  r = write_text(in, d, o, headers);
  if (r == 0) r = writer_flush(in);
  r = transport_filter_finish(&f, r);
  if (r == 0) r = writer_feed(w, str_n(back->buf, back->n), true, &used);
  if (r == 0 && (o->crlf || o->end_dot) && !w->at_line_start) r = writer_newline(w);
  return r;
}

int transport_write_prepared(struct delivery *d, const struct write_opts *o, struct str headers, write_fn fn, void *ctx,
                             int64_t *ret_bytes) {
  struct writer *w = writer_for(d->arena, o, fn, ctx);
  d->write_fault = (struct write_fault){0};
  int r;
  if (o->has_content) r = write_kept(w, o, headers);
  else r = o->filter && *o->filter ? write_filtered(d, o, headers, w) : write_text(w, d, o, headers);
  if (r == 0) r = write_end(w, o);
  if (r == 0 && ret_bytes) *ret_bytes = w->bytes;
  return r;
}

int transport_write_message(struct delivery *d, const struct write_opts *o, write_fn fn, void *ctx, int64_t *ret_bytes) {
  struct strbuf headers = strbuf_new(d->arena);
  int r = transport_prepare_headers(d, o, &headers);
  return r < 0 ? r : transport_write_prepared(d, o, strbuf_str(&headers), fn, ctx, ret_bytes);
}

int transport_write_bsmtp_envelope(struct delivery *d, bool crlf, write_fn fn, void *ctx) {
  const char *end = crlf ? "\r\n" : "\n";
  struct strbuf b = strbuf_new(d->arena);
  strbuf_addl(&b, "MAIL FROM:<", d->return_path ? d->return_path : "", ">", end, NULL);
  for (const struct address *a = d->addrs; a; a = a->next) strbuf_addl(&b, "RCPT TO:<", address_rcpt_text(d->arena, a), ">", end, NULL);
  strbuf_addl(&b, "DATA", end, NULL);
  return fn(ctx, b.p, b.n);
}

struct write_opts transport_write_opts(const struct transport *t) {
  return (struct write_opts){
    .body_only = t->o.body_only,
    .headers_only = t->o.headers_only,
    .add_return_path = t->o.return_path_add,
    .add_envelope_to = t->o.envelope_to_add,
    .add_delivery_date = t->o.delivery_date_add,
    .add_headers = t->o.headers_add,
    .remove_headers = t->o.headers_remove,
    .rewrite_rules = t->rewrite_rules,
    .filter = t->o.transport_filter,
    .filter_timeout = t->o.transport_filter_timeout,
  };
}

const char *transport_write_error(struct delivery *d, int r, const char *where, int *ret_errno) {
  const struct write_fault *f = &d->write_fault;
  if (r == -EPROTO && f->text) {
    *ret_errno = f->basic_errno;
    return f->is_complete ? f->text : arena_printf(d->arena, "%s%s%s", f->text, where, f->tail);
  }
  *ret_errno = r == -EPROTO ? ERRNO_EXPANDFAIL : -r;
  if (r == -EPROTO) return d->x->error ? d->x->error : "expansion failed";
  return arena_printf(d->arena, "error%s", where);
}

void transport_set_results(struct address *addrs, enum outcome result, int basic_errno, const char *message) {
  for (struct address *a = addrs; a; a = a->next) {
    a->result = result;
    a->basic_errno = basic_errno;
    a->message = message;
    a->is_misconfigured = false;
  }
}

/* A filter that cannot be is found out before anything is opened for the message. */
static bool filter_is_fine(struct delivery *d) {
  bool is_tainted;
  const char *error = transport_expand_filter(d, "transport filter", &is_tainted);
  if (is_tainted) transport_set_results(d->addrs, OUTCOME_FAIL, 0, error);
  else if (error) transport_set_misconfigured(d->addrs, ERRNO_UNKNOWNERROR, error);
  return !error;
}

bool transport_deliver(struct delivery *d) {
  if (d->transport->driver->is_local && !d->only_quota && !filter_is_fine(d)) return true;
  bool done = d->transport->driver->deliver(d);
  const struct write_fault *f = &d->write_fault;
  for (struct address *a = f->is_mistake || f->is_final ? d->addrs : NULL; a; a = a->next) {
    if (a->result != OUTCOME_DEFER) continue;
    if (f->is_final) a->result = OUTCOME_FAIL;
    else a->is_misconfigured = true;
  }
  return done;
}

bool transport_is_orphaned(const struct delivery *d) { return d->parent > 0 && getppid() != d->parent; }

void transport_set_misconfigured(struct address *addrs, int basic_errno, const char *message) {
  transport_set_results(addrs, OUTCOME_DEFER, basic_errno, message);
  for (struct address *a = addrs; a; a = a->next) a->is_misconfigured = true;
}
