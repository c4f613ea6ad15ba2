/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The end of a process whose invariants are broken.  Floor: base.
 *
 * Writes with write(2) only: stdio and the heap may be what is broken. */
#include "base/macros.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void invariant_failed(const char *text, const char *file, int line) {
  char buf[512];
  int n = snprintf(buf, sizeof buf, "exim: invariant failed: %s at %s:%d\n", text, file, line);
  if (n > 0) {
    ssize_t ignored = write(STDERR_FILENO, buf, MIN((size_t)n, sizeof buf - 1));
    (void)ignored;
  }
  abort();
}
