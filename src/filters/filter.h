/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exim filter files: parsing, obeying, and the list of what a filter decided.  Floor: drivers.  Manual: "Exim's interfaces to mail filtering" ch. 3,
 * and the specification's chapter on system-wide filtering.
 *
 * filter_parse() is pure: text in, a tree of commands out.  filter_obey() walks the tree, expands with the context it is given and collects
 * actions; it delivers nothing.  Both work in the arena of the caller.  A filter belongs to a user: it is obeyed in a process of that user
 * (redirect_filter.c), which hands the collected result back as bytes (filter_result_encode/decode). */
#ifndef FILTERS_FILTER_H
#define FILTERS_FILTER_H

#include "base/arena.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "policy/expand.h"

enum { FILTER_STRING_MAX = 1024, FILTER_VARS = 10, FILTER_NESTING_MAX = 64, FILTER_TERMS_MAX = 2000 };

enum filter_verb {
  FILTER_ADD, FILTER_DEFER, FILTER_DELIVER, FILTER_ELIF, FILTER_ELSE, FILTER_ENDIF, FILTER_FAIL, FILTER_FINISH, FILTER_FREEZE,
  FILTER_HEADERS, FILTER_IF, FILTER_LOGFILE, FILTER_LOGWRITE, FILTER_MAIL, FILTER_PIPE, FILTER_SAVE, FILTER_TESTPRINT, FILTER_VACATION,
  FILTER_VERBS
};

/* Arguments of mail and vacation, in the order in which -bf shows them. */
enum filter_mail_arg {
  MAIL_TO, MAIL_CC, MAIL_BCC, MAIL_FROM, MAIL_REPLY_TO, MAIL_SUBJECT, MAIL_EXTRA_HEADERS, MAIL_TEXT, MAIL_FILE, MAIL_LOG, MAIL_ONCE,
  MAIL_ONCE_REPEAT, MAIL_ARGS
};

/* What the owner of the filter may do; errors in a filter name what is disabled. */
struct filter_rights {
  bool is_system;                        /* header changes; defer, fail, freeze are then allowed too */
  bool allow_defer, allow_fail, allow_freeze;
};

enum filter_test {
  TEST_AND, TEST_OR, TEST_BEGINS, TEST_ENDS, TEST_IS, TEST_CONTAINS, TEST_MATCHES, TEST_ABOVE, TEST_BELOW, TEST_DELIVERED,
  TEST_ERROR_MESSAGE, TEST_FIRST_DELIVERY, TEST_FORANYADDRESS, TEST_MANUALLY_THAWED, TEST_PERSONAL
};
struct filter_cond {
  enum filter_test test;
  bool negated, caseful;
  const char *left, *right;              /* unexpanded; foranyaddress: left is the list */
  struct filter_cond *a, *b;             /* and, or; foranyaddress: a */
  struct vec aliases;                    /* personal: const char * */
};

struct filter_command {
  struct filter_command *next;
  enum filter_verb verb;
  bool is_seen, is_seen_set, is_noerror;
  const char *arg, *arg2;                /* by verb; "add": number, variable; "deliver": address, errors_to; "headers": word, text */
  int mode;                              /* save, logfile: octal, -1 not given */
  const char **mail;                     /* MAIL_ARGS texts or NULL */
  bool file_expand, return_message;
  struct filter_cond *cond;              /* if */
  struct filter_command *then_part, *else_part; /* elif: an if in the else part, marked */
  bool is_elif;
};

/* Parse.  NULL and *ret_error for a malformed text; a text with no command gives NULL and no error. */
struct filter_command *filter_parse(struct arena *a, struct str text, const struct filter_rights *rights, const char **ret_error);

/* ---- results ---- */

enum filter_action_kind { ACTION_DELIVER, ACTION_SAVE, ACTION_PIPE, ACTION_MAIL, ACTION_HEADER_ADD, ACTION_HEADER_REMOVE, ACTION_KINDS };
struct filter_action {
  struct filter_action *next;
  enum filter_action_kind kind;
  const char *text;                      /* address, path, command (unexpanded), header text or names */
  const char *errors_to;                 /* deliver */
  bool ignore_error;
  int mode;                              /* save: -1 not given */
  const char *mail[MAIL_ARGS];           /* mail: expanded, NULL not given */
  bool file_expand, return_message;
  bool is_notification;                  /* mail: tells of the message, is no answer to it */
  int64_t once_repeat;                   /* seconds */
  const char *captures[EXPAND_MAX_CAPTURES]; /* pipe: $0.. when the command was obeyed */
  int ncaptures;
  const char *this_address;              /* pipe: $thisaddress */
};

enum filter_end { FILTER_DONE, FILTER_END_DEFER, FILTER_END_FAIL, FILTER_END_FREEZE, FILTER_BROKEN, FILTER_END_KINDS };
struct filter_result {
  enum filter_end end;
  const char *message;                   /* text of defer, fail, freeze; the error of BROKEN */
  bool is_temporary;                     /* BROKEN: a lookup or file did not answer; worth another try */
  bool is_significant;
  const char *charset;                   /* headers charset, NULL */
  struct filter_action *actions;
  int n[FILTER_VARS];                    /* values at the end */
};

/* How to obey. */
struct filter_env {
  struct expand_ctx *x;                  /* with msg, addr; variables $n0.. are set up here */
  struct filter_rights rights;
  bool is_test;                          /* -bf, -bF: print what would be done, do nothing */
  bool is_verbose;                       /* -v with it: conditions too */
  bool forbid_logwrite, forbid_reply;
  bool is_only_asked;                    /* verification, -bt: nothing is delivered, so nothing is written to the filter's log */
  const char *qualify_domain;
  const char *own_address;               /* user filters: errors_to may be only this */
  const char *home;                      /* put before relative names; NULL or "": not */
  /* Add to or take from the message's header lines (system filter and tests); NULL: refused. */
  void (*change_header)(void *ctx, bool add, const char *text);
  void *ctx;
  int n[FILTER_VARS];                    /* start values: all 0 */
};
struct filter_result filter_obey(struct filter_env *env, const struct filter_command *commands);

/* Add header lines (one or more, with or without the last newline) or remove those of the names in a colon list. */
struct message;
void filter_change_header(struct message *m, bool add, const char *text);

#define FILTER_BAD_REPLY ">**bad-reply**"
/* Name of the pseudo address of a reply: ">a@b,c@d", the bare addresses of the To: text; FILTER_BAD_REPLY when it has none. */
const char *filter_reply_name(struct arena *a, const char *to);
/* What the transport needs of the action: file mode, captures for a command, the reply. */
struct address;
void filter_fill_address(struct arena *a, const struct filter_action *act, struct address *addr);
/* A reply without a usable recipient fails, and nobody is told: true when it is one. */
bool filter_refuse_bad_reply(struct address *addr);

/* Call obey(ctx) in a child process that is uid:gid for good, and take over what it gives (in the arena).  NULL, or what went wrong with the process. */
const char *filter_run_as(struct arena *a, uid_t uid, gid_t gid, struct filter_result (*obey)(void *ctx), void *ctx,
                          struct filter_result *ret);

/* Bytes for the way between two processes, and back; decode checks every length: false for anything damaged. */
void filter_result_encode(const struct filter_result *r, struct strbuf *out);
MUST_CHECK bool filter_result_decode(struct arena *a, struct str bytes, struct filter_result *ret);

#endif
