/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Routers: instances and the driver ABI.  Floor: policy (objects) / drivers in routers/.  Manual ch. 15-22. */
#ifndef ROUTER_H
#define ROUTER_H

#include "address.h"
#include "policy/config.h"
#include "policy/expand.h"

struct router_driver;

struct router_generic {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "policy/router_options.def"
#undef OPT_ROW
};

struct router {
  struct router *next;
  const char *name;
  const struct router_driver *driver;
  struct router_generic o;
  struct opt_block *block;        /* of o */
  void *ob;                       /* driver options struct */
  struct opt_block *ob_block;
  struct router *pass_router, *redirect_router; /* resolved */
  struct transport *transport;    /* resolved when the name is constant */
  struct conf_pos pos;
};

enum route_result {
  ROUTE_OK,        /* address (or copies) put on remote/local list, or children made */
  ROUTE_DECLINE, ROUTE_PASS, ROUTE_FAIL, ROUTE_DEFER, ROUTE_ERROR,
  ROUTE_REROUTED,  /* child address made by this router; the address itself is finished */
  ROUTE_DISCARD    /* :blackhole: */
};

/* The lists routing works on.  Routers move the address there. */
struct route_ctx {
  const char *why_declined_user; /* what a user is told when all routers declined, NULL: why they did */
  struct expand_ctx *x;
  struct address **local, **remote, **children;
  enum { VERIFY_NONE, VERIFY_SENDER, VERIFY_RECIPIENT, VERIFY_EXPN, VERIFY_TEST } verify;
  struct passwd_entry *pw;   /* with check_local_user */
  bool was_unseen;           /* the router that took the address let a copy go on */
  const char *renamed;       /* the address with the domain that was found to be the real one */
};

struct passwd_entry {
  const char *name, *dir, *gecos, *shell;
  uid_t uid;
  gid_t gid;
};

struct router_driver {
  const char *name;
  const struct option *options;
  size_t option_count;
  size_t ob_size;
  /* After the options are read; returns NULL or an error text (arena). */
  const char *(*init)(struct arena *a, struct config *c, struct router *r);
  enum route_result (*route)(struct route_ctx *rc, struct router *r, struct address *addr);
};
/* NULL-terminated, in routers/drivers.c. */
extern const struct router_driver *const router_drivers[];

/* Route one address through the routers (route.c): generic preconditions in the manual's order, then the driver. */
enum route_result route_address(struct route_ctx *rc, struct address *addr);
/* percent_hack_domains: user%host@domain stands for user@host.  ROUTE_REROUTED when a child was made of it, ROUTE_OK when not; route_address()
 * does it too. */
enum route_result route_percent_hack(struct route_ctx *rc, struct address *addr);
/* Put the address on the list that fits its transport. */
void route_queue_add(struct route_ctx *rc, struct router *r, struct address *addr);
/* What is left of an address whose router made unseen deliveries: a child with the same text that goes on behind r. */
void route_go_on(struct route_ctx *rc, struct router *r, struct address *addr);
/* Common parts for drivers (all set addr->message/basic_errno on DEFER/FAIL). */
/* The transport that the expanded text names; NULL: message and basic_errno of addr say why. */
struct transport *route_named_transport(struct route_ctx *rc, const struct router *r, const char *text, struct address *addr);
enum route_result route_get_transport(struct route_ctx *rc, struct router *r, struct address *addr, bool required);
/* Set at all?  An empty value, which reads as NULL, is one: nobody gets the errors. */
bool router_sets_errors_to(const struct router *r);
enum route_result route_get_errors_address(struct route_ctx *rc, struct router *r, struct address *addr, const char **ret);
enum route_result route_get_munge_headers(struct route_ctx *rc, struct router *r, struct address *addr);
/* errors_to, headers_add/remove, transport, user and group, in the manual's order: what every accepting driver does before route_queue_add(). */
enum route_result route_accept_common(struct route_ctx *rc, struct router *r, struct address *addr);
/* init of drivers that need a transport unless verify_only is set. */
const char *route_init_needs_transport(struct arena *a, struct config *c, struct router *r);
/* user, group, home and current directory for local transports, from the router and check_local_user. */
enum route_result route_get_user(struct route_ctx *rc, struct router *r, struct address *addr);
/* finduser_retries: how often more a user or group is looked for, a second apart; max_username_length: no longer name is, 0 any. */
void route_set_find_user(int retries, int64_t max_name);
bool route_find_user(struct arena *a, const char *name_or_number, struct passwd_entry *ret);
/* The same for who must know: OUTCOME_DEFER when the system could not look (out of descriptors, ...), with errno saying why. */
enum outcome route_look_for_user(struct arena *a, const char *name_or_number, struct passwd_entry *ret);
/* Name of the Exim user, "exim" when it has none: what messages made or received by the program itself name as their originator. */
const char *route_exim_login(struct arena *a, const struct config *cfg);
bool route_find_group(const char *name_or_number, gid_t *ret);
/* Look up the addresses of the hosts and put them into addr->host_list; applies self= and host_find_failed= (a word of route_failure_word() or
 * "ignore").  byname with an empty o->how asks the system's resolver only, byname with address bits tries the DNS first, without byname only the DNS
 * is asked.  A name that ends in /MX stands for its MX hosts.  ROUTE_OK with an empty list: all hosts were ignored. */
struct host_find_opts;
enum route_result route_lookup_hosts(struct route_ctx *rc, struct router *r, struct address *addr, struct host *hosts,
                                     bool byname, const char *host_find_failed, const struct host_find_opts *o);
/* Act on a word of host_find_failed= or host_all_ignored= (decline, defer, fail, freeze, pass); addr->message is set by the caller. */
enum route_result route_failure_word(struct address *addr, const char *word);
/* Route the address again under another domain: widened, or self = reroute.  rewrite: when this is a delivery, the header lines that name
 * addr->domain change too. */
enum route_result route_change_domain(struct route_ctx *rc, struct router *r, struct address *addr, const char *domain, bool rewrite);
/* self=: what to do when the host list starts with this host. */
enum route_result route_self_action(struct route_ctx *rc, struct router *r, struct address *addr, struct host *host);

#endif
