/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to routers/: the drivers.  Floor: drivers. */
#ifndef ROUTERS_PRIV_H
#define ROUTERS_PRIV_H

#include "router.h"

extern const struct router_driver accept_router, dnslookup_router, ipliteral_router, iplookup_router, manualroute_router, queryprogram_router,
    redirect_router;

#endif
