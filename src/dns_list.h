/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ACL condition dnslists: is a host or a name on a list kept in the DNS?  Floor: drivers.  Manual ch. 44 "Using DNS lists". */
#ifndef DNS_LIST_H
#define DNS_LIST_H

#include "policy/expand.h"

/* list: the condition's text, not yet expanded.  OK: listed, and $dnslist_domain, $dnslist_matched, $dnslist_value and $dnslist_text are set (they live
 * as long as the connection).  DEFER only behind +defer_unknown; ERROR: the list cannot be expanded, *ret_log says why.  Answers are kept for the
 * connection, no longer than their TTL. */
enum outcome dns_list_check(struct expand_ctx *x, const char *list, const char **ret_log);

/* One item of the list: "domain[,domain][[!](=|&|==|=&)addresses][/keys]", taken apart in the arena.  False: no domain, or a bad address. */
struct dns_list_item {
  const char *domain;      /* looked up, and its addresses tested */
  const char *text_domain; /* of the TXT record and $dnslist_domain */
  const char *addresses;   /* comma list, NULL: anything in 127.0.0.0/8 */
  const char *keys;        /* list of keys, NULL: the calling host */
  bool is_mask, all, negated;
};
MUST_CHECK bool dns_list_parse(struct arena *a, struct str item, struct dns_list_item *ret);
/* Do the addresses found (const char *, at least one) satisfy the item? */
bool dns_list_accepts(const struct dns_list_item *item, const struct vec *found);

#endif
