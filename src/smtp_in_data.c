/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DATA and BDAT: the body sources, and what happens around a message.
 *
 * Floor: flows.  From a network peer only the five bytes CR LF . CR LF end a message; a bare CR or LF never does, and
 * never makes a following dot special.  In the header a bare CR or LF becomes a folded line, in the body a bare CR
 * becomes a line end and a bare LF a space (when the peer otherwise sends CR LF; with BDAT, whose end is a count, it stays
 * a line end).  From a local pipe LF ends lines too.  BDAT bytes are counted exactly; whatever happens, no byte of a body
 * is taken for a command.  RFC 5321 §4.1.1.4, 3030; manual ch. 48 "Line endings". */
#include <stdio.h>
#include <unistd.h>

#include "formats/wire_body.h"
#include "queue.h"
#include "smtp_in_priv.h"

enum { BODY_OUT_SIZE = 8192, DRAIN_EXTRA_BYTES = 1 << 20, DRAIN_UNLIMITED_BYTES = 64 << 20 };

enum dot_state { ST_LINE_START, ST_DOT, ST_DOT_CR, ST_TEXT, ST_CR, ST_END };

struct smtp_body {
  struct body_source src;
  struct smtp_session *s;
  enum dot_state state;
  bool in_header;         /* no empty line yet */
  bool first_line_done, crlf_mode;
  bool lax;               /* local input: LF ends lines */
  size_t line_len;
  bool bad_header_ending; /* BDAT: a header line that does not end in CR LF */
  /* BDAT */
  bool chunked, last, aborted;
  uint64_t left, chunk_size, total;
  uint64_t added;         /* bytes that the message needed and the client left out; counted in its answer, not with spool_wireformat */
  char out[BODY_OUT_SIZE + 64];
  size_t out_n;
};

/* ---- bytes to spool form ---- */

static void put(struct smtp_body *b, char c) {
  b->out[b->out_n++] = c;
  b->line_len++;
}

static void line_break(struct smtp_body *b) {
  if (b->src.want_wire) b->out[b->out_n++] = '\r';
  b->out[b->out_n++] = '\n';
}

static void end_line(struct smtp_body *b) {
  if (b->line_len == 0) b->in_header = false;
  line_break(b);
  b->line_len = 0;
}

static void fold(struct smtp_body *b) { /* a stray line ending in a header: the line goes on */
  line_break(b);
  put(b, ' ');
}

static void bare_cr(struct smtp_body *b) {
  if (b->in_header && b->line_len > 0) fold(b);
  else {
    line_break(b);
    b->line_len = 1; /* not the start of a real line */
  }
}

/* A LF without CR; *ret_line_start when it counts as a real line end. */
static void bare_lf(struct smtp_body *b, bool *ret_line_start) {
  bool is_binary = b->chunked && !b->in_header; /* its end is a count: no line end can fake it */
  *ret_line_start = b->lax;
  b->added++;
  if (b->lax || is_binary || !b->first_line_done || !b->crlf_mode) {
    if (b->chunked && b->in_header && !b->lax) b->bad_header_ending = true;
    b->first_line_done = true;
    end_line(b);
  } else if (b->in_header) {
    if (b->chunked) b->bad_header_ending = true;
    fold(b);
  } else {
    put(b, ' ');
  }
}

static void crlf(struct smtp_body *b) {
  if (!b->first_line_done) b->first_line_done = b->crlf_mode = true;
  end_line(b);
}

static void text_byte(struct smtp_body *b, char c) {
  bool line_start = false;
  if (b->state == ST_CR && c != '\n') bare_cr(b);
  if (c == '\r') {
    b->state = ST_CR;
  } else if (c == '\n') {
    if (b->state == ST_CR) {
      crlf(b);
      line_start = true;
    } else {
      bare_lf(b, &line_start);
    }
    b->state = line_start ? ST_LINE_START : ST_TEXT;
  } else {
    put(b, c);
    b->state = ST_TEXT;
  }
}

static void feed(struct smtp_body *b, char c) {
  b->s->line_number += c == '\n'; /* reported when a batch fails */
  if (b->chunked) {
    text_byte(b, c);
    return;
  }
  switch (b->state) {
  case ST_LINE_START:
    if (c == '.') b->state = ST_DOT;
    else text_byte(b, c);
    break;
  case ST_DOT: /* a dot at the start of a line is taken off, RFC 5321 §4.5.2 */
    if (c == '\r') {
      b->state = ST_DOT_CR;
    } else if (c == '\n' && b->lax) {
      b->state = ST_END;
    } else {
      b->state = ST_TEXT;
      text_byte(b, c);
    }
    break;
  case ST_DOT_CR:
    if (c == '\n') {
      b->state = ST_END;
    } else {
      b->state = ST_CR;
      text_byte(b, c);
    }
    break;
  case ST_TEXT:
  case ST_CR:
    text_byte(b, c);
    break;
  case ST_END: break;
  }
}

static ssize_t map_status(struct smtp_session *s, enum stream_status st) {
  smtp_log_tls_loss(s);
  switch (st) {
  case STREAM_OK: return 0;
  case STREAM_EOF: return BODY_EOF_EARLY;
  case STREAM_TIMEOUT: return BODY_TIMEOUT;
  case STREAM_ERROR:
  case STREAM_TOOLONG: break;
  }
  return BODY_IO;
}

/* ---- DATA ---- */

static ssize_t data_next(struct body_source *src, const char **ret_p) {
  struct smtp_body *b = src->ctx;
  b->out_n = 0;
  while (b->out_n == 0 && b->state != ST_END) {
    struct str in;
    enum stream_status st = stream_fill(b->s->c->io, smtp_deadline(b->s), &in);
    if (st != STREAM_OK) return map_status(b->s, st);
    size_t i = 0;
    while (i < in.n && b->state != ST_END && b->out_n + 4 < BODY_OUT_SIZE) feed(b, in.p[i++]);
    stream_consume(b->s->c->io, i);
  }
  *ret_p = b->out;
  return (ssize_t)b->out_n;
}

static void data_drain(struct body_source *src) {
  struct smtp_body *b = src->ctx;
  const char *p;
  ssize_t n;
  int64_t budget = b->s->size_limit > 0 ? b->s->size_limit + DRAIN_EXTRA_BYTES : DRAIN_UNLIMITED_BYTES;
  while ((n = src->next(src, &p)) > 0)
    if ((budget -= n) < 0) { /* whoever sends on for ever is cut off */
      b->s->done = b->s->drop = true;
      return;
    }
  if (n < 0) b->s->done = true;
}

/* ---- BDAT ---- */

static void chunk_begin(struct smtp_body *b, uint64_t size, bool last) {
  b->left = b->chunk_size = size;
  b->last = last;
}

enum chunk_command { CHUNK_NONE, CHUNK_NEXT, CHUNK_ABORT };

static enum chunk_command chunk_command(struct smtp_body *b) {
  struct smtp_session *s = b->s;
  struct str arg;
  bool bad_form, last;
  uint64_t size;
  switch (smtp_parse_verb(s->line, &arg, &bad_form)) {
  case VERB_BDAT:
    if (smtp_parse_bdat(arg, &size, &last) && size == 0 && !last) {
      smtp_synprot_error(s, false, 504, "zero size for BDAT command");
      return CHUNK_NONE;
    }
    if (smtp_parse_bdat(arg, &size, &last)) {
      chunk_begin(b, size, last);
      return CHUNK_NEXT;
    }
    smtp_synprot_error(s, false, 501, "missing size for BDAT command");
    return CHUNK_NONE;
  case VERB_NOOP:
    if (!smtp_too_many_nonmail(s, VERB_NOOP)) smtp_replyf(s, "250 OK");
    return CHUNK_NONE;
  case VERB_RSET:
    s->chunks = CHUNKS_NONE;
    smtp_replyf(s, "250 Reset OK");
    return CHUNK_ABORT;
  case VERB_QUIT:
    smtp_do_quit(s, STR(""));
    return CHUNK_ABORT;
  default:
    s->chunks = CHUNKS_BROKEN;
    smtp_synprot_error(s, false, 503, "only BDAT permissible after non-LAST BDAT");
    return CHUNK_ABORT;
  }
}

/* Between chunks: read commands until the next BDAT.  False: the message is over (aborted). */
static bool next_chunk_command(struct smtp_body *b) {
  struct smtp_session *s = b->s;
  if (!smtp_check_chunk_sync(s)) {
    b->aborted = true;
    return false;
  }
  smtp_replyf(s, "250 %llu byte chunk received", (unsigned long long)b->chunk_size);
  enum chunk_command c = CHUNK_NONE;
  s->chunks = CHUNKS_OPEN;
  s->chunks_in_header = b->in_header;
  snprintf(s->chunks_id, sizeof(s->chunks_id), "%s", s->m->id);
  while (c == CHUNK_NONE && !s->done) { /* a million tiny chunks must not cost memory */
    struct arena_mark mark = arena_mark(s->tmp);
    if (smtp_read_command(s)) c = chunk_command(b);
    s->line = STR("BDAT");
    s->c->smtp_command = s->line.p;
    arena_release(s->tmp, mark);
  }
  if (c == CHUNK_NEXT) {
    s->chunks = CHUNKS_NONE;
    return true;
  }
  b->aborted = true;
  return false;
}

/* Bytes that are in wire form already go on as they are: how many of in, 0: they must be looked at one by one. */
static size_t take_wire(struct smtp_body *b, struct str in) {
  if (!b->src.want_wire || b->in_header || b->state == ST_CR || b->s->o->mode == SMTP_MODE_BATCH) return 0;
  size_t n = wire_clean_prefix(in);
  if (n == 0) return 0;
  const char *nl = memrchr(in.p, '\n', n);
  b->line_len = nl ? (size_t)(in.p + n - (nl + 1)) : b->line_len + n;
  b->state = nl && b->line_len == 0 ? ST_LINE_START : ST_TEXT;
  if (nl && !b->first_line_done) b->first_line_done = b->crlf_mode = true;
  return n;
}

static ssize_t bdat_next(struct body_source *src, const char **ret_p) {
  struct smtp_body *b = src->ctx;
  b->out_n = 0;
  while (b->out_n == 0 && b->state != ST_END) {
    if (b->aborted) return BODY_ABORTED;
    if (b->bad_header_ending) return BODY_PROTOCOL;
    if (b->left == 0) {
      b->total += b->chunk_size;
      if (b->last) {
        b->added += b->state == ST_CR ? 1 : b->line_len > 0 ? 2 : 0;
        if (b->state == ST_CR) bare_cr(b); /* a CR as the very last byte */
        b->state = ST_END;
        break;
      }
      if (!next_chunk_command(b)) return BODY_ABORTED;
      continue;
    }
    struct str in;
    enum stream_status st = stream_fill(b->s->c->io, smtp_deadline(b->s), &in);
    if (st != STREAM_OK) return map_status(b->s, st);
    size_t n = (size_t)MIN((uint64_t)in.n, b->left), i = take_wire(b, str_n(in.p, n));
    if (i > 0) { /* they stay in the buffer until it is filled again */
      stream_consume(b->s->c->io, i);
      b->left -= i;
      *ret_p = in.p;
      return (ssize_t)i;
    }
    while (i < n && !b->bad_header_ending && b->out_n + 4 < BODY_OUT_SIZE) feed(b, in.p[i++]);
    stream_consume(b->s->c->io, i);
    b->left -= i;
  }
  *ret_p = b->out;
  return (ssize_t)b->out_n;
}

/* Read and forget size bytes.  False when the connection is gone or it is too much. */
static bool skip_bytes(struct smtp_session *s, uint64_t size) {
  if (size > (uint64_t)(s->size_limit > 0 ? s->size_limit : 0) + DRAIN_UNLIMITED_BYTES) {
    s->done = s->drop = true;
    return false;
  }
  while (size > 0) {
    struct str in;
    enum stream_status st = stream_fill(s->c->io, smtp_deadline(s), &in);
    if (st != STREAM_OK) {
      smtp_log_lost(s, st);
      return false;
    }
    size_t n = (size_t)MIN((uint64_t)in.n, size);
    stream_consume(s->c->io, n);
    size -= n;
  }
  return true;
}

static void bdat_drain(struct body_source *src) {
  struct smtp_body *b = src->ctx;
  if (!b->aborted && b->left > 0) (void)skip_bytes(b->s, b->left);
  b->left = 0;
}

/* ---- after the message ---- */

static bool must_queue(struct smtp_session *s, const char **ret_reason) {
  const struct main_options *o = s->opt;
  *ret_reason = s->m->queue_only_policy ? "queued by ACL" : NULL;
  if (*ret_reason) return true;
  if (s->o->queue_only) {
    *ret_reason = o->queue_only ? NULL : s->o->queue_reason;
    return true;
  }
  if (s->m->is_put_off) return true;
  if (!s->c->is_batched && o->smtp_accept_queue_per_connection > 0 &&
      s->c->messages_received > o->smtp_accept_queue_per_connection) {
    *ret_reason = arena_printf(s->tmp, "more than %d messages received in one connection",
                               (int)o->smtp_accept_queue_per_connection);
    return true;
  }
  double load = s->load_at_queueing;
  if (load <= 0 && !receive_load_is_high(s->c, &load)) return false;
  if (o->queue_only_load_latch) s->load_at_queueing = load;
  *ret_reason = arena_printf(s->tmp, "load average %.2f", load);
  return true;
}

static void start_delivery(struct smtp_session *s) {
  const char *reason;
  bool queue = must_queue(s, &reason);
  if (!queue && s->m->hold_smtp) reason = "queued by ACL"; /* remote addresses will be */
  if (reason) log_write(LS_DELAY_DELIVERY, LOG_MAIN, "no immediate delivery: %s", reason);
  if (!s->m->frozen) receive_start_delivery(s->c, s->m, s->o->deliver_foreground, queue);
  if (!s->c->mua_failed) return;
  s->done = true; /* who waits for the outcome gets it as exit status */
  s->exit_status = 1;
}

/* The batch ended in a message: no command was at fault. */
static void batch_lost(struct smtp_session *s, const struct receive_reply *r) {
  bool timeout = r->smtp_text && strstr(r->smtp_text, "timeout");
  s->line = STR("");
  if (!timeout && r->lost_in_body) s->line_number++; /* the end of the input counts as one */
  smtp_batch_error(s, timeout ? "421 SMTP incoming data timeout - message abandoned" : "421 Lost incoming connection");
}

static void batch_refused(struct smtp_session *s, const struct receive_reply *r) {
  s->line = STR("");
  smtp_batch_error(s, r->smtp_text ? r->smtp_text : "421 Lost incoming connection");
}

/* What comes as a batch is no SMTP: its messages begin as those of the command line do.  The verdict does not count, the modifiers do. */
static void batch_start_acl(struct smtp_session *s) {
  const char *acl = s->c->cfg->o.acl_not_smtp_start;
  if (s->o->mode == SMTP_MODE_BATCH && acl) (void)acl_check(&s->x, &s->env, ACL_WHERE_NOTSMTP_START, NULL, acl);
}

static void send_reply(struct smtp_session *s, const char *text) {
  int code = 250;
  struct str t = str_c(text);
  if (t.n >= 3) code = (t.p[0] - '0') * 100 + (t.p[1] - '0') * 10 + (t.p[2] - '0');
  smtp_reply_text(s, code, t.n > 4 ? t.p + 4 : "");
}

static void answer(struct smtp_session *s, const struct smtp_body *b, const struct receive_reply *r) {
  if (s->o->mode == SMTP_MODE_BATCH) {
    if (r->result == RECEIVE_ACCEPTED || r->result == RECEIVE_DISCARDED) s->batch_messages++;
    else if (r->result == RECEIVE_LOST) batch_lost(s, r);
    else batch_refused(s, r);
    return;
  }
  if (!r->smtp_text) return;
  if (b->chunked && b->last && !s->m->prdr_requested && (r->result == RECEIVE_ACCEPTED || r->result == RECEIVE_DISCARDED))
    smtp_replyf(s, "250- %llu byte chunk, total %llu", (unsigned long long)b->chunk_size,
                (unsigned long long)(b->total + (s->m->spool_wireformat ? 0 : b->added) + r->blank_line_added));
  send_reply(s, r->smtp_text);
}

static void run_message(struct smtp_session *s, struct smtp_body *b) {
  struct conn *c = s->c;
  smtp_force_own_sender(s);
  batch_start_acl(s);
  struct receive_reply r = receive_message(c, s->m, &s->x, &s->env, &b->src);
  if (r.result != RECEIVE_LOST && !b->aborted && b->state != ST_END) b->src.drain(&b->src);
  if (b->aborted) {
    smtp_reset(s);
    return;
  }
  c->messages_received++;
  s->helo_is_free = s->rset_is_free = true; /* one each between messages */
  answer(s, b, &r);
  if (r.drop || r.result == RECEIVE_LOST) {
    s->done = s->drop = true;
    if (r.result == RECEIVE_LOST && s->o->mode != SMTP_MODE_BATCH) s->exit_status = 1;
    if (r.result == RECEIVE_LOST) smtp_notquit(s, r.smtp_text && strstr(r.smtp_text, "timeout") ? "data-timeout" : "connection-lost");
  }
  if (c->host_checking && r.result == RECEIVE_ACCEPTED)
    stream_puts(c->io, "\n**** SMTP testing: that is not a real message id!\n\n");
  /* S10: the answer leaves before a delivery is started, unless more input is here already and replies are being collected. */
  if (r.result == RECEIVE_ACCEPTED && !c->host_checking) {
    if (stream_buffered(c->io).n == 0) s->env.flush(&s->env);
    start_delivery(s);
  }
  bool more_chunks = b->chunked && !b->last && (r.result == RECEIVE_REJECTED || r.result == RECEIVE_TEMPFAIL) && r.smtp_text;
  const char *refusal = more_chunks ? arena_strdup(s->tmp, r.smtp_text) : NULL;
  smtp_reset(s);
  if (refusal) s->chunk_refusal = arena_strdup(s->m->arena, refusal);
}

static void body_init(struct smtp_body *b, struct smtp_session *s, bool chunked) {
  memset(b, 0, offsetof(struct smtp_body, out));
  b->s = s;
  b->state = ST_LINE_START;
  b->in_header = true;
  b->lax = !s->is_socket;
  b->chunked = chunked;
  b->src = (struct body_source){.next = chunked ? bdat_next : data_next, .drain = chunked ? bdat_drain : data_drain, .ctx = b};
  b->out_n = 0;
}

/* ---- the commands ---- */

/* Has any recipient been accepted?  False: the client was told why DATA or BDAT is refused. */
static bool have_recipients(struct smtp_session *s, const char *verb) {
  if (s->m->sender && (s->m->recipient_count > 0 || s->c->recipients_discarded)) return true;
  if (s->last_rcpt_error && !s->rcpt_errors_differ) {
    smtp_replyf(s, "503-All RCPT commands were rejected with this error:");
    for (struct str rest = str_c(s->last_rcpt_error); rest.n > 0;) {
      struct str line = str_cut(&rest, '\n');
      smtp_replyf(s, "503-%.*s", STR_FMT(line));
    }
  }
  /* A client that pipelines had to send it before it could know. */
  const struct vec *v = &s->c->command_names;
  bool pipelined = s->c->pipelining_advertised && v->n >= 2 && strcmp(v->v[v->n - 2], "RCPT") == 0 &&
                   (s->m->sender || s->mail_was_refused);
  if (pipelined) smtp_replyf(s, "503 Valid RCPT command must precede %s", verb);
  else smtp_synprot_error(s, false, 503, arena_printf(s->tmp, "valid RCPT command must precede %s", verb));
  return false;
}

static bool recipients_over(struct smtp_session *s) {
  if (!s->recipients_max_exceeded || !s->opt->recipients_max_reject) return false;
  smtp_replyf(s, "554 Too many recipients");
  return true;
}

static bool predata_acl(struct smtp_session *s, struct acl_result *ret) {
  *ret = (struct acl_result){.outcome = OUTCOME_OK};
  if (s->o->mode == SMTP_MODE_BATCH) return true;
  *ret = smtp_run_acl(s, ACL_WHERE_PREDATA, NULL, s->opt->acl_smtp_predata, OUTCOME_OK);
  if (ret->outcome == OUTCOME_OK) return true;
  smtp_acl_failed(s, ACL_WHERE_PREDATA, ret, "DATA");
  return false;
}

void smtp_do_data(struct smtp_session *s, struct str arg) {
  if (arg.n > 0) {
    smtp_synprot_error(s, true, 501, "unexpected argument data");
    return;
  }
  if (!have_recipients(s, "DATA") || recipients_over(s)) return;
  s->c->early_acceptable = false;
  struct acl_result r;
  if (!predata_acl(s, &r)) return;
  if (!smtp_check_sync(s, VERB_DATA)) return;
  smtp_acl_accepted(s, &r, 354, "Enter message, ending with \".\" on a line by itself");
  struct smtp_body *b = arena_alloc(s->tmp, sizeof(*b));
  body_init(b, s, false);
  run_message(s, b);
}

void smtp_do_bdat(struct smtp_session *s, struct str arg) {
  uint64_t size;
  bool last;
  if (!smtp_parse_bdat(arg, &size, &last)) {
    smtp_synprot_error(s, false, 501, "missing size for BDAT command");
    return;
  }
  s->c->early_acceptable = false;
  if (size == 0 && !last) {
    smtp_synprot_error(s, false, 504, "zero size for BDAT command");
    return;
  }
  if (s->chunk_refusal) { /* sent before the refusal was known: the same answer, so that a temporary one stays temporary */
    const char *text = s->chunk_refusal;
    if (last) s->chunk_refusal = NULL;
    if (skip_bytes(s, size) || s->drop) send_reply(s, text);
    return;
  }
  if (s->chunks || !s->c->chunking_advertised) {
    smtp_synprot_error(s, false, 503, s->chunks ? "only RSET accepted now" : "BDAT command used when CHUNKING not advertised");
    if (!s->done) (void)skip_bytes(s, size); /* the answer is on its way while the chunk may still be waited for */
    return;
  }
  if (!have_recipients(s, "BDAT") || recipients_over(s)) {
    (void)skip_bytes(s, size);
    return;
  }
  s->m->used_chunking = true;
  struct smtp_body *b = arena_alloc(s->tmp, sizeof(*b));
  body_init(b, s, true);
  chunk_begin(b, size, last);
  run_message(s, b);
}
