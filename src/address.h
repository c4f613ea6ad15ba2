/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One recipient on its way through routing and delivery.  Floor: policy (objects). */
#ifndef ADDRESS_H
#define ADDRESS_H

#include <sys/types.h>

#include "base/arena.h"
#include "base/ip.h"
#include "base/outcome.h"
#include "base/tree.h"
#include "formats/rfc5322.h"
#include "policy/expand_forbid.h"

struct router;
struct transport;
struct recipient;

/* A remote host to try.  Lists are in order of preference. */
struct host {
  struct host *next;
  const char *name;
  const char *cert_name;     /* before CNAMEs: what a certificate must name; NULL: as name */
  const char *address;       /* NULL: not looked up yet */
  int port;                  /* 0: the transport's */
  int mx;                    /* MX preference, or a negative sort key: not from MX */
  int sort_key;
  int group;                 /* of a written list: between "+" items */
  bool is_shuffled;
  enum { HOST_USABLE_UNKNOWN, HOST_USABLE, HOST_UNUSABLE, HOST_UNUSABLE_EXPIRED } status;
  enum { HOST_WHY_UNKNOWN, HOST_WHY_RETRY, HOST_WHY_DEFERRED, HOST_WHY_FAILED } why;
  bool dnssec;
  bool dnssec_used;
  /* What an SRV record's service says of TLS: as the transport has it; from the first byte; the same, or else STARTTLS on the ordinary port; that. */
  enum { HOST_TLS_AS_SET, HOST_TLS_ON_CONNECT, HOST_TLS_ON_CONNECT_FIRST, HOST_TLS_BY_STARTTLS } tls;
  time_t last_try;
};

/* Properties that pass from parents to children and to the transport. */
struct addr_prop {
  const char *address_data;       /* $address_data */
  const char *domain_data, *localpart_data;
  const char *errors_address;     /* NULL: the message's sender; "" : ignore failures */
  struct header_line *extra_headers;
  const char *remove_headers;     /* colon list */
  struct tree router_vars;        /* r_xxx: data const char * */
  bool ignore_error;
  bool is_noerror;                /* a filter said so: no errors_to of a later router takes it back */
  bool utf8_msg;
};

/* Mistakes in a list that the router went past, for syntax_errors_to. */
struct syntax_report {
  const char *to, *text;
};

/* What a filter's mail or vacation command asks of the autoreply transport.  Texts are expanded already (the file's text is not); NULL: not given. */
struct reply_item {
  const char *to, *cc, *bcc, *from, *reply_to, *subject, *headers, *text, *file, *logfile, *oncelog;
  int64_t once_repeat;            /* seconds */
  bool file_expand, return_message;
  bool is_notification;           /* not an answer: its headers say what it is */
  struct expand_forbid forbid;    /* holds for the lines of the file as well */
};

enum addr_return_file { ADDR_RETURN_NONE, ADDR_RETURN_ON_FAIL, ADDR_RETURN_ALWAYS };

struct address {
  struct address *next;           /* on whatever chain it is now */
  struct address *parent, *first; /* first: for batched deliveries */
  struct address *dupof;
  struct address *duplicates, *next_duplicate; /* those whose dupof this is: for Envelope-to: */
  struct syntax_report *syntax_report; /* of the router that took it; NULL none */
  const char *other_transport;    /* name of the transport that file_format chose; NULL none */
  const char *address;            /* working form */
  const char *unique;             /* for non-recipients and the journal */
  const char *cc_local_part;      /* caseful local part */
  const char *lc_local_part;
  const char *local_part;         /* current: points to one of the two */
  const char *prefix, *prefix_v, *suffix, *suffix_v;
  const char *domain;             /* lower case */
  const char *home_dir, *current_dir;
  const char *self_hostname;
  const char *address_retry_key;  /* retry key of the address (routing and local delivery) */
  const char *domain_retry_key;
  const char *onetime_parent;
  const char *orcpt;
  const char *sent_as, *sent_from; /* recipient and sender as they went out, when they were converted to A-labels */
  unsigned dsn_flags;
  bool dsn_aware;                 /* next hop speaks DSN */
  bool dsn_expanded;              /* NOTIFY=SUCCESS, and a redirection took its place */
  struct router *router, *start_router;
  struct transport *transport;
  struct host *host_list, *host_used, *fallback_hosts;
  struct addr_prop prop;
  uid_t uid;
  gid_t gid;
  bool uid_set, gid_set, initgroups, local_user;
  struct recipient *rcpt;
  int child_count;
  int mode;                       /* -1 unset; file mode forced by a filter */

  /* pseudo addresses made by redirection */
  bool is_file, is_pipe, is_reply; /* address[0] is '/', '|', '>' */
  bool allow_expand_pipe;
  struct reply_item *reply;       /* a filter's mail command, for the autoreply transport; NULL: its options say all */
  const char **pipe_expandn;      /* $0.. for the command of a filter, pipe_expand_count of them */
  int pipe_expand_count;
  const char *pipe_this_address;  /* $thisaddress for it */
  bool is_misconfigured;          /* a mistake in the configuration holds it up: that is told in the panic log, and no retry rule gives it up */
  bool is_filter_discard;         /* a filter said that all is done, and made no delivery */
  bool has_own_errors_to;         /* prop.errors_address was set for this child alone (a filter's errors_to, noerror) */

  /* results */
  enum outcome result;            /* of the transport (or of routing) */
  int basic_errno;                /* errno or ERRNO_* below */
  int more_errno;
  const char *message;            /* text for logs and bounces */
  const char *user_message;       /* for the sender of the message, when different */
  enum { SPECIAL_NONE, SPECIAL_FREEZE, SPECIAL_FAIL, SPECIAL_WARN } special_action;
  int delivery_usec;              /* DT= */
  int settled;                    /* the how manyeth failure or delay of the attempt */
  const char *smtp_greeting, *helo_response; /* DSN info */
  const char *confirmation;       /* text for C= */
  bool is_verify_only, timedout, continued_connection;
  bool is_fallback;               /* host_list is now that of fallback_hosts */
  bool we_are_an_mx;              /* the hosts behind us in the list of MX records were taken away: no fallback */
  bool may_fall_back;             /* the transport: put off by its hosts, others may be tried */
  bool hosts_left;                /* hosts_max_try kept some from being tried: it is not timed out */
  bool pipelining_used, early_pipe_used, chunking_used, prdr_used, new_transaction /* the first of an SMTP transaction */, tfo_used, tfo_data_used;
  const char *auth_name, *auth_id, *auth_sndr; /* client authentication for A= */
  const char *protocol_steps;     /* PS=: a letter for each EHLO (e), HELO (h), STARTTLS (s), AUTH (a) of the connection */
  const char *tls_cipher, *tls_peerdn, *tls_ver;
  bool tls_certificate_verified, tls_on, tls_dane, tls_resumed;
  const char *dkim_used;          /* DKIM= : "domain:selector:..." of the signatures */
  const char *proxy_used;         /* PRX= : "[ip]:port" */
  const char *local_interface;    /* I= : "[ip]:port" */
  const char *shadow_message;
  const char *file_used;          /* appendfile: the file that was written, when the address does not name it; NULL: it does */
  char *return_output;            /* what a command has said (pipe), or NULL; the addresses of a batch share one text */
  enum addr_return_file return_file_when;
  bool log_failed_output, log_output;
  int64_t delivered_size;
  bool quota_crossed;             /* appendfile: this delivery took the mailbox over quota_warn_threshold */
  const char *return_path;        /* as used by the delivery, NULL not known */
  const char *unseen_by;          /* the unseen router for which this copy was made, else NULL */
  bool homonym;                   /* same text as an ancestor: its unique form carries transport and router */
  bool hide_child;                /* bounces name the top-level address only (hide_child_in_errmsg) */
  bool pass_message;              /* message may be shown to the sender of the message */
  bool no_more_routers;           /* continues behind an unseen router that was the last */
  bool is_one_time;               /* made by a one_time redirection */
  struct retry_item *retries;     /* to be written by the delivering process: see retry.h */
};

/* Reasons beside those of errno, with Exim's numbers: log lines show "defer (-44)", and retry records keep them. */
enum {
  ERRNO_UNKNOWNERROR = -1, ERRNO_USERSLASH = -2, ERRNO_EXISTRACE = -3, ERRNO_NOTREGULAR = -4, ERRNO_NOTDIRECTORY = -5,
  ERRNO_BADUGID = -6, ERRNO_BADMODE = -7, ERRNO_INODECHANGED = -8, ERRNO_LOCKFAILED = -9, ERRNO_BADADDRESS2 = -10,
  ERRNO_FORBIDPIPE = -11, ERRNO_FORBIDFILE = -12, ERRNO_FORBIDREPLY = -13, ERRNO_MISSINGPIPE = -14,
  ERRNO_MISSINGFILE = -15, ERRNO_MISSINGREPLY = -16, ERRNO_BADREDIRECT = -17, ERRNO_SMTPCLOSED = -18,
  ERRNO_SMTPFORMAT = -19, ERRNO_SPOOLFORMAT = -20, ERRNO_NOTABSOLUTE = -21, ERRNO_EXIMQUOTA = -22, ERRNO_HELD = -23,
  ERRNO_FILTER_FAIL = -24, ERRNO_CHHEADER_FAIL = -25, ERRNO_WRITEINCOMPLETE = -26, ERRNO_EXPANDFAIL = -27,
  ERRNO_GIDFAIL = -28, ERRNO_UIDFAIL = -29, ERRNO_BADTRANSPORT = -30, ERRNO_MBXLENGTH = -31,
  ERRNO_UNKNOWNHOST = -32, ERRNO_FORMATUNKNOWN = -33, ERRNO_BADCREATE = -34, ERRNO_LISTDEFER = -35,
  ERRNO_DNSDEFER = -36, ERRNO_TLSFAILURE = -37, ERRNO_TLSREQUIRED = -38, ERRNO_CHOWNFAIL = -39, ERRNO_PIPEFAIL = -40,
  ERRNO_CALLOUTDEFER = -41, ERRNO_AUTHFAIL = -42, ERRNO_CONNECTTIMEOUT = -43, ERRNO_RCPT4XX = -44, ERRNO_MAIL4XX = -45,
  ERRNO_DATA4XX = -46, ERRNO_PROXYFAIL = -47, ERRNO_AUTHPROB = -48, ERRNO_UTF8_FWD = -49, ERRNO_HOST_IS_LOCAL = -50,
  ERRNO_TAINT = -51, ERRNO_RRETRY = -52, ERRNO_LRETRY = -53, ERRNO_HRETRY = -54, ERRNO_LOCAL_ONLY = -55,
  ERRNO_QUEUE_DOMAIN = -56, ERRNO_TRETRY = -57, ERRNO_EVENT = -58
};

/* A new address from text (qualified); sets local_part, domain and unique.  Taint as the text. */
struct address *address_new(struct arena *a, const char *text);
/* A child of parent: inherits prop, errors address, DSN facts. */
struct address *address_child(struct arena *a, struct address *parent, const char *text);
/* A pseudo child "|command", "/path", "/path/", "save path" or ">recipients": local part and domain stay the parent's. */
struct address *address_pseudo_child(struct arena *a, struct address *parent, const char *text);
/* Two mail commands of a filter to the same people are two letters: addr is told from the nth of that name made before it. */
void address_number_reply(struct arena *a, struct address *addr, int nth);
/* A relative name of a file to save in stands behind this word. */
#define ADDRESS_SAVE "save "
/* The name in a pseudo address of a file; NULL when it is none. */
const char *address_file_name(const struct address *addr);
/* The recipient the address came from. */
struct address *address_top(struct address *addr);
/* Were both delivered together, as recipients of one batch? */
bool address_same_batch(const struct address *a, const struct address *b);

/* The local part as it came, with the affixes that routers took off (lower case unless the router is caseful). */
const char *address_local_part_given(struct arena *a, const struct address *addr);

/* What RCPT names: the address without the prefix and suffix its router took off, unless the transport has rcpt_include_affixes.
 * a: where a new text goes. */
const char *address_rcpt_text(struct arena *a, const struct address *addr);

#endif
