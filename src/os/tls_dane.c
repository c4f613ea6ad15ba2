/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DANE: is the peer's chain what the DNS says it is?  Floor: os.  RFC 6698, 7671, 7672; manual ch. 43.
 *
 * The records come from validated DNS and were chosen as usable (smtp_dane.c); the certificates are the peer's, hostile, parsed by GnuTLS.
 * DANE-EE: a record names the peer's own certificate, and nothing else of it counts.  DANE-TA: a record names one above, and the chain up to
 * it must be good, dates and name included.  GnuTLS has a library for this, which is not used: it brings a DNS resolver of its own along,
 * and each process of the daemon would pay for that. */
#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>

#include "os/tls_priv.h"

enum { USAGE_TA = 2, USAGE_EE = 3, SELECTOR_CERT = 0, SELECTOR_KEY = 1, MATCH_FULL = 0, MATCH_SHA256 = 1, MATCH_SHA512 = 2 };
enum { RDATA_HEAD = 3, DIGEST_MAX = 64, CHAIN_MAX = 16 };

/* The public key of a certificate, as the certificate has it (SubjectPublicKeyInfo).  The caller frees it with gnutls_free(). */
static bool key_of(const gnutls_datum_t *der, gnutls_datum_t *ret) {
  gnutls_x509_crt_t crt;
  gnutls_pubkey_t key;
  if (gnutls_x509_crt_init(&crt) < 0) return false;
  bool ok = gnutls_x509_crt_import(crt, der, GNUTLS_X509_FMT_DER) == 0 && gnutls_pubkey_init(&key) == 0;
  if (ok) {
    ok = gnutls_pubkey_import_x509(key, crt, 0) == 0 && gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, ret) == 0;
    gnutls_pubkey_deinit(key);
  }
  gnutls_x509_crt_deinit(crt);
  return ok;
}

static bool data_fits(const gnutls_datum_t *what, unsigned matching, struct str data) {
  static const gnutls_digest_algorithm_t digests[] = {[MATCH_SHA256] = GNUTLS_DIG_SHA256, [MATCH_SHA512] = GNUTLS_DIG_SHA512};
  char digest[DIGEST_MAX];
  if (matching == MATCH_FULL) return str_eq(str_n((const char *)what->data, what->size), data);
  if (matching >= ARRAY_SIZE(digests)) return false;
  size_t n = gnutls_hash_get_len(digests[matching]);
  return n <= sizeof digest && gnutls_hash_fast(digests[matching], what->data, what->size, digest) == 0 && str_eq(str_n(digest, n), data);
}

bool tls_dane_fits(const gnutls_datum_t *der, struct str rdata) {
  if (rdata.n <= RDATA_HEAD) return false;
  unsigned selector = (unsigned char)rdata.p[1], matching = (unsigned char)rdata.p[2];
  struct str data = str_n(rdata.p + RDATA_HEAD, rdata.n - RDATA_HEAD);
  if (selector == SELECTOR_CERT) return data_fits(der, matching, data);
  gnutls_datum_t key = {NULL, 0};
  bool fits = selector == SELECTOR_KEY && key_of(der, &key) && data_fits(&key, matching, data);
  gnutls_free(key.data);
  return fits;
}

static bool has_usage(const struct tls_client_opts *o, int usage) {
  for (size_t i = 0; i < o->tlsa_count; i++)
    if (o->tlsa[i].rdata.n > RDATA_HEAD && o->tlsa[i].rdata.p[0] == usage) return true;
  return false;
}

static bool some_fits(const gnutls_datum_t *der, const struct tls_client_opts *o, int usage) {
  for (size_t i = 0; i < o->tlsa_count; i++)
    if (o->tlsa[i].rdata.n > RDATA_HEAD && o->tlsa[i].rdata.p[0] == usage && tls_dane_fits(der, o->tlsa[i].rdata)) return true;
  return false;
}

/* The chain up to its member anchor, which the DNS vouches for: signatures, dates, constraints, and one of the names. */
static bool chain_is_good(const gnutls_datum_t *chain, unsigned n, unsigned anchor, const char *const *names) {
  gnutls_x509_crt_t crts[CHAIN_MAX];
  unsigned made = 0, status = 1;
  gnutls_x509_trust_list_t trust = NULL;
  bool ok = n <= ARRAY_SIZE(crts) && anchor < n && gnutls_x509_trust_list_init(&trust, 0) == 0;
  for (; ok && made < n; made++) {
    if (gnutls_x509_crt_init(&crts[made]) < 0) break;
    if (gnutls_x509_crt_import(crts[made], &chain[made], GNUTLS_X509_FMT_DER) < 0) ok = false;
  }
  if (ok && made == n && gnutls_x509_trust_list_add_cas(trust, &crts[anchor], 1, 0) == 1 &&
      gnutls_x509_trust_list_verify_crt(trust, crts, anchor, 0, &status, NULL) == 0)
    ok = status == 0 && (!names || tls_has_name(crts[0], names));
  else
    ok = false;
  for (unsigned i = 0; i < made; i++) gnutls_x509_crt_deinit(crts[i]);
  if (trust) gnutls_x509_trust_list_deinit(trust, 0);
  return ok;
}

/* *ret_why: an anchor was found, but what hangs on it is no good. */
static bool has_good_anchor(const gnutls_datum_t *chain, unsigned n, const struct tls_client_opts *o, const char **ret_why) {
  for (unsigned i = 1; i < n; i++) {
    if (!some_fits(&chain[i], o, USAGE_TA)) continue;
    if (chain_is_good(chain, n, i, o->verify_names)) return true;
    *ret_why = tls_status_text(0);
  }
  return false;
}

int tls_verify_dane(gnutls_session_t g, struct arena *a, const struct tls_client_opts *o, struct tls_result *ret, const char **ret_error) {
  unsigned n = 0;
  const char *why = NULL;
  const gnutls_datum_t *chain = gnutls_certificate_get_peers(g, &n);
  if (!chain || n == 0) {
    *ret_error = "(certificate verification failed): no certificate to compare with the DNS";
    return -EACCES;
  }
  ret->dane_verified = some_fits(&chain[0], o, USAGE_EE) || has_good_anchor(chain, n, o, &why);
  ret->certificate_verified = ret->dane_verified;
  if (ret->dane_verified) return 0;
  /* the words are those of GnuTLS's library, which logs are searched for */
  bool has_ee = has_usage(o, USAGE_EE), has_ta = has_usage(o, USAGE_TA);
  if (!why) why = arena_printf_t(a, UNTAINTED, "Verification failed. %s%s%s", has_ta ? "CA constrains were violated. " : "",
                                 has_ee ? "The certificate differs. " : "", has_ee || has_ta ? "" : "There were no DANE information. ");
  *ret_error = arena_printf_t(a, UNTAINTED, "(certificate verification failed): %s", why);
  return -EACCES;
}
