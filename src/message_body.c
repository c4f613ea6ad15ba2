/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading bodies (message_body.h).  Floor: policy (objects).  The body is hostile and may be of any size: nothing of it is kept. */
#include "message_body.h"

#include "formats/wire_body.h"
#include "os/sys.h"

struct body_reader body_reader_of(const struct message *m) {
  return (struct body_reader){.fd = m->data_fd, .at = m->data_start, .is_wire = m->spool_wireformat};
}

ssize_t body_read(struct body_reader *r, char *buf, size_t n) {
  INVARIANT(n >= 2);
  if (r->fd < 0) return 0;
  for (;;) {
    size_t held = r->held_cr;
    if (held) buf[0] = '\r';
    ssize_t got = sys_pread(r->fd, buf + held, n - held, r->at);
    if (got < 0) return got;
    r->at += got;
    r->held_cr = false;
    if (!r->is_wire || got == 0) return got + (ssize_t)held;
    size_t used = wire_to_lf(buf, (size_t)got + held, &r->held_cr);
    if (used > 0) return (ssize_t)used;
  }
}
