/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines of transports: split into words first, each word expanded after.  Floor: drivers.  Manual section 29.3. */
#ifndef TRANSPORT_COMMAND_H
#define TRANSPORT_COMMAND_H

#include "base/str.h"
#include "base/vec.h"
#include "transport.h"

/* Next word of *rest with its quoting undone (arena); NULL at the end.  'text' is taken as it is, in "text" backslash escapes are undone. */
const char *transport_next_word(struct arena *a, struct str *rest);

/* Split a command and expand each word; "$pipe_addresses" becomes one word for each address of the batch.  The vector ends with NULL.
 * what names the command in texts ("transport filter").  NULL, or why not (arena); words that came from outside are refused, *ret_tainted tells. */
const char *transport_expand_command(struct delivery *d, const char *command, const char *what, struct vec *argv, bool *ret_tainted);

#endif
