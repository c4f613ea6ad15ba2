/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events.  Floor: policy.  Manual ch. 61.
 *
 * What an action does is the administrator's business; what goes wrong in it is logged and changes nothing else.  Event data may hold a remote
 * host's bytes: it is only ever the value of a variable. */
#include "policy/event.h"

#include "os/debug.h"
#include "os/log.h"

const char *event_raise(struct expand_ctx *x, const char *action, const char *where, const char *name, const char *data, int defer_errno) {
  if (!action || !*action) return NULL;
  DEBUG(D_DELIVER) debug_printf("Event(%s): event_action=|%s| data=|%s|\n", name, action, data ? data : "");
  x->event_name = name;
  x->event_data = data;
  x->event_defer_errno = defer_errno;
  const char *text = expand_string(x, action);
  x->event_name = x->event_data = NULL;
  x->event_defer_errno = 0;
  if (text) return *text ? text : NULL;
  if (!x->forced_fail)
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC | LOG_MULTILINE, "failed to expand event_action %s in %s: %s\n\n", name, where, x->error ? x->error : "");
  x->forced_fail = false;
  return NULL;
}
