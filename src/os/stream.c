/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The stream stack (stream.h).  Floor: os.  Input is hostile in content and timing.
 *
 * One input and one output buffer per stream, malloc'ed on first use (they outlive arena marks and shrink when idle).
 * All waiting happens in wait_io(); while output cannot be written, input is taken into the buffer, so two pipelining peers
 * never wait for each other. */
#include "os/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
  IN_CHUNK = 16 * 1024, OUT_FLUSH_AT = 16 * 1024, OUT_HELD_MAX = 64 * 1024,
  DUPLEX_IN_LIMIT = 512 * 1024 - IN_CHUNK /* so that the buffer need not double for the last piece */
};

struct buffer {
  char *p;
  size_t start, end, cap;
};

struct memory_ends {
  struct str input;
  const size_t *chunk_ends;
  size_t nchunks, chunk, at;
  struct strbuf output;
};

struct stream {
  struct arena *a;
  int fd_in, fd_out;
  bool own;
  enum stream_status status;  /* sticky state of the input side */
  enum stream_status out_status;
  int error;
  struct buffer in, out;
  struct stream_layer layer;
  struct memory_ends *memory;
};

/* ---- the bottom layer ----------------------------------------------------------------------------------- */

static ssize_t socket_read(void *self, void *buf, size_t n) {
  const struct stream *s = self;
  ssize_t r = recv(s->fd_in, buf, n, MSG_DONTWAIT);
  if (r < 0 && errno == ENOTSOCK) r = read(s->fd_in, buf, n);
  return r < 0 ? -errno : r;
}

static ssize_t socket_write(void *self, const void *buf, size_t n) {
  const struct stream *s = self;
  ssize_t r = send(s->fd_out, buf, n, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (r < 0 && errno == ENOTSOCK) r = write(s->fd_out, buf, n);
  return r < 0 ? -errno : r;
}

static bool socket_has_pending(void *self) {
  (void)self;
  return false;
}

static struct stream_layer socket_layer(struct stream *s) {
  return (struct stream_layer){
    .name = "socket", .read = socket_read, .write = socket_write, .has_pending = socket_has_pending, .self = s};
}

static ssize_t memory_read(void *self, void *buf, size_t n) {
  struct memory_ends *m = ((struct stream *)self)->memory;
  while (m->chunk < m->nchunks && m->at >= m->chunk_ends[m->chunk]) m->chunk++;
  size_t end = m->chunk < m->nchunks ? MIN(m->chunk_ends[m->chunk], m->input.n) : m->input.n;
  size_t take = MIN(n, end - m->at);
  memcpy(buf, m->input.p + m->at, take);
  m->at += take;
  return (ssize_t)take;
}

static ssize_t memory_write(void *self, const void *buf, size_t n) {
  strbuf_add_t(&((struct stream *)self)->memory->output, buf, n, UNTAINTED);
  return (ssize_t)n;
}

/* ---- life ------------------------------------------------------------------------------------------------ */

struct stream *stream_new(struct arena *a, int fd_in, int fd_out, bool own) {
  struct stream *s = ARENA_NEW(a, struct stream);
  s->a = a;
  s->fd_in = fd_in;
  s->fd_out = fd_out;
  s->own = own;
  s->layer = socket_layer(s);
  return s;
}

struct stream *stream_new_memory(struct arena *a, struct str input, const size_t *chunk_ends, size_t nchunks) {
  struct stream *s = stream_new(a, -1, -1, false);
  s->memory = ARENA_NEW(a, struct memory_ends);
  *s->memory = (struct memory_ends){input, chunk_ends, nchunks, 0, 0, strbuf_new(a)};
  s->layer = (struct stream_layer){
    .name = "memory", .read = memory_read, .write = memory_write, .has_pending = socket_has_pending, .self = s};
  return s;
}

struct str stream_memory_output(struct stream *s) {
  IGNORE_RESULT(stream_flush(s, DEADLINE_NEVER)); /* memory takes everything */
  return strbuf_str(&s->memory->output);
}

static void buffer_free(struct buffer *b) {
  if (b->p && arena_is_wiping()) memset(b->p, ARENA_WIPED, b->cap);
  free(b->p);
  *b = (struct buffer){0};
}

void stream_close(struct stream *s) {
  if (s->layer.close) s->layer.close(s->layer.self);
  s->layer.close = NULL;
  buffer_free(&s->in);
  buffer_free(&s->out);
  if (s->own) {
    if (s->fd_in >= 0) close(s->fd_in);
    if (s->fd_out >= 0 && s->fd_out != s->fd_in) close(s->fd_out);
  }
  s->fd_in = s->fd_out = -1;
  s->status = s->out_status = STREAM_EOF;
}

int stream_fd(const struct stream *s) { return s->fd_in; }
int stream_errno(const struct stream *s) { return s->error; }

void stream_push_layer(struct stream *s, struct stream_layer layer) {
  INVARIANT(s->in.start == s->in.end && s->out.start == s->out.end);
  s->layer = layer;
}

struct stream_layer stream_bottom(const struct stream *s) { return s->layer; }

/* ---- buffers ---------------------------------------------------------------------------------------------- */

static void buffer_room(struct buffer *b, size_t more) {
  if (b->start == b->end) b->start = b->end = 0;
  if (b->cap - b->end >= more) return;
  if (b->start > 0) {
    memmove(b->p, b->p + b->start, b->end - b->start);
    b->end -= b->start;
    b->start = 0;
    if (b->cap - b->end >= more) return;
  }
  size_t cap = b->cap ? b->cap : IN_CHUNK;
  while (cap - b->end < more) cap = size_mul(cap, 2);
  char *p = realloc(b->p, cap);
  INVARIANT(p);
  b->p = p;
  b->cap = cap;
}

struct str stream_buffered(const struct stream *s) { return str_n(s->in.p + s->in.start, s->in.end - s->in.start); }

void stream_consume(struct stream *s, size_t n) {
  INVARIANT(n <= s->in.end - s->in.start);
  s->in.start += n;
}

size_t stream_discard_buffered(struct stream *s) {
  size_t n = s->in.end - s->in.start;
  s->in.start = s->in.end = 0;
  return n;
}

/* ---- waiting and reading ------------------------------------------------------------------------------------ */

static enum stream_status fail_in(struct stream *s, enum stream_status st, int error) {
  s->status = st;
  if (error) s->error = error;
  return st;
}

/* One attempt to read into the buffer: OK something came, TIMEOUT nothing there now (not sticky), EOF/ERROR sticky. */
static enum stream_status read_once(struct stream *s) {
  buffer_room(&s->in, IN_CHUNK / 4);
  for (;;) {
    ssize_t n = s->layer.read(s->layer.self, s->in.p + s->in.end, s->in.cap - s->in.end);
    if (n > 0) {
      s->in.end += (size_t)n;
      return STREAM_OK;
    }
    if (n == 0) return fail_in(s, STREAM_EOF, 0);
    if (n == -EINTR) continue;
    if (n == -EAGAIN || n == -EWOULDBLOCK) return STREAM_TIMEOUT;
    return fail_in(s, STREAM_ERROR, (int)-n);
  }
}

/* Wait for readability (and for writability when want_write); false on timeout. */
static bool wait_io(struct stream *s, bool want_read, bool want_write, deadline_ms deadline, bool *ret_readable) {
  if (s->memory) {
    *ret_readable = want_read;
    return true;
  }
  struct pollfd p[2] = {{want_read ? s->fd_in : -1, POLLIN, 0}, {want_write ? s->fd_out : -1, POLLOUT, 0}};
  for (;;) {
    int r = poll(p, 2, deadline_poll_ms(deadline));
    if (r > 0) {
      *ret_readable = p[0].revents != 0;
      return true;
    }
    if (r == 0 && deadline_passed(deadline)) return false;
    if (r < 0 && errno != EINTR) return false;
  }
}

static bool layer_wants_write(const struct stream *s) { return s->layer.wants_write && s->layer.wants_write(s->layer.self); }

bool stream_wait(struct stream *s, bool want_read, bool want_write, deadline_ms deadline) {
  bool readable;
  return wait_io(s, want_read, want_write, deadline, &readable);
}

/* Get more input, waiting until the deadline. */
static enum stream_status read_more(struct stream *s, deadline_ms deadline) {
  if (s->status != STREAM_OK) return s->status;
  if (s->out.start != s->out.end) {
    size_t before = s->in.end - s->in.start;
    enum stream_status st = stream_flush(s, deadline);
    if (s->in.end - s->in.start > before) return STREAM_OK; /* it came meanwhile, and may be all: the peer may be waiting for us now */
    if (st != STREAM_OK && st != STREAM_ERROR) return st; /* a broken output may still leave input to read */
    if (s->status != STREAM_OK) return s->status;
  }
  /* A pipe would block in read(), so ask poll first unless the layer has decrypted bytes. */
  for (;;) {
    bool readable = true;
    if (!s->layer.has_pending(s->layer.self) && !wait_io(s, true, layer_wants_write(s), deadline, &readable))
      return fail_in(s, STREAM_TIMEOUT, ETIMEDOUT);
    enum stream_status st = read_once(s);
    if (st != STREAM_TIMEOUT) return st;
    if (deadline_passed(deadline)) return fail_in(s, STREAM_TIMEOUT, ETIMEDOUT); /* a layer may take bytes and give none */
  }
}

/* Input may be at hand, but a peer that asks and asks and takes no answers must not make us hold them all. */
static enum stream_status limit_output(struct stream *s, deadline_ms deadline) {
  if (s->out.end - s->out.start <= OUT_HELD_MAX) return STREAM_OK;
  enum stream_status st = stream_flush(s, deadline);
  return st == STREAM_TIMEOUT ? fail_in(s, st, ETIMEDOUT) : STREAM_OK; /* a broken output may still leave input to read */
}

enum stream_status stream_fill(struct stream *s, deadline_ms deadline, struct str *ret) {
  if (limit_output(s, deadline) != STREAM_OK) return s->status;
  while (s->in.start == s->in.end) {
    enum stream_status st = read_more(s, deadline);
    if (st != STREAM_OK) return st;
  }
  *ret = stream_buffered(s);
  return STREAM_OK;
}

enum stream_status stream_fill_more(struct stream *s, size_t n, size_t max_bytes, deadline_ms deadline, struct str *ret) {
  while (s->in.end - s->in.start <= n) {
    if (s->in.end - s->in.start >= max_bytes) return STREAM_TOOLONG;
    enum stream_status st = read_more(s, deadline);
    if (st != STREAM_OK) return st;
  }
  *ret = stream_buffered(s);
  return STREAM_OK;
}

enum stream_status stream_read_some(struct stream *s, size_t max_bytes, deadline_ms deadline, struct str *ret) {
  struct str b;
  enum stream_status st = stream_fill(s, deadline, &b);
  if (st != STREAM_OK) return st;
  *ret = str_n(b.p, MIN(b.n, max_bytes));
  stream_consume(s, ret->n);
  return STREAM_OK;
}

/* Find the end of a line in buf starting at *scan; length without ending in *ret_len, bytes to consume in *ret_used. */
static bool find_line_end(struct str buf, size_t *scan, bool allow_bare_lf, size_t *ret_len, size_t *ret_used) {
  while (*scan < buf.n) {
    const char *lf = memchr(buf.p + *scan, '\n', buf.n - *scan);
    if (!lf) break;
    size_t at = (size_t)(lf - buf.p);
    bool crlf = at > 0 && buf.p[at - 1] == '\r';
    if (crlf || allow_bare_lf) {
      *ret_len = crlf ? at - 1 : at;
      *ret_used = at + 1;
      return true;
    }
    *scan = at + 1;
  }
  *scan = buf.n;
  return false;
}

/* Consume input up to and including the next line end (after an over-long line). */
static enum stream_status skip_line(struct stream *s, bool allow_bare_lf, deadline_ms deadline) {
  char last = 0;
  for (;;) {
    struct str b;
    enum stream_status st = stream_fill(s, deadline, &b);
    if (st != STREAM_OK) return st;
    for (size_t i = 0; i < b.n; i++) {
      if (b.p[i] == '\n' && (allow_bare_lf || last == '\r')) {
        stream_consume(s, i + 1);
        return STREAM_TOOLONG;
      }
      last = b.p[i];
    }
    stream_consume(s, b.n);
  }
}

enum stream_status stream_read_line(struct stream *s, size_t max_bytes, bool allow_bare_lf, deadline_ms deadline,
                                    struct str *ret_line, bool *ret_bare_lf) {
  size_t scan = 0;
  if (limit_output(s, deadline) != STREAM_OK) return s->status;
  for (;;) {
    struct str b = stream_buffered(s);
    size_t len, used;
    if (find_line_end(b, &scan, allow_bare_lf, &len, &used)) {
      if (len > max_bytes) {
        stream_consume(s, used);
        return STREAM_TOOLONG;
      }
      *ret_line = str_n(b.p, len);
      if (ret_bare_lf) *ret_bare_lf = used == len + 1;
      stream_consume(s, used);
      return STREAM_OK;
    }
    if (b.n > max_bytes + 1) return skip_line(s, allow_bare_lf, deadline);
    enum stream_status st = read_more(s, deadline);
    if (st != STREAM_OK) return st;
  }
}

enum stream_ready stream_input_ready(struct stream *s, int wait_ms) {
  if (s->in.start != s->in.end) return STREAM_DATA;
  if (s->status != STREAM_OK) return STREAM_AT_EOF;
  deadline_ms deadline = time_mono_ms() + wait_ms;
  for (;;) {
    bool readable;
    if (!s->layer.has_pending(s->layer.self) && (!wait_io(s, true, false, deadline, &readable) || !readable)) return STREAM_NOTHING;
    switch (read_once(s)) {
      case STREAM_OK: return STREAM_DATA;
      case STREAM_TIMEOUT: /* a layer took bytes that were none of ours (a ticket); what is behind them? */
        if (s->layer.wants_write && !s->memory) continue;
        return STREAM_NOTHING;
      default: return STREAM_AT_EOF;
    }
  }
}

bool stream_peer_gone(struct stream *s) {
  if (s->memory || s->fd_out < 0) return false;
  if (s->layer.read != socket_read) { /* a layer knows an end from a loss; what it reads is kept */
    while (s->in.end - s->in.start < DUPLEX_IN_LIMIT && s->status == STREAM_OK) {
      bool readable = false;
      if (!s->layer.has_pending(s->layer.self) && (!wait_io(s, true, false, time_mono_ms(), &readable) || !readable)) break;
      if (read_once(s) != STREAM_OK) break;
    }
    if (s->status == STREAM_ERROR) return true;
  }
  struct pollfd p = {s->fd_out, POLLOUT, 0};
  if (poll(&p, 1, 0) <= 0) return false;
  return (p.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
}

/* ---- writing -------------------------------------------------------------------------------------------- */

/* Write what the peer takes at once, so that large output does not pile up; errors show at the next flush. */
static void write_through(struct stream *s) {
  if (!s->memory && s->fd_out < 0) return; /* not connected yet: a first flight is being built */
  ssize_t n = s->layer.write(s->layer.self, s->out.p + s->out.start, s->out.end - s->out.start);
  if (n > 0) s->out.start += (size_t)n;
}

void stream_put(struct stream *s, const void *p, size_t n) {
  if (n == 0 || s->out_status != STREAM_OK) return;
  buffer_room(&s->out, n);
  memcpy(s->out.p + s->out.end, p, n);
  s->out.end += n;
  if (s->out.end - s->out.start >= OUT_FLUSH_AT) write_through(s);
}

void stream_puts(struct stream *s, const char *text) { stream_put(s, text, strlen(text)); }

void stream_putf(struct stream *s, const char *fmt, ...) {
  struct arena_mark m = arena_mark(s->a);
  va_list ap;
  va_start(ap, fmt);
  const char *text = arena_vprintf_t(s->a, UNTAINTED, fmt, ap);
  va_end(ap);
  stream_puts(s, text);
  arena_release(s->a, m);
}

size_t stream_unsent(const struct stream *s) { return s->out.end - s->out.start; }
void stream_drop_unsent(struct stream *s, size_t n) {
  INVARIANT(n <= stream_unsent(s));
  s->out.start += n;
}

static enum stream_status fail_out(struct stream *s, enum stream_status st, int error) {
  s->out_status = st;
  s->error = error;
  s->out.start = s->out.end = 0;
  return st;
}

/* Nothing was written, n says why: wait for room. */
static enum stream_status wait_for_room(struct stream *s, ssize_t n, deadline_ms deadline) {
  if (n == -EINTR) return STREAM_OK;
  if (n != -EAGAIN && n != -EWOULDBLOCK) return fail_out(s, STREAM_ERROR, n == 0 ? EPIPE : (int)-n);
  bool take_input = s->status == STREAM_OK && s->in.end - s->in.start < DUPLEX_IN_LIMIT, readable;
  if (!wait_io(s, take_input, true, deadline, &readable)) return fail_out(s, STREAM_TIMEOUT, ETIMEDOUT);
  if (readable) (void)read_once(s); /* its end or error is sticky and shows at the next read */
  return STREAM_OK;
}

enum stream_status stream_flush(struct stream *s, deadline_ms deadline) {
  if (s->out_status != STREAM_OK) return s->out_status;
  while (s->out.start < s->out.end) {
    ssize_t n = s->layer.write(s->layer.self, s->out.p + s->out.start, s->out.end - s->out.start);
    if (n > 0) s->out.start += (size_t)n;
    else if (wait_for_room(s, n, deadline) != STREAM_OK) return s->out_status;
  }
  s->out.start = s->out.end = 0;
  return STREAM_OK;
}

/* sendfile() has no flag that says not to wait or not to raise a signal. */
static bool kernel_may_copy(const struct stream *s) {
  int flags = s->fd_out >= 0 && !s->memory && s->layer.write == socket_write ? fcntl(s->fd_out, F_GETFL) : 0;
  return flags >= 0 && (flags & O_NONBLOCK);
}

static enum stream_status send_pieces(struct stream *s, int fd, off_t at, size_t n, deadline_ms deadline) {
  char piece[OUT_FLUSH_AT];
  while (n > 0 && s->out_status == STREAM_OK) {
    ssize_t got = pread(fd, piece, MIN(n, sizeof piece), at);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return fail_out(s, STREAM_ERROR, got < 0 ? errno : EIO);
    stream_put(s, piece, (size_t)got);
    at += got;
    n -= (size_t)got;
    if (s->out.end - s->out.start >= OUT_FLUSH_AT && stream_flush(s, deadline) != STREAM_OK) break;
  }
  return stream_flush(s, deadline);
}

enum stream_status stream_send_file(struct stream *s, int fd, off_t at, size_t n, deadline_ms deadline) {
  if (!kernel_may_copy(s)) return send_pieces(s, fd, at, n, deadline);
  enum stream_status st = stream_flush(s, deadline);
  while (n > 0 && st == STREAM_OK) {
    ssize_t sent = sendfile(s->fd_out, fd, &at, n);
    if (sent > 0) n -= (size_t)sent;
    else st = sent == 0 ? fail_out(s, STREAM_ERROR, EIO) : wait_for_room(s, -errno, deadline);
  }
  return st;
}

bool stream_drain(struct stream *s, size_t max_bytes, deadline_ms deadline) {
  size_t seen = stream_discard_buffered(s);
  struct str b;
  while (seen < max_bytes) {
    enum stream_status st = stream_read_some(s, max_bytes - seen, deadline, &b);
    if (st != STREAM_OK) return st == STREAM_EOF;
    seen += b.n;
  }
  return false;
}

void stream_linger_close(struct stream *s, size_t max_bytes, int max_ms) {
  if (s->layer.end) s->layer.end(s->layer.self);
  if (!s->memory && s->fd_out >= 0 && shutdown(s->fd_out, SHUT_WR) == 0) {
    struct stream_layer top = s->layer;
    /* What still comes is thrown away, so nobody need decrypt it. */
    s->layer = socket_layer(s);
    s->out.start = s->out.end = 0;
    IGNORE_RESULT(stream_drain(s, max_bytes, deadline_in_ms(max_ms))); /* closed either way */
    s->layer = top;
  }
  stream_close(s);
}
