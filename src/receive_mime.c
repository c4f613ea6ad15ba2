/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The MIME ACLs at the end of data: a run for each part of a message that has a Content-Type: line.
 *
 * Floor: flows.  The first run that does not accept ends it, before the ACL for the data.  Manual 45.4. */
#include "receive_mime.h"

#include "buildconfig.h"
#include "scan.h"
#include "smtp_in_priv.h"

struct mime_run {
  struct reception *r;
  const char *acl;
  struct acl_result a;
};

static bool run_acl(void *ctx) {
  struct mime_run *run = ctx;
  run->a = acl_check(run->r->x, run->r->env, ACL_WHERE_MIME, NULL, run->acl);
  return run->a.outcome == OUTCOME_OK;
}

static void discard(struct reception *r, const struct acl_result *a) {
  r->m->discarded = true;
  r->m->discarded_by = acl_where_name(ACL_WHERE_MIME);
  r->m->discard_text = a->log_message ? arena_strdup(r->m->arena, a->log_message) : NULL;
}

static void refuse_local(struct reception *r, const struct acl_result *a, bool denied, struct receive_reply *ret) {
  const char *log = a->log_message ? a->log_message : a->user_message;
  int n = log ? (int)strcspn(log, "\n") : 0;
  unsigned dest = r->c->log_reject_target_set ? r->c->log_reject_target : LOG_MAIN | LOG_REJECT;
  if (dest) receive_log_reject(r->m, dest, arena_printf(r->x->a, "F=<%s> %srejected during MIME ACL checks%s%.*s", r->m->sender,
                                                        denied ? "" : "temporarily ", n ? ": " : "", n, log ? log : ""));
  const char *user = a->outcome == OUTCOME_ERROR || !a->user_message ? "local configuration problem" : a->user_message;
  ret->smtp_text = arena_printf(r->x->a, "%d %s", denied ? 550 : 451, user);
  ret->by_acl = true;
}

bool receive_check_mime(struct reception *r, struct receive_reply *ret) {
  const struct main_options *o = &r->c->cfg->o;
  struct mime_run run = {.r = r, .acl = r->is_smtp ? o->acl_smtp_mime : o->acl_not_smtp_mime, .a = {.outcome = OUTCOME_OK}};
  if (!CFG_WITH_CONTENT_SCAN || !run.acl || r->m->recipient_count == 0 || !message_find_header(r->m, "content-type", NULL)) return true;
  const char *log = NULL;
  if (scan_walk(r->x, run_acl, &run, &log) == OUTCOME_DEFER) run.a = (struct acl_result){.outcome = OUTCOME_DEFER, .log_message = log};
  enum outcome end = run.a.outcome;
  if (end == OUTCOME_OK) return true;
  if (end == OUTCOME_DISCARD) {
    discard(r, &run.a);
    return true;
  }
  bool denied = end == OUTCOME_FAIL || end == OUTCOME_FAIL_DROP;
  *ret = (struct receive_reply){.result = denied ? RECEIVE_REJECTED : RECEIVE_TEMPFAIL, .drop = end == OUTCOME_FAIL_DROP};
  receive_apply_acl_headers(r->x, r->m);
  if (r->is_smtp) smtp_acl_failed(r->env->session, ACL_WHERE_MIME, &run.a, "during MIME ACL checks");
  else refuse_local(r, &run.a, denied, ret);
  return false;
}
