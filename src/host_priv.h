/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to the host_*.c files.  Floor: drivers. */
#ifndef HOST_PRIV_H
#define HOST_PRIV_H

#include "dns.h"
#include "host.h"

/* Find the addresses of h->name in the DNS (or take it as an address when allowed): h becomes a chain, each with an address and a sort
 * key base + random (+500 for v4 unless v4 goes first).  *ret_last: last host of the chain. */
enum host_find host_set_addresses(struct expand_ctx *x, struct host *h, const struct host_find_opts *o, int base, struct host **ret_last);
/* Is the address in ignore_target_hosts? */
bool host_is_ignored(struct expand_ctx *x, const struct host_find_opts *o, const char *name, const char *address);
/* Is the domain in the list, narrated without a name; unset is no. */
bool host_name_in(struct expand_ctx *x, const char *name, const char *list);
/* Wanted DNSSEC by the two domain lists of o (narrated). */
bool host_wants_dnssec(struct expand_ctx *x, const struct host_find_opts *o, const char *name, bool *ret_required);
enum outcome host_mx_is_local(struct expand_ctx *x, const char *domain, char which, const char *ignore);

#endif
