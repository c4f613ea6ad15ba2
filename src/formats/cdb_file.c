/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Constant databases: see the header.  Floor: formats. */
#include "formats/cdb_file.h"

enum { PAIR_BYTES = 8, COMPARE_BYTES = 4096, SLOTS_MAX = 1 << 26 };

struct pair {
  uint32_t first, second;
};

static uint32_t number_at(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24; }

static uint32_t hash_of(struct str key) {
  uint32_t h = 5381;
  for (size_t i = 0; i < key.n; i++) h = ((h << 5) + h) ^ (uint8_t)key.p[i];
  return h;
}

static bool is_inside(const struct cdb_source *src, uint64_t at, uint64_t n) { return at <= src->size && n <= src->size - at; }

/* CDB_FOUND: read. */
static enum cdb_found read_bytes(const struct cdb_source *src, uint64_t at, void *buf, size_t n) {
  if (!is_inside(src, at, n)) return CDB_MALFORMED;
  return src->read(src->context, at, buf, n) < 0 ? CDB_READ_ERROR : CDB_FOUND;
}

static enum cdb_found read_pair(const struct cdb_source *src, uint64_t at, struct pair *ret) {
  uint8_t buf[PAIR_BYTES];
  enum cdb_found rc = read_bytes(src, at, buf, sizeof buf);
  if (rc == CDB_FOUND) *ret = (struct pair){number_at(buf), number_at(buf + 4)};
  return rc;
}

static enum cdb_found same_key(const struct cdb_source *src, uint64_t at, struct str key) {
  char buf[COMPARE_BYTES];
  for (size_t done = 0; done < key.n; done += MIN(key.n - done, sizeof buf)) {
    size_t n = MIN(key.n - done, sizeof buf);
    enum cdb_found rc = read_bytes(src, at + done, buf, n);
    if (rc != CDB_FOUND) return rc;
    if (memcmp(buf, key.p + done, n) != 0) return CDB_ABSENT;
  }
  return CDB_FOUND;
}

/* The record at that position: its data when it has the key. */
static enum cdb_found read_record(struct arena *a, const struct cdb_source *src, uint64_t at, struct str key, struct str *ret) {
  struct pair len;
  enum cdb_found rc = read_pair(src, at, &len);
  if (rc != CDB_FOUND) return rc;
  if (len.first != key.n) return CDB_ABSENT;
  rc = same_key(src, at + PAIR_BYTES, key);
  if (rc != CDB_FOUND) return rc;
  uint64_t data_at = at + PAIR_BYTES + len.first;
  if (len.second > CDB_DATA_MAX || !is_inside(src, data_at, len.second)) return CDB_MALFORMED;
  char *data = arena_alloc(a, (size_t)len.second + 1);
  rc = read_bytes(src, data_at, data, len.second);
  if (rc == CDB_FOUND) *ret = str_n(data, len.second);
  return rc;
}

enum cdb_found cdb_find(struct arena *a, const struct cdb_source *src, struct str key, struct str *ret_data) {
  uint32_t hash = hash_of(key);
  struct pair table, slot;
  enum cdb_found rc = read_pair(src, (uint64_t)(hash & 255) * PAIR_BYTES, &table);
  if (rc != CDB_FOUND) return rc;
  if (table.second == 0) return CDB_ABSENT;
  if (table.second > SLOTS_MAX || !is_inside(src, table.first, (uint64_t)table.second * PAIR_BYTES)) return CDB_MALFORMED;
  uint32_t at = (hash >> 8) % table.second;
  for (uint32_t i = 0; i < table.second; i++, at = at + 1 == table.second ? 0 : at + 1) {
    rc = read_pair(src, table.first + (uint64_t)at * PAIR_BYTES, &slot);
    if (rc != CDB_FOUND) return rc;
    if (slot.second == 0) return CDB_ABSENT;
    if (slot.first != hash) continue;
    rc = read_record(a, src, slot.second, key, ret_data);
    if (rc != CDB_ABSENT) return rc;
  }
  return CDB_ABSENT;
}
