/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Obeying Sieve scripts.  Floor: drivers.  RFC 5228 ch. 2.10 and 4; the filter document ch. 2.
 *
 * Nothing is delivered here: commands become actions.  A mistake, in the text or while the script runs, ends it; what it asked for until then is
 * done and the message is kept, so that no script loses mail.  The texts of actions are the script's. */
#include "filters/sieve_priv.h"

#include <stdio.h>
#include <string.h>

#include "address.h"
#include "message.h"

bool sieve_broken(struct sieve_run *s, unsigned line, const char *fmt, ...) {
  va_list ap;
  if (s->env->error) return false;
  va_start(ap, fmt);
  s->env->error = arena_printf(s->a, "%s in line %u", arena_vprintf(s->a, fmt, ap), line);
  va_end(ap);
  return false;
}

struct filter_action *sieve_add_action(struct sieve_run *s, unsigned line, enum filter_action_kind kind, const char *text) {
  if (++s->actions > SIEVE_ACTIONS_MAX) {
    (void)sieve_broken(s, line, "too many actions");
    return NULL;
  }
  struct filter_action *act = ARENA_NEW(s->a, struct filter_action);
  act->kind = kind;
  act->text = text;
  act->mode = -1;
  *s->tail = act;
  s->tail = &act->next;
  return act;
}

static bool is_there(const struct sieve_run *s, enum filter_action_kind kind, const char *text) {
  for (const struct filter_action *act = s->result.actions; act; act = act->next)
    if (act->kind == kind && strcmp(act->text, text) == 0) return true;
  return false;
}

/* The parser has refused ".." and control characters: a relative name stays below the directory that the transport gives, whatever text it
 * was made of, and is clean.  An absolute one keeps its taint. */
static const char *folder_name(struct sieve_run *s, struct str folder) {
  return folder.n && *folder.p == '/' ? str_dup(s->a, folder) : arena_untaint_copy(s->a, folder.p, folder.n);
}

static bool save(struct sieve_run *s, unsigned line, const char *folder) {
  if (s->env->is_verbose) fprintf(stderr, "fileinto `%s'\n", folder);
  return is_there(s, ACTION_SAVE, folder) || sieve_add_action(s, line, ACTION_SAVE, folder);
}

static bool do_redirect(struct sieve_run *s, const struct sieve_command *c) {
  const char *address = str_dup(s->a, c->arg);
  if (s->env->is_verbose) fprintf(stderr, "redirect `%s'\n", address);
  if (!c->is_copy) s->is_kept = false;
  if (is_there(s, ACTION_DELIVER, address)) return true;
  if (++s->redirects > SIEVE_REDIRECTS_MAX) return sieve_broken(s, c->line, "too many redirects");
  return sieve_add_action(s, c->line, ACTION_DELIVER, address) != NULL;
}

static bool do_fileinto(struct sieve_run *s, const struct sieve_command *c) {
  if (!c->is_copy) s->is_kept = false;
  return save(s, c->line, folder_name(s, c->arg));
}

static bool do_keep(struct sieve_run *s, const struct sieve_command *c) {
  s->is_kept = false;
  return save(s, c->line, s->env->inbox);
}

static bool do_discard(struct sieve_run *s, const struct sieve_command *c) {
  (void)c;
  s->is_kept = false;
  return true;
}

static bool do_stop(struct sieve_run *s, const struct sieve_command *c) {
  (void)c;
  s->is_stopped = true;
  return true;
}

static bool obey(struct sieve_run *s, const struct sieve_command *list);

static bool do_if(struct sieve_run *s, const struct sieve_command *c) {
  for (; c; c = c->otherwise) {
    bool is_true = true;
    if (c->test && !sieve_evaluate(s, c->test, &is_true)) return false;
    if (c->test && s->env->is_verbose) fprintf(stderr, "if %s\n", is_true ? "true" : "false");
    if (is_true) return obey(s, c->then_part);
  }
  return true;
}

static bool obey(struct sieve_run *s, const struct sieve_command *list) {
  static bool (*const handlers[])(struct sieve_run *, const struct sieve_command *) = {
    [SIEVE_KEEP] = do_keep, [SIEVE_DISCARD] = do_discard, [SIEVE_STOP] = do_stop, [SIEVE_REDIRECT] = do_redirect, [SIEVE_FILEINTO] = do_fileinto,
    [SIEVE_VACATION] = sieve_vacation, [SIEVE_NOTIFY] = sieve_notify, [SIEVE_IF] = do_if,
  };
  for (const struct sieve_command *c = list; c && !s->is_stopped; c = c->next)
    if (!handlers[c->verb](s, c)) return false;
  return true;
}

struct filter_result sieve_obey(struct sieve_env *env, const struct sieve_script *script) {
  struct sieve_run s = {.env = env, .x = env->x, .a = env->x->a, .is_kept = true};
  s.tail = &s.result.actions;
  env->error = NULL;
  if (obey(&s, script->commands) && !s.is_stopped && script->error) (void)sieve_broken(&s, script->error_line, "%s", script->error);
  env->is_kept = s.is_kept || env->error;
  s.actions = 0; /* the message is kept, whatever the limit */
  if (env->is_kept) (void)save(&s, 0, env->inbox);
  s.result.is_significant = true;
  return s.result;
}
