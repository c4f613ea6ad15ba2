/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bodies that need no rewriting on their way to the wire (smtp_wire.h).  Floor: drivers.
 *
 * Who stored the file said that it is in wire form, but it may have been another program, and a bare CR or LF that leaves here could end a message
 * somewhere behind us: the file is looked through first, which costs less than the counting that BDAT needs anyway. */
#include "transports/smtp_wire.h"

#include <errno.h>

#include "formats/wire_body.h"
#include "os/sys.h"

enum { LOOK_BYTES = 64 * 1024, BLOCK_BYTES = 256 * 1024, WORTH_IT_BYTES = 32 * 1024 };

/* The file from at on, all of it in wire form with a line end last: its bytes, else -1. */
static int64_t clean_bytes(int fd, off_t at) {
  char buf[LOOK_BYTES];
  const off_t start = at;
  bool at_line_start = true;
  for (;;) {
    ssize_t n = sys_pread(fd, buf, sizeof buf, at);
    if (n < 0 || (n == 0 && !at_line_start)) return -1;
    if (n == 0) return (int64_t)(at - start);
    size_t clean = wire_clean_prefix(str_n(buf, (size_t)n));
    if (clean + 1 < (size_t)n || clean == 0) return -1; /* a CR may be the last byte: it is looked at again */
    if (clean < (size_t)n && buf[clean] != '\r') return -1;
    at_line_start = clean == (size_t)n && buf[n - 1] == '\n';
    at += (off_t)clean;
  }
}

int64_t smtp_wire_body_size(const struct smtp_attempt *s, const struct write_opts *o) {
  const struct message *m = s->d->msg;
  bool is_changed = (o->filter && *o->filter) || o->has_content || o->headers_only || o->dot_stuff || o->end_dot;
  if (is_changed || !m->spool_wireformat || m->data_fd < 0 || m->body_size < WORTH_IT_BYTES) return -1;
  return clean_bytes(m->data_fd, m->data_start);
}

int smtp_wire_send_body(struct smtp_attempt *s, int64_t size, int64_t before) {
  off_t at = s->d->msg->data_start;
  for (int64_t sent = 0; sent < size;) {
    size_t n = (size_t)MIN(size - sent, (int64_t)BLOCK_BYTES);
    enum stream_status st = stream_send_file(s->io, s->d->msg->data_fd, at, n, deadline_in_sec(s->ob->data_timeout));
    if (st != STREAM_OK && !smtp_flush(s, deadline_in_sec(s->ob->data_timeout), AT_BLOCK, "data block", before + sent)) return -EPIPE;
    at += (off_t)n;
    sent += (int64_t)n;
  }
  return 0;
}
