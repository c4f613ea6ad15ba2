/* SPDX-License-Identifier: GPL-2.0-or-later */
/* transport_filter: a program between the message and its destination.  Floor: drivers.  Manual ch. 24.
 *
 * The message goes in with plain line ends and without stuffing; what comes out is hostile like any message and gets line ends and stuffing like one.
 * Writing and reading run in one poll loop, so that no filter can block us, however it buffers.  The filter runs with the rights of the
 * delivery.  Whatever goes wrong in it leaves the message on the queue: no exit status, signal or timeout is ever read as success. */
#include "transport_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/debug.h"
#include "os/sys.h"
#include "transport_command.h"

enum { OUTPUT_PIECE = 16 * 1024 };

static int fault(struct transport_filter *f, int basic_errno, const char *text, const char *tail) {
  f->d->write_fault = (struct write_fault){.basic_errno = basic_errno, .text = text, .tail = tail ? tail : ""};
  return -EPROTO;
}

static const char *expand_filter(struct delivery *d, const char *command, const char *what, bool *ret_tainted) {
  *ret_tainted = false;
  d->filter_argv = vec_new(d->arena);
  return command && *command ? transport_expand_command(d, command, what, &d->filter_argv, ret_tainted) : NULL;
}

const char *transport_expand_filter(struct delivery *d, const char *what, bool *ret_tainted) {
  return expand_filter(d, d->transport->o.transport_filter, what, ret_tainted);
}

int transport_filter_start(struct transport_filter *f, struct delivery *d, const struct write_opts *o, write_fn out, void *out_ctx) {
  *f = (struct transport_filter){.d = d, .timeout_s = o->filter_timeout, .out = out, .out_ctx = out_ctx};
  bool is_tainted = false;
  const char *error = d->filter_argv.n > 0 ? NULL : expand_filter(d, o->filter, "transport filter", &is_tainted);
  if (error) {
    d->write_fault = (struct write_fault){.basic_errno = ERRNO_UNKNOWNERROR, .text = error, .is_complete = true, .is_mistake = !is_tainted, .is_final = is_tainted};
    return -EPROTO;
  }
  const struct vec argv = d->filter_argv;
  struct child_spec spec = {.argv = (const char *const *)argv.v, .uid = (uid_t)-1, .gid = (gid_t)-1, .umask = -1, .new_session = true,
                            .stdin_fd = -1, .stdout_fd = -1};
  DEBUG(D_TRANSPORT) debug_printf("running transport filter %s\n", (const char *)argv.v[0]);
  int r = child_run(&spec, &f->child);
  if (r < 0) return fault(f, ERRNO_FILTER_FAIL, "transport filter process failed (127)", ": unable to execute command");
  (void)fcntl(f->child.in_fd, F_SETFL, O_NONBLOCK);
  return 0;
}

/* Pass on what the filter has written.  1 something, 0 the end, -errno. */
static int take_output(struct transport_filter *f) {
  char buf[OUTPUT_PIECE];
  ssize_t n = sys_read(f->child.out_fd, buf, sizeof buf);
  if (n == -EAGAIN || n == -EINTR) return 1;
  if (n < 0) return (int)n;
  if (n == 0) {
    close(f->child.out_fd);
    f->child.out_fd = -1;
    return 0;
  }
  int r = f->out(f->out_ctx, buf, (size_t)n);
  return r < 0 ? r : 1;
}

/* Wait until the filter reads or writes, and take its output. */
static int turn(struct transport_filter *f, bool want_write, bool *ret_writable) {
  struct pollfd p[2] = {{.fd = want_write ? f->child.in_fd : -1, .events = POLLOUT}, {.fd = f->child.out_fd, .events = POLLIN}};
  *ret_writable = false;
  int n = poll(p, 2, f->timeout_s > 0 ? deadline_poll_ms(deadline_in_sec(f->timeout_s)) : -1);
  if (n < 0) return errno == EINTR ? 0 : -errno;
  if (n == 0) return fault(f, ETIMEDOUT, "error", NULL);
  *ret_writable = p[0].revents != 0;
  return p[1].revents ? MIN(take_output(f), 0) : 0;
}

int transport_filter_feed(void *ctx, const void *data, size_t n) {
  struct transport_filter *f = ctx;
  const char *p = data;
  while (n && !f->input_refused && !f->error) {
    bool writable;
    f->error = turn(f, true, &writable);
    if (f->error || !writable) continue;
    ssize_t w = write(f->child.in_fd, p, n);
    if (w < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (w < 0 && errno == EPIPE) f->input_refused = true; /* its exit status says what that means */
    else if (w < 0) f->error = -errno;
    else {
      p += w;
      n -= (size_t)w;
    }
  }
  return f->error;
}

static int judge(struct transport_filter *f, int status) {
  struct arena *a = f->d->arena;
  if (WIFSIGNALED(status)) return fault(f, ERRNO_FILTER_FAIL, arena_printf(a, "transport filter process failed (%d)", -WTERMSIG(status)), NULL);
  if (WEXITSTATUS(status) != 0)
    return fault(f, ERRNO_FILTER_FAIL, arena_printf(a, "transport filter process failed (%d)", WEXITSTATUS(status)),
                 WEXITSTATUS(status) == 127 ? ": unable to execute command" : NULL);
  /* Part of the message was not read: what came out cannot be trusted to be all. */
  return f->input_refused ? fault(f, EPIPE, "error", NULL) : 0;
}

int transport_filter_finish(struct transport_filter *f, int r) {
  int status = 0;
  bool unused;
  if (r == 0) r = f->error;
  if (f->child.in_fd >= 0) close(f->child.in_fd);
  while (r == 0 && f->child.out_fd >= 0) r = turn(f, false, &unused);
  if (f->child.out_fd >= 0) close(f->child.out_fd);
  if (r < 0) child_kill(&f->child);
  int w = child_wait(&f->child, f->timeout_s > 0 ? deadline_in_sec(f->timeout_s) : DEADLINE_NEVER, &status);
  if (r < 0) return r;
  if (w == -ETIMEDOUT) return fault(f, ETIMEDOUT, "error", NULL);
  return w < 0 ? w : judge(f, status);
}
