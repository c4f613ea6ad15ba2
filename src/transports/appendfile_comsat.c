/* SPDX-License-Identifier: GPL-2.0-or-later */
/* appendfile: notify_comsat, one datagram to the daemon that tells users of new mail.  Floor: drivers.  Manual ch. 26.
 *
 * "USER@OFFSET", a newline and a NUL byte, to UDP port 512 (biff) of this host; the offset is where in the mailbox the message begins, -1 when it has a file of
 * its own.  Nobody may be listening, and nobody answers: whatever goes wrong is no concern of the delivery. */
#include <inttypes.h>
#include <string.h>

#include "os/debug.h"
#include "os/net.h"
#include "transports/appendfile_priv.h"

void append_send_comsat(struct arena *a, int port, const char *user, int64_t offset) {
  struct net_end to = {.port = port};
  const char *text = arena_printf(a, "%s@%" PRId64 "\n", user, offset);
  if (!ip_parse(STR("127.0.0.1"), &to.ip)) return;
  int r = net_send_datagram(&to, text, strlen(text) + 1);
  DEBUG(D_TRANSPORT) debug_printf("comsat %s: %s", r < 0 ? "could not be told" : "told", text);
}

void append_notify_comsat(struct append_job *j) {
  if (!j->ob->notify_comsat) return;
  bool is_file = j->format == APPEND_MBOX;
  append_send_comsat(j->d->arena, COMSAT_PORT, j->d->addrs->local_part, is_file ? j->size_before : -1);
}
