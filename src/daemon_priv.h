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
struct conn;
/* Why a child ended, for the panic log; NULL when it ended in order. */
const char *daemon_crash_text(struct arena *a, int status);
/* The addresses of both ends. */
void daemon_fill_conn(struct conn *c, const struct net_end *peer, const struct net_end *local);

/* ---- daemon_session.c: a session process ---- */

/* A connection that is to be served. */
struct session_job {
  struct net_end peer, local;
  int count;                       /* of connections, this one included */
  bool tls_on_connect;
  bool are_too_many;               /* more than smtp_accept_queue: what comes is only queued */
};

/* What a session process has from the acceptor. */
struct session_process {
  const struct config *cfg;
  const char *login;               /* the Exim user's */
  struct listeners *listeners;     /* to be closed, as are the descriptors in close */
  const int *close;
  int nclose;
  struct daemon_signer *signer;
  bool deliver_foreground, queue_only;
  int next_fd;                     /* where the next connection comes from; -1: there is none */
};

/* In the new process: serve the connection fd, and others that come.  Does not return. */
NORETURN void daemon_session(const struct session_process *p, const struct session_job *first, int fd);

/* Between two connections: what one client's session has found out is not another's. */
void daemon_session_forget(void);

/* ---- daemon_table.c: the session processes, as the acceptor sees them ---- */

enum { SESSION_IDLE_MS = 10000, SESSION_IDLE_LOOK_MS = 2000 };

enum session_state {
  SESSION_BUSY,
  SESSION_IDLE,                    /* waits for another connection */
  SESSION_LEAVING                  /* was told to end */
};

struct session_slot {
  pid_t pid;                       /* 0: free */
  enum session_state state;
  struct net_end peer;             /* of its last connection */
  int fd;                          /* on which it is given connections; -1: no more are to come */
  unsigned generation;             /* of the signer that it knows */
  int64_t idle_since_ms;
};

struct session_table {
  struct arena *a;
  struct session_slot *slots;
  int nslots, busy, idle;
  int64_t looked_ms;               /* for those that have waited long */
  int poll_fd;                     /* readable when one of them has done its work; -1: none waits for more */
};

/* has_idle: processes may wait for another connection. */
void session_table_init(struct session_table *t, struct arena *a, bool has_idle);
/* How many connections of this host are being served? */
int session_table_count_of(const struct session_table *t, const struct ip *ip);
/* A new process, busy with this peer's connection.  fd (-1: none) is the table's from now on. */
void session_table_add(struct session_table *t, pid_t pid, const struct net_end *peer, int fd, unsigned generation);
/* Give the connection to a process that waits.  False: there is none.  The caller closes its copy of fd in any case. */
bool session_table_hand_over(struct session_table *t, const struct session_job *job, int fd, unsigned generation);
/* poll_fd is readable: see who is done. */
void session_table_note_done(struct session_table *t);
/* Now and then: tell those to end that have waited long for another connection. */
void session_table_retire_idle(struct session_table *t);
/* Nobody is given another connection. */
void session_table_retire_all(struct session_table *t);
/* Was it one of these?  It is out of the table. */
bool session_table_ended(struct session_table *t, pid_t pid, struct net_end *ret_peer);
/* In a new session process: what belongs to others is closed. */
void session_table_leave(const struct session_table *t);

#endif
