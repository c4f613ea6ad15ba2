/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Results of SPF as text (policy/spf.h).  Floor: policy. */
#include "policy/spf.h"

#include "message.h"
#include "policy/config.h"
#include "policy/expand.h"

const char *spf_variable(struct expand_ctx *x, const char *name) {
  const struct spf_state *s = x->msg ? x->msg->spf : NULL;
  if (strcmp(name, "guess") == 0) return x->cfg ? x->cfg->o.spf_guess : NULL;
  if (strcmp(name, "result_guessed") == 0) return s && s->is_guessed ? "yes" : "no";
  if (!s) return NULL;
  if (strcmp(name, "result") == 0) return spf_result_names[s->result];
  if (strcmp(name, "used_domain") == 0) return s->domain;
  if (strcmp(name, "header_comment") == 0) return s->header_comment;
  if (strcmp(name, "received") == 0) return s->received;
  if (strcmp(name, "smtp_comment") == 0) return s->smtp_comment;
  return NULL;
}

void exp_authresults_spf(struct strbuf *out, const struct message *m) {
  const struct spf_state *s = m ? m->spf : NULL;
  if (!s) return;
  strbuf_addl(out, ";\n\tspf=", spf_result_names[s->result], s->is_guessed ? " (best guess record for domain)" : "",
              s->is_of_helo ? " smtp.helo=" : " smtp.mailfrom=", s->domain, NULL);
}
