/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The system call facade (sys.h).  Floor: os.
 *
 * Each public function is: count the call, perhaps fail or die as the fault environment says, do the call
 * (again after EINTR), return its value or -errno.  The counters and the fault plan are this file's only
 * state; they exist so that a crash test can stop the program before and after each call that matters. */
#include "os/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "os/process_use.h"
#include "os/signals.h"

enum call_id {
  C_OPEN, C_WRITE, C_READ, C_FSYNC, C_FDATASYNC, C_FSYNCDIR, C_RENAME, C_LINK, C_UNLINK, C_MKDIR, C_FTRUNCATE,
  C_FCHOWN, C_FCHMOD, C_CLOSE, C_LOCK, C_FORK, C_PIPE, C_ALLOCATE, C_COUNT
};
static const char *const call_names[C_COUNT] = {
  "open", "write", "read", "fsync", "fdatasync", "fsyncdir", "rename", "link", "unlink", "mkdir", "ftruncate",
  "fchown", "fchmod", "close", "lock", "fork", "pipe", "allocate"};

enum { MAX_FORK_HOOKS = 8, ANY_CALL = C_COUNT, LARGE_BLOCK_BYTES = 128 * 1024 };

static struct {
  unsigned long count[C_COUNT + 1]; /* the last one counts all of the armed role */
  bool armed;                       /* a fault environment was given */
  int fault_call, kill_call;        /* call_id, ANY_CALL, or -1 */
  unsigned long fault_nth, kill_nth;
  int fault_errno;
  bool fault_sticky, kill_after;
  enum sys_role wanted_role, role;
  int wanted_depth, depth; /* forks below the first process; -1: any */
  int trace_fd;
  void (*fork_hooks[MAX_FORK_HOOKS])(void);
  int fork_hook_count;
} sys_state = {.fault_call = -1, .kill_call = -1, .wanted_depth = -1, .trace_fd = -1};

/* ---- fault plan ---------------------------------------------------------------------------------------- */

static int call_by_name(struct str name) {
  if (str_eq_c(name, "any")) return ANY_CALL;
  for (int i = 0; i < C_COUNT; i++)
    if (str_eq_c(name, call_names[i])) return i;
  return -1;
}

static int errno_by_name(struct str name) {
  static const struct {
    const char *name;
    int value;
  } table[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"EMFILE", EMFILE},
               {"ENFILE", ENFILE}, {"EAGAIN", EAGAIN}, {"ENOMEM", ENOMEM}, {"EACCES", EACCES},
               {"EROFS", EROFS},   {"EPIPE", EPIPE}};
  for (size_t i = 0; i < ARRAY_SIZE(table); i++)
    if (str_eq_c(name, table[i].name)) return table[i].value;
  int n;
  return str_parse_int(name, &n) ? n : EIO;
}

static bool parse_plan(const char *text, int *ret_call, unsigned long *ret_nth, struct str *ret_third, bool *ret_fourth) {
  struct str s = str_c(text);
  int call = call_by_name(str_cut(&s, ':'));
  uint64_t nth;
  if (call < 0 || !str_parse_u64(str_cut(&s, ':'), &nth)) return false;
  *ret_call = call;
  *ret_nth = nth;
  *ret_third = str_cut(&s, ':');
  *ret_fourth = s.n > 0;
  return true;
}

void sys_faults_enable(void) {
  const char *fault = getenv("EXIM_FAULT"), *die = getenv("EXIM_KILL"), *role = getenv("EXIM_FAULT_ROLE"),
             *depth = getenv("EXIM_FAULT_DEPTH"), *trace = getenv("EXIM_SYSLOG_FD");
  struct str third;
  bool fourth;
  if (fault && parse_plan(fault, &sys_state.fault_call, &sys_state.fault_nth, &third, &fourth)) {
    sys_state.fault_errno = errno_by_name(third);
    sys_state.fault_sticky = fourth;
    sys_state.armed = true;
  }
  if (die && parse_plan(die, &sys_state.kill_call, &sys_state.kill_nth, &third, &fourth)) {
    sys_state.kill_after = str_eq_c(third, "after");
    sys_state.armed = true;
  }
  if (role)
    sys_state.wanted_role = strcmp(role, "reception") == 0  ? SYS_ROLE_RECEPTION
                            : strcmp(role, "delivery") == 0 ? SYS_ROLE_DELIVERY
                                                            : SYS_ROLE_NONE;
  int fd, n;
  if (depth && str_parse_int(str_c(depth), &n)) sys_state.wanted_depth = n;
  if (trace && str_parse_int(str_c(trace), &fd)) {
    sys_state.trace_fd = fd;
    sys_state.armed = true;
  }
}

void sys_role(enum sys_role role) { sys_state.role = role; }

static bool role_matches(void) {
  return sys_state.wanted_role == SYS_ROLE_NONE || sys_state.wanted_role == sys_state.role;
}

/* Planned faults may be meant for one generation of processes only: the counts go on, the fault waits for its own. */
static bool depth_matches(void) {
  return sys_state.wanted_depth < 0 || sys_state.wanted_depth == sys_state.depth;
}

static void die_now(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

static bool is_nth(int planned_call, unsigned long nth, enum call_id c, bool sticky) {
  if ((planned_call != (int)c && planned_call != ANY_CALL) || !depth_matches()) return false;
  unsigned long n = sys_state.count[planned_call];
  return n == nth || (sticky && n > nth);
}

static void trace_call(enum call_id c) {
  char line[64];
  int n = snprintf(line, sizeof line, "%d %s %lu %lu %d\n", (int)getpid(), call_names[c], sys_state.count[ANY_CALL],
                   sys_state.count[c], sys_state.depth);
  ssize_t unused = write(sys_state.trace_fd, line, (size_t)n);
  (void)unused;
}

/* Before the call: 0, or -errno when it has to fail. */
static int call_enter(enum call_id c) {
  if (!sys_state.armed) {
    sys_state.count[c]++;
    return 0;
  }
  if (!role_matches()) return 0;
  sys_state.count[c]++;
  sys_state.count[ANY_CALL]++;
  if (sys_state.trace_fd >= 0) trace_call(c);
  if (!sys_state.kill_after && is_nth(sys_state.kill_call, sys_state.kill_nth, c, false)) die_now();
  if (is_nth(sys_state.fault_call, sys_state.fault_nth, c, sys_state.fault_sticky)) return -sys_state.fault_errno;
  return 0;
}

static void call_leave(enum call_id c) {
  if (sys_state.armed && role_matches() && sys_state.kill_after &&
      is_nth(sys_state.kill_call, sys_state.kill_nth, c, false))
    die_now();
}

unsigned long sys_call_count(const char *name) {
  int c = call_by_name(str_c(name));
  return c < 0 ? 0 : sys_state.count[c];
}

/* Count, run expr until it is not interrupted, give its value or -errno. */
#define CALL(id, type, expr)                 \
  do {                                       \
    int fault_ = call_enter(id);             \
    if (fault_ < 0) return fault_;           \
    type r_;                                 \
    do r_ = (expr);                          \
    while (r_ < 0 && errno == EINTR);        \
    if (r_ < 0) {                            \
      type e_ = -errno;                      \
      return e_;                             \
    }                                        \
    call_leave(id);                          \
    return r_;                               \
  } while (0)

/* ---- files --------------------------------------------------------------------------------------------- */

int sys_open(const char *path, int flags, mode_t mode) { CALL(C_OPEN, int, open(path, flags | O_CLOEXEC, mode)); }

int sys_openat(int dirfd, const char *path, int flags, mode_t mode) {
  CALL(C_OPEN, int, openat(dirfd, path, flags | O_CLOEXEC, mode));
}

int sys_open_file(const char *path) {
  struct stat st;
  int fd = sys_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
  if (fd < 0) return fd;
  if (fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3)))) return fd;
  (void)!sys_close(fd); /* only read: nothing can be lost */
  return -ENXIO;
}

const char *sys_open_file_error(int rc) { return rc == -ENXIO ? "not a regular file" : strerror(-rc); }

int sys_write_all(int fd, const void *buf, size_t n) {
  struct iovec one = {(void *)(uintptr_t)buf, n};
  return sys_writev_all(fd, &one, 1);
}

int sys_writev_all(int fd, struct iovec *iov, int iovcnt) {
  int fault = call_enter(C_WRITE);
  if (fault < 0) return fault;
  while (iovcnt > 0) {
    ssize_t w = writev(fd, iov, iovcnt);
    if (w < 0) {
      if (errno == EINTR) continue;
      return -errno;
    }
    while (iovcnt > 0 && (size_t)w >= iov->iov_len) {
      w -= (ssize_t)iov->iov_len;
      iov++;
      iovcnt--;
    }
    if (iovcnt > 0) {
      iov->iov_base = (char *)iov->iov_base + w;
      iov->iov_len -= (size_t)w;
    }
  }
  call_leave(C_WRITE);
  return 0;
}

ssize_t sys_read(int fd, void *buf, size_t n) { CALL(C_READ, ssize_t, read(fd, buf, n)); }

ssize_t sys_pread(int fd, void *buf, size_t n, off_t off) { CALL(C_READ, ssize_t, pread(fd, buf, n, off)); }

int sys_read_file_t(int fd, struct arena *a, size_t max_bytes, enum taint t, char **ret_p, size_t *ret_n) {
  struct stat st;
  size_t size = fstat(fd, &st) == 0 && st.st_size > 0 ? (size_t)st.st_size : 0; /* 0: empty, or a pipe */
  if (size > max_bytes) return -EFBIG;
  struct strbuf b = strbuf_new_t(a, t, size ? size + 1 : 4096);
  for (;;) {
    if (b.cap - b.n < 2) strbuf_reserve(&b, b.cap);
    ssize_t n = sys_read(fd, b.p + b.n, b.cap - b.n - 1);
    if (n < 0) return (int)n;
    if (n == 0) break;
    b.n += (size_t)n;
    if (b.n > max_bytes) return -EFBIG;
  }
  b.p[b.n] = '\0';
  *ret_p = b.p;
  *ret_n = b.n;
  return 0;
}

int sys_read_file(int fd, struct arena *a, size_t max_bytes, char **ret_p, size_t *ret_n) {
  return sys_read_file_t(fd, a, max_bytes, TAINTED, ret_p, ret_n);
}

int sys_fsync(int fd) { CALL(C_FSYNC, int, fsync(fd)); }
int sys_fdatasync(int fd) { CALL(C_FDATASYNC, int, fdatasync(fd)); }
int sys_fsync_dir(int dirfd) { CALL(C_FSYNCDIR, int, fsync(dirfd)); }

void sys_start_writeback(int fd) { (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); }

int sys_rename(const char *from, const char *to) { CALL(C_RENAME, int, rename(from, to)); }
int sys_renameat(int fromdir, const char *from, int todir, const char *to) {
  CALL(C_RENAME, int, renameat(fromdir, from, todir, to));
}
int sys_link(const char *from, const char *to) { CALL(C_LINK, int, link(from, to)); }
int sys_unlink(const char *path) { CALL(C_UNLINK, int, unlink(path)); }
int sys_unlinkat(int dirfd, const char *path, int flags) { CALL(C_UNLINK, int, unlinkat(dirfd, path, flags)); }
int sys_mkdir(const char *path, mode_t mode) { CALL(C_MKDIR, int, mkdir(path, mode)); }
int sys_ftruncate(int fd, off_t len) { CALL(C_FTRUNCATE, int, ftruncate(fd, len)); }
int sys_allocate(int fd, off_t at, off_t len) { CALL(C_ALLOCATE, int, fallocate(fd, FALLOC_FL_KEEP_SIZE, at, len)); }
int sys_fchown(int fd, uid_t uid, gid_t gid) { CALL(C_FCHOWN, int, fchown(fd, uid, gid)); }
int sys_fchmod(int fd, mode_t mode) { CALL(C_FCHMOD, int, fchmod(fd, mode)); }

int sys_close(int fd) {
  int fault = call_enter(C_CLOSE);
  /* EINTR from close leaves the descriptor closed on Linux; calling again could close someone else's. */
  int r = close(fd) < 0 && errno != EINTR ? -errno : 0;
  call_leave(C_CLOSE);
  return fault < 0 ? fault : r;
}

void sys_drop(int *fd) {
  if (*fd >= 0) (void)!sys_close(*fd);
  *fd = -1;
}

static int make_one_dir(const char *path, mode_t mode, uid_t uid, gid_t gid) {
  int r = sys_mkdir(path, mode);
  if (r == -EEXIST) return 0;
  if (r < 0) return r;
  /* mkdir is subject to the umask and to our own effective ids.  By descriptor: who owns the directory above could put a link in its place. */
  int fd = sys_open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
  if (fd == -EACCES) return chmod(path, mode) < 0 ? -errno : 0; /* a mode without r; root is never refused */
  if (fd < 0) return fd;
  r = sys_fchmod(fd, mode);
  if (r == 0 && uid != (uid_t)-1 && geteuid() == 0) r = sys_fchown(fd, uid, gid);
  int c = sys_close(fd);
  return r < 0 ? r : c;
}

int sys_mkdir_path(const char *base, const char *rel, mode_t mode, uid_t uid, gid_t gid) {
  char path[PATH_MAX];
  size_t base_len = strlen(base), rel_len = strlen(rel);
  if (base_len + rel_len + 2 > sizeof path) return -ENAMETOOLONG;
  memcpy(path, base, base_len);
  path[base_len] = '/';
  memcpy(path + base_len + 1, rel, rel_len + 1);
  for (char *p = path + base_len + 1;; p++) {
    if (*p != '/' && *p != '\0') continue;
    bool last = *p == '\0';
    *p = '\0';
    int r = make_one_dir(path, mode, uid, gid);
    if (r < 0 || last) return r;
    *p = '/';
  }
}

/* ---- locks --------------------------------------------------------------------------------------------- */

int sys_lock(int fd, short type, off_t start, off_t len, bool wait) {
  struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
  int fault = call_enter(C_LOCK);
  if (fault < 0) return fault;
  int r;
  do r = fcntl(fd, wait ? F_SETLKW : F_SETLK, &fl);
  while (r < 0 && errno == EINTR);
  if (r < 0) return errno == EACCES ? -EAGAIN : -errno;
  call_leave(C_LOCK);
  return 0;
}

int sys_lock_until(int fd, short type, off_t start, off_t len, deadline_ms deadline) {
  for (;;) {
    int r = sys_lock(fd, type, start, len, false);
    if (r != -EAGAIN) return r;
    if (deadline_passed(deadline)) return -EAGAIN;
    pause_ms(50);
  }
}

/* ---- processes ----------------------------------------------------------------------------------------- */

void sys_at_fork_child(void (*hook)(void)) {
  INVARIANT(sys_state.fork_hook_count < MAX_FORK_HOOKS);
  sys_state.fork_hooks[sys_state.fork_hook_count++] = hook;
}

pid_t sys_fork(const char *name) {
  (void)name;
  int fault = call_enter(C_FORK);
  if (fault < 0) return fault;
  fflush(NULL);
  pid_t pid = fork();
  if (pid < 0) return -errno;
  if (pid == 0) {
    sys_state.depth++;
    process_use_begin();
    for (int i = 0; i < sys_state.fork_hook_count; i++) sys_state.fork_hooks[i]();
    return 0;
  }
  process_use_up(); /* the child may outlast what it was started for */
  call_leave(C_FORK);
  return pid;
}

int sys_pipe(int fds[2]) { CALL(C_PIPE, int, pipe2(fds, O_CLOEXEC)); }

pid_t sys_waitpid(pid_t pid, int *status, int options) {
  pid_t r;
  do r = waitpid(pid, status, options);
  while (r < 0 && errno == EINTR);
  return r < 0 ? -errno : r;
}

void sys_large_blocks_apart(void) { (void)mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES); }

int sys_become(uid_t uid, gid_t gid, const char *initgroups_name) {
  /* Raise first: a process with root only as saved id needs it for the group calls. */
  if (geteuid() != 0 && seteuid(0) < 0 && (getuid() != uid || getgid() != gid)) return -EPERM;
  if (geteuid() == 0) {
    int r = initgroups_name ? initgroups(initgroups_name, gid) : setgroups(1, &gid);
    if (r < 0) return -errno;
  }
  if (setresgid(gid, gid, gid) < 0) return -errno;
  if (setresuid(uid, uid, uid) < 0) return -errno;
  /* Proof, not hope. */
  if (uid != 0 && setuid(0) == 0) INVARIANT(!"root was given up");
  return 0;
}
