/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running ACLs: statement after statement, condition after condition.
 *
 * Floor: policy.  A statement's conditions and modifiers are obeyed in order until one fails; the verb then decides.
 * A condition that cannot be tested never accepts and never denies for good: the answer is DEFER or ERROR.
 * Results live in the arena of the expansion context.  Manual ch. 44. */
#include <fcntl.h>

#include "os/debug.h"
#include "os/log.h"
#include "os/sys.h"
#include "policy/acl/acl_priv.h"
#include "policy/match.h"
#include "policy/narrate.h"

static const char *const where_names[ACL_WHERE_COUNT] = {
  [ACL_WHERE_CONNECT] = "connection", [ACL_WHERE_HELO] = "EHLO or HELO", [ACL_WHERE_MAIL] = "MAIL",
  [ACL_WHERE_RCPT] = "RCPT", [ACL_WHERE_PREDATA] = "PREDATA", [ACL_WHERE_DATA] = "DATA", [ACL_WHERE_PRDR] = "PRDR",
  [ACL_WHERE_MIME] = "MIME", [ACL_WHERE_DKIM] = "DKIM", [ACL_WHERE_AUTH] = "AUTH", [ACL_WHERE_ETRN] = "ETRN",
  [ACL_WHERE_ATRN] = "ATRN", [ACL_WHERE_EXPN] = "EXPN", [ACL_WHERE_VRFY] = "VRFY",
  [ACL_WHERE_MAILAUTH] = "MAILAUTH", [ACL_WHERE_NOTQUIT] = "NOTQUIT", [ACL_WHERE_QUIT] = "QUIT",
  [ACL_WHERE_STARTTLS] = "STARTTLS", [ACL_WHERE_WELLKNOWN] = "WELLKNOWN", [ACL_WHERE_NOTSMTP] = "non-SMTP",
  [ACL_WHERE_NOTSMTP_START] = "non-SMTP-start", [ACL_WHERE_UNKNOWN] = "unknown",
};

const char *acl_where_name(enum acl_where w) { return w < ACL_WHERE_COUNT ? where_names[w] : "unknown"; }

/* ---- finding the ACL ---- */

struct text_reader {
  struct acl_reader r;
  struct arena *a;
  const char *next, *file;
  int line;
};

/* The next physical line, without the white space it begins with; false at the end of the text. */
static bool next_physical_line(struct text_reader *t, struct str *ret) {
  if (!*t->next) return false;
  size_t n = strcspn(t->next, "\n");
  struct str line = str_ltrim(str_n(t->next, n));
  *ret = line; /* blanks at the end are part of it */
  t->next += n;
  if (*t->next == '\n') {
    t->next++;
    t->line++;
  }
  return true;
}

static const char *next_text_line(struct acl_reader *r, struct conf_pos *ret_pos) {
  struct text_reader *t = r->ctx;
  struct strbuf b = strbuf_new(t->a);
  struct str line;
  bool is_continued = false;
  ret_pos->file = t->file;
  ret_pos->line = t->line;
  while (next_physical_line(t, &line)) {
    bool is_comment = t->file && line.n > 0 && line.p[0] == '#';
    if (is_comment || (line.n == 0 && !is_continued)) {
      if (!is_continued) ret_pos->line = t->line;
      continue;
    }
    struct str text = t->file ? str_rtrim(line) : line; /* white space may follow the backslash in a file */
    is_continued = text.n > 0 && text.p[text.n - 1] == '\\';
    if (is_continued) line = str_n(text.p, text.n - 1);
    strbuf_addstr(&b, line);
    if (!is_continued) break;
  }
  return b.n > 0 ? b.p : NULL;
}

/* Text of an ACL in a file.  NULL with *ret_error. */
static const char *read_acl_file(struct arena *a, const char *path, const char **ret_error) {
  char *text = NULL;
  size_t n = 0;
  int fd = sys_open_file(path), rc = fd;
  if (fd >= 0) {
    rc = sys_read_file(fd, a, 1 << 20, &text, &n);
    if (sys_close(fd) < 0) rc = rc < 0 ? rc : 0; /* read only: nothing can be lost */
  }
  /* An absolute path from the configuration: its text is the administrator's, like the configuration itself. */
  if (rc >= 0) return arena_untaint_copy(a, text, n);
  *ret_error = arena_printf(a, "failed to open ACL file \"%s\": %s", path, sys_open_file_error(rc));
  return NULL;
}

/* Statements of a file are spoken of by the place that names the file. */
static const struct acl *place_at_caller(const struct acl_run *r, struct acl *acl) {
  for (struct acl_stmt *s = r->stmt ? acl->stmts : NULL; s; s = s->next) s->pos = r->stmt->pos;
  return acl;
}

/* An ACL in a file is read once in a connection; *ret_first: it was now. */
static const struct acl *find_acl(struct acl_run *r, const char *text, bool *ret_inline, bool *ret_first) {
  struct expand_ctx *x = r->x;
  const char *name = str_dup(x->a, str_rtrim(str_c(text)));
  const struct acl *acl = config_acl(x->cfg, name);
  *ret_inline = false;
  if (acl) return acl;
  if (*name == '/') text = name;
  if (is_tainted(text)) {
    r->log_text = arena_printf(x->a, "Tainted ACL text refused: \"%s\"", text);
    return NULL;
  }
  struct conn *c = *text == '/' ? x->conn : NULL;
  const struct tree_node *known = c ? tree_find(&c->acl_files, text) : NULL;
  if (known) return place_at_caller(r, known->data);
  const char *source = text;
  if (*text == '/' && !(source = read_acl_file(x->a, text, &r->log_text))) return NULL;
  struct text_reader t = {.a = x->a, .next = source, .line = 1, .file = *text == '/' ? text : NULL};
  t.r = (struct acl_reader){.next_line = next_text_line, .ctx = &t};
  *ret_inline = *text != '/';
  struct acl *parsed = acl_parse(c ? c->arena : x->a, &t.r, *text == '/' ? text : NULL, &r->log_text, NULL);
  if (!parsed || *text != '/') return parsed;
  narrate(x, D_ACL, "read ACL from file %s", text);
  *ret_first = true;
  if (c) tree_insert(&c->acl_files, c->arena, text, NULL)->data = parsed;
  return place_at_caller(r, parsed);
}

/* ---- messages ---- */

/* Which outcome of the conditions makes this verb's message count? */
static bool message_applies(const struct acl_run *r, enum acl_verb verb, enum outcome conds) {
  switch (verb) {
  case ACL_ACCEPT: case ACL_DISCARD: return conds == OUTCOME_FAIL || (conds == OUTCOME_OK && !r->endpass_seen);
  case ACL_REQUIRE: return conds == OUTCOME_FAIL;
  case ACL_DEFER: case ACL_DENY: case ACL_DROP: case ACL_WARN: return conds == OUTCOME_OK;
  case ACL_VERB_COUNT: break;
  }
  return false;
}

static const char *expand_message(struct acl_run *r, const char *raw) {
  const char *s = expand_string(r->x, raw);
  if (s || r->x->forced_fail) return s && *s ? s : NULL;
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to expand ACL message \"%s\": %s", raw,
            r->x->error ? r->x->error : "");
  return NULL;
}

/* What the statement's messages come to.  They are part of its conditions: what their expansion looks up is narrated before the verdict. */
static void expand_messages(struct acl_run *r, enum acl_verb verb, enum outcome conds) {
  r->warn_header = r->warn_text = NULL;
  if (!message_applies(r, verb, conds)) return;
  const char *own_log = r->log_text, *underlying = own_log ? own_log : r->user_text;
  if (r->message || r->user_text) r->x->acl_verify_message = r->user_text;
  bool warn = verb == ACL_WARN;
  enum { HEADERS_OK = ACL_BIT(MAIL) | ACL_BIT(RCPT) | ACL_BIT(PREDATA) | ACL_HAVE_DATA_BITS };
  if (r->message && warn && !(1u << r->where & HEADERS_OK)) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "ACL \"warn\" with \"message\" setting found in a non-message (%s) ACL: cannot specify header "
              "lines here: message ignored", acl_where_name(r->where));
  } else if (r->message) {
    const char *s = expand_message(r, r->message);
    if (warn) r->warn_header = s;
    else if (s) r->user_text = s;
  }
  if (r->log_message) {
    if (own_log) r->x->acl_verify_message = own_log;
    const char *s = expand_message(r, r->log_message);
    bool says_more = underlying && !r->log_is_user && s && strcmp(s, underlying) != 0;
    if (warn) r->warn_text = s;
    else if (s) r->log_text = says_more ? arena_printf(r->x->a, "%s: %s", s, underlying) : s;
  }
  if (!r->log_text && !warn) r->log_text = underlying ? underlying : r->user_text;
}

/* ---- conditions ---- */

static void narrate_cond(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  struct expand_ctx *x = r->x;
  const char *head = arena_printf(x->a, "check %s%s%s%s ", c->negated ? "!" : "", c->type->name, c->var ? " " : "",
                                  c->var ? c->var : "");
  narrate(x, D_ACL, "%s= %s", head, c->arg);
  if (arg == c->arg || strcmp(arg, c->arg) == 0) return;
  struct str rest = str_c(arg), line = str_cut(&rest, '\n');
  narrate(x, D_ACL, "%*s= %.*s", (int)strlen(head), "", STR_FMT(line));
  while (rest.n > 0) {
    line = str_cut(&rest, '\n');
    narrate_flat(x, D_ACL, "%.*s", STR_FMT(line));
  }
}

static bool is_named(const struct acl_cond *c, const char *name) { return strcmp(c->type->name, name) == 0; }

static enum outcome run_silent(struct acl_run *r, const struct acl_cond *c) {
  if (is_named(c, "message")) {
    narrate(r->x, D_ACL, "  message: %s", c->arg);
    r->message = c->arg;
  } else if (is_named(c, "log_message")) {
    narrate(r->x, D_ACL, "l_message: %s", c->arg);
    r->log_message = c->arg;
  } else {
    r->endpass_seen = true;
  }
  return OUTCOME_OK;
}

static enum outcome run_cond(struct acl_run *r, const struct acl_cond *c) {
  struct expand_ctx *x = r->x;
  if (c->type->flags & ACL_COND_SILENT) return run_silent(r, c);
  const char *arg = c->arg;
  if (c->type->flags & ACL_COND_EXPAND) {
    arg = expand_string(x, c->arg);
    if (!arg) {
      if (x->forced_fail) return OUTCOME_OK; /* the item is as if it were not there */
      r->log_text = arena_printf(x->a, "failed to expand ACL string \"%s\": %s", c->arg, x->error ? x->error : "");
      return x->lookup_deferred ? OUTCOME_DEFER : OUTCOME_ERROR;
    }
  }
  narrate_cond(r, c, arg);
  if (c->type->forbidden >> r->where & 1) {
    r->log_text = arena_printf(x->a, "cannot %s %s condition in %s ACL",
                               c->type->flags & ACL_COND_MODIFIER ? "use" : "test", c->type->name,
                               acl_where_name(r->where));
    return OUTCOME_ERROR;
  }
  x->error = NULL;
  enum outcome o = c->type->run(r, c, arg);
  /* A list that could not be decided says why. */
  if (o == OUTCOME_DEFER && !r->log_text && x->error) r->log_text = x->error;
  if (!c->negated) return o;
  if (o == OUTCOME_OK) return OUTCOME_FAIL;
  return o == OUTCOME_FAIL ? OUTCOME_OK : o;
}

static const char *condition_word(enum outcome o) {
  switch (o) {
  case OUTCOME_OK: return "succeeded";
  case OUTCOME_FAIL: return "failed";
  case OUTCOME_FAIL_DROP: return "yielded \"drop\"";
  case OUTCOME_DEFER: return "deferred";
  case OUTCOME_DISCARD: return "succeeded";
  case OUTCOME_ERROR: break;
  }
  return "error";
}

static enum outcome run_conditions(struct acl_run *r, const struct acl_stmt *s) {
  enum outcome o = OUTCOME_OK;
  r->stmt = s;
  r->message = r->log_message = r->user_text = r->log_text = NULL;
  r->endpass_seen = r->nested_drop = r->log_is_user = false;
  for (const struct acl_cond *c = s->conds; c && o == OUTCOME_OK; c = c->next) o = run_cond(r, c);
  expand_messages(r, s->verb, o);
  narrate(r->x, D_ACL, "%s: condition test %s in %s", acl_verb_names[s->verb], condition_word(r->nested_drop ? OUTCOME_FAIL_DROP : o), r->label);
  return o;
}

/* ---- statements ---- */

static void log_skipped_warn(struct acl_run *r, const struct acl_stmt *s, const char *acl_name) {
  const char *host = r->x->conn ? origin_host_ident(r->x->a, r->x->conn, true, true) : "";
  const char *at = s->pos.line > 0 ? arena_printf(r->x->a, " at line %d of %s", s->pos.line,
                                                  s->pos.file ? s->pos.file : "inline ACL") : "";
  log_write(LS_ACL_WARN_SKIPPED, LOG_MAIN, "%s%sWarning: ACL 'warn' statement skipped (in %s%s): condition test deferred%s%s",
            host, *host ? " " : "", acl_name ? arena_printf(r->x->a, "ACL %s", acl_name) : "inline ACL", at,
            r->log_text ? ": " : "", r->log_text ? r->log_text : "");
}

static void narrate_statement(struct acl_run *r, const struct acl_stmt *s) {
  if (s->pos.line > 0 && s->pos.file)
    narrate(r->x, D_ACL, "processing %s \"%s\" (%s %d)", r->label, acl_verb_names[s->verb], s->pos.file, s->pos.line);
  else
    narrate(r->x, D_ACL, "processing %s \"%s\"", r->label, acl_verb_names[s->verb]);
}

enum step { STEP_NEXT, STEP_DONE };

static enum step finish(struct acl_run *r, const char *word, enum outcome o, enum outcome *ret) {
  narrate(r->x, D_ACL, "end of %s: %s", r->label, word);
  *ret = o;
  return STEP_DONE;
}

/* Behind QUIT there is nothing to refuse. */
static enum step refuse(struct acl_run *r, const char *word, enum acl_verb verb, enum outcome o, enum outcome *ret) {
  bool is_end = r->depth == 0 && (r->where == ACL_WHERE_QUIT || r->where == ACL_WHERE_NOTQUIT);
  if (is_end) r->log_text = arena_printf(r->x->a, "QUIT or not-QUIT toplevel ACL may not fail ('%s' verb used incorrectly)", acl_verb_names[verb]);
  return finish(r, word, is_end ? OUTCOME_ERROR : o, ret);
}

/* What one statement decides; conditions have been run with outcome o (OK or FAIL). */
static enum step decide(struct acl_run *r, const struct acl_stmt *s, enum outcome o, enum outcome *ret) {
  enum outcome deny = r->nested_drop ? OUTCOME_FAIL_DROP : OUTCOME_FAIL;
  bool yes = o == OUTCOME_OK;
  switch (s->verb) {
  case ACL_ACCEPT:
  case ACL_DISCARD:
    if (yes && s->verb == ACL_DISCARD) return refuse(r, "DISCARD", s->verb, OUTCOME_DISCARD, ret);
    if (yes) return finish(r, "ACCEPT", OUTCOME_OK, ret);
    if (!r->endpass_seen) return STEP_NEXT;
    narrate(r->x, D_ACL, "%s: endpass encountered - denying access", acl_verb_names[s->verb]);
    *ret = deny;
    return STEP_DONE;
  case ACL_DEFER: return yes ? finish(r, "DEFER", OUTCOME_DEFER, ret) : STEP_NEXT;
  case ACL_DENY:
    return yes ? refuse(r, "DENY", s->verb, deny, ret) : STEP_NEXT;
  case ACL_DROP: return yes ? refuse(r, "DROP", s->verb, OUTCOME_FAIL_DROP, ret) : STEP_NEXT;
  case ACL_REQUIRE: return yes ? STEP_NEXT : refuse(r, "not OK", s->verb, deny, ret);
  case ACL_WARN: return STEP_NEXT;
  case ACL_VERB_COUNT: break;
  }
  return STEP_NEXT;
}

static enum outcome run_statements(struct acl_run *r, const struct acl *acl) {
  for (const struct acl_stmt *s = acl->stmts; s; s = s->next) {
    enum outcome result;
    narrate_statement(r, s);
    enum outcome o = run_conditions(r, s);
    if (o == OUTCOME_DISCARD || o == OUTCOME_FAIL_DROP) return o;
    if (o == OUTCOME_DEFER && s->verb == ACL_WARN) {
      log_skipped_warn(r, s, acl->name);
      continue;
    }
    if (o == OUTCOME_DEFER || o == OUTCOME_ERROR) {
      if (o == OUTCOME_ERROR) r->user_text = NULL;
      if (!r->log_text) r->log_text = r->user_text;
      return o;
    }
    if (r->warn_header) acl_add_header_text(r, r->warn_header);
    if (r->warn_text) acl_log_warning(r, r->warn_text);
    if (decide(r, s, o, &result) == STEP_DONE) return result;
  }
  narrate(r->x, D_ACL, "end of %s: implicit DENY", r->label); /* what the last condition said stays the reason */
  return OUTCOME_FAIL;
}

enum outcome acl_run_text(struct acl_run *r, const char *text) {
  bool is_inline, first = false;
  if (r->depth > ACL_MAX_NESTING) {
    r->log_text = "ACL nested too deep: possible loop";
    return OUTCOME_ERROR;
  }
  const struct acl *acl = find_acl(r, text, &is_inline, &first);
  if (!acl) return OUTCOME_ERROR;
  r->label = is_inline ? "inline ACL" : arena_printf(r->x->a, "ACL %s", acl->name);
  if (!is_inline && !first) narrate(r->x, D_ACL, "using ACL \"%s\"", acl->name);
  return run_statements(r, acl);
}

/* ---- entry ---- */

static void set_recipient(struct expand_ctx *x, const char *recipient) {
  struct str local, domain;
  if (!addr_split(recipient, &local, &domain)) {
    local = str_c(recipient);
    domain = str_n(recipient + local.n, 0);
  }
  bool caseful = x->conn && x->conn->caseful_local_part;
  const char *plain = addr_dequote_local_part(x->a, local);
  x->local_part_override = caseful ? plain : str_dup_lower(x->a, str_c(plain));
  x->domain_override = str_dup_lower(x->a, domain);
}

/* The address that the ACL is about, and where the conditions find it.  False when a list could not tell. */
static bool percent_hack(struct acl_run *r) {
  struct expand_ctx *x = r->x;
  struct str local_part, domain_part;
  if (!x->cfg->o.percent_hack_domains || !addr_split(r->recipient, &local_part, &domain_part)) return true;
  const char *as_given = addr_dequote_local_part(x->a, local_part), *local = as_given, *domain = x->domain_override;
  if (match_percent_hack(x, &local, &domain) != OUTCOME_OK) return false;
  if (local == as_given) return true;
  r->recipient = arena_printf(x->a, "%s@%s", addr_quote_local_part(x->a, str_c(local)), domain);
  set_recipient(x, r->recipient);
  return true;
}

enum { REPLY_COLUMNS = 75, REPLY_COLUMNS_MIN = 35 };

/* Where to break a long line: after a colon in its second half, else at the last space there, else at the next one. */
static size_t break_at(struct str line) {
  size_t space = 0, i = REPLY_COLUMNS + 1;
  while (--i > REPLY_COLUMNS_MIN) {
    if (line.p[i] != ' ') continue;
    if (line.p[i - 1] == ':') return i;
    if (space == 0) space = i;
  }
  if (space > 0) return space;
  for (i = REPLY_COLUMNS; i < line.n && line.p[i] != ' ';) i++;
  return i;
}

const char *acl_split_message(struct arena *a, const char *text) {
  if (!text || strlen(text) <= REPLY_COLUMNS) return text;
  char *out = arena_strdup(a, text);
  for (size_t start = 0, n = strlen(out); start < n;) {
    size_t len = str_index(str_n(out + start, n - start), '\n');
    if (len > REPLY_COLUMNS) {
      size_t at = break_at(str_n(out + start, len));
      if (at < len) {
        out[start + at] = '\n';
        len = at;
      }
    }
    start += len + 1;
  }
  return out;
}

bool acl_is_text(const char *text) {
  struct str rest = str_c(text), word = str_word(&rest);
  for (int i = 0; i < ACL_VERB_COUNT; i++)
    if (str_eqic_c(word, acl_verb_names[i])) return str_trim(rest).n > 0;
  return false;
}

/* What of the context says which ACL runs and about whom. */
struct acl_scope {
  const char *where, *recipient, *local_part, *domain;
  int place;
  void *env;
};

static struct acl_scope scope_of(const struct expand_ctx *x) {
  return (struct acl_scope){.where = x->acl_where, .recipient = x->acl_recipient, .local_part = x->local_part_override,
                            .domain = x->domain_override, .place = x->acl_place, .env = x->acl_env};
}

static void restore_scope(struct expand_ctx *x, const struct acl_scope *s) {
  x->acl_where = s->where;
  x->acl_recipient = s->recipient;
  x->local_part_override = s->local_part;
  x->domain_override = s->domain;
  x->acl_place = s->place;
  x->acl_env = s->env;
}

/* Run the ACL that the text is, or names. */
static struct acl_result run_expanded(struct acl_run *r, enum acl_where where, const char *text) {
  struct acl_result res = {.outcome = acl_run_text(r, str_dup(r->x->a, str_ltrim(str_c(text))))};
  if (res.outcome == OUTCOME_DISCARD && where != ACL_WHERE_UNKNOWN && !(1u << where & ACL_DISCARD_BITS)) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "\"discard\" verb not allowed in %s ACL", acl_where_name(where));
    res.outcome = OUTCOME_ERROR;
  }
  res.user_message = where == ACL_WHERE_UNKNOWN ? r->user_text : acl_split_message(r->x->a, r->user_text); /* ${acl: no reply */
  res.log_message = r->log_text;
  return res;
}

struct acl_result acl_check(struct expand_ctx *x, struct acl_env *env, enum acl_where where, const char *recipient,
                            const char *acl_text) {
  struct acl_env none = {.session = NULL};
  struct acl_run r = {.x = x, .env = env ? env : &none, .where = where, .recipient = recipient};
  const struct acl_scope outer = scope_of(x);
  if (where == ACL_WHERE_UNKNOWN && outer.place) { /* called in an expansion of another ACL: the same may be asked as there */
    r.where = (enum acl_where)(outer.place - 1);
    r.recipient = outer.recipient;
  }
  if (x->conn) x->conn->log_reject_target_set = false;
  x->acl_where = acl_where_name(r.where);
  x->acl_place = r.where == ACL_WHERE_UNKNOWN ? 0 : 1 + (int)r.where;
  x->acl_recipient = r.recipient;
  x->acl_env = env;
  if (recipient && x->conn) x->conn->caseful_local_part = false; /* a control is for one recipient (manual 44.22) */
  if (recipient) { /* an ACL inside an expansion is about the same one */
    set_recipient(x, recipient);
    match_cache_new_subject();
  }
  struct acl_result res = {.outcome = OUTCOME_ERROR};
  bool hack_known = !recipient || percent_hack(&r);
  const char *text = expand_string(x, acl_text);
  /* What a client said does not become a statement: its conditions and modifiers are expanded when their turn comes. */
  if (text && is_tainted(text) && !is_tainted(acl_text) && acl_is_text(acl_text)) text = acl_text;
  if (!hack_known) res = (struct acl_result){.outcome = OUTCOME_DEFER, .log_message = "defer in percent_hack_domains check"};
  else if (text) res = run_expanded(&r, where, text);
  else if (x->forced_fail) res.outcome = OUTCOME_OK;
  else res.log_message = arena_printf(x->a, "failed to expand ACL string \"%s\": %s", log_escape(x->a, str_c(acl_text)),
                                      x->error ? x->error : "");
  restore_scope(x, &outer);
  return res;
}
