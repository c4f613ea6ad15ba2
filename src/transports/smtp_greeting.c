/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Greeting, EHLO and HELO, and what an EHLO reply says.  Floor: drivers.  RFC 5321 section 4.1.1.1.
 *
 * A plain dialogue is a row of steps, each waiting for the one before: (TLS on connect), greeting, EHLO, (STARTTLS, EHLO again).
 * Early ones: smtp_early.c.
 * Hostile input: the EHLO reply; a malformed keyword line is skipped and disturbs no other line. */
#include "transports/smtp_priv.h"

#include "formats/smtp_grammar.h"
#include "os/debug.h"

/* ---- EHLO reply ------------------------------------------------------------------------------------------- */

static const struct {
  const char *keyword;
  uint16_t bit;
} keywords[] = {
  {"STARTTLS", EHLO_TLS},     {"IGNOREQUOTA", EHLO_IGNOREQUOTA}, {"PRDR", EHLO_PRDR},
  {"SMTPUTF8", EHLO_SMTPUTF8}, {"DSN", EHLO_DSN},                 {"PIPELINING", EHLO_PIPELINING},
  {"SIZE", EHLO_SIZE},        {"CHUNKING", EHLO_CHUNKING},          {"XTLSFLIGHT", EHLO_TLSFLIGHT},
};

static void parse_limits(struct str rest, struct ehlo_facts *f) {
  for (;;) {
    struct str word = str_word(&rest);
    if (!word.n) return;
    struct str name = str_cut(&word, '=');
    uint64_t v;
    if (!str_parse_u64(word, &v) || v > UINT32_MAX) continue;
    if (str_eqic_c(name, "MAILMAX")) f->limit_mailmax = (uint32_t)v;
    if (str_eqic_c(name, "RCPTMAX")) f->limit_rcptmax = (uint32_t)v;
    if (str_eqic_c(name, "RCPTDOMAINMAX")) f->limit_rcptdommax = (uint32_t)v;
  }
}

static void parse_keyword_line(struct str line, struct ehlo_facts *f) {
  struct str word = str_word(&line);
  if (pipe_connect_is_keyword(word)) f->features |= EHLO_PIPE_CONNECT; /* one spelling of it is no legal keyword */
  if (!smtp_is_keyword(word)) return;
  if (str_eqic_c(word, "LIMITS")) parse_limits(line, f);
  for (size_t i = 0; i < ARRAY_SIZE(keywords); i++) {
    if (!str_eqic_c(word, keywords[i].keyword)) continue;
    f->features |= keywords[i].bit;
    int64_t limit;
    if (keywords[i].bit == EHLO_SIZE && str_parse_i64(str_trim(line), &limit) && limit > 0) f->size_limit = limit;
  }
}

struct ehlo_facts smtp_parse_ehlo(struct str reply) {
  struct ehlo_facts f = {0};
  bool first = true;
  while (reply.n) {
    struct str line = str_cut(&reply, '\n');
    if (!first && line.n > 4) parse_keyword_line(str_n(line.p + 4, line.n - 4), &f);
    first = false;
  }
  return f;
}

/* ---- dialogue --------------------------------------------------------------------------------------------- */

void smtp_send_ehlo(struct smtp_attempt *s) { smtp_send(s, AT_EHLO, NULL, "%s %s", s->is_lmtp ? "LHLO" : "EHLO", s->helo); }

bool smtp_may_pipeline(const struct smtp_attempt *s) { return (s->facts.features & EHLO_PIPELINING) && !s->need.avoid_pipelining; }

void smtp_take_facts(struct smtp_attempt *s, const struct smtp_reply *r) {
  s->facts = smtp_parse_ehlo(str_c(r->text));
  s->facts.auths = smtp_auth_usable(s->d->cfg, smtp_auth_mechanisms(s->a, str_c(r->text)));
  s->facts_are_real = true;
  s->need.rtt_us = net_rtt_us(stream_fd(s->io));
  s->ehlo_reply = r->text;
  (void)smtp_event(s, NULL, "smtp:ehlo", r->text, 0);
  s->pipelining = smtp_may_pipeline(s);
}

bool smtp_reap_greeting(struct smtp_attempt *s) {
  struct smtp_awaited what;
  struct smtp_reply r;
  if (!smtp_read_reply(s, &what, &r)) return false;
  s->greeting = r.text;
  if (r.code / 100 != 2) {
    smtp_note_reply(s, &what, &r);
    return false;
  }
  if (!smtp_event(s, NULL, "smtp:connect", r.text, 0)) return true;
  smtp_note_failure(s, (struct smtp_failure){.trouble = TROUBLE_LOCAL, .at = AT_GREETING, .err = ERRNO_EVENT});
  return false;
}

static bool try_helo(struct smtp_attempt *s) {
  struct smtp_awaited what;
  struct smtp_reply r;
  smtp_send(s, AT_HELO, NULL, "HELO %s", s->helo);
  s->reply_deadline = deadline_in_sec(s->ob->command_timeout);
  if (!smtp_read_reply(s, &what, &r)) return false;
  s->facts = (struct ehlo_facts){0};
  s->ehlo_reply = r.text;
  s->facts_are_real = true;
  s->pipelining = false;
  if (r.code / 100 == 2) return true;
  smtp_note_reply(s, &what, &r);
  return false;
}

/* The name for EHLO, once the connection has a local address. */
static bool name_is_known(struct smtp_attempt *s) {
  if (s->helo || (s->helo = smtp_expand_helo(s, false))) return true;
  smtp_note_failure(s, (struct smtp_failure){.trouble = TROUBLE_CONNECT, .at = AT_EHLO, .err = ERRNO_EXPANDFAIL,
                                             .reply = arena_printf(s->a, "failed to expand helo_data: %s",
                                                                   s->d->x->error ? s->d->x->error : "forced failure")});
  return false;
}

bool smtp_hello(struct smtp_attempt *s) {
  struct smtp_awaited what;
  struct smtp_reply r;
  if (!name_is_known(s)) return false;
  if (!s->is_lmtp && s->need.avoid_esmtp) return try_helo(s);
  smtp_send_ehlo(s);
  s->reply_deadline = deadline_in_sec(s->ob->command_timeout);
  if (!smtp_read_reply(s, &what, &r)) return false;
  if (r.code / 100 == 2) {
    smtp_take_facts(s, &r);
    pipe_connect_learn(s->d->x, &s->plan, &s->need, &s->facts, s->in_tls);
    return true;
  }
  if (r.code != 421 && !s->is_lmtp) { /* some that do not know EHLO say it their own way */
    s->ehlo_error = r.text;
    return try_helo(s);
  }
  smtp_note_reply(s, &what, &r);
  return false;
}

static bool greet_plain(struct smtp_attempt *s) {
  if (s->is_smtps && !smtp_tls_on_connect(s)) return false;
  smtp_expect(s, AT_GREETING, NULL, s->is_smtps ? "TLS-on-connect" : "initial connection");
  if (!smtp_reap_greeting(s) || !smtp_hello(s)) return false;
  if (s->in_tls) return true;
  s->clear_facts = s->facts;
  switch (smtp_start_tls(s)) {
    case SMTP_TLS_UNUSED: return true;
    case SMTP_TLS_STARTED: return smtp_hello(s);
    case SMTP_TLS_FAILED: break;
  }
  return false;
}

bool smtp_greet(struct smtp_attempt *s) {
  if (!(s->plan.use ? smtp_greet_early(s) : greet_plain(s))) return false;
  smtp_pipe_auth(s);
  return smtp_authenticate(s);
}
