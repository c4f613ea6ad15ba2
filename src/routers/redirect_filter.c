/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Filters in redirect routers.  Floor: drivers.  Manual ch. 22, "Forbidding filtering"; filter document.
 *
 * A user's filter reads files, runs commands and writes its log with that user's rights and no others: it is obeyed in a child process of that user,
 * which sends back what it decided as bytes.  Those bytes are hostile (filter_wire.c); the deliveries they ask for run as the same user.
 * Any failure of the filter defers the address, unless skip_syntax_errors passes over it. */
#include <string.h>
#include <unistd.h>

#include "filters/filter.h"
#include "message.h"
#include "os/priv.h"
#include "routers/redirect_priv.h"

struct filter_child {
  struct filter_env env;
  const struct filter_command *commands;
};

static struct filter_result obey_in_child(void *ctx) {
  struct filter_child *c = ctx;
  return filter_obey(&c->env, c->commands);
}

static enum route_result filter_error(struct redirect_run *run, bool is_temporary, const char *what) {
  struct arena *a = redirect_arena(run);
  if (run->ob->skip_syntax_errors && !is_temporary) return redirect_bad(run, what);
  return redirect_defer(run, ERRNO_BADREDIRECT, arena_printf(a, "error in filter %s: %s", run->is_file ? "file" : "data", what));
}

static struct expand_forbid forbidden(const struct redirect_options *ob) {
  return (struct expand_forbid){.dlfunc = ob->forbid_filter_dlfunc, .exists = ob->forbid_filter_existstest, .lookup = ob->forbid_filter_lookup,
                                .perl = ob->forbid_filter_perl, .readfile = ob->forbid_filter_readfile,
                                .readsocket = ob->forbid_filter_readsocket, .run = ob->forbid_filter_run};
}

enum route_result redirect_filter_as_owner(struct redirect_run *run, struct filter_result (*obey)(void *ctx), void *ctx,
                                           struct filter_result *ret) {
  struct expand_ctx *x = run->rc->x;
  const struct address *addr = run->addr;
  uid_t uid = addr->uid_set ? addr->uid : x->cfg->exim_uid;
  gid_t gid = addr->gid_set ? addr->gid : x->cfg->exim_gid;
  if (!priv_can_raise() && !addr->uid_set) uid = geteuid(), gid = getegid();
  bool hidden = x->recipients_hidden;
  x->recipients_hidden = true;
  x->forbid = forbidden(run->ob);
  const char *error = filter_run_as(x->a, uid, gid, obey, ctx, ret);
  x->forbid = (struct expand_forbid){0};
  x->recipients_hidden = hidden;
  return error ? redirect_defer(run, ERRNO_BADREDIRECT, error) : ROUTE_OK;
}

static enum route_result obey(struct redirect_run *run, const struct filter_command *commands, const struct filter_rights *rights,
                              struct filter_result *ret) {
  struct expand_ctx *x = run->rc->x;
  struct address *addr = run->addr;
  const char *qualify;
  enum route_result res = redirect_qualify_domain(run, &(struct redirect_item){0}, &qualify);
  if (res != ROUTE_OK) return res;
  struct filter_child c = {
    .commands = commands,
    .env = {.x = x, .rights = *rights, .forbid_logwrite = run->ob->forbid_filter_logwrite, .is_only_asked = run->rc->verify != VERIFY_NONE,
            .forbid_reply = run->ob->forbid_filter_reply,
            .qualify_domain = qualify,
            .own_address = addr->address, .home = run->ob->filter_prepend_home ? x->home : NULL}};
  return redirect_filter_as_owner(run, obey_in_child, &c, ret);
}

/* ---- from actions to children ----------------------------------------------------------------------------- */

/* noerror: failures are for nobody, but the sender the receiving host sees stays. */
static void own_errors_to(struct address *child, const struct filter_action *act) {
  child->prop.ignore_error = child->prop.is_noerror = act->ignore_error;
  if (act->ignore_error || !act->errors_to) return;
  child->has_own_errors_to = true;
  child->prop.errors_address = act->errors_to;
}

static enum route_result take_action(struct redirect_run *run, const struct filter_action *act) {
  struct arena *a = redirect_arena(run);
  struct redirect_item it = {.text = act->text, .is_qualified = true};
  struct address *child = NULL;
  enum route_result res = ROUTE_OK;
  switch (act->kind) {
    case ACTION_DELIVER: res = redirect_item_address(run, &it, &child); break;
    case ACTION_SAVE:
      if (*act->text != '/') it.text = arena_printf(a, ADDRESS_SAVE "%s", act->text);
      res = redirect_item_pseudo(run, &it, &child);
      break;
    case ACTION_PIPE:
      it.text = *act->text == '|' ? act->text : arena_printf(a, "|%s", act->text);
      res = redirect_item_pseudo(run, &it, &child);
      break;
    case ACTION_MAIL:
      it.text = filter_reply_name(a, act->mail[MAIL_TO]);
      res = redirect_item_pseudo(run, &it, &child);
      break;
    case ACTION_HEADER_ADD: case ACTION_HEADER_REMOVE: case ACTION_KINDS: break; /* only in system filters */
  }
  if (!child) return res;
  filter_fill_address(a, act, child);
  if (child->reply) child->reply->forbid = forbidden(run->ob);
  own_errors_to(child, act);
  if (act->kind == ACTION_MAIL) (void)filter_refuse_bad_reply(child);
  return res;
}

enum route_result redirect_filter_take(struct redirect_run *run, const struct filter_result *r) {
  enum route_result res = ROUTE_OK;
  for (const struct filter_action *act = r->actions; act && res == ROUTE_OK; act = act->next) res = take_action(run, act);
  run->is_finished = res == ROUTE_OK && r->is_significant;
  run->is_unseen = res == ROUTE_OK && !r->is_significant;
  return res;
}

/* What a filter set up before it failed or froze is delivered all the same: manual 47.5.  Addresses of a failed parent, which is done
 * with, become recipients when they have to wait. */
static enum route_result take_before_end(struct redirect_run *run, const struct filter_result *r) {
  enum route_result res = redirect_filter_take(run, r);
  run->is_finished = run->is_unseen = false;
  run->keeps_children = res == ROUTE_OK;
  for (struct address *c = run->generated; c && r->end == FILTER_END_FAIL; c = c->next)
    if (!c->is_file && !c->is_pipe && !c->is_reply) redirect_make_one_time(run, c);
  return res;
}

/* Somebody has looked at the message and let it go: the address is the next router's. */
static enum route_result thawed(struct redirect_run *run) {
  run->addr->user_message = ""; /* why it was frozen is for the log */
  if (!run->made) return ROUTE_DECLINE;
  run->addr->message = NULL;
  run->is_unseen = true;
  return ROUTE_OK;
}

static enum route_result ended(struct redirect_run *run, const struct filter_result *r) {
  struct address *addr = run->addr;
  if (r->end == FILTER_END_FAIL || r->end == FILTER_END_FREEZE) {
    enum route_result res = take_before_end(run, r);
    if (res != ROUTE_OK) return res;
  }
  switch (r->end) {
    case FILTER_END_DEFER:
      addr->message = addr->user_message = r->message;
      addr->basic_errno = ERRNO_UNKNOWNERROR;
      return ROUTE_DEFER;
    case FILTER_END_FAIL:
      addr->message = addr->user_message = r->message && *r->message ? r->message : "delivery rejected by filter";
      addr->pass_message = true;
      return ROUTE_FAIL;
    case FILTER_END_FREEZE:
      addr->message = r->message;
      if (run->rc->x->msg && run->rc->x->msg->manual_thaw) return thawed(run);
      addr->basic_errno = ERRNO_UNKNOWNERROR;
      addr->special_action = SPECIAL_FREEZE;
      return ROUTE_DEFER;
    case FILTER_BROKEN: return filter_error(run, r->is_temporary, r->message ? r->message : "");
    case FILTER_DONE: case FILTER_END_KINDS: break;
  }
  return ROUTE_OK;
}

enum route_result redirect_run_filter(struct redirect_run *run, struct str text, enum redirect_filter kind) {
  const struct redirect_options *ob = run->ob;
  struct filter_rights rights = {.allow_defer = ob->allow_defer, .allow_fail = ob->allow_fail, .allow_freeze = ob->allow_freeze};
  struct filter_result result = {0};
  const char *error;
  bool is_exim = kind == REDIRECT_EXIM_FILTER;
  if (!ob->allow_filter) return filter_error(run, true, "filtering not enabled");
  if (is_exim ? ob->forbid_exim_filter : ob->forbid_sieve_filter)
    return filter_error(run, true, is_exim ? "Exim filtering not enabled" : "Sieve filtering not enabled");
  if (!is_exim) return redirect_run_sieve(run, text);
  const struct filter_command *commands = filter_parse(redirect_arena(run), text, &rights, &error);
  if (error) return filter_error(run, false, error);
  run->is_unlogged = run->addr->uid_set && run->addr->uid != run->rc->x->cfg->exim_uid;
  enum route_result res = obey(run, commands, &rights, &result);
  if (res != ROUTE_OK) return res;
  if (result.end != FILTER_DONE) return ended(run, &result);
  return redirect_filter_take(run, &result);
}
