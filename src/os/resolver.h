/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DNS transport: query in, raw answer bytes out.  Floor: os.  Backends: glibc res_nsend, fake (harness: the fakens program), test.
 * Nothing here looks inside answers; formats/dns_message does. */
#ifndef OS_RESOLVER_H
#define OS_RESOLVER_H

#include "base/arena.h"

enum { DNS_ANSWER_MAX = 65535 };

enum resolver_status {
  RESOLVER_ANSWER,     /* bytes were received; rcode inside decides */
  RESOLVER_NXDOMAIN,   /* fake backend only: said so; bytes may hold an SOA */
  RESOLVER_NODATA,
  RESOLVER_TRYAGAIN,   /* timeout, SERVFAIL of all servers */
  RESOLVER_FAIL,
  RESOLVER_PASS        /* fake backend: ask the real one */
};

struct resolver_opts {
  int retrans_sec, retry; /* 0: default */
  bool want_dnssec;       /* set DO/AD */
  int use_edns0;          /* -1 default */
  bool qualify_single, search_parents; /* RES_DEFNAMES, RES_DNSRCH */
};

/* Process-wide backend: harness directory for fakens (NULL: real resolver). */
void resolver_set_fake(const char *conf_dir);
/* Tests and own name servers: send to this address:port instead of resolv.conf ("127.0.0.1:5353"), NULL to undo. */
void resolver_set_server(const char *addr_port);
/* One query.  The answer is copied into the arena (tainted). */
enum resolver_status resolver_query(struct arena *a, const char *name, int type, const struct resolver_opts *o,
                                    const uint8_t **ret_answer, size_t *ret_n);

#endif
