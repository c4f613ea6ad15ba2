/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines of standard input for -be and -bt.  Floor: main.
 *
 * What was printed is written out before the program waits for more input, and not for each line: a terminal, or a program that reads
 * each answer before it asks again, sees no difference, and a file of many lines is one write for many answers. */
#ifndef CMD_INPUT_H
#define CMD_INPUT_H

#include "base/arena.h"

/* Starts as all zero. */
struct cmd_input {
  size_t at, n; /* what is left stands at bytes[at], up to bytes[n] */
  bool at_end;
  char bytes[32768];
};

/* One line without its end, in the arena; NULL at the end of input. */
const char *cmd_read_line(struct cmd_input *in, struct arena *a);

#endif
