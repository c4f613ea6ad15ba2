/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What scanners answer.  Floor: formats (pure; the scanner's text quotes the message, so it is hostile).  Slices point into the input. */
#ifndef FORMATS_SCANNER_REPLY_H
#define FORMATS_SCANNER_REPLY_H

#include "base/str.h"

enum scanner_verdict { SCANNER_CLEAN, SCANNER_FOUND, SCANNER_STRANGE };

/* The whole answer of clamd: "path: OK", "path: NAME FOUND"; else STRANGE. */
enum scanner_verdict scanner_clamd_reply(struct str answer, struct str *ret_name);

/* A line of avast's answer to SCAN: a code, or what it says of one file. */
enum scanner_avast_line { AVAST_CLEAN, AVAST_FOUND, AVAST_UNSCANNED, AVAST_DATA, AVAST_DONE, AVAST_FAILED, AVAST_OTHER };
/* *ret_text of FOUND and UNSCANNED: the name, still with backslashes. */
enum scanner_avast_line scanner_avast_line(struct str line, struct str *ret_text);

/* F-Secure: "...INFECTED\tfile\tNAME\t..." -> FOUND; "OK\tScan ok." -> CLEAN (the end); else STRANGE: read on. */
enum scanner_verdict scanner_fsecure_line(struct str line, struct str *ret_name);

/* "0 ..." clean, "1 <infected: NAME> file" found (FPSCAND). */
enum scanner_verdict scanner_fprot6d_line(struct str line, struct str *ret_name);

/* Text between two marks of the line; empty when they are not there. */
struct str scanner_between(struct str line, const char *from, const char *to);

/* SpamAssassin: the head "SPAMD/1.1 0 EX_OK", "Spam: False ; 4.5 / 5.0"; rspamd: "RSPAMD/1.3 0 EX_OK", "Metric: default; True; 15.00 / 15.00 / 0.0".
 * Numbers are in thousandths. */
struct scanner_spam {
  bool is_rspamd;
  int64_t score, threshold, reject_score;
  struct str report;      /* what follows */
};
MUST_CHECK bool scanner_spam_reply(struct str answer, bool is_rspamd, struct scanner_spam *ret);

#endif
