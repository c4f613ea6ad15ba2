/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who was answered, and when: the "once" memory of the autoreply transport.  Floor: drivers.  Manual ch. 27.
 *
 * Without a size limit a GDBM file, key: the address with its NUL, value: the time as time_t.  With one a plain file of records, each a time_t and
 * the address with its NUL, the oldest dropped when it would grow too large.  Both are held under an fcntl lock while they are looked at.  Their
 * bytes are the user's: damaged records are passed over. */
#ifndef TRANSPORTS_AUTOREPLY_ONCE_H
#define TRANSPORTS_AUTOREPLY_ONCE_H

#include <sys/types.h>

#include "base/arena.h"

struct autoreply_once {
  const char *file;
  int64_t size_limit; /* bytes; 0: GDBM */
  int64_t repeat_sec; /* 0: never again */
  mode_t mode;
};

/* *ret_due: the address was not answered yet, or long enough ago.  0 or -errno. */
MUST_CHECK int autoreply_once_check(const struct autoreply_once *o, struct arena *a, const char *address, bool *ret_due);
/* It was answered now.  0 or -errno. */
MUST_CHECK int autoreply_once_note(const struct autoreply_once *o, struct arena *a, const char *address);

#endif
