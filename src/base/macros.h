/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compiler attributes and the few macros every file may use.  Floor: base.
 *
 * INVARIANT(x) stays on in release builds: a broken invariant ends this process only (abort after one
 * line on stderr); the parent notices and logs.  It is for "cannot happen", never for bad input. */
#ifndef BASE_MACROS_H
#define BASE_MACROS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define NORETURN __attribute__((noreturn))
#define UNUSED __attribute__((unused))

/* Deliberately drop a MUST_CHECK result; the comment beside it says why. */
#define IGNORE_RESULT(x)                          \
  do {                                            \
    __typeof__(x) ignored_ UNUSED = (x);          \
  } while (0)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define INVARIANT(x) ((x) ? (void)0 : invariant_failed(#x, __FILE__, __LINE__))

/* Print "invariant failed: ..." on stderr and abort.  Never returns. */
NORETURN void invariant_failed(const char *text, const char *file, int line);

#endif
