/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a process of the daemon tells the queue manager: one datagram each.  Floor: flows.
 *
 * Sessions talk to strangers, so what they send is read like anything foreign: a pure function with bounds,, and nothing but a message id, a queue name,
 * a pattern for -R or an address comes through.  Text read points into the datagram. */
#ifndef QUEUE_NOTICE_H
#define QUEUE_NOTICE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"
#include "base/outcome.h"
#include "base/str.h"

enum { QUEUE_NOTICE_MAX = 1280, QUEUE_NOTICE_PATTERN_MAX = 1000, QUEUE_NOTICE_KEY_MAX = 64, QUEUE_ANSWER_MAX = 2048 };

struct queue_notice {
  enum { QUEUE_NOTICE_MESSAGE /* deliver id */, QUEUE_NOTICE_RUN /* a queue run for the recipients that match */,
         QUEUE_NOTICE_QUOTA /* is there room for address? */ } kind;
  const char *id;
  const char *queue;        /* "": the default one */
  bool hold_smtp;           /* remote addresses are routed and wait */
  const char *pattern;      /* as of -R, may be empty */
  const char *address;      /* with QUEUE_NOTICE_QUOTA; the answer goes to the socket that came with the notice */
  int64_t size;             /* of the message, 0 unknown */
  const char *serialize_key;/* hints record (database "misc") to take away when the run is over, "" none */
};

/* Bytes written into buf (QUEUE_NOTICE_MAX of it); 0: it does not fit. */
size_t queue_notice_write(char *buf, const struct queue_notice *n);
MUST_CHECK bool queue_notice_read(struct str bytes, struct queue_notice *ret);

/* What is answered about a quota: a verdict and two texts (NULL none), cut when they are too long for QUEUE_ANSWER_MAX. */
struct queue_answer {
  enum outcome outcome; /* OK, FAIL, DEFER */
  const char *user, *log;
};
size_t queue_answer_write(char *buf, const struct queue_answer *r);
MUST_CHECK bool queue_answer_read(struct str bytes, struct queue_answer *ret);

#endif
