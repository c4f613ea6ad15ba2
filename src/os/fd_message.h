/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One message with a descriptor, between processes of ours, over a unix socket that keeps messages apart.  Floor: os.  unix(7), SCM_RIGHTS. */
#ifndef OS_FD_MESSAGE_H
#define OS_FD_MESSAGE_H

#include <sys/socket.h>

#include "base/macros.h"

/* Send n bytes (at least one) and fd, which stays open here.  flags: MSG_DONTWAIT or 0.  0 or -errno, -EMSGSIZE when not all of it went. */
MUST_CHECK int fd_message_send(int socket, const void *bytes, size_t n, int fd, int flags);
/* One message: its length, 0 at the end, -errno.  *ret_fd, -1 when none came, belongs to the caller and does not survive an exec. */
MUST_CHECK ssize_t fd_message_receive(int socket, void *bytes, size_t size, int *ret_fd, int flags);

#endif
