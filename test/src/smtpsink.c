/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smtpsink: the cheapest SMTP server there can be: one thread, epoll, hardly any parsing, nothing stored.
 *
 * usage: smtpsink [-r REPORT] ADDRESS PORT
 * The far end of relay measurements and the ceiling of rates.  PORT 0 takes a free one.  Prints "port N" when it listens;
 * REPORT is a file whose first eight bytes hold the number of messages taken so far.  Ends on SIGTERM.  Input comes from
 * the measured program only; a line is found by its LF, DATA ends at CRLF.CRLF. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_STEP = 65536, MAX_EVENTS = 256, OUT_MAX = 65536 };

struct client {
  int fd;
  bool in_data, quit;
  bool bdat_last;
  size_t bdat_left;
  char *in;
  size_t n, cap, scanned;
  char out[OUT_MAX];
  size_t out_n;
};

static uint64_t own_count, *message_count = &own_count;

static void say(struct client *c, const char *text) {
  size_t n = strlen(text);
  if (c->out_n + n > sizeof c->out) {
    c->quit = true;
    return;
  }
  memcpy(c->out + c->out_n, text, n);
  c->out_n += n;
}

static void message_done(struct client *c) {
  ++*message_count;
  say(c, "250 ok\r\n");
}

static void command(struct client *c, const char *line, size_t n) {
  switch (line[0] | 0x20) {
    case 'e':
      say(c, "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-PIPECONNECT\r\n250-CHUNKING\r\n250 SIZE\r\n");
      break;
    case 'd':
      say(c, "354 go\r\n");
      c->in_data = true;
      c->scanned = 0;
      break;
    case 'b':
      c->bdat_left = n > 5 ? strtoul(line + 5, NULL, 10) : 0;
      c->bdat_last = memmem(line, n, "LAST", 4) != NULL;
      if (c->bdat_left) break;
      if (c->bdat_last)
        message_done(c);
      else
        say(c, "250 ok\r\n");
      break;
    case 'q':
      say(c, "221 bye\r\n");
      c->quit = true;
      break;
    default: say(c, "250 ok\r\n");
  }
}

/* Take one thing (a line, a chunk, a message) off the input at *pos; false when it is not complete. */
static bool take_one(struct client *c, size_t *pos) {
  char *p = c->in + *pos;
  size_t left = c->n - *pos;
  if (c->bdat_left) {
    if (left < c->bdat_left) return false;
    *pos += c->bdat_left;
    c->bdat_left = 0;
    if (c->bdat_last)
      message_done(c);
    else
      say(c, "250 ok\r\n");
    return true;
  }
  if (c->in_data) {
    size_t from = c->scanned > *pos ? c->scanned : *pos;
    const char *end = memmem(c->in + from, c->n - from, "\r\n.\r\n", 5);
    if (!end) {
      c->scanned = left > 4 ? c->n - 4 : *pos;
      return false;
    }
    *pos = (size_t)(end + 5 - c->in);
    c->in_data = false;
    message_done(c);
    return true;
  }
  const char *end = memchr(p, '\n', left);
  if (!end) return false;
  command(c, p, (size_t)(end - p));
  *pos += (size_t)(end + 1 - p);
  return true;
}

static void feed(struct client *c) {
  size_t pos = 0;
  while (pos < c->n && !c->quit && take_one(c, &pos)) continue;
  memmove(c->in, c->in + pos, c->n - pos);
  c->n -= pos;
  c->scanned = c->scanned > pos ? c->scanned - pos : 0;
}

static void client_close(struct client *c) {
  close(c->fd);
  free(c->in);
  free(c);
}

static void client_ready(struct client *c) {
  if (c->cap - c->n < READ_STEP) {
    c->cap = c->cap ? c->cap * 2 : 2 * READ_STEP;
    c->in = realloc(c->in, c->cap);
    if (!c->in) abort();
  }
  ssize_t r = recv(c->fd, c->in + c->n, c->cap - c->n, 0);
  if (r < 0 && errno == EAGAIN) return;
  if (r <= 0) {
    client_close(c);
    return;
  }
  c->n += (size_t)r;
  feed(c);
  bool sent = c->out_n == 0 || send(c->fd, c->out, c->out_n, MSG_NOSIGNAL) == (ssize_t)c->out_n;
  c->out_n = 0;
  if (c->quit || !sent) client_close(c);
}

static void accept_all(int listener, int ep) {
  int fd, one = 1;
  static const char greeting[] = "220 sink ESMTP\r\n";
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    struct client *c = calloc(1, sizeof *c);
    if (!c) abort();
    c->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
    if (send(fd, greeting, sizeof greeting - 1, MSG_NOSIGNAL) < 0) continue; /* its end is reported by epoll */
  }
}

static int listen_on(const char *address, const char *port) {
  struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
  socklen_t len = sizeof sa;
  int one = 1, queue = 256, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0 || inet_pton(AF_INET, address, &sa.sin_addr) != 1) return -1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof queue);
  if (bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 || listen(fd, 4096) < 0) return -1;
  if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0) return -1;
  printf("port %d\n", ntohs(sa.sin_port));
  fflush(stdout);
  return fd;
}

static void map_report(const char *path) {
  int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  void *p = MAP_FAILED;
  if (fd >= 0 && ftruncate(fd, sizeof *message_count) == 0)
    p = mmap(NULL, sizeof *message_count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (p == MAP_FAILED) {
    perror(path);
    exit(1);
  }
  message_count = p;
  *message_count = 0;
}

int main(int argc, char **argv) {
  int o;
  while ((o = getopt(argc, argv, "r:")) != -1) {
    if (o != 'r') return 2;
    map_report(optarg);
  }
  if (argc - optind != 2) {
    fprintf(stderr, "usage: smtpsink [-r REPORT] ADDRESS PORT\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  int listener = listen_on(argv[optind], argv[optind + 1]), ep = epoll_create1(EPOLL_CLOEXEC);
  if (listener < 0 || ep < 0) {
    perror("smtpsink");
    return 1;
  }
  struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL}, events[MAX_EVENTS];
  epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev);
  for (;;) {
    int n = epoll_wait(ep, events, MAX_EVENTS, -1);
    for (int i = 0; i < n; i++) {
      if (events[i].data.ptr)
        client_ready(events[i].data.ptr);
      else
        accept_all(listener, ep);
    }
  }
}
