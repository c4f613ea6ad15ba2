/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checking senders by SPF, with the DNS of dns.h.  Floor: drivers.  Manual 58.4. */
#ifndef SPF_H
#define SPF_H

#include "base/outcome.h"
#include "policy/expand.h"
#include "policy/spf.h"

/* The ACL conditions: check the sender of x->msg (once: a message keeps what was found) and look for the result in the list.  use_guess: where a domain
 * says nothing, spf_guess speaks for it. */
enum outcome spf_condition(struct expand_ctx *x, bool use_guess, const char *list, const char **ret_log);
/* The check alone, for an address and a client. */
enum spf_result spf_check_address(struct expand_ctx *x, const char *address, const struct ip *ip);

#endif
