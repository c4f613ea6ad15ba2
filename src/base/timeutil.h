/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Wall clock, monotonic clock, and Exim's time notations.  Floor: base.
 *
 * Every clock reading of the program goes through this file so that tests can replace it.
 * Deadlines are absolute monotonic milliseconds; DEADLINE_NEVER waits for ever.
 * Time notation (manual ch. 6 "Time intervals"): 3w2d1h30m15s, optional fraction on seconds. */
#ifndef BASE_TIMEUTIL_H
#define BASE_TIMEUTIL_H

#include <sys/time.h>
#include <time.h>

#include "base/str.h"

typedef int64_t deadline_ms;
#define DEADLINE_NEVER INT64_MAX

struct timeval time_now(void);
time_t time_sec(void);
/* Of a stamp in a record: it lies so far ahead that the clock must have been wrong when it was written (hosts that share a spool may differ a little).
 * What it says must not hold until that time comes. */
static inline bool time_is_ahead(int64_t stamp, int64_t now) { return stamp - now > 60; }
int64_t time_mono_ms(void);
/* Deadline timeout_sec from now; <= 0 means never. */
deadline_ms deadline_in_sec(int64_t timeout_sec);
deadline_ms deadline_in_ms(int64_t timeout_ms);
/* Milliseconds left, >= 0, capped to INT_MAX; -1 for DEADLINE_NEVER (what poll() wants). */
int deadline_poll_ms(deadline_ms d);
bool deadline_passed(deadline_ms d);
/* Tests only: add to every wall-clock reading. */
void time_set_offset_sec(int64_t offset_sec);

/* Parse an interval; fractional seconds allowed only when want_ms (result in ms), else seconds. */
MUST_CHECK bool time_parse_interval(struct str s, bool want_ms, int64_t *ret);
/* "1w2d", "0s", as Exim prints intervals.  buf of at least 48 bytes; returns buf. */
char *time_format_interval(int64_t sec, char *buf, size_t size);

enum time_style {
  TIME_LOG,        /* 2025-03-04 10:11:12[.mmm][ +hhmm]: log stamp */
  TIME_LOG_BARE,   /* the same, never a zone */
  TIME_FULL,       /* Tue, 04 Mar 2025 10:11:12 +0000: RFC 5322 */
  TIME_BSD_INBOX,  /* Tue Mar  4 10:11:12 2025: mbox separator */
  TIME_ZULU,       /* 20250304101112Z */
  TIME_ZONE,       /* +0000 */
  TIME_LOGFILE,    /* 20250304 */
  TIME_NAMED_ZONE  /* Mar  4 10:11:12 2025 CET: dates of certificates */
};
struct time_opts {
  bool want_msec; /* TIME_LOG: milliseconds */
  bool want_zone; /* TIME_LOG: zone */
  bool utc;       /* show UTC instead of local time (option timezone = UTC) */
};
/* Format into buf (>= 48 bytes); returns buf. */
char *time_format(struct timeval tv, enum time_style style, struct time_opts o, char *buf, size_t size);

#endif
