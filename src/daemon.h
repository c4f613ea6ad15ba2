/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon: master, acceptors, sessions, queue manager.  Floor: flows.  Manual ch. 13. */
#ifndef DAEMON_H
#define DAEMON_H

#include "policy/config.h"
#include "queue.h"

struct daemon_opts {
  bool background;         /* -bd; -bdf stays */
  bool listen;             /* false: -q only */
  int queue_interval_sec;  /* 0 none */
  struct queue_run_opts run;
  const char *listen_override;  /* -oX */
  const char *pid_file;         /* -oP */
  bool no_notifier;             /* -oY */
  char *const *argv;            /* for re-exec on HUP */
  bool deliver_foreground, queue_only;
  bool inetd_wait;              /* -bw */
  int inetd_timeout_sec;
  bool tls_on_connect;          /* -tls-on-connect: all ports */
};
/* Called before the environment is purged: remember the listening sockets this process got from itself before a re-exec. */
void daemon_take_inherited(void);
/* Runs until TERM.  Exit status. */
int daemon_run(struct config *cfg, const struct daemon_opts *o);

#endif
