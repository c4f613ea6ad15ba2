/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ${dlfunc: a function of a shared object.  Floor: policy.  Manual section 11.5.
 *
 * Built only with EXPAND_DLFUNC.  The object and the function are named by the configuration: tainted names are refused.  An object stays
 * loaded for the life of the process.  What the function answers is copied; it is as foreign as the arguments. */
#include "buildconfig.h"
#include "policy/expand/expand_priv.h"

#if CFG_EXPAND_DLFUNC
#include <dlfcn.h>

#include "os/log.h"
#include "os/process_use.h"

/* What a function returns; other values are errors and logged. */
enum { DL_OK = 0, DL_FAIL = 2, DL_FAIL_FORCED = 4 };

typedef int dl_function(unsigned char **yield, int argc, unsigned char **argv);

static bool dl_error(struct expand_ctx *x, const char *text) {
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s", text);
  return exp_fail(x, "%s", text);
}

static bool find_function(struct expand_ctx *x, const char *file, const char *name, dl_function **ret) {
  /* The library counts the opens of one object; it is never closed. */
  void *handle = dlopen(file, RTLD_LAZY);
  if (!handle) return dl_error(x, arena_printf(x->a, "dlopen \"%s\" failed: %s", file, dlerror()));
  (void)dlerror();
  void *symbol = dlsym(handle, name);
  const char *why = dlerror();
  if (why || !symbol) return dl_error(x, arena_printf(x->a, "dlsym \"%s\" in \"%s\" failed: %s", name, file, why ? why : "no address"));
  memcpy(ret, &symbol, sizeof *ret);
  return true;
}

bool exp_item_dlfunc(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs) {
  dl_function *function = NULL;
  unsigned char *argv[EXP_MAX_ARGS] = {NULL}, *yield = NULL;
  bool tainted = false;
  if (x->forbid.dlfunc) return exp_fail(x, "dynamically-loaded functions are not permitted");
  if (expand_taint_refused(x, args[0], "shared object") || expand_taint_refused(x, args[1], "function of shared object")) return false;
  process_use_up(); /* foreign code keeps what it likes, and loading it runs some of it */
  if (!find_function(x, args[0], args[1], &function)) return false;
  for (int i = 2; i < nargs; i++) {
    argv[i - 2] = (unsigned char *)arena_strdup(x->a, args[i]);
    tainted |= is_tainted(args[i]);
  }
  int rc = function(&yield, nargs - 2, argv);
  const char *text = yield ? (const char *)yield : "";
  if (rc == DL_OK) {
    strbuf_add_t(out, text, strlen(text), tainted ? TAINTED : UNTAINTED);
    return true;
  }
  if (!yield) text = "(no message)";
  if (rc == DL_FAIL_FORCED) return exp_fail_forced(x, "%s", text);
  if (rc != DL_FAIL) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "dlfunc{%s}{%s} failed (%d): %s", args[0], args[1], rc, text);
  return exp_fail(x, "%s", text);
}
#endif
