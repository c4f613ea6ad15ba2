/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Receiving one message: body and headers into the spool, ACLs at its end, the "<=" line.  Floor: flows.  Manual ch. 47. */
#ifndef RECEIVE_H
#define RECEIVE_H

#include "message.h"
#include "policy/acl.h"

/* Where body bytes come from.  next: up to 16 KiB of body in spool form (LF line ends, dots removed) or 0 at the end of the message; <0: enum below. */
enum { BODY_EOF_EARLY = -1, BODY_TIMEOUT = -2, BODY_IO = -3, BODY_PROTOCOL = -4, BODY_ABORTED = -5 /* the client gave the message up; it has its answer */ };
struct body_source {
  ssize_t (*next)(struct body_source *s, const char **ret_p);
  /* Read and throw away the rest after an error, so that no body byte is ever taken for a command. */
  void (*drain)(struct body_source *s);
  /* Set by the receiver behind the headers: from now on in wire form (formats/wire_body.h), each CR LF in one piece.  Only for sources of CHUNKING. */
  bool want_wire;
  void *ctx;
};

enum receive_result { RECEIVE_ACCEPTED, RECEIVE_REJECTED /* 5xx */, RECEIVE_TEMPFAIL /* 4xx */, RECEIVE_LOST /* peer gone: nothing to say */,
                      RECEIVE_DISCARDED };
struct receive_reply {
  enum receive_result result;
  const char *smtp_text;   /* whole reply text with code, without CRLF: "250 OK id=..." */
  bool drop;               /* close afterwards */
  bool by_acl;             /* refused by the non-SMTP ACL */
  bool lost_in_body;       /* RECEIVE_LOST: behind the headers */
  bool blank_line_added;   /* the headers were not ended by one */
};

/* Take the message whose envelope is in m from the source: checks sizes, parses headers, makes Received:, fixes up local submissions, runs the DATA
 * (or not_smtp) ACL, commits to the spool, logs "<=" or the rejection.  The caller sends the reply and then starts the delivery. */
struct receive_reply receive_message(struct conn *c, struct message *m, struct expand_ctx *x, struct acl_env *env,
                                     struct body_source *src);

/* Write a rejection line to the logs of dest; the reject log also gets the envelope and the headers of m. */
void receive_log_reject(const struct message *m, unsigned dest, const char *line);

/* " X=... CV=... DN=... SNI=..." as the selectors have it; nothing without TLS. */
void receive_log_add_tls(struct strbuf *b, const struct tls_info *t);

/* " L..." as log lines of reception show pipelining. */
void receive_log_add_pipelining(struct strbuf *b, const struct conn *c);

/* Add a recipient and remember how it was written. */
void receive_add_recipient(struct message *m, const char *address, const char *raw);

/* Is there room on the spool and log partitions for a message of that size (check_spool_space and friends)?  Logs when not. */
bool receive_space_available(const struct config *cfg, int64_t message_bytes);

/* message_size_limit as it is now.  False: x->error; *ret_what: how the log line begins. */
bool receive_size_limit(struct expand_ctx *x, int64_t *ret, const char **ret_what);

struct submit_opts {
  const char *const *recipients;
  size_t recipient_count;
  bool extract_recipients;       /* -t */
  bool dot_ends;                 /* not -i */
  const char *sender;            /* -f, NULL */
  const char *full_name;         /* -F */
  enum { ERRORS_SENDER, ERRORS_STDERR } error_handling;
  int error_exit;
  bool delivery_foreground, queue_only; /* -odf/-odi; -odq, or the option of that name, unless -od overrides it */
  const char *bounce_of;         /* internal submissions */
  bool is_local_error;           /* -E: a report or an answer made here; when it freezes, nobody is told */
  bool is_bounce_machine;
  int fd;
  /* -bf, -bem: looks at the complete message instead of storing it; no ACL runs, nothing is logged, no spool file stays.  NULL: an ordinary submission. */
  void (*examine)(void *ctx, struct message *m, struct expand_ctx *x, const char *from_line_sender, bool had_headers);
  void *examine_ctx;
};
/* -bm, -t and friends: read a message from o->fd.  Exit status for the process. */
int receive_submission(struct conn *c, const struct submit_opts *o);

/* queue_only_load: is the load too high for deliveries now? */
bool receive_load_is_high(struct conn *c, double *ret_load);
/* Hand an accepted message to delivery as asked (-odi foreground, -odq not, else queue manager or a forked child). */
void receive_start_delivery(struct conn *c, const struct message *m, bool foreground, bool queue_only);

#endif
