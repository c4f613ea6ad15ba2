/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists: splitting and matching.  Expected results: Debian's Exim 4.96, asked with -be '${if match_...{subject}{list}}' for each row, and
 * manual ch. 10 where the command line cannot ask. */
#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include "conn.h"
#include "policy/match.h"
#include "policy/search.h"

static struct config cfg;
static struct arena *arena;
static char dir[] = "/tmp/t_match.XXXXXX";

static struct expand_ctx context(void) { return expand_ctx_new(arena, &cfg); }

static void named(enum list_kind kind, const char *name, const char *text) {
  struct named_list *l = ARENA_NEW(arena, struct named_list);
  *l = (struct named_list){.name = name, .text = text};
  tree_insert(&cfg.named_lists[kind], arena, name, NULL)->data = l;
}

static const char *file(const char *name, const char *text) {
  const char *path = arena_printf(arena, "%s/%s", dir, name);
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0);
  assert_int_equal(fclose(f), 0);
  return path;
}

/* "@F" in a list of a row stands for the directory of the files. */
static const char *with_dir(const char *list) {
  struct strbuf b = strbuf_new(arena);
  for (; *list; list++) {
    if (list[0] == '@' && list[1] == 'F') {
      strbuf_adds(&b, dir);
      list++;
    } else {
      strbuf_addc(&b, *list);
    }
  }
  return b.p;
}

static int setup(void **state) {
  (void)state;
  arena = arena_new("t_match");
  cfg.arena = arena;
  cfg.primary_hostname = "me.example";
  if (!mkdtemp(dir)) return -1;
  named(LIST_DOMAIN, "d1", "!a.b");
  named(LIST_DOMAIN, "d2", "+d1 : *.b");
  named(LIST_DOMAIN, "self", "+self");
  named(LIST_ADDRESS, "senders", "x@y : *@z");
  named(LIST_HOST, "net", "10.0.0.0/8 : 192.168.1.1");
  (void)file("neg", "!a.b.c\n*.b.c\n");
  (void)file("hosts", "# x\n9.9.9.9\n1.2.3.0/24 # net\n");
  (void)file("unknown", "*.example\n");
  (void)file("locals", "not#comment # but this is\n#all\n other\n");
  (void)file("f", "one: first\ntwo second\n*@dom: domdef\n*: star\n");
  (void)file("w", "*.b.c: star bc\nx y\n.c: dotc\n");
  (void)file("bd", "one: !y : x : >two\ntwo: z : ^w\nloop: >loop\n");
  (void)file("net", "1.2.3.0/24: masked\n1.2.3.4: plain\n0001.0002.0000.0000.0000.0000.0000.0003: six\n");
  (void)file("ip", "1.2.0.0/16: net data\n\"::1\": loop six\n");
  return 0;
}

static int teardown(void **state) {
  (void)state;
  static const char *const names[] = {"neg", "hosts", "unknown", "locals", "f", "w", "bd", "net", "ip"};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) (void)unlink(arena_printf(arena, "%s/%s", dir, names[i]));
  (void)rmdir(dir);
  lookup_tidy();
  arena_free(arena);
  return 0;
}

/* ---- splitting ---- */

static void test_split(void **state) {
  (void)state;
  static const struct {
    const char *list, *want; /* items in brackets */
  } rows[] = {
      {"a:b : c", "[a][b][c]"}, {"", ""},           {" ", ""},           {":", "[]"},          {"a:", "[a]"},
      {"a::b", "[a:b]"},        {"<; a;b", "[a][b]"}, {"<;a;;b;c", "[a;b][c]"}, {"a: :b", "[a][][b]"}, {"::1", "[:1]"},
      {"<\n a\nb", "[a][b]"},   {"a : b:", "[a][b]"}, {"<-a-b", "[a][b]"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct strbuf b = strbuf_new(arena);
    const char *pos = rows[i].list, *item;
    int sep = 0;
    while ((item = list_next(arena, &pos, &sep)) != NULL) strbuf_addl(&b, "[", item, "]", NULL);
    CHECK_STR(rows[i].list, b.p, rows[i].want);
  }
}

/* ---- domains, addresses, local parts ---- */

struct row {
  const char *subject, *list;
  const char *want; /* NULL no; "?" deferred or error; else the value ("" when none) */
};

static void check(enum list_kind kind, const struct row *r) {
  struct expand_ctx x = context();
  const char *value = NULL;
  struct match_opts o = {.caseless = true, .no_expand = true, .allow_named = true, .ret_value = &value};
  enum outcome got;
  if (kind == LIST_HOST) {
    struct match_host h = {.address = *r->subject ? r->subject : NULL};
    got = match_host(&x, &h, with_dir(r->list), &value);
  } else {
    got = match_list(&x, kind, r->subject, with_dir(r->list), &o);
  }
  char what[200];
  (void)snprintf(what, sizeof what, "%s in %s", r->subject, r->list);
  const char *shown = got == OUTCOME_OK ? (value ? value : "") : got == OUTCOME_FAIL ? "(no)" : "?";
  CHECK_STR(what, shown, r->want ? with_dir(r->want) : "(no)");
}

static void test_domains(void **state) {
  (void)state;
  static const struct row rows[] = {
      {"a", "b:!c", "*"}, /* value is none: checked below */
      {"a.b", "+d2", "+"},
      {"a", "", NULL},
      {"a", "*", "*"},
      {"", ":", ""},
      {"me.example", "@", "me.example"},
      {"a.b.cc", "*.cc", "*.cc"},
      {"A.B", "a.b", "a.b"},
      {"a.b.cc", "^(.)\\.", "^(.)\\."},
      {"a.b.c", "!@F/neg", "a.b.c"},
      {"x.b.c", "!@F/neg", NULL},
      {"zz", "!@F/neg", ""},
      {"zz", "@F/neg", NULL},
      {"a", "@F/missing", "?"},
      {"a", "lsearch;@F/missing", "?"},
      {"one", "lsearch;@F/f", "first"},
      {"q.b.c", "partial-lsearch;@F/w", "star bc"},
      {"b.c", "partial-lsearch;@F/w", "star bc"},
      {"c", "partial-lsearch;@F/w", NULL},
      {"q.b.c", "partial(.)lsearch;@F/w", NULL},
      {"q.c", "partial1(.)lsearch;@F/w", "dotc"},
      {"a", "+nosuch", "?"},
      {"a", "+self", "?"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    /* A list whose last item is negated, and one matched through a negated sublist, have no value to show. */
    struct row r = rows[i];
    if (i < 2) r.want = i == 0 ? "" : "*.b";
    check(LIST_DOMAIN, &r);
  }
}

static void test_addresses(void **state) {
  (void)state;
  static const struct row rows[] = {
      {"x@one", "x@one", "x@one"},
      {"x@one", "*@one", "*@one"},
      {"x@one", "one", "@one"},
      {"x@one", "*", "@*"},
      {"X@ONE", "x@one", "x@one"},
      {"x@one", "^x@", ""},
      {"x@one", "*@lsearch;@F/f", "*@first"},
      {"x@one", "lsearch*@;@F/f", "star"},
      {"x@dom", "lsearch*@;@F/f", "domdef"},
      {"", ":", ""},
      {"", "*", NULL},
      {"", "lsearch*;@F/f", NULL},
      {"x@me.example", "x@@", "x@me.example"},
      {"\"a@b\"@c.d", "\"a@b\"@c.d", "\"a@b\"@c.d"},
      {"a@c.d", "a@c.*", NULL},
      {"a@c.d", "!b@c.d", ""},
      {"A@c.d", "+caseful:a@c.d", NULL},
      {"A@C.d", "+caseful:A@c.d", "A@c.d"},
      {"A@c.d", "+caseful:A@C.d", NULL},
      {"x@y", "+senders", "x@y"},
      {"q@z", "+senders", "*@z"},
      {"x@one", "@@lsearch;@F/bd", "x"},
      {"y@one", "@@lsearch;@F/bd", NULL},
      {"z@two", "@@lsearch;@F/bd", "z"},
      {"w@two", "@@lsearch;@F/bd", "^w"},
      {"w@loop", "@@lsearch;@F/bd", "?"},
      {"postmaster", "postmaster", NULL},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) check(LIST_ADDRESS, &rows[i]);
}

static void test_local_parts(void **state) {
  (void)state;
  static const struct row rows[] = {
      {"x", "x:y", "x"},       {"abc", "ABC", "ABC"},    {"Abc", "+caseful:abc", NULL},          {"abc", "*C", "*C"},
      {"not#comment", "@F/locals", "not#comment"}, {"but", "@F/locals", NULL}, {"other", "@F/locals", "other"}, {"@", "@", "@"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) check(LIST_LOCALPART, &rows[i]);
}

static void test_hosts(void **state) {
  (void)state;
  static const struct row rows[] = {
      {"1.2.3.4", "1.2.3.0/24", ""},
      {"1.2.4.4", "1.2.3.0/24", NULL},
      {"::1", "<; ::1/128", ""},
      {"1.2.3.4", "*", ""},
      {"1.2.3.4", ":", NULL},
      {"", ":", ""},
      {"", "*", ""},
      {"", "1.2.3.4", NULL},
      {"1.2.3.4", "net24-lsearch;@F/net", "masked"},
      {"1.2.3.4", "net-lsearch;@F/net", "plain"},
      {"1:2::3", "net-lsearch;@F/net", "six"},
      {"1.2.3.4", "net-iplsearch;@F/ip", "net data"},
      {"::1", "net-iplsearch;@F/ip", "loop six"},
      {"1.2.3.4", "@F/hosts", "1.2.3.0/24"},
      {"1.2.3.4", "!1.2.3.4:*", NULL},
      {"::ffff:1.2.3.4", "1.2.3.4", ""},
      {"127.0.0.1", "@[]", ""},
      {"10.1.1.1", "+net", ""},
      {"11.1.1.1", "!+net", ""},
      /* no name can be found here: order matters */
      {"1.2.3.4", "*.example : 1.2.3.4", NULL},
      {"1.2.3.4", "1.2.3.4 : *.example", ""},
      {"1.2.3.4", "+ignore_unknown : *.example : 1.2.3.4", ""},
      {"1.2.3.4", "+include_unknown : *.example", ""},
      {"1.2.3.4", "+include_unknown : @F/unknown", ""}, /* no line was found: it is no value */
      {"1.2.3.4", "!*.example", NULL},
      {"1.2.3.4", "lsearch;@F/f", NULL},
      {"1.2.3.4", "testdb;x", "x"},
      {"1.2.3.4", "testdb;defer", "?"},
      {"1.2.3.4", "+include_defer : testdb;defer", ""},
      {"1.2.3.4", "+ignore_defer : testdb;defer : 1.2.3.4", ""},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) check(LIST_HOST, &rows[i]);
}

static void test_names_of_hosts(void **state) {
  (void)state;
  static const struct {
    const char *name, *list;
    bool want;
  } rows[] = {{"a.b.c", "*.b.c", true}, {"A.b.C", "*.b.c", true}, {"a.b.d", "*.b.c", false}, {"a.b.c", "^a\\.b", true},
              {"one", "lsearch;@F/f", true}, {"ten", "lsearch;@F/f", false}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct expand_ctx x = context();
    struct match_host h = {.address = "1.2.3.4", .name = rows[i].name};
    CHECK_INT(rows[i].list, match_host(&x, &h, with_dir(rows[i].list), NULL) == OUTCOME_OK, rows[i].want);
  }
}

/* Domain lists: Exim 4.96 -be '${if match_domain{SUBJECT}{PATTERN}{$0,$1,$2}}' */
static void test_captures_of_lookups(void **state) {
  (void)state;
  static const struct {
    const char *domain, *pattern, *want[3];
    int n;
  } rows[] = {
      {"zzz.y", "lsearch*;@F/f", {"zzz.y", "zzz.y", ""}, 3},
      {"one", "lsearch*;@F/f", {"one"}, 1},
      {"q.b.c", "partial-lsearch*;@F/w", {"q.b.c", "q", "b.c"}, 3},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct expand_ctx x = context();
    struct match_opts o = {.no_expand = true, .allow_named = true, .want_captures = true};
    CHECK_INT(rows[i].pattern, match_list(&x, LIST_DOMAIN, rows[i].domain, with_dir(rows[i].pattern), &o), OUTCOME_OK);
    CHECK_INT(rows[i].pattern, x.s.ncaptures, rows[i].n);
    for (int k = 0; k < rows[i].n; k++) CHECK_STR(rows[i].pattern, x.s.captures[k], rows[i].want[k]);
  }
}

static void test_captures(void **state) {
  (void)state;
  static const struct {
    const char *address, *pattern, *want[4];
    int n;
  } rows[] = {
      {"hearts-queen@wonderland.fict.example", "*queen@*.fict.example", {"hearts-queen@wonderland.fict.example", "hearts-", "wonderland"}, 3},
      {"foo@bar.baz.example", "foo@*.example", {"foo@bar.baz.example", "bar.baz"}, 2},
      {"u@q.b.c", "*@partial-lsearch;@F/w", {"u@q.b.c", "u", "q", "b.c"}, 4},
      {"u@b.c", "*@partial-lsearch;@F/w", {"u@b.c", "u", "", "b.c"}, 4},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct expand_ctx x = context();
    struct match_opts o = {.no_expand = true, .allow_named = true, .want_captures = true};
    CHECK_INT(rows[i].pattern, match_list(&x, LIST_ADDRESS, rows[i].address, with_dir(rows[i].pattern), &o), OUTCOME_OK);
    CHECK_INT(rows[i].pattern, x.s.ncaptures, rows[i].n);
    for (int k = 0; k < rows[i].n; k++) CHECK_STR(rows[i].pattern, x.s.captures[k], rows[i].want[k]);
  }
}

/* Subjects are never expanded, and neither is a list that came from outside. */
static void test_nothing_foreign_is_expanded(void **state) {
  (void)state;
  struct expand_ctx x = context();
  const char *evil = arena_strdup_t(arena, "${run{/bin/false}}", TAINTED);
  CHECK_INT("tainted list", match_domain(&x, "x", evil, NULL), OUTCOME_FAIL);
  CHECK_INT("subject", match_domain(&x, evil, "x", NULL), OUTCOME_FAIL);
  CHECK_INT("file name", match_domain(&x, "x", arena_strdup_t(arena, "/etc/passwd", TAINTED), NULL) == OUTCOME_FAIL, 0);
}

static void test_regex(void **state) {
  (void)state;
  struct expand_ctx x = context();
  CHECK_INT("match", regex_match(&x, "^(a)(b)?c", false, STR("ac"), true), OUTCOME_OK);
  CHECK_STR("$1", x.s.captures[1], "a");
  CHECK_INT("caseless", regex_match(&x, "^A$", true, STR("a"), false), OUTCOME_OK);
  CHECK_INT("caseful", regex_match(&x, "^A$", false, STR("a"), false), OUTCOME_FAIL);
  CHECK_INT("bad pattern", regex_match(&x, "(", false, STR("a"), false), OUTCOME_ERROR);
  CHECK_STR("its text", x.error, "regular expression error in \"(\": missing closing parenthesis at offset 1");
  /* Exponential backtracking ends as an error, soon. */
  char many[64];
  memset(many, 'a', sizeof many);
  CHECK_INT("runaway", regex_match(&x, "^(a|aa|a?)+$!", false, str_n(many, sizeof many), false) != OUTCOME_OK, 1);
  /* A long honest text is no error. */
  static char pairs[60000];
  for (size_t i = 0; i < sizeof pairs; i++) pairs[i] = i % 2 ? ' ' : 'a';
  CHECK_INT("long", regex_match(&x, "^(\\s*a)*\\s$", false, str_n(pairs, sizeof pairs), false), OUTCOME_OK);
  CHECK_INT("long, not", regex_match(&x, "^(\\s*a)*$", false, str_n(pairs, sizeof pairs), false), OUTCOME_FAIL);
  size_t span[2];
  CHECK_INT("from an offset", regex_match_from(&x, "b*", REGEX_NONEMPTY_HERE, STR("abbc"), 1, span), OUTCOME_OK);
  CHECK_INT("start", span[0], 1);
  CHECK_INT("end", span[1], 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_split),       cmocka_unit_test(test_domains),        cmocka_unit_test(test_addresses),
      cmocka_unit_test(test_local_parts), cmocka_unit_test(test_hosts),          cmocka_unit_test(test_names_of_hosts),
      cmocka_unit_test(test_captures),    cmocka_unit_test(test_captures_of_lookups), cmocka_unit_test(test_nothing_foreign_is_expanded), cmocka_unit_test(test_regex),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
