/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lookups in indexed files: cdb, dbm and its kin, sqlite; open handles.  The files are made here: cdb by the format's description
 * (https://cr.yp.to/cdb/cdb.txt), the others with their libraries.  Results as manual ch. 9.3, 9.21, 9.26 says and Debian's Exim 4.96 gives;
 * a statement that fails defers here, where that program takes it for "not found". */
#include "unit.h"

#include <dirent.h>
#include <gdbm.h>
#include <stdio.h>
#include <unistd.h>

#include "buildconfig.h"
#include "make_cdb.h"
#include "policy/search.h"
#if CFG_LOOKUP_SQLITE
#include <sqlite3.h>
#endif

static struct config cfg;
static struct arena *arena;
static char dir[] = "/tmp/t_lookup_files.XXXXXX";

static const char *path_of(const char *name) { return arena_printf(arena, "%s/%s", dir, name); }

static void write_file(const char *name, const void *p, size_t n) {
  FILE *f = fopen(path_of(name), "w");
  assert_non_null(f);
  assert_int_equal(fwrite(p, 1, n, f), n);
  assert_int_equal(fclose(f), 0);
}

/* ---- the files ---- */

static void dbm_put(GDBM_FILE f, const char *key, size_t kn, const char *data, size_t dn) {
  datum k = {.dptr = (char *)(uintptr_t)key, .dsize = (int)kn}, d = {.dptr = (char *)(uintptr_t)data, .dsize = (int)dn};
  assert_int_equal(gdbm_store(f, k, d, GDBM_INSERT), 0);
}

static void make_dbm(void) {
  GDBM_FILE f = gdbm_open(path_of("d.db"), 0, GDBM_NEWDB, 0600, NULL);
  assert_non_null(f);
  dbm_put(f, "one", 4, "with zero", 10);
  dbm_put(f, "one", 3, "without", 7);
  dbm_put(f, "user\0realm", 10, "joined", 6);
  dbm_put(f, "*", 2, "default", 8);
  assert_int_equal(gdbm_close(f), 0);
}

#if CFG_LOOKUP_SQLITE
static void make_sqlite(void) {
  sqlite3 *db;
  assert_int_equal(sqlite3_open(path_of("s.db"), &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, "create table t(a text, b text); insert into t values('x','y z'),('','q\"'),('o''r',null),('back \\','w')",
                                NULL, NULL, NULL),
                   SQLITE_OK);
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
}
#endif

static int setup(void **state) {
  (void)state;
  arena = arena_new("t_lookup_files");
  cfg.arena = arena;
  if (!mkdtemp(dir)) return -1;
  cdb_make();
  write_file("c.cdb", cdb, cdb_size);
  make_dbm();
#if CFG_LOOKUP_SQLITE
  make_sqlite();
#endif
  write_file("short", "x", 1);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  static const char *const names[] = {"c.cdb", "d.db", "s.db", "short", "bad.cdb"};
  lookup_tidy();
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) (void)unlink(path_of(names[i]));
  for (int i = 0; i < 8; i++) (void)unlink(path_of(arena_printf(arena, "n%d", i)));
  (void)rmdir(dir);
  arena_free(arena);
  return 0;
}

static struct lookup_result look(const char *type, const char *file, const char *key, enum outcome want) {
  struct expand_ctx x = expand_ctx_new(arena, &cfg);
  struct lookup_type t;
  struct lookup_result res = {0};
  assert_null(lookup_parse_type(arena, str_c(type), &t));
  enum outcome got = lookup_run(&x, &t, file ? path_of(file) : NULL, key, &res);
  if (got != want) fail_msg("%s of %s: outcome %d, want %d (%s)", type, key, (int)got, (int)want, res.error ? res.error : "");
  return res;
}

struct row {
  const char *type, *file, *key, *want; /* NULL not found; "?text" trouble with that text in it */
};

static void check_rows(const struct row *rows, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const struct row *r = &rows[i];
    bool is_trouble = r->want && *r->want == '?';
    struct lookup_type t;
    struct lookup_result res = {0};
    struct expand_ctx x = expand_ctx_new(arena, &cfg);
    assert_null(lookup_parse_type(arena, str_c(r->type), &t));
    enum outcome got = lookup_run(&x, &t, r->file ? path_of(r->file) : NULL, r->key, &res);
    if (is_trouble) {
      if (got != OUTCOME_DEFER && got != OUTCOME_ERROR) fail_msg("%s %s: no trouble", r->type, r->key);
      if (!res.error || !strstr(res.error, r->want + 1)) fail_msg("%s %s: \"%s\", want \"%s\"", r->type, r->key, res.error, r->want + 1);
      continue;
    }
    CHECK_STR(r->key, got == OUTCOME_OK ? res.data : got == OUTCOME_FAIL ? "(not found)" : res.error, r->want ? r->want : "(not found)");
  }
}

static void test_cdb_and_dbm(void **state) {
  (void)state;
  static const struct row rows[] = {
    {"cdb", "c.cdb", "one", "first"},          {"cdb", "c.cdb", "two", ""},          {"cdb", "c.cdb", "ONE", NULL},
    {"cdb", "c.cdb", "three", NULL},           {"cdb*", "c.cdb", "three", "star"},   {"partial-cdb", "c.cdb", "x.b.c", "partial"},
    {"partial1()cdb", "c.cdb", "x.one", "first"}, {"cdb", "missing", "one", "?for cdb lookup: No such file or directory"},
    {"cdb", "short", "one", "?too short"},     {"dbm", "d.db", "one", "with zero"},  {"dbmnz", "d.db", "one", "without"},
    {"dbmjz", "d.db", "user:realm", "joined"}, {"dbmjz", "d.db", "<; user;realm", "joined"}, {"dbmjz", "d.db", "user", NULL},
    {"dbm", "d.db", "two", NULL},              {"dbm*", "d.db", "two", "default"},   {"dbm", "missing", "one", "?missing as a gdbm file"},
  };
  check_rows(rows, ARRAY_SIZE(rows));
}

static void test_sqlite(void **state) {
  (void)state;
#if CFG_LOOKUP_SQLITE
  const char *type = arena_printf(arena, "sqlite,file=%s", path_of("s.db"));
  const struct row rows[] = {
    {type, NULL, "select b from t where a='x'", "y z"},
    {type, NULL, "select a,b from t where b='y z'", "a=x b=\"y z\" "},
    {type, NULL, "select a from t", "x\n\no'r\nback \\"},
    {type, NULL, "select a,b from t where b is null", "a=o'r b=<NULL> "},
    {type, NULL, "select a,b from t where b='w'", "a=\"back \\\\\" b=w "},
    {type, NULL, "select a from t where a='none'", NULL},
    {type, NULL, "select 1;select 2", "1\n2"},
    {type, NULL, "", NULL},
    {type, NULL, "selec 1", "?sqlite3_exec failed: near \"selec\": syntax error"},
    {type, NULL, "select x from nonesuch", "?no such table: nonesuch"},
    {"sqlite", NULL, "select 1", "?absolute file name expected for \"sqlite\" lookup"},
    {"sqlite,file=x.db", NULL, "select 1", "?absolute file name expected for \"sqlite\" lookup"},
    {"sqlite", NULL, "/nonexistent/dir/x.db select 1", "?unable to open database file"},
    {"sqlite", NULL, arena_printf(arena, "%s  select b from t where a='x'", path_of("s.db")), "y z"},
    {"sqlite", NULL, arena_strdup_t(arena, "/tmp/x select 1", TAINTED), "?NULL"},
  };
  check_rows(rows, ARRAY_SIZE(rows));
  cfg.o.sqlite_dbfile = path_of("s.db");
  assert_true(is_tainted(look("sqlite", NULL, arena_strdup_t(arena, "select a from t where a='x'", TAINTED), OUTCOME_OK).data));
  assert_false(is_tainted(look("sqlite", NULL, "select a from t where a = 'x'", OUTCOME_OK).data));
  const char *quoted = arena_strdup_t(arena, "select a from t where 'x' = a", lookup_quoted_kind(lookup_find_driver(STR("sqlite"))));
  assert_true(is_tainted(quoted));
  assert_false(is_tainted(look("sqlite", NULL, quoted, OUTCOME_OK).data)); /* manual 9.1: a lookup in trusted data */
  /* A change is seen: statements without rows empty the cache. */
  (void)look("sqlite", NULL, "select b from t where a='n'", OUTCOME_FAIL);
  (void)look("sqlite", NULL, "insert into t values('n','new')", OUTCOME_FAIL);
  CHECK_STR("after the insertion", look("sqlite", NULL, "select b from t where a='n'", OUTCOME_OK).data, "new");
  (void)look("sqlite", NULL, "update t set b='newer' where a='n'", OUTCOME_FAIL);
  CHECK_STR("after the update", look("sqlite", NULL, "select b from t where a='n'", OUTCOME_OK).data, "newer");
  cfg.o.sqlite_dbfile = NULL;
  CHECK_STR("quote", lookup_find_driver(STR("sqlite"))->quote(arena, "it's \"x\"", NULL), "it''s \"x\"");
  assert_null(lookup_find_driver(STR("sqlite"))->quote(arena, "x", "opt"));
#endif
}

/* A database that somebody else is writing to is a temporary failure (manual 9.5), never "not found". */
static void test_sqlite_locked(void **state) {
  (void)state;
#if CFG_LOOKUP_SQLITE
  sqlite3 *db;
  lookup_tidy();
  assert_int_equal(sqlite3_open(path_of("s.db"), &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, "begin exclusive", NULL, NULL, NULL), SQLITE_OK);
  const char *type = arena_printf(arena, "sqlite,file=%s", path_of("s.db"));
  cfg.o.sqlite_lock_timeout = 0;
  struct lookup_result res = look(type, NULL, "select b from t where a='x'", OUTCOME_DEFER);
  assert_non_null(strstr(res.error, "database is locked"));
  assert_int_equal(sqlite3_exec(db, "commit", NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
  CHECK_STR("freed", look(type, NULL, "select b from t where a='x'", OUTCOME_OK).data, "y z");
#endif
}

static int open_descriptors(void) {
  DIR *d = opendir("/proc/self/fd");
  int n = 0;
  assert_non_null(d);
  while (readdir(d)) n++;
  assert_int_equal(closedir(d), 0);
  return n;
}

/* lookup_open_max: the least recently used handle is closed (manual 9.8). */
static void test_open_max(void **state) {
  (void)state;
  lookup_tidy();
  int before = open_descriptors();
  cfg.o.lookup_open_max = 3;
  for (int i = 0; i < 8; i++) {
    const char *name = arena_printf(arena, "n%d", i);
    write_file(name, cdb, cdb_size);
    CHECK_STR(name, look("cdb", name, "one", OUTCOME_OK).data, "first");
  }
  assert_int_equal(open_descriptors(), before + 3);
  lookup_tidy();
  assert_int_equal(open_descriptors(), before);
  cfg.o.lookup_open_max = 25;
}

static void test_absent(void **state) {
  (void)state;
  static const char *const names[] = {"ldap", "ldapm", "ldapdn", "lmdb", "mysql", "nis", "nis0", "oracle", "pgsql", "psl", "redis"};
  struct lookup_type t;
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
    if (lookup_find_driver(str_c(names[i]))) continue; /* this build has it */
    const char *got = lookup_parse_type(arena, str_c(names[i]), &t);
    assert_non_null(got);
    assert_non_null(strstr(got, "is not available ("));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_cdb_and_dbm), cmocka_unit_test(test_sqlite),
                                     cmocka_unit_test(test_sqlite_locked), cmocka_unit_test(test_open_max), cmocka_unit_test(test_absent)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
