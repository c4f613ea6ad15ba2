/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small constant database, made by the format's description (https://cr.yp.to/cdb/cdb.txt).  Floor: tests. */
#ifndef TEST_MAKE_CDB_H
#define TEST_MAKE_CDB_H

#include <stdint.h>
#include <string.h>

#include "formats/cdb_file.h"

struct item {
  const char *key, *data;
};
static const struct item items[] = {{"one", "first"}, {"two", ""}, {"one", "second"}, {"*.b.c", "partial"}, {"*", "star"}, {"a@b", "mail"}};

static void put32(uint8_t *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t hash(const char *s) {
  uint32_t h = 5381;
  for (; *s; s++) h = (h * 33) ^ (uint8_t)*s;
  return h;
}

static uint8_t cdb[8192];
static size_t cdb_size;

static void cdb_make(void) {
  uint32_t at = CDB_HEADER_BYTES, pos[ARRAY_SIZE(items)];
  for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
    uint32_t k = (uint32_t)strlen(items[i].key), d = (uint32_t)strlen(items[i].data);
    pos[i] = at;
    put32(cdb + at, k);
    put32(cdb + at + 4, d);
    memcpy(cdb + at + 8, items[i].key, k);
    memcpy(cdb + at + 8 + k, items[i].data, d);
    at += 8 + k + d;
  }
  for (uint32_t table = 0; table < 256; table++) {
    uint32_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(items); i++) n += (hash(items[i].key) & 255) == table;
    uint32_t slots = 2 * n;
    put32(cdb + table * 8, at);
    put32(cdb + table * 8 + 4, slots);
    for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
      uint32_t h = hash(items[i].key);
      if ((h & 255) != table) continue;
      uint32_t s = (h >> 8) % slots;
      while (cdb[at + s * 8 + 4] | cdb[at + s * 8 + 5]) s = (s + 1) % slots;
      put32(cdb + at + s * 8, h);
      put32(cdb + at + s * 8 + 4, pos[i]);
    }
    at += slots * 8;
  }
  cdb_size = at;
}

#endif
