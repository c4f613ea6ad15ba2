/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Results of ARC verification: variables and the part of ${authresults.
 *
 * Floor: policy (objects).  Domains and selectors were checked for characters when they were parsed.  RFC 8617 section 10.2. */
#include "policy/arc.h"

#include "message.h"
#include "policy/expand.h"

void exp_authresults_arc(struct strbuf *out, const struct message *m, const char *remote) {
  const struct arc_result *r = m ? m->arc : NULL;
  if (!r) return;
  strbuf_addl(out, ";\n\tarc=", r->state, NULL);
  if (strcmp(r->state, "none") == 0) return;
  strbuf_addf(out, " (i=%d)", r->instance);
  if (*r->reason) strbuf_addl(out, "(", r->reason, ")", NULL);
  if (r->selector) strbuf_addl(out, " header.s=", r->selector, NULL);
  strbuf_addf(out, " arc.oldest-pass=%d", r->oldest_pass);
  if (remote) strbuf_addl(out, " smtp.remote-ip=", remote, NULL);
}

const char *arc_variable(struct expand_ctx *x, const char *name) {
  const struct arc_result *r = x->msg ? x->msg->arc : NULL;
  if (strcmp(name, "oldest_pass") == 0) return arena_printf(x->a, "%d", r ? r->oldest_pass : 0);
  if (!r) return NULL;
  if (strcmp(name, "state") == 0) return r->state;
  if (strcmp(name, "state_reason") == 0) return r->reason;
  return r->domains;
}
