/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sockets (net.h).  Floor: os. */
#include "os/net.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/str.h"
#include "os/signals.h"

#ifndef TCPI_OPT_TFO_CHILD /* kernels from 6.10 on tell it, older headers lack the name */
#define TCPI_OPT_TFO_CHILD 128
#endif

union any_addr {
  struct sockaddr sa;
  struct sockaddr_in in;
  struct sockaddr_in6 in6;
  struct sockaddr_storage storage;
};

static socklen_t addr_make(union any_addr *u, const struct ip *ip, int port) {
  memset(u, 0, sizeof *u);
  if (ip->family == 6) {
    u->in6.sin6_family = AF_INET6;
    u->in6.sin6_port = htons((uint16_t)port);
    u->in6.sin6_scope_id = ip->scope;
    memcpy(&u->in6.sin6_addr, ip->b, 16);
    return sizeof u->in6;
  }
  u->in.sin_family = AF_INET;
  u->in.sin_port = htons((uint16_t)port);
  memcpy(&u->in.sin_addr, ip->b, 4);
  return sizeof u->in;
}

static bool addr_read(const union any_addr *u, struct net_end *ret) {
  memset(ret, 0, sizeof *ret);
  if (u->sa.sa_family == AF_INET) {
    ret->ip.family = 4;
    memcpy(ret->ip.b, &u->in.sin_addr, 4);
    ret->port = ntohs(u->in.sin_port);
    return true;
  }
  if (u->sa.sa_family != AF_INET6) return false;
  ret->ip.family = 6;
  memcpy(ret->ip.b, &u->in6.sin6_addr, 16);
  ret->ip.scope = IN6_IS_ADDR_LINKLOCAL(&u->in6.sin6_addr) ? u->in6.sin6_scope_id : 0;
  ret->port = ntohs(u->in6.sin6_port);
  ret->ip = ip_unmap(ret->ip);
  return true;
}

static int fail_close(int fd) {
  int e = -errno;
  close(fd);
  return e;
}

static void set_int(int fd, int level, int name, int value) { (void)setsockopt(fd, level, name, &value, sizeof value); }

void net_set_keepalive(int fd) { set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1); }
void net_set_nodelay(int fd, bool on) { set_int(fd, IPPROTO_TCP, TCP_NODELAY, on); }

/* ---- listening ------------------------------------------------------------------------------------------ */

int net_listen(const struct ip *ip, int port, int backlog, bool fast_open) {
  union any_addr u;
  socklen_t len = addr_make(&u, ip, port);
  int fd = socket(u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (ip->family == 6) set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (bind(fd, &u.sa, len) < 0) return fail_close(fd);
  if (fast_open) set_int(fd, IPPROTO_TCP, TCP_FASTOPEN, backlog);
  if (listen(fd, backlog) < 0) return fail_close(fd);
  return fd;
}

int net_accept(int fd, struct net_end *ret_peer) {
  union any_addr u;
  socklen_t len = sizeof u;
  int c;
  do c = accept4(fd, &u.sa, &len, SOCK_CLOEXEC);
  while (c < 0 && errno == EINTR);
  if (c < 0) return -errno;
  if (!addr_read(&u, ret_peer)) memset(ret_peer, 0, sizeof *ret_peer);
  return c;
}

static int end_of(int fd, int (*get)(int, struct sockaddr *, socklen_t *), struct net_end *ret) {
  union any_addr u;
  socklen_t len = sizeof u;
  if (get(fd, &u.sa, &len) < 0) return -errno;
  return addr_read(&u, ret) ? 0 : -ENOTCONN;
}

int net_peer(int fd, struct net_end *ret) { return end_of(fd, getpeername, ret); }
int net_local(int fd, struct net_end *ret) { return end_of(fd, getsockname, ret); }

static bool namespace_of(int fd, uint64_t *ret) {
  enum { NETNS_COOKIE = 71 }; /* SO_NETNS_COOKIE, Linux 5.14 */
  socklen_t len = sizeof *ret;
  return getsockopt(fd, SOL_SOCKET, NETNS_COOKIE, ret, &len) == 0 && len == sizeof *ret;
}

bool net_is_of_own_namespace(int fd) {
  uint64_t of_fd, own;
  int mine = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool are_known = mine >= 0 && namespace_of(fd, &of_fd) && namespace_of(mine, &own);
  if (mine >= 0) (void)close(mine);
  return !are_known || of_fd == own;
}

/* ---- connecting ----------------------------------------------------------------------------------------- */

static int wait_connected(int fd, deadline_ms deadline) {
  struct pollfd p = {fd, POLLOUT, 0};
  for (;;) {
    int r = poll(&p, 1, deadline_poll_ms(deadline));
    if (r > 0) break;
    if (r == 0) return -ETIMEDOUT;
    if (errno != EINTR) return -errno;
  }
  int error = 0;
  socklen_t len = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0) return -errno;
  return -error;
}

static int connect_plain(int fd, const union any_addr *u, socklen_t len, deadline_ms deadline) {
  if (connect(fd, &u->sa, len) == 0) return 0;
  if (errno != EINPROGRESS && errno != EINTR) return -errno;
  return wait_connected(fd, deadline);
}

/* SYN with data or a cookie request.  Fallback to an ordinary connect where the kernel says no. */
static int connect_fast(int fd, const union any_addr *u, socklen_t len, const struct net_connect_opts *o,
                        deadline_ms deadline, size_t *ret_sent) {
  struct str data = o->tfo == NET_TFO_DATA ? o->first_bytes : STR_NULL;
  ssize_t n = sendto(fd, data.p, data.n, MSG_FASTOPEN | MSG_NOSIGNAL, &u->sa, len);
  if (n >= 0) { /* a cookie was there: the SYN carries data.  Who has read it may be gone again, after an answer that is still to be read */
    *ret_sent = (size_t)n;
    int r = wait_connected(fd, deadline);
    return r == -ECONNRESET ? 0 : r;
  }
  if (errno == EINPROGRESS) return wait_connected(fd, deadline);
  if (errno == EOPNOTSUPP || errno == EPIPE || errno == ENOPROTOOPT) return connect_plain(fd, u, len, deadline);
  return -errno;
}

/* ---- RFC 2474, 2597, 3246; the four words are RFC 1349's ---- */

static const struct {
  const char *name;
  int tos;
} dscp_table[] = {
  {"af11", 0x28}, {"af12", 0x30}, {"af13", 0x38}, {"af21", 0x48}, {"af22", 0x50}, {"af23", 0x58},        {"af31", 0x68},
  {"af32", 0x70}, {"af33", 0x78}, {"af41", 0x88}, {"af42", 0x90}, {"af43", 0x98}, {"cs0", 0x00},         {"cs1", 0x20},
  {"cs2", 0x40},  {"cs3", 0x60},  {"cs4", 0x80},  {"cs5", 0xa0},  {"cs6", 0xc0},  {"cs7", 0xe0},         {"ef", 0xb8},
  {"lowcost", 2}, {"lowdelay", 0x10}, {"mincost", 2}, {"reliability", 4}, {"throughput", 8},
};

const char *net_dscp_name(size_t i) { return i < sizeof dscp_table / sizeof dscp_table[0] ? dscp_table[i].name : NULL; }

int net_dscp_value(const char *text) {
  uint64_t n;
  for (size_t i = 0; net_dscp_name(i); i++)
    if (strcmpic(text, dscp_table[i].name) == 0) return dscp_table[i].tos;
  bool hex = str_startsic(str_c(text), STR("0x"));
  if (hex ? !str_parse_hex(str_c(text + 2), &n) : !str_parse_u64(str_c(text), &n)) return -1;
  return n <= 0x3f ? (int)n << 2 : -1;
}

static void set_tos(int fd, int family, int tos) {
  if (tos <= 0) return;
  if (family == AF_INET6)
    (void)setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof tos);
  else
    (void)setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof tos);
}

void net_set_tos(int fd, int tos) {
  union any_addr u;
  socklen_t len = sizeof u;
  if (fd < 0 || tos < 0 || getsockname(fd, &u.sa, &len) < 0) return;
  if (u.sa.sa_family == AF_INET6) set_int(fd, IPPROTO_IPV6, IPV6_TCLASS, tos);
  if (u.sa.sa_family == AF_INET || u.sa.sa_family == AF_INET6) set_int(fd, IPPROTO_IP, IP_TOS, tos); /* of an IPv6 socket: for a mapped address */
}

int net_connect(const struct net_end *to, const struct net_connect_opts *o, deadline_ms deadline, size_t *ret_sent) {
  union any_addr u;
  socklen_t len = addr_make(&u, &to->ip, to->port);
  int fd = socket(u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  if (o->keepalive) net_set_keepalive(fd);
  net_set_nodelay(fd, true);
  set_tos(fd, u.sa.sa_family, o->tos);
  if (o->source.family) {
    union any_addr src;
    socklen_t src_len = addr_make(&src, &o->source, 0);
    if (bind(fd, &src.sa, src_len) < 0) return fail_close(fd);
  }
  size_t sent = 0;
  if (o->tfo == NET_TFO_LAZY) set_int(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
  int r = o->tfo == NET_TFO_OFF || o->tfo == NET_TFO_LAZY ? connect_plain(fd, &u, len, deadline) : connect_fast(fd, &u, len, o, deadline, &sent);
  if (ret_sent) *ret_sent = sent;
  if (r >= 0) return fd;
  close(fd);
  return r;
}

int net_connect_udp(const struct net_end *to) {
  union any_addr u;
  socklen_t n = addr_make(&u, &to->ip, to->port);
  int fd = socket(u.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  if (connect(fd, &u.sa, n) == 0) return fd;
  int err = -errno;
  close(fd);
  return err;
}

int net_connect_unix(const char *path, deadline_ms deadline) {
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof un.sun_path) return -ENAMETOOLONG;
  memcpy(un.sun_path, path, strlen(path));
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  while (connect(fd, (struct sockaddr *)&un, sizeof un) < 0) {
    if (errno == EINTR) continue;
    /* a full backlog says EAGAIN; there is nothing to poll for */
    if (errno != EAGAIN || deadline_passed(deadline)) return fail_close(fd);
    pause_ms(20);
  }
  return fd;
}

bool net_is_socket(int fd) {
  struct stat st;
  return fd >= 0 && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static bool get_tcp_info(int fd, struct tcp_info *ret) {
  memset(ret, 0, sizeof *ret);
  socklen_t len = sizeof *ret;
  return getsockopt(fd, IPPROTO_TCP, TCP_INFO, ret, &len) == 0;
}

enum net_tfo_mark net_tfo_mark(int fd, bool is_client) {
  struct tcp_info ti;
  if (!get_tcp_info(fd, &ti)) return NET_TFO_NONE;
  if (ti.tcpi_options & TCPI_OPT_SYN_DATA) return NET_TFO_DATA_ACKED;
  if (!is_client && (ti.tcpi_options & TCPI_OPT_TFO_CHILD)) return NET_TFO_USED;
  return NET_TFO_NONE;
}

unsigned net_backlog(int fd) {
  struct tcp_info ti;
  return get_tcp_info(fd, &ti) ? ti.tcpi_unacked : 0; /* of a listening socket Linux puts the length of its queue there */
}

unsigned net_rtt_us(int fd) {
  struct tcp_info ti;
  return get_tcp_info(fd, &ti) ? ti.tcpi_rtt : 0;
}

bool net_peer_took_bytes(int fd) {
  struct tcp_info ti;
  return !get_tcp_info(fd, &ti) || ti.tcpi_bytes_acked > 1;
}

bool net_never_connected(int fd) {
  struct tcp_info ti;
  return get_tcp_info(fd, &ti) && ti.tcpi_bytes_acked == 0;
}

/* ---- this host -------------------------------------------------------------------------------------------- */

struct vec net_local_addresses(struct arena *a, bool want_ipv6) {
  struct vec v = vec_new(a);
  struct ifaddrs *list;
  if (getifaddrs(&list) < 0) return v;
  for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
    union any_addr u;
    struct net_end e;
    if (!i->ifa_addr || !(i->ifa_flags & IFF_UP)) continue;
    memset(&u, 0, sizeof u);
    if (i->ifa_addr->sa_family == AF_INET)
      memcpy(&u.in, i->ifa_addr, sizeof u.in);
    else if (i->ifa_addr->sa_family == AF_INET6 && want_ipv6)
      memcpy(&u.in6, i->ifa_addr, sizeof u.in6);
    else
      continue;
    if (!addr_read(&u, &e)) continue;
    struct ip *copy = ARENA_NEW(a, struct ip);
    *copy = e.ip;
    vec_push(&v, copy);
  }
  freeifaddrs(list);
  return v;
}

int net_service_port(const char *name) {
  int port;
  if (str_parse_int(str_c(name), &port)) return port >= 0 && port < 65536 ? port : -1;
  struct servent *se = getservbyname(name, "tcp");
  return se ? ntohs((uint16_t)se->s_port) : -1;
}

const char *net_host_name(struct arena *a) {
  struct utsname u;
  if (uname(&u) < 0) return "localhost";
  if (strchr(u.nodename, '.')) return arena_strdup_t(a, u.nodename, UNTAINTED);
  struct addrinfo hints = {.ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM}, *res = NULL;
  const char *name = u.nodename;
  if (getaddrinfo(u.nodename, NULL, &hints, &res) == 0 && res && res->ai_canonname && strchr(res->ai_canonname, '.'))
    name = res->ai_canonname;
  char *copy = arena_strdup_t(a, name, UNTAINTED);
  if (res) freeaddrinfo(res);
  return copy;
}

int net_send_datagram(const struct net_end *to, const void *p, size_t n) {
  union any_addr u;
  socklen_t len = addr_make(&u, &to->ip, to->port);
  int fd = socket(u.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  ssize_t sent = sendto(fd, p, n, MSG_NOSIGNAL, &u.sa, len);
  int rc = sent < 0 ? -errno : (int)sent;
  (void)close(fd);
  return rc;
}
