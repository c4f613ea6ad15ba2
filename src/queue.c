/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queue runs and the queue manager (queue.h).  Floor: flows.
 *
 * The spool is the truth; what is remembered here is a list of ids somebody just told us about.  Losing it (a kill, a full socket) delays
 * those messages to the next run and loses nothing.  Delivery processes are forked, never exec'd; one process delivers many ids. */
#include "queue.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deliver.h"
#include "os/debug.h"
#include "os/log.h"
#include "os/sys.h"
#include "policy/config.h"
#include "policy/expand.h"
#include "policy/match.h"
#include "spool.h"
#include "transport.h"

enum { MAX_WORKERS = 20, WORKER_MAX_MESSAGES = 200, WORKER_IDLE_MS = 1000, NOTIFY_WAIT_MS = 3000, MAX_PENDING = 100000, ORPHAN_AGE_SEC = 3600 };

static int notify_fd_of_process = -1;
void queue_set_notify_fd(int fd) { notify_fd_of_process = fd; }
int queue_get_notify_fd(void) { return notify_fd_of_process; }

/* The manager empties the socket many times a second.  One that is stopped or being restarted must not hold up a session for long: the
 * message is on the spool, the next run finds it. */
bool queue_notify(int notify_fd, const char *id) {
  if (notify_fd < 0) return false;
  for (deadline_ms end = deadline_in_ms(NOTIFY_WAIT_MS);;) {
    if (send(notify_fd, id, strlen(id) + 1, MSG_NOSIGNAL | MSG_DONTWAIT) > 0) return true;
    if (errno != EAGAIN && errno != EINTR) return false;
    if (deadline_passed(end)) {
      log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "the queue manager does not answer: %s waits for the next queue run", id);
      return true;
    }
    struct pollfd p = {notify_fd, POLLOUT, 0};
    (void)poll(&p, 1, deadline_poll_ms(end));
  }
}

/* ---- one run ------------------------------------------------------------------------------------------------------ */

static struct deliver_opts deliver_opts_of(const struct queue_run_opts *o) {
  return (struct deliver_opts){.forced = o->forced, .thaw = o->force_thaw, .in_queue_run = true,
                               .local_only = o->local_only, .dont_deliver = o->dont_deliver};
}

/* "-qqff" and the selections, as the Start/End lines show them; "" for a plain run. */
static const char *run_flags(struct arena *a, const struct queue_run_opts *o) {
  struct strbuf b = strbuf_new(a);
  if (o->two_stage || o->first_only || o->forced || o->local_only)
    strbuf_addl(&b, " -q", o->two_stage ? "q" : "", o->first_only ? "i" : "", o->force_thaw ? "ff" : o->forced ? "f" : "",
                o->local_only ? "l" : "", NULL);
  if (o->match_recipient) strbuf_addf(&b, " -R%s %s", o->recipient_is_regex ? "r" : "", o->match_recipient);
  if (o->match_sender) strbuf_addf(&b, " -S%s %s", o->sender_is_regex ? "r" : "", o->match_sender);
  return b.p;
}

static bool text_matches(struct expand_ctx *x, const char *text, const char *pattern, bool is_regex) {
  if (is_regex) return regex_match(x, pattern, true, str_c(text), false) == OUTCOME_OK;
  return strstric(text, pattern) != NULL;
}

/* -R/-S and "first attempt only": needs a look into the message. */
static bool is_selected(const struct config *cfg, const char *id, const struct queue_run_opts *o) {
  if (!o->match_sender && !o->match_recipient && !o->first_only) return true;
  struct message *m;
  if (spool_peek(cfg, id, &m) != SPOOL_OPENED) return !o->first_only; /* deliver_message reports what is wrong */
  struct expand_ctx x = expand_ctx_new(m->arena, cfg);
  bool ok = !o->first_only || m->deliver_firsttime;
  if (ok && o->match_sender) ok = text_matches(&x, m->sender, o->match_sender, o->sender_is_regex);
  if (ok && o->match_recipient) {
    ok = false;
    for (size_t i = 0; i < m->recipient_count && !ok; i++)
      ok = !tree_find(&m->nonrecipients, m->recipients[i].address) &&
           text_matches(&x, m->recipients[i].address, o->match_recipient, o->recipient_is_regex);
  }
  message_free(m);
  return ok;
}

/* Deliver in a child, so that whatever goes wrong there stops one message only. */
static void deliver_in_child(const struct config *cfg, const char *id, const struct deliver_opts *d) {
  transports_preload(cfg);
  pid_t pid = sys_fork("qrun-delivery");
  if (pid == 0) _exit(deliver_message(cfg, id, d) == DELIVER_DONE ? 0 : 1);
  if (pid < 0) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "fork of delivery process failed in queue run: %s", strerror((int)-pid));
    return;
  }
  int status;
  if (sys_waitpid(pid, &status, 0) == pid && WIFSIGNALED(status))
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "queue run: process %d crashed with signal %d while delivering %s", (int)pid,
              WTERMSIG(status), id);
}

/* The next of "5s/1h/...": 0 when it is empty or there is none. */
static int64_t next_age(struct str *ages) {
  int64_t sec = 0;
  struct str item = str_cut(ages, '/');
  return item.n && time_parse_interval(item, false, &sec) ? sec : 0;
}

static void one_pass(const struct config *cfg, const struct queue_run_opts *o, bool first_pass) {
  struct arena *a = arena_new("queue_run");
  struct deliver_opts d = deliver_opts_of(o);
  d.first_pass = first_pass;
  struct str ages = str_c(o->ages);
  bool is_selection = o->start_id || o->match_sender || o->match_recipient;
  bool had_first = !o->match_sender && !o->match_recipient;
  struct spool_item *i = spool_list(a, cfg, cfg->o.queue_run_in_order || is_selection, NULL);
  for (; i; i = i->next) {
    if (o->start_id && strcmp(i->id, o->start_id) < 0) continue;
    if (o->stop_id && strcmp(i->id, o->stop_id) > 0) break;
    if (!is_selected(cfg, i->id, o)) continue;
    double load;
    if (cfg->o.deliver_queue_load_max >= 0 && getloadavg(&load, 1) == 1 && load * 1000 > (double)cfg->o.deliver_queue_load_max) {
      log_write(LS_QUEUE_RUN, LOG_MAIN, "Abandon queue run: pid=%d%s (load %.2f, max %.2f)", (int)getpid(), run_flags(a, o), load,
                (double)cfg->o.deliver_queue_load_max / 1000);
      break;
    }
    /* The first message that -R or -S selects ignores retry times; its successes make the others due. */
    struct deliver_opts first = d;
    first.forced = d.forced || !had_first;
    first.assumed_age_sec = next_age(&ages);
    deliver_in_child(cfg, i->id, &first);
    had_first = true;
  }
  arena_free(a);
}

void queue_run(const struct config *main_cfg, const struct queue_run_opts *o) {
  struct arena *a = arena_new("queue_run");
  const struct config *cfg = o->name ? config_for_queue(a, main_cfg, o->name) : main_cfg;
  const char *which = o->name && *o->name ? arena_printf(a, "'%s' ", o->name) : "";
  const char *flags = run_flags(a, o);
  int pid = (int)getpid();
  log_write(LS_QUEUE_RUN, LOG_MAIN, "Start %squeue run: pid=%d%s", which, pid, flags);
  if (o->two_stage) one_pass(cfg, o, true);
  one_pass(cfg, o, false);
  if (!o->start_id && !o->match_sender && !o->match_recipient) (void)spool_clean_orphans(cfg, ORPHAN_AGE_SEC);
  log_write(LS_QUEUE_RUN, LOG_MAIN, "End %squeue run: pid=%d%s", which, pid, flags);
  arena_free(a);
}

/* ---- the queue manager -------------------------------------------------------------------------------------------
 *
 * Delivery processes (workers) are forked when there is more to do than there are idle ones, take ids one by one from a socket, and end after
 * WORKER_MAX_MESSAGES or an idle second: the fork is paid once for many messages, and nothing a message left behind lives long.  A worker
 * reports each finished id with one byte.  A worker that dies takes one id with it, which the next queue run finds. */

struct manager {
  const struct config *cfg;
  int notify_fd, interval_sec, max_runs;
  const struct queue_run_opts *run;
  char (*pending)[MSGID_SIZE]; /* ring */
  size_t head, count;
  int work[2], done[2];        /* ids to the workers; a byte back for each */
  int workers, in_work;        /* processes; ids handed out and not reported yet */
  int runs;
  pid_t *run_pids;
  deadline_ms next_run;
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
static void child_signals(void) {
  sigset_t none;
  sigemptyset(&none);
  set_handler(SIGCHLD, SIG_DFL);
  set_handler(SIGTERM, SIG_DFL);
  set_handler(SIGINT, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
  prctl(PR_SET_PDEATHSIG, 0);
}

static bool is_run_pid(struct manager *m, pid_t pid) {
  for (int i = 0; i < m->runs; i++)
    if (m->run_pids[i] == pid) {
      m->run_pids[i] = m->run_pids[--m->runs];
      return true;
    }
  return false;
}

static void reap(struct manager *m) {
  int status;
  pid_t pid;
  manager_child = 0;
  while ((pid = sys_waitpid(-1, &status, WNOHANG)) > 0) {
    bool is_worker = !is_run_pid(m, pid), is_orderly = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (is_worker) m->workers--;
    if (is_worker && !is_orderly && m->in_work > 0) m->in_work--; /* what it was doing will never be reported */
    if (WIFSIGNALED(status) && WTERMSIG(status) != SIGTERM)
      log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "delivery process %d died of signal %d", (int)pid, WTERMSIG(status));
  }
}

static void push_pending(struct manager *m, const char *id) {
  if (m->count == MAX_PENDING) return; /* the next run finds it */
  snprintf(m->pending[(m->head + m->count) % MAX_PENDING], MSGID_SIZE, "%.*s", MSGID_LEN, id);
  m->count++;
}

static void read_notifications(struct manager *m) {
  char buf[64];
  ssize_t n;
  while ((n = recv(m->notify_fd, buf, sizeof buf - 1, MSG_DONTWAIT)) > 0) {
    buf[n] = '\0';
    if (msgid_is_valid(str_c(buf))) push_pending(m, buf);
  }
}

static bool has_data(int fd) {
  struct pollfd p = {fd, POLLIN, 0};
  return poll(&p, 1, 0) > 0 && (p.revents & POLLIN);
}

/* One worker: ids from the socket until it has done its share or nothing comes for a while. */
NORETURN static void worker_main(const struct manager *m) {
  child_signals();
  /* The manager's ends are its own: when it is gone, a report must fail and not wait for a reader. */
  close(m->work[0]);
  close(m->done[0]);
  for (int i = 0; i < WORKER_MAX_MESSAGES; i++) {
    struct pollfd p = {m->work[1], POLLIN, 0};
    char id[64];
    ssize_t n = poll(&p, 1, WORKER_IDLE_MS) > 0 ? recv(m->work[1], id, sizeof id - 1, MSG_DONTWAIT) : 0;
    if (n == 0) break;
    if (n < 0) continue; /* another worker was quicker */
    id[n] = '\0';
    (void)deliver_message(m->cfg, id, &(struct deliver_opts){0});
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
  while (recv(m->done[0], &byte, 1, MSG_DONTWAIT) == 1)
    if (m->in_work > 0) m->in_work--;
}

/* Give every worker something to do, with as many workers as there is work for. */
static void hand_out(struct manager *m) {
  read_reports(m);
  /* Without workers the socket alone says what is left: a worker that was killed may have had nothing, or have reported before. */
  if (m->workers == 0) m->in_work = has_data(m->work[1]) ? 1 : 0;
  /* ids that were handed out while the last worker was ending still lie in the socket */
  if (m->in_work > m->workers && m->workers < MAX_WORKERS) start_worker(m);
  while (m->count > 0) {
    if (m->in_work >= m->workers) {
      if (m->workers >= MAX_WORKERS) return;
      int before = m->workers;
      start_worker(m);
      if (m->workers == before) return;
    }
    const char *id = m->pending[m->head];
    if (send(m->work[0], id, strlen(id) + 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) return; /* full: the next report wakes us */
    m->in_work++;
    m->head = (m->head + 1) % MAX_PENDING;
    m->count--;
  }
}

static void start_run(struct manager *m) {
  m->next_run = deadline_in_sec(m->interval_sec);
  if (m->runs >= m->max_runs) return;
  pid_t pid = sys_fork("queue-runner");
  if (pid == 0) {
    child_signals();
    queue_run(m->cfg, m->run);
    _exit(0);
  }
  if (pid > 0) m->run_pids[m->runs++] = pid;
}

static int wait_ms(const struct manager *m) {
  bool stuck = (m->count > 0 && m->in_work == 0) || m->in_work > m->workers; /* fork failed: try again soon */
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

void queue_manager(const struct config *cfg, int notify_fd, int interval_sec, const struct queue_run_opts *o) {
  struct manager m = {.cfg = cfg, .notify_fd = notify_fd, .interval_sec = interval_sec, .run = o};
  sigset_t wait_mask;
  manager_signals(&wait_mask);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  m.max_runs = max_runs_of(cfg);
  struct arena *a = arena_new("queue_manager");
  m.pending = arena_alloc(a, size_mul(MAX_PENDING, MSGID_SIZE));
  m.run_pids = ARENA_NEW_N(a, pid_t, (size_t)m.max_runs);
  m.next_run = time_mono_ms();
  if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, m.work) < 0 ||
      socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, m.done) < 0)
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC | LOG_DIE, "the queue manager has no sockets: %s", strerror(errno));
  while (!manager_stop) {
    if (manager_child) reap(&m);
    hand_out(&m);
    if (interval_sec > 0 && deadline_passed(m.next_run)) start_run(&m);
    struct pollfd p[2] = {{notify_fd, POLLIN, 0}, {m.done[0], POLLIN, 0}};
    int ms = wait_ms(&m);
    struct timespec ts = {ms / 1000, (ms % 1000) * 1000000L};
    if (ppoll(p, 2, ms < 0 ? NULL : &ts, &wait_mask) > 0) read_notifications(&m);
  }
  _exit(0);
}
