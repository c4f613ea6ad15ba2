/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base64, base32, quoted-printable word forms, RFC 2047, RFC 2231, UTF-8 checks, C-like escapes.  Floor: formats (pure; input hostile).
 * Results are arena text with the taint of the source; decoders return NULL (or false) on malformed input. */
#ifndef FORMATS_CODECS_H
#define FORMATS_CODECS_H

#include "base/arena.h"
#include "base/strbuf.h"

const char *base64_encode(struct arena *a, const void *p, size_t n);
/* Strict, padding required; white space not allowed.  Length in *ret_n; NUL added after. */
char *base64_decode(struct arena *a, struct str s, size_t *ret_n);
const char *base32_encode_u64(struct arena *a, uint64_t v);
const char *hex_encode(struct arena *a, const void *p, size_t n);

/* Decode all RFC 2047 words of s.  charset: target, NULL: leave the decoded bytes.  check_length: refuse words over 75 characters.
 * zero_as: byte put for a decoded NUL.  On an undecodable word the raw text stays. */
const char *rfc2047_decode(struct arena *a, struct str s, const char *charset, bool check_length, char zero_as);
/* Encode when s holds unprintable or 8-bit bytes, else a copy. */
const char *rfc2047_encode(struct arena *a, struct str s, const char *charset);
/* Encode whatever s holds. */
const char *rfc2047_encode_always(struct arena *a, struct str s, const char *charset);

/* Interpret backslash escapes of a quoted configuration string or expansion: \n \r \t \b \f \v \\ \ooo \xhh; other: the character itself.
 * s.p points at the backslash; returns the value and the number of bytes used (>= 1; a lone final backslash is itself). */
int escape_interpret(struct str s, size_t *ret_used);

#endif
