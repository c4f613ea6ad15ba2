/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TCP Fast Open: with which host it is tried, and when it is left alone after a stall (rule T5).  Floor: drivers.  RFC 7413 section 4.1.3.1.
 *
 * On some ways through the network a packet that opens a connection and carries data is lost each time, or all goes well until the message stalls.
 * Such a stall is noted in the hints database "misc" under "fastopen-ADDRESS", and Fast Open is not tried with that address for an hour, four times longer
 * with each further stall, at most retry_data_expire.  A message that goes through when the pause is over clears the note.  The note is advice:
 * nobody waits for the database, and a damaged one is none. */
#include "transports/smtp_priv.h"

#include <errno.h>

#include "hints/hints.h"
#include "os/debug.h"

enum { PAUSE_SEC = 3600, MOST_STEPS = 10 };

static const char *key_of(const struct smtp_attempt *s) { return arena_printf(s->a, "fastopen-%s", s->host->address); }

/* Stalls in a row; the time of the newest. */
static int read_stalls(struct smtp_attempt *s, int64_t *ret_stamp) {
  struct str bytes;
  struct hints_serialize r = {0};
  struct hints_db *db = hints_peek(s->d->cfg->spool_directory, "misc");
  bool found = db && hints_get(db, s->a, key_of(s), &bytes) && hints_get_serialize(bytes, &r);
  hints_close(db);
  *ret_stamp = r.stamp;
  return found ? r.count : 0;
}

static bool smtp_fastopen_is_suspended(struct smtp_attempt *s) {
  int64_t stamp, now = time_sec(), pause = PAUSE_SEC, most = s->d->cfg->o.retry_data_expire;
  s->fast_stalls = read_stalls(s, &stamp);
  if (s->fast_stalls == 0) return false;
  for (int i = 1; i < s->fast_stalls && i < MOST_STEPS && pause < most; i++) pause *= 4;
  bool is_suspended = stamp <= now && now - stamp < MIN(pause, most);
  DEBUG(D_TRANSPORT) debug_printf("Fast Open has stalled with %s: %s\n", s->host->address, is_suspended ? "not now" : "try again");
  return is_suspended;
}

/* Only for the first host of a delivery: should that one have stalled because of what the network does to such packets, the next one must not. */
enum net_tfo smtp_fastopen_mode(struct smtp_attempt *s) {
  if (s->job->is_later_host || !smtp_host_listed(s, "hosts_try_fastopen", s->ob->hosts_try_fastopen) || smtp_fastopen_is_suspended(s)) return NET_TFO_OFF;
  if (s->is_smtps) return NET_TFO_LAZY;
  return s->flight.n ? NET_TFO_DATA : NET_TFO_COOKIE;
}

/* Silence: after data in the SYN at any point, else when the message is under way. */
static bool has_stalled(const struct smtp_attempt *s) {
  const struct smtp_failure *f = &s->fail;
  if (f->trouble == TROUBLE_CONNECT) return f->err == ETIMEDOUT && s->fast_bytes > 0;
  return f->trouble == TROUBLE_TIMEOUT && (s->fast_bytes > 0 || f->at == AT_BLOCK || f->at == AT_END);
}

void smtp_fastopen_judge(struct smtp_attempt *s) {
  bool stalled = has_stalled(s), clear = !stalled && s->fast_stalls > 0 && s->content_sent && s->fail.trouble == TROUBLE_NONE;
  if (s->fast_mode == NET_TFO_OFF || (!stalled && !clear)) return;
  struct hints_db *db = hints_open_soon(s->d->cfg->spool_directory, "misc", true);
  if (!db) return;
  struct hints_serialize r = {.stamp = time_sec(), .count = s->fast_stalls + 1};
  struct strbuf b = strbuf_new(s->a);
  hints_put_serialize(&b, &r);
  if (stalled) (void)hints_put(db, key_of(s), strbuf_str(&b));
  else (void)hints_delete(db, key_of(s));
  hints_close(db);
  DEBUG(D_TRANSPORT) debug_printf("Fast Open with %s: %s\n", s->host->address, stalled ? "stalled" : "works again");
}
