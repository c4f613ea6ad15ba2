/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Address rewriting.  Floor: policy.  Manual ch. 31. */
#ifndef POLICY_REWRITE_H
#define POLICY_REWRITE_H

#include "formats/rfc5322.h"
#include "policy/expand.h"

enum {
  REWRITE_SENDER = 1, REWRITE_FROM = 2, REWRITE_TO = 4, REWRITE_CC = 8, REWRITE_BCC = 16, REWRITE_REPLYTO = 32,
  REWRITE_ENVFROM = 64, REWRITE_ENVTO = 128, REWRITE_SMTP = 256, REWRITE_QUIT = 512, REWRITE_WHOLE = 1024,
  REWRITE_REPEAT = 2048, REWRITE_QUALIFY = 4096,
  REWRITE_SMTP_SENDER = REWRITE_SMTP | 16384, /* for log lines: MAIL, not RCPT */
  REWRITE_UNLOGGED = 32768, /* on behalf of a user who may not write the log */
  REWRITE_HEADERS = 63
};

/* Parse one line of the rewrite section; NULL ok, else error text. */
const char *rewrite_parse_rule(struct arena *a, const char *line, struct conf_pos pos, int number, struct rewrite_rule *ret);
/* Rewrite an address for the places in flag; returns the same pointer when nothing changed. */
const char *rewrite_address(struct expand_ctx *x, const char *address, unsigned flag, const struct rewrite_rule *rules);
/* The ordinary rules applied to the sender of x->msg, once (manual 31.2: when it is verified, else with the header lines). */
void rewrite_message_sender(struct expand_ctx *x);
/* Rewrite one header line; NULL when unchanged, else the new text. */
const char *rewrite_header(struct expand_ctx *x, const struct header_line *h, const struct rewrite_rule *rules);
/* The same for a line of addresses in which new_domain takes the place of old_domain (manual 17.4, dnslookup's rewrite_headers). */
const char *rewrite_header_domain(struct expand_ctx *x, const struct header_line *h, const char *old_domain, const char *new_domain);

#endif
