/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ${perl: a subroutine of the embedded Perl interpreter.  Floor: policy.  Manual ch. 12.
 *
 * Built only with EXIM_PERL.  The interpreter starts at the first call.  The name of the subroutine is the configuration's: a tainted one is refused.
 * What it answers is tainted when it has seen a tainted argument, or tainted text through Exim::expand_string(). */
#include "policy/expand/expand_perl.h"

#include "buildconfig.h"
#include "policy/expand/expand_priv.h"

#if CFG_EXIM_PERL
#include "os/debug.h"
#include "os/log.h"
#include "os/process_use.h"
#include "policy/expand/perl_interpreter.h"

struct perl_call {
  struct expand_ctx *x;
  bool tainted;
};

static const char *expand_for_perl(void *context, const char *text, const char **ret_error) {
  struct perl_call *call = context;
  if (!call) { /* perl_startup: there is nothing yet to expand with */
    *ret_error = "expansion is not possible in perl_startup";
    return NULL;
  }
  const char *result = expand_string(call->x, arena_strdup(call->x->a, text));
  if (result) call->tainted |= is_tainted(result);
  else if (!call->x->forced_fail) *ret_error = call->x->error ? call->x->error : "unknown error";
  call->x->forced_fail = false;
  return result;
}

static void log_for_perl(const char *text) { log_write(LS_ALWAYS, LOG_MAIN, "%s", text); }

static void debug_for_perl(const char *text) { if (debug_selector) debug_printf("%s", text); }

bool expand_perl_start(struct arena *a, const struct config *cfg, const char **ret_error) {
  static const struct perl_callbacks callbacks = {.expand = expand_for_perl, .log = log_for_perl, .debug = debug_for_perl};
  if (!cfg->o.perl_startup) return true;
  const char *error = NULL;
  if (perl_interpreter_start(cfg->o.perl_startup, cfg->o.perl_taintmode, &callbacks, &error)) return true;
  *ret_error = arena_printf(a, "error in perl_startup code: %s", error);
  return false;
}

bool exp_item_perl(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs) {
  const char *text = NULL, *error;
  if (x->forbid.perl) return exp_fail(x, "Perl calls are not permitted");
  if (!x->cfg->o.perl_startup) return exp_fail(x, "A setting of perl_startup is needed when using the Perl interpreter");
  if (expand_taint_refused(x, args[0], "Perl subroutine")) return false;
  process_use_up(); /* its variables stay, and what perl_startup did */
  if (!expand_perl_start(x->a, x->cfg, &error)) return exp_fail(x, "%s", error);
  struct perl_call call = {.x = x};
  for (int i = 1; i < nargs; i++) call.tainted |= is_tainted(args[i]);
  enum perl_result result = perl_interpreter_call(args[0], nargs - 1, args + 1, &call, &text);
  if (result == PERL_UNDEF) return exp_fail_forced(x, "Perl subroutine \"%s\" returned undef to force failure", args[0]);
  if (result == PERL_DIED) return exp_fail(x, "%s", arena_strdup_t(x->a, text, call.tainted ? TAINTED : UNTAINTED));
  strbuf_add_t(out, text, strlen(text), call.tainted ? TAINTED : UNTAINTED);
  return true;
}
#else
bool expand_perl_start(struct arena *a UNUSED, const struct config *cfg UNUSED, const char **ret_error UNUSED) { return true; }

bool exp_item_perl(struct expand_ctx *x, struct strbuf *out UNUSED, const char *const *args UNUSED, int nargs UNUSED) {
  return exp_fail(x, "\"${perl\" is not supported by this build");
}
#endif
