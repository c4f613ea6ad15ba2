/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Canonical forms of headers and bodies (RFC 6376 section 3.4), the body as a stream.  Floor: formats (pure; input hostile).
 *
 * Lines end in LF, or CR LF, and leave as CR LF; a CR that stands elsewhere is an ordinary character. */
#ifndef FORMATS_DKIM_CANON_H
#define FORMATS_DKIM_CANON_H

#include "base/strbuf.h"

/* Append the canonical form of one header line.  with_end: also its line end; the signature's own line is signed without one. */
void dkim_canon_header(struct strbuf *out, struct str line, bool relaxed, bool with_end);

/* Takes canonical bytes. */
typedef void (*dkim_canon_fn)(void *ctx, const void *p, size_t n);

/* A body that comes in pieces; how it is cut makes no difference.  Memory is bounded by the struct. */
struct dkim_canon {
  bool relaxed;
  int64_t left;            /* bytes that may still be given, -1: no limit (l=) */
  dkim_canon_fn fn;
  void *ctx;
  /* state */
  uint64_t empty_lines;    /* held back: at the end they do not count */
  bool at_line_start, held_cr, held_blank;
  bool any;                /* something was given */
  size_t n;
  char buf[1024];
};
/* limit: -1 none. */
void dkim_canon_init(struct dkim_canon *c, bool relaxed, int64_t limit, dkim_canon_fn fn, void *ctx);
void dkim_canon_feed(struct dkim_canon *c, const void *p, size_t n);
/* The body is complete.  *c may not be fed again. */
void dkim_canon_end(struct dkim_canon *c);

#endif
