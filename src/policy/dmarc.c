/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Results of DMARC as text (policy/dmarc.h).  Floor: policy. */
#include "policy/dmarc.h"

#include "message.h"
#include "policy/expand.h"

const char *const dmarc_status_names[] = {"accept", "none", "quarantine", "reject", "norecord", "nofrom", "temperror", "off"};
static const char *const status_texts[] = {"Accept", "None, Accept", "Quarantine", "Reject", "No policy", "No From: domain", "Temporary error", "Off"};
/* Words of RFC 8601 section 2.7. */
static const char *const auth_words[] = {"pass", "none", "fail", "fail", "none", "permerror", "temperror", NULL};

const char *dmarc_variable(struct expand_ctx *x, const char *name) {
  const struct dmarc_state *s = x->msg ? x->msg->dmarc : NULL;
  if (!s) return NULL;
  if (strcmp(name, "status") == 0) return dmarc_status_names[s->status];
  if (strcmp(name, "status_text") == 0) return status_texts[s->status];
  if (strcmp(name, "used_domain") == 0) return s->used_domain;
  if (strcmp(name, "domain_policy") == 0) return s->policy;
  if (strcmp(name, "alignment_spf") == 0) return s->spf_aligned ? "yes" : "no";
  if (strcmp(name, "alignment_dkim") == 0) return s->dkim_aligned ? "yes" : "no";
  return NULL;
}

void exp_authresults_dmarc(struct strbuf *out, const struct message *m) {
  const struct dmarc_state *s = m ? m->dmarc : NULL;
  if (!s || !auth_words[s->status]) return;
  strbuf_addl(out, ";\n\tdmarc=", auth_words[s->status], NULL);
  if (s->from) strbuf_addl(out, " header.from=", s->from, NULL);
}
