/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lines of an lsearch file of any bytes, found by a scan and by the index. */
#include "formats/lsearch_index.h"
#include "formats/lsearch_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The key of each line is found by both, in the same place, at that line or before it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena *a = arena_new("fuzz");
  struct str text = str_n((const char *)data, size);
  const struct lsearch_index *ix = lsearch_index_new(a, text);
  for (struct str left = text; left.n > 0;) {
    struct lsearch_hit scanned, indexed;
    struct str line = str_cut(&left, '\n'), rest;
    if (!lsearch_is_item(line)) continue;
    struct str key = lsearch_key(a, line, &rest);
    if (memchr(key.p, '\0', key.n)) continue; /* no key of a lookup can be that */
    const char *wanted = str_dup(a, key);
    INVARIANT(lsearch_scan(a, text, wanted, &scanned) && lsearch_index_find(ix, a, wanted, &indexed));
    INVARIANT(scanned.line.p == indexed.line.p && scanned.line.p <= line.p && scanned.following.n == indexed.following.n);
  }
  arena_free(a);
  return 0;
}
