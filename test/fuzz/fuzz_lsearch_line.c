/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines of an lsearch file of any bytes. */
#include "formats/lsearch_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena *a = arena_new("fuzz");
  struct str all = str_n((const char *)data, size), rest;
  struct str line = str_cut(&all, '\n');
  struct str key = lsearch_key(a, line, &rest);
  INVARIANT(key.n <= line.n && rest.n <= line.n);
  INVARIANT(strlen(lsearch_data(a, rest, all, line, false)) <= size + 1);
  INVARIANT(strlen(lsearch_data(a, rest, all, line, true)) <= size + 1);
  arena_free(a);
  return 0;
}
