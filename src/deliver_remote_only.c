/* SPDX-License-Identifier: GPL-2.0-or-later */
/* May a process without root deliver this message?  Floor: flows.
 *
 * A session of the daemon that holds a connection to the next host (callout with "hold") delivers over it, but only when everything about the message is
 * remote: a .forward file, a mailbox or a command would need the identity of its owner.  So the recipients are routed once for the answer alone;
 * nothing of that stays, nothing is logged, and in any doubt the answer is no. */
#include "deliver_priv.h"

static bool needs_identity(const struct transport *t) {
  return t->o.user.is_set || t->o.user.expand || t->o.group.is_set || t->o.group.expand;
}

bool deliver_is_remote(struct deliver_run *run, struct address *addr) {
  struct address *local = NULL, *remote = NULL, *children = NULL;
  struct route_ctx rc = {.x = &run->x, .local = &local, .remote = &remote, .children = &children};
  if (route_percent_hack(&rc, addr) != ROUTE_OK || route_address(&rc, addr) != ROUTE_OK) return false;
  return remote && !remote->next && !local && !children && remote->transport && !needs_identity(remote->transport);
}

bool deliver_is_all_remote(struct deliver_run *run) {
  struct address *addr = run->cfg->o.system_filter ? NULL : deliver_open_recipients(run);
  bool ok = addr != NULL;
  for (struct address *next; ok && addr; addr = next) {
    next = addr->next;
    addr->next = NULL;
    run->x.addr = addr;
    ok = deliver_is_remote(run, addr);
  }
  run->x.addr = NULL;
  return ok;
}
