/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections that ATRN turns round, as the smtp transport sees them.  Floor: drivers.  RFC 2645.
 *
 * Provider: the connection was made by the host that now becomes the server.  Deliveries borrow it one after the other, each in its own attempt with the
 * dialogue of every other delivery; greeting, EHLO, and STARTTLS and AUTH where the transport wants them, happen in the first.
 * Customer: a connection of the transport's own, on which ATRN is said and then the other side talks.
 * Hostile: every reply.  What lives as long as the connection is in the arena given with it. */
#ifndef TRANSPORTS_SMTP_TURNED_H
#define TRANSPORTS_SMTP_TURNED_H

#include "conn.h"
#include "pipe_connect.h"
#include "transport.h"

struct smtp_turned {
  struct arena *a;             /* of the connection */
  struct stream *io;
  const struct atrn_turn *turn;
  const char *host_address;    /* of the other end */
  int host_port;
  struct tls_info tls;         /* active: it is inside TLS */
  bool is_dead;                /* nothing more goes over it */
  /* filled by the first delivery */
  bool is_greeted, is_dirty;   /* dirty: the server is in the middle of a transaction */
  struct ehlo_facts facts;
  const char *greeting, *ehlo_reply, *auth_name, *auth_id;
  int sequence;                /* messages so far */
};

struct smtp_job;
/* Deliver d over d->turned.  list: where its addresses are routed to; what is not for the other end of the connection waits.  No retry clock runs
 * for it: that somebody who fetches his mail went away says nothing about a host. */
void smtp_turned_deliver(struct delivery *d, struct host *list);
/* The end: the greeting if nobody has read it yet, then QUIT and its reply.  The stream stays the owner's. */
void smtp_turned_quit(struct smtp_turned *t);

/* What became of asking for the mail. */
struct turned_answer {
  bool is_turned;
  const char *host_name, *host_address; /* spoken to, NULL none */
  int host_port;
  int code;                    /* of the reply to ATRN, 0: it did not get that far */
  const char *text;            /* why not, for a log line */
  struct stream *io;           /* in x's arena, like all else here */
  struct tls_info tls;
};
/* Go to the hosts of addr until one is connected, greet it as the transport says, and say ATRN with these domains ("": all). */
void smtp_turned_ask(struct expand_ctx *x, struct transport *t, struct address *addr, const char *domains, struct turned_answer *ret);

#endif
