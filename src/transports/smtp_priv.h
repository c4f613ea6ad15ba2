/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the phases of the smtp transport; the lmtp transport takes the limits and the parser of replies from here.  Floor: drivers.  Manual ch. 30 and 49.
 *
 * One struct smtp_attempt is one TCP connection to one host.  Commands go out through smtp_send(), which notes what reply is owed; replies are
 * read in strict order by smtp_reap() and handed to the phase that owns the command.  Codes and texts never decide which command a reply
 * belongs to (RFC 2920 section 3.1).  The greeting is the first reply owed, so that a first flight written before it needs no special reader.
 * All replies are hostile: bounded lines, bounded count, tainted text. */
#ifndef TRANSPORTS_SMTP_PRIV_H
#define TRANSPORTS_SMTP_PRIV_H

#include "conn.h"
#include "os/net.h"
#include "os/stream.h"
#include "pipe_connect.h"
#include "policy/config.h"
#include "retry.h"
#include "transport.h"

struct smtp_opts {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "transports/smtp_options.def"
#undef OPT_ROW
};

enum { SMTP_FLIGHT_BODY_MAX = 8192, SMTP_MAX_AWAITED = 256, SMTP_REPLY_LINE_MAX = 4096, SMTP_REPLY_SHOWN = 4093, SMTP_REPLY_MAX = 16384 };

enum smtp_at { AT_GREETING, AT_EHLO, AT_HELO, AT_STARTTLS, AT_AUTH, AT_MAIL, AT_RCPT, AT_DATA, AT_BLOCK, AT_END, AT_RSET, AT_QUIT, AT_ATRN };

/* What became of a recipient during this delivery. */
enum rcpt_state { RCPT_PENDING, RCPT_SENT, RCPT_ACCEPTED, RCPT_DONE };
struct smtp_rcpt {
  struct address *addr;
  enum rcpt_state state;
  bool deferred_by_reply; /* a 4xx to RCPT or a message error is recorded in addr */
  enum { TURN_OPEN, TURN_LATER, TURN_OVER } turn; /* at this host: not every connection may carry all domains */
  bool is_excess;         /* 452 to RCPT: perhaps only too many for one transaction */
  bool is_doubtful;       /* kept by smtp_settle_lost() */
  bool is_told;           /* its deferral by a host that is not the last of the list stands in the log */
};

/* A reply that is still owed. */
struct smtp_awaited {
  enum smtp_at at;
  bool pipelined;        /* the command left before an earlier reply was read */
  struct smtp_rcpt *rcpt;
  const char *command;   /* as texts show it: "MAIL FROM:<a@b>" */
};

struct smtp_reply {
  int code;
  const char *text;      /* all lines with their codes, joined by newlines; tainted */
};

enum smtp_trouble { TROUBLE_NONE, TROUBLE_REPLY, TROUBLE_TIMEOUT, TROUBLE_CLOSED, TROUBLE_FORMAT, TROUBLE_CONNECT, TROUBLE_LOCAL, TROUBLE_TLS, TROUBLE_TLS_REQUIRED,
                    TROUBLE_DANE, TROUBLE_AUTH };

/* The first thing that went wrong; what later commands of the same flight get as a consequence is not kept. */
struct smtp_failure {
  enum smtp_trouble trouble;
  enum smtp_at at;
  bool pipelined;
  int code;
  int err;               /* errno of TROUBLE_CONNECT, TROUBLE_LOCAL */
  const char *command;
  const char *reply;     /* reply text or the malformed line */
  bool is_final;         /* nothing will change: fail at once, whatever the trouble */
  bool is_ours;          /* a mistake of the configuration: no clock of the retry rules runs, the message waits */
  bool per_rcpt;         /* a reply to the content for one recipient only (LMTP, PRDR) */
  int64_t bytes_sent;    /* of the content, at AT_BLOCK */
};

/* Usable TLSA records of a host. */
struct tls_tlsa;
struct tls_client_opts;
struct smtp_dane {
  const struct tls_tlsa *records;
  size_t count;
};

struct smtp_job {                 /* one host list worked through for one delivery */
  struct delivery *d;
  struct smtp_opts *ob;
  struct smtp_rcpt *rcpts;
  size_t rcpt_count;
  int64_t max_rcpt;               /* 0: no limit */
  bool randomize;
  bool all_or_none;               /* mua_wrapper */
  const char *interface;          /* for the host now tried, NULL any */
  bool include_ip;                /* retry_include_ip_address for the host now tried */
  bool late_deferral; /* a recipient alone was put off after the content */
  bool host_error_seen, any_expired, any_retry_skip, any_tried, any_not_found, any_busy;
  bool any_left;                  /* the list was not worked through to its end */
  bool is_later_host;             /* of this delivery: another one was tried before */
  bool host_may_have_it;          /* the whole message was in a first flight that got no reply: no further host in this run */
  /* The attempt that ended the work on the list with an error that was not about single recipients, for the event msg:defer; NULL: none. */
  struct smtp_attempt *blamed;
  const struct address *blamed_addr;
  struct retry_keys retry_keys;   /* retry records of the host now tried that a success deletes */
};

/* From MAIL to the reply to the end of the message. */
struct smtp_transaction {
  bool mail_refused, data_refused, data_sent, bdat_used, prdr_asked, prdr_used, any_success;
};

/* What a connection knows about the message now sent. */
struct smtp_turn {
  struct delivery *d;
  struct smtp_job *job;
  struct arena *a;
  struct smtp_transaction t;
  bool downconvert;
  const char *auth_sender, *auth_mail_param;
};

/* The next message for the connection, found while this one is under way (smtp_next.c). */
struct smtp_next {
  struct smtp_turn turn;
  bool is_in_flight;              /* its envelope stands behind the end of this message: */
  size_t at, n;                   /* the first n recipients, up to at */
};

struct smtp_attempt {
  struct smtp_probe *probe;       /* a callout: it knows what is asked; NULL for deliveries */
  struct smtp_job *job;
  struct delivery *d;             /* message now sent: job->d, or a later one on the same connection */
  struct smtp_opts *ob;
  struct arena *a;
  struct host *host;
  int port;
  const char *interface;          /* local address to bind, NULL */
  const char *helo;
  struct proxy_info proxy;        /* x->proxy_out when there is one */
  const char *serialize_key;      /* record of serialize_hosts to remove, NULL none */
  struct strbuf said;             /* the dialogue in short, for narration only */
  bool was_connected;             /* and is closed now */
  enum net_tfo_mark tfo;          /* of the connection when it was closed */
  enum net_tfo fast_mode;         /* in which Fast Open was tried, */
  size_t fast_bytes;              /* how much the SYN took */
  int fast_stalls;                /* and how often that has stalled before */
  const char *identity;           /* what sender-dependent options gave; NULL not asked yet */
  struct stream *io;              /* NULL until connected */
  struct strbuf flight;           /* commands written before there is a connection */
  struct smtp_awaited awaited[SMTP_MAX_AWAITED];
  size_t awaited_head, awaited_count;
  deadline_ms reply_deadline;
  struct smtp_failure fail;       /* trouble TROUBLE_NONE: all well */
  bool dead;                      /* nothing more can be sent or read */
  bool is_lmtp;

  struct ehlo_facts facts;        /* of the layer now spoken on: believed (early) and later real */
  struct ehlo_facts clear_facts;  /* said before STARTTLS */
  bool facts_are_real;
  const char *ehlo_error;         /* reply to a refused EHLO, for texts */
  bool pipelining;                /* may groups be sent */
  struct smtp_transaction t;
  bool downconvert, tcp_is_open;
  struct smtp_next *next;         /* NULL: none was looked for, or there is none */
  bool must_reset;                /* the last transaction has ended without content */
  bool quit_sent;                 /* behind the content: no command can follow */
  bool was_ahead;                 /* the envelope whose replies are read now left before this message's turn, */
  bool ahead_in_doubt;            /* and the message before it was refused */

  /* TLS */
  bool is_smtps;                  /* TLS from the first byte */
  bool avoid_tls;                 /* hosts_avoid_tls, or a handshake failed before: talk in clear */
  bool tls_required;              /* hosts_require_tls, or DANE is in effect */
  bool in_tls;
  struct tls_client_opts *tls_opts; /* made by smtp_tls_prepare() */
  struct tls_info tls;            /* x->tls_out of the messages on this connection */
  struct smtp_dane *dane;         /* NULL: not in effect */
  bool dane_unusable;             /* secure TLSA records, none usable: TLS all the same */
  bool tls_was_read;              /* a reply came through the TLS layer */
  bool kept_is_verified;          /* of the session offered for resumption */
  const char *tls_session_key;    /* where the session is kept for resumption, NULL nowhere */

  /* AUTH */
  bool auth_policy_known, auth_wanted, auth_required; /* hosts_try_auth, hosts_require_auth */
  struct smtp_reply auth_reply;   /* newest of the exchange, and the masked line it answered */
  const char *auth_shown;
  const char *auth_name, *auth_id; /* of the authenticator that succeeded, NULL none */
  const char *auth_sender, *auth_mail_param; /* AUTH= of the message now sent and its text for MAIL, NULL none */

  char steps[8];                  /* for PS= in log lines */

  /* early pipelining */
  bool hello_in_flight;           /* the ClientHello went with STARTTLS */
  bool tls_was_added;             /* F14: STARTTLS is new */
  struct pipe_plan plan;
  struct pipe_need need;
  bool early;                     /* this connection talked before the greeting */
  bool group_in_flight;           /* MAIL, RCPT ... went with an early EHLO: recipients up to group_at, group_n of the list */
  size_t group_at, group_n;
  bool promise_stands;            /* the real EHLO reply confirmed what was used */
  uint16_t used_features;         /* EHLO_* the first flight relied on */
  uint16_t used_auths;            /* bit of the authenticator it used */
  const struct auth_instance *early_auth; /* AUTH went with an early EHLO, */
  const char *early_auth_line;    /* this line; NULL once its exchange goes on */
  bool inconclusive;              /* something negative came that must not be believed */
  bool content_sent;              /* the end of a message left: never replay */
  bool content_in_flight;         /* it was part of the first flight, */
  size_t commands_in_flight;      /* behind that many bytes of commands */
  bool peer_took_bytes;           /* when the connection broke, the other end had acknowledged more than the SYN */
  const char *greeting, *ehlo_reply; /* NULL: none was read */
  int sequence;                   /* messages on this connection */
};

/* --- smtp_reply.c --- */
/* Queue a command (fmt ends without CRLF) and note the reply owed. shown: as texts name it, NULL: the command itself. */
void smtp_send(struct smtp_attempt *s, enum smtp_at at, struct smtp_rcpt *rcpt, const char *fmt, ...) PRINTF(4, 5);
/* Note a step of the session for PS= in log lines. */
void smtp_note_step(struct smtp_attempt *s, char step);
/* Writes a line and its CRLF to the connection, or to the early flight when there is none yet.  line has no line end in it. */
void smtp_put_line(struct smtp_attempt *s, const char *line);
/* Note that a reply is owed without a command (greeting, end of data, LMTP per recipient). */
void smtp_expect(struct smtp_attempt *s, enum smtp_at at, struct smtp_rcpt *rcpt, const char *shown);
/* Read the oldest owed reply.  False when the connection is no longer usable: s->fail says why, s->dead is set. */
MUST_CHECK bool smtp_read_reply(struct smtp_attempt *s, struct smtp_awaited *ret_what, struct smtp_reply *ret_reply);
/* Narration: note a command (its first word), a mark behind it, or a reply in s->said. */
void smtp_note_said(struct smtp_attempt *s, const char *text, const char *mark);
/* Flush what is queued; false as above. */
bool smtp_flush(struct smtp_attempt *s, deadline_ms deadline, enum smtp_at at, const char *shown, int64_t bytes_sent);
/* Keep the first failure. */
void smtp_note_failure(struct smtp_attempt *s, struct smtp_failure f);
void smtp_note_reply(struct smtp_attempt *s, const struct smtp_awaited *what, const struct smtp_reply *r);
/* Pure: feed one line of a reply.  0 more lines follow, 1 complete, -1 malformed.  *code is 0 before the first line; text collects. */
int smtp_reply_add_line(struct strbuf *text, struct str line, int *code);

/* --- smtp_connect.c --- */
/* Connect, sending s->flight (in the SYN when allowed).  False: s->fail. */
MUST_CHECK bool smtp_connect(struct smtp_attempt *s);
/* $sending_ip_address and $sending_port, of the open connection. */
void smtp_learn_local_end(struct smtp_attempt *s);
void smtp_disconnect(struct smtp_attempt *s, bool polite);
/* EHLO name from helo_data; before_connect: NULL when it depends on a local end that is not known yet.  NULL with x->error otherwise. */
const char *smtp_expand_helo(struct smtp_attempt *s, bool before_connect);

/* --- smtp_fastopen.c --- */
/* How to connect to the host now. */
enum net_tfo smtp_fastopen_mode(struct smtp_attempt *s);
/* The attempt has ended: note a stall, or that there was none. */
void smtp_fastopen_judge(struct smtp_attempt *s);

/* Write QUIT, for the flight that ends the content. */
void smtp_put_quit(struct smtp_attempt *s);

/* --- smtp_greeting.c --- */
/* Facts in an EHLO reply (all lines with codes, joined by newlines). Pure. */
struct ehlo_facts smtp_parse_ehlo(struct str reply);
/* Plain: all up to the point where MAIL may be sent.  Early: reap greeting and EHLO reply of the first flight and compare. */
MUST_CHECK bool smtp_greet(struct smtp_attempt *s);
/* Its steps.  The greeting is the first reply in every case. */
MUST_CHECK bool smtp_reap_greeting(struct smtp_attempt *s);
/* EHLO or LHLO, HELO when that is refused; facts are those of the layer now spoken on (in_tls). */
MUST_CHECK bool smtp_hello(struct smtp_attempt *s);
void smtp_send_ehlo(struct smtp_attempt *s);
/* As the newest EHLO reply has it.  What is in flight already may have believed something else: s->pipelining. */
bool smtp_may_pipeline(const struct smtp_attempt *s);
/* The EHLO reply is here. */
void smtp_take_facts(struct smtp_attempt *s, const struct smtp_reply *r);

/* --- smtp_auth.c --- */
/* Mechanism names of the AUTH lines of an EHLO reply, each with a blank in front; empty: none.  Pure. */
struct str smtp_auth_mechanisms(struct arena *a, struct str ehlo_reply);
/* Bit n: the n-th configured authenticator is a client and its mechanism is there (ehlo_facts.auths). */
uint16_t smtp_auth_usable(const struct config *cfg, struct str mechanisms);
/* Is AUTH tried (or required) with this host? */
bool smtp_auth_is_wanted(struct smtp_attempt *s);
/* After the EHLO that counts.  False: s->fail, or the connection is lost. */
MUST_CHECK bool smtp_authenticate(struct smtp_attempt *s);
/* The first authenticator among the offered ones (bits of a record) that may be used; NULL none.  *ret_line: what it says first, NULL when that
 * cannot be foretold; *ret_single: commands may stand behind that line. */
const struct auth_instance *smtp_auth_first(struct smtp_attempt *s, uint16_t offered, const char **ret_line, bool *ret_single);
/* Send the first line of the first authenticator among the offered ones (bits of the record) behind an EHLO that has no reply yet.
 * False: nothing was sent.  *ret_more: commands may stand behind it. */
bool smtp_auth_put_in_flight(struct smtp_attempt *s, uint16_t offered, bool *ret_more);
/* What MAIL of the message now to be sent says behind the address: s->auth_mail_param.  False: s->fail. */
MUST_CHECK bool smtp_auth_prepare_mail(struct smtp_attempt *s);
void smtp_auth_set_facts(const struct smtp_attempt *s, struct address *a);

/* --- smtp_tls.c --- */
enum smtp_tls_step { SMTP_TLS_UNUSED, SMTP_TLS_STARTED, SMTP_TLS_FAILED };
/* What options and TLSA records say about TLS to this host: is_smtps, avoid_tls, tls_required, dane.  False: s->fail, do not connect. */
MUST_CHECK bool smtp_tls_policy(struct smtp_attempt *s);
/* Is the host in a list that asks for protection?  When the list cannot be looked up now: s->fail (a deferral), and true. */
bool smtp_is_demanded(struct smtp_attempt *s, const char *name, const char *list);
/* Expand all options of TLS for this host: before STARTTLS leaves.  False: s->fail. */
MUST_CHECK bool smtp_tls_prepare(struct smtp_attempt *s);
/* The reply to STARTTLS is here: handshake or not, as smtp_start_tls(). */
MUST_CHECK enum smtp_tls_step smtp_starttls_answered(struct smtp_attempt *s, const struct smtp_awaited *what, const struct smtp_reply *reply);
void smtp_tls_client_preload(const struct config *c, const struct transport *t);
/* STARTTLS and the handshake, when offered and wanted.  UNUSED: go on in clear.  FAILED: s->fail; the connection is dead unless STARTTLS was refused. */
MUST_CHECK enum smtp_tls_step smtp_start_tls(struct smtp_attempt *s);
/* The handshake of protocol = smtps.  False: s->fail. */
MUST_CHECK bool smtp_tls_on_connect(struct smtp_attempt *s);
/* May a failed attempt be repeated in clear?  Then this is logged. */
bool smtp_tls_try_clear(struct smtp_attempt *s);
/* Facts for log lines and variables. */
void smtp_tls_set_facts(const struct smtp_attempt *s, struct address *a);
/* Keep the session for resumption, close the TLS layer. */
void smtp_tls_finish(struct smtp_attempt *s);
/* The stream ended: log what the TLS layer says about it.  True: nothing was ever read through it, s->fail is TROUBLE_TLS. */
bool smtp_tls_note_read_error(struct smtp_attempt *s);

/* --- smtp_options.c --- */
/* A boolean that may be an expanded string.  False: *ret_error. */
MUST_CHECK bool smtp_bool_option(struct expand_ctx *x, const char *name, const struct opt_bool_exp *o, bool *ret, const char **ret_error);
/* Is the host of this attempt in the list that an option holds? */
bool smtp_host_listed(const struct smtp_attempt *s, const char *option, const char *list);
/* TOS byte for dscp, -1 none. */
int smtp_dscp_value(struct smtp_attempt *s);
/* hosts_randomize for a list that came from a router: a shuffled copy, or the list itself. */
struct host *smtp_shuffle_hosts(struct smtp_job *job, struct host *list);
/* serialize_hosts.  False: another process is connected to the host. */
MUST_CHECK bool smtp_serialize_begin(struct smtp_attempt *s);
void smtp_serialize_end(struct smtp_attempt *s);
/* The options that the connection was made with, as they are for this message: two messages share a connection only when the texts agree. */
const char *smtp_identity(struct delivery *d);

/* --- smtp_socks.c --- */
/* Connect through a proxy when socks_proxy says so (*ret_wanted).  0: s->io is there; -errno: no connection to the host;
 * ERRNO_PROXYFAIL: *ret_error. */
MUST_CHECK int smtp_socks_connect(struct smtp_attempt *s, const struct net_end *to, const struct net_connect_opts *o, bool *ret_wanted,
                                  const char **ret_error);

/* --- smtp_dane.c --- */
/* Before connecting.  Sets s->dane when DANE is in effect, s->fail when the host must not be used now (or at all). */
void smtp_dane_check(struct smtp_attempt *s);
/* Is this TLSA record one that can be used here?  Pure. */
bool smtp_dane_is_usable(struct str rdata);

/* --- smtp_resume.c --- */
struct tls_result;
/* Look for a session to resume; sets s->tls_session_key when one may be kept. */
void smtp_tls_resume_find(struct smtp_attempt *s, struct tls_client_opts *o);
/* The EHLO reply, which host_name_extract sees, came only after that. */
void smtp_tls_resume_find_again(struct smtp_attempt *s, struct tls_client_opts *o);
void smtp_tls_resume_take(struct smtp_attempt *s, const struct tls_result *r);
void smtp_tls_resume_keep(struct smtp_attempt *s);

/* --- smtp_srv.c --- */
/* Hosts of an SRV record that asks for TLS (host->tls): the transport's protocol does not count with them. */
bool smtp_srv_is_smtps(const struct smtp_attempt *s);
/* Nobody answers on the port of the record: the host once more, on the ordinary port, where STARTTLS is a must.  False: no, or not this host. */
bool smtp_srv_fall_back(struct smtp_attempt *s, int *ret_port, struct host **ret_host);

/* --- smtp_early.c --- */
/* Fill s->need and s->plan. */
void smtp_choose_plan(struct smtp_attempt *s, bool already_failed);
/* Choose (s->plan) and narrate; write what leaves before the greeting into s->flight.  False: s->fail. */
MUST_CHECK bool smtp_plan_early(struct smtp_attempt *s, bool already_failed);
/* The second half of that, for a plan that says so; on TLS on connect nothing leaves before the handshake. */
MUST_CHECK bool smtp_put_first_flight(struct smtp_attempt *s);
/* The replies of the early flights, handshake in between.  True: MAIL may be sent, or was (s->group_in_flight).  False: s->fail. */
MUST_CHECK bool smtp_greet_early(struct smtp_attempt *s);
/* May MAIL stand behind an AUTH whose reply is not here (hosts_pipe_auth)?  In clear not with every host. */
bool smtp_may_pipe_auth(const struct smtp_attempt *s, bool in_tls);
/* AUTH and the envelope behind it, where hosts_pipe_auth allows that on a connection that is not early. */
void smtp_pipe_auth(struct smtp_attempt *s);
/* How much of the flight may travel in the SYN. */
size_t smtp_flight_syn_bytes(struct smtp_attempt *s);
/* Does a line of the text begin like an SMTP command?  Lines end at CR or LF, blanks in front do not count. Pure. */
bool smtp_text_has_verbs(struct str text);
/* Event class of the end of an attempt, for the rules of pipe_connect. */
enum pipe_event smtp_early_event(const struct smtp_attempt *s);
/* The reply to a message was lost, and recipients of it were refused in a way that must not be believed: settle the accepted ones as deferred.
 * True: the doubtful ones are left for a plain attempt. */
bool smtp_settle_lost(struct smtp_attempt *s);
/* The failure counts as a lost reply to the end of data, at whatever reply it showed. */
void smtp_blame_end(struct smtp_attempt *s);

/* --- smtp_probe.c --- */
/* What a callout asks first.  False: nothing was written. */
bool smtp_probe_put_opening(struct smtp_attempt *s);

/* --- smtp_next.c --- */
/* Further messages on the connection, one after the other.  again: as smtp_run_message() said of the one before. */
void smtp_continue_connection(struct smtp_attempt *s, bool again);
/* Before the content of a message leaves whose recipients are all answered: look for the next message if its envelope may stand behind this one
 * (hosts_pipe_next).  And when the end of the content has left: write that envelope. */
void smtp_find_next(struct smtp_attempt *s);
void smtp_put_next_in_flight(struct smtp_attempt *s);
/* Nothing will follow on the connection, whatever the server says to the content that is about to leave: QUIT may go with it. */
bool smtp_quit_may_ride(struct smtp_attempt *s);
/* The replies to an envelope that was written ahead are here.  True: it is to be sent again, alone, because something in it was refused. */
bool smtp_next_is_asked_again(struct smtp_attempt *s, struct smtp_rcpt *first, size_t n);

/* --- smtp_job.c --- */
struct smtp_job *smtp_job_new(struct delivery *d);
/* Options that decide for the whole job.  False: *ret_error. */
MUST_CHECK bool smtp_job_options(struct smtp_job *job, const char **ret_error);
/* The option interface: the first address of the host's family, NULL: any. */
MUST_CHECK bool smtp_job_interface(struct smtp_job *job, const struct host *h, const char **ret_interface, const char **ret_error);
/* --- smtp.c --- */
/* All groups of the message.  in_flight: the first n recipients, up to at, have been written.  True: the connection can take another message. */
bool smtp_run_message(struct smtp_attempt *s, size_t at, size_t n, bool in_flight);
/* RSET.  False: the server is still in the middle of a transaction, or gone. */
bool smtp_reset_server(struct smtp_attempt *s);
/* First group of recipients not settled yet: *ret_n of them (settled ones in between are skipped when sending). */
struct smtp_rcpt *smtp_next_group(struct smtp_attempt *s, size_t *at, size_t *ret_n);
/* For smtp_probe.c.  An attempt with the options given instead of the transport's; NULL with *ret_error.  A trouble before there is a connection is
 * in ->fail. */
struct smtp_probe_start {
  struct smtp_probe *probe;
  struct delivery *d;
  struct smtp_opts *ob;
  struct host *host;
  int port;
  bool avoid_tls, allow_early;
};
struct smtp_attempt *smtp_probe_attempt(const struct smtp_probe_start *o, const char **ret_error);
/* The interface option for a host; false with *ret_error. */
bool smtp_probe_interface(struct delivery *d, const struct host *h, const char **ret_interface, const char **ret_error);
/* A job for the addresses of a delivery: all of them due. */
struct smtp_job *smtp_probe_job(struct delivery *d);
/* For smtp_plan.c: an attempt that is only thought about; NULL: it would end before the connection. */
struct smtp_attempt *smtp_plan_attempt(struct expand_ctx *x, struct transport *t, struct address *addr, struct host *h, int port,
                                       const char **ret_error);
/* The address's hosts or the transport's; NULL with *ret_error.  The port for hosts that name none, -1 with *ret_error. */
struct host *smtp_probe_hosts(struct delivery *d, const char **ret_error);
int smtp_probe_port(struct delivery *d, const char **ret_error);
/* Addresses of a host known by name; false: none, d->addrs->message says why. */
bool smtp_probe_look_up(struct delivery *d, struct host *h);

/* --- smtp_result.c: events of this connection --- */
/* The transport's event_action; true: it asks for something else to happen. */
bool smtp_event(struct smtp_attempt *s, const struct address *addr, const char *name, const char *data, int err);

/* --- smtp_utf8.c --- */
/* utf8_downconvert for this message, now that the server's extensions are known.  False: it cannot go there; s->fail. */
bool smtp_utf8_decide(struct smtp_attempt *s);
/* Must the message be converted whatever the server offers? */
bool smtp_utf8_forced(const struct smtp_attempt *s);
/* The address as it goes out. */
const char *smtp_utf8_address(struct smtp_attempt *s, const char *address);

/* --- smtp_envelope.c --- */
/* Write MAIL, RCPT for those of the n that are due, and DATA: in one flight with PIPELINING, else each waits for the reply before it. */
void smtp_write_envelope(struct smtp_attempt *s, struct smtp_rcpt *first, size_t n, bool with_data);
/* Read all owed replies of the envelope.  False: connection unusable. */
MUST_CHECK bool smtp_reap_envelope(struct smtp_attempt *s);
bool smtp_use_chunking(const struct smtp_attempt *s);
/* Is it still to be sent on this connection? */
bool smtp_is_due(const struct smtp_rcpt *r);
size_t smtp_group_limit(const struct smtp_attempt *s);

/* --- smtp_data.c --- */
/* With PIPELINING and CHUNKING really offered a message that is not large goes out behind its recipients without waiting (RFC 3030 section
 * 4.2): one round trip less.  Ask, send after smtp_write_envelope(), reap after smtp_reap_envelope(). */
bool smtp_chunk_rides_along(const struct smtp_attempt *s);
bool smtp_send_chunk_ahead(struct smtp_attempt *s);
bool smtp_reap_chunk(struct smtp_attempt *s, struct smtp_rcpt *first, size_t n);
/* How the content is written. */
struct write_opts smtp_content_opts(const struct smtp_attempt *s, bool bdat);
/* Content and its final replies for the accepted recipients among n.  False: connection unusable. */
MUST_CHECK bool smtp_send_content(struct smtp_attempt *s, struct smtp_rcpt *first, size_t n);

/* --- smtp_result.c --- */
enum smtp_error_class { SMTP_ERROR_HOST, SMTP_ERROR_MESSAGE, SMTP_ERROR_RECIPIENT };
/* Text for logs and bounces; *ret_errno and *ret_more as recorded with the address. */
const char *smtp_failure_text(struct smtp_attempt *s, const struct smtp_failure *f, int *ret_errno, int *ret_more);
/* Record s->fail in the pending recipients, write the log line of the host and the retry items. */
void smtp_record_failure(struct smtp_attempt *s);
/* The work on a host list is over: the event msg:defer, when the last host tried was to blame. */
void smtp_raise_defer(struct smtp_job *job);
/* A reply refused this recipient. */
void smtp_record_rcpt(struct smtp_attempt *s, struct smtp_rcpt *r, const struct smtp_awaited *what, const struct smtp_reply *reply);
/* A transaction has carried the message to somebody: those that got 452 may stand in the next one (RFC 5321 section 4.5.3.1.10).  True: there are some. */
bool smtp_reopen_excess(struct smtp_attempt *s);
/* The message went to this recipient. */
void smtp_record_success(struct smtp_attempt *s, struct smtp_rcpt *r, const char *confirmation);
/* Retry records that this attempt has shown to be out of date. */
void smtp_clear_retry(struct smtp_attempt *s);
/* "H=NAME [ADDRESS]" as log lines show it, with the port when that is selected. */
const char *smtp_host_shown(struct smtp_attempt *s);

#endif
