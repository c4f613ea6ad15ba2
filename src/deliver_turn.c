/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which recipients of a message go over a connection that ATRN turned round (deliver.h).  Floor: flows.  RFC 2645.
 *
 * Domains are compared as names: no list, no lookup.  Each candidate is routed once for the answer alone, so that what needs somebody's identity, is
 * redirected or has no route now stays what it was: a session has no root, and a customer's call must not make his mail bounce. */
#include "deliver_priv.h"

#include "os/debug.h"

bool deliver_turn_wants(const char *const *domains, const char *address) {
  struct str local, domain;
  if (!addr_split(address, &local, &domain)) return false;
  for (; *domains; domains++)
    if (str_eqic_c(domain, *domains)) return true;
  return false;
}

struct address *deliver_turn_recipients(struct deliver_run *run) {
  struct address *list = deliver_open_recipients(run), *trial = deliver_open_recipients(run), **link = &list;
  for (struct address *t = trial, *next; t; t = next) {
    struct address *a = *link;
    next = t->next;
    t->next = NULL;
    run->x.addr = t;
    bool wanted = deliver_turn_wants(run->o->turn->domains, a->address), goes = wanted && deliver_is_remote(run, t);
    DEBUG(D_DELIVER) if (wanted && !goes) debug_printf("%s is not simply routed to a host: not for ATRN\n", a->address);
    if (goes) link = &a->next;
    else *link = a->next;
  }
  run->x.addr = NULL;
  return list;
}
