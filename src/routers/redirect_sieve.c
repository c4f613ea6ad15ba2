/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sieve filters in redirect routers.  Floor: drivers.  Manual ch. 22 (sieve_...), filter document ch. 2.
 *
 * The script is its owner's and is obeyed in a process of his, like an Exim filter (redirect_filter.c).  It never fails an address: after a mistake
 * the message is kept.  What the options say is expanded here, with the router's rights. */
#include "filters/sieve.h"
#include "message.h"
#include "os/debug.h"
#include "routers/redirect_priv.h"

struct sieve_child {
  struct sieve_env env;
  struct sieve_script script;
};

static struct filter_result obey_in_child(void *ctx) {
  struct sieve_child *c = ctx;
  struct filter_result r = sieve_obey(&c->env, &c->script);
  r.message = c->env.error;
  return r;
}

/* *ret NULL: unset or forced to fail. */
static enum route_result option_text(struct redirect_run *run, const char *name, const char *option, const char **ret) {
  struct expand_ctx *x = run->rc->x;
  *ret = NULL;
  if (!option || (*ret = expand_string(x, option)) || x->forced_fail) return ROUTE_OK;
  return redirect_defer(run, ERRNO_EXPANDFAIL, arena_printf(redirect_arena(run), "failed to expand \"%s\" (%s option) in %s router: %s", option,
                                                           name, run->r->name, x->error ? x->error : ""));
}

static enum route_result read_options(struct redirect_run *run, struct sieve_env *env) {
  const struct redirect_options *ob = run->ob;
  const struct {
    const char *name, *option, **ret;
  } texts[] = {
    {"sieve_inbox", ob->sieve_inbox, &env->inbox},
    {"sieve_useraddress", ob->sieve_useraddress, &env->user},
    {"sieve_subaddress", ob->sieve_subaddress, &env->detail},
    {"sieve_vacation_directory", ob->sieve_vacation_directory, &env->vacation_directory},
    {"sieve_enotify_mailto_owner", ob->sieve_enotify_mailto_owner, &env->notify_owner},
  };
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
    enum route_result res = option_text(run, texts[i].name, texts[i].option, texts[i].ret);
    if (res != ROUTE_OK) return res;
  }
  if (!env->inbox || !*env->inbox) env->inbox = "inbox";
  if (env->vacation_directory && expand_taint_refused(run->rc->x, env->vacation_directory, "directory for vacation"))
    return redirect_defer(run, ERRNO_BADREDIRECT, run->rc->x->error);
  return ROUTE_OK;
}

enum route_result redirect_run_sieve(struct redirect_run *run, struct str text) {
  struct expand_ctx *x = run->rc->x;
  struct filter_result result = {0};
  struct sieve_child c = {.env = {.x = x, .is_test = run->rc->verify != VERIFY_NONE}};
  enum route_result res = read_options(run, &c.env);
  if (res != ROUTE_OK) return res;
  bool can_reply = !run->ob->forbid_filter_reply;
  struct sieve_rights rights = {.has_vacation = can_reply && c.env.vacation_directory,
                                .has_notify = can_reply && c.env.notify_owner && run->ob->reply_transport};
  c.script = sieve_parse(redirect_arena(run), text, rights);
  res = redirect_filter_as_owner(run, obey_in_child, &c, &result);
  if (res != ROUTE_OK) return res;
  DEBUG(D_ROUTE) if (result.message) debug_printf("Sieve error: %s\n", result.message);
  return redirect_filter_take(run, &result);
}
