/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Growable vector of pointers.  Floor: base.  Storage belongs to the arena; vec_sort() takes scratch space from it
 * and gives it back. */
#include "base/vec.h"

#include <string.h>

struct vec vec_new(struct arena *a) {
  return (struct vec){.a = a};
}

void vec_push(struct vec *v, void *item) {
  if (v->n == v->cap) {
    size_t cap = v->cap ? size_mul(v->cap, 2) : 8;
    if (v->v && arena_extend(v->a, v->v, v->cap * sizeof(void *), size_mul(cap, sizeof(void *)))) {
      v->cap = cap;
    } else {
      void **grown = ARENA_NEW_N(v->a, void *, cap);
      if (v->n > 0) {
        memcpy(grown, v->v, v->n * sizeof(void *));
      }
      v->v = grown;
      v->cap = cap;
    }
  }
  v->v[v->n++] = item;
}

/* Merge sort of v[0..n-1] with scratch of the same size. */
static void sort_range(void **v, void **scratch, size_t n, int (*cmp)(const void *a, const void *b)) {
  if (n < 2) {
    return;
  }
  size_t half = n / 2;
  sort_range(v, scratch, half, cmp);
  sort_range(v + half, scratch, n - half, cmp);
  if (cmp(v[half - 1], v[half]) <= 0) {
    return;
  }
  memcpy(scratch, v, half * sizeof(void *));
  size_t left = 0, right = half, out = 0;
  while (left < half && right < n) {
    v[out++] = cmp(scratch[left], v[right]) <= 0 ? scratch[left++] : v[right++];
  }
  memcpy(v + out, scratch + left, (half - left) * sizeof(void *));
}

void vec_sort(struct vec *v, int (*cmp)(const void *a, const void *b)) {
  if (v->n < 2) {
    return;
  }
  struct arena_mark mark = arena_mark(v->a);
  sort_range(v->v, ARENA_NEW_N(v->a, void *, v->n / 2), v->n, cmp);
  arena_release(v->a, mark);
}
