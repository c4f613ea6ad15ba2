/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What callouts have found out (hints database "callout").  Floor: drivers.  Manual ch. 44 "Callout caching".
 *
 * Two kinds of record: one for a domain (does it take MAIL FROM:<>, postmaster, any local part?), one for an address, which has the sender behind a
 * slash when the callout had one.  A record that does not decode, or is too old, counts as absent. */
#ifndef HINTS_CALLOUT_CACHE_H
#define HINTS_CALLOUT_CACHE_H

#include "hints/hints.h"
#include "policy/expand.h"

enum { CALLOUT_UNKNOWN, CALLOUT_ACCEPT, CALLOUT_REJECT, CALLOUT_REJECT_NULL };

struct callout_facts {
  struct hints_callout domain;  /* result, postmaster_result, random_result: CALLOUT_UNKNOWN when absent or too old */
  int address_result;
  bool domain_is_new, address_is_new; /* to be written */
};

/* Key of the record of an address. */
const char *callout_cache_key(struct arena *a, const char *address, const char *sender);
/* Read both records, as far as they are wanted: the address is not looked up when the domain already decides.  Narrates. */
void callout_cache_read_domain(struct expand_ctx *x, const char *domain, struct callout_facts *ret);
void callout_cache_read_address(struct expand_ctx *x, const char *key, struct callout_facts *ret);
/* Write what is new. */
void callout_cache_write(struct expand_ctx *x, const char *domain, const char *key, struct callout_facts *facts);
/* Pure: what of a domain's record still counts at a time. */
struct hints_callout callout_cache_still_good(struct hints_callout r, int64_t now, int64_t positive_sec, int64_t negative_sec);

#endif
