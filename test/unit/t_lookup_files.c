/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lookups in indexed files: cdb, dbm and its kin, sqlite, lmdb; open handles.  The files are made here: cdb by the format's description
 * (https://cr.yp.to/cdb/cdb.txt), the others with their libraries.  Results as manual ch. 9.3, 9.21, 9.26 says and Debian's Exim 4.96 gives;
 * a statement that fails defers here, where that program takes it for "not found". */
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <gdbm.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buildconfig.h"
#include "make_cdb.h"
#include "policy/search.h"
#if CFG_LOOKUP_LMDB
#include <lmdb.h>
#endif
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

#if CFG_LOOKUP_LMDB
/* Records of name's database, written in one transaction. */
struct record {
  const char *key;
  size_t kn;
  const char *data;
  size_t dn;
};
static void lmdb_write(const char *name, unsigned flags, const struct record *records, size_t n) {
  MDB_env *env;
  MDB_txn *txn;
  MDB_dbi db;
  assert_int_equal(mdb_env_create(&env), 0);
  assert_int_equal(mdb_env_set_mapsize(env, 64 << 20), 0);
  assert_int_equal(mdb_env_open(env, path_of(name), MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC, 0600), 0);
  assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
  assert_int_equal(mdb_dbi_open(txn, NULL, MDB_CREATE | flags, &db), 0);
  for (size_t i = 0; i < n; i++) {
    MDB_val k = {records[i].kn, (void *)(uintptr_t)records[i].key}, v = {records[i].dn, (void *)(uintptr_t)records[i].data};
    assert_int_equal(mdb_put(txn, db, &k, &v, 0), 0);
  }
  assert_int_equal(mdb_txn_commit(txn), 0);
  mdb_env_close(env);
}

static void make_lmdb(void) {
  static const struct record records[] = {{"one", 3, "first", 5},      {"two", 3, "", 0},         {"nul", 4, "with NUL in its key", 19}, {"cut", 3, "as far\0as here", 14},
                                          {"*.b.c", 5, "partial", 7}, {"*", 1, "default", 7}, {"*@d", 3, "at d", 4}};
  static const struct record twice[] = {{"k", 1, "b", 1}, {"k", 1, "a", 1}}, numbers[] = {{"abcd", 4, "x", 1}};
  lmdb_write("l.mdb", 0, records, ARRAY_SIZE(records));
  lmdb_write("twice.mdb", MDB_DUPSORT, twice, ARRAY_SIZE(twice));
  lmdb_write("numbers.mdb", MDB_INTEGERKEY, numbers, 1);
  lmdb_write("void.mdb", 0, NULL, 0);
  write_file("empty.mdb", "", 0);
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
#if CFG_LOOKUP_LMDB
  make_lmdb();
#endif
  write_file("short", "x", 1);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  static const char *const names[] = {"c.cdb", "d.db", "s.db", "short", "bad.cdb", "l.mdb", "twice.mdb", "numbers.mdb", "void.mdb", "empty.mdb"};
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

#if CFG_LOOKUP_LMDB
static void test_lmdb(void **state) {
  (void)state;
  const char *longest = arena_printf(arena, "%01000d", 0);
  const struct row rows[] = {
    {"lmdb", "l.mdb", "one", "first"},         {"lmdb", "l.mdb", "two", ""},           {"lmdb", "l.mdb", "ONE", NULL},
    {"lmdb", "l.mdb", "three", NULL},          {"lmdb", "l.mdb", "nul", NULL},         {"lmdb", "l.mdb", "cut", "as far"},
    {"lmdb*", "l.mdb", "three", "default"},    {"lmdb*@", "l.mdb", "x@d", "at d"},     {"partial-lmdb", "l.mdb", "x.b.c", "partial"},
    {"lmdb", "l.mdb", "", NULL},               {"lmdb", "l.mdb", longest, NULL},       {"lmdb", "twice.mdb", "k", "a"},
    {"lmdb", "void.mdb", "one", NULL},         {"lmdb", "numbers.mdb", "abcd", "?numbers.mdb for lmdb lookup: its keys are numbers"},
    {"lmdb", "missing", "one", "?missing for lmdb lookup: No such file or directory"},
    {"lmdb", "short", "one", "?short for lmdb lookup: MDB_INVALID"},
    {"lmdb", "empty.mdb", "one", "?empty.mdb for lmdb lookup: it is empty"},
    {"lmdb", "c.cdb", "one", "?c.cdb for lmdb lookup: MDB_INVALID"}, {"lmdb", ".", "one", "?for lmdb lookup: not a regular file"},
  };
  check_rows(rows, ARRAY_SIZE(rows));
  /* What the administrator has written is clean; nothing is written beside it. */
  assert_false(is_tainted(look("lmdb", "l.mdb", arena_strdup_t(arena, "one", TAINTED), OUTCOME_OK).data));
  assert_int_equal(access(path_of("l.mdb-lock"), F_OK), -1);
  DIR *d = opendir("/proc/self/fd"); /* commands that are run do not inherit it */
  assert_non_null(d);
  for (const struct dirent *e; (e = readdir(d));) {
    char to[256];
    ssize_t n = readlinkat(dirfd(d), e->d_name, to, sizeof to - 1);
    if (n > 0 && (to[n] = 0, strstr(to, "l.mdb"))) assert_true(fcntl((int)strtol(e->d_name, NULL, 10), F_GETFD) & FD_CLOEXEC);
  }
  assert_int_equal(closedir(d), 0);
}

/* A database that is written to while it is open: new records are seen, also when the file has become much larger. */
static void test_lmdb_grows(void **state) {
  (void)state;
  char *large = arena_alloc(arena, 8 << 20);
  memset(large, 'x', 8 << 20);
  const struct record more[] = {{"new", 3, "now", 3}}, last[] = {{"large", 5, large, (8 << 20) - 1}, {"last", 4, "behind it", 9}};
  (void)look("lmdb,cache=no", "l.mdb", "new", OUTCOME_FAIL);
  lmdb_write("l.mdb", 0, more, 1);
  CHECK_STR("written later", look("lmdb,cache=no", "l.mdb", "new", OUTCOME_OK).data, "now");
  lmdb_write("l.mdb", 0, last, 2);
  CHECK_STR("in the larger one", look("lmdb,cache=no", "l.mdb", "last", OUTCOME_OK).data, "behind it");
  assert_int_equal(strlen(look("lmdb,cache=no", "l.mdb", "large", OUTCOME_OK).data), (8 << 20) - 1);
}

/* Somebody writes all the time: a value is one of those written, never parts of two. */
static void test_lmdb_written(void **state) {
  (void)state;
  enum { VALUE = 20000, WRITES = 300 };
  char *value = arena_alloc(arena, VALUE);
  memset(value, 'a', VALUE);
  const struct record r = {"busy", 4, value, VALUE};
  lmdb_write("l.mdb", 0, &r, 1);
  pid_t pid = fork();
  assert_true(pid >= 0);
  for (int i = 0; pid == 0 && i < WRITES; i++) {
    memset(value, 'a' + i % 26, VALUE);
    lmdb_write("l.mdb", 0, &r, 1);
  }
  if (pid == 0) _exit(0);
  int found = 0, status = 0;
  while (waitpid(pid, &status, WNOHANG) == 0) {
    struct expand_ctx x = expand_ctx_new(arena, &cfg);
    struct lookup_type t;
    struct lookup_result res = {0};
    assert_null(lookup_parse_type(arena, STR("lmdb,cache=no"), &t));
    enum outcome got = lookup_run(&x, &t, path_of("l.mdb"), "busy", &res);
    if (got == OUTCOME_DEFER && strstr(res.error, "it changes all the time")) continue;
    assert_int_equal(got, OUTCOME_OK);
    assert_int_equal(strspn(res.data, (char[]){*res.data, 0}), VALUE);
    found++;
  }
  assert_int_equal(status, 0);
  assert_true(found > 0);
}
#endif

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
                                     cmocka_unit_test(test_sqlite_locked),
#if CFG_LOOKUP_LMDB
                                     cmocka_unit_test(test_lmdb), cmocka_unit_test(test_lmdb_grows), cmocka_unit_test(test_lmdb_written),
#endif
                                     cmocka_unit_test(test_open_max), cmocka_unit_test(test_absent)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
