/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The seen condition (seen.h).  Floor: drivers.
 *
 * The record is read and written under one lock, so that of two sessions only one sees a key for the first time.  A record that does not decode, or has a
 * time to come, counts as absent.  The key may hold foreign text; it is only ever a key. */
#include "hints/seen.h"

#include "base/timeutil.h"
#include "conn.h"
#include "hints/hints.h"
#include "os/debug.h"
#include "policy/narrate.h"

enum { REFRESH_DEFAULT_SEC = 10 * 86400 };

struct seen_verdict seen_decide(const struct seen_request *q, bool found, int64_t stamp, int64_t now) {
  int64_t test_time = now - q->interval_sec;
  struct seen_verdict v = {.stamp = now};
  if (found) v.is_true = q->is_before ? stamp <= test_time : stamp >= test_time;
  if (q->is_readonly) return v;
  v.is_written = q->is_write || !q->is_before || !found;
  if (v.is_written || !v.is_true || stamp > now - q->refresh_sec) return v;
  v.is_written = true; /* old enough to be tidied away: keep it, as old as the test needs it */
  v.stamp = test_time;
  return v;
}

static const char *parse_option(struct arena *a, const char *whole, struct str w, struct seen_request *q) {
  if (str_startsic(w, STR("key="))) {
    q->key = str_dup(a, str_n(w.p + 4, w.n - 4));
  } else if (str_eqic_c(w, "readonly")) {
    q->is_readonly = true;
    q->is_write = false;
  } else if (str_eqic_c(w, "write")) {
    q->is_write = true;
    q->is_readonly = false;
  } else if (str_startsic(w, STR("refresh="))) {
    if (!time_parse_interval(str_trim(str_n(w.p + 8, w.n - 8)), false, &q->refresh_sec)) return arena_printf(a, "failed to parse '%s'", whole);
  } else {
    return arena_printf(a, "unrecognised option '%s' in '%s'", str_dup(a, w), whole);
  }
  return NULL;
}

static const char *parse(struct expand_ctx *x, const char *arg, struct seen_request *q) {
  struct str rest = str_c(arg), interval = str_trim(str_cut(&rest, '/'));
  *q = (struct seen_request){.refresh_sec = REFRESH_DEFAULT_SEC};
  q->key = x->conn && x->conn->from.host_address ? x->conn->from.host_address : "";
  if (interval.n > 0 && interval.p[0] == '-') {
    q->is_before = true;
    interval = str_ltrim(str_n(interval.p + 1, interval.n - 1));
  }
  if (!time_parse_interval(interval, false, &q->interval_sec)) return arena_printf(x->a, "failed to parse '%s'", arg);
  while (rest.n > 0) {
    struct str w = str_trim(str_cut(&rest, '/'));
    const char *error = w.n ? parse_option(x->a, arg, w, q) : NULL;
    if (error) return error;
  }
  return NULL;
}

enum outcome seen_check(struct expand_ctx *x, const char *arg, const char **ret_log) {
  struct seen_request q;
  const char *error = parse(x, arg, &q);
  if (error) {
    *ret_log = error;
    return OUTCOME_ERROR;
  }
  struct hints_db *db = hints_open(x->cfg->spool_directory, "seen", true);
  if (!db) {
    *ret_log = "database for 'seen' not available";
    return OUTCOME_DEFER;
  }
  struct hints_seen r;
  struct str bytes;
  int64_t now = time_sec();
  bool found = hints_get(db, x->a, q.key, &bytes) && hints_get_seen(bytes, &r) && r.stamp <= now;
  struct seen_verdict v = seen_decide(&q, found, found ? r.stamp : 0, now);
  if (v.is_written) {
    struct strbuf b = strbuf_new(x->a);
    struct hints_seen w = {.stamp = v.stamp};
    hints_put_seen(&b, &w);
    bool ok = hints_put(db, q.key, strbuf_str(&b)) == 0;
    narrate(x, D_ACL, "seen db %s (%s)", ok ? "written" : "not written", !found ? "create" : v.stamp < now ? "refresh" : "update");
  } else if (q.is_readonly) {
    narrate(x, D_ACL, "seen db not written (readonly)");
  }
  hints_close(db);
  return v.is_true ? OUTCOME_OK : OUTCOME_FAIL;
}
