/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TLS of the smtp transport: policy, STARTTLS, on connect, what is logged and shown.  Floor: drivers.
 * Manual ch. 30 (tls_*, hosts_*_tls), 43 "Configuring an Exim client to use TLS"; RFC 3207, 8314.
 *
 * All options are expanded before STARTTLS leaves, with $host and $host_address of the server; what cannot be expanded defers the message and never
 * falls back to clear text.  A reply to STARTTLS must be the last thing the server says in clear: bytes behind it are somebody's
 * injection and end the connection.  Whether a failed handshake may be followed by a connection in clear is decided here
 * (hosts_require_tls, tls_tempfail_tryclear, DANE) and carried out by the driver.
 * Names, certificates and alerts come from the peer and are tainted; os/tls owns the session, the strings are the delivery's. */
#include "transports/smtp_priv.h"

#include <errno.h>

#include "os/debug.h"
#include "os/log.h"
#include "os/net.h"
#include "os/tls.h"
#include "policy/match.h"

bool smtp_is_demanded(struct smtp_attempt *s, const char *name, const char *list) {
  struct expand_ctx *x = s->d->x;
  enum outcome o = match_this_host(x, name, list, s->host->name, s->host->address);
  if (o == OUTCOME_OK || o == OUTCOME_FAIL) return o == OUTCOME_OK;
  const char *why = arena_printf(s->a, "%s: %s", name, x->error && *x->error ? x->error : "host list lookup deferred");
  smtp_note_failure(s, (struct smtp_failure){.trouble = TROUBLE_LOCAL, .at = AT_STARTTLS, .err = ERRNO_EXPANDFAIL, .reply = why});
  return true;
}

bool smtp_tls_policy(struct smtp_attempt *s) {
  const struct smtp_opts *ob = s->ob;
  s->is_smtps = smtp_srv_is_smtps(s);
  if (!s->is_smtps && !s->avoid_tls)
    s->avoid_tls = smtp_host_listed(s, "hosts_avoid_tls", ob->hosts_avoid_tls) ||
                   (s->probe && smtp_host_listed(s, "hosts_verify_avoid_tls", ob->hosts_verify_avoid_tls));
  if (!s->avoid_tls && (smtp_dane_check(s), s->fail.trouble != TROUBLE_NONE)) return false;
  s->tls_required = s->is_smtps || s->host->tls || s->dane || s->dane_unusable || smtp_is_demanded(s, "hosts_require_tls", ob->hosts_require_tls);
  return s->fail.trouble == TROUBLE_NONE;
}

/* ---- options ---------------------------------------------------------------------------------------------- */

/* One text option: NULL when unset, empty or forced to fail.  False: s->fail. */
static bool text_option(struct smtp_attempt *s, const char *name, const char *value, bool is_file, const char **ret) {
  struct expand_ctx *x = s->d->x;
  *ret = NULL;
  if (!value) return true;
  const char *text = expand_option(x, name, value);
  if (!text && x->forced_fail) return true;
  const char *why = text ? NULL : x->error ? x->error : "expansion failed";
  if (text && is_file && *text && expand_taint_refused(x, text, name)) why = x->error;
  if (why) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s transport: %s", s->d->transport->name, why);
    smtp_note_failure(s, (struct smtp_failure){.trouble = TROUBLE_LOCAL, .at = AT_STARTTLS, .err = ERRNO_EXPANDFAIL, .reply = why});
    return false;
  }
  if (*text) *ret = text;
  return true;
}

static bool is_set(const char *list) { return list && *list; }

/* Verification is a demand when one list says so, or when both are unset (the default of tls_try_verify_hosts makes it a wish); an empty
 * tls_verify_hosts is one that was set, as in Exim. */
static enum tls_verify verify_mode(struct smtp_attempt *s, bool have_certificates) {
  const struct smtp_opts *ob = s->ob;
  if (!ob->tls_verify_hosts && !is_set(ob->tls_try_verify_hosts)) return have_certificates ? TLS_VERIFY_REQUIRE : TLS_VERIFY_NONE;
  if (smtp_is_demanded(s, "tls_verify_hosts", ob->tls_verify_hosts)) return TLS_VERIFY_REQUIRE;
  if (have_certificates && smtp_host_listed(s, "tls_try_verify_hosts", ob->tls_try_verify_hosts)) return TLS_VERIFY_TRY;
  return TLS_VERIFY_NONE;
}

/* The default "*" of hosts_request_ocsp: with DANE only when all usable records are trust anchors. */
static enum tls_ocsp ocsp_mode(struct smtp_attempt *s) {
  const struct smtp_opts *ob = s->ob;
  if (smtp_is_demanded(s, "hosts_require_ocsp", ob->hosts_require_ocsp)) return TLS_OCSP_REQUIRE;
  bool is_default = ob->hosts_request_ocsp && strcmp(ob->hosts_request_ocsp, "*") == 0;
  if (is_default) return s->tls.tlsa_usage == 0 || s->tls.tlsa_usage == 4 ? TLS_OCSP_REQUEST : TLS_OCSP_NONE;
  return smtp_host_listed(s, "hosts_request_ocsp", ob->hosts_request_ocsp) ? TLS_OCSP_REQUEST : TLS_OCSP_NONE;
}

static bool file_options(struct smtp_attempt *s, struct tls_params *p) {
  const struct smtp_opts *ob = s->ob;
  return text_option(s, "tls_certificate", ob->tls_certificate, true, &p->certificate) &&
         text_option(s, "tls_privatekey", ob->tls_privatekey, true, &p->privatekey) &&
         text_option(s, "tls_crl", ob->tls_crl, true, &p->crl) &&
         text_option(s, "tls_verify_certificates", ob->tls_verify_certificates, true, &p->verify_certificates);
}

static bool cipher_option(struct smtp_attempt *s, const char **ret) {
  const struct smtp_opts *ob = s->ob;
  if (s->dane && !text_option(s, "dane_require_tls_ciphers", ob->dane_require_tls_ciphers, false, ret)) return false;
  return *ret || text_option(s, "tls_require_ciphers", ob->tls_require_ciphers, false, ret);
}

/* The name must be the one before any CNAME; a TLSA trust anchor goes with the name the records were found under. */
static const char *const *names_of(struct smtp_attempt *s) {
  const char **names = ARENA_NEW_N(s->a, const char *, 3);
  size_t n = 0;
  if (s->host->cert_name) names[n++] = s->host->cert_name;
  if (s->dane || !s->host->cert_name) names[n++] = s->host->name;
  return names;
}

/* tls:cert may refuse a server, with any text. */
static bool see_certificate(void *ctx, unsigned depth, const char *pem) {
  struct smtp_attempt *s = ctx;
  s->tls.peer_cert = pem;
  if (!smtp_event(s, NULL, "tls:cert", arena_printf(s->a, "%u", depth), 0)) return true;
  log_write(LS_ALWAYS, LOG_MAIN, "[%s] SSL verify denied by event-action: depth=%u", s->host->address, depth);
  return false;
}

/* Everything the handshake needs.  False: s->fail. */
static bool gather(struct smtp_attempt *s, struct tls_client_opts *o) {
  const struct smtp_opts *ob = s->ob;
  struct tls_params *p = &o->params;
  if (!file_options(s, p) || !cipher_option(s, &p->ciphers) || !text_option(s, "tls_alpn", ob->tls_alpn, false, &p->alpn)) return false;
  if (s->dane)
    o->sni = s->host->name;
  else if (!text_option(s, "tls_sni", ob->tls_sni, false, &o->sni))
    return false;
  p->alpn_required = smtp_is_demanded(s, "hosts_require_alpn", ob->hosts_require_alpn);
  p->own_name = s->d->cfg->primary_hostname;
  p->dh_min_bits = (int)ob->tls_dh_min_bits;
  p->compat = ob->gnutls_compat_mode;
  p->verify = s->dane ? TLS_VERIFY_REQUIRE : verify_mode(s, p->verify_certificates != NULL);
  if (s->dane) p->verify_certificates = NULL;
  if (s->dane || (p->verify != TLS_VERIFY_NONE && smtp_is_demanded(s, "tls_verify_cert_hostnames", ob->tls_verify_cert_hostnames)))
    o->verify_names = names_of(s);
  o->ocsp = ocsp_mode(s);
  if (s->fail.trouble != TROUBLE_NONE) return false; /* a list that could not be looked up */
  if (s->dane) {
    o->tlsa = s->dane->records;
    o->tlsa_count = s->dane->count;
  }
  s->tls = (struct tls_info){.sni = o->sni, .dane = s->tls.dane, .tlsa_usage = s->tls.tlsa_usage, .ocsp = TLS_OCSP_NOT_REQUESTED};
  if (s->d->transport->o.event_action) {
    p->on_cert = see_certificate;
    p->on_cert_ctx = s;
  }
  smtp_tls_resume_find(s, o);
  return true;
}

/* Credentials that are the same for all hosts, made before deliveries are forked: reading the system's certificates costs more than a handshake. */
void smtp_tls_client_preload(const struct config *c, const struct transport *t) {
  const struct smtp_opts *ob = t->ob;
  const char *const texts[] = {ob->tls_certificate, ob->tls_privatekey, ob->tls_crl, ob->tls_verify_certificates, ob->tls_require_ciphers};
  const char *given[ARRAY_SIZE(texts)];
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
    if (texts[i] && strchr(texts[i], '$')) return;
    given[i] = is_set(texts[i]) ? texts[i] : NULL;
  }
  if (ob->hosts_avoid_tls && strcmp(ob->hosts_avoid_tls, "*") == 0) return;
  struct arena *a = arena_new("tls preload");
  struct tls_params p = {.certificate = given[0], .privatekey = given[1], .crl = given[2], .verify_certificates = given[3], .ciphers = given[4],
                         .own_name = c->primary_hostname, .verify = given[3] ? TLS_VERIFY_TRY : TLS_VERIFY_NONE};
  const char *error = tls_preload(a, &p); /* a delivery will say so, with the host it was for */
  DEBUG(D_TLS) if (error) debug_printf("%s transport: %s\n", t->name, error);
  arena_free(a);
}

/* ---- handshake -------------------------------------------------------------------------------------------- */

static bool tls_failed(struct smtp_attempt *s, const char *why) {
  s->dead = true;
  smtp_note_failure(s, (struct smtp_failure){.trouble = TROUBLE_TLS, .at = AT_STARTTLS, .err = ERRNO_TLSFAILURE, .reply = why});
  if (s->dane) {
    log_write(LS_ALWAYS, LOG_MAIN, "DANE attempt failed; TLS connection to %s [%s]: %s", s->host->name, s->host->address, why);
    (void)smtp_event(s, NULL, "dane:fail", "validation-failure", 0);
  }
  return false;
}

static void take_result(struct smtp_attempt *s, const struct tls_result *r) {
  s->tls = (struct tls_info){.active = true, .on_connect = s->is_smtps, .cipher = r->cipher, .cipher_std = r->cipher_std, .ver = r->ver,
                             .peerdn = r->peer_dn, .sni = s->tls.sni, .bits = r->bits, .peer_cert = r->peer_cert_pem,
                             .our_cert = r->our_cert_pem, .channel_binding = r->channel_binding, .ocsp = (int)r->ocsp, .resumption = (char)r->resumption,
                             .tlsa_usage = s->tls.tlsa_usage};
  s->tls.certificate_verified = r->certificate_verified || r->dane_verified;
  s->tls.dane = r->dane_verified;
  s->in_tls = true;
}

static bool handshake(struct smtp_attempt *s, struct tls_client_opts *o) {
  struct tls_result r = {0};
  const char *error = NULL;
  DEBUG(D_TLS) debug_printf("TLS handshake with %s [%s]\n", s->host->name, s->host->address);
  s->tls.ocsp = o->ocsp == TLS_OCSP_NONE ? TLS_OCSP_NOT_REQUESTED : TLS_OCSP_NO_RESPONSE; /* until there is one, for tls:cert */
  int e = tls_start_client(s->io, s->a, o, deadline_in_sec(s->ob->command_timeout), &r, &error);
  o->hello = NULL;
  s->tls.ocsp = (int)r.ocsp;
  s->tls.peer_cert = r.peer_cert_pem;
  if (r.warning) log_write(LS_ALWAYS, LOG_MAIN, "%s transport: %s", s->d->transport->name, r.warning);
  if (e < 0 && s->is_smtps && net_never_connected(stream_fd(s->io))) { /* Fast Open: it shows only now (rule T2) */
    s->dead = true;
    smtp_note_failure(s, (struct smtp_failure){.trouble = TROUBLE_CONNECT, .at = AT_GREETING, .err = e == -ETIMEDOUT ? ETIMEDOUT : ECONNREFUSED});
    return false;
  }
  if (e < 0) { /* of a session whose certificate was refused: for msg:host:defer */
    s->tls.cipher = r.cipher;
    s->tls.cipher_std = r.cipher_std;
    s->tls.ver = r.ver;
    s->tls.bits = r.bits;
    return tls_failed(s, error ? error : "(gnutls_handshake): failed");
  }
  take_result(s, &r);
  smtp_tls_resume_take(s, &r);
  s->d->x->tls_out = &s->tls;
  return true;
}

bool smtp_tls_prepare(struct smtp_attempt *s) {
  s->tls_opts = ARENA_NEW(s->a, struct tls_client_opts);
  return gather(s, s->tls_opts);
}

bool smtp_tls_on_connect(struct smtp_attempt *s) { return smtp_tls_prepare(s) && handshake(s, s->tls_opts); }

static enum smtp_tls_step required_but(struct smtp_attempt *s, const char *what) {
  smtp_note_failure(s, (struct smtp_failure){.trouble = TROUBLE_TLS_REQUIRED, .at = AT_STARTTLS, .err = ERRNO_TLSREQUIRED,
                                             .reply = arena_printf_t(s->a, UNTAINTED, "a TLS session is required, but %s", what)});
  return SMTP_TLS_FAILED;
}

enum smtp_tls_step smtp_start_tls(struct smtp_attempt *s) {
  struct smtp_awaited what;
  struct smtp_reply r;
  bool offered = s->facts.features & EHLO_TLS;
  if (!offered || s->avoid_tls)
    return s->tls_required ? required_but(s, offered ? "it is in hosts_avoid_tls" : "the server did not offer TLS support") : SMTP_TLS_UNUSED;
  if (!smtp_tls_prepare(s)) return SMTP_TLS_FAILED;
  smtp_send(s, AT_STARTTLS, NULL, "STARTTLS");
  s->reply_deadline = deadline_in_sec(s->ob->command_timeout);
  if (!smtp_read_reply(s, &what, &r)) return SMTP_TLS_FAILED;
  return smtp_starttls_answered(s, &what, &r);
}

enum smtp_tls_step smtp_starttls_answered(struct smtp_attempt *s, const struct smtp_awaited *what, const struct smtp_reply *reply) {
  struct smtp_reply r = *reply;
  if (r.code / 100 == 2) {
    if (stream_buffered(s->io).n && !s->hello_in_flight) return tls_failed(s, "(STARTTLS): data behind the reply"), SMTP_TLS_FAILED;
    return handshake(s, s->tls_opts) ? SMTP_TLS_STARTED : SMTP_TLS_FAILED;
  }
  bool offered = s->facts.features & EHLO_TLS; /* said early, STARTTLS may meet a server that has none any more (F15) */
  if (s->tls_required) return required_but(s, offered ? "an attempt to start TLS failed" : "the server did not offer TLS support");
  if (!offered || r.code / 100 == 5 || s->ob->tls_tempfail_tryclear) return SMTP_TLS_UNUSED;
  smtp_note_reply(s, what, &r);
  return SMTP_TLS_FAILED;
}

bool smtp_tls_try_clear(struct smtp_attempt *s) {
  if (s->fail.trouble != TROUBLE_TLS || s->tls_required || s->avoid_tls || s->content_sent || !s->ob->tls_tempfail_tryclear) return false;
  const char *why = arena_printf(s->a, "TLS session: %s", s->fail.reply);
  (void)smtp_event(s, s->job->rcpt_count ? s->job->rcpts[0].addr : NULL, "msg:host:defer", why, ERRNO_TLSFAILURE);
  const char *doing = s->probe ? "callout unencrypted to " : "delivering unencrypted to H=";
  const char *line = arena_printf(s->a, "%s: %s%s [%s] (not in hosts_require_tls)", why, doing, s->host->name, s->host->address);
  log_write(LS_ALWAYS, LOG_MAIN, "%s", line);
  return true;
}

bool smtp_tls_note_read_error(struct smtp_attempt *s) {
  const char *error = s->in_tls && s->io ? tls_error(s->io) : NULL;
  if (!error) return false;
  log_write(LS_ALWAYS, LOG_MAIN, "H=%s [%s] TLS error on connection %s", s->host->name, s->host->address, error);
  if (s->tls_was_read) return false;
  return !tls_failed(s, "error on first read");
}

/* ---- afterwards ------------------------------------------------------------------------------------------- */

void smtp_tls_set_facts(const struct smtp_attempt *s, struct address *a) {
  a->tls_on = s->in_tls;
  a->tls_cipher = s->tls.active ? s->tls.cipher : NULL;
  a->tls_ver = s->tls.active ? s->tls.ver : NULL;
  a->tls_peerdn = s->tls.active && s->sequence <= 1 ? s->tls.peerdn : NULL; /* told once for a connection, as Exim does */
  a->tls_certificate_verified = s->tls.certificate_verified;
  a->tls_dane = s->tls.dane;
  a->tls_resumed = s->tls.resumption & TLS_RESUME_USED;
}

void smtp_tls_finish(struct smtp_attempt *s) {
  if (!s->in_tls || !s->io) return;
  smtp_tls_resume_keep(s);
  tls_end(s->io, false, deadline_in_sec(2));
}
