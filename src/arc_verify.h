/* SPDX-License-Identifier: GPL-2.0-or-later */
/* verify = arc.  Floor: drivers (asks the DNS).  RFC 8617 section 5.2. */
#ifndef ARC_VERIFY_H
#define ARC_VERIFY_H

#include "policy/arc.h"
#include "policy/expand.h"

/* The header lines are complete: find the sets, and when want_body is set have the body digested for them too.  NULL: there are none. */
struct arc_chain *arc_find_chain(struct arena *a, struct dkim_state *s, bool want_body);
/* The ACL condition: is the state of the chain in the list (colon-separated, "" for none and pass)?  Sets x->msg->arc once. */
enum outcome arc_verify(struct expand_ctx *x, const char *list, const char **ret_log);

#endif
