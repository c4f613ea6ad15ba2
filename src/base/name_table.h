/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables of rows sorted by name, bytewise.  Floor: base.
 *
 * A row's first member is its name (const char *).  Names may be hostile: the search reads nothing behind name.n bytes. */
#ifndef BASE_NAME_TABLE_H
#define BASE_NAME_TABLE_H

#include "base/str.h"

/* The row of that name among count rows of row_bytes each, or NULL. */
const void *name_table_find(const void *rows, size_t count, size_t row_bytes, struct str name);
/* The same with the type of the rows. */
#define NAME_FIND(rows, count, name) ((const __typeof__(*(rows)) *)name_table_find((rows), (count), sizeof *(rows), (name)))

#endif
