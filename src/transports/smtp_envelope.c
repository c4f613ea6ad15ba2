/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MAIL, RCPT and DATA, one by one or as a pipelined group.  Floor: drivers.  RFC 5321, 1870, 2920, 3461.
 *
 * Each RCPT reply belongs to one recipient by position.  When MAIL is refused, the replies to the rest of the group are read and forgotten:
 * they are consequences.  A refusal on an early connection whose promise was withdrawn is not believed (rule K5): the recipient
 * stays pending and the plain attempt decides. */
#include "transports/smtp_priv.h"

#include "formats/smtp_grammar.h"
#include "os/debug.h"
#include "router.h"

bool smtp_is_due(const struct smtp_rcpt *r) { return r->state == RCPT_PENDING && !r->deferred_by_reply && r->turn == TURN_OPEN; }

size_t smtp_group_limit(const struct smtp_attempt *s) {
  int64_t max = s->job->all_or_none ? 0 : s->job->max_rcpt;
  if (max <= 0) max = INT64_MAX;
  /* Nothing can be read while a first flight is written, nor while replies are owed that are not the envelope's. */
  if ((!s->io || s->awaited_count) && max > SMTP_MAX_AWAITED - 16) max = SMTP_MAX_AWAITED - 16;
  if (s->facts.limit_rcptmax && (int64_t)s->facts.limit_rcptmax < max) max = s->facts.limit_rcptmax;
  return (size_t)max;
}

bool smtp_use_chunking(const struct smtp_attempt *s) {
  return (s->facts.features & EHLO_CHUNKING) && !s->job->all_or_none && !s->is_lmtp && !s->d->transport->o.transport_filter && /* a filter's size is not known */
         smtp_host_listed(s, "hosts_try_chunking", s->ob->hosts_try_chunking);
}

/* dsn_lasthop: this program answers for success, the host behind is asked for nothing. */
static bool is_last_hop(const struct address *addr) { return addr->router && addr->router->o.dsn_lasthop; }

static const char *dsn_mail_params(struct smtp_attempt *s) {
  const struct message *m = s->d->msg;
  bool any = false;
  for (const struct address *addr = s->d->addrs; addr; addr = addr->next) any = any || !is_last_hop(addr);
  if (!any || !(s->facts.features & EHLO_DSN)) return "";
  struct strbuf b = strbuf_new(s->a);
  if (m->dsn_ret == DSN_RET_HDRS) strbuf_adds(&b, " RET=HDRS");
  if (m->dsn_ret == DSN_RET_FULL) strbuf_adds(&b, " RET=FULL");
  if (m->dsn_envid) strbuf_addl(&b, " ENVID=", m->dsn_envid, NULL);
  return b.p;
}

static const char *dsn_rcpt_params(struct smtp_attempt *s, const struct address *addr) {
  if (!(s->facts.features & EHLO_DSN) || is_last_hop(addr)) return "";
  struct strbuf b = strbuf_new(s->a);
  if (addr->dsn_flags) {
    strbuf_adds(&b, " NOTIFY=");
    if (addr->dsn_flags & DSN_NEVER) {
      strbuf_adds(&b, "NEVER");
    } else {
      const char *comma = "";
      static const struct { unsigned bit; const char *name; } names[] = {
        {DSN_SUCCESS, "SUCCESS"}, {DSN_FAILURE, "FAILURE"}, {DSN_DELAY, "DELAY"}};
      for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (addr->dsn_flags & names[i].bit) {
          strbuf_addl(&b, comma, names[i].name, NULL);
          comma = ",";
        }
    }
  }
  if (addr->orcpt && *addr->orcpt) strbuf_addl(&b, " ORCPT=", addr->orcpt, NULL);
  return b.p;
}

/* PRDR is asked for when there is more than one recipient to be told apart. */
static bool wants_prdr(struct smtp_attempt *s, const struct smtp_rcpt *first, size_t n) {
  size_t due = 0;
  for (size_t i = 0; i < n; i++) due += smtp_is_due(&first[i]);
  if (due < 2 || s->is_lmtp || !(s->facts.features & EHLO_PRDR)) return false;
  return smtp_host_listed(s, "hosts_try_prdr", s->ob->hosts_try_prdr);
}

static void send_mail(struct smtp_attempt *s, const struct smtp_rcpt *first, size_t n) {
  const char *sender = s->d->return_path ? s->d->return_path : "";
  const char *size = "";
  if ((s->facts.features & EHLO_SIZE) && s->ob->size_addition >= 0) {
    int64_t bytes = s->d->msg->message_size + s->ob->size_addition;
    size = arena_printf_t(s->a, UNTAINTED, " SIZE=%lld", (long long)bytes);
    s->used_features |= EHLO_SIZE;
  }
  const char *dsn = dsn_mail_params(s);
  if (*dsn) s->used_features |= EHLO_DSN;
  sender = smtp_utf8_address(s, sender);
  const char *utf8 = s->d->msg->smtputf8 && !s->downconvert && (s->facts.features & EHLO_SMTPUTF8) ? " SMTPUTF8" : "";
  if (*utf8) s->used_features |= EHLO_SMTPUTF8;
  s->t.prdr_asked = wants_prdr(s, first, n);
  if (s->t.prdr_asked) s->used_features |= EHLO_PRDR;
  smtp_send(s, AT_MAIL, NULL, "MAIL FROM:<%s>%s%s%s%s%s", sender, size, s->t.prdr_asked ? " PRDR" : "", utf8, dsn,
            s->auth_mail_param ? s->auth_mail_param : "");
}

static void send_rcpt(struct smtp_attempt *s, struct smtp_rcpt *r) {
  const char *dsn = dsn_rcpt_params(s, r->addr);
  const char *quota = s->is_lmtp && s->ob->lmtp_ignore_quota && (s->facts.features & EHLO_IGNOREQUOTA) ? " IGNOREQUOTA" : "";
  if (*dsn) s->used_features |= EHLO_DSN;
  r->addr->dsn_aware = (s->facts.features & EHLO_DSN) != 0;
  const char *to = smtp_utf8_address(s, address_rcpt_text(s->a, r->addr));
  r->addr->sent_as = s->downconvert ? to : NULL;
  if (s->downconvert) r->addr->sent_from = smtp_utf8_address(s, s->d->return_path ? s->d->return_path : "");
  smtp_send(s, AT_RCPT, r, "RCPT TO:<%s>%s%s", to, quota, dsn);
  if (s->dead) return;
  /* texts name the recipient without parameters */
  s->awaited[(s->awaited_head + s->awaited_count - 1) % SMTP_MAX_AWAITED].command =
    arena_printf(s->a, "RCPT TO:<%s>", to);
  r->state = RCPT_SENT;
}

void smtp_write_envelope(struct smtp_attempt *s, struct smtp_rcpt *first, size_t n, bool with_data) {
  if (s->pipelining) s->used_features |= EHLO_PIPELINING;
  send_mail(s, first, n);
  if (!s->pipelining && !smtp_reap_envelope(s)) return;
  for (size_t i = 0; i < n && !s->dead && !s->t.mail_refused; i++) {
    if (!smtp_is_due(&first[i])) continue;
    send_rcpt(s, &first[i]);
    bool is_full = s->io && s->awaited_count >= SMTP_MAX_AWAITED - 8;
    if ((!s->pipelining || is_full) && !smtp_reap_envelope(s)) return;
  }
  if (!with_data || s->dead || s->t.mail_refused || s->job->all_or_none) return;
  if (!s->pipelining) {
    bool any = false;
    for (size_t i = 0; i < n; i++) any = any || first[i].state == RCPT_ACCEPTED;
    if (!any) return;
  }
  smtp_send(s, AT_DATA, NULL, "DATA");
  s->t.data_sent = true;
}

/* The server took back what the flight relied on, or the message in front of it was refused: its refusals say nothing. */
static bool doubtful(const struct smtp_attempt *s) { return (s->early && !s->promise_stands) || s->ahead_in_doubt; }

static void take_mail_reply(struct smtp_attempt *s, const struct smtp_awaited *what, const struct smtp_reply *r) {
  if (r->code / 100 == 2) return;
  s->t.mail_refused = true;
  if (doubtful(s) || s->was_ahead) s->inconclusive = true;
  smtp_note_reply(s, what, r);
}

static void take_rcpt_reply(struct smtp_attempt *s, const struct smtp_awaited *what, const struct smtp_reply *r) {
  struct smtp_rcpt *rcpt = what->rcpt;
  if (!s->t.mail_refused && r->code / 100 == 2) {
    rcpt->state = RCPT_ACCEPTED;
    return;
  }
  rcpt->state = RCPT_PENDING;
  if (s->t.mail_refused) return;
  if (doubtful(s))
    s->inconclusive = true;
  else
    smtp_record_rcpt(s, rcpt, what, r);
}

static void take_data_reply(struct smtp_attempt *s, const struct smtp_awaited *what, const struct smtp_reply *r) {
  if (r->code / 100 == 3) return;
  s->t.data_refused = true;
  bool any = false;
  for (size_t i = 0; i < s->job->rcpt_count; i++) any = any || s->job->rcpts[i].state == RCPT_ACCEPTED;
  if (s->t.mail_refused || !any) return; /* a consequence */
  if (doubtful(s)) s->inconclusive = true;
  smtp_note_reply(s, what, r);
}

bool smtp_reap_envelope(struct smtp_attempt *s) {
  while (s->awaited_count && s->awaited[s->awaited_head].at != AT_END) {
    s->reply_deadline = deadline_in_sec(s->ob->command_timeout); /* for each: a server may check every recipient at length */
    struct smtp_awaited what;
    struct smtp_reply r;
    if (!smtp_read_reply(s, &what, &r)) {
      if (doubtful(s)) s->inconclusive = true;
      return false;
    }
    if (what.at == AT_MAIL) take_mail_reply(s, &what, &r);
    if (what.at == AT_RCPT) take_rcpt_reply(s, &what, &r);
    if (what.at == AT_DATA) take_data_reply(s, &what, &r);
  }
  return true;
}
