/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the hints tools share: arguments, record texts, ids on the queue.  Floor: main. */
#ifndef UTILS_HINTS_TEXT_H
#define UTILS_HINTS_TEXT_H

#include "base/strbuf.h"
#include "base/vec.h"
#include "hints/hints.h"

enum hints_kind { KIND_RETRY, KIND_MISC, KIND_WAIT, KIND_CALLOUT, KIND_RATELIMIT, KIND_TLS, KIND_SEEN, KIND_UNKNOWN };

struct hints_args {
  const char *spool, *name;
  enum hints_kind kind;
  bool utc, keys_only;
  bool early;      /* -e: EHLO records only, one line of name=value each */
  int64_t age_sec; /* -t, default 30 days */
};

/* Parse argv; prints usage on standard output and returns false when it is wrong.  options: letters allowed of "kzte". */
MUST_CHECK bool hints_parse_args(int argc, char **argv, const char *program, const char *options, struct hints_args *ret);
/* "dd-Mon-yyyy hh:mm:ss" in the arena. */
const char *hints_time_text(struct arena *a, int64_t sec, bool utc);
/* The lines exim_dumpdb shows for a record, each ending in \n; "" when the record is damaged. */
const char *hints_record_text(struct arena *a, const struct hints_args *args, const char *key, struct str record);
/* One line about an EHLO record for programs; "" when it is none. */
const char *hints_early_text(struct arena *a, const char *key, struct str record);
/* All keys, sorted. */
struct vec hints_all_keys(struct hints_db *db, struct arena *a);
/* Is a message with that id on the queue (any sub-directory of input/)? */
bool hints_id_is_queued(const char *spool, const char *id);

#endif
