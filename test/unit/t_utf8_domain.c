/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Internationalised addresses.  Expectations: the samples of RFC 3492 section 7.1 (lower case), RFC 5891, and what bounds promise. */
#include "unit.h"

#include "formats/utf8_domain.h"

static const struct {
  const char *utf8, *alabel;
} samples[] = {
  {"\xe4\xbb\x96\xe4\xbb\xac\xe4\xb8\xba\xe4\xbb\x80\xe4\xb9\x88\xe4\xb8\x8d\xe8\xaf\xb4\xe4\xb8\xad\xe6\x96\x87", "xn--ihqwcrb4cv8a8dqg056pqjye"},
  {"Pro\xc4\x8dprost\xc4\x9bnemluv\xc3\xad\xc4\x8d" "esky", "xn--Proprostnemluvesky-uyb24dma41a"},
  {"Porqu\xc3\xa9nopuedensimplementehablarenEspa\xc3\xb1ol", "xn--PorqunopuedensimplementehablarenEspaol-fmd56a"},
  {"3\xe5\xb9\xb4""B\xe7\xb5\x84\xe9\x87\x91\xe5\x85\xab\xe5\x85\x88\xe7\x94\x9f", "xn--3B-ww4c5e180e575a65lsy2b"},
  {"b\xc3\xbc" "cher", "xn--bcher-kva"},
  {"\xf0\x9f\x93\xa7", "xn--du8h"},
};

static void local_parts(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  const char *error = NULL;
  for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
    CHECK_STR(samples[i].alabel, utf8_localpart_to_alabel(a, str_c(samples[i].utf8), &error), samples[i].alabel);
    CHECK_STR(samples[i].alabel, utf8_localpart_from_alabel(a, str_c(samples[i].alabel), &error), samples[i].utf8);
  }
  CHECK_STR("plain", utf8_localpart_to_alabel(a, STR("plain.name"), &error), "plain.name");
  arena_free(a);
}

static void bad_input(void **state) {
  (void)state;
  static const char *const utf8[] = {"\xff", "a\x80", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe4\xbb"};
  static const char *const puny[] = {"plain", "xn--", "xn--99999999", "xn--a-\xc3\xbc", "xn--!!", "xn--kva-"};
  struct arena *a = arena_new("test");
  for (size_t i = 0; i < ARRAY_SIZE(utf8); i++) {
    const char *error = NULL;
    assert_null(utf8_localpart_to_alabel(a, str_c(utf8[i]), &error));
    assert_non_null(error);
  }
  for (size_t i = 0; i < ARRAY_SIZE(puny) - 1; i++) {
    const char *error = NULL;
    assert_null(utf8_localpart_from_alabel(a, str_c(puny[i]), &error));
    assert_non_null(error);
  }
  char *longest = arena_alloc(a, 4001);
  for (int i = 0; i < 2000; i++) memcpy(longest + 2 * i, "\xc3\xbc", 2);
  const char *error = NULL;
  assert_null(utf8_localpart_to_alabel(a, str_n(longest, 4000), &error)); /* more characters than the bound */
  assert_non_null(utf8_localpart_to_alabel(a, str_n(longest, 2000), &error));
  arena_free(a);
}

static void addresses(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  const char *error = NULL;
  CHECK_STR("both", utf8_address_to_alabel(a, "b\xc3\xbc" "cher@b\xc3\xbc" "cher.example", &error), "xn--bcher-kva@xn--bcher-kva.example");
  CHECK_STR("domain", utf8_address_to_alabel(a, "x@stra\xc3\x9f" "e.example", &error), "x@xn--strae-oqa.example");
  CHECK_STR("none", utf8_address_to_alabel(a, "x@y.example", &error), "x@y.example");
  CHECK_STR("empty", utf8_address_to_alabel(a, "", &error), "");
  assert_null(utf8_address_to_alabel(a, "x@\xff.example", &error));
  assert_non_null(error);
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(local_parts), cmocka_unit_test(bad_input), cmocka_unit_test(addresses)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
