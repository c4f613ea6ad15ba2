/* SPDX-License-Identifier: GPL-2.0-or-later */
/* May this process be given another piece of work?  Floor: os.
 *
 * Work whose effects cannot be taken back (an interpreter's variables, foreign code that was loaded, children, a debug log) says so here, and who
 * hands out work gives this process no more.  A fork begins afresh. */
#ifndef OS_PROCESS_USE_H
#define OS_PROCESS_USE_H

#include <stdbool.h>

/* Something was done that lasts as long as the process. */
void process_use_up(void);
bool process_is_used_up(void);
/* In a new process. */
void process_use_begin(void);

#endif
