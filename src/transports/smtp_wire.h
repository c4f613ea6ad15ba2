/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sending a body as its -D file has it, by BDAT.  Floor: drivers.  Manual ch. 14 (spool_wireformat), 57. */
#ifndef TRANSPORTS_SMTP_WIRE_H
#define TRANSPORTS_SMTP_WIRE_H

#include "transports/smtp_priv.h"

/* Bytes of the body when a BDAT chunk written with o may hold it unchanged: it is in wire form all through and large enough to be worth it.
 * -1: it must be written line by line. */
int64_t smtp_wire_body_size(const struct smtp_attempt *s, const struct write_opts *o);
/* Send it behind what was written; before bytes of the content have been.  0 or -EPIPE, the failure is noted then. */
int smtp_wire_send_body(struct smtp_attempt *s, int64_t size, int64_t before);

#endif
