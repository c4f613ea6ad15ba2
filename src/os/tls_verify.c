/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is the peer who it should be: certification authorities and CRLs, names, DANE, stapled OCSP answers.  Floor: os.  RFC 6125, 6698, 7671,
 * 7672, 6066 ch. 8; manual ch. 43.  Everything looked at comes from the peer; GnuTLS parses it. */
#include <errno.h>
#include <gnutls/dane.h>
#include <gnutls/ocsp.h>
#include <gnutls/x509.h>

#include "os/tls_priv.h"

enum { TLSA_MAX = 100, USAGE_TA = 2, USAGE_EE = 3 };

static const char wrong_name[] = "certificate name mismatch";

static const char *status_text(unsigned status) {
  return status & GNUTLS_CERT_REVOKED ? "certificate revoked" : "certificate invalid";
}

/* ---- names ----------------------------------------------------------------------------------------------- */

static bool has_name(gnutls_x509_crt_t crt, const char *const *names) {
  for (; *names; names++)
    if (gnutls_x509_crt_check_hostname(crt, *names)) return true;
  return false;
}

static bool peer_has_name(gnutls_session_t g, const char *const *names) {
  unsigned n = 0;
  const gnutls_datum_t *chain = gnutls_certificate_get_peers(g, &n);
  gnutls_x509_crt_t crt;
  if (!chain || n == 0 || gnutls_x509_crt_init(&crt) < 0) return false;
  bool ok = gnutls_x509_crt_import(crt, chain, GNUTLS_X509_FMT_DER) == 0 && has_name(crt, names);
  gnutls_x509_crt_deinit(crt);
  return ok;
}

/* ---- DANE ------------------------------------------------------------------------------------------------- */

/* Ask the library whether the chain fits the records of one usage; *ret_status explains a no. */
static bool dane_fits(dane_state_t state, const gnutls_datum_t *chain, unsigned n, const struct tls_client_opts *o, int usage,
                      unsigned *ret_status) {
  char *data[TLSA_MAX + 1] = {NULL};
  int length[TLSA_MAX + 1] = {0};
  size_t used = 0;
  for (size_t i = 0; i < o->tlsa_count && used < TLSA_MAX; i++) {
    struct str r = o->tlsa[i].rdata;
    if (r.n < 4 || r.p[0] != usage) continue;
    data[used] = (char *)(uintptr_t)r.p; /* not written to */
    length[used++] = (int)r.n;
  }
  dane_query_t query;
  if (used == 0 || dane_raw_tlsa(state, &query, data, length, 1, 0) < 0) return false;
  unsigned flags = DANE_VFLAG_FAIL_IF_NOT_CHECKED | (usage == USAGE_EE ? DANE_VFLAG_ONLY_CHECK_EE_USAGE : DANE_VFLAG_ONLY_CHECK_CA_USAGE);
  unsigned status = 0;
  int rc = dane_verify_crt_raw(state, chain, n, GNUTLS_CRT_X509, query, 0, flags, &status);
  dane_query_deinit(query);
  if (rc == 0 && status == 0) return true;
  *ret_status |= status;
  return false;
}

/* The chain up to its member anchor, which the DNS vouches for: signatures, dates, constraints, and one of the names. */
static bool chain_is_good(const gnutls_datum_t *chain, unsigned n, unsigned anchor, const char *const *names) {
  gnutls_x509_crt_t crts[16];
  unsigned made = 0, status = 1;
  gnutls_x509_trust_list_t trust = NULL;
  bool ok = n <= ARRAY_SIZE(crts) && anchor < n && gnutls_x509_trust_list_init(&trust, 0) == 0;
  for (; ok && made < n; made++) {
    if (gnutls_x509_crt_init(&crts[made]) < 0) break;
    if (gnutls_x509_crt_import(crts[made], &chain[made], GNUTLS_X509_FMT_DER) < 0) ok = false;
  }
  if (ok && made == n && gnutls_x509_trust_list_add_cas(trust, &crts[anchor], 1, 0) == 1 &&
      gnutls_x509_trust_list_verify_crt(trust, crts, anchor, 0, &status, NULL) == 0)
    ok = status == 0 && (!names || has_name(crts[0], names));
  else
    ok = false;
  for (unsigned i = 0; i < made; i++) gnutls_x509_crt_deinit(crts[i]);
  if (trust) gnutls_x509_trust_list_deinit(trust, 0);
  return ok;
}

/* DANE-TA: the library says whether some certificate above the first is in the DNS; which one is found by asking for each. */
static bool dane_ta_good(dane_state_t state, const gnutls_datum_t *chain, unsigned n, const struct tls_client_opts *o, unsigned *status,
                         const char **ret_why) {
  for (unsigned i = 1; i < n; i++) {
    gnutls_datum_t pair[2] = {chain[0], chain[i]};
    for (size_t k = 0; k < o->tlsa_count; k++) {
      struct tls_client_opts one = *o;
      struct tls_tlsa as_ee = {o->tlsa[k].rdata};
      char rdata[4 + 4096];
      if (as_ee.rdata.n < 4 || as_ee.rdata.n > sizeof rdata || as_ee.rdata.p[0] != USAGE_TA) continue;
      /* The digest comparison is the same for both usages: present the anchor as if it were the peer's own certificate. */
      memcpy(rdata, as_ee.rdata.p, as_ee.rdata.n);
      rdata[0] = USAGE_EE;
      as_ee.rdata.p = rdata;
      one.tlsa = &as_ee;
      one.tlsa_count = 1;
      unsigned ignored = 0;
      if (!dane_fits(state, &pair[1], 1, &one, USAGE_EE, &ignored)) continue;
      if (chain_is_good(chain, n, i, o->verify_names)) return true;
      *ret_why = status_text(0);
    }
  }
  for (size_t k = 0; k < o->tlsa_count; k++)
    if (o->tlsa[k].rdata.n >= 4 && o->tlsa[k].rdata.p[0] == USAGE_TA) *status |= DANE_VERIFY_CA_CONSTRAINTS_VIOLATED;
  return false;
}

static int verify_dane(gnutls_session_t g, struct arena *a, const struct tls_client_opts *o, struct tls_result *ret, const char **ret_error) {
  unsigned n = 0, status = 0;
  const char *why = NULL;
  const gnutls_datum_t *chain = gnutls_certificate_get_peers(g, &n);
  dane_state_t state;
  if (!chain || n == 0 || dane_state_init(&state, DANE_F_IGNORE_DNSSEC | DANE_F_IGNORE_LOCAL_RESOLVER) < 0) {
    *ret_error = "(certificate verification failed): no certificate to compare with the DNS";
    return -EACCES;
  }
  ret->dane_verified = dane_fits(state, chain, n, o, USAGE_EE, &status) || dane_ta_good(state, chain, n, o, &status, &why);
  dane_state_deinit(state);
  ret->certificate_verified = ret->dane_verified;
  if (ret->dane_verified) return 0;
  if (why) {
    *ret_error = arena_printf_t(a, UNTAINTED, "(certificate verification failed): %s", why);
    return -EACCES;
  }
  gnutls_datum_t text = {NULL, 0};
  if (status == 0) status = DANE_VERIFY_UNKNOWN_DANE_INFO;
  if (dane_verification_status_print(status, &text, 0) == 0)
    *ret_error = arena_printf_t(a, UNTAINTED, "(certificate verification failed): %s", (const char *)text.data);
  else
    *ret_error = "(certificate verification failed): DANE";
  gnutls_free(text.data);
  return -EACCES;
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
    if ((rc = verify_dane(g, a, client, ret, ret_error)) < 0) return rc;
  } else if (verify != TLS_VERIFY_NONE && (client || verify == TLS_VERIFY_REQUIRE || gnutls_certificate_get_peers(g, &n))) {
    /* a resumed session may come without the client's certificate: that proves nobody */
    rc = gnutls_certificate_verify_peers2(g, &status);
    was_chain_verified = true;
    if (rc < 0) why = gnutls_strerror(rc);
    else if (status) why = status_text(status);
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
