/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Message bodies with CR LF line ends and those with LF ones.  Floor: formats (pure; input hostile).
 *
 * In wire form a line ends in CR LF and a CR or LF stands nowhere else; no dots are stuffed.  Manual ch. 57 "Format of the -D file". */
#ifndef FORMATS_WIRE_BODY_H
#define FORMATS_WIRE_BODY_H

#include "base/str.h"

/* How many bytes at the start of s are in wire form: up to the first CR or LF that is no half of a CR LF.  A CR as the last byte is not counted,
 * for what follows it is unknown. */
size_t wire_clean_prefix(struct str s);

/* Turn each CR LF in p[0..n) into LF, in place; other CRs stay.  A CR as the last byte is taken off and *ret_held_cr set: it belongs in front of the
 * next piece, or at the very end.  The new length. */
size_t wire_to_lf(char *p, size_t n, bool *ret_held_cr);

#endif
