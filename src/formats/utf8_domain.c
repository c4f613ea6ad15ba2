/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Internationalised addresses in ASCII.  Floor: formats; pure, input hostile: at most MAX_POINTS characters, every sum checked.
 * Domains go through libidn2; its Punycode is not exported, so that the coder for local parts stands here (RFC 3492 section 6).  Results are in the
 * caller's arena. */
#include "formats/utf8_domain.h"

#include <idn2.h>

#include "base/strbuf.h"

enum { BASE = 36, TMIN = 1, TMAX = 26, SKEW = 38, DAMP = 700, FIRST_BIAS = 72, FIRST_N = 128, MAX_POINTS = 1000 };

bool utf8_is_ascii(struct str s) {
  for (size_t i = 0; i < s.n; i++)
    if ((unsigned char)s.p[i] >= 128) return false;
  return true;
}

/* ---- UTF-8 ---- */

static size_t take_points(struct str s, uint32_t *out) {
  size_t n = 0;
  while (s.n > 0) {
    uint32_t c = 0;
    size_t len = n < MAX_POINTS ? utf8_next(s, &c) : 0;
    if (len == 0 || c == 0) return 0;
    s = str_n(s.p + len, s.n - len);
    out[n++] = c;
  }
  return n;
}

/* ---- Punycode ---- */

static uint32_t adapt(uint32_t delta, uint32_t points, bool first) {
  uint32_t k = 0;
  delta = first ? delta / DAMP : delta / 2;
  delta += delta / points;
  for (; delta > (BASE - TMIN) * TMAX / 2; k += BASE) delta /= BASE - TMIN;
  return k + (BASE - TMIN + 1) * delta / (delta + SKEW);
}

static uint32_t threshold(uint32_t k, uint32_t bias) { return k <= bias ? TMIN : k >= bias + TMAX ? TMAX : k - bias; }

static char digit(uint32_t d) { return (char)(d < 26 ? 'a' + d : '0' + (d - 26)); }

static void put_variable(struct strbuf *b, uint32_t q, uint32_t bias) {
  for (uint32_t k = BASE;; k += BASE) {
    uint32_t t = threshold(k, bias);
    if (q < t) break;
    strbuf_addc(b, digit(t + (q - t) % (BASE - t)));
    q = (q - t) / (BASE - t);
  }
  strbuf_addc(b, digit(q));
}

/* MAX_POINTS characters below 0x110000 keep every number under 2^31. */
static void encode(struct strbuf *b, const uint32_t *in, size_t n) {
  uint32_t code = FIRST_N, delta = 0, bias = FIRST_BIAS, basic = 0;
  for (size_t i = 0; i < n; i++)
    if (in[i] < 128) {
      strbuf_addc(b, (char)in[i]);
      basic++;
    }
  uint32_t done = basic;
  if (basic > 0) strbuf_addc(b, '-');
  while (done < n) {
    uint32_t least = UINT32_MAX;
    for (size_t i = 0; i < n; i++)
      if (in[i] >= code && in[i] < least) least = in[i];
    delta += (least - code) * (done + 1);
    code = least;
    for (size_t i = 0; i < n; i++) {
      if (in[i] < code) delta++;
      if (in[i] != code) continue;
      put_variable(b, delta, bias);
      bias = adapt(delta, done + 1, done == basic);
      delta = 0;
      done++;
    }
    delta++;
    code++;
  }
}

static int digit_value(char c) { return ch_isdigit(c) ? c - '0' + 26 : ch_isalpha(c) ? ch_lower(c) - 'a' : -1; }

/* The generalised integer at the start of *s, added to *i.  False: malformed or too large. */
static bool take_variable(struct str *s, uint32_t bias, uint32_t *i) {
  uint64_t w = 1, v = *i;
  for (uint32_t k = BASE;; k += BASE) {
    int d = s->n ? digit_value(*s->p) : -1;
    if (d < 0) return false;
    *s = str_n(s->p + 1, s->n - 1);
    v += (uint64_t)d * w;
    if (v > INT32_MAX) return false;
    uint32_t t = threshold(k, bias);
    if ((uint32_t)d < t) break;
    w *= BASE - t;
    if (w > INT32_MAX) return false;
  }
  *i = (uint32_t)v;
  return true;
}

/* Number of characters, 0 when malformed. */
static size_t decode(struct str s, uint32_t *out) {
  uint32_t code = FIRST_N, i = 0, bias = FIRST_BIAS;
  size_t n = 0, basic = s.n;
  while (basic > 0 && s.p[basic - 1] != '-') basic--;
  if (basic > MAX_POINTS) return 0;
  if (basic > 0)
    for (; n < basic - 1; n++) out[n] = (unsigned char)s.p[n];
  s = str_n(s.p + basic, s.n - basic);
  while (s.n > 0) {
    uint32_t old = i;
    if (n >= MAX_POINTS || !take_variable(&s, bias, &i)) return 0;
    bias = adapt(i - old, (uint32_t)n + 1, old == 0);
    code += i / ((uint32_t)n + 1);
    i %= (uint32_t)n + 1;
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return 0;
    memmove(out + i + 1, out + i, (n - i) * sizeof(*out));
    out[i++] = code;
    n++;
  }
  return n;
}

/* ---- addresses ---- */

static bool has_prefix(struct str s) { return s.n >= 4 && strncmpic(s.p, "xn--", 4) == 0; }

const char *utf8_localpart_to_alabel(struct arena *a, struct str local, const char **ret_error) {
  if (utf8_is_ascii(local)) return str_dup(a, local);
  uint32_t points[MAX_POINTS];
  size_t n = take_points(local, points);
  if (n == 0) {
    *ret_error = "malformed UTF-8, or too long";
    return NULL;
  }
  struct strbuf b = strbuf_new_t(a, is_tainted(local.p) ? TAINTED : UNTAINTED, 64);
  strbuf_adds(&b, "xn--");
  encode(&b, points, n);
  return b.p;
}

const char *utf8_localpart_from_alabel(struct arena *a, struct str local, const char **ret_error) {
  uint32_t points[MAX_POINTS + 1];
  if (!has_prefix(local) || !utf8_is_ascii(local)) {
    *ret_error = "bad alabel prefix";
    return NULL;
  }
  size_t n = decode(str_n(local.p + 4, local.n - 4), points);
  if (n == 0) {
    *ret_error = "malformed punycode";
    return NULL;
  }
  struct strbuf b = strbuf_new_t(a, is_tainted(local.p) ? TAINTED : UNTAINTED, 64);
  for (size_t i = 0; i < n; i++) strbuf_add_utf8(&b, points[i]);
  return b.p;
}

const char *utf8_domain_to_alabel(struct arena *a, const char *domain, const char **ret_error) {
  char *r = NULL;
  if (utf8_is_ascii(str_c(domain))) return domain;
  int rc = idn2_to_ascii_8z(domain, &r, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
  if (rc != IDN2_OK) {
    *ret_error = idn2_strerror(rc);
    return NULL;
  }
  const char *copy = arena_strndup_t(a, r, strlen(r), is_tainted(domain) ? TAINTED : UNTAINTED);
  idn2_free(r);
  return copy;
}

const char *utf8_address_to_alabel(struct arena *a, const char *address, const char **ret_error) {
  if (utf8_is_ascii(str_c(address))) return address;
  const char *at = strrchr(address, '@');
  struct str local = at ? str_n(address, (size_t)(at - address)) : str_c(address);
  const char *l = utf8_localpart_to_alabel(a, local, ret_error);
  if (!l || !at) return l;
  const char *d = utf8_domain_to_alabel(a, at + 1, ret_error);
  return d ? arena_printf(a, "%s@%s", l, d) : NULL;
}
