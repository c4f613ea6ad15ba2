/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines of standard input.  Floor: main.  The text is the caller's own, who has no more rights here than in a shell. */
#include "cmd_input.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "os/sys.h"

/* False at the end of input. */
static bool fill(struct cmd_input *in) {
  if (in->at < in->n) return true;
  if (in->at_end) return false;
  fflush(stdout);
  ssize_t n = sys_read(STDIN_FILENO, in->bytes, sizeof in->bytes);
  in->at = 0;
  in->n = n > 0 ? (size_t)n : 0;
  in->at_end = n <= 0;
  return n > 0;
}

const char *cmd_read_line(struct cmd_input *in, struct arena *a) {
  struct strbuf b = strbuf_new(a);
  bool any = false;
  while (fill(in)) {
    const char *start = in->bytes + in->at, *newline = memchr(start, '\n', in->n - in->at);
    size_t n = newline ? (size_t)(newline - start) : in->n - in->at;
    strbuf_add(&b, start, n);
    any = true;
    in->at += n + (newline != NULL);
    if (newline) break;
  }
  return any ? b.p : NULL;
}
