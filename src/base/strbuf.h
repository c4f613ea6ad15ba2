/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Growable, arena-backed string builder.  Floor: base.
 *
 * Always NUL-terminated (b->p is "" before the first byte).  Taint: the buffer is clean until tainted bytes are added; then it moves
 * to the twin of their kind and stays there, or moves to TAINTED for bytes of another kind.  The storage belongs to the arena. */
#ifndef BASE_STRBUF_H
#define BASE_STRBUF_H

#include <stdarg.h>

#include "base/arena.h"
#include "base/str.h"

struct strbuf {
  struct arena *a;
  char *p;
  size_t n;
  size_t cap;
  enum taint taint;
};

struct strbuf strbuf_new(struct arena *a);
struct strbuf strbuf_new_t(struct arena *a, enum taint t, size_t reserve_bytes);
/* Empty it, keep the storage and the taint. */
void strbuf_clear(struct strbuf *b);
void strbuf_truncate(struct strbuf *b, size_t n);
void strbuf_reserve(struct strbuf *b, size_t more_bytes);

/* Append bytes; tainted source taints the buffer. */
void strbuf_add(struct strbuf *b, const char *p, size_t n);
/* Append bytes whose taint is stated (for bytes in stack or static buffers that came from outside). */
void strbuf_add_t(struct strbuf *b, const char *p, size_t n, enum taint t);
void strbuf_adds(struct strbuf *b, const char *s);
void strbuf_addstr(struct strbuf *b, struct str s);
void strbuf_addc(struct strbuf *b, char c);
/* A character of Unicode, as UTF-8. */
void strbuf_add_utf8(struct strbuf *b, uint32_t c);
/* printf; tainted when a %s argument is tainted. */
void strbuf_addf(struct strbuf *b, const char *fmt, ...) PRINTF(2, 3);
void strbuf_vaddf(struct strbuf *b, const char *fmt, va_list ap) PRINTF(2, 0);
/* A number in decimal digits. */
void strbuf_add_int(struct strbuf *b, int64_t v);
/* Several C strings, ended by NULL. */
void strbuf_addl(struct strbuf *b, ...) __attribute__((sentinel));
/* Mark as tainted from now on. */
void strbuf_taint(struct strbuf *b);
static inline struct str strbuf_str(const struct strbuf *b) { return (struct str){b->p, b->n}; }

#endif
