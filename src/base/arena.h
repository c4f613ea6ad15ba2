/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory by lifetime.  Floor: base.
 *
 * An arena hands out zeroed memory that lives until the arena is freed or released back to a mark.
 * Allocation never returns NULL: running out of memory ends the process (exit 71) with one line on stderr.
 *
 * Taint.  Each arena has a tainted twin.  All tainted memory of the process lies in one reserved address
 * range, so that is_tainted(p) is one subtraction and compare.  Text that came from the network, a message,
 * the command line, DNS or a lookup keyed by such text is copied into the tainted twin at the edge where
 * it enters; strings built from it (strbuf, arena_printf, arena_concat ...) are tainted as well.
 * Removing taint is only possible through arena_untaint_copy(), called by the approved de-tainters.
 * Tainted text that has been quoted for queries of one language has a kind of its own, TAINTED_QUOTED and above, and memory in a part
 * of the range of its own: the kind goes with the text into copies, and is lost (TAINTED remains) when tainted text of another
 * kind is added.  What the kinds stand for is not known here.
 *
 * Lifetimes, longest first: cfg > proc > conn > msg > tmp.  A struct may point only to its own arena or to a
 * longer-living one.  tmp arenas are used with arena_mark/arena_release.
 * When EXIM_ARENA_DEBUG is compiled in (sanitizer builds) every allocation has a chunk of its own with poisoned
 * surroundings, so that ASan sees each overrun and each use after release. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdarg.h>

#include "base/macros.h"

enum taint { UNTAINTED = 0, TAINTED = 1, TAINTED_QUOTED = 2, TAINT_KINDS = 8 };

struct arena;

/* Position in an arena to which it can be released; plain value, copied freely. */
struct arena_mark {
  void *chunk[TAINT_KINDS];
  size_t used[TAINT_KINDS];
};

/* A new, empty arena.  name is for diagnostics and must be a literal. */
struct arena *arena_new(const char *name);
/* Free the arena and all it handed out.  NULL is allowed. */
void arena_free(struct arena *a);

struct arena_mark arena_mark(const struct arena *a);
/* Give back everything handed out since the mark (both twins). */
void arena_release(struct arena *a, struct arena_mark mark);
/* From now on memory that is given back is overwritten with ARENA_WIPED: what still looks at it goes wrong where it is, not later
 * (option debug_store), and who gets into this process later finds nothing of what it did before. */
enum { ARENA_WIPED = 0xf0 };
void arena_wipe_released(void);
bool arena_is_wiping(void);
/* Bytes handed out and still live, both twins: for memory tests. */
size_t arena_used_bytes(const struct arena *a);

/* n zeroed bytes, aligned for any type. */
void *arena_alloc(struct arena *a, size_t n) __attribute__((malloc, returns_nonnull));
void *arena_alloc_t(struct arena *a, size_t n, enum taint t) __attribute__((malloc, returns_nonnull));
#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_NEW_N(a, type, n) ((type *)arena_alloc((a), size_mul(sizeof(type), (n))))

/* Try to grow the newest allocation p (old bytes) of the arena to new bytes in place; true when done. */
bool arena_extend(struct arena *a, void *p, size_t old_bytes, size_t new_bytes);

/* Copies; the copy is tainted when the source is. */
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *p, size_t n);
/* Copies with the taint stated (used at the edges where foreign bytes enter). */
char *arena_strdup_t(struct arena *a, const char *s, enum taint t);
char *arena_strndup_t(struct arena *a, const char *p, size_t n, enum taint t);
/* A clean copy of possibly tainted text.  Only for approved de-tainters: the caller has proved that the
 * text equals trusted data or contains nothing harmful, and says so in a comment. */
char *arena_untaint_copy(struct arena *a, const char *p, size_t n);

/* printf into the arena.  Tainted when t says so or (t UNTAINTED) never: state it. */
char *arena_printf_t(struct arena *a, enum taint t, const char *fmt, ...) PRINTF(3, 4);
char *arena_vprintf_t(struct arena *a, enum taint t, const char *fmt, va_list ap) PRINTF(3, 0);
/* printf whose result is tainted when any %s argument pointer is: scans the format itself. */
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF(2, 3);
char *arena_vprintf(struct arena *a, const char *fmt, va_list ap) PRINTF(2, 0);

/* True when p points into the tainted range. */
bool is_tainted(const void *p);

/* The kind of the text at p; and of text made of text of two kinds. */
enum taint taint_kind(const void *p);
enum taint taint_of_both(enum taint a, enum taint b);

/* a*b and a+b for sizes; overflow ends the process. */
size_t size_mul(size_t a, size_t b);
size_t size_add(size_t a, size_t b);

#endif
