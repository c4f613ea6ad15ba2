/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line as a value.  Floor: main.  Manual ch. 5.
 *
 * Parsing decides nothing and touches nothing: who may use what, and what can be done in this build, is exim.c's business.  Texts point into argv. */
#ifndef CMDLINE_H
#define CMDLINE_H

#include "base/arena.h"
#include "base/vec.h"
#include "policy/config.h"
#include "queue.h"

enum cmd_action {
  CMD_SUBMIT,        /* default: a message on stdin */
  CMD_VERSION, CMD_HELP, CMD_INFO,
  CMD_PRINT,         /* -bP */
  CMD_EXPAND,        /* -be, -bem */
  CMD_MALWARE,       /* -bmalware */
  CMD_TEST_ADDRESS, CMD_VERIFY_RECIPIENT, CMD_VERIFY_SENDER,
  CMD_TEST_RETRY, CMD_TEST_REWRITE, CMD_TEST_FILTER,
  CMD_LIST, CMD_COUNT,
  CMD_SMTP, CMD_BATCH_SMTP, CMD_HOST_CHECK, CMD_ATRN,
  CMD_DAEMON, CMD_QUEUE_RUN,
  CMD_MESSAGE,       /* -M family */
  CMD_ALIASES, CMD_REMOVE_PID
};

enum cmd_message_action { CMD_M_DELIVER, CMD_M_DELIVER_DUE, CMD_M_QUEUE_ACTION };

struct cmdline {
  struct arena *a;
  enum cmd_action action;
  bool action_set;
  const char *program;            /* argv[0] without its directory */
  const char *help_for;           /* option that made CMD_INFO */
  /* reading the configuration */
  const char *config_files;       /* -C */
  struct macro *macros;           /* -D, newest first */
  /* modifiers */
  bool debug, debug_daemon_only, verbose;
  unsigned debug_bits;
  bool plan;                   /* -bt --plan */
  bool dont_deliver, no_labels, ignore_dots, extract_recipients, gateway, tls_on_connect;
  bool deliver_foreground, queue_only, deliver_background, queue_smtp;
  bool no_qualify;                /* -bnq */
  bool errors_to_stderr;
  int error_exit; /* -oe */
  const char *sender;             /* -f; NULL unset */
  const char *full_name;
  const char *bounce_of;          /* -E */
  bool is_bounce;
  const char *syslog_tag;
  int64_t receive_timeout_sec, smtp_receive_timeout_sec; /* -1 unset */
  int64_t max_messages_per_connection;                    /* -oB, -1 unset */
  const char *alias_file, *pid_file, *listen, *log_line;
  bool no_notifier;
  /* -oM: what a trusted caller says about the peer */
  const char *om_address, *om_auth_name, *om_auth_id, *om_auth_sender, *om_interface, *om_message_ref, *om_protocol, *om_host,
      *om_ident;
  enum { CMD_PERL_OPTION, CMD_PERL_NOW, CMD_PERL_LATER } perl_start; /* perl_at_start, -ps, -pd */
  const char *check_ip;           /* -bh */
  bool check_callout;             /* -bhc */
  const char *expand_message;     /* -bem */
  const char *malware_file;       /* -bmalware */
  const char *expand_spooled;     /* -Mset: id of a message whose variables -be sees */
  const char *atrn_host, *atrn_domains; /* -atrn */
  const char *filter_file, *system_filter_file;           /* -bf, -bF */
  const char *filter_domain, *filter_local_part, *filter_prefix, *filter_suffix; /* -bfd -bfl -bfp -bfs */
  /* queue */
  bool list_sorted;
  enum queue_list_kind list_kind;
  bool queue_run;                 /* -q in any form, also with -bd */
  int queue_interval_sec;
  struct queue_run_opts run;
  /* -M */
  enum cmd_message_action message_action;
  enum queue_action queue_action;
  const char *message_option;     /* "-Mrm" */
  const char *move_to;            /* -MG */
  /* daemon */
  bool daemon_foreground, inetd_wait;
  int inetd_timeout_sec;
  bool background_smtp;           /* -bd or -bdf: listen, not only run the queue */
  struct vec args;                /* what is left: recipients, ids, strings to expand ... */
};

/* false: *ret_error is the whole message for stderr (exit 1). */
bool cmdline_parse(struct cmdline *c, struct arena *a, int argc, char **argv, const char **ret_error);

#endif
