/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The socket on which a daemon is asked things (notifier_socket): how many messages are on the queue.  Floor: os.
 *
 * An abstract socket has no permissions, so everybody on this machine may ask: a question is one fixed byte, the answer is a number, and anything
 * else is dropped unread.  Manual ch. 5 (-oY), ch. 11 ($queue_size), ch. 14 (notifier_socket). */
#ifndef OS_DAEMON_NOTIFY_H
#define OS_DAEMON_NOTIFY_H

#include <stdint.h>

#include "base/macros.h"

/* The daemon's end, not blocking.  A descriptor or -errno: -EADDRINUSE when another daemon has it, -ENAMETOOLONG. */
MUST_CHECK int daemon_notify_open(const char *name);

/* Next question waiting on fd: 0 and true in *ret when one was answered with count(ctx); 0 and false when none waits. */
typedef int64_t (*daemon_count_fn)(void *ctx);
void daemon_notify_answer(int fd, daemon_count_fn count, void *ctx);

/* Ask the daemon that has the socket.  0, or -errno when there is none or it does not answer within a second. */
MUST_CHECK int daemon_notify_ask(const char *name, int64_t *ret_count);

#endif
