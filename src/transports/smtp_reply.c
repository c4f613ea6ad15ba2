/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands out, replies in, strictly first in first out.  Floor: drivers.  RFC 5321 section 4.2, RFC 2920.
 *
 * Every command notes the reply it is owed; a reply belongs to the oldest note and to nothing else.  A multi-line reply counts once.
 * Hostile input: a line is at most 4 KiB, a reply 16 KiB, and its lines must agree in their code; whatever breaks this ends the
 * connection, because after it nobody knows which reply comes next.  A lone LF ends a line, as the manual promises. */
#include "transports/smtp_priv.h"

#include <errno.h>
#include <stdarg.h>

#include "os/debug.h"
#include "os/log.h"

void smtp_expect(struct smtp_attempt *s, enum smtp_at at, struct smtp_rcpt *rcpt, const char *shown) {
  INVARIANT(s->awaited_count < SMTP_MAX_AWAITED);
  struct smtp_awaited *w = &s->awaited[(s->awaited_head + s->awaited_count) % SMTP_MAX_AWAITED];
  *w = (struct smtp_awaited){.at = at, .pipelined = s->awaited_count > 0, .rcpt = rcpt, .command = shown};
  s->awaited_count++;
}

void smtp_note_step(struct smtp_attempt *s, char step) {
  size_t n = strlen(s->steps);
  if (n + 1 < sizeof(s->steps)) s->steps[n] = step;
}

enum { NOTED_WORD = 8 }; /* as much of a command, or of the stars for one that is secret */

void smtp_note_said(struct smtp_attempt *s, const char *text, const char *mark) {
  if (!s->said.a) s->said = strbuf_new(s->a);
  if (s->said.n) strbuf_addc(&s->said, ':');
  strbuf_add(&s->said, text, MIN(strcspn(text, " "), NOTED_WORD));
  strbuf_adds(&s->said, mark);
}

void smtp_put_line(struct smtp_attempt *s, const char *line) {
  if (s->io) {
    stream_puts(s->io, line);
    stream_put(s->io, "\r\n", 2);
  } else {
    strbuf_adds(&s->flight, line);
    strbuf_adds(&s->flight, "\r\n");
  }
}

void smtp_send(struct smtp_attempt *s, enum smtp_at at, struct smtp_rcpt *rcpt, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  const char *line = arena_vprintf(s->a, fmt, ap);
  va_end(ap);
  if (strpbrk(line, "\r\n")) { /* an address that got this far with a line end in it must not become a command of its own */
    smtp_note_failure(s, (struct smtp_failure){.trouble = TROUBLE_LOCAL, .at = at, .command = "line end in an SMTP command"});
    s->dead = true;
    return;
  }
  DEBUG(D_TRANSPORT | D_V) {
    bool held = s->pipelining && (at == AT_MAIL || at == AT_RCPT), more = at == AT_END; /* BDAT: its octets follow */
    debug_printf("  SMTP%c> %s\n", held ? '|' : more ? '+' : '>', line);
    smtp_note_said(s, line, held ? "|" : more ? "+" : "");
  }
  smtp_put_line(s, line);
  smtp_expect(s, at, rcpt, line);
  if (at == AT_EHLO || at == AT_HELO || at == AT_STARTTLS) smtp_note_step(s, at == AT_EHLO ? 'e' : at == AT_HELO ? 'h' : 's');
  /* a group is promised as soon as its commands are written without waiting, so the first one counts as pipelined too */
  if (s->pipelining && (at == AT_MAIL || at == AT_DATA))
    s->awaited[(s->awaited_head + s->awaited_count - 1) % SMTP_MAX_AWAITED].pipelined = true;
}

void smtp_note_failure(struct smtp_attempt *s, struct smtp_failure f) {
  if (s->fail.trouble == TROUBLE_NONE) s->fail = f;
}

void smtp_note_reply(struct smtp_attempt *s, const struct smtp_awaited *what, const struct smtp_reply *r) {
  smtp_note_failure(s, (struct smtp_failure){.trouble = TROUBLE_REPLY,
                                             .at = what->at,
                                             .pipelined = what->pipelined,
                                             .code = r->code,
                                             .command = what->command,
                                             .reply = r->text});
}

static enum smtp_trouble trouble_of(enum stream_status st) {
  switch (st) {
    case STREAM_TIMEOUT: return TROUBLE_TIMEOUT;
    case STREAM_TOOLONG: return TROUBLE_FORMAT;
    case STREAM_OK:
    case STREAM_EOF:
    case STREAM_ERROR: break;
  }
  return TROUBLE_CLOSED;
}

bool smtp_flush(struct smtp_attempt *s, deadline_ms deadline, enum smtp_at at, const char *shown, int64_t bytes_sent) {
  if (s->dead) return false;
  enum stream_status st = stream_flush(s->io, deadline);
  if (st == STREAM_OK) return true;
  /* A peer that refuses often answers before it closes: what it said is worth more than the broken pipe (F25).  The caller's next
   * smtp_read_reply() finds it in the buffer; only a caller that owes no reads stops here. */
  if (st != STREAM_TIMEOUT && stream_buffered(s->io).n && s->awaited_count) return true;
  s->peer_took_bytes = net_peer_took_bytes(stream_fd(s->io));
  smtp_note_failure(s, (struct smtp_failure){.trouble = trouble_of(st), .at = at, .err = stream_errno(s->io), .command = shown,
                                             .bytes_sent = bytes_sent});
  s->dead = true;
  return false;
}

int smtp_reply_add_line(struct strbuf *text, struct str line, int *code) {
  line = str_rtrim(line);
  if (line.n < 3 || !ch_isdigit(line.p[0]) || !ch_isdigit(line.p[1]) || !ch_isdigit(line.p[2])) return -1;
  if (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-') return -1;
  if (memchr(line.p, '\0', line.n)) return -1;
  int this_code = (line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0');
  if (*code && *code != this_code) return -1;
  if (text->n + line.n + 1 > SMTP_REPLY_MAX) return -1;
  *code = this_code;
  if (text->n) strbuf_addc(text, '\n');
  strbuf_add_t(text, line.p, line.n, TAINTED);
  return line.n > 3 && line.p[3] == '-' ? 0 : 1;
}

/* With TCP Fast Open a refused connection shows only here. */
static bool is_late_connect_error(const struct smtp_attempt *s, const struct smtp_awaited *w, enum smtp_trouble t) {
  if (w->at != AT_GREETING || t != TROUBLE_CLOSED || !s->io) return false;
  int e = stream_errno(s->io);
  return e == ECONNREFUSED || e == ETIMEDOUT || e == EHOSTUNREACH || e == ENETUNREACH;
}

static bool reply_failed(struct smtp_attempt *s, const struct smtp_awaited *w, enum smtp_trouble t, struct str line) {
  if (is_late_connect_error(s, w, t)) t = TROUBLE_CONNECT;
  DEBUG(D_TRANSPORT | D_V) {
    if (t == TROUBLE_CLOSED) debug_printf("  SMTP(closed)<<\n");
  }
  s->peer_took_bytes = s->io && net_peer_took_bytes(stream_fd(s->io));
  if (t == TROUBLE_CLOSED && smtp_tls_note_read_error(s)) return false;
  smtp_note_failure(s, (struct smtp_failure){.trouble = t,
                                             .at = w->at,
                                             .pipelined = w->pipelined,
                                             .err = s->io ? stream_errno(s->io) : 0,
                                             .command = w->command,
                                             .reply = line.n ? arena_strndup_t(s->a, line.p, MIN(line.n, (size_t)SMTP_REPLY_SHOWN), TAINTED) : ""});
  s->dead = true;
  return false;
}

/* A whole line in the buffer, or STREAM_TOOLONG with its start left there for the error text. */
static enum stream_status wait_line(struct smtp_attempt *s) {
  struct str have;
  enum stream_status st = stream_fill(s->io, s->reply_deadline, &have);
  while (st == STREAM_OK && str_index(have, '\n') == have.n) {
    if (have.n >= SMTP_REPLY_LINE_MAX) return STREAM_TOOLONG;
    st = stream_fill_more(s->io, have.n, 2 * SMTP_REPLY_LINE_MAX, s->reply_deadline, &have);
  }
  if (st == STREAM_OK && str_index(have, '\n') >= SMTP_REPLY_LINE_MAX) return STREAM_TOOLONG;
  return st;
}

/* For the narration: text of any language as it is, nothing that moves a cursor. */
static const char *shown(struct arena *a, struct str line) {
  for (size_t i = 0; i < line.n; i++)
    if (ch_iscntrl((unsigned char)line.p[i]) && line.p[i] != '\t') return log_escape(a, line);
  return str_dup(a, line);
}

bool smtp_read_reply(struct smtp_attempt *s, struct smtp_awaited *ret_what, struct smtp_reply *ret_reply) {
  INVARIANT(s->awaited_count > 0);
  const struct smtp_awaited *w = &s->awaited[s->awaited_head];
  struct strbuf text = strbuf_new_t(s->a, TAINTED, 128);
  int code = 0;
  for (;;) {
    struct str line;
    enum stream_status st = wait_line(s);
    if (st == STREAM_TOOLONG) return reply_failed(s, w, TROUBLE_FORMAT, stream_buffered(s->io));
    if (st == STREAM_OK) st = stream_read_line(s->io, SMTP_REPLY_LINE_MAX, true, s->reply_deadline, &line, NULL);
    if (st != STREAM_OK) return reply_failed(s, w, trouble_of(st), STR_NULL);
    DEBUG(D_TRANSPORT | D_V) debug_printf("%s%s\n", code ? "         " : "  SMTP<< ", shown(s->a, str_rtrim(line)));
    int r = smtp_reply_add_line(&text, line, &code);
    if (r < 0) return reply_failed(s, w, TROUBLE_FORMAT, str_rtrim(line));
    if (r > 0) break;
  }
  DEBUG(D_TRANSPORT | D_V) smtp_note_said(s, arena_printf(s->a, "%d", code), strchr(text.p, '\n') ? "-" : "");
  if (s->in_tls) s->tls_was_read = true;
  *ret_what = *w;
  *ret_reply = (struct smtp_reply){code, text.p};
  s->awaited_head = (s->awaited_head + 1) % SMTP_MAX_AWAITED;
  s->awaited_count--;
  return true;
}
