/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Talking to a server without (or before) a message: callouts, and the connection of a cutthrough delivery.  Floor: drivers.  Manual ch. 44.
 *
 * A probe is one connection of the smtp transport: same interface, HELO name, options and dialogue.  It owns an arena; answers are copied into the
 * arena of the caller's context, replies in them are tainted.  When the host may be talked to early (pipe_connect.h), the first MAIL and RCPT leave with
 * EHLO; an early connection that proves nothing is followed by a plain one inside smtp_probe_open(), so that every answer is one to be believed (K3). */
#ifndef TRANSPORTS_SMTP_PROBE_H
#define TRANSPORTS_SMTP_PROBE_H

#include "transport.h"

struct smtp_probe;

enum probe_verdict { PROBE_YES /* 2xx */, PROBE_NO /* 5xx */, PROBE_LATER /* anything else, no reply at all */ };
enum probe_stage { PROBE_AT_CONNECT, PROBE_AT_GREETING, PROBE_AT_HELO, PROBE_AT_MAIL, PROBE_AT_RCPT, PROBE_AT_RSET,
                   PROBE_AT_DATA, PROBE_AT_END };

struct probe_answer {
  enum probe_verdict verdict;
  enum probe_stage stage;
  bool is_lost;            /* the connection cannot be used any more */
  bool was_closed;         /* by the server, instead of a reply */
  int connect_errno;       /* PROBE_AT_CONNECT; 0 else */
  const char *command;     /* as sent: "MAIL FROM:<>" */
  const char *reply;       /* whole reply, lines joined by newlines; NULL: there was none */
  const char *text;        /* as a delivery would log it */
};

struct probe_opts {
  struct expand_ctx *x;    /* texts of answers go to its arena */
  struct transport *transport;
  struct address *addr;    /* routed */
  struct host *host;
  int port;                /* of the transport, for a host that names none */
  int64_t connect_timeout, command_timeout; /* seconds, 0: the transport's */
  /* What will be asked first, as smtp_probe_mail() and smtp_probe_rcpt() get it; recipient NULL: not known yet, nothing leaves early. */
  const char *sender, *recipient;
  int64_t size;
};

/* Can this transport be asked? */
bool smtp_probe_possible(const struct transport *t);
/* Hosts to ask for an address, and the port; NULL with *ret_error.  ctx: hosts without addresses are looked up by smtp_probe_find(). */
struct host *smtp_probe_host_list(struct expand_ctx *x, struct transport *t, struct address *addr, int *ret_port, const char **ret_error);
/* Look up the addresses of a host of that list (it may become several); false: *ret_error. */
bool smtp_probe_find(struct expand_ctx *x, struct transport *t, struct address *addr, struct host *h, const char **ret_error);
/* Connect and greet.  NULL: *ret says why not, the connection is closed. */
struct smtp_probe *smtp_probe_open(const struct probe_opts *o, struct probe_answer *ret);
/* Does the server lack what the message's addresses need (SMTPUTF8)? */
bool smtp_probe_lacks_utf8(const struct smtp_probe *p);
/* MAIL; size < 0: not known.  RCPT; RSET.  True for 2xx; ret is always filled. */
bool smtp_probe_mail(struct smtp_probe *p, const char *sender, int64_t size, struct probe_answer *ret);
bool smtp_probe_rcpt(struct smtp_probe *p, const char *recipient, struct probe_answer *ret);
bool smtp_probe_rset(struct smtp_probe *p, struct probe_answer *ret);
/* QUIT when that is possible, close, free.  NULL allowed. */
void smtp_probe_close(struct smtp_probe *p);
/* Close without a word: another process goes on with the connection.  NULL allowed. */
void smtp_probe_abandon(struct smtp_probe *p);

/* --- keeping the connection for the message --- */

/* The server has taken this address: it is one of the recipients now.  Its memory must outlive the probe. */
void smtp_probe_keep(struct smtp_probe *p, struct address *addr);
/* Would this address go the same way: transport, first host, port, interface, sender? */
bool smtp_probe_fits(struct smtp_probe *p, struct expand_ctx *x, struct address *addr, struct host *first, int port, const char *sender);
/* Where answers go from now on; the host spoken to. */
void smtp_probe_use(struct smtp_probe *p, struct arena *out);
struct host *smtp_probe_host(const struct smtp_probe *p);
const char *smtp_probe_sender(const struct smtp_probe *p);
/* Recipients taken so far, newest first, linked by next. */
struct address *smtp_probe_recipients(const struct smtp_probe *p, size_t *ret_count);
/* DATA and the message of d, whose addrs are exactly the recipients.  YES: delivered, addresses filled as after a delivery.  NO, LATER: the answer to
 * the content; nothing is recorded or logged.  ret->stage < PROBE_AT_END: no content left. */
enum probe_verdict smtp_probe_send(struct smtp_probe *p, struct delivery *d, struct probe_answer *ret);
/* For the transport: deliver over d->held when its recipients and hosts are the same.  True: done, results are set. */
bool smtp_probe_take_over(struct delivery *d, struct host *list);

#endif
