/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Early pipelining (EXPERIMENTAL_PIPE_CONNECT): what a server may promise, what a client remembers and plans.
 * Floor: drivers (used by transports/smtp*.c and smtp_in*.c).  README.EXPERIMENTAL, doc/experimental-spec.txt.
 *
 * The record of a peer lives in hints database "misc" under "<ip>:<port>.EHLO" ("[<ip>]:<port>.EHLO" for IPv6).  A record is advice: it may only ever cause an
 * optimistic attempt, never an error text, a deferral or a downgrade (rule R7).
 * Without the build flag every function is an inline no-op twin: the binary then knows neither option, keyword nor log mark. */
#ifndef PIPE_CONNECT_H
#define PIPE_CONNECT_H

#include "formats/hints_record.h"
#include "policy/expand.h"
#include "transport.h"

/* Feature bits of a record (the layout of deployed Exims, so that dumps read alike). */
enum {
  EHLO_TLS = 0x0001, EHLO_IGNOREQUOTA = 0x0002, EHLO_PRDR = 0x0004, EHLO_SMTPUTF8 = 0x0008, EHLO_DSN = 0x0010,
  EHLO_PIPELINING = 0x0020, EHLO_SIZE = 0x0040, EHLO_CHUNKING = 0x0080, EHLO_PIPE_CONNECT = 0x0100,
  EHLO_TLSFLIGHT = 0x0200 /* our own: a ClientHello may stand behind STARTTLS */
};

/* What an EHLO reply said (formats-level facts; made by the client from the real reply, or from a record). */
struct ehlo_facts {
  uint16_t features;         /* EHLO_* */
  uint16_t auths;            /* bit n: n-th configured authenticator usable */
  int64_t size_limit;        /* SIZE value, 0 none/unknown */
  uint32_t limit_mailmax, limit_rcptmax, limit_rcptdommax;
};

/* Why a plan says no: for debug narration and -bt --plan. */
enum pipe_refusal {
  PIPE_OK, PIPE_NOT_BUILT, PIPE_HOST_NOT_LISTED, PIPE_NOT_SMTP, PIPE_AVOIDED, PIPE_HELO_UNKNOWN, PIPE_NO_RECORD,
  PIPE_RECORD_OLD, PIPE_RECORD_NO_PIPELINING, PIPE_NEED_UNMET, PIPE_ALREADY_FAILED, PIPE_SUSPENDED, PIPE_FINGERPRINT
};
const char *pipe_refusal_text(enum pipe_refusal r);

/* What to do on one connection.  record and stored follow what this connection writes. */
struct pipe_plan {
  bool learn;                /* write a record from what the server says */
  bool use;                  /* talk early */
  enum pipe_refusal why_not; /* when !use */
  struct ehlo_facts clear, crypted; /* believed facts when use */
  bool starttls;             /* the early flight is EHLO and STARTTLS; the group may follow inside TLS */
  bool use_crypted;          /* talk early inside TLS too */
  bool is_on_probation;      /* not long ago it was suspended, or what is remembered cost a connection */
  const char *key;
  struct str record;         /* bytes of the record used, for R5 */
  struct hints_ehlo stored;
};

/* Inputs of a plan, gathered by the smtp transport. */
struct pipe_need {
  const struct config *cfg;
  const char *hosts_pipe_connect;    /* option value */
  const char *host_name, *host_address;
  int port;
  bool may_tls;                      /* STARTTLS is used where it is offered */
  bool is_lmtp, is_smtps, avoid_esmtp, avoid_pipelining, helo_unknown, tls_required, auth_required, utf8_needed, downconvert_forced /* decided when the real EHLO reply is there */;
  bool already_failed;               /* C8: an early attempt to this host failed in this delivery */
  uint32_t rtt_us;                   /* of this connection, 0 not known yet */
  uint32_t fingerprint;              /* of authenticators, HELO template, interface */
};

/* What can become of an early attempt.  F numbers: the failure classes in doc/experimental-spec.txt. */
enum pipe_event {
  PIPE_EV_NONE,                /* nothing went wrong */
  PIPE_EV_CONNECT_FAILED,      /* F1 */
  PIPE_EV_GREETING_5XX,        /* F2 */
  PIPE_EV_GREETING_4XX,        /* F3 */
  PIPE_EV_EHLO_5XX,            /* F4 */
  PIPE_EV_EHLO_4XX,            /* F5 */
  PIPE_EV_CLOSED,              /* F6, F25: connection lost before the EHLO reply was complete */
  PIPE_EV_TIMEOUT,             /* F7 */
  PIPE_EV_GARBAGE,             /* F8 */
  PIPE_EV_GONE_ACCEPTED,       /* F9, F12: promise or feature withdrawn, all replies positive */
  PIPE_EV_GONE_REFUSED,        /* F10, F11: withdrawn, and something was refused or the connection ended */
  PIPE_EV_TLS_ADDED,           /* F14: STARTTLS is new and we would use it */
  PIPE_EV_AUTH_REFUSED,        /* F20: AUTH withdrawn, or refused with commands behind it */
  PIPE_EV_GENUINE,             /* F22: promise confirmed; the refusal means what it says */
  PIPE_EV_LOST_AFTER_CONTENT,  /* F24: the server may have the message */
  PIPE_EV_LOST_WITH_CONTENT,   /* F24 before the EHLO reply was complete: the message was in the first flight */
  PIPE_EVENTS
};
struct pipe_failure_rule {
  enum pipe_event event;
  const char *classes;         /* "F2" */
  bool drop_record;            /* count a failure: record gone, suspended */
  bool replain;                /* reconnect once to the same address without early talk */
  bool believe;                /* replies may decide the fate of an address, host or verdict cache */
};

#ifdef EXPERIMENTAL_PIPE_CONNECT
/* The rule of an event; the table has exactly one row per event. */
const struct pipe_failure_rule *pipe_connect_rule(enum pipe_event event);
struct pipe_plan pipe_connect_plan(struct expand_ctx *x, const struct pipe_need *need);
/* A plain attempt saw this EHLO reply; write or delete the record as it deserves.  in_tls: the crypted half. */
void pipe_connect_learn(struct expand_ctx *x, struct pipe_plan *p, const struct pipe_need *need,
                        const struct ehlo_facts *real, bool in_tls);
/* An early attempt saw the real reply: compare with what was used; rewrite, refresh or delete.  Returns true when the promise still stands. */
bool pipe_connect_verify(struct expand_ctx *x, struct pipe_plan *p, const struct pipe_need *need,
                         const struct ehlo_facts *real, bool in_tls);
/* An early attempt failed in an inconclusive way: delete the record, count the failure, suspend when repeated. */
void pipe_connect_failed(struct expand_ctx *x, struct pipe_plan *p, const struct pipe_need *need);
/* The record was wrong (it is put right already), and a plain attempt has to follow: counts as a failure when it was so not long ago. */
void pipe_connect_mismatched(struct expand_ctx *x, struct pipe_plan *p, const struct pipe_need *need);
/* A whole message was accepted in a chunk on this connection: the record says so from now on. */
void pipe_connect_chunk_taken(struct expand_ctx *x, struct pipe_plan *p, const struct pipe_need *need);
uint32_t pipe_connect_fingerprint(const struct config *cfg, const char *helo_template, const char *interface);
/* Is this EHLO keyword one of the spellings of the promise (X_PIPE_CONNECT, PIPE_CONNECT, PIPECONNECT, any case)? */
bool pipe_connect_is_keyword(struct str keyword);

/* Server: may this host talk early (evaluated once at connection start)? */
bool pipe_connect_host_acceptable(struct expand_ctx *x);
/* May it send its ClientHello behind STARTTLS (starttls_pipeline_advertise_hosts)? */
bool pipe_connect_takes_hello(struct expand_ctx *x);
/* Append the advertised keyword lines ("250-KEYWORD\r\n" form is the caller's: fn is called with each keyword). */
void pipe_connect_advertise(struct expand_ctx *x, void (*fn)(void *ctx, const char *keyword), void *ctx);
/* Log mark after " L" on <= lines: "", ".", "*". */
const char *pipe_connect_server_mark(const struct conn *c);
/* Text of a dump line of a record ("helo/ehlo HOST:PORT clr ...") or NULL when it is none. */
const char *pipe_connect_dump(struct arena *a, const char *key, const struct hints_ehlo *r);
#else
static inline const struct pipe_failure_rule *pipe_connect_rule(enum pipe_event event) {
  static const struct pipe_failure_rule genuine = {PIPE_EV_GENUINE, "F22", false, false, true};
  (void)event;
  return &genuine;
}
static inline struct pipe_plan pipe_connect_plan(struct expand_ctx *x, const struct pipe_need *need) {
  (void)x; (void)need;
  return (struct pipe_plan){.why_not = PIPE_NOT_BUILT};
}
static inline void pipe_connect_learn(struct expand_ctx *x, struct pipe_plan *p, const struct pipe_need *need,
                                      const struct ehlo_facts *real, bool in_tls) {
  (void)x; (void)p; (void)need; (void)real; (void)in_tls;
}
static inline bool pipe_connect_verify(struct expand_ctx *x, struct pipe_plan *p, const struct pipe_need *need,
                                       const struct ehlo_facts *real, bool in_tls) {
  (void)x; (void)p; (void)need; (void)real; (void)in_tls;
  return false;
}
static inline void pipe_connect_failed(struct expand_ctx *x, struct pipe_plan *p, const struct pipe_need *need) {
  (void)x; (void)p; (void)need;
}
static inline void pipe_connect_mismatched(struct expand_ctx *x, struct pipe_plan *p, const struct pipe_need *need) {
  (void)x; (void)p; (void)need;
}
static inline void pipe_connect_chunk_taken(struct expand_ctx *x, struct pipe_plan *p, const struct pipe_need *need) {
  (void)x; (void)p; (void)need;
}
static inline uint32_t pipe_connect_fingerprint(const struct config *cfg, const char *helo_template, const char *interface) {
  (void)cfg; (void)helo_template; (void)interface;
  return 0;
}
static inline bool pipe_connect_is_keyword(struct str keyword) { (void)keyword; return false; }
static inline bool pipe_connect_host_acceptable(struct expand_ctx *x) { (void)x; return false; }
static inline bool pipe_connect_takes_hello(struct expand_ctx *x) { (void)x; return false; }
static inline void pipe_connect_advertise(struct expand_ctx *x, void (*fn)(void *ctx, const char *keyword), void *ctx) {
  (void)x; (void)fn; (void)ctx;
}
static inline const char *pipe_connect_server_mark(const struct conn *c) { (void)c; return ""; }
static inline const char *pipe_connect_dump(struct arena *a, const char *key, const struct hints_ehlo *r) {
  (void)a; (void)key; (void)r;
  return NULL;
}
#endif

#endif
