/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The header a proxy puts in front of a connection: PROXY protocol versions 1 and 2.  Floor: formats (pure; input hostile).
 * The HAProxy document "The PROXY protocol", sections 2.1 and 2.2; manual ch. 59. */
#ifndef FORMATS_PROXY_PROTOCOL_H
#define FORMATS_PROXY_PROTOCOL_H

#include "base/ip.h"
#include "base/str.h"

enum { PROXY_HEADER_MAX = 2048 }; /* bytes; version 2 may carry additions that are skipped */

struct proxy_header {
  bool has_addresses;   /* false: LOCAL or UNKNOWN, the connection is what it looks like */
  struct ip source, destination;
  int source_port, destination_port;
};

enum proxy_parse { PROXY_MORE, PROXY_DONE, PROXY_BAD };

/* in: the first bytes of a connection.  PROXY_MORE: *ret_need more bytes belong to the header for certain, so that who reads exactly those never reads
 * a byte behind it.  PROXY_DONE: in is the header, no byte more.  ret is written with PROXY_DONE only. */
enum proxy_parse proxy_parse_header(struct str in, struct proxy_header *ret, size_t *ret_need);

#endif
