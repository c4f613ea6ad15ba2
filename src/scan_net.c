/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections to scanners: TCP and Unix sockets, every wait with one absolute deadline.  Floor: drivers.
 *
 * What comes back is hostile: lines and answers are bounded and tainted.  Host names of the configuration are looked up with the resolver that
 * lists of hosts use. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "host.h"
#include "os/net.h"
#include "os/signals.h"
#include "os/sys.h"
#include "policy/match.h"
#include "scan.h"

enum { MAX_REPLY_LINE = 4000 };

static bool wait_for(const struct scan_conn *c, short events) {
  struct pollfd p = {.fd = c->fd, .events = events};
  for (;;) {
    int ready = poll(&p, 1, deadline_poll_ms(c->deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0 && !deadline_passed(c->deadline)) continue;
    return ready > 0;
  }
}

int scan_send(struct scan_conn *c, const void *p, size_t n) {
  for (const char *at = p; n > 0;) {
    ssize_t sent = send(c->fd, at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) {
      if (!wait_for(c, POLLOUT)) return -ETIMEDOUT;
      continue;
    }
    if (sent < 0) return -errno;
    at += sent;
    n -= (size_t)sent;
  }
  return 0;
}

int scan_sends(struct scan_conn *c, const char *text) { return scan_send(c, text, strlen(text)); }

int scan_send_file(struct scan_conn *c, int fd) {
  char buf[SCAN_PIECE_BYTES];
  for (off_t at = 0;;) {
    ssize_t n = sys_pread(fd, buf, sizeof buf, at);
    if (n <= 0) return (int)n;
    int rc = scan_send(c, buf, (size_t)n);
    if (rc < 0) return rc;
    at += n;
  }
}

static ssize_t receive(struct scan_conn *c, char *p, size_t n) {
  for (;;) {
    if (!wait_for(c, POLLIN)) return -ETIMEDOUT;
    ssize_t got = recv(c->fd, p, n, MSG_DONTWAIT);
    if (got >= 0) return got;
    if (errno != EINTR && errno != EAGAIN) return -errno;
  }
}

ssize_t scan_read_some(struct scan_conn *c, char *p, size_t n) {
  if (c->at == c->n) return receive(c, p, n);
  n = MIN(n, c->n - c->at);
  memcpy(p, c->buf + c->at, n);
  c->at += n;
  return (ssize_t)n;
}

/* A newline, or the NUL that ends answers of clamd. */
static char *end_of_line(struct scan_conn *c) {
  for (size_t i = c->at; i < c->n; i++)
    if (c->buf[i] == '\n' || c->buf[i] == '\0') return c->buf + i;
  return NULL;
}

int scan_read_line(struct expand_ctx *x, struct scan_conn *c, const char **ret) {
  for (;;) {
    char *nl = end_of_line(c);
    if (nl || c->n - c->at >= MAX_REPLY_LINE) {
      size_t n = nl ? (size_t)(nl - (c->buf + c->at)) : MAX_REPLY_LINE;
      *ret = arena_strndup_t(x->a, c->buf + c->at, n, TAINTED);
      c->at += n + (nl ? 1 : 0);
      return 1;
    }
    memmove(c->buf, c->buf + c->at, c->n - c->at);
    c->n -= c->at;
    c->at = 0;
    ssize_t got = receive(c, c->buf + c->n, sizeof c->buf - c->n);
    if (got < 0) return (int)got;
    if (got == 0) {
      *ret = arena_strndup_t(x->a, c->buf, c->n, TAINTED);
      bool any = c->n > 0;
      c->n = 0;
      return any;
    }
    c->n += (size_t)got;
  }
}

int scan_read_all(struct expand_ctx *x, struct scan_conn *c, size_t max_bytes, const char **ret) {
  struct strbuf b = strbuf_new_t(x->a, TAINTED, 512);
  char buf[4096];
  ssize_t n;
  while ((n = scan_read_some(c, buf, sizeof buf)) > 0) {
    if (b.n + (size_t)n > max_bytes) return -EFBIG;
    for (ssize_t i = 0; i < n; i++)
      if (buf[i]) strbuf_addc(&b, buf[i]);
  }
  *ret = b.p;
  return (int)n;
}

void scan_close(struct scan_conn *c) {
  if (c->fd >= 0 && sys_close(c->fd) < 0) c->fd = -1; /* nothing of ours can be lost there */
  c->fd = -1;
}

/* ---- connecting ---- */

static void note_address(struct expand_ctx *x, const char *address) {
  struct arena *keep = x->conn ? x->conn->arena : x->a;
  if (!x->callout_address || strcmp(x->callout_address, address) != 0) x->callout_address = arena_strdup(keep, address);
}

/* A host and ports; *ret_error "failed to connect to any address for HOST: why". */
static int scan_connect_unix(struct expand_ctx *x, const char *path, struct scan_conn *c, const char **ret_error) {
  note_address(x, path);
  c->at = c->n = 0;
  c->fd = net_connect_unix(path, c->deadline);
  if (c->fd >= 0) return 0;
  *ret_error = arena_printf(x->a, "unable to connect to UNIX socket (%s): %s", path, strerror(-c->fd));
  return c->fd;
}

bool scan_parse_ports(struct str s, int *ret_first, int *ret_last) {
  struct str last = s, first = str_cut(&last, '-');
  int a, b;
  if (!str_parse_int(first, &a) || a <= 0 || a > 65535) return false;
  b = a;
  if (first.n < s.n && (!str_parse_int(last, &b) || b < a || b > 65535)) return false;
  *ret_first = a;
  *ret_last = b;
  return true;
}

bool scan_parse_server(struct arena *a, const char *spec, struct scan_server *ret, void (*take)(void *ctx, const char *option), void *ctx) {
  int sep = -' ';
  const char *host = list_next(a, &spec, &sep), *ports, *item;
  if (!host || !*host) return false;
  *ret = (struct scan_server){.host = host};
  if (*host != '/' && (!(ports = list_next(a, &spec, &sep)) || !scan_parse_ports(str_c(ports), &ret->port, &ret->last_port))) return false;
  while ((item = list_next(a, &spec, &sep)))
    if (*item) take(ctx, item);
  return true;
}

/* "localhost4" and the like are names too. */
static void find_addresses(struct expand_ctx *x, const char *host, struct vec *ips) {
  struct ip *ip = ARENA_NEW(x->a, struct ip);
  struct str h = str_c(host);
  if (h.n > 2 && h.p[0] == '[' && h.p[h.n - 1] == ']') h = str_n(h.p + 1, h.n - 2);
  if (ip_parse(h, ip)) vec_push(ips, ip);
  else (void)host_hook_resolve(x, str_dup(x->a, h), ips);
}

/* A host and ports; *ret_error "failed to connect to any address for HOST: why". */
static int scan_connect_tcp(struct expand_ctx *x, const char *host, int port, int last_port, struct scan_conn *c, const char **ret_error) {
  struct vec ips = vec_new(x->a);
  int rc = -EHOSTUNREACH;
  c->at = c->n = 0;
  find_addresses(x, host, &ips);
  if (ips.n == 0) {
    *ret_error = arena_printf(x->a, "no IP address found for host %s", host);
    return rc;
  }
  for (size_t i = 0; i < ips.n; i++) {
    for (int p = port; p <= last_port; p++) {
      char text[64];
      struct net_end to = {.ip = *(const struct ip *)ips.v[i], .port = p};
      struct net_connect_opts o = {.tos = 0};
      size_t sent;
      (void)ip_format(&to.ip, text);
      note_address(x, arena_printf(x->a, "[%s]:%d", text, p));
      rc = net_connect(&to, &o, c->deadline, &sent);
      if (rc < 0) continue;
      c->fd = rc;
      return 0;
    }
  }
  *ret_error = arena_printf(x->a, "failed to connect to any address for %s: %s", host, strerror(-rc));
  return rc;
}

int scan_connect(struct expand_ctx *x, const char *spec, struct scan_conn *c, const char **ret_error) {
  int first, last;
  c->fd = -1;
  if (*spec == '/') return scan_connect_unix(x, spec, c, ret_error);
  struct str rest = str_c(spec), host = str_word(&rest), ports = str_word(&rest);
  if (host.n == 0 || !scan_parse_ports(ports, &first, &last)) {
    *ret_error = arena_printf(x->a, "invalid socket specification: '%s'", spec);
    return -EINVAL;
  }
  return scan_connect_tcp(x, str_dup(x->a, host), first, last, c, ret_error);
}

static int connect_once(struct expand_ctx *x, const struct scan_server *s, struct scan_conn *c, const char **ret_error) {
  return *s->host == '/' ? scan_connect_unix(x, s->host, c, ret_error) : scan_connect_tcp(x, s->host, s->port, s->last_port, c, ret_error);
}

int scan_connect_server(struct expand_ctx *x, const struct scan_server *s, struct scan_conn *c, const char **ret_error) {
  int rc = connect_once(x, s, c, ret_error);
  if (rc >= 0 || s->retry_sec <= 0) return rc;
  for (int64_t wait = MIN(s->retry_sec, INT64_C(3600)); wait > 0 && !deadline_passed(c->deadline); wait--) pause_ms(1000);
  return connect_once(x, s, c, ret_error);
}
