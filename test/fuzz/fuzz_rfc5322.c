/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arbitrary bytes as addresses, address lists, header lines and dates: an accepted address is accepted again, unchanged. */
#include "formats/rfc5322.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena *a = arena_new("fuzz");
  struct str in = str_n((const char *)data, size), name, value;
  bool has_nul = memchr(data, 0, size) != NULL;
  struct addr_opts o = {.allow_empty = size & 1, .allow_domain_literal = true, .strip_angle_excess = size & 2,
                        .strip_trailing_dot = size & 4};
  size_t domain = 0, domain2 = 0;
  const char *error = NULL;
  const char *address = rfc5322_extract_address(a, in, o, &domain, &error);
  if (address && *address && !has_nul) {
    INVARIANT(domain <= strlen(address));
    const char *again = rfc5322_extract_address(a, str_c(address), o, &domain2, &error);
    INVARIANT(again && strcmp(again, address) == 0 && domain == domain2);
  } else if (!address) {
    INVARIANT(error);
  }
  for (struct str rest = in; rest.n;) {
    size_t n = rfc5322_find_address_end(rest);
    INVARIANT(n <= rest.n);
    rest = n < rest.n ? str_n(rest.p + n + 1, rest.n - n - 1) : STR_NULL;
  }
  (void)addr_quote_local_part(a, in);
  (void)rfc5322_fix_phrase(a, in, "UTF-8");
  (void)header_is_valid_start(in);
  bool resent;
  (void)header_type_of(in, &resent);
  if (header_split(in, &name, &value)) INVARIANT(name.n + value.n < size);
  arena_free(a);
  return 0;
}
