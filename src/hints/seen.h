/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ACL condition seen: was this key met before?  Floor: drivers.  Manual ch. 44 "Previously seen user and hosts". */
#ifndef HINTS_SEEN_H
#define HINTS_SEEN_H

#include "base/outcome.h"
#include "policy/expand.h"

/* arg is expanded: "[-]interval / options".  *ret_log: why there is no answer.  DEFER when the database cannot be had. */
enum outcome seen_check(struct expand_ctx *x, const char *arg, const char **ret_log);

/* Pure: the arithmetic. */
struct seen_request {
  int64_t interval_sec, refresh_sec;
  bool is_before;            /* "-": a record from before the interval, else one from within it */
  bool is_readonly, is_write;
  const char *key;
};
struct seen_verdict {
  bool is_true;
  bool is_written;           /* at this time: */
  int64_t stamp;
};
struct seen_verdict seen_decide(const struct seen_request *q, bool found, int64_t stamp, int64_t now);

#endif
