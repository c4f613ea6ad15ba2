/* SPDX-License-Identifier: GPL-2.0-or-later */
/* redis: commands to a Redis server.  Floor: drivers.  Manual ch. 9.22, 9.23, 9.27.
 *
 * The command may hold foreign text: quoting it is the configuration's duty (${quote_redis:...}), the lookup core tells of what was not; words are cut
 * here and sent with their lengths, so that none becomes two.  Connections are kept, and made anew once when the server has ended one that was idle.  An
 * error of the server, a MOVED of a cluster among them, means that the next server is asked; it is never "not found". */
#include <hiredis/hiredis.h>

#include "lookups/lookups_priv.h"
#include "lookups/sql_servers.h"

enum { RESULT_MAX = 16 << 20, CONNECT_TIMEOUT_SEC = 60, ANSWER_TIMEOUT_SEC = 300, DEFAULT_PORT = 6379, NESTING_MAX = 8 };

static void close_connection(void *connection) { redisFree(connection); }

static enum outcome open_pool(struct expand_ctx *x UNUSED, const char *file UNUSED, void **ret_handle, const char **ret_error UNUSED) {
  *ret_handle = server_pool_new(close_connection);
  return OUTCOME_OK;
}

static void close_pool(void *handle) { server_pool_free(handle); }

static enum outcome failed(struct sql_question *q, const char *what, const char *why) {
  q->ret->error = arena_printf_t(q->x->a, UNTAINTED, "REDIS: %s: %s", what, why);
  return OUTCOME_DEFER;
}

static redisReply *send_words(redisContext *c, const struct server_item_words *w) {
  const char *words[SERVER_ITEM_WORDS_MAX];
  size_t lengths[SERVER_ITEM_WORDS_MAX];
  for (int i = 0; i < w->n; i++) {
    words[i] = w->word[i];
    lengths[i] = strlen(w->word[i]);
  }
  return redisCommandArgv(c, w->n, words, lengths);
}

/* AUTH or SELECT.  False: the server said no. */
static bool prepare(struct sql_question *q, redisContext *c, const char *command, const char *value) {
  if (!*value) return true;
  const struct server_item_words w = {.n = 2, .word = {command, value}};
  redisReply *r = send_words(c, &w);
  bool ok = r && r->type != REDIS_REPLY_ERROR;
  if (!ok) (void)failed(q, arena_printf(q->x->a, "%s failed at %s", command, q->name), r && r->str ? r->str : c->errstr);
  if (r) freeReplyObject(r);
  return ok;
}

static redisContext *connect_to(struct sql_question *q) {
  struct timeval connect_time = {.tv_sec = CONNECT_TIMEOUT_SEC}, answer_time = {.tv_sec = ANSWER_TIMEOUT_SEC};
  int port = DEFAULT_PORT;
  if (q->host.port.n && (!str_parse_int(q->host.port, &port) || port < 1 || port > 65535)) {
    (void)failed(q, "wrong port", q->name);
    return NULL;
  }
  redisContext *c = q->host.socket.n ? redisConnectUnixWithTimeout(sql_text(q->x, q->host.socket), connect_time)
                                     : redisConnectWithTimeout(q->host.name.n ? sql_text(q->x, q->host.name) : "127.0.0.1", port, connect_time);
  bool ok = c && !c->err && redisSetTimeout(c, answer_time) == REDIS_OK;
  if (!ok) (void)failed(q, arena_printf(q->x->a, "connection to %s failed", q->name), c ? c->errstr : "no memory");
  ok = ok && prepare(q, c, "AUTH", q->parts[2]) && prepare(q, c, "SELECT", q->parts[1]);
  if (!ok) {
    if (c) redisFree(c);
    return NULL;
  }
  server_pool_add(q->pool, q->item, c);
  return c;
}

/* The elements of an array stand on lines of their own, and so do those of arrays in it. */
static bool add_reply(const redisReply *r, struct strbuf *text, int depth) {
  switch (r->type) {
  case REDIS_REPLY_INTEGER: strbuf_addf(text, "%lld", r->integer); return true;
  case REDIS_REPLY_STRING:
  case REDIS_REPLY_STATUS: strbuf_add(text, r->str, strnlen(r->str, r->len)); return true;
  case REDIS_REPLY_ARRAY:
    for (size_t i = 0; i < r->elements && depth < NESTING_MAX && text->n <= RESULT_MAX; i++) {
      if (i > 0) strbuf_addc(text, '\n');
      (void)add_reply(r->element[i], text, depth + 1);
    }
    return r->elements > 0;
  default: return false; /* NIL */
  }
}

static enum outcome judge(struct sql_question *q, const redisReply *r) {
  struct strbuf text = strbuf_new_t(q->x->a, lookup_found_taint(&lookup_redis, q->query), 64);
  if (r->type == REDIS_REPLY_ERROR) return failed(q, "query failed", r->str);
  bool is_found = add_reply(r, &text, 0);
  /* A number or a status is the answer to a change, as a rule. */
  q->ret->no_cache = q->ret->forget_all = r->type == REDIS_REPLY_INTEGER || r->type == REDIS_REPLY_STATUS;
  q->is_final = text.n > RESULT_MAX;
  if (q->is_final) return failed(q, "query failed", "result too large");
  q->ret->data = text.p;
  return is_found ? OUTCOME_OK : OUTCOME_FAIL;
}

static enum outcome ask(struct sql_question *q) {
  struct server_item_words words;
  if (!server_item_cut_words(q->x->a, q->query, &words)) {
    q->is_final = true;
    return failed(q, "query failed", "too many words");
  }
  redisContext *c = server_pool_find(q->pool, q->item);
  redisReply *r = c ? send_words(c, &words) : NULL;
  if (c && !r) { /* it was idle too long */
    server_pool_drop(q->pool, c);
    c = NULL;
  }
  if (!c) {
    c = connect_to(q);
    if (!c) return OUTCOME_DEFER;
    r = send_words(c, &words);
  }
  if (!r) {
    enum outcome o = failed(q, "query failed", c->errstr);
    server_pool_drop(q->pool, c);
    return o;
  }
  enum outcome o = judge(q, r);
  freeReplyObject(r);
  return o;
}

static const char *servers(const struct main_options *o) { return o->redis_servers; }

static const struct sql_kind kind = {.title = "Redis", .item_title = "Redis", .option = "redis_servers", .parts = 3, .required = 1, .servers = servers, .ask = ask};

static enum outcome find(struct expand_ctx *x, void *handle, const char *file UNUSED, const char *key, const char *opts, struct lookup_result *ret) {
  return sql_ask_servers(&kind, x, handle, key, opts, ret);
}

static const char *quote(struct arena *a, const char *s, const char *opt) {
  if (opt) return NULL;
  struct strbuf b = strbuf_new_t(a, taint_kind(s), strlen(s) + 1);
  for (; *s; s++) {
    if (ch_isspace(*s) || *s == '\\') strbuf_addc(&b, '\\');
    strbuf_addc(&b, *s);
  }
  return b.p;
}

const struct lookup_driver lookup_redis = {
  .name = "redis", .flags = LOOKUP_QUERY, .open = open_pool, .find = find, .close = close_pool, .quote = quote, .quoter = "redis", .hide = sql_hide};
