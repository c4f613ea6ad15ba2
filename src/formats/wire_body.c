/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Line ends of bodies in wire form (wire_body.h).  Floor: formats. */
#include "formats/wire_body.h"

size_t wire_clean_prefix(struct str s) {
  size_t at = 0;
  while (at < s.n) {
    const char *from = s.p + at, *nl = memchr(from, '\n', s.n - at);
    size_t line = nl ? (size_t)(nl - from) : s.n - at;
    const char *cr = memchr(from, '\r', line);
    if (!nl) return cr ? (size_t)(cr - s.p) : s.n;
    if (!cr) return at + line;
    if (cr + 1 != nl) return (size_t)(cr - s.p);
    at += line + 1;
  }
  return at;
}

size_t wire_to_lf(char *p, size_t n, bool *ret_held_cr) {
  size_t from = 0, to = 0;
  *ret_held_cr = false;
  while (from < n) {
    const char *cr = memchr(p + from, '\r', n - from);
    size_t text = cr ? (size_t)(cr - (p + from)) : n - from;
    if (to != from) memmove(p + to, p + from, text);
    to += text;
    from += text;
    if (!cr) break;
    if (from + 1 == n) {
      *ret_held_cr = true;
      break;
    }
    if (p[from + 1] != '\n') p[to++] = '\r';
    from++;
  }
  return to;
}
