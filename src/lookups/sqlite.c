/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sqlite: SQL queries to a file.  Floor: drivers.  Manual ch. 9.21 and 9.26.
 *
 * The core has found the file's name (clean, absolute) and the statement, which may hold foreign text: quoting it is the configuration's
 * duty (${quote_sqlite:...}); the core tells the log of what was not.  A statement that cannot be carried out, for whatever reason, is a temporary failure, never "not found": a
 * database that is locked, broken or lacks a table must not bounce mail.  Results are the administrator's data and
 * clean, unless what was not quoted may have changed the query.  A result larger than RESULT_MAX is refused. */

#include <sqlite3.h>

#include "formats/server_item.h"
#include "buildconfig.h"
#include "lookups/lookups_priv.h"
#include "os/library.h"

enum { RESULT_MAX = 16 << 20 };

#define CALLS(F) \
  F(sqlite3_open) F(sqlite3_close) F(sqlite3_errmsg) F(sqlite3_errstr) F(sqlite3_busy_timeout) F(sqlite3_exec) F(sqlite3_free)
static struct {
  CALLS(LIBRARY_MEMBER)
} lib;
static const char *const lib_names[] = {CALLS(LIBRARY_NAME)};

static const char *load_library(void) { return library_load(CFG_SONAME_SQLITE3, lib_names, ARRAY_SIZE(lib_names), &lib); }

static enum outcome sqlite_open_file(struct expand_ctx *x, const char *file, void **ret_handle, const char **ret_error) {
  sqlite3 *db = NULL;
  const char *why = load_library();
  if (why) {
    *ret_error = arena_printf(x->a, "the SQLite library cannot be used: %s", why);
    return OUTCOME_ERROR;
  }
  int rc = lib.sqlite3_open(file, &db);
  if (rc != SQLITE_OK) {
    *ret_error = arena_strdup_t(x->a, db ? lib.sqlite3_errmsg(db) : lib.sqlite3_errstr(rc), UNTAINTED);
    (void)lib.sqlite3_close(db);
    return OUTCOME_ERROR;
  }
  if (x->cfg) (void)lib.sqlite3_busy_timeout(db, (int)(1000 * MAX(0, MIN(x->cfg->o.sqlite_lock_timeout, 3600))));
  *ret_handle = db;
  return OUTCOME_OK;
}

static void sqlite_close_file(void *handle) { (void)lib.sqlite3_close(handle); }

struct result_rows {
  struct strbuf text;
  bool any;
};

static int add_row(void *context, int columns, char **values, char **names) {
  struct result_rows *r = context;
  if (r->any) strbuf_addc(&r->text, '\n');
  r->any = true;
  if (columns == 1) strbuf_adds(&r->text, values[0] ? values[0] : "<NULL>");
  for (int i = 0; columns > 1 && i < columns; i++) server_item_add_field(&r->text, names[i], str_c(values[i] ? values[i] : "<NULL>"));
  return r->text.n > RESULT_MAX;
}

static enum outcome sqlite_find(struct expand_ctx *x, void *handle, const char *file, const char *key, const char *opts,
                                struct lookup_result *ret) {
  (void)file;
  (void)opts;
  struct result_rows r = {strbuf_new_t(x->a, lookup_found_taint(&lookup_sqlite, key), 64), false};
  char *why = NULL;
  int rc = lib.sqlite3_exec(handle, key, add_row, &r, &why);
  if (rc != SQLITE_OK) {
    ret->error = rc == SQLITE_ABORT ? arena_printf_t(x->a, UNTAINTED, "sqlite3_exec: result larger than %d bytes", RESULT_MAX)
                                    : arena_printf(x->a, "sqlite3_exec failed: %s", arena_strdup_t(x->a, why ? why : lib.sqlite3_errstr(rc), UNTAINTED));
    lib.sqlite3_free(why);
    return OUTCOME_DEFER;
  }
  /* A statement without rows may have changed the database: what was found before is no longer to be trusted. */
  ret->no_cache = ret->forget_all = !r.any;
  if (!r.any) return OUTCOME_FAIL;
  ret->data = r.text.p;
  return OUTCOME_OK;
}

static const char *sqlite_quote(struct arena *a, const char *s, const char *opt) {
  if (opt) return NULL;
  struct strbuf b = strbuf_new_t(a, is_tainted(s) ? TAINTED : UNTAINTED, strlen(s) + 1);
  for (; *s; s++) {
    if (*s == '\'') strbuf_addc(&b, '\'');
    strbuf_addc(&b, *s);
  }
  return b.p;
}

const struct lookup_driver lookup_sqlite = {
  .name = "sqlite", .flags = LOOKUP_ABSFILEQUERY, .open = sqlite_open_file, .find = sqlite_find, .close = sqlite_close_file, .quote = sqlite_quote, .quoter = "sqlite", .preload = load_library};
