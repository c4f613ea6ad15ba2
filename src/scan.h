/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Content scanning: the copy of the message, the MIME walk, regular expressions, clients of scanners.  Floor: drivers.  Manual ch. 45.
 * Nothing here makes a permanent failure: what cannot be scanned defers. */
#ifndef SCAN_H
#define SCAN_H

#include "base/timeutil.h"
#include "message.h"
#include "policy/acl.h"
#include "policy/scan.h"

/* ---- scan_file.c ---- */

/* Write the copy, if it is not there yet: scan/ID/ID.eml in the spool.  0 or -errno, logged. */
MUST_CHECK int scan_spool(struct expand_ctx *x);
/* Remove the copy and whatever lies beside it, unless control = no_mbox_unspool was said. */
void scan_unspool(struct expand_ctx *x);
/* Remove what killed processes left: directories older than age_sec.  Number removed. */
int scan_clean_leftovers(const struct config *cfg, int age_sec);

/* Pieces of a file: whole lines where they are not longer than the buffer. */
enum { SCAN_PIECE_BYTES = 32 << 10 };
struct scan_reader {
  int fd;
  off_t next;              /* offset of what follows the buffer */
  size_t at, n;
  bool in_line;            /* the last piece was no end of a line */
  int error;               /* -errno, 0 none */
  char buf[SCAN_PIECE_BYTES];
};
void scan_reader_init(struct scan_reader *r, int fd, off_t from);
/* The next piece; false at the end or after an error.  *ret_starts_line: nothing of its line was given before. */
bool scan_read_piece(struct scan_reader *r, struct str *ret, bool *ret_starts_line);
/* Where the next piece begins. */
off_t scan_reader_tell(const struct scan_reader *r);
/* Is this piece the delimiter of one of the boundaries?  *ret_index: which. */
enum mime_line scan_find_boundary(const char *const *boundaries, struct str line, size_t *ret_index);

/* ---- scan_mime.c ---- */

/* Walk through the parts and call visit for each, with scan_state's part set; false from it ends the walk.  OK, FAIL: ended by visit, DEFER with *ret_log. */
enum outcome scan_walk(struct expand_ctx *x, bool (*visit)(void *ctx), void *ctx, const char **ret_log);
enum outcome scan_cond_decode(struct expand_ctx *x, enum acl_where where, const char *arg, const char **ret_log);
/* Decode the part at hand, to the default file when name is NULL.  0 or -errno. */
MUST_CHECK int scan_decode_part(struct expand_ctx *x, const char *name);

/* ---- scan_regex.c, scan_malware.c, scan_spam.c: the conditions ---- */
enum outcome scan_cond_regex(struct expand_ctx *x, enum acl_where where, const char *arg, const char **ret_log);
enum outcome scan_cond_mime_regex(struct expand_ctx *x, enum acl_where where, const char *arg, const char **ret_log);
enum outcome scan_cond_malware(struct expand_ctx *x, enum acl_where where, const char *arg, const char **ret_log);
enum outcome scan_cond_spam(struct expand_ctx *x, enum acl_where where, const char *arg, const char **ret_log);
/* The four and decode, by name: for struct acl_hooks. */
enum outcome scan_condition(struct expand_ctx *x, enum acl_where where, const char *name, const char *arg, const char **ret_log);
/* -bmalware: a copy of the file, as the body of x->msg, which has no id and no body yet.  OK found (name in *ret_name), FAIL clean, DEFER. */
enum outcome scan_malware_file(struct expand_ctx *x, const char *path, const char **ret_name);

/* ---- scan_net.c ---- */

struct scan_conn {
  int fd;
  deadline_ms deadline;
  size_t at, n;            /* buffered input */
  char buf[4096];
};
/* "/path", "host port" or "host port-port".  0 or -errno with *ret_error; $callout_address is set.  Without a port in spec: default_port. */
MUST_CHECK int scan_connect(struct expand_ctx *x, const char *spec, struct scan_conn *c, const char **ret_error);
/* One of several servers: a host and its ports, or the path of a socket. */
struct scan_server {
  const char *host;
  int port, last_port;
  int64_t retry_sec;       /* try once more after that long, 0: do not */
};
MUST_CHECK int scan_connect_server(struct expand_ctx *x, const struct scan_server *s, struct scan_conn *c, const char **ret_error);
/* "783" or "10200-10204". */
bool scan_parse_ports(struct str s, int *ret_first, int *ret_last);
/* "HOST PORT[-PORT] OPTION..." or "/SOCKET OPTION...", separated by blanks or as "<;" says.  Options are given to take, in order.  False: no address. */
bool scan_parse_server(struct arena *a, const char *spec, struct scan_server *ret, void (*take)(void *ctx, const char *option), void *ctx);
MUST_CHECK int scan_send(struct scan_conn *c, const void *p, size_t n);
MUST_CHECK int scan_sends(struct scan_conn *c, const char *text);
/* The file from its start. */
MUST_CHECK int scan_send_file(struct scan_conn *c, int fd);
/* A line, without its newline or NUL; at the end of the input what there is.  Cut at 4000 bytes.  1 line, 0 end, -errno. */
MUST_CHECK int scan_read_line(struct expand_ctx *x, struct scan_conn *c, const char **ret);
/* What one read brings.  > 0 bytes, 0 end, -errno. */
MUST_CHECK ssize_t scan_read_some(struct scan_conn *c, char *p, size_t n);
/* All up to the end or max_bytes, into tainted memory. */
MUST_CHECK int scan_read_all(struct expand_ctx *x, struct scan_conn *c, size_t max_bytes, const char **ret);
void scan_close(struct scan_conn *c);

#endif
