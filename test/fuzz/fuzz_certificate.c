/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A selector in the first line, then a certificate as DER or as PEM text. */
#include "base/str.h"
#include "formats/certificate.h"
#include "formats/codecs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena *a = arena_new("fuzz");
  struct str rest = str_n((const char *)data, size), selector = str_cut(&rest, '\n');
  bool is_text = str_starts(rest, STR("-----BEGIN"));
  const char *pem = is_text ? arena_strndup_t(a, rest.p, rest.n, TAINTED)
                            : arena_printf_t(a, TAINTED, "-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n",
                                             base64_encode(a, rest.n ? rest.p : "", rest.n));
  const char *got = NULL;
  if (certificate_field(a, pem, arena_strndup(a, selector.p, selector.n), true, &got) == CERTIFICATE_FOUND)
    INVARIANT(got && *got && is_tainted(got));
  else
    INVARIANT(!got);
  arena_free(a);
  return 0;
}
