/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Narration of -bh and of debug output for lists, ACLs and routing.  Floor: policy.
 *
 * Lines go to stderr with one write each.  Subjects come from the network; control characters in them are shown escaped, so that a
 * caller of -bh cannot be shown lines that were never narrated.  Owns no memory: each line is built in the context's arena and
 * given back. */

#include "policy/narrate.h"

#include <stdio.h>

#include "conn.h"
#include "os/debug.h"

static struct {
  int level;
} narration;

bool narrate_wanted(const struct expand_ctx *x, unsigned debug_bits) {
  return (debug_selector & debug_bits) != 0 || (x->conn && x->conn->host_checking);
}

int narrate_indent(int delta) { return narration.level += delta; }

const char *narrate_dotted(struct arena *a, const char *s) {
  if (!strchr(s, ' ')) return s;
  struct strbuf b = strbuf_new(a);
  for (; *s; s++) {
    if (*s == ' ') strbuf_adds(&b, "\xe2\x96\x91");
    else strbuf_add(&b, s, 1);
  }
  return b.p;
}

static void add_escaped(struct strbuf *b, const char *s) {
  for (; *s; s++) {
    if (*s == '\n') strbuf_adds(b, "\\n");
    else if (*s == '\r') strbuf_adds(b, "\\r");
    else if (ch_iscntrl((unsigned char)*s) && *s != '\t') strbuf_addf(b, "\\%03o", (unsigned char)*s);
    else strbuf_add(b, s, 1);
  }
}

/* A line is no longer than readers of -bh are used to; what is left out is said. */
enum { NARRATE_LINE_BYTES = 2001 };

static void say(const struct expand_ctx *x, int level, const char *text) {
  struct strbuf b = strbuf_new(x->a);
  bool checking = x->conn && x->conn->host_checking;
  if (checking) strbuf_adds(&b, ">>> ");
  for (int i = 0; i < level; i++) strbuf_adds(&b, i % 4 == 3 ? "\xe2\x95\x8e" : " ");
  add_escaped(&b, text);
  if (b.n > NARRATE_LINE_BYTES) {
    strbuf_truncate(&b, NARRATE_LINE_BYTES);
    strbuf_adds(&b, "\n**** debug string too long - truncated ****");
  }
  if (checking) (void)fprintf(stderr, "%s\n", b.p);
  else debug_printf("%s\n", b.p);
}

PRINTF(4, 0) static void vnarrate(const struct expand_ctx *x, unsigned debug_bits, int level, const char *fmt, va_list ap) {
  if (!narrate_wanted(x, debug_bits)) return;
  struct arena_mark mark = arena_mark(x->a);
  say(x, level, arena_vprintf(x->a, fmt, ap));
  arena_release(x->a, mark);
}

void narrate(const struct expand_ctx *x, unsigned debug_bits, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vnarrate(x, debug_bits, narration.level, fmt, ap);
  va_end(ap);
}

void narrate_flat(const struct expand_ctx *x, unsigned debug_bits, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vnarrate(x, debug_bits, 0, fmt, ap);
  va_end(ap);
}
