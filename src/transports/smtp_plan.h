/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a delivery by the smtp transport would do, told for exim -bt --plan.  Floor: drivers. */
#ifndef TRANSPORTS_SMTP_PLAN_H
#define TRANSPORTS_SMTP_PLAN_H

#include "transport.h"

/* Lines for each host of a routed address: what is remembered of it, the first flight, round trips.  "" for other transports.  Arena of ctx. */
const char *smtp_plan_text(struct expand_ctx *ctx, struct transport *t, struct address *addr);

#endif
