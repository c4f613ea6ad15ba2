/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMTP lines: commands with parameters, reply codes, xtext.  Floor: formats (pure; input hostile).  RFC 5321, 2920, 3030, 3461, 1870, 4954. */
#ifndef FORMATS_SMTP_GRAMMAR_H
#define FORMATS_SMTP_GRAMMAR_H

#include "base/arena.h"
#include "base/str.h"

enum smtp_verb {
  VERB_HELO, VERB_EHLO, VERB_LHLO, VERB_MAIL, VERB_RCPT, VERB_DATA, VERB_BDAT, VERB_RSET, VERB_NOOP, VERB_QUIT,
  VERB_VRFY, VERB_EXPN, VERB_HELP, VERB_ETRN, VERB_ATRN, VERB_AUTH, VERB_STARTTLS, VERB_XCLIENT, VERB_WELLKNOWN,
  VERB_UNKNOWN, VERB_COUNT
};

/* Verb of a command line, with *ret_arg the rest (leading blanks removed, trailing white space removed).  "MAIL FROM:" and
 * "RCPT TO:" (blank before and after the colon tolerated) are needed for VERB_MAIL/RCPT; "MAIL" without them is VERB_UNKNOWN-like:
 * *ret_bad_form true. */
enum smtp_verb smtp_parse_verb(struct str line, struct str *ret_arg, bool *ret_bad_form);
const char *smtp_verb_name(enum smtp_verb v);

/* Parameters of MAIL/RCPT/BDAT: KEY[=value], space separated, taken from the end of the argument as RFC 5321 orders them.
 * Call repeatedly on the rest after the address; false at the end or on a malformed one (*ret_error then). */
bool smtp_next_param(struct str *rest, struct str *ret_key, struct str *ret_value, bool *ret_has_value);
/* Length of the address path at the start of a MAIL/RCPT argument: "<...>" with quoted strings and what is glued to it, or up to the first blank. */
size_t smtp_path_len(struct str arg);

/* "SIZE [LAST]" of BDAT; false when malformed or over 2^62. */
MUST_CHECK bool smtp_parse_bdat(struct str arg, uint64_t *ret_size, bool *ret_last);

/* Length of an enhanced status code ("5.7.1 ") that starts text and fits the first digit; 0 when none. */
size_t smtp_enhanced_code_len(struct str text, int first_digit);

/* RFC 3461 xtext.  Encoding escapes everything outside 33..126, '+' and '='. */
const char *xtext_encode(struct arena *a, struct str s);
/* NULL when malformed. */
const char *xtext_decode(struct arena *a, struct str s);

/* Is this a legal EHLO keyword (RFC 5321 4.1.1.1)? */
bool smtp_is_keyword(struct str s);

#endif
