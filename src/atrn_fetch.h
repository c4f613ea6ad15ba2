/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ATRN, the customer's side: exim -atrn HOST DOMAINS.  Floor: flows.  RFC 2645; doc/atrn.txt. */
#ifndef ATRN_FETCH_H
#define ATRN_FETCH_H

#include "conn.h"
#include "smtp_in.h"

/* Fetch the mail that HOST keeps for the domains ("a,b"; "": all of ours): the address atrn@HOST is routed, with $atrn_mode and $atrn_host set, the smtp
 * transport it is routed to connects, greets, authenticates and says ATRN, and then a session like any other takes the mail in.  c: the caller's;
 * it becomes the connection to the host.  Failures go to the main log and to stderr.  The exit status: 0 also when there is no mail. */
int atrn_fetch(struct conn *c, const char *host, const char *domains, const struct smtp_opts *o);

#endif
