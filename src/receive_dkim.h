/* SPDX-License-Identifier: GPL-2.0-or-later */
/* acl_smtp_dkim and the log lines about signatures.  Floor: flows.  Manual 58.3. */
#ifndef RECEIVE_DKIM_H
#define RECEIVE_DKIM_H

#include "receive_priv.h"

/* The body is complete: verify, log "DKIM: d=...", run the ACL.  False: it refused the message, *ret is set (nothing abandoned yet). */
bool receive_check_dkim(struct reception *r, struct receive_reply *ret);

#endif
