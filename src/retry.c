/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Retry rules and the retry hints.  Floor: drivers.  Manual ch. 32; keys as in the hints database notes.
 *
 * Records are advice: an unreadable data base means "try now", never "fail".  What is read back is decoded by the checked decoders of
 * formats/.  A delivery's changes are written in one go under one lock (retry_update), never while a host is being talked to.
 * Memory: the arena of the context. */
#include "retry.h"

#include <errno.h>

#include "base/rand.h"
#include "os/debug.h"
#include "os/log.h"
#include "policy/match.h"

const char *retry_host_key_build(struct arena *a, const struct host *h, int port, bool include_ip, const char *interface) {
  struct strbuf b = strbuf_new(a);
  bool is_literal = ip_text_kind(h->name, NULL) != 0;
  strbuf_addl(&b, "T:", is_literal ? "[" : "", h->name, is_literal ? "]" : "", NULL);
  if (include_ip && h->address) {
    bool v6 = strchr(h->address, ':') != NULL;
    strbuf_addl(&b, ":", v6 ? "[" : "", h->address, v6 ? "]" : "", NULL);
  }
  if (port > 0 && port != 25) strbuf_addf(&b, ":%d", port);
  if (interface) strbuf_addl(&b, "/", interface, NULL);
  return b.p;
}

void retry_add_item(struct arena *a, struct address *addr, const char *key, const char *message, unsigned flags) {
  struct retry_item *it = ARENA_NEW(a, struct retry_item);
  *it = (struct retry_item){.next = addr->retries,
                            .key = key,
                            .message = message,
                            .basic_errno = addr->basic_errno,
                            .more_errno = addr->more_errno,
                            .flags = flags};
  addr->retries = it;
}

bool retry_get(struct hints_db *db, struct arena *a, const char *key, struct hints_retry *ret) {
  struct str bytes;
  return db && hints_get(db, a, key, &bytes) && hints_get_retry(a, bytes, ret);
}

/* --- rules ------------------------------------------------------------------------------------------ */

bool retry_error_matches(const struct retry_rule *rule, int basic, int more) {
  if (!rule->error) return true;
  int want = rule->more_errno;
  switch (rule->basic_errno) {
    case ERRNO_RCPT4XX:
    case ERRNO_MAIL4XX:
    case ERRNO_DATA4XX: {
      if (basic != rule->basic_errno) return false;
      int wanted = (want >> 8) & 255, code = (more >> 8) & 255;
      if (wanted == 255) return true;
      if (code >= 100 && code < 255 && wanted >= 100) code -= 100; /* -brt asked for 45x, not for a code */
      return wanted >= 100 ? code / 10 == (wanted - 100) / 10 : code == wanted;
    }
    case ERRNO_EXIMQUOTA:
      return (basic == ERRNO_EXIMQUOTA || basic == EDQUOT || basic == ENOSPC) && (want == 0 || (more > 0 && more >= want));
    case ERRNO_TLSREQUIRED: return basic == ERRNO_TLSREQUIRED || basic == ERRNO_TLSFAILURE;
    case ERRNO_DNSDEFER: return basic == ERRNO_DNSDEFER || basic == ERRNO_UNKNOWNHOST;
    default: break;
  }
  if (basic != rule->basic_errno) return false;
  if ((want & 255) != 0 && (want & 255) != (more & 255)) return false;
  return (want & ~255) == 0 || (more & want & ~255) != 0;
}

/* Stands for a rule whose pattern could not be looked up: nothing must fail for good because a data base is down. */
static const struct retry_step undecided_step = {.kind = 'F', .timeout_sec = INT64_MAX, .interval_sec = 15 * 60};
static const struct retry_rule undecided_rule = {.pattern = "*", .steps = (struct retry_step *)(uintptr_t)&undecided_step};

static enum outcome rule_matches_key(struct expand_ctx *x, const struct retry_rule *rule, const char *key) {
  if (!key) return OUTCOME_FAIL;
  const char *address = strchr(key, '@') ? key : arena_printf(x->a, "*@%s", key);
  return match_list(x, LIST_ADDRESS, address, rule->pattern, &(struct match_opts){.caseless = true, .allow_named = true, .single_item = true});
}

const struct retry_rule *retry_find_rule(struct expand_ctx *x, const char *key, const char *alternate, int basic_errno,
                                         int more_errno) {
  const char *sender = x->sender_override ? x->sender_override : x->msg ? x->msg->sender : NULL;
  for (const struct retry_rule *r = x->cfg->retry_rules; r; r = r->next) {
    if (!retry_error_matches(r, basic_errno, more_errno)) continue;
    enum outcome o = rule_matches_key(x, r, key);
    if (o != OUTCOME_OK && o != OUTCOME_DEFER) o = rule_matches_key(x, r, alternate);
    if (o == OUTCOME_OK && r->senders) o = sender ? match_address(x, sender, r->senders, true, NULL) : OUTCOME_FAIL;
    if (o != OUTCOME_OK && o != OUTCOME_DEFER) continue;
    return o == OUTCOME_OK ? r : &undecided_rule;
  }
  return NULL;
}

static int64_t rule_cutoff(const struct retry_rule *rule) {
  int64_t cutoff = 0;
  for (const struct retry_step *s = rule->steps; s; s = s->next) cutoff = s->timeout_sec;
  return cutoff;
}

static int64_t step_interval(const struct retry_step *s, int64_t last_gap) {
  int64_t gap = s->interval_sec;
  if (s->kind == 'F' || gap <= 0) return gap;
  if (s->kind == 'H') {
    int64_t max = last_gap * s->factor_thousandths / 1000;
    return max > gap ? gap + (int64_t)rand_below((unsigned)MIN(max - gap + 1, 1 << 30)) : gap;
  }
  for (int i = 0; gap <= last_gap && i < 1000; i++) {
    int64_t next = gap * s->factor_thousandths / 1000;
    gap = next > gap ? next : gap + 1;
  }
  return gap;
}

int64_t retry_next_interval(const struct retry_rule *rule, int64_t failing_sec, int64_t last_gap_sec, int64_t max_interval_sec,
                            bool *ret_expired) {
  const struct retry_step *s = rule->steps, *last = s;
  while (s && failing_sec >= s->timeout_sec) {
    last = s;
    s = s->next;
  }
  *ret_expired = s == NULL;
  if (!s) s = last;
  if (!s) return 0;
  int64_t gap = step_interval(s, last_gap_sec);
  return max_interval_sec > 0 ? MIN(gap, max_interval_sec) : gap;
}

bool retry_ultimate_address_timeout(struct expand_ctx *x, const char *key, const char *domain, const struct hints_retry *r,
                                    time_t now) {
  const struct retry_rule *rule = retry_find_rule(x, key, domain, r->basic_errno, r->more_errno);
  if (!rule || !rule->steps) return true; /* the rule has gone: do not wait for what nothing asks for */
  if (!x->msg) return false;
  return now - message_arrival(x->msg, now) > rule_cutoff(rule);
}

/* --- hosts ------------------------------------------------------------------------------------------ */

bool retry_is_fresh(const struct config *cfg, const struct hints_retry *r, time_t now) {
  return !time_is_ahead(r->stamp, now) && now - r->stamp <= cfg->o.retry_data_expire;
}

bool retry_check_host(struct expand_ctx *x, struct hints_db *db, struct host *h, const struct retry_use *use, struct retry_keys *ret) {
  const struct message *m = use->msg;
  *ret = (struct retry_keys){NULL, NULL};
  time_t now = time_sec();
  h->status = HOST_USABLE;
  h->why = HOST_WHY_UNKNOWN;
  if (!db) return false;
  const char *key = retry_host_key_build(x->a, h, use->port, use->include_ip, use->interface);
  const char *mkey = arena_printf(x->a, "%s:%s", key, m ? m->id : "");
  struct hints_retry host, msg;
  bool has_host = retry_get(db, x->a, key, &host) && retry_is_fresh(x->cfg, &host, now);
  bool has_msg = m && retry_get(db, x->a, mkey, &msg) && retry_is_fresh(x->cfg, &msg, now);
  bool forced = m && m->delivery_forced;
  if (has_host) {
    ret->host = key;
    h->last_try = host.last_try;
    /* A host past its cutoff has its own times, however old the message is (manual 32.11, "Long-term failures"). */
    bool too_old = !host.expired && retry_ultimate_address_timeout(x, h->name, use->domain, &host, now);
    if (!forced && now < host.next_try && !too_old) {
      h->status = host.expired ? HOST_UNUSABLE_EXPIRED : HOST_UNUSABLE;
      h->why = HOST_WHY_RETRY;
    }
  }
  if (has_msg) {
    ret->message = mkey;
    if (!forced && h->status == HOST_USABLE && now < msg.next_try &&
        !retry_ultimate_address_timeout(x, h->name, use->domain, &msg, now)) {
      h->status = HOST_UNUSABLE;
      h->why = HOST_WHY_RETRY;
    }
  }
  return has_host && host.expired;
}

bool retry_outlived(struct expand_ctx *x, const struct host *h) {
  const struct retry_rule *rule = retry_find_rule(x, h->name, NULL, 0, 0);
  time_t now = time_sec();
  return !rule || !rule->steps || (x->msg && now - message_arrival(x->msg, now) > rule_cutoff(rule));
}

/* --- updating --------------------------------------------------------------------------------------- */

/* What of a key is matched with the rules: host name of a host key, else the address or domain. */
static const char *key_subject(struct arena *a, const char *key, bool is_host) {
  const char *s = key + (key[0] && key[1] == ':' ? 2 : 0);
  if (!is_host) {
    const char *sender = strstr(s, ":<");
    return sender ? arena_strndup(a, s, (size_t)(sender - s)) : s;
  }
  if (s[0] == '[') {
    const char *end = strchr(s, ']');
    if (end) return arena_strndup(a, s + 1, (size_t)(end - s - 1));
  }
  const char *colon = strchr(s, ':');
  return colon ? arena_strndup(a, s, (size_t)(colon - s)) : s;
}

/* A "try again" item wins over a deletion of the same key by another address. */
static bool is_added_elsewhere(struct address *chain, const char *key) {
  for (const struct address *addr = chain; addr; addr = addr->next)
    for (const struct retry_item *it = addr->retries; it; it = it->next)
      if (!(it->flags & RETRY_DELETE) && strcmp(it->key, key) == 0) return true;
  return false;
}

struct retry_write {
  struct expand_ctx *x;
  struct hints_db *db;
  struct tree done; /* keys written in this update: val 1 timed out */
  time_t now;
};

/* Write one item; true when the address has run out of time as far as this key goes. */
static bool write_item(struct retry_write *w, const struct address *addr, const struct retry_item *it) {
  struct arena *a = w->x->a;
  bool is_new;
  struct tree_node *node = tree_insert(&w->done, a, it->key, &is_new);
  if (!is_new) return node->val == 1;
  bool is_host = (it->flags & RETRY_HOST) != 0;
  const char *subject = key_subject(a, it->key, is_host);
  const struct retry_rule *rule = retry_find_rule(w->x, subject, is_host ? addr->domain : NULL, it->basic_errno, it->more_errno);
  if (!rule || !rule->steps) {
    DEBUG(D_RETRY) debug_printf("no retry items found for %s\n", it->key);
    node->val = 1;
    return true;
  }
  struct hints_retry r = {.first_failed = w->now, .last_try = w->now};
  struct hints_retry old;
  int64_t last_gap = 0;
  if (retry_get(w->db, a, it->key, &old) && retry_is_fresh(w->x->cfg, &old, w->now)) {
    r.first_failed = old.first_failed;
    last_gap = old.next_try - old.last_try;
  }
  int64_t failing = w->now - r.first_failed;
  time_t received = w->x->msg ? message_arrival(w->x->msg, w->now) : w->now;
  /* Trouble with this message rather than with the host: its age counts when that is longer. */
  if (!is_host && received < r.first_failed) failing = w->now - received;
  bool expired;
  int64_t gap = retry_next_interval(rule, failing, last_gap, w->x->cfg->o.retry_interval_max, &expired);
  bool too_old = w->now - received > rule_cutoff(rule);
  node->val = expired || too_old;
  r.stamp = w->now;
  /* Timed out only because this message is old: others are tried at once. */
  r.next_try = too_old && !expired ? w->now : w->now + gap;
  r.expired = expired;
  r.basic_errno = it->basic_errno;
  r.more_errno = it->more_errno;
  r.text = it->basic_errno > 0 ? strerror(it->basic_errno) : it->message ? it->message : "unknown error";
  struct strbuf b = strbuf_new(a);
  hints_put_retry(&b, &r);
  if (w->db) (void)hints_put(w->db, it->key, strbuf_str(&b));
  return node->val == 1;
}

static void time_out_address(struct arena *a, struct address *addr) {
  const char *what = "retry timeout exceeded";
  addr->timedout = true;
  addr->result = OUTCOME_FAIL;
  if (addr->user_message && *addr->user_message) addr->user_message = arena_printf(a, "%s: %s", addr->user_message, what);
  else if (!addr->pass_message) addr->user_message = what;
  addr->message = addr->message && *addr->message ? arena_printf(a, "%s: %s", addr->message, what) : what;
}

static bool has_additions(const struct retry_item *it) {
  for (; it; it = it->next)
    if (!(it->flags & RETRY_DELETE)) return true;
  return false;
}

static void update_deferred(struct retry_write *w, struct address **defer, struct address **failed) {
  struct address *before = NULL;
  for (struct address **link = defer; *link;) {
    struct address *addr = *link;
    int items = 0, over = 0;
    /* What happened to the connection of a batch is noted with its leader only. */
    const struct retry_item *own = addr->retries;
    bool is_follower = !has_additions(own) && addr->first && addr->first != addr && (addr->first->result == addr->result || addr->first->timedout) &&
                       addr->basic_errno == addr->first->basic_errno && addr->basic_errno != ERRNO_HRETRY;
    for (const struct retry_item *it = is_follower ? addr->first->retries : own; it; it = it->next) {
      if (it->flags & RETRY_DELETE) continue;
      items++;
      if (write_item(w, addr, it)) over++;
    }
    if (items == 0 || over < items || addr->hosts_left) {
      link = &addr->next;
      continue;
    }
    time_out_address(w->x->a, addr);
    *link = addr->next;
    struct address **at = before && address_same_batch(before, addr) ? &before->next : failed; /* a batch keeps its order */
    addr->next = *at;
    *at = addr;
    before = addr;
  }
}

static bool has_items(const struct address *chain) {
  for (; chain; chain = chain->next)
    if (chain->retries) return true;
  return false;
}

static void update_chain(struct retry_write *w, struct address *chain, struct address *defer) {
  for (struct address *addr = chain; addr; addr = addr->next)
    for (const struct retry_item *it = addr->retries; it; it = it->next) {
      if (!(it->flags & RETRY_DELETE)) (void)write_item(w, addr, it);
      else if (w->db && !tree_find(&w->done, it->key) && !is_added_elsewhere(defer, it->key)) (void)hints_delete(w->db, it->key);
    }
}

void retry_update(struct expand_ctx *x, struct address **defer, struct address **failed, struct address **succeed) {
  if (!has_items(*defer) && !has_items(*failed) && !has_items(*succeed)) return;
  struct retry_write w = {.x = x, .now = time_sec()};
  w.db = hints_open(x->cfg->spool_directory, "retry", true);
  update_deferred(&w, defer, failed);
  update_chain(&w, *failed, *defer);
  update_chain(&w, *succeed, *defer);
  update_chain(&w, *defer, NULL);
  if (w.db) hints_close(w.db);
}
