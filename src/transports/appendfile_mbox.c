/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Appending to one mailbox file.  Floor: drivers.  Manual ch. 26 "Operational details for appending".
 *
 * Order: lock file (safe over NFS: a hitching post linked to the lock name), lstat and checks, open, the same checks on the open file, fcntl or
 * flock lock, append, fsync.  A file whose inode, owner or mode changed between look and open was tampered with: defer and freeze.
 * On any error the file gets back its old length and times; one that this delivery made stays, empty.  The lock file is removed last. */
#include "transports/appendfile_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "os/debug.h"
#include "os/signals.h"
#include "os/sys.h"

enum { MAX_EXIST_FLIPS = 10 };

static void pause_sec(int64_t sec) {
  struct timespec ts = {.tv_sec = (time_t)sec};
  while (nanosleep(&ts, &ts) < 0 && errno == EINTR) continue;
}

/* ---- lock file -------------------------------------------------------------------------------------------- */

static bool link_lock(const char *hitch, const char *lock) {
  struct stat st;
  if (sys_link(hitch, lock) == 0) return true;
  return stat(hitch, &st) == 0 && st.st_nlink == 2; /* NFS: done, though the answer got lost */
}

/* True: held.  False: result set. */
static bool take_lock_file(struct append_job *j, const char *lock) {
  struct delivery *d = j->d;
  const char *hitch = arena_printf(d->arena, "%s.%s.%08x.%08x", lock, d->cfg->primary_hostname, (unsigned)time_sec(), (unsigned)getpid());
  for (int64_t i = 0; i <= j->ob->lock_retries; i++) {
    if (i > 0) pause_sec(j->ob->lock_interval);
    int fd = sys_open(hitch, O_WRONLY | O_CREAT | O_EXCL, (mode_t)j->ob->lockfile_mode);
    if (fd < 0) {
      append_defer(j, -fd, "creating lock file hitching post %s (euid=%ld egid=%ld)", hitch, (long)geteuid(), (long)getegid());
      return false;
    }
    (void)!sys_fchmod(fd, (mode_t)j->ob->lockfile_mode); /* the umask; the lock works with any mode */
    bool held = sys_close(fd) == 0 && link_lock(hitch, lock);
    (void)!sys_unlink(hitch);
    if (held) return true;
    struct stat st;
    if (j->ob->lockfile_timeout > 0 && stat(lock, &st) == 0 && time_sec() - st.st_ctime > j->ob->lockfile_timeout) {
      DEBUG(D_TRANSPORT) debug_printf("unlinking timed-out lock file\n");
      (void)!sys_unlink(lock);
    }
  }
  append_defer(j, ERRNO_LOCKFAILED, "failed to lock mailbox %s (lock file)", j->path);
  return false;
}

/* ---- opening ---------------------------------------------------------------------------------------------- */

static bool check_owner(struct append_job *j, const struct stat *st, const char *note) {
  const struct appendfile_opts *ob = j->ob;
  if (ob->check_owner && st->st_uid != geteuid()) {
    append_defer(j, ERRNO_BADUGID, "mailbox %s%s has wrong uid (%ld != %ld)", j->path, note, (long)st->st_uid, (long)geteuid());
    return false;
  }
  if (ob->check_group && st->st_gid != getegid()) {
    append_defer(j, ERRNO_BADUGID, "mailbox %s%s has wrong gid (%d != %d)", j->path, note, (int)st->st_gid, (int)getegid());
    return false;
  }
  return true;
}

/* lstat said something exists. *st becomes that of the file itself. */
static bool check_existing(struct append_job *j, struct stat *st, bool *ret_is_link) {
  *ret_is_link = S_ISLNK(st->st_mode);
  if (*ret_is_link) {
    if (!j->ob->allow_symlink) {
      append_defer(j, ERRNO_NOTREGULAR, "mailbox %s is not a regular file", j->path);
      return false;
    }
    if (!check_owner(j, st, " (symlink)")) return false;
    if (stat(j->path, st) < 0) {
      append_defer(j, errno, "attempting to stat mailbox %s", j->path);
      return false;
    }
  }
  if (!check_owner(j, st, "")) return false;
  if (st->st_nlink > 1) {
    append_defer(j, ERRNO_NOTREGULAR, "mailbox %s%s has too many links (%lu)", j->path, *ret_is_link ? " (symlink)" : "",
                 (unsigned long)st->st_nlink);
    return false;
  }
  if (S_ISREG(st->st_mode)) return true;
  append_defer(j, ERRNO_NOTREGULAR, "mailbox %s is not a regular file", j->path);
  return false;
}

static bool check_mode(struct append_job *j, const struct stat *st) {
  int64_t have = st->st_mode & 07777, want = j->mode;
  if (have == want || (have & ~want) || !j->ob->mode_fail_narrower) return true;
  append_defer(j, ERRNO_BADMODE, "mailbox %s has the wrong mode %o (%o expected)", j->path, (unsigned)have, (unsigned)want);
  return false;
}

/* A mode more generous than wanted is reduced, on the file that was checked. */
static bool reduce_mode(struct append_job *j, const struct stat *st) {
  if (!((st->st_mode & 07777) & ~j->mode)) return true;
  int r = sys_fchmod(j->fd, (mode_t)j->mode);
  if (r < 0) append_defer(j, -r, "attempting to chmod mailbox %s", j->path);
  return r == 0;
}

static bool check_opened(struct append_job *j, const struct stat *before) {
  struct stat now;
  if (fstat(j->fd, &now) < 0) {
    append_defer(j, errno, "attempting to stat open mailbox %s", j->path);
    return false;
  }
  if (now.st_ino != before->st_ino || now.st_dev != before->st_dev) {
    append_freeze(j, ERRNO_INODECHANGED, "opened mailbox %s inode number changed from %lu to %lu", j->path,
                  (unsigned long)before->st_ino, (unsigned long)now.st_ino);
    return false;
  }
  if (!S_ISREG(now.st_mode)) {
    append_freeze(j, ERRNO_NOTREGULAR, "opened mailbox %s is no longer a %s", j->path, "regular file");
    return false;
  }
  if ((j->ob->check_owner && now.st_uid != before->st_uid) || (j->ob->check_group && now.st_gid != before->st_gid)) {
    append_freeze(j, ERRNO_BADUGID, "opened mailbox %s has wrong uid or gid", j->path);
    return false;
  }
  if ((now.st_mode & 07777) != (before->st_mode & 07777)) {
    append_freeze(j, ERRNO_BADMODE, "opened mailbox %s has wrong mode %o (%o expected)", j->path, (unsigned)(now.st_mode & 07777),
                  (unsigned)(before->st_mode & 07777));
    return false;
  }
  return true;
}

enum opened { OPENED_OLD, OPENED_NEW, OPENED_FAILED, OPENED_AGAIN };

static enum opened open_new(struct append_job *j) {
  if (j->ob->file_must_exist) {
    append_defer(j, ENOENT, "mailbox %s does not exist, but file_must_exist is set", j->path);
    return OPENED_FAILED;
  }
  if (!append_may_create(j, j->path)) {
    append_defer(j, ERRNO_BADCREATE, "mailbox %s does not exist, but creation outside the home directory is not permitted", j->path);
    return OPENED_FAILED;
  }
  j->fd = sys_open(j->path, O_RDWR | O_CREAT | O_EXCL | O_APPEND, (mode_t)j->mode);
  if (j->fd == -EEXIST) return OPENED_AGAIN;
  if (j->fd < 0) {
    append_defer(j, -j->fd, "while creating mailbox %s", j->path);
    return OPENED_FAILED;
  }
  int r = sys_fchmod(j->fd, (mode_t)j->mode);
  if (r == 0) return OPENED_NEW;
  append_defer(j, -r, "while setting perms on mailbox %s", j->path);
  (void)!sys_close(j->fd);
  (void)!sys_unlink(j->path);
  j->fd = -1;
  return OPENED_FAILED;
}

static enum opened open_old(struct append_job *j, struct stat *st) {
  bool is_link;
  if (!check_existing(j, st, &is_link) || !check_mode(j, st)) return OPENED_FAILED;
  /* O_RDWR: some filters and locks want to read; O_NOFOLLOW unless a link was allowed */
  j->fd = sys_open(j->path, O_RDWR | O_APPEND | (is_link ? 0 : O_NOFOLLOW), 0);
  if (j->fd == -ENOENT) return OPENED_AGAIN;
  if (j->fd < 0) {
    append_defer(j, -j->fd, "while opening mailbox %s", j->path);
    return OPENED_FAILED;
  }
  if (check_opened(j, st) && reduce_mode(j, st)) return OPENED_OLD;
  (void)!sys_close(j->fd);
  j->fd = -1;
  return OPENED_FAILED;
}

static enum opened open_mailbox(struct append_job *j) {
  for (int i = 0; i < MAX_EXIST_FLIPS; i++) {
    struct stat st;
    enum opened r;
    if (lstat(j->path, &st) == 0) {
      r = open_old(j, &st);
    } else if (errno == ENOENT) {
      r = open_new(j);
    } else {
      append_defer(j, errno, "attempting to stat mailbox %s", j->path);
      r = OPENED_FAILED;
    }
    if (r != OPENED_AGAIN) return r;
  }
  append_freeze(j, ERRNO_EXISTRACE, "mailbox %s: existence unclear", j->path);
  return OPENED_FAILED;
}

/* ---- locks on the open file ------------------------------------------------------------------------------- */

static int flock_until(int fd, deadline_ms deadline) {
  for (;;) {
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return 0;
    if (errno != EINTR && errno != EWOULDBLOCK) return -errno;
    if (deadline_passed(deadline)) return -EAGAIN;
    pause_ms(50);
  }
}

static int lock_open_file(struct append_job *j) {
  const struct appendfile_opts *ob = j->ob;
  int r = 0;
  int64_t wait = MAX(ob->lock_fcntl_timeout, ob->lock_flock_timeout);
  if (ob->use_mbx_lock) return append_mbx_lock(j, wait > 0 ? deadline_in_sec(wait) : time_mono_ms());
  if (ob->use_fcntl_lock)
    r = ob->lock_fcntl_timeout > 0 ? sys_lock_until(j->fd, F_WRLCK, 0, 0, deadline_in_sec(ob->lock_fcntl_timeout))
                                   : sys_lock(j->fd, F_WRLCK, 0, 0, false);
  if (r == 0 && ob->use_flock_lock)
    r = flock_until(j->fd, ob->lock_flock_timeout > 0 ? deadline_in_sec(ob->lock_flock_timeout) : time_mono_ms());
  return r;
}

/* Attempts at the lock; a blocking wait counts for as many intervals as it lasted. */
static int64_t lock_attempts(const struct appendfile_opts *ob) {
  int64_t wait = MAX(ob->lock_fcntl_timeout, ob->lock_flock_timeout);
  if (wait <= 0) return ob->lock_retries + 1;
  return MAX((ob->lock_retries * ob->lock_interval + wait - 1) / wait, 1);
}

/* While we waited for the lock its holder may have removed or renamed the file: what is appended to that one is lost. */
static bool still_has_name(const struct append_job *j) {
  struct stat by_name, by_fd;
  return stat(j->path, &by_name) == 0 && fstat(j->fd, &by_fd) == 0 && by_name.st_ino == by_fd.st_ino &&
         by_name.st_dev == by_fd.st_dev;
}

static enum opened open_locked(struct append_job *j) {
  int64_t attempts = lock_attempts(j->ob);
  for (int64_t i = 0, flips = 0; i < attempts; i++) {
    if (i > 0 && MAX(j->ob->lock_fcntl_timeout, j->ob->lock_flock_timeout) <= 0) pause_sec(j->ob->lock_interval);
    enum opened how = open_mailbox(j);
    if (how == OPENED_FAILED) return how;
    bool is_locked = lock_open_file(j) == 0;
    if (is_locked && still_has_name(j)) return how;
    append_mbx_unlock(j);
    (void)!sys_close(j->fd);
    j->fd = -1;
    if (is_locked && flips++ < MAX_EXIST_FLIPS) i--; /* the lock was to be had: look again at once */
  }
  append_defer(j, ERRNO_LOCKFAILED, "failed to lock mailbox %s (fcntl/flock)", j->path);
  return OPENED_FAILED;
}

/* ---- appending -------------------------------------------------------------------------------------------- */

/* A mailbox that this delivery made stays, empty: somebody may have opened it meanwhile. */
static void undo(struct append_job *j, const struct stat *before) {
  struct timespec times[2] = {before->st_atim, before->st_mtim};
  (void)!sys_ftruncate(j->fd, before->st_size);
  (void)futimens(j->fd, times);
}

/* A writer that was killed leaves a piece without a line end.  Without one the next message's "From " line would not start a line,
 * and every reader would take that message for the end of the piece. */
static int end_last_line(const struct append_job *j, off_t size) {
  char last;
  const char *prefix = j->prefix;
  if (size == 0 || !prefix || strncmp(prefix, "From ", 5) != 0 || sys_pread(j->fd, &last, 1, size - 1) != 1 || last == '\n')
    return 0;
  return sys_write_all(j->fd, "\n\n", 2);
}

static void append_open_file(struct append_job *j, enum opened how) {
  struct stat before;
  int64_t bytes = 0;
  int r = fstat(j->fd, &before) < 0 ? -errno : 0;
  if (r == 0 && transport_is_orphaned(j->d)) r = -EOWNERDEAD; /* waiting for the locks may have taken long */
  if (r == 0) append_note_file_size(j, before.st_size);
  const char *full = r == 0 ? append_over_quota(j) : NULL;
  if (full) {
    (void)!sys_close(j->fd);
    j->fd = -1;
    append_defer_quota(j, full, j->path, before.st_size > 0 ? before.st_atime : 0);
    return;
  }
  if (r == 0 && j->ob->mbx_format) r = append_mbx_write(j, before.st_size, &bytes);
  else if (r == 0 && (r = end_last_line(j, before.st_size)) == 0) r = append_write(j, &bytes);
  struct stat after;
  int64_t written = r == 0 && fstat(j->fd, &after) == 0 ? after.st_size - before.st_size : 0;
  if (r == 0 && how == OPENED_NEW) r = append_sync_parent(j->d->arena, j->path);
  if (r < 0) undo(j, &before);
  sys_drop(&j->fd); /* it is synced: what close says cannot be undone any more, and the message would come twice */
  if (r < 0) {
    append_write_failed(j, r, j->path);
    return;
  }
  transport_set_results(j->d->addrs, OUTCOME_OK, 0, NULL);
  for (struct address *a = j->d->addrs; a; a = a->next) a->delivered_size = bytes;
  j->size_before = before.st_size;
  j->size_after = before.st_size + written;
}

void append_to_mbox(struct append_job *j) {
  struct arena *a = j->d->arena;
  const char *slash = strrchr(j->path, '/');
  struct stat st;
  if (lstat(j->path, &st) < 0 && errno == ENOENT && append_may_create(j, j->path) &&
      !append_make_directories(j, arena_strndup(a, j->path, (size_t)(slash - j->path))))
    return;
  const char *lock = arena_printf(a, "%s.lock", j->path);
  if (j->ob->use_lockfile && !take_lock_file(j, lock)) return;
  enum opened how = open_locked(j);
  if (how != OPENED_FAILED) append_open_file(j, how);
  append_mbx_unlock(j);
  if (j->ob->use_lockfile) (void)!sys_unlink(lock);
}
