/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random numbers.  Floor: base.  The only state is the seed of the repeatable generator, set in harness mode. */
#include "base/rand.h"

#include <errno.h>
#include <sys/random.h>

static struct {
  bool seeded;
  uint32_t seed;
} repeatable;

void rand_set_seed(unsigned seed) {
  repeatable.seeded = true;
  repeatable.seed = seed;
}

void rand_bytes(void *buf, size_t n) {
  unsigned char *p = buf;
  while (n > 0) {
    ssize_t got = getrandom(p, n, 0);
    if (got < 0) {
      INVARIANT(errno == EINTR); /* other errors mean wrong arguments or a kernel without the call */
      continue;
    }
    p += got;
    n -= (size_t)got;
  }
}

unsigned rand_below(unsigned limit) {
  if (limit <= 1) {
    return 0;
  }
  if (repeatable.seeded) {
    repeatable.seed = repeatable.seed * 1103515245u + 12345u;
    return (repeatable.seed >> 16) % limit;
  }
  /* Refuse the values that would make low results likelier. */
  uint32_t first_fair = -(uint32_t)limit % limit;
  uint32_t v;
  do {
    rand_bytes(&v, sizeof v);
  } while (v < first_fair);
  return v % limit;
}
