/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared between arena*.c and strbuf.c.  Floor: base. */
#ifndef BASE_ARENA_PRIV_H
#define BASE_ARENA_PRIV_H

#include <stdarg.h>

#include "base/arena.h"

/* Like arena_alloc_t() but the bytes are not zeroed. */
void *arena_alloc_raw(struct arena *a, size_t n, enum taint t) __attribute__((malloc, returns_nonnull));
/* The taint of the arguments of %s conversions of fmt together.  ap is left as it was.  Knows the conversions
 * d i u x X o c p s f g e m and % with flags, width, precision and length; another one breaks an invariant. */
enum taint format_taint(const char *fmt, va_list ap) PRINTF(1, 0);

#endif
