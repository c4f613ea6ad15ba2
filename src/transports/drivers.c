/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one list of transport drivers, and what they share.  Floor: drivers.  Manual ch. 24.
 *
 * A driver that is not built is absent here; the configuration reader then refuses its name. */
#include "transports/drivers.h"

#include "buildconfig.h"
#include "policy/expand.h"

const struct transport_driver *const transport_drivers[] = {
  &appendfile_transport, &autoreply_transport, &lmtp_transport, &pipe_transport,
#if CFG_EXPERIMENTAL_QUEUEFILE
  &queuefile_transport,
#endif
  &smtp_transport, NULL,
};

void transports_preload(const struct config *c) {
  for (const struct transport *t = c->transports; t; t = t->next)
    if (t->driver->preload) t->driver->preload(c, t);
}

bool transport_size_refused(struct delivery *d) {
  const char *text = d->transport->o.message_size_limit;
  int64_t limit = 0;
  if (!text || strcmp(text, "0") == 0) return false;
  if (!expand_int(d->x, text, &limit)) {
    const char *why = d->x->error ? d->x->error : "not a number";
    transport_set_results(d->addrs, OUTCOME_DEFER, ERRNO_EXPANDFAIL,
                          arena_printf(d->arena, "failed to expand message_size_limit in %s transport: %s", d->transport->name, why));
    return true;
  }
  if (limit <= 0 || d->msg->message_size <= limit) return false;
  transport_set_results(d->addrs, OUTCOME_FAIL, 0, arena_printf(d->arena, "message is too big (transport limit = %lld)", (long long)limit));
  return true;
}
