/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lmdb: files of the LMDB library, read only.  Floor: drivers.  Manual ch. 9.3.
 *
 * The key is hostile, the file the administrator's: the library maps it and trusts what stands in it.  It is opened without its lock, as a lock
 * file beside it would have to be writable for whoever looks something up, and readers could not be forked.  Without the lock a page may be
 * written anew while it is read; that cannot happen before another transaction has ended.  So an answer counts only when none has ended
 * since the search began; else the search is done again.  The key is looked for without a final NUL; a value ends at its first NUL. */

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <sys/stat.h>

#include "buildconfig.h"
#include "lookups/lookups_priv.h"
#include "os/library.h"

enum { TRIES_MAX = 20 };

#define CALLS(F) \
  F(mdb_env_create) F(mdb_env_open) F(mdb_env_close) F(mdb_env_get_fd) F(mdb_env_set_mapsize) F(mdb_txn_begin) F(mdb_txn_commit) F(mdb_txn_abort) F(mdb_txn_id) \
  F(mdb_dbi_open) F(mdb_dbi_flags) F(mdb_get) F(mdb_strerror)
static struct {
  CALLS(LIBRARY_MEMBER)
} lib;
static const char *const lib_names[] = {CALLS(LIBRARY_NAME)};

static const char *load_library(void) { return library_load(CFG_SONAME_LMDB, lib_names, ARRAY_SIZE(lib_names), &lib); }

struct lmdb_handle {
  struct arena *arena;
  MDB_env *env;
  MDB_dbi db;
};

/* ---- opening ---- */

static void lmdb_close_file(void *handle) {
  struct lmdb_handle *h = handle;
  lib.mdb_env_close(h->env);
  arena_free(h->arena);
}

/* The database without a name; keys that are numbers cannot be asked for with text. */
static const char *open_database(struct lmdb_handle *h) {
  MDB_txn *txn;
  unsigned flags = 0;
  int rc = lib.mdb_txn_begin(h->env, NULL, MDB_RDONLY, &txn);
  if (rc) return lib.mdb_strerror(rc);
  rc = lib.mdb_dbi_open(txn, NULL, 0, &h->db);
  if (!rc) rc = lib.mdb_dbi_flags(txn, h->db, &flags);
  if (rc) {
    lib.mdb_txn_abort(txn);
    return lib.mdb_strerror(rc);
  }
  rc = lib.mdb_txn_commit(txn);
  return rc ? lib.mdb_strerror(rc) : flags & MDB_INTEGERKEY ? "its keys are numbers" : NULL;
}

static const char *open_file(struct lmdb_handle *h, const char *file) {
  struct stat st;
  int fd;
  if (stat(file, &st) < 0) return strerror(errno);
  if (!S_ISREG(st.st_mode)) return "not a regular file";
  int rc = lib.mdb_env_open(h->env, file, MDB_RDONLY | MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOTLS, 0);
  if (rc) return st.st_size == 0 ? "it is empty" : lib.mdb_strerror(rc);
  rc = lib.mdb_env_get_fd(h->env, &fd);
  if (!rc && fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) rc = errno; /* commands that are run are not to have it */
  return rc ? lib.mdb_strerror(rc) : open_database(h);
}

static enum outcome lmdb_open_file(struct expand_ctx *x, const char *file, void **ret_handle, const char **ret_error) {
  MDB_env *env;
  const char *why = load_library();
  if (why) {
    *ret_error = arena_printf(x->a, "the LMDB library cannot be used: %s", why);
    return OUTCOME_ERROR;
  }
  int rc = lib.mdb_env_create(&env);
  if (rc) {
    *ret_error = arena_printf(x->a, "failed to open %s for lmdb lookup: %s", file, lib.mdb_strerror(rc));
    return OUTCOME_ERROR;
  }
  struct arena *a = arena_new("lmdb");
  struct lmdb_handle *h = ARENA_NEW(a, struct lmdb_handle);
  *h = (struct lmdb_handle){.arena = a, .env = env};
  why = open_file(h, file);
  if (why) {
    *ret_error = arena_printf(x->a, "failed to open %s for lmdb lookup: %s", file, why);
    lmdb_close_file(h);
    return OUTCOME_ERROR;
  }
  *ret_handle = h;
  return OUTCOME_OK;
}

/* ---- searching ---- */

/* A database that has grown since it was opened is mapped anew. */
static int begin(MDB_env *env, MDB_txn **ret) {
  int rc = lib.mdb_txn_begin(env, NULL, MDB_RDONLY, ret);
  if (rc == MDB_MAP_RESIZED) {
    rc = lib.mdb_env_set_mapsize(env, 0);
    if (!rc) rc = lib.mdb_txn_begin(env, NULL, MDB_RDONLY, ret);
  }
  return rc;
}

/* 0, MDB_NOTFOUND or another error of the library; *ret_current: the database is still what was searched. */
static int search(struct arena *a, const struct lmdb_handle *h, const char *key, const char **ret_data, bool *ret_current) {
  MDB_txn *txn, *after;
  MDB_val k = {.mv_size = strlen(key), .mv_data = (char *)(uintptr_t)key}, v;
  int rc = begin(h->env, &txn);
  *ret_current = true;
  if (rc) return rc;
  size_t searched = lib.mdb_txn_id(txn);
  rc = lib.mdb_get(txn, h->db, &k, &v);
  if (!rc) *ret_data = arena_strndup_t(a, v.mv_data, v.mv_size ? strnlen(v.mv_data, v.mv_size) : 0, UNTAINTED);
  lib.mdb_txn_abort(txn);
  int error = begin(h->env, &after);
  if (error) return error;
  *ret_current = lib.mdb_txn_id(after) == searched;
  lib.mdb_txn_abort(after);
  return rc;
}

static enum outcome lmdb_find(struct expand_ctx *x, void *handle, const char *file, const char *key, const char *opts, struct lookup_result *ret) {
  (void)opts;
  bool is_current = false;
  int rc = 0;
  for (int i = 0; i < TRIES_MAX && !is_current; i++) rc = search(x->a, handle, key, &ret->data, &is_current);
  if (is_current && rc == 0) return OUTCOME_OK;
  ret->data = NULL;
  if (is_current && rc == MDB_NOTFOUND) return OUTCOME_FAIL;
  ret->error = arena_printf(x->a, "failed to read %s for lmdb lookup: %s", file, is_current ? lib.mdb_strerror(rc) : "it changes all the time");
  return OUTCOME_DEFER;
}

const struct lookup_driver lookup_lmdb = {
  .name = "lmdb", .flags = LOOKUP_ABSFILE, .open = lmdb_open_file, .find = lmdb_find, .close = lmdb_close_file, .preload = load_library};
