/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Growable, arena-backed string builder.  Floor: base.
 *
 * cap is the size of the storage with the byte for the NUL; 0 means that p is the shared empty string, which is
 * never written.  Storage that was outgrown is left to the arena, so a source inside the buffer stays readable. */
#include "base/strbuf.h"

#include <stdio.h>

#include "base/arena_priv.h"

enum { FIRST_BYTES = 64 };

static char *empty_string(void) {
  static const char empty[1] = "";
  return (char *)(uintptr_t)empty;
}

struct strbuf strbuf_new(struct arena *a) {
  return (struct strbuf){.a = a, .p = empty_string()};
}

struct strbuf strbuf_new_t(struct arena *a, enum taint t, size_t reserve_bytes) {
  struct strbuf b = strbuf_new(a);
  b.taint = t;
  if (reserve_bytes > 0) {
    strbuf_reserve(&b, reserve_bytes);
  }
  return b;
}

/* Move to new storage of cap bytes, of the taint b->taint says. */
static void move_to(struct strbuf *b, size_t cap) {
  char *p = arena_alloc_raw(b->a, cap, b->taint);
  memcpy(p, b->p, b->n + 1);
  b->p = p;
  b->cap = cap;
}

static void add_taint(struct strbuf *b, enum taint t) {
  t = taint_of_both(b->taint, t);
  if (t == b->taint) {
    return;
  }
  b->taint = t;
  if (b->cap > 0) {
    move_to(b, b->cap);
  }
}

void strbuf_taint(struct strbuf *b) {
  add_taint(b, TAINTED);
}

void strbuf_reserve(struct strbuf *b, size_t more_bytes) {
  size_t need = size_add(size_add(b->n, more_bytes), 1);
  if (need <= b->cap) {
    return;
  }
  size_t cap = MAX(need, b->cap > 0 ? size_mul(b->cap, 2) : (size_t)FIRST_BYTES);
  if (b->cap > 0 && arena_extend(b->a, b->p, b->cap, cap)) {
    b->cap = cap;
  } else {
    move_to(b, cap);
  }
}

void strbuf_clear(struct strbuf *b) {
  strbuf_truncate(b, 0);
}

void strbuf_truncate(struct strbuf *b, size_t n) {
  INVARIANT(n <= b->n);
  b->n = n;
  if (b->cap > 0) {
    b->p[n] = 0;
  }
}

static void append(struct strbuf *b, const char *p, size_t n) {
  if (n == 0) {
    return;
  }
  if (n >= b->cap - b->n) {
    strbuf_reserve(b, n);
  }
  memmove(b->p + b->n, p, n);
  b->n += n;
  b->p[b->n] = 0;
}

void strbuf_add_t(struct strbuf *b, const char *p, size_t n, enum taint t) {
  add_taint(b, t);
  append(b, p, n);
}

void strbuf_add(struct strbuf *b, const char *p, size_t n) {
  if (b->taint != TAINTED && is_tainted(p)) {
    add_taint(b, taint_kind(p));
  }
  append(b, p, n);
}

void strbuf_adds(struct strbuf *b, const char *s) {
  strbuf_add(b, s, strlen(s));
}

void strbuf_addstr(struct strbuf *b, struct str s) {
  strbuf_add(b, s.p, s.n);
}

void strbuf_addc(struct strbuf *b, char c) {
  if (b->n + 1 >= b->cap) {
    strbuf_reserve(b, 1);
  }
  b->p[b->n++] = c;
  b->p[b->n] = 0;
}

void strbuf_add_utf8(struct strbuf *b, uint32_t c) {
  if (c < 0x80) {
    strbuf_addc(b, (char)c);
    return;
  }
  int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  strbuf_addc(b, (char)((0xff00 >> (more + 1) & 0xff) | c >> 6 * more));
  while (more-- > 0) strbuf_addc(b, (char)(0x80 | (c >> 6 * more & 0x3f)));
}

void strbuf_vaddf(struct strbuf *b, const char *fmt, va_list ap) {
  if (b->taint != TAINTED) {
    add_taint(b, format_taint(fmt, ap));
  }
  if (b->cap == 0) {
    strbuf_reserve(b, 1);
  }
  va_list again;
  va_copy(again, ap);
  size_t room = b->cap - b->n;
  int n = vsnprintf(b->p + b->n, room, fmt, ap);
  INVARIANT(n >= 0);
  if ((size_t)n >= room) {
    b->p[b->n] = 0;
    strbuf_reserve(b, (size_t)n);
    vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
  }
  va_end(again);
  b->n += (size_t)n;
}

void strbuf_addf(struct strbuf *b, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  strbuf_vaddf(b, fmt, ap);
  va_end(ap);
}

void strbuf_add_int(struct strbuf *b, int64_t v) {
  char digits[24];
  size_t at = sizeof digits;
  uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
  do {
    digits[--at] = (char)('0' + u % 10);
    u /= 10;
  } while (u > 0);
  if (v < 0) {
    digits[--at] = '-';
  }
  append(b, digits + at, sizeof digits - at);
}

void strbuf_addl(struct strbuf *b, ...) {
  va_list ap;
  va_start(ap, b);
  for (const char *s = va_arg(ap, const char *); s; s = va_arg(ap, const char *)) {
    strbuf_adds(b, s);
  }
  va_end(ap);
}
