/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A copy of a message's spool files in another directory.  Floor: drivers.  Manual ch. 57.
 *
 * For programs that take messages in the form of the spool (queuefile transport).  Data first, header file last and by rename: whoever sees ID-H has a
 * complete message.  All is synced before the function says 0; after a failure nothing of the copy is left.  Nothing here is a link: a program that
 * writes to its copy cannot harm the message in our spool. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "buildconfig.h"
#include "os/debug.h"
#include "os/sys.h"
#include "policy/config.h"
#include "spool_priv.h"

enum { COPY_BLOCK = 65536 };

static int write_data(const struct message *m, int fd) {
  char block[COPY_BLOCK];
  off_t at = 0;
  ssize_t n;
  while ((n = sys_pread(m->data_fd, block, sizeof block, at)) > 0) {
    int r = sys_write_all(fd, block, (size_t)n);
    if (r < 0) return r;
    at += n;
  }
  return (int)n;
}

/* One file NAME.tmp, synced, then NAME.  bytes NULL: the data file. */
static int copy_file(const struct message *m, int dir, const char *name, const struct strbuf *bytes) {
  const char *tmp = arena_printf(m->arena, "%s.tmp", name);
  int fd = sys_openat(dir, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, CFG_SPOOL_MODE);
  if (fd < 0) return fd;
  int r = bytes ? sys_write_all(fd, bytes->p, bytes->n) : write_data(m, fd);
  if (r == 0 && !m->cfg->o.disable_fsync) r = sys_fsync(fd);
  int closed = sys_close(fd);
  if (r == 0) r = closed;
  if (r == 0) r = sys_renameat(dir, tmp, dir, name);
  if (r < 0 && sys_unlinkat(dir, tmp, 0) < 0) DEBUG(D_TRANSPORT) debug_printf("%s is left behind\n", tmp);
  return r;
}

int spool_copy(struct message *m, const char *directory) {
  int dir = sys_open(directory, O_RDONLY | O_DIRECTORY, 0);
  if (dir < 0) return dir;
  const char *data = arena_printf(m->arena, "%s-D", m->id), *header = arena_printf(m->arena, "%s-H", m->id);
  struct strbuf bytes = spool_header_bytes(m);
  int r = copy_file(m, dir, data, NULL);
  if (r == 0) {
    r = copy_file(m, dir, header, &bytes);
    if (r < 0 && sys_unlinkat(dir, data, 0) < 0) DEBUG(D_TRANSPORT) debug_printf("%s is left behind\n", data);
  }
  if (r == 0 && !m->cfg->o.disable_fsync) r = sys_fsync_dir(dir);
  int closed = sys_close(dir);
  return r < 0 ? r : closed;
}
