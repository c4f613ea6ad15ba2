/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Growable vector of pointers, arena-backed.  Floor: base.  Old storage is left to the arena. */
#ifndef BASE_VEC_H
#define BASE_VEC_H

#include "base/arena.h"

struct vec {
  struct arena *a;
  void **v;
  size_t n;
  size_t cap;
};

struct vec vec_new(struct arena *a);
void vec_push(struct vec *v, void *item);
/* Sort with a comparison of two items (not of two addresses of items); stable. */
void vec_sort(struct vec *v, int (*cmp)(const void *a, const void *b));

#endif
