/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The accept router: takes every address that passes its preconditions.  Floor: drivers.  Manual ch. 16. */
#include "router.h"
#include "routers/routers_priv.h"

static enum route_result accept_route(struct route_ctx *rc, struct router *r, struct address *addr) {
  enum route_result res = route_accept_common(rc, r, addr);
  if (res != ROUTE_OK) return res;
  route_queue_add(rc, r, addr);
  return ROUTE_OK;
}

const struct router_driver accept_router = {.name = "accept", .init = route_init_needs_transport, .route = accept_route};
