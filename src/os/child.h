/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running other programs.  Floor: os.  argv arrays only, never a shell; everything but 0-2 closed; environment as given. */
#ifndef OS_CHILD_H
#define OS_CHILD_H

#include <sys/types.h>

#include "base/arena.h"
#include "base/str.h"
#include "base/timeutil.h"

struct child_spec {
  const char *const *argv;   /* argv[0] is the path to execute */
  const char *const *envp;   /* NULL: inherit */
  uid_t uid;                 /* (uid_t)-1: unchanged */
  gid_t gid;
  const char *initgroups;    /* login for initgroups, or NULL */
  const char *cwd;           /* NULL: unchanged */
  int umask;                 /* -1: unchanged */
  bool new_session;          /* own process group, so that it can be killed with its children */
  int stdin_fd;              /* -1: a pipe whose write end is returned; >= 0 that descriptor; -2 /dev/null */
  int stdout_fd;             /* -1: a pipe whose read end is returned (stderr joins it); >= 0; -2 /dev/null */
};

struct child {
  pid_t pid;
  int in_fd;   /* write end of the child's stdin or -1 */
  int out_fd;  /* read end of its stdout+stderr or -1 */
};

/* Start.  0 or -errno; an exec failure is reported here too (through a close-on-exec pipe). */
MUST_CHECK int child_run(const struct child_spec *spec, struct child *ret);
/* Wait with deadline; on timeout kills the process group and returns -ETIMEDOUT.  Otherwise 0 and the raw wait status. */
MUST_CHECK int child_wait(struct child *c, deadline_ms deadline, int *ret_status);

/* SIGKILL to the child's process group (or to it alone when it has none).  Wait for it afterwards. */
void child_kill(const struct child *c);

#endif
