/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Base 62 and message id syntax.  Floor: base.
 *
 * Ids reach us from the command line, from file names and from records written by others: nothing is assumed
 * about them.  Forms: tttttt-fffffffffff-rrrr (23 characters) and tttttt-ffffff-rr (16, before 4.97). */
#include "base/base62.h"

static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

void base62_encode(uint64_t v, int width, char *out) {
  while (width-- > 0) {
    out[width] = digits[v % 62];
    v /= 62;
  }
}

static int digit_value(char c) {
  if (ch_isdigit(c)) {
    return c - '0';
  }
  if (ch_isupper(c)) {
    return c - 'A' + 10;
  }
  return ch_islower(c) ? c - 'a' + 36 : -1;
}

bool base62_decode(struct str s, uint64_t *ret) {
  uint64_t v = 0;
  for (size_t i = 0; i < s.n; i++) {
    int d = digit_value(s.p[i]);
    if (d < 0 || __builtin_mul_overflow(v, 62u, &v) || __builtin_add_overflow(v, (uint64_t)d, &v)) {
      return false;
    }
  }
  if (s.n == 0) {
    return false;
  }
  *ret = v;
  return true;
}

/* Does s start with an id of this shape (x: base 62 digit), not followed by another digit? */
static bool has_shape(struct str s, const char *shape, size_t n) {
  if (s.n < n || (s.n > n && ch_isalnum(s.p[n]))) {
    return false;
  }
  for (size_t i = 0; i < n; i++) {
    if (shape[i] == '-' ? s.p[i] != '-' : !ch_isalnum(s.p[i])) {
      return false;
    }
  }
  return true;
}

size_t msgid_prefix_len(struct str s) {
  if (has_shape(s, "xxxxxx-xxxxxxxxxxx-xxxx", MSGID_LEN)) {
    return MSGID_LEN;
  }
  return has_shape(s, "xxxxxx-xxxxxx-xx", MSGID_LEN_OLD) ? MSGID_LEN_OLD : 0;
}

bool msgid_is_valid(struct str s) {
  return s.n > 0 && msgid_prefix_len(s) == s.n;
}
