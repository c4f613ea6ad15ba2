/* SPDX-License-Identifier: GPL-2.0-or-later */
/* appendfile: file_format, named pipes, mailstore.  Floor: drivers.  Manual ch. 26.
 *
 * Runs as the recipient's user like the rest of the transport.  What an existing mailbox begins with, and whatever stands at a path, is the user's and
 * hostile.  A mailstore message is two files: the envelope takes its final name last, so that a reader that sees it sees the whole message. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "os/sys.h"
#include "policy/match.h"
#include "transports/appendfile_priv.h"
#include "transports/drivers.h"

/* ---- file_format ------------------------------------------------------------------------------------------ */

static size_t longest_test(const char *list, struct arena *a) {
  int sep = -':';
  size_t longest = 0;
  const char *test;
  while ((test = list_next(a, &list, &sep))) {
    longest = MAX(longest, strlen(test));
    if (!list_next(a, &list, &sep)) break;
  }
  return longest;
}

/* The transport that the beginning of the mailbox asks for; NULL: deferred.  A mailbox that is empty or not there fits this one. */
struct transport *append_find_format(struct append_job *j) {
  struct delivery *d = j->d;
  const char *list = j->ob->file_format, *test, *name;
  int sep = -':';
  if (!list || !*list || j->format != APPEND_MBOX || d->addrs->other_transport) return d->transport; /* handed over once */
  size_t want = longest_test(list, d->arena);
  char *head = arena_alloc_t(d->arena, want + 1, TAINTED);
  int fd = sys_open(j->path, O_RDONLY | O_NONBLOCK | (j->ob->allow_symlink ? 0 : O_NOFOLLOW), 0);
  ssize_t n = fd < 0 ? 0 : sys_pread(fd, head, want, 0);
  if (fd >= 0) (void)!sys_close(fd);
  if (n <= 0) return d->transport; /* what else may be wrong shows when it is opened for appending */
  while ((test = list_next(d->arena, &list, &sep)) && (name = list_next(d->arena, &list, &sep))) {
    if (!str_starts(str_n(head, (size_t)n), str_c(test))) continue;
    struct transport *t = config_transport(d->cfg, name);
    if (!t) append_defer(j, ERRNO_BADTRANSPORT, "%s transport (for %s format) not found", name, test);
    return t;
  }
  append_defer(j, ERRNO_FORMATUNKNOWN, "mailbox file format unrecognized");
  return NULL;
}

/* ---- named pipes ------------------------------------------------------------------------------------------ */

bool append_is_fifo(const struct append_job *j) {
  struct stat st;
  return j->ob->allow_fifo && lstat(j->path, &st) == 0 && S_ISFIFO(st.st_mode);
}

void append_to_fifo(struct append_job *j) {
  struct stat st;
  int64_t bytes = 0;
  j->fd = sys_open(j->path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW, 0);
  if (j->fd < 0) {
    append_defer(j, -j->fd, "while opening named pipe %s (could mean no process is reading it)", j->path);
    return;
  }
  int r = fstat(j->fd, &st) < 0 ? -errno : S_ISFIFO(st.st_mode) ? 0 : -EINVAL;
  if (r == 0 && fcntl(j->fd, F_SETFL, O_WRONLY) < 0) r = -errno; /* the reader sets the pace */
  j->no_sync = true;
  if (r == 0) r = append_write(j, &bytes);
  int c = sys_close(j->fd);
  j->fd = -1;
  if (r < 0 || c < 0) append_write_failed(j, r < 0 ? r : c, j->path);
  else transport_set_results(j->d->addrs, OUTCOME_OK, 0, NULL);
}

/* ---- mailstore -------------------------------------------------------------------------------------------- */

/* what: "prefix" or "suffix". */
static int put_text(const struct append_job *j, int fd, const char *what, const char *text) {
  struct delivery *d = j->d;
  if (!text || !*text) return 0;
  const char *s = expand_string(d->x, text);
  size_t n = s ? strlen(s) : 0;
  if (n > 0 && s[n - 1] != '\n') s = arena_printf(d->arena, "%s\n", s);
  if (s) return sys_write_all(fd, s, strlen(s));
  if (d->x->forced_fail) return 0;
  d->write_fault = (struct write_fault){.basic_errno = ERRNO_UNKNOWNERROR, .is_complete = true,
                                        .text = arena_printf(d->arena, "Expansion of \"%s\" (mailstore %s for %s transport) failed: %s", text, what,
                                                             d->transport->name, d->x->error ? d->x->error : "")};
  return -EPROTO;
}

/* Sender, recipients one a line; prefix and suffix around them. */
static int write_envelope(struct append_job *j, const char *path) {
  struct delivery *d = j->d;
  struct strbuf b = strbuf_new(d->arena);
  int fd = sys_open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, (mode_t)j->mode);
  if (fd < 0) return fd;
  int r = put_text(j, fd, "prefix", j->ob->mailstore_prefix);
  strbuf_addl(&b, d->return_path ? d->return_path : "", "\n", NULL);
  for (const struct address *a = d->addrs; a; a = a->next) strbuf_addl(&b, address_rcpt_text(d->arena, a), "\n", NULL);
  if (r == 0) r = sys_write_all(fd, b.p, b.n);
  if (r == 0) r = put_text(j, fd, "suffix", j->ob->mailstore_suffix);
  if (r == 0) r = sys_fsync(fd);
  int c = sys_close(fd);
  return r < 0 ? r : c;
}

static void give_up(struct append_job *j, int r, const char *shown, const char *const *files) {
  if (j->fd >= 0) (void)!sys_close(j->fd);
  j->fd = -1;
  for (; *files; files++) (void)!sys_unlink(*files);
  append_write_failed(j, r, shown);
}

void append_to_mailstore(struct append_job *j) {
  struct arena *a = j->d->arena;
  int64_t bytes = 0;
  struct stat st;
  if (!append_make_directories(j, j->path)) return;
  append_count_usage(j);
  struct timeval tv = time_now();
  const char *base = arena_printf(a, "%s/%s-%ld.%06ld", j->path, j->d->msg->id, (long)getpid(), (long)tv.tv_usec);
  const char *temp = arena_printf(a, "%s.tmp", base), *msg = arena_printf(a, "%s.msg", base), *env = arena_printf(a, "%s.env", base);
  const char *files[] = {temp, msg, env, NULL};
  const char *full = append_over_quota(j);
  if (full) {
    append_defer_quota(j, full, msg, 0);
    return;
  }
  j->fd = sys_open(msg, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, (mode_t)j->mode);
  if (j->fd < 0) {
    append_defer(j, -j->fd, "while creating file %s", msg);
    return;
  }
  int r = append_write(j, &bytes);
  if (r == 0 && fstat(j->fd, &st) < 0) r = -errno;
  int c = sys_close(j->fd);
  j->fd = -1;
  if (r == 0) r = c;
  if (r == 0) r = write_envelope(j, temp);
  if (r == 0) r = sys_link(temp, env);
  if (r == 0) r = append_sync_parent(a, env);
  if (r < 0) {
    give_up(j, r, msg, files);
    return;
  }
  (void)!sys_unlink(temp);
  transport_set_results(j->d->addrs, OUTCOME_OK, 0, NULL);
  for (struct address *p = j->d->addrs; p; p = p->next) p->delivered_size = bytes;
  if (!j->is_counted) return;
  j->size_before = j->usage.bytes;
  j->size_after = j->usage.bytes + st.st_size;
}
