/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cdb: constant databases.  Floor: drivers.  Manual ch. 9.3.
 *
 * The key is hostile, the file the administrator's, yet formats/cdb_file checks every number in it.  Only what a search needs is read,
 * with positioned reads: a file that shrinks under us is an error and no signal. */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "formats/cdb_file.h"
#include "lookups/lookups_priv.h"
#include "os/sys.h"

struct cdb_handle {
  struct arena *arena;
  int fd;
  struct cdb_source source;
};

static int read_at(void *context, uint64_t at, void *buf, size_t n) {
  const struct cdb_handle *h = context;
  for (size_t done = 0; done < n;) {
    ssize_t got = sys_pread(h->fd, (char *)buf + done, n - done, (off_t)(at + done));
    if (got <= 0) return got < 0 ? (int)got : -EIO;
    done += (size_t)got;
  }
  return 0;
}

static void cdb_close_file(void *handle) {
  struct cdb_handle *h = handle;
  if (sys_close(h->fd) < 0) errno = 0; /* only read: nothing can be lost */
  arena_free(h->arena);
}

static enum outcome cdb_open_file(struct expand_ctx *x, const char *file, void **ret_handle, const char **ret_error) {
  struct stat st;
  int fd = sys_open(file, O_RDONLY | O_NONBLOCK, 0);
  if (fd < 0) {
    *ret_error = arena_printf(x->a, "failed to open %s for cdb lookup: %s", file, strerror(-fd));
    return OUTCOME_ERROR;
  }
  struct arena *a = arena_new("cdb");
  struct cdb_handle *h = ARENA_NEW(a, struct cdb_handle);
  *h = (struct cdb_handle){a, fd, {0, read_at, h}};
  if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
    *ret_error = arena_printf(x->a, "%s is not a regular file (cdb lookup)", file);
  else if (st.st_size < CDB_HEADER_BYTES)
    *ret_error = arena_printf(x->a, "failed to open %s for cdb lookup: too short", file);
  if (*ret_error) {
    cdb_close_file(h);
    return OUTCOME_ERROR;
  }
  h->source.size = (uint64_t)st.st_size;
  *ret_handle = h;
  return OUTCOME_OK;
}

static enum outcome cdb_find_key(struct expand_ctx *x, void *handle, const char *file, const char *key, const char *opts,
                                 struct lookup_result *ret) {
  (void)opts;
  const struct cdb_handle *h = handle;
  struct str data;
  switch (cdb_find(x->a, &h->source, str_c(key), &data)) {
  case CDB_FOUND: ret->data = data.p; return OUTCOME_OK;
  case CDB_ABSENT: return OUTCOME_FAIL;
  case CDB_MALFORMED: ret->error = arena_printf(x->a, "%s is not a sound cdb file", file); break;
  case CDB_READ_ERROR: ret->error = arena_printf(x->a, "failed to read %s for cdb lookup", file); break;
  }
  return OUTCOME_DEFER;
}

const struct lookup_driver lookup_cdb = {
  .name = "cdb", .open = cdb_open_file, .find = cdb_find_key, .close = cdb_close_file};
