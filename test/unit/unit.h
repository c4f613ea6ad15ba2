/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every unit test includes: cmocka with the headers it needs, in the order it needs them, and got/want helpers.
 * Floor: tests. */
#ifndef TEST_UNIT_H
#define TEST_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Compare two C strings of table row "what"; the message shows all three. */
#define CHECK_STR(what, got, want)                                                                        \
  do {                                                                                                    \
    const char *got_ = (got), *want_ = (want);                                                            \
    if (strcmp(got_, want_) != 0) {                                                                       \
      fail_msg("%s: got \"%s\", want \"%s\"", (what), got_, want_);                                       \
    }                                                                                                     \
  } while (0)
#define CHECK_INT(what, got, want)                                                                        \
  do {                                                                                                    \
    long long got_ = (long long)(got), want_ = (long long)(want);                                         \
    if (got_ != want_) {                                                                                  \
      fail_msg("%s: got %lld, want %lld", (what), got_, want_);                                           \
    }                                                                                                     \
  } while (0)

#endif
