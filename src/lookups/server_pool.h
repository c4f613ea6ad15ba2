/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections that a lookup driver keeps, by the name of the server.  Floor: drivers.
 *
 * One pool is the handle of one driver (struct lookup_driver's open and close); it ends with lookup_tidy().  A connection belongs to the process that
 * made it: a pool that a child finds is forgotten, not closed, for two processes must not talk in one conversation. */
#ifndef LOOKUPS_SERVER_POOL_H
#define LOOKUPS_SERVER_POOL_H

#include "base/arena.h"

struct server_pool;

/* close_connection ends one connection and frees what it is made of. */
struct server_pool *server_pool_new(void (*close_connection)(void *connection));
/* End all connections.  NULL is allowed. */
void server_pool_free(struct server_pool *p);
/* The connection kept for this server, NULL: none. */
void *server_pool_find(struct server_pool *p, const char *server);
/* Keep it.  The oldest is closed when there are too many. */
void server_pool_add(struct server_pool *p, const char *server, void *connection);
/* Close one that is no longer of use. */
void server_pool_drop(struct server_pool *p, const void *connection);

#endif
