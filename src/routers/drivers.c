/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The routers of this build, in the order -bV shows them.  Floor: drivers. */
#include "router.h"
#include "routers/routers_priv.h"

const struct router_driver *const router_drivers[] = {&accept_router,      &dnslookup_router,    &ipliteral_router,    &iplookup_router,
                                                      &manualroute_router, &queryprogram_router, &redirect_router,
                                                      NULL};
