/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The identification protocol, RFC 1413.  Floor: formats (pure; input hostile). */
#ifndef FORMATS_IDENT_H
#define FORMATS_IDENT_H

#include <stdbool.h>

#include "base/macros.h"
#include "base/str.h"

enum { IDENT_LINE_MAX = 1000, IDENT_USER_MAX = 127 };

/* The user in a reply line (without its line end) about the connection from their_port to our_port, at most IDENT_USER_MAX bytes, as it came.  False:
 * an error, another connection, or no reply. */
MUST_CHECK bool ident_parse_reply(struct str line, int their_port, int our_port, struct str *ret_user);

#endif
