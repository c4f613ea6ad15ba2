/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An ALPN extension, and the same bytes as a server's name. */
#include "os/tls_names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena *a = arena_new("fuzz");
  struct str in = str_n((const char *)data, size);
  const char *names = tls_alpn_names(a, in);
  if (names) {
    INVARIANT(strlen(names) < size && is_tainted(names));
    for (const char *p = names; *p; p++) INVARIANT(ch_isgraph(*p));
  }
  if (tls_is_host_name(in)) {
    INVARIANT(size > 0 && size <= 255);
    for (size_t i = 0; i < size; i++) INVARIANT(ch_isgraph(in.p[i]) && in.p[i] != '/' && in.p[i] != '$' && in.p[i] != '\\');
  }
  arena_free(a);
  return 0;
}
