/* SPDX-License-Identifier: GPL-2.0-or-later */
/* exim_lock [options] mailbox [command]: run a command, or a shell, while a mailbox is locked the way Exim locks it.  Floor: main.  Manual ch. 54.
 *
 * Lock file first (a hitching post linked to the lock's name, safe over NFS), then fcntl, flock or the MBX rules on the open file.  Whatever
 * happens, what was locked is unlocked at the end.  Runs with the rights of the caller; the command is the caller's own. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "os/child.h"
#include "os/signals.h"
#include "os/sys.h"

enum { LOCK_EXPIRED_SEC = 30 * 60 };

struct lock {
  struct arena *a;
  const char *file, *command;
  bool use_lockfile, use_fcntl, use_flock, use_mbx, quiet, verbose, restore_times;
  int retries, interval, timeout;
  const char *lock_name, *mbx_name;
  bool has_lockfile;
  int fd, mbx_fd;
  struct stat before;
};

static int usage(void) {
  fprintf(stderr, "usage: exim_lock [-v] [-q] [-lockfile] [-fcntl] [-flock] [-mbx]\n"
                  "       [-retries <n>] [-interval <n>] [-timeout <n>] [-restore-times]\n"
                  "       <file name> [command]\n");
  return 1;
}

static bool number_after(int argc, char **argv, int *at, int *ret) {
  return ++*at < argc && str_parse_int(str_c(argv[*at]), ret) && *ret >= 0;
}

static bool parse(struct lock *l, int argc, char **argv) {
  const struct {
    const char *name;
    bool *flag;
    int *number;
  } options[] = {{"-lockfile", &l->use_lockfile, NULL}, {"-fcntl", &l->use_fcntl, NULL},        {"-flock", &l->use_flock, NULL},
                 {"-mbx", &l->use_mbx, NULL},           {"-q", &l->quiet, NULL},                {"-v", &l->verbose, NULL},
                 {"-restore-times", &l->restore_times, NULL}, {"-restore_times", &l->restore_times, NULL},
                 {"-restore_time", &l->restore_times, NULL},  {"-retries", NULL, &l->retries},
                 {"-interval", NULL, &l->interval},     {"-timeout", NULL, &l->timeout}};
  int i = 1;
  for (; i < argc && argv[i][0] == '-'; i++) {
    size_t k = 0;
    while (k < ARRAY_SIZE(options) && strcmp(argv[i], options[k].name) != 0) k++;
    if (k == ARRAY_SIZE(options)) return false;
    if (options[k].flag) *options[k].flag = true;
    else if (!number_after(argc, argv, &i, options[k].number)) return false;
  }
  if (i >= argc || argc - i > 2) return false;
  l->file = argv[i];
  l->command = i + 1 < argc ? argv[i + 1] : NULL;
  if (l->quiet) l->verbose = false;
  if (!l->use_lockfile && !l->use_fcntl && !l->use_flock && !l->use_mbx) l->use_lockfile = l->use_fcntl = true;
  if (l->use_mbx && !l->use_fcntl && !l->use_flock) l->use_fcntl = true;
  return true;
}

static void pause_sec(int sec) {
  struct timespec ts = {.tv_sec = sec};
  while (nanosleep(&ts, &ts) < 0 && errno == EINTR) continue;
}

/* Was this the last of the tries?  It is told. */
static bool is_last(const struct lock *l, int tries) {
  if (tries < l->retries) return false;
  if (l->retries >= 0) fprintf(stderr, "exim_lock: locking failed too many times\n");
  return true;
}

/* ---- lock file ---------------------------------------------------------------------------------------------- */

static bool link_once(struct lock *l, const char *hitch) {
  struct stat st;
  int fd = sys_open(hitch, O_WRONLY | O_CREAT | O_EXCL, 0440);
  if (fd < 0) {
    fprintf(stderr, "exim_lock: failed to create hitching post %s: %s\n", hitch, strerror(-fd));
    l->retries = -1; /* it will not be better next time */
    return false;
  }
  bool held = sys_link(hitch, l->lock_name) == 0 || (fstat(fd, &st) == 0 && st.st_nlink == 2);
  (void)!sys_close(fd);
  (void)!sys_unlink(hitch);
  if (!held && stat(l->lock_name, &st) == 0 && time_sec() - st.st_ctime > LOCK_EXPIRED_SEC && sys_unlink(l->lock_name) == 0 && l->verbose)
    printf("exim_lock: lock file was more than 30 minutes old: removed\n");
  return held;
}

static bool take_lockfile(struct lock *l) {
  struct utsname host;
  if (uname(&host) < 0) host.nodename[0] = '\0';
  const char *hitch =
    arena_printf(l->a, "%s.%s.%08x.%08x", l->lock_name, host.nodename, (unsigned)time_sec(), (unsigned)getpid());
  if (l->verbose) printf("exim_lock: lockname =  %s\n           hitchname = %s\nexim_lock: creating lock file\n", l->lock_name, hitch);
  for (int i = 1;; i++) {
    l->has_lockfile = link_once(l, hitch);
    if (l->has_lockfile && !l->quiet) printf("exim_lock: lock file successfully created\n");
    if (l->has_lockfile) return true;
    if (is_last(l, i)) return false;
    if (l->verbose) printf("exim_lock: failed to link hitching post to lock file\n ... waiting\n");
    pause_sec(l->interval);
  }
}

/* ---- locks on the file -------------------------------------------------------------------------------------- */

static int lock_fd(struct lock *l, int fd, short type, const char *suffix) {
  deadline_ms end = deadline_in_sec(l->timeout);
  int r = 0;
  if (l->use_fcntl) r = l->timeout > 0 ? sys_lock_until(fd, type, 0, 0, end) : sys_lock(fd, type, 0, 0, false);
  const char *kind = type == F_RDLCK ? "read " : "";
  if (r == 0 && l->use_fcntl && !l->quiet) printf("exim_lock: fcntl() %slock successfully applied%s\n", kind, suffix);
  if (r < 0 || !l->use_flock) return r;
  if (flock(fd, (type == F_RDLCK ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0) return -errno;
  if (!l->quiet) printf("exim_lock: flock() %slock successfully applied%s\n", kind, suffix);
  return 0;
}

/* MBX: a shared lock on the mailbox, an exclusive one on a file in /tmp that is named after it. */
static int take_mbx(struct lock *l) {
  struct stat st;
  int r = lock_fd(l, l->fd, F_RDLCK, "");
  if (r < 0) return r;
  if (fstat(l->fd, &st) < 0) return -errno;
  l->mbx_name = arena_printf_t(l->a, UNTAINTED, "/tmp/.%lx.%lx", (unsigned long)st.st_dev, (unsigned long)st.st_ino);
  l->mbx_fd = sys_open(l->mbx_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0666);
  if (l->mbx_fd < 0) return l->mbx_fd;
  /* Anybody may put things into /tmp: what was opened is looked at, not what had the name a moment ago. */
  if (fstat(l->mbx_fd, &st) < 0) return -errno;
  if (!S_ISREG(st.st_mode) || st.st_nlink != 1) {
    fprintf(stderr, "exim_lock: %s is not a plain file\n", l->mbx_name);
    l->retries = -1; /* it will not be better next time */
    return -EPERM;
  }
  (void)!sys_fchmod(l->mbx_fd, 0666); /* others that lock this mailbox must be able to open it */
  return lock_fd(l, l->mbx_fd, F_WRLCK, arena_printf(l->a, " to mbx lock file %s", l->mbx_name));
}

static bool needs_file(const struct lock *l) { return l->use_fcntl || l->use_flock || l->use_mbx || l->restore_times; }

static bool take_locks(struct lock *l) {
  for (int i = 1;; i++) {
    l->fd = sys_open(l->file, O_RDWR | O_APPEND, 0);
    if (l->fd < 0) {
      fprintf(stderr, "exim_lock: failed to open %s for writing: %s\n", l->file, strerror(-l->fd));
      return false;
    }
    if (i == 1 && fstat(l->fd, &l->before) < 0) l->restore_times = false;
    int r = l->use_mbx ? take_mbx(l) : l->use_fcntl || l->use_flock ? lock_fd(l, l->fd, F_WRLCK, "") : 0;
    if (r == 0) return true;
    if (l->mbx_fd >= 0) (void)!sys_close(l->mbx_fd);
    (void)!sys_close(l->fd);
    l->mbx_fd = l->fd = -1;
    if (is_last(l, i)) return false;
    if (l->verbose) printf("exim_lock: lock failed: %s\n ... waiting\n", r == -EAGAIN ? "locked by another process" : strerror(-r));
    pause_sec(l->interval);
  }
}

static void give_back(struct lock *l) {
  if (l->mbx_fd >= 0) {
    /* Nobody else has the mailbox open under a lock: the file in /tmp can go.  That is not worth waiting for. */
    struct lock quiet = *l;
    quiet.timeout = 0;
    quiet.quiet = true;
    bool alone = lock_fd(&quiet, l->fd, F_WRLCK, "") == 0 && sys_unlink(l->mbx_name) == 0;
    (void)!sys_close(l->mbx_fd);
    if (!l->quiet) printf("exim_lock: %s %s\nexim_lock: %s closed\n", l->mbx_name, alone ? "unlinked - no sharers" : "not unlinked", l->mbx_name);
  }
  if (l->fd >= 0) {
    struct timespec times[2] = {l->before.st_atim, l->before.st_mtim};
    if (l->restore_times) (void)futimens(l->fd, times);
    (void)!sys_close(l->fd);
    if (!l->quiet) printf("exim_lock: %s closed\n", l->file);
  }
  if (!l->has_lockfile) return;
  int r = sys_unlink(l->lock_name);
  if (r < 0) fprintf(stderr, "exim_lock: failed to remove %s: %s\n", l->lock_name, strerror(-r));
  else if (!l->quiet) printf("exim_lock: lock file removed\n");
}

/* ---- the command -------------------------------------------------------------------------------------------- */

static int run_command(struct lock *l) {
  const char *shell = getenv("SHELL");
  if (!shell || !*shell) shell = "/bin/sh";
  const char *command[] = {"/bin/sh", "-c", l->command, NULL}, *interactive[] = {shell, NULL};
  struct child_spec spec = {.argv = l->command ? command : interactive, .uid = (uid_t)-1, .gid = (gid_t)-1, .umask = -1, .stdout_fd = 1};
  struct child c;
  int status = 0;
  if (!l->quiet) printf("exim_lock: locking %s succeeded: running %s ...\n", l->file, l->command ? "the command" : shell);
  fflush(stdout);
  signals_handle(SIGINT, SIG_IGN); /* meant for the command; the locks must be given back */
  int r = child_run(&spec, &c);
  if (r == 0) r = child_wait(&c, DEADLINE_NEVER, &status);
  if (r < 0) {
    fprintf(stderr, "exim_lock: failed to run %s: %s\n", l->command ? l->command : shell, strerror(-r));
    return 1;
  }
  if (status != 0) printf("warning: nonzero status %d\n", status);
  return 0;
}

int main(int argc, char **argv) {
  struct lock l = {.retries = 10, .interval = 3, .fd = -1, .mbx_fd = -1};
  if (!parse(&l, argc, argv)) return usage();
  l.a = arena_new("exim_lock");
  l.lock_name = arena_printf_t(l.a, UNTAINTED, "%s.lock", l.file);
  int status = 1;
  if ((!l.use_lockfile || take_lockfile(&l)) && (!needs_file(&l) || take_locks(&l))) status = run_command(&l);
  give_back(&l);
  arena_free(l.a);
  return status;
}
