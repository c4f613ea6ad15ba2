/* SPDX-License-Identifier: GPL-2.0-or-later */
/* exim_tidydb [-t time] spool-directory name: remove what is of no use any more.  Floor: main.  Manual ch. 54.
 *
 * Removed are records older than the time (default 30 days), records of a foreign format, retry records of messages that left the queue,
 * and the ids of such messages from wait records.  Each removal is told on standard output. */
#include <stdio.h>

#include "base/base62.h"
#include "base/timeutil.h"
#include "utils/hints_text.h"

struct tidy {
  struct hints_args args;
  struct hints_db *db;
  struct arena *a;
};

/* "T:host:ip:msgid": the id at the end of a retry key, NULL none. */
static const char *key_message_id(const char *key) {
  const char *colon = strrchr(key, ':');
  return colon && msgid_is_valid(str_c(colon + 1)) ? colon + 1 : NULL;
}

static void tidy_wait(struct tidy *t, const char *key, struct str record) {
  struct hints_wait w;
  if (!hints_get_wait(t->a, record, &w)) return;
  struct strbuf ids = strbuf_new(t->a);
  int kept = 0;
  for (int i = 0; i < w.count; i++) {
    const char *id = arena_strndup(t->a, w.ids + (size_t)i * MSGID_LEN, MSGID_LEN);
    if (msgid_is_valid(str_c(id)) && hints_id_is_queued(t->args.spool, id)) {
      strbuf_adds(&ids, id);
      kept++;
    } else {
      printf("deleted %.*s from %s: no longer on the queue\n", MSGID_LEN, id, key);
    }
  }
  if (kept == w.count) return;
  if (kept == 0) {
    printf("deleted %s (empty)\n", key);
    (void)hints_delete(t->db, key);
    return;
  }
  w.count = kept;
  w.ids = ids.p;
  struct strbuf out = strbuf_new(t->a);
  hints_put_wait(&out, &w);
  (void)hints_put(t->db, key, strbuf_str(&out));
}

static void tidy_record(struct tidy *t, const char *key) {
  struct str record;
  int64_t stamp;
  if (!hints_get(t->db, t->a, key, &record)) return;
  const char *why = NULL;
  if (!hints_get_stamp(record, &stamp))
    why = "unknown format";
  else if (stamp < (int64_t)time_sec() - t->args.age_sec)
    why = "too old";
  else if (t->args.kind == KIND_RETRY && key_message_id(key) && !hints_id_is_queued(t->args.spool, key_message_id(key)))
    why = "message no longer on the queue";
  if (why) {
    printf("deleted %s (%s)\n", key, why);
    (void)hints_delete(t->db, key);
  } else if (t->args.kind == KIND_WAIT) {
    tidy_wait(t, key, record);
  }
}

int main(int argc, char **argv) {
  struct tidy t = {.a = arena_new("tidydb")};
  if (!hints_parse_args(argc, argv, "exim_tidydb", "t", &t.args)) return 1;
  t.db = hints_open(t.args.spool, t.args.name, true);
  if (!t.db) {
    printf("Failed to open hintsdb file %s/db/%s\n", t.args.spool, t.args.name);
    return 1;
  }
  printf("Tidying Exim hints database %s/db/%s\n", t.args.spool, t.args.name);
  struct vec keys = hints_all_keys(t.db, t.a);
  for (size_t i = 0; i < keys.n; i++) {
    struct arena_mark mark = arena_mark(t.a);
    tidy_record(&t, keys.v[i]);
    arena_release(t.a, mark);
  }
  hints_close(t.db);
  arena_free(t.a);
  printf("Tidying complete\n");
  return 0;
}
