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

/* ---- for arc_verify.c, too ---- */

/* A digest of the body for this signature, a new one when no other wants the same. */
struct dkim_body *dkim_body_for(struct dkim_state *s, const struct dkim_signature *sig);
bool dkim_body_matches(const struct dkim_body *b, const struct dkim_signature *sig);
/* The first record of the signature's name that is a key: WHY_NOTHING, or why there is none. */
enum dkim_reason dkim_find_key(struct expand_ctx *x, const struct dkim_signature *sig, struct dkim_key *ret);
/* dkim_verify_min_keysizes: "rsa=1024 ed25519=250". */
int dkim_min_bits(struct expand_ctx *x, enum dkim_keytype keytype);
/* The digest of the header lines in h= and of the signature's own line. */
void dkim_sum_headers(struct arena *a, const struct dkim_state *s, const struct dkim_signature *sig, struct str line, struct dkim_sum *ret);

#endif
