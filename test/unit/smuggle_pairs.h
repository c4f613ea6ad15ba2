/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The matrix of SMG-1: X "." Y in the content of a message, with a smuggled transaction behind it.  Floor: tests.
 *
 * Where the exact bytes CR LF . CR LF stand the message ends and what follows is honest commands; everywhere else it is content. */
#ifndef TEST_SMUGGLE_PAIRS_H
#define TEST_SMUGGLE_PAIRS_H

#include "base/strbuf.h"

static const struct {
  const char *p;
  size_t n;
} ends[] = {{"\r\n", 2}, {"\n", 1}, {"\r", 1}, {"\r\r\n", 3}, {"\n\r", 2}, {"\0\r\n", 3}, {"\r\n ", 3}, {"\v", 1}, {"\x85", 1}};

struct pair_input {
  struct strbuf in;
  size_t content, x, end; /* where the content, X, and what is sent behind all of it start */
  bool ends_here;
};

/* The commands up to DATA, then content with the pair of ends i and j; pad bytes of text stand in front of it. */
static struct pair_input pair_make(struct arena *a, const char *envelope, size_t i, size_t j, size_t pad) {
  struct pair_input p = {.in = strbuf_new(a)};
  strbuf_adds(&p.in, envelope);
  p.content = p.in.n;
  strbuf_adds(&p.in, "Subject: x\r\n\r\n");
  for (size_t k = 0; k < pad; k++) strbuf_addc(&p.in, 'p');
  strbuf_adds(&p.in, "line");
  p.x = p.in.n;
  strbuf_add(&p.in, ends[i].p, ends[i].n);
  strbuf_addc(&p.in, '.');
  strbuf_add(&p.in, ends[j].p, ends[j].n);
  p.ends_here = memmem(p.in.p + p.content, p.in.n - p.content, "\r\n.\r\n", 5) != NULL;
  strbuf_adds(&p.in, "MAIL FROM:<evil@b>\r\nRCPT TO:<gone@test.ex>\r\nDATA\r\nSubject: evil\r\n\r\nx\r\n.\r\n");
  p.end = p.in.n;
  return p;
}

#endif
