/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one list of authenticator drivers, sorted by name.  Floor: drivers.  Manual ch. 33. */
#include "auths/drivers.h"

#include "buildconfig.h"

const struct auth_driver *const auth_drivers[] = {
  &cram_md5_auth,
#if CFG_AUTH_CYRUS_SASL
  &cyrus_sasl_auth,
#endif
  &dovecot_auth,
  &external_auth,
#if CFG_AUTH_GSASL
  &gsasl_auth,
#endif
#if CFG_AUTH_HEIMDAL_GSSAPI
  &heimdal_gssapi_auth,
#endif
  &plaintext_auth,
  &spa_auth,
  &tls_auth,
  NULL,
};
