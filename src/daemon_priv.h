/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared between daemon*.c.  Floor: flows. */
#ifndef DAEMON_PRIV_H
#define DAEMON_PRIV_H

#include "base/ip.h"
#include "daemon.h"
#include "os/net.h"

enum { DAEMON_MAX_LISTEN = 250 };

struct listener {
  struct net_end end;
  int fd;
  bool tls_on_connect;
};

struct listeners {
  struct listener v[DAEMON_MAX_LISTEN];
  int n;
};

/* What is to be listened on, from local_interfaces, daemon_smtp_ports and -oX.  NULL or an error text. */
const char *daemon_listen_plan(struct arena *a, const struct config *cfg, const struct daemon_opts *o, struct listeners *ret);
/* Bind what is not bound yet (inherited sockets are taken over).  0 or -errno with *ret_what naming the address. */
int daemon_listen_bind(struct arena *a, const struct config *cfg, struct listeners *l, const char **ret_what);
/* -bw: the listening socket that is standard input (or, after a re-exec, the inherited one).  NULL or an error text. */
const char *daemon_listen_adopt(struct listeners *l);
/* "SMTP on port 25 (IPv4) and for SMTPS on port 465 (IPv4)". */
const char *daemon_listen_text(struct arena *a, const struct listeners *l);
void daemon_listen_close(struct listeners *l);
/* Put the sockets into the environment for the program that takes this process over. */
void daemon_listen_export(const struct listeners *l);
/* Was anything inherited?  Then this process is already in the background. */
bool daemon_has_inherited(void);

/* Exit status of an acceptor whose -bw timeout is over: the daemon ends, inetd listens again. */
enum { DAEMON_IDLE_STATUS = 77 };
/* Accept connections until TERM; never returns.  closed_fd is closed as soon as the listeners are. */
NORETURN void daemon_acceptor(struct config *cfg, const struct daemon_opts *o, struct listeners *l, int closed_fd);

/* Why a child ended, for the panic log; NULL when it ended in order. */
const char *daemon_crash_text(struct arena *a, int status);

#endif
