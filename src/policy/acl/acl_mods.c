/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACL modifiers: header changes, variables, log lines, delays, named queues.
 *
 * Floor: policy.  Header changes are kept with the message and take effect when it is accepted.  Manual ch. 44
 * "ACL modifiers", "Adding header lines in ACLs". */
#include <unistd.h>

#include "base/strbuf.h"
#include "os/log.h"
#include "policy/dkim.h"
#include "policy/acl/acl_priv.h"
#include "policy/match.h"

/* ---- headers ---- */

/* Letters kept in header_line.type of msg->added_headers: where the line goes. */
static struct str take_place(struct str s, char *ret_place) {
  static const struct {
    const char *text;
    char place;
  } places[] = {{":after_received:", 'R'}, {":at_start_rfc:", 'F'}, {":at_start:", 'S'}, {":at_end:", 'E'}};
  *ret_place = 'E';
  for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
    struct str p = str_c(places[i].text);
    if (!str_startsic(s, p)) continue;
    *ret_place = places[i].place;
    return str_ltrim(str_n(s.p + p.n, s.n - p.n));
  }
  return s;
}

/* Once each.  An ACL may add a line for every recipient it refuses, and a client may name any number. */
static void add_one_header(struct message *m, struct str line, char place) {
  struct arena_mark mark = arena_mark(m->arena);
  struct strbuf b = strbuf_new(m->arena);
  bool is_new;
  if (!header_is_valid_start(line)) strbuf_adds(&b, "X-ACL-Warn: ");
  strbuf_addstr(&b, line);
  strbuf_addc(&b, '\n');
  (void)tree_insert(&m->added_texts, m->arena, b.p, &is_new);
  if (!is_new) {
    arena_release(m->arena, mark);
    return;
  }
  struct header_line *h = ARENA_NEW(m->arena, struct header_line);
  h->text = b.p;
  h->n = b.n;
  h->type = place;
  if (m->added_headers) m->last_added_header->next = h;
  else m->added_headers = h;
  m->last_added_header = h;
}

void acl_add_header_text(struct acl_run *r, const char *text) {
  struct message *m = r->x->msg;
  struct str s = str_c(text);
  if (!m) return;
  while (s.n > 0 && s.p[s.n - 1] == '\n') s.n--;
  while (s.n > 0 && s.p[0] == '\n') s = str_n(s.p + 1, s.n - 1);
  while (s.n > 0) {
    char place;
    s = take_place(s, &place);
    size_t n = str_index(s, '\n'); /* a line break before white space continues the header */
    while (n + 1 < s.n && ch_isblank(s.p[n + 1])) n += 1 + str_index(str_n(s.p + n + 1, s.n - n - 1), '\n');
    if (n > s.n) n = s.n;
    add_one_header(m, str_n(s.p, n), place);
    s = n < s.n ? str_n(s.p + n + 1, s.n - n - 1) : str_n(s.p + n, 0);
  }
}

enum outcome acl_mod_add_header(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  acl_add_header_text(r, arg);
  return OUTCOME_OK;
}

enum outcome acl_mod_remove_header(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  struct message *m = r->x->msg;
  if (!m || !*arg) return OUTCOME_OK;
  if (!m->removed_headers.a) m->removed_headers = vec_new(m->arena);
  vec_push(&m->removed_headers, arena_strdup(m->arena, arg));
  return OUTCOME_OK;
}

/* ---- named queues ---- */

/* The message works with a configuration of its own queue from here on; its files do not exist yet. */
enum outcome acl_mod_queue(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  struct message *m = r->x->msg;
  if (!m || m->id[0]) return OUTCOME_OK;
  if (!config_queue_name_is_valid(arg)) {
    r->log_text = strchr(arg, '/') ? arena_printf(r->x->a, "Directory separator not permitted in queue name: '%s'", arg)
                                   : arena_printf(r->x->a, "bad name of a queue: \"%s\"", arg);
    return OUTCOME_ERROR;
  }
  m->cfg = config_for_queue(m->arena, m->cfg, arg);
  m->queue_name = m->cfg->queue_name ? m->cfg->queue_name : "";
  return OUTCOME_OK;
}

/* ---- logs ---- */

void acl_log_warning(struct acl_run *r, const char *text) {
  struct message *m = r->x->msg;
  const char *host = r->x->conn ? origin_host_ident(r->x->a, r->x->conn, true, true) : "";
  const char *line = arena_printf(r->x->a, "%s%sWarning: %s", host, *host ? " " : "", text);
  bool is_new = true;
  if (m) tree_insert(&m->warnings_logged, m->arena, line, &is_new);
  if (is_new) log_write(LS_ALWAYS, LOG_MAIN, "%s", line);
}

/* The bit of a log, 0: there is none of that name. */
static unsigned log_named(struct str name) {
  if (str_eq(name, STR("main"))) return LOG_MAIN;
  if (str_eq(name, STR("panic"))) return LOG_PANIC;
  return str_eq(name, STR("reject")) ? LOG_REJECT : 0;
}

/* A name that is not known leaves the logs as they are: a rejection must not go unnoticed. */
enum outcome acl_mod_log_reject_target(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  const char *item;
  int sep = 0;
  unsigned dest = 0;
  while ((item = list_next(r->x->a, &arg, &sep))) {
    unsigned bit = log_named(str_c(item));
    dest |= bit;
    if (bit) continue;
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "unknown log name \"%s\" in \"log_reject_target\" in %s ACL", item, acl_where_name(r->where));
    return OUTCOME_OK;
  }
  if (r->x->conn) {
    r->x->conn->log_reject_target = dest;
    r->x->conn->log_reject_target_set = true;
  }
  return OUTCOME_OK;
}

/* ":main,reject:" in front of the text, which is moved over it.  False: not names of logs, one after the other. */
static bool take_log_names(struct str *text, unsigned *ret_dest) {
  *ret_dest = LOG_MAIN;
  if (text->n == 0 || *text->p != ':') return true;
  struct str rest = str_n(text->p + 1, text->n - 1);
  size_t n = str_index(rest, ':');
  if (n == rest.n) return false;
  struct str names = str_n(rest.p, n);
  *text = str_ltrim(str_n(rest.p + n + 1, rest.n - n - 1));
  for (unsigned bit, dest = 0; names.n > 0; *ret_dest = dest |= bit)
    if (!(bit = log_named(str_cut(&names, ',')))) return false;
  return true;
}

enum outcome acl_mod_logwrite(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  unsigned dest;
  struct str s = str_ltrim(str_c(arg));
  if (!take_log_names(&s, &dest)) { /* the text is shown with the complaint */
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "unknown log name in \"%s\" in \"logwrite\" in %s ACL", arg, acl_where_name(r->where));
    return OUTCOME_OK;
  }
  size_t n = s.n; /* a line end at the end is part of the text, and shown like one inside */
  while (n > 0 && s.p[n - 1] == '\n') n--;
  struct strbuf b = strbuf_new(r->x->a);
  strbuf_add(&b, s.p, n);
  for (; n < s.n; n++) strbuf_adds(&b, "\\n");
  const struct message *m = r->x->msg;
  const struct acl_hooks *hooks = acl_get_hooks();
  if (dest & LOG_REJECT && m && m->headers && hooks && hooks->log_rejected) hooks->log_rejected(m, dest, b.p);
  else log_write(LS_ALWAYS, dest, "%s", b.p);
  return OUTCOME_OK;
}

/* ---- the rest ---- */

enum outcome acl_mod_continue(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)r, (void)c, (void)arg;
  return OUTCOME_OK;
}

enum outcome acl_mod_delay(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  int64_t seconds;
  if (!time_parse_interval(str_trim(str_c(arg)), false, &seconds) || seconds < 0 || seconds > INT32_MAX) {
    r->log_text = arena_printf(r->x->a, "syntax error in argument for \"delay\" modifier: \"%s\" is not a time value", arg);
    return OUTCOME_ERROR;
  }
  if (r->env->delay) r->env->delay(r->env, r->x, (int)seconds);
  return OUTCOME_OK;
}

enum outcome acl_mod_set(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  static const char dkim[] = "dkim_verify_";
  if (strncmp(c->var, dkim, sizeof(dkim) - 1) == 0) dkim_set_by_acl(r->x, c->var + sizeof(dkim) - 1, arg);
  else acl_var_set(r->x, c->var, arg);
  return OUTCOME_OK;
}
