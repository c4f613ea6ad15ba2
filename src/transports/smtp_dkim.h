/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signing of outgoing messages.  Floor: drivers.  Manual 58.2; RFC 6376 section 5. */
#ifndef TRANSPORTS_SMTP_DKIM_H
#define TRANSPORTS_SMTP_DKIM_H

#include "transports/smtp_priv.h"

/* Put DKIM-Signature: lines in front of the header lines, made by transport_prepare_headers(), when the transport signs.  A transport filter is run
 * here, once: its output is kept, o says where, and *headers is what stands before it; smtp_dkim_done() closes it.
 * 0; a negative errno: the message must not leave (d->write_fault says why when it is -EPROTO).  Failures that do not matter (dkim_strict) are logged. */
MUST_CHECK int smtp_dkim_sign(struct smtp_attempt *s, struct write_opts *o, struct strbuf *headers);
void smtp_dkim_done(struct write_opts *o);

#endif
