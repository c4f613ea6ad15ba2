/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Retry rules and retry/wait hints.  Floor: drivers (flows and transports use it).  Manual ch. 32, doc/hints-formats.txt. */
#ifndef RETRY_H
#define RETRY_H

#include "address.h"
#include "hints/hints.h"
#include "message.h"
#include "policy/config.h"
#include "policy/expand.h"

enum { RETRY_HOST = 1, RETRY_DELETE = 2 };

/* A change to the retry database collected during a delivery; linked from addr->retries, written by the parent in one go. */
struct retry_item {
  struct retry_item *next;
  const char *key;       /* "T:host:ip:port", "R:domain" ... */
  const char *message;
  int basic_errno, more_errno;
  unsigned flags;
};

/* Key of a host: T:name:ip[:port][/interface][:msgid]. */
const char *retry_host_key_build(struct arena *a, const struct host *h, int port, bool include_ip, const char *interface);
void retry_add_item(struct arena *a, struct address *addr, const char *key, const char *message, unsigned flags);

/* How a host is about to be used: what its key is made of, and for whom. */
struct retry_use {
  int port;
  bool include_ip;           /* retry_include_ip_address */
  const char *interface;     /* NULL: any */
  const char *domain;        /* of the addresses; rules may be about it instead of the host */
  const struct message *msg; /* NULL: none in particular */
};
/* Keys that have records, for deletion on success; NULL none. */
struct retry_keys {
  const char *host, *message;
};
/* May this host be tried now?  Sets h->status/why; returns true when its record says that its final cutoff has passed.  db NULL: there are no
 * records. */
bool retry_check_host(struct expand_ctx *x, struct hints_db *db, struct host *h, const struct retry_use *use, struct retry_keys *ret);
/* Is the message older than all that the rule for this host, by its name and for no particular error, grants?  So when there is no such rule. */
bool retry_outlived(struct expand_ctx *x, const struct host *h);
/* The rule for a key and error, or NULL. */
const struct retry_rule *retry_find_rule(struct expand_ctx *x, const char *key, const char *alternate, int basic_errno, int more_errno);
/* Has the address been failing for longer than the rule's ultimate cutoff? */
bool retry_ultimate_address_timeout(struct expand_ctx *x, const char *key, const char *domain, const struct hints_retry *r, time_t now);
/* Apply all items of these chains; may turn deferred addresses into failed ones (moved by the caller by looking at result).  Writes one transaction. */
void retry_update(struct expand_ctx *x, struct address **defer, struct address **failed, struct address **succeed);
/* Do the (basic, more) pair of an address and the error of a rule agree?  For 4xx codes more_errno is (code % 100) << 8. */
bool retry_error_matches(const struct retry_rule *rule, int basic_errno, int more_errno);
/* Next try after a failure: steps of a rule, seconds since the first failure and the gap before this try.  *ret_expired: all steps are over.  Pure but
 * for H, which draws a random number. */
int64_t retry_next_interval(const struct retry_rule *rule, int64_t failing_sec, int64_t last_gap_sec, int64_t max_interval_sec,
                            bool *ret_expired);
/* Records for routing/delivery decisions. */
MUST_CHECK bool retry_get(struct hints_db *db, struct arena *a, const char *key, struct hints_retry *ret);
/* Does it count?  Not when it is older than retry_data_expire, nor when it was written while the clock was ahead: its times may lie years off. */
bool retry_is_fresh(const struct config *cfg, const struct hints_retry *r, time_t now);

/* wait-TRANSPORT database: message ids waiting for a host. */
/* True: so many messages wait for one of the hosts now (250, 300, ...) that a connection should be made. */
bool wait_add(const struct config *cfg, const char *transport, struct host *hosts, const char *message_id);
/* Which of the waiting messages count. */
struct wait_who {
  const char *exclude_id;                    /* the one that asks; NULL: none */
  bool (*exists)(void *ctx, const char *id); /* is it still on the queue? */
  void *ctx;
};
enum wait_found { WAIT_NONE, WAIT_LAST, WAIT_MORE }; /* WAIT_MORE: there are others behind it */
/* Next message id waiting for that host, removed from the list. */
enum wait_found wait_next(const struct config *cfg, struct arena *a, const char *transport, const char *host_name, const struct wait_who *who,
                          char ret_id[MSGID_SIZE]);
/* Would there be one?  Nobody is taken out of the list, but a list of which nothing is of use any more is removed. */
bool wait_any(const struct config *cfg, struct arena *a, const char *transport, const char *host_name, const struct wait_who *who);

#endif
