/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TLS sessions kept for resumption: the client's side of the "tls" hints database.  Floor: drivers.  Manual 43.17, smtp option host_name_extract.
 *
 * A resumed handshake proves what the first one proved and nothing more.  So the key names everything the first one was asked to prove (names,
 * trust anchors, own certificate, ciphers) besides the peer, and the record keeps whether it was verified.  Sessions of DANE connections are
 * not kept.  A record is advice: without it, or with one that is damaged or old, the handshake is a full one. */
#include "transports/smtp_priv.h"

#include "hints/hints.h"
#include "os/debug.h"
#include "os/tls.h"

enum { SESSION_LIFE_SEC = 2 * 3600, SESSION_MAX_BYTES = 32768 };

/* host_name_extract sees the EHLO reply in $item; whatever goes wrong with it gives an empty part of the key. */
static const char *extracted_name(struct smtp_attempt *s) {
  struct expand_ctx *x = s->d->x;
  const char *option = s->ob->host_name_extract, *saved = x->s.item;
  if (!option || !s->ehlo_reply) return "";
  x->s.item = s->ehlo_reply;
  const char *name = expand_option(x, "host_name_extract", option);
  x->s.item = saved;
  return name ? name : "";
}

static void add_part(struct strbuf *b, const char *text) { strbuf_addl(b, "/", text ? text : "", NULL); }

static const char *session_key(struct smtp_attempt *s, const struct tls_client_opts *o) {
  const struct tls_params *p = &o->params;
  struct strbuf b = strbuf_new(s->a);
  strbuf_addf(&b, "%s[%s]:%d%c%d%d", s->host->name, s->host->address, s->port, s->is_smtps ? 's' : 't', (int)p->verify, (int)o->ocsp);
  add_part(&b, extracted_name(s));
  const char *const parts[] = {o->sni, p->alpn, p->verify_certificates, p->crl, p->certificate, p->privatekey, p->ciphers};
  for (size_t i = 0; i < ARRAY_SIZE(parts); i++) add_part(&b, parts[i]);
  for (const char *const *n = o->verify_names; n && *n; n++) add_part(&b, *n);
  return b.p;
}

static bool read_session(struct smtp_attempt *s, struct hints_tls *ret) {
  struct str bytes;
  struct hints_db *db = hints_open(s->d->cfg->spool_directory, "tls", false);
  bool found = db && hints_get(db, s->a, s->tls_session_key, &bytes) && hints_get_tls(bytes, ret);
  hints_close(db);
  int64_t age = found ? time_sec() - ret->stamp : 0;
  return found && age >= 0 && age <= SESSION_LIFE_SEC;
}

void smtp_tls_resume_find(struct smtp_attempt *s, struct tls_client_opts *o) {
  struct hints_tls kept;
  s->tls_session_key = NULL;
  o->resume = STR_NULL;
  if (s->dane || !smtp_host_listed(s, "tls_resumption_hosts", s->ob->tls_resumption_hosts))
    return;
  o->params.resumption = true;
  s->tls_session_key = session_key(s, o);
  if (!read_session(s, &kept)) return;
  if (o->params.verify == TLS_VERIFY_REQUIRE && !kept.is_verified) return;
  if (o->ocsp == TLS_OCSP_REQUIRE) return; /* no answer is stapled to a resumed handshake: the demand would never be met */
  o->resume = kept.session;
  s->kept_is_verified = kept.is_verified;
  DEBUG(D_TLS) debug_printf("TLS session found for %s\n", s->tls_session_key);
}

void smtp_tls_resume_find_again(struct smtp_attempt *s, struct tls_client_opts *o) {
  if (s->tls_session_key && s->ob->host_name_extract) smtp_tls_resume_find(s, o);
}

void smtp_tls_resume_take(struct smtp_attempt *s, const struct tls_result *r) {
  if (!(r->resumption & TLS_RESUME_USED)) return;
  s->tls.certificate_verified = s->kept_is_verified;
}

void smtp_tls_resume_keep(struct smtp_attempt *s) {
  if (!s->tls_session_key) return;
  struct str session = tls_session_data(s->io, s->a);
  if (session.n > 0) s->tls.resumption |= TLS_RESUME_GIVEN; /* with TLS 1.3 tickets come behind the handshake */
  if (session.n == 0 || session.n > SESSION_MAX_BYTES) return;
  struct hints_tls kept = {.stamp = time_sec(), .is_verified = s->tls.certificate_verified, .session = session};
  struct strbuf b = strbuf_new(s->a);
  hints_put_tls(&b, &kept);
  struct hints_db *db = hints_open(s->d->cfg->spool_directory, "tls", true);
  if (db) (void)hints_put(db, s->tls_session_key, strbuf_str(&b));
  hints_close(db);
}
