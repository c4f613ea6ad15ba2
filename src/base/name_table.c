/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables of rows sorted by name.  Floor: base.
 *
 * Such a search stands at the start of each item, operator, condition and variable of an expansion: names differ in their first bytes,
 * so that comparing byte by byte is quicker than measuring the row's name and calling memcmp(). */
#include "base/name_table.h"

static int compare(struct str name, const char *row_name) {
  for (size_t i = 0; i < name.n; i++) {
    if (row_name[i] == '\0') return 1;
    if (name.p[i] != row_name[i]) return name.p[i] - row_name[i];
  }
  return row_name[name.n] ? -1 : 0;
}

const void *name_table_find(const void *rows, size_t count, size_t row_bytes, struct str name) {
  size_t lo = 0, hi = count;
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    const char *row = (const char *)rows + mid * row_bytes;
    int c = compare(name, *(const char *const *)(const void *)row);
    if (c == 0) return row;
    if (c < 0) hi = mid;
    else lo = mid + 1;
  }
  return NULL;
}
