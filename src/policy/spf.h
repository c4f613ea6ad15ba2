/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is known of the SPF check of a message: for ACLs, variables and ${authresults.  Floor: policy (objects).  Manual 58.4.
 * Filled in by spf.c; lives in the message's arena. */
#ifndef POLICY_SPF_H
#define POLICY_SPF_H

#include "formats/spf.h"

struct spf_state {
  enum spf_result result;
  bool is_guessed;             /* by the record of the option spf_guess */
  bool is_of_helo;             /* the sender is empty: the domain is the client's name */
  const char *domain;          /* that was looked at */
  const char *header_comment, *received, *smtp_comment;
};

struct expand_ctx;
struct message;
/* The value of $spf_NAME; NULL: empty.  name without "spf_". */
const char *spf_variable(struct expand_ctx *x, const char *name);
/* Add the part of ${authresults; nothing when there was no check. */
void exp_authresults_spf(struct strbuf *out, const struct message *m);

#endif
