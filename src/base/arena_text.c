/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text in arenas: copies and printf.  Floor: base.
 *
 * arena_printf() decides about taint before it formats, by walking the format with a copy of the arguments:
 * the arguments may be hostile text, the format is always a literal of ours. */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/arena_priv.h"
#include "base/str.h"

static char *copy_bytes(struct arena *a, const char *p, size_t n, enum taint t) {
  char *copy = arena_alloc_raw(a, size_add(n, 1), t);
  if (n > 0) {
    memcpy(copy, p, n);
  }
  copy[n] = 0;
  return copy;
}

char *arena_strdup(struct arena *a, const char *s) {
  return copy_bytes(a, s, strlen(s), taint_kind(s));
}

char *arena_strndup(struct arena *a, const char *p, size_t n) {
  return copy_bytes(a, p, n, taint_kind(p));
}

char *arena_strdup_t(struct arena *a, const char *s, enum taint t) {
  return copy_bytes(a, s, strlen(s), t);
}

char *arena_strndup_t(struct arena *a, const char *p, size_t n, enum taint t) {
  return copy_bytes(a, p, n, t);
}

char *arena_untaint_copy(struct arena *a, const char *p, size_t n) {
  return copy_bytes(a, p, n, UNTAINTED);
}

char *arena_vprintf_t(struct arena *a, enum taint t, const char *fmt, va_list ap) {
  char buf[512];
  va_list again;
  va_copy(again, ap);
  int n = vsnprintf(buf, sizeof buf, fmt, ap);
  INVARIANT(n >= 0);
  char *text;
  if ((size_t)n < sizeof buf) {
    text = copy_bytes(a, buf, (size_t)n, t);
  } else {
    text = arena_alloc_raw(a, (size_t)n + 1, t);
    vsnprintf(text, (size_t)n + 1, fmt, again);
  }
  va_end(again);
  return text;
}

char *arena_printf_t(struct arena *a, enum taint t, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  char *text = arena_vprintf_t(a, t, fmt, ap);
  va_end(ap);
  return text;
}

char *arena_vprintf(struct arena *a, const char *fmt, va_list ap) {
  return arena_vprintf_t(a, format_taint(fmt, ap), fmt, ap);
}

char *arena_printf(struct arena *a, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  char *text = arena_vprintf(a, fmt, ap);
  va_end(ap);
  return text;
}

/* ----------------------------------------------------------------------------------------------------
 * The walk over a format */

/* Width or precision: digits are skipped, a * takes an int. */
static const char *skip_number(const char *f, va_list *ap) {
  if (*f == '*') {
    (void)va_arg(*ap, int);
    return f + 1;
  }
  while (ch_isdigit(*f)) {
    f++;
  }
  return f;
}

/* Take one integer argument of the length given by the letters before the conversion. */
static void take_integer(va_list *ap, const char *length, size_t n) {
  if (n == 0 || length[0] == 'h') {
    (void)va_arg(*ap, int);
  } else if (n == 2) {
    (void)va_arg(*ap, long long);
  } else if (length[0] == 'z' || length[0] == 't') {
    (void)va_arg(*ap, size_t);
  } else if (length[0] == 'j') {
    (void)va_arg(*ap, intmax_t);
  } else {
    (void)va_arg(*ap, long);
  }
}

/* f is behind the %: take the arguments of this conversion; returns what follows it. */
static const char *take_conversion(const char *f, va_list *ap, enum taint *taint) {
  f += strspn(f, "-+ #0'");
  f = skip_number(f, ap);
  if (*f == '.') f = skip_number(f + 1, ap);
  const char *length = f;
  f += strspn(f, "hlzjt");
  size_t n = (size_t)(f - length);
  switch (*f) {
  case 's':
    INVARIANT(n == 0);
    *taint = taint_of_both(*taint, taint_kind(va_arg(*ap, const char *)));
    break;
  case 'd': case 'i': case 'u': case 'x': case 'X': case 'o': case 'c':
    take_integer(ap, length, n);
    break;
  case 'f': case 'F': case 'g': case 'G': case 'e': case 'E':
    (void)va_arg(*ap, double);
    break;
  case 'p':
    (void)va_arg(*ap, void *);
    break;
  case '%':
  case 'm':
    break;
  default:
    INVARIANT(!"unknown conversion in a format");
  }
  return f + 1;
}

enum taint format_taint(const char *fmt, va_list ap) {
  va_list copy;
  va_copy(copy, ap);
  enum taint taint = UNTAINTED;
  for (const char *f = strchr(fmt, '%'); f && taint != TAINTED; f = strchr(f, '%')) {
    f = take_conversion(f + 1, &copy, &taint);
  }
  va_end(copy);
  return taint;
}
