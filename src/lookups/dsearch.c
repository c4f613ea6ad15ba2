/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dsearch: is there such an entry in a directory?  Floor: drivers.  Manual ch. 9.3.
 *
 * The key is hostile; it must be one plain component of a path.  It is looked at with fstatat() on the open directory and never
 * followed.  The result is clean: an entry of a directory of the administrator's has that name. */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "lookups/lookups_priv.h"
#include "os/sys.h"

/* The handle is the descriptor plus one, so that it is never NULL. */
static void *handle_of(int fd) { return (void *)(intptr_t)(fd + 1); }
static int fd_of(void *handle) { return (int)(intptr_t)handle - 1; }

static enum outcome dsearch_open(struct expand_ctx *x, const char *file, void **ret_handle, const char **ret_error) {
  if (*file != '/') {
    *ret_error = arena_printf(x->a, "dirname '%s' for dsearch is not absolute", file);
    return OUTCOME_ERROR;
  }
  int fd = sys_open(file, O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0) {
    *ret_error = arena_printf(x->a, "failed to open %s for directory search: %s", file, strerror(-fd));
    return OUTCOME_ERROR;
  }
  *ret_handle = handle_of(fd);
  return OUTCOME_OK;
}

static void dsearch_close(void *handle) {
  int ignored UNUSED = sys_close(fd_of(handle)); /* it was only read from */
}

struct dsearch_opts {
  bool full_path, key_is_path;
  enum { WANT_ANY, WANT_FILE, WANT_DIR, WANT_SUBDIR } filter;
};

static bool parse_opts(const char *opts, struct dsearch_opts *ret) {
  struct str rest = str_c(opts);
  *ret = (struct dsearch_opts){0};
  while (rest.n > 0) {
    struct str one = str_trim(str_cut(&rest, ','));
    if (str_eq_c(one, "ret=full")) ret->full_path = true;
    else if (str_eq_c(one, "ret=dir")) continue;
    else if (str_eq_c(one, "key=path")) ret->key_is_path = true;
    else if (str_eq_c(one, "filter=file")) ret->filter = WANT_FILE;
    else if (str_eq_c(one, "filter=dir")) ret->filter = WANT_DIR;
    else if (str_eq_c(one, "filter=subdir")) ret->filter = WANT_SUBDIR;
    else if (str_starts(one, STR("filter="))) return false;
  }
  return true;
}

/* No component may be "." or ".." when the key is a path: it must stay below the directory. */
static bool path_climbs(const char *key) {
  struct str rest = str_c(key);
  while (rest.n > 0) {
    struct str part = str_cut(&rest, '/');
    if (str_eq_c(part, "..")) return true;
  }
  return *key == '/';
}

static bool passes_filter(const struct dsearch_opts *o, const struct stat *st, const char *key) {
  switch (o->filter) {
  case WANT_ANY: return true;
  case WANT_FILE: return S_ISREG(st->st_mode);
  case WANT_DIR: return S_ISDIR(st->st_mode);
  case WANT_SUBDIR: break;
  }
  return S_ISDIR(st->st_mode) && strcmp(key, ".") != 0 && strcmp(key, "..") != 0;
}

static enum outcome dsearch_find(struct expand_ctx *x, void *handle, const char *file, const char *key, const char *opts,
                                 struct lookup_result *ret) {
  struct dsearch_opts o;
  struct stat st;
  if (!parse_opts(opts, &o)) {
    ret->error = arena_printf(x->a, "unknown option for dsearch lookup: %s", opts);
    return OUTCOME_DEFER;
  }
  if (o.key_is_path && path_climbs(key)) return OUTCOME_FAIL; /* nothing of that name below the directory */
  if (!o.key_is_path && strchr(key, '/')) {
    ret->error = arena_printf(x->a, "\"key for dsearch lookup contains a slash: %s\"", key);
    return OUTCOME_DEFER;
  }
  if (fstatat(fd_of(handle), key, &st, AT_SYMLINK_NOFOLLOW) < 0) {
    int e = errno;
    if (e == ENOENT || e == ENOTDIR || e == ENAMETOOLONG) return OUTCOME_FAIL;
    ret->error = arena_printf(x->a, "%s/%s: lstat failed: %s", file, key, strerror(e));
    return OUTCOME_DEFER;
  }
  if (!passes_filter(&o, &st, key)) return OUTCOME_FAIL;
  const char *clean = arena_untaint_copy(x->a, key, strlen(key));
  ret->data = o.full_path ? arena_printf(x->a, "%s/%s", file, clean) : clean;
  return OUTCOME_OK;
}

const struct lookup_driver lookup_dsearch = {.name = "dsearch", .open = dsearch_open, .find = dsearch_find, .close = dsearch_close};
