/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Callout connections (smtp_probe.h).  Floor: drivers.  Manual ch. 44; RFC 5321.
 *
 * The dialogue is the smtp transport's own (smtp_connect, smtp_greet, smtp_send, smtp_read_reply); only the order of the commands is the
 * caller's, one at a time, each answered before the next.  On an early connection the first two have left with EHLO: their answers are kept until the
 * caller asks.  Hostile: every reply. */
#include "transports/smtp_probe.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "os/debug.h"
#include "os/log.h"
#include "transports/drivers.h"
#include "transports/smtp_priv.h"

enum { QUIT_WAIT_SEC = 5 };

/* MAIL and RCPT that left with EHLO, and what was said to them. */
enum { OPENING_MAIL, OPENING_RCPT, OPENING_COUNT };
struct opening {
  const char *sender, *recipient; /* recipient NULL: nothing is to leave early */
  int64_t size;
  struct smtp_reply replies[OPENING_COUNT]; /* code 0: none, or the caller has had it */
};

struct smtp_probe {
  struct arena *a;
  struct arena *out;         /* for texts of answers */
  struct expand_ctx x;
  struct delivery d;
  struct smtp_opts ob;
  struct smtp_attempt *s;
  struct opening opening;
  const char *sender;        /* in MAIL */
  struct address *kept;      /* recipients taken, newest first */
  size_t kept_count;
};

bool smtp_probe_possible(const struct transport *t) { return t->driver == &smtp_transport; }

/* A delivery that is enough to read options and to look up hosts. */
static void fill_delivery(struct delivery *d, struct expand_ctx *x, struct arena *a, struct transport *t, struct address *addr) {
  struct address *own = ARENA_NEW(a, struct address);
  *own = *addr;
  own->next = NULL;
  x->a = a;
  x->addr = own;
  x->transport = t;
  x->transport_name = t->name;
  x->local_part_override = x->domain_override = NULL;
  *d = (struct delivery){.cfg = x->cfg, .arena = a, .msg = x->msg, .transport = t, .addrs = own, .x = x, .msglog_fd = -1};
}

struct host *smtp_probe_host_list(struct expand_ctx *x, struct transport *t, struct address *addr, int *ret_port, const char **ret_error) {
  struct expand_ctx own = *x;
  struct delivery d;
  fill_delivery(&d, &own, x->a, t, addr);
  *ret_port = smtp_probe_port(&d, ret_error);
  return *ret_port < 0 ? NULL : smtp_probe_hosts(&d, ret_error);
}

bool smtp_probe_find(struct expand_ctx *x, struct transport *t, struct address *addr, struct host *h, const char **ret_error) {
  struct expand_ctx own = *x;
  struct delivery d;
  fill_delivery(&d, &own, x->a, t, addr);
  if (smtp_probe_look_up(&d, h)) return true;
  *ret_error = d.addrs->message;
  return false;
}

/* ---- narration ---- */

static void tell_dialogue(const struct smtp_probe *p) {
  int level = debug_indent(0);
  (void)debug_indent(-level);
  DEBUG(D_V) {
    if (p->s->said.n) debug_printf("cmdlog: '%s'\n", p->s->said.p);
    else debug_printf("cmdlog: (unset)\n");
  }
  (void)debug_indent(level);
}

/* ---- answers ---- */

static enum probe_stage stage_of(enum smtp_at at) {
  switch (at) {
    case AT_GREETING: return PROBE_AT_GREETING;
    case AT_EHLO:
    case AT_AUTH:
    case AT_HELO: return PROBE_AT_HELO;
    case AT_MAIL: return PROBE_AT_MAIL;
    case AT_RCPT: return PROBE_AT_RCPT;
    case AT_DATA: return PROBE_AT_DATA;
    case AT_BLOCK:
    case AT_END: return PROBE_AT_END;
    default: return PROBE_AT_RSET;
  }
}

static const char *copy(const struct smtp_probe *p, const char *text) { return text ? arena_strdup(p->out, text) : NULL; }

static struct probe_answer answer_of(struct smtp_probe *p, const struct smtp_failure *f) {
  int err = 0, more;
  const char *text = smtp_failure_text(p->s, f, &err, &more);
  struct probe_answer r = {.verdict = PROBE_LATER, .stage = stage_of(f->at), .is_lost = p->s->dead};
  r.was_closed = f->trouble == TROUBLE_CLOSED;
  r.command = copy(p, f->command);
  r.reply = f->trouble == TROUBLE_REPLY ? copy(p, f->reply) : NULL;
  if (f->trouble == TROUBLE_REPLY && f->code / 100 == 2) r.verdict = PROBE_YES;
  if (f->trouble == TROUBLE_REPLY && f->code / 100 == 5) r.verdict = PROBE_NO;
  if (f->trouble == TROUBLE_CONNECT) {
    r.stage = PROBE_AT_CONNECT;
    r.connect_errno = f->err ? f->err : ECONNREFUSED;
    text = strerror(r.connect_errno);
  }
  r.text = copy(p, text ? text : strerror(err > 0 ? err : EIO));
  return r;
}

static bool take_reply(struct smtp_probe *p, enum smtp_at at, const char *line, const struct smtp_reply *reply, struct probe_answer *ret) {
  struct smtp_failure f = {.trouble = TROUBLE_REPLY, .at = at, .code = reply->code, .command = line, .reply = reply->text};
  *ret = answer_of(p, &f);
  return ret->verdict == PROBE_YES;
}

/* One command and its reply. */
static bool ask(struct smtp_probe *p, enum smtp_at at, const char *line, struct probe_answer *ret) {
  struct smtp_attempt *s = p->s;
  struct smtp_awaited what;
  struct smtp_reply reply;
  if (!s->dead) {
    s->fail = (struct smtp_failure){.trouble = TROUBLE_NONE};
    smtp_send(s, at, NULL, "%s", line);
    s->reply_deadline = deadline_in_sec(p->ob.command_timeout);
  }
  if (s->dead || !smtp_read_reply(s, &what, &reply)) {
    *ret = answer_of(p, &s->fail);
    return false;
  }
  return take_reply(p, at, line, &reply, ret);
}

bool smtp_probe_lacks_utf8(const struct smtp_probe *p) {
  const struct message *m = p->d.msg;
  return m && m->smtputf8 && !m->utf8_downcvt && !(p->s->facts.features & EHLO_SMTPUTF8);
}

/* The MAIL command, with the parameters that the server offers; NULL: s->fail. */
static const char *mail_line(struct smtp_probe *p, const char *sender, int64_t size) {
  struct smtp_attempt *s = p->s;
  uint16_t offered = s->facts.features;
  bool says_size = size >= 0 && (offered & EHLO_SIZE) && p->ob.size_addition >= 0;
  bool utf8 = p->d.msg && p->d.msg->smtputf8 && (offered & EHLO_SMTPUTF8);
  const char *limit = says_size ? arena_printf_t(p->a, UNTAINTED, " SIZE=%lld", (long long)(size + p->ob.size_addition)) : "";
  if (says_size) s->used_features |= EHLO_SIZE;
  if (utf8) s->used_features |= EHLO_SMTPUTF8;
  if (!smtp_auth_prepare_mail(s)) return NULL;
  return arena_printf(p->a, "MAIL FROM:<%s>%s%s%s", sender, limit, utf8 ? " SMTPUTF8" : "", s->auth_mail_param ? s->auth_mail_param : "");
}

static const char *rcpt_line(struct smtp_probe *p, const char *recipient) { return arena_printf(p->a, "RCPT TO:<%s>", recipient); }

/* Was this asked with EHLO, and is the answer here? */
static bool is_answered(struct smtp_probe *p, int which, enum smtp_at at, const char *line, struct probe_answer *ret) {
  struct smtp_reply r = p->opening.replies[which];
  p->opening.replies[which] = (struct smtp_reply){0};
  if (r.code) (void)take_reply(p, at, line, &r, ret);
  return r.code != 0;
}

bool smtp_probe_mail(struct smtp_probe *p, const char *sender, int64_t size, struct probe_answer *ret) {
  const char *shown = arena_printf(p->a, "MAIL FROM:<%s>", sender);
  p->sender = arena_strdup(p->a, sender);
  if (!is_answered(p, OPENING_MAIL, AT_MAIL, shown, ret)) {
    const char *line = mail_line(p, sender, size);
    if (line) (void)ask(p, AT_MAIL, line, ret);
    else *ret = answer_of(p, &p->s->fail);
  }
  ret->command = copy(p, shown);
  return ret->verdict == PROBE_YES;
}

bool smtp_probe_rcpt(struct smtp_probe *p, const char *recipient, struct probe_answer *ret) {
  const char *line = rcpt_line(p, recipient);
  return is_answered(p, OPENING_RCPT, AT_RCPT, line, ret) ? ret->verdict == PROBE_YES : ask(p, AT_RCPT, line, ret);
}

bool smtp_probe_rset(struct smtp_probe *p, struct probe_answer *ret) { return ask(p, AT_RSET, "RSET", ret); }

/* ---- life ---- */

static struct smtp_probe *give_up(struct smtp_probe *p, struct probe_answer *ret) {
  *ret = answer_of(p, &p->s->fail);
  smtp_probe_close(p);
  return NULL;
}

/* ---- what leaves with EHLO ---- */

bool smtp_probe_put_opening(struct smtp_attempt *s) {
  struct smtp_probe *p = s->probe;
  p->s = s; /* smtp_probe_attempt() has not returned yet when this leaves before the connection */
  const char *line = p->opening.recipient ? mail_line(p, p->opening.sender, p->opening.size) : NULL;
  if (!line) return false;
  s->used_features |= EHLO_PIPELINING;
  s->group_in_flight = true;
  smtp_send(s, AT_MAIL, NULL, "%s", line);
  if (!s->dead) smtp_send(s, AT_RCPT, NULL, "%s", rcpt_line(p, p->opening.recipient));
  return !s->dead;
}

/* Keep the answers for the caller.  Refusals by a server that took its promise back are not to be believed (K5). */
static void reap_opening(struct smtp_probe *p) {
  struct smtp_attempt *s = p->s;
  bool is_doubtful = s->early && !s->promise_stands;
  for (int i = 0; i < OPENING_COUNT && s->group_in_flight; i++) {
    struct smtp_awaited what;
    struct smtp_reply *r = &p->opening.replies[i];
    s->reply_deadline = deadline_in_sec(p->ob.command_timeout);
    bool is_lost = !smtp_read_reply(s, &what, r);
    s->inconclusive = s->inconclusive || (is_doubtful && (is_lost || r->code / 100 != 2));
    if (is_lost) return;
  }
}

/* Connect, greet, hear the answers to what left early. */
static bool talk(struct smtp_probe *p) {
  struct smtp_attempt *s = p->s;
  if (s->fail.trouble != TROUBLE_NONE || !smtp_connect(s) || !smtp_greet(s)) return false;
  reap_opening(p);
  return true;
}

/* Did the connection end in a way that only says that talking early was wrong?  The record is told. */
static bool proves_nothing(struct smtp_probe *p) {
  struct smtp_attempt *s = p->s;
  enum pipe_event event = smtp_early_event(s);
  const struct pipe_failure_rule *rule = pipe_connect_rule(event);
  if (!s->early && event != PIPE_EV_AUTH_REFUSED) return false;
  DEBUG(D_TRANSPORT) debug_printf("early callout ended as %s%s\n", rule->classes, rule->replain ? ": plain one follows" : "");
  if (rule->drop_record) pipe_connect_failed(p->d.x, &s->plan, &s->need);
  else if (rule->replain) pipe_connect_mismatched(p->d.x, &s->plan, &s->need);
  return rule->replain;
}

struct smtp_probe *smtp_probe_open(const struct probe_opts *o, struct probe_answer *ret) {
  struct arena *a = arena_new("probe");
  struct smtp_probe *p = ARENA_NEW(a, struct smtp_probe);
  p->a = a;
  p->out = o->x->a;
  p->x = *o->x;
  fill_delivery(&p->d, &p->x, a, o->transport, o->addr);
  memcpy(&p->ob, o->transport->ob, sizeof p->ob);
  if (o->command_timeout > 0) p->ob.command_timeout = o->command_timeout;
  if (o->connect_timeout > 0) p->ob.connect_timeout = o->connect_timeout;
  p->opening = (struct opening){.sender = o->sender, .recipient = o->recipient, .size = o->size};
  const char *error = NULL;
  struct smtp_probe_start start = {.probe = p, .d = &p->d, .ob = &p->ob, .host = o->host, .port = o->host->port ? o->host->port : o->port,
                                   .allow_early = o->recipient != NULL};
  for (;;) {
    p->s = smtp_probe_attempt(&start, &error);
    if (!p->s) {
      *ret = (struct probe_answer){.verdict = PROBE_LATER, .stage = PROBE_AT_CONNECT, .is_lost = true, .text = copy(p, error)};
      arena_free(a);
      return NULL;
    }
    bool greeted = talk(p), in_vain = proves_nothing(p);
    smtp_fastopen_judge(p->s);
    if (greeted && !in_vain) break;
    if (smtp_srv_fall_back(p->s, &start.port, &start.host)) continue;
    if (!in_vain && (start.avoid_tls || !smtp_tls_try_clear(p->s))) return give_up(p, ret);
    smtp_disconnect(p->s, in_vain && !p->s->dead);
    memset(p->opening.replies, 0, sizeof p->opening.replies);
    start.allow_early = false;
    start.avoid_tls = start.avoid_tls || !in_vain;
  }
  p->s->early = p->s->early && p->s->promise_stands; /* else it is a plain one from here on */
  p->s->pipelining = false; /* each answer is wanted before the next command is chosen */
  *ret = (struct probe_answer){.verdict = PROBE_YES, .stage = PROBE_AT_HELO};
  return p;
}

void smtp_probe_close(struct smtp_probe *p) {
  if (!p) return;
  struct smtp_attempt *s = p->s;
  struct smtp_awaited what;
  struct smtp_reply reply;
  if (s->io && !s->dead && s->greeting && s->awaited_count == 0) {
    smtp_send(s, AT_QUIT, NULL, "QUIT");
    s->reply_deadline = deadline_in_sec(QUIT_WAIT_SEC);
    IGNORE_RESULT(smtp_read_reply(s, &what, &reply));
  }
  if (s->io) smtp_disconnect(s, false);
  tell_dialogue(p);
  arena_free(p->a);
}

void smtp_probe_abandon(struct smtp_probe *p) {
  if (!p) return;
  if (p->s->io) (void)close(stream_fd(p->s->io));
  arena_free(p->a);
}

/* ---- keeping it for the message ---- */

void smtp_probe_keep(struct smtp_probe *p, struct address *addr) {
  addr->next = p->kept;
  p->kept = addr;
  p->kept_count++;
}

void smtp_probe_use(struct smtp_probe *p, struct arena *out) { p->out = out; }
struct host *smtp_probe_host(const struct smtp_probe *p) { return p->s->host; }
const char *smtp_probe_sender(const struct smtp_probe *p) { return p->sender ? p->sender : ""; }

struct address *smtp_probe_recipients(const struct smtp_probe *p, size_t *ret_count) {
  if (ret_count) *ret_count = p->kept_count;
  return p->kept;
}

static bool same_text(const char *a, const char *b) { return a && b ? strcmp(a, b) == 0 : a == b; }

static bool is_host(const struct smtp_probe *p, const struct host *h, int port) {
  return h && h->address && strcmpic(h->name, p->s->host->name) == 0 && strcmp(h->address, p->s->host->address) == 0 &&
         (h->port ? h->port : port) == p->s->port;
}

/* One more recipient in this transaction? */
static bool has_room(const struct smtp_probe *p, const struct address *addr) {
  enum { RECIPIENTS_MAX = 100 };
  size_t max = p->s->facts.limit_rcptmax ? MIN((size_t)p->s->facts.limit_rcptmax, (size_t)RECIPIENTS_MAX) : RECIPIENTS_MAX;
  if (p->kept_count >= max) return false;
  return !p->s->dane || !p->kept || strcmpic(p->kept->domain, addr->domain) == 0; /* DANE vouches for one domain */
}

bool smtp_probe_fits(struct smtp_probe *p, struct expand_ctx *x, struct address *addr, struct host *first, int port, const char *sender) {
  const char *error, *interface = NULL;
  struct expand_ctx own = *x;
  struct delivery d;
  if (p->s->dead || !has_room(p, addr) || addr->transport != p->d.transport || strcmp(sender, p->sender) != 0 || !is_host(p, first, port)) return false;
  fill_delivery(&d, &own, x->a, addr->transport, addr);
  own.host = first;
  return smtp_probe_interface(&d, first, &interface, &error) && same_text(interface, p->s->interface);
}

/* The connection speaks for this delivery now; the answer to the content, s->fail for a refusal or a loss. */
static void send_content(struct smtp_probe *p, struct delivery *d) {
  struct smtp_attempt *s = p->s;
  d->x->host = s->host;
  d->x->tls_out = &s->tls;
  s->d = d;
  s->a = d->arena;
  s->ob = d->transport->ob;
  s->job = smtp_probe_job(d);
  s->sequence = 1;
  s->fail = (struct smtp_failure){.trouble = TROUBLE_NONE};
  s->t.mail_refused = s->t.data_refused = s->t.bdat_used = s->content_sent = false;
  for (size_t i = 0; i < s->job->rcpt_count; i++) s->job->rcpts[i].state = RCPT_ACCEPTED;
  smtp_send(s, AT_DATA, NULL, "DATA");
  s->t.data_sent = true;
  if (smtp_reap_envelope(s) && s->fail.trouble == TROUBLE_NONE) IGNORE_RESULT(smtp_send_content(s, s->job->rcpts, s->job->rcpt_count));
}

/* RCPT went out without what DSN wants to be said there, and the transport may refuse such a message. */
static bool is_plain_message(const struct smtp_probe *p, const struct delivery *d) {
  const struct message *m = d->msg;
  int64_t limit = p->ob.message_linelength_limit;
  if (m->dsn_envid || m->dsn_ret != DSN_RET_NONE || (limit > 0 && m->max_received_linelength > limit)) return false;
  for (size_t i = 0; i < m->recipient_count; i++)
    if (m->recipients[i].dsn_flags || m->recipients[i].orcpt) return false;
  return true;
}

enum probe_verdict smtp_probe_send(struct smtp_probe *p, struct delivery *d, struct probe_answer *ret) {
  *ret = (struct probe_answer){.verdict = PROBE_LATER, .stage = PROBE_AT_DATA};
  if (!is_plain_message(p, d)) return PROBE_LATER;
  send_content(p, d);
  for (struct address *a = d->addrs; a; a = a->next) smtp_tls_set_facts(p->s, a); /* a line about a refusal names them, too */
  const struct smtp_failure *f = &p->s->fail;
  *ret = (struct probe_answer){.verdict = PROBE_YES, .stage = PROBE_AT_END};
  if (f->trouble == TROUBLE_NONE) return PROBE_YES;
  *ret = answer_of(p, f);
  if (f->at == AT_DATA) ret->verdict = PROBE_LATER; /* nothing was said about the message */
  return ret->verdict;
}

static bool has_all(const struct smtp_probe *p, const struct delivery *d) {
  size_t n = 0;
  for (const struct address *a = d->addrs; a; a = a->next, n++) {
    const struct address *k = p->kept;
    while (k && strcmp(k->unique, a->unique) != 0) k = k->next;
    if (!k) return false;
  }
  return n == p->kept_count;
}

bool smtp_probe_take_over(struct delivery *d, struct host *list) {
  struct smtp_probe *p = d->held ? *d->held : NULL;
  if (!p) return false;
  /* The sender was the session's; a router or the transport may have put another in its place. */
  bool same_sender = p->sender && d->return_path && (strcmp(d->return_path, p->sender) == 0 || same_text(d->return_path, d->msg->sender));
  bool fits = same_sender && !p->s->dead && d->transport == p->d.transport && is_host(p, list, p->s->port) && has_all(p, d) &&
              is_plain_message(p, d);
  if (!fits) return false;
  *d->held = NULL;
  smtp_probe_use(p, d->arena);
  send_content(p, d);
  struct smtp_attempt *s = p->s;
  /* The server did not wait for the message: as if it had not been asked before. */
  bool is_over = s->fail.trouble == TROUBLE_NONE || s->content_sent;
  if (is_over && s->fail.trouble != TROUBLE_NONE) smtp_record_failure(s);
  smtp_disconnect(s, s->fail.trouble != TROUBLE_TIMEOUT);
  return is_over; /* its memory goes with the process: addresses point into it */
}
