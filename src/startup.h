/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From process start to a usable configuration: privileges, environment, who called.  Floor: main.
 *
 * A setuid binary is started by anybody with any argv, environment and descriptors.  What a caller may choose (-C, -D) costs root unless trusted;
 * afterwards root stays reachable only through os/priv.h. */
#ifndef STARTUP_H
#define STARTUP_H

#include "cmdline.h"

struct caller {
  uid_t uid;
  gid_t gid;
  const char *login, *real_name;
  bool is_trusted, is_admin;
  bool root_dropped;     /* because of -C or -D */
};

/* Signals, umask, descriptors, limits.  First of all. */
void startup_process(void);
/* Choose and read the configuration, set privileges, logging, environment; fill the caller.  Does not return on error. */
struct config *startup_config(struct arena *a, const struct cmdline *c, struct caller *ret);
/* The Exim user for good: what reads a stranger's input, and delivers nothing (-bh, -bv; manual ch. 55). */
void startup_give_up_root(const struct config *cfg);
/* Give up every right but the caller's own (-be and other tests of texts). */
void startup_become_caller(const struct caller *who);
/* Log settings from a configuration. */
enum startup_log {
  STARTUP_LOG_FILES,
  STARTUP_LOG_SESSION, /* -bh: told on stderr */
  STARTUP_LOG_TESTING  /* -be, -bt, -brw ...: on stderr, as in the file */
};
void startup_logging(const struct config *cfg, enum startup_log where);

#endif
