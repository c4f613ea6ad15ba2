/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Constant databases: finding records, and files that lie.  Layout: https://cr.yp.to/cdb/cdb.txt. */
#include "unit.h"

#include "make_cdb.h"

static int read_memory(void *context, uint64_t at, void *buf, size_t n) {
  memcpy(buf, (const uint8_t *)context + at, n);
  return 0;
}

static void test_find(void **state) {
  (void)state;
  static const struct item rows[] = {{"one", "first"}, {"two", ""}, {"*.b.c", "partial"}, {"a@b", "mail"}, {"ONE", NULL}, {"", NULL}, {"on", NULL}};
  struct arena *a = arena_new("find");
  struct cdb_source src = {cdb_size, read_memory, cdb};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct str data = STR_NULL;
    enum cdb_found rc = cdb_find(a, &src, str_c(rows[i].key), &data);
    CHECK_INT(rows[i].key, rc, rows[i].data ? CDB_FOUND : CDB_ABSENT);
    if (rows[i].data) CHECK_STR(rows[i].key, data.p, rows[i].data);
  }
  arena_free(a);
}

static int read_nothing(void *context, uint64_t at, void *buf, size_t n) {
  (void)context;
  (void)at;
  memset(buf, 0, n);
  return -5;
}

static void test_read_error(void **state) {
  (void)state;
  struct arena *a = arena_new("error");
  struct cdb_source src = {cdb_size, read_nothing, NULL};
  struct str data;
  CHECK_INT("read error", cdb_find(a, &src, STR("one"), &data), CDB_READ_ERROR);
  arena_free(a);
}

/* Whatever is in the file, no read leaves it: sizes and positions are wrong in turn, and the file ends anywhere. */
static void test_cdb_hostile(void **state) {
  (void)state;
  struct str data;
  for (size_t n = 0; n <= cdb_size; n++) {
    struct arena *a = arena_new("cut");
    uint8_t *copy = arena_alloc(a, n + 1);
    memcpy(copy, cdb, n);
    struct cdb_source src = {n, read_memory, copy};
    enum cdb_found rc = cdb_find(a, &src, STR("one"), &data);
    if (rc == CDB_FOUND) assert_true(str_eq_c(data, "first"));
    else assert_true(rc == CDB_MALFORMED || n == cdb_size);
    arena_free(a);
  }
  for (size_t at = 0; at + 4 <= cdb_size; at += 4) {
    static const uint32_t bad[] = {0xffffffff, 0x7fffffff, 0x10000, 1};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
      struct arena *a = arena_new("changed");
      uint8_t *copy = arena_alloc(a, cdb_size);
      memcpy(copy, cdb, cdb_size);
      put32(copy + at, bad[i]);
      struct cdb_source src = {cdb_size, read_memory, copy};
      enum cdb_found rc = cdb_find(a, &src, STR("one"), &data);
      assert_true(rc == CDB_FOUND || rc == CDB_ABSENT || rc == CDB_MALFORMED);
      arena_free(a);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_find), cmocka_unit_test(test_read_error), cmocka_unit_test(test_cdb_hostile)};
  cdb_make();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
