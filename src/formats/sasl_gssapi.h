/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The last message of SASL GSSAPI.  Floor: formats.  RFC 4752 3.1, 3.3. */
#ifndef FORMATS_SASL_GSSAPI_H
#define FORMATS_SASL_GSSAPI_H

#include "base/str.h"

enum { GSSAPI_LAYER_NONE = 1, GSSAPI_LAYER_INTEGRITY = 2, GSSAPI_LAYER_PRIVACY = 4 };

struct gssapi_choice {
  int layer;            /* one of GSSAPI_LAYER_... */
  uint32_t size_bytes;  /* the longest message the client takes, of a security layer */
  struct str authzid;   /* whom the client wants to be, empty for itself; points into the token, holds no NUL */
};

/* What the client said behind gss_unwrap().  False when it is not such a message: too short, no or several layers, a NUL in the name. */
bool gssapi_parse_choice(struct str token, struct gssapi_choice *ret);

#endif
