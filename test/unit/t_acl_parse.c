/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACL statements: accepted shapes, and the words of each configuration error.
 * The error texts are those the reference program prints for the same lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/acl/acl_priv.h"

struct lines {
  const char *const *v;
  int at;
};

static const char *next_line(struct acl_reader *r, struct conf_pos *ret_pos) {
  struct lines *l = r->ctx;
  ret_pos->file = "conf";
  ret_pos->line = l->at + 1;
  return l->v[l->at] ? l->v[l->at++] : NULL;
}

static void unread_line(struct acl_reader *r) { ((struct lines *)r->ctx)->at--; }

static struct acl *parse(struct arena *a, const char *const *v, const char **ret_error, int *ret_line, int *ret_left) {
  struct lines l = {v, 0};
  struct acl_reader r = {next_line, unread_line, &l};
  struct conf_pos pos = {NULL, 0};
  *ret_error = NULL;
  struct acl *acl = acl_parse(a, &r, "x", ret_error, &pos);
  *ret_line = pos.line;
  *ret_left = l.at;
  return acl;
}

static void errors(void **state) {
  (void)state;
  static const struct {
    const char *line, *error;
  } rows[] = {
    {"frob", "unknown ACL verb \"frob\" in \"frob\""},
    {"accept frob = x", "unknown ACL condition/modifier in \"accept frob = x\""},
    {"accept hosts", "\"=\" missing after ACL \"hosts\" condition"},
    {"hosts = x", "unknown ACL verb \"hosts\" in \"hosts = x\""},
    {"accept !set acl_m0 = 1", "ACL error: negation is not allowed with \"set\""},
    {"accept !message = 1", "ACL error: negation is not allowed with \"message\""},
    {"warn endpass", "ACL error: \"endpass\" is not allowed with \"warn\""},
    {"accept set foo = 1", "invalid variable name after \"set\" in ACL modifier \"set foo = 1\" "
                           "(must start \"acl_c\" or \"acl_m\")"},
    {"accept set acl_m0 1", "\"=\" missing after ACL \"set\" modifier"},
    {"accept set acl_mfoo = 1", "invalid variable name after \"set\" in ACL modifier \"set acl_mfoo = 1\" "
                                "(digit or underscore must follow acl_c or acl_m)"},
    {"accept dcc = *", "ACL condition \"dcc\" is not supported by this build"},
    {"accept control = dmarc_enable_forensic/ef", "ACL control \"dmarc_enable_forensic\" is not supported by this build"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("test");
    const char *v[] = {rows[i].line, NULL}, *error;
    int line, left;
    assert_null(parse(a, v, &error, &line, &left));
    assert_string_equal(error, rows[i].error);
    assert_int_equal(line, 1);
    arena_free(a);
  }
}

static void shapes(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  const char *v[] = {"accept  hosts = a : b", "   ! domains = +local ", "  endpass", "deny", "  message = no: never",
                     "  set acl_m_foo = $x", "  !verify = sender", "warn control = queue_only/x", "other:", "accept", NULL};
  const char *error;
  int line, left;
  struct acl *acl = parse(a, v, &error, &line, &left);
  assert_non_null(acl);
  assert_int_equal(left, 8); /* the name of the next ACL is given back */
  struct acl_stmt *s = acl->stmts;
  assert_int_equal(s->verb, ACL_ACCEPT);
  assert_int_equal(s->pos.line, 1);
  assert_string_equal(s->conds->type->name, "hosts");
  assert_string_equal(s->conds->arg, "a : b");
  assert_true(s->conds->next->negated);
  assert_string_equal(s->conds->next->arg, "+local "); /* blanks at the end are the business of who reads the lines */
  assert_string_equal(s->conds->next->next->type->name, "endpass");
  s = s->next;
  assert_int_equal(s->verb, ACL_DENY);
  assert_int_equal(s->pos.line, 4);
  assert_string_equal(s->conds->arg, "no: never");
  assert_string_equal(s->conds->next->var, "acl_m_foo");
  assert_true(s->conds->next->next->negated);
  assert_int_equal(s->next->verb, ACL_WARN);
  assert_null(s->next->next);
  arena_free(a);
}

static void table_is_sorted(void **state) {
  (void)state;
  for (size_t i = 1; i < acl_cond_type_count; i++)
    assert_true(strcmp(acl_cond_types[i - 1].name, acl_cond_types[i].name) < 0);
  for (size_t i = 0; i < acl_cond_type_count; i++)
    assert_ptr_equal(acl_find_cond_type(str_c(acl_cond_types[i].name)), &acl_cond_types[i]);
  assert_null(acl_find_cond_type(STR("nothing")));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(errors), cmocka_unit_test(shapes), cmocka_unit_test(table_is_sorted)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
