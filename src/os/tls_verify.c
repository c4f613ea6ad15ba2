/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is the peer who it should be: certification authorities and CRLs, names, stapled OCSP answers (DANE: tls_dane.c).  Floor: os.
 * RFC 6125, 6066 ch. 8; manual ch. 43.  Everything looked at comes from the peer; GnuTLS parses it. */
#include <errno.h>
#include <gnutls/ocsp.h>
#include <gnutls/x509.h>

#include "os/tls_priv.h"

static const char wrong_name[] = "certificate name mismatch";

const char *tls_status_text(unsigned status) {
  return status & GNUTLS_CERT_REVOKED ? "certificate revoked" : "certificate invalid";
}

/* ---- names ----------------------------------------------------------------------------------------------- */

bool tls_has_name(gnutls_x509_crt_t crt, const char *const *names) {
  for (; *names; names++)
    if (gnutls_x509_crt_check_hostname(crt, *names)) return true;
  return false;
}

static bool peer_has_name(gnutls_session_t g, const char *const *names) {
  unsigned n = 0;
  const gnutls_datum_t *chain = gnutls_certificate_get_peers(g, &n);
  gnutls_x509_crt_t crt;
  if (!chain || n == 0 || gnutls_x509_crt_init(&crt) < 0) return false;
  bool ok = gnutls_x509_crt_import(crt, chain, GNUTLS_X509_FMT_DER) == 0 && tls_has_name(crt, names);
  gnutls_x509_crt_deinit(crt);
  return ok;
}

/* ---- OCSP ----------------------------------------------------------------------------------------------- */

/* The library looks at the answer when it verifies the chain; where something else decided about that (DANE, or nothing), it is told to. */
static int verify_ocsp(gnutls_session_t g, enum tls_ocsp want, bool was_chain_verified, struct tls_result *ret, const char **ret_error) {
  gnutls_datum_t stapled;
  unsigned ignored;
  if (want == TLS_OCSP_NONE) return 0;
  bool is_stapled = gnutls_ocsp_status_request_get2(g, 0, &stapled) == 0;
  if (is_stapled && !was_chain_verified) (void)gnutls_certificate_verify_peers2(g, &ignored);
  bool is_good = is_stapled && gnutls_ocsp_status_request_is_checked(g, 0);
  /* Exim's GnuTLS builds say "failed" of an answer that did not come, too; nothing can come with a resumed session. */
  ret->ocsp = is_good ? TLS_OCSP_VERIFIED : gnutls_session_is_resumed(g) ? TLS_OCSP_NO_RESPONSE : TLS_OCSP_FAILED;
  if (is_good || want != TLS_OCSP_REQUIRE) return 0;
  *ret_error = "(certificate status check failed)";
  return -ENOENT;
}

/* ---- others who look at it ----------------------------------------------------------------------------------- */

bool tls_show_chain(gnutls_session_t g, struct arena *a, const struct tls_params *p) {
  unsigned n = 0;
  bool is_x509 = gnutls_certificate_type_get2(g, GNUTLS_CTYPE_PEERS) == GNUTLS_CRT_X509;
  if (!p->on_cert || !is_x509 || gnutls_session_is_resumed(g)) return true;
  for (const gnutls_datum_t *chain = gnutls_certificate_get_peers(g, &n); chain && n > 0;) {
    const char *pem = tls_pem(a, &chain[--n], TAINTED);
    if (!pem || !p->on_cert(p->on_cert_ctx, n, pem)) return false;
  }
  return true;
}

/* ---- all of it -------------------------------------------------------------------------------------------- */

int tls_verify_peer(gnutls_session_t g, struct arena *a, enum tls_verify verify, const struct tls_client_opts *client,
                    struct tls_result *ret, const char **ret_error) {
  const char *why = NULL;
  unsigned n = 0, status = 0;
  bool was_chain_verified = false;
  int rc;
  if (client && client->ocsp != TLS_OCSP_NONE) ret->ocsp = TLS_OCSP_NO_RESPONSE;
  if (client && client->tlsa_count > 0) {
    if ((rc = tls_verify_dane(g, a, client, ret, ret_error)) < 0) return rc;
  } else if (verify != TLS_VERIFY_NONE && (client || verify == TLS_VERIFY_REQUIRE || gnutls_certificate_get_peers(g, &n))) {
    /* a resumed session may come without the client's certificate: that proves nobody */
    rc = gnutls_certificate_verify_peers2(g, &status);
    was_chain_verified = true;
    if (rc < 0) why = gnutls_strerror(rc);
    else if (status) why = tls_status_text(status);
    else if (client && client->verify_names && !peer_has_name(g, client->verify_names)) why = wrong_name;
    ret->certificate_verified = !why;
    ret->verify_error = why;
    if (why && verify == TLS_VERIFY_REQUIRE) {
      const char *what = "(certificate verification failed)";
      *ret_error = why == wrong_name ? what : arena_printf_t(a, UNTAINTED, "%s: %s", what, why); /* as Exim words it */
      return -EACCES;
    }
  }
  return client ? verify_ocsp(g, client->ocsp, was_chain_verified, ret, ret_error) : 0;
}
