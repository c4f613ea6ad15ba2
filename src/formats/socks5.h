/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SOCKS version 5, the client's half of the dialogue before a proxied connection.  Floor: formats (pure; input hostile).  RFC 1928, 1929.
 *
 * Three questions at most: methods, user name and password, connect.  Each function writes one, or reads the answer to it from the bytes that came so
 * far.  Readers consume nothing themselves: they say how long the answer is, so that a caller can leave what follows untouched. */
#ifndef FORMATS_SOCKS5_H
#define FORMATS_SOCKS5_H

#include "base/ip.h"
#include "base/strbuf.h"

enum socks5_auth { SOCKS5_AUTH_NONE = 0, SOCKS5_AUTH_NAME = 2 };

void socks5_put_methods(struct strbuf *b, enum socks5_auth auth);
/* False: name or password is empty or longer than 255 bytes. */
MUST_CHECK bool socks5_put_login(struct strbuf *b, struct str name, struct str password);
void socks5_put_connect(struct strbuf *b, const struct ip *ip, int port);

enum { SOCKS5_MORE = 0, SOCKS5_BAD = -1 }; /* else: length of the answer */
/* *ret_method: the method chosen; 0xff: none will do. */
int socks5_get_method(struct str in, unsigned *ret_method);
/* *ret_status: 0 accepted. */
int socks5_get_login(struct str in, unsigned *ret_status);
struct socks5_bound {
  unsigned reply;  /* 0 succeeded */
  struct ip ip;    /* family 0: given as a name, or none */
  int port;
};
int socks5_get_connect(struct str in, struct socks5_bound *ret);
/* An errno for a reply that is not 0: ENETUNREACH, ECONNREFUSED ... */
int socks5_reply_errno(unsigned reply);
const char *socks5_reply_text(unsigned reply);

#endif
