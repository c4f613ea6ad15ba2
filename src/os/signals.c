/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signals, pauses, replacing the program (signals.h).  Floor: os. */
#include "os/signals.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

void signals_handle(int sig, void (*handler)(int)) {
  struct sigaction act = {.sa_handler = handler};
  sigemptyset(&act.sa_mask);
  sigaction(sig, &act, NULL);
}

void signals_unblock_all(void) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

int signals_send(pid_t pid, int sig) {
  return kill(pid, sig) < 0 ? -errno : 0;
}

void pause_ms(int ms) {
  if (ms > 0) poll(NULL, 0, ms);
}

int program_replace(const char *path, char *const *argv) {
  execv(path, argv);
  return -errno;
}
