/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TLS of the SMTP server: STARTTLS, TLS on connect, the main options that say how, and what is remembered of the session.
 *
 * Floor: flows.  RFC 3207, 8314; manual ch. 43 and 14 (tls_...).  The client's name for us (SNI) and everything of its certificate are
 * tainted; file names made of tainted text are refused.  Nothing said before the handshake counts after it, and nothing that came in clear
 * behind STARTTLS is ever acted on.  After a handshake that failed the client hears 554 to all it says, in clear, and that is all. */
#include "smtp_in_tls.h"

#include <errno.h>
#include <stdlib.h>

#include "os/debug.h"
#include "os/signals.h"
#include "policy/event.h"
#include "policy/match.h"
#include "smtp_in_priv.h"

enum { HARNESS_TICKET_SEC = 6, AFTER_ALERT_MS = 300 };
static const char changed_files[] = "TLS: changed files cannot be used, the old ones stay in use: ";

/* ---- options to parameters ---------------------------------------------------------------------------------- */

struct expansion {
  struct expand_ctx *x;
  const char *error; /* "(expansion of tls_...): ..." */
};

/* An option's value; unset, forced to fail and empty are all NULL. */
static const char *option_value(struct expansion *e, const char *name, const char *text) {
  if (!text || e->error) return NULL;
  const char *value = expand_option(e->x, name, text);
  if (!value && !e->x->forced_fail)
    e->error = arena_printf(e->x->a, "(expansion of %s): %s", name, e->x->error ? e->x->error : "failed");
  return value && *value ? value : NULL;
}

/* The same for names of files: a client does not choose what we read. */
static const char *file_option(struct expansion *e, const char *name, const char *text) {
  const char *value = option_value(e, name, text);
  if (!value || !is_tainted(value)) return value;
  e->error = arena_printf(e->x->a, "(%s): tainted filename '%s'", name, value);
  return NULL;
}

/* tls_dhparam that is no file: "none" leaves these key exchanges out; a name is checked.  The groups of RFC 7919 are negotiated by the
 * library whatever is named, the older primes of IKE are not brought along. */
static const char *use_dh_option(struct expand_ctx *x, struct tls_params *p) {
  static const char *const names[] = {
    "default", "ffdhe2048", "ffdhe3072", "ffdhe4096", "ffdhe6144", "ffdhe8192", "ike1", "ike2", "ike5", "ike14", "ike15", "ike16", "ike17",
    "ike18", "ike22", "ike23", "ike24", "exim.dev.20160529.1", "exim.dev.20160529.2", "exim.dev.20160529.3"};
  if (!p->dhparam || *p->dhparam == '/') return NULL;
  if (strcmp(p->dhparam, "none") == 0) {
    p->ciphers = arena_printf(x->a, "%s:-DHE-RSA:-DHE-DSS", p->ciphers ? p->ciphers : "NORMAL");
    return NULL;
  }
  if (strcmp(p->dhparam, "historic") == 0) {
    p->dhparam = arena_printf(x->a, "%s/gnutls-params-%d", x->cfg->spool_directory, p->dh_max_bits);
    return NULL;
  }
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    if (strcmpic(p->dhparam, names[i]) == 0) return NULL;
  return arena_printf(x->a, "(No standard prime named): %s", p->dhparam);
}

/* Primes that RFC 8247 warns of: the first two are for the panic log. */
static void warn_of_dh(const char *name) {
  static const char *const weak[] = {"ike1", "ike22", "ike23", "ike24"};
  for (size_t i = 0; name && i < ARRAY_SIZE(weak); i++)
    if (strcmpic(name, weak[i]) == 0)
      log_write(LS_ALWAYS, LOG_MAIN | (i < 2 ? LOG_PANIC : 0), "WARNING: deprecated Diffie-Hellman parameter '%s' used", weak[i]);
}

/* The main options of TLS, expanded in x, as parameters of the library (strings in x->a).  NULL or a text for the log. */
static const char *smtp_tls_params(struct expand_ctx *x, enum tls_verify verify, struct tls_params *ret) {
  const struct main_options *o = &x->cfg->o;
  struct expansion e = {.x = x};
  *ret = (struct tls_params){
    .is_server = true,
    .certificate = file_option(&e, "tls_certificate", o->tls_certificate),
    .privatekey = file_option(&e, "tls_privatekey", o->tls_privatekey),
    .ocsp_file = file_option(&e, "tls_ocsp_file", o->tls_ocsp_file),
    .crl = file_option(&e, "tls_crl", o->tls_crl),
    .verify_certificates = file_option(&e, "tls_verify_certificates", o->tls_verify_certificates),
    .dhparam = file_option(&e, "tls_dhparam", o->tls_dhparam),
    .ciphers = option_value(&e, "tls_require_ciphers", o->tls_require_ciphers),
    .alpn = option_value(&e, "tls_alpn", o->tls_alpn),
    .own_name = x->cfg->primary_hostname,
    .dh_max_bits = (int)o->tls_dh_max_bits,
    .compat = o->gnutls_compat_mode,
    .no_channel_binding = !x->cfg->auths,
    .allow_pkcs11 = o->gnutls_allow_auto_pkcs11,
    .verify = verify,
    .signer = x->conn ? x->conn->tls_signer : NULL,
    .skip_ocsp_check = x->cfg->harness_mode && getenv("EXIM_TESTHARNESS_DISABLE_OCSPVALIDITYCHECK"),
  };
  if (!e.error) e.error = use_dh_option(x, ret);
  return e.error;
}

/* A list that asks for protection: one that cannot be looked up is no permission to do without. */
static bool is_demanded(struct smtp_session *s, const char *name, const char *list, const char **error) {
  enum outcome o = match_sender_host(&s->x, name, list);
  if (o != OUTCOME_OK && o != OUTCOME_FAIL && !*error)
    *error = arena_printf(s->x.a, "(%s): %s", name, s->x.error && *s->x.error ? s->x.error : "host list lookup deferred");
  return o != OUTCOME_FAIL;
}

/* Which client certificate is wanted of this host. */
static enum tls_verify wanted_certificate(struct smtp_session *s, const char **error) {
  if (is_demanded(s, "tls_verify_hosts", s->opt->tls_verify_hosts, error)) return TLS_VERIFY_REQUIRE;
  return smtp_host_in(s, "tls_try_verify_hosts", s->opt->tls_try_verify_hosts) ? TLS_VERIFY_TRY : TLS_VERIFY_NONE;
}

static const char *session_params(struct smtp_session *s, struct tls_params *ret) {
  const char *error = NULL;
  enum tls_verify verify = wanted_certificate(s, &error);
  bool alpn_required = is_demanded(s, "hosts_require_alpn", s->opt->hosts_require_alpn, &error);
  if (!error) error = smtp_tls_params(&s->x, verify, ret);
  if (error) return error;
  ret->resumption = smtp_host_in(s, "tls_resumption_hosts", s->opt->tls_resumption_hosts);
  if (s->c->cfg->harness_mode) ret->ticket_life_sec = HARNESS_TICKET_SEC;
  ret->alpn_required = alpn_required;
  return NULL;
}

/* ---- SNI ------------------------------------------------------------------------------------------------------ */

struct sni_state {
  struct smtp_session *s;
  struct tls_params params;
};

static bool depends_on_sni(const struct main_options *o) {
  const char *const texts[] = {o->tls_certificate, o->tls_privatekey, o->tls_ocsp_file, o->tls_crl, o->tls_verify_certificates};
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
    if (texts[i] && (strstr(texts[i], "tls_in_sni") || strstr(texts[i], "tls_sni"))) return true;
  return false;
}

static const struct tls_params *use_sni(void *ctx, const char *sni, const char **ret_error) {
  struct sni_state *state = ctx;
  struct smtp_session *s = state->s;
  s->c->from.tls.sni = sni;
  if (!depends_on_sni(s->opt)) return NULL;
  const char *error = session_params(s, &state->params);
  if (!error) return &state->params;
  *ret_error = error;
  return NULL;
}

/* ---- events ---------------------------------------------------------------------------------------------------- */

static const char *raise_event(struct smtp_session *s, const char *name, const char *data) {
  return event_raise(&s->x, s->opt->event_action, "main", name, data, 0);
}

/* tls:cert may refuse a client, with any text. */
static bool see_certificate(void *ctx, unsigned depth, const char *pem) {
  struct smtp_session *s = ctx;
  s->c->from.tls.peer_cert = pem;
  const char *why = raise_event(s, "tls:cert", arena_printf(s->tmp, "%u", depth));
  if (why) log_write(LS_ALWAYS, LOG_MAIN, "SSL verify denied by event-action: depth=%u: %s", depth, why);
  return !why;
}

/* ---- the handshake ------------------------------------------------------------------------------------------- */

static void log_tls_error(const struct smtp_session *s, const char *error) {
  log_write(LS_ALWAYS, LOG_MAIN, "TLS error on connection from %s %s", smtp_host_text(s), error);
}

void smtp_log_tls_loss(struct smtp_session *s) {
  const char *error = s->c->from.tls.active ? tls_error(s->c->io) : NULL;
  if (!error || s->tls_loss_is_logged) return;
  s->tls_loss_is_logged = true;
  log_tls_error(s, error);
}

static void keep_result(struct conn *c, const struct tls_result *r) {
  c->from.tls = (struct tls_info){
    .active = true,
    .on_connect = c->from.tls.on_connect,
    .cipher = r->cipher,
    .cipher_std = r->cipher_std,
    .ver = r->ver,
    .peerdn = r->peer_dn,
    .sni = r->sni,
    .bits = r->bits,
    .certificate_verified = r->certificate_verified,
    .peer_cert = r->peer_cert_pem,
    .our_cert = r->our_cert_pem,
    .ocsp = (int)r->ocsp,
    .resumption = (int)r->resumption,
    .channel_binding = r->channel_binding,
  };
}

/* RFC 3207 4.2: what the client said in clear is forgotten. */
static void forget_clear_text(struct smtp_session *s) {
  struct conn *c = s->c;
  bool keep_state = s->opt->tls_remember_esmtp && c->esmtp;
  c->from.helo_name = NULL;
  smtp_auth_forget(s, keep_state);
  c->from.helo_verified = c->from.helo_verify_failed = false;
  c->tls_advertised = c->tlsflight_advertised = c->pipe_connect_advertised = false;
  if (!keep_state) {
    c->helo_seen = c->esmtp = false;
    smtp_forget_advertised(s);
  }
  s->helo_is_free = s->auth_is_free = s->rset_is_free = true;
  s->early_group = s->mail_was_refused = false;
  c->from.protocol = arena_printf(c->arena, "%s%s", c->from.host_address ? "" : "local-", keep_state ? "esmtps" : "smtps");
  origin_set_fullhost(c->arena, &c->from, log_selects(LS_INCOMING_PORT));
  smtp_reset(s);
}

/* The beginning of a TLS handshake record, where one may stand. */
static bool is_hello_behind(const struct smtp_session *s) {
  struct str b = stream_buffered(s->c->io);
  return s->c->tlsflight_advertised && b.n > 0 && b.p[0] == 0x16 && (b.n == 1 || b.p[1] == 0x03);
}

/* What the credentials are made of was looked at by session_params().  *ret_error: the handshake failed. */
static int run_handshake(struct smtp_session *s, const struct tls_params *p, bool early_banner, const char **ret_error) {
  struct conn *c = s->c;
  struct tls_result r;
  struct sni_state sni = {.s = s};
  struct tls_server_opts o = {
    .params = *p, .on_sni = use_sni, .ctx = &sni, .early_start = early_banner && p->verify == TLS_VERIFY_NONE};
  if (s->opt->event_action) {
    o.params.on_cert = see_certificate;
    o.params.on_cert_ctx = s;
  }
  if (is_hello_behind(s)) {
    struct str behind = stream_buffered(c->io);
    o.early = str_n(arena_strndup_t(c->arena, behind.p, behind.n, TAINTED), behind.n);
    (void)stream_discard_buffered(c->io);
  }
  int rc = tls_start_server(c->io, c->arena, &o, smtp_deadline(s), &r, ret_error);
  if (r.warning) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s%s", changed_files, r.warning);
  if (rc < 0) {
    if (r.failure) (void)raise_event(s, "tls:fail:connect", r.failure);
    /* As Exim: the client may read the alert, or have gone, and begin anew in clear, before the line in the log and all else. */
    if (r.failure && rc != -ETIMEDOUT) pause_ms(AFTER_ALERT_MS);
    c->from.tls.sni = c->from.tls.peer_cert = NULL;
    return rc;
  }
  keep_result(c, &r);
  s->early_banner_sent = o.early_start && r.is_early;
  DEBUG(D_TLS) debug_printf("TLS started: %s\n", r.cipher);
  return 0;
}

/* Options and files are good: the parameters; else they are complained about in the log. */
static bool prepare(struct smtp_session *s, struct tls_params *ret) {
  const char *error = session_params(s, ret);
  if (!error) error = tls_preload(s->tmp, ret);
  ret->is_preloaded = true;
  if (!error) warn_of_dh(ret->dhparam);
  if (!error) return true;
  log_tls_error(s, error);
  return false;
}

/* ---- STARTTLS -------------------------------------------------------------------------------------------------- */

bool smtp_advertise_tls(struct smtp_session *s) {
  struct conn *c = s->c;
  c->tls_advertised = !c->from.tls.active && !c->is_batched && smtp_host_in(s, "tls_advertise_hosts", s->opt->tls_advertise_hosts);
  return c->tls_advertised;
}

/* STARTTLS is refused: a ClientHello behind it is nothing that could be answered. */
static void end_for_hello(struct smtp_session *s) {
  if (!is_hello_behind(s)) return;
  (void)stream_discard_buffered(s->c->io);
  s->done = s->drop = true;
}

/* The client has sent commands behind STARTTLS without waiting: whoever did that, it was not said in TLS (S9). */
static bool has_clear_text_behind(struct smtp_session *s) {
  struct str behind = stream_buffered(s->c->io);
  if (behind.n == 0 || is_hello_behind(s)) return false;
  if (!s->is_socket) { /* a script on standard input (-bh, -bs): it does not wait for anything, and what follows is dropped */
    (void)stream_discard_buffered(s->c->io);
    return false;
  }
  log_write(LS_ALWAYS, LOG_MAIN | LOG_REJECT, "SMTP protocol synchronization error (input sent in clear text behind STARTTLS): rejected "
            "connection from %s input=\"%s\"", smtp_ident(s), log_escape(s->tmp, str_n(behind.p, MIN(behind.n, (size_t)128))));
  (void)stream_discard_buffered(s->c->io);
  smtp_replyf(s, "554 SMTP synchronization error");
  s->done = s->drop = true;
  s->exit_status = 1;
  return true;
}

static void end_failed_handshake(struct smtp_session *s, int rc) {
  struct conn *c = s->c;
  s->done = true;
  s->exit_status = 1;
  if (rc == -ETIMEDOUT) {
    log_write(LS_LOST_INCOMING_CONNECTION, LOG_MAIN, "SMTP command timeout on connection from %s D=%s", smtp_host_text(s),
              smtp_duration(s, c->started));
    tls_say_in_clear(c->io, arena_printf(s->tmp, "421 %s: SMTP command timeout - closing connection\r\n", s->own_name));
    return;
  }
  enum stream_status st = STREAM_EOF;
  if (rc != -ECONNRESET)
    st = tls_refuse_in_clear(c->io, "554 Security failure\r\n", arena_printf(s->tmp, "221 %s closing connection\r\n", s->own_name),
                             smtp_deadline(s));
  smtp_log_end(s, st == STREAM_OK ? "closed by QUIT" : st == STREAM_EOF ? "closed by EOF" : "closed after TLS failure");
  stream_linger_close(c->io, SMTP_LINGER_BYTES, SMTP_LINGER_MS);
}

static bool starttls_is_allowed(struct smtp_session *s, struct str arg) {
  if (!s->c->tls_advertised) {
    if (s->c->from.tls.active && !s->c->helo_seen) {
      log_write(LS_ALWAYS, LOG_MAIN, "TLS error on connection from %s (STARTTLS received after TLS started): ", smtp_host_text(s));
      smtp_replyf(s, "554 Already in TLS");
      s->shut_reply = "554 Security failure";
    } else {
      smtp_synprot_error(s, false, 503, "STARTTLS command used when not advertised");
    }
    return false;
  }
  if (arg.n > 0) {
    smtp_synprot_error(s, true, 501, "unexpected argument data");
    return false;
  }
  struct acl_result r = smtp_run_acl(s, ACL_WHERE_STARTTLS, NULL, s->opt->acl_smtp_starttls, OUTCOME_OK);
  if (r.outcome == OUTCOME_OK) return true;
  smtp_acl_failed(s, ACL_WHERE_STARTTLS, &r, "STARTTLS "); /* the command and its argument, which is empty */
  return false;
}

void smtp_do_starttls(struct smtp_session *s, struct str arg) {
  struct conn *c = s->c;
  struct tls_params p;
  const char *error;
  if (!starttls_is_allowed(s, arg)) {
    end_for_hello(s);
    return;
  }
  if (has_clear_text_behind(s)) return;
  smtp_log_incomplete(s, "STARTTLS");
  smtp_reset(s);
  if (!prepare(s, &p)) {
    smtp_replyf(s, "454 TLS currently unavailable");
    end_for_hello(s);
    return;
  }
  smtp_replyf(s, "220 TLS go ahead");
  if (stream_flush(c->io, smtp_deadline(s)) != STREAM_OK) {
    smtp_log_lost(s, STREAM_ERROR);
    return;
  }
  if (has_clear_text_behind(s)) return; /* it came while the reply was written */
  int rc = run_handshake(s, &p, false, &error);
  if (rc == 0) {
    forget_clear_text(s);
    smtp_auth_implicit(s);
    return;
  }
  if (rc == -ECONNRESET && !s->is_socket) error = "(gnutls_handshake): Error in the pull function."; /* as Exim has it of a script that ends */
  log_tls_error(s, error);
  end_failed_handshake(s, rc);
}

/* ---- TLS on connect ---------------------------------------------------------------------------------------------- */

bool smtp_start_tls_on_connect(struct smtp_session *s) {
  struct tls_params p;
  const char *error;
  if (!s->c->from.tls.on_connect) return true;
  bool early_banner = smtp_host_in(s, "tls_early_banner_hosts", s->opt->tls_early_banner_hosts);
  if (!prepare(s, &p)) {
    s->done = true;
    return false;
  }
  int rc = run_handshake(s, &p, early_banner, &error);
  if (rc == 0) {
    s->c->from.protocol = s->c->from.host_address ? "smtps" : "local-smtps";
    smtp_auth_implicit(s);
    return true;
  }
  log_tls_error(s, error);
  smtp_log_end(s, rc == -ECONNRESET ? "closed by EOF" : "closed after TLS failure");
  s->done = true;
  return false;
}

/* ---- in the daemon ----------------------------------------------------------------------------------------------- */

bool smtp_tls_is_selfsigned(const struct config *cfg) {
  const struct main_options *o = &cfg->o;
  return !o->tls_certificate && o->tls_advertise_hosts && *o->tls_advertise_hosts;
}

static bool is_same_for_all(const struct main_options *o) {
  const char *const texts[] = {o->tls_certificate, o->tls_privatekey, o->tls_ocsp_file,          o->tls_crl,
                               o->tls_verify_certificates, o->tls_dhparam, o->tls_require_ciphers};
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
    if (texts[i] && strchr(texts[i], '$')) return false;
  return true;
}

static void preload_one(struct expand_ctx *x, enum tls_verify verify, const struct tls_signer *signer) {
  struct tls_params p;
  if (smtp_tls_params(x, verify, &p)) return; /* a session will say so */
  p.signer = signer;
  if (tls_preload(x->a, &p)) return;
  const char *warning = tls_preload_warning(x->a, &p);
  if (warning) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s%s", changed_files, warning);
}

static bool is_wanted(const struct main_options *o) { return (o->tls_advertise_hosts && *o->tls_advertise_hosts) || o->tls_on_connect_ports; }

bool smtp_tls_ciphers_vary(const struct config *cfg) {
  return is_wanted(&cfg->o) && cfg->o.tls_require_ciphers && strchr(cfg->o.tls_require_ciphers, '$');
}

const char *smtp_tls_ciphers_error(struct arena *a, const struct config *cfg) {
  struct expand_ctx x = expand_ctx_new(a, cfg);
  struct expansion e = {.x = &x};
  const char *ciphers = option_value(&e, "tls_require_ciphers", cfg->o.tls_require_ciphers);
  return e.error ? e.error : tls_check_ciphers(a, ciphers);
}

bool smtp_tls_signer_plan(struct arena *a, const struct config *cfg, struct tls_signer_plan *ret) {
  if (!is_wanted(&cfg->o) || !is_same_for_all(&cfg->o)) return false;
  struct expand_ctx x = expand_ctx_new(a, cfg);
  struct tls_params p;
  return !smtp_tls_params(&x, TLS_VERIFY_NONE, &p) && tls_signer_plan(a, &p, ret);
}

void smtp_tls_preload(const struct config *cfg, const struct tls_signer *signer) {
  const struct main_options *o = &cfg->o;
  if (!is_wanted(o)) return;
  tls_prepare_tickets();
  if (!is_same_for_all(o)) return;
  struct arena *a = arena_new("tls preload");
  struct expand_ctx x = expand_ctx_new(a, cfg);
  preload_one(&x, TLS_VERIFY_NONE, signer);
  if (o->tls_verify_hosts || o->tls_try_verify_hosts) preload_one(&x, TLS_VERIFY_REQUIRE, signer);
  arena_free(a);
}

bool smtp_tls_on_connect_port(const struct config *cfg, int port) {
  struct arena *a = arena_new("ports");
  const char *pos = cfg->o.tls_on_connect_ports, *item;
  bool found = false;
  for (int sep = 0, n; pos && !found && (item = list_next(a, &pos, &sep));) found = str_parse_int(str_c(item), &n) && n == port;
  arena_free(a);
  return found;
}

void smtp_note_early_banner(struct smtp_session *s) {
  if (!s->early_banner_sent) return;
  s->early_banner_sent = false;
  if (s->c->cfg->harness_mode)
    log_write(LS_ALWAYS, LOG_MAIN, "Ci=%s SMTP peer appears to have seen our banner", s->c->connection_id ? s->c->connection_id : "");
}
