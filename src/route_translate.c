/* SPDX-License-Identifier: GPL-2.0-or-later */
/* translate_ip_address: other addresses for the hosts a router found.  Floor: flows.  Manual ch. 15.
 *
 * The option is expanded once for each host that has an address; the result is an address or the name of a host, whose addresses take its
 * place.  A forced failure leaves the host as it is, any other failure leaves the recipient for later.  Memory: the context's arena. */
#include "host.h"
#include "route_priv.h"

static enum route_result not_translated(struct route_ctx *rc, const struct router *r, struct address *addr, const char *what, const char *why) {
  addr->message = arena_printf(rc->x->a, "translate_ip_address in %s router: %s%s", r->name, what, why);
  addr->basic_errno = ERRNO_UNKNOWNERROR;
  return ROUTE_DEFER;
}

/* h is followed by the rest of the list; *ret_rest is behind what h became. */
static enum route_result translate_one(struct route_ctx *rc, struct router *r, struct address *addr, struct host *h, struct host **ret_rest) {
  struct host *rest = h->next, *outer = rc->x->host;
  struct ip ip;
  *ret_rest = rest;
  if (!h->address) return ROUTE_OK; /* found by the transport */
  rc->x->host = h;
  const char *text = expand_string(rc->x, r->o.translate_ip_address);
  rc->x->host = outer;
  if (!text) return rc->x->forced_fail ? ROUTE_OK : not_translated(rc, r, addr, "", rc->x->error ? rc->x->error : "");
  text = str_dup(rc->x->a, str_trim(str_c(text)));
  if (!*text) return not_translated(rc, r, addr, "the result is empty", "");
  if (ip_parse(str_c(text), &ip)) {
    h->address = text;
    return ROUTE_OK;
  }
  /* The host keeps its name (certificates, retry keys, log lines); only where it is reached changes. */
  struct host found = {.name = text, .mx = h->mx};
  struct host_find_opts opts = {.for_router = true};
  const char *fqdn = NULL;
  enum host_find how = host_find_byname(rc->x, &found, &opts, &fqdn);
  if ((how != HOST_FOUND && how != HOST_FOUND_LOCAL) || !found.address) return not_translated(rc, r, addr, "no address found for ", text);
  h->address = found.address;
  for (const struct host *f = found.next; f; f = f->next) {
    struct host *more = ARENA_NEW(rc->x->a, struct host);
    *more = *h;
    more->address = f->address;
    h->next = more;
    h = more;
  }
  h->next = rest;
  return ROUTE_OK;
}

enum route_result route_translate_hosts(struct route_ctx *rc, struct router *r, struct address *addr) {
  enum route_result res = ROUTE_OK;
  for (struct host *h = addr->host_list, *next; h && res == ROUTE_OK; h = next) res = translate_one(rc, r, addr, h, &next);
  return res;
}
