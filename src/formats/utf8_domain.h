/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Internationalised addresses: domains as A-labels (IDNA 2008), local parts as Punycode behind "xn--".  Floor: formats (pure; input hostile).
 * RFC 3492, 5890, 6530; manual ch. 60. */
#ifndef FORMATS_UTF8_DOMAIN_H
#define FORMATS_UTF8_DOMAIN_H

#include "base/arena.h"
#include "base/str.h"

/* No byte above 127? */
bool utf8_is_ascii(struct str s);
/* Each returns a new text in the arena (tainted as the input), or NULL with *ret_error (static text).  Plain ASCII comes back as it is; from_alabel
 * of a local part without the prefix is an error. */
const char *utf8_domain_to_alabel(struct arena *a, const char *domain, const char **ret_error);
const char *utf8_localpart_to_alabel(struct arena *a, struct str local, const char **ret_error);
const char *utf8_localpart_from_alabel(struct arena *a, struct str local, const char **ret_error);
/* Local part and domain; "" and addresses without a domain pass. */
const char *utf8_address_to_alabel(struct arena *a, const char *address, const char **ret_error);

#endif
