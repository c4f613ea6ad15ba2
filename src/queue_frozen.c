/* SPDX-License-Identifier: GPL-2.0-or-later */
/* move_frozen_messages: frozen messages leave the queue for Finput and Fmsglog.  Floor: flows.  Manual ch. 14.
 *
 * Nothing here looks at them there; an administrator moves the files back to input.  A message is never nowhere: its files get their second names before the
 * first ones go (spool_move), and when that fails it stays where it was. */
#include <string.h>

#include "os/log.h"
#include "policy/config.h"
#include "queue.h"
#include "spool.h"

void queue_move_frozen(struct message *m) {
  if (!m->cfg->o.move_frozen_messages) return;
  struct config aside = *m->cfg;
  aside.is_frozen_area = true;
  int r = spool_move(m, &aside);
  if (r == 0) log_write(LS_ALWAYS, LOG_MAIN, "moved from input, msglog to Finput, Fmsglog");
  else log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to move the frozen message to Finput: %s", strerror(-r));
}
