/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Items of dnslists and what they accept (manual ch. 44 "Data returned by DNS lists" to "Handling multiple DNS records"). */
#include "unit.h"

#include "base/vec.h"
#include "dns_list.h"

static void test_parse(void **state) {
  (void)state;
  static const struct {
    const char *in;
    const char *domain, *text_domain, *addresses, *keys;
    bool is_mask, all, negated, bad;
  } t[] = {
    {"rbl.example", "rbl.example", "rbl.example", NULL, NULL, .bad = false},
    {" rbl.example /192.168.1.2", "rbl.example", "rbl.example", NULL, "192.168.1.2", .bad = false},
    {"rbl.example/<;a;b", "rbl.example", "rbl.example", NULL, "<;a;b", .bad = false},
    {"a.b=127.0.0.2,127.0.0.3", "a.b", "a.b", "127.0.0.2,127.0.0.3", NULL, .bad = false},
    {"a.b=127.0.0.2/k=1", "a.b", "a.b", "127.0.0.2", "k=1", .bad = false},
    {"a.b&0.0.0.3", "a.b", "a.b", "0.0.0.3", NULL, .is_mask = true},
    {"a.b==127.0.0.1", "a.b", "a.b", "127.0.0.1", NULL, .all = true},
    {"a.b=&0.0.0.1", "a.b", "a.b", "0.0.0.1", NULL, .is_mask = true, .all = true},
    {"a.b!=127.0.0.1", "a.b", "a.b", "127.0.0.1", NULL, .negated = true},
    {"a.b!&0.0.0.1", "a.b", "a.b", "0.0.0.1", NULL, .is_mask = true, .negated = true},
    {"a.b!==127.0.0.1", "a.b", "a.b", "127.0.0.1", NULL, .all = true, .negated = true},
    {"a.b!=&0.0.0.1,0.0.0.2", "a.b", "a.b", "0.0.0.1,0.0.0.2", NULL, .is_mask = true, .all = true, .negated = true},
    {"one.x,two.y=127.0.0.2", "two.y", "one.x", "127.0.0.2", NULL, .bad = false},
    {"", .bad = true}, {"/key", .bad = true}, {"a.b=", .bad = true}, {"a.b=127.0.0", .bad = true}, {"=127.0.0.1", .bad = true},
  };
  struct arena *a = arena_new("test");
  for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
    struct dns_list_item it;
    bool ok = dns_list_parse(a, str_c(t[i].in), &it);
    if (ok == t[i].bad) fail_msg("%s: %s", t[i].in, ok ? "accepted" : "refused");
    if (!ok) continue;
    assert_string_equal(it.domain, t[i].domain);
    assert_string_equal(it.text_domain, t[i].text_domain);
    assert_string_equal(it.addresses ? it.addresses : "-", t[i].addresses ? t[i].addresses : "-");
    assert_string_equal(it.keys ? it.keys : "-", t[i].keys ? t[i].keys : "-");
    if (it.is_mask != t[i].is_mask || it.all != t[i].all || it.negated != t[i].negated) fail_msg("%s: flags", t[i].in);
  }
  arena_free(a);
}

static void test_accepts(void **state) {
  (void)state;
  static const struct { const char *item, *found[3]; bool want; } t[] = {
    {"a.b", {"127.0.0.2"}, true},
    {"a.b", {"10.0.0.2"}, false}, /* outside 127/8: the list has been lost */
    {"a.b=10.0.0.2", {"10.0.0.2"}, true},
    {"a.b=127.0.0.1", {"127.0.0.1", "127.0.0.2"}, true},
    {"a.b==127.0.0.1", {"127.0.0.1", "127.0.0.2"}, false},
    {"a.b==127.0.0.1,127.0.0.2", {"127.0.0.1", "127.0.0.2"}, true},
    {"a.b!=127.0.0.1", {"127.0.0.1", "127.0.0.2"}, false},
    {"a.b!=127.0.0.3", {"127.0.0.1", "127.0.0.2"}, true},
    {"a.b&0.0.0.3", {"127.0.0.7"}, true},
    {"a.b&0.0.0.3", {"127.0.0.2"}, false},
    {"a.b&0.0.0.1,0.0.0.2", {"127.0.0.2"}, true},
    {"a.b!&0.0.0.1", {"127.0.0.1", "127.0.0.2"}, false},
    {"a.b!=&0.0.0.1", {"127.0.0.1", "127.0.0.2"}, true},
    {"a.b!=&0.0.0.1,0.0.0.2", {"127.0.0.1", "127.0.0.2"}, false},
    {"a.b!&0.255.255.0", {"127.0.0.2"}, true},
    {"a.b&0.0.0.3", {"255.255.255.255"}, false}, /* not of 127/8: a mask asks it nothing */
    {"a.b=&0.0.0.3", {"255.255.255.255", "127.0.0.3"}, false},
    {"a.b=255.255.255.255", {"255.255.255.255"}, true},
    {"a.b!&0.255.255.0", {"127.255.255.254"}, false},
  };
  struct arena *a = arena_new("test");
  for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
    struct dns_list_item it;
    struct vec found = vec_new(a);
    for (size_t k = 0; k < ARRAY_SIZE(t[i].found) && t[i].found[k]; k++) vec_push(&found, (void *)(uintptr_t)t[i].found[k]);
    assert_true(dns_list_parse(a, str_c(t[i].item), &it));
    if (dns_list_accepts(&it, &found) != t[i].want) fail_msg("%s with %s", t[i].item, t[i].found[0]);
  }
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse), cmocka_unit_test(test_accepts)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
