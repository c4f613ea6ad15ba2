/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Callouts: asking a remote server whether it takes an address.  Floor: flows.  Manual ch. 44 "Callout verification". */
#ifndef VERIFY_CALLOUT_H
#define VERIFY_CALLOUT_H

#include "address.h"
#include "policy/acl.h"

/* The address was routed.  OK (also when nobody is to be asked), FAIL, or DEFER; ret is filled.  Replies that wait are sent before the first
 * connection, unless control = no_callout_flush forbids it. */
enum outcome callout_verify(struct acl_env *env, struct expand_ctx *x, struct address *addr, const struct verify_opts *o,
                            struct verify_report *ret);

#endif
