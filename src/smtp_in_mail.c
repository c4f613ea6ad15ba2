/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MAIL: its parameters, the limits that apply to a transaction's start, and the ACL.
 *
 * Floor: flows.  Parameters are only taken when the extension was offered.  RFC 5321 §4.1.1.2, 1870, 6152, 3461;
 * manual ch. 48. */
#include "policy/match.h"
#include "policy/rewrite.h"
#include "smtp_in_priv.h"

struct mail_params {
  uint64_t size;
  bool has_size, wants_prdr, smtputf8;
  int body_type;
  int dsn_ret;
  const char *envid;
  const char *auth;            /* decoded, in the transaction's arena */
  const char *auth_end;        /* where it ends in the command */
};

static const char *take_size(struct str value, struct mail_params *p) {
  p->has_size = true;
  if (value.n == 0) return "";
  for (size_t i = 0; i < value.n; i++)
    if (!ch_isdigit(value.p[i])) return "";
  if (!str_parse_u64(value, &p->size)) p->size = UINT64_MAX;
  return NULL;
}

static const char *take_body(struct str value, struct mail_params *p) {
  if (str_eqic(value, STR("8BITMIME"))) p->body_type = 8;
  else if (str_eqic(value, STR("7BIT"))) p->body_type = 7;
  else return "invalid data for BODY";
  return NULL;
}

static const char *take_auth(struct smtp_session *s, struct str value, bool has, struct mail_params *p) {
  const char *decoded = has ? xtext_decode(s->tmp, value) : NULL;
  for (const char *q = decoded; q && *q; q++)
    if (ch_iscntrl(*q)) decoded = NULL; /* it becomes a line of the spool file */
  if (!decoded) return "invalid data for AUTH";
  if (!p->auth) {
    p->auth = arena_strdup(s->m->arena, decoded);
    p->auth_end = value.p + value.n;
  }
  return NULL;
}

static const char *take_ret(struct str value, struct mail_params *p) {
  if (p->dsn_ret) return "RET can be specified once only";
  if (str_eqic(value, STR("HDRS"))) p->dsn_ret = DSN_RET_HDRS;
  else if (str_eqic(value, STR("FULL"))) p->dsn_ret = DSN_RET_FULL;
  else return "Value for RET is invalid";
  return NULL;
}

/* One parameter, "key=value" or (has false) "key".  NULL when taken, "" when unknown here, else an error text (501); so do take_*. */
static const char *take_param(struct smtp_session *s, struct str key, struct str value, bool has, struct mail_params *p) {
  struct conn *c = s->c;
  if (str_eqic(key, STR("SIZE"))) return take_size(has ? value : STR_NULL, p);
  if (str_eqic(key, STR("BODY")) && s->opt->accept_8bitmime) return take_body(value, p);
  if (str_eqic(key, STR("AUTH"))) return take_auth(s, value, has, p);
  if (str_eqic(key, STR("RET")) && c->dsn_advertised) return take_ret(value, p);
  if (str_eqic(key, STR("ENVID")) && c->dsn_advertised) {
    if (p->envid) return "ENVID can be specified once only";
    p->envid = str_dup(s->m->arena, value);
    return NULL;
  }
  if (str_eqic(key, STR("SMTPUTF8"))) {
    if (!c->smtputf8_advertised) return "SMTPUTF8 used when not advertised";
    if (has) return "unexpected value for SMTPUTF8";
    p->smtputf8 = true;
    return NULL;
  }
  if (str_eqic(key, STR("PRDR")) && c->prdr_advertised) {
    p->wants_prdr = true;
    return NULL;
  }
  return "";
}

/* What is no parameter belongs to the text of the address: *path then covers all, and the parser says what it makes of it. */
static bool take_params(struct smtp_session *s, struct str arg, size_t *path, struct mail_params *p) {
  struct str rest = str_n(arg.p + *path, arg.n - *path), key, value;
  bool has;
  while (str_trim(rest).n > 0) {
    const char *error = "";
    if (s->c->esmtp && smtp_next_param(&rest, &key, &value, &has)) error = take_param(s, key, value, has, p);
    if (!error) continue;
    if (!*error) {
      *p = (struct mail_params){0};
      *path = arg.n;
      return true;
    }
    smtp_synprot_error(s, true, 501, error);
    return false;
  }
  return true;
}

static bool size_is_fine(struct smtp_session *s, const struct mail_params *p, const char *sender) {
  if (!p->has_size) return true;
  if (s->size_limit > 0 && p->size > (uint64_t)s->size_limit) {
    bool huge = p->size > INT32_MAX;
    smtp_replyf(s, "552 Message size exceeds maximum permitted");
    log_write(LS_SIZE_REJECT, LOG_MAIN | LOG_REJECT, "rejected MAIL FROM:<%s> %s: message too big: size%s=%d max=%lld", sender,
              smtp_ident(s), huge ? ">" : "", huge ? INT32_MAX : (int)p->size, (long long)s->size_limit);
    return false;
  }
  return true;
}

enum { EXCESS_MAIL_ANSWERED = 20 };

/* State and limits.  False: refused, the reply was given. */
static bool may_start(struct smtp_session *s, struct str arg) {
  struct conn *c = s->c;
  if (!c->helo_seen && !c->is_batched &&
      (s->helo_verify_required || smtp_host_in(s, "hosts_require_helo", s->opt->hosts_require_helo))) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_REJECT, "rejected MAIL from %s: no HELO/EHLO given", smtp_host_text(s));
    smtp_count_synprot_error(s, 503, "HELO or EHLO required"); /* Exim 4.96 does not count it, later ones do */
    return false;
  }
  if (s->m->sender) {
    smtp_synprot_error(s, false, 503, "sender already given");
    return false;
  }
  if (arg.n == 0) {
    smtp_synprot_error(s, false, 501, "MAIL must have an address operand");
    return false;
  }
  int64_t max = s->max_per_connection;
  if (!c->is_batched && max > 0 && s->mail_count++ >= max) {
    if (s->mail_count > max + EXCESS_MAIL_ANSWERED) s->done = s->drop = true; /* each try is a log line */
    smtp_replyf(s, "421 too many messages in this connection");
    log_write(LS_ALWAYS, LOG_MAIN | LOG_REJECT, "rejected MAIL command %s: too many messages in one connection", smtp_ident(s));
    return false;
  }
  return true;
}

static bool space_is_there(struct smtp_session *s, const struct mail_params *p) {
  bool counts = p->has_size && s->opt->smtp_check_spool_space;
  int64_t want = counts ? (int64_t)MIN(p->size, (uint64_t)(INT64_MAX / 2)) : 0;
  if (s->c->is_batched || receive_space_available(s->c->cfg, want)) return true;
  smtp_replyf(s, "452 Space shortage, please try later");
  return false;
}

void smtp_note_pipelining(struct smtp_session *s) {
  struct conn *c = s->c;
  if (!c->pipelining_used && c->pipelining_advertised && c->enforce_sync && s->is_socket &&
      stream_input_ready(c->io, 0) == STREAM_DATA)
    c->pipelining_used = true;
}

void smtp_force_own_sender(struct smtp_session *s) {
  struct conn *c = s->c;
  struct message *m = s->m;
  c->sender_is_own = false;
  if (c->from.host_address || c->is_trusted || !c->login) return;
  const char *own = arena_printf(m->arena, "%s@%s", addr_quote_local_part(m->arena, str_c(c->login)), c->cfg->qualify_domain);
  if (strcmp(own, m->sender) != 0 &&
      match_address(&s->x, m->sender, s->opt->untrusted_set_sender, true, NULL) == OUTCOME_OK) {
    m->sender_set_untrusted = true;
    return;
  }
  m->sender = own;
  m->raw_sender = own;
  m->unrewritten_sender = NULL;
  c->sender_is_own = true;
  if (!c->from.auth_id) c->from.auth_id = c->login;
}

/* UTF-8 in the log, and in the name of the protocol, is for the messages that asked for it. */
static void set_utf8(struct smtp_session *s, bool smtputf8) {
  log_set_utf8(smtputf8);
  if (smtputf8 || s->m->smtputf8) {
    s->m->smtputf8 = smtputf8;
    smtp_set_protocol(s, s->c->esmtp);
  } else if (s->c->from.protocol && strncmp(s->c->from.protocol, "utf8", 4) == 0) {
    smtp_set_protocol(s, s->c->esmtp); /* the message before this one was */
  }
}

static void begin_transaction(struct message *m, const char *sender, const char *raw, const struct mail_params *p) {
  m->sender = arena_strdup(m->arena, sender);
  m->raw_sender = arena_strdup(m->arena, raw);
  m->sender_is_rewritten = false;
  m->rcpt_count = m->rcpt_defer_count = m->rcpt_fail_count = 0; /* what came too early is not of this message */
  m->message_size = p->has_size ? (int64_t)MIN(p->size, (uint64_t)INT64_MAX) : -1;
  m->body_type = p->body_type;
  m->dsn_ret = p->dsn_ret;
  m->dsn_envid = p->envid;
  m->prdr_requested = p->wants_prdr;
}

void smtp_do_mail(struct smtp_session *s, struct str arg) {
  struct mail_params p = {0};
  s->mail_seen = true;
  if (!may_start(s, arg)) return;
  smtp_forget_message_variables(s);
  smtp_slow_down(s, "mail", s->opt->smtp_ratelimit_mail, ++s->rate_mail_count);
  size_t path = smtp_path_len(arg);
  if (!take_params(s, arg, &path, &p)) return;
  set_utf8(s, p.smtputf8);
  struct str text = str_n(arg.p, path);
  if (s->c->cfg->smtp_rewrite_rules)
    text = str_c(rewrite_address(&s->x, str_dup(s->tmp, text), REWRITE_SMTP_SENDER, s->c->cfg->smtp_rewrite_rules));
  const char *raw, *sender = smtp_take_address(s, text, true, &raw);
  if (!sender) return;
  if (!smtp_auth_sender(s, p.auth, str_n(arg.p, p.auth ? (size_t)(p.auth_end - arg.p) : arg.n))) return;
  if (!size_is_fine(s, &p, sender) || !space_is_there(s, &p)) return;
  struct message *m = s->m;
  begin_transaction(m, sender, raw, &p);
  if (s->o->mode == SMTP_MODE_BATCH) return;
  struct acl_result r = smtp_run_acl(s, ACL_WHERE_MAIL, NULL, s->opt->acl_smtp_mail, OUTCOME_OK);
  if (r.outcome == OUTCOME_DISCARD) {
    m->discarded = s->c->recipients_discarded = true;
    m->discard_text = r.log_message ? arena_strdup(m->arena, r.log_message) : NULL;
  }
  if (r.outcome != OUTCOME_OK && r.outcome != OUTCOME_DISCARD) {
    m->sender = NULL;
    smtp_acl_failed(s, ACL_WHERE_MAIL, &r, arena_printf(s->tmp, "MAIL %.*s", STR_FMT(str_trim(str_n(arg.p, path)))));
    smtp_reset(s); /* variables, controls and verify results of the refused transaction are not for the next one */
    return;
  }
  s->last_rcpt_error = NULL; /* what was refused before belongs to no transaction */
  s->rcpt_errors_differ = false;
  if (!s->opt->acl_smtp_mail) r.user_message = s->mailauth_message;
  smtp_acl_accepted(s, &r, 250, p.wants_prdr ? "OK, PRDR Requested" : "OK");
  smtp_note_pipelining(s);
}
