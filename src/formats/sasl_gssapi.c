/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The last message of SASL GSSAPI: one octet with the layer chosen, three with a size, the name.  Floor: formats.  RFC 4752.
 *
 * Pure.  Hostile: every byte, though the peer is authenticated by now; the name may be anything but holds no NUL. */
#include "formats/sasl_gssapi.h"

enum { HEAD_BYTES = 4 };

bool gssapi_parse_choice(struct str token, struct gssapi_choice *ret) {
  if (token.n < HEAD_BYTES) return false;
  unsigned char layer = (unsigned char)token.p[0];
  if (layer != GSSAPI_LAYER_NONE && layer != GSSAPI_LAYER_INTEGRITY && layer != GSSAPI_LAYER_PRIVACY) return false;
  struct str name = str_n(token.p + HEAD_BYTES, token.n - HEAD_BYTES);
  if (name.n > 0 && memchr(name.p, 0, name.n)) return false;
  uint32_t size = 0;
  for (int i = 1; i < HEAD_BYTES; i++) size = size << 8 | (unsigned char)token.p[i];
  *ret = (struct gssapi_choice){.layer = layer, .size_bytes = size, .authzid = name};
  return true;
}
