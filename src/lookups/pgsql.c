/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pgsql: SQL queries to PostgreSQL.  Floor: drivers.  Manual ch. 9.21-9.23, 9.25.
 *
 * The query may hold foreign text: quoting it is the configuration's duty (${quote_pgsql:...}), the lookup core tells of what was not.  Connections are
 * kept, and made anew once when the server has ended one that was idle.  A query that fails, or takes longer than ANSWER_TIMEOUT_SEC, is a temporary
 * failure, never "not found".  A result larger than RESULT_MAX is refused. */
#include <libpq-fe.h>
#include <poll.h>

#include "base/timeutil.h"
#include "lookups/lookups_priv.h"
#include "lookups/sql_servers.h"

enum { RESULT_MAX = 16 << 20, ANSWER_TIMEOUT_SEC = 300 };

static void close_connection(void *connection) { PQfinish(connection); }

static enum outcome open_pool(struct expand_ctx *x UNUSED, const char *file UNUSED, void **ret_handle, const char **ret_error UNUSED) {
  *ret_handle = server_pool_new(close_connection);
  return OUTCOME_OK;
}

static void close_pool(void *handle) { server_pool_free(handle); }

static enum outcome failed(struct sql_question *q, const char *what, const char *why) {
  struct str text = str_rtrim(str_c(why));
  q->ret->error = arena_printf_t(q->x->a, UNTAINTED, "PGSQL%s: %.*s", what, STR_FMT(text));
  return OUTCOME_DEFER;
}

/* The library names a socket "DIR/.s.PGSQL.PORT" and wants both apart. */
static bool cut_socket(struct expand_ctx *x, struct str socket, const char **ret_dir, const char **ret_port) {
  static const struct str name = {"/.s.PGSQL.", 10};
  for (size_t i = socket.n; i-- > 0;) {
    if (socket.p[i] != '/') continue;
    struct str tail = str_n(socket.p + i, socket.n - i);
    if (!str_starts(tail, name)) return false;
    *ret_dir = str_dup(x->a, str_n(socket.p, i));
    *ret_port = str_dup(x->a, str_n(tail.p + name.n, tail.n - name.n));
    return true;
  }
  return false;
}

static PGconn *connect_to(struct sql_question *q) {
  struct expand_ctx *x = q->x;
  const char *host = sql_text(x, q->host.name), *port = sql_text(x, q->host.port);
  if (q->host.socket.n && !cut_socket(x, q->host.socket, &host, &port)) {
    q->ret->error = arena_printf(x->a, "PGSQL invalid filename for socket: %.*s", STR_FMT(q->host.socket));
    return NULL;
  }
  const char *const names[] = {"host", "port", "dbname", "user", "password", "connect_timeout", NULL};
  const char *const values[] = {host, port, q->parts[1], q->parts[2], q->parts[3], "60", NULL};
  PGconn *pg = PQconnectdbParams(names, values, 0);
  if (!pg || PQstatus(pg) != CONNECTION_OK) {
    (void)failed(q, " connection failed", pg ? PQerrorMessage(pg) : "no memory");
    PQfinish(pg);
    return NULL;
  }
  server_pool_add(q->pool, q->item, pg);
  return pg;
}

/* Wait until all of an answer is there.  False: it does not come. */
static bool await(PGconn *pg) {
  int64_t until = time_mono_ms() + ANSWER_TIMEOUT_SEC * 1000;
  while (PQisBusy(pg)) {
    struct pollfd p = {.fd = PQsocket(pg), .events = POLLIN};
    int64_t left = until - time_mono_ms();
    if (left <= 0 || poll(&p, 1, (int)left) == 0 || !PQconsumeInput(pg)) return false;
  }
  return true;
}

/* The result of a query on this connection; of several statements the last that gave one, as PQexec() does.  NULL: none came. */
static PGresult *carry_out(PGconn *pg, const char *query) {
  PGresult *last = NULL;
  if (!PQsendQuery(pg, query)) return NULL;
  for (;;) {
    if (!await(pg)) {
      PQclear(last);
      return NULL;
    }
    PGresult *r = PQgetResult(pg);
    if (!r) return last;
    PQclear(last);
    last = r;
  }
}

static void add_row(PGresult *r, int row, struct strbuf *text) {
  int columns = PQnfields(r);
  for (int i = 0; i < columns; i++) {
    struct str value = str_c(PQgetvalue(r, row, i));
    if (columns > 1) server_item_add_field(text, PQfname(r, i), value);
    else strbuf_addstr(text, value);
  }
}

static enum outcome take_rows(struct sql_question *q, PGresult *r) {
  struct strbuf text = strbuf_new_t(q->x->a, lookup_found_taint(&lookup_pgsql, q->query), 64);
  int rows = PQntuples(r);
  for (int i = 0; i < rows && text.n <= RESULT_MAX; i++) {
    if (i > 0) strbuf_addc(&text, '\n');
    add_row(r, i, &text);
  }
  if (text.n > RESULT_MAX) {
    q->is_final = true;
    return failed(q, "", "result too large");
  }
  q->ret->data = text.p;
  return rows ? OUTCOME_OK : OUTCOME_FAIL;
}

static enum outcome judge(struct sql_question *q, PGresult *r) {
  switch (PQresultStatus(r)) {
  case PGRES_TUPLES_OK: return take_rows(q, r);
  case PGRES_COMMAND_OK:
  case PGRES_EMPTY_QUERY:
    q->ret->no_cache = q->ret->forget_all = true;
    if (!*PQcmdTuples(r)) return OUTCOME_FAIL; /* nothing that has rows */
    q->ret->data = arena_strdup_t(q->x->a, PQcmdTuples(r), UNTAINTED);
    return OUTCOME_OK;
  default:
    q->ret->error = arena_printf(q->x->a, "PGSQL: query failed: %s (%s) (%s)", arena_strdup_t(q->x->a, PQresultErrorMessage(r), UNTAINTED),
                                 PQresStatus(PQresultStatus(r)), q->query);
    return OUTCOME_DEFER;
  }
}

static enum outcome ask(struct sql_question *q) {
  PGconn *pg = server_pool_find(q->pool, q->item);
  PGresult *r = pg ? carry_out(pg, q->query) : NULL;
  if (pg && (!r || PQstatus(pg) == CONNECTION_BAD)) { /* it was idle too long */
    PQclear(r);
    r = NULL;
    server_pool_drop(q->pool, pg);
    pg = NULL;
  }
  if (!pg) {
    pg = connect_to(q);
    if (!pg) return OUTCOME_DEFER;
    r = carry_out(pg, q->query);
  }
  enum outcome o = r ? judge(q, r) : failed(q, ": query failed", *PQerrorMessage(pg) ? PQerrorMessage(pg) : "no answer in time");
  if (!r || PQstatus(pg) == CONNECTION_BAD) server_pool_drop(q->pool, pg);
  PQclear(r);
  return o;
}

static const char *servers(const struct main_options *o) { return o->pgsql_servers; }

static const struct sql_kind kind = {.title = "PostgreSQL", .item_title = "pgSQL", .option = "pgsql_servers", .parts = 4, .required = 4, .servers = servers, .ask = ask};

static enum outcome find(struct expand_ctx *x, void *handle, const char *file UNUSED, const char *key, const char *opts, struct lookup_result *ret) {
  return sql_ask_servers(&kind, x, handle, key, opts, ret);
}

/* A quote is doubled: standard strings of SQL know no backslash. */
static const char *quote(struct arena *a, const char *s, const char *opt) { return opt ? NULL : sql_quote(a, s, '\''); }

const struct lookup_driver lookup_pgsql = {
  .name = "pgsql", .flags = LOOKUP_QUERY, .open = open_pool, .find = find, .close = close_pool, .quote = quote, .quoter = "pgsql", .hide = sql_hide};
