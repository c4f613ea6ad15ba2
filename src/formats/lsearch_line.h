/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines of an lsearch file (manual ch. 9.3).  Floor: formats (pure).
 *
 * A line is a key, white space and perhaps one colon, and data.  A key ends at a colon or white space; a quoted one ends at its quote and
 * may hold escapes.  Lines that begin with white space continue the data of the one before. */
#ifndef FORMATS_LSEARCH_LINE_H
#define FORMATS_LSEARCH_LINE_H

#include "base/arena.h"
#include "base/str.h"

/* The key at the start of a line, and what follows it.  Quoted keys are unescaped into the arena; others are a part of the line. */
struct str lsearch_key(struct arena *a, struct str line, struct str *ret_rest);
/* Is this a line with a key, and not empty, a comment, or the continuation of another? */
static inline bool lsearch_is_item(struct str line) { return line.n > 0 && line.p[0] != '#' && !ch_isspace(line.p[0]); }
/* Data behind the key: white space and one colon are dropped; continuation lines (the text after this line) follow, each joined by one
 * space.  want_full: the whole line, with a quoted key unescaped, instead of what is behind the key. */
const char *lsearch_data(struct arena *a, struct str rest, struct str following, struct str whole_line, bool want_full);

#endif
