/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Constant databases (https://cr.yp.to/cdb/cdb.txt): finding one record.  Floor: formats (pure; the file is hostile).
 *
 * A file is a table of 256 pairs (position, slots), records (key length, data length, key, data), and 256 hash tables of pairs (hash,
 * position of a record); all numbers are 32 bits, low byte first.  Every number is checked against the size of the file before it is
 * used; a search visits each slot of one table at most once.  Bytes come through a function, so that a file need not be in memory. */
#ifndef FORMATS_CDB_FILE_H
#define FORMATS_CDB_FILE_H

#include "base/arena.h"
#include "base/str.h"

enum { CDB_HEADER_BYTES = 2048, CDB_DATA_MAX = 16 << 20 };

struct cdb_source {
  uint64_t size;
  /* Exactly n bytes from offset at into buf: 0 or -errno.  Never asked for bytes beyond size. */
  int (*read)(void *context, uint64_t at, void *buf, size_t n);
  void *context;
};

enum cdb_found { CDB_FOUND, CDB_ABSENT, CDB_MALFORMED, CDB_READ_ERROR };

/* The data of the first record with that key, copied into a (clean: the file is the administrator's), NUL-terminated. */
MUST_CHECK enum cdb_found cdb_find(struct arena *a, const struct cdb_source *src, struct str key, struct str *ret_data);

#endif
