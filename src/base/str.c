/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Slices, comparisons and number parsing.  Floor: base.
 *
 * Input may be anything; a slice is never read beyond its length and need not end in a NUL. */
#include "base/str.h"

#include "base/arena.h"

int ch_hexval(int c) {
  if (ch_isdigit(c)) {
    return c - '0';
  }
  c = ch_lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Fold-compare n bytes. */
static int compare_fold(const char *a, const char *b, size_t n) {
  for (size_t i = 0; i < n; i++) {
    int d = ch_lower((unsigned char)a[i]) - ch_lower((unsigned char)b[i]);
    if (d != 0) {
      return d;
    }
  }
  return 0;
}

bool str_eq(struct str a, struct str b) {
  return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool str_eqic(struct str a, struct str b) {
  return a.n == b.n && compare_fold(a.p, b.p, a.n) == 0;
}

bool bytes_eq_secret(const void *a, const void *b, size_t n) {
  const unsigned char *p = a, *q = b;
  unsigned diff = 0;
  for (size_t i = 0; i < n; i++) diff |= p[i] ^ q[i];
  return diff == 0;
}

int str_cmpic(struct str a, struct str b) {
  int d = compare_fold(a.p, b.p, MIN(a.n, b.n));
  return d != 0 ? d : (a.n > b.n) - (a.n < b.n);
}

/* Most such comparisons fail at the first byte: b is not measured before. */
bool str_eq_c(struct str a, const char *b) {
  if (!b) {
    return a.n == 0;
  }
  for (size_t i = 0; i < a.n; i++) {
    if (a.p[i] != b[i] || b[i] == 0) {
      return false;
    }
  }
  return b[a.n] == 0;
}

bool str_eqic_c(struct str a, const char *b) {
  if (!b) {
    return a.n == 0;
  }
  for (size_t i = 0; i < a.n; i++) {
    if (ch_lower(a.p[i]) != ch_lower(b[i]) || b[i] == 0) {
      return false;
    }
  }
  return b[a.n] == 0;
}

size_t utf8_next(struct str s, uint32_t *ret) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (s.n == 0) return 0;
  unsigned char c = (unsigned char)*s.p;
  size_t len = c < 0x80 ? 1 : (c & 0xe0) == 0xc0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : (c & 0xf8) == 0xf0 ? 4 : 0;
  if (len == 0 || len > s.n) return 0;
  uint32_t v = len == 1 ? c : c & (0x7fu >> len);
  for (size_t i = 1; i < len; i++) {
    unsigned char d = (unsigned char)s.p[i];
    if ((d & 0xc0) != 0x80) return 0;
    v = v << 6 | (d & 0x3f);
  }
  if (v < least[len] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff)) return 0;
  *ret = v;
  return len;
}

bool text_means_no(const char *s) {
  return !*s || strcmp(s, "0") == 0 || strcmpic(s, "no") == 0 || strcmpic(s, "false") == 0;
}

bool str_starts(struct str s, struct str prefix) {
  return s.n >= prefix.n && str_eq(str_n(s.p, prefix.n), prefix);
}

bool str_startsic(struct str s, struct str prefix) {
  return s.n >= prefix.n && str_eqic(str_n(s.p, prefix.n), prefix);
}

bool str_ends(struct str s, struct str suffix) {
  return s.n >= suffix.n && (suffix.n == 0 || str_eq(str_n(s.p + (s.n - suffix.n), suffix.n), suffix));
}

bool str_endsic(struct str s, struct str suffix) {
  return s.n >= suffix.n && (suffix.n == 0 || str_eqic(str_n(s.p + (s.n - suffix.n), suffix.n), suffix));
}

int strcmpic(const char *a, const char *b) {
  return strncmpic(a, b, SIZE_MAX);
}

int strncmpic(const char *a, const char *b, size_t n) {
  for (size_t i = 0; i < n; i++) {
    int d = ch_lower((unsigned char)a[i]) - ch_lower((unsigned char)b[i]);
    if (d != 0 || a[i] == 0) {
      return d;
    }
  }
  return 0;
}

const char *strstric(const char *hay, const char *needle) {
  size_t n = strlen(needle);
  for (;; hay++) {
    if (strncmpic(hay, needle, n) == 0) {
      return hay;
    }
    if (*hay == 0) {
      return NULL;
    }
  }
}

size_t str_index(struct str s, char c) {
  const char *at = s.n > 0 ? memchr(s.p, c, s.n) : NULL;
  return at ? (size_t)(at - s.p) : s.n;
}

struct str str_ltrim(struct str s) {
  while (s.n > 0 && ch_isspace(s.p[0])) {
    s.p++;
    s.n--;
  }
  return s;
}

struct str str_rtrim(struct str s) {
  while (s.n > 0 && ch_isspace(s.p[s.n - 1])) {
    s.n--;
  }
  return s;
}

struct str str_trim(struct str s) {
  return str_ltrim(str_rtrim(s));
}

struct str str_cut(struct str *s, char sep) {
  size_t at = str_index(*s, sep);
  struct str before = str_n(s->p, at);
  size_t skip = at < s->n ? at + 1 : at;
  if (skip > 0) {
    *s = str_n(s->p + skip, s->n - skip);
  }
  return before;
}

struct str str_word(struct str *s) {
  struct str rest = str_ltrim(*s);
  struct str word = rest;
  word.n = 0;
  while (word.n < rest.n && !ch_isspace(rest.p[word.n])) {
    word.n++;
  }
  if (word.n > 0) {
    rest = str_n(rest.p + word.n, rest.n - word.n);
  }
  *s = rest;
  return word;
}

char *str_dup(struct arena *a, struct str s) {
  return arena_strndup(a, s.p, s.n);
}

char *str_dup_lower(struct arena *a, struct str s) {
  char *copy = arena_strndup(a, s.p, s.n);
  for (size_t i = 0; i < s.n; i++) {
    copy[i] = (char)ch_lower(copy[i]);
  }
  return copy;
}

/* ----------------------------------------------------------------------------------------------------
 * Numbers */

/* All of s as digits of a base up to 16. */
static bool parse_digits(struct str s, unsigned base, uint64_t *ret) {
  uint64_t v = 0;
  if (s.n == 0) {
    return false;
  }
  for (size_t i = 0; i < s.n; i++) {
    int d = ch_hexval((unsigned char)s.p[i]);
    if (d < 0 || (unsigned)d >= base || __builtin_mul_overflow(v, base, &v) ||
        __builtin_add_overflow(v, (uint64_t)d, &v)) {
      return false;
    }
  }
  *ret = v;
  return true;
}

/* Take a sign; true when it is a minus. */
static bool take_sign(struct str *s) {
  if (s->n == 0 || (s->p[0] != '-' && s->p[0] != '+')) {
    return false;
  }
  bool minus = s->p[0] == '-';
  *s = str_n(s->p + 1, s->n - 1);
  return minus;
}

static bool signed_value(uint64_t magnitude, bool minus, int64_t *ret) {
  if (magnitude > (uint64_t)INT64_MAX + (minus ? 1 : 0)) {
    return false;
  }
  *ret = minus ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
  return true;
}

bool str_parse_u64(struct str s, uint64_t *ret) {
  return parse_digits(s, 10, ret);
}

bool str_parse_i64(struct str s, int64_t *ret) {
  uint64_t magnitude;
  bool minus = take_sign(&s);
  return parse_digits(s, 10, &magnitude) && signed_value(magnitude, minus, ret);
}

bool str_parse_int(struct str s, int *ret) {
  int64_t v;
  if (!str_parse_i64(s, &v) || v < INT32_MIN || v > INT32_MAX) {
    return false;
  }
  *ret = (int)v;
  return true;
}

bool str_parse_hex(struct str s, uint64_t *ret) {
  return parse_digits(s, 16, ret);
}
