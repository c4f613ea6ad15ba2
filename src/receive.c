/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Taking one message: from the body source to the spool, past the ACLs, to the reply.
 *
 * Floor: flows.  Order: create the data file, headers, body, fix-ups, ACL, commit, log, answer.  "250" is only said after
 * spool_commit() returned 0: then the message survives a crash.  Every earlier end removes what was written.  The input is
 * hostile; after any error the source is drained by the caller, so that no body byte is read as a command.
 * Manual ch. 47, 44; doc/durability.txt R1-R11. */
#include "receive.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cutthrough.h"
#include "deliver_priv.h"
#include "dkim_verify.h"
#include "os/debug.h"
#include "os/net.h"
#include "os/priv.h"
#include "os/signals.h"
#include "os/sys.h"
#include "policy/match.h"
#include "os/tls.h"
#include "queue.h"
#include "receive_dkim.h"
#include "receive_mime.h"
#include "scan.h"
#include "receive_priv.h"
#include "smtp_in_priv.h"
#include "spool.h"

/* ---- space ---- */

static bool space_on(const char *path, int64_t want_kib, int64_t want_inodes, int64_t message_bytes, const char *what) {
  struct statvfs st;
  if ((want_kib <= 0 && want_inodes <= 0) || statvfs(path, &st) != 0) return true;
  uint64_t kib = (uint64_t)st.f_bavail * (st.f_frsize / 512) / 2;
  bool enough = (want_kib <= 0 || kib >= (uint64_t)(want_kib + message_bytes / 1024)) &&
                (want_inodes <= 0 || st.f_files == 0 || st.f_favail >= (fsfilcnt_t)want_inodes);
  if (enough) return true;
  log_write(LS_ALWAYS, LOG_MAIN, "%s directory space check failed: space=%lld inodes=%lld", what, (long long)kib, (long long)st.f_favail);
  return false;
}

/* The partition of the log files, when they go to files below a directory that can be named. */
static bool log_space_available(const struct config *cfg) {
  const struct main_options *o = &cfg->o;
  char dir[512];
  struct str rest = str_c(o->log_file_path ? o->log_file_path : ""), item = {0};
  while (rest.n > 0 && (item.n == 0 || item.p[0] != '/')) item = str_trim(str_cut(&rest, ':'));
  if (item.n == 0 || item.p[0] != '/') item = str_c(cfg->spool_directory);
  while (item.n > 1 && o->log_file_path && item.p[item.n - 1] != '/') item.n--;
  if (item.n >= sizeof(dir) || memchr(item.p, '$', item.n)) return true;
  memcpy(dir, item.p, item.n);
  dir[item.n] = 0;
  return space_on(dir, o->check_log_space, o->check_log_inodes, 0, "log");
}

bool receive_space_available(const struct config *cfg, int64_t message_bytes) {
  const struct main_options *o = &cfg->o;
  return space_on(cfg->spool_directory, o->check_spool_space, o->check_spool_inodes, message_bytes, "spool") &&
         log_space_available(cfg);
}

void receive_add_recipient(struct message *m, const char *address, const char *raw) {
  message_add_recipient(m, address);
  if (!m->raw_recipients.a) m->raw_recipients = vec_new(m->arena);
  vec_push(&m->raw_recipients, arena_strdup(m->arena, raw));
}

/* ---- ends that are no acceptance ---- */

static struct receive_reply end_without(struct reception *r, enum receive_result result, const char *text, bool drop) {
  if (r->keep_body && r->m->data_fd >= 0) r->kept_body_fd = fcntl(r->m->data_fd, F_DUPFD_CLOEXEC, 3);
  spool_abandon(r->m);
  return (struct receive_reply){.result = result, .smtp_text = text, .drop = drop};
}

static const char *session_host(const struct reception *r) { return origin_host_ident(r->m->arena, r->c, false, false); }

static const char *connected_for(const struct reception *r) {
  struct timeval now = time_now();
  int64_t msec = (int64_t)(now.tv_sec - r->c->started.tv_sec) * 1000 + (now.tv_usec - r->c->started.tv_usec) / 1000;
  char buf[48];
  if (msec < 0) msec = 0;
  if (log_selects(LS_MILLISEC) && msec < 60000)
    return arena_printf(r->m->arena, "%d.%03ds", (int)(msec / 1000), (int)(msec % 1000));
  return arena_printf(r->m->arena, "%s", time_format_interval(msec / 1000, buf, sizeof(buf)));
}

/* The source ended before the message did. */
static struct receive_reply lost(struct reception *r) {
  const char *d = connected_for(r);
  const char *name = r->c->from.active_hostname ? r->c->from.active_hostname : r->c->cfg->primary_hostname;
  switch (r->source_error) {
  case BODY_TIMEOUT:
    if (!r->c->is_smtp_input) {
      log_write(LS_LOST_INCOMING_CONNECTION, LOG_MAIN, "timed out while reading local message");
      return end_without(r, RECEIVE_LOST, "421 timed out while reading the message", true);
    }
    log_write(LS_LOST_INCOMING_CONNECTION, LOG_MAIN, "SMTP data timeout (message abandoned) on connection from %s F=<%s> D=%s",
              r->c->from.fullhost ? r->c->from.fullhost : "local process", r->m->sender ? r->m->sender : "", d);
    return end_without(r, RECEIVE_LOST, arena_printf(r->x->a, "421 %s SMTP incoming data timeout - closing connection.", name),
                       true);
  case BODY_PROTOCOL:
    receive_log_reject(r->m, LOG_MAIN | LOG_REJECT, arena_printf(r->x->a, "rejected from <%s> H=%s: Non-CRLF-terminated header, "
                       "under CHUNKING: message abandoned", r->m->sender, session_host(r)));
    return end_without(r, RECEIVE_REJECTED, "552 Message header not CRLF terminated", false);
  case BODY_ABORTED: return end_without(r, RECEIVE_REJECTED, NULL, false);
  default: break;
  }
  smtp_log_data_lost(r->m->arena, r->c, r->in_body ? "" : r->header_bytes > 0 ? " (after header)" : " (header)");
  struct receive_reply lost = end_without(r, RECEIVE_LOST, "421 Lost incoming connection", true);
  lost.lost_in_body = r->in_body;
  return lost;
}

static struct receive_reply spool_failed(struct reception *r, const char *what, int rc) {
  bool full = rc == -ENOSPC || rc == -EDQUOT;
  if (rc == -EMSGSIZE) {
    receive_log_reject(r->m, LOG_MAIN | LOG_REJECT, arena_printf(r->x->a, "rejected from <%s> %s: header lines and recipients together are too big",
                                                                 r->m->sender, receive_ident(r)));
    return end_without(r, RECEIVE_REJECTED, "552 Message header and recipients too big", false);
  }
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s: %s", what, strerror(-rc));
  r->temporary = true;
  return end_without(r, RECEIVE_TEMPFAIL, full ? "452 space shortage, please try later"
                                               : "451 Temporary local problem - please try later", false);
}

static struct receive_reply too_big(struct reception *r) {
  /* Of a local message no more is read; how large it would be is not known. */
  int64_t got = r->is_smtp ? r->header_bytes + r->body_read : r->size_limit + 1;
  const char *line = arena_printf(r->x->a, "rejected from <%s> %s: message too big: read=%lld max=%lld", r->m->sender,
                                  receive_ident(r), (long long)got, (long long)r->size_limit);
  if (log_selects(LS_SIZE_REJECT)) receive_log_reject(r->m, LOG_MAIN | LOG_REJECT, line);
  return end_without(r, RECEIVE_REJECTED, "552 Message size exceeds maximum permitted", false);
}

/* ---- the body ---- */

static void count_body(struct reception *r, struct str s) {
  struct message *m = r->m;
  for (size_t i = 0; i < s.n;) {
    const char *nl = memchr(s.p + i, '\n', s.n - i);
    size_t n = nl ? (size_t)(nl - (s.p + i)) : s.n - i, end = m->spool_wireformat && nl; /* a CR in front of it */
    r->line_len += (int64_t)(n - end);
    if (r->line_len > m->max_received_linelength) m->max_received_linelength = r->line_len;
    if (nl) {
      m->body_linecount++;
      r->line_len = 0;
    }
    i += n + (nl != NULL);
  }
  for (const char *p = s.p, *end = s.p + s.n; (p = memchr(p, 0, (size_t)(end - p))); p++) m->body_zerocount++;
}

enum body_result { BODY_DONE, BODY_LOST, BODY_TOO_BIG, BODY_SPOOL_ERROR };

static enum body_result take_body(struct reception *r, struct str s, int *ret_rc) {
  r->body_read += (int64_t)s.n;
  if (r->size_limit > 0 && r->header_bytes + r->body_read > r->size_limit) return BODY_TOO_BIG;
  count_body(r, s);
  dkim_verify_body(r->m->dkim, s.p, s.n);
  int rc = spool_append(r->m, s.p, s.n);
  if (rc == 0) return BODY_DONE;
  *ret_rc = rc;
  return BODY_SPOOL_ERROR;
}

/* What came in LF form together with the headers. */
static enum body_result take_rest_as_wire(struct reception *r, int *ret_rc) {
  struct arena_mark mark = arena_mark(r->x->a);
  struct strbuf wire = strbuf_new_t(r->x->a, TAINTED, r->rest.n + 64);
  for (struct str rest = r->rest; rest.n > 0;) {
    size_t n = str_index(rest, '\n');
    bool has_end = n < rest.n;
    strbuf_add(&wire, rest.p, n);
    if (has_end) strbuf_adds(&wire, "\r\n");
    rest = str_n(rest.p + n + has_end, rest.n - n - has_end);
  }
  enum body_result done = take_body(r, strbuf_str(&wire), ret_rc);
  arena_release(r->x->a, mark);
  return done;
}

static enum body_result read_body(struct reception *r, int *ret_rc) {
  bool in_wire_form = false, is_wire = r->m->spool_wireformat;
  r->in_body = true;
  r->src->want_wire = is_wire;
  for (;;) {
    if (r->rest.n > 0) {
      enum body_result taken = is_wire && !in_wire_form ? take_rest_as_wire(r, ret_rc) : take_body(r, r->rest, ret_rc);
      if (taken != BODY_DONE) return taken;
      r->rest = STR_NULL;
    }
    in_wire_form = is_wire;
    if (r->at_end) break;
    const char *p;
    ssize_t n = r->src->next(r->src, &p);
    if (n < 0) {
      r->source_error = (int)n;
      return BODY_LOST;
    }
    if (n == 0) break;
    r->rest = str_n(p, (size_t)n);
  }
  if (r->line_len > 0) { /* a last line without an end gets one */
    int rc = is_wire ? spool_append(r->m, "\r\n", 2) : spool_append(r->m, "\n", 1);
    r->m->body_linecount++;
    r->body_read += is_wire ? 2 : 1;
    if (rc < 0) {
      *ret_rc = rc;
      return BODY_SPOOL_ERROR;
    }
  }
  r->m->body_size = r->body_read;
  return BODY_DONE;
}

static void count_size(struct message *m) {
  m->message_size = m->body_size + 1;
  m->message_linecount = m->body_linecount + 1; /* what was received, the empty line too */
  for (const struct header_line *h = m->headers; h; h = h->next) {
    if (h->type == '*') continue;
    m->message_size += (int64_t)h->n;
    if (h == m->received_header) continue;
    for (const char *p = h->text; (p = strchr(p, '\n')); p++) m->message_linecount++;
  }
}

/* What came from the client, for the ACLs (manual 11.9): lines that were added count when the message is stored. */
static void count_received(const struct reception *r) {
  r->m->message_size = r->header_bytes + r->body_read;
  r->m->message_linecount = r->header_lines + r->m->body_linecount;
}

/* ---- policy ---- */

/* The ACL at the end.  True: go on (accepted or discarded). */
static bool final_acl(struct reception *r, struct receive_reply *ret, const char **ret_text) {
  const struct main_options *o = &r->c->cfg->o;
  const char *acl = r->is_smtp ? o->acl_smtp_data : o->acl_not_smtp;
  enum acl_where where = r->is_smtp ? ACL_WHERE_DATA : ACL_WHERE_NOTSMTP;
  if (!acl || (r->is_smtp && r->m->recipient_count == 0)) return true;
  receive_apply_acl_headers(r->x, r->m); /* what earlier ACLs added can be seen now */
  struct acl_result a = acl_check(r->x, r->env, where, NULL, acl);
  if (a.outcome == OUTCOME_OK || a.outcome == OUTCOME_DISCARD) {
    *ret_text = a.user_message;
    if (a.outcome == OUTCOME_DISCARD) {
      r->m->discarded = true;
      r->m->discarded_by = acl_where_name(where);
      r->m->discard_text = a.log_message ? arena_strdup(r->m->arena, a.log_message) : NULL;
    }
    return true;
  }
  bool denied = a.outcome == OUTCOME_FAIL || a.outcome == OUTCOME_FAIL_DROP;
  if (r->is_smtp) { /* the log of rejections has them with what this ACL did to them */
    receive_apply_acl_headers(r->x, r->m);
    smtp_acl_failed(r->env->session, where, &a, "after DATA");
    *ret = end_without(r, denied ? RECEIVE_REJECTED : RECEIVE_TEMPFAIL, NULL, a.outcome == OUTCOME_FAIL_DROP);
    return false;
  }
  const char *log = a.log_message ? a.log_message : a.user_message;
  int n = log ? (int)strcspn(log, "\n") : 0;
  unsigned dest = r->c->log_reject_target_set ? r->c->log_reject_target : LOG_MAIN | LOG_REJECT;
  if (dest) receive_log_reject(r->m, dest, arena_printf(r->x->a, "F=<%s> rejected by non-SMTP ACL%s%.*s", r->m->sender,
                     n ? ": " : "", n, log ? log : ""));
  r->temporary = false;
  const char *user = a.outcome == OUTCOME_ERROR || !a.user_message ? "local configuration problem" : a.user_message;
  *ret = end_without(r, denied ? RECEIVE_REJECTED : RECEIVE_TEMPFAIL,
                     arena_printf(r->x->a, "%d %s", denied ? 550 : 451, user), false);
  ret->by_acl = true;
  return false;
}

/* A client that is gone will send the message again: taking it would make a duplicate. */
static bool client_is_gone(struct reception *r) {
  if (!r->is_smtp || !r->c->io || r->c->host_checking || !net_is_socket(stream_fd(r->c->io))) return false;
  /* Nor does one wait that has ended its side and said nothing more, not even QUIT. */
  if (!stream_peer_gone(r->c->io) && stream_input_ready(r->c->io, 0) != STREAM_AT_EOF) return false;
  if (tls_error(r->c->io))
    log_write(LS_ALWAYS, LOG_MAIN, "TLS error on connection from %s %s", origin_host_ident(r->m->arena, r->c, false, false), tls_error(r->c->io));
  struct strbuf how = strbuf_new(r->m->arena);
  receive_log_add_pipelining(&how, r->c);
  log_write(LS_ALWAYS, LOG_MAIN, "SMTP connection lost after final dot %s P=%s%s", receive_ident(r), r->c->from.protocol, how.n ? how.p : "");
  return true;
}

static void log_discarded(struct reception *r) {
  const struct message *m = r->m;
  const char *text = m->discarded_by ? m->discard_text : NULL;
  if (m->recipient_count > 0 && !m->discarded_by) return;
  log_write(LS_ALWAYS, LOG_MAIN, "=> blackhole (%s ACL discarded recipients)%s%s",
            m->discarded_by ? m->discarded_by : m->discarded ? "MAIL" : "RCPT", text ? ": " : "", text ? text : "");
  log_write(LS_ALWAYS, LOG_MAIN, "Completed");
}

static const char fake_reject_text[] =
  "Your message has been rejected but is being kept for evaluation.\nIf it was a legitimate message, it may still be "
  "delivered to the target\nrecipient(s).";

static struct receive_reply accepted(struct reception *r, const char *text) {
  struct message *m = r->m;
  struct receive_reply reply = {.result = RECEIVE_ACCEPTED, .blank_line_added = r->blank_line_added};
  if (m->fake_reject || m->fake_defer) {
    const char *t = m->fake_response_text ? acl_split_message(r->x->a, m->fake_response_text) : fake_reject_text;
    reply.smtp_text = arena_printf(r->x->a, "%d %s", m->fake_reject ? 550 : 450, t);
  } else if (text && *text) {
    int code = 250;
    const char *rest = smtp_message_code(text, &code, true);
    reply.smtp_text = arena_printf(r->x->a, "%d %s", code, rest);
  } else {
    reply.smtp_text = arena_printf(r->x->a, "250 OK id=%s", m->id);
  }
  return reply;
}

/* The next host has it: nothing stays here. */
static struct receive_reply gone_already(struct reception *r, const char *text) {
  receive_log_arrival(r);
  log_write(LS_ALWAYS, LOG_MAIN, "%s", deliver_log_completed(r->x->a, r->m));
  struct receive_reply reply = accepted(r, text);
  spool_abandon(r->m);
  reply.result = RECEIVE_DISCARDED;
  return reply;
}

/* freeze_tell, in a process of its own: the session goes on. */
static void tell_frozen(struct reception *r) {
  const struct message *m = r->m;
  int status;
  if (m->freeze_no_tell || !m->cfg->o.freeze_tell || !*m->cfg->o.freeze_tell) return;
  pid_t pid = sys_fork("freeze-tell");
  if (pid == 0) {
    bounce_tell_frozen(r->m, r->x, &(struct frozen_facts){.on_arrival_by = "ACL"});
    _exit(0);
  }
  if (pid > 0) (void)sys_waitpid(pid, &status, 0);
}

/* Taken, but nobody is to get it: checked only, without recipients, or discarded by an ACL. */
static struct receive_reply drop_accepted(struct reception *r, const char *text) {
  receive_log_arrival(r);
  log_discarded(r);
  struct receive_reply reply = accepted(r, text);
  spool_abandon(r->m);
  if (!r->c->host_checking) reply.result = RECEIVE_DISCARDED;
  return reply;
}

static void note_frozen(struct reception *r) {
  int fd = spool_msglog(r->m);
  log_write(LS_ALWAYS, LOG_MAIN, "frozen by ACL");
  if (fd >= 0) {
    log_msglog(fd, "frozen by ACL");
    (void)!sys_close(fd);
  }
  tell_frozen(r);
}

/* Put the message on the spool for good. */
static struct receive_reply store(struct reception *r, const char *text) {
  struct message *m = r->m;
  m->received_time_complete = time_now();
  m->deliver_firsttime = true;
  m->from = &r->c->from;
  m->acl_c = r->c->acl_c;
  for (size_t i = 0; (m->fake_reject || m->fake_defer) && i < m->recipient_count; i++)
    m->recipients[i].dsn_flags &= ~(unsigned)DSN_SUCCESS; /* the client was told that this fails */
  m->is_local = r->c->sender_is_own || (r->c->is_local_caller && !r->c->is_trusted);
  receive_apply_acl_headers(r->x, m);
  cutthrough_settle_headers(r->x);
  if (!receive_make_received(r, true)) return spool_failed(r, "Received: header", -EINVAL);
  count_size(m);
  if (client_is_gone(r)) return end_without(r, RECEIVE_LOST, NULL, true);
  const char *onward = NULL;
  switch (cutthrough_send(r->x, receive_ident(r), &onward)) {
    case CUTTHROUGH_NOT_DONE: break;
    case CUTTHROUGH_DELIVERED: return gone_already(r, text);
    case CUTTHROUGH_REFUSED: return end_without(r, RECEIVE_REJECTED, onward, false);
    case CUTTHROUGH_LATER: return end_without(r, RECEIVE_TEMPFAIL, onward, false);
  }
  if (r->c->host_checking || m->recipient_count == 0 || m->discarded_by) return drop_accepted(r, text);
  int rc = spool_commit(m);
  if (rc < 0) return spool_failed(r, "Failed to write message to the spool", rc);
  receive_log_arrival(r);
  if (m->data_fd >= 0 && sys_close(m->data_fd) < 0) m->data_fd = -1; /* synced already; gives up the lock */
  m->data_fd = -1;
  if (m->frozen && m->frozen_reason) note_frozen(r);
  return accepted(r, text);
}

/* ---- the flow ---- */

/* The message is not for the queue: who reads it (-bem, -bf) takes it away himself. */
static struct receive_reply hand_over(struct reception *r, bool had_headers) {
  count_received(r);
  r->m->received_count++; /* as a stored one would have it */
  r->examined_by->examine(r->examined_by->examine_ctx, r->m, r->x, r->from_line_sender, had_headers);
  return (struct receive_reply){.result = RECEIVE_DISCARDED};
}

static struct receive_reply receive_run(struct reception *r) {
  struct message *m = r->m;
  struct receive_reply reply;
  const char *text = NULL, *prdr_text = NULL;
  int rc = spool_create(m);
  if (rc < 0) return spool_failed(r, "Failed to create spool file", rc);
  m->spool_wireformat = m->used_chunking && m->cfg->o.spool_wireformat;
  if (!receive_read_headers(r)) {
    if (r->source_error) return lost(r);
    reply = end_without(r, RECEIVE_REJECTED, r->reply, false);
    m->id[0] = '\0'; /* it is known by no name yet: a report refers to none */
    return reply;
  }
  if (r->is_smtp) dkim_verify_begin(r->x);
  log_set_message_id(m->id);
  log_set_utf8(m->smtputf8);
  if (r->after_headers && !r->after_headers(r, &reply)) return reply;
  bool had_headers = m->headers != NULL;
  receive_fix_headers(r);
  switch (read_body(r, &rc)) {
  case BODY_DONE: break;
  case BODY_LOST: return lost(r);
  case BODY_TOO_BIG: return too_big(r);
  case BODY_SPOOL_ERROR: return spool_failed(r, "Failed to write to the spool", rc);
  }
  if (r->examined_by) return hand_over(r, had_headers);
  if (!receive_make_received(r, false)) return spool_failed(r, "Received: header", -EINVAL);
  count_received(r);
  if (m->cutthrough != CUTTHROUGH_OFF) receive_apply_acl_headers(r->x, m);
  cutthrough_note_headers(r->x);
  if (!receive_check_dkim(r, &reply)) return end_without(r, reply.result, reply.smtp_text, reply.drop);
  /* What one ACL has discarded the next ones are not asked about. */
  if (!m->discarded_by && !receive_check_mime(r, &reply)) return end_without(r, reply.result, reply.smtp_text, reply.drop);
  if (m->discarded_by) m->prdr_requested = false;
  if (!smtp_run_prdr(r, &reply, &prdr_text)) return end_without(r, reply.result, reply.smtp_text, false);
  if (!m->discarded_by && !final_acl(r, &reply, &text)) return reply;
  scan_unspool(r->x);
  return store(r, prdr_text ? prdr_text : text);
}

bool receive_size_limit(struct expand_ctx *x, int64_t *ret, const char **ret_what) {
  const char *text = x->cfg->o.message_size_limit, *value = text ? expand_string(x, text) : NULL;
  int64_t n;
  *ret_what = "unable to expand";
  if (text && !value) return false;
  if (!text) {
    *ret = 50 << 20;
    return true;
  }
  *ret_what = "invalid";
  if (!expand_int(x, text, &n)) return false;
  if (n < 0) {
    x->error = arena_printf(x->a, "non-negative integer expected but \"%s\" found", value);
    return false;
  }
  *ret = n;
  return true;
}

struct receive_reply receive_run_reception(struct reception *r) {
  const char *what;
  struct message *m = r->m;
  /* Where the dialogue began it was good; a value that has become bad since lets nothing in. */
  if (!receive_size_limit(r->x, &r->size_limit, &what)) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s message_size_limit: %s", what, r->x->error);
    return (struct receive_reply){.result = RECEIVE_TEMPFAIL, .smtp_text = "451 Temporary local problem - please try later"};
  }
  m->received_time = time_now();
  m->message_size = 0;
  r->is_local = !r->c->from.host_address || m->submission_mode;
  struct receive_reply reply = receive_run(r);
  scan_unspool(r->x);
  return reply;
}

struct receive_reply receive_message(struct conn *c, struct message *m, struct expand_ctx *x, struct acl_env *env,
                                     struct body_source *src) {
  struct reception r = {.c = c, .m = m, .x = x, .env = env, .src = src};
  r.is_smtp = c->is_smtp_input && !c->is_batched;
  r.accepted_from_line = c->is_batched || (!c->from.host_address && c->cfg->o.ignore_fromline_local);
  return receive_run_reception(&r);
}

/* ---- delivery ---- */

bool receive_load_is_high(struct conn *c, double *ret_load) {
  const struct config *cfg = c->cfg;
  if (cfg->o.queue_only_load < 0) return false;
  /* In the suite's harness each look finds a little more, whatever the machine does. */
  if (cfg->harness_mode) *ret_load = ++c->load_looks / 100.0;
  else if (getloadavg(ret_load, 1) != 1) return false;
  return *ret_load * 1000 > (double)cfg->o.queue_only_load;
}

/* queue_only_file: files whose existence switches queueing on; "smtp/path" that of remote addresses only. */
static bool queue_file_says(const struct main_options *o, struct arena *a, bool want_smtp) {
  const char *list = o->queue_only_file, *item;
  int sep = -':';
  struct stat st;
  while (list && (item = list_next(a, &list, &sep))) {
    bool is_smtp = strncmp(item, "smtp", 4) == 0;
    if (is_smtp == want_smtp && stat(is_smtp ? item + 4 : item, &st) == 0) return true;
  }
  return false;
}

static bool tell_manager(const struct message *m, bool hold_smtp) {
  return queue_notify(queue_get_notify_fd(), &(struct queue_notice){.id = m->id, .queue = m->queue_name, .hold_smtp = hold_smtp});
}

/* Who reads from us must not wait for our delivery to see the end: neither the peer of a session nor the reader of the caller's pipe. */
static void let_go_of_caller(struct conn *c) {
  int null = sys_open("/dev/null", O_RDWR, 0), fd = c->io ? stream_fd(c->io) : -1;
  if (null < 0) return;
  if (fd > 2) (void)dup2(null, fd);
  (void)dup2(null, 0);
  (void)dup2(null, 1);
  if (!debug_selector) (void)dup2(null, 2);
}

/* In the child.  Without root only what goes over the held connection; the rest is the queue manager's. */
NORETURN static void deliver_in_child(struct conn *c, const struct message *m, const struct deliver_opts *o) {
  const char *id = arena_strdup(c->arena, m->id);
  let_go_of_caller(c);
  setsid(); /* out of reach of the keys and the hang-up of the caller's terminal */
  sys_role(SYS_ROLE_DELIVERY);
  enum deliver_result done = deliver_message(m->cfg, id, o);
  cutthrough_cancel(c); /* unless it was used */
  if (o->remote_only && done == DELIVER_NOT_ATTEMPTED) (void)tell_manager(m, o->hold_smtp);
  _exit(0);
}

static void fork_delivery(struct conn *c, const struct message *m, const struct deliver_opts *o) {
  pid_t pid = sys_fork("delivery");
  if (pid == 0) deliver_in_child(c, m, o);
  if (pid > 0) {
    cutthrough_given_away(c);
    return;
  }
  if (o->remote_only && tell_manager(m, o->hold_smtp)) return;
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "fork of delivery process failed: %s: the message stays on the queue", strerror((int)-pid));
}

static void start_in_background(struct conn *c, const struct message *m, struct deliver_opts *o) {
  /* In the daemon deliveries are the queue manager's, who can take on the identities they need.  A session only goes on with the connection that it
   * holds itself. */
  bool has_manager = queue_get_notify_fd() >= 0;
  o->remote_only = has_manager;
  if (has_manager && (o->hold_smtp || !c->held)) {
    if (tell_manager(m, o->hold_smtp)) return;
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "the queue manager cannot be told: the message stays on the queue");
    return;
  }
  fork_delivery(c, m, o);
}

static bool has_terminal(void) {
  int fd = sys_open("/dev/tty", O_RDWR | O_NOCTTY, 0);
  if (fd >= 0) (void)!sys_close(fd);
  return fd >= 0;
}

/* True: mua_wrapper, and it failed.  A user's terminal could stop or end the delivery while it holds what others wait for: then it runs out of reach. */
static bool deliver_and_wait(struct conn *c, const struct config *cfg, const char *id, const struct deliver_opts *o) {
  bool is_within_reach = c->uid != 0 && c->is_local_caller && priv_can_raise() && has_terminal();
  pid_t pid = is_within_reach ? sys_fork("delivery") : -1;
  int status = 0;
  if (pid < 0) return deliver_message(cfg, id, o) == DELIVER_MUA_FAILED;
  if (pid == 0) {
    setsid();
    bool is_failure = deliver_message(cfg, id, o) == DELIVER_MUA_FAILED;
    cutthrough_cancel(c);
    fflush(NULL);
    _exit(is_failure ? EXIT_FAILURE : EXIT_SUCCESS);
  }
  cutthrough_given_away(c);
  bool is_good = sys_waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
  return cfg->o.mua_wrapper && !is_good;
}

enum { HARNESS_PAUSE_MS = 200 }; /* what the delivery logs comes before what the session logs next */

void receive_start_delivery(struct conn *c, const struct message *m, bool foreground, bool queue_only) {
  struct deliver_opts o = {.hold_smtp = m->hold_smtp || c->hold_smtp, .held = c->held ? &c->held : NULL};
  if (queue_only || queue_file_says(&m->cfg->o, c->arena, false)) return;
  o.hold_smtp = o.hold_smtp || queue_file_says(&m->cfg->o, c->arena, true);
  if (foreground) {
    const char *id = arena_strdup(c->arena, m->id);
    o.foreground = true;
    c->mua_failed = deliver_and_wait(c, m->cfg, id, &o);
    cutthrough_cancel(c); /* unless it was used */
    return;
  }
  start_in_background(c, m, &o);
  if (m->cfg->harness_mode && c->is_smtp_input) pause_ms(HARNESS_PAUSE_MS);
}
