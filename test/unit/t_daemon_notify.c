/* SPDX-License-Identifier: GPL-2.0-or-later */
/* os/daemon_notify.c: questions, answers, and datagrams that are neither.  The names are this process's own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/daemon_notify.h"

static char name[64];

static int64_t count(void *ctx) {
  ++*(int *)ctx;
  return 4711;
}

static void t_answer(void **state) {
  int fd = daemon_notify_open(name), asked = 0;
  (void)state;
  assert_true(fd >= 0);
  assert_int_equal(daemon_notify_open(name), -EADDRINUSE);
  pid_t pid = fork();
  if (pid == 0) {
    int64_t n = 0;
    _exit(daemon_notify_ask(name, &n) == 0 && n == 4711 ? 0 : 1);
  }
  int status = -1;
  pid_t ended;
  while ((ended = waitpid(pid, &status, WNOHANG)) == 0) { /* the child waits no longer than its own time-out */
    daemon_notify_answer(fd, count, &asked);
    usleep(10000);
  }
  assert_int_equal(ended, pid);
  assert_int_equal(status, 0);
  assert_int_equal(asked, 1);
  close(fd);
}

static void t_garbage(void **state) {
  static const char *const rubbish[] = {"q", "QQ", "", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"};
  int fd = daemon_notify_open(name), asked = 0, s = socket(AF_UNIX, SOCK_DGRAM, 0), unnamed = socket(AF_UNIX, SOCK_DGRAM, 0);
  struct sockaddr_un to = {.sun_family = AF_UNIX}, own = {.sun_family = AF_UNIX};
  (void)state;
  memcpy(to.sun_path + 1, name, strlen(name));
  socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
  assert_true(fd >= 0 && s >= 0);
  assert_int_equal(sendto(unnamed, "Q", 1, 0, (struct sockaddr *)&to, size), 1); /* nowhere to answer to */
  assert_int_equal(bind(s, (struct sockaddr *)&own, sizeof own.sun_family), 0);
  for (size_t i = 0; i < sizeof rubbish / sizeof *rubbish; i++)
    assert_int_equal(sendto(s, rubbish[i], strlen(rubbish[i]), 0, (struct sockaddr *)&to, size), (int)strlen(rubbish[i]));
  daemon_notify_answer(fd, count, &asked);
  assert_int_equal(asked, 0);
  close(s);
  close(unnamed);
  close(fd);
}

static void t_nobody(void **state) {
  char longer[200];
  int64_t n = 5;
  (void)state;
  assert_int_equal(daemon_notify_ask(name, &n), -ECONNREFUSED);
  memset(longer, 'x', sizeof longer - 1);
  longer[sizeof longer - 1] = 0;
  assert_int_equal(daemon_notify_ask(longer, &n), -ENAMETOOLONG);
  assert_int_equal(daemon_notify_open(longer), -ENAMETOOLONG);
  assert_int_equal(n, 5);
}

int main(void) {
  static const struct CMUnitTest tests[] = {cmocka_unit_test(t_answer), cmocka_unit_test(t_garbage), cmocka_unit_test(t_nobody)};
  snprintf(name, sizeof name, "t_daemon_notify.%d", (int)getpid());
  return cmocka_run_group_tests(tests, NULL, NULL);
}
