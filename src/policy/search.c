/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lookup core.  Floor: policy.  Manual ch. 9.
 *
 * Parses lookup types, keeps files open (least recently used closed first, lookup_open_max), keeps results for the life of the process
 * or until lookup_tidy(), and tries keys in the order of partial and default matching.  Keys are hostile, file names must not be:
 * a tainted one is refused.  Open handles and results are on the list of allowed writable globals; they live in an arena of their own. */

#include "policy/search.h"

#include <sys/types.h>

#include "base/timeutil.h"
#include "base/tree.h"
#include "formats/spool_file.h"
#include "os/debug.h"
#include "os/log.h"
#include "policy/list_file.h"
#include "policy/match.h"

enum { RESULTS_MAX = 4000, RESULTS_BYTES_MAX = 16 << 20, OPEN_MAX_DEFAULT = 25 };

struct open_file {
  struct open_file *next; /* newest use first */
  struct arena *arena;    /* of this struct */
  const struct lookup_driver *driver;
  char *file;
  void *handle;
  int busy;               /* lookups in it that have not ended: a key or a pattern may hold a lookup of its own */
};

struct result {
  bool found;
  const char *data;
  const char *dnssec; /* literal or NULL */
  int64_t expires_ms; /* INT64_MAX: never */
};

static struct {
  struct open_file *files;
  int file_count;
  struct arena *result_arena;
  struct tree results;
  struct arena *dn_arena;
  const char *ldap_dn; /* in dn_arena */
} service;

void lookup_preload(const char *line) {
  for (const struct lookup_driver *const *d = lookup_drivers; *d; d++)
    if ((*d)->preload && strstr(line, (*d)->name)) (void)(*d)->preload();
}

const struct lookup_driver *lookup_find_driver(struct str name) {
  for (const struct lookup_driver *const *d = lookup_drivers; *d; d++)
    if (str_eq_c(name, (*d)->name)) return *d;
  return NULL;
}

/* ---- parsing a type ---- */

/* "partial-", "partial3-", "partial(.)", "partial1()" in front.  NULL or an error. */
static const char *parse_partial(struct arena *a, struct str *text, struct lookup_type *t) {
  t->partial = -1;
  t->affix = "*.";
  if (!str_starts(*text, STR("partial"))) return NULL;
  const char *p = text->p + 7, *end = text->p + text->n;
  int n = 2;
  if (p < end && ch_isdigit(*p))
    for (n = 0; p < end && ch_isdigit(*p) && n < 1000; p++) n = n * 10 + (*p - '0');
  if (p < end && *p == '(') {
    const char *close = memchr(p, ')', (size_t)(end - p));
    if (!close) return arena_printf_t(a, UNTAINTED, "format error in lookup type \"%.*s\"", STR_FMT(*text));
    t->affix = arena_strndup(a, p + 1, (size_t)(close - p - 1));
    p = close + 1;
  } else if (p < end && *p == '-') {
    p++;
  } else {
    return arena_printf_t(a, UNTAINTED, "format error in lookup type \"%.*s\"", STR_FMT(*text));
  }
  t->partial = n;
  *text = str_n(p, (size_t)(end - p));
  return NULL;
}

const char *lookup_parse_type(struct arena *a, struct str text, struct lookup_type *ret) {
  struct lookup_type t = {0};
  struct str name = text;
  const char *error = parse_partial(a, &name, &t);
  if (error) return error;
  size_t comma = str_index(name, ',');
  if (comma < name.n) {
    t.opts = arena_strndup(a, name.p + comma + 1, name.n - comma - 1);
    name.n = comma;
  }
  struct str whole = name;
  if (str_ends(name, STR("*@"))) {
    t.starat = t.star = true;
    name.n -= 2;
  } else if (str_ends(name, STR("*"))) {
    t.star = true;
    name.n -= 1;
  }
  t.driver = lookup_find_driver(name);
  const char *absent = t.driver ? NULL : lookup_why_absent(name);
  if (absent) return arena_printf_t(a, UNTAINTED, "lookup type \"%.*s\" is not available (%s)", STR_FMT(name), absent);
  if (!t.driver) return arena_printf_t(a, UNTAINTED, "unknown lookup type \"%.*s\"", STR_FMT(name));
  bool is_query = (t.driver->flags & (LOOKUP_QUERY | LOOKUP_ABSFILEQUERY)) != 0;
  if (is_query && t.partial >= 0)
    return arena_printf_t(a, UNTAINTED, "\"partial\" is not permitted for lookup type \"%.*s\"", STR_FMT(name));
  if (is_query && t.star)
    return arena_printf_t(a, UNTAINTED, "defaults using \"*\" or \"*@\" are not permitted for lookup type \"%.*s\"", STR_FMT(whole));
  *ret = t;
  return NULL;
}

/* ---- options common to all types ---- */

struct common_opts {
  bool ret_key, no_read, no_write;
  const char *file; /* file=, NULL none */
  const char *rest; /* for the driver, NULL none */
};

static struct common_opts split_opts(struct arena *a, const struct lookup_type *t) {
  struct common_opts o = {.ret_key = t->ret_key};
  struct str rest = str_c(t->opts);
  struct strbuf own = strbuf_new(a);
  while (rest.n > 0) {
    struct str one = str_trim(str_cut(&rest, ','));
    if (str_eq_c(one, "ret=key")) o.ret_key = true;
    else if (str_eq_c(one, "cache=no_rd")) o.no_read = true;
    else if (str_eq_c(one, "cache=no_wr")) o.no_write = true;
    else if (str_eq_c(one, "cache=no")) o.no_read = o.no_write = true;
    else if (t->driver->flags & LOOKUP_ABSFILEQUERY && str_starts(one, STR("file="))) o.file = str_dup(a, str_n(one.p + 5, one.n - 5));
    else if (one.n > 0) {
      if (own.n) strbuf_addc(&own, ',');
      strbuf_addstr(&own, one);
    }
  }
  if (own.n) o.rest = own.p;
  return o;
}

/* ---- open files ---- */

static void close_file(struct open_file *f) {
  if (f->driver->close && f->handle) f->driver->close(f->handle);
  arena_free(f->arena);
}

/* False: there is none that could be closed. */
static bool close_oldest(void) {
  struct open_file **oldest = NULL;
  for (struct open_file **pp = &service.files; *pp; pp = &(*pp)->next)
    if (!(*pp)->busy) oldest = pp;
  if (!oldest) return false;
  struct open_file *f = *oldest;
  *oldest = f->next;
  close_file(f);
  service.file_count--;
  return true;
}

static enum outcome open_new(struct expand_ctx *x, const struct lookup_driver *d, const char *file, struct open_file **ret, const char **ret_error) {
  void *handle = NULL;
  enum outcome o = d->open(x, file, &handle, ret_error);
  if (o != OUTCOME_OK) return o;
  if (d->check && file) {
    o = d->check(handle, file, 0, NULL, NULL, ret_error);
    if (o != OUTCOME_OK) {
      if (*ret_error) *ret_error = arena_strdup(x->a, *ret_error); /* it may live in the handle */
      if (d->close && handle) d->close(handle);
      return o;
    }
  }
  int max = x->cfg && x->cfg->o.lookup_open_max > 0 ? (int)x->cfg->o.lookup_open_max : OPEN_MAX_DEFAULT;
  while (service.file_count >= max && close_oldest()) continue;
  struct arena *a = arena_new("lookup file");
  struct open_file *f = ARENA_NEW(a, struct open_file);
  *f = (struct open_file){.next = service.files, .arena = a, .driver = d, .file = file ? arena_strdup(a, file) : NULL, .handle = handle};
  service.files = f;
  service.file_count++;
  *ret = f;
  return OUTCOME_OK;
}

static bool same_file(const char *a, const char *b) { return a && b ? strcmp(a, b) == 0 : a == b; }

/* The open file, newly opened or not; *ret NULL for a driver that holds nothing open. */
static enum outcome get_file(struct expand_ctx *x, const struct lookup_driver *d, const char *file, struct open_file **ret, const char **ret_error) {
  *ret = NULL;
  if (!d->open) return OUTCOME_OK;
  if (d->handle_of) d = d->handle_of;
  for (struct open_file **pp = &service.files; *pp; pp = &(*pp)->next) {
    struct open_file *f = *pp;
    if (f->driver != d || !same_file(f->file, file)) continue;
    *pp = f->next;
    f->next = service.files;
    service.files = f;
    *ret = f;
    return OUTCOME_OK;
  }
  return open_new(x, d, file, ret, ret_error);
}

/* ---- results ---- */

static void drop_results(void) {
  arena_free(service.result_arena);
  service.result_arena = NULL;
  service.results = (struct tree){0};
}

void lookup_tidy(void) {
  while (close_oldest()) continue;
  drop_results();
  match_cache_clear();
  expand_forget_sockets();
}

void lookup_forget(void) {
  service.files = NULL;
  service.file_count = 0;
  list_file_forget();
  drop_results();
  match_cache_clear();
  expand_forget_sockets();
}

static void keep_result(const char *cache_key, bool found, const struct lookup_result *r) {
  bool is_full = service.results.count >= RESULTS_MAX || (service.result_arena && arena_used_bytes(service.result_arena) > RESULTS_BYTES_MAX);
  if (is_full) drop_results();
  if (!service.result_arena) service.result_arena = arena_new("lookup results");
  struct tree_node *n = tree_insert(&service.results, service.result_arena, cache_key, NULL);
  struct result *res = ARENA_NEW(service.result_arena, struct result);
  res->found = found;
  res->dnssec = r->dnssec;
  res->data = r->data ? arena_strdup(service.result_arena, r->data) : NULL;
  res->expires_ms = r->ttl_sec == UINT32_MAX ? INT64_MAX : time_mono_ms() + (int64_t)r->ttl_sec * 1000;
  n->data = res;
}

/* The kind of text that was quoted for queries of this type, UNTAINTED when the type has no quoting. */
enum taint lookup_quoted_kind(const struct lookup_driver *d) { return d->quoter ? spool_quoted_kind(str_c(d->quoter)) : UNTAINTED; }

const char *lookup_shown(struct arena *a, const struct lookup_driver *d, const char *query) { return d->hide ? d->hide(a, query) : query; }

const char *lookup_last_ldap_dn(void) { return service.ldap_dn ? service.ldap_dn : ""; }

static void keep_ldap_dn(const char *dn) {
  arena_free(service.dn_arena);
  service.dn_arena = arena_new("LDAP name");
  service.ldap_dn = arena_strdup(service.dn_arena, dn);
}

enum outcome lookup_authenticate(struct expand_ctx *x, const struct lookup_driver *d, const char *query, const char **ret_error) {
  struct open_file *open = NULL;
  enum outcome got = get_file(x, d, NULL, &open, ret_error);
  if (got != OUTCOME_OK) return got;
  open->busy++;
  got = d->authenticate(x, open->handle, query, ret_error);
  open->busy--;
  return got;
}

enum taint lookup_found_taint(const struct lookup_driver *d, const char *query) {
  enum taint kind = taint_kind(query);
  return kind == UNTAINTED || kind == lookup_quoted_kind(d) ? UNTAINTED : TAINTED;
}

static void check_quoted(struct arena *a, const struct lookup_driver *d, const char *query) {
  enum taint kind = taint_kind(query), want = lookup_quoted_kind(d);
  if (kind == UNTAINTED || want == UNTAINTED || kind == want) return;
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "tainted search query is not properly quoted: %s", lookup_shown(a, d, query));
}

/* One key, from the cache or the driver. */
static enum outcome find_one(struct expand_ctx *x, const struct lookup_type *t, const struct common_opts *o, const char *file,
                             const char *key, struct lookup_result *ret) {
  const struct lookup_driver *d = t->driver;
  bool is_void = *key == '\0' && !(d->flags & (LOOKUP_QUERY | LOOKUP_ABSFILEQUERY));
  struct strbuf cache_key = strbuf_new(x->a);
  strbuf_addl(&cache_key, d->name, "\n", o->rest ? o->rest : "", "\n", file ? file : "", "\n", key, NULL);
  const struct tree_node *n = o->no_read || x->no_lookups_cached ? NULL : tree_find(&service.results, cache_key.p);
  const struct result *cached = n ? n->data : NULL;
  if (cached && (cached->expires_ms == INT64_MAX || cached->expires_ms > time_mono_ms())) {
    DEBUG(D_LOOKUP) debug_printf("cached data used for lookup of %s%s%s\n", lookup_shown(x->a, d, key), file ? "\n  in " : "", file ? file : "");
    ret->data = cached->data ? arena_strdup(x->a, cached->data) : NULL;
    if (cached->dnssec) x->match.lookup_dnssec = cached->dnssec;
    return cached->found ? OUTCOME_OK : OUTCOME_FAIL;
  }
  check_quoted(x->a, d, key);
  struct open_file *open = NULL;
  ret->ttl_sec = UINT32_MAX;
  enum outcome got = get_file(x, d, file, &open, &ret->error);
  if (got != OUTCOME_OK || is_void) return got == OUTCOME_OK ? OUTCOME_FAIL : got; /* a file that is not there is told in any case, as in Exim */
  if (open) open->busy++;
  got = d->find(x, open ? open->handle : NULL, file, key, o->rest, ret);
  if (open) open->busy--;
  if (ret->ldap_dn) keep_ldap_dn(ret->ldap_dn);
  DEBUG(D_LOOKUP) debug_printf("%s lookup of %s: %s\n", d->name, lookup_shown(x->a, d, key), got == OUTCOME_OK ? "found" : got == OUTCOME_FAIL ? "failed" : "deferred");
  bool keep = (got == OUTCOME_OK || got == OUTCOME_FAIL) && !ret->no_cache && !o->no_write && !(d->flags & LOOKUP_NO_CACHE);
  if (ret->forget_all) drop_results();
  if (keep) keep_result(cache_key.p, got == OUTCOME_OK, ret);
  return got;
}

/* ---- sequences of keys ---- */

static void set_parts(struct expand_ctx *x, struct lookup_result *r, const char *key, const char *fixed) {
  r->fixed = fixed;
  size_t n = (size_t)(fixed - key);
  if (n > 0 && key[n - 1] == '.') n--;
  r->wild = arena_strndup(x->a, key, n);
}

static int count_components(const char *key) {
  int n = 1;
  for (; *key; key++) n += *key == '.';
  return n;
}

static enum outcome find_partial(struct expand_ctx *x, const struct lookup_type *t, const struct common_opts *o, const char *file,
                                 const char *key, struct lookup_result *ret) {
  size_t affix_len = strlen(t->affix);
  const char *rest = key;
  int components = count_components(key);
  /* With an empty prefix the whole key was tried already. */
  bool skip_first = affix_len == 0;
  for (; components >= MAX(t->partial, 1); components--) {
    if (!skip_first) {
      enum outcome got = find_one(x, t, o, file, arena_printf(x->a, "%s%s", t->affix, rest), ret);
      if (got == OUTCOME_OK) set_parts(x, ret, key, rest);
      if (got != OUTCOME_FAIL) return got;
    }
    skip_first = false;
    const char *dot = strchr(rest, '.');
    if (!dot) break;
    rest = dot + 1;
  }
  if (t->partial != 0 || affix_len == 0) return OUTCOME_FAIL;
  const char *last = t->affix;
  if (affix_len > 1 && last[affix_len - 1] == '.') last = arena_strndup(x->a, last, affix_len - 1);
  enum outcome got = find_one(x, t, o, file, last, ret);
  if (got == OUTCOME_OK) set_parts(x, ret, key, key + strlen(key));
  return got;
}

/* A default matched the first n characters of the key by its asterisk. */
static void set_default(struct expand_ctx *x, struct lookup_result *r, const char *key, size_t n) {
  r->fixed = "";
  r->wild = arena_strndup(x->a, key, n);
}

static enum outcome find_defaults(struct expand_ctx *x, const struct lookup_type *t, const struct common_opts *o, const char *file,
                                  const char *key, struct lookup_result *ret) {
  const char *at = t->starat ? strrchr(key, '@') : NULL;
  if (at && !(at == key + 1 && *key == '*')) {
    enum outcome got = find_one(x, t, o, file, arena_printf(x->a, "*%s", at), ret);
    if (got == OUTCOME_OK) set_default(x, ret, key, (size_t)(at - key));
    if (got != OUTCOME_FAIL) return got;
  }
  enum outcome got = t->star ? find_one(x, t, o, file, "*", ret) : OUTCOME_FAIL;
  if (got == OUTCOME_OK) set_default(x, ret, key, strlen(key));
  return got;
}

/* The file of a query to a file, and the query itself. */
static const char *query_file(struct expand_ctx *x, const struct common_opts *o, const char **key) {
  const char *query = *key;
  while (ch_isspace(*query)) query++;
  if (o->file || *query != '/') return o->file ? o->file : x->cfg ? x->cfg->o.sqlite_dbfile : NULL;
  size_t n = 0;
  while (query[n] && !ch_isspace(query[n])) n++;
  *key = query + n;
  while (ch_isspace(**key)) (*key)++;
  return arena_strndup(x->a, query, n);
}

enum outcome lookup_run(struct expand_ctx *x, const struct lookup_type *t, const char *file, const char *key,
                        struct lookup_result *ret) {
  struct lookup_result r = {.ttl_sec = UINT32_MAX};
  struct common_opts o = split_opts(x->a, t);
  enum outcome got;
  if (!key) key = "";
  bool is_file_query = t->driver->flags & LOOKUP_ABSFILEQUERY;
  if (is_file_query) file = query_file(x, &o, &key);
  if (file && is_tainted(file)) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "Tainted filename for search: '%s'", file);
    ret->error = "NULL"; /* Exim's word; the line above is the reason */
    return OUTCOME_ERROR;
  }
  if (is_file_query ? !file || *file != '/' : file && *file != '/' && (t->driver->flags & LOOKUP_ABSFILE)) {
    ret->error = arena_printf(x->a, "absolute file name expected for \"%s\" lookup", t->driver->name);
    return OUTCOME_ERROR;
  }
  got = find_one(x, t, &o, file, key, &r);
  if (got == OUTCOME_OK && t->partial >= 0) {
    r.wild = "";
    r.fixed = key;
  }
  if (got == OUTCOME_FAIL && t->partial >= 0) got = find_partial(x, t, &o, file, key, &r);
  if (got == OUTCOME_FAIL) got = find_defaults(x, t, &o, file, key, &r);
  /* The key is clean now: it was found in data the administrator controls. */
  if (got == OUTCOME_OK && o.ret_key) r.data = arena_untaint_copy(x->a, key, strlen(key));
  *ret = r;
  return got;
}
