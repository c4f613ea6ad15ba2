/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The last message of SASL GSSAPI (RFC 4752 3.1).  Rows with their reason. */
#include "formats/sasl_gssapi.h"
#include "unit.h"

struct row {
  const char *what;
  struct str token;
  bool is_good;
  int layer;
  uint32_t size;
  const char *name;
};

static void test_rows(void **state) {
  (void)state;
  const struct row rows[] = {
    {"no layer, itself", str_n("\1\0\0\0", 4), true, GSSAPI_LAYER_NONE, 0, ""},
    {"no layer, a name", str_n("\1\0\0\0joe", 7), true, GSSAPI_LAYER_NONE, 0, "joe"},
    {"integrity", str_n("\2\1\2\3x", 5), true, GSSAPI_LAYER_INTEGRITY, 0x010203, "x"},
    {"privacy, the longest", str_n("\4\xff\xff\xff", 4), true, GSSAPI_LAYER_PRIVACY, 0xffffff, ""},
    {"nothing", str_n("", 0), false, 0, 0, NULL},
    {"three octets", str_n("\1\0\0", 3), false, 0, 0, NULL},
    {"no choice", str_n("\0\0\0\0", 4), false, 0, 0, NULL},
    {"two choices", str_n("\3\0\0\0", 4), false, 0, 0, NULL},
    {"an unknown one", str_n("\x80\0\0\0", 4), false, 0, 0, NULL},
    {"a NUL in the name", str_n("\1\0\0\0a\0b", 7), false, 0, 0, NULL},
    {"a NUL behind the name", str_n("\1\0\0\0ab\0", 7), false, 0, 0, NULL},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    const struct row *r = &rows[i];
    struct gssapi_choice c = {.layer = -1};
    if (gssapi_parse_choice(r->token, &c) != r->is_good) fail_msg("%s: taken or refused wrongly", r->what);
    if (!r->is_good) {
      assert_int_equal(c.layer, -1);
      continue;
    }
    assert_int_equal(c.layer, r->layer);
    assert_int_equal(c.size_bytes, r->size);
    assert_int_equal(c.authzid.n, strlen(r->name));
    assert_memory_equal(c.authzid.p, r->name, c.authzid.n);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
