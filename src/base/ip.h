/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IP addresses and CIDR as values.  Floor: base.  Parsing is strict (no octal, no short forms). */
#ifndef BASE_IP_H
#define BASE_IP_H

#include "base/str.h"

struct ip {
  int family; /* 4, 6, or 0 for none */
  uint8_t b[16];
  uint32_t scope; /* interface index of a link-local v6 address given as %scope, else 0 */
};

enum { IP_TEXT_SIZE = 64 };

/* 4, 6 or 0: is this text an IP address?  ret_masklen (may be NULL): a trailing /n is then allowed and
 * stored (-1 when absent).  %scope is accepted on v6. */
int ip_text_kind(const char *s, int *ret_masklen);
MUST_CHECK bool ip_parse(struct str s, struct ip *ret);
/* Canonical text (v6 lower case, compressed) into buf of IP_TEXT_SIZE; returns buf. */
char *ip_format(const struct ip *ip, char *buf);
bool ip_equal(const struct ip *a, const struct ip *b);
/* ip inside net/bits; families must agree. */
bool ip_in_net(const struct ip *ip, const struct ip *net, int bits);
/* ::ffff:a.b.c.d becomes a.b.c.d. */
struct ip ip_unmap(struct ip ip);
/* Name for a PTR query ("4.3.2.1.in-addr.arpa"), or with suffix NULL just the reversed labels. buf >= 80. */
char *ip_reverse(const struct ip *ip, bool with_arpa, char *buf, size_t size);

#endif
