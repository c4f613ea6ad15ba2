/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ATRN, the provider's side: an authenticated client gets the mail that waits for its domains, on the connection it made.
 *
 * Floor: flows.  What may be fetched is the ACL's word alone (atrn_domains); the client's argument is text for it to look at.  Once the reply has left the
 * two ends change places: this process goes through the messages one by one as the client of the other side, then says QUIT.  Nothing else changes:
 * each message is locked, delivered to those recipients only, journalled and finished as in any attempt, and what could not be handed over waits.
 *     "ATRN 'ARGUMENT' received from HOST"                                      with log_selector = +etrn
 *     "Start ODMR queue run: pid=N -qq -Rr @(DOMAIN|DOMAIN)", "End queue run: ..."   with +queue_run
 * Hostile: the argument.  RFC 2645. */
#include <unistd.h>

#include "deliver.h"
#include "formats/atrn_domains.h"
#include "os/debug.h"
#include "os/sys.h"
#include "policy/match.h"
#include "policy/narrate.h"
#include "smtp_in_priv.h"
#include "spool.h"
#include "transports/smtp_turned.h"

/* What atrn_domains was last asked for.  All of it lives as long as the connection. */
struct atrn_mail {
  struct vec domains;       /* const char *, NULL at the end */
  struct vec ids;           /* const char *: messages with somebody there, oldest first */
  const struct config *cfg; /* of the queue where they are */
};

/* ---- what waits ---- */

static bool waits_for(const struct config *cfg, const char *id, const struct atrn_mail *mail) {
  struct message *m;
  if (spool_peek(cfg, id, &m) != SPOOL_OPENED) return false;
  bool found = false;
  for (size_t i = 0; i < m->recipient_count && !m->frozen && !found; i++) {
    const struct recipient *r = &m->recipients[i];
    found = !r->ignored && deliver_turn_wants((const char *const *)mail->domains.v, r->address) && !tree_find(&m->nonrecipients, r->address);
  }
  message_free(m);
  return found;
}

static void find_mail(struct smtp_session *s, struct atrn_mail *mail) {
  struct arena_mark mark = arena_mark(s->tmp);
  for (struct spool_item *i = spool_list(s->tmp, mail->cfg, true, NULL); i; i = i->next)
    if (waits_for(mail->cfg, i->id, mail)) vec_push(&mail->ids, arena_strdup(s->c->arena, i->id));
  arena_release(s->tmp, mark);
}

/* False: something in the list is no name of a domain. */
static bool take_domains(struct arena *a, const char *list, struct vec *ret, const char **ret_bad) {
  int sep = 0;
  for (const char *item; (item = list_next(a, &list, &sep));) {
    *ret_bad = item;
    if (!atrn_domain_is_valid(str_c(item))) return false;
    vec_push(ret, (void *)(uintptr_t)item);
  }
  vec_push(ret, NULL);
  return true;
}

enum outcome smtp_atrn_domains(struct acl_env *env, struct expand_ctx *x, const char *list, const char **ret_log) {
  struct smtp_session *s = env->session;
  struct arena *a = s->c->arena;
  struct atrn_mail *mail = ARENA_NEW(a, struct atrn_mail);
  const char *bad = NULL;
  mail->domains = vec_new(a);
  mail->ids = vec_new(a);
  s->atrn = NULL;
  if (!take_domains(a, arena_strdup(a, list), &mail->domains, &bad)) {
    *ret_log = arena_printf(x->a, "atrn_domains wants names of domains, not \"%s\"", bad);
    return OUTCOME_ERROR;
  }
  const char *queue = s->m->queue_name ? s->m->queue_name : "";
  mail->cfg = config_for_queue(a, s->c->cfg, arena_strdup(a, queue));
  if (mail->domains.n > 1) find_mail(s, mail);
  s->atrn = mail;
  return mail->ids.n > 0 ? OUTCOME_OK : OUTCOME_FAIL;
}

/* ---- the turn ---- */

/* " -qq -Rr @(a|b)": as Exim's queue runner would be told. */
static const char *run_text(struct arena *a, const struct atrn_mail *mail) {
  struct strbuf b = strbuf_new(a);
  for (size_t i = 0; i + 1 < mail->domains.n; i++) strbuf_addl(&b, i ? "|" : " -qq -Rr @(", mail->domains.v[i], NULL);
  strbuf_addc(&b, ')');
  return b.p;
}

static void deliver_over(struct smtp_session *s, struct smtp_turned *t) {
  struct deliver_turn turn = {.connection = t, .domains = (const char *const *)s->atrn->domains.v};
  struct deliver_opts o = {.forced = true, .in_queue_run = true, .queue_run_pid = getpid(), .dont_deliver = s->c->dont_deliver, .turn = &turn};
  const struct config *cfg = s->atrn->cfg;
  const char *which = cfg->queue_name && *cfg->queue_name ? arena_printf(s->tmp, "'%s' ", cfg->queue_name) : "", *flags = run_text(s->tmp, s->atrn);
  log_write(LS_QUEUE_RUN, LOG_MAIN, "Start ODMR %squeue run: pid=%d%s", which, (int)getpid(), flags);
  for (size_t i = 0; i < s->atrn->ids.n && !t->is_dead; i++) (void)deliver_message(cfg, s->atrn->ids.v[i], &o);
  smtp_turned_quit(t);
  log_write(LS_QUEUE_RUN, LOG_MAIN, "End %squeue run: pid=%d%s", which, (int)getpid(), flags);
}

static void turn_round(struct smtp_session *s) {
  struct conn *c = s->c;
  struct atrn_turn *turn = ARENA_NEW(c->arena, struct atrn_turn);
  struct smtp_turned *t = ARENA_NEW(c->arena, struct smtp_turned);
  *turn = (struct atrn_turn){.mode = "P", .host = c->from.host_address};
  *t = (struct smtp_turned){.a = c->arena, .io = c->io, .turn = turn, .host_address = c->from.host_address, .host_port = c->from.host_port,
                            .tls = c->from.tls};
  t->tls.on_connect = false;
  s->done = true; /* whatever becomes of it, the other side takes no more commands */
  if (stream_flush(c->io, smtp_deadline(s)) != STREAM_OK) return;
  smtp_reset(s);
  deliver_over(s, t);
  log_set_message_id(NULL);
  sys_role(SYS_ROLE_RECEPTION);
  smtp_log_end(s, "closed after ATRN");
}

/* ---- the command ---- */

bool smtp_advertise_atrn(struct smtp_session *s) {
  const char *acl = s->opt->acl_smtp_atrn;
  s->atrn_advertised = false;
  if (!acl || !s->c->from.host_address) return false;
  const char *text = expand_option(&s->x, "acl_smtp_atrn", acl);
  if (!text && !s->x.forced_fail) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to expand acl_smtp_atrn: %s", s->x.error ? s->x.error : "");
  return s->atrn_advertised = text && *text;
}

/* Why ATRN is refused before the ACL is asked: the text, and the reply code in *ret_code.  NULL: it is not. */
static const char *why_not_now(const struct smtp_session *s, int *ret_code) {
  if (!s->atrn_advertised) return *ret_code = 502, "ATRN command used when not advertised";
  if (!s->c->from.auth_name) return *ret_code = 530, "ATRN is not permitted without authentication";
  if (s->m->sender) return *ret_code = 503, "ATRN is not permitted inside a transaction";
  return NULL;
}

/* acl_smtp_atrn.  A queue it has named is where the mail of the client is, not one for what the client sends. */
static struct acl_result ask_acl(struct smtp_session *s) {
  const struct config *cfg = s->m->cfg;
  const char *queue = s->m->queue_name;
  s->atrn = NULL;
  struct acl_result r = smtp_run_acl(s, ACL_WHERE_ATRN, NULL, s->opt->acl_smtp_atrn, OUTCOME_FAIL);
  s->m->cfg = cfg;
  s->m->queue_name = queue;
  return r;
}

/* Why ATRN is refused although the ACL has accepted it: the reply.  NULL: it is not. */
static const char *why_not_after_all(const struct smtp_session *s, struct str arg) {
  if (!atrn_list_is_valid(arg)) return "501 ATRN takes domains with commas between them";
  if (!s->atrn || s->opt->system_filter) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, s->atrn ? "ATRN: a message that goes through system_filter cannot be handed over"
                                                       : "ATRN accepted by an ACL that did not ask for atrn_domains");
    return "451 Unable to process ATRN request now";
  }
  return s->atrn->ids.n == 0 ? "453 You have no mail" : NULL;
}

void smtp_do_atrn(struct smtp_session *s, struct str arg) {
  int code;
  const char *no = why_not_now(s, &code);
  if (no) {
    smtp_synprot_error(s, false, code, no);
    return;
  }
  log_write(LS_ETRN, LOG_MAIN, "ATRN '%s' received from %s", arg.p, smtp_host_text(s));
  struct acl_result r = ask_acl(s);
  if (r.outcome != OUTCOME_OK) {
    smtp_acl_failed(s, ACL_WHERE_ATRN, &r, arena_printf(s->tmp, "ATRN %s", arg.p));
    return;
  }
  if ((no = why_not_after_all(s, arg))) {
    smtp_replyf(s, "%s", no);
    return;
  }
  if (stream_input_ready(s->c->io, 0) == STREAM_DATA) { /* what stands there was said before the ends changed places */
    smtp_synprot_error(s, false, 503, "ATRN must be the last command");
    return;
  }
  smtp_acl_accepted(s, &r, 250, "ODMR provider turning line around");
  if (s->c->host_checking) narrate(&s->x, D_RECEIVE, "connection is not turned round");
  else turn_round(s);
}
