/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The content: DATA or one BDAT LAST, and the final replies.  Floor: drivers.  RFC 5321 section 4.1.1.4, RFC 3030, RFC 2033.
 *
 * The end of DATA is CRLF.CRLF and nothing else can look like it: lines are dot-stuffed, only LF of the spool file becomes CRLF, and a stray CR
 * does not leave.  For BDAT the size is counted first over exactly the bytes that follow; should the count then differ, the connection is cut
 * before the server can take the chunk for complete.  Each block of output has its own data_timeout, the last reply final_timeout. */
#include "transports/smtp_priv.h"

#include <errno.h>

#include "os/debug.h"
#include "os/log.h"
#include "transports/smtp_dkim.h"
#include "transports/smtp_wire.h"

enum { RIDE_ALONG_MAX = 128 * 1024 }; /* more is not sent before the recipients are known to be wanted */

struct sink {
  struct smtp_attempt *s;
  int64_t bytes;
  int64_t limit; /* BDAT size announced, -1 none */
};

static int sink_write(void *ctx, const void *p, size_t n) {
  struct sink *k = ctx;
  if (k->limit >= 0 && k->bytes + (int64_t)n > k->limit) return -EMSGSIZE;
  stream_put(k->s->io, p, n);
  if (!smtp_flush(k->s, deadline_in_sec(k->s->ob->data_timeout), AT_BLOCK, "data block", k->bytes)) return -EPIPE;
  k->bytes += (int64_t)n;
  return 0;
}

static int count_bytes(void *ctx, const void *p, size_t n) {
  (void)p;
  *(int64_t *)ctx += (int64_t)n;
  return 0;
}

/* Something on our side failed while the server waits for content: it must not get an end mark. */
static bool abandon(struct smtp_attempt *s, int err) {
  if (!s->dead) {
    int errno_shown;
    const char *text = err == -EPROTO ? transport_write_error(s->d, err, "", &errno_shown) : NULL;
    int shown = text && s->d->write_fault.text ? errno_shown : -err;
    smtp_note_failure(s, (struct smtp_failure){.trouble = TROUBLE_LOCAL, .at = AT_BLOCK, .err = shown, .reply = text});
  }
  s->dead = true;
  return false;
}

struct write_opts smtp_content_opts(const struct smtp_attempt *s, bool bdat) {
  struct write_opts o = transport_write_opts(s->d->transport);
  o.crlf = true;
  o.dot_stuff = !bdat;
  o.end_dot = !bdat;
  return o;
}

/* What is written line by line, then the body as it is. */
static int send_all(struct smtp_attempt *s, const struct write_opts *o, struct str headers, int64_t wire_size, struct sink *k, int64_t *ret_sent) {
  int r = transport_write_prepared(s->d, o, headers, sink_write, k, ret_sent);
  if (r < 0 || wire_size < 0) return r;
  r = smtp_wire_send_body(s, wire_size, *ret_sent);
  if (r == 0) *ret_sent += wire_size;
  return r;
}

/* With all that must be known first. */
static bool write_prepared(struct smtp_attempt *s, bool bdat, const struct write_opts *o, struct str headers, bool quit_rides) {
  struct sink k = {.s = s, .limit = -1};
  int64_t wire_size = bdat ? smtp_wire_body_size(s, o) : -1;
  struct write_opts lines = *o;
  lines.headers_only = o->headers_only || wire_size >= 0;
  int r;
  DEBUG(D_TRANSPORT | D_V) debug_printf(bdat ? "         will write message using CHUNKING\n" : "  SMTP>> (writing message)\n");
  if (bdat) {
    int64_t size = MAX(wire_size, 0);
    r = transport_write_prepared(s->d, &lines, headers, count_bytes, &size, NULL);
    if (r < 0) return abandon(s, r);
    smtp_send(s, AT_END, NULL, "BDAT %lld LAST", (long long)size);
    s->awaited[(s->awaited_head + s->awaited_count - 1) % SMTP_MAX_AWAITED].command = "end of data";
    s->t.bdat_used = true;
    k.limit = size;
  }
  int64_t sent = 0;
  r = send_all(s, &lines, headers, wire_size, &k, &sent);
  s->content_sent = true;
  if (r == 0 && bdat && sent != k.limit) r = -EMSGSIZE;
  if (r < 0) return abandon(s, r);
  s->d->addrs->delivered_size = sent;
  DEBUG(D_TRANSPORT | D_V) {
    if (!bdat) {
      debug_printf("  SMTP>> .\n");
      smtp_note_said(s, ".", "");
    }
  }
  if (quit_rides) smtp_put_quit(s);
  return smtp_flush(s, deadline_in_sec(s->ob->data_timeout), AT_BLOCK, "data block", sent);
}

static bool write_content(struct smtp_attempt *s, bool bdat) {
  struct write_opts o = smtp_content_opts(s, bdat);
  bool quit_rides = smtp_quit_may_ride(s); /* the question may take its time: nothing has left yet */
  struct strbuf headers = strbuf_new(s->a);
  int r = transport_prepare_headers(s->d, &o, &headers);
  if (r == 0) r = smtp_dkim_sign(s, &o, &headers);
  if (r < 0) return abandon(s, r);
  bool ok = write_prepared(s, bdat, &o, strbuf_str(&headers), quit_rides);
  smtp_dkim_done(&o);
  return ok;
}

/* K5: the server took back what the flight relied on. */
static bool is_doubtful(const struct smtp_attempt *s) { return s->early && !s->promise_stands; }

static void take_final(struct smtp_attempt *s, struct smtp_rcpt *r, const struct smtp_awaited *what, const struct smtp_reply *reply) {
  if (reply->code / 100 == 2) {
    smtp_record_success(s, r, reply->text);
    return;
  }
  r->state = RCPT_PENDING;
  if (is_doubtful(s)) s->inconclusive = true;
  else smtp_record_rcpt(s, r, what, reply);
}

/* LMTP: one reply for each accepted recipient, in order. */
static bool reap_lmtp(struct smtp_attempt *s, struct smtp_rcpt *first, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (first[i].state == RCPT_ACCEPTED) smtp_expect(s, AT_END, &first[i], "end of data");
  while (s->awaited_count) {
    s->reply_deadline = deadline_in_sec(s->ob->final_timeout);
    struct smtp_awaited what;
    struct smtp_reply r;
    if (!smtp_read_reply(s, &what, &r)) return false;
    take_final(s, what.rcpt, &what, &r);
  }
  return true;
}

/* A later connection may send its message in the first flight; see smtp_early.c. */
static void note_chunking(struct smtp_attempt *s) {
  if (smtp_host_listed(s, "hosts_pipe_connect_body", s->ob->hosts_pipe_connect_body))
    pipe_connect_chunk_taken(s->d->x, &s->plan, &s->need);
}

/* After a 353 each accepted recipient gets an answer of its own, in order; the one for the message decides whether any of them counts. */
static bool reap_prdr(struct smtp_attempt *s, struct smtp_rcpt *first, size_t n) {
  struct smtp_awaited *what = ARENA_NEW_N(s->a, struct smtp_awaited, n + 1), last;
  struct smtp_reply *replies = ARENA_NEW_N(s->a, struct smtp_reply, n + 1), final;
  for (size_t i = 0; i < n; i++) {
    if (first[i].state != RCPT_ACCEPTED) continue;
    smtp_expect(s, AT_END, &first[i], "end of data");
    s->reply_deadline = deadline_in_sec(s->ob->final_timeout);
    if (!smtp_read_reply(s, &what[i], &replies[i])) return false;
  }
  smtp_expect(s, AT_END, NULL, "end of data");
  s->reply_deadline = deadline_in_sec(s->ob->final_timeout);
  if (!smtp_read_reply(s, &last, &final)) return false;
  if (final.code / 100 != 2) {
    if (is_doubtful(s)) s->inconclusive = true;
    smtp_note_reply(s, &last, &final);
    return true;
  }
  s->t.prdr_used = true;
  for (size_t i = 0; i < n; i++) {
    if (first[i].state != RCPT_ACCEPTED) continue;
    if (replies[i].code / 100 == 2) replies[i].text = arena_printf(s->a, "%s\\n%s", replies[i].text, final.text);
    take_final(s, &first[i], &what[i], &replies[i]);
  }
  return true;
}

static bool reap_final(struct smtp_attempt *s, struct smtp_rcpt *first, size_t n) {
  struct smtp_awaited what;
  struct smtp_reply r;
  if (s->awaited_count == 0) smtp_expect(s, AT_END, NULL, "end of data");
  if (!smtp_read_reply(s, &what, &r)) return false;
  if (r.code == 353 && s->t.prdr_asked) return reap_prdr(s, first, n);
  if (r.code / 100 != 2) {
    if (is_doubtful(s)) s->inconclusive = true;
    smtp_note_reply(s, &what, &r);
    return true;
  }
  if (s->t.bdat_used) note_chunking(s);
  for (size_t i = 0; i < n; i++)
    if (first[i].state == RCPT_ACCEPTED) smtp_record_success(s, &first[i], r.text);
  return true;
}

/* Nobody was accepted but the server asked for content: an empty message ends the transaction. */
static bool send_lone_dot(struct smtp_attempt *s) {
  struct smtp_awaited what;
  struct smtp_reply r;
  stream_puts(s->io, ".\r\n");
  if (s->is_lmtp) { /* no accepted recipient, no reply: the state is unclear, so do not go on */
    s->dead = true;
    return false;
  }
  smtp_expect(s, AT_END, NULL, "end of data");
  return smtp_read_reply(s, &what, &r);
}

/* Nobody was accepted: the server swallowed the chunk and says so (RFC 3030 section 2). */
static bool reap_unwanted_chunk(struct smtp_attempt *s) {
  struct smtp_awaited what;
  struct smtp_reply r;
  if (!smtp_read_reply(s, &what, &r)) {
    if (s->fail.trouble == TROUBLE_CLOSED || s->fail.trouble == TROUBLE_TLS)
      log_write(LS_ALWAYS, LOG_MAIN, "peer close after all rcpt responses; converting i/o-error to no-error");
    return false;
  }
  if (r.code / 100 != 2) s->content_sent = false;
  return true;
}

bool smtp_chunk_rides_along(const struct smtp_attempt *s) {
  return s->pipelining && s->d->msg->message_size <= RIDE_ALONG_MAX && smtp_use_chunking(s);
}

bool smtp_send_chunk_ahead(struct smtp_attempt *s) { return !s->dead && write_content(s, true); }

bool smtp_reap_chunk(struct smtp_attempt *s, struct smtp_rcpt *first, size_t n) {
  bool any = false;
  for (size_t i = 0; i < n; i++) any = any || first[i].state == RCPT_ACCEPTED;
  s->reply_deadline = deadline_in_sec(s->ob->final_timeout);
  return any && !s->t.mail_refused ? reap_final(s, first, n) : reap_unwanted_chunk(s);
}

bool smtp_send_content(struct smtp_attempt *s, struct smtp_rcpt *first, size_t n) {
  bool any = false;
  for (size_t i = 0; i < n; i++) any = any || first[i].state == RCPT_ACCEPTED;
  if (s->t.data_sent && !s->t.data_refused && (!any || s->t.mail_refused)) return send_lone_dot(s);
  if (!any || s->t.mail_refused || s->t.data_refused) return true;
  smtp_find_next(s); /* before anything leaves: what that takes must not come between this message and the reply to it */
  if (!write_content(s, !s->t.data_sent)) return false;
  smtp_put_next_in_flight(s);
  s->reply_deadline = deadline_in_sec(s->ob->final_timeout);
  return s->is_lmtp ? reap_lmtp(s, first, n) : reap_final(s, first, n);
}
