/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The connection: local address, EHLO name, first flight, closing.  Floor: drivers.  Manual ch. 30; RFC 7413.
 *
 * With TCP Fast Open of TLS on connect the kernel reports "connected" before the handshake; refusals then show at the first read.  A failure of the
 * first read with such an errno is therefore a failure to connect (rule T2).  What may travel in the SYN is smtp_flight_syn_bytes()'s. */
#include "transports/smtp_priv.h"

#include <errno.h>
#include <string.h>

#include "os/debug.h"
#include "os/tls.h"
#include "os/log.h"

const char *smtp_expand_helo(struct smtp_attempt *s, bool before_connect) {
  struct expand_ctx *x = s->d->x;
  x->sending_ip_was_read = x->sending_port_was_read = false;
  x->sending_ip_unavailable = before_connect && !s->interface;
  if (before_connect && s->interface) x->sending_ip_address = s->interface;
  const char *name = expand_string(x, s->ob->helo_data ? s->ob->helo_data : "");
  x->sending_ip_unavailable = false;
  bool is_guess = x->sending_port_was_read || (x->sending_ip_was_read && !s->interface);
  if (!name || (before_connect && is_guess)) return NULL;
  /* the name goes out as one word of a command line */
  for (const char *p = name; *p; p++)
    if (*p == '\r' || *p == '\n') {
      x->error = "helo_data contains a line end";
      return NULL;
    }
  return name;
}

static bool connect_failed(struct smtp_attempt *s, int err) {
  if (err == -EADDRNOTAVAIL && s->interface) {
    log_write(LS_ALWAYS, LOG_MAIN, "bind of [%s]:%d failed", s->interface, s->port);
    DEBUG(D_TRANSPORT | D_V) debug_printf("unable to bind outgoing SMTP call to %s: %s\n", s->interface, strerror(-err));
  }
  if (err == -ECONNREFUSED && s->d->cfg->harness_mode && s->ob->connect_timeout == 999999) err = -ETIMEDOUT; /* test suite */
  DEBUG(D_TRANSPORT | D_V) debug_printf(" sock_connect failed: %s\n", strerror(-err));
  smtp_note_failure(s, (struct smtp_failure){.trouble = TROUBLE_CONNECT, .at = AT_GREETING, .err = -err});
  s->dead = true;
  return false;
}

static bool proxy_failed(struct smtp_attempt *s, const char *why) {
  smtp_note_failure(s, (struct smtp_failure){.trouble = TROUBLE_CONNECT, .at = AT_GREETING, .err = ERRNO_PROXYFAIL, .reply = why});
  s->dead = true;
  return false;
}

void smtp_learn_local_end(struct smtp_attempt *s) {
  struct net_end local;
  if (net_local(stream_fd(s->io), &local) < 0) return;
  char text[IP_TEXT_SIZE];
  struct ip ip = ip_unmap(local.ip);
  s->d->x->sending_ip_address = arena_strdup(s->a, ip_format(&ip, text));
  s->d->x->sending_port = local.port;
}

bool smtp_connect(struct smtp_attempt *s) {
  struct net_end to = {.port = s->port};
  if (!ip_parse(str_c(s->host->address), &to.ip)) return connect_failed(s, -EAFNOSUPPORT);
  s->fast_mode = smtp_fastopen_mode(s);
  struct net_connect_opts o = {.keepalive = s->ob->keepalive, .tfo = s->fast_mode, .tos = smtp_dscp_value(s),
                               .first_bytes = str_n(s->flight.p, smtp_flight_syn_bytes(s))};
  if (s->interface && !ip_parse(str_c(s->interface), &o.source)) return connect_failed(s, -EADDRNOTAVAIL);
  DEBUG(D_TRANSPORT | D_V)
    debug_printf("Connecting to %s [%s]:%d%s%s ...\n", s->host->name, s->host->address, s->port, s->interface ? " from " : "",
                 s->interface ? s->interface : "");
  if (smtp_event(s, NULL, "tcp:connect", NULL, 0)) {
    smtp_note_failure(s, (struct smtp_failure){.trouble = TROUBLE_CONNECT, .at = AT_GREETING, .err = ERRNO_EVENT});
    s->dead = true;
    return false;
  }
  bool by_proxy = false;
  const char *error = NULL;
  struct net_connect_opts to_proxy = {.keepalive = o.keepalive, .source = o.source, .tos = o.tos, .tfo = o.tfo == NET_TFO_OFF ? NET_TFO_OFF : NET_TFO_COOKIE};
  int r = smtp_socks_connect(s, &to, &to_proxy, &by_proxy, &error);
  if (r == ERRNO_PROXYFAIL) return proxy_failed(s, error);
  if (by_proxy) s->fast_mode = NET_TFO_OFF; /* what happens from here on says nothing of the way to the proxy */
  if (r < 0) return connect_failed(s, r);
  if (!by_proxy) {
    int fd = net_connect(&to, &o, deadline_in_sec(s->ob->connect_timeout), &s->fast_bytes);
    if (fd < 0) return connect_failed(s, fd);
    s->io = stream_new(s->a, fd, fd, true);
  }
  DEBUG(D_TRANSPORT | D_V) debug_printf("connected\n");
  smtp_learn_local_end(s);
  s->tcp_is_open = true;
  if (s->fast_bytes < s->flight.n) stream_put(s->io, s->flight.p + s->fast_bytes, s->flight.n - s->fast_bytes);
  strbuf_clear(&s->flight);
  s->reply_deadline = deadline_in_sec(s->ob->command_timeout);
  return true;
}

void smtp_put_quit(struct smtp_attempt *s) {
  stream_puts(s->io, "QUIT\r\n");
  s->quit_sent = true;
  DEBUG(D_TRANSPORT | D_V) {
    debug_printf("  SMTP+> QUIT\n");
    smtp_note_said(s, "QUIT", "+");
    debug_printf("  SMTP(shutdown)>>\n");
  }
}

/* Nobody needs the reply to QUIT but who looks on. */
static void narrate_quit(struct smtp_attempt *s) {
  struct str line;
  int code = 0, r = 0;
  while (r == 0 && stream_read_line(s->io, SMTP_REPLY_LINE_MAX, true, deadline_in_sec(1), &line, NULL) == STREAM_OK) {
    struct strbuf text = strbuf_new_t(s->a, TAINTED, 64);
    debug_printf("%s%s\n", code ? "         " : "  SMTP<< ", log_escape(s->a, str_rtrim(line)));
    r = smtp_reply_add_line(&text, line, &code);
  }
  if (r > 0) smtp_note_said(s, arena_printf(s->a, "%d", code), "");
}

static void close_connection(struct smtp_attempt *s, bool polite) {
  DEBUG(D_TRANSPORT | D_V) {
    if (!polite || s->dead || s->awaited_count) debug_printf("  SMTP(close)>>\n");
  }
  if (polite && !s->dead && s->awaited_count == 0) {
    if (!s->quit_sent) smtp_put_quit(s);
    if (stream_flush(s->io, deadline_in_sec(5)) == STREAM_OK) {
      /* the outcome is known; the 221 is only awaited so that the peer does not see a reset */
      DEBUG(D_TRANSPORT | D_V) narrate_quit(s);
      smtp_tls_finish(s);
      stream_linger_close(s->io, 8192, 1000);
      DEBUG(D_TRANSPORT | D_V) debug_printf("  SMTP(close)>>\n");
      s->io = NULL;
      s->dead = true;
      return;
    }
  }
  stream_close(s->io);
  s->io = NULL;
  s->dead = true;
}

void smtp_disconnect(struct smtp_attempt *s, bool polite) {
  if (s->tls_opts) tls_hello_drop(s->tls_opts->hello);
  smtp_serialize_end(s);
  if (!s->io) return;
  s->tfo = net_tfo_mark(stream_fd(s->io), true);
  s->was_connected = true;
  close_connection(s, polite);
  if (s->tcp_is_open) (void)smtp_event(s, NULL, "tcp:close", NULL, 0);
  s->tcp_is_open = false;
}
