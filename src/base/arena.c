/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory by lifetime: chunks and allocation.  Floor: base.
 *
 * Each arena has a chain of chunks for each kind of taint, newest first.  Clean chunks come from malloc.  Tainted chunks are cut
 * from the kind's part of one address range reserved when the first is needed, and go back to free lists by power-of-two size; pages
 * of the range become usable step by step.  The range is inherited over fork, copy on write.
 *
 * With EXIM_ARENA_DEBUG every allocation has a chunk of its own of exactly its size, and what lies around it is
 * poisoned for AddressSanitizer, so that overruns and use after release are seen in both twins. */
#include "base/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arena_priv.h"

#ifdef __has_feature
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

#ifdef EXIM_ARENA_DEBUG
enum { CHUNK_OF_ITS_OWN = 1, CLASS_MIN = 6 };
#else
enum { CHUNK_OF_ITS_OWN = 0, CLASS_MIN = 13 };
#endif

enum {
  ALIGNMENT = 16,
  CLASS_MAX = 36,
  CHUNK_FIRST_BYTES = 8 * 1024,
  CHUNK_GROW_MAX_BYTES = 256 * 1024,
  RETURN_PAGES_FROM_BYTES = 128 * 1024,
  USABLE_STEP_BYTES = 1024 * 1024
};

struct chunk {
  struct chunk *older;
  size_t size;  /* with this header */
  size_t used;  /* offset of the first free byte; valid once the chunk is no longer the newest */
  size_t class; /* tainted only: index of its free list */
} __attribute__((aligned(ALIGNMENT)));

struct twin {
  struct chunk *newest;
  size_t used; /* offset into newest */
  size_t size; /* of newest */
};

struct arena {
  struct twin twin[TAINT_KINDS];
  const char *name;
};

/* The tainted range.  One per process; see the head comment of arena.h. */
struct part {
  uintptr_t base;
  size_t size;
  size_t cut;    /* bytes handed out as chunks so far */
  size_t usable; /* bytes from base that are readable and writable */
  struct chunk *free_list[CLASS_MAX + 1];
};

static struct {
  uintptr_t base;
  size_t size;
  struct part part[TAINT_KINDS]; /* [UNTAINTED] is not used */
  bool wipes;                    /* arena_wipe_released() */
} range;

/* Each quoted kind has this part of the range, at its end; the rest is for the others. */
enum { QUOTED_SHARE = 32, QUOTED_KINDS = TAINT_KINDS - TAINTED_QUOTED };
static size_t quoted_size(void) { return range.size / QUOTED_SHARE; }
static size_t plain_size(void) { return range.size - QUOTED_KINDS * quoted_size(); }

NORETURN static void die(const char *what, const char *name) {
  char buf[256];
  int n = snprintf(buf, sizeof buf, "exim: %s (arena %s)\n", what, name);
  if (n > 0) {
    ssize_t ignored = write(STDERR_FILENO, buf, MIN((size_t)n, sizeof buf - 1));
    (void)ignored;
  }
  _exit(71); /* EX_OSERR */
}

size_t size_mul(size_t a, size_t b) {
  size_t r;
  if (__builtin_mul_overflow(a, b, &r)) {
    die("size overflow", "-");
  }
  return r;
}

size_t size_add(size_t a, size_t b) {
  size_t r;
  if (__builtin_add_overflow(a, b, &r)) {
    die("size overflow", "-");
  }
  return r;
}

bool is_tainted(const void *p) {
  return (uintptr_t)p - range.base < range.size;
}

enum taint taint_kind(const void *p) {
  size_t at = (uintptr_t)p - range.base;
  if (at >= range.size) return UNTAINTED;
  return at < plain_size() ? TAINTED : (enum taint)(TAINTED_QUOTED + (at - plain_size()) / quoted_size());
}

enum taint taint_of_both(enum taint a, enum taint b) {
  if (a == b || b == UNTAINTED) return a;
  return a == UNTAINTED ? b : TAINTED;
}

/* ----------------------------------------------------------------------------------------------------
 * Chunks */

static void range_divide(void) {
  range.part[TAINTED] = (struct part){.base = range.base, .size = plain_size()};
  for (size_t k = 0; k < QUOTED_KINDS; k++)
    range.part[TAINTED_QUOTED + k] = (struct part){.base = range.base + plain_size() + k * quoted_size(), .size = quoted_size()};
}

static void range_reserve(const char *name) {
  /* A limit on address space may forbid the largest size; the range need not be that large. */
  static const unsigned char shifts[] = {36, 33, 30, 27};
  for (size_t i = 0; i < ARRAY_SIZE(shifts); i++) {
    size_t size = (size_t)1 << shifts[i];
    void *p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p != MAP_FAILED) {
      range.base = (uintptr_t)p;
      range.size = size;
      range_divide();
      return;
    }
  }
  die("cannot reserve address space", name);
}

static size_t class_of(size_t bytes) {
  size_t class = CLASS_MIN;
  while (class < CLASS_MAX && ((size_t)1 << class) < bytes) {
    class ++;
  }
  return class;
}

static struct chunk *chunk_new_tainted(size_t bytes, enum taint t, const char *name) {
  if (range.size == 0) {
    range_reserve(name);
  }
  struct part *part = &range.part[t];
  size_t class = class_of(bytes);
  struct chunk *c = part->free_list[class];
  if (c) {
    part->free_list[class] = c->older;
  } else {
    size_t size = (size_t)1 << class;
    if (bytes > size || size > part->size - part->cut) {
      die("out of memory for tainted data", name);
    }
    if (part->cut + size > part->usable) {
      size_t want =
          MIN((part->cut + size + USABLE_STEP_BYTES - 1) & ~(size_t)(USABLE_STEP_BYTES - 1), part->size);
      if (mprotect((void *)(part->base + part->usable), want - part->usable, PROT_READ | PROT_WRITE) != 0) {
        die("out of memory", name);
      }
      part->usable = want;
    }
    c = (struct chunk *)(part->base + part->cut);
    part->cut += size;
    c->class = class;
  }
  c->size = CHUNK_OF_ITS_OWN ? bytes : (size_t)1 << class;
  return c;
}

static void chunk_drop_tainted(struct chunk *c, enum taint t) {
  size_t size = (size_t)1 << c->class;
  UNPOISON(c, size);
  if (size >= RETURN_PAGES_FROM_BYTES) {
    size_t class = c->class;
    (void)madvise(c, size, MADV_DONTNEED);
    c->class = class;
  }
  c->older = range.part[t].free_list[c->class];
  range.part[t].free_list[c->class] = c;
  POISON(c + 1, size - sizeof *c);
}

void arena_wipe_released(void) {
  range.wipes = true;
}

bool arena_is_wiping(void) {
  return range.wipes;
}

static void wipe(void *p, size_t n) {
  if (range.wipes) {
    UNPOISON(p, n);
    memset(p, ARENA_WIPED, n);
  }
}

static void chunk_drop(struct chunk *c, enum taint t) {
  wipe(c + 1, c->size - sizeof *c);
  if (t != UNTAINTED) {
    chunk_drop_tainted(c, t);
  } else {
    free(c);
  }
}

/* A new newest chunk with room for n bytes behind its header. */
static void twin_add_chunk(struct arena *a, size_t n, enum taint t) {
  struct twin *w = &a->twin[t];
  size_t bytes = size_add(n, sizeof(struct chunk) + ALIGNMENT);
  if (CHUNK_OF_ITS_OWN) {
    bytes -= ALIGNMENT;
  } else {
    size_t usual = w->newest ? MIN(w->size * 2, (size_t)CHUNK_GROW_MAX_BYTES) : (size_t)CHUNK_FIRST_BYTES;
    bytes = MAX(bytes, usual);
  }
  struct chunk *c = t != UNTAINTED ? chunk_new_tainted(bytes, t, a->name) : malloc(bytes);
  if (!c) {
    die("out of memory", a->name);
  }
  if (t == UNTAINTED) {
    c->size = bytes;
    c->class = 0;
  }
  if (w->newest) {
    w->newest->used = w->used;
  }
  c->older = w->newest;
  c->used = sizeof *c;
  w->newest = c;
  w->used = sizeof *c;
  w->size = c->size;
  POISON(c + 1, (t != UNTAINTED ? (size_t)1 << c->class : c->size) - sizeof *c);
}

/* ----------------------------------------------------------------------------------------------------
 * Arenas */

struct arena *arena_new(const char *name) {
  struct arena *a = calloc(1, sizeof *a);
  if (!a) {
    die("out of memory", name);
  }
  a->name = name;
  return a;
}

static void twin_release(struct twin *w, struct chunk *down_to, size_t used, enum taint t) {
  while (w->newest != down_to) {
    struct chunk *c = w->newest;
    INVARIANT(c != NULL); /* the mark belongs to another arena, or to a part already released */
    if (!down_to && !c->older && !CHUNK_OF_ITS_OWN) {
      /* Keep the oldest chunk: an arena that was used once will be used again. */
      used = sizeof *c;
      break;
    }
    w->newest = c->older;
    chunk_drop(c, t);
  }
  w->size = w->newest ? w->newest->size : 0;
  w->used = w->newest ? used : 0;
  if (w->newest) {
    wipe((char *)w->newest + w->used, w->size - w->used);
    POISON((char *)w->newest + w->used, w->size - w->used);
  }
}

void arena_free(struct arena *a) {
  if (!a) {
    return;
  }
  for (enum taint t = UNTAINTED; t < TAINT_KINDS; t++) {
    struct chunk *c = a->twin[t].newest;
    while (c) {
      struct chunk *older = c->older;
      chunk_drop(c, t);
      c = older;
    }
  }
  free(a);
}

struct arena_mark arena_mark(const struct arena *a) {
  struct arena_mark m;
  for (int t = 0; t < TAINT_KINDS; t++) {
    m.chunk[t] = a->twin[t].newest;
    m.used[t] = a->twin[t].used;
  }
  return m;
}

void arena_release(struct arena *a, struct arena_mark mark) {
  for (enum taint t = UNTAINTED; t < TAINT_KINDS; t++) {
    twin_release(&a->twin[t], mark.chunk[t], mark.used[t], t);
  }
}

size_t arena_used_bytes(const struct arena *a) {
  size_t total = 0;
  for (int t = 0; t < TAINT_KINDS; t++) {
    const struct chunk *newest = a->twin[t].newest;
    for (const struct chunk *c = newest; c; c = c->older) {
      total += (c == newest ? a->twin[t].used : c->used) - sizeof *c;
    }
  }
  return total;
}

/* ----------------------------------------------------------------------------------------------------
 * Allocation */

void *arena_alloc_raw(struct arena *a, size_t n, enum taint t) {
  struct twin *w = &a->twin[t];
  size_t at = (w->used + (ALIGNMENT - 1)) & ~(size_t)(ALIGNMENT - 1);
  n += n == 0;
  if (__builtin_expect(CHUNK_OF_ITS_OWN || at > w->size || n > w->size - at, 0)) {
    twin_add_chunk(a, n, t);
    at = w->used;
  }
  w->used = at + n;
  char *p = (char *)w->newest + at;
  UNPOISON(p, n);
  return p;
}

void *arena_alloc_t(struct arena *a, size_t n, enum taint t) {
  return memset(arena_alloc_raw(a, n, t), 0, n);
}

void *arena_alloc(struct arena *a, size_t n) {
  return arena_alloc_t(a, n, UNTAINTED);
}

bool arena_extend(struct arena *a, void *p, size_t old_bytes, size_t new_bytes) {
  struct twin *w = &a->twin[taint_kind(p)];
  if (CHUNK_OF_ITS_OWN || !w->newest || (char *)p + old_bytes != (char *)w->newest + w->used ||
      new_bytes < old_bytes) {
    return false;
  }
  if (new_bytes - old_bytes > w->size - w->used) {
    return false;
  }
  memset((char *)p + old_bytes, 0, new_bytes - old_bytes);
  w->used += new_bytes - old_bytes;
  return true;
}
