/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Byte layout of hints records.  Floor: formats (pure; a record read back is hostile: every size is checked).
 *
 * All records start with a 16-byte head (magic, kind, version, length, time of writing: doc/hints-formats.txt); integers are little-endian.
 * Decoders return false for anything that does not fit; the caller treats such a record as absent. */
#ifndef FORMATS_HINTS_RECORD_H
#define FORMATS_HINTS_RECORD_H

#include "base/arena.h"
#include "base/strbuf.h"

struct hints_retry {
  int64_t stamp;          /* time of writing */
  int64_t first_failed, last_try, next_try;
  bool expired;
  int basic_errno, more_errno;
  const char *text;       /* at most 512 bytes kept */
};
struct hints_wait {
  int64_t stamp;
  int sequence, count;    /* count ids, at most 50 per record */
  const char *ids;        /* count*23 characters */
};
struct hints_serialize {
  int64_t stamp;
  int count;
};
struct hints_callout {
  int64_t stamp;
  int result;                             /* 0 unknown 1 accept 2 reject 3 reject-mail-from-null */
  bool is_domain;
  int postmaster_result, random_result;
  int64_t postmaster_stamp, random_stamp;
};
struct hints_ratelimit {
  int64_t stamp;
  int usec;
  double rate;
  int64_t bloom_epoch;
  const uint8_t *bloom;
  uint32_t bloom_bytes;
};
struct hints_seen {
  int64_t stamp;
};
/* EHLO cache (pipe_connect): see early-pipelining notes §3.1, §3.4. */
struct hints_ehlo {
  int64_t stamp;
  uint16_t clear_features, clear_auths, crypted_features, crypted_auths;
  uint32_t limit_mailmax, limit_rcptmax, limit_rcptdommax;
  uint32_t fingerprint;
  uint16_t fail_count;
  int64_t suspend_until;
  uint16_t flags;
  uint32_t rtt_us;         /* handshake round trip when it was written, 0 unknown */
};
/* A TLS session for resumption (client). */
struct hints_tls {
  int64_t stamp;
  bool is_verified;       /* the certificate of the full handshake was */
  struct str session;     /* bytes of the library; points into the record when read */
};
enum { HINTS_EHLO_USED_TLS = 1, HINTS_EHLO_CONFIRMED_CHUNKING = 2 };

void hints_put_retry(struct strbuf *out, const struct hints_retry *r);
void hints_put_wait(struct strbuf *out, const struct hints_wait *r);
void hints_put_serialize(struct strbuf *out, const struct hints_serialize *r);
void hints_put_callout(struct strbuf *out, const struct hints_callout *r);
void hints_put_ratelimit(struct strbuf *out, const struct hints_ratelimit *r);
void hints_put_seen(struct strbuf *out, const struct hints_seen *r);
void hints_put_ehlo(struct strbuf *out, const struct hints_ehlo *r);
void hints_put_tls(struct strbuf *out, const struct hints_tls *r);
MUST_CHECK bool hints_get_retry(struct arena *a, struct str in, struct hints_retry *ret);
MUST_CHECK bool hints_get_wait(struct arena *a, struct str in, struct hints_wait *ret);
MUST_CHECK bool hints_get_serialize(struct str in, struct hints_serialize *ret);
MUST_CHECK bool hints_get_callout(struct str in, struct hints_callout *ret);
MUST_CHECK bool hints_get_ratelimit(struct arena *a, struct str in, struct hints_ratelimit *ret);
MUST_CHECK bool hints_get_seen(struct str in, struct hints_seen *ret);
MUST_CHECK bool hints_get_ehlo(struct str in, struct hints_ehlo *ret);
MUST_CHECK bool hints_get_tls(struct str in, struct hints_tls *ret);
/* Time stamp common to all kinds. */
MUST_CHECK bool hints_get_stamp(struct str in, int64_t *ret);

#endif
