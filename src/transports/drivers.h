/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The transport drivers of this build.  Floor: drivers.  The list itself is transport_drivers[] (transport.h, drivers.c). */
#ifndef TRANSPORTS_DRIVERS_H
#define TRANSPORTS_DRIVERS_H

#include "transport.h"

extern const struct transport_driver appendfile_transport;
extern const struct transport_driver autoreply_transport;
extern const struct transport_driver lmtp_transport;
extern const struct transport_driver pipe_transport;
extern const struct transport_driver queuefile_transport;
extern const struct transport_driver smtp_transport;

/* message_size_limit: true when the message is refused (results of all addresses set, "message is too big (transport limit = N)"). */
bool transport_size_refused(struct delivery *d);

#endif
