/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Base 62 as used in message ids (digits 0-9 A-Z a-z), and message id syntax.  Floor: base. */
#ifndef BASE_BASE62_H
#define BASE_BASE62_H

#include "base/str.h"

enum { MSGID_LEN = 23, MSGID_LEN_OLD = 16, MSGID_SIZE = 24 };

/* Exactly width digits, zero padded, no NUL; higher digits are dropped. */
void base62_encode(uint64_t v, int width, char *out);
MUST_CHECK bool base62_decode(struct str s, uint64_t *ret);
/* Length of a message id at the start of s (23 or 16), 0 when there is none.  The id must not be followed
 * by another id character. */
size_t msgid_prefix_len(struct str s);
/* The whole of s is a message id of either form. */
bool msgid_is_valid(struct str s);

#endif
