/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The connection-owned stream stack: socket > [TLS] > buffered lines / exact bytes.  Floor: os.
 *
 * One struct stream per connection.  End of file and errors are sticky: after the first, every read returns the same result.
 * The end of TLS is the end of the stream: nothing ever falls back to the plain socket.
 * Pushing TLS (stream_start_tls, os/tls.h) asserts that no plaintext is buffered above the socket.
 * Every wait takes an absolute deadline.  Buffers are allocated at the first byte.
 * Replies and commands to send are collected in the output buffer; stream_flush writes them.  Reading flushes first (rule S10:
 * never block on input with unsent output) unless input is already buffered. */
#ifndef OS_STREAM_H
#define OS_STREAM_H

#include <sys/types.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "base/timeutil.h"

enum stream_status {
  STREAM_OK = 0,
  STREAM_EOF = -1,     /* orderly end */
  STREAM_ERROR = -2,   /* errno in stream_errno() */
  STREAM_TIMEOUT = -3,
  STREAM_TOOLONG = -4  /* line over the limit; the line is consumed to its end */
};

struct stream;

/* The vtable of a layer below the buffers (socket, TLS).  read: >0 bytes, 0 EOF, -EAGAIN would block, -errno.
 * has_pending: bytes decrypted but not read. */
struct stream_layer {
  const char *name;
  ssize_t (*read)(void *self, void *buf, size_t n);
  ssize_t (*write)(void *self, const void *buf, size_t n);
  bool (*has_pending)(void *self);
  /* The last read or write stopped because the descriptor must take output first; NULL: never. */
  bool (*wants_write)(void *self);
  /* Say goodbye as far as that goes without waiting (close_notify); NULL: nothing to say. */
  void (*end)(void *self);
  void (*close)(void *self);
  void *self;
};

/* fd_out may equal fd_in (socket) or differ (stdin/stdout).  The descriptors are owned by the stream from now on
 * when own is true.  They may be blocking or not; waiting is done with poll. */
struct stream *stream_new(struct arena *a, int fd_in, int fd_out, bool own);
/* Close (after stream_flush by the caller if wanted); the second time nothing happens. */
void stream_close(struct stream *s);
int stream_fd(const struct stream *s);
int stream_errno(const struct stream *s);
/* Replace the bottom by a layer that reads/writes through the old one's descriptors (TLS).  INVARIANT: no buffered input. */
void stream_push_layer(struct stream *s, struct stream_layer layer);
/* The bottom as it is now, for the layer that is to stand on it; and a wait on its descriptors: false at the deadline. */
struct stream_layer stream_bottom(const struct stream *s);
MUST_CHECK bool stream_wait(struct stream *s, bool want_read, bool want_write, deadline_ms deadline);
/* Read from the bottom without keeping anything until it ends (true) or the deadline: a layer's goodbye from the peer. */
bool stream_drain(struct stream *s, size_t max_bytes, deadline_ms deadline);

/* One line without its ending; accepts CRLF; bare LF ends a line only when allow_bare_lf; a bare CR is data.  NUL bytes are kept in the slice.
 * The slice points into the stream's buffer and is valid until the next call; at most max_bytes, else STREAM_TOOLONG. ret_bare_lf may be NULL. */
enum stream_status stream_read_line(struct stream *s, size_t max_bytes, bool allow_bare_lf, deadline_ms deadline,
                                    struct str *ret_line, bool *ret_bare_lf);
/* Whatever is buffered, or what one read brings: 1..max bytes as a slice valid until the next call; consumes it. */
enum stream_status stream_read_some(struct stream *s, size_t max_bytes, deadline_ms deadline, struct str *ret);
/* Make at least one byte available and show everything buffered without consuming it. */
enum stream_status stream_fill(struct stream *s, deadline_ms deadline, struct str *ret_buffered);
/* Ensure more input than n bytes is buffered (grows the buffer to max_bytes). */
enum stream_status stream_fill_more(struct stream *s, size_t n, size_t max_bytes, deadline_ms deadline, struct str *ret_buffered);
/* Consume n buffered bytes. */
void stream_consume(struct stream *s, size_t n);
/* Bytes already buffered (no system call). */
struct str stream_buffered(const struct stream *s);
/* Throw away buffered input; returns the number of bytes. */
size_t stream_discard_buffered(struct stream *s);

enum stream_ready { STREAM_NOTHING, STREAM_DATA, STREAM_AT_EOF };
/* Is input available now (buffered, pending in TLS, or readable) without waiting longer than wait_ms? Data is told from EOF by
 * actually reading into the buffer. */
enum stream_ready stream_input_ready(struct stream *s, int wait_ms);
/* Has the peer vanished (error/hangup both ways)?  A half-closed peer (FIN after pipelining everything) has not; one whose TLS broke off
 * without a goodbye has. */
bool stream_peer_gone(struct stream *s);

/* Queue output.  Large output is written through when the buffer passes 16 KiB. */
void stream_put(struct stream *s, const void *p, size_t n);
void stream_puts(struct stream *s, const char *text);
void stream_putf(struct stream *s, const char *fmt, ...) PRINTF(2, 3);
/* Bytes of output that wait to be sent; forget the first n of them. */
size_t stream_unsent(const struct stream *s);
void stream_drop_unsent(struct stream *s, size_t n);
/* Write everything queued; STREAM_OK or sticky error/timeout.  While the socket does not take more, input is read into the buffer
 * (duplex), so that two pipelining peers cannot block each other. */
enum stream_status stream_flush(struct stream *s, deadline_ms deadline);
/* Queue n bytes of the file behind fd, from at on, and write everything.  Where no layer stands above a socket the kernel copies them.  A file that ends
 * before is an error (EIO). */
enum stream_status stream_send_file(struct stream *s, int fd, off_t at, size_t n, deadline_ms deadline);
/* shutdown(SHUT_WR) then read and discard up to max_bytes or max_ms (rule S5), then close. */
void stream_linger_close(struct stream *s, size_t max_bytes, int max_ms);

/* Unit tests: a stream over memory.  Input arrives in the chunks given (split positions), output is collected. */
struct stream *stream_new_memory(struct arena *a, struct str input, const size_t *chunk_ends, size_t nchunks);
struct str stream_memory_output(struct stream *s);

#endif
