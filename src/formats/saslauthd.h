/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is said on the sockets of Cyrus SASL's password daemons, saslauthd and pwcheck.  Floor: formats (pure; input hostile). */
#ifndef FORMATS_SASLAUTHD_H
#define FORMATS_SASLAUTHD_H

#include "base/strbuf.h"

enum { SASLAUTHD_ARGS = 4, SASLAUTHD_MAX_BYTES = 65535 };

/* Append the question: user, password, service and realm, each behind its length in two bytes.  False: one is longer than SASLAUTHD_MAX_BYTES. */
MUST_CHECK bool saslauthd_question(struct strbuf *b, const char *const args[SASLAUTHD_ARGS]);

enum saslauthd_verdict { SASLAUTHD_NO, SASLAUTHD_YES, SASLAUTHD_UNKNOWN };

/* The answer of saslauthd: a length in two bytes, then text that starts with OK or NO.  A text cut short counts when its start is there; *ret_text is
 * the text, a part of bytes (empty: there is none). */
enum saslauthd_verdict saslauthd_answer(struct str bytes, struct str *ret_text);
/* Has all of the answer come? */
bool saslauthd_is_complete(struct str bytes);
/* The answer of pwcheck: the same text without a length. */
enum saslauthd_verdict saslauthd_text_verdict(struct str text);

#endif
