/* SPDX-License-Identifier: GPL-2.0-or-later */
/* String expansion.  Floor: policy.  Manual ch. 11.
 *
 * One walk over the text (expand/expand.c) parses and evaluates; items, operators, conditions and variables each stand in one sorted table.
 * The context points at the objects a $variable may read; nothing here is global.  Expansion never runs with euid 0.
 * A string without '$' and '\' is returned as it is (no copy).  The result is tainted when anything tainted went in. */
#ifndef POLICY_EXPAND_H
#define POLICY_EXPAND_H

#include <sys/types.h>

#include "policy/expand_forbid.h"
#include "base/arena.h"
#include "base/outcome.h"
#include "base/strbuf.h"
#include "policy/config.h"

struct conn;
struct message;
struct address;
struct host;

enum { EXPAND_MAX_CAPTURES = 20, EXPAND_MAX_DEPTH = 200, EXPAND_MAX_BYTES = 128 << 20, EXPAND_MAX_WORK = 512 << 20, ACL_MAX_ARGS = 9 };

/* What a lookup in a list left behind, and other short-lived values; strings must live in an arena >= the user's. */
struct expand_scope {
  const char *captures[EXPAND_MAX_CAPTURES]; /* $0.. of the newest match; NULL beyond ncaptures */
  int ncaptures;
  const char *value;      /* $value, lookup result */
  const char *item;       /* $item in list items */
  const char *acl_args[ACL_MAX_ARGS];
  int acl_narg;
  int runrc;
};

/* Results of list matches visible as variables during an ACL or route: set by match.c. */
struct match_data {
  const char *domain_data, *local_part_data, *host_data, *sender_data, *recipient_data, *lookup_dnssec;
};

struct expand_ctx {
  struct arena *a;              /* results; lifetime chosen by the caller */
  const struct config *cfg;
  struct conn *conn;            /* NULL when there is none */
  struct message *msg;          /* NULL */
  struct address *addr;         /* address being routed/delivered/verified, NULL */
  struct host *host;            /* $host, $host_address, NULL */
  struct router *router;
  struct transport *transport;
  const char *acl_verify_message, *acl_where;
  int acl_place;             /* 1 + the enum acl_where of the ACL that runs, 0 none; an ACL called in an expansion runs at the same place */
  const char *acl_recipient; /* whom that ACL is about, NULL nobody */
  const char *dnslist_domain, *dnslist_matched, *dnslist_text, *dnslist_value;
  const char *sender_rate, *sender_rate_limit, *sender_rate_period;
  const char *verify_mode;      /* "S" "R" "E" or NULL */
  const char *sending_ip_address;
  int sending_port;             /* 0 unknown */
  bool sending_ip_unavailable;  /* there is no connection yet: def: of the two is false, */
  bool sending_ip_was_read, sending_port_was_read; /* and who reads them all the same is noticed (K1) */
  const char *local_part_override, *domain_override; /* ACL: recipient being checked */
  const char *sender_override;
  const char *self_hostname;
  const char *original_domain, *original_local_part, *parent_domain, *parent_local_part;
  const char *warnmsg_delay, *warnmsg_recipients, *bounce_recipient;
  const char *address_file, *address_pipe, *pipe_addresses;
  const char *router_name, *transport_name;
  const char *local_user_uid_text, *local_user_gid_text, *home;
  const char *prvscheck_address, *prvscheck_keynum, *prvscheck_result;
  const char *initial_cwd;
  const char *dkim_domain, *dkim_selector; /* while the options of a signature are expanded */
  const char *srs_recipient;      /* decoded by inbound_srs */
  const char *return_path;
  const char *address_data;       /* kept by an ACL's verify; else addr's */
  const char *sender_address_data;
  const char *sender_verify_failure, *recipient_verify_failure;
  const char *callout_address;
  const char *event_name, *event_data; /* while an event_action is expanded */
  int event_defer_errno;
  const char *notquit_reason;     /* $smtp_notquit_reason */
  const char *csa_status;
  const char *auth_vars[4];       /* $auth1.. while an authenticator runs */
  const char *regex_vars[9];      /* $regex1.. */
  const char *auth_fail_id;       /* $authenticated_fail_id */
  bool authentication_failed;
  const char *received_for;       /* while Received: is built for one recipient */
  const char *mailstore_basename;
  const char *this_address;       /* filter foranyaddress */
  ino_t inode;                    /* appendfile's new file */
  const struct tls_info *tls_out; /* outgoing connection */
  const struct proxy_info *proxy_out; /* of it, NULL none */
  const struct atrn_turn *atrn;   /* of a delivery over a connection that was turned round; NULL: as the conn says */
  bool recipients_hidden;         /* $recipients is not for this context (a user's filter, a router) */
  bool recipients_for_shell; /* $recipients is clean where all addresses are plain: for a system filter's command that a shell reads */
  struct match_data match;
  struct tree *filter_vars;     /* n0.. sn0.. */
  bool no_lookups_cached;
  bool in_filter;
  const char *headers_charset;  /* a filter's "headers charset"; NULL: the option */
  struct expand_forbid forbid;
  bool want_defer_report;       /* inside -be */
  bool queue_running;           /* delivery started by a queue runner */
  struct expand_scope s;
  /* outcome of the last expand_*() call that returned failure */
  bool forced_fail;
  bool lookup_deferred;         /* failure was a temporary lookup problem */
  const char *error;            /* text for logs: "unknown variable name ..." */
  int depth;
  size_t work, work_limit;       /* of this outermost expansion: bytes read and made, and so much for each step; limit 0: EXPAND_MAX_WORK */
  struct conf_pos pos;          /* for taint errors: option's place in the file; file NULL unknown */
  void *acl_env;                /* struct acl_env * for ${acl}, NULL outside sessions */
};

/* A context for a: everything else zero; sending_port etc. unknown. */
struct expand_ctx expand_ctx_new(struct arena *a, const struct config *cfg);

/* Expand; NULL on failure (see forced_fail, lookup_deferred, error).  Result in x->a or in itself when constant. */
const char *expand_string(struct expand_ctx *x, const char *in);
/* The same with the name of the option in the error text. */
const char *expand_option(struct expand_ctx *x, const char *option_name, const char *in);
/* Expand to a boolean as router condition does (lax) or as ACL condition (strict: error on other text). OK true, FAIL false, DEFER error. */
enum outcome expand_condition_lax(struct expand_ctx *x, const char *in);
enum outcome expand_condition_strict(struct expand_ctx *x, const char *in);
/* Expand to an integer with K/M/G; false on failure. */
MUST_CHECK bool expand_int(struct expand_ctx *x, const char *in, int64_t *ret);
/* Is this file name or command tainted?  Then true, and x->error is "Tainted '<text>' (<what>) not permitted" for a what that
 * begins with "command", else "Tainted name '<text>' for <what> not permitted" (what: "file read" ...). */
bool expand_taint_refused(struct expand_ctx *x, const char *text, const char *what);

/* Hooks the flows put in at start-up so that ${acl...}, ${run}, verify need no upward include. */
struct expand_hooks {
  /* Run an ACL by name or text with args; returns outcome and the message text.  NULL: acl_check() with x->acl_env. */
  enum outcome (*acl)(struct expand_ctx *x, const char *name, const char **ret_message);
  /* Addresses (struct ip *) of a host name, for ${readsocket{inet:...; NULL: only IP literals work. */
  enum outcome (*resolve)(struct expand_ctx *x, const char *name, struct vec *ret_ips);
  /* Look up the name of x->conn's peer ($sender_host_name on first use); fills conn->from.  May be NULL. */
  void (*sender_host_name)(struct expand_ctx *x);
};
void expand_set_hooks(const struct expand_hooks *h);

/* Drop the answers that ${readsocket keeps (cache=yes). */
void expand_forget_sockets(void);
/* The final value of a header for $h_ etc.: name without colon.  kind 'h','r','b','l'. NULL when absent. */
const char *expand_header(struct expand_ctx *x, const char *name, char kind);

#endif
