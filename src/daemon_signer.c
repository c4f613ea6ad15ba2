/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The acceptor looks after the process that holds the private keys of TLS (os/tls_signer.h).  Floor: flows.  doc/tls.txt.
 *
 * It is the acceptor's child, so that each acceptor and its sessions have their own and it ends with them, and it is started before the acceptor
 * reads a certificate.  It is no session: nobody counts it.  When it cannot be had at the start, sessions have the keys themselves: mail in TLS
 * matters more than where the key is.  Once there was one, keys are not read here any more, and a dead one is replaced at most once a second. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon_priv.h"
#include "os/log.h"
#include "os/priv.h"
#include "os/process_info.h"
#include "os/sys.h"
#include "smtp_in_tls.h"

enum { RESTART_DELAY_MS = 1000 };

static pid_t start(struct daemon_signer *s, const struct config *cfg) {
  pid_t parent = getpid();
  s->started_ms = time_mono_ms();
  pid_t pid = sys_fork("signer");
  if (pid == 0) {
    process_info_set("daemon: holding the private keys of TLS");
    if (priv_can_raise() && priv_drop_forever(cfg->exim_uid, cfg->exim_gid, NULL) < 0) _exit(EXIT_FAILURE);
    tls_signer_run(&s->plan, s->fds[1], parent);
  }
  s->pid = s->asking.child = pid > 0 ? pid : 0;
  return pid;
}

static void give_up(struct daemon_signer *s, int error) {
  log_write(LS_ALWAYS, LOG_MAIN, "daemon: cannot start the process that holds the private keys of TLS: %s: sessions read them", strerror(-error));
  if (s->is_used) {
    close(s->fds[0]);
    close(s->fds[1]);
  }
  s->is_used = false;
}

void daemon_signer_start(struct daemon_signer *s, struct arena *a, const struct config *cfg) {
  if (!smtp_tls_signer_plan(a, cfg, &s->plan)) return;
  int rc = tls_signer_sockets(s->fds);
  s->is_used = rc == 0;
  s->asking = (struct tls_signer){.fd = s->fds[0], .generation = 1};
  if (rc == 0) rc = (int)MIN(start(s, cfg), 0);
  if (rc < 0) give_up(s, rc);
}

const struct tls_signer *daemon_signer_asking(const struct daemon_signer *s) { return s->is_used ? &s->asking : NULL; }

void daemon_signer_leave(struct daemon_signer *s) {
  if (s->is_used) close(s->fds[1]);
  s->asking.child = 0;
}

bool daemon_signer_ended(struct daemon_signer *s, pid_t pid, int status) {
  if (pid <= 0 || pid != s->pid) return false;
  struct arena *a = arena_new("signer");
  const char *crash = daemon_crash_text(a, status);
  s->pid = s->asking.child = 0;
  s->asking.generation++; /* at once: a session that begins now waits for the next one's key */
  log_write(LS_ALWAYS, LOG_MAIN | (crash ? LOG_PANIC : 0), "daemon: the process that holds the private keys of TLS (pid %d) %s: starting another",
            (int)pid, crash ? crash : "ended");
  arena_free(a);
  return true;
}

bool daemon_signer_is_missing(const struct daemon_signer *s) { return s->is_used && s->pid == 0; }

bool daemon_signer_tend(struct daemon_signer *s, const struct config *cfg) {
  int status;
  if (!s->is_used) return true;
  if (s->pid > 0 && waitpid(s->pid, &status, WNOHANG) == s->pid) (void)daemon_signer_ended(s, s->pid, status);
  if (s->pid == 0 && time_mono_ms() - s->started_ms >= RESTART_DELAY_MS) (void)start(s, cfg);
  return s->pid > 0;
}
