/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to route*.c: one router's run split by phase.  Floor: flows. */
#ifndef ROUTE_PRIV_H
#define ROUTE_PRIV_H

#include "router.h"

enum route_pre { ROUTE_PRE_OK, ROUTE_PRE_SKIP, ROUTE_PRE_DEFER };

/* Length of the prefix (suffix) of s that the pattern takes, -1 none; *ret_wild: bytes its asterisk took. */
int route_prefix_match(const char *pattern, struct str s, size_t *ret_wild);
int route_suffix_match(const char *pattern, struct str s, size_t *ret_wild);
/* Preconditions in the manual's order (ch. 3.12); on DEFER addr->message says why. */
enum route_pre route_preconditions(struct route_ctx *rc, struct router *r, struct address *addr);
/* set = and address_data =.  OK, DECLINE (forced failure of address_data), DEFER. */
enum route_result route_set_variables(struct route_ctx *rc, struct router *r, struct address *addr);
/* translate_ip_address, on the hosts of addr.  OK or DEFER. */
enum route_result route_translate_hosts(struct route_ctx *rc, struct router *r, struct address *addr);
/* File test of require_files for a user: walks the path's permission bits.  1 there, 0 not there, -errno. */
int route_file_exists(uid_t uid, gid_t gid, bool has_user, const char *path);

#endif
