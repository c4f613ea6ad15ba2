/* SPDX-License-Identifier: GPL-2.0-or-later */
/* acl_smtp_mime and acl_not_smtp_mime.  Floor: flows.  Manual 45.4. */
#ifndef RECEIVE_MIME_H
#define RECEIVE_MIME_H

#include "receive_priv.h"

/* Run the ACL for each part.  False: the message is refused, *ret is the end (nothing abandoned yet). */
bool receive_check_mime(struct reception *r, struct receive_reply *ret);

#endif
