/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is known of the DMARC check of a message: for the ACL, variables, ${authresults and the log.  Floor: policy (objects).  Manual 58.6.
 * Filled in by dmarc.c; lives in the message's arena. */
#ifndef POLICY_DMARC_H
#define POLICY_DMARC_H

#include "formats/dmarc.h"

enum dmarc_status { DMARC_ACCEPT, DMARC_NONE, DMARC_QUARANTINE, DMARC_REJECT, DMARC_NORECORD, DMARC_NOFROM, DMARC_TEMPERROR, DMARC_OFF };
extern const char *const dmarc_status_names[];

struct dmarc_state {
  enum dmarc_status status;
  const char *from;          /* domain of From:, NULL none */
  const char *used_domain;   /* where the record was found, "" none */
  const char *policy;        /* p= of the record, "" none */
  bool spf_aligned, dkim_aligned;
};

struct expand_ctx;
struct message;
struct strbuf;
/* The value of $dmarc_NAME; NULL: empty.  name without "dmarc_". */
const char *dmarc_variable(struct expand_ctx *x, const char *name);
/* Add the part of ${authresults; nothing when there was no check. */
void exp_authresults_dmarc(struct strbuf *out, const struct message *m);

#endif
