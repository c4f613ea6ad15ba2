/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a handshake brought, as texts for logs and variables.  Floor: os.  The peer's names and certificate are tainted.  RFC 9266 (channel
 * binding tls-exporter), 5929 (tls-unique). */
#include <gnutls/x509.h>
#include <stdio.h>

#include "os/tls_priv.h"

/* The same text of a TLS 1.3 handshake whose last flight is still to come: the library does not describe that. */
static const char *early_text(gnutls_session_t g, struct arena *a, int bits) {
  const char *group = gnutls_group_get_name(gnutls_group_get(g));
  const char *sign = gnutls_sign_get_name(gnutls_sign_algorithm_get(g));
  char *text = arena_printf_t(a, UNTAINTED, "ECDHE-%s__%s__%s:%d", group ? group : "", sign ? sign : "",
                              gnutls_cipher_get_name(gnutls_cipher_get(g)), bits);
  for (char *p = text; *p; p++)
    if (*p == '-') *p = '_';
  return arena_printf_t(a, UNTAINTED, "%s:%s", gnutls_protocol_get_name(gnutls_protocol_get_version(g)), text);
}

/* A resumed session of TLS 1.3 has no signature; the library's description leaves out the key exchange too. */
static const char *resumed_text(gnutls_session_t g, struct arena *a, int bits) {
  const char *group = gnutls_group_get_name(gnutls_group_get(g));
  char *text = arena_printf_t(a, UNTAINTED, "%s_PSK%s%s__%s:%d", group ? "ECDHE" : "", group ? "_" : "", group ? group : "",
                              gnutls_cipher_get_name(gnutls_cipher_get(g)), bits);
  for (char *p = text; *p; p++)
    if (*p == '-') *p = '_';
  return arena_printf_t(a, UNTAINTED, "%s:%s", gnutls_protocol_get_name(gnutls_protocol_get_version(g)), group ? text : text + 1);
}

/* "(TLS1.3)-(ECDHE-X25519)-(RSA-PSS-RSAE-SHA256)-(AES-256-GCM)" becomes "TLS1.3:ECDHE_X25519__RSA_PSS_RSAE_SHA256__AES_256_GCM:256". */
static const char *cipher_text(gnutls_session_t g, struct arena *a, int bits) {
  if (gnutls_session_is_resumed(g) && gnutls_protocol_get_version(g) == GNUTLS_TLS1_3) return resumed_text(g, a, bits);
  char *desc = gnutls_session_get_desc(g);
  if (!desc) return early_text(g, a, bits);
  struct strbuf b = strbuf_new(a);
  size_t groups = 0;
  for (const char *p = desc; *p; p++) {
    if (*p == ')' && p[1] == '-') strbuf_adds(&b, groups++ == 0 ? ":" : "__"), p++;
    else if (*p == '-') strbuf_addc(&b, '_');
    else if (*p != '(' && *p != ')') strbuf_addc(&b, *p);
  }
  strbuf_addf(&b, ":%d", bits);
  gnutls_free(desc);
  return b.p;
}

static const char *standard_name(gnutls_session_t g, struct arena *a) {
  const char *name = gnutls_ciphersuite_get(g);
  return name ? arena_strdup_t(a, name, UNTAINTED) : NULL;
}

const char *tls_pem(struct arena *a, const gnutls_datum_t *der, enum taint t) {
  gnutls_datum_t pem = {NULL, 0};
  if (!der || gnutls_pem_base64_encode2("CERTIFICATE", der, &pem) < 0) return NULL;
  const char *text = arena_strndup_t(a, (const char *)pem.data, pem.size, t);
  gnutls_free(pem.data);
  return text;
}

/* The library escapes what RFC 4514 says; a line end inside a name must not become one in a log or a spool file. */
static const char *printable(struct arena *a, struct str dn) {
  struct strbuf b = strbuf_new_t(a, TAINTED, dn.n + 1);
  for (size_t i = 0; i < dn.n; i++) {
    char hex[8];
    if (!ch_iscntrl(dn.p[i])) strbuf_add_t(&b, dn.p + i, 1, TAINTED);
    else strbuf_add_t(&b, hex, (size_t)snprintf(hex, sizeof hex, "\\%02X", (unsigned char)dn.p[i]), TAINTED);
  }
  return b.p;
}

static const char *dn_of(struct arena *a, const gnutls_datum_t *der) {
  gnutls_x509_crt_t crt;
  gnutls_datum_t dn = {NULL, 0};
  const char *text = NULL;
  if (gnutls_x509_crt_init(&crt) < 0) return NULL;
  if (gnutls_x509_crt_import(crt, der, GNUTLS_X509_FMT_DER) == 0 && gnutls_x509_crt_get_dn2(crt, &dn) == 0)
    text = printable(a, str_n((const char *)dn.data, dn.size));
  gnutls_free(dn.data);
  gnutls_x509_crt_deinit(crt);
  return text;
}

static const char *channel_binding(gnutls_session_t g, struct arena *a) {
  gnutls_datum_t raw = {NULL, 0}, text = {NULL, 0};
  bool is_13 = gnutls_protocol_get_version(g) == GNUTLS_TLS1_3;
  const char *result = NULL;
  /* RFC 7627: without the extended master secret a resumed session's tls-unique may be another's too */
  if (!is_13 && gnutls_session_is_resumed(g) && !gnutls_session_ext_master_secret_status(g)) return NULL;
  if (gnutls_session_channel_binding(g, is_13 ? GNUTLS_CB_TLS_EXPORTER : GNUTLS_CB_TLS_UNIQUE, &raw) == 0 &&
      gnutls_base64_encode2(&raw, &text) == 0)
    result = arena_strndup_t(a, (const char *)text.data, text.size, UNTAINTED);
  gnutls_free(raw.data);
  gnutls_free(text.data);
  return result;
}

void tls_describe(gnutls_session_t g, struct arena *a, const struct tls_params *p, struct tls_result *ret) {
  ret->bits = 8 * (int)gnutls_cipher_get_key_size(gnutls_cipher_get(g));
  ret->cipher = cipher_text(g, a, ret->bits);
  ret->cipher_std = standard_name(g, a);
  ret->ver = arena_strdup_t(a, gnutls_protocol_get_name(gnutls_protocol_get_version(g)), UNTAINTED);
  unsigned n = 0;
  const gnutls_datum_t *peer = gnutls_certificate_type_get(g) == GNUTLS_CRT_X509 ? gnutls_certificate_get_peers(g, &n) : NULL;
  if (peer && n > 0) {
    ret->peer_cert_pem = tls_pem(a, peer, TAINTED);
    ret->peer_dn = dn_of(a, peer);
  }
  ret->our_cert_pem = tls_pem(a, gnutls_certificate_get_ours(g), UNTAINTED);
  gnutls_datum_t alpn;
  if (gnutls_alpn_get_selected_protocol(g, &alpn) == 0) ret->alpn = arena_strndup_t(a, (const char *)alpn.data, alpn.size, TAINTED);
  if (!p->no_channel_binding) ret->channel_binding = channel_binding(g, a);
}
