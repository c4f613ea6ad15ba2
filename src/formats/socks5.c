/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SOCKS version 5 (socks5.h).  Floor: formats, pure.  RFC 1928, 1929.
 *
 * The answers of a proxy are hostile: every length is checked before it is used, an answer that cannot become a good one is bad at once. */
#include "formats/socks5.h"

#include <errno.h>

enum { VERSION = 5, LOGIN_VERSION = 1, CMD_CONNECT = 1, ADDR_IP4 = 1, ADDR_NAME = 3, ADDR_IP6 = 4 };

static unsigned byte(struct str s, size_t i) { return (unsigned char)s.p[i]; }

void socks5_put_methods(struct strbuf *b, enum socks5_auth auth) {
  strbuf_addc(b, VERSION);
  strbuf_addc(b, 1);
  strbuf_addc(b, (char)auth);
}

bool socks5_put_login(struct strbuf *b, struct str name, struct str password) {
  if (name.n == 0 || name.n > 255 || password.n == 0 || password.n > 255) return false;
  strbuf_addc(b, LOGIN_VERSION);
  strbuf_addc(b, (char)name.n);
  strbuf_add(b, name.p, name.n);
  strbuf_addc(b, (char)password.n);
  strbuf_add(b, password.p, password.n);
  return true;
}

void socks5_put_connect(struct strbuf *b, const struct ip *ip, int port) {
  bool is_v6 = ip->family == 6;
  strbuf_addc(b, VERSION);
  strbuf_addc(b, CMD_CONNECT);
  strbuf_addc(b, 0);
  strbuf_addc(b, is_v6 ? ADDR_IP6 : ADDR_IP4);
  strbuf_add(b, (const char *)ip->b, is_v6 ? 16 : 4);
  strbuf_addc(b, (char)(port >> 8 & 0xff));
  strbuf_addc(b, (char)(port & 0xff));
}

static int get_two(struct str in, unsigned version, unsigned *ret) {
  if (in.n >= 1 && byte(in, 0) != version) return SOCKS5_BAD;
  if (in.n < 2) return SOCKS5_MORE;
  *ret = byte(in, 1);
  return 2;
}

int socks5_get_method(struct str in, unsigned *ret_method) { return get_two(in, VERSION, ret_method); }

int socks5_get_login(struct str in, unsigned *ret_status) { return get_two(in, LOGIN_VERSION, ret_status); }

int socks5_get_connect(struct str in, struct socks5_bound *ret) {
  struct socks5_bound r = {0};
  if (in.n >= 1 && byte(in, 0) != VERSION) return SOCKS5_BAD;
  if (in.n < 2) return SOCKS5_MORE;
  r.reply = byte(in, 1);
  if (r.reply) { /* some proxies close right behind the code */
    *ret = r;
    return (int)in.n;
  }
  if (in.n >= 3 && byte(in, 2) != 0) return SOCKS5_BAD;
  if (in.n < 5) return SOCKS5_MORE;
  size_t at = 4, n;
  switch (byte(in, 3)) {
    case ADDR_IP4: n = 4; r.ip.family = 4; break;
    case ADDR_IP6: n = 16; r.ip.family = 6; break;
    case ADDR_NAME: n = byte(in, at++); break;
    default: return SOCKS5_BAD;
  }
  if (in.n < at + n + 2) return SOCKS5_MORE;
  if (r.ip.family) memcpy(r.ip.b, in.p + at, n);
  at += n;
  r.port = (int)(byte(in, at) << 8 | byte(in, at + 1));
  *ret = r;
  return (int)(at + 2);
}

static const struct {
  int error;
  const char *text;
} replies[] = {
  {0, "succeeded"},
  {EIO, "general SOCKS server failure"},
  {EACCES, "connection not allowed by ruleset"},
  {ENETUNREACH, "Network unreachable"},
  {EHOSTUNREACH, "Host unreachable"},
  {ECONNREFUSED, "Connection refused"},
  {ETIMEDOUT, "TTL expired"},
  {EOPNOTSUPP, "Command not supported"},
  {EAFNOSUPPORT, "Address type not supported"},
};

int socks5_reply_errno(unsigned reply) { return reply < ARRAY_SIZE(replies) ? replies[reply].error : EPROTO; }
const char *socks5_reply_text(unsigned reply) { return reply < ARRAY_SIZE(replies) ? replies[reply].text : "unknown reply"; }
