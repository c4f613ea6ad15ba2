/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Transports that make a message of their own (autoreply, the quota warning) hand it to this program's submission side.  Floor: drivers.
 * Manual ch. 26, 27.
 *
 * So it is queued, synced and logged like any other message.  Its envelope sender is empty: nothing answers it with a bounce.  Recipients are those
 * of its header lines, which the caller has made safe. */
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buildinfo.h"
#include "os/child.h"
#include "os/sys.h"
#include "policy/readconf.h"
#include "transport.h"

enum { SUBMIT_WAIT_SEC = 300, EXIT_NOBODY = 2 /* of exim -t: no recipients */ };

/* -D goes on to the new process where it does not cost that its rights: the message is then routed as this one was. */
static bool may_pass(const struct config *cfg, const struct macro *m) {
  if (!m->from_command_line) return false;
  return cfg->harness_mode || (getuid() == cfg->exim_uid && readconf_macro_is_whitelisted(m));
}

/* The words of the command, a NULL after them. */
static const char **command(struct delivery *d) {
  const struct config *cfg = d->cfg;
  const char *exim = cfg->o.exim_path ? cfg->o.exim_path : arena_printf(d->arena, "%s/exim", build_info()->bin_directory);
  const char *fixed[] = {exim, "-t", "-oem", "-oi", "-f", "<>", arena_printf(d->arena, "-E%s", d->msg->id)};
  size_t n = 0, count = ARRAY_SIZE(fixed) + 4;
  for (const struct macro *m = cfg->macros; m; m = m->next) count += may_pass(cfg, m);
  const char **argv = ARENA_NEW_N(d->arena, const char *, count);
  for (; n < ARRAY_SIZE(fixed); n++) argv[n] = fixed[n];
  if (cfg->harness_mode || d->msg->deliver_foreground) argv[n++] = "-odi"; /* in the harness: log lines in a fixed order */
  if (strcmp(cfg->file, build_info()->configure_file) != 0) {
    argv[n++] = "-C";
    argv[n++] = cfg->file;
  }
  for (const struct macro *m = cfg->macros; m; m = m->next)
    if (may_pass(cfg, m)) argv[n++] = arena_printf(d->arena, "-D%s=%s", m->name, m->value);
  argv[n] = NULL;
  return argv;
}

enum transport_submitted transport_submit(struct delivery *d, struct str text, transport_more_fn more, void *ctx, int *ret_why) {
  struct child_spec spec = {.argv = command(d), .uid = (uid_t)-1, .gid = (gid_t)-1, .cwd = "/", .umask = -1, .new_session = true, .stdin_fd = -1,
                            .stdout_fd = -2};
  struct child c;
  int status = 0, r = child_run(&spec, &c);
  if (r < 0) {
    *ret_why = r;
    return SUBMIT_NOT_STARTED;
  }
  int w = sys_write_all(c.in_fd, text.p, text.n);
  if (w == 0 && more) w = more(ctx, c.in_fd);
  (void)!sys_close(c.in_fd);
  r = child_wait(&c, deadline_in_sec(SUBMIT_WAIT_SEC), &status);
  *ret_why = status;
  if (w < 0 || r < 0 || !WIFEXITED(status)) return SUBMIT_FAILED;
  return WEXITSTATUS(status) == 0 ? SUBMIT_DONE : WEXITSTATUS(status) == EXIT_NOBODY ? SUBMIT_NOBODY : SUBMIT_FAILED;
}
