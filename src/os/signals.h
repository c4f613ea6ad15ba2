/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signals, pauses, and replacing the program.  Floor: os. */
#ifndef OS_SIGNALS_H
#define OS_SIGNALS_H

#include <signal.h>
#include <sys/types.h>

#include "base/macros.h"

/* Handler for sig (SIG_IGN and SIG_DFL too), without SA_RESTART: a waiting call ends with EINTR. */
void signals_handle(int sig, void (*handler)(int));
/* Unblock everything. */
void signals_unblock_all(void);
/* 0 or -errno. */
int signals_send(pid_t pid, int sig);
void pause_ms(int ms);
/* Replace the program; comes back only on failure, with -errno. */
int program_replace(const char *path, char *const *argv);

#endif
