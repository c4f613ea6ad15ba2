/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of a client hello: what is taken, what is not (TLS-5). */
#include "unit.h"

#include "os/tls_names.h"

static void protocols(void **state) {
  (void)state;
  static const struct {
    struct str in;
    const char *want; /* NULL: refused */
  } rows[] = {
    {STR("\0\5\4smtp"), "smtp"},
    {STR("\0\13\4smtp\5esmtp"), "smtp:esmtp"},
    {STR("\0\0"), ""},
    {STR("\0\3\2a\0"), "a?"},
    {STR("\0\4\3a\nb"), "a?b"},
    {STR(""), NULL},
    {STR("\0"), NULL},
    {STR("\0\5\5smtp"), NULL},      /* the name is longer than the list */
    {STR("\0\6\4smtp"), NULL},      /* so is the list itself */
    {STR("\0\4\4smtp"), NULL},
    {STR("\0\1\0"), NULL},          /* an empty name */
    {STR("\0\6\4smtp\1"), NULL},    /* a length and nothing behind it */
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("t");
    const char *got = tls_alpn_names(a, rows[i].in);
    if (!rows[i].want) assert_null(got);
    else CHECK_STR("alpn", got ? got : "(refused)", rows[i].want);
    if (got) assert_true(is_tainted(got));
    arena_free(a);
  }
}

static void host_names(void **state) {
  (void)state;
  static const struct {
    struct str name;
    bool want;
  } rows[] = {
    {STR("mx.example"), true}, {STR("a"), true}, {STR("_x-1.example."), true}, {STR(""), false}, {STR("."), false}, {STR("a..b"), false},
    {STR("../x"), false}, {STR("a/b"), false}, {STR("a\\"), false}, {STR("a\0b"), false}, {STR("a b"), false}, {STR("\xc3\xa4.example"), false},
    {STR("${x}"), false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) CHECK_INT(rows[i].name.p, tls_is_host_name(rows[i].name), rows[i].want);
  char longest[300];
  memset(longest, 'a', sizeof longest);
  assert_true(tls_is_host_name(str_n(longest, 255)));
  assert_false(tls_is_host_name(str_n(longest, 256)));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(protocols), cmocka_unit_test(host_names)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
