/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The SMTP server session.  Floor: flows.  RFC 5321, 1870, 2920, 3030, 6152; manual ch. 48; doc/experimental-spec.txt. */
#ifndef SMTP_IN_H
#define SMTP_IN_H

#include "conn.h"

enum smtp_mode { SMTP_MODE_SESSION, SMTP_MODE_BATCH /* -bS */, SMTP_MODE_CHECK /* -bh */ };

/* How accepted messages are delivered, from the command line or the daemon. */
struct smtp_opts {
  enum smtp_mode mode;
  bool deliver_foreground;  /* -odi/-odf */
  bool queue_only;          /* -odq, smtp_accept_queue; the option of that name, unless -od overrides it */
  const char *queue_reason; /* text of "no immediate delivery: REASON" */
};

/* Run the session on c->io to its end.  The caller made the conn (peer and interface addresses filled).  Returns the process exit status. */
int smtp_session_run(struct conn *c, const struct smtp_opts *o);

#endif
