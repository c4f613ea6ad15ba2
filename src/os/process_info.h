/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What this process is doing, for exiwhat: SIGUSR1 makes each process append one line to the process log.  Floor: os.  Manual ch. 54 "exiwhat". */
#ifndef OS_PROCESS_INFO_H
#define OS_PROCESS_INFO_H

#include "base/macros.h"

/* From now on SIGUSR1 appends to path.  The handler calls only async-signal-safe functions. */
void process_info_init(const char *path);
/* State the activity; cut at 200 bytes, control characters become '?'. */
void process_info_set(const char *fmt, ...) PRINTF(1, 2);

#endif
