/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The SMTP server session: its start, the command loop and the table of verbs.
 *
 * Floor: flows.  Everything read is hostile.  A command line is at most 16 KiB; every wait has a deadline; replies leave
 * before the session waits for input or starts something slow.  Early pipelining rules are numbered S1..S13 in
 * doc/experimental-spec.txt.  RFC 5321, 2920, 3030; manual ch. 48. */
#include "smtp_in.h"

#include <stdio.h>
#include <unistd.h>

#include "host.h"
#include "os/debug.h"
#include "os/net.h"
#include "os/tls.h"
#include "policy/match.h"
#include "policy/narrate.h"
#include "smtp_in_priv.h"

#include "cutthrough.h"
#include "verify.h"

/* ---- helpers of all phases ---- */

int64_t smtp_int_option(struct smtp_session *s, const char *name, const char *value, int64_t dflt) {
  int64_t n;
  if (!value) return dflt;
  if (expand_int(&s->x, value, &n)) return n;
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to expand %s: %s", name, s->x.error ? s->x.error : "");
  return dflt;
}

bool smtp_host_in(struct smtp_session *s, const char *option, const char *list) {
  return match_sender_host(&s->x, option, list) == OUTCOME_OK;
}

struct acl_result smtp_run_acl(struct smtp_session *s, enum acl_where where, const char *recipient, const char *acl,
                               enum outcome dflt) {
  if (!acl && dflt == OUTCOME_FAIL) narrate(&s->x, D_ACL, "ACL is NULL: implicit DENY");
  if (!acl || s->o->mode == SMTP_MODE_BATCH) return (struct acl_result){.outcome = dflt}; /* a batch has acl_not_smtp only */
  struct acl_result r = acl_check(&s->x, &s->env, where, recipient, acl);
  return r;
}

deadline_ms smtp_deadline(const struct smtp_session *s) {
  return s->timeout_sec > 0 ? deadline_in_sec(s->timeout_sec) : DEADLINE_NEVER;
}

void smtp_reset(struct smtp_session *s) {
  cutthrough_cancel(s->c);
  message_free(s->m);
  s->m = message_new(s->c->cfg);
  s->m->from = &s->c->from;
  s->m->login = s->c->login;
  s->m->uid = s->c->uid;
  s->m->gid = s->c->gid;
  s->m->dont_deliver = s->c->dont_deliver;
  s->m->suppress_local_fixups = s->c->suppress_local_fixups;
  s->m->allow_unqualified_sender = s->unqualified_sender_ok;
  s->m->allow_unqualified_recipient = s->unqualified_recipient_ok;
  s->x.msg = s->m;
  s->transaction_line = s->line_number;
  s->c->from.auth_sender = NULL; /* AUTH= was the transaction's */
  s->last_rcpt_error = s->chunk_refusal = NULL;
  s->rcpt_errors_differ = s->recipients_max_exceeded = false;
  s->c->recipients_discarded = s->c->caseful_local_part = false;
  memset(&s->x.match, 0, sizeof(s->x.match));
  s->x.acl_verify_message = s->x.address_data = s->x.sender_address_data = NULL;
  s->x.sender_verify_failure = s->x.recipient_verify_failure = NULL;
  memset(s->x.regex_vars, 0, sizeof(s->x.regex_vars));
  log_set_message_id(NULL);
  log_set_utf8(false);
}

void smtp_forget_message_variables(struct smtp_session *s) { s->m->acl_m = (struct tree){0}; }

const char *smtp_take_address(struct smtp_session *s, struct str text, bool is_sender, const char **ret_raw) {
  const struct main_options *o = s->opt;
  struct addr_opts ao = {.allow_empty = is_sender, .allow_domain_literal = o->allow_domain_literals,
                         .allow_utf8 = s->m->smtputf8, .strip_angle_excess = o->strip_excess_angle_brackets,
                         .strip_trailing_dot = o->strip_trailing_dot};
  size_t domain = 0;
  const char *error = NULL, *a = rfc5322_extract_address(s->tmp, text, ao, &domain, &error);
  if (!a) {
    smtp_synprot_error_at(s, true, 501, text, error);
    if (!is_sender) smtp_note_rcpt_failure(s, arena_printf(s->tmp, "501 %.*s: %s", STR_FMT(text), error));
    return NULL;
  }
  enum { ADDRESS_MAX = 256 }; /* RFC 5321 section 4.5.3.1.3 */
  if (strlen(a) > ADDRESS_MAX) {
    smtp_synprot_error_at(s, true, 501, text, arena_printf(s->tmp, "address is ridiculously long: %.64s...", a));
    return NULL;
  }
  *ret_raw = a;
  if (domain || (is_sender && !*a)) return a;
  bool ok = is_sender ? s->unqualified_sender_ok : s->unqualified_recipient_ok;
  if (!is_sender && strcmpic(a, "postmaster") == 0) ok = true; /* RFC 5321 §4.5.1 */
  if (ok && is_sender) return arena_printf(s->tmp, "%s@%s", a, s->c->cfg->qualify_domain);
  if (ok) return *ret_raw = arena_printf(s->tmp, "%s@%s", a, s->c->cfg->qualify_recipient);
  const char *what = is_sender ? "sender" : "recipient";
  if (!is_sender) smtp_note_rcpt_failure(s, arena_printf(s->tmp, "501 %.*s: recipient address must contain a domain", STR_FMT(text)));
  if (s->o->mode == SMTP_MODE_BATCH) smtp_replyf(s, "501 %s address must contain a domain", what);
  else smtp_replyf(s, "501 %.*s: %s address must contain a domain", STR_FMT(text), what);
  log_write(LS_SMTP_SYNTAX_ERROR, LOG_MAIN | LOG_REJECT, "unqualified %s rejected: <%s> %s", what, a, smtp_ident(s));
  return NULL;
}

/* ---- synchronisation (S1-S4) ---- */

static bool last_of_group(enum smtp_verb v) {
  return v != VERB_MAIL && v != VERB_RCPT && v != VERB_RSET && v != VERB_BDAT && v != VERB_QUIT;
}

/* AUTH that is said and done in one line need not be the last of its group (RFC 4954 section 4). */
static bool is_one_step_auth(struct smtp_session *s, enum smtp_verb v) {
  struct str rest = s->line;
  if (v != VERB_AUTH) return false;
  (void)str_word(&rest);
  struct str mechanism = str_word(&rest), response = str_word(&rest);
  return response.n > 0 && (str_eqic_c(mechanism, "PLAIN") || str_eqic_c(mechanism, "EXTERNAL"));
}

/* Inside TLS nobody is held to waiting, as in Exim: only in clear can somebody else have put words behind the client's. */
bool smtp_enforces_sync(const struct smtp_session *s) {
  return s->c->enforce_sync && s->is_socket && !s->c->is_batched && !s->c->from.tls.active;
}

bool smtp_check_sync(struct smtp_session *s, enum smtp_verb verb) {
  struct conn *c = s->c;
  if (!smtp_enforces_sync(s)) return true;
  if (verb == VERB_EHLO && c->early_acceptable) return true; /* what follows is checked when its turn comes */
  if (verb == VERB_STARTTLS && c->tlsflight_advertised) return true; /* smtp_do_starttls() looks at what it is */
  if (verb == VERB_BDAT || verb == VERB_QUIT) return true; /* a chunk follows its command at once, RFC 3030 */
  if ((!last_of_group(verb) || is_one_step_auth(s, verb)) && (c->pipelining_advertised || s->early_group)) return true;
  s->early_group = false;
  if (stream_input_ready(c->io, 0) != STREAM_DATA) return true;
  smtp_log_sync_error(s, false);
  return false;
}

bool smtp_check_chunk_sync(struct smtp_session *s) {
  if (!smtp_enforces_sync(s) || s->c->pipelining_advertised || s->early_group) return true;
  if (stream_input_ready(s->c->io, 0) != STREAM_DATA) return true;
  smtp_log_chunk_sync_error(s);
  return false;
}

/* ---- reading commands ---- */

/* Only the last twenty are ever shown, and that there were more: a client that talks for hours costs no memory. */
static void note_command(struct smtp_session *s, enum smtp_verb v) {
  enum { KEEP = 21, TIDY_AT = 4 * KEEP };
  struct vec *names = &s->c->command_names;
  if (v == VERB_UNKNOWN) return;
  if (names->n == TIDY_AT) {
    memmove(names->v, names->v + (TIDY_AT - KEEP), KEEP * sizeof(names->v[0]));
    names->n = KEEP;
  }
  vec_push(names, (void *)(uintptr_t)smtp_verb_name(v));
}

/* NUL or a CR that ends no line: nobody means that, and no text with it gets further.  Said and counted; false: refused. */
static bool check_characters(struct smtp_session *s) {
  bool nul = memchr(s->line.p, 0, s->line.n) != NULL, cr = memchr(s->line.p, '\r', s->line.n) != NULL;
  if (!nul && !cr) return true;
  char *shown = arena_strndup_t(s->tmp, s->line.p, s->line.n, TAINTED);
  for (size_t i = 0; i < s->line.n; i++)
    if (!shown[i] || shown[i] == '\r') shown[i] = '?';
  s->line = str_n(shown, s->line.n);
  s->c->smtp_command = shown;
  const char *what = nul ? "NUL" : "CR";
  smtp_synprot_error_as(s, 501, arena_printf(s->tmp, "%s character(s) present (shown as '?')", what),
                        arena_printf(s->tmp, "%s characters are not allowed in SMTP commands", what));
  return false;
}

/* One line.  False: there is none to act on (refused, or the session is over). */
static bool read_one_command(struct smtp_session *s) {
  struct str line;
  bool bare_lf = false;
  enum stream_status st;
  do { /* empty lines are nothing in a batch */
    st = stream_read_line(s->c->io, SMTP_LINE_MAX, true, smtp_deadline(s), &line, &bare_lf);
    s->line_number++;
  } while (st == STREAM_OK && s->c->is_batched && line.n == 0);
  if (st == STREAM_TOOLONG) {
    s->line = STR("(line too long)");
    smtp_synprot_error(s, true, 500, "Line too long");
    return false;
  }
  if (st != STREAM_OK) {
    if (s->c->is_batched && st == STREAM_EOF && !s->m->sender) s->done = true;
    else smtp_log_lost(s, st);
    return false;
  }
  char *copy = arena_strndup_t(s->tmp, line.p, line.n, TAINTED);
  s->line = str_trim(str_n(copy, line.n));
  copy[(size_t)(s->line.p - copy) + s->line.n] = 0;
  s->c->smtp_command = s->line.p;
  if (!check_characters(s)) return false;
  DEBUG(D_RECEIVE) debug_printf("SMTP<< %s\n", s->line.p);
  return true;
}

/* A command may end in a bare LF: this program's ancestors took that, and hand-made clients send it.  It opens no door for smuggling:
 * whoever can put a command line here already speaks for the connection, and the only place where a relay's idea of line ends decides
 * what is content and what is a command is the end of DATA, where nothing but CR LF . CR LF counts (smtp_in_data.c). */
bool smtp_read_command(struct smtp_session *s) {
  while (!s->done) {
    struct arena_mark mark = arena_mark(s->tmp);
    if (read_one_command(s)) return true;
    s->line = STR("");
    s->c->smtp_command = NULL;
    arena_release(s->tmp, mark);
  }
  return false;
}

/* ---- dispatch ---- */

static void do_ehlo(struct smtp_session *s, struct str arg) { smtp_do_helo(s, arg, true); }
static void do_helo(struct smtp_session *s, struct str arg) { smtp_do_helo(s, arg, false); }

enum {
  CMD_NONMAIL = 1,      /* counts against smtp_accept_max_nonmail */
  CMD_IN_BATCH = 4,
  CMD_WHEN_BROKEN = 8,  /* allowed after an interrupted chunked message */
  CMD_BATCH_NOOP = 16   /* these do nothing in a batch (manual 5, -bS) */
};

static const struct command {
  void (*handle)(struct smtp_session *s, struct str arg);
  unsigned flags;
} commands[VERB_COUNT] = {
  [VERB_HELO] = {do_helo, CMD_NONMAIL | CMD_IN_BATCH},
  [VERB_EHLO] = {do_ehlo, CMD_NONMAIL | CMD_IN_BATCH},
  [VERB_MAIL] = {smtp_do_mail, CMD_IN_BATCH},
  [VERB_RCPT] = {smtp_do_rcpt, CMD_IN_BATCH},
  [VERB_DATA] = {smtp_do_data, CMD_IN_BATCH},
  [VERB_BDAT] = {smtp_do_bdat, CMD_WHEN_BROKEN},
  [VERB_RSET] = {smtp_do_rset, CMD_NONMAIL | CMD_IN_BATCH | CMD_WHEN_BROKEN},
  [VERB_NOOP] = {smtp_do_noop, CMD_NONMAIL | CMD_IN_BATCH},
  [VERB_QUIT] = {smtp_do_quit, CMD_IN_BATCH | CMD_WHEN_BROKEN},
  [VERB_VRFY] = {smtp_do_vrfy, CMD_NONMAIL | CMD_BATCH_NOOP},
  [VERB_EXPN] = {smtp_do_expn, CMD_NONMAIL | CMD_BATCH_NOOP},
  [VERB_HELP] = {smtp_do_help, CMD_NONMAIL | CMD_BATCH_NOOP},
  [VERB_ETRN] = {smtp_do_etrn, CMD_NONMAIL | CMD_BATCH_NOOP},
  [VERB_ATRN] = {smtp_do_atrn, CMD_NONMAIL},
  [VERB_XCLIENT] = {smtp_do_xclient, 0},
  [VERB_WELLKNOWN] = {smtp_do_wellknown, CMD_NONMAIL},
  [VERB_AUTH] = {smtp_do_auth, CMD_NONMAIL},
  [VERB_STARTTLS] = {smtp_do_starttls, CMD_NONMAIL},
};

bool smtp_too_many_nonmail(struct smtp_session *s, enum smtp_verb v) {
  bool *is_free = v == VERB_HELO || v == VERB_EHLO ? &s->helo_is_free
                  : v == VERB_RSET ? &s->rset_is_free
                  : v == VERB_STARTTLS ? &s->starttls_is_free : v == VERB_AUTH ? &s->auth_is_free : NULL;
  if (is_free && *is_free) {
    *is_free = false;
    return false;
  }
  if (s->nonmail_counts == NONMAIL_UNKNOWN) {
    bool counts = smtp_host_in(s, "smtp_accept_max_nonmail_hosts", s->opt->smtp_accept_max_nonmail_hosts);
    s->nonmail_counts = counts ? NONMAIL_COUNTS : NONMAIL_FREE;
  }
  if (s->nonmail_counts == NONMAIL_FREE || ++s->c->nonmail_count <= s->opt->smtp_accept_max_nonmail) return false;
  smtp_log_incomplete(s, "too many non-mail commands");
  struct str rest = s->line, name = str_word(&rest);
  log_write(LS_ALWAYS, LOG_MAIN | LOG_REJECT, "SMTP call from %s dropped: too many nonmail commands (last was \"%.*s\")",
            smtp_host_text(s), STR_FMT(name));
  smtp_notquit_reply(s, "bad-commands", 554, "Too many nonmail commands");
  s->done = s->drop = true;
  s->exit_status = s->c->host_checking ? 0 : 1;
  return true;
}

static void unknown_command(struct smtp_session *s) {
  if (s->o->mode == SMTP_MODE_BATCH) {
    smtp_batch_error(s, "500 Command unrecognized");
    return;
  }
  if (!smtp_check_sync(s, VERB_UNKNOWN)) return;
  if (s->c->unknown_commands++ >= s->opt->smtp_max_unknown_commands) {
    log_write(LS_SMTP_SYNTAX_ERROR, LOG_MAIN, "SMTP syntax error in \"%s\" %s unrecognized command", s->line.p, smtp_ident(s));
    smtp_log_incomplete(s, "unrecognized command");
    smtp_notquit_reply(s, "bad-commands", 500, "Too many unrecognized commands");
    log_write(LS_ALWAYS, LOG_MAIN | LOG_REJECT, "SMTP call from %s dropped: too many unrecognized commands (last was \"%s\")",
              smtp_host_text(s), s->line.p);
    s->done = s->drop = true;
    return;
  }
  s->mail_was_refused = false;
  smtp_synprot_error(s, true, 500, "unrecognized command");
}

/* Where PIPELINING was not advertised nothing may come while a slow check keeps the answer back, either. */
static void check_sync_again(struct smtp_session *s, enum smtp_verb v) {
  if (s->c->pipelining_advertised || s->early_group) return;
  size_t answer = stream_unsent(s->c->io);
  if (!answer || !smtp_enforces_sync(s) || stream_input_ready(s->c->io, 0) != STREAM_DATA) return;
  stream_drop_unsent(s->c->io, answer);
  (void)smtp_check_sync(s, v);
}

static void dispatch(struct smtp_session *s) {
  struct str arg;
  bool bad_form;
  enum smtp_verb v = smtp_parse_verb(s->line, &arg, &bad_form);
  const struct command *k = &commands[v];
  bool batch = s->o->mode == SMTP_MODE_BATCH;
  if (s->early_pending) { /* S1: whoever talks before the greeting starts with EHLO */
    s->early_pending = false;
    if (v != VERB_EHLO && s->c->enforce_sync) {
      smtp_log_sync_error(s, false);
      return;
    }
  }
  smtp_note_early_banner(s);
  if (s->shut_reply && v != VERB_QUIT) {
    smtp_replyf(s, "%s", s->shut_reply);
    return;
  }
  if (s->chunks && !(k->flags & CMD_WHEN_BROKEN)) {
    smtp_synprot_error(s, false, 503, "only RSET accepted now");
    return;
  }
  if (batch && k->flags & CMD_BATCH_NOOP) k = &commands[VERB_NOOP];
  if (!k->handle || (batch && !(k->flags & CMD_IN_BATCH))) {
    unknown_command(s);
    return;
  }
  arg.p = arg.n ? arg.p : "";
  s->c->smtp_command_argument = arg.p;
  if (k->flags & CMD_NONMAIL && !batch && smtp_too_many_nonmail(s, v)) return;
  note_command(s, v);
  if (!smtp_check_sync(s, v)) return;
  if (v != VERB_BDAT && v != VERB_NOOP) s->chunk_refusal = NULL;
  k->handle(s, arg);
  if (!s->done && (v == VERB_MAIL || v == VERB_RCPT)) check_sync_again(s, v);
  /* S7: behind an EHLO that was refused, the group that came with it is answered command by command. */
  if (v == VERB_EHLO) s->early_group = s->c->early_acceptable && !s->c->helo_seen;
  if (v == VERB_MAIL) s->mail_was_refused = !s->m->sender && (s->c->pipelining_advertised || s->early_group);
  else if (v != VERB_RCPT) s->mail_was_refused = false;
}

static void command_loop(struct smtp_session *s) {
  while (!s->done) {
    struct arena_mark mark = arena_mark(s->tmp);
    s->c->command_serial++;
    if (smtp_read_command(s)) dispatch(s);
    s->x.acl_verify_message = NULL;
    memset(&s->x.match, 0, sizeof(s->x.match));
    memset(&s->x.s, 0, sizeof(s->x.s));
    s->c->smtp_command = s->c->smtp_command_argument = NULL;
    arena_release(s->tmp, mark);
  }
}

/* ---- start and end ---- */

static void env_flush(struct acl_env *env) {
  struct smtp_session *s = env->session;
  if (stream_flush(s->c->io, smtp_deadline(s)) != STREAM_OK) s->done = true;
}

static void env_delay(struct acl_env *env, struct expand_ctx *x, int seconds) {
  (void)x;
  struct smtp_session *s = env->session;
  if (s->c->host_checking) {
    fprintf(stderr, ">>> delay modifier requests %d-second delay\n>>> delay skipped in -bh checking mode\n", seconds);
    return;
  }
  if (!s->c->no_delay_flush) env_flush(env);
  smtp_nap(s, seconds);
}

static enum outcome env_verify_helo(struct acl_env *env, struct expand_ctx *x) {
  (void)env;
  if (x->conn->from.helo_verified) return OUTCOME_OK;
  if (x->conn->from.helo_verify_failed) return OUTCOME_FAIL;
  return host_verify_helo(x) ? OUTCOME_OK : OUTCOME_FAIL;
}

static enum outcome env_verify_reverse(struct acl_env *env, struct expand_ctx *x, const char **ret_log) {
  (void)env;
  if (x->conn->from.host_name) return OUTCOME_OK;
  const char *msg = NULL;
  enum outcome o = host_name_lookup(x, &msg);
  if (o != OUTCOME_OK) *ret_log = arena_printf(x->a, "host lookup failed for reverse lookup check%s", msg ? msg : "");
  return o;
}

static enum outcome run_acl_hook(struct expand_ctx *x, const char *name, const char **ret_message) {
  enum acl_where where = ACL_WHERE_UNKNOWN;
  struct acl_result r = acl_check(x, x->acl_env, where, NULL, name);
  *ret_message = r.user_message;
  return r.outcome;
}

/* smtp_receive_timeout may be an expansion; what cannot be read counts as the default. */
static int64_t command_timeout(struct smtp_session *s) {
  const char *text = expand_option(&s->x, "smtp_receive_timeout", s->opt->smtp_receive_timeout);
  int64_t seconds;
  if (text && time_parse_interval(str_trim(str_c(text)), false, &seconds)) return seconds;
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "bad value of smtp_receive_timeout: \"%s\"", s->opt->smtp_receive_timeout);
  return 300;
}

static void session_start(struct smtp_session *s, struct conn *c, const struct smtp_opts *o) {
  static const struct expand_hooks hooks = {.acl = run_acl_hook, .resolve = host_hook_resolve,
                                            .sender_host_name = host_hook_sender_name};
  *s = (struct smtp_session){.c = c, .o = o, .opt = &c->cfg->o, .tmp = arena_new("smtp command")};
  s->x = expand_ctx_new(s->tmp, c->cfg);
  s->x.conn = c;
  s->env = (struct acl_env){.verify_helo = env_verify_helo, .verify_reverse = env_verify_reverse, .delay = env_delay,
                            .flush = env_flush, .atrn_domains = smtp_atrn_domains, .session = s};
  verify_fill_acl_env(&s->env);
  s->env.session = s;
  s->x.acl_env = &s->env;
  s->timeout_sec = command_timeout(s);
  expand_set_hooks(&hooks);
  if (!c->command_names.a) c->command_names = vec_new(c->arena);
  if (c->started.tv_sec == 0) c->started = time_now();
  if (!c->connection_id) c->connection_id = conn_make_id(c->arena, time_now());
  c->is_smtp_input = true;
  c->is_batched = o->mode == SMTP_MODE_BATCH;
  c->host_checking = o->mode == SMTP_MODE_CHECK;
  s->is_socket = !c->host_checking && !c->is_batched && !c->is_local_caller && (stream_fd(c->io) < 0 || net_is_socket(stream_fd(c->io)));
  if (!c->from.ident && c->login && !s->is_socket && !c->host_checking) c->from.ident = c->login;
  s->via_inetd = s->is_socket && stream_fd(c->io) == 0;
  s->own_name = c->cfg->primary_hostname;
  s->helo_is_free = s->rset_is_free = s->starttls_is_free = s->auth_is_free = true;
  if (!c->from.protocol) c->from.protocol = c->is_batched ? "local-bsmtp" : c->from.host_address ? "smtp" : "local-smtp";
  const char *caller = c->from.auth_sender; /* the caller's own, or -oMas: for the ACL that sees the connection, no longer */
  smtp_reset(s);
  c->from.auth_sender = caller;
}

static void batch_report(const struct smtp_session *s) {
  const char *line = arena_printf(s->tmp, "%.*s", STR_FMT(s->line));
  fprintf(stderr, "An error was detected while processing a file of BSMTP input.\n"
          "The error message was:\n\n  %s\n\nThe SMTP transaction started in line %d.\n"
          "The error was detected in line %d.\n", s->batch_error, s->transaction_line, s->line_number);
  if (*line) fprintf(stderr, "The SMTP command at fault was:\n\n   %s\n\n", line);
  fprintf(stderr, "%d previous message%s successfully processed.\nThe rest of the batch was abandoned.\n", s->batch_messages,
          s->batch_messages == 1 ? " was" : "s were");
  printf("%s\nTransaction started in line %d\nError detected in line %d\n", s->batch_error, s->transaction_line, s->line_number);
  if (*line) puts(line);
  (void)fflush(stdout);
}

void smtp_batch_error(struct smtp_session *s, const char *text) {
  if (s->batch_error) return;
  s->batch_error = text;
  s->done = true;
  s->exit_status = s->batch_messages > 0 ? 1 : 2;
  batch_report(s);
}

static void session_end(struct smtp_session *s) {
  if (s->chunks) {
    log_set_message_id(s->chunks_id);
    smtp_log_data_lost(s->tmp, s->c, s->chunks_in_header ? " (header)" : "");
  }
  cutthrough_cancel(s->c);
  struct stream *io = s->c->io;
  deadline_ms deadline = deadline_in_sec(10);
  tls_end(io, false, deadline); /* nothing when there is no TLS */
  bool is_good = stream_flush(io, deadline) == STREAM_OK;
  if (is_good && s->drop && s->is_socket)
    stream_linger_close(io, SMTP_LINGER_BYTES, SMTP_LINGER_MS); /* S5: no reset while our reply is on its way */
  smtp_auth_end(s);
  message_free(s->m);
  log_set_message_id(NULL);
  arena_free(s->tmp);
}

int smtp_session_run(struct conn *c, const struct smtp_opts *o) {
  struct smtp_session s;
  session_start(&s, c, o);
  if (smtp_in_greet(&s)) {
    command_loop(&s);
    if (s.c->is_smtp_input && s.drop) smtp_log_end(&s, NULL); /* not of connections that were rejected right at the start (manual ch. 53, smtp_no_mail) */
  } else if (c->from.tls.on_connect && !c->from.tls.active) {
    stream_drop_unsent(c->io, stream_unsent(c->io)); /* nobody there reads clear text */
  }
  session_end(&s);
  return s.exit_status;
}
