/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One peer: the session on the reception side.  Floor: policy (objects).
 *
 * struct origin is what is known about where a message comes from; a conn embeds one, a message points to one (its conn's while it is
 * received, one rebuilt from the -H file when it is delivered).  All texts from outside are tainted. */
#ifndef CONN_H
#define CONN_H

#include <sys/types.h>

#include "base/arena.h"
#include "base/timeutil.h"
#include "base/tree.h"
#include "base/vec.h"

struct config;
struct smtp_probe;
struct stream;
struct tls_signer;

/* TLS facts of one connection; all NULL/0 without TLS. */
struct tls_info {
  bool active;
  bool on_connect;
  const char *cipher, *cipher_std, *ver, *peerdn, *sni;
  int bits;
  bool certificate_verified;
  bool dane;                     /* outgoing: verified by TLSA records */
  int tlsa_usage;                /* outgoing: bit n: usable records of usage n */
  const char *peer_cert, *our_cert; /* PEM, as in -H */
  int ocsp;
  unsigned resumption;              /* TLS_RESUME_* of os/tls.h */
  const char *channel_binding;      /* base64, NULL none */
};

/* A proxy between us and a peer: its address as we see it, its far end. */
struct proxy_info {
  const char *local_address, *external_address; /* NULL none, not known */
  int local_port, external_port;
};

/* A connection on which ATRN makes the two ends change places (RFC 2645), as variables show it. */
struct atrn_turn {
  const char *mode;              /* "P": we have the mail, "C": we fetch it */
  const char *host;              /* the other end */
};

struct origin {
  const char *host_address;      /* NULL: local caller */
  int host_port;
  const char *host_name;         /* from reverse lookup, NULL unknown */
  struct vec host_aliases;       /* const char * */
  bool host_lookup_failed, host_lookup_deferred, host_looked_up;
  const char *helo_name;         /* as given, NULL none */
  bool helo_verified, helo_verify_failed;
  bool helo_lookup_deferred;     /* it failed while the DNS did not answer */
  const char *interface_address; /* NULL unknown */
  int interface_port;
  const char *ident;             /* sender_ident: caller's login for local messages */
  const char *auth_name;         /* sender_host_authenticated: authenticator name */
  const char *auth_pubname;
  const char *auth_id;           /* authenticated_id */
  const char *auth_sender;       /* authenticated_sender, after AUTH= handling */
  const char *active_hostname;   /* smtp_active_hostname when set */
  const char *protocol;          /* received_protocol: "esmtp", "local" ... */
  const char *fullhost;          /* "name (helo) [ip]:port" for logs; NULL local.  Made by origin_set_fullhost() */
  const char *rcvhost;           /* for Received: and $sender_rcvhost */
  bool host_unknown;             /* -oMa etc. gave fake values */
  bool is_dnssec;
  struct tls_info tls;
};

/* One peer: where it is, what was offered to it and what controls allow it, counters, and what ACLs keep for the whole connection. */
struct conn {
  struct arena *arena;
  const struct config *cfg;
  struct stream *io;
  struct origin from;
  struct timeval started;
  const char *connection_id;     /* Ci= */

  bool mua_failed;               /* mua_wrapper: the delivery of the last message failed */
  bool is_smtp_input;            /* any SMTP dialogue, batch included */
  bool is_batched;               /* -bS */
  bool is_local_caller;          /* no TCP peer (-bs from a login, -bm) */
  bool host_checking;            /* -bh */
  bool host_checking_callout;    /* -bhc */
  bool helo_seen, esmtp;
  bool auth_advertised, tls_advertised, dsn_advertised, smtputf8_advertised, chunking_advertised, prdr_advertised,
      pipelining_advertised, pipe_connect_advertised;
  bool wellknown_advertised;
  struct proxy_info *proxy;      /* the client came through it; NULL none */
  const char *wellknown_file;    /* named by control = wellknown/FILE */
  bool pipelining_enabled;       /* hosts list and controls say yes */
  bool pipelining_used;
  bool early_acceptable;         /* pipelining_connect_advertise_hosts matched and no DATA/BDAT yet */
  bool early_used;
  bool tlsflight_advertised;     /* a ClientHello may stand behind STARTTLS */
  bool enforce_sync;             /* smtp_enforce_sync and not control = no_enforce_sync */
  bool no_callout_flush, no_delay_flush; /* controls of those names */
  bool no_multiline;             /* control = no_multiline_responses */
  bool recipients_discarded;
  bool allow_auth_unadvertised;
  bool caseful_local_part;
  unsigned rcpt_count_session;
  int messages_received;         /* on this connection */
  unsigned load_looks;           /* harness: looks at the load average */
  int count_at_start;            /* $smtp_count_at_connection_start */
  int nonmail_count, synprot_errors, unknown_commands;
  struct vec command_names;      /* const char *: for C=EHLO,QUIT in logs */
  const char *smtp_command;      /* the command being handled, whole line */
  const char *smtp_command_argument;
  struct tree acl_c;             /* connection ACL variables; data const char * value; val unused */
  struct tree acl_rooms;         /* kept by policy/acl/acl_vars.c: the memory of those values */
  bool log_reject_target_set;    /* log_reject_target = in the ACL that ran last */
  unsigned log_reject_target;    /* LOG_* bits, 0 nowhere */
  unsigned command_serial;       /* counts SMTP commands */
  const struct atrn_turn *atrn;  /* NULL: not turned round */
  struct smtp_probe *held;       /* connection of a callout, kept open for the transaction: cutthrough.h */
  const struct tls_signer *tls_signer; /* who has the private keys of the server; NULL: they are read in this process */
  struct tree acl_files;         /* ACLs read from files: struct acl, in the connection's arena */
  struct tree dns_list_answers;  /* kept by dns_list.c */
  struct tree rates;             /* kept by hints/ratelimit.c, like the next */
  char rate_texts[3][64];        /* $sender_rate, $sender_rate_limit, $sender_rate_period */

  /* local caller */
  const char *login;
  uid_t uid;
  gid_t gid;
  const char *real_name;
  bool is_trusted, is_admin;
  bool dont_deliver;             /* -N: deliveries of what is received here only pretend */
  bool suppress_local_fixups;    /* -G */
  bool hold_smtp;                /* -odqs */
  bool no_qualify;               /* -bnq: addresses without a domain get none */
  bool sender_is_own;            /* local submission whose envelope sender is the caller's own address */
};

/* Fill from.fullhost and from.rcvhost from the other fields (manual: $sender_fullhost, $sender_rcvhost). */
void origin_set_fullhost(struct arena *a, struct origin *o, bool with_port);
/* $connection_id, for Ci=: digits that tell the connections of this host apart. */
const char *conn_make_id(struct arena *a, struct timeval now);
/* "H=name (helo) [ip]" with I=, U=, Ci= by log selectors, or "U=ident" for local: HOSTIDENT of the log tables.
 * useflag: put "H=" in front; useident: add U=. */
const char *origin_host_ident(struct arena *a, const struct conn *c, bool useflag, bool useident);

#endif
