/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The acceptor: one process that accepts connections and forks a session for each.  Floor: flows.  Manual ch. 14 (smtp_accept_...), 48.
 *
 * It knows of a peer only its address; it never reads from it.  A refused connection gets one 421 line, written without waiting.
 * A session that dies of a signal is reported with the peer's address: it may be an attack. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon_priv.h"
#include "os/debug.h"
#include "os/log.h"
#include "os/process_info.h"
#include "os/signals.h"
#include "os/stream.h"
#include "os/sys.h"
#include "policy/acl.h"
#include "policy/expand.h"
#include "policy/match.h"
#include "router.h"
#include "smtp_in.h"
#include "smtp_in_tls.h"

enum { DRAIN_MS = 30000, CREDENTIALS_EVERY_MS = 1000, SIGNER_WAIT_MS = 200 };

struct session_slot {
  pid_t pid;      /* 0: free */
  struct net_end peer;
};

struct acceptor {
  struct config *cfg;
  const struct daemon_opts *o;
  struct listeners *l;
  struct arena *a;             /* of the process */
  const char *login;           /* the Exim user's */
  struct session_slot *slots;
  int nslots, count;
  int64_t credentials_seen_ms;
  struct daemon_signer signer;
  int signal_fd;
  int closed_fd;               /* see daemon_acceptor() */
};

const char *daemon_crash_text(struct arena *a, int status)
{
  if (!WIFSIGNALED(status)) return NULL;
  int sig = WTERMSIG(status);
  if (sig == SIGTERM || sig == SIGINT || sig == SIGKILL || sig == SIGHUP) return NULL;
  return arena_printf(a, "died of signal %d (%s)", sig, strsignal(sig));
}

/* ---- Refusing ---- */

static void say_421(int fd, const char *text)
{
  char line[256];
  int n = snprintf(line, sizeof(line), "421 %s\r\n", text);
  if (send(fd, line, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) return;
  /* Input that came with the connection would turn the close into a reset, and the line might be lost. */
  shutdown(fd, SHUT_WR);
  for (int i = 0; i < 256 && recv(fd, line, sizeof(line), MSG_DONTWAIT) > 0;) i++;
}

static const char *peer_text(struct arena *a, const struct net_end *peer, const struct net_end *local)
{
  char ip[IP_TEXT_SIZE], lip[IP_TEXT_SIZE];
  struct strbuf b = strbuf_new(a);
  strbuf_addf(&b, "[%s]", ip_format(&peer->ip, ip));
  if (log_selects(LS_INCOMING_PORT)) strbuf_addf(&b, ":%d", peer->port);
  if (log_selects(LS_INCOMING_INTERFACE)) strbuf_addf(&b, " I=[%s]:%d", ip_format(&local->ip, lip), local->port);
  return b.p;
}

static int count_of_host(const struct acceptor *s, const struct ip *ip)
{
  int n = 0;
  for (int i = 0; i < s->nslots; i++)
    if (s->slots[i].pid && ip_equal(&s->slots[i].peer.ip, ip)) n++;
  return n;
}

static void fill_conn(struct conn *c, const struct net_end *peer, const struct net_end *local)
{
  char text[IP_TEXT_SIZE];
  c->from.host_aliases = vec_new(c->arena);
  c->command_names = vec_new(c->arena);
  c->from.host_address = arena_strdup(c->arena, ip_format(&peer->ip, text)); /* digits of our own making */
  c->from.host_port = peer->port;
  c->from.interface_address = arena_strdup(c->arena, ip_format(&local->ip, text));
  c->from.interface_port = local->port;
}

/* Is the host in a list that the daemon itself must test?  A name in it costs a DNS lookup here, as the manual warns. */
static bool host_in(struct acceptor *s, struct arena *a, const struct net_end *peer, const struct net_end *local, const char *list)
{
  if (!list) return false;
  struct conn c = {.arena = a, .cfg = s->cfg};
  fill_conn(&c, peer, local);
  struct expand_ctx x = expand_ctx_new(a, s->cfg);
  x.conn = &c;
  struct match_host h = {.address = c.from.host_address};
  return match_host(&x, &h, list, NULL) == OUTCOME_OK;
}

/* An ACL called in an expansion that says so holds up everybody. */
static void delay(struct acl_env *env, struct expand_ctx *x, int seconds)
{
  (void)env;
  (void)x;
  pause_ms(seconds * 1000);
}

static int64_t per_host_limit(struct acceptor *s, struct arena *a, const struct net_end *peer, const struct net_end *local)
{
  int64_t n = 0;
  const char *text = s->cfg->o.smtp_accept_max_per_host;
  if (!text) return 0;
  struct conn c = {.arena = a, .cfg = s->cfg};
  fill_conn(&c, peer, local);
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

static double load_average(void)
{
  double l;
  return getloadavg(&l, 1) == 1 ? l : 0;
}

/* False: the client was told why not. */
static bool admit(struct acceptor *s, struct arena *a, int fd, const struct net_end *peer, const struct net_end *local)
{
  const struct main_options *o = &s->cfg->o;
  const char *why = NULL, *say = NULL;
  if (o->smtp_accept_max > 0 && s->count >= o->smtp_accept_max) {
    why = "too many connections";
    say = "Too many concurrent SMTP connections; please try again later.";
  } else if (o->smtp_accept_max > 0 && s->count >= o->smtp_accept_max - o->smtp_accept_reserve && o->smtp_accept_reserve > 0 &&
             !host_in(s, a, peer, local, o->smtp_reserve_hosts)) {
    why = arena_printf(a, "not in reserve list: connected=%d max=%d reserve=%d", s->count, (int)o->smtp_accept_max, (int)o->smtp_accept_reserve);
    say = "Too many concurrent SMTP connections; please try again later.";
  } else if (o->smtp_load_reserve >= 0 && load_average() * 1000 > (double)o->smtp_load_reserve &&
             !host_in(s, a, peer, local, o->smtp_reserve_hosts)) {
    why = arena_printf(a, "load average = %.2f", load_average());
    say = "Too much load; please try again later.";
  } else {
    int64_t limit = per_host_limit(s, a, peer, local);
    if (limit > 0 && count_of_host(s, &peer->ip) >= limit) {
      why = "too many connections from that IP address";
      say = "Too many concurrent SMTP connections from this IP address; please try again later.";
    }
  }
  if (!why) return true;
  log_write(LS_CONNECTION_REJECT, LOG_MAIN, "Connection from %s refused: %s", peer_text(a, peer, local), why);
  say_421(fd, say);
  return false;
}

/* ---- Sessions ---- */

/* What a session's TERM handler needs; set once in each session process. */
static struct {
  const struct conn *conn;
  int fd;
  char text[512];
  size_t n;
} at_term;

/* The daemon is going down and has waited long enough.  Nothing accepted is lost: a message exists from its rename on, and one that does not is
 * refused by this 421.  Inside TLS only closing is left. */
static void on_term(int sig)
{
  (void)sig;
  bool is_clear = !at_term.conn->from.tls.on_connect && !tls_is_active(at_term.conn->io);
  if (is_clear && send(at_term.fd, at_term.text, at_term.n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) _exit(EXIT_FAILURE);
  _exit(EXIT_SUCCESS);
}

static void handle_term(const struct conn *c, int fd)
{
  at_term.conn = c;
  at_term.fd = fd;
  at_term.n = (size_t)snprintf(at_term.text, sizeof(at_term.text), "421 %.400s: Service not available - closing connection\r\n",
                               c->cfg->primary_hostname);
  signals_handle(SIGTERM, on_term);
}

/* Processes forked by a session (deliveries, filters) die of TERM as usual. */
static void forget_term(void)
{
  signals_handle(SIGTERM, SIG_DFL);
}

static void default_signals(void)
{
  signals_handle(SIGTERM, SIG_DFL);
  signals_handle(SIGINT, SIG_DFL);
  signals_handle(SIGCHLD, SIG_DFL);
  signals_handle(SIGHUP, SIG_IGN);
  signals_unblock_all();
}

NORETURN static void run_session(struct acceptor *s, int fd, const struct net_end *peer, const struct net_end *local, bool tls)
{
  struct arena *a = arena_new("conn");
  struct conn *c = ARENA_NEW(a, struct conn);
  prctl(PR_SET_PDEATHSIG, 0);
  daemon_listen_close(s->l);
  close(s->signal_fd);
  close(s->closed_fd);
  daemon_signer_leave(&s->signer);
  default_signals();
  sys_role(SYS_ROLE_RECEPTION);
  if (s->cfg->o.smtp_accept_keepalive) net_set_keepalive(fd);
  if (s->cfg->o.tcp_nodelay) net_set_nodelay(fd, true);
  c->arena = a;
  c->cfg = s->cfg;
  fill_conn(c, peer, local);
  c->count_at_start = s->count + 1;
  c->started = time_now();
  c->uid = s->cfg->exim_uid;
  c->gid = s->cfg->exim_gid;
  c->login = s->login;
  c->is_trusted = false;
  c->from.tls.on_connect = tls;
  c->tls_signer = daemon_signer_asking(&s->signer);
  c->io = stream_new(a, fd, fd, true);
  handle_term(c, fd);
  sys_at_fork_child(forget_term);
  origin_set_fullhost(a, &c->from, log_selects(LS_INCOMING_PORT));
  process_info_set("handling incoming connection from %s", c->from.fullhost);
  struct smtp_opts o = {.mode = SMTP_MODE_SESSION, .deliver_foreground = s->o->deliver_foreground};
  if (s->o->queue_only || s->cfg->o.queue_only) {
    o.queue_only = true;
  } else if (s->cfg->o.smtp_accept_queue > 0 && s->count + 1 > s->cfg->o.smtp_accept_queue) {
    o.queue_only = true;
    o.queue_reason = "too many connections";
  }
  int status = smtp_session_run(c, &o);
  _exit(status ? EXIT_FAILURE : EXIT_SUCCESS);
}

static struct session_slot *free_slot(struct acceptor *s)
{
  for (int i = 0; i < s->nslots; i++)
    if (!s->slots[i].pid) return &s->slots[i];
  int more = s->nslots ? s->nslots : 64;
  struct session_slot *grown = ARENA_NEW_N(s->a, struct session_slot, (size_t)(s->nslots + more));
  if (s->nslots) memcpy(grown, s->slots, (size_t)s->nslots * sizeof(*grown));
  struct session_slot *slot = &grown[s->nslots];
  s->slots = grown;
  s->nslots += more;
  return slot;
}

/* Sessions look themselves whether files changed; what is read here they need not read. */
static void look_at_credentials(struct acceptor *s)
{
  int64_t now = time_mono_ms();
  if (now - s->credentials_seen_ms < CREDENTIALS_EVERY_MS || !daemon_signer_tend(&s->signer, s->cfg)) return;
  s->credentials_seen_ms = now;
  smtp_tls_preload(s->cfg, daemon_signer_asking(&s->signer));
}

/* smtp_backlog_monitor: how many waited, this one included. */
static void log_backlog(const struct acceptor *s, unsigned n, const struct net_end *local)
{
  char ip[IP_TEXT_SIZE];
  int64_t limit = s->cfg->o.smtp_backlog_monitor;
  if (limit > 0 && n > limit) log_write(LS_ALWAYS, LOG_MAIN, "listen backlog %u I=[%s]:%d", n, ip_format(&local->ip, ip), local->port);
}

static void accept_one(struct acceptor *s, const struct listener *l)
{
  struct net_end peer, local;
  unsigned backlog = s->cfg->o.smtp_backlog_monitor > 0 ? net_backlog(l->fd) : 0;
  int fd = net_accept(l->fd, &peer);
  if (fd < 0) {
    if (fd == -EAGAIN || fd == -EINTR || fd == -ECONNABORTED) return;
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "accept() failure: %s", strerror(-fd));
    pause_ms(100); /* out of descriptors or memory: do not spin */
    return;
  }
  struct arena *a = arena_new("accept");
  if (net_local(fd, &local) < 0) local = l->end;
  peer.ip = ip_unmap(peer.ip);
  local.ip = ip_unmap(local.ip);
  bool is_admitted = admit(s, a, fd, &peer, &local);
  log_backlog(s, backlog, &local);
  if (is_admitted) {
    struct session_slot *slot = free_slot(s);
    look_at_credentials(s);
    if (!host_in(s, a, &peer, &local, s->cfg->o.hosts_connection_nolog))
      log_write(LS_SMTP_CONNECTION, LOG_MAIN, "SMTP connection from %s (TCP/IP connection count = %d)", peer_text(a, &peer, &local), s->count + 1);
    pid_t pid = sys_fork("session");
    if (pid == 0) run_session(s, fd, &peer, &local, l->tls_on_connect);
    if (pid < 0) {
      log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "daemon: accept process fork failed: %s", strerror((int)-pid));
      say_421(fd, "Service not available - try again later.");
    } else {
      *slot = (struct session_slot){.pid = pid, .peer = peer};
      s->count++;
    }
  }
  close(fd);
  arena_free(a);
}

static void reap(struct acceptor *s)
{
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    if (daemon_signer_ended(&s->signer, pid, status)) continue;
    for (int i = 0; i < s->nslots; i++) {
      if (s->slots[i].pid != pid) continue;
      char ip[IP_TEXT_SIZE];
      struct arena *a = arena_new("reap");
      const char *crash = daemon_crash_text(a, status);
      if (crash)
        log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "SMTP session process %d for [%s] %s", (int)pid, ip_format(&s->slots[i].peer.ip, ip), crash);
      s->slots[i].pid = 0;
      s->count--;
      arena_free(a);
    }
  }
}

/* The strongest of the signals waiting: TERM, else INT, else 0. */
static int pending_signal(struct acceptor *s)
{
  struct signalfd_siginfo info;
  int strongest = 0;
  while (read(s->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
    if (info.ssi_signo == SIGTERM) strongest = SIGTERM;
    else if (info.ssi_signo == SIGINT && !strongest) strongest = SIGINT;
  }
  return strongest;
}

/* TERM: let the sessions end by themselves for a while, then ask them to.  INT (the daemon is being replaced): let them all end. */
NORETURN static void drain(struct acceptor *s, int sig)
{
  deadline_ms end = DEADLINE_NEVER;
  daemon_listen_close(s->l);
  close(s->closed_fd);
  for (reap(s); s->count > 0 && !deadline_passed(end); reap(s)) {
    (void)daemon_signer_tend(&s->signer, s->cfg);
    if (sig == SIGTERM && end == DEADLINE_NEVER) end = deadline_in_ms(s->cfg->harness_mode ? 2000 : DRAIN_MS);
    struct pollfd p = {.fd = s->signal_fd, .events = POLLIN};
    if (poll(&p, 1, 200) > 0 && pending_signal(s) == SIGTERM) sig = SIGTERM;
  }
  for (int i = 0; i < s->nslots; i++) {
    char ip[IP_TEXT_SIZE];
    if (!s->slots[i].pid) continue;
    log_write(LS_ALWAYS, LOG_MAIN, "SMTP connection from [%s] closed after SIGTERM", ip_format(&s->slots[i].peer.ip, ip));
    (void)signals_send(s->slots[i].pid, SIGTERM);
  }
  _exit(EXIT_SUCCESS);
}

NORETURN void daemon_acceptor(struct config *cfg, const struct daemon_opts *o, struct listeners *l, int closed_fd)
{
  struct acceptor s = {.cfg = cfg, .o = o, .l = l, .a = arena_new("acceptor"), .closed_fd = closed_fd};
  struct pollfd p[DAEMON_MAX_LISTEN + 1];
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, NULL);
  signals_handle(SIGHUP, SIG_IGN);
  s.signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  for (int i = 0; i < l->n; i++) {
    int flags = fcntl(l->v[i].fd, F_GETFL);
    if (flags >= 0) fcntl(l->v[i].fd, F_SETFL, flags | O_NONBLOCK);
    p[i] = (struct pollfd){.fd = l->v[i].fd, .events = POLLIN};
  }
  daemon_signer_start(&s.signer, s.a, cfg);
  smtp_tls_preload(cfg, daemon_signer_asking(&s.signer));
  s.login = route_exim_login(s.a, cfg); /* once: a session would read the password file for it */
  int idle_ms = o->inetd_timeout_sec <= 0 ? -1 : o->inetd_timeout_sec > INT_MAX / 1000 ? INT_MAX : o->inetd_timeout_sec * 1000;
  p[l->n] = (struct pollfd){.fd = s.signal_fd, .events = POLLIN};
  for (;;) {
    bool is_short = daemon_signer_is_missing(&s.signer) && !daemon_signer_tend(&s.signer, cfg);
    int ready = poll(p, (nfds_t)l->n + 1, is_short ? SIGNER_WAIT_MS : idle_ms);
    if (ready < 0 && errno != EINTR) _exit(EXIT_FAILURE);
    if (ready == 0 && s.count == 0 && !is_short) _exit(DAEMON_IDLE_STATUS);
    if (p[l->n].revents) {
      int sig = pending_signal(&s);
      reap(&s);
      if (sig) drain(&s, sig);
    }
    for (int i = 0; i < l->n; i++)
      if (p[i].revents) accept_one(&s, &l->v[i]);
  }
}
