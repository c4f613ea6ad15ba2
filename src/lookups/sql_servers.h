/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What lookups in database servers have in common: which servers are asked, in turn.  Floor: drivers.  Manual ch. 9.22, 9.23. */
#ifndef LOOKUPS_SQL_SERVERS_H
#define LOOKUPS_SQL_SERVERS_H

#include "formats/server_item.h"
#include "lookups/server_pool.h"
#include "policy/search.h"

/* One question to one server. */
struct sql_question {
  struct expand_ctx *x;
  struct server_pool *pool;
  const char *query;
  const char *name;           /* of the server as it may be shown: the item without its password */
  const char *item;           /* the whole item, what the connection is kept under */
  const char *parts[SERVER_ITEM_PARTS_MAX]; /* host, database, user, password; redis: host, database, password */
  struct server_item_host host;
  struct lookup_result *ret;
  bool is_final;              /* set with OUTCOME_DEFER: no other server need be asked */
};

struct sql_kind {
  const char *title;          /* "PostgreSQL" */
  const char *item_title;     /* the same in what is said of items: "pgSQL" */
  const char *option;         /* "mysql_servers" */
  int parts, required;        /* of an item; those that are not required may be left out at its end */
  const char *(*servers)(const struct main_options *o);
  /* OK with q->ret->data, FAIL: answered, nothing found; DEFER with q->ret->error: the next server is asked, unless is_final. */
  enum outcome (*ask)(struct sql_question *q);
};

/* Ask the servers of the option, or those named with the lookup or in front of its query, until one has answered. */
enum outcome sql_ask_servers(const struct sql_kind *kind, struct expand_ctx *x, struct server_pool *pool, const char *query, const char *opts,
                             struct lookup_result *ret);
/* Quoting of mysql and pgsql: a single quote behind the character given, " and \ behind backslashes, \n \t \r \b. */
const char *sql_quote(struct arena *a, const char *s, char before_quote);
/* The query without the servers, and so the passwords, that may stand in front of it. */
const char *sql_hide(struct arena *a, const char *query);

/* The slice as a C string in x->a; NULL when it is empty. */
const char *sql_text(struct expand_ctx *x, struct str s);

#endif
