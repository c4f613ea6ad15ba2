/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a failure means: error classes, texts, retry items.  Floor: drivers.  Manual ch. 49 "Errors in outgoing SMTP".
 *
 * A host error delays the host for all messages, a message error only this message at this host, a recipient error only that address.
 * A permanent reply (5xx) fails what it was about; everything else defers, and codes outside 2xx-5xx count as temporary.
 * Nothing here is called for an outcome that an early attempt must not believe; the driver asks pipe_connect_rule() first. */
#include "transports/smtp_priv.h"

#include <errno.h>
#include <string.h>

#include "os/debug.h"
#include "os/log.h"
#include "policy/event.h"
#include "retry.h"
#include "router.h"

/* First matching row; AT_ANY matches all stages. */
enum { AT_ANY = -1 };
static const struct {
  enum smtp_trouble trouble;
  int at;
  enum smtp_error_class class;
} classes[] = {
  {TROUBLE_REPLY, AT_GREETING, SMTP_ERROR_HOST},
  {TROUBLE_REPLY, AT_EHLO, SMTP_ERROR_HOST},
  {TROUBLE_REPLY, AT_HELO, SMTP_ERROR_HOST},
  {TROUBLE_REPLY, AT_STARTTLS, SMTP_ERROR_HOST},
  {TROUBLE_REPLY, AT_AUTH, SMTP_ERROR_HOST},
  {TROUBLE_REPLY, AT_RCPT, SMTP_ERROR_RECIPIENT},
  {TROUBLE_REPLY, AT_ANY, SMTP_ERROR_MESSAGE},
  {TROUBLE_TIMEOUT, AT_MAIL, SMTP_ERROR_MESSAGE},
  {TROUBLE_TIMEOUT, AT_RCPT, SMTP_ERROR_RECIPIENT},
  {TROUBLE_TIMEOUT, AT_END, SMTP_ERROR_MESSAGE},
  {TROUBLE_CLOSED, AT_END, SMTP_ERROR_MESSAGE},
  {TROUBLE_LOCAL, AT_ANY, SMTP_ERROR_MESSAGE},
  {TROUBLE_TLS, AT_ANY, SMTP_ERROR_HOST},
  {TROUBLE_TLS_REQUIRED, AT_ANY, SMTP_ERROR_HOST},
  {TROUBLE_DANE, AT_ANY, SMTP_ERROR_HOST},
  {TROUBLE_NONE, AT_ANY, SMTP_ERROR_HOST},
};

/* A row of the table of error classes (manual ch. 49 "Errors in outgoing SMTP"). */
static enum smtp_error_class smtp_classify(const struct smtp_failure *f) {
  for (size_t i = 0; i < ARRAY_SIZE(classes) - 1; i++)
    if (classes[i].trouble == f->trouble && (classes[i].at == AT_ANY || classes[i].at == (int)f->at)) return classes[i].class;
  return SMTP_ERROR_HOST;
}

static int host_kind(const struct smtp_attempt *s) { return s->host->mx >= 0 ? 'M' : 'A'; }

static int errno_of_reply(const struct smtp_failure *f) {
  if (f->code / 100 == 5) return 0;
  if (f->code / 100 != 4 && f->at != AT_RCPT) return 0;
  switch (f->at) {
    case AT_MAIL: return ERRNO_MAIL4XX;
    case AT_RCPT: return ERRNO_RCPT4XX;
    case AT_DATA:
    case AT_END: return ERRNO_DATA4XX;
    default: return 0;
  }
}

static const char *timeout_text(struct smtp_attempt *s, const struct smtp_failure *f, const char *command) {
  int64_t after_data = f->at == AT_END ? s->d->addrs->delivered_size : 0;
  if (f->at == AT_BLOCK) return arena_printf(s->a, "SMTP timeout after sending data block (%lld bytes written)", (long long)f->bytes_sent);
  if (after_data > 0) return arena_printf(s->a, "SMTP timeout after %s (%lld bytes written)", command, (long long)after_data);
  return arena_printf(s->a, "SMTP timeout after %s", command);
}

static const char *format_text(struct smtp_attempt *s, const struct smtp_failure *f, const char *command) {
  if (!f->reply || !*f->reply) return arena_printf(s->a, "Malformed SMTP reply (an empty line) in response to %s", command);
  return arena_printf(s->a, "Malformed SMTP reply in response to %s: %s", command, f->reply);
}

/* The command a failure is about, as its text names it: with "pipelined" where others had left before its answer was there. */
static const char *named_command(struct smtp_attempt *s, const struct smtp_failure *f) {
  /* a chunk that left with the envelope: the group is named by its last command */
  bool with_chunk = f->trouble == TROUBLE_REPLY && f->pipelined && s->t.bdat_used && (f->at == AT_MAIL || f->at == AT_END);
  bool no_reply_of_rcpt = f->at == AT_RCPT && (f->trouble == TROUBLE_FORMAT || f->trouble == TROUBLE_CLOSED);
  bool is_told = with_chunk || f->at == AT_MAIL || f->at == AT_DATA || no_reply_of_rcpt;
  const char *command = with_chunk ? "end of data" : f->command ? f->command : "";
  return f->pipelined && is_told ? arena_printf(s->a, "pipelined %s", command) : command;
}

const char *smtp_failure_text(struct smtp_attempt *s, const struct smtp_failure *f, int *ret_errno, int *ret_more) {
  const char *command = named_command(s, f);
  *ret_more = host_kind(s);
  *ret_errno = f->err;
  switch (f->trouble) {
    case TROUBLE_NONE: break;
    case TROUBLE_CONNECT:
      if (f->err == ETIMEDOUT) *ret_more |= 1 << 8; /* told apart from a timeout in the dialogue by retry rules */
      return f->reply;
    case TROUBLE_LOCAL:
      *ret_errno = f->err == EPROTO ? ERRNO_CHHEADER_FAIL : f->err ? f->err : ERRNO_UNKNOWNERROR;
      return f->reply ? f->reply : f->command;
    case TROUBLE_TLS: return arena_printf(s->a, "TLS session: %s", f->reply);
    case TROUBLE_AUTH:
    case TROUBLE_TLS_REQUIRED:
    case TROUBLE_DANE: return f->reply;
    case TROUBLE_TIMEOUT: *ret_errno = ETIMEDOUT; return timeout_text(s, f, command);
    case TROUBLE_CLOSED:
      *ret_errno = ERRNO_SMTPCLOSED;
      if (f->at == AT_HELO && s->ehlo_error)
        return arena_printf(s->a, "Remote host closed connection in response to %s (EHLO response was: %s)", command, s->ehlo_error);
      return arena_printf(s->a, "Remote host closed connection in response to %s%s", f->at == AT_BLOCK ? "sending " : "", command);
    case TROUBLE_FORMAT: *ret_errno = ERRNO_SMTPFORMAT; return format_text(s, f, command);
    case TROUBLE_REPLY:
      *ret_errno = errno_of_reply(f);
      if (*ret_errno) *ret_more |= (f->code % 100) << 8;
      if (f->per_rcpt) return arena_printf(s->a, "%s error after DATA: %s", s->is_lmtp ? "LMTP" : "PRDR", f->reply);
      return arena_printf(s->a, "SMTP error from remote mail server after %s: %s", command, f->reply);
  }
  *ret_errno = ERRNO_UNKNOWNERROR;
  return "unexpected end of the SMTP dialogue";
}

const char *smtp_host_shown(struct smtp_attempt *s) {
  const char *port = log_selects(LS_OUTGOING_PORT) ? arena_printf_t(s->a, UNTAINTED, ":%d", s->port) : "";
  return arena_printf(s->a, "H=%s [%s]%s", s->host->name, s->host->address, port);
}

/* A line about the host: text, and what errno (0 none) says. */
static void smtp_log_host(struct smtp_attempt *s, const char *text, int err) {
  const char *why = err > 0 ? strerror(err) : err == ERRNO_EVENT ? "Event requests alternate response" : "";
  const char *line = arena_printf(s->a, "%s%s%s%s%s", smtp_host_shown(s), text ? ": " : "", text ? text : "", *why ? (text ? ": " : " ") : "", why);
  log_write(LS_ALWAYS, LOG_MAIN, "%s", line);
  if (s->d->msglog_fd > 0) log_msglog(s->d->msglog_fd, "%s", line);
}

static void smtp_set_facts(struct smtp_attempt *s, struct address *a) {
  a->host_used = s->host;
  if (s->host->port <= 0 && s->port > 0) { /* the port option chose it: what is logged names it */
    struct host *h = ARENA_NEW(s->a, struct host);
    *h = *s->host;
    h->port = s->port;
    a->host_used = h;
  }
  a->smtp_greeting = s->greeting;
  a->helo_response = s->ehlo_reply;
  a->continued_connection = s->sequence > 1;
  a->pipelining_used = s->pipelining;
  a->early_pipe_used = s->early && s->promise_stands && s->sequence == 1;
  a->chunking_used = s->t.bdat_used;
  a->prdr_used = s->t.prdr_used;
  smtp_tls_set_facts(s, a);
  a->proxy_used = s->proxy.local_address ? arena_printf(s->a, "[%s]:%d", s->proxy.local_address, s->proxy.local_port) : NULL;
  smtp_auth_set_facts(s, a);
  a->protocol_steps = s->sequence == 1 && s->steps[0] ? arena_strdup(s->a, s->steps) : NULL;
  if (s->io || s->was_connected) {
    enum net_tfo_mark mark = s->io ? net_tfo_mark(stream_fd(s->io), true) : s->tfo;
    a->tfo_used = mark != NET_TFO_NONE;
    a->tfo_data_used = mark == NET_TFO_DATA_ACKED;
    if (s->d->x->sending_ip_address)
      a->local_interface = arena_printf(s->a, "[%s]:%d", s->d->x->sending_ip_address, s->d->x->sending_port);
  }
}

/* What stays with an address is kept to 1024 characters as a log shows them. */
static const char *bounded(struct smtp_attempt *s, const char *text) {
  size_t shown = 0, n = 0;
  for (; text[n] && shown < 1024; n++) shown += text[n] == '\n' ? 2 : 1;
  return text[n] ? arena_strndup(s->a, text, n) : text;
}

static void set_result(struct smtp_attempt *s, struct smtp_rcpt *r, bool permanent, int err, int more, const char *text, bool connected) {
  struct address *a = r->addr;
  a->result = permanent ? OUTCOME_FAIL : OUTCOME_DEFER;
  a->basic_errno = err;
  a->more_errno = more;
  a->message = text ? bounded(s, text) : NULL;
  a->timedout = err == ETIMEDOUT;
  if (connected)
    smtp_set_facts(s, a);
  else
    a->host_used = NULL;
  /* a server that takes no mail at all (RFC 7504), or nothing from here, is not the last word when there are others */
  enum smtp_at at = s->fail.at;
  bool others = s->fail.trouble == TROUBLE_REPLY && (at == AT_GREETING || at == AT_EHLO || at == AT_HELO);
  r->state = permanent && !others ? RCPT_DONE : RCPT_PENDING;
}

/* A 4xx reply to RCPT may be about the sender too, a timeout is not (manual: address_retry_include_sender). */
static const char *address_key(struct smtp_attempt *s, const struct address *a, bool by_reply) {
  const char *key = a->address_retry_key ? a->address_retry_key : arena_printf(s->a, "R:%s", a->address);
  if (!by_reply || !s->ob->address_retry_include_sender) return key;
  return arena_printf(s->a, "%s:<%s>", key, s->d->msg->sender ? s->d->msg->sender : "");
}

static const char *with_host(struct smtp_attempt *s, const char *text) {
  return arena_printf(s->a, "H=%s [%s]: %s", s->host->name, s->host->address, text);
}

void smtp_record_rcpt(struct smtp_attempt *s, struct smtp_rcpt *r, const struct smtp_awaited *what, const struct smtp_reply *reply) {
  struct smtp_failure f = {.trouble = TROUBLE_REPLY, .at = what->at, .pipelined = what->pipelined, .code = reply->code,
                           .command = what->command, .reply = reply->text, .per_rcpt = what->at == AT_END};
  int err, more;
  const char *text = smtp_failure_text(s, &f, &err, &more);
  bool permanent = reply->code / 100 == 5;
  if (what->at == AT_END && !permanent) err = 0; /* LMTP: about this recipient, not about the data */
  set_result(s, r, permanent, err, more, text, true);
  r->addr->smtp_greeting = r->addr->helo_response = NULL; /* they explain a refusal by the host, not of a recipient */
  if (what->at == AT_RCPT && s->d->msglog_fd > 0) log_msglog(s->d->msglog_fd, "H=%s [%s] %s", s->host->name, s->host->address, text);
  if (permanent) return;
  r->deferred_by_reply = true;
  r->is_excess = what->at == AT_RCPT && reply->code == 452;
  r->is_told = what->at == AT_RCPT && s->host->next && !r->is_excess;
  if (what->at == AT_RCPT) {
    (void)smtp_event(s, r->addr, "msg:rcpt:host:defer", text, more);
    if (r->is_told) log_write(LS_ALWAYS, LOG_MAIN, "%s %s", smtp_host_shown(s), text);
    if (!s->host->next) (void)smtp_event(s, r->addr, "msg:rcpt:defer", text, more);
  } else if (s->t.prdr_used) {
    s->job->late_deferral = true;
  }
  retry_add_item(s->a, r->addr, address_key(s, r->addr, what->at == AT_RCPT), with_host(s, text), 0);
}

static void drop_retry_item(struct address *a, const char *key) {
  for (struct retry_item **link = &a->retries; *link;) {
    if (strcmp((*link)->key, key) == 0) *link = (*link)->next;
    else link = &(*link)->next;
  }
}

bool smtp_reopen_excess(struct smtp_attempt *s) {
  bool any = false;
  if (!s->t.any_success) return false;
  for (size_t i = 0; i < s->job->rcpt_count; i++) {
    struct smtp_rcpt *r = &s->job->rcpts[i];
    if (!r->is_excess || r->state == RCPT_DONE || !r->deferred_by_reply) continue;
    drop_retry_item(r->addr, address_key(s, r->addr, true));
    r->is_excess = r->deferred_by_reply = false;
    r->state = RCPT_PENDING;
    any = true;
  }
  return any;
}

void smtp_record_success(struct smtp_attempt *s, struct smtp_rcpt *r, const char *confirmation) {
  struct address *a = r->addr;
  a->result = OUTCOME_OK;
  a->basic_errno = a->more_errno = 0;
  a->message = a->user_message = NULL;
  a->timedout = false;
  a->confirmation = log_escape(s->a, str_c(confirmation)); /* one line, whatever shows it */
  smtp_set_facts(s, a);
  a->new_transaction = !s->t.any_success;
  s->t.any_success = true;
  r->state = RCPT_DONE;
  if (s->job->retry_keys.host) retry_add_item(s->a, a, s->job->retry_keys.host, NULL, RETRY_HOST | RETRY_DELETE);
  if (s->job->retry_keys.message) retry_add_item(s->a, a, s->job->retry_keys.message, NULL, RETRY_HOST | RETRY_DELETE);
  s->job->retry_keys = (struct retry_keys){NULL, NULL};
}

/* Which recipients a failure of the connection or the message is about. */
static bool is_concerned(const struct smtp_rcpt *r) {
  return r->state != RCPT_DONE && r->turn == TURN_OPEN && !(r->state == RCPT_PENDING && r->deferred_by_reply);
}

static void add_retry_items(struct smtp_attempt *s, enum smtp_error_class class, struct address *first, const char *text) {
  const char *key = retry_host_key_build(s->a, s->host, s->port, s->job->include_ip, s->interface);
  bool is_of_host = s->fail.trouble != TROUBLE_CONNECT || s->fail.err != ERRNO_EXPANDFAIL; /* helo_data is ours */
  const char *noted = text && is_of_host ? with_host(s, text) : text;
  if (class == SMTP_ERROR_HOST)
    retry_add_item(s->a, first, key, noted, RETRY_HOST);
  else if (class == SMTP_ERROR_MESSAGE)
    retry_add_item(s->a, first, arena_printf(s->a, "%s:%s", key, s->d->msg->id), noted, RETRY_HOST);
  else
    retry_add_item(s->a, first, address_key(s, first, false), noted, 0);
}

/* A failed handshake shows in the line of the address, or in the one about going on in clear; a permanent DANE failure likewise. */
static bool is_logged_for_host(const struct smtp_failure *f, bool permanent, enum smtp_error_class class) {
  if (f->trouble == TROUBLE_TLS || f->trouble == TROUBLE_AUTH) return false;
  if (class == SMTP_ERROR_RECIPIENT) return false; /* its own line says it */
  if (f->trouble == TROUBLE_DANE) return !permanent;
  return !permanent || f->is_final || class == SMTP_ERROR_HOST;
}

bool smtp_event(struct smtp_attempt *s, const struct address *addr, const char *name, const char *data, int err) {
  const struct transport *t = s->d->transport;
  if (!t->o.event_action) return false;
  struct expand_ctx *x = s->d->x;
  struct address *old = x->addr;
  struct host host = *s->host, *old_host = x->host;
  if (strcmp(name, "tcp:connect") != 0) host.port = s->port; /* the port option may have chosen it */
  x->host = &host;
  if (addr) {
    x->addr = (struct address *)(uintptr_t)addr;
    x->router_name = addr->router ? addr->router->name : NULL;
  }
  bool other = event_raise(x, t->o.event_action, t->name, name, data, err) != NULL;
  x->addr = old;
  x->router_name = NULL; /* belongs to routing, and to what happens to an address */
  x->host = old_host;
  return other;
}

static void raise_defer(struct smtp_attempt *s, const struct address *addr, const char *name) {
  int err, more;
  const char *text = smtp_failure_text(s, &s->fail, &err, &more);
  const char *data = err > 0 ? arena_printf(s->a, "%s%s%s", text ? text : "", text ? ": " : "", strerror(err)) : text;
  (void)smtp_event(s, addr, name, data, err);
}

void smtp_raise_defer(struct smtp_job *job) {
  if (job->blamed) raise_defer(job->blamed, job->blamed_addr, "msg:defer");
}

void smtp_record_failure(struct smtp_attempt *s) {
  const struct smtp_failure *f = &s->fail;
  if (s->dead && s->tcp_is_open) {
    s->tcp_is_open = false;
    (void)smtp_event(s, NULL, "tcp:close", NULL, 0);
  }
  enum smtp_error_class class = smtp_classify(f);
  bool permanent = f->is_final || (f->trouble == TROUBLE_REPLY && f->code / 100 == 5) || (f->trouble == TROUBLE_DANE && f->err == 0);
  bool connected = f->trouble != TROUBLE_CONNECT && f->trouble != TROUBLE_DANE && f->trouble != TROUBLE_AUTH;
  int err, more;
  const char *text = smtp_failure_text(s, f, &err, &more);
  struct address *first = NULL, *timed_out = NULL;
  for (size_t i = 0; i < s->job->rcpt_count; i++) {
    struct smtp_rcpt *r = &s->job->rcpts[i];
    if (!is_concerned(r)) continue;
    if (!first) first = r->addr;
    if (r->state == RCPT_SENT && !timed_out) timed_out = r->addr; /* the oldest RCPT without a reply */
    /* a recipient met the host when its command was answered, or is the one that was not */
    bool met = class != SMTP_ERROR_RECIPIENT || r->state == RCPT_ACCEPTED || timed_out == r->addr;
    set_result(s, r, permanent, err, more, text, connected && met);
  }
  if (!first) return;
  for (size_t i = 0; s->job->all_or_none && f->trouble == TROUBLE_REPLY && i < s->job->rcpt_count; i++) s->job->rcpts[i].state = RCPT_DONE;
  bool by_filter = f->trouble == TROUBLE_LOCAL && f->err == ERRNO_FILTER_FAIL; /* says nothing about the host */
  bool has_errno = f->trouble == TROUBLE_CONNECT || f->trouble == TROUBLE_TIMEOUT || f->trouble == TROUBLE_LOCAL;
  /* mua_wrapper: the caller is told; what a server said is final */
  bool is_told = s->job->all_or_none && f->trouble != TROUBLE_CONNECT;
  if (!by_filter && !is_told && is_logged_for_host(f, permanent, class)) smtp_log_host(s, text, has_errno ? err : 0);
  /* events tell of a host that takes no mail at all, too */
  bool is_raised = !permanent || f->trouble == TROUBLE_REPLY;
  if (class == SMTP_ERROR_HOST && is_raised) raise_defer(s, first, "msg:host:defer");
  if (class == SMTP_ERROR_HOST ? is_raised : class == SMTP_ERROR_MESSAGE && !permanent) {
    s->job->blamed = s;
    s->job->blamed_addr = first;
  }
  if (permanent) return;
  if (class == SMTP_ERROR_HOST) s->job->host_error_seen = true;
  if (!f->is_ours) add_retry_items(s, class, class == SMTP_ERROR_RECIPIENT && timed_out ? timed_out : first, text);
}

/* The host answered: what was noted about it, or about this message there, is over unless this attempt noted it anew. */
void smtp_clear_retry(struct smtp_attempt *s) {
  enum smtp_error_class class = s->fail.trouble == TROUBLE_NONE ? SMTP_ERROR_RECIPIENT : smtp_classify(&s->fail);
  struct address *a = s->d->addrs;
  if (!s->greeting || class == SMTP_ERROR_HOST) return;
  if (s->job->retry_keys.host) retry_add_item(s->a, a, s->job->retry_keys.host, NULL, RETRY_HOST | RETRY_DELETE);
  if (s->job->retry_keys.message && class != SMTP_ERROR_MESSAGE) retry_add_item(s->a, a, s->job->retry_keys.message, NULL, RETRY_HOST | RETRY_DELETE);
  s->job->retry_keys = (struct retry_keys){NULL, NULL};
}
