/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The session process: it serves the connection it was forked for and ends; with smtp_connections_per_process it then waits for another one.
 * Floor: flows.  Manual ch. 14; README.EXPERIMENTAL; doc/processes.txt.
 *
 * The acceptor hands a connection over as one message on a socket pair that it has with this process alone, and hears of the end by one byte.  What
 * served a connection leaves nothing behind: its arena and its struct go, what was looked up is forgotten.  Where that cannot be said (Perl,
 * foreign code, children, a debug log, a session that did not end well), the process ends. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "daemon_priv.h"
#include "dns.h"
#include "os/fd_message.h"
#include "os/log.h"
#include "os/process_info.h"
#include "os/process_use.h"
#include "os/signals.h"
#include "os/stream.h"
#include "os/sys.h"
#include "os/tls.h"
#include "policy/list_file.h"
#include "policy/match.h"
#include "policy/search.h"
#include "smtp_in.h"

/* What the TERM handler needs; conn is NULL between connections. */
static struct {
  const struct conn *volatile conn;
  int fd;
  char text[512];
  size_t n;
} at_term;

/* The daemon is going down and has waited long enough.  Nothing accepted is lost: a message exists from its rename on, and one that does not is
 * refused by this 421.  Inside TLS only closing is left. */
static void on_term(int sig) {
  (void)sig;
  const struct conn *c = at_term.conn;
  bool is_clear = c && !c->from.tls.on_connect && !tls_is_active(c->io);
  if (is_clear && send(at_term.fd, at_term.text, at_term.n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) _exit(EXIT_FAILURE);
  _exit(EXIT_SUCCESS);
}

/* Processes forked by a session (deliveries, filters) die of TERM as usual. */
static void forget_term(void) { signals_handle(SIGTERM, SIG_DFL); }

static void handle_term(const struct config *cfg) {
  at_term.n = (size_t)snprintf(at_term.text, sizeof(at_term.text), "421 %.400s: Service not available - closing connection\r\n",
                               cfg->primary_hostname);
  signals_handle(SIGTERM, on_term);
  sys_at_fork_child(forget_term);
}

static void leave_acceptor(const struct session_process *p) {
  prctl(PR_SET_PDEATHSIG, 0);
  daemon_listen_close(p->listeners);
  for (int i = 0; i < p->nclose; i++) close(p->close[i]);
  daemon_signer_leave(p->signer);
  signals_handle(SIGTERM, SIG_DFL);
  signals_handle(SIGINT, SIG_DFL);
  signals_handle(SIGCHLD, SIG_DFL);
  signals_handle(SIGHUP, SIG_IGN);
  signals_unblock_all();
  sys_role(SYS_ROLE_RECEPTION);
  handle_term(p->cfg);
}

static struct conn *make_conn(struct arena *a, const struct session_process *p, const struct session_job *job, int fd) {
  struct conn *c = ARENA_NEW(a, struct conn);
  c->arena = a;
  c->cfg = p->cfg;
  daemon_fill_conn(c, &job->peer, &job->local);
  c->count_at_start = job->count;
  c->started = time_now();
  c->uid = p->cfg->exim_uid;
  c->gid = p->cfg->exim_gid;
  c->login = p->login;
  c->is_trusted = false;
  c->from.tls.on_connect = job->tls_on_connect;
  c->tls_signer = daemon_signer_asking(p->signer);
  c->io = stream_new(a, fd, fd, true);
  return c;
}

/* One connection, closed at the end.  The session's exit status. */
static int serve(const struct session_process *p, const struct session_job *job, int fd) {
  struct arena *a = arena_new("conn");
  struct conn *c = make_conn(a, p, job, fd);
  if (p->cfg->o.smtp_accept_keepalive) net_set_keepalive(fd);
  if (p->cfg->o.tcp_nodelay) net_set_nodelay(fd, true);
  at_term.fd = fd;
  at_term.conn = c;
  origin_set_fullhost(a, &c->from, log_selects(LS_INCOMING_PORT));
  process_info_set("handling incoming connection from %s", c->from.fullhost);
  struct smtp_opts o = {.mode = SMTP_MODE_SESSION, .deliver_foreground = p->deliver_foreground, .queue_only = p->queue_only};
  if (!o.queue_only && job->are_too_many) {
    o.queue_only = true;
    o.queue_reason = "too many connections";
  }
  int status = smtp_session_run(c, &o);
  if (p->next_fd < 0) _exit(status ? EXIT_FAILURE : EXIT_SUCCESS); /* the kernel tidies up faster */
  at_term.conn = NULL;
  stream_close(c->io);
  arena_free(a);
  return status;
}

void daemon_session_forget(void) {
  lookup_tidy();
  list_file_forget();
  dns_cache_clear();
  match_forget_interfaces();
  log_set_message_id(NULL);
  process_info_set("daemon: waiting for another connection");
}

/* Tell the acceptor that this connection is over.  The next one's descriptor; -1: there is none, this process ends. */
static int wait_for_next(int next_fd, struct session_job *ret) {
  int fd = -1;
  if (send(next_fd, "", 1, MSG_NOSIGNAL) != 1) return -1;
  ssize_t n = fd_message_receive(next_fd, ret, sizeof *ret, &fd, 0);
  return n == (ssize_t)sizeof *ret ? fd : -1;
}

void daemon_session(const struct session_process *p, const struct session_job *first, int fd) {
  struct session_job job = *first;
  leave_acceptor(p);
  if (p->next_fd >= 0) arena_wipe_released(); /* passwords, above all */
  for (int64_t served = 1; fd >= 0; served++) {
    int status = serve(p, &job, fd);
    if (status || served >= p->cfg->o.smtp_connections_per_process || process_is_used_up()) _exit(status ? EXIT_FAILURE : EXIT_SUCCESS);
    daemon_session_forget();
    fd = wait_for_next(p->next_fd, &job);
  }
  _exit(EXIT_SUCCESS);
}
