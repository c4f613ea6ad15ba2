/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to spool*.c.  Floor: drivers.  Between struct message and the bytes of a -H file. */
#ifndef SPOOL_PRIV_H
#define SPOOL_PRIV_H

#include "formats/spool_file.h"
#include "spool.h"

/* The -H bytes of a message, in its arena. */
struct strbuf spool_header_bytes(struct message *m);
/* Fill m (fresh, id set) from -H bytes; NULL or what is wrong. */
const char *spool_message_from_bytes(struct message *m, struct str bytes, bool envelope_only);
/* message_size and message_linecount from headers and body. */
void spool_count_message_size(struct message *m);

#endif
