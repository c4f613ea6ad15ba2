/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to transport_write.c and transport_filter.c: the bytes of a message on their way through the administrator's program.  Floor: drivers. */
#ifndef TRANSPORT_FILTER_H
#define TRANSPORT_FILTER_H

#include "os/child.h"
#include "transport.h"

struct transport_filter {
  struct delivery *d;
  struct child child;
  int64_t timeout_s;   /* for each piece of its output */
  write_fn out;        /* takes the output of the filter */
  void *out_ctx;
  bool input_refused;  /* it ended its input early */
  int error;           /* of out, or of reading */
};

/* The command of transport_filter becomes d->filter_argv; nothing happens where there is none.  what names it in texts.  NULL, or why not, as of
 * transport_expand_command(). */
const char *transport_expand_filter(struct delivery *d, const char *what, bool *ret_tainted);
/* Start the filter of o.  0 or -errno; -EPROTO: d->write_fault is set. */
int transport_filter_start(struct transport_filter *f, struct delivery *d, const struct write_opts *o, write_fn out, void *out_ctx);
/* A write_fn: bytes to the filter; what comes back meanwhile goes to out. */
int transport_filter_feed(void *ctx, const void *p, size_t n);
/* End of its input: take the rest of the output and judge its exit status.  r: what feeding it came to.  0, -errno, -EPROTO as above. */
int transport_filter_finish(struct transport_filter *f, int r);

#endif
