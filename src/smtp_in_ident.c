/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asking the client's host who talks to us there: $sender_ident.
 *
 * Floor: flows.  Off unless rfc1413_query_timeout is set; then hosts in rfc1413_hosts are asked before anything else.  Nobody waits longer than that time for
 * the whole call, and whatever goes wrong means no answer.  The reply is foreign text, kept printable and short.  RFC 1413; manual ch. 14. */
#include <errno.h>
#include <unistd.h>

#include "formats/ident.h"
#include "os/debug.h"
#include "os/log.h"
#include "os/net.h"
#include "policy/narrate.h"
#include "smtp_in_priv.h"

/* The reply up to its line end; NULL when none comes. */
static const char *read_line(struct arena *a, struct stream *io, deadline_ms deadline) {
  struct strbuf line = strbuf_new_t(a, TAINTED, 128);
  struct str in;
  while (line.n <= IDENT_LINE_MAX && stream_fill(io, deadline, &in) == STREAM_OK) {
    size_t n = str_index(in, '\n');
    strbuf_add_t(&line, in.p, n, TAINTED);
    stream_consume(io, n < in.n ? n + 1 : n);
    if (n == in.n) continue;
    if (line.n > 0 && line.p[line.n - 1] == '\r') strbuf_truncate(&line, line.n - 1);
    return memchr(line.p, 0, line.n) ? NULL : line.p;
  }
  return NULL;
}

static const char *ask(struct smtp_session *s, const struct net_end *to, const struct ip *from) {
  const struct origin *o = &s->c->from;
  deadline_ms deadline = deadline_in_sec(s->opt->rfc1413_query_timeout);
  struct net_connect_opts opts = {.source = *from};
  size_t sent;
  int fd = net_connect(to, &opts, deadline, &sent);
  if (fd < 0) {
    if (fd == -ETIMEDOUT) log_write(LS_IDENT_TIMEOUT, LOG_MAIN, "ident connection to %s timed out", o->host_address);
    narrate(&s->x, D_IDENT, "ident connection to %s failed: %s", o->host_address, strerror(-fd));
    return NULL;
  }
  struct stream *io = stream_new(s->tmp, fd, fd, true);
  stream_puts(io, arena_printf(s->tmp, "%d , %d\r\n", o->host_port, o->interface_port));
  const char *line = stream_flush(io, deadline) == STREAM_OK ? read_line(s->tmp, io, deadline) : NULL;
  stream_close(io);
  return line;
}

void smtp_ask_ident(struct smtp_session *s) {
  struct origin *o = &s->c->from;
  struct net_end to = {.port = (int)s->opt->rfc1413_port};
  struct ip from;
  struct str user;
  /* With -bh there is no connection to ask about; the test suite asks all the same. */
  bool has_peer = s->is_socket || (s->c->host_checking && s->c->cfg->harness_mode && o->host_port > 0 && o->interface_port > 0);
  if (!has_peer || !o->host_address || !o->interface_address || o->ident || s->opt->rfc1413_query_timeout <= 0) return;
  if (!ip_parse(str_c(o->host_address), &to.ip) || !ip_parse(str_c(o->interface_address), &from)) return;
  if (!smtp_host_in(s, "rfc1413_hosts", s->opt->rfc1413_hosts)) return;
  narrate(&s->x, D_IDENT, "doing ident callback");
  const char *line = ask(s, &to, &from);
  if (!line || !ident_parse_reply(str_c(line), o->host_port, o->interface_port, &user)) return;
  o->ident = arena_strdup(s->c->arena, log_escape(s->tmp, user));
  DEBUG(D_IDENT) debug_printf("sender_ident = %s\n", o->ident);
}
