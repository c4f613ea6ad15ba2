/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A certificate made on the spot, for a server without one: encryption without identity.  Floor: os.  Manual ch. 43, tls_certificate. */
#include <gnutls/crypto.h>
#include <gnutls/x509.h>

#include "os/tls_priv.h"

enum { VALID_SEC = 3600 };

static int fill(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key, const char *name, const char **ret_what) {
  unsigned char serial[16];
  const unsigned usage = GNUTLS_KEY_DIGITAL_SIGNATURE | GNUTLS_KEY_KEY_ENCIPHERMENT;
  time_t now = time_sec();
  int rc;
#define STEP(call) \
  if (*ret_what = #call, (rc = (call)) < 0) return rc
  STEP(gnutls_x509_privkey_generate(key, GNUTLS_PK_RSA, gnutls_sec_param_to_pk_bits(GNUTLS_PK_RSA, GNUTLS_SEC_PARAM_MEDIUM), 0));
  STEP(gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof serial));
  serial[0] &= 0x7f;
  STEP(gnutls_x509_crt_set_version(crt, 3));
  STEP(gnutls_x509_crt_set_serial(crt, serial, sizeof serial));
  STEP(gnutls_x509_crt_set_activation_time(crt, now - 60));
  STEP(gnutls_x509_crt_set_expiration_time(crt, now + VALID_SEC));
  STEP(gnutls_x509_crt_set_key(crt, key));
  STEP(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COUNTRY_NAME, 0, "UK", 2));
  STEP(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, "Exim Developers", 15));
  STEP(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name, (unsigned)strlen(name)));
  STEP(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, name, (unsigned)strlen(name), GNUTLS_FSAN_SET));
  STEP(gnutls_x509_crt_set_key_usage(crt, usage));
  STEP(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0));
#undef STEP
  return 0;
}

int tls_selfsigned(gnutls_certificate_credentials_t cred, const char *name, const char **ret_what) {
  gnutls_x509_privkey_t key = NULL;
  gnutls_x509_crt_t crt = NULL;
  *ret_what = "gnutls_x509_crt_init";
  int rc = gnutls_x509_privkey_init(&key);
  if (rc == 0) rc = gnutls_x509_crt_init(&crt);
  if (rc == 0) rc = fill(crt, key, name, ret_what);
  if (rc == 0) {
    *ret_what = "gnutls_certificate_set_x509_key";
    rc = gnutls_certificate_set_x509_key(cred, &crt, 1, key); /* takes copies */
  }
  if (crt) gnutls_x509_crt_deinit(crt);
  if (key) gnutls_x509_privkey_deinit(key);
  return rc < 0 ? rc : 0;
}
