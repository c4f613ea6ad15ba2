/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hosts without a name service: port forms (manual ch. 20.5 and 30.2), host lists, literals, and the order of rand_below(). */
#include "unit.h"

#include "base/rand.h"
#include "base/strbuf.h"
#include "host.h"

static struct config cfg;
static struct arena *arena;

static int setup(void **state) {
  (void)state;
  arena = arena_new("t_host");
  cfg.arena = arena;
  cfg.primary_hostname = "me.example";
  return 0;
}

static int teardown(void **state) {
  (void)state;
  arena_free(arena);
  return 0;
}

static void test_ports(void **state) {
  (void)state;
  static const struct {
    const char *text, *host;
    int port;
  } rows[] = {
      {"h.example", "h.example", 0},  {"h.example:26", "h.example", 26}, {"[1.2.3.4]:27", "1.2.3.4", 27}, {"[1.2.3.4]", "1.2.3.4", 0},
      {"1.2.3.4", "1.2.3.4", 0},      {"1.2.3.4.25", "1.2.3.4", 25},     {"::1", "::1", 0},               {"[::1]:28", "::1", 28},
      {"::1.29", "::1", 29},          {"h.example:x", "h.example:x", 0}, {"h.example:70000", "h.example:70000", 0},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    const char *text = rows[i].text;
    CHECK_INT(rows[i].text, host_port_split(arena, &text), rows[i].port);
    CHECK_STR(rows[i].text, text, rows[i].host);
  }
}

static const char *names_of(const struct host *h) {
  struct strbuf b = strbuf_new(arena);
  for (; h; h = h->next) strbuf_addf(&b, "%s/%d ", h->name, h->port);
  return b.p;
}

static void test_lists(void **state) {
  (void)state;
  struct expand_ctx x = expand_ctx_new(arena, &cfg);
  CHECK_STR("in order", names_of(host_build_list(&x, "a : b::26 : + : c", false)), "a/0 b/26 c/0 ");
  /* Shuffled, but never across a "+". */
  rand_set_seed(42);
  bool seen[2] = {false, false};
  for (int i = 0; i < 40; i++) {
    const char *got = names_of(host_build_list(&x, "a : b : + : c", true));
    if (strcmp(got, "a/0 b/0 c/0 ") == 0) seen[0] = true;
    else if (strcmp(got, "b/0 a/0 c/0 ") == 0) seen[1] = true;
    else fail_msg("unexpected order %s", got);
  }
  assert_true(seen[0] && seen[1]);
}

static void test_literals(void **state) {
  (void)state;
  struct expand_ctx x = expand_ctx_new(arena, &cfg);
  struct host_find_opts ignore = {.ignore_target_hosts = "10.0.0.0/8"};
  struct host h = {.name = "192.0.2.1"}, i = {.name = "10.1.2.3"}, l = {.name = "127.0.0.1"};
  CHECK_INT("an address is itself", host_find_byname(&x, &h, &ignore, NULL), HOST_FOUND);
  CHECK_STR("address", h.address, "192.0.2.1");
  CHECK_INT("ignored", host_find_byname(&x, &i, &ignore, NULL), HOST_IGNORED);
  CHECK_INT("local", host_find_byname(&x, &l, &ignore, NULL), HOST_FOUND_LOCAL);
  cfg.o.local_interfaces = "192.0.2.1 : 127.0.0.1.25";
  CHECK_INT("configured interface", host_is_local(&x, "192.0.2.1"), 1);
  CHECK_INT("with a port", host_is_local(&x, "127.0.0.1"), 1);
  CHECK_INT("another", host_is_local(&x, "192.0.2.2"), 0);
  cfg.o.extra_local_interfaces = "192.0.2.2";
  CHECK_INT("extra", host_is_local(&x, "192.0.2.2"), 1);
  cfg.o.local_interfaces = cfg.o.extra_local_interfaces = NULL;
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_ports), cmocka_unit_test(test_lists), cmocka_unit_test(test_literals)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
