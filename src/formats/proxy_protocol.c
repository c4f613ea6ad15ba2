/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PROXY protocol headers.  Floor: formats; pure.  Everything is hostile: a length field decides nothing before it was compared with what fits,
 * and a header that is neither version is bad with its first wrong byte. */
#include "formats/proxy_protocol.h"

enum { V1_LINE_MAX = 107, V2_SIGNATURE = 12, V2_FIXED = 16, V1_START = 6 };

static const char v2_signature[] = "\r\n\r\n\0\r\nQUIT\n";

static enum proxy_parse more(size_t n, size_t *ret_need) {
  *ret_need = n;
  return PROXY_MORE;
}

/* ---- version 1 ---- */

/* Fields are parted by exactly one blank. */
static struct str next_field(struct str *rest) { return str_cut(rest, ' '); }

static bool take_port(struct str s, int *ret) {
  uint64_t v;
  if (s.n == 0 || s.n > 5 || (s.n > 1 && s.p[0] == '0') || !str_parse_u64(s, &v) || v > 65535) return false;
  *ret = (int)v;
  return true;
}

static bool take_address(struct str s, int family, struct ip *ret) {
  return s.n > 0 && !memchr(s.p, '%', s.n) && ip_parse(s, ret) && ret->family == family;
}

static enum proxy_parse parse_v1_line(struct str line, struct proxy_header *ret) {
  struct proxy_header h = {.has_addresses = true};
  struct str rest = str_n(line.p + V1_START, line.n - V1_START), protocol = next_field(&rest);
  if (str_eq(protocol, STR("UNKNOWN"))) {
    *ret = (struct proxy_header){0};
    return PROXY_DONE;
  }
  int family = str_eq(protocol, STR("TCP4")) ? 4 : str_eq(protocol, STR("TCP6")) ? 6 : 0;
  if (!family || !take_address(next_field(&rest), family, &h.source) || !take_address(next_field(&rest), family, &h.destination) ||
      !take_port(next_field(&rest), &h.source_port) || !take_port(rest, &h.destination_port))
    return PROXY_BAD;
  *ret = h;
  return PROXY_DONE;
}

static enum proxy_parse parse_v1(struct str in, struct proxy_header *ret, size_t *ret_need) {
  const char *nl = memchr(in.p, '\n', in.n);
  if (nl) {
    size_t n = (size_t)(nl - in.p) + 1;
    if (n != in.n || n < V1_START + 2 || in.p[n - 2] != '\r' || memchr(in.p, 0, n)) return PROXY_BAD;
    return parse_v1_line(str_n(in.p, n - 2), ret);
  }
  return in.n >= V1_LINE_MAX ? PROXY_BAD : more(1, ret_need);
}

/* ---- version 2 ---- */

static int port_at(const char *p) { return (unsigned char)p[0] << 8 | (unsigned char)p[1]; }

static bool take_binary(struct str body, int family, struct proxy_header *h) {
  size_t n = family == 4 ? 4 : 16;
  if (body.n < 2 * n + 4) return false;
  h->source.family = h->destination.family = family;
  memcpy(h->source.b, body.p, n);
  memcpy(h->destination.b, body.p + n, n);
  h->source_port = port_at(body.p + 2 * n);
  h->destination_port = port_at(body.p + 2 * n + 2);
  return true;
}

static enum proxy_parse parse_v2(struct str in, struct proxy_header *ret, size_t *ret_need) {
  if (in.n < V2_FIXED) return more(V2_FIXED - in.n, ret_need);
  size_t length = (size_t)port_at(in.p + 14);
  unsigned char command = (unsigned char)in.p[12], family = (unsigned char)in.p[13];
  if (command >> 4 != 2 || (command & 15) > 1 || length > PROXY_HEADER_MAX - V2_FIXED) return PROXY_BAD;
  if (in.n < V2_FIXED + length) return more(V2_FIXED + length - in.n, ret_need);
  if (in.n > V2_FIXED + length) return PROXY_BAD;
  struct proxy_header h = {.has_addresses = (command & 15) == 1 && family != 0};
  if (h.has_addresses) {
    int f = family == 0x11 ? 4 : family == 0x21 ? 6 : 0; /* TCP over one of the two; nothing else can be a client of ours */
    if (!f || !take_binary(str_n(in.p + V2_FIXED, length), f, &h)) return PROXY_BAD;
  }
  *ret = h;
  return PROXY_DONE;
}

enum proxy_parse proxy_parse_header(struct str in, struct proxy_header *ret, size_t *ret_need) {
  struct str v1 = STR("PROXY "), v2 = str_n(v2_signature, V2_SIGNATURE);
  bool may_be_v1 = memcmp(in.p ? in.p : "", v1.p, MIN(in.n, v1.n)) == 0;
  bool may_be_v2 = memcmp(in.p ? in.p : "", v2.p, MIN(in.n, v2.n)) == 0;
  if (may_be_v1 && in.n >= v1.n) return parse_v1(in, ret, ret_need);
  if (may_be_v2 && in.n >= v2.n) return parse_v2(in, ret, ret_need);
  if (may_be_v1) return more(v1.n - in.n, ret_need); /* shorter than either header */
  if (may_be_v2) return more(v2.n - in.n, ret_need);
  return PROXY_BAD;
}
