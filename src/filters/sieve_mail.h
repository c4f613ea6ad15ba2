/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What vacation and notify share: texts for a message that is made.  Floor: drivers (pure; the texts are hostile). */
#ifndef FILTERS_SIEVE_MAIL_H
#define FILTERS_SIEVE_MAIL_H

#include "filters/sieve_priv.h"

#define SIEVE_MAIL_UTF8 \
  "MIME-Version: 1.0\nContent-Type: text/plain;\n\tcharset=\"utf-8\"\nContent-Transfer-Encoding: quoted-printable\n"

/* Fit for one line of a header: control characters become blanks. */
const char *sieve_mail_line(struct arena *a, struct str s);
/* The same as a subject: coded (RFC 2047, folded) where needed, or always. */
const char *sieve_mail_subject(struct arena *a, struct str s, bool always);
/* Without NUL bytes and carriage returns. */
const char *sieve_mail_text(struct arena *a, struct str s);
/* RFC 2045 section 6.7, line by line. */
const char *sieve_mail_quoted_printable(struct arena *a, struct str s);
/* 32 hexadecimal digits: a clean name of a file. */
const char *sieve_mail_digest(struct arena *a, struct str s);

#endif
