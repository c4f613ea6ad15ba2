/* SPDX-License-Identifier: GPL-2.0-or-later */
/* passwd: the system's user data.  Floor: drivers.  Manual ch. 9.4.
 *
 * The query is a login name, hostile.  The result is what an lsearch of /etc/passwd would give, with "*" for the password; it is clean. */

#include <errno.h>
#include <pwd.h>
#include <unistd.h>

#include "lookups/lookups_priv.h"

enum { BUFFER_MAX = 1 << 20 };

static enum outcome passwd_find(struct expand_ctx *x, void *handle, const char *file, const char *key, const char *opts,
                                struct lookup_result *ret) {
  (void)handle;
  (void)file;
  (void)opts;
  struct passwd pw, *found = NULL;
  int rc = ERANGE;
  for (size_t size = 4096; rc == ERANGE && size <= BUFFER_MAX; size *= 4)
    rc = getpwnam_r(key, &pw, arena_alloc(x->a, size), size, &found);
  if (rc != 0 && rc != ENOENT && rc != ESRCH) {
    ret->error = arena_printf(x->a, "getpwnam: %s", strerror(rc));
    return OUTCOME_DEFER;
  }
  if (!found) return OUTCOME_FAIL;
  ret->data = arena_printf(x->a, "*:%u:%u:%s:%s:%s", (unsigned)found->pw_uid, (unsigned)found->pw_gid, found->pw_gecos ? found->pw_gecos : "",
                           found->pw_dir ? found->pw_dir : "", found->pw_shell ? found->pw_shell : "");
  return OUTCOME_OK;
}

const struct lookup_driver lookup_passwd = {.name = "passwd", .flags = LOOKUP_QUERY, .find = passwd_find};
