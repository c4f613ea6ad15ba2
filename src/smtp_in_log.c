/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replies, and the log lines of the SMTP server: refusals, errors, lost connections, ends.
 *
 * Floor: flows.  Everything a client sent is hostile; the log service escapes it.  Reply text from ACLs may hold
 * newlines and becomes a multi-line reply; a bare CR in it is dropped.  Manual ch. 53. */
#include <stdio.h>

#include "policy/event.h"
#include "smtp_in_priv.h"

/* ---- replies ---- */

static void put_reply_line(struct smtp_session *s, const char *text, size_t n) {
  if (s->o->mode == SMTP_MODE_BATCH) return;
  /* Replies quote what the client said: no control character of his gets into our lines. */
  for (size_t i = 0, from = 0; i <= n; i++) {
    if (i < n && (!ch_iscntrl(text[i]) || text[i] == '\t')) continue;
    stream_put(s->c->io, text + from, i - from);
    if (i < n) stream_put(s->c->io, "?", 1);
    from = i + 1;
  }
  stream_put(s->c->io, "\r\n", 2);
}

void smtp_replyf(struct smtp_session *s, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  const char *text = arena_vprintf(s->tmp, fmt, ap);
  va_end(ap);
  if (s->o->mode == SMTP_MODE_BATCH) {
    if (*text == '4' || *text == '5') smtp_batch_error(s, text);
    return;
  }
  put_reply_line(s, text, strlen(text));
}

const char *smtp_message_code(const char *text, int *code, bool check_class) {
  struct str t = str_c(text);
  if (t.n < 4 || !ch_isdigit(t.p[0]) || !ch_isdigit(t.p[1]) || !ch_isdigit(t.p[2]) || !ch_isspace(t.p[3])) return text;
  int given = (t.p[0] - '0') * 100 + (t.p[1] - '0') * 10 + (t.p[2] - '0');
  if (check_class && given / 100 != *code / 100) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "configured error code starts with incorrect digit (expected %d) in \"%s\"",
              *code / 100, text);
    size_t extended = smtp_enhanced_code_len(str_n(t.p + 4, t.n - 4), given / 100);
    return text + 4 + extended;
  }
  *code = given;
  return text + 4;
}

void smtp_reply_text(struct smtp_session *s, int code, const char *text) {
  struct str rest = str_c(smtp_message_code(text, &code, true));
  while (rest.n > 0 && rest.p[rest.n - 1] == '\n') rest.n--;
  if (s->o->mode == SMTP_MODE_BATCH) {
    if (code >= 400) smtp_batch_error(s, arena_printf(s->tmp, "%d %.*s", code, STR_FMT(rest)));
    return;
  }
  struct str prefix = str_n(rest.p, smtp_enhanced_code_len(rest, code / 100));
  bool first = true;
  do {
    struct str line = str_cut(&rest, '\n');
    while (!first && rest.n > 0 && str_trim(line).n == 0) line = str_cut(&rest, '\n'); /* an empty line says nothing */
    if (!first) line = str_ltrim(line);
    bool more = rest.n > 0;
    if (line.n > 0 && line.p[line.n - 1] == '\r') line.n--;
    if (more && s->c->no_multiline) {
      if (first) rest.n = 0, more = false;
    }
    const char *out = arena_printf(s->tmp, "%d%c%.*s%.*s", code, more ? '-' : ' ', first ? 0 : (int)prefix.n, prefix.p,
                                   STR_FMT(line));
    put_reply_line(s, out, strlen(out));
    first = false;
  } while (rest.n > 0);
}

/* ---- parts of lines ---- */

const char *smtp_ident(const struct smtp_session *s) { return origin_host_ident(s->tmp, s->c, true, true); }

/* "HOST" of connection lines: full host name, else the caller. */
const char *smtp_host_text(const struct smtp_session *s) { return origin_host_ident(s->tmp, s->c, false, true); }

const char *smtp_connection_text(const struct smtp_session *s) {
  const struct origin *o = &s->c->from;
  if (!s->is_socket && !s->c->host_checking && o->ident) return o->ident;
  if (!s->via_inetd || !o->fullhost) return smtp_host_text(s);
  return arena_printf(s->tmp, "%s (via inetd)", o->fullhost);
}

const char *smtp_duration(const struct smtp_session *s, struct timeval since) {
  char buf[64];
  struct timeval now = time_now();
  int64_t usec = (int64_t)(now.tv_sec - since.tv_sec) * 1000000 + now.tv_usec - since.tv_usec;
  if (usec < 0) usec = 0;
  if (log_selects(LS_MILLISEC) && usec < INT64_C(60000000))
    return arena_printf(s->tmp, "%d.%03ds", (int)(usec / 1000000), (int)(usec / 1000 % 1000));
  return arena_printf(s->tmp, "%s", time_format_interval(usec / 1000000, buf, sizeof(buf)));
}


/* "C=EHLO,QUIT"; the last twenty, with "..." when there were more. */
const char *smtp_command_list(const struct smtp_session *s) {
  struct strbuf b = strbuf_new(s->tmp);
  const struct vec *v = &s->c->command_names;
  size_t first = v->n > 20 ? v->n - 20 : 0;
  strbuf_adds(&b, "C=");
  if (first > 0) strbuf_adds(&b, "...");
  for (size_t i = first; i < v->n; i++) strbuf_addf(&b, "%s%s", i > first ? "," : "", (const char *)v->v[i]);
  return b.p;
}

/* ---- errors of the client ---- */

void smtp_synprot_error(struct smtp_session *s, bool syntax, int code, const char *text) {
  smtp_synprot_error_at(s, syntax, code, STR(""), text);
}

static const char *too_many_errors_line(struct smtp_session *s, struct str last) {
  const struct vec *names = &s->c->command_names;
  return arena_printf(s->tmp, "SMTP call from %s dropped: too many syntax or protocol errors (last command was \"%.*s\", %s%s)",
                      smtp_host_text(s), STR_FMT(last), names->n ? " " : "", names->n ? smtp_command_list(s) : "NULL");
}

void smtp_count_synprot_error(struct smtp_session *s, int code, const char *reply) {
  struct conn *c = s->c;
  bool too_many = ++c->synprot_errors > s->opt->smtp_max_synprot_errors && s->o->mode != SMTP_MODE_BATCH;
  if (!too_many) {
    smtp_replyf(s, "%d %s", code, reply);
    return;
  }
  smtp_replyf(s, "%d-%s", code, reply);
  smtp_replyf(s, "%d Too many syntax or protocol errors", code);
  log_write(LS_ALWAYS, LOG_MAIN | LOG_REJECT, "%s", too_many_errors_line(s, s->line));
  s->done = s->drop = true;
  s->exit_status = s->c->host_checking ? 0 : 1;
}

static void count_error(struct smtp_session *s, bool syntax, int code, const char *log_text, const char *reply) {
  log_write(syntax ? LS_SMTP_SYNTAX_ERROR : LS_SMTP_PROTOCOL_ERROR, LOG_MAIN, "SMTP %s error in \"%.*s\" %s %s",
            syntax ? "syntax" : "protocol", STR_FMT(s->line), smtp_ident(s), log_text);
  (void)event_raise(&s->x, s->opt->event_action, "main", syntax ? "smtp:fail:syntax" : "smtp:fail:protocol", log_text, 0);
  smtp_count_synprot_error(s, code, reply);
}

void smtp_synprot_error_at(struct smtp_session *s, bool syntax, int code, struct str operand, const char *text) {
  bool shown = operand.n > 0 && s->o->mode != SMTP_MODE_BATCH; /* a batch report has the command anyway */
  count_error(s, syntax, code, text, shown ? arena_printf(s->tmp, "%.*s: %s", STR_FMT(operand), text) : text);
}

void smtp_synprot_error_as(struct smtp_session *s, int code, const char *log_text, const char *reply) {
  count_error(s, true, code, log_text, reply);
}

static const char *sync_error_line(struct smtp_session *s, bool greeting) {
  struct str in = stream_buffered(s->c->io);
  size_t shown = MIN(in.n, greeting ? (size_t)128 : (size_t)32);
  /* What follows a NUL is no text any more: TLS or noise, other for each client. */
  const char *text = log_escape(s->tmp, str_n(in.p, strnlen(in.p, shown)));
  if (greeting)
    return arena_printf(s->tmp, "SMTP protocol synchronization error (input sent without waiting for greeting): "
                        "rejected connection from %s input=\"%s\"", smtp_ident(s), text);
  const char *count = shown < in.n ? "..." : arena_printf(s->tmp, " (%d bytes)", (int)in.n);
  return arena_printf(s->tmp, "SMTP protocol synchronization error (next input sent too soon: pipelining was %sadvertised): "
                      "rejected \"%.*s\" %s next input=\"%s\"%s", s->c->pipelining_advertised ? "" : "not ", STR_FMT(s->line),
                      smtp_ident(s), text, count);
}

static void refuse_for_sync_error(struct smtp_session *s, bool greeting) {
  smtp_notquit_reply(s, "synchronization-error", 554, "SMTP synchronization error");
  s->done = s->drop = true;
  s->exit_status = greeting ? 0 : 1;
}

void smtp_log_sync_error(struct smtp_session *s, bool greeting) {
  log_write(LS_ALWAYS, LOG_MAIN | LOG_REJECT, "%s", sync_error_line(s, greeting));
  refuse_for_sync_error(s, greeting);
}

/* What is there already behind the chunk is not obeyed and not answered, only counted: Exim tells of those who sent too much of it. */
static void count_unread_lines(struct smtp_session *s) {
  struct str in = stream_buffered(s->c->io);
  for (const char *nl; (nl = memchr(in.p, '\n', in.n)); in = str_n(nl + 1, in.n - (size_t)(nl + 1 - in.p))) {
    if (++s->c->synprot_errors <= s->opt->smtp_max_synprot_errors) continue;
    struct str line = str_n(in.p, (size_t)(nl - in.p) - (nl > in.p && nl[-1] == '\r'));
    receive_log_reject(s->m, LOG_MAIN | LOG_REJECT, too_many_errors_line(s, line));
    return;
  }
}

void smtp_log_chunk_sync_error(struct smtp_session *s) {
  receive_log_reject(s->m, LOG_MAIN | LOG_REJECT, sync_error_line(s, false));
  refuse_for_sync_error(s, false);
  count_unread_lines(s);
}

/* ---- ACL results ---- */

static const struct {
  int deny, defer;
} acl_codes[ACL_WHERE_COUNT] = {
  [ACL_WHERE_CONNECT] = {550, 450}, [ACL_WHERE_HELO] = {550, 450},  [ACL_WHERE_MAIL] = {550, 451},
  [ACL_WHERE_RCPT] = {550, 451},    [ACL_WHERE_PREDATA] = {550, 451}, [ACL_WHERE_DATA] = {550, 451},
  [ACL_WHERE_DKIM] = {550, 451},    [ACL_WHERE_MIME] = {550, 451},
  [ACL_WHERE_AUTH] = {503, 451},    [ACL_WHERE_ETRN] = {458, 451},  [ACL_WHERE_ATRN] = {450, 450},  [ACL_WHERE_EXPN] = {550, 451},
  [ACL_WHERE_VRFY] = {252, 451},    [ACL_WHERE_STARTTLS] = {550, 451},
  [ACL_WHERE_WELLKNOWN] = {550, 451}, [ACL_WHERE_MAILAUTH] = {550, 451},
};

unsigned smtp_reject_target(const struct smtp_session *s) {
  return s->c->log_reject_target_set ? s->c->log_reject_target : LOG_MAIN | LOG_REJECT;
}

static void log_refusal(struct smtp_session *s, enum acl_where where, bool temporary, const char *log, const char *what) {
  unsigned dest = smtp_reject_target(s);
  if (dest == 0) return;
  const char *from = "";
  bool envelope = where == ACL_WHERE_RCPT || where == ACL_WHERE_DATA || where == ACL_WHERE_MIME;
  if (envelope && s->m->sender)
    from = arena_printf(s->tmp, "F=<%s> ", s->m->unrewritten_sender ? s->m->unrewritten_sender : s->m->sender);
  const char *auth = "";
  if (*from && s->c->from.auth_name)
    auth = arena_printf(s->tmp, "A=%s%s%s ", s->c->from.auth_name, s->c->from.auth_id ? ":" : "",
                        s->c->from.auth_id ? s->c->from.auth_id : "");
  int n = log ? (int)strcspn(log, "\n") : 0;
  const char *ident = smtp_ident(s);
  struct strbuf tls = strbuf_new(s->tmp);
  receive_log_add_tls(&tls, &s->c->from.tls);
  const char *line = arena_printf(s->tmp, "%s%s%s%s%s%srejected %s%s%.*s", ident, tls.p, *ident || tls.n ? " " : "", from, auth,
                                  temporary ? "temporarily " : "", what, n > 0 ? ": " : "", n, log ? log : "");
  if (where == ACL_WHERE_DATA || where == ACL_WHERE_PRDR || where == ACL_WHERE_MIME || where == ACL_WHERE_DKIM)
    receive_log_reject(s->m, dest, line);
  else
    log_write(LS_ALWAYS, dest, "%s", line);
}

/* A sender that did not verify is explained once per message; a deferral is explained to the client only, and each time, when
 * details are given out. */
static void explain_sender(struct smtp_session *s, enum acl_where where, int code, bool log_only) {
  struct message *m = s->m;
  struct sender_check *c = m->sender_check;
  if (!c || c->result == OUTCOME_OK) return;
  bool failed = c->result == OUTCOME_FAIL, first = !c->is_reported;
  const char *log = c->log ? c->log : c->user;
  c->is_reported = true;
  if (first && log_selects(LS_SENDER_VERIFY_FAIL)) {
    const char *line = arena_printf(s->tmp, "%s sender verify %s for <%s>%s%s", smtp_ident(s), failed ? "fail" : "defer",
                                    c->address, log ? ": " : "", log ? log : "");
    if (where == ACL_WHERE_DATA) receive_log_reject(m, LOG_MAIN | LOG_REJECT, line);
    else log_write(LS_ALWAYS, LOG_MAIN | LOG_REJECT, "%s", line);
  }
  if (log_only) return;
  const char *user = c->details ? c->details : c->user;
  bool with_head = failed && !c->details;
  if (!user && s->opt->smtp_return_error_details) user = log;
  if (!user || (failed && !first) || s->o->mode == SMTP_MODE_BATCH || s->c->no_multiline) return;
  if (!failed && !s->opt->smtp_return_error_details) return;
  struct strbuf b = strbuf_new(s->tmp);
  if (with_head) {
    strbuf_addf(&b, "%d-Verification failed for <%s>", code, c->address);
    put_reply_line(s, b.p, b.n);
  }
  struct str rest = str_c(user);
  while (rest.n > 0) {
    struct str line = str_cut(&rest, '\n');
    strbuf_clear(&b);
    strbuf_addf(&b, "%d-%.*s", code, STR_FMT(line));
    put_reply_line(s, b.p, b.n);
  }
}

void smtp_acl_failed(struct smtp_session *s, enum acl_where where, const struct acl_result *r, const char *what) {
  bool denied = r->outcome == OUTCOME_FAIL || r->outcome == OUTCOME_FAIL_DROP;
  int code = denied ? acl_codes[where].deny : acl_codes[where].defer;
  const char *user = r->user_message;
  if (r->outcome == OUTCOME_ERROR || (!denied && !user)) {
    user = "Temporary local problem - please try later";
    code = 451;
  }
  if (where != ACL_WHERE_MAIL) explain_sender(s, where, code, r->outcome == OUTCOME_ERROR);
  const char *log = r->log_message;
  if (user && (!log || strcmp(log, user) == 0)) { /* a code that does not fit is not logged either */
    int given = code;
    const char *rest = smtp_message_code(user, &given, where != ACL_WHERE_VRFY);
    if (rest != user && given == code) {
      user = log = arena_printf(s->tmp, "%d %s", code, rest);
    }
  }
  log_refusal(s, where, !denied, log ? log : r->user_message, what);
  if (!user) user = "Administrative prohibition";
  if (where == ACL_WHERE_VRFY) user = smtp_message_code(user, &code, false); /* 252 may become a refusal */
  smtp_reply_text(s, code, user);
  bool dropped = r->outcome == OUTCOME_FAIL_DROP;
  if (!dropped && where != ACL_WHERE_CONNECT) return;
  if (dropped && !s->is_unlogged) log_write(LS_SMTP_CONNECTION, LOG_MAIN, "SMTP connection from %s closed by DROP in ACL", smtp_connection_text(s));
  if (dropped) smtp_notquit(s, "acl-drop");
  s->done = s->drop = true;
  if (where == ACL_WHERE_DATA && !s->c->host_checking) s->exit_status = 1; /* a message was lost in it */
}

void smtp_acl_accepted(struct smtp_session *s, const struct acl_result *r, int code, const char *text) {
  if (r->user_message && *r->user_message) smtp_reply_text(s, code, r->user_message);
  else smtp_replyf(s, "%d %s", code, text);
}

/* ---- ends ---- */

void smtp_log_incomplete(struct smtp_session *s, const char *how) {
  if (!s->m->sender || !log_selects(LS_SMTP_INCOMPLETE_TRANSACTION)) return;
  struct strbuf b = strbuf_new(s->tmp);
  for (size_t i = 0; i < s->m->recipient_count; i++)
    strbuf_addf(&b, "%s%s", i ? " " : " for ", s->m->recipients[i].address);
  const char *ident = smtp_ident(s);
  log_write(LS_SMTP_INCOMPLETE_TRANSACTION, LOG_MAIN, "%s%sincomplete transaction (%s) from <%s>%s", ident, *ident ? " " : "",
            how, s->m->sender, b.p);
}

void smtp_log_data_lost(struct arena *a, const struct conn *c, const char *where) {
  const char *id = log_selects(LS_CONNECTION_ID) && c->connection_id ? arena_printf(a, " Ci=%s", c->connection_id) : "";
  log_write(LS_LOST_INCOMING_CONNECTION, LOG_MAIN, "SMTP connection%s from %s lost while reading message data%s", id,
            origin_host_ident(a, c, false, false), where);
}

void smtp_log_lost(struct smtp_session *s, enum stream_status st) {
  const char *d = smtp_duration(s, s->c->started);
  const char *name = s->own_name;
  smtp_log_tls_loss(s);
  if (st == STREAM_TIMEOUT) {
    smtp_log_incomplete(s, "command timeout");
    log_write(LS_LOST_INCOMING_CONNECTION, LOG_MAIN, "SMTP command timeout on %sconnection from %s D=%s",
              s->c->from.tls.active ? "TLS " : "", smtp_host_text(s), d);
    s->line = STR("");
    s->chunks = CHUNKS_NONE; /* this line is enough */
    if (s->o->mode == SMTP_MODE_BATCH) {
      s->line_number--; /* that one did not come */
      smtp_batch_error(s, "421 SMTP command timeout");
    } else {
      smtp_notquit_reply(s, "command-timeout", 421, arena_printf(s->tmp, "%s: SMTP command timeout - closing connection", name));
    }
  } else {
    bool in_mail = s->m->sender && !s->chunks;
    if (in_mail) smtp_log_incomplete(s, "connection lost");
    smtp_notquit_reply(s, "connection-lost", 421, arena_printf(s->tmp, "%s lost input connection", name));
    if (in_mail) {
      log_write(LS_LOST_INCOMING_CONNECTION, LOG_MAIN, "unexpected %s while reading SMTP command from %s D=%s",
                s->is_socket || s->c->from.host_address ? "disconnection" : "EOF", smtp_host_text(s), d);
    } else if (!s->is_unlogged && !s->chunks) {
      log_write(LS_SMTP_CONNECTION, LOG_MAIN, "SMTP connection from %s lost D=%s", smtp_connection_text(s), d);
    }
  }
  s->done = true;
  if (s->o->mode != SMTP_MODE_BATCH) s->exit_status = s->c->host_checking && st != STREAM_TIMEOUT ? 0 : 1;
  smtp_log_end(s, NULL); /* smtp_no_mail */
}

void smtp_log_end(struct smtp_session *s, const char *how) {
  const char *d = smtp_duration(s, s->c->started);
  if (how && !s->is_unlogged)
    log_write(LS_SMTP_CONNECTION, LOG_MAIN, "SMTP connection from %s D=%s %s", smtp_connection_text(s), d, how);
  if (s->c->is_batched || s->mail_seen || !log_selects(LS_SMTP_NO_MAIL)) return;
  const struct origin *o = &s->c->from;
  const char *auth = o->auth_name ? arena_printf(s->tmp, " A=%s%s%s", o->auth_name, o->auth_id ? ":" : "",
                                                 o->auth_id ? o->auth_id : "") : "";
  const char *tls = o->tls.active && o->tls.cipher ? arena_printf(s->tmp, " X=%s", o->tls.cipher) : "";
  log_write(LS_SMTP_NO_MAIL, LOG_MAIN, "no MAIL in SMTP connection from %s D=%s%s%s%s%s", smtp_host_text(s), d, auth, tls,
            s->c->command_names.n ? " " : "", s->c->command_names.n ? smtp_command_list(s) : "");
}
