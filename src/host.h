/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hosts: names to addresses, addresses to names, "is it us".  Floor: drivers.  Manual ch. 17, 20, 34. */
#ifndef HOST_H
#define HOST_H

#include "address.h"
#include "policy/expand.h"

enum host_find { HOST_FIND_FAILED, HOST_FIND_AGAIN, HOST_FOUND, HOST_FOUND_LOCAL, HOST_IGNORED, HOST_FIND_SECURITY };

enum { HOST_FIND_BY_SRV = 1, HOST_FIND_BY_MX = 2, HOST_FIND_BY_A = 4, HOST_FIND_BY_AAAA = 8, HOST_FIND_QUALIFY_SINGLE = 16,
       HOST_FIND_SEARCH_PARENTS = 32, HOST_FIND_IPV4_ONLY = 64, HOST_FIND_IPV4_FIRST = 128 };

/* Shuffled lists: each host gets a key below this (the order of the test harness hangs on it). */
enum { HOST_SHUFFLE = 1000 };

struct host_find_opts {
  unsigned how;
  const char *srv_service;          /* a list: "smtp", "submission : smtp" */
  const char *srv_fail_domains, *mx_fail_domains;
  const char *ignore_target_hosts;  /* host list or NULL */
  const char *dnssec_request_domains, *dnssec_require_domains;
  bool for_router;                  /* narrate the lists by the names of the router's options */
  bool keep_useless;                /* -bt: hosts of MX or SRV records without an address stay beside those with one, as HOST_UNUSABLE */
  bool dnssec_decided, dnssec_wanted, dnssec_required; /* set inside a search: what the lists said about its domain */
};

/* h->name is replaced by a chain of hosts with addresses (h itself is the first), MX order, equal preferences shuffled by rand_below().  Hosts after the first one that is
 * local are removed.  *ret_fqdn: fully qualified name; *ret_removed: lower MXs were cut because they point here. */
enum host_find host_find_bydns(struct expand_ctx *x, struct host *h, const struct host_find_opts *o, const char **ret_fqdn,
                               bool *ret_removed);
/* getaddrinfo-like lookup (the resolver, /etc/hosts; in harness mode the fake DNS); IP literals are themselves. */
enum host_find host_find_byname(struct expand_ctx *x, struct host *h, const struct host_find_opts *o, const char **ret_fqdn);
/* Build hosts from "a : b : c" (names, [ip], host::port, "+" separators for randomising); addresses not looked up. */
struct host *host_build_list(struct expand_ctx *x, const char *list, bool randomize);
/* Is this address one of ours (interfaces, extra_local_interfaces, local_interfaces)? */
bool host_is_local(struct expand_ctx *x, const char *ip);
/* Split "[ip]:port" / "ip.port" / "name:port" forms; returns port or 0, *text shortened copy. */
int host_port_split(struct arena *a, const char **text);

/* Reverse lookup of x->conn->from.host_address with forward confirmation; fills host_name, aliases, flags; logs as Exim does.
 * OK found, FAIL none, DEFER. *ret_msg for $host_lookup_failed style replies. */
enum outcome host_name_lookup(struct expand_ctx *x, const char **ret_msg);
/* HELO name checks: helo_verify(); sets helo_verified/helo_verify_failed. */
bool host_verify_helo(struct expand_ctx *x);

/* Install what lists need from here (match_set_hooks); call once at start-up. */
void host_init(void);
/* For struct expand_hooks: addresses (struct ip *) of a name, and the name of x->conn's peer. */
enum outcome host_hook_resolve(struct expand_ctx *x, const char *name, struct vec *ret_ips);
void host_hook_sender_name(struct expand_ctx *x);

#endif
