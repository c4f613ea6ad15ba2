/* SPDX-License-Identifier: GPL-2.0-or-later */
/* max_parallel: how many deliveries a transport may have at once.  Floor: flows.  Manual ch. 24.
 *
 * Counted in the hints database "misc" under tpt-serialize-NAME.  Hints are advice: without the database nothing is held back.  A process that was
 * killed leaves its count behind; a record that nobody has touched for six hours counts for nothing. */
#include "deliver_priv.h"
#include "hints/hints.h"
#include "os/log.h"

enum { STALE_SEC = 6 * 3600 };

static int64_t limit_of(struct deliver_run *run, const struct transport *t) {
  const char *text = t->o.max_parallel;
  int64_t max = 0;
  if (!text || strcmp(text, "0") == 0) return 0;
  if (expand_int(&run->x, text, &max)) return max;
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to expand max_parallel in %s transport: %s", t->name, run->x.error ? run->x.error : "not a number");
  return 1; /* the careful reading */
}

static int count_of(struct hints_db *db, struct arena *a, const char *key) {
  struct str bytes;
  struct hints_serialize r;
  if (!hints_get(db, a, key, &bytes) || !hints_get_serialize(bytes, &r)) return 0;
  return time_sec() - r.stamp > STALE_SEC || r.count < 0 ? 0 : r.count;
}

static void set_count(struct hints_db *db, struct arena *a, const char *key, int count) {
  struct hints_serialize r = {.stamp = time_sec(), .count = count};
  struct strbuf b = strbuf_new(a);
  hints_put_serialize(&b, &r);
  if (count > 0) IGNORE_RESULT(hints_put(db, key, strbuf_str(&b)));
  else IGNORE_RESULT(hints_delete(db, key));
}

static const char *key_of(struct deliver_run *run, const struct transport *t) { return arena_printf(run->a, "tpt-serialize-%s", t->name); }

bool deliver_slot_take(struct deliver_run *run, struct address *batch, bool *ret_held) {
  const struct transport *t = batch->transport;
  struct address *shown = run->x.addr;
  run->x.addr = batch;
  int64_t max = run->dont_deliver ? 0 : limit_of(run, t);
  run->x.addr = shown;
  *ret_held = false;
  if (max <= 0) return true;
  struct hints_db *db = hints_open(run->cfg->spool_directory, "misc", true);
  if (!db) return true;
  const char *key = key_of(run, t);
  int count = count_of(db, run->a, key);
  *ret_held = count < max;
  if (*ret_held) set_count(db, run->a, key, count + 1);
  hints_close(db);
  if (*ret_held) return true;
  transport_set_results(batch, OUTCOME_DEFER, ERRNO_TRETRY, "concurrency limit reached for transport");
  return false;
}

void deliver_slot_give(struct deliver_run *run, const struct transport *t) {
  struct hints_db *db = hints_open(run->cfg->spool_directory, "misc", true);
  if (!db) return;
  const char *key = key_of(run, t);
  set_count(db, run->a, key, count_of(db, run->a, key) - 1);
  hints_close(db);
}
