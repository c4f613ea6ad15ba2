/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The acceptor: one process that accepts connections and has each served by a session process.  Floor: flows.  Manual ch. 14 (smtp_accept_...), 48.
 *
 * It knows of a peer only its address; it never reads from it.  A refused connection gets one 421 line, written without waiting.
 * A session process is forked for the connection; with smtp_connections_per_process it may be given others when it is done (daemon_session.c).
 * One that dies of a signal is reported with the peer's address: it may be an attack. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon_priv.h"
#include "os/log.h"
#include "os/signals.h"
#include "os/sys.h"
#include "policy/acl.h"
#include "policy/expand.h"
#include "policy/match.h"
#include "router.h"
#include "smtp_in_tls.h"

enum { DRAIN_MS = 30000, CREDENTIALS_EVERY_MS = 1000, SIGNER_WAIT_MS = 200 };

struct acceptor {
  struct config *cfg;
  const struct daemon_opts *o;
  struct listeners *l;
  struct arena *a;             /* of the process */
  const char *login;           /* the Exim user's */
  struct session_table sessions;
  int64_t credentials_seen_ms;
  struct daemon_signer signer;
  int signal_fd;
  int closed_fd;               /* see daemon_acceptor() */
};

const char *daemon_crash_text(struct arena *a, int status) {
  if (!WIFSIGNALED(status)) return NULL;
  int sig = WTERMSIG(status);
  if (sig == SIGTERM || sig == SIGINT || sig == SIGKILL || sig == SIGHUP) return NULL;
  return arena_printf(a, "died of signal %d (%s)", sig, strsignal(sig));
}

/* ---- Refusing ---- */

static void say_421(int fd, const char *text) {
  char line[256];
  int n = snprintf(line, sizeof(line), "421 %s\r\n", text);
  if (send(fd, line, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) return;
  /* Input that came with the connection would turn the close into a reset, and the line might be lost. */
  shutdown(fd, SHUT_WR);
  for (int i = 0; i < 256 && recv(fd, line, sizeof(line), MSG_DONTWAIT) > 0;) i++;
}

static const char *peer_text(struct arena *a, const struct net_end *peer, const struct net_end *local) {
  char ip[IP_TEXT_SIZE], lip[IP_TEXT_SIZE];
  struct strbuf b = strbuf_new(a);
  strbuf_addf(&b, "[%s]", ip_format(&peer->ip, ip));
  if (log_selects(LS_INCOMING_PORT)) strbuf_addf(&b, ":%d", peer->port);
  if (log_selects(LS_INCOMING_INTERFACE)) strbuf_addf(&b, " I=[%s]:%d", ip_format(&local->ip, lip), local->port);
  return b.p;
}

void daemon_fill_conn(struct conn *c, const struct net_end *peer, const struct net_end *local) {
  char text[IP_TEXT_SIZE];
  c->from.host_aliases = vec_new(c->arena);
  c->command_names = vec_new(c->arena);
  c->from.host_address = arena_strdup(c->arena, ip_format(&peer->ip, text)); /* digits of our own making */
  c->from.host_port = peer->port;
  c->from.interface_address = arena_strdup(c->arena, ip_format(&local->ip, text));
  c->from.interface_port = local->port;
}

/* Is the host in a list that the daemon itself must test?  A name in it costs a DNS lookup here, as the manual warns. */
static bool host_in(struct acceptor *s, struct arena *a, const struct net_end *peer, const struct net_end *local, const char *list) {
  if (!list) return false;
  struct conn c = {.arena = a, .cfg = s->cfg};
  daemon_fill_conn(&c, peer, local);
  struct expand_ctx x = expand_ctx_new(a, s->cfg);
  x.conn = &c;
  struct match_host h = {.address = c.from.host_address};
  return match_host(&x, &h, list, NULL) == OUTCOME_OK;
}

/* "delay" in an ACL that an expansion of the acceptor calls.  Nobody else is served meanwhile; that is what the administrator asked for. */
static void delay(struct acl_env *env, struct expand_ctx *x, int seconds) {
  (void)env;
  (void)x;
  pause_ms(seconds * 1000);
}

static int64_t per_host_limit(struct acceptor *s, struct arena *a, const struct net_end *peer, const struct net_end *local) {
  int64_t n = 0;
  const char *text = s->cfg->o.smtp_accept_max_per_host;
  if (!text) return 0;
  struct conn c = {.arena = a, .cfg = s->cfg};
  daemon_fill_conn(&c, peer, local);
  struct expand_ctx x = expand_ctx_new(a, s->cfg);
  struct acl_env env = {.delay = delay};
  x.conn = &c;
  x.acl_env = &env;
  if (expand_int(&x, text, &n)) return n;
  if (!x.forced_fail)
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "expansion of smtp_accept_max_per_host failed for %s: %s", peer_text(a, peer, local),
              x.error ? x.error : "");
  return 0;
}

static double load_average(void) {
  double l;
  return getloadavg(&l, 1) == 1 ? l : 0;
}

/* False: the client was told why not. */
static bool admit(struct acceptor *s, struct arena *a, int fd, const struct net_end *peer, const struct net_end *local) {
  const struct main_options *o = &s->cfg->o;
  const char *why = NULL, *say = NULL;
  if (o->smtp_accept_max > 0 && s->sessions.busy >= o->smtp_accept_max) {
    why = "too many connections";
    say = "Too many concurrent SMTP connections; please try again later.";
  } else if (o->smtp_accept_max > 0 && s->sessions.busy >= o->smtp_accept_max - o->smtp_accept_reserve && o->smtp_accept_reserve > 0 &&
             !host_in(s, a, peer, local, o->smtp_reserve_hosts)) {
    why = arena_printf(a, "not in reserve list: connected=%d max=%d reserve=%d", s->sessions.busy, (int)o->smtp_accept_max, (int)o->smtp_accept_reserve);
    say = "Too many concurrent SMTP connections; please try again later.";
  } else if (o->smtp_load_reserve >= 0 && load_average() * 1000 > (double)o->smtp_load_reserve &&
             !host_in(s, a, peer, local, o->smtp_reserve_hosts)) {
    why = arena_printf(a, "load average = %.2f", load_average());
    say = "Too much load; please try again later.";
  } else {
    int64_t limit = per_host_limit(s, a, peer, local);
    if (limit > 0 && session_table_count_of(&s->sessions, &peer->ip) >= limit) {
      why = "too many connections from that IP address";
      say = "Too many concurrent SMTP connections from this IP address; please try again later.";
    }
  }
  if (!why) return true;
  log_write(LS_CONNECTION_REJECT, LOG_MAIN, "Connection from %s refused: %s", peer_text(a, peer, local), why);
  say_421(fd, say);
  return false;
}

/* ---- Session processes ---- */

/* Sessions look themselves whether files changed; what is read here they need not read. */
static void look_at_credentials(struct acceptor *s) {
  int64_t now = time_mono_ms();
  if (now - s->credentials_seen_ms < CREDENTIALS_EVERY_MS || !daemon_signer_tend(&s->signer, s->cfg)) return;
  s->credentials_seen_ms = now;
  smtp_tls_preload(s->cfg, daemon_signer_asking(&s->signer));
}

/* smtp_backlog_monitor: how many waited, this one included. */
static void log_backlog(const struct acceptor *s, unsigned n, const struct net_end *local) {
  char ip[IP_TEXT_SIZE];
  int64_t limit = s->cfg->o.smtp_backlog_monitor;
  if (limit > 0 && n > limit) log_write(LS_ALWAYS, LOG_MAIN, "listen backlog %u I=[%s]:%d", n, ip_format(&local->ip, ip), local->port);
}

/* A socket pair to give the new process more connections by; none: ret[0] is -1, and it ends with its first. */
static void make_way_back(const struct acceptor *s, int ret[2]) {
  ret[0] = ret[1] = -1;
  if (s->sessions.poll_fd >= 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret) < 0) ret[0] = ret[1] = -1;
}

NORETURN static void become_session(struct acceptor *s, const struct session_job *job, int fd, const int way[2]) {
  const int others[] = {s->signal_fd, s->closed_fd, way[0]};
  struct session_process p = {.cfg = s->cfg, .login = s->login, .listeners = s->l, .close = others, .nclose = way[0] < 0 ? 2 : 3,
                              .signer = &s->signer, .deliver_foreground = s->o->deliver_foreground,
                              .queue_only = s->o->queue_only || s->cfg->o.queue_only, .next_fd = way[1]};
  session_table_leave(&s->sessions);
  daemon_session(&p, job, fd);
}

static void start_session(struct acceptor *s, const struct session_job *job, int fd) {
  int way[2];
  make_way_back(s, way);
  pid_t pid = sys_fork("session");
  if (pid == 0) become_session(s, job, fd, way);
  if (way[1] >= 0) close(way[1]);
  if (pid > 0) {
    session_table_add(&s->sessions, pid, &job->peer, way[0], s->signer.asking.generation);
    return;
  }
  if (way[0] >= 0) close(way[0]);
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "daemon: accept process fork failed: %s", strerror((int)-pid));
  say_421(fd, "Service not available - try again later.");
}

static void serve(struct acceptor *s, struct arena *a, int fd, const struct session_job *job) {
  look_at_credentials(s);
  if (!host_in(s, a, &job->peer, &job->local, s->cfg->o.hosts_connection_nolog))
    log_write(LS_SMTP_CONNECTION, LOG_MAIN, "SMTP connection from %s (TCP/IP connection count = %d)", peer_text(a, &job->peer, &job->local), job->count);
  if (!session_table_hand_over(&s->sessions, job, fd, s->signer.asking.generation)) start_session(s, job, fd);
}

static void accept_one(struct acceptor *s, const struct listener *l) {
  struct session_job job = {.count = s->sessions.busy + 1, .tls_on_connect = l->tls_on_connect};
  int64_t queue_from = s->cfg->o.smtp_accept_queue;
  unsigned backlog = s->cfg->o.smtp_backlog_monitor > 0 ? net_backlog(l->fd) : 0;
  int fd = net_accept(l->fd, &job.peer);
  if (fd < 0) {
    if (fd == -EAGAIN || fd == -EINTR || fd == -ECONNABORTED) return;
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "accept() failure: %s", strerror(-fd));
    pause_ms(100); /* out of descriptors or memory: do not spin */
    return;
  }
  struct arena *a = arena_new("accept");
  if (net_local(fd, &job.local) < 0) job.local = l->end;
  job.peer.ip = ip_unmap(job.peer.ip);
  job.local.ip = ip_unmap(job.local.ip);
  job.are_too_many = queue_from > 0 && job.count > queue_from;
  bool is_admitted = admit(s, a, fd, &job.peer, &job.local);
  log_backlog(s, backlog, &job.local);
  if (is_admitted) serve(s, a, fd, &job);
  close(fd);
  arena_free(a);
}

static void log_crash(int status, pid_t pid, const struct net_end *peer) {
  char ip[IP_TEXT_SIZE];
  struct arena *a = arena_new("reap");
  const char *crash = daemon_crash_text(a, status);
  if (crash)
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "SMTP session process %d for [%s] %s", (int)pid, ip_format(&peer->ip, ip), crash);
  arena_free(a);
}

static void reap(struct acceptor *s) {
  int status;
  pid_t pid;
  struct net_end peer;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
    if (!daemon_signer_ended(&s->signer, pid, status) && session_table_ended(&s->sessions, pid, &peer)) log_crash(status, pid, &peer);
}

/* The strongest of the signals waiting: TERM, else INT, else 0. */
static int pending_signal(struct acceptor *s) {
  struct signalfd_siginfo info;
  int strongest = 0;
  while (read(s->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
    if (info.ssi_signo == SIGTERM) strongest = SIGTERM;
    else if (info.ssi_signo == SIGINT && !strongest) strongest = SIGINT;
  }
  return strongest;
}

/* TERM: let the sessions end by themselves for a while, then ask them to.  INT (the daemon is being replaced): let them all end. */
NORETURN static void drain(struct acceptor *s, int sig) {
  deadline_ms end = DEADLINE_NEVER;
  daemon_listen_close(s->l);
  close(s->closed_fd);
  session_table_retire_all(&s->sessions);
  for (reap(s); s->sessions.busy > 0 && !deadline_passed(end); reap(s)) {
    (void)daemon_signer_tend(&s->signer, s->cfg);
    if (sig == SIGTERM && end == DEADLINE_NEVER) end = deadline_in_ms(s->cfg->harness_mode ? 2000 : DRAIN_MS);
    struct pollfd p = {.fd = s->signal_fd, .events = POLLIN};
    if (poll(&p, 1, 200) > 0 && pending_signal(s) == SIGTERM) sig = SIGTERM;
  }
  for (int i = 0; i < s->sessions.nslots; i++) {
    char ip[IP_TEXT_SIZE];
    const struct session_slot *slot = &s->sessions.slots[i];
    if (!slot->pid || slot->state != SESSION_BUSY) continue;
    log_write(LS_ALWAYS, LOG_MAIN, "SMTP connection from [%s] closed after SIGTERM", ip_format(&slot->peer.ip, ip));
    (void)signals_send(slot->pid, SIGTERM);
  }
  _exit(EXIT_SUCCESS);
}

enum { POLL_SIGNALS, POLL_SESSIONS, POLL_LISTENERS };

/* TERM and its like come through a descriptor, between two connections.  What is polled for. */
static void prepare_poll(struct acceptor *s, struct pollfd *p) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, NULL);
  signals_handle(SIGHUP, SIG_IGN);
  s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  p[POLL_SIGNALS] = (struct pollfd){.fd = s->signal_fd, .events = POLLIN};
  p[POLL_SESSIONS] = (struct pollfd){.fd = s->sessions.poll_fd, .events = POLLIN};
  for (int i = 0; i < s->l->n; i++) {
    int flags = fcntl(s->l->v[i].fd, F_GETFL);
    if (flags >= 0) fcntl(s->l->v[i].fd, F_SETFL, flags | O_NONBLOCK);
    p[POLL_LISTENERS + i] = (struct pollfd){.fd = s->l->v[i].fd, .events = POLLIN};
  }
}

/* How long to wait for something to happen, in milliseconds; -1: for ever. */
static int idle_wait_ms(const struct acceptor *s) {
  int sec = s->o->inetd_timeout_sec;
  if (s->sessions.idle > 0) return SESSION_IDLE_LOOK_MS;
  return sec <= 0 ? -1 : sec > INT_MAX / 1000 ? INT_MAX : sec * 1000;
}

/* With -bw the daemon is to end when nobody comes, and with -odi a session keeps the way to root: there each connection has its own process. */
static bool may_reuse(const struct acceptor *s) {
  return s->cfg->o.smtp_connections_per_process > 1 && !s->o->deliver_foreground && !s->o->inetd_wait;
}

NORETURN void daemon_acceptor(struct config *cfg, const struct daemon_opts *o, struct listeners *l, int closed_fd) {
  struct acceptor s = {.cfg = cfg, .o = o, .l = l, .a = arena_new("acceptor"), .closed_fd = closed_fd};
  struct pollfd p[DAEMON_MAX_LISTEN + POLL_LISTENERS];
  session_table_init(&s.sessions, s.a, may_reuse(&s));
  prepare_poll(&s, p);
  daemon_signer_start(&s.signer, s.a, cfg);
  smtp_tls_preload(cfg, daemon_signer_asking(&s.signer));
  s.login = route_exim_login(s.a, cfg); /* once: a session would read the password file for it */
  for (;;) {
    bool is_short = daemon_signer_is_missing(&s.signer) && !daemon_signer_tend(&s.signer, cfg);
    int ready = poll(p, (nfds_t)l->n + POLL_LISTENERS, is_short ? SIGNER_WAIT_MS : idle_wait_ms(&s));
    if (ready < 0 && errno != EINTR) _exit(EXIT_FAILURE);
    if (ready == 0 && o->inetd_wait && s.sessions.busy == 0 && !is_short) _exit(DAEMON_IDLE_STATUS);
    if (p[POLL_SIGNALS].revents) {
      int sig = pending_signal(&s);
      reap(&s);
      if (sig) drain(&s, sig);
    }
    if (p[POLL_SESSIONS].revents) session_table_note_done(&s.sessions);
    session_table_retire_idle(&s.sessions);
    for (int i = 0; i < l->n; i++)
      if (p[POLL_LISTENERS + i].revents) accept_one(&s, &l->v[i]);
  }
}
