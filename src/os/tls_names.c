/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names in a TLS client hello (tls_names.h).  Floor: os, pure.  Hostile: all of it. */
#include "os/tls_names.h"

#include "base/strbuf.h"

enum { HOST_NAME_MAX_BYTES = 255 };

const char *tls_alpn_names(struct arena *a, struct str extension) {
  struct strbuf b = strbuf_new_t(a, TAINTED, extension.n + 1);
  if (extension.n < 2 || (size_t)(uint8_t)extension.p[0] * 256 + (uint8_t)extension.p[1] != extension.n - 2) return NULL;
  for (size_t at = 2; at < extension.n;) {
    size_t n = (uint8_t)extension.p[at++];
    if (n == 0 || n > extension.n - at) return NULL;
    if (b.n > 0) strbuf_addc(&b, ':');
    for (size_t i = 0; i < n; i++) strbuf_addc(&b, ch_isgraph(extension.p[at + i]) ? extension.p[at + i] : '?');
    at += n;
  }
  return b.p;
}

bool tls_is_host_name(struct str name) {
  if (name.n == 0 || name.n > HOST_NAME_MAX_BYTES || name.p[0] == '.') return false;
  for (size_t i = 0; i < name.n; i++) {
    char c = name.p[i];
    if (!ch_isalnum(c) && c != '-' && c != '_' && (c != '.' || (i > 0 && name.p[i - 1] == '.'))) return false;
  }
  return true;
}
