/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RCPT: parameters, limits, the ACL, and what becomes of the recipient.
 *
 * Floor: flows.  Without acl_smtp_rcpt every recipient is refused; in a batch no ACL runs.  RFC 5321 §4.1.1.3, 3461;
 * manual ch. 44, 48. */
#include "cutthrough.h"
#include "policy/rewrite.h"
#include "smtp_in_priv.h"

void smtp_note_rcpt_failure(struct smtp_session *s, const char *text) {
  if (!s->last_rcpt_error) s->last_rcpt_error = arena_strdup(s->m->arena, text);
  else if (strcmp(s->last_rcpt_error, text) != 0) s->rcpt_errors_differ = true;
}

/* An empty value asks for nothing. */
static bool parse_notify(struct str value, unsigned *ret) {
  unsigned flags = 0;
  while (value.n > 0) {
    struct str word = str_cut(&value, ',');
    if (word.n == 0 && value.n == 0) break; /* "SUCCESS," */
    if (str_eqic(word, STR("NEVER"))) flags |= DSN_NEVER;
    else if (str_eqic(word, STR("SUCCESS"))) flags |= DSN_SUCCESS;
    else if (str_eqic(word, STR("FAILURE"))) flags |= DSN_FAILURE;
    else if (str_eqic(word, STR("DELAY"))) flags |= DSN_DELAY;
    else return false;
  }
  if (flags & DSN_NEVER && flags != DSN_NEVER) return false;
  *ret = flags;
  return true;
}

/* What is no parameter belongs to the text of the address: *path then covers all, and the parser says what it makes of it. */
static bool take_params(struct smtp_session *s, struct str arg, size_t *path, unsigned *ret_dsn, const char **ret_orcpt) {
  struct str rest = str_n(arg.p + *path, arg.n - *path), key, value;
  bool has;
  while (str_trim(rest).n > 0) {
    const char *error = NULL;
    bool ok = s->c->esmtp && s->c->dsn_advertised && smtp_next_param(&rest, &key, &value, &has);
    if (ok && str_eqic(key, STR("ORCPT"))) {
      if (*ret_orcpt) error = "ORCPT can be specified once only";
      else *ret_orcpt = str_dup(s->tmp, value);
    } else if (ok && str_eqic(key, STR("NOTIFY"))) {
      if (*ret_dsn) error = "NOTIFY can be specified once only";
      else if (!has || !parse_notify(value, ret_dsn)) error = "Invalid value for NOTIFY parameter";
    } else {
      *path = arg.n;
      *ret_dsn = 0;
      *ret_orcpt = NULL;
      return true;
    }
    if (!error) continue;
    smtp_synprot_error(s, true, 501, error);
    return false;
  }
  return true;
}

static bool too_many(struct smtp_session *s) {
  struct message *m = s->m;
  if (s->recipients_max <= 0 || m->rcpt_count <= s->recipients_max) return false;
  smtp_note_rcpt_failure(s, s->opt->recipients_max_reject ? "552 too many recipients" : "452 too many recipients");
  if (s->opt->recipients_max_reject) {
    m->rcpt_fail_count++;
    smtp_replyf(s, "552 too many recipients");
    if (!s->recipients_max_exceeded)
      log_write(LS_ALWAYS, LOG_MAIN | LOG_REJECT, "too many recipients: message rejected: sender=<%s> %s", m->sender,
                smtp_ident(s));
  } else {
    m->rcpt_defer_count++;
    smtp_replyf(s, "452 too many recipients");
    if (!s->recipients_max_exceeded)
      log_write(LS_ALWAYS, LOG_MAIN | LOG_REJECT, "too many recipients: excess temporarily rejected: sender=<%s> %s",
                m->sender, smtp_ident(s));
  }
  s->recipients_max_exceeded = true;
  return true;
}

/* "550 5.7.1 text": the text. */
static const char *without_codes(const char *text) {
  struct str t = str_c(text);
  bool has = t.n > 3 && ch_isdigit(t.p[0]) && ch_isdigit(t.p[1]) && ch_isdigit(t.p[2]) && ch_isspace(t.p[3]);
  return has ? text + 4 + smtp_enhanced_code_len(str_n(t.p + 4, t.n - 4), t.p[0] - '0') : text;
}

static void refused(struct smtp_session *s, const struct acl_result *r, struct str path) {
  bool temporary = r->outcome == OUTCOME_DEFER || r->outcome == OUTCOME_ERROR;
  if (temporary) s->m->rcpt_defer_count++;
  else s->m->rcpt_fail_count++;
  cutthrough_rcpt_refused(&s->x);
  smtp_note_rcpt_failure(s, r->user_message && r->outcome != OUTCOME_ERROR ? without_codes(r->user_message)
                  : temporary ? "Temporary local problem - please try later" : "Administrative prohibition");
  smtp_acl_failed(s, ACL_WHERE_RCPT, r, arena_printf(s->tmp, "RCPT %.*s", STR_FMT(path)));
}

static void add_recipient(struct smtp_session *s, const char *recipient, const char *raw, unsigned dsn, const char *orcpt) {
  receive_add_recipient(s->m, recipient, raw);
  struct recipient *r = &s->m->recipients[s->m->recipient_count - 1];
  r->dsn_flags = dsn;
  r->orcpt = orcpt ? arena_strdup(s->m->arena, orcpt) : NULL;
}

static void log_discarded(struct smtp_session *s, struct str path, const struct acl_result *r) {
  const struct message *m = s->m;
  const char *ident = smtp_ident(s), *why = m->discarded ? m->discard_text : r->log_message;
  log_write(LS_ALWAYS, LOG_MAIN | LOG_REJECT, "%s%sF=<%s> RCPT %.*s: discarded by %s ACL%s%s", ident, *ident ? " " : "", m->sender,
            STR_FMT(path), m->discarded ? "MAIL" : "RCPT", why ? ": " : "", why ? why : "");
}

/* Is there a transaction, and an operand?  False: answered. */
static bool may_name_recipient(struct smtp_session *s, struct str arg) {
  if (!s->m->sender) {
    s->m->rcpt_fail_count++;
    if (s->mail_was_refused) smtp_replyf(s, "503 sender not yet given");
    else smtp_synprot_error(s, false, 503, "sender not yet given");
    smtp_note_rcpt_failure(s, "503 sender not yet given");
    return false;
  }
  if (arg.n == 0) {
    smtp_synprot_error(s, true, 501, "RCPT must have an address operand");
    s->m->rcpt_fail_count++;
    return false;
  }
  return true;
}

/* The recipient after SMTP rewriting; *ret_raw as the client gave it.  NULL: no address, answered. */
static const char *take_recipient(struct smtp_session *s, struct str text, const char **ret_raw) {
  if (s->c->cfg->smtp_rewrite_rules)
    text = str_c(rewrite_address(&s->x, str_dup(s->tmp, text), REWRITE_SMTP, s->c->cfg->smtp_rewrite_rules));
  const char *recipient = smtp_take_address(s, text, false, ret_raw);
  if (!recipient) s->m->rcpt_fail_count++;
  return recipient;
}

void smtp_do_rcpt(struct smtp_session *s, struct str arg) {
  struct message *m = s->m;
  unsigned dsn = 0;
  const char *orcpt = NULL;
  m->rcpt_count++; /* of the commands, whatever is in them (manual 11.9) */
  if (!may_name_recipient(s, arg)) return;
  smtp_slow_down(s, "rcpt", s->opt->smtp_ratelimit_rcpt, m->rcpt_count);
  size_t path = smtp_path_len(arg);
  if (!take_params(s, arg, &path, &dsn, &orcpt)) return;
  const char *raw, *recipient = take_recipient(s, str_n(arg.p, path), &raw);
  if (!recipient || too_many(s)) return;
  s->x.address_data = NULL; /* of the recipient before */
  s->c->rcpt_count_session++;
  if (s->o->mode == SMTP_MODE_BATCH) {
    add_recipient(s, recipient, raw, dsn, orcpt);
    return;
  }
  struct acl_result onward, r = {.outcome = OUTCOME_DISCARD}; /* the MAIL ACL may have decided for all of them */
  if (!m->discarded) r = smtp_run_acl(s, ACL_WHERE_RCPT, recipient, s->opt->acl_smtp_rcpt, OUTCOME_FAIL);
  if (r.outcome != OUTCOME_OK && r.outcome != OUTCOME_DISCARD) {
    refused(s, &r, str_trim(str_n(arg.p, path)));
    return;
  }
  if (r.outcome == OUTCOME_DISCARD || m->discarded) {
    s->c->recipients_discarded = true;
    log_discarded(s, str_trim(str_n(arg.p, path)), &r);
  } else if (cutthrough_rcpt(&s->env, &s->x, recipient, &onward)) {
    add_recipient(s, recipient, raw, dsn, orcpt);
  } else {
    refused(s, &onward, str_trim(str_n(arg.p, path)));
    return;
  }
  smtp_acl_accepted(s, &r, 250, "Accepted");
  smtp_note_pipelining(s);
}
