/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections that a lookup driver keeps.  Floor: drivers.  The header says who owns what.
 *
 * The number of connections is bounded: server names may be made of foreign text. */
#include "lookups/server_pool.h"

#include <string.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 16 };

struct kept {
  struct kept *next; /* newest first */
  struct arena *arena;
  const char *server;
  void *connection;
};

struct server_pool {
  struct arena *arena;
  void (*close_connection)(void *connection);
  struct kept *first;
  int count;
  pid_t owner;
};

struct server_pool *server_pool_new(void (*close_connection)(void *connection)) {
  struct arena *a = arena_new("lookup servers");
  struct server_pool *p = ARENA_NEW(a, struct server_pool);
  *p = (struct server_pool){.arena = a, .close_connection = close_connection, .owner = getpid()};
  return p;
}

static void end_at(struct server_pool *p, struct kept **pp) {
  struct kept *k = *pp;
  *pp = k->next;
  p->count--;
  if (p->owner == getpid()) p->close_connection(k->connection);
  arena_free(k->arena);
}

/* What a parent opened is not for this process. */
static void forget_foreign(struct server_pool *p) {
  if (p->owner == getpid()) return;
  while (p->first) end_at(p, &p->first);
  p->owner = getpid();
}

void server_pool_free(struct server_pool *p) {
  if (!p) return;
  while (p->first) end_at(p, &p->first);
  arena_free(p->arena);
}

void *server_pool_find(struct server_pool *p, const char *server) {
  forget_foreign(p);
  for (const struct kept *k = p->first; k; k = k->next)
    if (strcmp(k->server, server) == 0) return k->connection;
  return NULL;
}

void server_pool_add(struct server_pool *p, const char *server, void *connection) {
  forget_foreign(p);
  if (p->count >= CONNECTIONS_MAX) {
    struct kept **pp = &p->first;
    while ((*pp)->next) pp = &(*pp)->next;
    end_at(p, pp);
  }
  struct arena *a = arena_new("lookup server");
  struct kept *k = ARENA_NEW(a, struct kept);
  *k = (struct kept){.next = p->first, .arena = a, .server = arena_strdup(a, server), .connection = connection};
  p->first = k;
  p->count++;
}

void server_pool_drop(struct server_pool *p, const void *connection) {
  for (struct kept **pp = &p->first; *pp; pp = &(*pp)->next) {
    if ((*pp)->connection != connection) continue;
    end_at(p, pp);
    return;
  }
}
