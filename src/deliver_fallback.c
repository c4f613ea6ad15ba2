/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fallback hosts: what could not be delivered to its own hosts is put together anew when all else has been tried.  Floor: flows.
 * Manual ch. 15 and 30 (fallback_hosts).
 *
 * The transport says which recipients may go there (may_fall_back): those that were put off, not those that were refused.  The queue is worked
 * through newest first, as in Exim. */
#include "deliver_priv.h"

#include "os/log.h"

bool deliver_has_fallback(const struct address *addr) {
  if (addr->is_fallback || addr->we_are_an_mx) return false;
  return addr->fallback_hosts || (addr->transport && deliver_transport_str(addr->transport, "fallback_hosts"));
}

/* The transport's own list, for recipients without one.  A forced failure means none; so does what cannot be expanded, and is told. */
static struct host *transport_fallback(struct deliver_run *run, struct address *batch) {
  const struct transport *t = batch->transport;
  if (!t->driver->fallback_of) return NULL;
  (void)deliver_new_delivery(run, batch->transport, batch); /* sets what expansions see */
  return t->driver->fallback_of(&run->x, t);
}

struct address *deliver_take_fallback(struct deliver_run *run, struct address *batch) {
  struct host *own = NULL;
  bool asked = false;
  for (struct address *addr = batch; addr; addr = addr->next) {
    if (addr->result != OUTCOME_DEFER || !addr->may_fall_back || !deliver_has_fallback(addr) || addr->fallback_hosts) continue;
    if (!asked) own = transport_fallback(run, batch);
    asked = true;
    addr->fallback_hosts = own;
  }
  struct address *left = NULL, **tail = &left;
  for (struct address *addr = batch, *next; addr; addr = next) {
    next = addr->next;
    addr->next = NULL;
    if (addr->result == OUTCOME_DEFER && addr->may_fall_back && deliver_has_fallback(addr) && addr->fallback_hosts) {
      addr->host_list = addr->fallback_hosts;
      addr->is_fallback = true;
      addr->next = run->fallback;
      run->fallback = addr;
      continue;
    }
    *tail = addr;
    tail = &addr->next;
  }
  return left;
}
