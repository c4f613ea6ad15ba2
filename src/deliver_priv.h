/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to deliver*.c: one delivery attempt of one message, split by phase.  Floor: flows. */
#ifndef DELIVER_PRIV_H
#define DELIVER_PRIV_H

#include "base/strbuf.h"
#include "deliver.h"
#include "router.h"
#include "transport.h"

struct deliver_run {
  const struct config *cfg;
  const struct deliver_opts *o;
  struct message *m;
  struct arena *a;            /* of the message */
  struct expand_ctx x;
  struct address *fresh;      /* waiting to be routed */
  struct address *local, *remote;
  struct address *fallback;   /* to be tried at their fallback hosts when remote has been worked through; newest first */
  int64_t remote_count;       /* addresses on remote when its deliveries began */
  struct address *succeed, *failed, *defer, *dup;
  struct tree seen;           /* unique form -> struct address * */
  struct vec expanded;        /* addresses whose redirection a success report is due for */
  struct vec pending;         /* unique forms not yet in the journal */
  int msglog_fd;
  bool dont_deliver, journal_failed, freeze, cancelled;
  bool is_finished;           /* deliver_run_finish() was called while a connection goes on with other messages */
  bool many_wait;             /* a host of a held address has many messages waiting */
  bool mua_failed;            /* mua_wrapper: not everybody got the message */
  bool is_held;               /* the system filter could not be obeyed */
  struct deliver_children *children; /* deliver_remote.c, NULL: there were none */
  const char *freeze_why;     /* "(delivery error message)" or NULL */
  int settled;                /* failures and delays so far */
};

/* deliver.c: the frame of an attempt, also used for further messages on an open connection.  init: false when the message stays frozen. */
bool deliver_run_init(struct deliver_run *run, const struct config *cfg, struct message *m, const struct deliver_opts *o);
void deliver_run_start_routing(struct deliver_run *run);
/* Retry hints, bounces, warnings, -H or removal. */
void deliver_run_finish(struct deliver_run *run);

/* deliver_filter.c: run system_filter; its own addresses go to run->fresh, header changes into the message.
 * GO_ON: the recipients are delivered to too.  ONLY_ITS_OWN: they are not now.  BROKEN: nothing is to be done with the message now. */
enum system_filter { SYSTEM_FILTER_GO_ON, SYSTEM_FILTER_ONLY_ITS_OWN, SYSTEM_FILTER_BROKEN };
enum system_filter deliver_system_filter(struct deliver_run *run);
/* deliver.c: the recipients still to be delivered to, in the order of the envelope. */
struct address *deliver_open_recipients(struct deliver_run *run);

/* deliver_turn.c: of the open recipients those that go over the connection that ATRN turned round. */
struct address *deliver_turn_recipients(struct deliver_run *run);

/* deliver_remote_only.c.  Is this one routed to one remote transport and nothing else?  The address has been used up. */
bool deliver_is_remote(struct deliver_run *run, struct address *addr);
bool deliver_is_all_remote(struct deliver_run *run);

/* deliver_route.c: fresh -> local, remote, failed, defer, succeed. */
void deliver_route_all(struct deliver_run *run);
/* deliver_local.c, deliver_remote.c: work through run->local / run->remote. */
void deliver_local_all(struct deliver_run *run);
void deliver_remote_all(struct deliver_run *run);
/* Wait for the children that go on with other messages; of this one they have told all. */
void deliver_remote_wait(struct deliver_run *run);

/* deliver_fallback.c.  Are there other hosts to be tried when its own do not take the message?  After that: no. */
bool deliver_has_fallback(const struct address *addr);
/* Of a batch that was tried put on run->fallback what is to go there; the rest is returned, in order. */
struct address *deliver_take_fallback(struct deliver_run *run, struct address *batch);

/* max_parallel (deliver_limit.c).  False: the limit is reached, the batch is deferred without a retry record.  *ret_held: give it back afterwards. */
MUST_CHECK bool deliver_slot_take(struct deliver_run *run, struct address *batch, bool *ret_held);
void deliver_slot_give(struct deliver_run *run, const struct transport *t);

/* Defer an address that was not tried because the journal is broken. */
void deliver_not_started(struct deliver_run *run, struct address *addr);
/* What both kinds need before a transport runs; false: the result of all addresses of the batch is set. */
bool deliver_prepare(struct deliver_run *run, struct delivery *d);
struct delivery *deliver_new_delivery(struct deliver_run *run, struct transport *t, struct address *addrs);
/* An expanded boolean of the driver, NULL when it has none of that name. */
const struct opt_bool_exp *deliver_transport_bool_exp(const struct transport *t, const char *name);
const char *deliver_transport_str(const struct transport *t, const char *name);
/* May b join a batch led by l, as far as properties and destination go? */
bool deliver_same_batch(const struct address *l, const struct address *b, bool is_remote);

/* deliver.c: the end of an address.  Logs, msglog, lists, marks; the journal is written by deliver_flush_journal(). */
void deliver_one_result(struct deliver_run *run, struct address *addr, bool is_first, bool by_transport);
/* msg:fail:delivery or msg:fail:internal. */
void deliver_raise_failed(struct deliver_run *run, struct address *addr);
void deliver_mark_done(struct deliver_run *run, struct address *addr);
/* The address was done in an earlier attempt: only its parents are told. */
void deliver_parent_done(struct deliver_run *run, struct address *addr);
/* D4: one write and one sync for all that was marked since the last call. */
void deliver_flush_journal(struct deliver_run *run);
/* Journal what a transport has delivered, before anything else is done for the batch. */
void deliver_journal_batch(struct deliver_run *run, struct address *addrs);
/* Results of a whole batch, in order. */
void deliver_batch_results(struct deliver_run *run, struct address *addrs);

/* deliver_log.c: one builder per line type; text without stamp, in the arena. */
const char *deliver_log_address(struct arena *a, const struct address *addr, bool is_success);
const char *deliver_log_delivered(struct arena *a, const struct message *m, const struct address *addr, const char *flag);
/* " X=... CV=... DN=..." as selected; empty without TLS. */
const char *deliver_log_tls(struct arena *a, const struct address *addr);
const char *deliver_log_deferred(struct arena *a, const struct message *m, const struct address *addr);
const char *deliver_log_failed(struct arena *a, const struct message *m, const struct address *addr);
const char *deliver_log_completed(struct arena *a, const struct message *m);

/* deliver_mua.c, with mua_wrapper.  After routing: false when there is something else than remote deliveries; then all is told and forgotten. */
bool deliver_mua_routed(struct deliver_run *run);
/* The remote deliveries do not fit into one transaction. */
void deliver_mua_not_one(struct deliver_run *run);
/* What failed or was deferred is told and forgotten. */
void deliver_mua_finish(struct deliver_run *run);

/* deliver_results.c: the answer of a delivery process as bytes.  Format: records of tag, 32-bit length, payload; see there. */
void deliver_results_encode(struct strbuf *out, const struct address *addrs);
/* More bytes than that no honest answer about these addresses has. */
size_t deliver_answer_max(const struct address *addrs);
/* Apply to the addresses (same chain); false when the bytes are malformed or incomplete: then nothing was changed. */
MUST_CHECK bool deliver_results_decode(struct arena *a, struct str in, struct address *addrs);

#endif
