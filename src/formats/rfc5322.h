/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses and header lines.  Floor: formats (pure functions over bytes, all input hostile).
 *
 * Addresses follow RFC 5322/5321 as Exim reads them (manual ch. 5, 47): comments and white space are removed, quoted local parts are
 * kept quoted where needed, source routes are dropped, domain literals only when allowed.
 * Error texts are the ones Exim gives in 501 replies and logs ("missing or malformed local part", "domain missing or malformed",
 * "unmatched doublequote in local part" ...). */
#ifndef FORMATS_RFC5322_H
#define FORMATS_RFC5322_H

#include "base/arena.h"
#include "base/str.h"

struct addr_opts {
  bool allow_empty;          /* <> is fine (MAIL FROM) */
  bool allow_domain_literal;
  bool allow_utf8;
  bool strip_angle_excess;   /* strip_excess_angle_brackets */
  bool strip_trailing_dot;
};

/* Extract the one working address of s (display names, comments, angle brackets removed).
 * Returns arena text (taint as source; "" for <>), with *ret_domain the offset of the domain after @, 0 when unqualified (may be NULL).
 * NULL on error with *ret_error a static text. */
const char *rfc5322_extract_address(struct arena *a, struct str s, struct addr_opts o, size_t *ret_domain,
                                    const char **ret_error);
/* "Phrase <@route:(comment) old> (comment)" with address as all that is in the brackets.  NULL: there are none. */
const char *rfc5322_put_in_brackets(struct arena *a, const char *text, const char *address);
/* Is s[*i] part of a comment, a quoted string or a quoted pair?  *i is then at the last octet that is; *depth counts open comments, 0 at first. */
bool rfc5322_skip_opaque(struct str s, size_t *i, int *depth);
/* Length of the first address of a comma-separated list (up to the comma or the end; groups handled: "name:" skipped, ";" ends). */
size_t rfc5322_find_address_end(struct str s);

/* White space around an address taken off, but not the space that a backslash keeps at the end of a local part. */
struct str rfc5322_trim(struct str item);

/* One item of a list without a group name in front ("name:") and the semicolon that closes a group, trimmed. */
struct str rfc5322_strip_group(struct str item);

/* Local part and domain of a qualified address (the domain is after the last unquoted @). False when there is no @. */
bool addr_split(const char *address, struct str *ret_local, struct str *ret_domain);
/* Quote a local part when it needs it (operator quote_local_part). */
const char *addr_quote_local_part(struct arena *a, struct str local);
/* The local part without quotes and backslashes: what a mailbox name, a variable or a list item is compared with. */
const char *addr_dequote_local_part(struct arena *a, struct str local);
/* A phrase fit for a header ("Joe Q. Public" quoted when needed, RFC 2047 coded when 8-bit). */
const char *rfc5322_fix_phrase(struct arena *a, struct str phrase, const char *charset);

/* A header line as kept in a message and in -H files. */
struct header_line {
  struct header_line *next;
  const char *text;  /* "Name: value\n" with folded lines inside; NUL-terminated */
  size_t n;          /* length of text */
  char type;         /* ' ' B C F I P R S T as in -H files, '*' deleted/replaced */
};

/* Type letter of a header line from its name; ' ' for others.  resent: a Resent- form counts as the plain one. */
char header_type_of(struct str line, bool *ret_is_resent);
/* Name (without colon) and value slice of a header line; false when it is none. */
bool header_split(struct str line, struct str *ret_name, struct str *ret_value);
/* Does the line look like a header (1*ftext, optional blanks, colon)? */
bool header_is_valid_start(struct str line);


#endif
