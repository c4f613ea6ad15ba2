/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running other programs (child.h).  Floor: os.  exec happens nowhere else. */
#include "os/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/signals.h"
#include "os/sys.h"

struct child_pipes {
  int in[2], out[2], err[2]; /* err carries errno of a failed exec; closed by a good one */
};

static void close_pair(int p[2]) {
  for (int i = 0; i < 2; i++)
    if (p[i] >= 0) close(p[i]);
}

static int open_pipes(const struct child_spec *spec, struct child_pipes *p) {
  *p = (struct child_pipes){{-1, -1}, {-1, -1}, {-1, -1}};
  int r = sys_pipe(p->err);
  if (r == 0 && spec->stdin_fd == -1) r = sys_pipe(p->in);
  if (r == 0 && spec->stdout_fd == -1) r = sys_pipe(p->out);
  if (r < 0) {
    close_pair(p->err);
    close_pair(p->in);
    close_pair(p->out);
  }
  return r;
}

static int pick_fd(int spec_fd, int pipe_end, int null_flags) {
  if (spec_fd >= 0) return spec_fd;
  return spec_fd == -1 ? pipe_end : open("/dev/null", null_flags);
}

/* dup2 clears close-on-exec, but not when the number is already right. */
static bool place_fd(int from, int to) {
  if (from == to) return fcntl(to, F_SETFD, 0) == 0;
  return from >= 0 && dup2(from, to) >= 0;
}

NORETURN static void child_fail(int err_fd, int error) {
  ssize_t unused = write(err_fd, &error, sizeof error);
  (void)unused;
  _exit(127);
}

static void reset_signals(void) {
  for (int sig = 1; sig < NSIG; sig++)
    if (sig != SIGKILL && sig != SIGSTOP) signal(sig, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The user asked for, or the one we work as: a root id kept as real or saved uid must not reach the program. */
static int take_identity(const struct child_spec *spec) {
  uid_t uid = spec->uid, r, e, s;
  gid_t gid = spec->gid;
  if (getresuid(&r, &e, &s) < 0) return -errno;
  if (uid == (uid_t)-1) {
    if (r == e && s == e) return 0;
    uid = e;
    gid = getegid();
    if (e != 0 && seteuid(0) < 0) /* set-uid to an ordinary user: no root to give up */
      return setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0 ? -errno : 0;
  }
  return sys_become(uid, gid, spec->initgroups);
}

NORETURN static void child_main(const struct child_spec *spec, struct child_pipes *p) {
  int in = pick_fd(spec->stdin_fd, p->in[0], O_RDONLY), out = pick_fd(spec->stdout_fd, p->out[1], O_WRONLY);
  /* Keep the error pipe clear of 0-2, which are about to be overwritten. */
  int err = fcntl(p->err[1], F_DUPFD_CLOEXEC, 3);
  if (in >= 0 && in < 3 && in != 0) in = fcntl(in, F_DUPFD_CLOEXEC, 3);
  if (out >= 0 && out < 3 && out != 1) out = fcntl(out, F_DUPFD_CLOEXEC, 3);
  if (!place_fd(in, 0) || !place_fd(out, 1) || !place_fd(1, 2)) child_fail(err, errno);
  if (spec->new_session) setsid();
  reset_signals();
  if (spec->umask >= 0) umask((mode_t)spec->umask);
  int r = take_identity(spec);
  if (r < 0) child_fail(err, -r);
  if (spec->cwd && chdir(spec->cwd) < 0) child_fail(err, errno);
  if (err != 3 && dup3(err, 3, O_CLOEXEC) == 3) err = 3;
  syscall(SYS_close_range, 4u, ~0u, 0u);
  execve(spec->argv[0], (char *const *)(uintptr_t)spec->argv,
         spec->envp ? (char *const *)(uintptr_t)spec->envp : environ);
  child_fail(err, errno);
}

int child_run(const struct child_spec *spec, struct child *ret) {
  struct child_pipes p;
  int r = open_pipes(spec, &p);
  if (r < 0) return r;
  pid_t pid = sys_fork("command");
  if (pid == 0) child_main(spec, &p);
  if (p.in[0] >= 0) close(p.in[0]);
  if (p.out[1] >= 0) close(p.out[1]);
  close(p.err[1]);
  int error = 0;
  if (pid > 0) {
    ssize_t n = sys_read(p.err[0], &error, sizeof error);
    if (n != sizeof error) error = 0;
  }
  close(p.err[0]);
  if (pid < 0 || error) {
    if (pid > 0) (void)sys_waitpid(pid, NULL, 0);
    if (p.in[1] >= 0) close(p.in[1]);
    if (p.out[0] >= 0) close(p.out[0]);
    return pid < 0 ? (int)pid : -error;
  }
  *ret = (struct child){pid, p.in[1], p.out[0]};
  return 0;
}

void child_kill(const struct child *c) {
  if (kill(-c->pid, SIGKILL) < 0) kill(c->pid, SIGKILL);
}

int child_wait(struct child *c, deadline_ms deadline, int *ret_status) {
  int nap_ms = 1;
  for (;;) {
    int status;
    pid_t r = sys_waitpid(c->pid, &status, deadline == DEADLINE_NEVER ? 0 : WNOHANG);
    if (r == c->pid) {
      *ret_status = status;
      return 0;
    }
    if (r < 0) return (int)r;
    if (deadline_passed(deadline)) {
      child_kill(c);
      (void)sys_waitpid(c->pid, &status, 0);
      return -ETIMEDOUT;
    }
    pause_ms(nap_ms);
    if (nap_ms < 20) nap_ms *= 2;
  }
}
