/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Access control lists: parsing and running.  Floor: policy.  Manual ch. 44. */
#ifndef POLICY_ACL_H
#define POLICY_ACL_H

#include "base/outcome.h"
#include "policy/expand.h"

enum acl_where {
  ACL_WHERE_CONNECT, ACL_WHERE_HELO, ACL_WHERE_MAIL, ACL_WHERE_RCPT, ACL_WHERE_PREDATA, ACL_WHERE_DATA, ACL_WHERE_PRDR,
  ACL_WHERE_MIME, ACL_WHERE_DKIM, ACL_WHERE_AUTH, ACL_WHERE_ETRN, ACL_WHERE_ATRN, ACL_WHERE_EXPN, ACL_WHERE_VRFY, ACL_WHERE_MAILAUTH,
  ACL_WHERE_NOTQUIT, ACL_WHERE_QUIT, ACL_WHERE_STARTTLS, ACL_WHERE_WELLKNOWN, ACL_WHERE_NOTSMTP, ACL_WHERE_NOTSMTP_START,
  ACL_WHERE_UNKNOWN, ACL_WHERE_COUNT
};
/* "RCPT", "DATA", "EHLO or HELO" ... as log lines say it. */
const char *acl_where_name(enum acl_where w);

/* Options of verify = sender, recipient and header_sender, parsed. */
struct verify_opts {
  enum { VERIFY_OF_SENDER, VERIFY_OF_RECIPIENT, VERIFY_OF_HEADER } what;
  bool defer_ok, success_on_redirect, no_details;
  bool callout, quota;
  int64_t quota_pos_sec, quota_neg_sec; /* how long a result is kept */
  bool callout_defer_ok, no_cache, random, use_sender, use_tptsender, use_postmaster, full_postmaster, hold;
  int64_t timeout_sec, connect_sec, maxwait_sec; /* connect, maxwait: < 0 not given */
  const char *mailfrom;             /* sender in MAIL, NULL not given */
  const char *postmaster_mailfrom;  /* check postmaster with this sender, NULL: do not */
};

/* What a verification says.  Any text may be NULL. */
struct verify_report {
  const char *user, *log;  /* for the reply and the log */
  const char *details;     /* sender: what the client is told in front of the reply, whole lines */
  const char *failure;     /* a word of $sender_verify_failure: constant text */
  bool by_callout;
  const char *rcpt_reply;  /* recipient: what the server said to RCPT when that was no verdict */
};

/* What the flows provide to ACL conditions, so that policy needs no upward include.  Any member may be NULL (then the condition is
 * an error: not supported here). */
struct acl_env {
  /* verify = sender|recipient|header_sender. */
  enum outcome (*verify_address)(struct acl_env *env, struct expand_ctx *x, const char *address, const struct verify_opts *o,
                                 struct verify_report *ret);
  enum outcome (*verify_header_syntax)(struct acl_env *env, struct expand_ctx *x, const char **ret_user, const char **ret_log);
  enum outcome (*verify_helo)(struct acl_env *env, struct expand_ctx *x);
  enum outcome (*verify_reverse)(struct acl_env *env, struct expand_ctx *x, const char **ret_log);
  /* atrn_domains: does mail wait for one of these domains?  They are what the client will get. */
  enum outcome (*atrn_domains)(struct acl_env *env, struct expand_ctx *x, const char *list, const char **ret_log);
  /* delay = : waits, ends early when the client has gone. */
  void (*delay)(struct acl_env *env, struct expand_ctx *x, int seconds);
  /* Flush pending replies before something slow. */
  void (*flush)(struct acl_env *env);
  void *session; /* struct smtp_session * or NULL */
};

struct acl_result {
  enum outcome outcome;
  const char *user_message;  /* may start with an SMTP code */
  const char *log_message;
};

/* Parse the acl section's statements of one ACL (lines come joined and macro-free from readconf).  next_line gives the next logical line or NULL.
 * NULL on error with *ret_error. */
struct acl_reader {
  const char *(*next_line)(struct acl_reader *r, struct conf_pos *ret_pos);
  void (*unread_line)(struct acl_reader *r);
  void *ctx;
};
struct acl *acl_parse(struct arena *a, struct acl_reader *r, const char *name, const char **ret_error,
                      struct conf_pos *ret_error_pos);

/* Run the ACL whose name or text (after expansion) is given, for a session.  recipient: address at RCPT/VRFY/EXPN, else NULL.
 * NULL/empty text is never passed.  Depth of nesting is limited to 20. */
struct acl_result acl_check(struct expand_ctx *x, struct acl_env *env, enum acl_where where, const char *recipient,
                            const char *acl_text);

/* Long lines of a text for the client get line breaks: replies of SMTP have no room for them.  In the arena when changed. */
const char *acl_split_message(struct arena *a, const char *text);

/* Conditions whose work is done on the drivers' floor; put in at start-up.  The text is not expanded yet; *ret_log says why there is no answer. */
struct acl_hooks {
  enum outcome (*dnslists)(struct expand_ctx *x, const char *list, const char **ret_log);
  enum outcome (*ratelimit)(struct expand_ctx *x, enum acl_where where, const char *arg, const char **ret_log);
  enum outcome (*seen)(struct expand_ctx *x, const char *arg, const char **ret_log);          /* this and the next: expanded */
  enum outcome (*udpsend)(struct expand_ctx *x, const char *arg, const char **ret_log);
  enum outcome (*arc)(struct expand_ctx *x, const char *list, const char **ret_log);          /* list: states that are good, "" the usual */
  enum outcome (*scan)(struct expand_ctx *x, enum acl_where where, const char *condition, const char *arg, const char **ret_log); /* content scanning */
  enum outcome (*dmarc)(struct expand_ctx *x, const char *list, const char **ret_log);
  enum outcome (*spf)(struct expand_ctx *x, bool use_guess, const char *list, const char **ret_log);
  void (*log_rejected)(const struct message *m, unsigned dest, const char *line);             /* with the envelope and the header lines */
  enum outcome (*csa)(struct expand_ctx *x, const char *domain, const char **ret_log);        /* domain NULL: the client's name */
};
void acl_set_hooks(const struct acl_hooks *h);

/* The i-th condition or modifier of this build, NULL when there are not so many. */
const char *acl_word(size_t i, bool *ret_is_modifier);
/* ACL variables: name like "acl_m0" or "acl_c_foo"; value NULL deletes. */
void acl_var_set(struct expand_ctx *x, const char *name, const char *value);
const char *acl_var_get(struct expand_ctx *x, const char *name);

#endif
