/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Delivering one message: route, deliver, journal, retry, bounce, remove.  Floor: flows.  Manual ch. 3 "How Exim receives and delivers mail". */
#ifndef DELIVER_H
#define DELIVER_H

#include "base/outcome.h"
#include "message.h"

struct smtp_probe;
struct deliver_turn;

enum deliver_result { DELIVER_DONE /* attempted */, DELIVER_NOT_ATTEMPTED /* locked, gone, frozen, not due */, DELIVER_MUA_FAILED,
                      DELIVER_MANY_WAIT /* first pass: very many messages wait for a host of this one (queue_fast_ramp) */ };

struct deliver_opts {
  bool forced;          /* -M, -qf: ignore retry times and queue_domains */
  bool thaw;            /* -M, -qff: frozen too */
  bool give_up;         /* -Mg */
  const char *cancelled_by; /* with give_up: login for the log line, NULL none */
  bool in_queue_run;
  pid_t queue_run_pid;  /* of the process that walks over the queue, 0: none */
  bool local_only;      /* -ql */
  bool hold_smtp;       /* remote addresses are routed and wait for a queue run */
  bool first_pass;      /* -qq: remote addresses are routed and noted as waiting for their hosts, not sent */
  bool dont_deliver;    /* -N */
  bool foreground;      /* -odi: what is made on the way (bounces, replies) is delivered before the end, too */
  int64_t assumed_age_sec; /* harness: -Tqt */
  bool remote_only;     /* by a process without root: not attempted at all unless every recipient is routed to a remote transport */
  const struct deliver_turn *turn; /* over a connection that ATRN turned round, only what its other end may have; NULL none */
  struct smtp_probe **held; /* a connection that is open for this message (cutthrough.h), NULL none */
};
/* A connection that ATRN turned round, and for whom.  An attempt over it leaves all other recipients, and those who are not simply routed to a host,
 * as if nobody had looked at the message.  It needs no rights but those of the spool's owner. */
struct smtp_turned;
struct deliver_turn {
  struct smtp_turned *connection;
  const char *const *domains;   /* NULL-terminated */
};
/* Is the address in one of these domains? */
bool deliver_turn_wants(const char *const *domains, const char *address);

/* Run one attempt in this process, leaving nothing behind (its structs and arena are dropped).  The spool lock is held throughout. */
enum deliver_result deliver_message(const struct config *cfg, const char *id, const struct deliver_opts *o);

/* verify = recipient/quota: would the mailbox that addr was routed to take a message of that size (0 unknown)?  Its user's rights are taken when this process
 * can, else its own must do.  OK, FAIL: it is full, DEFER: nobody knows; texts as of a delivery in addr. */
struct expand_ctx;
struct address;
enum outcome deliver_check_quota(struct expand_ctx *x, struct address *addr, int64_t size);

/* Send a bounce for failed addresses, which all share one errors address / a warning for delayed ones: bounce.c.  The new message is on the spool
 * (synced) when this returns true; it is delivered inline in harness mode, else by the queue manager or a child. */
struct address;
struct expand_ctx;
bool bounce_send(struct message *m, struct expand_ctx *x, struct address *failed, const char *errors_to);
/* queued_sec: how long the message has been here.  The deferred addresses of the chain share one errors address. */
bool bounce_warn_delay(struct message *m, struct expand_ctx *x, struct address *deferred, const char *errors_to, int64_t queued_sec);
/* Tell the sender that these recipients got the message (NOTIFY=SUCCESS). */
bool bounce_send_success(struct message *m, struct expand_ctx *x, struct address *done);
/* "References: ..." for a report about the message, a line end behind it.  NULL: it has no id.  That of a message sent again is the one of its
 * Resent- lines. */
const char *bounce_references(struct arena *a, const struct message *m);
/* freeze_tell: the message has been frozen.  Reports that were made here are frozen in silence. */
struct frozen_facts {
  const char *why;                /* " (delivery error message)" or NULL */
  const char *on_arrival_by;      /* what froze it when it came in, or NULL */
  const struct address *deferred; /* still to be delivered */
};
void bounce_tell_frozen(struct message *m, struct expand_ctx *x, const struct frozen_facts *f);
/* syntax_errors_to of a redirect router: text is the body. */
void bounce_syntax_errors(struct message *m, struct expand_ctx *x, const char *to, const char *text);
/* Start the delivery of a message made inside this process (bounce, autoreply). */
void deliver_start_internal(const struct config *cfg, const char *id, bool foreground, bool hold_smtp);

#endif
