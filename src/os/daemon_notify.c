/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's question socket (os/daemon_notify.h).  Floor: os.  Hostile: every datagram, and the sender that asks and never reads. */
#include "os/daemon_notify.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"
#include "os/sys.h"

enum { ASK_WAIT_MS = 1000, ANSWERS_AT_ONCE = 16 };
static const char question = 'Q';

/* With a NUL in front: abstract, nothing is left in the file system. */
static int make_address(const char *name, struct sockaddr_un *ret, socklen_t *ret_size) {
  size_t n = strlen(name);
  *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
  if (n + 1 > sizeof ret->sun_path) return -ENAMETOOLONG;
  memcpy(ret->sun_path + 1, name, n);
  *ret_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
  return 0;
}

static int new_socket(void) {
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  return fd < 0 ? -errno : fd;
}

int daemon_notify_open(const char *name) {
  struct sockaddr_un a;
  socklen_t size;
  int rc = make_address(name, &a, &size), fd = rc < 0 ? rc : new_socket();
  if (fd < 0) return fd;
  if (bind(fd, (struct sockaddr *)&a, size) == 0) return fd;
  rc = -errno;
  (void)!sys_close(fd);
  return rc;
}

void daemon_notify_answer(int fd, daemon_count_fn count, void *ctx) {
  for (int i = 0; i < ANSWERS_AT_ONCE; i++) {
    struct sockaddr_un from;
    socklen_t size = sizeof from;
    char text[32];
    ssize_t n = recvfrom(fd, text, sizeof text, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
    if (n < 0) return;
    if (n != 1 || text[0] != question || size <= offsetof(struct sockaddr_un, sun_path)) continue;
    int len = snprintf(text, sizeof text, "%lld", (long long)count(ctx));
    (void)!sendto(fd, text, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&from, size);
  }
}

static int ask(int fd, const struct sockaddr_un *to, socklen_t size, int64_t *ret) {
  struct sockaddr_un own = {.sun_family = AF_UNIX};
  char text[32];
  /* A name of its own, so that there is somewhere to answer to; connected, so that nobody else can. */
  if (bind(fd, (struct sockaddr *)&own, sizeof own.sun_family) < 0 || connect(fd, (const struct sockaddr *)to, size) < 0) return -errno;
  if (send(fd, &question, 1, MSG_NOSIGNAL | MSG_DONTWAIT) != 1) return -errno;
  struct pollfd p = {fd, POLLIN, 0};
  int ready = poll(&p, 1, ASK_WAIT_MS);
  if (ready <= 0) return ready < 0 ? -errno : -ETIMEDOUT;
  ssize_t n = recv(fd, text, sizeof text, MSG_DONTWAIT);
  if (n < 0) return -errno;
  return str_parse_i64(str_n(text, (size_t)n), ret) ? 0 : -EPROTO;
}

int daemon_notify_ask(const char *name, int64_t *ret_count) {
  struct sockaddr_un to;
  socklen_t size;
  int64_t count;
  int rc = make_address(name, &to, &size), fd = rc < 0 ? rc : new_socket();
  if (fd < 0) return fd;
  rc = ask(fd, &to, size, &count);
  (void)!sys_close(fd);
  if (rc == 0) *ret_count = count;
  return rc;
}
