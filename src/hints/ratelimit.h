/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ACL condition ratelimit: smoothed rates in the hints database "ratelimit".  Floor: drivers.  Manual ch. 44 "Rate limiting incoming messages". */
#ifndef HINTS_RATELIMIT_H
#define HINTS_RATELIMIT_H

#include "formats/hints_record.h"
#include "policy/acl.h"

/* arg: "limit / period / options / key", expanded.  OK: the rate has reached the limit.  Sets $sender_rate, $sender_rate_limit, $sender_rate_period.
 * DEFER: no database; ERROR: *ret_log says what is wrong with arg. */
enum outcome ratelimit_check(struct expand_ctx *x, enum acl_where where, const char *arg, const char **ret_log);

/* The new smoothed rate per period when count events are added interval_sec after the last ones. */
double ratelimit_smooth(double old_rate, double interval_sec, double period_sec, double count);
/* Was the event in the set?  It is put in when add is true.  bits: bytes*8 bits, bytes > 0. */
bool ratelimit_seen(uint8_t *bits, uint32_t bytes, struct str event, bool add);

#endif
