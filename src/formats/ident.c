/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replies of ident servers.  Floor: formats.
 *
 * "6193 , 23 : USERID : UNIX : stjohns".  The host at the other end may say what it likes: the result is a text to show, proof of nothing.  RFC 1413. */
#include "formats/ident.h"

static bool is_port(struct str s, int port) {
  int n;
  return str_parse_int(str_trim(s), &n) && n == port;
}

bool ident_parse_reply(struct str line, int their_port, int our_port, struct str *ret_user) {
  struct str rest = line, pair = str_cut(&rest, ':'), kind = str_trim(str_cut(&rest, ':'));
  struct str theirs = str_cut(&pair, ',');
  bool has_system = str_index(rest, ':') < rest.n;
  (void)str_cut(&rest, ':'); /* system and character set */
  if (!is_port(theirs, their_port) || !is_port(pair, our_port) || !str_eq(kind, STR("USERID")) || !has_system) return false;
  while (rest.n > 0 && ch_isblank(rest.p[0])) rest = str_n(rest.p + 1, rest.n - 1);
  if (rest.n == 0) return false;
  *ret_user = str_n(rest.p, MIN(rest.n, (size_t)IDENT_USER_MAX));
  return true;
}
