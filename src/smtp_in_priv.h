/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the smtp_in*.c files: the session object and the reply functions.  Floor: flows.
 *
 * A session owns the current transaction (struct message, always present, sender NULL before MAIL) and an arena that is
 * released after each command.  Replies are collected in the stream and leave when the session is about to wait. */
#ifndef SMTP_IN_PRIV_H
#define SMTP_IN_PRIV_H

#include "formats/smtp_grammar.h"
#include "os/log.h"
#include "os/stream.h"
#include "pipe_connect.h"
#include "receive.h"
#include "smtp_in.h"

enum {
  SMTP_LINE_MAX = 16384,       /* longest command line that is read */
  SMTP_LINGER_BYTES = 65536, SMTP_LINGER_MS = 2000
};

struct smtp_session {
  struct conn *c;
  const struct smtp_opts *o;
  const struct main_options *opt;
  struct message *m;           /* current transaction; c->from is its origin */
  struct expand_ctx x;
  struct acl_env env;
  struct arena *tmp;           /* released after each command */
  struct str line;             /* current command */
  int line_number, transaction_line; /* -bS */
  bool done;                   /* leave the loop */
  bool is_unlogged;            /* hosts_connection_nolog: no line about the connection itself */
  bool drop;                   /* close with a linger, because unread input may be there */
  int exit_status;
  const char *own_name;        /* active host name, or the primary one */
  bool via_inetd;
  enum { NONMAIL_UNKNOWN, NONMAIL_COUNTS, NONMAIL_FREE } nonmail_counts; /* smtp_accept_max_nonmail_hosts, once looked at */
  int64_t timeout_sec;
  bool is_socket;              /* a real peer: strict line ends, synchronisation checks */
  bool unqualified_sender_ok, unqualified_recipient_ok;
  bool helo_required, helo_verify_required, helo_verify, helo_junk_ok;
  bool recipients_max_exceeded;
  enum { CHUNKS_NONE, CHUNKS_OPEN /* more of a chunked message is to come */,
         CHUNKS_BROKEN /* it was interrupted: only RSET, QUIT, BDAT (thrown away) */ } chunks;
  char chunks_id[MSGID_SIZE];  /* of that message, for the line about its loss */
  bool chunks_in_header;
  const char *chunk_refusal;   /* reply to the rest of the chunks of a message that was refused, NULL: none to come */
  bool rset_is_free, helo_is_free, starttls_is_free, auth_is_free; /* the first is not counted */
  bool early_group;            /* the group behind a refused EHLO of an early talker is being answered */
  bool early_pending;          /* input came before the greeting; the first command must be EHLO */
  int recipients_max;
  bool atrn_advertised;
  struct atrn_mail *atrn;      /* what the ACL of ATRN has found, NULL none */
  bool xclient_checked, xclient_ok, notquit_done;
  int64_t rate_mail_count;     /* MAIL commands, for smtp_ratelimit_mail */
  int64_t size_limit, max_per_connection;
  const char *last_rcpt_error; /* reply text of the last refused RCPT when all were refused alike, else "" */
  bool rcpt_errors_differ;
  bool mail_was_refused;       /* RCPT and DATA that follow in one group are no errors of the client */
  int batch_messages;
  const char *batch_error;
  bool mail_seen;
  int64_t mail_count;          /* MAIL commands of this connection */
  bool *auth_offered;          /* per authenticator: stood in the newest EHLO reply; NULL: none did yet */
  struct arena *auth_arena;    /* of the newest AUTH attempt */
  const char *mailauth_message;  /* of acl_smtp_mailauth: answers MAIL when no ACL of MAIL does */
  const char *auth_mail_condition; /* server_mail_auth_condition of the authenticator that succeeded */
  const char *shut_reply;      /* something is wrong here: the answer to all but QUIT, NULL none */
  bool tls_loss_is_logged;
  bool early_banner_sent;      /* the greeting left before the client had finished its handshake */
  double load_at_queueing;     /* > 0: queue_only_load was exceeded, and what follows is queued too */
};

/* ---- smtp_in.c ---- */
/* End the transaction: free it and start a fresh one. */
void smtp_reset(struct smtp_session *s);
/* What ACLs in front of MAIL, HELO and EHLO have set in $acl_m... is not for what follows (manual ch. 44 "ACL variables"). */
void smtp_forget_message_variables(struct smtp_session *s);
deadline_ms smtp_deadline(const struct smtp_session *s);
/* The line reader (used between BDAT chunks too).  False: the session is over (reason logged). */
bool smtp_read_command(struct smtp_session *s);
/* Is input that came too soon an error here? */
bool smtp_enforces_sync(const struct smtp_session *s);
/* After a command that is the last of a group (or any, without pipelining): unread input is an error, false then. */
bool smtp_check_sync(struct smtp_session *s, enum smtp_verb verb);
/* The same behind a chunk that is not the last. */
bool smtp_check_chunk_sync(struct smtp_session *s);
/* Count a command against smtp_accept_max_nonmail; true (reply given) when the session has to end. */
bool smtp_too_many_nonmail(struct smtp_session *s, enum smtp_verb verb);

/* ---- smtp_in_log.c ---- */
/* One reply line with code. */
void smtp_replyf(struct smtp_session *s, const char *fmt, ...) PRINTF(2, 3);
/* code and text, which may hold newlines; the text's own code overrides when its first digit fits. */
void smtp_reply_text(struct smtp_session *s, int code, const char *text);
/* Split a leading code off a message: *ret_code changed when it is of the same class. */
const char *smtp_message_code(const char *text, int *code, bool check_class);
/* 5xx for a syntax or protocol error, counted; logs when selected.  text is the reply without code. */
void smtp_synprot_error(struct smtp_session *s, bool syntax, int code, const char *text);
/* The same; the reply (not the log line) has the operand in front. */
void smtp_synprot_error_at(struct smtp_session *s, bool syntax, int code, struct str operand, const char *text);
/* Answer an error of the client that has its own log line, and end the session when there were too many. */
void smtp_count_synprot_error(struct smtp_session *s, int code, const char *reply);
/* A syntax error whose log line and reply differ. */
void smtp_synprot_error_as(struct smtp_session *s, int code, const char *log_text, const char *reply);
/* A refusal by an ACL: reply and log line.  what: "MAIL <x@y>", "after DATA", ...  */
void smtp_acl_failed(struct smtp_session *s, enum acl_where where, const struct acl_result *r, const char *what);
/* Text of an accepting ACL's message or the default: 250 default by code. */
void smtp_acl_accepted(struct smtp_session *s, const struct acl_result *r, int code, const char *text);
/* "HOST U=ident" of lines about a connection. */
const char *smtp_host_text(const struct smtp_session *s);
/* The same for lines about the connection itself. */
const char *smtp_connection_text(const struct smtp_session *s);
const char *smtp_ident(const struct smtp_session *s);
/* The logs that hear of a refusal by the ACL that ran last: LOG_* bits, 0 none (log_reject_target). */
unsigned smtp_reject_target(const struct smtp_session *s);
const char *smtp_duration(const struct smtp_session *s, struct timeval since);
/* " A=..." and " X=..." parts of reject lines (leading blank) or "". */
const char *smtp_command_list(const struct smtp_session *s);
void smtp_log_lost(struct smtp_session *s, enum stream_status st);
/* The connection ended before the message did.  where: "", " (header)", " (after header)" when all of that had come so far. */
void smtp_log_data_lost(struct arena *a, const struct conn *c, const char *where);
void smtp_log_sync_error(struct smtp_session *s, bool greeting);
/* The same behind a chunk; the unread lines that are there count as errors of the client, none of them is obeyed. */
void smtp_log_chunk_sync_error(struct smtp_session *s);
void smtp_log_incomplete(struct smtp_session *s, const char *how);
void smtp_log_end(struct smtp_session *s, const char *how);

/* ---- smtp_in_limits.c ---- */
/* The session ends without QUIT: run acl_smtp_notquit, once.  reason: for $smtp_notquit_reason. */
void smtp_notquit(struct smtp_session *s, const char *reason);
/* The same, and the reply that closes the connection: the message of the ACL takes the place of text (manual 44.11). */
void smtp_notquit_reply(struct smtp_session *s, const char *reason, int code, const char *text);
struct smtp_ratelimit {
  int64_t threshold;
  double first_sec, factor, max_sec;
};
/* "threshold,delay,factor,maximum".  Pure. */
MUST_CHECK bool smtp_parse_ratelimit(struct str text, struct smtp_ratelimit *ret);
/* Seconds to wait before the count-th command.  Pure. */
double smtp_ratelimit_delay(const struct smtp_ratelimit *r, int64_t count);
/* Wait that long, or until the peer is gone. */
void smtp_nap(struct smtp_session *s, double sec);
/* Wait as smtp_ratelimit_mail or _rcpt (name, option) ask for this host. */
void smtp_slow_down(struct smtp_session *s, const char *name, const char *option, int64_t count);

/* ---- phases ---- */
bool smtp_in_greet(struct smtp_session *s);             /* false: refused, closed */
/* $sender_ident from the client's host, when it is to be asked. */
void smtp_ask_ident(struct smtp_session *s);
void smtp_do_helo(struct smtp_session *s, struct str arg, bool esmtp);
void smtp_do_mail(struct smtp_session *s, struct str arg);
void smtp_do_rcpt(struct smtp_session *s, struct str arg);
/* A RCPT was refused with this text: what DATA tells when all were refused alike. */
void smtp_note_rcpt_failure(struct smtp_session *s, const char *text);
void smtp_do_data(struct smtp_session *s, struct str arg);
void smtp_do_bdat(struct smtp_session *s, struct str arg);
void smtp_do_vrfy(struct smtp_session *s, struct str arg);
void smtp_do_expn(struct smtp_session *s, struct str arg);
void smtp_do_etrn(struct smtp_session *s, struct str arg);
void smtp_do_atrn(struct smtp_session *s, struct str arg);
/* Is ATRN offered to this client now?  Noted in the session. */
bool smtp_advertise_atrn(struct smtp_session *s);
/* The ACL condition atrn_domains. */
enum outcome smtp_atrn_domains(struct acl_env *env, struct expand_ctx *x, const char *list, const char **ret_log);
void smtp_do_wellknown(struct smtp_session *s, struct str arg);
void smtp_do_xclient(struct smtp_session *s, struct str arg);
void smtp_advertise_xclient(struct smtp_session *s, struct strbuf *b);
/* hosts_proxy: read the header and take over what it says; nothing but QUIT is obeyed when it is missing or wrong. */
void smtp_take_proxy_header(struct smtp_session *s);
/* The client is somebody else than the host at the other end (its name unknown) / has this name, NULL none. */
void smtp_client_is(struct smtp_session *s, const char *address, int port);
void smtp_client_name_is(struct smtp_session *s, const char *name);
/* The lists that grant or ask something of a host: sender_unqualified_hosts and friends. */
void smtp_check_host_lists(struct smtp_session *s);
void smtp_do_help(struct smtp_session *s, struct str arg);
void smtp_do_noop(struct smtp_session *s, struct str arg);
void smtp_do_rset(struct smtp_session *s, struct str arg);
void smtp_do_quit(struct smtp_session *s, struct str arg);
void smtp_do_starttls(struct smtp_session *s, struct str arg);
/* Is STARTTLS offered to this client now?  Noted in the conn. */
bool smtp_advertise_tls(struct smtp_session *s);
/* The handshake on a port that speaks TLS from the first byte; false: over, and logged. */
bool smtp_start_tls_on_connect(struct smtp_session *s);
/* Log, once, what broke the TLS layer when something did. */
void smtp_log_tls_loss(struct smtp_session *s);
void smtp_note_early_banner(struct smtp_session *s);
/* More input behind an accepted MAIL or RCPT: the client pipelines. */
void smtp_note_pipelining(struct smtp_session *s);
/* A local caller who is not trusted is the sender himself, whatever he said, unless untrusted_set_sender allows it.
 * Done when the message itself comes: the ACLs before it see what was said. */
void smtp_force_own_sender(struct smtp_session *s);
/* -bS: report an error in the batch and end. */
void smtp_batch_error(struct smtp_session *s, const char *text);

/* Expand an INT_EXP style option; dflt when unset or broken (broken is logged). */
int64_t smtp_int_option(struct smtp_session *s, const char *name, const char *value, int64_t dflt);
/* Run the ACL of an option; NULL option text gives dflt. */
struct acl_result smtp_run_acl(struct smtp_session *s, enum acl_where where, const char *recipient, const char *acl,
                               enum outcome dflt);
bool smtp_host_in(struct smtp_session *s, const char *option, const char *list);
/* ---- smtp_in_ehlo.c ---- */
/* Nothing that an EHLO reply offered holds any more. */
void smtp_forget_advertised(struct smtp_session *s);
/* $received_protocol from what is known now: "esmtp", "esmtpsa" ... */
void smtp_set_protocol(struct smtp_session *s, bool esmtp);

/* ---- smtp_in_auth.c ---- */
void smtp_do_auth(struct smtp_session *s, struct str arg);
/* Add "\nAUTH NAMES" to an EHLO reply when something is offered. */
void smtp_auth_advertise(struct smtp_session *s, struct strbuf *b);
/* TLS is up: run the authenticators that need no command (driver tls). */
void smtp_auth_implicit(struct smtp_session *s);
/* TLS starts: what was said in clear authenticates nobody any more (RFC 3207 section 4.2).  keep_offer: the EHLO reply still counts. */
void smtp_auth_forget(struct smtp_session *s, bool keep_offer);
/* The value of MAIL's AUTH= (decoded, living as long as the transaction; NULL: none): sets or clears the authenticated sender and logs why it
 * was ignored.  arg: MAIL's argument up to it, for the log.  False: deferred by acl_smtp_mailauth, the reply was given. */
bool smtp_auth_sender(struct smtp_session *s, const char *value, struct str arg);
void smtp_auth_end(struct smtp_session *s);

/* Parse and qualify the address of MAIL or RCPT (*ret_raw: before qualifying); NULL after the error reply was sent. */
const char *smtp_take_address(struct smtp_session *s, struct str text, bool is_sender, const char **ret_raw);

#endif
