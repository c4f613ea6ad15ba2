/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The callout cache (callout_cache.h).  Floor: drivers.  Manual ch. 44 "Callout caching", options callout_*_expire.
 *
 * A domain's record lives for the negative time when callouts cannot be made or postmaster was refused, else for the positive time; what it says of
 * postmaster and of any local part has times of its own.  Temporary results are never written. */
#include "hints/callout_cache.h"

#include "base/timeutil.h"
#include "os/debug.h"
#include "policy/narrate.h"

const char *callout_cache_key(struct arena *a, const char *address, const char *sender) {
  return *sender ? arena_printf(a, "%s/<%s>", address, sender) : address;
}

static bool is_too_old(int64_t stamp, int result, int64_t now, int64_t positive_sec, int64_t negative_sec) {
  return time_is_ahead(stamp, now) || now - stamp > (result == CALLOUT_ACCEPT ? positive_sec : negative_sec);
}

struct hints_callout callout_cache_still_good(struct hints_callout r, int64_t now, int64_t positive_sec, int64_t negative_sec) {
  if (r.result != CALLOUT_UNKNOWN && is_too_old(r.stamp, r.result, now, positive_sec, negative_sec))
    return (struct hints_callout){.is_domain = true};
  if (r.postmaster_result && is_too_old(r.postmaster_stamp, r.postmaster_result, now, positive_sec, negative_sec)) r.postmaster_result = CALLOUT_UNKNOWN;
  /* "no, I look at local parts" is worth as much as "yes, I take all" */
  if (r.random_result && is_too_old(r.random_stamp, CALLOUT_ACCEPT, now, positive_sec, negative_sec)) r.random_result = CALLOUT_UNKNOWN;
  return r;
}

static bool read_record(struct expand_ctx *x, const char *key, struct hints_callout *ret) {
  struct hints_db *db = hints_open(x->cfg->spool_directory, "callout", false);
  struct str bytes;
  if (!db) return false;
  bool ok = hints_get(db, x->a, key, &bytes) && hints_get_callout(bytes, ret);
  hints_close(db);
  return ok;
}

void callout_cache_read_domain(struct expand_ctx *x, const char *domain, struct callout_facts *ret) {
  const struct main_options *o = &x->cfg->o;
  struct hints_callout r;
  ret->domain = (struct hints_callout){.is_domain = true};
  if (!read_record(x, domain, &r) || !r.is_domain) {
    narrate(x, D_VERIFY, "callout cache: no domain record found for %s", domain);
    return;
  }
  ret->domain = callout_cache_still_good(r, time_sec(), o->callout_domain_positive_expire, o->callout_domain_negative_expire);
  bool is_old = r.result && !ret->domain.result;
  narrate(x, D_VERIFY, is_old ? "callout cache: domain record expired for %s" : "callout cache: found domain record for %s", domain);
}

void callout_cache_read_address(struct expand_ctx *x, const char *key, struct callout_facts *ret) {
  const struct main_options *o = &x->cfg->o;
  struct hints_callout r;
  if (!read_record(x, key, &r) || r.is_domain) {
    narrate(x, D_VERIFY, "callout cache: no address record found for %s", key);
    return;
  }
  if (is_too_old(r.stamp, r.result, time_sec(), o->callout_positive_expire, o->callout_negative_expire)) {
    narrate(x, D_VERIFY, "callout cache: address record expired for %s", key);
    return;
  }
  narrate(x, D_VERIFY, "callout cache: found address record for %s", key);
  ret->address_result = r.result;
}

static void put(struct expand_ctx *x, struct hints_db *db, const char *key, const struct hints_callout *r) {
  struct strbuf b = strbuf_new(x->a);
  hints_put_callout(&b, r);
  int rc = hints_put(db, key, strbuf_str(&b));
  if (rc != 0) return;
  if (!r->is_domain) {
    narrate(x, D_VERIFY, "wrote %s callout cache address record for %s", r->result == CALLOUT_ACCEPT ? "positive" : "negative", key);
    return;
  }
  narrate(x, D_VERIFY, "wrote callout cache domain record for %s:", key);
  narrate(x, D_VERIFY, "  result=%d postmaster=%d random=%d", r->result, r->postmaster_result, r->random_result);
}

void callout_cache_write(struct expand_ctx *x, const char *domain, const char *key, struct callout_facts *facts) {
  if (!facts->domain_is_new && !facts->address_is_new) return;
  struct hints_db *db = hints_open(x->cfg->spool_directory, "callout", true);
  if (!db) return; /* hints are advice */
  int64_t now = time_sec();
  if (facts->domain_is_new) {
    facts->domain.stamp = now;
    facts->domain.is_domain = true;
    put(x, db, domain, &facts->domain);
  }
  if (facts->address_is_new) {
    struct hints_callout r = {.stamp = now, .result = facts->address_result};
    put(x, db, key, &r);
  }
  hints_close(db);
}
