/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding the line of a key in the text of an lsearch file.  Floor: formats (pure).
 *
 * Keys are compared without regard to case (ASCII); of several lines with one key the first counts.  The text may be anything; a key from
 * outside costs at most a scan of the text, also with the index. */
#ifndef FORMATS_LSEARCH_INDEX_H
#define FORMATS_LSEARCH_INDEX_H

#include "base/arena.h"
#include "base/str.h"

struct lsearch_hit {
  struct str line, rest, following; /* the line, what stands in it behind the key, and the text behind the line */
};

/* From the top.  a: for keys that have to be unquoted. */
bool lsearch_scan(struct arena *a, struct str text, const char *key, struct lsearch_hit *ret);

/* An index of all lines, in the arena, for many keys; it needs the text as long as it lives.  NULL when the text is too large for one. */
struct lsearch_index;
const struct lsearch_index *lsearch_index_new(struct arena *a, struct str text);
bool lsearch_index_find(const struct lsearch_index *ix, struct arena *a, const char *key, struct lsearch_hit *ret);

#endif
