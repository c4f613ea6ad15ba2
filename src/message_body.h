/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading the body of a message piece by piece, with LF line ends whatever form its -D file has.  Floor: policy (objects). */
#ifndef MESSAGE_BODY_H
#define MESSAGE_BODY_H

#include "message.h"

struct body_reader {
  int fd;
  off_t at;        /* of the next byte of the file */
  bool is_wire, held_cr;
};

/* From the start of the body of m, which must stay open; the file offset of its descriptor is left alone. */
struct body_reader body_reader_of(const struct message *m);
/* The next piece, at most n >= 2 bytes: its length, 0 at the end (or when m has no body), -errno. */
MUST_CHECK ssize_t body_read(struct body_reader *r, char *buf, size_t n);

#endif
