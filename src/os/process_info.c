/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The exiwhat line (process_info.h).  Floor: os.
 *
 * The text may name a peer or an address, so it is foreign; the reader is a terminal, hence no control characters.  The signal may come between any
 * two instructions: a line that is just being changed may show a mixture, never more than the buffer. */
#include "os/process_info.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"

static struct {
  char path[512];
  char text[256];
  volatile sig_atomic_t length;
} process_info = {.text = "initializing", .length = 12};

/* Width 5 as exiwhat's columns want. */
static size_t put_pid(char *buf, long pid) {
  char digits[24];
  size_t n = 0, at = 0;
  for (; pid > 0; pid /= 10) digits[n++] = (char)('0' + pid % 10);
  for (size_t i = n; i < 5; i++) buf[at++] = ' ';
  while (n) buf[at++] = digits[--n];
  buf[at++] = ' ';
  return at;
}

static void on_usr1(int sig) {
  char line[320];
  int saved = errno;
  (void)sig;
  size_t n = put_pid(line, (long)getpid());
  size_t len = (size_t)process_info.length;
  memcpy(line + n, process_info.text, len);
  n += len;
  line[n++] = '\n';
  int fd = open(process_info.path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0640);
  if (fd >= 0) {
    ssize_t done = write(fd, line, n);
    (void)done;
    close(fd);
  }
  errno = saved;
}

void process_info_init(const char *path) {
  struct sigaction act = {.sa_handler = on_usr1, .sa_flags = SA_RESTART};
  if ((size_t)snprintf(process_info.path, sizeof(process_info.path), "%s", path) >= sizeof(process_info.path)) return;
  sigaction(SIGUSR1, &act, NULL);
}

void process_info_set(const char *fmt, ...) {
  char text[201];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(text, sizeof(text), fmt, ap);
  va_end(ap);
  if (n < 0) return;
  size_t len = MIN((size_t)n, sizeof(text) - 1);
  for (size_t i = 0; i < len; i++)
    if (ch_iscntrl(text[i])) text[i] = '?';
  memcpy(process_info.text, text, len);
  process_info.length = (sig_atomic_t)len;
}
