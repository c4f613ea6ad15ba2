/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The queue manager (queue.h).  Floor: flows.
 *
 * The spool is the truth; what is remembered here is a list of ids somebody just told us about (queue_notice.h).  Losing it (a kill, a full socket)
 * delays those messages to the next run and loses nothing.  Sessions have no root: whatever needs it, every delivery, ETRN's queue run and a look into a
 * mailbox (verify = recipient/quota), is done here.
 *
 * Delivery processes (workers) are forked when there is more to do than there are idle ones, take notices one by one from a socket, and end after
 * WORKER_MAX_MESSAGES or an idle second: the fork is paid once for many messages, and nothing a message left behind lives long.  A worker
 * reports each finished id with one byte.  A worker that dies takes one id with it, which the next queue run finds.
 *
 * MAX_WORKERS is what this machine is given to do at once.  Workers that wait for somebody else (a server that answers once in five minutes, a user's
 * command that sleeps) do nothing here, and a score of them must not stop the mail of all others: when all are busy and finish fewer messages in a
 * second than there are of them, MORE_WORKERS may be started each second, up to MAX_WORKERS_WAITING. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deliver.h"
#include "hints/hints.h"
#include "os/daemon_notify.h"
#include "os/fd_message.h"
#include "os/log.h"
#include "os/sys.h"
#include "policy/config.h"
#include "policy/expand.h"
#include "queue.h"
#include "transport.h"
#include "verify_quota.h"

enum {
  MAX_WORKERS = 20, MAX_WORKERS_WAITING = 300, MORE_WORKERS = 5, PACE_MS = 1000, WORKER_MAX_MESSAGES = 200, WORKER_IDLE_MS = 1000, NOTIFY_WAIT_MS = 3000, MAX_PENDING = 100000, MAX_QUEUES = 1000,
  MAX_ASKED = 20, MAX_CHECKS = 20, MAX_ASKED_WAITING = 64, COUNT_IS_SLOW_MS = 20
};

/* ---- telling it ---- */

static int notify_fd_of_process = -1;
void queue_set_notify_fd(int fd) { notify_fd_of_process = fd; }
int queue_get_notify_fd(void) { return notify_fd_of_process; }

/* The manager empties the socket many times a second.  One that is stopped or being restarted must not hold up a session for long: the
 * message is on the spool, the next run finds it. */
bool queue_notify(int notify_fd, const struct queue_notice *notice) {
  char buf[QUEUE_NOTICE_MAX];
  size_t size = queue_notice_write(buf, notice);
  if (notify_fd < 0 || size == 0) return false;
  for (deadline_ms end = deadline_in_ms(NOTIFY_WAIT_MS);;) {
    if (send(notify_fd, buf, size, MSG_NOSIGNAL | MSG_DONTWAIT) > 0) return true;
    if (errno != EAGAIN && errno != EINTR) return false;
    if (deadline_passed(end)) {
      if (notice->kind == QUEUE_NOTICE_RUN) return false;
      log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "the queue manager does not answer: %s waits for the next queue run", notice->id);
      return true;
    }
    struct pollfd p = {notify_fd, POLLOUT, 0};
    (void)poll(&p, 1, deadline_poll_ms(end));
  }
}

void queue_serialize_end(const struct config *cfg, const char *key) {
  struct hints_db *db = key && *key ? hints_open(cfg->spool_directory, "misc", true) : NULL;
  if (!db) return;
  (void)hints_delete(db, key);
  hints_close(db);
}

/* ---- its state ---- */

struct pending {
  char id[MSGID_SIZE];
  bool hold_smtp;
  uint16_t queue; /* index of its name */
};

struct asked_run {
  char pattern[QUEUE_NOTICE_PATTERN_MAX + 1], key[QUEUE_NOTICE_KEY_MAX + 1];
};

enum run_kind { RUN_PERIODIC, RUN_ASKED /* by ETRN */, RUN_CHECK /* of a quota */, RUN_KINDS };

struct run {
  pid_t pid;
  enum run_kind kind;
};

struct manager {
  const struct config *cfg;
  int notify_fd, interval_sec, max_runs;
  const struct queue_run_opts *run;
  struct arena *a;
  struct vec queues;           /* const char *: names of queues that were told of; the first is "" */
  struct pending *pending;     /* ring */
  size_t head, count;
  int work[2], done[2];        /* notices to the workers; a byte back for each */
  int workers, in_work;        /* processes; ids handed out and not reported yet */
  int limit;                   /* on workers, now */
  int finished;                /* messages since the pace was last looked at */
  deadline_ms pace_until;      /* 0: nobody waits for a worker */
  struct run *running;
  int runs[RUN_KINDS];         /* how many of each kind are running */
  struct asked_run *asked_for; /* waiting to be started */
  int waiting;
  deadline_ms next_run;
  int question_fd;             /* notifier_socket, -1 none */
  int64_t last_count;
  deadline_ms count_again;
};

static volatile sig_atomic_t manager_stop, manager_child;
static void on_term(int sig) {
  (void)sig;
  manager_stop = 1;
}
static void on_child(int sig) {
  (void)sig;
  manager_child = 1;
}

static void set_handler(int sig, void (*handler)(int)) {
  struct sigaction sa = {.sa_handler = handler};
  sigaction(sig, &sa, NULL);
}

static void manager_signals(sigset_t *ret_wait_mask) {
  sigset_t block;
  sigemptyset(&block);
  sigaddset(&block, SIGCHLD);
  sigaddset(&block, SIGTERM);
  sigaddset(&block, SIGINT);
  sigprocmask(SIG_BLOCK, &block, ret_wait_mask);
  sigdelset(ret_wait_mask, SIGCHLD);
  sigdelset(ret_wait_mask, SIGTERM);
  sigdelset(ret_wait_mask, SIGINT);
  set_handler(SIGTERM, on_term);
  set_handler(SIGINT, on_term);
  set_handler(SIGCHLD, on_child);
  set_handler(SIGHUP, SIG_IGN);
}

/* A child of the manager: default signals, nothing blocked. */
static void child_starts(const struct manager *m) {
  sigset_t none;
  sigemptyset(&none);
  set_handler(SIGCHLD, SIG_DFL);
  set_handler(SIGTERM, SIG_DFL);
  set_handler(SIGINT, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
  prctl(PR_SET_PDEATHSIG, 0);
  if (m->question_fd >= 0) (void)!sys_close(m->question_fd); /* the name is the manager's alone */
}

/* False: it was a worker. */
static bool take_run(struct manager *m, pid_t pid) {
  int total = m->runs[RUN_PERIODIC] + m->runs[RUN_ASKED] + m->runs[RUN_CHECK];
  for (int i = 0; i < total; i++)
    if (m->running[i].pid == pid) {
      m->runs[m->running[i].kind]--;
      m->running[i] = m->running[total - 1];
      return true;
    }
  return false;
}

static void reap(struct manager *m) {
  int status;
  pid_t pid;
  manager_child = 0;
  while ((pid = sys_waitpid(-1, &status, WNOHANG)) > 0) {
    bool is_worker = !take_run(m, pid), is_orderly = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (is_worker) m->workers--;
    if (is_worker && !is_orderly && m->in_work > 0) m->in_work--; /* what it was doing will never be reported */
    if (WIFSIGNALED(status) && WTERMSIG(status) != SIGTERM)
      log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "delivery process %d died of signal %d", (int)pid, WTERMSIG(status));
  }
}

/* Names come from the administrator's ACLs: there are few. */
static int queue_index(struct manager *m, const char *name) {
  for (size_t i = 0; i < m->queues.n; i++)
    if (strcmp(m->queues.v[i], name) == 0) return (int)i;
  if (m->queues.n == MAX_QUEUES) return -1;
  vec_push(&m->queues, arena_strdup_t(m->a, name, UNTAINTED)); /* checked by queue_notice_read() */
  return (int)m->queues.n - 1;
}

static void push_pending(struct manager *m, const struct queue_notice *n) {
  int queue = queue_index(m, n->queue);
  if (m->count == MAX_PENDING || queue < 0) return; /* the next run finds it */
  struct pending *p = &m->pending[(m->head + m->count) % MAX_PENDING];
  snprintf(p->id, sizeof p->id, "%s", n->id);
  p->queue = (uint16_t)queue;
  p->hold_smtp = n->hold_smtp;
  m->count++;
}

static void push_asked(struct manager *m, const struct queue_notice *n) {
  if (m->waiting == MAX_ASKED_WAITING) {
    log_write(LS_ALWAYS, LOG_MAIN, "too many queue runs wait to be started: none for \"%s\"", n->pattern);
    queue_serialize_end(m->cfg, n->serialize_key);
    return;
  }
  struct asked_run *r = &m->asked_for[m->waiting++];
  snprintf(r->pattern, sizeof r->pattern, "%s", n->pattern);
  snprintf(r->key, sizeof r->key, "%s", n->serialize_key);
}

static void note_run(struct manager *m, pid_t pid, enum run_kind kind) {
  m->running[m->runs[RUN_PERIODIC] + m->runs[RUN_ASKED] + m->runs[RUN_CHECK]] = (struct run){pid, kind};
  m->runs[kind]++;
}

/* Without an answer, because there are too many checks, the session defers. */
static void start_check(struct manager *m, const struct queue_notice *n, int answer_fd) {
  if (answer_fd < 0 || m->runs[RUN_CHECK] >= MAX_CHECKS) return;
  pid_t pid = sys_fork("quota check");
  if (pid == 0) {
    child_starts(m);
    quota_serve(m->cfg, n->address, n->size, answer_fd);
    _exit(0);
  }
  if (pid > 0) note_run(m, pid, RUN_CHECK);
}

static void read_notifications(struct manager *m) {
  char buf[QUEUE_NOTICE_MAX];
  struct queue_notice n;
  ssize_t got;
  int fd;
  while ((got = fd_message_receive(m->notify_fd, buf, sizeof buf, &fd, MSG_DONTWAIT)) > 0 || fd >= 0) {
    if (got > 0 && queue_notice_read(str_n(buf, (size_t)got), &n)) {
      if (n.kind == QUEUE_NOTICE_RUN) push_asked(m, &n);
      else if (n.kind == QUEUE_NOTICE_QUOTA) start_check(m, &n, fd);
      else push_pending(m, &n);
    }
    if (fd >= 0) (void)!sys_close(fd);
  }
}

/* ---- questions from outside: notifier_socket ---- */

/* Without one the daemon works all the same; only $queue_size stays empty. */
static int open_question_socket(const struct config *cfg) {
  struct arena *a = arena_new("notifier_socket");
  struct expand_ctx x = expand_ctx_new(a, cfg);
  const char *name = cfg->o.notifier_socket ? expand_string(&x, cfg->o.notifier_socket) : "";
  int fd = name && *name ? daemon_notify_open(name) : -1;
  if (!name) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to expand notifier_socket: %s", x.error ? x.error : "");
  else if (*name && fd < 0) log_write(LS_ALWAYS, LOG_MAIN, "notifier_socket \"%s\": %s", name, strerror(-fd));
  arena_free(a);
  return fd < 0 ? -1 : fd;
}

/* Anybody may ask: where counting takes long, at most a tenth of the time goes into it. */
static int64_t count_messages(void *ctx) {
  struct manager *m = ctx;
  if (!deadline_passed(m->count_again)) return m->last_count;
  int64_t start = time_mono_ms();
  m->last_count = (int64_t)queue_size(m->cfg);
  int64_t took = time_mono_ms() - start;
  m->count_again = took > COUNT_IS_SLOW_MS ? deadline_in_ms(took * 10) : 0;
  return m->last_count;
}

static bool has_data(int fd) {
  struct pollfd p = {fd, POLLIN, 0};
  return poll(&p, 1, 0) > 0 && (p.revents & POLLIN);
}

static void deliver_one(const struct config *cfg, const struct queue_notice *n) {
  struct arena *a = arena_new("worker");
  (void)deliver_message(config_for_queue(a, cfg, n->queue), n->id, &(struct deliver_opts){.hold_smtp = n->hold_smtp});
  arena_free(a);
}

/* One worker: notices from the socket until it has done its share or nothing comes for a while. */
NORETURN static void worker_main(const struct manager *m) {
  child_starts(m);
  /* The manager's ends are its own: when it is gone, a report must fail and not wait for a reader. */
  close(m->work[0]);
  close(m->done[0]);
  for (int i = 0; i < WORKER_MAX_MESSAGES; i++) {
    struct pollfd p = {m->work[1], POLLIN, 0};
    char buf[QUEUE_NOTICE_MAX];
    struct queue_notice notice;
    ssize_t n = poll(&p, 1, WORKER_IDLE_MS) > 0 ? recv(m->work[1], buf, sizeof buf, MSG_DONTWAIT) : 0;
    if (n == 0) break;
    if (n < 0) continue; /* another worker was quicker */
    if (queue_notice_read(str_n(buf, (size_t)n), &notice)) deliver_one(m->cfg, &notice);
    if (send(m->done[1], "", 1, MSG_NOSIGNAL) < 0) break; /* the manager is gone */
  }
  _exit(0);
}

static void start_worker(struct manager *m) {
  transports_preload(m->cfg);
  pid_t pid = sys_fork("delivery");
  if (pid == 0) worker_main(m);
  if (pid < 0) /* the ids stay pending; there is another try within a second */
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "fork of delivery process failed: %s", strerror((int)-pid));
  else
    m->workers++;
}

static void read_reports(struct manager *m) {
  char byte;
  while (recv(m->done[0], &byte, 1, MSG_DONTWAIT) == 1) {
    m->finished++;
    if (m->in_work > 0) m->in_work--;
  }
}

/* Somebody waits and all workers are busy.  Is one more permitted? */
static bool may_start_more(struct manager *m) {
  if (m->workers < MAX_WORKERS) m->limit = MAX_WORKERS;
  if (m->workers < m->limit) return true;
  if (m->pace_until && !deadline_passed(m->pace_until)) return false;
  bool was_watched = m->pace_until != 0, is_slow = m->finished < m->workers;
  m->pace_until = deadline_in_ms(PACE_MS);
  m->finished = 0;
  if (was_watched && is_slow) m->limit = MIN(m->limit + MORE_WORKERS, MAX_WORKERS_WAITING);
  return m->workers < m->limit;
}

static bool send_pending(const struct manager *m, const struct pending *p) {
  char buf[QUEUE_NOTICE_MAX];
  struct queue_notice n = {.id = p->id, .queue = m->queues.v[p->queue], .hold_smtp = p->hold_smtp};
  size_t size = queue_notice_write(buf, &n);
  return size == 0 || send(m->work[0], buf, size, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

/* Give every worker something to do, with as many workers as there is work for. */
static void hand_out(struct manager *m) {
  read_reports(m);
  /* Without workers the socket alone says what is left: a worker that was killed may have had nothing, or have reported before. */
  if (m->workers == 0) m->in_work = has_data(m->work[1]) ? 1 : 0;
  /* ids that were handed out while the last worker was ending still lie in the socket */
  if (m->in_work > m->workers && m->workers < m->limit) start_worker(m);
  while (m->count > 0) {
    if (m->in_work >= m->workers) {
      if (!may_start_more(m)) return;
      int before = m->workers;
      start_worker(m);
      if (m->workers == before) return;
    }
    if (!send_pending(m, &m->pending[m->head])) return; /* full: the next report wakes us */
    m->in_work++;
    m->head = (m->head + 1) % MAX_PENDING;
    m->count--;
  }
  m->pace_until = 0;
}

static void start_run(struct manager *m) {
  m->next_run = deadline_in_sec(m->interval_sec);
  if (m->runs[RUN_PERIODIC] >= m->max_runs) return;
  pid_t pid = sys_fork("queue-runner");
  if (pid == 0) {
    child_starts(m);
    (void)queue_run(m->cfg, m->run);
    _exit(0);
  }
  if (pid > 0) note_run(m, pid, RUN_PERIODIC);
}

/* Those of ETRN.  One that cannot be started now is tried again within a second. */
static void start_asked(struct manager *m) {
  while (m->waiting > 0 && m->runs[RUN_ASKED] < MAX_ASKED) {
    struct asked_run r = m->asked_for[0];
    pid_t pid = sys_fork("queue-runner");
    if (pid == 0) {
      child_starts(m);
      (void)queue_run(m->cfg, &(struct queue_run_opts){.match_recipient = r.pattern});
      queue_serialize_end(m->cfg, r.key);
      _exit(0);
    }
    if (pid < 0) return;
    note_run(m, pid, RUN_ASKED);
    memmove(m->asked_for, m->asked_for + 1, (size_t)--m->waiting * sizeof(r));
  }
}

static int wait_ms(const struct manager *m) {
  bool stuck = (m->count > 0 && m->in_work == 0) || m->in_work > m->workers || (m->waiting > 0 && m->runs[RUN_ASKED] < MAX_ASKED) || /* fork failed: try again soon */
               (m->pace_until && m->limit < MAX_WORKERS_WAITING);
  int ms = m->interval_sec > 0 ? deadline_poll_ms(m->next_run) : -1;
  return stuck && (ms < 0 || ms > 1000) ? 1000 : ms;
}

static int max_runs_of(const struct config *cfg) {
  struct arena *a = arena_new("queue_run_max");
  struct expand_ctx x = expand_ctx_new(a, cfg);
  int64_t n = 5;
  const char *text = cfg->o.queue_run_max;
  if (text && !expand_int(&x, text, &n)) n = 5;
  arena_free(a);
  return n <= 0 ? 1000 : (int)MIN(n, INT64_C(1000));
}

void queue_manager(const struct config *cfg, int notify_fd, int interval_sec, const struct queue_run_opts *o, bool takes_questions) {
  struct manager m = {.cfg = cfg, .notify_fd = notify_fd, .interval_sec = interval_sec, .run = o, .limit = MAX_WORKERS};
  sigset_t wait_mask;
  manager_signals(&wait_mask);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  m.max_runs = max_runs_of(cfg);
  struct arena *a = arena_new("queue_manager");
  m.a = a;
  m.queues = vec_new(a);
  vec_push(&m.queues, arena_strdup_t(a, "", UNTAINTED));
  m.pending = ARENA_NEW_N(a, struct pending, MAX_PENDING);
  m.running = ARENA_NEW_N(a, struct run, (size_t)m.max_runs + MAX_ASKED + MAX_CHECKS);
  m.asked_for = ARENA_NEW_N(a, struct asked_run, MAX_ASKED_WAITING);
  m.next_run = time_mono_ms();
  m.question_fd = takes_questions ? open_question_socket(cfg) : -1;
  if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, m.work) < 0 ||
      socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, m.done) < 0)
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC | LOG_DIE, "the queue manager has no sockets: %s", strerror(errno));
  while (!manager_stop) {
    if (manager_child) reap(&m);
    hand_out(&m);
    if (interval_sec > 0 && deadline_passed(m.next_run)) start_run(&m);
    start_asked(&m);
    struct pollfd p[3] = {{notify_fd, POLLIN, 0}, {m.done[0], POLLIN, 0}, {m.question_fd, POLLIN, 0}};
    int ms = wait_ms(&m);
    struct timespec ts = {ms / 1000, (ms % 1000) * 1000000L};
    if (ppoll(p, 3, ms < 0 ? NULL : &ts, &wait_mask) > 0) read_notifications(&m);
    if (p[2].revents & POLLIN) daemon_notify_answer(m.question_fd, count_messages, &m);
  }
  _exit(0);
}
