/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sealing of outgoing messages (ARC).  Floor: drivers.  RFC 8617 section 5.1; README.EXPERIMENTAL (arc_sign). */
#ifndef TRANSPORTS_SMTP_ARC_H
#define TRANSPORTS_SMTP_ARC_H

#include "formats/dkim_canon.h"
#include "formats/dkim_crypto.h"
#include "transports/smtp_priv.h"

struct arc_signer {
  bool is_wanted;
  const char *admd, *selector;
  struct dkim_private_key key;
  int64_t created, expires;        /* 0 none */
  struct dkim_digest digest;       /* of the body, relaxed */
  struct dkim_canon canon;
};

/* Expand arc_sign, load its key, start the digest.  What goes wrong is logged, and the message leaves without a seal. */
void smtp_arc_prepare(struct smtp_attempt *s, struct expand_ctx *x, struct arc_signer *k);
/* The body has been fed to k->canon.  lines: the header lines as they go out.  The three new lines are added to out. */
void smtp_arc_seal(struct arena *a, struct arc_signer *k, const struct str *lines, size_t count, struct strbuf *out);
void smtp_arc_forget(struct arc_signer *k);

#endif
