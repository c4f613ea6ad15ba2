/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's master process.  Floor: flows.  Manual ch. 13, 5 (-bd, -q).
 *
 * The master binds the sockets, writes the pid file, starts the acceptor and the queue manager, restarts what dies, and answers signals: TERM ends all,
 * HUP re-executes the program on the same pid and sockets once a child has read the new configuration without error.  It reads nothing from anybody.
 * The acceptor and its sessions give up root for good; the queue manager keeps the way to it, for local deliveries. */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buildinfo.h"
#include "daemon_priv.h"
#include "os/log.h"
#include "os/priv.h"
#include "os/process_info.h"
#include "os/signals.h"
#include "os/sys.h"
#include "smtp_in_tls.h"

enum { RESTART_DELAY_MS = 1000, CLOSE_WAIT_MS = 3000, MAX_ARGS = 256 };

struct master {
  struct config *cfg;
  const struct daemon_opts *o;
  struct arena *a;
  struct listeners listeners;
  int notify[2];          /* datagrams to the queue manager: [0] read, [1] write */
  int closed_pipe[2];     /* end of file on [0]: the acceptor has closed its sockets */
  pid_t acceptor, queue_manager;
  bool is_idle;                /* -bw: its time is over */
  int64_t acceptor_started_ms, queue_manager_started_ms;
  const char *pid_path;   /* NULL: none written */
};

/* ---- The pid file ---- */

static const char *pid_file_path(struct master *m) {
  if (m->o->pid_file) return m->o->pid_file;
  if (m->cfg->o.pid_file_path) return m->cfg->o.pid_file_path;
  return arena_printf(m->a, "%s/exim-daemon.pid", m->cfg->spool_directory);
}

static int write_pid_file(void *ctx) {
  struct master *m = ctx;
  char text[32];
  struct stat st;
  int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
  int fd = sys_open(m->pid_path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0644);
  if (fd < 0) return fd;
  /* Another user's link to a file of root's must not be written through. */
  int rc = fstat(fd, &st) < 0 ? -errno : !S_ISREG(st.st_mode) || st.st_nlink != 1 ? -EPERM : sys_ftruncate(fd, 0);
  if (rc == 0) rc = sys_write_all(fd, text, (size_t)n);
  if (rc == 0) rc = sys_fchmod(fd, 0644);
  int rc2 = sys_close(fd);
  return rc < 0 ? rc : rc2;
}

/* Exim's rule: only a daemon that listens where the configuration says, or was given -oP, has a pid file. */
static void make_pid_file(struct master *m) {
  bool wanted = m->o->pid_file || m->cfg->harness_mode || (m->o->listen && !m->o->listen_override);
  if (!wanted) return;
  m->pid_path = pid_file_path(m);
  int rc = write_pid_file(m);
  if (rc < 0) rc = priv_with_root(write_pid_file, m);
  if (rc < 0) log_write(LS_ALWAYS, LOG_MAIN, "cannot write pid file %s: %s", m->pid_path, strerror(-rc));
}

/* A daemon that was started while this one was still ending has written its own number there. */
static bool is_own_pid_file(const struct master *m) {
  char text[32] = "";
  uint64_t pid;
  int fd = sys_open(m->pid_path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
  if (fd < 0) return false;
  ssize_t n = sys_read(fd, text, sizeof(text) - 1);
  int rc = sys_close(fd);
  return rc == 0 && n > 0 && str_parse_u64(str_trim(str_n(text, (size_t)n)), &pid) && pid == (uint64_t)getpid();
}

static int unlink_pid_file(void *ctx) {
  const struct master *m = ctx;
  return is_own_pid_file(m) ? sys_unlink(m->pid_path) : 0;
}

static void remove_pid_file(struct master *m) {
  if (m->pid_path && unlink_pid_file(m) < 0) priv_with_root(unlink_pid_file, m);
  m->pid_path = NULL;
}

/* ---- Children ---- */

static void child_start(struct master *m) {
  signals_unblock_all();
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  signals_handle(SIGHUP, SIG_IGN);
  m->pid_path = NULL;
}

static void start_acceptor(struct master *m) {
  if (!m->o->listen) return;
  pid_t pid = sys_fork("acceptor");
  if (pid < 0) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "daemon: cannot fork the acceptor: %s", strerror((int)-pid));
  if (pid == 0) {
    child_start(m);
    process_info_set("daemon: accepting connections");
    close(m->closed_pipe[0]);
    close(m->notify[0]);
    queue_set_notify_fd(m->notify[1]);
    /* With -odi a session delivers itself and needs root for local deliveries; otherwise it never does. */
    if (priv_can_raise() && !m->o->deliver_foreground && priv_drop_forever(m->cfg->exim_uid, m->cfg->exim_gid, NULL) < 0) _exit(EXIT_FAILURE);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* a change of user has cleared it */
    daemon_acceptor(m->cfg, m->o, &m->listeners, m->closed_pipe[1]);
  }
  m->acceptor = pid > 0 ? pid : 0;
  m->acceptor_started_ms = time_mono_ms();
}

static void start_queue_manager(struct master *m) {
  pid_t pid = sys_fork("queue manager");
  if (pid < 0) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "daemon: cannot fork the queue manager: %s", strerror((int)-pid));
  if (pid == 0) {
    child_start(m);
    process_info_set("daemon: managing the queue");
    daemon_listen_close(&m->listeners);
    close(m->closed_pipe[0]);
    close(m->closed_pipe[1]);
    queue_set_notify_fd(m->notify[1]);
    sys_role(SYS_ROLE_DELIVERY);
    queue_manager(m->cfg, m->notify[0], m->o->queue_interval_sec, &m->o->run,
                  !m->o->no_notifier && (!m->o->listen_override || m->o->pid_file));
    _exit(EXIT_SUCCESS);
  }
  m->queue_manager = pid > 0 ? pid : 0;
  m->queue_manager_started_ms = time_mono_ms();
}

/* A child that dies at once again and again is started at most once a second. */
static void wait_before_restart(int64_t started_ms) {
  int64_t age = time_mono_ms() - started_ms;
  if (age < RESTART_DELAY_MS) pause_ms((int)(RESTART_DELAY_MS - age));
}

static void reap(struct master *m) {
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    bool is_acceptor = pid == m->acceptor;
    if (!is_acceptor && pid != m->queue_manager) continue;
    if (is_acceptor && m->o->inetd_timeout_sec > 0 && WIFEXITED(status) && WEXITSTATUS(status) == DAEMON_IDLE_STATUS) {
      m->acceptor = 0;
      m->is_idle = true;
      return;
    }
    const char *crash = daemon_crash_text(m->a, status);
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "daemon: the %s (pid %d) %s: starting another", is_acceptor ? "acceptor" : "queue manager",
              (int)pid, crash ? crash : "ended");
    wait_before_restart(is_acceptor ? m->acceptor_started_ms : m->queue_manager_started_ms);
    if (is_acceptor) start_acceptor(m);
    else start_queue_manager(m);
  }
}

/* Tell the acceptor to stop and wait until nobody can connect any more. */
static void stop_children(struct master *m) {
  daemon_listen_close(&m->listeners);
  close(m->closed_pipe[1]);
  if (m->queue_manager > 0) (void)signals_send(m->queue_manager, SIGTERM);
  if (m->acceptor <= 0) return;
  (void)signals_send(m->acceptor, SIGTERM);
  deadline_ms end = deadline_in_ms(CLOSE_WAIT_MS);
  char c;
  int flags = fcntl(m->closed_pipe[0], F_GETFL);
  if (flags >= 0) fcntl(m->closed_pipe[0], F_SETFL, flags | O_NONBLOCK);
  while (!deadline_passed(end)) {
    ssize_t n = read(m->closed_pipe[0], &c, 1);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) break;
    pause_ms(5);
  }
}

/* ---- HUP ---- */

struct exec_job {
  const char *path;
  char *const *argv;
  int error;
};

static int exec_as_root(void *ctx) {
  struct exec_job *j = ctx;
  j->error = -program_replace(j->path, j->argv);
  return -1;
}

static const char *own_path(struct arena *a) {
  char *buf = arena_alloc(a, 4096);
  ssize_t n = readlink("/proc/self/exe", buf, 4095);
  if (n <= 0) return build_info()->bin_directory;
  static const char deleted[] = " (deleted)";
  size_t tail = sizeof(deleted) - 1;
  if ((size_t)n > tail && strcmp(buf + (size_t)n - tail, deleted) == 0) buf[(size_t)n - tail] = 0;
  return buf;
}

/* Read the new configuration completely in a child: "exim <same options> -bV".  Its first complaint goes to *ret_text. */
static bool new_configuration_works(struct master *m, const char *path, const char **ret_text) {
  char *argv[MAX_ARGS + 2];
  int argc = 0, fds[2], status = -1;
  for (; m->o->argv[argc] && argc < MAX_ARGS; argc++) argv[argc] = m->o->argv[argc];
  argv[argc++] = (char *)(uintptr_t)"-bV";
  argv[argc] = NULL;
  *ret_text = "cannot start a process to read it";
  if (sys_pipe(fds) < 0) return false;
  pid_t pid = sys_fork("configuration check");
  if (pid == 0) {
    int null = open("/dev/null", O_RDWR);
    signals_unblock_all();
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(fds[1], 2) < 0) _exit(EXIT_FAILURE);
    struct exec_job j = {.path = path, .argv = argv};
    priv_with_root(exec_as_root, &j);
    fprintf(stderr, "exec of %s failed: %s\n", path, strerror(j.error));
    _exit(EXIT_FAILURE);
  }
  close(fds[1]);
  char text[2048];
  size_t n = 0;
  for (ssize_t got; pid > 0 && n < sizeof(text) - 1 && (got = read(fds[0], text + n, sizeof(text) - 1 - n)) != 0;) {
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) break;
    n += (size_t)got;
  }
  close(fds[0]);
  if (pid > 0 && sys_waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
  text[n] = 0;
  for (size_t i = 0; i < n; i++)
    if (text[i] == '\n') text[i] = ' ';
  if (n) *ret_text = arena_strdup(m->a, text);
  return false;
}

static void reload(struct master *m) {
  const char *text, *path = own_path(m->a);
  log_write(LS_ALWAYS, LOG_MAIN, "pid %d: SIGHUP received: re-exec daemon", (int)getpid());
  if (!new_configuration_works(m, path, &text)) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "pid %d: the new configuration is not usable, the daemon goes on with the old one: %s",
              (int)getpid(), text);
    return;
  }
  /* From here on clients wait in the sockets' queues until the new acceptor comes. */
  pid_t acceptor = m->acceptor, manager = m->queue_manager;
  m->acceptor = m->queue_manager = 0;
  if (acceptor > 0) (void)signals_send(acceptor, SIGINT);
  if (manager > 0) (void)signals_send(manager, SIGTERM);
  daemon_listen_export(&m->listeners);
  struct exec_job j = {.path = path, .argv = m->o->argv};
  sigset_t old;
  sigprocmask(SIG_SETMASK, NULL, &old);
  signals_unblock_all();
  log_close();
  priv_with_root(exec_as_root, &j);
  sigprocmask(SIG_SETMASK, &old, NULL);
  unsetenv("EXIM_LISTEN");
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "pid %d: exec of %s failed: %s", (int)getpid(), path, strerror(j.error));
  start_queue_manager(m);
  start_acceptor(m);
}

/* ---- Start ---- */

static const char *queue_text(struct master *m) {
  const struct queue_run_opts *r = &m->o->run;
  char buf[64];
  if (!m->o->queue_interval_sec) return "no queue runs";
  return arena_printf(m->a, "-q%s%s%s%s%s%s%s%s", r->two_stage ? "q" : "", r->first_only ? "i" : "", r->force_thaw ? "ff" : r->forced ? "f" : "",
                      r->local_only ? "l" : "", r->name ? "G" : "", r->name ? r->name : "", r->name ? "/" : "",
                      time_format_interval(m->o->queue_interval_sec, buf, sizeof(buf)));
}

static void log_start(struct master *m) {
  const char *version = m->cfg->o.exim_version ? m->cfg->o.exim_version : build_version();
  const char *listening = m->o->listen ? arena_printf(m->a, "listening for %s", daemon_listen_text(m->a, &m->listeners)) : "not listening for SMTP";
  if (m->o->inetd_wait) {
    const char *limit = m->o->inetd_timeout_sec ? arena_printf(m->a, "a wait timeout of %d seconds", m->o->inetd_timeout_sec) : "no wait timeout";
    log_write(LS_ALWAYS, LOG_MAIN, "exim %s daemon started: pid=%d, launched with listening socket, with %s", version, (int)getpid(), limit);
    process_info_set("daemon(%s): launched with listening socket, with %s", version, limit);
    return;
  }
  log_write(LS_ALWAYS, LOG_MAIN, "exim %s daemon started: pid=%d, %s, %s", version, (int)getpid(), queue_text(m), listening);
  process_info_set("daemon(%s): %s, %s", version, queue_text(m), listening);
}

/* Leave the terminal: the parent ends when the child has its sockets. */
static void go_to_background(void) {
  pid_t pid = sys_fork("daemon");
  if (pid < 0) {
    fprintf(stderr, "exim: daemon fork failed: %s\n", strerror((int)-pid));
    exit(EXIT_FAILURE);
  }
  if (pid > 0) _exit(EXIT_SUCCESS);
  setsid();
  int null = open("/dev/null", O_RDWR);
  if (null < 0) return;
  dup2(null, 0);
  dup2(null, 1);
  dup2(null, 2);
  if (null > 2) close(null);
}

/* tls_require_ciphers with a "$", as it is for no client in particular; expanded in a child without root's rights.  NULL or what is wrong. */
static const char *ciphers_error(struct master *m) {
  int fds[2];
  if (!m->o->listen || !smtp_tls_ciphers_vary(m->cfg) || sys_pipe(fds) < 0) return NULL;
  pid_t pid = sys_fork("configuration check");
  if (pid == 0) {
    if (priv_can_raise() && priv_drop_forever(m->cfg->exim_uid, m->cfg->exim_gid, NULL) < 0) _exit(EXIT_FAILURE);
    const char *text = smtp_tls_ciphers_error(m->a, m->cfg);
    if (text) IGNORE_RESULT(sys_write_all(fds[1], text, strlen(text)));
    _exit(EXIT_SUCCESS);
  }
  close(fds[1]);
  char text[1024];
  size_t n = 0;
  for (ssize_t got; pid > 0 && n < sizeof(text) && (got = read(fds[0], text + n, sizeof(text) - n)) != 0;) {
    if (got < 0 && errno != EINTR) break;
    if (got > 0) n += (size_t)got;
  }
  close(fds[0]);
  if (pid > 0) (void)sys_waitpid(pid, NULL, 0);
  return n ? arena_printf(m->a, "Exim configuration error:\n  tls_require_ciphers invalid: %.*s", (int)n, text) : NULL;
}

/* A daemon that was restarted with HUP goes on all the same: its clients get 454. */
static void check_ciphers(struct master *m) {
  const char *error = ciphers_error(m);
  if (error) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC | LOG_MULTILINE | (daemon_has_inherited() ? 0 : LOG_DIE), "%s", error);
}

/* Do the two children run?  Not when fork failed for one of them: then it is tried again once a second. */
static bool is_complete(const struct master *m) { return m->queue_manager > 0 && (m->acceptor > 0 || !m->o->listen); }

static void start_missing(struct master *m) {
  if (m->queue_manager <= 0) start_queue_manager(m);
  if (m->acceptor <= 0) start_acceptor(m);
}

static void master_loop(struct master *m, const sigset_t *set) {
  const struct timespec again = {.tv_sec = 1};
  for (;;) {
    int sig = is_complete(m) ? sigwaitinfo(set, NULL) : sigtimedwait(set, NULL, &again);
    if (sig < 0 && !is_complete(m)) start_missing(m);
    if (sig == SIGCHLD) reap(m);
    if (m->is_idle) return;
    if (sig == SIGHUP) reload(m);
    else if (sig == SIGTERM || sig == SIGINT) return;
  }
}

/* The sockets to listen on: those of the configuration, or with -bw the one that inetd gave.  NULL or what is wrong with that one; where the
 * daemon's own cannot be had, it ends here. */
static const char *get_listeners(struct master *m) {
  const struct daemon_opts *o = m->o;
  const char *what;
  if (o->inetd_wait) return o->queue_interval_sec ? "queue runs may not be specified" : daemon_listen_adopt(&m->listeners);
  if (!o->listen) return NULL;
  what = daemon_listen_plan(m->a, m->cfg, o, &m->listeners);
  if (what) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC | LOG_DIE, "%s", what);
  if (daemon_listen_bind(m->a, m->cfg, &m->listeners, &what) < 0) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC | LOG_DIE, "%s", what);
  return NULL;
}

/* The signals that master_loop waits for arrive nowhere else. */
static void block_signals(sigset_t *ret_set) {
  sigemptyset(ret_set);
  sigaddset(ret_set, SIGTERM);
  sigaddset(ret_set, SIGINT);
  sigaddset(ret_set, SIGHUP);
  sigaddset(ret_set, SIGCHLD);
  sigprocmask(SIG_BLOCK, ret_set, NULL);
}

int daemon_run(struct config *cfg, const struct daemon_opts *o) {
  struct arena *a = arena_new("daemon");
  struct master *m = ARENA_NEW(a, struct master);
  m->cfg = cfg;
  m->o = o;
  m->a = a;
  check_ciphers(m);
  const char *what = get_listeners(m);
  if (what) {
    fprintf(stderr, "exim: -bw: %s\n", what);
    return EXIT_FAILURE;
  }
  bool again = daemon_has_inherited();
  sigset_t set;
  block_signals(&set);
  if (o->background && !again) go_to_background();
  if (o->background && chdir("/") < 0)
    log_write(LS_ALWAYS, LOG_MAIN, "cannot change to the root directory: %s", strerror(errno));
  if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, m->notify) < 0 || sys_pipe(m->closed_pipe) < 0)
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC | LOG_DIE, "daemon: cannot make its internal sockets: %s", strerror(errno));
  make_pid_file(m);
  if (o->listen && smtp_tls_is_selfsigned(cfg))
    log_write(LS_ALWAYS, LOG_MAIN | LOG_MULTILINE, "Warning: No server certificate defined; will use a selfsigned one.\n"
              " Suggested action: either install a certificate or change tls_advertise_hosts option");
  log_start(m);
  start_queue_manager(m);
  start_acceptor(m);
  master_loop(m, &set);
  stop_children(m);
  remove_pid_file(m);
  return EXIT_SUCCESS;
}
