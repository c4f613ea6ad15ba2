/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arbitrary arguments of ATRN: each domain that is cut off lies inside the text and is a plain name, and a list is valid only when all of it was cut. */
#include "formats/atrn_domains.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct str list = str_n((const char *)data, size), rest = list, name;
  size_t taken = 0;
  while (atrn_next_domain(&rest, &name)) {
    INVARIANT(name.n > 0 && name.n <= ATRN_DOMAIN_MAX && name.p >= list.p && name.p + name.n <= list.p + list.n);
    INVARIANT(atrn_domain_is_valid(name));
    for (size_t i = 0; i < name.n; i++) INVARIANT(ch_isalnum(name.p[i]) || name.p[i] == '-' || name.p[i] == '_' || name.p[i] == '.');
    taken += name.n + 1;
  }
  INVARIANT(atrn_list_is_valid(list) == (size == 0 || taken == size + 1));
  return 0;
}
