/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fd.c - lists the open file descriptors it was started with.
 *
 *   fd [-q] [-f] [-s]
 *
 * Cases run it from a pipe transport or ${run to see which descriptors leak
 * into commands. -f first copies stdin to stdout (a filter), -q prints the list
 * as one ACCEPT DATA="..." line, -s adds mode, owner and size. Test tool, no floor.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LIST_SIZE = 64 * 1024, MAX_TRIED_FD = 4096 };

static const char *
access_name(int status) {
  switch (status & O_ACCMODE) {
  case O_RDONLY: return "RDONLY";
  case O_WRONLY: return "WRONLY";
  default: return "RDWR";
  }
}

static size_t
list_one(char *out, size_t room, int fd, bool want_stat) {
  struct stat st;
  int opt = fcntl(fd, F_GETFD);
  int status = fcntl(fd, F_GETFL);
  if (opt < 0 || status < 0)
    return 0;
  int n = snprintf(out, room, "%3d opt=%d status=%X %s%s%s", fd, opt, (unsigned)status, access_name(status),
    isatty(fd) ? " TTY" : "", (status & O_APPEND) != 0 ? " APPEND" : "");
  if (want_stat && fstat(fd, &st) == 0 && n > 0 && (size_t)n < room)
    n += snprintf(out + n, room - (size_t)n, " mode=%o uid=%d size=%d", (unsigned)st.st_mode, (int)st.st_uid,
      (int)st.st_size);
  if (n > 0 && (size_t)n < room)
    n += snprintf(out + n, room - (size_t)n, "\n");
  return n < 0 || (size_t)n >= room ? 0 : (size_t)n;
}

static void
copy_input(void) {
  int ch;
  while ((ch = getchar()) != EOF)
    putchar(ch);
}

int
main(int argc, char **argv) {
  static char list[LIST_SIZE];
  bool is_quoted = false, is_filter = false, want_stat = false;
  for (int i = 1; i < argc; i++) {
    is_quoted = is_quoted || strcmp(argv[i], "-q") == 0;
    is_filter = is_filter || strcmp(argv[i], "-f") == 0;
    want_stat = want_stat || strcmp(argv[i], "-s") == 0;
  }
  if (is_filter)
    copy_input();
  long max = sysconf(_SC_OPEN_MAX);
  int n = snprintf(list, sizeof list, "max fd = %ld\n", max);
  size_t at = n < 0 ? 0 : (size_t)n;
  for (int fd = 0; fd < max && fd < MAX_TRIED_FD; fd++)
    at += list_one(list + at, sizeof list - at, fd, want_stat);
  if (is_quoted) {
    for (char *p = list; *p != '\0'; p++)
      if (*p == '\n')
        *p = ' ';
    printf("ACCEPT DATA=\"%s\"\n", list);
  } else
    fputs(list, stdout);
  return 0;
}
