/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A constant database of any bytes: the first byte says how long the key before the file is. */
#include "formats/cdb_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_memory(void *context, uint64_t at, void *buf, size_t n) {
  memcpy(buf, (const uint8_t *)context + at, n);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  struct arena *a = arena_new("fuzz");
  size_t key_n = MIN((size_t)data[0], size - 1);
  struct str key = str_n((const char *)data + 1, key_n), found;
  struct cdb_source src = {size - 1 - key_n, read_memory, (void *)(uintptr_t)(data + 1 + key_n)};
  if (cdb_find(a, &src, key, &found) == CDB_FOUND) INVARIANT(found.n <= src.size);
  arena_free(a);
  return 0;
}
