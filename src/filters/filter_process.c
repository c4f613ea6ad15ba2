/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A filter in a process of its owner.  Floor: drivers.
 *
 * The child has the rights of the owner and no others, for good; what it decided comes back through a pipe as bytes, which are hostile. */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "filters/filter.h"
#include "os/priv.h"
#include "os/sys.h"
#include "policy/search.h"

enum { FILTER_ANSWER_MAX_BYTES = 16 << 20 };

struct job {
  struct arena *a;
  struct filter_result (*obey)(void *ctx);
  void *ctx;
  int fd;
};

static int child_main(void *ctx) {
  struct job *j = ctx;
  lookup_forget(); /* the owner may not read what we could */
  struct filter_result r = j->obey(j->ctx);
  struct strbuf out = strbuf_new(j->a);
  filter_result_encode(&r, &out);
  return sys_write_all(j->fd, out.p, out.n) < 0 ? 1 : 0;
}

const char *filter_run_as(struct arena *a, uid_t uid, gid_t gid, struct filter_result (*obey)(void *ctx), void *ctx,
                          struct filter_result *ret) {
  struct job j = {.a = a, .obey = obey, .ctx = ctx};
  int fds[2], status = 0;
  char *p = NULL;
  size_t n = 0;
  int rc = sys_pipe(fds);
  if (rc < 0) return arena_printf(a, "pipe for the filter process: %s", strerror(-rc));
  j.fd = fds[1];
  pid_t pid = priv_run_as(uid, gid, NULL, false, "filter", child_main, &j);
  (void)!sys_close(fds[1]);
  if (pid > 0) rc = sys_read_file(fds[0], a, FILTER_ANSWER_MAX_BYTES, &p, &n);
  (void)!sys_close(fds[0]);
  if (pid < 0) return arena_printf(a, "process for the filter: %s", strerror((int)-pid));
  if (sys_waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return arena_printf(a, "the filter process ended with status 0x%04x", (unsigned)status);
  if (rc < 0) return arena_printf(a, "reading from the filter process: %s", strerror(-rc));
  return filter_result_decode(a, str_n(p, n), ret) ? NULL : "the filter process sent an answer that cannot be read";
}
