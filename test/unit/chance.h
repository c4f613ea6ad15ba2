/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For servers of chance: dice that a scenario's number sets, a connection read line by line, a listener.  What such a server says is the test's own. */
#ifndef CHANCE_H
#define CHANCE_H

#include "smtp_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

/* ---- dice ---- */

static inline unsigned chance_roll(uint64_t *dice, unsigned sides) {
  *dice = *dice * 6364136223846793005u + 1442695040888963407u;
  return (unsigned)(*dice >> 33) % sides;
}

/* The dice of a scenario: the first rolls of neighbours look alike and are thrown away. */
static inline uint64_t chance_of_scenario(unsigned long number) {
  uint64_t dice = number * 0x9E3779B97F4A7C15u + 1;
  for (int i = 0; i < 4; i++) (void)chance_roll(&dice, 2);
  return dice;
}

/* How many, or from which on: an environment variable or the default. */
static inline unsigned long chance_number(const char *name, unsigned long dflt) {
  const char *text = getenv(name);
  return text && *text ? strtoul(text, NULL, 10) : dflt;
}

/* ---- one connection ---- */

struct line_reader {
  int fd;
  const int *stop;         /* not zero: the test is over */
  char in[16384];
  size_t have;
};

static inline bool reader_fill(struct line_reader *r) {
  for (int i = 0; i < 400 && r->have < sizeof r->in; i++) {
    if (!server_readable(r->fd, 10)) {
      if (__atomic_load_n(r->stop, __ATOMIC_RELAXED)) return false;
      continue;
    }
    ssize_t n = recv(r->fd, r->in + r->have, sizeof r->in - r->have, 0);
    if (n <= 0) return false;
    r->have += (size_t)n;
    return true;
  }
  return false;
}

/* n octets, here or still to come; false: they never came. */
static inline bool reader_swallow(struct line_reader *r, size_t n) {
  while (r->have < n)
    if (!reader_fill(r)) return false;
  r->have -= n;
  memmove(r->in, r->in + n, r->have);
  return true;
}

/* A line with its end, cut to size. */
static inline bool reader_line(struct line_reader *r, char *line, size_t size) {
  char *end;
  while (!(end = memchr(r->in, '\n', r->have)))
    if (!reader_fill(r)) return false;
  size_t n = (size_t)(end - r->in) + 1, copy = MIN(n, size - 1);
  memcpy(line, r->in, copy);
  line[copy] = 0;
  return reader_swallow(r, n);
}

/* ---- the listener ---- */

static inline int chance_listen(int *ret_port) {
  struct net_end end;
  struct ip ip;
  assert_true(ip_parse(STR("127.0.0.1"), &ip));
  int listener = net_listen(&ip, 0, 20, false);
  assert_true(listener >= 0);
  assert_int_equal(net_local(listener, &end), 0);
  *ret_port = end.port;
  return listener;
}

/* The next connection; -1: none in a while. */
static inline int chance_accept(int listener, struct line_reader *r, const int *stop) {
  int on = 1;
  r->stop = stop;
  r->have = 0;
  r->fd = server_readable(listener, 20) ? accept(listener, NULL, NULL) : -1;
  if (r->fd >= 0) (void)setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* pieces are to arrive as pieces */
  return r->fd;
}

#endif
