/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mysql: SQL queries to MariaDB or MySQL.  Floor: drivers.  Manual ch. 9.21-9.24.
 *
 * The query may hold foreign text: quoting it is the configuration's duty (${quote_mysql:...}), the lookup core tells of what was not.  Connections are
 * kept, and made anew once when the server has ended one that was idle.  A query that fails is a temporary failure, never "not found".  A result larger
 * than RESULT_MAX is refused. */
#include <mysql.h>

#include "lookups/lookups_priv.h"
#include "lookups/sql_servers.h"

enum { RESULT_MAX = 16 << 20, CONNECT_TIMEOUT_SEC = 60, ANSWER_TIMEOUT_SEC = 300, SERVER_GONE = 2006, SERVER_LOST = 2013 };

static void close_connection(void *connection) {
  mysql_close(connection);
}

static enum outcome open_pool(struct expand_ctx *x UNUSED, const char *file UNUSED, void **ret_handle, const char **ret_error UNUSED) {
  *ret_handle = server_pool_new(close_connection);
  return OUTCOME_OK;
}

static void close_pool(void *handle) { server_pool_free(handle); }

static enum outcome failed(struct sql_question *q, const char *what, MYSQL *my) {
  q->ret->error = arena_printf_t(q->x->a, UNTAINTED, "MYSQL%s: %s", what, mysql_error(my));
  return OUTCOME_DEFER;
}

static MYSQL *connect_to(struct sql_question *q) {
  struct expand_ctx *x = q->x;
  MYSQL *my = mysql_init(NULL);
  unsigned connect_sec = CONNECT_TIMEOUT_SEC, answer_sec = ANSWER_TIMEOUT_SEC;
  int port = 0;
  const char *group = sql_text(x, q->host.group), *name = sql_text(x, q->host.name);
  if (!my) {
    q->ret->error = "MYSQL: no memory";
    return NULL;
  }
  if (q->host.port.n && (!str_parse_int(q->host.port, &port) || port < 1 || port > 65535)) {
    q->ret->error = arena_printf(x->a, "MYSQL: wrong port in %s", q->name);
    mysql_close(my);
    return NULL;
  }
  (void)mysql_options(my, MYSQL_READ_DEFAULT_GROUP, group ? group : "exim");
  (void)mysql_options(my, MYSQL_OPT_CONNECT_TIMEOUT, &connect_sec);
  (void)mysql_options(my, MYSQL_OPT_READ_TIMEOUT, &answer_sec);
  (void)mysql_options(my, MYSQL_OPT_WRITE_TIMEOUT, &answer_sec);
  const char *database = *q->parts[1] ? q->parts[1] : NULL;
  if (!mysql_real_connect(my, name, q->parts[2], q->parts[3], database, (unsigned)port, sql_text(x, q->host.socket), CLIENT_MULTI_RESULTS)) {
    (void)failed(q, " connection failed", my);
    mysql_close(my);
    return NULL;
  }
  server_pool_add(q->pool, q->item, my);
  return my;
}

/* Carry out the query on the connection that is kept, or on a new one. */
static MYSQL *carry_out(struct sql_question *q, bool *ret_failed) {
  MYSQL *my = server_pool_find(q->pool, q->item);
  *ret_failed = false;
  if (my) {
    if (mysql_real_query(my, q->query, strlen(q->query)) == 0) return my;
    if (mysql_errno(my) != SERVER_GONE && mysql_errno(my) != SERVER_LOST) {
      *ret_failed = true;
      return my;
    }
    server_pool_drop(q->pool, my);
  }
  my = connect_to(q);
  *ret_failed = my && mysql_real_query(my, q->query, strlen(q->query)) != 0;
  return my;
}

/* A value of one column stands alone, NULL is empty.  True: there was a value. */
static bool add_row(MYSQL_RES *result, MYSQL_ROW row, struct strbuf *text) {
  unsigned columns = mysql_num_fields(result);
  const unsigned long *lengths = mysql_fetch_lengths(result);
  const MYSQL_FIELD *fields = mysql_fetch_fields(result);
  for (unsigned i = 0; i < columns; i++) {
    struct str value = row[i] ? str_n(row[i], strnlen(row[i], lengths[i])) : STR_NULL;
    if (columns > 1) server_item_add_field(text, fields[i].name, value);
    else if (value.n) strbuf_addstr(text, value);
  }
  return columns > 1 || row[0];
}

/* The rows of an answer that has some columns. */
static enum outcome take_rows(struct sql_question *q, MYSQL *my, MYSQL_RES *result) {
  struct strbuf text = strbuf_new_t(q->x->a, lookup_found_taint(&lookup_mysql, q->query), 64);
  MYSQL_ROW row;
  bool any = false;
  while ((row = mysql_fetch_row(result)) != NULL) {
    if (any) strbuf_addc(&text, '\n');
    any = add_row(result, row, &text) || any;
    if (text.n <= RESULT_MAX) continue;
    q->ret->error = arena_printf_t(q->x->a, UNTAINTED, "MYSQL: result larger than %d bytes", RESULT_MAX);
    q->is_final = true;
    return OUTCOME_DEFER;
  }
  if (mysql_errno(my)) return failed(q, ": lookup result failed", my);
  if (!any) return OUTCOME_FAIL;
  q->ret->data = text.p;
  return OUTCOME_OK;
}

static enum outcome ask(struct sql_question *q) {
  bool has_failed;
  MYSQL *my = carry_out(q, &has_failed);
  if (!my) return OUTCOME_DEFER;
  if (has_failed) return failed(q, ": query failed", my);
  MYSQL_RES *result = mysql_use_result(my);
  enum outcome o;
  if (result) {
    o = take_rows(q, my, result);
  } else if (mysql_field_count(my) == 0) {
    q->ret->data = arena_printf_t(q->x->a, UNTAINTED, "%llu", (unsigned long long)mysql_affected_rows(my));
    q->ret->no_cache = q->ret->forget_all = true;
    return OUTCOME_OK;
  } else {
    return failed(q, ": lookup result failed", my);
  }
  mysql_free_result(result);
  /* Other results of the same statement: of no use, but they are in the way of the next query. */
  while (mysql_more_results(my) && mysql_next_result(my) == 0)
    if ((result = mysql_use_result(my)) != NULL) mysql_free_result(result);
  return o;
}

static const char *servers(const struct main_options *o) { return o->mysql_servers; }

static const struct sql_kind kind = {.title = "MySQL", .item_title = "MySQL", .option = "mysql_servers", .parts = 4, .required = 4, .servers = servers, .ask = ask};

static enum outcome find(struct expand_ctx *x, void *handle, const char *file UNUSED, const char *key, const char *opts, struct lookup_result *ret) {
  return sql_ask_servers(&kind, x, handle, key, opts, ret);
}

static const char *quote(struct arena *a, const char *s, const char *opt) { return opt ? NULL : sql_quote(a, s, '\\'); }

const struct lookup_driver lookup_mysql = {
  .name = "mysql", .flags = LOOKUP_QUERY, .open = open_pool, .find = find, .close = close_pool, .quote = quote, .quoter = "mysql", .hide = sql_hide};
