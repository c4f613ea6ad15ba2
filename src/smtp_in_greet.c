/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The start of a session: limits of the connection, host checks, the connect ACL, the greeting.
 *
 * Floor: flows.  A refusal answers only the greeting and closes with a linger (S5, S6).  Manual ch. 14, 48. */
#include <stdio.h>
#include <stdlib.h>

#include "host.h"
#include "policy/match.h"
#include "smtp_in_priv.h"

/* False: no name to greet with, and nothing is said. */
static bool set_active_hostname(struct smtp_session *s) {
  struct conn *c = s->c;
  s->own_name = c->cfg->primary_hostname;
  if (!s->opt->smtp_active_hostname) return true;
  const char *e = expand_option(&s->x, "smtp_active_hostname", s->opt->smtp_active_hostname);
  if (e && *e) s->own_name = c->from.active_hostname = arena_strdup(c->arena, e);
  if (e || s->x.forced_fail) return true;
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s", s->x.error);
  s->exit_status = EXIT_FAILURE;
  return false;
}

/* Not now: whatever comes, QUIT alone is obeyed. */
static void stay_shut(struct smtp_session *s, const char *reply) {
  s->shut_reply = reply;
  smtp_replyf(s, "%s", reply);
}

static void refuse(struct smtp_session *s, const char *reply) {
  if (s->o->mode == SMTP_MODE_BATCH) smtp_batch_error(s, reply);
  else smtp_replyf(s, "%s", reply);
  s->done = s->drop = true;
}

/* Lists that are looked at once per connection. */
static bool check_host(struct smtp_session *s) {
  struct conn *c = s->c;
  const struct main_options *o = s->opt;
  if (!c->from.host_address) {
    s->unqualified_sender_ok = s->unqualified_recipient_ok = !s->c->no_qualify;
    return true;
  }
  if (smtp_host_in(s, "host_lookup", o->host_lookup)) (void)host_name_lookup(&s->x, NULL);
  origin_set_fullhost(c->arena, &c->from, log_selects(LS_INCOMING_PORT));
  enum outcome rejected = match_sender_host(&s->x, "host_reject_connection", o->host_reject_connection);
  if (rejected == OUTCOME_OK) {
    log_write(LS_CONNECTION_REJECT, LOG_MAIN | LOG_REJECT, "refused connection from %s (host_reject_connection)",
              smtp_host_text(s));
    refuse(s, "554 SMTP service not available");
    return false;
  }
  smtp_check_host_lists(s);
  return true;
}

void smtp_check_host_lists(struct smtp_session *s) {
  struct conn *c = s->c;
  const struct main_options *o = s->opt;
  s->unqualified_sender_ok = smtp_host_in(s, "sender_unqualified_hosts", o->sender_unqualified_hosts);
  s->unqualified_recipient_ok = smtp_host_in(s, "recipient_unqualified_hosts", o->recipient_unqualified_hosts);
  s->helo_verify_required = smtp_host_in(s, "helo_verify_hosts", o->helo_verify_hosts);
  bool try_verify = !s->helo_verify_required && smtp_host_in(s, "helo_try_verify_hosts", o->helo_try_verify_hosts);
  s->helo_verify = s->helo_verify_required || try_verify;
  s->helo_junk_ok = smtp_host_in(s, "helo_accept_junk_hosts", o->helo_accept_junk_hosts);
  c->early_acceptable = pipe_connect_host_acceptable(&s->x);
}

/* The lists were looked at for the proxy; what they grant is for the client.  (Not told again in a -bh session.) */
static bool check_proxied_host(struct smtp_session *s) {
  smtp_take_proxy_header(s);
  if (!s->c->proxy || !s->c->proxy->local_address || s->c->host_checking) return true;
  return check_host(s);
}

/* The client begins with a handshake: text means nothing to it yet. */
static bool awaits_tls(const struct smtp_session *s) { return s->c->from.tls.on_connect && !s->c->from.tls.active; }

static bool connect_acl(struct smtp_session *s, const char **ret_banner, int *ret_code) {
  if (!s->opt->acl_smtp_connect) return true;
  struct acl_result r = smtp_run_acl(s, ACL_WHERE_CONNECT, NULL, s->opt->acl_smtp_connect, OUTCOME_OK);
  bool is_refused = r.outcome == OUTCOME_FAIL || r.outcome == OUTCOME_FAIL_DROP;
  if (is_refused && awaits_tls(s)) { /* there is nobody to be told */
    unsigned dest = smtp_reject_target(s);
    if (dest) log_write(LS_ALWAYS, dest, "%s dropped by 'connect' ACL%s%s", smtp_ident(s), r.log_message ? ": " : "",
                        r.log_message ? r.log_message : "");
    s->done = s->drop = true;
    return false;
  }
  if (r.outcome != OUTCOME_OK) {
    smtp_acl_failed(s, ACL_WHERE_CONNECT, &r, "connection in \"connect\" ACL");
    return false;
  }
  if (r.user_message) *ret_banner = smtp_message_code(r.user_message, ret_code, true);
  return true;
}

static void check_narration_head(const struct conn *c) {
  printf("\n**** SMTP testing session as if from host %s\n**** but without any ident (RFC 1413) callback.\n"
         "**** This is not for real!\n\n", c->from.host_address);
  (void)fflush(stdout);
}

enum { HARNESS_WAIT_MS = 40 }; /* client and server of the suite share a machine: what is early there must not be left to chance */

/* The client talks early, as it was told that it may.  S1 holds where synchronisation is enforced. */
static void note_early(struct smtp_session *s) {
  s->c->early_used = true;
  s->early_pending = smtp_enforces_sync(s);
}

/* Input before the greeting: a promise kept (S1) or, in clear, an error (S3). */
static bool check_early_input(struct smtp_session *s) {
  struct conn *c = s->c;
  if (!s->is_socket || !c->enforce_sync || !c->from.host_address) return true;
  int wait_ms = c->cfg->harness_mode ? HARNESS_WAIT_MS : 0; /* nobody else waits for what may come */
  if (!c->early_acceptable && !smtp_enforces_sync(s)) return true;
  if (stream_input_ready(c->io, wait_ms) != STREAM_DATA) return true;
  if (!c->early_acceptable) {
    smtp_log_sync_error(s, true);
    return false;
  }
  note_early(s);
  return true;
}

static bool find_size_limit(struct smtp_session *s) {
  const char *what;
  if (receive_size_limit(&s->x, &s->size_limit, &what)) return true;
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s message_size_limit: %s", what, s->x.error);
  stay_shut(s, "421 Temporary local problem - please try later");
  return false;
}

/* False: there is none, and who can be told was. */
static bool find_banner(struct smtp_session *s, const char **banner) {
  if (*banner) return true;
  *banner = expand_string(&s->x, s->opt->smtp_banner);
  if (*banner) return true;
  unsigned dest = awaits_tls(s) ? LOG_MAIN : LOG_MAIN | LOG_PANIC;
  log_write(LS_ALWAYS, dest, "Expansion of \"%s\" (smtp_banner) failed: %s", s->opt->smtp_banner, s->x.error);
  if (!awaits_tls(s)) stay_shut(s, "421 Unexpected failure, please try later");
  return false;
}

bool smtp_in_greet(struct smtp_session *s) {
  struct conn *c = s->c;
  const char *banner = NULL;
  int code = 220;
  if (!set_active_hostname(s)) return false;
  c->enforce_sync = s->opt->smtp_enforce_sync;
  c->pipelining_enabled = true;
  s->recipients_max = (int)smtp_int_option(s, "recipients_max", s->opt->recipients_max, 50000);
  s->max_per_connection = smtp_int_option(s, "smtp_accept_max_per_connection", s->opt->smtp_accept_max_per_connection, 1000);
  if (c->host_checking) check_narration_head(c);
  smtp_ask_ident(s);
  if (c->from.host_address && (!c->from.fullhost || c->from.ident)) origin_set_fullhost(c->arena, &c->from, log_selects(LS_INCOMING_PORT));
  s->is_unlogged = c->from.host_address && smtp_host_in(s, "hosts_connection_nolog", s->opt->hosts_connection_nolog);
  if (!find_size_limit(s)) return !awaits_tls(s);
  if (!s->is_unlogged && (s->via_inetd || !s->is_socket)) /* the daemon has logged its connections already */
    log_write(LS_SMTP_CONNECTION, LOG_MAIN, "SMTP connection from %s", smtp_connection_text(s));
  if (c->is_batched) {
    s->unqualified_sender_ok = s->unqualified_recipient_ok = !s->c->no_qualify && !c->from.host_address;
    s->helo_required = false;
    smtp_reset(s);
    return true;
  }
  if (!check_host(s) || !check_proxied_host(s)) return false;
  s->m->allow_unqualified_sender = s->unqualified_sender_ok;
  s->m->allow_unqualified_recipient = s->unqualified_recipient_ok;
  if (!connect_acl(s, &banner, &code)) return false;
  c->from.auth_sender = NULL; /* from here on it is what MAIL says */
  if (awaits_tls(s) && !find_banner(s, &banner)) return false;
  if (!smtp_start_tls_on_connect(s)) return false;
  if (!check_early_input(s)) return false; /* inside TLS when that was there from the start */
  if (!find_banner(s, &banner)) return true;
  smtp_reply_text(s, code, banner); /* an empty one still gives a well-formed line */
  if (s->is_socket && c->early_acceptable && stream_input_ready(c->io, 0) == STREAM_DATA) note_early(s);
  return true;
}
