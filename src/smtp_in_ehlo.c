/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HELO and EHLO: the argument, its verification, the ACL, and the list of extensions.
 *
 * Floor: flows.  The argument is foreign text: unless a host is allowed junk it is restricted to host name characters.
 * The early pipelining keywords stand directly behind PIPELINING and only when it is there.  RFC 5321 §4.1.1.1;
 * manual ch. 48, doc/experimental-spec.txt. */
#include "host.h"
#include "os/debug.h"
#include "policy/match.h"
#include "policy/narrate.h"
#include "smtp_in_priv.h"

static bool is_ip_literal(struct smtp_session *s, struct str a) {
  if (a.n < 3 || a.p[0] != '[' || a.p[a.n - 1] != ']') return false;
  struct str ip = str_n(a.p + 1, a.n - 2);
  if (str_startsic(ip, STR("IPv6:")) || str_startsic(ip, STR("IPv4:"))) ip = str_n(ip.p + 5, ip.n - 5);
  return ip_text_kind(str_dup(s->tmp, ip), NULL) != 0;
}

static bool helo_is_valid(struct smtp_session *s, struct str a) {
  if (a.n > 0 && s->helo_junk_ok) return true;
  if (is_ip_literal(s, a)) return true;
  const char *extra = s->opt->helo_allow_chars ? s->opt->helo_allow_chars : "";
  for (size_t i = 0; i < a.n; i++)
    if (!ch_isalnum(a.p[i]) && a.p[i] != '.' && a.p[i] != '-' && !strchr(extra, a.p[i])) return false;
  return a.n > 0;
}

static void reject_syntax(struct smtp_session *s, struct str arg, bool esmtp) {
  log_write(LS_ALWAYS, LOG_MAIN | LOG_REJECT, "rejected %s from %s: syntactically invalid argument(s): %s", esmtp ? "EHLO" : "HELO",
            smtp_host_text(s), arg.n ? arg.p : "(no argument given)");
  smtp_replyf(s, "501 Syntactically invalid %s argument(s)", esmtp ? "EHLO" : "HELO");
  if (++s->c->synprot_errors <= s->opt->smtp_max_synprot_errors) return;
  log_write(LS_ALWAYS, LOG_MAIN | LOG_REJECT, "SMTP call from %s dropped: too many syntax or protocol errors (last command was "
            "\"%.*s\",  %s)", smtp_host_text(s), STR_FMT(s->line), smtp_command_list(s));
  s->done = s->drop = true;
  s->exit_status = 1;
}

void smtp_set_protocol(struct smtp_session *s, bool esmtp) {
  struct conn *c = s->c;
  if (c->is_batched) return;
  c->from.protocol = arena_printf(c->arena, "%s%s%ssmtp%s%s", s->m->smtputf8 ? "utf8" : "", c->from.host_address ? "" : "local-", esmtp ? "e" : "",
                                  c->from.tls.active ? "s" : "", esmtp && c->from.auth_name ? "a" : "");
}

/* ---- extensions ---- */

static void add_keyword(void *ctx, const char *keyword) {
  struct strbuf *b = ctx;
  strbuf_addf(b, "\n%s", keyword);
}

/* draft-freed-smtp-limits, now RFC 9422. */
static void advertise_limits(struct smtp_session *s, struct strbuf *b) {
  if (s->max_per_connection <= 0 && s->recipients_max <= 0) return;
  if (!smtp_host_in(s, "limits_advertise_hosts", s->opt->limits_advertise_hosts)) return;
  strbuf_adds(b, "\nLIMITS");
  if (s->max_per_connection > 0) strbuf_addf(b, " MAILMAX=%lld", (long long)s->max_per_connection);
  if (s->recipients_max > 0) strbuf_addf(b, " RCPTMAX=%d", s->recipients_max);
}

/* CHUNKING stays: a client that says HELO behind STARTTLS may still send chunks, as with Exim. */
void smtp_forget_advertised(struct smtp_session *s) {
  struct conn *c = s->c;
  c->pipelining_advertised = c->pipe_connect_advertised = c->dsn_advertised = c->prdr_advertised =
    c->smtputf8_advertised = c->auth_advertised = c->tls_advertised = c->tlsflight_advertised = c->wellknown_advertised = false;
  s->atrn_advertised = false;
}

/* Lines "\nKEYWORD..." in Exim's order. */
static void add_extensions(struct smtp_session *s, struct strbuf *b) {
  struct conn *c = s->c;
  const struct main_options *o = s->opt;
  if (s->size_limit > 0) strbuf_addf(b, "\nSIZE %lld", (long long)s->size_limit);
  else strbuf_adds(b, "\nSIZE");
  advertise_limits(s, b);
  if (o->accept_8bitmime) strbuf_adds(b, "\n8BITMIME");
  c->dsn_advertised = smtp_host_in(s, "dsn_advertise_hosts", o->dsn_advertise_hosts);
  if (c->dsn_advertised) strbuf_adds(b, "\nDSN");
  if (o->acl_smtp_etrn) strbuf_adds(b, "\nETRN");
  if (smtp_advertise_atrn(s)) strbuf_adds(b, "\nATRN");
  if (o->acl_smtp_vrfy) strbuf_adds(b, "\nVRFY");
  if (o->acl_smtp_expn) strbuf_adds(b, "\nEXPN");
  c->pipe_connect_advertised = false;
  c->pipelining_advertised =
    c->pipelining_enabled && smtp_host_in(s, "pipelining_advertise_hosts", o->pipelining_advertise_hosts);
  if (c->pipelining_advertised) {
    strbuf_adds(b, "\nPIPELINING");
    if (c->early_acceptable && c->from.host_address) {
      size_t before = b->n;
      pipe_connect_advertise(&s->x, add_keyword, b);
      c->pipe_connect_advertised = b->n > before;
    }
  }
  smtp_auth_advertise(s, b);
  c->chunking_advertised = smtp_host_in(s, "chunking_advertise_hosts", o->chunking_advertise_hosts);
  if (c->chunking_advertised) strbuf_adds(b, "\nCHUNKING");
  if (smtp_advertise_tls(s)) strbuf_adds(b, "\nSTARTTLS");
  c->tlsflight_advertised = c->tls_advertised && pipe_connect_takes_hello(&s->x);
  if (c->tlsflight_advertised) strbuf_adds(b, "\nXTLSFLIGHT");
  c->prdr_advertised = o->prdr_enable;
  if (c->prdr_advertised) strbuf_adds(b, "\nPRDR");
  c->smtputf8_advertised = o->accept_8bitmime && smtp_host_in(s, "smtputf8_advertise_hosts", o->smtputf8_advertise_hosts);
  if (c->smtputf8_advertised) strbuf_adds(b, "\nSMTPUTF8");
  c->wellknown_advertised = o->acl_smtp_wellknown && smtp_host_in(s, "wellknown_advertise_hosts", o->wellknown_advertise_hosts);
  if (c->wellknown_advertised) strbuf_adds(b, "\nWELLKNOWN");
  smtp_advertise_xclient(s, b);
  strbuf_adds(b, "\nHELP");
}

static void send_reply(struct smtp_session *s, bool esmtp, const struct acl_result *acl) {
  struct conn *c = s->c;
  struct strbuf b = strbuf_new(s->tmp);
  int code = 250;
  if (acl->user_message && *acl->user_message) {
    const char *text = smtp_message_code(acl->user_message, &code, true);
    size_t n = strcspn(text, "\n");
    if (text[n])
      log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "EHLO/HELO response must not contain newlines: message truncated: %d %s", code,
                log_escape(s->tmp, str_c(text)));
    strbuf_add(&b, text, n);
  } else {
    strbuf_addf(&b, "%s Hello %s%s%s", s->own_name, c->from.ident ? c->from.ident : "",
                c->from.ident ? " at " : "", c->from.host_name ? c->from.host_name : c->from.helo_name);
    if (c->from.host_address) strbuf_addf(&b, " [%s]", c->from.host_address);
  }
  if (esmtp) {
    add_extensions(s, &b);
    if (s->is_socket && c->pipe_connect_advertised && !c->early_used && stream_input_ready(c->io, 0) == STREAM_DATA)
      c->early_used = true; /* a group behind an unanswered EHLO is what the extension grants */
  }
  bool no_multiline = c->no_multiline;
  if (esmtp) c->no_multiline = false;
  smtp_reply_text(s, code, b.p);
  c->no_multiline = no_multiline;
}

/* ---- verification ---- */

static bool verify(struct smtp_session *s, bool esmtp) {
  struct conn *c = s->c;
  if (!s->helo_verify || !c->from.host_address) return true;
  const char *who = smtp_host_text(s); /* as it was before the check looked for names */
  bool ok = host_verify_helo(&s->x), temporary = !ok && (c->from.host_lookup_deferred || c->from.helo_lookup_deferred);
  c->from.helo_verified = ok;
  c->from.helo_verify_failed = !ok && !temporary;
  if (!ok && !s->helo_verify_required) narrate(&s->x, D_RECEIVE, "HELO verification failed but host is in helo_try_verify_hosts");
  if (ok || !s->helo_verify_required) return true;
  log_write(LS_ALWAYS, LOG_MAIN | LOG_REJECT, "%srejected \"%s %s\" from %s", temporary ? "temporarily " : "",
            esmtp ? "EHLO" : "HELO", c->from.helo_name, who);
  smtp_replyf(s, "%d %s argument does not match calling host", temporary ? 451 : 550, esmtp ? "EHLO" : "HELO");
  return false;
}

/* Refused: the name is gone; whether there was an accepted greeting before stays as it was. */
static void forget_helo(struct smtp_session *s) {
  s->c->from.helo_name = NULL;
  s->c->esmtp = false;
  origin_set_fullhost(s->c->arena, &s->c->from, log_selects(LS_INCOMING_PORT));
}

/* The name the client gives.  helo_lookup_domains: some names are reason enough to look for the host's own. */
static void set_helo(struct smtp_session *s, const char *name, bool esmtp) {
  static const struct match_opts lookup_domains = {.caseless = true, .allow_named = true, .name = "helo_lookup_domains"};
  struct conn *c = s->c;
  c->from.helo_name = arena_strdup(c->arena, name);
  c->from.helo_verified = c->from.helo_verify_failed = false;
  c->esmtp = esmtp;
  origin_set_fullhost(c->arena, &c->from, log_selects(LS_INCOMING_PORT));
  smtp_forget_advertised(s);
  if (c->from.host_address && !c->from.host_name &&
      match_list(&s->x, LIST_DOMAIN, c->from.helo_name, s->opt->helo_lookup_domains, &lookup_domains) == OUTCOME_OK) {
    (void)host_name_lookup(&s->x, NULL);
    origin_set_fullhost(c->arena, &c->from, log_selects(LS_INCOMING_PORT));
  }
}

/* EHLO and HELO end a transaction; without one, the next begins here for messages about lines of a batch. */
static void end_transaction(struct smtp_session *s) {
  if (s->m->sender) smtp_reset(s);
  else s->transaction_line = s->line_number;
  s->last_rcpt_error = NULL; /* a transaction that never was ends as well */
  s->rcpt_errors_differ = false;
}

void smtp_do_helo(struct smtp_session *s, struct str arg, bool esmtp) {
  struct conn *c = s->c;
  bool is_valid = helo_is_valid(s, arg);
  if (c->is_batched && (arg.n == 0 || !is_valid)) { /* a batch names nobody, or nobody that could be told */
    end_transaction(s);
    c->helo_seen = true;
    c->esmtp = esmtp;
    return;
  }
  if (!is_valid) {
    reject_syntax(s, arg, esmtp);
    return;
  }
  set_helo(s, arg.p, esmtp);
  if (!verify(s, esmtp)) { /* log lines still say how it called itself */
    c->esmtp = false;
    return;
  }
  struct acl_result acl = smtp_run_acl(s, ACL_WHERE_HELO, NULL, s->opt->acl_smtp_helo, OUTCOME_OK);
  if (acl.outcome != OUTCOME_OK) {
    smtp_acl_failed(s, ACL_WHERE_HELO, &acl, arena_printf(s->tmp, "EHLO or HELO %s", arg.p));
    forget_helo(s);
    return;
  }
  if (s->opt->acl_smtp_helo && !smtp_check_sync(s, esmtp ? VERB_EHLO : VERB_HELO)) return; /* a delay there is for those who cannot wait */
  end_transaction(s);
  smtp_forget_message_variables(s);
  c->helo_seen = true;
  smtp_set_protocol(s, esmtp);
  send_reply(s, esmtp, &acl);
}
