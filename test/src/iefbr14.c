/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * iefbr14.c - the program that does nothing, and succeeds.
 *
 * Cases give it to a pipe transport, which must cope with a command that never
 * reads its input. No arguments, no output, exit status 0. Test tool, no floor.
 */

int
main(void) {
  return 0;
}
