/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IP addresses and CIDR as values.  Floor: base.
 *
 * Texts come from configuration, DNS and the network: parsing is bounded and strict.  inet_pton() of glibc refuses
 * short forms, leading zeros and trailing text, which is what is wanted here. */
#include "base/ip.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>

/* Split off %scope of a v6 address; false when the scope is empty, too long or unknown. */
static bool parse_scope(char *text, uint32_t *ret) {
  char *percent = strchr(text, '%');
  *ret = 0;
  if (!percent) {
    return true;
  }
  *percent = 0;
  const char *name = percent + 1;
  uint64_t number;
  if (str_parse_u64(str_c(name), &number) && number > 0 && number <= UINT32_MAX) {
    *ret = (uint32_t)number;
    return true;
  }
  if (*name == 0 || strlen(name) >= IF_NAMESIZE) {
    return false;
  }
  *ret = if_nametoindex(name);
  return *ret != 0;
}

bool ip_parse(struct str s, struct ip *ret) {
  char text[IP_TEXT_SIZE];
  struct ip ip = {0};
  if (s.n == 0 || s.n >= sizeof text || memchr(s.p, 0, s.n)) {
    return false;
  }
  memcpy(text, s.p, s.n);
  text[s.n] = 0;
  if (!strchr(text, ':')) {
    ip.family = 4;
    if (inet_pton(AF_INET, text, ip.b) != 1) {
      return false;
    }
  } else {
    ip.family = 6;
    if (!parse_scope(text, &ip.scope) || inet_pton(AF_INET6, text, ip.b) != 1) {
      return false;
    }
  }
  *ret = ip;
  return true;
}

/* The scope is only checked for its form: whether the interface exists matters when it is used. */
int ip_text_kind(const char *s, int *ret_masklen) {
  struct str address = str_c(s);
  int mask = -1;
  const char *slash = ret_masklen ? strchr(s, '/') : NULL;
  if (slash) {
    struct str digits = str_c(slash + 1);
    address.n = (size_t)(slash - s);
    if (digits.n > 3 || !ch_isdigit(digits.p[0]) || !str_parse_int(digits, &mask)) {
      return 0;
    }
  }
  size_t percent = str_index(address, '%');
  struct str plain = str_n(address.p, percent);
  bool has_scope = percent < address.n;
  struct ip ip;
  if ((has_scope && (percent + 1 == address.n || str_index(address, '/') < address.n)) ||
      !ip_parse(plain, &ip) || (has_scope && ip.family != 6)) {
    return 0;
  }
  if (mask > (ip.family == 4 ? 32 : 128)) {
    return 0;
  }
  if (ret_masklen) {
    *ret_masklen = mask;
  }
  return ip.family;
}

char *ip_format(const struct ip *ip, char *buf) {
  buf[0] = 0;
  if (ip->family != 0) {
    (void)inet_ntop(ip->family == 4 ? AF_INET : AF_INET6, ip->b, buf, IP_TEXT_SIZE);
  }
  return buf;
}

static size_t address_bytes(const struct ip *ip) {
  return ip->family == 4 ? 4 : ip->family == 6 ? 16 : 0;
}

bool ip_equal(const struct ip *a, const struct ip *b) {
  return a->family == b->family && memcmp(a->b, b->b, address_bytes(a)) == 0;
}

bool ip_in_net(const struct ip *ip, const struct ip *net, int bits) {
  size_t whole = (size_t)bits / 8;
  int rest = bits % 8;
  if (ip->family != net->family || bits < 0 || whole > address_bytes(ip) ||
      memcmp(ip->b, net->b, whole) != 0) {
    return false;
  }
  if (rest == 0) {
    return true;
  }
  return whole < address_bytes(ip) && ((ip->b[whole] ^ net->b[whole]) >> (8 - rest)) == 0;
}

struct ip ip_unmap(struct ip ip) {
  static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
  if (ip.family != 6 || memcmp(ip.b, prefix, sizeof prefix) != 0) {
    return ip;
  }
  struct ip v4 = {.family = 4};
  memcpy(v4.b, ip.b + 12, 4);
  return v4;
}

char *ip_reverse(const struct ip *ip, bool with_arpa, char *buf, size_t size) {
  INVARIANT(size >= 80);
  char *p = buf;
  *p = 0;
  for (size_t i = address_bytes(ip); i-- > 0;) {
    size_t room = size - (size_t)(p - buf);
    const char *dot = i > 0 ? "." : "";
    if (ip->family == 4) {
      p += snprintf(p, room, "%d%s", ip->b[i], dot);
    } else {
      p += snprintf(p, room, "%x.%x%s", ip->b[i] & 15, ip->b[i] >> 4, dot);
    }
  }
  if (with_arpa && ip->family != 0) {
    snprintf(p, size - (size_t)(p - buf), "%s", ip->family == 4 ? ".in-addr.arpa" : ".ip6.arpa");
  }
  return buf;
}
