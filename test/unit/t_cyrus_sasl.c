/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cyrus_sasl authenticator, in a build that has it: one exchange with the real library.  ANONYMOUS needs no data base; without its plug-in on this machine
 * the answer must be a temporary one, like the one for a mechanism that nobody has. */
#include "unit.h"

#include "auth.h"
#include "buildconfig.h"
#include "policy/config.h"

static const struct auth_driver *find_driver(void) {
  for (size_t i = 0; auth_drivers[i]; i++)
    if (strcmp(auth_drivers[i]->name, "cyrus_sasl") == 0) return auth_drivers[i];
  return NULL;
}

static enum auth_status ask_nobody(struct auth_server *s, const char *challenge64, const char **ret_answer64) {
  (void)s;
  (void)challenge64;
  (void)ret_answer64;
  return AUTH_CANCELLED;
}

struct fixture {
  struct arena *a;
  struct config cfg;
  struct expand_ctx x;
  struct auth_instance i;
  struct auth_server s;
};

static void start(struct fixture *f, const char *mechanism) {
  memset(f, 0, sizeof *f);
  f->a = arena_new("cyrus");
  f->cfg.primary_hostname = "mx.test.ex";
  f->x = expand_ctx_new(f->a, &f->cfg);
  f->i.name = "au";
  f->i.driver = find_driver();
  f->i.o.public_name = mechanism;
  f->i.ob = arena_alloc(f->a, f->i.driver->ob_size);
  f->i.ob_block = opt_block_new(f->a, f->i.driver->options, f->i.driver->option_count, f->i.ob);
  assert_null(f->i.driver->init(f->a, &f->cfg, &f->i));
  assert_true(f->i.is_server);
  assert_false(f->i.is_client);
  f->s = (struct auth_server){.i = &f->i, .x = &f->x, .ask = ask_nobody};
}

static void test_exchange(void **state) {
  (void)state;
  struct fixture f;
  if (!find_driver()) skip();
  start(&f, "ANONYMOUS");
  f.s.initial = "bWVAeA=="; /* me@x */
  enum auth_status st = f.i.driver->server(&f.s);
  if (st == AUTH_OK) assert_string_equal(expand_string(&f.x, "$auth1"), "anonymous");
  else {
    assert_int_equal(st, AUTH_DEFER);
    assert_non_null(strstr(f.s.log_text, "there is no such mechanism"));
  }
  f.s.initial = "b!"; /* never reaches the library */
  assert_int_equal(f.i.driver->server(&f.s), AUTH_BAD64);
  arena_free(f.a);
}

static void test_unknown_mechanism(void **state) {
  (void)state;
  struct fixture f;
  if (!find_driver()) skip();
  start(&f, "NOSUCH");
  assert_int_equal(f.i.driver->server(&f.s), AUTH_DEFER);
  assert_string_equal(f.s.log_text, "Cyrus SASL: NOSUCH: there is no such mechanism");
  arena_free(f.a);
}

/* Left out of a build, its name is refused like any other that is not there. */
static void test_build_choice(void **state) {
  (void)state;
  assert_int_equal(find_driver() != NULL, CFG_AUTH_CYRUS_SASL != 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_exchange),
    cmocka_unit_test(test_unknown_mechanism),
    cmocka_unit_test(test_build_choice),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
