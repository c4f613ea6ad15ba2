/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listening, connecting and naming ends on the loopback addresses of both families; every port is the kernel's choice.  Floor: tests. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/arena.h"
#include "os/net.h"
#include "scratch.h"

static struct ip ip_of(const char *text) {
  struct ip ip;
  assert_true(ip_parse(str_c(text), &ip));
  return ip;
}

static int listen_on(const char *address, int backlog, bool fast_open, struct net_end *ret) {
  struct ip ip = ip_of(address);
  int fd = net_listen(&ip, 0, backlog, fast_open);
  if (fd == -EADDRNOTAVAIL || fd == -EAFNOSUPPORT) skip(); /* a machine without IPv6 */
  assert_true(fd >= 0);
  assert_int_equal(net_local(fd, ret), 0);
  assert_true(ip_equal(&ret->ip, &ip));
  assert_true(ret->port > 0);
  return fd;
}

static bool waits(int fd, short events) {
  struct pollfd p = {fd, events, 0};
  return poll(&p, 1, 2000) == 1;
}

static void talk_over(const char *address, enum net_tfo tfo, bool server_fast_open, const char *source) {
  struct net_end server, client, seen;
  int l = listen_on(address, 5, server_fast_open, &server);
  struct net_connect_opts o = {.tfo = tfo, .keepalive = true, .first_bytes = STR("EHLO x\r\n")};
  if (source) o.source = ip_of(source);
  size_t sent = 99;
  int c = net_connect(&server, &o, deadline_in_sec(5), &sent);
  assert_true(c >= 0);
  assert_true(sent == 0 || (tfo == NET_TFO_DATA && sent <= o.first_bytes.n));
  assert_true(fcntl(c, F_GETFD) & FD_CLOEXEC);
  if (sent < o.first_bytes.n)
    assert_int_equal(send(c, o.first_bytes.p + sent, o.first_bytes.n - sent, 0), (ssize_t)(o.first_bytes.n - sent));
  int s = net_accept(l, &seen);
  assert_true(s >= 0);
  assert_true(fcntl(s, F_GETFD) & FD_CLOEXEC);
  assert_int_equal(net_local(c, &client), 0);
  assert_int_equal(client.port, seen.port);
  assert_true(ip_equal(&client.ip, &seen.ip));
  if (source) assert_true(ip_equal(&client.ip, &o.source));
  assert_int_equal(net_peer(c, &seen), 0);
  assert_int_equal(seen.port, server.port);
  assert_true(ip_equal(&seen.ip, &server.ip));

  char got[32] = "";
  size_t n = 0;
  while (n < o.first_bytes.n && waits(s, POLLIN)) {
    ssize_t r = read(s, got + n, sizeof got - 1 - n);
    if (r <= 0) break;
    n += (size_t)r;
  }
  CHECK_STR(address, got, "EHLO x\r\n");
  int on = 0;
  socklen_t len = sizeof on;
  assert_int_equal(getsockopt(c, SOL_SOCKET, SO_KEEPALIVE, &on, &len), 0);
  assert_true(on);
  assert_int_equal(getsockopt(c, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
  assert_true(on);
  assert_true(net_rtt_us(s) < 10 * 1000 * 1000);
  if (tfo == NET_TFO_OFF) {
    assert_int_equal(net_tfo_mark(c, true), NET_TFO_NONE);
    assert_int_equal(net_tfo_mark(s, false), NET_TFO_NONE);
  }
  close(c);
  close(s);
  close(l);
}

static void both_families(void **state) {
  (void)state;
  talk_over("127.0.0.1", NET_TFO_OFF, false, NULL);
  talk_over("127.0.0.1", NET_TFO_OFF, false, "127.0.0.9");
  talk_over("::1", NET_TFO_OFF, false, NULL);
}

/* Whatever the kernel thinks of TCP fast open, the bytes arrive once and in order; twice, for the cookie of the first. */
static void fast_open_falls_back(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    talk_over("127.0.0.1", NET_TFO_COOKIE, true, NULL);
    talk_over("127.0.0.1", NET_TFO_DATA, true, NULL);
    talk_over("127.0.0.1", NET_TFO_DATA, false, NULL);
  }
}

static void refused(void **state) {
  (void)state;
  struct net_end nobody;
  close(listen_on("127.0.0.1", 1, false, &nobody));
  struct net_connect_opts o = {.tfo = NET_TFO_OFF};
  size_t sent = 99;
  assert_int_equal(net_connect(&nobody, &o, deadline_in_sec(5), &sent), -ECONNREFUSED);
  assert_int_equal(sent, 0); /* nothing went with the SYN */
  o.tfo = NET_TFO_COOKIE; /* without a cookie the answer is awaited */
  int fd = net_connect(&nobody, &o, deadline_in_sec(5), &sent);
  assert_int_equal(fd, -ECONNREFUSED);
  o = (struct net_connect_opts){.source = ip_of("192.0.2.1")}; /* no address of this host */
  assert_int_equal(net_connect(&nobody, &o, deadline_in_sec(5), NULL), -EADDRNOTAVAIL);
}

/* A listener whose queue is full answers no SYN: the deadline ends the wait. */
static void timeouts(void **state) {
  (void)state;
  struct net_end server;
  int l = listen_on("127.0.0.1", 0, false, &server), fds[8], n = 0, r = 0;
  struct net_connect_opts o = {.tfo = NET_TFO_OFF};
  while (n < 8 && (r = net_connect(&server, &o, deadline_in_ms(60), NULL)) >= 0) fds[n++] = r;
  assert_int_equal(r, -ETIMEDOUT);
  int64_t begun = time_mono_ms();
  assert_int_equal(net_connect(&server, &o, deadline_in_ms(100), NULL), -ETIMEDOUT);
  int64_t took = time_mono_ms() - begun;
  assert_true(took >= 90 && took < 3000);
  while (n > 0) close(fds[--n]);
  close(l);
}

static void address_in_use(void **state) {
  (void)state;
  struct net_end end, six;
  struct ip four = ip_of("127.0.0.1"), any6 = ip_of("::");
  int l = listen_on("127.0.0.1", 1, false, &end);
  assert_int_equal(net_listen(&four, end.port, 1, false), -EADDRINUSE);
  int l6 = net_listen(&any6, end.port, 1, false); /* IPv6 only, so both may have the port */
  if (l6 >= 0) {
    assert_int_equal(net_local(l6, &six), 0);
    assert_int_equal(six.port, end.port);
    close(l6);
  } else {
    assert_true(l6 == -EAFNOSUPPORT || l6 == -EADDRINUSE);
  }
  close(l);
  struct ip foreign = ip_of("192.0.2.1");
  assert_int_equal(net_listen(&foreign, 0, 1, false), -EADDRNOTAVAIL);
}

static void descriptors_without_ends(void **state) {
  (void)state;
  int fds[2], pair[2];
  struct net_end e = {.port = 7};
  assert_int_equal(pipe(fds), 0);
  assert_int_equal(net_peer(fds[0], &e), -ENOTSOCK);
  assert_int_equal(net_local(fds[0], &e), -ENOTSOCK);
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  assert_int_equal(net_peer(pair[0], &e), -ENOTCONN);
  assert_int_equal(net_rtt_us(fds[0]), 0);
  assert_int_equal(net_tfo_mark(fds[0], true), NET_TFO_NONE);
  int l = listen_on("127.0.0.1", 1, false, &e);
  struct net_end peer;
  assert_int_equal(net_peer(l, &peer), -ENOTCONN);
  assert_int_equal(net_accept(fds[0], &peer), -ENOTSOCK);
  int all[] = {fds[0], fds[1], pair[0], pair[1], l};
  for (size_t i = 0; i < ARRAY_SIZE(all); i++) close(all[i]);
}

static void unix_sockets(void **state) {
  (void)state;
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  snprintf(un.sun_path, sizeof un.sun_path, "%s/sock", scratch_dir);
  int l = socket(AF_UNIX, SOCK_STREAM, 0);
  assert_int_equal(bind(l, (struct sockaddr *)&un, sizeof un), 0);
  assert_int_equal(net_connect_unix(un.sun_path, deadline_in_ms(50)), -ECONNREFUSED);
  assert_int_equal(listen(l, 0), 0);
  int fds[8], n = 0, r = 0;
  while (n < 8 && (r = net_connect_unix(un.sun_path, deadline_in_ms(50))) >= 0) fds[n++] = r;
  assert_true(n >= 1 && n < 8);
  assert_int_equal(r, -EAGAIN); /* a full queue, until the deadline */
  while (n > 0) close(fds[--n]);
  close(l);
  assert_int_equal(net_connect_unix(scratch_path("none"), deadline_in_ms(50)), -ENOENT);
  char longer[200];
  memset(longer, 'a', sizeof longer - 1);
  longer[sizeof longer - 1] = '\0';
  assert_int_equal(net_connect_unix(longer, deadline_in_ms(50)), -ENAMETOOLONG);
}

static void this_host(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct vec v = net_local_addresses(a, false);
  struct ip lo = ip_of("127.0.0.1");
  bool found = false;
  for (size_t i = 0; i < v.n; i++) {
    const struct ip *ip = v.v[i];
    assert_int_equal(ip->family, 4);
    found |= ip_equal(ip, &lo);
  }
  assert_true(found);
  assert_true(net_local_addresses(a, true).n >= v.n);
  assert_true(*net_host_name(a));
  arena_free(a);
  static const struct {
    const char *name;
    int want;
  } rows[] = {{"25", 25}, {"0", 0}, {"65535", 65535}, {"65536", -1}, {"-1", -1}, {"", -1}, {"no-such-service", -1},
              {"25x", -1}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) CHECK_INT(rows[i].name, net_service_port(rows[i].name), rows[i].want);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(both_families),     cmocka_unit_test(fast_open_falls_back),     cmocka_unit_test(refused),
    cmocka_unit_test(timeouts),          cmocka_unit_test(address_in_use),           cmocka_unit_test(descriptors_without_ends),
    cmocka_unit_test(unix_sockets),      cmocka_unit_test(this_host)};
  return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
