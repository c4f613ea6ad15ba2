/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two domains, a record and a list of suffixes of any bytes.  The organizational domain is the end of the domain and its own organizational domain; alignment
 * is the same both ways, and strict alignment is alignment. */
#include "formats/dmarc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct str rest = str_n((const char *)data, size);
  struct str one = str_cut(&rest, '\n'), two = str_cut(&rest, '\n'), record = str_cut(&rest, '\n');
  struct dmarc_record r;
  if (dmarc_parse_record(record, &r)) INVARIANT(r.policy != DMARC_UNSPECIFIED && r.percent >= 0 && r.percent <= 100);
  struct str org = dmarc_org_domain(rest, one);
  INVARIANT(str_ends(one, org) && str_eq(dmarc_org_domain(rest, org), org));
  if (one.n && two.n) INVARIANT(dmarc_is_aligned(rest, one, two, false) == dmarc_is_aligned(rest, two, one, false));
  if (dmarc_is_aligned(rest, one, two, true)) INVARIANT(dmarc_is_aligned(rest, one, two, false));
  return 0;
}
