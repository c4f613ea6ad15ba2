/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See fd_message.h.  Floor: os. */
#include "os/fd_message.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

union control {
  struct cmsghdr head;
  char room[CMSG_SPACE(sizeof(int))];
};

int fd_message_send(int socket, const void *bytes, size_t n, int fd, int flags) {
  union control control = {.room = {0}};
  struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n};
  struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  control.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  memcpy(CMSG_DATA(&control.head), &fd, sizeof(int));
  ssize_t sent;
  do sent = sendmsg(socket, &m, flags | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent < 0) return -errno;
  return sent == (ssize_t)n ? 0 : -EMSGSIZE;
}

ssize_t fd_message_receive(int socket, void *bytes, size_t size, int *ret_fd, int flags) {
  union control control;
  struct iovec part = {bytes, size};
  struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t got;
  *ret_fd = -1;
  do got = recvmsg(socket, &m, flags | MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got < 0) return -errno;
  const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
    memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
  return got;
}
