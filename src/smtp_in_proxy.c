/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections through a proxy that says whom it speaks for: the PROXY header in front of everything, TLS on connect included.
 *
 * Floor: flows.  Hosts in hosts_proxy must send the header within proxy_protocol_timeout; only the bytes that belong to it are read, whatever
 * comes behind them is for SMTP or TLS.  Without a good header the connection can do nothing but QUIT, and the proxy's own address is not taken
 * for the client's.  Manual ch. 59. */
#include <errno.h>
#include <unistd.h>

#include "formats/proxy_protocol.h"
#include "host.h"
#include "os/debug.h"
#include "smtp_in_priv.h"

/* Exactly n bytes.  A descriptor is read directly: nothing may be left in a buffer below TLS. */
static bool read_bytes(struct smtp_session *s, char *buf, size_t n, deadline_ms deadline) {
  struct stream *io = s->c->io;
  int fd = stream_fd(io);
  for (size_t have = 0; have < n;) {
    if (fd < 0 || stream_buffered(io).n > 0) {
      struct str in;
      if (stream_fill(io, deadline, &in) != STREAM_OK) return false;
      size_t take = MIN(in.n, n - have);
      memcpy(buf + have, in.p, take);
      stream_consume(io, take);
      have += take;
      continue;
    }
    if (!stream_wait(io, true, false, deadline)) return false;
    ssize_t got = read(fd, buf + have, n - have);
    if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) return false;
    if (got > 0) have += (size_t)got;
  }
  return true;
}

static bool read_header(struct smtp_session *s, struct proxy_header *ret) {
  deadline_ms deadline = deadline_in_sec(s->opt->proxy_protocol_timeout);
  char *buf = arena_alloc_t(s->tmp, PROXY_HEADER_MAX, TAINTED);
  size_t have = 0, need = 0;
  for (;;) {
    switch (proxy_parse_header(str_n(buf, have), ret, &need)) {
    case PROXY_DONE: return true;
    case PROXY_BAD: return false;
    case PROXY_MORE: break;
    }
    if (have + need > PROXY_HEADER_MAX || !read_bytes(s, buf + have, need, deadline)) return false;
    have += need;
  }
}

static const char *address_text(struct conn *c, const struct ip *ip) {
  char buf[IP_TEXT_SIZE];
  struct ip plain = ip_unmap(*ip);
  const char *text = ip_format(&plain, buf);
  return arena_strndup_t(c->arena, text, strlen(text), TAINTED);
}

void smtp_client_is(struct smtp_session *s, const char *address, int port) {
  struct origin *f = &s->c->from;
  f->host_address = address;
  f->host_port = port;
  f->ident = NULL;
  smtp_client_name_is(s, NULL);
}

void smtp_client_name_is(struct smtp_session *s, const char *name) {
  struct origin *f = &s->c->from;
  f->host_name = name;
  f->host_aliases.n = 0;
  f->host_lookup_failed = f->host_lookup_deferred = f->host_looked_up = f->is_dnssec = false;
  origin_set_fullhost(s->c->arena, f, log_selects(LS_INCOMING_PORT));
}

void smtp_take_proxy_header(struct smtp_session *s) {
  struct conn *c = s->c;
  struct proxy_header h;
  if (!c->from.host_address || !smtp_host_in(s, "hosts_proxy", s->opt->hosts_proxy)) return;
  c->proxy = ARENA_NEW(c->arena, struct proxy_info);
  if (!read_header(s, &h)) {
    DEBUG(D_RECEIVE) debug_printf("no usable PROXY header\n");
    s->shut_reply = "503 Command refused, required Proxy negotiation failed";
    return;
  }
  if (!h.has_addresses) return; /* the proxy itself, looking whether we are alive */
  c->proxy->local_address = c->from.host_address;
  c->proxy->local_port = c->from.host_port;
  c->proxy->external_address = address_text(c, &h.destination);
  c->proxy->external_port = h.destination_port;
  smtp_client_is(s, address_text(c, &h.source), h.source_port);
  (void)host_name_lookup(&s->x, NULL);
  origin_set_fullhost(c->arena, &c->from, log_selects(LS_INCOMING_PORT));
}
