/* SPDX-License-Identifier: GPL-2.0-or-later */
/* EXPERIMENTAL_SRV_SMTPS: hosts of SRV records whose service means TLS from the first byte.  Floor: drivers.  README.EXPERIMENTAL, RFC 8314.
 *
 * The record's port comes first.  Of the service smtp-tls the way back is the ordinary port, where STARTTLS is a must: whoever keeps us from
 * the one port does not get the message in clear from the other.  Only a connection that was never there leads to it, and nothing is logged or
 * remembered of it when it does. */
#include "transports/smtp_priv.h"

bool smtp_srv_is_smtps(const struct smtp_attempt *s) {
  if (s->host->tls) return s->host->tls != HOST_TLS_BY_STARTTLS;
  return s->ob->protocol && strcmpic(s->ob->protocol, "smtps") == 0;
}

bool smtp_srv_fall_back(struct smtp_attempt *s, int *ret_port, struct host **ret_host) {
  if (s->host->tls != HOST_TLS_ON_CONNECT_FIRST || s->fail.trouble != TROUBLE_CONNECT) return false;
  const char *text = s->ob->port ? expand_option(s->d->x, "port", s->ob->port) : "25";
  int port = text ? net_service_port(text) : -1;
  if (port < 0) return false;
  smtp_disconnect(s, false);
  struct host *h = ARENA_NEW(s->a, struct host);
  *h = **ret_host;
  h->tls = HOST_TLS_BY_STARTTLS;
  *ret_port = port;
  *ret_host = h;
  return true;
}
