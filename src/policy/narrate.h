/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Narration: the lines starting ">>> " that -bh writes to stderr, and the same lines without the mark under -d.  Floor: policy.
 *
 * One process-wide indent level is kept (on the list of allowed writable globals); whoever raises it lowers it again.  Every fourth
 * column of the indent shows a broken bar.  Nothing is formatted unless somebody is listening. */
#ifndef POLICY_NARRATE_H
#define POLICY_NARRATE_H

#include "policy/expand.h"

/* Is anybody listening: a -bh session, or one of the debug bits? */
bool narrate_wanted(const struct expand_ctx *x, unsigned debug_bits);
/* One line (no newline in fmt). */
void narrate(const struct expand_ctx *x, unsigned debug_bits, const char *fmt, ...) PRINTF(3, 4);
/* The same at the left edge, whatever the level. */
void narrate_flat(const struct expand_ctx *x, unsigned debug_bits, const char *fmt, ...) PRINTF(3, 4);
/* Change the level; the new one. */
int narrate_indent(int delta);
/* Text with spaces shown as U+2591, as list elements are shown (arena copy, or s itself). */
const char *narrate_dotted(struct arena *a, const char *s);

#endif
