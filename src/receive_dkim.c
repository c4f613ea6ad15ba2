/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What happens with verified signatures: a run of acl_smtp_dkim for each that a signer of dkim_verify_signers has made.
 *
 * Floor: flows.  Domains and identities come from the message.  Without the ACL, or with an empty list, all signatures are logged and count; with
 * it, those that it was run for: a "discard" is the last run.  Manual 58.3. */
#include "receive_dkim.h"

#include "dkim_verify.h"
#include "policy/match.h"
#include "smtp_in_priv.h"

static void report(struct reception *r, struct dkim_result *s) {
  if (!s->sig.domain) return;
  s->report_number = ++r->m->dkim->reports;
  if (log_selects(LS_DKIM_VERBOSE)) log_write(LS_ALWAYS, LOG_MAIN, "%s", dkim_log_text(r->x->a, s));
}

/* Run the ACL for one signer.  cur: the signature it is about; NULL: the list names a signer who has not signed. */
static bool run_acl(struct reception *r, const char *signer, struct dkim_result *cur, struct receive_reply *ret) {
  struct dkim_state *s = r->m->dkim;
  s->cur_signer = signer;
  s->cur = cur;
  if (cur) s->shown = cur;
  s->in_acl = true;
  struct acl_result a = acl_check(r->x, r->env, ACL_WHERE_DKIM, NULL, r->c->cfg->o.acl_smtp_dkim);
  const char *status = dkim_variable(r->x, "verify_status");
  s->in_acl = false;
  s->status_list = arena_printf(r->m->arena, "%s%s%s", s->status_list ? s->status_list : "", s->status_list ? ":" : "", status);
  s->reason = cur ? dkim_reason_text(cur) : NULL;
  if (cur) report(r, cur);
  if (a.outcome == OUTCOME_DISCARD) {
    r->m->discarded = true;
    r->m->discarded_by = acl_where_name(ACL_WHERE_DKIM);
    r->m->discard_text = a.log_message ? arena_strdup(r->m->arena, a.log_message) : NULL;
  }
  if (a.outcome == OUTCOME_OK || a.outcome == OUTCOME_DISCARD) return true;
  bool denied = a.outcome == OUTCOME_FAIL || a.outcome == OUTCOME_FAIL_DROP;
  smtp_acl_failed(r->env->session, ACL_WHERE_DKIM, &a, "DKIM ");
  *ret = (struct receive_reply){.result = denied ? RECEIVE_REJECTED : RECEIVE_TEMPFAIL, .drop = a.outcome == OUTCOME_FAIL_DROP};
  return false;
}

static bool is_of(const struct dkim_result *s, const char *signer) {
  return (s->sig.domain && strcmpic(s->sig.domain, signer) == 0) || (s->sig.identity && strcmpic(s->sig.identity, signer) == 0);
}

static bool run_for_signer(struct reception *r, const char *signer, struct receive_reply *ret) {
  struct dkim_state *s = r->m->dkim;
  bool any = false;
  for (size_t i = 0; i < s->count && !r->m->discarded_by; i++) {
    if (!is_of(&s->sigs[i], signer)) continue;
    any = true;
    if (s->sigs[i].status == DKIM_NONE) continue; /* dkim_verify_minimal: it was not looked at */
    if (!run_acl(r, signer, &s->sigs[i], ret)) return false;
  }
  return any || run_acl(r, signer, NULL, ret);
}

static bool run_for_all(struct reception *r, const char *list, struct receive_reply *ret) {
  struct tree seen = {0};
  const char *item;
  int sep = -':';
  while (!r->m->discarded_by && (item = list_next(r->x->a, &list, &sep))) {
    bool is_new;
    tree_insert(&seen, r->x->a, item, &is_new);
    if (is_new && *item && !run_for_signer(r, arena_strdup(r->m->arena, item), ret)) return false;
  }
  return true;
}

bool receive_check_dkim(struct reception *r, struct receive_reply *ret) {
  const struct main_options *o = &r->c->cfg->o;
  struct dkim_state *s = r->m->dkim;
  if (!s) return true;
  dkim_verify_finish(r->x);
  if (s->error) return true;
  const char *list = NULL;
  if (o->acl_smtp_dkim && r->m->recipient_count > 0) {
    list = o->dkim_verify_signers ? expand_string(r->x, o->dkim_verify_signers) : "";
    if (!list) {
      log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "expansion of dkim_verify_signers option failed: %s", r->x->error ? r->x->error : "");
      return true;
    }
    s->verify_signers = arena_strdup(r->m->arena, list);
  }
  if (list && *list) {
    receive_apply_acl_headers(r->x, r->m);
    return run_for_all(r, s->verify_signers, ret);
  }
  for (size_t i = 0; i < s->count; i++)
    if (s->sigs[i].status != DKIM_NONE) report(r, &s->sigs[i]);
  return true;
}
