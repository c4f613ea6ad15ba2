/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mailboxes in MBX format, and the locks that go with them.  Floor: drivers.  Manual ch. 26 "mbx_format", "use_mbx_lock".
 *
 * A file begins with 2048 bytes: a mark, the UID validity, 30 empty keyword lines, zeros.  Each message has a line with its date, its size and its flags
 * in front; lines end with CRLF.  The size stands before the message, so the message is counted before it is written, and what was written must have
 * that size.  The lock is a shared one on the mailbox and an exclusive one on /tmp/.DEVICE.INODE, a name that anybody may take: only a plain file with one
 * link that is still there once it is locked counts, links are not followed. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "os/sys.h"
#include "transports/appendfile_priv.h"

enum { MBX_HEAD_BYTES = 2048, MBX_KEYWORDS = 30 };
static const char mbx_mark[] = "*mbx*\r\n";

void append_mbx_default_locks(struct appendfile_opts *ob, const struct opt_block *set) {
  static const char *const names[] = {"use_fcntl_lock", "use_flock_lock", "use_lockfile", "use_mbx_lock"};
  bool any = false;
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) any = any || opt_was_set(set, names[i]);
  if (ob->mbx_format && !any) {
    ob->use_mbx_lock = true;
    ob->use_lockfile = false;
  }
  if (ob->use_mbx_lock && ob->use_flock_lock && !opt_was_set(set, "use_fcntl_lock")) ob->use_fcntl_lock = false;
}

/* ---- the lock --------------------------------------------------------------------------------------------- */

static int lock_fd(const struct append_job *j, int fd, bool exclusive, deadline_ms deadline) {
  int r = j->ob->use_fcntl_lock || !j->ob->use_flock_lock ? sys_lock_until(fd, exclusive ? F_WRLCK : F_RDLCK, 0, 0, deadline) : 0;
  while (r == 0 && j->ob->use_flock_lock && flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0) {
    if (errno != EINTR && errno != EWOULDBLOCK) return -errno;
    if (deadline_passed(deadline)) return -EAGAIN;
    struct timespec nap = {0, 50 * 1000 * 1000};
    nanosleep(&nap, NULL);
  }
  return r;
}

/* Is the open file what the name stands for, and nothing that could be somebody else's? */
static bool is_ours(const char *path, int fd) {
  struct stat by_name, by_fd;
  return lstat(path, &by_name) == 0 && fstat(fd, &by_fd) == 0 && S_ISREG(by_fd.st_mode) && by_fd.st_nlink == 1 && by_name.st_ino == by_fd.st_ino &&
         by_name.st_dev == by_fd.st_dev;
}

int append_mbx_lock(struct append_job *j, deadline_ms deadline) {
  struct stat st;
  int r = lock_fd(j, j->fd, false, deadline);
  if (r < 0) return r;
  if (fstat(j->fd, &st) < 0) return -errno;
  j->mbx_lock_name = arena_printf(j->d->arena, "/tmp/.%lx.%lx", (unsigned long)st.st_dev, (unsigned long)st.st_ino);
  j->mbx_lock_fd = sys_open(j->mbx_lock_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, (mode_t)j->ob->lockfile_mode);
  if (j->mbx_lock_fd < 0) return j->mbx_lock_fd;
  r = lock_fd(j, j->mbx_lock_fd, true, deadline);
  if (r == 0 && is_ours(j->mbx_lock_name, j->mbx_lock_fd)) return 0;
  (void)!sys_close(j->mbx_lock_fd);
  j->mbx_lock_fd = -1;
  return r < 0 ? r : -EAGAIN;
}

/* Removed while it is held: who waits for it finds that the name is gone and tries again. */
void append_mbx_unlock(struct append_job *j) {
  if (j->mbx_lock_fd < 0) return;
  if (is_ours(j->mbx_lock_name, j->mbx_lock_fd)) (void)!sys_unlink(j->mbx_lock_name);
  (void)!sys_close(j->mbx_lock_fd);
  j->mbx_lock_fd = -1;
}

/* ---- writing ---------------------------------------------------------------------------------------------- */

static int write_file_head(const struct append_job *j) {
  char head[MBX_HEAD_BYTES] = "";
  int n = snprintf(head, sizeof head, "%s%08lx%08x\r\n", mbx_mark, (unsigned long)time_sec() & 0xffffffff, 0u);
  for (int i = 0; i < MBX_KEYWORDS; i++) {
    head[n++] = '\r';
    head[n++] = '\n';
  }
  return sys_write_all(j->fd, head, sizeof head);
}

static bool is_mbx(const struct append_job *j) {
  char head[sizeof mbx_mark - 1];
  return sys_pread(j->fd, head, sizeof head, 0) == (ssize_t)sizeof head && memcmp(head, mbx_mark, sizeof head) == 0;
}

static int write_heads(const struct append_job *j, off_t size_before, int64_t message_bytes) {
  int r = size_before > 0 ? 0 : write_file_head(j);
  if (r < 0) return r;
  char full[64];
  const char *stamp = time_format(time_now(), TIME_FULL, (struct time_opts){0}, full, sizeof full) + sizeof "Tue, " - 1;
  char *line = arena_printf(j->d->arena, "%s,%" PRId64 ";%08x%04x-%08x\r\n", stamp, message_bytes, 0u, 0u, 0u);
  for (int dashes = 0, at = 0; dashes < 2 && line[at]; at++)
    if (line[at] == ' ') {
      line[at] = '-';
      dashes++;
    }
  return sys_write_all(j->fd, line, strlen(line));
}

static int fault(struct append_job *j, int basic_errno, const char *text) {
  j->d->write_fault = (struct write_fault){.basic_errno = basic_errno, .text = text, .is_complete = true};
  return -EPROTO;
}

int append_mbx_write(struct append_job *j, off_t size_before, int64_t *ret_bytes) {
  if (size_before > 0 && !is_mbx(j)) return fault(j, ERRNO_FORMATUNKNOWN, "mailbox file format unrecognized");
  j->counted = 0;
  j->is_counting = true;
  int r = append_write(j, ret_bytes);
  j->is_counting = false;
  int64_t announced = j->counted;
  if (r == 0) r = write_heads(j, size_before, announced);
  j->counted = 0;
  if (r == 0) r = append_write(j, ret_bytes);
  return r == 0 && j->counted != announced ? fault(j, ERRNO_MBXLENGTH, "the message had another length when it was written") : r;
}
