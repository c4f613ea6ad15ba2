/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AUTH: what is offered, the exchange, its result; AUTH= of MAIL.
 *
 * Floor: flows.  The drivers (auths/) judge, this file talks: replies, the lines fail2ban reads, the state of the session.
 *     "NAME authenticator failed for HOST: CODE TEXT[ (set_id=ID)][: DETAIL]"   main and reject log, for every failed attempt
 *     "ignoring AUTH=ADDR from HOST (REASON)"                                   main log
 * Everything the client sends is hostile; what an attempt allocates is given back when the next begins.  One successful authentication
 * per connection; STARTTLS makes it forgotten.  RFC 4954; manual ch. 33. */
#include "auth.h"
#include "os/debug.h"
#include "policy/event.h"
#include "policy/match.h"
#include "policy/narrate.h"
#include "smtp_in_priv.h"

enum { AUTH_ID_MAX = 1024 }; /* of an id that is kept or logged */

/* ---- what is offered ---- */

static size_t auth_count(const struct config *cfg) {
  size_t n = 0;
  for (const struct auth_instance *i = cfg->auths; i; i = i->next) n++;
  return n;
}

static bool is_offerable(struct smtp_session *s, const struct auth_instance *i) {
  if (!i->is_server || i->driver->is_implicit) return false;
  const char *condition = i->o.server_advertise_condition;
  DEBUG(D_AUTH) debug_printf("Evaluating advertise_condition for %s %s athenticator\n", i->name, i->o.public_name);
  if (!condition) return true;
  const char *r = expand_string(&s->x, condition);
  if (r) return !text_means_no(r);
  if (!s->x.forced_fail && !s->x.lookup_deferred)
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to expand condition \"%s\" for %s authenticator: %s", condition, i->name, s->x.error);
  return false;
}

void smtp_auth_advertise(struct smtp_session *s, struct strbuf *b) {
  const struct config *cfg = s->c->cfg;
  size_t n = 0;
  s->c->auth_advertised = false;
  if (!cfg->auths || s->c->from.auth_name || !smtp_host_in(s, "auth_advertise_hosts", s->opt->auth_advertise_hosts)) return;
  if (!s->auth_offered) s->auth_offered = ARENA_NEW_N(s->c->arena, bool, auth_count(cfg));
  for (const struct auth_instance *i = cfg->auths; i; i = i->next, n++) {
    s->auth_offered[n] = is_offerable(s, i);
    if (!s->auth_offered[n]) continue;
    strbuf_adds(b, s->c->auth_advertised ? " " : "\nAUTH ");
    for (const char *p = i->o.public_name; *p; p++) strbuf_addc(b, (char)ch_upper(*p));
    s->c->auth_advertised = true;
  }
}

static const struct auth_instance *find_mechanism(struct smtp_session *s, struct str name) {
  size_t n = 0;
  for (const struct auth_instance *i = s->c->cfg->auths; i; i = i->next, n++)
    if (i->is_server && !i->driver->is_implicit && str_eqic_c(name, i->o.public_name) &&
        (s->c->allow_auth_unadvertised || (s->auth_offered && s->auth_offered[n])))
      return i;
  return NULL;
}

/* ---- the exchange ---- */

/* 334 and its answer.  The answer is one line of base64, or "*". */
static enum auth_status ask(struct auth_server *as, const char *challenge64, const char **ret) {
  struct smtp_session *s = as->ctx;
  struct str line;
  smtp_replyf(s, "334 %s", challenge64);
  enum stream_status st = stream_read_line(s->c->io, SMTP_LINE_MAX, true, smtp_deadline(s), &line, NULL);
  if (st == STREAM_TOOLONG) {
    *ret = "(too long)"; /* no base64 */
    return AUTH_OK;
  }
  if (st != STREAM_OK) {
    smtp_log_lost(s, st);
    return AUTH_LOST;
  }
  line = str_rtrim(line);
  if (memchr(line.p, '\0', line.n)) line = STR("(NUL)"); /* no base64 either */
  *ret = arena_strndup_t(s->auth_arena, line.p, line.n, TAINTED);
  return str_eq(line, STR("*")) ? AUTH_CANCELLED : AUTH_OK;
}

/* Whose attempt it was: server_set_id after a verdict, NULL when unset, forced to fail or empty.  False: it cannot be had now. */
static bool expand_id(struct auth_server *as, const char **ret) {
  const char *text = as->i->o.server_set_id;
  *ret = text ? expand_string(as->x, text) : NULL;
  if (text && !*ret && !as->x->forced_fail) return false;
  if (*ret && !**ret) *ret = NULL;
  if (*ret && strlen(*ret) > AUTH_ID_MAX) *ret = arena_strndup(as->x->a, *ret, AUTH_ID_MAX);
  return true;
}

/* Code and text of the reply and of the log line. */
static const struct verdict {
  int code;
  const char *text;
} verdicts[] = {
  [AUTH_OK] = {235, "Authentication succeeded"},
  [AUTH_MORE] = {435, "Unable to authenticate at present"},
  [AUTH_FAIL] = {535, "Incorrect authentication data"},
  [AUTH_DEFER] = {435, "Unable to authenticate at present"},
  [AUTH_SKIP] = {535, "Incorrect authentication data"},
  [AUTH_CANCELLED] = {501, "Authentication cancelled"},
  [AUTH_BAD64] = {501, "Invalid base64 data"},
  [AUTH_UNEXPECTED] = {553, "Initial data not expected"},
  [AUTH_LOST] = {421, "connection lost"},
};

/* auth:fail, with the authenticator as $sender_host_authenticated; what it says replaces the line in the log. */
static const char *raise_failed(struct smtp_session *s, const struct auth_instance *i, const struct verdict *v) {
  s->c->from.auth_name = i->name;
  const char *other = event_raise(&s->x, s->opt->event_action, "main", "auth:fail", arena_printf(s->auth_arena, "%d %s", v->code, v->text), 0);
  s->c->from.auth_name = NULL;
  return other;
}

static void refuse(struct smtp_session *s, struct auth_server *as, enum auth_status st, const char *id) {
  const struct verdict *v = &verdicts[st];
  const char *detail = st == AUTH_DEFER && as->user_text ? as->user_text : as->log_text;
  const char *set_id = id ? arena_printf(s->auth_arena, " (set_id=%s)", log_escape(s->auth_arena, str_c(id))) : "";
  s->x.auth_fail_id = set_id;
  const char *other = raise_failed(s, as->i, v);
  if (other) log_write(LS_ALWAYS, LOG_MAIN | LOG_REJECT, "%s", other);
  else log_write(LS_ALWAYS, LOG_MAIN | LOG_REJECT, "%s authenticator failed for %s: %d %s%s%s%s", as->i->name,
            origin_host_ident(s->tmp, s->c, !s->c->from.host_address, true), v->code, v->text, set_id, detail ? ": " : "", detail ? detail : "");
  if (st == AUTH_DEFER && as->user_text) smtp_replyf(s, "%d %s: %s", v->code, v->text, as->user_text);
  else smtp_replyf(s, "%d %s", v->code, v->text);
}

static void take_success(struct smtp_session *s, const struct auth_instance *i, const char *id) {
  struct conn *c = s->c;
  c->from.auth_name = i->name;
  c->from.auth_pubname = i->o.public_name;
  c->from.auth_id = id ? arena_strdup(c->arena, log_escape(s->auth_arena, str_c(id))) : NULL;
  s->auth_mail_condition = i->o.server_mail_auth_condition;
  s->x.auth_fail_id = NULL;
  s->x.authentication_failed = false;
  smtp_set_protocol(s, true);
}

/* Run a driver; the variables are the exchange's own.  *ret_id: as server_set_id says. */
static enum auth_status run_driver(struct smtp_session *s, struct auth_server *as, const char **ret_id) {
  struct arena *results = s->x.a;
  *ret_id = NULL;
  as->x = &s->x;
  as->ask = ask;
  as->ctx = s;
  s->x.a = s->auth_arena;
  auth_clear_vars(&s->x);
  enum auth_status st = as->i->driver->server(as);
  if (st == AUTH_OK || st == AUTH_FAIL || st == AUTH_DEFER) {
    if (!expand_id(as, ret_id) && st == AUTH_OK) {
      st = AUTH_DEFER;
      as->log_text = s->x.error;
    }
  }
  auth_clear_vars(&s->x);
  s->x.a = results;
  return st;
}

/* An arena of its own for one attempt: $authenticated_fail_id stays readable until the next. */
static void begin_attempt(struct smtp_session *s) {
  s->x.auth_fail_id = NULL;
  if (s->auth_arena) arena_free(s->auth_arena);
  s->auth_arena = arena_new("smtp auth");
}

static void authenticate(struct smtp_session *s, const struct auth_instance *i, struct str data) {
  const char *id;
  begin_attempt(s);
  struct auth_server as = {.i = i, .initial = data.n ? arena_strndup(s->auth_arena, data.p, data.n) : NULL};
  enum auth_status st = run_driver(s, &as, &id);
  if (st == AUTH_LOST) return;
  if (st != AUTH_OK) {
    refuse(s, &as, st, id);
    return;
  }
  take_success(s, i, id);
  smtp_replyf(s, "%d %s", verdicts[st].code, verdicts[st].text);
}

static bool is_mechanism_name(struct str name) {
  for (size_t i = 0; i < name.n; i++)
    if (!ch_isalnum(name.p[i]) && name.p[i] != '-' && name.p[i] != '_') return false;
  return true;
}

void smtp_do_auth(struct smtp_session *s, struct str arg) {
  struct conn *c = s->c;
  struct str rest = arg, name = str_word(&rest);
  s->x.authentication_failed = true;
  if (!c->auth_advertised && !c->allow_auth_unadvertised) {
    smtp_synprot_error(s, false, 503, "AUTH command used when not advertised");
    return;
  }
  if (c->from.auth_name || s->m->sender) {
    smtp_synprot_error(s, false, 503, c->from.auth_name ? "already authenticated" : "not permitted in mail transaction");
    return;
  }
  struct acl_result r = smtp_run_acl(s, ACL_WHERE_AUTH, NULL, s->opt->acl_smtp_auth, OUTCOME_OK);
  if (r.outcome != OUTCOME_OK) {
    smtp_acl_failed(s, ACL_WHERE_AUTH, &r, arena_printf(s->tmp, "AUTH %.*s", STR_FMT(name)));
    return;
  }
  if (!is_mechanism_name(name)) {
    smtp_synprot_error(s, true, 501, "invalid character in authentication mechanism name");
    return;
  }
  const struct auth_instance *i = find_mechanism(s, name);
  if (i)
    authenticate(s, i, str_trim(rest));
  else
    smtp_synprot_error(s, false, 504, arena_printf(s->tmp, "%.*s authentication mechanism not supported", STR_FMT(name)));
}

/* ---- without the command ---- */

/* Only a certificate that was shown and verified speaks for a client, whatever the conditions say. */
void smtp_auth_implicit(struct smtp_session *s) {
  const struct tls_info *tls = &s->c->from.tls;
  if (!tls->peer_cert || !tls->certificate_verified) return;
  for (const struct auth_instance *i = s->c->cfg->auths; i && !s->c->from.auth_name; i = i->next) {
    if (!i->driver->is_implicit || !i->is_server) continue;
    const char *id;
    begin_attempt(s);
    struct auth_server as = {.i = i};
    enum auth_status st = run_driver(s, &as, &id);
    DEBUG(D_AUTH) debug_printf("%s authenticator: %s\n", i->name, verdicts[st].text);
    if (st == AUTH_OK) take_success(s, i, id);
    if (st == AUTH_DEFER) /* nobody asked, so nobody is told but the administrator */
      log_write(LS_ALWAYS, LOG_MAIN, "%s authenticator failed for %s: %d %s: %s", i->name, origin_host_ident(s->tmp, s->c, false, true), verdicts[st].code,
                verdicts[st].text, as.log_text ? as.log_text : as.user_text ? as.user_text : "");
  }
}

void smtp_auth_forget(struct smtp_session *s, bool keep_offer) {
  struct origin *o = &s->c->from;
  o->auth_name = o->auth_pubname = o->auth_id = o->auth_sender = NULL;
  s->auth_mail_condition = NULL;
  if (!keep_offer) {
    s->c->auth_advertised = false;
    s->auth_offered = NULL;
  }
  s->x.auth_fail_id = NULL;
  s->x.authentication_failed = false;
}

void smtp_auth_end(struct smtp_session *s) {
  s->x.auth_fail_id = NULL;
  arena_free(s->auth_arena);
  s->auth_arena = NULL;
}

/* ---- AUTH= of MAIL ---- */

static bool mail_condition_holds(struct smtp_session *s) {
  const char *r = expand_string(&s->x, s->auth_mail_condition);
  return r && !text_means_no(r);
}

bool smtp_auth_sender(struct smtp_session *s, const char *value, struct str arg) {
  struct origin *o = &s->c->from;
  const char *why = NULL;
  o->auth_sender = NULL;
  s->mailauth_message = NULL;
  if (!value || !*value || strcmp(value, "<>") == 0) return true;
  if (s->opt->acl_smtp_mailauth) {
    o->auth_sender = value;
    struct acl_result r = smtp_run_acl(s, ACL_WHERE_MAILAUTH, NULL, s->opt->acl_smtp_mailauth, OUTCOME_OK);
    if (r.outcome == OUTCOME_DEFER || r.outcome == OUTCOME_ERROR) {
      o->auth_sender = NULL;
      smtp_acl_failed(s, ACL_WHERE_MAILAUTH, &r, arena_printf(s->tmp, "MAILAUTH %.*s", STR_FMT(arg)));
      return false;
    }
    if (r.outcome != OUTCOME_OK) why = "rejected by ACL";
    s->mailauth_message = r.user_message;
  } else if (!o->auth_name) {
    why = "client not authenticated";
  }
  o->auth_sender = why ? NULL : value;
  if (!why && o->auth_name && s->auth_mail_condition && !mail_condition_holds(s)) {
    why = arena_printf(s->tmp, "server_mail_auth_condition failed: authenticated ID=\"%s\"", o->auth_id ? o->auth_id : "");
    o->auth_sender = NULL;
  }
  if (why) log_write(LS_ALWAYS, LOG_MAIN, "ignoring AUTH=%s from %s (%s)", value, smtp_ident(s), why);
  return true;
}
