/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ARC chain of a message that is being received (RFC 8617).  Floor: policy (objects).  README.EXPERIMENTAL.
 * Filled in by arc_verify.c; lives in the message's arena. */
#ifndef POLICY_ARC_H
#define POLICY_ARC_H

#include "policy/dkim.h"

enum { ARC_MAX_INSTANCES = 50 };

/* The three header lines of one hop; n 0: missing. */
struct arc_set {
  struct str results, signature, seal;
  struct dkim_signature ams, as;
  struct dkim_body *body;
};

struct arc_chain {
  struct arc_set sets[ARC_MAX_INSTANCES + 1]; /* by instance, from 1 */
  int count;               /* highest instance */
  const char *fault;       /* of its form, NULL none */
  int fault_instance;
};

/* What verify = arc has found. */
struct arc_result {
  const char *state;       /* "none", "pass", "fail" */
  const char *reason;      /* of fail, else "" */
  const char *domains;     /* of the seals, in the order of the chain, "a:b" */
  const char *selector;    /* of the newest message signature */
  int instance;            /* the newest, or the one that failed */
  int oldest_pass;         /* lowest instance from which on all message signatures are good, 0 none */
};

struct message;
/* Add the part of ${authresults; nothing when verify = arc was not used.  remote: address of the client, NULL none. */
void exp_authresults_arc(struct strbuf *out, const struct message *m, const char *remote);
/* The value of $arc_NAME, NULL: empty.  name without "arc_". */
const char *arc_variable(struct expand_ctx *x, const char *name);

#endif
