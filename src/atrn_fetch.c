/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fetching mail with ATRN (atrn_fetch.h).  Floor: flows.
 *
 * The connection is made by the smtp transport and given to an ordinary SMTP session of this process, which knows the provider as its peer: ACLs,
 * limits and log lines are those of any mail that comes in from there, and a message is taken over only once it is synced.  TLS that the transport began
 * stays around all of it.  Hostile: all the provider says.  RFC 2645. */
#include "atrn_fetch.h"

#include <stdio.h>
#include <stdlib.h>

#include "formats/atrn_domains.h"
#include "os/log.h"
#include "os/net.h"
#include "os/stream.h"
#include "router.h"
#include "transport.h"
#include "transports/smtp_probe.h"
#include "transports/smtp_turned.h"

enum { NO_MAIL = 453 };

static int fail(const char *text) {
  fprintf(stderr, "exim: -atrn: %s\n", text);
  log_write(LS_ALWAYS, LOG_MAIN, "ATRN: %s", text);
  return EXIT_FAILURE;
}

/* The address that stands for the provider, routed; NULL: *ret_why. */
static struct address *route_to(struct expand_ctx *x, const char *host, const char **ret_why) {
  struct address *local = NULL, *remote = NULL, *children = NULL;
  struct route_ctx rc = {.x = x, .local = &local, .remote = &remote, .children = &children};
  struct address *addr = address_new(x->a, arena_printf(x->a, "atrn@%s", host));
  x->addr = addr;
  enum route_result r = route_address(&rc, addr);
  if (r == ROUTE_OK && remote && !local && remote->transport && smtp_probe_possible(remote->transport)) return remote;
  *ret_why = arena_printf(x->a, "%s is not routed to an smtp transport%s%s", addr->address, addr->message ? ": " : "", addr->message ? addr->message : "");
  return NULL;
}

/* ATRN was accepted: the provider becomes the client on this connection, and what we know of "the client" is about it. */
static void change_places(struct conn *c, const struct turned_answer *a) {
  struct net_end local;
  char text[IP_TEXT_SIZE];
  c->io = a->io;
  c->is_local_caller = false;
  c->from.ident = c->login;
  c->from.host_address = a->host_address;
  c->from.host_port = a->host_port;
  if (net_local(stream_fd(a->io), &local) == 0) {
    local.ip = ip_unmap(local.ip);
    c->from.interface_address = arena_strdup(c->arena, ip_format(&local.ip, text));
    c->from.interface_port = local.port;
  }
  c->from.tls = a->tls;
  origin_set_fullhost(c->arena, &c->from, log_selects(LS_INCOMING_PORT));
}

/* The provider has not changed roles with us: "no mail" is a good end, all else is a failure. */
static int not_turned(const struct expand_ctx *x, const char *host, const struct turned_answer *a) {
  const char *at = a->host_address ? arena_printf(x->a, " [%s]", a->host_address) : "";
  const char *line = arena_printf(x->a, "%s%s%s: %s", a->code ? "refused by " : "", host, at, a->text);
  if (a->code != NO_MAIL) return fail(log_escape(x->a, str_c(line)));
  log_write(LS_ALWAYS, LOG_MAIN, "ATRN: %s", log_escape(x->a, str_c(line)));
  return EXIT_SUCCESS;
}

int atrn_fetch(struct conn *c, const char *host, const char *domains, const struct smtp_opts *o) {
  if (!atrn_domain_is_valid(str_c(host)) && !ip_text_kind(host, NULL)) return fail("the host is neither a name nor an address");
  if (!atrn_list_is_valid(str_c(domains))) return fail("the domains are not names with commas between them");
  struct atrn_turn *turn = ARENA_NEW(c->arena, struct atrn_turn);
  *turn = (struct atrn_turn){.mode = "C", .host = host};
  c->atrn = turn;
  struct expand_ctx x = expand_ctx_new(c->arena, c->cfg);
  x.atrn = turn;
  x.msg = message_new(c->cfg);
  x.msg->sender = "";
  const char *why = NULL;
  struct turned_answer a = {.is_turned = false};
  struct address *addr = route_to(&x, host, &why);
  if (addr) smtp_turned_ask(&x, addr->transport, addr, domains, &a);
  int status = !addr ? fail(why) : a.is_turned ? EXIT_SUCCESS : not_turned(&x, host, &a);
  if (a.is_turned) {
    change_places(c, &a);
    status = smtp_session_run(c, o);
  }
  message_free(x.msg);
  return status;
}
