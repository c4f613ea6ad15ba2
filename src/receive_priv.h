/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the receive*.c files: the state of one reception.  Floor: flows. */
#ifndef RECEIVE_PRIV_H
#define RECEIVE_PRIV_H

#include "os/log.h"
#include "os/stream.h"
#include "receive.h"

struct reception {
  struct conn *c;
  struct message *m;
  struct expand_ctx *x;
  struct acl_env *env;
  struct body_source *src;
  bool is_smtp;              /* an SMTP dialogue: replies; false for -bm and -bS */
  bool is_local;             /* local submission or submission mode: fix-ups apply */
  bool extract_recipients;   /* -t: Bcc: is taken off */
  struct str rest;           /* bytes got from the source and not used yet */
  bool at_end;
  int64_t size_limit, body_read, header_bytes, header_lines; /* headers: with the empty line behind them */
  int64_t line_len;
  bool in_body;
  bool saw_resent, blank_line_added;
  bool accepted_from_line;   /* a UUCP From line may stand at the start */
  const char *from_line_sender;
  int source_error;          /* BODY_* or 0 */
  /* Local submissions: envelope from the headers, before the fix-ups.  False: *ret is the end. */
  bool (*after_headers)(struct reception *r, struct receive_reply *ret);
  void *ctx;
  const struct submit_opts *examined_by; /* its examine() takes the message; NULL: it is stored */
  /* outcome when the message cannot be taken: */
  const char *reply;         /* "552 ..." */
  bool temporary;
  bool keep_body;            /* the caller tells the sender about a refusal: */
  int kept_body_fd;          /* then a descriptor of the data file, the caller's to close; -1 none */
};

/* receive.c */
struct receive_reply receive_run_reception(struct reception *r);

/* receive_headers.c */
/* Read up to the end of the header section.  False: r->source_error or r->reply says why. */
bool receive_read_headers(struct reception *r);
/* Qualify and rewrite addresses in header lines, add what local submissions lack. */
void receive_fix_headers(struct reception *r);
/* Make or refresh (time stamp) the Received: line at the front. */
bool receive_make_received(struct reception *r, bool refresh);
/* Put lines added by ACLs in their places and mark those that were removed. */
void receive_apply_acl_headers(struct expand_ctx *x, struct message *m);

/* smtp_in_prdr.c */
/* The replies for each recipient, when the client asked for them; refused recipients are taken off.  False: nobody is left, *ret is the
 * end (nothing abandoned yet).  *ret_text: what the last reply says when the message is taken. */
bool smtp_run_prdr(struct reception *r, struct receive_reply *ret, const char **ret_text);

/* receive_log.c */
void receive_log_arrival(struct reception *r);
const char *receive_ident(const struct reception *r);

#endif
