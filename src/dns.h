/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DNS questions with cache, options and CNAME chains.  Floor: drivers.  Manual: dns_* main options. */
#ifndef DNS_H
#define DNS_H

#include "formats/dns_message.h"
#include "policy/expand.h"

enum dns_status { DNS_SUCCEED, DNS_NOMATCH, DNS_NODATA, DNS_AGAIN, DNS_FAIL };

struct dns_query_opts {
  bool want_dnssec;
  bool qualify_single, search_parents;
  int retrans_sec, retry;   /* 0: the main options */
  int cname_limit;          /* -1: main option dns_cname_loops */
};

/* Ask (or answer from the per-process cache) and follow CNAMEs over several queries.  On success ret is in x->a (tainted) and *ret_final (may be NULL)
 * the canonical name.  A loop or a malformed answer without usable records is DNS_AGAIN / DNS_FAIL, as the table in doc/limits.txt says. */
enum dns_status dns_lookup(struct expand_ctx *x, const char *name, int type, const struct dns_query_opts *o,
                           struct dns_answer *ret, const char **ret_final);
bool dns_is_secure(struct expand_ctx *x, const struct dns_answer *a);
void dns_cache_clear(void);

#endif
