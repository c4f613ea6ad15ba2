/* SPDX-License-Identifier: GPL-2.0-or-later */
/* udpsend (host_udp.h).  Floor: drivers.
 *
 * The payload is all that stands behind the second separator, as it is.  Nothing is waited for. */
#include "host_udp.h"

#include <string.h>

#include "host.h"
#include "os/debug.h"
#include "os/net.h"
#include "policy/match.h"
#include "policy/narrate.h"

static enum outcome bad(struct expand_ctx *x, const char *what, const char **ret_log) {
  *ret_log = arena_printf(x->a, "%s in \"udpsend\" modifier", what);
  return OUTCOME_ERROR;
}

enum outcome host_udp_send(struct expand_ctx *x, const char *arg, const char **ret_log) {
  int sep = 0;
  int64_t port;
  const char *host = list_next(x->a, &arg, &sep);
  if (!host || !*host) return bad(x, "missing destination host", ret_log);
  const char *port_text = list_next(x->a, &arg, &sep);
  if (!port_text || !*port_text) return bad(x, "missing destination port", ret_log);
  if (!str_parse_i64(str_c(port_text), &port) || port < 1 || port > 65535) return bad(x, "bad destination port", ret_log);
  const char *payload = arg ? arg : "";
  struct host h = {.name = host, .mx = -1};
  struct host_find_opts o = {.how = 0};
  const char *fqdn = NULL;
  enum host_find found = host_find_byname(x, &h, &o, &fqdn);
  struct ip ip;
  if ((found != HOST_FOUND && found != HOST_FOUND_LOCAL) || !h.address || !ip_parse(str_c(h.address), &ip)) {
    *ret_log = "DNS lookup failed in \"udpsend\" modifier";
    return OUTCOME_DEFER;
  }
  narrate(x, D_ACL, "udpsend [%s]:%d %s", h.address, (int)port, payload);
  struct net_end to = {.ip = ip, .port = (int)port};
  int rc = net_send_datagram(&to, payload, strlen(payload));
  if (rc >= 0) narrate(x, D_ACL, "udpsend %d bytes", rc);
  else narrate(x, D_ACL, "udpsend failed: %s", strerror(-rc));
  return OUTCOME_OK;
}
