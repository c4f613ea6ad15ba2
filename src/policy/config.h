/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration object.  Floor: policy.  Read once (readconf.c), then constant; passed explicitly as const.
 *
 * Main options live in struct main_options, one field per row of main_options.def; defaults, types, -bP and the
 * "not supported by this build" refusal come from the same rows (options.h).  Everything lives in cfg->arena. */
#ifndef POLICY_CONFIG_H
#define POLICY_CONFIG_H

#include <sys/types.h>

#include "base/arena.h"
#include "base/tree.h"
#include "base/vec.h"
#include "policy/options.h"

struct router;
struct transport;
struct auth_instance;

/* Place in a configuration file, for messages. */
struct conf_pos {
  const char *file;
  int line;
};

enum list_kind { LIST_DOMAIN, LIST_HOST, LIST_ADDRESS, LIST_LOCALPART, LIST_KINDS };

struct named_list {
  const char *name;
  const char *text;
  bool hide;
  struct conf_pos pos;
};

struct macro {
  struct macro *next;
  const char *name, *value;
  bool from_command_line, builtin, used;
};

/* One statement of an ACL.  Parsed by acl/acl_parse.c at configuration time (or from inline text). */
struct acl_stmt;
struct acl {
  const char *name;
  struct acl_stmt *stmts;
  struct conf_pos pos;
};

struct retry_step { /* F,2h,15m or G,16h,1h,1.5 or H,... */
  struct retry_step *next;
  char kind;
  int64_t timeout_sec, interval_sec;
  int factor_thousandths;
};
/* What a rule's error name asks for.  basic_errno 0: anything.  more_errno for refused and timeout: 'A' or 'M' (host from an A or MX record) or 0
 * for either, plus RETRY_TIMEOUT_CONNECT when the timeout must be of connecting; for 4xx errors the last two digits of the code << 8, a whole
 * ten written as 100 + first digit * 10, any code as 255; for quota the seconds since the mailbox was last read. */
enum { RETRY_TIMEOUT_CONNECT = 0x100 };
struct retry_rule {
  struct retry_rule *next;
  const char *pattern;    /* domain or address pattern */
  const char *senders;    /* NULL or address list */
  const char *error;      /* NULL for *, else the error name as written */
  int basic_errno, more_errno;
  struct retry_step *steps;
  struct conf_pos pos;
};

struct rewrite_rule {
  struct rewrite_rule *next;
  const char *pattern, *replacement;
  unsigned flags;         /* REWRITE_* of rewrite.h */
  int number;
  struct conf_pos pos;
};

struct main_options {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "policy/main_options.def"
#undef OPT_ROW
};

struct config {
  struct arena *arena;
  const char *file;                 /* the main file read */
  const char *dir;                  /* its directory */
  struct main_options o;
  struct opt_block *main_block;     /* of o */
  struct tree named_lists[LIST_KINDS]; /* data: struct named_list * */
  struct tree acls;                 /* data: struct acl * */
  struct router *routers;           /* in order, linked by next */
  struct transport *transports;
  struct auth_instance *auths;
  struct retry_rule *retry_rules;
  struct rewrite_rule *rewrite_rules;
  struct rewrite_rule *smtp_rewrite_rules; /* those with flag S only, same objects by copy */
  struct macro *macros;
  bool macro_trouble;                 /* reading ended at the definition of a macro */
  struct macro *last_builtin_macro; /* those of the administrator follow it */
  struct vec text_lines;            /* the lines as read (for -bP config): const char * */
  uint64_t log_selector;            /* parsed */
  /* resolved at the end of reading: */
  uid_t exim_uid;
  gid_t exim_gid;
  const char *spool_directory;      /* expanded */
  const char *log_file_path;        /* expanded */
  const char *primary_hostname;     /* final: option or from the system */
  const char *qualify_domain, *qualify_recipient;
  int host_number;                  /* localhost_number, -1 unset */
  const char *initial_cwd;          /* where the program was started; NULL: unknown */
  bool harness_mode;
  /* Named queues: this is a copy of *default_queue that works on another queue.  queue_name NULL or "": the default one. */
  bool is_frozen_area;           /* the spool functions work on Finput and Fmsglog: move_frozen_messages */
  const char *queue_name;
  const struct config *default_queue;
};

/* A copy of c that works on a named queue ("": the default queue), in the arena; the lists inside are shared. */
const struct config *config_for_queue(struct arena *a, const struct config *c, const char *queue_name);
/* The one that works on the default queue. */
const struct config *config_default_queue(const struct config *c);
/* May it name a queue?  Letters, digits, '-', '_', '.', not beginning with a dot, and not one of the spool's own directories; "" is fine. */
bool config_queue_name_is_valid(const char *name);
/* The text of a named list or NULL. */
const struct named_list *config_named_list(const struct config *c, enum list_kind kind, const char *name);
const struct acl *config_acl(const struct config *c, const char *name);
struct transport *config_transport(const struct config *c, const char *name);
struct router *config_router(const struct config *c, const char *name);

#endif
