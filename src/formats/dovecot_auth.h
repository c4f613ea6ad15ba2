/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines of Dovecot's authentication protocol (auth-client socket, version 1).  Floor: formats (pure; input hostile). */
#ifndef FORMATS_DOVECOT_AUTH_H
#define FORMATS_DOVECOT_AUTH_H

#include "base/str.h"

enum dovecot_kind {
  DOVECOT_VERSION,   /* number: major version */
  DOVECOT_MECH,      /* text: name of a mechanism */
  DOVECOT_DONE,      /* end of the handshake */
  DOVECOT_CONT,      /* number: request; text: base64 for the client */
  DOVECOT_OK,        /* number: request; user */
  DOVECOT_FAIL,      /* number: request; user, is_temporary */
  DOVECOT_OTHER      /* a command to be ignored */
};

struct dovecot_line {
  enum dovecot_kind kind;
  uint64_t number;
  struct str text, user; /* into the line; user as it stands, escapes included */
  bool is_temporary;
};

/* One line without its LF.  False: malformed (a number that is none, a field missing, a NUL or CR inside). */
MUST_CHECK bool dovecot_parse_line(struct str line, struct dovecot_line *ret);
/* Is it base64 text: letters, digits, '+', '/', and '=' at the end?  Empty text is. */
bool dovecot_is_base64(struct str s);

#endif
