/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * showids.c - prints the real and effective user and group it runs as.
 *
 * Cases give it to a pipe transport or run it from an expansion to see with
 * which identity the program under test starts commands. One line on stdout;
 * arguments are ignored. Test tool, no floor.
 */
#include <stdio.h>
#include <unistd.h>

int
main(void) {
  printf("uid=%d gid=%d euid=%d egid=%d\n", (int)getuid(), (int)getgid(), (int)geteuid(), (int)getegid());
  return 0;
}
