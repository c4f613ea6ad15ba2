/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Transports: instances, the driver ABI, and writing a message out.  Floor: policy (objects) / drivers in transports/.  Manual ch. 24-30. */
#ifndef TRANSPORT_H
#define TRANSPORT_H

#include "address.h"
#include "base/timeutil.h"
#include "message.h"
#include "policy/config.h"
#include "policy/expand.h"

struct transport_driver;
struct stream;
struct smtp_probe;
struct smtp_turned;

struct transport_generic {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "policy/transport_options.def"
#undef OPT_ROW
};

struct transport {
  struct transport *next;
  const char *name;
  const struct transport_driver *driver;
  struct transport_generic o;
  struct opt_block *block;
  void *ob;
  struct opt_block *ob_block;
  struct rewrite_rule *rewrite_rules; /* headers_rewrite, parsed */
  bool permits_core;                  /* local: the process of the delivery may leave a core file */
  bool names_recipients;              /* to what takes the message (LMTP, BSMTP): the log shows them as named there */
  struct conf_pos pos;
};

/* Why writing a message failed with -EPROTO, when it was not an expansion (text NULL then). */
struct write_fault {
  int basic_errno;             /* ERRNO_FILTER_FAIL, ETIMEDOUT, ... */
  const char *text, *tail;     /* the driver puts what it was doing in between: "TEXT while writing to FILETAIL" */
  bool is_complete;            /* nothing is to be added */
  bool is_mistake;             /* of the configuration */
  bool is_final;               /* no later attempt will do better */
};

/* One delivery: a batch of addresses (linked by next, first is the leader) for one transport.  For remote transports all share the host list. */
struct delivery {
  const struct config *cfg;
  struct arena *arena;         /* of this delivery */
  struct message *msg;         /* headers, data_fd positioned by the callee with pread */
  struct transport *transport;
  struct address *addrs;
  struct expand_ctx *x;        /* addr = leader */
  const char *return_path;     /* sender to use */
  pid_t parent;                /* local: who waits for our answer and holds the message; 0: nobody */
  uid_t uid;                   /* local: we already run as this user */
  gid_t gid;
  const char *home, *cwd;
  bool dont_deliver;           /* -N */
  bool only_quota;             /* say whether there is room, leave everything as it is; only for drivers that know_quota */
  /* Remote only: after a message is done on an open connection the driver may ask for another message for the same host; NULL: none.
   * Gives the next message's delivery for that host, or NULL.  See deliver.h. */
  struct delivery *(*next_for_host)(struct delivery *d, const struct host *h, bool (*fits)(void *ctx, struct delivery *next), void *ctx);
  void (*one_done)(struct delivery *d); /* journal the results of that extra delivery */
  bool (*waits_for_host)(struct delivery *d, const struct host *h); /* is another message expected to come of it?  Only looks */
  /* The same in two steps, for a driver that wants to know the next message while the outcome of d is open: find_next leaves d alone.  Then one of:
   * go_on, when the results of d are in its addresses (journals them; false: next must not be sent); give_back: nothing of next was sent, it waits on. */
  struct delivery *(*find_next)(struct delivery *d, const struct host *h, bool (*fits)(void *ctx, struct delivery *next), void *ctx);
  bool (*go_on)(struct delivery *d, struct delivery *next);
  void (*give_back)(struct delivery *next);
  void *ctx;
  struct smtp_probe **held;    /* a connection kept from a callout (transports/smtp_probe.h); who uses it sets it to NULL; NULL none */
  struct smtp_turned *turned;  /* the connection that ATRN turned round (transports/smtp_turned.h), NULL none */
  void *setup_data;            /* of the driver's setup, for its deliver */
  int msglog_fd;               /* message log, <= 0 none */
  struct vec filter_argv;      /* transport_filter, split and expanded */
  struct write_fault write_fault; /* set by transport_write_message() */
  int sequence;                /* 1 first message on the connection, 2 ... */
};

struct transport_driver {
  const char *name;
  const struct option *options;
  size_t option_count;
  size_t ob_size;
  bool knows_quota;            /* heeds only_quota */
  bool is_local;               /* run as the recipient's uid in a child */
  bool takes_whole_message;    /* local: as Exim's own user, all recipients in one batch (queuefile) */
  const char *(*init)(struct arena *a, struct config *c, struct transport *t);
  /* Deliver; outcome of every address is set in addr->result/message/basic_errno.  Returns false only when the whole batch was handled as "call
   * me for each address separately". */
  bool (*deliver)(struct delivery *d);
  /* Called in the parent before deliver: smtp builds host lists from the hosts option, appendfile expands its quotas; NULL none. */
  enum outcome (*setup)(struct delivery *d, const char **ret_error);
  /* Local: called in the parent when deliver has run in its child and the results are known; NULL none. */
  void (*finish)(struct delivery *d);
  /* The hosts an address would be sent to: the router's or the transport's own, perhaps not looked up yet; NULL unknown.  NULL: the router's. */
  struct host *(*hosts_of)(struct expand_ctx *x, struct transport *t, struct address *addr);
  /* The transport's own fallback_hosts, for an address that brings none; what cannot be expanded is logged.  NULL: there are none. */
  struct host *(*fallback_of)(struct expand_ctx *x, const struct transport *t);
  /* Called now and then in a process that starts deliveries: make what they share before they are forked.  NULL: nothing. */
  void (*preload)(const struct config *c, const struct transport *t);
  const char *info;            /* for -bV: "maildir/mailstore/mbx" or NULL */
};
extern const struct transport_driver *const transport_drivers[]; /* transports/drivers.c */

/* How to write a message (transport_write.c). */
struct write_opts {
  bool crlf;                   /* LF to CRLF */
  bool dot_stuff;              /* SMTP data: double leading dots; the final "." is the caller's */
  const char *check_string, *escape_string; /* e.g. "From " / ">From " */
  bool body_only, headers_only;
  bool add_return_path, add_envelope_to, add_delivery_date;
  const char *add_headers, *remove_headers; /* transport's, unexpanded */
  const struct rewrite_rule *rewrite_rules;
  int64_t size_limit;
  bool end_dot;
  const char *filter;          /* transport_filter, unexpanded; NULL none */
  int64_t filter_timeout;      /* seconds */
  bool has_content;            /* what stands behind the headers comes from content_fd, not from the message (no empty line in between) */
  int content_fd;
};
/* Sink: returns 0 or -errno. */
typedef int (*write_fn)(void *ctx, const void *p, size_t n);
/* Write headers (deleted ones left out, address's extra/removed headers and transport's applied) and body.  *ret_bytes: bytes given to the sink.
 * 0, -errno of the sink or of reading -D, -EPROTO: d->write_fault says why, or an expansion failed (d->x->error). */
int transport_write_message(struct delivery *d, const struct write_opts *o, write_fn fn, void *ctx, int64_t *ret_bytes);
/* The two halves of transport_write_message(), for a sender that must know the size before the first byte (BDAT): the header lines are made once (expansions may
 * give other text the second time), then counted and sent.  0 or -errno, -EPROTO: an expansion failed (d->x->error). */
int transport_prepare_headers(struct delivery *d, const struct write_opts *o, struct strbuf *ret_headers);
int transport_write_prepared(struct delivery *d, const struct write_opts *o, struct str headers, write_fn fn, void *ctx,
                             int64_t *ret_bytes);
/* Batch SMTP: MAIL, RCPT for each address, DATA.  The message follows with dot_stuff and end_dot set. */
int transport_write_bsmtp_envelope(struct delivery *d, bool crlf, write_fn fn, void *ctx);
/* write_opts as the generic options of the transport say; the caller adds line ends, stuffing and strings. */
struct write_opts transport_write_opts(const struct transport *t);

/* Send a new message with an empty envelope sender, recipients in its header lines: text, and behind it what more (NULL: nothing) writes to the
 * descriptor; it returns 0 or a negative errno.  *ret_why: -errno of NOT_STARTED, else the wait status of the process.  NOBODY: it had no recipients.
 * Nothing is logged. */
typedef int (*transport_more_fn)(void *ctx, int fd);
enum transport_submitted { SUBMIT_DONE, SUBMIT_NOBODY, SUBMIT_NOT_STARTED, SUBMIT_FAILED };
MUST_CHECK enum transport_submitted transport_submit(struct delivery *d, struct str text, transport_more_fn more, void *ctx, int *ret_why);
/* By the driver, as it says; mistakes of the configuration met in writing are marked in the addresses. */
bool transport_deliver(struct delivery *d);
/* The text of a failed write: r as transport_write_message() gave it, where " while writing to FILE" or "".  The errno for the log line in *ret_errno. */
const char *transport_write_error(struct delivery *d, int r, const char *where, int *ret_errno);
/* preload of all transports of a configuration. */
void transports_preload(const struct config *c);
/* Set the result of all addresses of a batch. */
void transport_set_results(struct address *addrs, enum outcome result, int basic_errno, const char *message);
/* Defer them because of a mistake in the configuration. */
void transport_set_misconfigured(struct address *addrs, int basic_errno, const char *message);
/* Has the process that waits for the answer died meanwhile?  Then nobody holds the message any more, and what is delivered now will be delivered again. */
bool transport_is_orphaned(const struct delivery *d);

#endif
