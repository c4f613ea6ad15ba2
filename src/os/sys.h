/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The system call facade: every call that can lose data or privilege.  Floor: os.
 *
 * All functions return >= 0 or -errno, retry EINTR, and set O_CLOEXEC.  Each call is counted by name, and in every build the
 * environment of a root or harness caller may (only when sys_faults_enable() was called by main, which refuses it to
 * unprivileged callers of a setuid binary) plant faults:
 *   EXIM_FAULT=call:N:errno[:sticky]      the Nth call of that name fails with errno
 *   EXIM_KILL=call:N:before|after         the process kills itself (SIGKILL) before or after the Nth call; call "any" counts all
 *   EXIM_FAULT_ROLE=reception|delivery|any  restricts both to processes that declared the role with sys_role()
 *   EXIM_FAULT_DEPTH=n                    plants them only in processes n forks below the first one (counts are inherited)
 *   EXIM_SYSLOG_FD=n                      write one line per counted call to that descriptor (for counting the points of a
 *                                         crash test): pid, name, count of all calls, count of that name, forks below the first
 * Rule: a failed fsync is final; callers never retry it. */
#ifndef OS_SYS_H
#define OS_SYS_H

#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/arena.h"
#include "base/timeutil.h"

enum sys_role { SYS_ROLE_NONE, SYS_ROLE_RECEPTION, SYS_ROLE_DELIVERY, SYS_ROLE_DAEMON };

/* Read the fault environment (see above).  Call once at start, before privileges are dropped. */
void sys_faults_enable(void);
void sys_role(enum sys_role role);

MUST_CHECK int sys_open(const char *path, int flags, mode_t mode);
MUST_CHECK int sys_openat(int dirfd, const char *path, int flags, mode_t mode);
/* Open for reading what should be a regular file, whoever wrote its name: never waits, as opening a FIFO without a writer would.  /dev/null and
 * directories are let through (reading the latter is an error).  -ENXIO: something else (a FIFO, a socket, a device). */
MUST_CHECK int sys_open_file(const char *path);
/* What such an error is called: strerror, but "not a regular file" for -ENXIO. */
const char *sys_open_file_error(int rc);
/* Write everything (loops over short writes); 0 or -errno. */
MUST_CHECK int sys_write_all(int fd, const void *buf, size_t n);
MUST_CHECK int sys_writev_all(int fd, struct iovec *iov, int iovcnt);
MUST_CHECK ssize_t sys_read(int fd, void *buf, size_t n);
MUST_CHECK ssize_t sys_pread(int fd, void *buf, size_t n, off_t off);
/* Read the whole file, at most max_bytes (-EFBIG beyond), into tainted storage of the arena, NUL after the end. */
MUST_CHECK int sys_read_file(int fd, struct arena *a, size_t max_bytes, char **ret_p, size_t *ret_n);
/* The same for files that are the administrator's own: t says whether the storage is tainted. */
MUST_CHECK int sys_read_file_t(int fd, struct arena *a, size_t max_bytes, enum taint t, char **ret_p, size_t *ret_n);
MUST_CHECK int sys_fsync(int fd);
MUST_CHECK int sys_fdatasync(int fd);
MUST_CHECK int sys_fsync_dir(int dirfd);
/* Start write-back of what was written so far, without waiting; errors are ignored (fsync reports them). */
void sys_start_writeback(int fd);
MUST_CHECK int sys_rename(const char *from, const char *to);
MUST_CHECK int sys_renameat(int fromdir, const char *from, int todir, const char *to);
MUST_CHECK int sys_link(const char *from, const char *to);
MUST_CHECK int sys_unlink(const char *path);
MUST_CHECK int sys_unlinkat(int dirfd, const char *path, int flags);
MUST_CHECK int sys_mkdir(const char *path, mode_t mode);
/* mkdir -p below an existing base directory; each created level gets mode and, when uid != -1, owner uid:gid. */
MUST_CHECK int sys_mkdir_path(const char *base, const char *rel, mode_t mode, uid_t uid, gid_t gid);
MUST_CHECK int sys_ftruncate(int fd, off_t len);
/* Have room for these bytes kept on the disk; the file does not grow.  -EOPNOTSUPP where the file system cannot. */
MUST_CHECK int sys_allocate(int fd, off_t at, off_t len);
MUST_CHECK int sys_fchown(int fd, uid_t uid, gid_t gid);
MUST_CHECK int sys_fchmod(int fd, mode_t mode);
MUST_CHECK int sys_close(int fd);
/* Close what is only read, or synced already, so that an error would say nothing new; *fd is -1 then.  -1: nothing to do. */
void sys_drop(int *fd);
/* fcntl record lock on [start, start+len); type F_RDLCK/F_WRLCK/F_UNLCK; -EAGAIN when held by someone else and !wait. */
MUST_CHECK int sys_lock(int fd, short type, off_t start, off_t len, bool wait);
/* Lock with a deadline: polls every 50 ms. */
MUST_CHECK int sys_lock_until(int fd, short type, off_t start, off_t len, deadline_ms deadline);

/* fork: flushes stdio, in the child forgets parent-only state and runs the hooks registered with sys_at_fork_child().
 * name appears in debug output and exiwhat.  Returns 0 in the child, pid in the parent, -errno. */
MUST_CHECK pid_t sys_fork(const char *name);
void sys_at_fork_child(void (*hook)(void));
MUST_CHECK int sys_pipe(int fds[2]);
/* waitpid with EINTR loop; status as waitpid. */
pid_t sys_waitpid(pid_t pid, int *status, int options);
/* Permanently become uid:gid (all three ids, supplementary groups set from initgroups name or cleared). 0/-errno. */
MUST_CHECK int sys_become(uid_t uid, gid_t gid, const char *initgroups_name);

/* Once, before anything large is allocated: buffers of a busy connection grow and are given back again and again; without this the allocator learns to
 * cut them from the heap, where small blocks pin them, and an idle session keeps tens of megabytes. */
void sys_large_blocks_apart(void);

/* Number of calls of that name so far in this process ("fsync" ...): for tests. */
unsigned long sys_call_count(const char *name);

#endif
