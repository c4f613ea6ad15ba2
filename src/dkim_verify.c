/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verification of DKIM signatures at reception.
 *
 * Floor: drivers.  Headers and body are hostile, and so is what the DNS says.  The body is digested as it passes, never held; signatures that want the
 * same digest share one.  The number of signatures, of names in h= and of tags is bounded, so is the work.  The order of dkim_verify_keytypes and
 * dkim_verify_hashes is the order of processing; signatures of other kinds are ignored.  A key that cannot be had now makes a signature
 * "invalid", never "fail".  RFC 6376 section 6.1, RFC 8301; manual ch. 14 (dkim_verify_...), 58.3. */
#include "dkim_verify.h"

#include "arc_verify.h"
#include "buildconfig.h"
#include "dns.h"
#include "message.h"
#include "os/debug.h"
#include "os/log.h"
#include "policy/match.h"

enum { KEY_RECORD_MAX = 16384, KEY_RECORDS_MAX = 10 };

/* ---- the beginning ---- */

static bool is_signature_line(struct str line) {
  struct str name, value;
  return header_split(line, &name, &value) && str_eqic(name, STR("DKIM-Signature"));
}

static size_t note_lines(struct dkim_state *s, const struct message *m) {
  size_t signatures = 0, n = 0;
  for (const struct header_line *h = m->headers; h; h = h->next) n++;
  s->lines = ARENA_NEW_N(m->arena, struct str, n + 1);
  for (const struct header_line *h = m->headers; h; h = h->next) {
    struct str line = str_n(h->text, h->n);
    signatures += is_signature_line(line);
    s->lines[s->line_count++] = line;
  }
  return signatures;
}

/* Place of a name in a list option: the order of processing, -1 when it is not there. */
static int rank_in(struct arena *a, const char *list, const char *name) {
  int sep = -':', rank = 0;
  const char *item;
  for (; list && (item = list_next(a, &list, &sep)); rank++)
    if (strcmpic(item, name) == 0) return rank;
  return -1;
}

struct candidate {
  struct dkim_signature sig;
  struct str line;
  int rank;
};

static size_t collect(struct expand_ctx *x, const struct dkim_state *s, struct candidate *c) {
  const struct main_options *o = &x->cfg->o;
  size_t n = 0;
  for (size_t i = 0; i < s->line_count; i++) {
    if (!is_signature_line(s->lines[i]) || !dkim_parse_signature(x->msg->arena, s->lines[i], &c[n].sig)) continue;
    int keytype = rank_in(x->a, o->dkim_verify_keytypes, dkim_keytype_names[c[n].sig.keytype]);
    int hash = rank_in(x->a, o->dkim_verify_hashes, dkim_hash_names[c[n].sig.hash]);
    if (keytype < 0 || hash < 0) continue;
    c[n].line = s->lines[i];
    c[n++].rank = keytype * 1000 + hash;
  }
  return n;
}

struct dkim_body *dkim_body_for(struct dkim_state *s, const struct dkim_signature *sig) {
  for (size_t i = 0; i < s->body_count; i++) {
    struct dkim_body *b = &s->bodies[i];
    if (b->canon.relaxed == sig->relaxed_body && b->limit == sig->body_length && b->digest.hash == sig->hash) return b;
  }
  struct dkim_body *b = &s->bodies[s->body_count++];
  b->limit = sig->body_length;
  dkim_digest_start(&b->digest, sig->hash);
  dkim_canon_init(&b->canon, sig->relaxed_body, sig->body_length, dkim_digest_add, &b->digest);
  return b;
}

static void take(struct dkim_state *s, struct arena *a, const struct candidate *c, size_t n) {
  s->sigs = ARENA_NEW_N(a, struct dkim_result, n + 1);
  s->bodies = ARENA_NEW_N(a, struct dkim_body, n + ARC_MAX_INSTANCES + 1);
  for (int rank = 0; s->count < n; rank++) {
    for (size_t i = 0; i < n; i++) {
      if (c[i].rank != rank) continue;
      struct dkim_result *r = &s->sigs[s->count++];
      r->sig = c[i].sig;
      r->line = c[i].line;
      if (r->sig.fault == DKIM_SIG_OK) r->body = dkim_body_for(s, &r->sig);
    }
  }
}

void dkim_verify_begin(struct expand_ctx *x) {
  struct message *m = x->msg;
  if (!CFG_SUPPORT_DKIM || m->dkim_disabled) return;
  struct dkim_state *s = m->dkim = ARENA_NEW(m->arena, struct dkim_state);
  size_t lines = note_lines(s, m);
  if (lines > DKIM_MAX_SIGNATURES) {
    s->error = "EXCESS_SIGS";
    log_write(LS_ALWAYS, LOG_MAIN, "DKIM: validation error: %s", s->error);
    return;
  }
  struct candidate found[DKIM_MAX_SIGNATURES];
  take(s, m->arena, found, collect(x, s, found));
  if (CFG_EXPERIMENTAL_ARC) s->arc = arc_find_chain(m->arena, s, true);
}

void dkim_verify_body(struct dkim_state *s, const void *p, size_t n) {
  for (size_t i = 0; s && i < s->body_count; i++) dkim_canon_feed(&s->bodies[i].canon, p, n);
}

/* ---- the key ---- */

enum dkim_reason dkim_find_key(struct expand_ctx *x, const struct dkim_signature *sig, struct dkim_key *ret) {
  const char *name = arena_printf(x->a, "%s._domainkey.%s", sig->selector, sig->domain);
  struct dns_answer answer = {0};
  enum dns_status status = dns_lookup(x, name, DNS_T_TXT, NULL, &answer, NULL);
  int left = KEY_RECORDS_MAX;
  if (status != DNS_SUCCEED || !answer.answers) return DKIM_WHY_KEY_UNAVAILABLE;
  for (const struct dns_rr *rr = answer.answers; rr && left-- > 0; rr = rr->next) {
    struct strbuf b = dns_txt_join(x->msg->arena, rr, KEY_RECORD_MAX);
    if (dkim_parse_key(x->msg->arena, strbuf_str(&b), ret)) return DKIM_WHY_NOTHING;
  }
  return DKIM_WHY_KEY_RECORD;
}

int dkim_min_bits(struct expand_ctx *x, enum dkim_keytype keytype) {
  struct str rest = str_c(x->cfg->o.dkim_verify_min_keysizes ? x->cfg->o.dkim_verify_min_keysizes : ""), word;
  while ((word = str_word(&rest)).n > 0) {
    size_t eq = str_index(word, '=');
    int bits;
    if (eq < word.n && dkim_find_keytype(str_n(word.p, eq)) == (int)keytype && str_parse_int(str_n(word.p + eq + 1, word.n - eq - 1), &bits))
      return bits;
  }
  return 0;
}

/* ---- one signature ---- */

void dkim_sum_headers(struct arena *a, const struct dkim_state *s, const struct dkim_signature *sig, struct str line, struct dkim_sum *ret) {
  struct arena_mark mark = arena_mark(a);
  size_t n = dkim_count_names(sig->header_names);
  int *chosen = ARENA_NEW_N(a, int, n + 1);
  struct dkim_digest d;
  struct strbuf b = strbuf_new(a);
  dkim_select_headers(a, s->lines, s->line_count, sig->header_names, chosen);
  dkim_digest_start(&d, sig->hash);
  for (size_t i = 0; i < n; i++) {
    if (chosen[i] < 0) continue;
    strbuf_clear(&b);
    dkim_canon_header(&b, s->lines[chosen[i]], sig->relaxed_headers, true);
    dkim_digest_add(&d, b.p, b.n);
  }
  strbuf_clear(&b);
  dkim_canon_header(&b, dkim_without_b(a, line), sig->relaxed_headers, false);
  dkim_digest_add(&d, b.p, b.n);
  dkim_digest_end(&d, ret);
  arena_release(a, mark);
}

static void judge(struct dkim_result *r, enum dkim_status status, enum dkim_reason reason) {
  r->status = status;
  r->reason = reason;
}

static void check_with_key(struct expand_ctx *x, struct dkim_state *s, struct dkim_result *r) {
  const struct dkim_signature *sig = &r->sig;
  struct dkim_sum sum;
  const char *error;
  dkim_sum_headers(x->a, s, sig, r->line, &sum);
  enum dkim_check c = dkim_check_signature(sig->keytype, sig->hash, r->key.data, &sum, sig->data, dkim_min_bits(x, sig->keytype), &r->key_bits, &error);
  bool allowed = !r->key.hashes || dkim_list_has(r->key.hashes, str_c(dkim_hash_names[sig->hash]));
  bool speaks = !r->key.no_subdomains || !sig->identity || dkim_identity_fits(sig->identity, sig->domain, true);
  if (c == DKIM_CHECK_BAD_KEY) {
    log_write(LS_ALWAYS, LOG_MAIN, "DKIM: d=%s s=%s [failed key import]", sig->domain, sig->selector);
    s->check_error = error;
    judge(r, DKIM_INVALID, DKIM_WHY_KEY_DATA);
  } else if (!allowed || !speaks) {
    judge(r, DKIM_FAIL, DKIM_WHY_NOTHING);
  } else if (c == DKIM_CHECK_SHORT_KEY) {
    judge(r, DKIM_FAIL, DKIM_WHY_KEY_SHORT);
  } else if (c == DKIM_CHECK_WRONG) {
    s->check_error = error;
    judge(r, DKIM_FAIL, DKIM_WHY_SIGNATURE);
  } else {
    judge(r, DKIM_PASS, DKIM_WHY_NOTHING);
  }
}

bool dkim_body_matches(const struct dkim_body *b, const struct dkim_signature *sig) {
  return !b->is_short && b->sum.n > 0 && str_eq(sig->body_hash, str_n((const char *)b->sum.p, b->sum.n));
}

static void verify_one(struct expand_ctx *x, struct dkim_state *s, struct dkim_result *r) {
  if (r->sig.fault != DKIM_SIG_OK) {
    judge(r, DKIM_INVALID, r->sig.fault == DKIM_SIG_VERSION ? DKIM_WHY_VERSION : DKIM_WHY_TAG);
    return;
  }
  if (!dkim_body_matches(r->body, &r->sig)) {
    judge(r, DKIM_FAIL, DKIM_WHY_BODY);
    return;
  }
  enum dkim_reason why = dkim_find_key(x, &r->sig, &r->key);
  if (why == DKIM_WHY_NOTHING && r->key.keytype != (int)r->sig.keytype) why = DKIM_WHY_KEY_RECORD;
  if (why == DKIM_WHY_NOTHING) {
    check_with_key(x, s, r);
    return;
  }
  log_write(LS_ALWAYS, LOG_MAIN, "DKIM: d=%s s=%s [failed key import]", r->sig.domain, r->sig.selector);
  judge(r, DKIM_INVALID, why);
}

/* ---- the end ---- */

static void end_bodies(struct dkim_state *s) {
  for (size_t i = 0; i < s->body_count; i++) {
    struct dkim_body *b = &s->bodies[i];
    dkim_canon_end(&b->canon);
    b->is_short = b->canon.left > 0;
    dkim_digest_end(&b->digest, &b->sum);
  }
}

static void name_signers(struct expand_ctx *x, struct dkim_state *s) {
  struct strbuf b = strbuf_new_t(x->msg->arena, TAINTED, 64);
  for (size_t i = 0; i < s->count; i++) {
    const struct dkim_signature *sig = &s->sigs[i].sig;
    if (!sig->domain) continue;
    strbuf_addl(&b, b.n ? ":" : "", sig->domain, NULL);
    if (sig->identity) strbuf_addl(&b, ":", sig->identity, NULL);
  }
  if (b.n) s->signers = b.p;
}

void dkim_verify_finish(struct expand_ctx *x) {
  struct dkim_state *s = x->msg->dkim;
  if (!s) return;
  end_bodies(s);
  if (!s->error && x->msg->max_received_linelength > DKIM_LONGEST_LINE) {
    s->error = "LONG_LINE";
    log_write(LS_ALWAYS, LOG_MAIN, "DKIM: validation error: %s", s->error);
  }
  if (s->error) {
    log_write(LS_ALWAYS, LOG_MAIN, "DKIM: Error during validation, disabling signature verification: %s", s->error);
    return;
  }
  bool any_good = false;
  for (size_t i = 0; i < s->count && !(any_good && x->cfg->o.dkim_verify_minimal); i++) {
    verify_one(x, s, &s->sigs[i]);
    any_good |= s->sigs[i].status == DKIM_PASS;
  }
  if (s->check_error && !any_good) log_write(LS_ALWAYS, LOG_MAIN, "DKIM: validation error: %s", s->check_error);
  name_signers(x, s);
}
