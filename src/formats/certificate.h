/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fields of an X.509 certificate as ${certextract shows them.  Floor: formats, pure.  RFC 5280, 4514; manual ch. 11.
 *
 * The certificate is the peer's and hostile; GnuTLS takes it apart.  Results are in the arena and as tainted as the certificate. */
#ifndef FORMATS_CERTIFICATE_H
#define FORMATS_CERTIFICATE_H

#include "base/arena.h"

enum certificate_result {
  CERTIFICATE_FOUND,
  CERTIFICATE_ABSENT,       /* it has no such field */
  CERTIFICATE_BAD_SELECTOR, /* no field is called so */
  CERTIFICATE_UNREADABLE
};

/* selector: a field, then modifiers behind commas: an RDN type (CN, O ...), dns, uri, mail, int, ">x" for the separator of a list. */
enum certificate_result certificate_field(struct arena *a, const char *pem, const char *selector, bool utc, const char **ret);

#endif
