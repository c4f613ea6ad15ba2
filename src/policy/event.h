/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events: event_action is expanded where something happens.  Floor: policy.  Manual ch. 61. */
#ifndef POLICY_EVENT_H
#define POLICY_EVENT_H

#include "policy/expand.h"

/* Expand action (NULL: nothing happens) with $event_name, $event_data and, for deferrals, $event_defer_errno set.  where names the owner of the
 * option in the log line of a failed expansion ("failed to expand event_action NAME in WHERE: ..."): the transport's name or "main".
 * The result when it is a text that is not empty, which asks for something else to happen, else NULL. */
const char *event_raise(struct expand_ctx *x, const char *action, const char *where, const char *name, const char *data, int defer_errno);

#endif
