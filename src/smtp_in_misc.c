/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VRFY, EXPN, HELP, NOOP, RSET, QUIT.
 *
 * Floor: flows.  VRFY and EXPN do nothing unless their ACL says yes.  RFC 5321 §4.1.1; manual ch. 44, 48. */
#include "policy/rewrite.h"
#include "smtp_in_priv.h"
#include "verify.h"

void smtp_do_noop(struct smtp_session *s, struct str arg) {
  (void)arg;
  smtp_replyf(s, "250 OK");
}

void smtp_do_help(struct smtp_session *s, struct str arg) {
  (void)arg;
  struct strbuf b = strbuf_new(s->tmp);
  bool tls = !s->c->from.tls.active && smtp_host_in(s, "tls_advertise_hosts", s->opt->tls_advertise_hosts);
  strbuf_addf(&b, "214-Commands supported:\n214 AUTH%s HELO EHLO MAIL RCPT DATA BDAT NOOP QUIT RSET HELP", tls ? " STARTTLS" : "");
  if (s->opt->acl_smtp_etrn) strbuf_adds(&b, " ETRN");
  if (s->opt->acl_smtp_expn) strbuf_adds(&b, " EXPN");
  if (s->opt->acl_smtp_vrfy) strbuf_adds(&b, " VRFY");
  struct str rest = strbuf_str(&b);
  while (rest.n > 0) {
    struct str line = str_cut(&rest, '\n');
    smtp_replyf(s, "%.*s", STR_FMT(line));
  }
}

void smtp_do_rset(struct smtp_session *s, struct str arg) {
  if (arg.n > 0) {
    smtp_synprot_error(s, true, 501, "unexpected argument data");
    return;
  }
  smtp_log_incomplete(s, "RSET");
  smtp_reset(s);
  s->chunks = CHUNKS_NONE;
  smtp_replyf(s, "250 Reset OK");
}

void smtp_do_quit(struct smtp_session *s, struct str arg) {
  if (arg.n > 0) {
    smtp_synprot_error(s, true, 501, "unexpected argument data");
    return;
  }
  smtp_log_incomplete(s, "QUIT");
  s->done = true;
  if (s->o->mode == SMTP_MODE_BATCH) return;
  struct acl_result r = smtp_run_acl(s, ACL_WHERE_QUIT, NULL, s->opt->acl_smtp_quit, OUTCOME_OK);
  if (r.outcome == OUTCOME_ERROR)
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "ACL for QUIT returned ERROR: %s", r.log_message ? r.log_message : "");
  if (r.user_message && *r.user_message) smtp_reply_text(s, 221, r.user_message);
  else smtp_replyf(s, "221 %s closing connection", s->own_name);
  smtp_log_end(s, "closed by QUIT");
}

/* Address text of VRFY: with or without angle brackets; an unqualified one only where recipients may be. */
static const char *verify_operand(struct smtp_session *s, struct str arg) {
  struct addr_opts o = {.allow_domain_literal = s->opt->allow_domain_literals};
  size_t domain = 0;
  const char *error, *a = arg.n ? rfc5322_extract_address(s->tmp, arg, o, &domain, &error) : NULL;
  if (arg.n == 0) error = "empty address";
  if (!a) {
    smtp_replyf(s, "501 %s", error);
    return NULL;
  }
  if (domain) return a;
  if (s->unqualified_recipient_ok) return arena_printf(s->tmp, "%s@%s", a, s->c->cfg->qualify_recipient);
  log_write(LS_SMTP_SYNTAX_ERROR, LOG_MAIN | LOG_REJECT, "unqualified verify rejected: <%s> %s", a, smtp_ident(s));
  smtp_replyf(s, "501 %s: recipient address must contain a domain", a);
  return NULL;
}

void smtp_do_vrfy(struct smtp_session *s, struct str arg) {
  const char *address = verify_operand(s, arg), *user = NULL, *log = NULL;
  if (!address) return;
  struct acl_result r = smtp_run_acl(s, ACL_WHERE_VRFY, address, s->opt->acl_smtp_vrfy, OUTCOME_FAIL);
  if (r.outcome != OUTCOME_OK) {
    smtp_acl_failed(s, ACL_WHERE_VRFY, &r, arena_printf(s->tmp, "VRFY %s", arg.p));
    return;
  }
  s->env.flush(&s->env);
  switch (verify_address(&s->x, address, VOPT_IS_RECIPIENT, &user, &log)) {
  case OUTCOME_OK:
    smtp_replyf(s, "250 <%s> is deliverable", address);
    break;
  case OUTCOME_DEFER:
  case OUTCOME_ERROR:
    if (user) smtp_replyf(s, "451 <%s> %s", address, user);
    else smtp_replyf(s, "451 Cannot resolve <%s> at this time", address);
    break;
  case OUTCOME_FAIL:
  case OUTCOME_FAIL_DROP:
  case OUTCOME_DISCARD:
    smtp_replyf(s, "550 <%s> %s", address, user ? user : "is not deliverable");
    log_write(LS_ALWAYS, LOG_MAIN, "VRFY failed for %s %s", arg.p, smtp_ident(s));
    break;
  }
}

void smtp_do_expn(struct smtp_session *s, struct str arg) {
  const char *user = NULL, *log = NULL;
  struct acl_result r = smtp_run_acl(s, ACL_WHERE_EXPN, arg.p, s->opt->acl_smtp_expn, OUTCOME_FAIL);
  if (r.outcome != OUTCOME_OK) {
    smtp_acl_failed(s, ACL_WHERE_EXPN, &r, arena_printf(s->tmp, "EXPN %s", arg.p));
    return;
  }
  s->env.flush(&s->env);
  const char *address = strchr(arg.p, '@') ? arg.p : arena_printf(s->tmp, "%s@%s", arg.p, s->c->cfg->qualify_recipient);
  bool was_testing = log_set_testing(!s->c->host_checking); /* a question about an address, as with -bt: what it says is for the terminal */
  if (s->c->cfg->rewrite_rules) address = rewrite_address(&s->x, address, REWRITE_ENVTO, s->c->cfg->rewrite_rules);
  enum outcome o = verify_address(&s->x, address, VOPT_IS_RECIPIENT | VOPT_EXPN | VOPT_QUALIFY, &user, &log);
  (void)log_set_testing(was_testing);
  if (o == OUTCOME_OK) smtp_reply_text(s, 250, user ? user : address);
  else smtp_replyf(s, "553 %s %s", address, o == OUTCOME_FAIL ? "is undeliverable" : "cannot be resolved at this time");
}
