/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verifying the DKIM signatures of a message while it comes in.  Floor: drivers (asks the DNS).  RFC 6376 section 6; manual 58.3.
 *
 * begin: the header section is complete; body: bytes of the body as they are stored; finish: the body is complete.  Results are in
 * x->msg->dkim.  What the client sent is judged, so begin comes before any header line is changed. */
#ifndef DKIM_VERIFY_H
#define DKIM_VERIFY_H

#include "policy/dkim.h"
#include "policy/expand.h"

/* Find the signatures.  Logs "DKIM: validation error: EXCESS_SIGS" when there are too many. */
void dkim_verify_begin(struct expand_ctx *x);
void dkim_verify_body(struct dkim_state *s, const void *p, size_t n);
/* Look up keys, check.  Sets $dkim_signers.  Logs keys that cannot be used, and why verification was given up. */
void dkim_verify_finish(struct expand_ctx *x);

#endif
