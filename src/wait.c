/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wait-TRANSPORT hints: which messages wait for which host.  Floor: drivers.  Manual ch. 49.
 *
 * One record per host name with at most 50 message ids of 23 characters; further ones go to "host:0", "host:1" ...  All is advice:
 * a lost record costs a connection, never a message.  Transport names come from the configuration. */
#include "base/base62.h"
#include "retry.h"

enum { WAIT_MAX_IDS = 50, WAIT_MAX_CONTINUATIONS = 1000, WAIT_MANY = 250 };

static struct hints_db *wait_open(const struct config *cfg, struct arena *a, const char *transport) {
  return hints_open(cfg->spool_directory, arena_printf(a, "wait-%s", transport), true);
}

static bool wait_read(struct hints_db *db, struct arena *a, const char *key, struct hints_wait *ret) {
  struct str bytes;
  if (!hints_get(db, a, key, &bytes) || !hints_get_wait(a, bytes, ret)) return false;
  return ret->count >= 0 && ret->count <= WAIT_MAX_IDS;
}

static void wait_write(struct hints_db *db, struct arena *a, const char *key, const struct hints_wait *w) {
  struct strbuf b = strbuf_new(a);
  hints_put_wait(&b, w);
  (void)hints_put(db, key, strbuf_str(&b));
}

static const char *continuation_key(struct arena *a, const char *host, int n) { return arena_printf(a, "%s:%d", host, n); }

static bool has_id(const struct hints_wait *w, const char *id) {
  for (int i = 0; i < w->count; i++)
    if (memcmp(w->ids + (size_t)i * MSGID_LEN, id, MSGID_LEN) == 0) return true;
  return false;
}

/* True: this one fills a record, and many are waiting. */
static bool wait_add_host(struct hints_db *db, struct arena *a, const char *host, const char *id) {
  struct hints_wait w = {0}, c;
  if (!wait_read(db, a, host, &w)) w = (struct hints_wait){.ids = ""};
  if (has_id(&w, id)) return false;
  for (int i = 0; i < w.sequence && i < WAIT_MAX_CONTINUATIONS; i++)
    if (wait_read(db, a, continuation_key(a, host, i), &c) && has_id(&c, id)) return false;
  if (w.count >= WAIT_MAX_IDS) {
    if (w.sequence >= WAIT_MAX_CONTINUATIONS) return false;
    wait_write(db, a, continuation_key(a, host, w.sequence), &w);
    w = (struct hints_wait){.sequence = w.sequence + 1, .ids = ""};
  }
  struct strbuf ids = strbuf_new(a);
  strbuf_add(&ids, w.ids, (size_t)w.count * MSGID_LEN);
  strbuf_add(&ids, id, MSGID_LEN);
  w.ids = ids.p;
  w.count++;
  w.stamp = time_sec();
  wait_write(db, a, host, &w);
  return w.count == WAIT_MAX_IDS && (w.sequence + 1) * WAIT_MAX_IDS >= WAIT_MANY;
}

bool wait_add(const struct config *cfg, const char *transport, struct host *hosts, const char *message_id) {
  if (strlen(message_id) != MSGID_LEN) return false;
  bool is_full = false;
  struct arena *a = arena_new("wait");
  struct hints_db *db = wait_open(cfg, a, transport);
  const char *last = NULL;
  for (const struct host *h = hosts; db && h; h = h->next) {
    /* Several addresses of one host stand next to each other. */
    if (last && strcmpic(last, h->name) == 0) continue;
    last = h->name;
    if (wait_add_host(db, a, h->name, message_id)) is_full = true;
  }
  if (db) hints_close(db);
  arena_free(a);
  return is_full;
}

/* Load ids from a continuation when the record itself is used up. */
static bool wait_refill(struct hints_db *db, struct arena *a, const char *host, struct hints_wait *w) {
  while (w->count == 0 && w->sequence > 0) {
    struct hints_wait c;
    const char *key = continuation_key(a, host, --w->sequence);
    if (wait_read(db, a, key, &c)) {
      w->count = c.count;
      w->ids = c.ids;
    }
    (void)hints_delete(db, key);
  }
  return w->count > 0;
}

/* Opening for writing costs a disk flush at close; most hosts have nobody waiting. */
static bool somebody_waits(const struct config *cfg, struct arena *a, const char *transport, const char *host_name) {
  struct hints_db *db = hints_open(cfg->spool_directory, arena_printf(a, "wait-%s", transport), false);
  struct hints_wait w;
  bool found = db && wait_read(db, a, host_name, &w);
  hints_close(db);
  return found;
}

/* Is anybody in the record who is still on the queue?  More records than this one: it is taken for granted. */
static bool is_of_use(const struct hints_wait *w, const struct wait_who *who) {
  for (int i = 0; i < w->count; i++) {
    char id[MSGID_SIZE] = "";
    memcpy(id, w->ids + (size_t)i * MSGID_LEN, MSGID_LEN);
    if (msgid_is_valid(str_c(id)) && strcmp(id, who->exclude_id) != 0 && who->exists(who->ctx, id)) return true;
  }
  return w->sequence > 0;
}

bool wait_any(const struct config *cfg, struct arena *a, const char *transport, const char *host_name, const struct wait_who *who) {
  struct hints_db *db = hints_open(cfg->spool_directory, arena_printf(a, "wait-%s", transport), false);
  struct hints_wait w;
  bool is_listed = db && wait_read(db, a, host_name, &w), found = is_listed && is_of_use(&w, who);
  hints_close(db);
  if (!is_listed || found) return found;
  db = wait_open(cfg, a, transport);
  if (db && wait_read(db, a, host_name, &w) && !is_of_use(&w, who)) (void)hints_delete(db, host_name);
  hints_close(db);
  return false;
}

enum wait_found wait_next(const struct config *cfg, struct arena *a, const char *transport, const char *host_name, const struct wait_who *who,
                          char ret_id[MSGID_SIZE]) {
  struct hints_db *db = somebody_waits(cfg, a, transport, host_name) ? wait_open(cfg, a, transport) : NULL;
  if (!db) return WAIT_NONE;
  struct hints_wait w;
  bool found = false, more = false;
  if (wait_read(db, a, host_name, &w)) {
    while (!found && wait_refill(db, a, host_name, &w)) {
      w.count--;
      const char *id = w.ids; /* who came first goes first */
      w.ids += MSGID_LEN;
      char buf[MSGID_SIZE];
      memcpy(buf, id, MSGID_LEN);
      buf[MSGID_LEN] = '\0';
      if (!msgid_is_valid(str_c(buf)) || (who->exclude_id && strcmp(buf, who->exclude_id) == 0) || !who->exists(who->ctx, buf))
        continue;
      memcpy(ret_id, buf, sizeof(buf));
      found = true;
    }
    more = w.count > 0 || w.sequence > 0;
    if (more) {
      w.stamp = time_sec();
      wait_write(db, a, host_name, &w);
    } else {
      (void)hints_delete(db, host_name);
    }
  }
  hints_close(db);
  return !found ? WAIT_NONE : more ? WAIT_MORE : WAIT_LAST;
}
