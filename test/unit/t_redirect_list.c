/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Syntax of alias and forward lists (manual ch. 22). */
#include "unit.h"

#include "base/strbuf.h"
#include "routers/redirect_list.h"

static const char *show(struct arena *a, const char *text) {
  static const char *const kinds[] = {"addr", "pipe", "file", "include", "blackhole", "unknown", "defer", "fail", "bad"};
  struct strbuf b = strbuf_new(a);
  for (struct redirect_item *it = redirect_list_parse(a, str_c(text), false, false); it; it = it->next) {
    if (b.n) strbuf_addc(&b, ' ');
    strbuf_addf(&b, "%s", kinds[it->kind]);
    if (it->kind != REDIRECT_BAD) strbuf_addf(&b, "(%s%s)", it->keep_domain ? "\\" : "", it->text);
  }
  return b.p;
}

static const struct {
  const char *in, *want;
} lists[] = {
    {"", ""},
    {"  \n , ,\n", ""},
    {"a@b.example", "addr(a@b.example)"},
    {"a, b@c", "addr(a) addr(b@c)"},
    {"a\nb\n", "addr(a) addr(b)"},
    {"# comment, with comma\na, # more\nb", "addr(a) addr(b)"},
    {"\\root, x", "addr(\\root) addr(x)"},
    {"A Person <p@q.example>, (note, here) r@s", "addr(p@q.example) addr(r@s)"},
    {"\"Person, A\" <p@q.example>", "addr(p@q.example)"},
    {"\"a@b\"", "addr(a@b)"},
    {"|/bin/cat", "pipe(|/bin/cat)"},
    {"\"|/some/command ready,steady,go\"", "pipe(|/some/command ready,steady,go)"},
    {"|\"/some/command ready,steady,go\"", "pipe(|\"/some/command ready,steady,go\")"},
    {"|/bin/x a, b", "pipe(|/bin/x a) addr(b)"},
    {"/home/world/minbari", "file(/home/world/minbari)"},
    {"/home/dir/", "file(/home/dir/)"},
    {"/s=molari/o=babylon/@x400gate.way", "addr(/s=molari/o=babylon/@x400gate.way)"},
    {"/dev/null, c", "file(/dev/null) addr(c)"},
    {":include:/opt/lists/list1, x", "include(/opt/lists/list1) addr(x)"},
    {":blackhole:", "blackhole()"},
    {"a, :BlackHole:", "addr(a) blackhole()"},
    {":unknown:", "unknown()"},
    {":fail: Gone away, no forwarding address", "fail(Gone away, no forwarding address)"},
    {":defer:", "defer()"},
    {"a, :defer: later\nb", "addr(a) defer(later)"},
    {":fail:", "fail()"},
    {"bad address", "bad"},
    {":foo: bar", "bad"},
    {"a@b c@d", "bad"},
    {"@@, ok", "bad addr(ok)"},
    {"\"unclosed, x\ny@z", "bad addr(y@z)"},
};

static void test_lists(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
    const char *got = show(a, lists[i].in);
    if (strcmp(got, lists[i].want) != 0) fail_msg("\"%s\": got %s want %s", lists[i].in, got, lists[i].want);
  }
  arena_free(a);
}

static void test_filter_kind(void **state) {
  (void)state;
  static const struct {
    const char *in;
    enum redirect_filter want;
  } t[] = {{"# Exim filter\nfinish", REDIRECT_EXIM_FILTER},  {"#Exim filter", REDIRECT_EXIM_FILTER},
           {"# EXIM FILTER <<== do not edit\n", REDIRECT_EXIM_FILTER}, {"# Sieve filter\n", REDIRECT_SIEVE_FILTER},
           {"# Exim filtering\n", REDIRECT_NO_FILTER},       {"a@b\n# Exim filter", REDIRECT_NO_FILTER},
           {"# comment\n", REDIRECT_NO_FILTER},              {"", REDIRECT_NO_FILTER}};
  for (size_t i = 0; i < ARRAY_SIZE(t); i++)
    if (redirect_filter_kind(str_c(t[i].in)) != t[i].want) fail_msg("\"%s\"", t[i].in);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_lists), cmocka_unit_test(test_filter_kind)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
