/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Root in three calls, in-process implementation (priv.h).  Floor: os.
 *
 * A setuid-root start leaves real uid = caller, effective = exim, saved = root.  raise()/lower() bracket each duty. */
#include "os/priv.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "os/signals.h"
#include "os/sys.h"

enum { MIN_FILES = 1000, FEW_FILES = 64, MIN_STACK_BYTES = 8 << 20 };

static struct {
  uid_t real_uid, exim_uid;
  gid_t real_gid, exim_gid;
  bool can_raise, raised;
  bool is_limited; /* by the caller, and it could not be helped */
} priv_state;

static int priv_raise(void) {
  if (!priv_state.can_raise) return -EPERM;
  if (seteuid(0) < 0) return -errno;
  priv_state.raised = true;
  return 0;
}

static void priv_lower(void) {
  bool ok = setegid(priv_state.exim_gid) == 0 && seteuid(priv_state.exim_uid) == 0;
  INVARIANT(ok);
  priv_state.raised = false;
}

/* To at least so much. */
static void lift_to(int resource, rlim_t least) {
  struct rlimit l;
  if (getrlimit(resource, &l) < 0 || l.rlim_cur >= least) return; /* RLIM_INFINITY is the largest */
  l.rlim_cur = least;
  if (l.rlim_max < least) l.rlim_max = least;
  if (setrlimit(resource, &l) == 0 || getrlimit(resource, &l) < 0) return;
  l.rlim_cur = l.rlim_max; /* root without that capability */
  (void)setrlimit(resource, &l);
}

/* Limits are the caller's to set, also for a program that is set-uid root; mail of others and shared files must not be cut at them. */
static void lift_limits(void) {
  static const int unlimited[] = {RLIMIT_FSIZE, RLIMIT_CPU, RLIMIT_AS, RLIMIT_DATA, RLIMIT_NPROC};
  const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
  struct rlimit files, some;
  for (size_t i = 0; i < ARRAY_SIZE(unlimited); i++) {
    if (setrlimit(unlimited[i], &none) == 0 || getrlimit(unlimited[i], &some) < 0) continue;
    some.rlim_cur = some.rlim_max; /* root without that capability */
    (void)setrlimit(unlimited[i], &some);
  }
  lift_to(RLIMIT_NOFILE, MIN_FILES);
  lift_to(RLIMIT_STACK, MIN_STACK_BYTES); /* a death in the middle of a delivery is not his to choose */
  /* Root of a container may lack the capability to go beyond hard limits. */
  priv_state.is_limited = (getrlimit(RLIMIT_FSIZE, &some) == 0 && some.rlim_cur != RLIM_INFINITY) ||
                          (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < FEW_FILES);
}

bool priv_is_limited_by_caller(void) { return priv_state.is_limited; }

void priv_limit_core(bool is_permitted) {
  struct rlimit core = {0, 0};
  if (is_permitted && getrlimit(RLIMIT_CORE, &core) == 0) core.rlim_cur = core.rlim_max;
  (void)setrlimit(RLIMIT_CORE, &core); /* lowering it is always permitted */
}

void priv_init(uid_t exim_uid, gid_t exim_gid) {
  priv_state.real_uid = getuid();
  priv_state.real_gid = getgid();
  priv_state.exim_uid = exim_uid;
  priv_state.exim_gid = exim_gid;
  priv_state.can_raise = geteuid() == 0;
  if (!priv_state.can_raise) return;
  if (priv_state.real_uid != 0) lift_limits();
  bool ok = setgroups(1, &exim_gid) == 0 && setresgid((gid_t)-1, exim_gid, exim_gid) == 0 &&
            setresuid((uid_t)-1, exim_uid, 0) == 0;
  INVARIANT(ok);
  priv_state.raised = false;
}

int priv_drop_forever(uid_t uid, gid_t gid, const char *initgroups_name) {
  int r = sys_become(uid, gid, initgroups_name);
  if (r == 0) priv_state.can_raise = priv_state.raised = false;
  return r;
}

void priv_leave_caller(void) {
  if (!priv_state.can_raise || getuid() == geteuid()) return;
  bool ok = setresgid(getegid(), (gid_t)-1, (gid_t)-1) == 0 && setresuid(geteuid(), (uid_t)-1, (uid_t)-1) == 0;
  INVARIANT(ok);
  /* His terminal is left to him, and with it the keys that stop what runs there. */
  signals_handle(SIGTSTP, SIG_IGN);
  signals_handle(SIGTTOU, SIG_IGN);
}

bool priv_can_raise(void) { return priv_state.can_raise; }
bool priv_is_raised(void) { return priv_state.raised; }
uid_t priv_real_uid(void) { return priv_state.real_uid; }
gid_t priv_real_gid(void) { return priv_state.real_gid; }

/* Take on the file-access identity of a user for one call; undone by identity_restore(). */
static int identity_take(uid_t uid, gid_t gid) {
  int r = priv_raise();
  if (r < 0) return uid == geteuid() ? 0 : r;
  if (setgroups(1, &gid) < 0 || setegid(gid) < 0 || seteuid(uid) < 0) {
    r = -errno;
    bool is_back = seteuid(0) == 0; /* going on with a mixed identity is worse than ending */
    INVARIANT(is_back);
    priv_lower();
    return r;
  }
  return 0;
}

static void identity_restore(void) {
  if (!priv_state.can_raise) return;
  bool ok = seteuid(0) == 0 && setgroups(1, &priv_state.exim_gid) == 0;
  INVARIANT(ok);
  priv_lower();
}

int priv_open_as(uid_t uid, gid_t gid, const char *path, int flags, mode_t mode) {
  int r = identity_take(uid, gid);
  if (r < 0) return r;
  int fd = sys_open(path, flags | O_NOCTTY, mode);
  identity_restore();
  return fd;
}

int priv_access_as(uid_t uid, gid_t gid, const char *path, int mode) {
  int r = identity_take(uid, gid);
  if (r < 0) return r;
  r = faccessat(AT_FDCWD, path, mode, AT_EACCESS) < 0 ? -errno : 0;
  identity_restore();
  return r;
}

pid_t priv_run_as(uid_t uid, gid_t gid, const char *initgroups_name, bool allow_root, const char *name,
                  int (*fn)(void *ctx), void *ctx) {
  if (uid == 0 && !allow_root) return -EPERM;
  if (!priv_state.can_raise && (uid != geteuid() || gid != getegid())) return -EPERM;
  pid_t pid = sys_fork(name);
  if (pid != 0) return pid;
  if (priv_state.can_raise && priv_drop_forever(uid, gid, initgroups_name) < 0) _exit(126);
  _exit(fn(ctx));
}

int priv_without_root(uid_t uid, gid_t gid, int (*fn)(void *ctx), void *ctx) {
  if (geteuid() != 0) return fn(ctx);
  gid_t own = getegid();
  bool ok = setegid(gid) == 0 && seteuid(uid) == 0;
  INVARIANT(ok);
  int r = fn(ctx);
  ok = seteuid(0) == 0 && setegid(own) == 0;
  INVARIANT(ok);
  return r;
}

int priv_with_root(int (*fn)(void *ctx), void *ctx) {
  if (priv_raise() < 0) return fn(ctx);
  int r = fn(ctx);
  priv_lower();
  return r;
}
