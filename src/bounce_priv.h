/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to bounce*.c: a message about a message, while it is being made.  Floor: flows. */
#ifndef BOUNCE_PRIV_H
#define BOUNCE_PRIV_H

#include "message.h"
#include "policy/expand.h"

enum { REPORT_ITEMS = 6 };

struct report {
  struct message *old;       /* what it is about */
  struct expand_ctx *x;
  struct message *m;         /* the report */
  struct conn *c;
  struct arena *a;
  const char *to;
  const char *boundary;
  struct strbuf body;
  const char *items[REPORT_ITEMS]; /* texts of bounce_message_file or warn_message_file, expanded; NULL: the usual one */
  bool failed_write;
};

/* A new message to that address in the spool; false: it could not be made (logged). */
bool report_open(struct report *r, struct message *old, struct expand_ctx *x, const char *to);
/* Commit, log, deliver.  False: it is not on the spool. */
bool report_close(struct report *r);
void report_header(struct report *r, const char *text);
/* Header lines of a report that is plain text.  references_in_body: that line is the first of the text, where Exim's letters about mistakes have it. */
void report_plain_headers(struct report *r, const char *subject, bool references_in_body);
/* A value without line ends (arena). */
const char *report_one_line(struct arena *a, const char *s);

/* bounce_text.c: fill r->items from a file; what cannot be had is logged and stays as usual. */
void report_read_template(struct report *r, const char *option, const char *file, size_t count);
/* Header lines of a template, folded ones too; from a line that is none on the rest opens the body. */
void report_add_template_headers(struct report *r, const char *text);

#endif
