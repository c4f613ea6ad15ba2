/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dbm, dbmnz, dbmjz: GDBM files.  Floor: drivers.  Manual ch. 9.3.
 *
 * dbm looks for the key with its final NUL, dbmnz without, dbmjz for the items of a list joined with NULs.  The key is hostile, the file
 * the administrator's.  GDBM reads the file itself; it is opened for reading without its lock, so that a rebuild by rename is never
 * blocked.  Memory of a datum is GDBM's and freed here. */

#include <errno.h>
#include <gdbm.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "lookups/lookups_priv.h"
#include "os/sys.h"
#include "policy/match.h"

static enum outcome dbm_open_file(struct expand_ctx *x, const char *file, void **ret_handle, const char **ret_error) {
  int fd = sys_open_file(file);
  GDBM_FILE f = fd < 0 ? NULL : gdbm_fd_open(fd, file, 0, GDBM_READER | GDBM_NOLOCK | GDBM_CLOEXEC | GDBM_CLOERROR, NULL);
  if (!f) {
    const char *why = fd < 0 ? sys_open_file_error(fd) : errno ? strerror(errno) : gdbm_strerror(gdbm_errno);
    *ret_error = arena_printf(x->a, "failed to open %s as a %s file: %s", file, "gdbm", why);
    return OUTCOME_ERROR;
  }
  *ret_handle = f;
  return OUTCOME_OK;
}

static enum outcome fetch(struct expand_ctx *x, void *handle, const char *key, size_t n, struct lookup_result *ret) {
  datum k = {.dptr = arena_strndup(x->a, key, n), .dsize = (int)n};
  datum d = gdbm_fetch(handle, k);
  if (!d.dptr) {
    if (gdbm_errno == GDBM_ITEM_NOT_FOUND) return OUTCOME_FAIL;
    ret->error = arena_printf(x->a, "failed to read from DBM file: %s", gdbm_strerror(gdbm_errno));
    return OUTCOME_DEFER;
  }
  size_t len = d.dsize > 0 ? strnlen(d.dptr, (size_t)d.dsize) : 0;
  ret->data = arena_strndup_t(x->a, d.dptr, len, UNTAINTED);
  free(d.dptr);
  return OUTCOME_OK;
}

static enum outcome dbm_find(struct expand_ctx *x, void *h, const char *file, const char *key, const char *opts, struct lookup_result *ret) {
  (void)file;
  (void)opts;
  return fetch(x, h, key, strlen(key) + 1, ret);
}

static enum outcome dbmnz_find(struct expand_ctx *x, void *h, const char *file, const char *key, const char *opts, struct lookup_result *ret) {
  (void)file;
  (void)opts;
  return fetch(x, h, key, strlen(key), ret);
}

static enum outcome dbmjz_find(struct expand_ctx *x, void *h, const char *file, const char *key, const char *opts, struct lookup_result *ret) {
  (void)file;
  (void)opts;
  struct strbuf b = strbuf_new(x->a);
  const char *item;
  int sep = 0;
  while ((item = list_next(x->a, &key, &sep)) != NULL) {
    if (b.n) strbuf_addc(&b, '\0');
    strbuf_adds(&b, item);
  }
  return fetch(x, h, b.p, b.n, ret);
}

static void dbm_close_file(void *handle) { (void)gdbm_close(handle); }

const struct lookup_driver lookup_dbm = {.name = "dbm", .flags = LOOKUP_ABSFILE, .open = dbm_open_file, .find = dbm_find, .close = dbm_close_file};
const struct lookup_driver lookup_dbmnz = {.name = "dbmnz", .flags = LOOKUP_ABSFILE, .open = dbm_open_file, .find = dbmnz_find, .close = dbm_close_file};
const struct lookup_driver lookup_dbmjz = {.name = "dbmjz", .flags = LOOKUP_ABSFILE, .open = dbm_open_file, .find = dbmjz_find, .close = dbm_close_file};
