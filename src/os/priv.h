/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Root, in three calls, and a fourth for the daemon's start.  Floor: os.
 *
 * Implementation 1 (in-process): a process that may need root keeps it only as saved uid and works with euid exim;
 * the three calls raise it for their own duration.  No expansion, lookup or parser ever runs with euid 0 (priv_is_raised()
 * is asserted false at the entry of the expander).  A process that dropped for good gets -EPERM. */
#ifndef OS_PRIV_H
#define OS_PRIV_H

#include <sys/types.h>

#include "base/macros.h"

/* Start up: remember who called us; when euid is 0 lift the caller's resource limits, switch euid/egid to exim, keep root as saved id.  When not root: nothing. */
void priv_init(uid_t exim_uid, gid_t exim_gid);
/* Has the caller of a set-uid program limits on the size of files or their number that could not be lifted?  Logs, hints and mailboxes of others would be
 * cut at them. */
bool priv_is_limited_by_caller(void);
/* Give up root for ever: become uid:gid really. */
MUST_CHECK int priv_drop_forever(uid_t uid, gid_t gid, const char *initgroups_name);
/* Delivering for somebody else from here on: the real ids become those we work as, so that the user who called us cannot send this process
 * signals, nor stop it by a key of his terminal.  Root as saved id stays. */
void priv_leave_caller(void);
/* Core files of this process and of what it starts: none, or as large as the hard limit lets them be. */
void priv_limit_core(bool is_permitted);
bool priv_can_raise(void);
bool priv_is_raised(void);
/* Who started the program. */
uid_t priv_real_uid(void);
gid_t priv_real_gid(void);

/* Open path as that user (O_CLOEXEC, O_NOCTTY); fd or -errno.  Links are followed as far as that user may go, unless flags say O_NOFOLLOW. */
MUST_CHECK int priv_open_as(uid_t uid, gid_t gid, const char *path, int flags, mode_t mode);
/* access(2)/stat as that user: 0 or -errno; mode R_OK... or F_OK. */
MUST_CHECK int priv_access_as(uid_t uid, gid_t gid, const char *path, int mode);
/* fork; the child becomes uid:gid for good (never root: -EPERM for uid 0 unless allow_root) and runs fn(ctx), whose value is its
 * exit status.  pid or -errno. */
MUST_CHECK pid_t priv_run_as(uid_t uid, gid_t gid, const char *initgroups_name, bool allow_root, const char *name,
                             int (*fn)(void *ctx), void *ctx);
/* Before priv_init(): run fn with euid uid:gid when we are root, then be root again.  For what must be expanded while the configuration is
 * still being read.  A program started by root with exim_user = root stays root. */
int priv_without_root(uid_t uid, gid_t gid, int (*fn)(void *ctx), void *ctx);
/* Bind listening sockets and make the pid file at daemon start: fn runs with euid 0 when that is possible.  Only for exim.c/daemon.c. */
int priv_with_root(int (*fn)(void *ctx), void *ctx);

#endif
