/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared between daemon*.c.  Floor: flows. */
#ifndef DAEMON_PRIV_H
#define DAEMON_PRIV_H

#include "base/ip.h"
#include "daemon.h"
#include "os/net.h"
#include "os/tls_signer.h"

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

/* ---- daemon_signer.c: the process that holds the private keys of TLS ---- */

struct daemon_signer {
  bool is_used;                    /* there was one: keys are nowhere else */
  pid_t pid;                       /* 0: none at the moment */
  int64_t started_ms;
  int fds[2];
  struct tls_signer asking;
  struct tls_signer_plan plan;
};

/* Start it when the options of TLS are the same for all sessions.  Before anything of TLS is read; s is empty. */
void daemon_signer_start(struct daemon_signer *s, struct arena *a, const struct config *cfg);
/* For the parameters of handshakes; NULL: there is none, keys are read where they are used. */
const struct tls_signer *daemon_signer_asking(const struct daemon_signer *s);
/* In a session: its copy of the signer's end is closed. */
void daemon_signer_leave(struct daemon_signer *s);
/* Was it this child that ended? */
bool daemon_signer_ended(struct daemon_signer *s, pid_t pid, int status);
/* Is another one to be started? */
bool daemon_signer_is_missing(const struct daemon_signer *s);
/* See whether it is there, start another when it is time.  False: nobody would answer now. */
bool daemon_signer_tend(struct daemon_signer *s, const struct config *cfg);

/* ---- daemon_accept.c ---- */
/* Why a child ended, for the panic log; NULL when it ended in order. */
const char *daemon_crash_text(struct arena *a, int status);

#endif
