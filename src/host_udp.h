/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ACL modifier udpsend: one datagram.  Floor: drivers.  Manual ch. 44 "ACL modifiers". */
#ifndef HOST_UDP_H
#define HOST_UDP_H

#include "policy/expand.h"

/* arg is expanded: "host : port : payload".  A datagram that cannot be sent is narrated and forgotten; only an argument that makes no sense and a host
 * without an address are errors (*ret_log). */
enum outcome host_udp_send(struct expand_ctx *x, const char *arg, const char **ret_log);

#endif
