/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PRDR: an answer for each recipient once the content is known.
 *
 * Floor: flows.  MAIL ... PRDR asks for it; with more than one recipient the end of the content is answered by a 353, one reply for each
 * recipient in the order of the RCPT commands, and one for the message.  Recipients that were refused are taken off the envelope before the
 * DATA ACL runs.  Only the last reply says that the message is stored.  When nobody is left and somebody was refused for now only, that
 * reply is temporary too: a client that looks at nothing else tries again.  draft-hall-prdr; manual ch. 44 "The SMTP PRDR ACL". */
#include "smtp_in_priv.h"

#include "receive_priv.h"

static const char *usual_text(struct reception *r, const char *recipient, enum outcome o) {
  const char *what = o == OUTCOME_OK || o == OUTCOME_DISCARD ? "acceptance"
                     : o == OUTCOME_DEFER || o == OUTCOME_ERROR ? "temporary refusal" : "refusal";
  return arena_printf(r->x->a, "PRDR R=<%s> %s", recipient, what);
}

static int reply_code(enum outcome o) {
  if (o == OUTCOME_OK || o == OUTCOME_DISCARD) return 250;
  return o == OUTCOME_DEFER || o == OUTCOME_ERROR ? 450 : 550;
}

static enum outcome check_one(struct reception *r, const char *recipient) {
  struct smtp_session *s = r->env->session;
  struct acl_result a = acl_check(r->x, r->env, ACL_WHERE_PRDR, recipient, r->c->cfg->o.acl_smtp_data_prdr);
  int code = reply_code(a.outcome);
  const char *usual = usual_text(r, recipient, a.outcome), *user = a.outcome == OUTCOME_ERROR ? NULL : a.user_message;
  const char *log = a.log_message ? a.log_message : a.user_message;
  if (log && *log) log_write(LS_ALWAYS, LOG_MAIN, "PRDR %s %.*s", recipient, (int)strcspn(log, "\n"), log);
  else log_write(LS_ALWAYS, LOG_MAIN, "%s", usual);
  smtp_reply_text(s, code, user && *user ? user : usual);
  return a.outcome;
}

bool smtp_run_prdr(struct reception *r, struct receive_reply *ret, const char **ret_text) {
  struct message *m = r->m;
  size_t kept = 0, total = m->recipient_count;
  bool any_temporary = false;
  if (total <= 1) m->prdr_requested = false;
  if (!m->prdr_requested || !r->is_smtp) return true;
  receive_apply_acl_headers(r->x, m);
  smtp_replyf(r->env->session, "353 PRDR content analysis beginning");
  for (size_t i = 0; i < total; i++) {
    enum outcome o = check_one(r, m->recipients[i].address);
    if (o == OUTCOME_OK) m->recipients[kept++] = m->recipients[i];
    any_temporary = any_temporary || o == OUTCOME_DEFER || o == OUTCOME_ERROR;
  }
  m->recipient_count = kept;
  *ret_text = arena_printf(r->x->a, "id=%s message accepted%s", m->id, kept < total ? " for some recipients" : "");
  if (kept > 0) return true;
  *ret = (struct receive_reply){.result = any_temporary ? RECEIVE_TEMPFAIL : RECEIVE_REJECTED};
  ret->smtp_text = arena_printf(r->x->a, "%d id=%s message rejected for all recipients", any_temporary ? 450 : 550, m->id);
  return false;
}
