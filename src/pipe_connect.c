/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Early pipelining: the remembered EHLO replies, the plan of a connection, and what the server side promises.  Floor: drivers.
 * README.EXPERIMENTAL, doc/experimental-spec.txt.
 *
 * A record may only cause an optimistic attempt (rule R7): every failure to read, decode or trust it means "talk plainly".  The hints database is
 * open for single operations only, never across network traffic (R4), nobody waits for it (R3), and a record is replaced or deleted only while it still holds the bytes this
 * connection started from (R5), so that of two parallel deliveries the newer knowledge stays.
 * After a failed early attempt the address is suspended for pipe_connect_suspend, four times longer with each further failure, at most
 * retry_data_expire; a confirmed early connection forgives.  A record that was merely wrong and cost a connection is put right once; when that
 * happens again before pipe_connect_suspend is over (several servers behind one address, each with its own EHLO reply) it counts as a failure.  Bytes read back are hostile; hints_get_ehlo() checks them. */
#include "pipe_connect.h"

const char *pipe_refusal_text(enum pipe_refusal r) {
  switch (r) {
    case PIPE_OK: return "allowed";
    case PIPE_NOT_BUILT: return "not built";
    case PIPE_HOST_NOT_LISTED: return "host is not in hosts_pipe_connect";
    case PIPE_NOT_SMTP: return "the protocol has no greeting to skip";
    case PIPE_AVOIDED: return "host is in hosts_avoid_esmtp or hosts_avoid_pipelining";
    case PIPE_HELO_UNKNOWN: return "helo_data depends on the sending address";
    case PIPE_NO_RECORD: return "nothing is remembered of the host";
    case PIPE_RECORD_OLD: return "what is remembered is too old";
    case PIPE_RECORD_NO_PIPELINING: return "the host did not offer PIPELINING and PIPECONNECT";
    case PIPE_NEED_UNMET: return "something needed was not offered last time: ask afresh";
    case PIPE_ALREADY_FAILED: return "an early attempt failed in this delivery";
    case PIPE_SUSPENDED: return "suspended after failed early attempts";
    case PIPE_FINGERPRINT: return "our own settings changed since";
  }
  return "unknown";
}

#ifdef EXPERIMENTAL_PIPE_CONNECT

#include <string.h>

#include "auth.h"
#include "base/buildinfo.h"
#include "base/timeutil.h"
#include "hints/hints.h"
#include "os/debug.h"
#include "policy/match.h"

enum { SUSPEND_MAX_DOUBLINGS = 10 };

/* ---- what a failed early attempt means -------------------------------------------------------------------- */

static const struct pipe_failure_rule rules[PIPE_EVENTS] = {
  /*                                     event                       classes     drop   replain believe */
  [PIPE_EV_NONE]               = {PIPE_EV_NONE,               "-",        false, false, true},
  [PIPE_EV_CONNECT_FAILED]     = {PIPE_EV_CONNECT_FAILED,     "F1",       false, false, true},
  [PIPE_EV_GREETING_5XX]       = {PIPE_EV_GREETING_5XX,       "F2",       true,  true,  false},
  [PIPE_EV_GREETING_4XX]       = {PIPE_EV_GREETING_4XX,       "F3",       true,  true,  false},
  [PIPE_EV_EHLO_5XX]           = {PIPE_EV_EHLO_5XX,           "F4",       true,  true,  false},
  [PIPE_EV_EHLO_4XX]           = {PIPE_EV_EHLO_4XX,           "F5",       true,  true,  false},
  [PIPE_EV_CLOSED]             = {PIPE_EV_CLOSED,             "F6 F25",   true,  true,  false},
  [PIPE_EV_TIMEOUT]            = {PIPE_EV_TIMEOUT,            "F7",       true,  true,  false},
  [PIPE_EV_GARBAGE]            = {PIPE_EV_GARBAGE,            "F8",       true,  true,  false},
  [PIPE_EV_GONE_ACCEPTED]      = {PIPE_EV_GONE_ACCEPTED,      "F9 F12",   false, false, true},
  [PIPE_EV_GONE_REFUSED]       = {PIPE_EV_GONE_REFUSED,       "F10 F11",  false, true,  false},
  [PIPE_EV_TLS_ADDED]          = {PIPE_EV_TLS_ADDED,          "F14",      false, true,  false},
  [PIPE_EV_AUTH_REFUSED]       = {PIPE_EV_AUTH_REFUSED,       "F20",      true,  true,  false},
  [PIPE_EV_GENUINE]            = {PIPE_EV_GENUINE,            "F22",      false, false, true},
  [PIPE_EV_LOST_AFTER_CONTENT] = {PIPE_EV_LOST_AFTER_CONTENT, "F24",      false, false, true},
  [PIPE_EV_LOST_WITH_CONTENT]  = {PIPE_EV_LOST_WITH_CONTENT,  "F24",      true,  false, true},
};

const struct pipe_failure_rule *pipe_connect_rule(enum pipe_event event) {
  INVARIANT(event < PIPE_EVENTS && rules[event].event == event);
  return &rules[event];
}

/* ---- records ---------------------------------------------------------------------------------------------- */

static const char *record_key(struct arena *a, const char *address, int port) {
  return arena_printf(a, strchr(address, ':') ? "[%s]:%d.EHLO" : "%s:%d.EHLO", address, port);
}

static struct str encode(struct arena *a, const struct hints_ehlo *r) {
  struct strbuf b = strbuf_new(a);
  hints_put_ehlo(&b, r);
  return strbuf_str(&b);
}

static uint32_t fnv(uint32_t h, const char *s) {
  for (; s && *s; s++) h = (h ^ (uint8_t)*s) * 16777619u;
  return (h ^ 0xff) * 16777619u; /* an end mark, so that "ab"+"c" differs from "a"+"bc" */
}

uint32_t pipe_connect_fingerprint(const struct config *cfg, const char *helo_template, const char *interface) {
  uint32_t h = 2166136261u;
  for (const struct auth_instance *i = cfg ? cfg->auths : NULL; i; i = i->next) h = fnv(fnv(h, i->name), i->o.public_name);
  return fnv(fnv(h, helo_template), interface);
}

bool pipe_connect_is_keyword(struct str keyword) {
  return str_eqic_c(keyword, "PIPECONNECT") || str_eqic_c(keyword, "PIPE_CONNECT") || str_eqic_c(keyword, "X_PIPE_CONNECT");
}

/* ---- the plan --------------------------------------------------------------------------------------------- */

enum { BOTH = EHLO_PIPELINING | EHLO_PIPE_CONNECT };

/* What the envelope needs, of the half in which it is sent. */
static bool need_is_met(const struct pipe_need *n, uint16_t features, uint16_t auths) {
  if (n->auth_required && !auths) return false;
  return !n->utf8_needed || (!n->downconvert_forced && (features & EHLO_SMTPUTF8));
}

static bool is_starttls(const struct pipe_need *n, const struct hints_ehlo *r) {
  return n->may_tls && !n->is_smtps && (r->clear_features & EHLO_TLS);
}

static bool crypted_is_good(const struct pipe_need *n, const struct hints_ehlo *r) {
  return (r->crypted_features & BOTH) == BOTH && need_is_met(n, r->crypted_features, r->crypted_auths);
}

static enum pipe_refusal judge(const struct pipe_need *n, const struct hints_ehlo *r, int64_t now) {
  uint16_t features = n->is_smtps ? r->crypted_features : r->clear_features;
  uint16_t auths = n->is_smtps ? r->crypted_auths : r->clear_auths;
  if (r->stamp > now || now - r->stamp > n->cfg->o.retry_data_expire) return PIPE_RECORD_OLD;
  if (r->suspend_until > now) return PIPE_SUSPENDED;
  if (r->clear_features == 0 && r->crypted_features == 0) return PIPE_NO_RECORD;
  if (r->fingerprint != n->fingerprint) return PIPE_FINGERPRINT;
  if ((features & BOTH) != BOTH) return PIPE_RECORD_NO_PIPELINING;
  if (is_starttls(n, r)) return PIPE_OK; /* the rest is for the other half to say */
  if (n->tls_required && !n->is_smtps) return PIPE_NEED_UNMET;
  return need_is_met(n, features, auths) ? PIPE_OK : PIPE_NEED_UNMET;
}

static struct ehlo_facts facts_of(const struct hints_ehlo *r, bool crypted) {
  return (struct ehlo_facts){.features = crypted ? r->crypted_features : r->clear_features,
                             .auths = crypted ? r->crypted_auths : r->clear_auths,
                             .limit_mailmax = r->limit_mailmax,
                             .limit_rcptmax = r->limit_rcptmax,
                             .limit_rcptdommax = r->limit_rcptdommax};
}

static bool read_record(struct expand_ctx *x, const struct pipe_need *n, struct pipe_plan *p) {
  struct hints_db *db = hints_open_soon(n->cfg->spool_directory, "misc", false);
  if (!db) return false;
  bool found = hints_get(db, x->a, p->key, &p->record);
  hints_close(db);
  if (!found) p->record = STR_NULL;
  return found && hints_get_ehlo(p->record, &p->stored);
}

struct pipe_plan pipe_connect_plan(struct expand_ctx *x, const struct pipe_need *n) {
  struct pipe_plan p = {.why_not = PIPE_HOST_NOT_LISTED};
  if (!n->hosts_pipe_connect || !n->host_address ||
      match_this_host(x, "hosts_pipe_connect", n->hosts_pipe_connect, n->host_name, n->host_address) != OUTCOME_OK)
    return p;
  p.why_not = n->is_lmtp ? PIPE_NOT_SMTP : PIPE_AVOIDED;
  if (n->is_lmtp || n->avoid_esmtp || n->avoid_pipelining) return p;
  p.learn = true;
  p.key = record_key(x->a, n->host_address, n->port);
  bool have = read_record(x, n, &p);
  if (n->already_failed)
    p.why_not = PIPE_ALREADY_FAILED;
  else if (n->helo_unknown)
    p.why_not = PIPE_HELO_UNKNOWN;
  else
    p.why_not = have ? judge(n, &p.stored, time_sec()) : PIPE_NO_RECORD;
  p.use = p.why_not == PIPE_OK;
  p.is_on_probation = have && p.stored.suspend_until != 0 && time_sec() - p.stored.suspend_until <= n->cfg->o.pipe_connect_suspend;
  if (!p.use) return p;
  p.clear = facts_of(&p.stored, false);
  p.crypted = facts_of(&p.stored, true);
  p.starttls = is_starttls(n, &p.stored);
  p.use_crypted = (p.starttls || n->is_smtps) && crypted_is_good(n, &p.stored);
  return p;
}

/* ---- learning --------------------------------------------------------------------------------------------- */

/* Write next in place of the record the plan saw (or none). NULL: delete. */
static void store(struct expand_ctx *x, struct pipe_plan *p, const struct pipe_need *n, const struct hints_ehlo *next) {
  struct hints_db *db = hints_open_soon(n->cfg->spool_directory, "misc", true);
  if (!db) return;
  struct str now_there, bytes = next ? encode(x->a, next) : STR_NULL;
  bool done = true;
  if (!p->record.n) {
    done = next && !hints_get(db, x->a, p->key, &now_there) && hints_put(db, p->key, bytes) == 0;
  } else if (next) {
    done = hints_replace_if(db, p->key, p->record, bytes);
  } else {
    done = hints_delete_if(db, p->key, p->record);
  }
  hints_close(db);
  if (done) {
    p->record = bytes;
    p->stored = next ? *next : (struct hints_ehlo){0};
  }
  DEBUG(D_TRANSPORT) debug_printf("EHLO record %s %s%s\n", p->key, next ? "written" : "deleted", done ? "" : ": newer one left alone");
}

/* The record with one half replaced by what was just said; the penalty of earlier failures stays. */
static struct hints_ehlo merged(const struct pipe_plan *p, const struct pipe_need *n, const struct ehlo_facts *real, bool in_tls) {
  struct hints_ehlo r = p->stored;
  if (r.fingerprint != n->fingerprint) r.crypted_features = r.crypted_auths = r.clear_features = r.clear_auths = 0;
  r.stamp = time_sec();
  r.fingerprint = n->fingerprint;
  if (n->rtt_us) r.rtt_us = n->rtt_us;
  if (in_tls) {
    r.crypted_features = real->features;
    r.crypted_auths = real->auths;
    r.flags |= HINTS_EHLO_USED_TLS;
  } else {
    if ((r.clear_features & EHLO_TLS) && !(real->features & EHLO_TLS)) r.crypted_features = r.crypted_auths = 0;
    r.clear_features = real->features;
    r.clear_auths = real->auths;
  }
  if (!((in_tls ? r.crypted_features : r.clear_features) & EHLO_CHUNKING)) r.flags &= (uint16_t)~HINTS_EHLO_CONFIRMED_CHUNKING;
  if (!in_tls && is_starttls(n, &r)) return r; /* limits are those of the half in which mail is sent */
  r.limit_mailmax = real->limit_mailmax;
  r.limit_rcptmax = real->limit_rcptmax;
  r.limit_rcptdommax = real->limit_rcptdommax;
  return r;
}

/* Without features, but with the memory of what it cost. */
static struct hints_ehlo emptied(const struct pipe_plan *p, const struct pipe_need *n) {
  return (struct hints_ehlo){.stamp = time_sec(), .fingerprint = n->fingerprint, .flags = p->stored.flags & HINTS_EHLO_USED_TLS,
                             .fail_count = p->stored.fail_count, .suspend_until = p->stored.suspend_until};
}

/* The promise is gone. */
static void forget(struct expand_ctx *x, struct pipe_plan *p, const struct pipe_need *n) {
  struct hints_ehlo r = emptied(p, n);
  store(x, p, n, p->is_on_probation ? &r : NULL);
}

static bool is_promise(const struct ehlo_facts *f) { return (f->features & EHLO_PIPELINING) && (f->features & EHLO_PIPE_CONNECT); }

void pipe_connect_learn(struct expand_ctx *x, struct pipe_plan *p, const struct pipe_need *n, const struct ehlo_facts *real,
                        bool in_tls) {
  if (!p->learn) return;
  bool suspended = p->record.n && p->stored.suspend_until > time_sec();
  bool other_half = in_tls && !n->is_smtps && (p->stored.clear_features & BOTH) == BOTH;
  if (!is_promise(real) && !other_half) {
    if (p->record.n && !suspended) forget(x, p, n);
    return;
  }
  struct hints_ehlo r = merged(p, n, real, in_tls);
  store(x, p, n, &r);
}

static bool half_equals(const struct pipe_need *n, const struct hints_ehlo *r, const struct ehlo_facts *f, bool in_tls) {
  uint16_t features = in_tls ? r->crypted_features : r->clear_features;
  uint16_t auths = in_tls ? r->crypted_auths : r->clear_auths;
  if (features != f->features || auths != f->auths) return false;
  if (!in_tls && is_starttls(n, r)) return true;
  return r->limit_mailmax == f->limit_mailmax &&
         r->limit_rcptmax == f->limit_rcptmax && r->limit_rcptdommax == f->limit_rcptdommax;
}

bool pipe_connect_verify(struct expand_ctx *x, struct pipe_plan *p, const struct pipe_need *n, const struct ehlo_facts *real,
                         bool in_tls) {
  if (!is_promise(real)) {
    forget(x, p, n);
    return false;
  }
  bool due = time_sec() - p->stored.stamp > n->cfg->o.retry_data_expire / 4;
  bool is_first_half = p->starttls && !in_tls; /* forgiven when the other half is confirmed, too */
  bool is_same = half_equals(n, &p->stored, real, in_tls), forgives = is_same && !is_first_half && p->stored.fail_count > 0;
  if (is_same && !due && !forgives) return true;
  struct hints_ehlo r = merged(p, n, real, in_tls);
  if (forgives) r.fail_count = 0; /* what is on probation stays so until its time is over */
  store(x, p, n, &r);
  return true;
}

void pipe_connect_failed(struct expand_ctx *x, struct pipe_plan *p, const struct pipe_need *n) {
  if (!p->key) return; /* nothing is kept of this host */
  int64_t pause = n->cfg->o.pipe_connect_suspend, most = n->cfg->o.retry_data_expire;
  if (pause <= 0) {
    store(x, p, n, NULL);
    return;
  }
  for (int i = 0; i < p->stored.fail_count && i < SUSPEND_MAX_DOUBLINGS && pause < most; i++) pause *= 4;
  struct hints_ehlo r = emptied(p, n);
  r.fail_count = (uint16_t)(p->stored.fail_count < UINT16_MAX ? p->stored.fail_count + 1 : UINT16_MAX);
  r.suspend_until = r.stamp + MIN(pause, most);
  store(x, p, n, &r);
}

void pipe_connect_mismatched(struct expand_ctx *x, struct pipe_plan *p, const struct pipe_need *n) {
  if (!p->key || n->cfg->o.pipe_connect_suspend <= 0) return;
  if (p->is_on_probation) {
    pipe_connect_failed(x, p, n);
    return;
  }
  struct hints_ehlo r = p->record.n ? p->stored : emptied(p, n);
  r.suspend_until = time_sec() - 1; /* over at once */
  store(x, p, n, &r);
}

void pipe_connect_chunk_taken(struct expand_ctx *x, struct pipe_plan *p, const struct pipe_need *n) {
  if (!p->learn || (p->use && (p->stored.flags & HINTS_EHLO_CONFIRMED_CHUNKING))) return;
  struct pipe_plan now = {.key = p->key};
  if (!read_record(x, n, &now) || now.stored.fingerprint != n->fingerprint) return;
  const uint16_t both = EHLO_CHUNKING | EHLO_PIPE_CONNECT;
  bool offers = (now.stored.clear_features & both) == both || (now.stored.crypted_features & both) == both;
  if (!offers || (now.stored.flags & HINTS_EHLO_CONFIRMED_CHUNKING)) return;
  struct hints_ehlo r = now.stored;
  r.flags |= HINTS_EHLO_CONFIRMED_CHUNKING;
  store(x, &now, n, &r);
}

/* ---- server ----------------------------------------------------------------------------------------------- */

bool pipe_connect_host_acceptable(struct expand_ctx *x) {
  if (!x->conn || !x->conn->from.host_address) return false;
  return match_sender_host(x, "pipelining_connect_advertise_hosts", x->cfg->o.pipelining_connect_advertise_hosts) == OUTCOME_OK;
}

bool pipe_connect_takes_hello(struct expand_ctx *x) {
  if (!x->conn || !x->conn->from.host_address) return false;
  return match_sender_host(x, "starttls_pipeline_advertise_hosts", x->cfg->o.starttls_pipeline_advertise_hosts) == OUTCOME_OK;
}

void pipe_connect_advertise(struct expand_ctx *x, void (*fn)(void *ctx, const char *keyword), void *ctx) {
  const char *list = x->cfg->o.pipelining_connect_keywords, *item;
  if (!list) list = build_info()->pipe_connect_keywords;
  int sep = -':';
  while (list && (item = list_next(x->a, &list, &sep)))
    if (*item) fn(ctx, item);
}

const char *pipe_connect_server_mark(const struct conn *c) {
  if (c->early_used) return "*";
  return c->pipe_connect_advertised ? "." : "";
}

const char *pipe_connect_dump(struct arena *a, const char *key, const struct hints_ehlo *r) {
  struct str k = str_c(key);
  if (!str_ends(k, STR(".EHLO"))) return NULL;
  return arena_printf(a, "helo/ehlo %.*s clr %04x/%04x cry %04x/%04x lim %05u/%05u/%05u", (int)(k.n - 5), key, r->clear_features,
                      r->clear_auths, r->crypted_features, r->crypted_auths, r->limit_mailmax, r->limit_rcptmax,
                      r->limit_rcptdommax);
}

#endif
