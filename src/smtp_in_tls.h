/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What others need of the SMTP server's TLS (smtp_in_tls.c).  Floor: flows. */
#ifndef SMTP_IN_TLS_H
#define SMTP_IN_TLS_H

#include "os/tls.h"
#include "os/tls_signer.h"
#include "policy/expand.h"

/* The daemon's process that forks sessions: make the credentials that are the same for all, or look whether their files changed.  Nothing
 * happens when the options depend on the client; failures show in the sessions.  signer: who has the keys, NULL nobody else. */
void smtp_tls_preload(const struct config *cfg, const struct tls_signer *signer);
/* Are keys and certificates such that a signer can have them?  Which; strings in a. */
bool smtp_tls_signer_plan(struct arena *a, const struct config *cfg, struct tls_signer_plan *ret);
/* Is there a server certificate to make on the spot, because none is configured though TLS is offered? */
bool smtp_tls_is_selfsigned(const struct config *cfg);
/* Does tls_require_ciphers depend on something, so that reading the configuration did not check it?  What is wrong with it as it is now, NULL nothing. */
bool smtp_tls_ciphers_vary(const struct config *cfg);
const char *smtp_tls_ciphers_error(struct arena *a, const struct config *cfg);
/* Is the port in tls_on_connect_ports? */
bool smtp_tls_on_connect_port(const struct config *cfg, int port);

#endif
