/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The argument of ATRN: a list of domains.  Floor: formats.  RFC 2645 section 5.2. */
#ifndef FORMATS_ATRN_DOMAINS_H
#define FORMATS_ATRN_DOMAINS_H

#include "base/str.h"

enum { ATRN_DOMAIN_MAX = 255 };

/* Is this the name of one domain: labels of letters, digits, '-' and '_' with single dots between them, at most ATRN_DOMAIN_MAX bytes? */
bool atrn_domain_is_valid(struct str name);
/* Cut the first of "domain,domain" off *list.  False: there is none, or what stands there is none.  The result lies inside the list. */
bool atrn_next_domain(struct str *list, struct str *ret);
/* Is the whole of it such a list?  An empty one is: the client asks for all that is its own. */
bool atrn_list_is_valid(struct str list);

#endif
