/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sockets: listening, connecting, names of ends, interfaces.  Floor: os. */
#ifndef OS_NET_H
#define OS_NET_H

#include <sys/socket.h>

#include "base/ip.h"
#include "base/strbuf.h"
#include "base/timeutil.h"
#include "base/vec.h"

struct net_end {
  struct ip ip;
  int port;
};

/* Listening TCP socket on ip (family 6 any is V6ONLY), backlog, TCP_FASTOPEN set (failure ignored).  fd or -errno. */
MUST_CHECK int net_listen(const struct ip *ip, int port, int backlog, bool fast_open);
/* accept4(CLOEXEC); fills the peer.  fd or -errno. */
MUST_CHECK int net_accept(int fd, struct net_end *ret_peer);
/* Names of the two ends of a connected socket; -ENOTSOCK / -ENOTCONN when it has none (pipes, inetd without a socket). */
MUST_CHECK int net_peer(int fd, struct net_end *ret);
MUST_CHECK int net_local(int fd, struct net_end *ret);
/* Was this socket made in the network namespace of this process?  True also where the kernel does not tell. */
bool net_is_of_own_namespace(int fd);

/* LAZY: with a cookie the first write makes the SYN and travels in it. */
enum net_tfo { NET_TFO_OFF, NET_TFO_COOKIE, NET_TFO_DATA, NET_TFO_LAZY };
enum net_tfo_mark { NET_TFO_NONE, NET_TFO_USED, NET_TFO_DATA_ACKED };

struct net_connect_opts {
  struct ip source;          /* family 0: any */
  bool keepalive;
  int tos;                   /* TOS byte or traffic class, 0 or below: the system's */
  enum net_tfo tfo;
  struct str first_bytes;    /* with NET_TFO_DATA: put in the SYN when possible */
};
/* Connect before the deadline.  fd >= 0, or -errno (-ETIMEDOUT for the deadline).  *ret_sent: bytes of first_bytes that went
 * with the SYN, also when there is no connection in the end. */
MUST_CHECK int net_connect(const struct net_end *to, const struct net_connect_opts *o, deadline_ms deadline,
                           size_t *ret_sent);
/* TOS byte of a DSCP keyword or number (0 to 0x3f), -1 unknown.  The keywords in order; NULL behind the last. */
int net_dscp_value(const char *text);
const char *net_dscp_name(size_t i);
/* Mark what is sent over a connection from now on; tos as above.  Other sockets are left alone. */
void net_set_tos(int fd, int tos);
/* A datagram socket that hears this end only.  fd or -errno. */
MUST_CHECK int net_connect_udp(const struct net_end *to);
/* Unix stream socket. */
MUST_CHECK int net_connect_unix(const char *path, deadline_ms deadline);
enum net_tfo_mark net_tfo_mark(int fd, bool is_client);
/* Connections that wait to be accepted on this listening socket. */
unsigned net_backlog(int fd);
/* Smoothed round-trip time in microseconds from TCP_INFO, 0 unknown. */
unsigned net_rtt_us(int fd);
/* Has the other end acknowledged more than the SYN?  True when the kernel cannot say. */
bool net_peer_took_bytes(int fd);
/* Not even the SYN was acknowledged (a connection that net_connect() left to the first write). */
bool net_never_connected(int fd);
/* Of any kind; false for -1. */
bool net_is_socket(int fd);
void net_set_keepalive(int fd);
void net_set_nodelay(int fd, bool on);

/* Addresses of this host's interfaces (struct ip *), loopback included, in the arena. */
struct vec net_local_addresses(struct arena *a, bool want_ipv6);
/* Port number of a service name or number; -1 unknown. */
int net_service_port(const char *name);
/* Canonical, fully qualified name of this host, from uname and the resolver; arena copy. */
const char *net_host_name(struct arena *a);

/* One datagram, without waiting: the bytes that went or -errno. */
int net_send_datagram(const struct net_end *to, const void *p, size_t n);

#endif
