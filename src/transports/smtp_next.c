/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Further messages on an open connection, and the envelope of the next one behind the end of this one (hosts_pipe_next).  Floor: drivers.
 * README.EXPERIMENTAL; RFC 2920 section 3.1, RFC 3030 section 4.2.
 *
 * An envelope that was written ahead is a question and no more: what it is about cannot be lost or come twice by it.
 *   - Content leaves only when the message before is in its journal: smtp_take_turn() stands between the two.
 *   - Replies belong to commands by their order alone; the end of the message before is the oldest one owed.
 *   - When the connection ends before the envelope is answered the message is given back as if nobody had looked at it.
 *   - A refusal of MAIL, and any refusal behind a message that was refused itself, is not believed: RSET, and the envelope again, alone.  When the
 *     server then waits for content there is no way back but to close the connection.
 * It is done only once the server has taken a second transaction on this connection: one that closes after each message would meet our
 * commands with a reset, and that could destroy the reply to the message.
 * The deliveries are the caller's (transport.h); all texts live as long as they do. */
#include "os/debug.h"
#include "transports/smtp_priv.h"

/* Is the message one for this very connection?  What depends on the sender or the like must come out as it did. */
static bool fits_connection(void *ctx, struct delivery *next) {
  struct smtp_attempt *s = ctx;
  struct expand_ctx *x = next->x;
  x->host = s->host;
  x->tls_out = &s->tls;
  x->sending_ip_address = s->d->x->sending_ip_address;
  x->sending_port = s->d->x->sending_port;
  if (!s->identity) s->identity = smtp_identity(s->d);
  if (strcmp(s->identity, smtp_identity(next)) == 0) return true;
  DEBUG(D_TRANSPORT) debug_printf("%s wants a connection of its own\n", next->msg->id);
  return false;
}

static bool may_carry_another(struct smtp_attempt *s) {
  int64_t max = s->ob->connection_max_messages;
  if (s->facts.limit_mailmax && (max == 0 || (int64_t)s->facts.limit_mailmax < max)) max = s->facts.limit_mailmax;
  if (max != 0 && s->sequence >= max) return false;
  return !s->in_tls || !(smtp_host_listed(s, "hosts_nopass_tls", s->ob->hosts_nopass_tls) ||
                         smtp_host_listed(s, "hosts_noproxy_tls", s->ob->hosts_noproxy_tls));
}

/* ---- the envelope that is written ahead ------------------------------------------------------------------- */

/* The message now sent and the one in t change places. */
static void swap_turn(struct smtp_attempt *s, struct smtp_turn *t) {
  struct smtp_turn now = {.d = s->d, .job = s->job, .a = s->a, .t = s->t, .downconvert = s->downconvert, .auth_sender = s->auth_sender,
                          .auth_mail_param = s->auth_mail_param};
  s->d = t->d;
  s->job = t->job;
  s->a = t->a;
  s->t = t->t;
  s->downconvert = t->downconvert;
  s->auth_sender = t->auth_sender;
  s->auth_mail_param = t->auth_mail_param;
  *t = now;
}

/* Is the group that is about to get its content the last one of the message, and are all its recipients answered? */
static bool is_last_group(const struct smtp_job *job) {
  for (size_t i = 0; i < job->rcpt_count; i++)
    if (smtp_is_due(&job->rcpts[i]) || job->rcpts[i].state == RCPT_SENT || job->rcpts[i].is_excess) return false;
  return true;
}

void smtp_find_next(struct smtp_attempt *s) {
  struct delivery *d = s->d;
  if (s->next || !d->find_next || s->sequence < 2 || s->early || s->is_lmtp || s->t.prdr_asked || !s->facts_are_real || !smtp_may_pipeline(s)) return;
  if (!is_last_group(s->job) || !may_carry_another(s) || !smtp_host_listed(s, "hosts_pipe_next", s->ob->hosts_pipe_next)) return;
  struct delivery *next = d->find_next(d, s->host, fits_connection, s);
  if (!next) return;
  s->next = ARENA_NEW(next->arena, struct smtp_next);
  s->next->turn = (struct smtp_turn){.d = next, .a = next->arena};
}

/* A chunk that rides along leaves before the recipients are answered; with several of them a 452 may call for another transaction. */
static bool is_only_recipient(const struct smtp_job *job) {
  size_t sent = 0;
  for (size_t i = 0; i < job->rcpt_count; i++) {
    if (smtp_is_due(&job->rcpts[i]) || job->rcpts[i].is_excess) return false;
    sent += job->rcpts[i].state == RCPT_SENT;
  }
  return sent == 1;
}

bool smtp_quit_may_ride(struct smtp_attempt *s) {
  if (s->next || s->is_lmtp || s->d->turned || !s->facts_are_real || !s->pipelining || !smtp_may_pipeline(s)) return false;
  if (!is_last_group(s->job) && !is_only_recipient(s->job)) return false;
  if (!s->d->next_for_host || !may_carry_another(s)) return true;
  return s->d->waits_for_host && !s->d->waits_for_host(s->d, s->host);
}

static bool has_line_end(const char *text) { return text && strpbrk(text, "\r\n"); }

/* What cannot be decided by the facts of the connection alone is decided when the message has its turn, and said then. */
static bool may_go_ahead(struct smtp_job *job) {
  struct delivery *d = job->d;
  const char *error = NULL;
  if (d->msg->smtputf8 || has_line_end(d->return_path) || has_line_end(d->msg->dsn_envid)) return false;
  for (const struct address *a = d->addrs; a; a = a->next)
    if (has_line_end(address_rcpt_text(d->arena, a)) || has_line_end(a->orcpt)) return false;
  return smtp_job_options(job, &error);
}

void smtp_put_next_in_flight(struct smtp_attempt *s) {
  struct smtp_next *next = s->next;
  if (!next || s->dead) return;
  next->turn.job = smtp_job_new(next->turn.d);
  if (!may_go_ahead(next->turn.job)) return;
  if (s->awaited_count == 0) smtp_expect(s, AT_END, NULL, "end of data");
  DEBUG(D_TRANSPORT) debug_printf("MAIL of %s behind the end of %s\n", next->turn.d->msg->id, s->d->msg->id);
  struct smtp_failure none = s->fail;
  swap_turn(s, &next->turn);
  s->job->include_ip = next->turn.job->include_ip;
  struct smtp_rcpt *first = smtp_auth_prepare_mail(s) ? smtp_next_group(s, &next->at, &next->n) : NULL;
  if (first) smtp_write_envelope(s, first, next->n, !smtp_use_chunking(s));
  next->is_in_flight = first != NULL;
  swap_turn(s, &next->turn);
  s->fail = none;
}

bool smtp_next_is_asked_again(struct smtp_attempt *s, struct smtp_rcpt *first, size_t n) {
  bool refused = s->inconclusive;
  s->was_ahead = s->ahead_in_doubt = s->inconclusive = false;
  if (!refused) return false;
  s->fail = (struct smtp_failure){0};
  DEBUG(D_TRANSPORT) debug_printf("refused what was said ahead\n");
  if (s->t.data_sent && !s->t.data_refused) s->dead = s->was_ahead = true; /* a dot would be the end of a message */
  for (size_t i = 0; i < n; i++)
    if (first[i].state == RCPT_SENT || first[i].state == RCPT_ACCEPTED) first[i].state = RCPT_PENDING;
  return true;
}

/* ---- one after the other ---------------------------------------------------------------------------------- */

/* What the message before came to, when its failure does not end the connection. */
static void record_before(struct smtp_attempt *s) {
  if (s->fail.trouble != TROUBLE_NONE && !s->d->one_done) { /* of all others it is recorded already */
    smtp_record_failure(s);
    smtp_clear_retry(s);
  }
  s->fail = (struct smtp_failure){0};
}

/* The message that was found ahead has its turn.  False: it was given back, and the connection is of no use any more. */
static bool take_turn(struct smtp_attempt *s, bool again) {
  struct smtp_next *next = s->next;
  struct delivery *before = s->d, *d = next->turn.d;
  bool refused = s->fail.trouble != TROUBLE_NONE;
  s->next = NULL;
  if (s->dead || (!again && !next->is_in_flight)) {
    d->give_back(d);
    return false;
  }
  record_before(s);
  if (!before->go_on(before, d)) {
    d->give_back(d);
    s->dead = true;
    return false;
  }
  if (!next->turn.job) next->turn.job = smtp_job_new(d);
  next->turn.job->include_ip = s->job->include_ip;
  swap_turn(s, &next->turn);
  s->was_ahead = next->is_in_flight;
  s->ahead_in_doubt = next->is_in_flight && refused;
  return true;
}

/* The recipients of the message before were refused.  False: there is no way on, and d waits. */
static bool reset_for(struct smtp_attempt *s, struct delivery *d) {
  s->must_reset = false;
  if (smtp_reset_server(s)) return true;
  s->fail = (struct smtp_failure){0}; /* of the message before nothing is open */
  d->give_back(d);
  return false;
}

/* Ask for a message now that the one before is done. */
static bool open_next(struct smtp_attempt *s) {
  if (s->dead || s->quit_sent || !s->d->next_for_host || !may_carry_another(s)) return false;
  if (!s->d->one_done) smtp_clear_retry(s); /* it may be finished before we come back */
  struct delivery *d = s->d->next_for_host(s->d, s->host, fits_connection, s);
  if (!d) return false;
  if (s->must_reset && !reset_for(s, d)) return false;
  struct smtp_job *job = smtp_job_new(d);
  job->include_ip = s->job->include_ip;
  s->d = d;
  s->a = d->arena;
  s->job = job;
  return true;
}

static bool send_turn(struct smtp_attempt *s, size_t at, size_t n) {
  const char *error = NULL;
  s->sequence++;
  s->d->sequence = s->sequence;
  s->content_sent = false;
  s->early = false; /* from here on every command has waited for the EHLO reply: refusals are meant */
  if (s->was_ahead) return smtp_run_message(s, at, n, true);
  bool include_ip = s->job->include_ip;
  if (!smtp_job_options(s->job, &error)) {
    transport_set_results(s->d->addrs, OUTCOME_DEFER, ERRNO_EXPANDFAIL, error);
    return false;
  }
  s->job->include_ip = include_ip;
  return smtp_run_message(s, 0, 0, false);
}

static void end_turn(struct smtp_attempt *s) {
  if (s->fail.trouble != TROUBLE_NONE) smtp_record_failure(s);
  for (size_t i = 0; i < s->job->rcpt_count; i++) {
    struct address *a = s->job->rcpts[i].addr;
    if (s->job->rcpts[i].state != RCPT_DONE && !a->message && !a->basic_errno) a->basic_errno = ERRNO_UNKNOWNERROR;
  }
  if (s->d->one_done) s->d->one_done(s->d);
}

void smtp_continue_connection(struct smtp_attempt *s, bool again) {
  for (;;) {
    size_t at = s->next ? s->next->at : 0, n = s->next ? s->next->n : 0;
    if (s->next ? !take_turn(s, again) : !again || !open_next(s)) return;
    again = send_turn(s, at, n);
    if (s->was_ahead) { /* the connection ended before the envelope was answered */
      s->d->give_back(s->d);
      return;
    }
    end_turn(s);
  }
}
