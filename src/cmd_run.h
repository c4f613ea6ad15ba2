/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the modes of the program share: one run of it, for one caller.  Floor: main.  Manual ch. 5.
 *
 * A mode is a function of struct run that returns the exit status; exim.c chooses it, when the caller may have it.  What the caller says of himself
 * and of others on the command line is tainted. */
#ifndef CMD_RUN_H
#define CMD_RUN_H

#include "cmdline.h"
#include "conn.h"
#include "startup.h"

struct run {
  struct arena *a;      /* of the process */
  struct cmdline *c;
  struct config *cfg;
  struct caller who;
  char **argv;
};

/* In the suite's harness everybody may do everything. */
bool run_is_admin(const struct run *r);
/* "exim: TEXT" on stderr; EXIT_FAILURE. */
int run_refuse(const char *text);
/* What Exim is, on stderr, for who says nothing; EXIT_FAILURE. */
int run_print_help(void);

/* ---- the caller as a peer ---- */
/* The text, tainted. */
const char *run_foreign(struct arena *a, const char *text);
/* "ip", "ip.port", "[ip]:port": false when it is none of them.  The caller is trusted, the text still counts as foreign. */
bool run_split_host_port(struct arena *a, const char *text, const char **ret_ip, int *ret_port);
/* The caller's connection over these descriptors.  It owns an arena (k->arena), which the mode frees. */
struct conn *run_conn(struct run *r, int fd_in, int fd_out);
/* What -oM said goes into k->from, when the caller may say it.  False: an address in it is none. */
bool run_apply_origin(struct run *r, struct conn *k);
/* Did -oM say anything? */
bool run_has_origin_options(const struct cmdline *c);
/* The envelope sender of a local submission: what -f gave when the caller may choose it, else NULL.  False: syntax error, told on stderr. */
bool run_choose_sender(struct run *r, struct arena *a, const char **ret);
/* -be, -bt, -bv: the sender is whom a message of this caller would come from, or who -f says.  False: as above. */
bool run_test_sender(struct run *r, const char **ret);

/* ---- cmd_receive.c: taking mail in ---- */
int cmd_smtp(struct run *r);       /* -bs, -bS */
int cmd_atrn(struct run *r);       /* -atrn */
int cmd_host_check(struct run *r); /* -bh, -bhc */
int cmd_submit(struct run *r);     /* a message on stdin */

/* ---- cmd_queue.c: messages that are here ---- */
int cmd_message(struct run *r);    /* -M and its kin */
int cmd_list(struct run *r);       /* -bp and its kin */
int cmd_queue_run(struct run *r);  /* -q */
/* -Mrm: who put all of them on the queue may take them off again. */
bool cmd_owns_all(const struct run *r);

/* ---- cmd_address.c: -bt, -bv, -bvs, with the addresses as arguments or on stdin ---- */
int cmd_test_addresses(struct run *r);

#endif
