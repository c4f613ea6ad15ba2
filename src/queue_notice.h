/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a process of the daemon tells the queue manager: one datagram each.  Floor: flows.
 *
 * Sessions talk to strangers, so what they send is read like anything foreign: a pure function with bounds, and nothing but a message id, a queue name
 * or a pattern for -R comes through.  Text read points into the datagram. */
#ifndef QUEUE_NOTICE_H
#define QUEUE_NOTICE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"
#include "base/str.h"

enum { QUEUE_NOTICE_MAX = 1280, QUEUE_NOTICE_PATTERN_MAX = 1000, QUEUE_NOTICE_KEY_MAX = 64 };

struct queue_notice {
  enum { QUEUE_NOTICE_MESSAGE /* deliver id */, QUEUE_NOTICE_RUN /* a queue run for the recipients that match */ } kind;
  const char *id;
  const char *queue;        /* "": the default one */
  bool hold_smtp;           /* remote addresses are routed and wait */
  const char *pattern;      /* as of -R, may be empty */
  const char *serialize_key;/* hints record (database "misc") to take away when the run is over, "" none */
};

/* Bytes written into buf (QUEUE_NOTICE_MAX of it); 0: it does not fit. */
size_t queue_notice_write(char *buf, const struct queue_notice *n);
MUST_CHECK bool queue_notice_read(struct str bytes, struct queue_notice *ret);

#endif
