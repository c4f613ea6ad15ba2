/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Obeying the commands of an Exim filter.  Floor: drivers.  Manual: filter document ch. 3.
 *
 * Nothing is delivered here: commands become actions, which the caller turns into addresses.  Only logwrite acts at once, with the rights of the
 * process (a user's filter runs in a process of that user).  In test mode each command is printed instead. */
#include "filters/filter_priv.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/timeutil.h"
#include "message.h"
#include "os/log.h"
#include "os/sys.h"

bool filter_broken(struct filter_run *f, bool is_temporary, const char *fmt, ...) {
  va_list ap;
  if (f->result.end == FILTER_BROKEN) return false;
  va_start(ap, fmt);
  f->result.end = FILTER_BROKEN;
  f->result.is_temporary = is_temporary;
  f->result.message = arena_vprintf(f->a, fmt, ap);
  va_end(ap);
  return false;
}

const char *filter_expand(struct filter_run *f, const char *verb, const char *text) {
  const char *s = expand_string(f->x, text);
  if (!s)
    (void)filter_broken(f, f->x->lookup_deferred, "failed to expand \"%s\" in %s command: %s", text, verb,
                        f->x->error ? f->x->error : "forced failure");
  return s;
}

/* Unprintable bytes, but not tabs, are shown as escapes. */
static void print_text(struct filter_run *f, const char *head, const char *text, const char *tail) {
  struct str rest = str_c(text);
  fputs(head, stdout);
  while (rest.n) {
    size_t n = str_index(rest, '\t');
    fputs(log_escape(f->a, str_n(rest.p, n)), stdout);
    if (n == rest.n) break;
    putchar('\t');
    rest = str_n(rest.p + n + 1, rest.n - n - 1);
  }
  fputs(tail, stdout);
}

static struct filter_action *add_action(struct filter_run *f, const struct filter_command *c, enum filter_action_kind kind, const char *text) {
  struct filter_action *act = ARENA_NEW(f->a, struct filter_action);
  act->kind = kind;
  act->text = text;
  act->mode = -1;
  act->ignore_error = c->is_noerror;
  *f->tail = act;
  f->tail = &act->next;
  return act;
}

/* "Deliver ..." or, when the command is not significant, "Unseen deliver ...". */
static void print_head(const struct filter_command *c, const char *lower, char first) {
  if (c->is_seen_set && !c->is_seen) printf("Unseen %c%s", ch_lower(first), lower);
  else printf("%c%s", first, lower);
}

/* ---- variables ---- */

static void show_vars(struct filter_run *f) {
  static const char *const names[FILTER_VARS] = {"n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9"};
  for (int i = 0; i < FILTER_VARS; i++) tree_insert(&f->vars, f->a, names[i], NULL)->val = f->result.n[i];
}

static bool do_add(struct filter_run *f, const struct filter_command *c) {
  const char *number = filter_expand(f, "add", c->arg), *name = number ? filter_expand(f, "add", c->arg2) : NULL;
  int64_t v;
  if (!name) return false;
  if (!str_parse_i64(str_trim(str_c(number)), &v)) return filter_broken(f, false, "malformed number \"%s\" in \"add\" command", number);
  if (name[0] != 'n' || !ch_isdigit(name[1]) || name[2]) return filter_broken(f, false, "unknown variable \"%s\" in \"add\" command", name);
  int i = name[1] - '0';
  f->result.n[i] = (int)((unsigned)f->result.n[i] + (unsigned)v); /* wraps as the variables of deployed filters do */
  show_vars(f);
  if (f->env->is_test) printf("Add %d to n%d\n", (int)(unsigned)v, i);
  return true;
}

/* ---- deliveries ---- */

/* The working form of an address in the filter; NULL and broken. */
static const char *take_address(struct filter_run *f, const char *verb, const char *text) {
  const struct main_options *o = &f->x->cfg->o;
  const char *s = filter_expand(f, verb, text), *error;
  size_t domain;
  if (!s) return NULL;
  struct addr_opts ao = {.allow_domain_literal = o->allow_domain_literals, .allow_utf8 = o->allow_utf8_domains};
  const char *address = rfc5322_extract_address(f->a, str_c(s), ao, &domain, &error);
  if (!address) {
    (void)filter_broken(f, false, "malformed address \"%s\" in filter file: %s", s, error);
    return NULL;
  }
  return domain ? address : arena_printf(f->a, "%s@%s", address, f->env->qualify_domain);
}

static bool do_deliver(struct filter_run *f, const struct filter_command *c) {
  const char *to = take_address(f, "deliver", c->arg), *errors_to = NULL;
  if (!to || (c->arg2 && !(errors_to = take_address(f, "deliver", c->arg2)))) return false;
  if (errors_to && !f->env->rights.is_system && (!f->env->own_address || strcmpic(errors_to, f->env->own_address) != 0))
    return filter_broken(f, false, "errors_to must point to the caller's address");
  if (f->env->is_test) {
    print_head(c, "eliver message to: ", 'D');
    print_text(f, "", to, c->is_noerror ? " (noerror)" : "");
    if (errors_to) print_text(f, " errors_to ", errors_to, "");
    putchar('\n');
  }
  add_action(f, c, ACTION_DELIVER, to)->errors_to = errors_to;
  return true;
}

static bool do_save(struct filter_run *f, const struct filter_command *c) {
  const char *path = filter_expand(f, "save", c->arg);
  if (!path) return false;
  if (*path != '/' && f->env->home && *f->env->home) path = arena_printf(f->a, "%s/%s", f->env->home, path);
  if (f->env->is_test) {
    print_head(c, "ave message to: ", 'S');
    print_text(f, "", path, "");
    if (c->mode >= 0) printf(" %04o", (unsigned)c->mode);
    printf("%s\n", c->is_noerror ? " (noerror)" : "");
  }
  add_action(f, c, ACTION_SAVE, path)->mode = c->mode;
  return true;
}

static bool do_pipe(struct filter_run *f, const struct filter_command *c) {
  if (f->env->is_test) {
    print_head(c, "ipe message to: ", 'P');
    print_text(f, "", c->arg, c->is_noerror ? " (noerror)\n" : "\n");
  }
  struct filter_action *act = add_action(f, c, ACTION_PIPE, c->arg);
  act->this_address = f->x->this_address;
  act->ncaptures = f->x->s.ncaptures;
  memcpy(act->captures, f->x->s.captures, sizeof act->captures);
  return true;
}

/* ---- mail ---- */

static bool is_header_text(int arg) { return arg <= MAIL_SUBJECT; }

/* Every line of extra_headers is a header line or goes on with one. */
static bool check_headers(struct filter_run *f, const struct filter_command *c, const char *text) {
  struct str rest = str_c(text);
  for (bool first = true; rest.n; first = false) {
    struct str line = str_cut(&rest, '\n');
    if ((!first && line.n && ch_isblank(line.p[0])) || header_is_valid_start(line) || (first && !rest.n)) continue;
    return filter_broken(f, false, "\\n not followed by space or valid header name in \"%.1000s\" in %s command", text, filter_verb_names[c->verb]);
  }
  return true;
}

static bool expand_mail(struct filter_run *f, const struct filter_command *c, const char *ret[MAIL_ARGS]) {
  for (int i = 0; i < MAIL_ARGS; i++) {
    ret[i] = NULL;
    if (!c->mail[i]) continue;
    ret[i] = filter_expand(f, filter_verb_names[c->verb], c->mail[i]);
    if (!ret[i]) return false;
    if (i == MAIL_EXTRA_HEADERS && !check_headers(f, c, ret[i])) return false;
    if (!is_header_text(i)) continue;
    for (const char *p = ret[i]; *p; p++)
      if (*p == '\n' && !ch_isblank(p[1]))
        return filter_broken(f, false, "\\n not followed by space in \"%.1010s\" in %s command", ret[i], filter_verb_names[c->verb]);
  }
  return true;
}

/* The list of recipients is also the name of the address in logs. */
static const char *on_one_line(struct arena *a, const char *text) {
  if (!strchr(text, '\n')) return text;
  char *out = arena_strdup(a, text);
  for (char *p = out; (p = strchr(p, '\n')) != NULL;) *p = ' ';
  return out;
}

static void print_mail(struct filter_run *f, const struct filter_command *c, const char *const arg[MAIL_ARGS]) {
  printf("%sail to: %s%s%s\n", c->is_seen ? "Seen m" : "M", arg[MAIL_TO] ? log_escape(f->a, str_c(arg[MAIL_TO])) : "<default>",
         c->verb == FILTER_VACATION ? " (vacation)" : "", c->is_noerror ? " (noerror)" : "");
  for (int i = MAIL_CC; i < MAIL_ARGS; i++) {
    if (!arg[i]) continue;
    printf("%*s: ", (int)MAX(strlen(filter_mail_names[i]), (size_t)7), filter_mail_names[i]);
    print_text(f, "", arg[i], i == MAIL_FILE && c->file_expand ? " (expanded)\n" : "\n");
  }
  if (c->return_message) printf("Return original message\n");
}

static bool do_mail(struct filter_run *f, const struct filter_command *c) {
  const char *arg[MAIL_ARGS];
  int64_t repeat = 0;
  bool is_bounce = !f->x->msg->sender || !*f->x->msg->sender;
  if (is_bounce && !f->env->is_test) return true; /* a bounce is never answered */
  if (!expand_mail(f, c, arg)) return false;
  if (f->env->is_test) {
    if (f->x->return_path && !*f->x->return_path) printf("%s command ignored because return_path is empty\n", filter_verb_names[c->verb]);
    else print_mail(f, c, arg);
    return true;
  }
  if (f->env->forbid_reply) return filter_broken(f, false, "autoreplies are disabled");
  if (arg[MAIL_ONCE_REPEAT] && !time_parse_interval(str_c(arg[MAIL_ONCE_REPEAT]), false, &repeat))
    return filter_broken(f, false, "badly formed time value \"%s\" in %s command", arg[MAIL_ONCE_REPEAT], filter_verb_names[c->verb]);
  if (!arg[MAIL_TO] && !(arg[MAIL_TO] = filter_expand(f, filter_verb_names[c->verb], "$reply_address"))) return false;
  struct filter_action *act = add_action(f, c, ACTION_MAIL, arg[MAIL_TO]);
  memcpy(act->mail, arg, sizeof act->mail);
  act->mail[MAIL_TO] = on_one_line(f->a, arg[MAIL_TO]);
  act->file_expand = c->file_expand;
  act->return_message = c->return_message;
  act->once_repeat = repeat;
  return true;
}

/* ---- headers ---- */

static bool do_headers(struct filter_run *f, const struct filter_command *c) {
  const char *text = expand_string(f->x, c->arg2);
  if (!text && f->x->forced_fail) return true;
  if (!text) return filter_expand(f, "headers", c->arg2) != NULL;
  if (f->env->is_test) {
    printf("Headers %s ", c->arg);
    print_text(f, "\"", text, "\"\n");
  }
  if (strcmp(c->arg, "charset") == 0) {
    f->result.charset = text;
    f->x->headers_charset = text;
    return true;
  }
  bool is_add = strcmp(c->arg, "add") == 0;
  while (ch_isspace(*text)) text++;
  if (!*text) return true;
  if (f->env->change_header) f->env->change_header(f->env->ctx, is_add, text);
  add_action(f, c, is_add ? ACTION_HEADER_ADD : ACTION_HEADER_REMOVE, text);
  return true;
}

/* ---- the filter's own log ---- */

static void close_log(struct filter_run *f) {
  if (f->log_fd >= 0) (void)!sys_close(f->log_fd);
  f->log_fd = -1;
}

static bool do_logfile(struct filter_run *f, const struct filter_command *c) {
  const char *path = filter_expand(f, "logfile", c->arg);
  if (!path) return false;
  close_log(f);
  f->log_path = path;
  f->log_mode = c->mode >= 0 ? c->mode : 0600;
  if (f->env->is_test) printf("%sogfile %s\n", c->is_seen ? "Seen l" : "L", path);
  return true;
}

static bool write_log(struct filter_run *f, const char *text) {
  if (f->env->forbid_logwrite) return filter_broken(f, false, "logwrite is not permitted");
  if (!f->log_path || !*f->log_path) return filter_broken(f, false, "attempt to obey \"logwrite\" command without a previous \"logfile\"");
  if (f->env->is_only_asked) return true;
  if (f->log_fd < 0) {
    /* Written by the owner of the filter with his own rights: his file names, tainted or not, reach nothing that he could not. */
    f->log_fd = sys_open(f->log_path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, (mode_t)f->log_mode);
    if (f->log_fd < 0)
      return filter_broken(f, false, "failed to open filter log file \"%s\": %s (euid=%ld egid=%ld)", f->log_path, strerror(-f->log_fd),
                           (long)geteuid(), (long)getegid());
  }
  int rc = sys_write_all(f->log_fd, text, strlen(text));
  return rc == 0 || filter_broken(f, true, "error while writing filter log file \"%s\": %s", f->log_path, strerror(-rc));
}

static bool do_logwrite(struct filter_run *f, const struct filter_command *c) {
  const char *text = filter_expand(f, "logwrite", c->arg);
  if (!text) return false;
  if (!str_ends(str_c(text), STR("\n"))) text = arena_printf(f->a, "%s\n", text);
  if (!f->env->is_test) return write_log(f, text);
  print_text(f, c->is_seen ? "Seen logwrite \"" : "Logwrite \"", text, "\"\n");
  return true;
}

/* ---- the rest ---- */

static bool do_testprint(struct filter_run *f, const struct filter_command *c) {
  if (!f->env->is_test) return true;
  const char *text = filter_expand(f, "testprint", c->arg);
  if (text) print_text(f, "Testprint: ", text, "\n");
  return text != NULL;
}

/* finish, and defer, fail, freeze: *ret_end says that nothing after it is obeyed. */
static bool do_end(struct filter_run *f, const struct filter_command *c, bool *ret_end) {
  static const struct {
    const char *shown;
    enum filter_end end;
  } ends[FILTER_VERBS] = {
    [FILTER_DEFER] = {"Defer", FILTER_END_DEFER}, [FILTER_FAIL] = {"Fail", FILTER_END_FAIL}, [FILTER_FREEZE] = {"Freeze", FILTER_END_FREEZE},
  };
  *ret_end = true;
  if (c->verb == FILTER_FINISH) {
    if (f->env->is_test) printf("%sinish\n", c->is_seen ? "Seen f" : "F");
    return true;
  }
  const char *text = filter_expand(f, filter_verb_names[c->verb], c->arg);
  if (!text) return false;
  if (f->env->is_test) {
    printf("%s text ", ends[c->verb].shown);
    print_text(f, "\"", text, "\"\n");
  }
  f->result.end = ends[c->verb].end;
  f->result.message = text;
  return true;
}

static bool obey(struct filter_run *f, const struct filter_command *list, bool *ret_end);

static bool do_if(struct filter_run *f, const struct filter_command *c, bool *ret_end) {
  const char *saved = f->x->this_address;
  int saved_depth = f->depth;
  for (;; c = c->else_part) { /* through the elif branches, however many */
    enum outcome o = filter_test_top(f, c->cond);
    if (o != OUTCOME_OK && o != OUTCOME_FAIL) return false;
    f->depth++;
    bool is_true = o == OUTCOME_OK;
    if (!is_true && c->else_part && c->else_part->is_elif) continue;
    bool ok = obey(f, is_true ? c->then_part : c->else_part, ret_end);
    f->depth = saved_depth;
    f->x->this_address = saved;
    return ok;
  }
}

static bool (*const handlers[FILTER_VERBS])(struct filter_run *, const struct filter_command *) = {
  [FILTER_ADD] = do_add,         [FILTER_DELIVER] = do_deliver, [FILTER_HEADERS] = do_headers, [FILTER_LOGFILE] = do_logfile,
  [FILTER_LOGWRITE] = do_logwrite, [FILTER_MAIL] = do_mail,     [FILTER_PIPE] = do_pipe,       [FILTER_SAVE] = do_save,
  [FILTER_TESTPRINT] = do_testprint, [FILTER_VACATION] = do_mail,
};

static bool is_significant(const struct filter_command *c) {
  bool delivers = c->verb == FILTER_DELIVER || c->verb == FILTER_SAVE || c->verb == FILTER_PIPE;
  return c->verb != FILTER_IF && (c->is_seen_set ? c->is_seen : delivers);
}

static bool obey(struct filter_run *f, const struct filter_command *list, bool *ret_end) {
  for (const struct filter_command *c = list; c && !*ret_end; c = c->next) {
    bool ok;
    if (c->verb == FILTER_IF) ok = do_if(f, c, ret_end);
    else if (handlers[c->verb]) ok = handlers[c->verb](f, c);
    else ok = do_end(f, c, ret_end);
    if (!ok) return false;
    if (is_significant(c)) f->result.is_significant = true;
  }
  return true;
}

struct filter_result filter_obey(struct filter_env *env, const struct filter_command *commands) {
  struct filter_run f = {.env = env, .x = env->x, .a = env->x->a, .log_fd = -1};
  bool end = false;
  f.tail = &f.result.actions;
  memcpy(f.result.n, env->n, sizeof f.result.n);
  if (env->x->filter_vars) f.vars = *env->x->filter_vars; /* the system filter's $sn0.. stay visible */
  struct tree *saved = env->x->filter_vars;
  env->x->filter_vars = &f.vars;
  env->x->in_filter = true;
  show_vars(&f);
  (void)obey(&f, commands, &end);
  close_log(&f);
  env->x->filter_vars = saved;
  env->x->in_filter = false;
  if (f.result.end == FILTER_BROKEN) f.result.is_significant = false;
  return f.result;
}
