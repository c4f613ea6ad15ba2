/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One new file per message: maildir, or a plain directory.  Floor: drivers.  Manual ch. 26 "Operational details for delivery to a new file".
 *
 * Written under a temporary name, synced, then given its final name by link or rename, then the directory is synced: a reader never sees a
 * partial message and a success never gets lost in a crash.  After any error the temporary file is removed.  No locks are needed. */
#include "transports/appendfile_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "os/debug.h"
#include "os/sys.h"

static void fail_write(struct append_job *j, const char *temp, int r, const char *shown) {
  if (j->fd >= 0) (void)!sys_close(j->fd);
  j->fd = -1;
  (void)!sys_unlink(temp);
  if (r == -EDQUOT)
    append_defer(j, EDQUOT, "mailbox is full");
  else if (r == -EPROTO)
    append_defer(j, ERRNO_CHHEADER_FAIL, "%s", j->d->x->error ? j->d->x->error : "expansion of a header failed");
  else
    append_defer(j, -r, "error while writing to %s", shown);
}

static bool write_temp(struct append_job *j, const char *temp, const char *shown, struct stat *ret_st, int64_t *ret_bytes) {
  int r = append_write(j, ret_bytes);
  if (r == 0 && fstat(j->fd, ret_st) < 0) r = -errno;
  if (r < 0) {
    fail_write(j, temp, r, shown);
    return false;
  }
  r = sys_close(j->fd);
  j->fd = -1;
  if (r == 0) return true;
  fail_write(j, temp, r, shown);
  return false;
}

static void finish(struct append_job *j, const char *temp, const char *final, int64_t bytes) {
  int r = sys_link(temp, final); /* unlike rename this never replaces a file */
  if (r == -EPERM || r == -EOPNOTSUPP) { /* a file system without links */
    struct stat st;
    r = lstat(final, &st) == 0 ? -EEXIST : sys_rename(temp, final);
  } else {
    (void)!sys_unlink(temp);
  }
  if (r < 0) {
    (void)!sys_unlink(temp);
    append_defer(j, -r, "while renaming %s as %s", temp, final);
    return;
  }
  r = append_sync_parent(j->d->arena, final);
  if (r < 0) {
    (void)!sys_unlink(final); /* unsure whether it survives: deliver again rather than lose or guess */
    append_defer(j, -r, "error while writing to %s", final);
    return;
  }
  transport_set_results(j->d->addrs, OUTCOME_OK, 0, NULL);
  for (struct address *a = j->d->addrs; a; a = a->next) a->delivered_size = bytes;
}

/* ---- maildir ---------------------------------------------------------------------------------------------- */

static bool make_maildir(struct append_job *j) {
  static const char *const parts[] = {"new", "cur", "tmp"};
  for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
    if (!append_make_directories(j, arena_printf(j->d->arena, "%s/%s", j->path, parts[i]))) return false;
  return true;
}

/* A name that cannot be used twice: clock, process, host; the clock is seen to move on before we return. */
static const char *maildir_name(struct append_job *j) {
  struct timeval tv = time_now(), then = tv;
  while (then.tv_sec == tv.tv_sec && then.tv_usec == tv.tv_usec) then = time_now();
  return arena_printf(j->d->arena, "%lld.H%ldP%ld.%s", (long long)tv.tv_sec, (long)tv.tv_usec, (long)getpid(), j->d->cfg->primary_hostname);
}

static void deliver_maildir(struct append_job *j) {
  struct arena *a = j->d->arena;
  if (!make_maildir(j)) return;
  const char *name = NULL, *temp = NULL;
  for (int64_t i = 0; j->fd < 0 && i <= j->ob->maildir_retries; i++) {
    struct timespec two = {.tv_sec = 2};
    if (i > 0) nanosleep(&two, NULL);
    name = maildir_name(j);
    temp = arena_printf(a, "%s/tmp/%s", j->path, name);
    j->fd = sys_open(temp, O_WRONLY | O_CREAT | O_EXCL, (mode_t)j->mode);
    if (j->fd < 0 && j->fd != -EEXIST) break;
  }
  if (j->fd < 0) {
    append_defer(j, -j->fd, "while creating file %s", temp);
    return;
  }
  (void)!sys_fchmod(j->fd, (mode_t)j->mode);
  struct stat st;
  int64_t bytes = 0;
  if (!write_temp(j, temp, arena_printf(a, "tmp/%s", name), &st, &bytes)) return;
  finish(j, temp, arena_printf(a, "%s/new/%s", j->path, name), bytes);
}

/* ---- plain directory -------------------------------------------------------------------------------------- */

static void deliver_file(struct append_job *j) {
  struct arena *a = j->d->arena;
  if (!append_make_directories(j, j->path)) return;
  const char *temp = arena_printf(a, "%s/temp.%ld.%s", j->path, (long)getpid(), j->d->cfg->primary_hostname);
  j->fd = sys_open(temp, O_WRONLY | O_CREAT | O_EXCL, (mode_t)j->mode);
  if (j->fd < 0) {
    append_defer(j, -j->fd, "while creating file %s", temp);
    return;
  }
  (void)!sys_fchmod(j->fd, (mode_t)j->mode);
  struct stat st;
  int64_t bytes = 0;
  if (!write_temp(j, temp, temp, &st, &bytes)) return;
  j->d->x->inode = st.st_ino;
  const char *name = expand_option(j->d->x, "directory_file", j->ob->directory_file);
  if (!name || strchr(name, '/') || !*name || expand_taint_refused(j->d->x, name, "file name for directory_file")) {
    (void)!sys_unlink(temp);
    append_defer(j, ERRNO_EXPANDFAIL, "Expansion of \"%s\" (directory_file for %s transport) failed: %s", j->ob->directory_file,
                 j->d->transport->name, j->d->x->error ? j->d->x->error : "no usable file name");
    return;
  }
  finish(j, temp, arena_printf(a, "%s/%s", j->path, name), bytes);
}

void append_to_directory(struct append_job *j) {
  struct stat st;
  if (stat(j->path, &st) < 0 && !append_may_create(j, j->path)) {
    append_defer(j, ERRNO_BADCREATE, "tried to create file in %s, but file creation outside the home directory is not permitted", j->path);
    return;
  }
  if (j->format == APPEND_MAILDIR)
    deliver_maildir(j);
  else
    deliver_file(j);
}
