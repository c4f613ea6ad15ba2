/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lookups: types, files, keys, defaults, caching.  Expected results: Debian's Exim 4.96 -be '${lookup{key}type{file}}' for each row; the
 * orders of keys from manual ch. 9.6 and 9.7; json from manual ch. 9.3. */
#include "unit.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "policy/search.h"

static struct config cfg;
static struct arena *arena;
static char dir[] = "/tmp/t_search.XXXXXX";

static const char *path_of(const char *name) { return arena_printf(arena, "%s/%s", dir, name); }

static void file(const char *name, const char *text) {
  FILE *f = fopen(path_of(name), "w");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0);
  assert_int_equal(fclose(f), 0);
}

static int setup(void **state) {
  (void)state;
  arena = arena_new("t_search");
  cfg.arena = arena;
  if (!mkdtemp(dir)) return -1;
  file("f", "one: first\ntwo second\n\"three x\": third\nfour:\n cont\n\n# c\n  more : x\nf5 : :fail:\n*@dom: domdef\n*: star\nONE: late\n");
  file("w", "^\\N\\d+\\N data for digits\n*.b.c: star bc $key\nx y\n.c: dotc\n.: dot\n");
  file("wbad", "x: first\n\"${if eq{a}{b}{x}fail}\": y\nz: third\n\"^.$\": one sign\n*: all\n");
  file("ipd", "\"::1\": loop\n*: star six\n");
  file("ip", "1.2.0.0/16: net data\n\"::1\": loop six\n");
  file("cont", "a1: x\n  y\n# c\n  z\na2: x\n  y\n\n  z\na3: x\n\t\n z\n");
  file("p", "*.dates.fict.example: dates\n*.fict.example: fict\n*: all\nexact.example: exact\n");
  file("j", "{\"a\":{\"b\":\"deep\"},\"l\":[1,\"two\",{\"x\":3}],\"n\":12.5,\"t\":true}\n");
  return 0;
}

static int teardown(void **state) {
  (void)state;
  static const char *const names[] = {"f", "w", "wbad", "ip", "ipd", "cont", "p", "j"};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) (void)unlink(path_of(names[i]));
  (void)rmdir(dir);
  lookup_tidy();
  arena_free(arena);
  return 0;
}

struct row {
  const char *key, *type, *file; /* file NULL: the key is a query; "." the directory itself */
  const char *want;              /* NULL: not found; "?text" trouble, with that text in it */
};

static const struct row rows[] = {
    {"one", "lsearch", "f", "first"},
    {"ONE", "lsearch", "f", "first"},
    {"two", "lsearch", "f", "second"},
    {"three x", "lsearch", "f", "third"},
    {"four", "lsearch", "f", " cont"},
    {"f5", "lsearch", "f", ":fail:"},
    {"zzz", "lsearch", "f", NULL},
    {"", "lsearch", "f", NULL},
    {"", "lsearch*", "f", "star"},
    {"one", "lsearch,ret=full", "f", "one: first"},
    {"zzz", "lsearch*,ret=full", "f", "*: star"},
    {"u@dom", "lsearch*@", "f", "domdef"},
    {"u@else", "lsearch*@", "f", "star"},
    {"u@dom", "lsearch*@,ret=key", "f", "u@dom"},
    {"a1", "lsearch", "cont", "x y"},
    {"a2", "lsearch", "cont", "x y"},
    {"a3", "lsearch", "cont", "x"},
    {"one", "lsearch", "missing", "?for linear search: No such file or directory"},
    {"one", "lsearch", ".", "? is not a regular file (lsearch lookup)"},
    {"x", "wildlsearch", "w", "y"},
    {"12", "wildlsearch", "w", "data for digits"},
    {"A.b.c", "wildlsearch", "w", "star bc $key"},
    {"a.b.c", "nwildlsearch", "w", "star bc $key"},
    {"a.b.c", "partial-lsearch", "w", "star bc $key"},
    /* a key that cannot be expanded: nobody knows whom it stands for; one that is forced to fail is not there */
    {"x", "wildlsearch", "wbad", "first"},
    {"z", "wildlsearch", "wbad", "third"},
    {"q", "wildlsearch", "wbad", "?$ not followed by letter, digit, or {"},
    {"q", "nwildlsearch", "wbad", "one sign"},
    {"three x", "lsearch,ret=full", "f", "three x: third"},
    {"9.9.9.9", "iplsearch*", "ipd", "star six"},
    {"9.9.9.9", "iplsearch*@,ret=full", "ipd", "*: star six"},
    {"9.9.9.9", "iplsearch", "ipd", NULL},
    {"::1", "iplsearch*,ret=full", "ipd", "::1: loop"},
    {"bogus", "iplsearch*", "ipd", "?\"bogus\" is not a valid iplsearch key"},
    {"1.2.3.4", "iplsearch", "ip", "net data"},
    {"1.2.3.4", "iplsearch,ret=full", "ip", "1.2.0.0/16: net data"},
    {"::1", "iplsearch", "ip", "loop six"},
    {"::ffff:1.2.3.4", "iplsearch", "ip", "net data"},
    {"9.9.9.9", "iplsearch", "ip", NULL},
    {"bogus", "iplsearch", "ip", "?\"bogus\" is not a valid iplsearch key"},
    /* manual 9.7 */
    {"2250.dates.fict.example", "partial-lsearch", "p", "dates"},
    {"dates.fict.example", "partial-lsearch", "p", "dates"},
    {"2250.dates.fict.example", "partial4-lsearch", "p", NULL},
    {"a.b.fict.example", "partial-lsearch", "p", "fict"},
    {"exact.example", "partial-lsearch", "p", "exact"},
    {"q.example", "partial-lsearch", "p", NULL},
    {"q.example", "partial0-lsearch", "p", "all"},
    {"q.example", "partial-lsearch*", "p", "all"},
    {"q.c", "partial1(.)lsearch", "w", "dotc"},
    {"q.d", "partial0(.)lsearch", "w", "dot"},
    {"sub.exact.example", "partial()lsearch", "p", "exact"},
    {"f", "dsearch", ".", "f"},
    {"nope", "dsearch", ".", NULL},
    {"f", "dsearch,ret=full", ".", "@/f"},
    {"f", "dsearch,filter=file", ".", "f"},
    {"f", "dsearch,filter=dir", ".", NULL},
    {"..", "dsearch,filter=subdir", ".", NULL},
    {"a/f", "dsearch", ".", "?key for dsearch lookup contains a slash: a/f"},
    {"f", "dsearch", "missing", "?for directory search: No such file or directory"},
    {"a:b", "json", "j", "deep"},
    {"l:1", "json", "j", "two"},
    {"l:2:x", "json", "j", "3"},
    {"a:0", "json", "j", NULL},
    {"t", "json", "j", "true"},
    {"root", "passwd", NULL, "*:0:0:root:/root:/bin/bash"},
    {"no such user", "passwd", NULL, NULL},
    {"abc", "testdb", NULL, "abc"},
    {"fail", "testdb", NULL, NULL},
    {"defer", "testdb", NULL, "?testdb lookup forced DEFER"},
    {"foo=a.b", "dnsdb", NULL, "?unsupported DNS record type"},
    {"defer_foo,a=a.b", "dnsdb", NULL, "?unsupported dnsdb defer behaviour"},
    {"dnssec_foo,a=b.c", "dnsdb", NULL, "?unsupported dnsdb dnssec behaviour"},
    {"retrans_x,a=b.c", "dnsdb", NULL, "?unsupported dnsdb timeout value"},
    {"a=", "dnsdb", NULL, NULL},
};

static void test_lookups(void **state) {
  (void)state;
  for (int round = 0; round < 2; round++) /* the second from the cache */
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
      const struct row *r = &rows[i];
      struct expand_ctx x = expand_ctx_new(arena, &cfg);
      struct lookup_type t;
      struct lookup_result res = {0};
      char what[200];
      (void)snprintf(what, sizeof what, "%s in %s;%s", r->key, r->type, r->file ? r->file : "");
      const char *bad = lookup_parse_type(arena, str_c(r->type), &t);
      CHECK_STR(what, bad ? bad : "", "");
      const char *f = !r->file ? NULL : strcmp(r->file, ".") == 0 ? dir : path_of(r->file);
      enum outcome o = lookup_run(&x, &t, f, r->key, &res);
      if (r->want && *r->want == '?') {
        if (o == OUTCOME_OK || o == OUTCOME_FAIL || !res.error || !strstr(res.error, r->want + 1))
          fail_msg("%s: outcome %d, error \"%s\"", what, o, res.error ? res.error : "(none)");
        continue;
      }
      CHECK_STR(what, o == OUTCOME_OK ? res.data : o == OUTCOME_FAIL ? "(none)" : res.error ? res.error : "?",
                !r->want ? "(none)" : *r->want == '@' ? path_of(r->want + 2) : r->want);
    }
}

/* What partial and default matching leave for $1 and $2 (manual 11.5; that defaults do it too is Exim 4.96's doing). */
static void test_parts(void **state) {
  (void)state;
  static const struct {
    const char *key, *type, *file, *wild, *fixed; /* wild NULL: none */
  } want[] = {
      {"a.b.fict.example", "partial-lsearch", "p", "a.b", "fict.example"},
      {"exact.example", "partial-lsearch", "p", "", "exact.example"},
      {"q.example", "partial-lsearch*", "p", "q.example", ""},
      {"zzz", "lsearch*", "f", "zzz", ""},
      {"u@dom", "lsearch*@", "f", "u", ""},
      {"u@else", "lsearch*@", "f", "u@else", ""},
      {"9.9.9.9", "iplsearch*", "ipd", "9.9.9.9", ""},
      {"one", "lsearch*", "f", NULL, NULL},
      {"one", "lsearch*@", "f", NULL, NULL},
  };
  for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
    struct expand_ctx x = expand_ctx_new(arena, &cfg);
    struct lookup_type t;
    struct lookup_result res = {0};
    assert_null(lookup_parse_type(arena, str_c(want[i].type), &t));
    assert_int_equal(lookup_run(&x, &t, path_of(want[i].file), want[i].key, &res), OUTCOME_OK);
    CHECK_STR(want[i].key, res.wild ? res.wild : "(none)", want[i].wild ? want[i].wild : "(none)");
    CHECK_STR(want[i].key, res.fixed ? res.fixed : "(none)", want[i].fixed ? want[i].fixed : "(none)");
  }
}

static void test_types(void **state) {
  (void)state;
  static const struct {
    const char *text, *want;
  } bad[] = {
      {"foo", "unknown lookup type \"foo\""},
      {"partial-passwd", "\"partial\" is not permitted for lookup type \"passwd\""},
      {"passwd*", "defaults using \"*\" or \"*@\" are not permitted for lookup type \"passwd*\""},
      {"testdb*@", "defaults using \"*\" or \"*@\" are not permitted for lookup type \"testdb*@\""},
      {"partial(", "format error in lookup type \"partial(\""},
  };
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    struct lookup_type t;
    const char *got = lookup_parse_type(arena, str_c(bad[i].text), &t);
    CHECK_STR(bad[i].text, got ? got : "(none)", bad[i].want);
  }
}

static void test_taint(void **state) {
  (void)state;
  struct expand_ctx x = expand_ctx_new(arena, &cfg);
  struct lookup_type t;
  struct lookup_result res = {0};
  const char *key = arena_strdup_t(arena, "one", TAINTED);
  assert_null(lookup_parse_type(arena, STR("lsearch"), &t));
  assert_int_equal(lookup_run(&x, &t, arena_strdup_t(arena, path_of("f"), TAINTED), "one", &res), OUTCOME_ERROR);
  assert_string_equal(res.error, "NULL");
  assert_int_equal(lookup_run(&x, &t, path_of("f"), key, &res), OUTCOME_OK);
  assert_false(is_tainted(res.data));
  assert_null(lookup_parse_type(arena, STR("lsearch,ret=key"), &t));
  assert_int_equal(lookup_run(&x, &t, path_of("f"), key, &res), OUTCOME_OK);
  assert_false(is_tainted(res.data));
  assert_null(lookup_parse_type(arena, STR("dsearch"), &t));
  assert_int_equal(lookup_run(&x, &t, dir, arena_strdup_t(arena, "f", TAINTED), &res), OUTCOME_OK);
  assert_false(is_tainted(res.data));
  assert_null(lookup_parse_type(arena, STR("testdb"), &t));
  assert_int_equal(lookup_run(&x, &t, NULL, key, &res), OUTCOME_OK);
  assert_true(is_tainted(res.data));
}

/* Results are kept per process (manual 9.8): a changed file is seen after lookup_tidy(), or at once with cache=no_rd on a new handle. */
static void test_cache(void **state) {
  (void)state;
  struct expand_ctx x = expand_ctx_new(arena, &cfg);
  struct lookup_type t;
  struct lookup_result res = {0};
  file("cont", "k: old\n");
  lookup_tidy();
  assert_null(lookup_parse_type(arena, STR("lsearch"), &t));
  assert_int_equal(lookup_run(&x, &t, path_of("cont"), "k", &res), OUTCOME_OK);
  file("cont", "k: new\n");
  assert_int_equal(lookup_run(&x, &t, path_of("cont"), "k", &res), OUTCOME_OK);
  CHECK_STR("cached", res.data, "old");
  lookup_tidy();
  assert_int_equal(lookup_run(&x, &t, path_of("cont"), "k", &res), OUTCOME_OK);
  CHECK_STR("after tidying", res.data, "new");
}

/* A lookup within a lookup must not close the file that is read (lookup_open_max). */
static void test_nested_lookups_with_few_files(void **state) {
  (void)state;
  struct config few = cfg;
  few.o.lookup_open_max = 1;
  struct expand_ctx x = expand_ctx_new(arena, &few);
  struct lookup_type t;
  struct lookup_result res = {0};
  struct strbuf b = strbuf_new(arena);
  strbuf_addl(&b, "${lookup{one}lsearch{", path_of("f"), "}}: wrong\n", NULL);
  for (int i = 0; i < 20000; i++) strbuf_adds(&b, "no match in this line: x\n");
  strbuf_adds(&b, "^wanted: right\n");
  file("cont", b.p);
  lookup_tidy();
  assert_null(lookup_parse_type(arena, STR("wildlsearch"), &t));
  assert_int_equal(lookup_run(&x, &t, path_of("cont"), "wanted", &res), OUTCOME_OK);
  CHECK_STR("nested", res.data, "right");
}

/* A child that took another user's rights starts with nothing of what was found before. */
static void test_forget(void **state) {
  (void)state;
  struct expand_ctx x = expand_ctx_new(arena, &cfg);
  struct lookup_type t;
  struct lookup_result res = {0};
  file("cont", "k: secret\n");
  lookup_tidy();
  assert_null(lookup_parse_type(arena, STR("lsearch"), &t));
  assert_int_equal(lookup_run(&x, &t, path_of("cont"), "k", &res), OUTCOME_OK);
  assert_int_equal(unlink(path_of("cont")), 0);
  assert_int_equal(lookup_run(&x, &t, path_of("cont"), "k", &res), OUTCOME_OK);
  assert_int_equal(lookup_run(&x, &t, path_of("cont"), "other", &res), OUTCOME_FAIL); /* the file is still open */
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    lookup_forget();
    struct lookup_result in_child = {0};
    enum outcome o = lookup_run(&x, &t, path_of("cont"), "k", &in_child);
    _exit(o == OUTCOME_OK || o == OUTCOME_FAIL ? 1 : 0);
  }
  int status = -1;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_lookups), cmocka_unit_test(test_parts), cmocka_unit_test(test_types), cmocka_unit_test(test_taint),
                                     cmocka_unit_test(test_cache),
                                     cmocka_unit_test(test_nested_lookups_with_few_files), cmocka_unit_test(test_forget)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
