/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which database servers are asked, in turn.  Floor: drivers.  Manual ch. 9.22, 9.23.
 *
 * A list of servers is the configuration's: one that is tainted (in front of a query with foreign text) is refused.  Passwords stand in the items and
 * are never shown. */
#include "lookups/sql_servers.h"

#include "os/debug.h"
#include "policy/match.h"

const char *sql_text(struct expand_ctx *x, struct str s) { return s.n ? str_dup(x->a, s) : NULL; }

/* The item as it may be shown. */
static const char *without_password(struct arena *a, const char *item) {
  const char *slash = strrchr(item, '/');
  return slash ? arena_strndup(a, item, (size_t)(slash - item)) : item;
}

static const char *option_text(const struct sql_kind *kind, const struct expand_ctx *x) { return x->cfg ? kind->servers(&x->cfg->o) : NULL; }

/* The item of the option whose host is of that name; NULL: none. */
static const char *item_of_host(const struct sql_kind *kind, struct expand_ctx *x, const char *name) {
  const char *pos = option_text(kind, x), *item;
  size_t n = strlen(name);
  int sep = 0;
  while (pos && (item = list_next(x->a, &pos, &sep)) != NULL)
    if (strncmp(item, name, n) == 0 && item[n] == '/') return item;
  return NULL;
}

static enum outcome defer(struct lookup_result *ret, const char *error) {
  ret->error = error;
  return OUTCOME_DEFER;
}

/* With the empty parts that an item of this kind may leave out at its end. */
static struct str whole_item(const struct sql_kind *kind, struct arena *a, const char *item) {
  struct strbuf b = strbuf_new(a);
  strbuf_adds(&b, item);
  const char *behind = *item == '(' ? strchr(item, ')') : item;
  int slashes = 0;
  for (; behind && *behind; behind++) slashes += *behind == '/';
  for (; slashes < kind->parts - kind->required; slashes++) strbuf_addc(&b, '/');
  return strbuf_str(&b);
}

static enum outcome ask_one(const struct sql_kind *kind, struct sql_question *q) {
  struct str parts[SERVER_ITEM_PARTS_MAX] = {STR_NULL};
  struct expand_ctx *x = q->x;
  if (!server_item_split(whole_item(kind, x->a, q->item), kind->parts, parts) || !server_item_parse_host(str_trim(parts[0]), &q->host))
    return defer(q->ret, arena_printf(x->a, "incomplete %s server data: %s", kind->item_title, q->name));
  for (int i = 0; i < kind->parts; i++) q->parts[i] = str_dup(x->a, parts[i]);
  DEBUG(D_LOOKUP) debug_printf("%s query to %s\n", kind->title, q->name);
  return kind->ask(q);
}

/* Walk the list; names_only: an item without a slash names one of the option's. */
static enum outcome walk(const struct sql_kind *kind, struct sql_question *q, const char *list, bool is_own) {
  const char *pos = list, *item;
  int sep = 0;
  enum outcome o = defer(q->ret, arena_printf(q->x->a, "no %s servers defined (%s option)", kind->title, kind->option));
  while ((item = list_next(q->x->a, &pos, &sep)) != NULL) {
    if (is_own && !strchr(item, '/')) {
      const char *whole = item_of_host(kind, q->x, item);
      if (!whole) return defer(q->ret, arena_printf(q->x->a, "%s server \"%s\" not found in %s", kind->title, item, kind->option));
      item = whole;
    }
    q->item = item;
    q->name = without_password(q->x->a, item);
    o = ask_one(kind, q);
    if (o != OUTCOME_DEFER || q->is_final) return o;
    DEBUG(D_LOOKUP) debug_printf("%s: %s\n", kind->title, q->ret->error);
  }
  return o;
}

enum outcome sql_ask_servers(const struct sql_kind *kind, struct expand_ctx *x, struct server_pool *pool, const char *query, const char *opts,
                             struct lookup_result *ret) {
  struct str rest = str_trim(str_c(query)), own = STR_NULL;
  if (!rest.n) return OUTCOME_FAIL;
  bool is_bad = false;
  if (opts && strncmp(opts, "servers=", 8) == 0) own = str_c(opts + 8);
  else if (!server_item_cut_prefix(&rest, &own, &is_bad) && is_bad)
    return defer(ret, arena_printf_t(x->a, UNTAINTED, "missing ; after \"servers=\" in %s lookup", kind->title));
  struct sql_question q = {.x = x, .pool = pool, .query = rest.p, .ret = ret};
  if (own.p && is_tainted(own.p)) return defer(ret, arena_printf(x->a, "%s server \"%s\" is tainted", kind->title, without_password(x->a, str_dup(x->a, own))));
  const char *list = own.p ? str_dup(x->a, own) : option_text(kind, x);
  return walk(kind, &q, list ? list : "", own.p != NULL);
}

const char *sql_hide(struct arena *a, const char *query) {
  struct str q = str_c(query), list;
  bool is_bad;
  if (server_item_cut_prefix(&q, &list, &is_bad)) return arena_printf(a, "servers=XXX; %s", q.p);
  return is_bad ? "servers=XXX" : query;
}

const char *sql_quote(struct arena *a, const char *s, char before_quote) {
  static const char plain[] = "\n\t\r\b'\"\\", letters[] = "ntrb'\"\\";
  struct strbuf b = strbuf_new_t(a, taint_kind(s), strlen(s) + 1);
  for (; *s; s++) {
    const char *special = strchr(plain, *s);
    if (special) strbuf_addc(&b, *s == '\'' ? before_quote : '\\');
    strbuf_addc(&b, special ? letters[special - plain] : *s);
  }
  return b.p;
}
