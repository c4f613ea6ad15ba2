/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The first flight of an early connection: what it needs to know, what goes into it, and what its end means.
 *
 * Floor: drivers.  doc/experimental-spec.txt, sections 4, 7 and 9; RFC 2920, 3030.  Everything here is built from a record, which is
 * advice: whatever the server then says decides.  A message goes into the flight only under guards, because a server that lost CHUNKING since
 * would read it as commands: its text is foreign, so any line in it that could be one keeps it out. */
#include "transports/smtp_priv.h"

#include "transports/smtp_dkim.h"

#include <errno.h>
#include <string.h>

#include "os/debug.h"
#include "os/tls.h"

static void gather_need(struct smtp_attempt *s, bool already_failed) {
  s->need = (struct pipe_need){
    .cfg = s->d->cfg,
    .hosts_pipe_connect = s->ob->hosts_pipe_connect,
    .host_name = s->host->name,
    .host_address = s->host->address,
    .port = s->port,
    .is_lmtp = s->is_lmtp,
    .is_smtps = s->is_smtps,
    .tls_required = s->tls_required,
    .may_tls = !s->avoid_tls,
    .auth_required = smtp_auth_is_wanted(s) && s->auth_required,
    .avoid_esmtp = smtp_host_listed(s, "hosts_avoid_esmtp", s->ob->hosts_avoid_esmtp),
    .avoid_pipelining = smtp_host_listed(s, "hosts_avoid_pipelining", s->ob->hosts_avoid_pipelining),
    .helo_unknown = s->helo == NULL,
    .utf8_needed = s->d->msg->smtputf8,
    .downconvert_forced = smtp_utf8_forced(s),
    .already_failed = already_failed,
    .fingerprint = pipe_connect_fingerprint(s->d->cfg, s->ob->helo_data, s->ob->interface),
  };
}

/* ---- the message in the flight ---------------------------------------------------------------------------- */

/* Verbs that a server might know.  A line that begins with the letters of one is kept out, whatever follows them. */
static const char *const verbs[] = {
  "MAIL", "RCPT", "DATA", "BDAT", "RSET", "EHLO", "HELO", "LHLO", "AUTH", "STARTTLS", "XCLIENT", "XFORWARD", "NOOP", "QUIT", "VRFY", "EXPN",
  "HELP", "ETRN", "ATRN", "TURN", "BURL", "SEND", "SOML", "SAML",
};

bool smtp_text_has_verbs(struct str text) {
  bool at_start = true;
  for (size_t i = 0; i < text.n; i++) {
    char ch = text.p[i];
    if (ch == '\r' || ch == '\n') {
      at_start = true;
      continue;
    }
    if (!at_start || ch == ' ' || ch == '\t') continue;
    at_start = false;
    struct str rest = str_n(text.p + i, text.n - i);
    for (size_t k = 0; k < ARRAY_SIZE(verbs); k++)
      if (str_startsic(rest, str_c(verbs[k]))) return true;
  }
  return false;
}

static int keep_small(void *ctx, const void *p, size_t n) {
  struct strbuf *b = ctx;
  if (b->n + n > SMTP_FLIGHT_BODY_MAX) return -EMSGSIZE;
  strbuf_add(b, p, n);
  return 0;
}

/* NULL: may ride; else the reason why not, for the narration. */
static const char *why_body_stays(struct smtp_attempt *s) {
  if (!smtp_host_listed(s, "hosts_pipe_connect_body", s->ob->hosts_pipe_connect_body)) return "host is not in hosts_pipe_connect_body";
  if (!smtp_use_chunking(s)) return "no CHUNKING";
  if (!(s->plan.stored.flags & HINTS_EHLO_CONFIRMED_CHUNKING)) return "no chunk was ever accepted there";
  if (!s->in_tls && !s->avoid_tls) return "it would be in clear, and the host is not in hosts_avoid_tls";
  if (s->d->msg->message_size > SMTP_FLIGHT_BODY_MAX) return "too large";
  return NULL;
}

/* Behind the envelope: "BDAT n LAST" and the message, when every guard says yes. */
static void put_body_in_flight(struct smtp_attempt *s) {
  struct write_opts o = smtp_content_opts(s, true);
  struct strbuf headers = strbuf_new(s->a), text = strbuf_new(s->a);
  int64_t size = 0;
  const char *why = why_body_stays(s);
  if (!why && (transport_prepare_headers(s->d, &o, &headers) < 0 || smtp_dkim_sign(s, &o, &headers) < 0 ||
               transport_write_prepared(s->d, &o, strbuf_str(&headers), keep_small, &text, &size) < 0))
    why = "too large, or it cannot be made";
  if (!why && smtp_text_has_verbs(strbuf_str(&text))) why = "a line of it looks like a command";
  smtp_dkim_done(&o);
  DEBUG(D_TRANSPORT) debug_printf("message in the first flight: %s\n", why ? why : "yes");
  if (why) return;
  s->commands_in_flight = s->flight.n;
  smtp_send(s, AT_END, NULL, "BDAT %lld LAST", (long long)size);
  if (s->dead) return;
  s->awaited[(s->awaited_head + s->awaited_count - 1) % SMTP_MAX_AWAITED].command = "end of data";
  if (s->io) stream_put(s->io, text.p, text.n);
  else strbuf_add(&s->flight, text.p, text.n);
  s->t.bdat_used = s->content_sent = s->content_in_flight = true;
  s->used_features |= EHLO_CHUNKING;
  s->d->addrs->delivered_size = size;
}

size_t smtp_flight_syn_bytes(struct smtp_attempt *s) {
  if (!s->content_in_flight || smtp_host_listed(s, "hosts_try_fastopen_body", s->ob->hosts_try_fastopen_body)) return s->flight.n;
  return s->commands_in_flight;
}

/* ---- the flights ------------------------------------------------------------------------------------------ */

/* In clear only with hosts that never get TLS: there, whatever the real EHLO reply says, a plain attempt sends the same in clear (K8). */
bool smtp_may_pipe_auth(const struct smtp_attempt *s, bool in_tls) {
  return (in_tls || smtp_host_listed(s, "hosts_avoid_tls", s->ob->hosts_avoid_tls)) && smtp_host_listed(s, "hosts_pipe_auth", s->ob->hosts_pipe_auth);
}

/* AUTH behind EHLO.  True: MAIL may stand behind it.  K8: never in clear what a plain attempt might encrypt. */
static bool put_auth_in_flight(struct smtp_attempt *s, uint16_t offered) {
  bool more = false;
  if (!s->in_tls && !s->avoid_tls) return false;
  if (!smtp_auth_put_in_flight(s, offered, &more)) return false;
  return more && smtp_may_pipe_auth(s, s->in_tls);
}

/* The first MAIL and what goes with it, as s->facts say.  With CHUNKING the chunk waits for the EHLO reply (a server that lost the extension would
 * read the message as commands), and needs no 354: as many round trips as DATA here.  Without it DATA rides along. */
static bool put_first_group(struct smtp_attempt *s) {
  if (s->probe) return smtp_probe_put_opening(s);
  struct smtp_rcpt *first = smtp_next_group(s, &s->group_at, &s->group_n);
  if (!first || !smtp_auth_prepare_mail(s)) return false;
  s->group_in_flight = true;
  smtp_write_envelope(s, first, s->group_n, !smtp_use_chunking(s));
  return true;
}

/* EHLO and the first group, as a half of the record says. */
static void put_group_in_flight(struct smtp_attempt *s, const struct ehlo_facts *believed) {
  s->early = true;
  s->facts = *believed;
  s->facts_are_real = s->promise_stands = false;
  s->used_features = s->used_auths = 0;
  s->pipelining = true;
  smtp_send_ehlo(s);
  if (smtp_auth_is_wanted(s) && !put_auth_in_flight(s, believed->auths)) return;
  if (!put_first_group(s) || s->probe) return;
  if (s->group_at == s->job->rcpt_count && !s->dead && !s->early_auth) put_body_in_flight(s);
}

/* The ClientHello behind STARTTLS, for a server that said it may stand there. */
static void put_hello_in_flight(struct smtp_attempt *s) {
  struct str hello;
  const char *error = NULL;
  if (!(s->plan.clear.features & EHLO_TLSFLIGHT) || !smtp_host_listed(s, "starttls_pipeline_hosts", s->ob->starttls_pipeline_hosts)) return;
  s->tls_opts->hello = tls_client_hello(s->a, s->tls_opts, &hello, &error);
  DEBUG(D_TRANSPORT | D_TLS) debug_printf("ClientHello behind STARTTLS: %s\n", s->tls_opts->hello ? "yes" : error);
  if (!s->tls_opts->hello) return;
  strbuf_addstr(&s->flight, hello);
  s->hello_in_flight = true;
  s->used_features |= EHLO_TLSFLIGHT;
}

static bool put_starttls_in_flight(struct smtp_attempt *s) {
  if (!smtp_tls_prepare(s)) return false;
  s->early = true;
  s->facts = s->plan.clear;
  smtp_send_ehlo(s);
  smtp_send(s, AT_STARTTLS, NULL, "STARTTLS");
  s->used_features = EHLO_TLS;
  if (!s->dead) put_hello_in_flight(s);
  return !s->dead;
}

/* On a connection that waited for its EHLO reply, too: AUTH and the first group in one flight (hosts_pipe_auth). */
void smtp_pipe_auth(struct smtp_attempt *s) {
  if (!s->pipelining || s->need.already_failed || s->plan.why_not == PIPE_SUSPENDED || s->early_auth || !smtp_auth_is_wanted(s)) return;
  if (!smtp_may_pipe_auth(s, s->in_tls)) return;
  /* Whether it may go there, and how its addresses are written, is smtp_utf8_decide()'s. */
  if (s->d->msg->smtputf8 && (!(s->facts.features & EHLO_SMTPUTF8) || smtp_utf8_forced(s))) return;
  bool more = false;
  if (!smtp_auth_put_in_flight(s, s->facts.auths, &more) || !more) return;
  (void)put_first_group(s);
}

void smtp_choose_plan(struct smtp_attempt *s, bool already_failed) {
  gather_need(s, already_failed);
  s->plan = pipe_connect_plan(s->d->x, &s->need);
  if (s->plan.use && s->ob->authenticated_sender_force) { /* AUTH= may only be expanded once the connection is there */
    s->plan.use = false;
    s->plan.why_not = PIPE_NEED_UNMET;
  }
}

bool smtp_plan_early(struct smtp_attempt *s, bool already_failed) {
  s->helo = smtp_expand_helo(s, true);
  smtp_choose_plan(s, already_failed);
  DEBUG(D_TRANSPORT) {
    if (!s->plan.use) debug_printf("no early pipelining: %s\n", pipe_refusal_text(s->plan.why_not));
    else debug_printf("early pipelining: %s%s\n", s->is_smtps ? "inside TLS" : s->plan.starttls ? "EHLO and STARTTLS" : "EHLO and envelope",
                      s->plan.starttls && s->plan.use_crypted ? ", and inside TLS" : "");
  }
  if (!s->plan.use && s->ob->helo_data && strstr(s->ob->helo_data, "sending_")) s->helo = NULL; /* expanded again when there is a local address */
  return !s->plan.use || smtp_put_first_flight(s);
}

bool smtp_put_first_flight(struct smtp_attempt *s) {
  if (s->is_smtps) return true;
  smtp_expect(s, AT_GREETING, NULL, "initial connection");
  if (s->plan.starttls) return put_starttls_in_flight(s);
  put_group_in_flight(s, &s->plan.clear);
  return !s->dead;
}

/* ---- their replies ---------------------------------------------------------------------------------------- */

/* The EHLO reply is compared with what was believed before any other reply is looked at. */
static bool reap_ehlo(struct smtp_attempt *s) {
  struct smtp_awaited what;
  struct smtp_reply r;
  s->reply_deadline = deadline_in_sec(s->ob->command_timeout);
  if (!smtp_read_reply(s, &what, &r)) return false;
  if (r.code / 100 != 2) {
    smtp_note_reply(s, &what, &r);
    return false;
  }
  smtp_take_facts(s, &r);
  bool promised = pipe_connect_verify(s->d->x, &s->plan, &s->need, &s->facts, s->in_tls);
  s->promise_stands = promised && (s->facts.features & s->used_features) == s->used_features && (s->facts.auths & s->used_auths) == s->used_auths;
  DEBUG(D_TRANSPORT) debug_printf("EHLO reply %s\n", s->promise_stands ? "as remembered" : "differs from what was used");
  s->pipelining = s->pipelining || s->awaited_count > 0; /* the group is on its way whatever was said */
  return true;
}

/* TLS is up.  Talk early again when the first half of the promise was kept and the other half is known. */
static bool greet_again(struct smtp_attempt *s) {
  if (s->promise_stands && s->plan.use_crypted) {
    put_group_in_flight(s, &s->plan.crypted);
    return !s->dead && reap_ehlo(s);
  }
  s->early = s->promise_stands;
  return smtp_hello(s);
}

/* From here on the attempt is a plain one: what is sent now waited for the EHLO reply. */
static bool go_on_plainly(struct smtp_attempt *s) {
  s->early = false;
  return true;
}

/* A ClientHello is on its way to somebody who does not expect it: nothing more can be said here.  The plain attempt decides. */
static bool hello_is_lost(struct smtp_attempt *s) {
  s->promise_stands = false;
  s->inconclusive = s->dead = true;
  smtp_note_failure(s, (struct smtp_failure){.trouble = TROUBLE_CLOSED, .at = AT_STARTTLS, .command = "STARTTLS"});
  return false;
}

static bool reap_starttls(struct smtp_attempt *s) {
  struct smtp_awaited what;
  struct smtp_reply r;
  bool offered = s->facts.features & EHLO_TLS;
  s->clear_facts = s->facts;
  if (s->hello_in_flight && !(s->facts.features & EHLO_TLSFLIGHT)) return hello_is_lost(s); /* it is taken for commands */
  s->reply_deadline = deadline_in_sec(s->ob->command_timeout);
  if (!smtp_read_reply(s, &what, &r)) return false;
  if (r.code / 100 != 2 && s->hello_in_flight) return hello_is_lost(s);
  if (r.code / 100 != 2 && offered && !s->promise_stands) { /* refused because we talked early, or for good?  K5 */
    s->inconclusive = true;
    smtp_note_reply(s, &what, &r);
    return false;
  }
  if (!s->hello_in_flight) smtp_tls_resume_find_again(s, s->tls_opts);
  switch (smtp_starttls_answered(s, &what, &r)) {
    case SMTP_TLS_UNUSED: return go_on_plainly(s);
    case SMTP_TLS_STARTED: return greet_again(s);
    case SMTP_TLS_FAILED: break;
  }
  return false;
}

bool smtp_greet_early(struct smtp_attempt *s) {
  if (s->is_smtps) {
    if (!smtp_tls_on_connect(s)) return false;
    smtp_expect(s, AT_GREETING, NULL, "TLS-on-connect");
    put_group_in_flight(s, &s->plan.crypted);
    return !s->dead && smtp_reap_greeting(s) && reap_ehlo(s);
  }
  if (!smtp_reap_greeting(s) || !reap_ehlo(s)) return false;
  if (s->plan.starttls) return reap_starttls(s);
  s->tls_was_added = (s->facts.features & EHLO_TLS) && !s->avoid_tls; /* F14: a plain attempt would encrypt what comes next */
  return !s->tls_was_added;
}

/* ---- its end ---------------------------------------------------------------------------------------------- */

/* Before the EHLO reply was complete. */
static enum pipe_event event_of_greeting(const struct smtp_attempt *s) {
  const struct smtp_failure *f = &s->fail;
  bool may_have_it = s->content_in_flight && s->peer_took_bytes;
  switch (f->trouble) {
    case TROUBLE_REPLY:
      if (f->at == AT_GREETING) return f->code / 100 == 5 ? PIPE_EV_GREETING_5XX : PIPE_EV_GREETING_4XX;
      return f->code / 100 == 5 ? PIPE_EV_EHLO_5XX : PIPE_EV_EHLO_4XX;
    case TROUBLE_TIMEOUT: return may_have_it ? PIPE_EV_LOST_WITH_CONTENT : PIPE_EV_TIMEOUT;
    case TROUBLE_FORMAT: return may_have_it ? PIPE_EV_LOST_WITH_CONTENT : PIPE_EV_GARBAGE;
    case TROUBLE_CLOSED: return may_have_it ? PIPE_EV_LOST_WITH_CONTENT : PIPE_EV_CLOSED;
    case TROUBLE_TLS: /* the handshake was good; this is a broken connection, and no reason to try in clear (F19) */
      if (s->in_tls) return may_have_it ? PIPE_EV_LOST_WITH_CONTENT : PIPE_EV_CLOSED;
      break;
    case TROUBLE_NONE:
    case TROUBLE_CONNECT:
    case TROUBLE_LOCAL:
    case TROUBLE_TLS_REQUIRED:
    case TROUBLE_DANE:
    case TROUBLE_AUTH: break;
  }
  return PIPE_EV_GENUINE;
}

enum pipe_event smtp_early_event(const struct smtp_attempt *s) {
  const struct smtp_failure *f = &s->fail;
  if (s->inconclusive && f->at == AT_AUTH) return PIPE_EV_AUTH_REFUSED;
  if (!s->early) return f->trouble == TROUBLE_NONE ? PIPE_EV_NONE : PIPE_EV_GENUINE;
  if (f->trouble == TROUBLE_CONNECT) return PIPE_EV_CONNECT_FAILED;
  if (s->tls_was_added) return PIPE_EV_TLS_ADDED;
  if (!s->facts_are_real && f->trouble != TROUBLE_NONE) return event_of_greeting(s);
  bool lost = f->trouble == TROUBLE_CLOSED || f->trouble == TROUBLE_TIMEOUT || f->trouble == TROUBLE_FORMAT;
  if (s->content_sent && lost) return PIPE_EV_LOST_AFTER_CONTENT;
  if (f->trouble == TROUBLE_LOCAL || f->trouble == TROUBLE_TLS_REQUIRED) return PIPE_EV_GENUINE; /* F15: a fresh no */
  if (!s->promise_stands)
    return s->inconclusive || f->trouble != TROUBLE_NONE ? PIPE_EV_GONE_REFUSED : PIPE_EV_GONE_ACCEPTED;
  return f->trouble == TROUBLE_NONE ? PIPE_EV_NONE : PIPE_EV_GENUINE;
}

bool smtp_settle_lost(struct smtp_attempt *s) {
  bool any = false;
  for (size_t i = 0; i < s->job->rcpt_count; i++) {
    struct smtp_rcpt *r = &s->job->rcpts[i];
    r->is_doubtful = smtp_is_due(r);
    any = any || r->is_doubtful;
  }
  if (!s->inconclusive || !any) return false;
  for (size_t i = 0; i < s->job->rcpt_count; i++) /* the failure is not about these */
    if (s->job->rcpts[i].is_doubtful) s->job->rcpts[i].deferred_by_reply = true;
  smtp_record_failure(s);
  for (size_t i = 0; i < s->job->rcpt_count; i++) s->job->rcpts[i].deferred_by_reply = !s->job->rcpts[i].is_doubtful;
  return true;
}

void smtp_blame_end(struct smtp_attempt *s) {
  if (s->fail.trouble == TROUBLE_FORMAT || s->fail.trouble == TROUBLE_TLS) s->fail.trouble = TROUBLE_CLOSED; /* a message error, whatever stood there */
  s->fail.at = AT_END;
  s->fail.pipelined = false;
  s->fail.command = "end of data";
}
