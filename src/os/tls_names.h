/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a TLS client hello says in names: protocols (ALPN) and the server's name (SNI).  Floor: os, pure.  RFC 7301, 6066.
 *
 * Every byte is the peer's.  Results are tainted. */
#ifndef OS_TLS_NAMES_H
#define OS_TLS_NAMES_H

#include "base/arena.h"
#include "base/str.h"

/* The names of an ALPN extension (two bytes of length, then names with one byte of length each) with colons between; NULL when the
 * lengths do not fit. */
const char *tls_alpn_names(struct arena *a, struct str extension);
/* Is it a name of a host: letters, digits, hyphens, underscores, labels that are not empty, at most 255 bytes? */
bool tls_is_host_name(struct str name);

#endif
