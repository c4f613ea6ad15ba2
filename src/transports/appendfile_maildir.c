/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One new file per message: maildir, or a plain directory.  Floor: drivers.  Manual ch. 26 "Operational details for delivery to a new file".
 *
 * Written under a temporary name, synced, then given its final name by link or rename, then the directory is synced: a reader never sees a
 * partial message and a success never gets lost in a crash.  After any error the temporary file is removed.  No locks are needed. */
#include "transports/appendfile_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "os/debug.h"
#include "os/sys.h"
#include "policy/match.h"

static void fail_write(struct append_job *j, const char *temp, int r, const char *shown) {
  if (j->fd >= 0) (void)!sys_close(j->fd);
  j->fd = -1;
  (void)!sys_unlink(temp);
  append_write_failed(j, r, shown);
}

static bool is_created(struct append_job *j, const char *temp) {
  if (j->fd < 0) append_defer(j, -j->fd, "while creating file %s", temp);
  else (void)!sys_fchmod(j->fd, (mode_t)j->mode); /* whatever the umask */
  return j->fd >= 0;
}

static bool write_temp(struct append_job *j, const char *temp, const char *shown, struct stat *ret_st, int64_t *ret_bytes) {
  int r = append_write(j, ret_bytes);
  if (r == 0 && fstat(j->fd, ret_st) < 0) r = -errno;
  if (r < 0) {
    fail_write(j, temp, r, shown);
    return false;
  }
  r = sys_close(j->fd);
  j->fd = -1;
  if (r == 0) return true;
  fail_write(j, temp, r, shown);
  return false;
}

static void finish(struct append_job *j, const char *temp, const char *final, int64_t bytes) {
  int r = sys_link(temp, final); /* unlike rename this never replaces a file */
  if (r == -EPERM || r == -EOPNOTSUPP) { /* a file system without links */
    struct stat st;
    r = lstat(final, &st) == 0 ? -EEXIST : sys_rename(temp, final);
  } else {
    (void)!sys_unlink(temp);
  }
  if (r < 0) {
    (void)!sys_unlink(temp);
    append_defer(j, -r, "while renaming %s as %s", temp, final);
    return;
  }
  r = append_sync_parent(j->d->arena, final);
  if (r < 0) {
    (void)!sys_unlink(final); /* unsure whether it survives: deliver again rather than lose or guess */
    append_defer(j, -r, "error while writing to %s", final);
    return;
  }
  transport_set_results(j->d->addrs, OUTCOME_OK, 0, NULL);
  for (struct address *a = j->d->addrs; a; a = a->next) a->delivered_size = bytes;
}

/* The new file must go again when there is no room for it. */
static bool is_full(struct append_job *j, const char *temp, const char *shown, time_t last_read) {
  const char *which = append_over_quota(j);
  if (!which) return false;
  (void)!sys_close(j->fd);
  j->fd = -1;
  (void)!sys_unlink(temp);
  append_defer_quota(j, which, shown, last_read);
  return true;
}

static void note_growth(struct append_job *j, int64_t bytes) {
  if (!j->is_counted) return;
  j->size_before = j->usage.bytes;
  j->size_after = j->usage.bytes + bytes;
}

/* ---- maildir ---------------------------------------------------------------------------------------------- */

static bool make_maildir(struct append_job *j) {
  static const char *const parts[] = {"new", "cur", "tmp"};
  struct stat st;
  bool is_there = stat(j->path, &st) == 0;
  if (is_there && !S_ISDIR(st.st_mode)) {
    append_defer(j, ERRNO_NOTDIRECTORY, "%s is not a directory", j->path);
    return false;
  }
  if (!is_there && (errno != ENOENT || !j->ob->create_directory)) {
    append_defer(j, errno, "stat() error for %s: %s", j->path, strerror(errno));
    return false;
  }
  for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
    if (!append_make_directories(j, arena_printf(j->d->arena, "%s/%s", j->path, parts[i]))) return false;
  const char *re = j->ob->maildirfolder_create_regex;
  if (!re || regex_match(j->d->x, re, false, str_c(j->path), false) != OUTCOME_OK) return true;
  const char *mark = arena_printf(j->d->arena, "%s/maildirfolder", j->path);
  int fd = sys_open(mark, O_CREAT | O_WRONLY | O_NOFOLLOW | O_NONBLOCK, 0600), r = fd < 0 ? fd : sys_close(fd);
  if (r < 0) append_defer(j, -r, "failed to create %s", mark);
  return r == 0;
}

/* A name that cannot be used twice: clock, process, host; the clock is seen to move on before we return. */
static const char *maildir_name(struct append_job *j) {
  struct timeval tv = time_now(), then = tv;
  while (then.tv_sec == tv.tv_sec && then.tv_usec == tv.tv_usec) then = time_now();
  return arena_printf(j->d->arena, "%lld.M%ldP%ld.%s", (long long)tv.tv_sec, (long)tv.tv_usec, (long)getpid(), j->d->cfg->primary_hostname);
}

/* maildir_tag for a file of that size; "" none, NULL: deferred. */
static const char *make_tag(struct append_job *j, off_t size) {
  struct message *m = j->d->msg;
  struct expand_ctx *x = j->d->x;
  if (!j->ob->maildir_tag) return "";
  int64_t real_size = m->message_size;
  m->message_size = size;
  const char *text = expand_string(x, j->ob->maildir_tag);
  m->message_size = real_size;
  if (!text && x->forced_fail) return "";
  if (!text) {
    append_misconfigured(j, ERRNO_UNKNOWNERROR, "Expansion of \"%s\" (maildir_tag for %s transport) failed: %s", j->ob->maildir_tag,
                         j->d->transport->name, x->error ? x->error : "");
    return NULL;
  }
  struct strbuf b = strbuf_new(j->d->arena);
  for (; *text; text++) {
    if (!ch_isgraph(*text) || *text == '/') continue; /* a name of this directory it stays */
    if (b.n == 0 && ch_isalnum(*text)) strbuf_adds(&b, ":");
    strbuf_addc(&b, *text);
  }
  return b.n > 0 ? b.p : "";
}

/* Deliveries change the time too, but it is all a maildir tells: manual ch. 32, quota_ errors. */
static time_t last_change(const char *dir) {
  struct stat st;
  return stat(dir, &st) == 0 ? st.st_mtime : 0;
}

static void deliver_maildir(struct append_job *j) {
  struct arena *a = j->d->arena;
  if (!make_maildir(j)) return;
  time_t last_read = last_change(arena_printf(a, "%s/new", j->path));
  append_count_usage(j);
  const char *name = NULL, *temp = NULL;
  for (int64_t i = 0; j->fd < 0 && i <= j->ob->maildir_retries; i++) {
    struct timespec two = {.tv_sec = 2};
    if (i > 0) nanosleep(&two, NULL);
    name = maildir_name(j);
    temp = arena_printf(a, "%s/tmp/%s", j->path, name);
    j->fd = sys_open(temp, O_WRONLY | O_CREAT | O_EXCL, (mode_t)j->mode);
    if (j->fd < 0 && j->fd != -EEXIST) break;
  }
  if (!is_created(j, temp)) return;
  struct stat st;
  int64_t bytes = 0;
  const char *shown = arena_printf(a, "tmp/%s", name);
  if (is_full(j, temp, shown, last_read)) return;
  if (!write_temp(j, temp, shown, &st, &bytes)) return;
  const char *tag = make_tag(j, st.st_size);
  if (!tag) {
    (void)!sys_unlink(temp);
    return;
  }
  const char *final = arena_printf(a, "%s/new/%s%s", j->path, name, tag);
  struct stat there;
  if (*tag && lstat(final, &there) < 0 && errno == ENAMETOOLONG) final = arena_printf(a, "%s/new/%s", j->path, name);
  finish(j, temp, final, bytes);
  if (j->d->addrs->result != OUTCOME_OK) return;
  append_note_size(j, st.st_size);
  note_growth(j, st.st_size);
}

/* ---- plain directory -------------------------------------------------------------------------------------- */

static void deliver_file(struct append_job *j) {
  struct arena *a = j->d->arena;
  if (!append_make_directories(j, j->path)) return;
  append_count_usage(j);
  const char *temp = arena_printf(a, "%s/temp.%ld.%s", j->path, (long)getpid(), j->d->cfg->primary_hostname);
  j->fd = sys_open(temp, O_WRONLY | O_CREAT | O_EXCL, (mode_t)j->mode);
  if (!is_created(j, temp)) return;
  struct stat st;
  int64_t bytes = 0;
  if (is_full(j, temp, temp, 0) || !write_temp(j, temp, temp, &st, &bytes)) return;
  j->d->x->inode = st.st_ino;
  const char *name = expand_string(j->d->x, j->ob->directory_file);
  /* Whatever the text comes from: it names an entry of this directory and nothing else, and no file is replaced. */
  if (!name || strchr(name, '/') || !*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
    (void)!sys_unlink(temp);
    append_misconfigured(j, 0, "Expansion of \"%s\" (directory_file for %s transport) failed: %s", j->ob->directory_file,
                         j->d->transport->name, name ? "no usable file name" : j->d->x->error ? j->d->x->error : "");
    return;
  }
  const char *final = arena_printf(a, "%s/%s", j->path, name);
  finish(j, temp, arena_untaint_copy(a, final, strlen(final)), bytes);
  if (j->d->addrs->result == OUTCOME_OK) note_growth(j, st.st_size);
}

void append_to_directory(struct append_job *j) {
  if (!append_may_create(j, j->path)) { /* a file is created, be the directory there or not */
    append_defer(j, ERRNO_BADCREATE, "tried to create file in %s, but file creation outside the home directory is not permitted", j->path);
    return;
  }
  if (j->format == APPEND_MAILDIR)
    deliver_maildir(j);
  else
    deliver_file(j);
}
