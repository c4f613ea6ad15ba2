/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Byte layout of hints records (hints_record.h).  Floor: formats, pure.
 *
 * Layout: "EH" kind version(1) | total length u32 | stamp i64 | fields.  Integers little-endian.  doc/hints-formats.txt lists the fields.
 * Readers use a cursor with sticky error; the length in the record must equal the bytes at hand. */
#include "formats/hints_record.h"

#include "base/base62.h"

enum { HEAD_BYTES = 16, VERSION = 1, RETRY_TEXT_MAX = 512, WAIT_MAX_IDS = 50 };

/* ---- writing ------------------------------------------------------------------------------------------------- */

static void put_uint(struct strbuf *b, uint64_t v, int bytes) {
  for (int i = 0; i < bytes; i++) strbuf_addc(b, (char)(v >> (8 * i) & 0xff));
}

static size_t begin(struct strbuf *b, char kind, int64_t stamp) {
  size_t start = b->n;
  strbuf_adds(b, "EH");
  strbuf_addc(b, kind);
  strbuf_addc(b, VERSION);
  put_uint(b, 0, 4);
  put_uint(b, (uint64_t)stamp, 8);
  return start;
}

static void end(struct strbuf *b, size_t start) {
  size_t n = b->n - start;
  for (int i = 0; i < 4; i++) b->p[start + 4 + (size_t)i] = (char)(n >> (8 * i) & 0xff);
}

/* ---- reading ------------------------------------------------------------------------------------------------- */

struct cursor {
  struct str s;
  bool bad;
};

static uint64_t get_uint(struct cursor *c, int bytes) {
  if (c->bad || c->s.n < (size_t)bytes) {
    c->bad = true;
    return 0;
  }
  uint64_t v = 0;
  for (int i = 0; i < bytes; i++) v |= (uint64_t)(unsigned char)c->s.p[i] << (8 * i);
  c->s = str_n(c->s.p + bytes, c->s.n - (size_t)bytes);
  return v;
}

static struct str get_bytes(struct cursor *c, uint64_t n) {
  if (c->bad || n > c->s.n) {
    c->bad = true;
    return STR_NULL;
  }
  struct str r = str_n(c->s.p, n);
  c->s = str_n(c->s.p + n, c->s.n - n);
  return r;
}

/* Check the head; the cursor then stands at the fields. kind 0: any. */
static struct cursor open_record(struct str in, char kind, int64_t *ret_stamp) {
  struct cursor c = {in, false};
  struct str magic = get_bytes(&c, 4);
  uint64_t length = get_uint(&c, 4);
  *ret_stamp = (int64_t)get_uint(&c, 8);
  if (c.bad || magic.p[0] != 'E' || magic.p[1] != 'H' || (kind && magic.p[2] != kind) || magic.p[3] != VERSION ||
      length != in.n)
    c.bad = true;
  return c;
}

static bool closed_well(const struct cursor *c) { return !c->bad && c->s.n == 0; }

bool hints_get_stamp(struct str in, int64_t *ret) {
  int64_t stamp;
  struct cursor c = open_record(in, 0, &stamp);
  if (c.bad) return false;
  *ret = stamp;
  return true;
}

/* ---- the kinds ------------------------------------------------------------------------------------------------- */

void hints_put_retry(struct strbuf *b, const struct hints_retry *r) {
  size_t at = begin(b, 'r', r->stamp), n = r->text ? strlen(r->text) : 0;
  if (n > RETRY_TEXT_MAX) n = RETRY_TEXT_MAX;
  put_uint(b, (uint64_t)r->first_failed, 8);
  put_uint(b, (uint64_t)r->last_try, 8);
  put_uint(b, (uint64_t)r->next_try, 8);
  put_uint(b, r->expired, 1);
  put_uint(b, (uint32_t)r->basic_errno, 4);
  put_uint(b, (uint32_t)r->more_errno, 4);
  put_uint(b, n, 2);
  strbuf_add(b, r->text ? r->text : "", n);
  end(b, at);
}

bool hints_get_retry(struct arena *a, struct str in, struct hints_retry *ret) {
  struct hints_retry r;
  struct cursor c = open_record(in, 'r', &r.stamp);
  r.first_failed = (int64_t)get_uint(&c, 8);
  r.last_try = (int64_t)get_uint(&c, 8);
  r.next_try = (int64_t)get_uint(&c, 8);
  r.expired = get_uint(&c, 1) != 0;
  r.basic_errno = (int32_t)get_uint(&c, 4);
  r.more_errno = (int32_t)get_uint(&c, 4);
  struct str text = get_bytes(&c, get_uint(&c, 2));
  if (!closed_well(&c) || text.n > RETRY_TEXT_MAX) return false;
  r.text = arena_strndup_t(a, text.p, text.n, TAINTED);
  *ret = r;
  return true;
}

void hints_put_wait(struct strbuf *b, const struct hints_wait *r) {
  INVARIANT(r->count >= 0 && r->count <= WAIT_MAX_IDS);
  size_t at = begin(b, 'w', r->stamp);
  put_uint(b, (uint32_t)r->sequence, 4);
  put_uint(b, (uint32_t)r->count, 4);
  strbuf_add(b, r->ids, (size_t)r->count * MSGID_LEN);
  end(b, at);
}

bool hints_get_wait(struct arena *a, struct str in, struct hints_wait *ret) {
  struct hints_wait r;
  struct cursor c = open_record(in, 'w', &r.stamp);
  r.sequence = (int32_t)get_uint(&c, 4);
  uint64_t count = get_uint(&c, 4);
  if (c.bad || count > WAIT_MAX_IDS) return false;
  struct str ids = get_bytes(&c, count * MSGID_LEN);
  if (!closed_well(&c) || r.sequence < 0) return false;
  for (uint64_t i = 0; i < count; i++)
    if (!msgid_is_valid(str_n(ids.p + i * MSGID_LEN, MSGID_LEN))) return false;
  r.count = (int)count;
  r.ids = arena_untaint_copy(a, ids.p, ids.n); /* each was just proved to be a message id */
  *ret = r;
  return true;
}

void hints_put_serialize(struct strbuf *b, const struct hints_serialize *r) {
  size_t at = begin(b, 's', r->stamp);
  put_uint(b, (uint32_t)r->count, 4);
  end(b, at);
}

bool hints_get_serialize(struct str in, struct hints_serialize *ret) {
  struct hints_serialize r;
  struct cursor c = open_record(in, 's', &r.stamp);
  r.count = (int32_t)get_uint(&c, 4);
  if (!closed_well(&c) || r.count < 0) return false;
  *ret = r;
  return true;
}

void hints_put_callout(struct strbuf *b, const struct hints_callout *r) {
  size_t at = begin(b, 'c', r->stamp);
  put_uint(b, (uint32_t)r->result, 1);
  put_uint(b, r->is_domain, 1);
  put_uint(b, (uint32_t)r->postmaster_result, 1);
  put_uint(b, (uint32_t)r->random_result, 1);
  put_uint(b, (uint64_t)r->postmaster_stamp, 8);
  put_uint(b, (uint64_t)r->random_stamp, 8);
  end(b, at);
}

bool hints_get_callout(struct str in, struct hints_callout *ret) {
  struct hints_callout r;
  struct cursor c = open_record(in, 'c', &r.stamp);
  r.result = (int)get_uint(&c, 1);
  r.is_domain = get_uint(&c, 1) != 0;
  r.postmaster_result = (int)get_uint(&c, 1);
  r.random_result = (int)get_uint(&c, 1);
  r.postmaster_stamp = (int64_t)get_uint(&c, 8);
  r.random_stamp = (int64_t)get_uint(&c, 8);
  if (!closed_well(&c) || r.result > 3 || r.postmaster_result > 3 || r.random_result > 3) return false;
  *ret = r;
  return true;
}

void hints_put_ratelimit(struct strbuf *b, const struct hints_ratelimit *r) {
  size_t at = begin(b, 'l', r->stamp);
  uint64_t rate;
  memcpy(&rate, &r->rate, sizeof rate);
  put_uint(b, (uint32_t)r->usec, 4);
  put_uint(b, rate, 8);
  put_uint(b, (uint64_t)r->bloom_epoch, 8);
  put_uint(b, r->bloom_bytes, 4);
  strbuf_add(b, (const char *)r->bloom, r->bloom_bytes);
  end(b, at);
}

bool hints_get_ratelimit(struct arena *a, struct str in, struct hints_ratelimit *ret) {
  struct hints_ratelimit r;
  struct cursor c = open_record(in, 'l', &r.stamp);
  r.usec = (int32_t)get_uint(&c, 4);
  uint64_t rate = get_uint(&c, 8);
  memcpy(&r.rate, &rate, sizeof r.rate);
  r.bloom_epoch = (int64_t)get_uint(&c, 8);
  r.bloom_bytes = (uint32_t)get_uint(&c, 4);
  struct str bloom = get_bytes(&c, r.bloom_bytes);
  /* a rate that is no number (or below zero) would let everyone through or nobody */
  if (!closed_well(&c) || !(r.rate >= 0 && r.rate < 1e18) || r.usec < 0 || r.usec >= 1000000) return false;
  r.bloom = (const uint8_t *)arena_strndup_t(a, bloom.n ? bloom.p : "", bloom.n, TAINTED);
  *ret = r;
  return true;
}

void hints_put_seen(struct strbuf *b, const struct hints_seen *r) { end(b, begin(b, 'n', r->stamp)); }

bool hints_get_seen(struct str in, struct hints_seen *ret) {
  struct hints_seen r;
  struct cursor c = open_record(in, 'n', &r.stamp);
  if (!closed_well(&c)) return false;
  *ret = r;
  return true;
}

void hints_put_ehlo(struct strbuf *b, const struct hints_ehlo *r) {
  size_t at = begin(b, 'e', r->stamp);
  put_uint(b, r->clear_features, 2);
  put_uint(b, r->crypted_features, 2);
  put_uint(b, r->clear_auths, 2);
  put_uint(b, r->crypted_auths, 2);
  put_uint(b, r->limit_mailmax, 4);
  put_uint(b, r->limit_rcptmax, 4);
  put_uint(b, r->limit_rcptdommax, 4);
  put_uint(b, r->fingerprint, 4);
  put_uint(b, r->fail_count, 2);
  put_uint(b, (uint64_t)r->suspend_until, 8);
  put_uint(b, r->flags, 2);
  put_uint(b, r->rtt_us, 4);
  end(b, at);
}

bool hints_get_ehlo(struct str in, struct hints_ehlo *ret) {
  struct hints_ehlo r;
  struct cursor c = open_record(in, 'e', &r.stamp);
  r.clear_features = (uint16_t)get_uint(&c, 2);
  r.crypted_features = (uint16_t)get_uint(&c, 2);
  r.clear_auths = (uint16_t)get_uint(&c, 2);
  r.crypted_auths = (uint16_t)get_uint(&c, 2);
  r.limit_mailmax = (uint32_t)get_uint(&c, 4);
  r.limit_rcptmax = (uint32_t)get_uint(&c, 4);
  r.limit_rcptdommax = (uint32_t)get_uint(&c, 4);
  r.fingerprint = (uint32_t)get_uint(&c, 4);
  r.fail_count = (uint16_t)get_uint(&c, 2);
  r.suspend_until = (int64_t)get_uint(&c, 8);
  r.flags = (uint16_t)get_uint(&c, 2);
  r.rtt_us = (uint32_t)get_uint(&c, 4);
  if (!closed_well(&c)) return false;
  *ret = r;
  return true;
}

void hints_put_tls(struct strbuf *b, const struct hints_tls *r) {
  size_t at = begin(b, 't', r->stamp);
  put_uint(b, r->is_verified, 1);
  put_uint(b, r->session.n, 4);
  strbuf_add(b, r->session.p, r->session.n);
  end(b, at);
}

bool hints_get_tls(struct str in, struct hints_tls *ret) {
  struct hints_tls r;
  struct cursor c = open_record(in, 't', &r.stamp);
  r.is_verified = get_uint(&c, 1) == 1;
  r.session = get_bytes(&c, get_uint(&c, 4));
  if (!closed_well(&c)) return false;
  *ret = r;
  return true;
}
