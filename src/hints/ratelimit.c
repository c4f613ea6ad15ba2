/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rates of senders (ratelimit.h).  Floor: drivers.
 *
 * The rate is an exponentially weighted mean: with a = exp(-i/p) for an interval i and a period p it becomes (1-a)*p/i*count + a*rate.  The
 * database is opened, read and written in one go under its lock, so that concurrent sessions count correctly; a record that does not decode counts
 * as absent.  What was computed is remembered for the connection, the message or the command, as the measure asks, so that testing twice does not
 * count twice.  Different events (unique=) are a set of bits kept in the record: 16 bits for each event below the limit and 8 probes make an
 * error below one in a thousand; a set three quarters full is thrown away. */
#include "hints/ratelimit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "conn.h"
#include "hints/hints.h"
#include "message.h"
#include "os/debug.h"
#include "policy/narrate.h"

enum { BLOOM_PROBES = 8, BLOOM_BYTES_PER_EVENT = 2, BLOOM_MIN_BYTES = 16, BLOOM_MAX_BYTES = 64 << 10, CACHE_ENTRIES = 500 };
static const double bloom_too_full = 0.74; /* 0.74^8 is 9%: as many false answers */

enum measure { PER_NONE, PER_MAIL, PER_CONN, PER_BYTE, PER_RCPT, PER_ADDR, PER_CMD };
enum mode { MODE_UNSET, MODE_LEAKY, MODE_STRICT, MODE_READONLY };

struct request {
  double limit;
  int64_t period_sec;
  const char *limit_text, *period_text;
  enum measure measure;
  enum mode mode;
  double count;          /* < 0: not given */
  const char *unique, *key;
};

struct remembered {
  double rate;
  unsigned serial;       /* of the command */
};

#define BIT(w) (1u << ACL_WHERE_##w)
static const struct {
  const char *name;
  enum measure measure;
  const char *stored;    /* name in the key of the database */
  unsigned where;        /* ACLs where it makes sense to count */
} measures[] = {
  {"per_mail", PER_MAIL, "per_mail", BIT(MAIL) | BIT(RCPT) | BIT(PREDATA) | BIT(MIME) | BIT(DATA) | BIT(PRDR) | BIT(DKIM) | BIT(NOTSMTP)},
  {"per_conn", PER_CONN, "per_conn", ~(BIT(NOTSMTP) | BIT(NOTSMTP_START))},
  {"per_byte", PER_BYTE, "per_mail", BIT(MAIL) | BIT(RCPT) | BIT(PREDATA) | BIT(MIME) | BIT(DATA) | BIT(PRDR) | BIT(DKIM) | BIT(NOTSMTP)},
  {"per_rcpt", PER_RCPT, "per_rcpt", BIT(RCPT) | BIT(PREDATA) | BIT(MIME) | BIT(DATA) | BIT(PRDR) | BIT(DKIM)},
  {"per_addr", PER_ADDR, "per_rcpt", BIT(RCPT)},
  {"per_cmd", PER_CMD, "per_cmd", ~0u},
};
#undef BIT

/* ---- the argument ---- */

static bool parse_number(struct str s, double *ret) {
  char buf[64], *end;
  double factor = 1;
  if (s.n == 0 || s.n >= sizeof buf) return false;
  switch (ch_upper(s.p[s.n - 1])) {
  case 'K': factor = 1024; break;
  case 'M': factor = 1024.0 * 1024; break;
  case 'G': factor = 1024.0 * 1024 * 1024; break;
  default: break;
  }
  if (factor > 1) s.n--;
  for (size_t i = 0; i < s.n; i++)
    if (!ch_isdigit(s.p[i]) && s.p[i] != '.') return false;
  if (s.n == 0) return false;
  memcpy(buf, s.p, s.n);
  buf[s.n] = 0;
  double d = strtod(buf, &end);
  if (*end || !isfinite(d)) return false;
  *ret = d * factor;
  return true;
}

static const char *not_number(struct arena *a, struct str s) { return arena_printf(a, "\"%.*s\" is not a positive number", STR_FMT(s)); }

/* One word between slashes.  NULL when it is an option, an error text when it is a bad one; *ret_is_key when it is none. */
static const char *read_option(struct arena *a, struct str w, struct request *q, bool *ret_is_key) {
  *ret_is_key = false;
  for (size_t i = 0; i < ARRAY_SIZE(measures); i++) {
    if (!str_eqic_c(w, measures[i].name)) continue;
    if (q->measure != PER_NONE) return "conflicting per_* options";
    q->measure = measures[i].measure;
    return NULL;
  }
  enum mode mode = str_eqic_c(w, "leaky") ? MODE_LEAKY : str_eqic_c(w, "strict") ? MODE_STRICT
                   : str_eqic_c(w, "readonly") || str_eqic_c(w, "noupdate") ? MODE_READONLY : MODE_UNSET;
  if (mode != MODE_UNSET) {
    if (q->mode != MODE_UNSET && q->mode != mode) return "conflicting update modes";
    q->mode = mode;
    return NULL;
  }
  if (str_startsic(w, STR("count="))) {
    struct str number = str_trim(str_n(w.p + 6, w.n - 6));
    return parse_number(number, &q->count) ? NULL : not_number(a, w);
  }
  if (str_startsic(w, STR("unique="))) {
    q->unique = str_dup(a, str_trim(str_n(w.p + 7, w.n - 7)));
    return NULL;
  }
  *ret_is_key = true;
  return NULL;
}

static const char *parse_request(struct arena *a, const char *arg, struct request *q) {
  struct str rest = str_c(arg);
  *q = (struct request){.count = -1};
  struct str limit = str_trim(str_cut(&rest, '/'));
  if (!parse_number(limit, &q->limit)) return not_number(a, limit);
  struct str period = str_trim(str_cut(&rest, '/'));
  if (period.n == 0) period = STR("NULL"); /* as texts about it have always said */
  if (period.n >= 64 || !time_parse_interval(period, false, &q->period_sec) || q->period_sec <= 0)
    return arena_printf(a, "\"%.*s\" is not a time value", STR_FMT(period));
  q->limit_text = str_dup(a, limit);
  q->period_text = str_dup(a, period);
  while (rest.n > 0) {
    struct str all = rest, w = str_trim(str_cut(&rest, '/'));
    bool is_key;
    if (w.n == 0) continue;
    const char *error = read_option(a, w, q, &is_key);
    if (error) return error;
    if (!is_key) continue;
    q->key = str_dup(a, str_trim(all)); /* the key may have slashes */
    break;
  }
  return NULL;
}

/* Fill in what the condition did not say: the default measure, count and key depend on the ACL it stands in. */
static const char *complete_request(struct expand_ctx *x, enum acl_where where, struct request *q) {
  const struct message *m = x->msg;
  if (q->measure == PER_NONE) q->measure = PER_MAIL;
  for (size_t i = 0; i < ARRAY_SIZE(measures); i++) {
    if (measures[i].measure != q->measure || measures[i].where >> where & 1) continue;
    if (q->mode == MODE_LEAKY || q->mode == MODE_STRICT)
      return arena_printf(x->a, "\"%s\" cannot be counted in the ACL for %s", measures[i].name, acl_where_name(where));
    q->mode = MODE_READONLY;
  }
  if (q->mode == MODE_UNSET) q->mode = MODE_LEAKY;
  if (!q->key) q->key = x->conn && x->conn->from.host_address ? x->conn->from.host_address : "";
  if (q->measure == PER_ADDR && !q->unique && x->local_part_override)
    q->unique = arena_printf(x->a, "%s@%s", x->local_part_override, x->domain_override ? x->domain_override : "");
  if (q->mode == MODE_READONLY) q->count = 0;
  if (q->count >= 0) return NULL;
  q->count = 1;
  if (q->measure == PER_BYTE) q->count = m && m->message_size > 0 ? (double)m->message_size : 0;
  if (q->measure == PER_RCPT && where != ACL_WHERE_RCPT) q->count = m ? (double)m->recipient_count : 0;
  return NULL;
}

static const char *stored_key(struct arena *a, const struct request *q) {
  const char *name = "per_mail";
  for (size_t i = 0; i < ARRAY_SIZE(measures); i++)
    if (measures[i].measure == q->measure) name = measures[i].stored;
  bool is_set = q->unique || q->measure == PER_ADDR;
  return arena_printf(a, "%s/%s/%s%s", q->period_text, name, is_set ? "unique/" : "", q->key);
}

/* ---- what was computed already ---- */

static struct tree *cache_of(struct expand_ctx *x, enum acl_where where, const struct request *q, struct arena **ret_arena) {
  bool per_command = q->measure == PER_CMD || (where == ACL_WHERE_RCPT && (q->measure == PER_RCPT || q->measure == PER_ADDR));
  if (!per_command && q->measure != PER_CONN && x->msg) {
    *ret_arena = x->msg->arena;
    return &x->msg->rates;
  }
  if (!x->conn) return NULL;
  *ret_arena = x->conn->arena;
  return &x->conn->rates;
}

static unsigned serial_of(struct expand_ctx *x, const struct request *q) {
  return q->measure == PER_CONN || !x->conn ? 0 : x->conn->command_serial;
}

static const struct remembered *recall(struct expand_ctx *x, const struct tree *t, const struct request *q, const char *key) {
  const struct tree_node *n = t ? tree_find(t, key) : NULL;
  const struct remembered *r = n ? n->data : NULL;
  if (!r || (x->conn && t == &x->conn->rates && r->serial != serial_of(x, q))) return NULL;
  return r;
}

static void remember(struct expand_ctx *x, struct tree *t, struct arena *a, const struct request *q, const char *key, double rate) {
  if (!t) return;
  struct tree_node *n = tree_find(t, key);
  if (!n && t->count >= CACHE_ENTRIES) return;
  if (!n) n = tree_insert(t, a, key, NULL);
  if (!n->data) n->data = ARENA_NEW(a, struct remembered);
  *(struct remembered *)n->data = (struct remembered){rate, serial_of(x, q)};
}

/* ---- arithmetic ---- */

double ratelimit_smooth(double old_rate, double interval_sec, double period_sec, double count) {
  double i = interval_sec / period_sec;
  if (!(i > 1e-9)) i = 1e-9;
  double a = exp(-i);
  return (1 - a) / i * count + a * old_rate;
}

bool ratelimit_seen(uint8_t *bits, uint32_t bytes, struct str event, bool add) {
  uint64_t h = 0xcbf29ce484222325u, n = (uint64_t)bytes * 8;
  for (size_t i = 0; i < event.n; i++) h = (h ^ (uint8_t)event.p[i]) * 0x100000001b3u;
  uint64_t step = (h ^ h >> 29) * 0xbf58476d1ce4e5b9u | 1;
  bool all = true;
  for (int i = 0; i < BLOOM_PROBES; i++, h += step) {
    uint64_t at = (h ^ h >> 32) % n;
    if (bits[at / 8] >> (at % 8) & 1) continue;
    all = false;
    if (add) bits[at / 8] = (uint8_t)(bits[at / 8] | 1u << (at % 8));
  }
  return all;
}

static bool too_full(const uint8_t *bits, uint32_t bytes) {
  size_t set = 0;
  for (uint32_t i = 0; i < bytes; i++) set += (size_t)__builtin_popcount(bits[i]);
  return (double)set > bloom_too_full * 8 * bytes;
}

/* The event set of a record, made anew when it is old, of another size or too full. */
static uint8_t *event_set(struct expand_ctx *x, const struct request *q, struct hints_ratelimit *r, int64_t now) {
  double want = q->limit * BLOOM_BYTES_PER_EVENT;
  uint32_t bytes = want > BLOOM_MAX_BYTES ? BLOOM_MAX_BYTES : want < BLOOM_MIN_BYTES ? BLOOM_MIN_BYTES : (uint32_t)want;
  uint8_t *bits = arena_alloc(x->a, bytes);
  bool usable = r->bloom && r->bloom_bytes == bytes && now - r->bloom_epoch <= q->period_sec && r->bloom_epoch <= now;
  if (usable && too_full(r->bloom, bytes)) {
    narrate(x, D_ACL, "ratelimit event set is too full: starting afresh");
    usable = false;
  }
  if (usable) memcpy(bits, r->bloom, bytes);
  else r->bloom_epoch = now;
  r->bloom = bits;
  r->bloom_bytes = bytes;
  return bits;
}

/* ---- the database ---- */

static void store_rate(struct expand_ctx *x, struct hints_db *db, const char *key, const struct hints_ratelimit *r) {
  struct strbuf out = strbuf_new(x->a);
  hints_put_ratelimit(&out, r);
  bool ok = hints_put(db, key, strbuf_str(&out)) == 0;
  narrate(x, D_ACL, ok ? "ratelimit db updated" : "ratelimit db not updated: write failed");
}

/* Compute the new rate under the lock.  False: no database. */
static bool compute(struct expand_ctx *x, const struct request *q, const char *key, double *ret_rate) {
  struct hints_db *db = hints_open(x->cfg->spool_directory, "ratelimit", true);
  if (!db) return false;
  struct hints_ratelimit r = {0};
  struct str bytes;
  struct timeval now = time_now();
  bool found = hints_get(db, x->a, key, &bytes) && hints_get_ratelimit(x->a, bytes, &r) && !time_is_ahead(r.stamp, now.tv_sec);
  double count = q->count;
  uint8_t *bits = NULL;
  narrate(x, D_ACL, found ? "ratelimit found key in database" : "ratelimit creating new rate data block");
  if (!found) r = (struct hints_ratelimit){.bloom_epoch = now.tv_sec};
  if (q->unique && q->mode != MODE_READONLY) {
    bits = event_set(x, q, &r, now.tv_sec);
    if (ratelimit_seen(bits, r.bloom_bytes, str_c(q->unique), false)) {
      narrate(x, D_ACL, "ratelimit event is not new");
      count = 0;
    }
  }
  if (!found) {
    narrate(x, D_ACL, "ratelimit initializing new key's rate data");
    r.rate = count;
  } else {
    double interval = (double)(now.tv_sec - r.stamp) + (double)(now.tv_usec - r.usec) / 1e6;
    r.rate = ratelimit_smooth(r.rate, interval, (double)q->period_sec, count);
  }
  bool over = r.rate >= q->limit;
  if (q->mode == MODE_READONLY || (over && q->mode == MODE_LEAKY)) {
    narrate(x, D_ACL, "ratelimit db not updated: %s", q->mode == MODE_READONLY ? "readonly mode" : "over the limit, but leaky");
  } else {
    if (bits) (void)ratelimit_seen(bits, r.bloom_bytes, str_c(q->unique), true);
    r.stamp = now.tv_sec;
    r.usec = (int)now.tv_usec;
    store_rate(x, db, key, &r);
  }
  hints_close(db);
  *ret_rate = r.rate;
  return true;
}

/* Set $sender_rate...  In a connection they outlive the SMTP command, so they are copied there. */
static void set_variables(struct expand_ctx *x, const struct request *q, double rate) {
  if (!x->conn) {
    x->sender_rate = arena_printf(x->a, "%.1f", rate);
    x->sender_rate_limit = q->limit_text;
    x->sender_rate_period = q->period_text;
    return;
  }
  char (*t)[64] = x->conn->rate_texts;
  snprintf(t[0], sizeof t[0], "%.1f", rate);
  snprintf(t[1], sizeof t[1], "%s", q->limit_text);
  snprintf(t[2], sizeof t[2], "%s", q->period_text);
  x->sender_rate = t[0];
  x->sender_rate_limit = t[1];
  x->sender_rate_period = t[2];
}

enum outcome ratelimit_check(struct expand_ctx *x, enum acl_where where, const char *arg, const char **ret_log) {
  struct request q;
  const char *error = parse_request(x->a, arg, &q);
  if (!error) error = complete_request(x, where, &q);
  if (error) {
    *ret_log = arena_printf(x->a, "error in arguments to \"ratelimit\" condition: %s", error);
    return OUTCOME_ERROR;
  }
  const char *key = stored_key(x->a, &q);
  narrate(x, D_ACL, "ratelimit condition count=%.0f %.1f/%s", q.count, q.limit, key);
  struct arena *a = NULL;
  struct tree *cache = cache_of(x, where, &q, &a);
  const struct remembered *known = recall(x, cache, &q, key);
  double rate = known ? known->rate : 0;
  if (known) {
    narrate(x, D_ACL, "ratelimit found pre-computed rate %.1f", rate);
  } else {
    if (!compute(x, &q, key, &rate)) {
      *ret_log = "ratelimit database not available";
      return OUTCOME_DEFER;
    }
    remember(x, cache, a, &q, key, rate);
    narrate(x, D_ACL, "ratelimit computed rate %.1f", rate);
  }
  set_variables(x, &q, rate);
  return rate < q.limit ? OUTCOME_FAIL : OUTCOME_OK;
}
