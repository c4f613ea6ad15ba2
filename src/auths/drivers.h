/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The authenticator drivers by name, for the list in drivers.c alone.  Floor: drivers. */
#ifndef AUTHS_DRIVERS_H
#define AUTHS_DRIVERS_H

#include "auth.h"

extern const struct auth_driver cram_md5_auth, cyrus_sasl_auth, dovecot_auth, external_auth, gsasl_auth, heimdal_gssapi_auth, plaintext_auth, spa_auth, tls_auth;

#endif
