/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is known of the DKIM signatures of a message that is being received: for ACLs, variables and ${authresults.  Floor: policy (objects).
 * Manual 58.3.  Filled in by dkim_verify.c; lives in the message's arena, but the digests must be freed: dkim_state_free(). */
#ifndef POLICY_DKIM_H
#define POLICY_DKIM_H

#include "formats/dkim_canon.h"
#include "formats/dkim_crypto.h"

struct expand_ctx;

enum { DKIM_MAX_SIGNATURES = 19, DKIM_LONGEST_LINE = 16381 };
enum dkim_status { DKIM_NONE, DKIM_INVALID, DKIM_FAIL, DKIM_PASS };
enum dkim_reason { DKIM_WHY_NOTHING, DKIM_WHY_KEY_UNAVAILABLE, DKIM_WHY_KEY_RECORD, DKIM_WHY_KEY_DATA, DKIM_WHY_KEY_SHORT, DKIM_WHY_TAG,
                   DKIM_WHY_VERSION, DKIM_WHY_BODY, DKIM_WHY_SIGNATURE, DKIM_REASON_COUNT };

/* A digest of the body, shared by the signatures that want the same. */
struct dkim_body {
  struct dkim_digest digest;
  struct dkim_canon canon;
  int64_t limit;
  struct dkim_sum sum;
  bool is_short;           /* it has fewer bytes than l= says */
};

struct dkim_result {
  struct dkim_signature sig;
  struct str line;         /* the header line */
  struct dkim_body *body;
  struct dkim_key key;     /* of the record, once it was found */
  int key_bits;            /* 0: not known */
  enum dkim_status status;
  enum dkim_reason reason;
  const char *status_set, *reason_set; /* by an ACL, NULL not */
  int report_number;       /* its "DKIM: d=" line was the first, the second...; 0: none yet, and it does not count for DKIM= */
};

struct dkim_state {
  struct str *lines;       /* header lines as they came */
  size_t line_count;
  struct dkim_result *sigs; /* in the order of processing */
  size_t count;
  struct dkim_body *bodies;
  size_t body_count;
  const char *error;       /* verification was given up; LONG_LINE and so on, NULL not */
  const char *signers;     /* $dkim_signers, NULL none */
  const char *verify_signers; /* dkim_verify_signers as expanded, NULL not yet */
  const char *status_list; /* of the runs of the ACL so far: "pass:none", NULL none */
  const char *reason;      /* of the newest run */
  const char *cur_signer;  /* of the newest run, NULL none */
  struct dkim_result *cur; /* its signature, NULL none */
  struct dkim_result *shown; /* the newest signature that an ACL has seen: what variables show when there is no other */
  bool in_acl;
  int reports;             /* "DKIM: d=" lines so far */
  const char *check_error; /* what the newest signature failed with, in the words of the library; NULL none */
  struct arc_chain *arc;   /* the ARC sets of the message (policy/arc.h), NULL none */
};

extern const char *const dkim_status_names[]; /* "none", "invalid", "fail", "pass" */
/* $dkim_verify_status and $dkim_verify_reason of a signature. */
const char *dkim_status_text(const struct dkim_result *r);
const char *dkim_reason_text(const struct dkim_result *r);
/* The text behind "DKIM: d=...", without id: all of the line. */
const char *dkim_log_text(struct arena *a, const struct dkim_result *r);
/* Domain of the signature that passed and was reported last; NULL none. */
const char *dkim_passed_domain(const struct dkim_state *s);
/* Set by an ACL: name without "dkim_verify_". */
void dkim_set_by_acl(struct expand_ctx *x, const char *name, const char *value);
/* End all digests.  NULL allowed. */
void dkim_state_free(struct dkim_state *s);

/* Add the part of ${authresults. */
struct message;
void exp_authresults_dkim(struct strbuf *out, const struct message *m);

/* The value of $dkim_NAME; NULL: empty.  name without "dkim_". */
const char *dkim_variable(struct expand_ctx *x, const char *name);

#endif
