/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The copy of a message for scanners: scan/ID/ID.eml in the spool directory, an mbox of one message, and reading it in pieces.
 *
 * Floor: drivers.  It is a working copy: nothing is synced, and nothing of it is needed after a crash; what a killed process leaves is removed by
 * the queue runner.  The message itself is never whole in memory.  Manual ch. 45. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "message_body.h"
#include "os/debug.h"
#include "os/log.h"
#include "os/sys.h"
#include "policy/narrate.h"
#include "scan.h"

struct scan_state *scan_state_of(struct message *m) {
  if (!m->scan) {
    m->scan = ARENA_NEW(m->arena, struct scan_state);
    m->scan->part_count = -1;
  }
  return m->scan;
}

/* ---- writing ---- */

static int copy_body(const struct message *m, int to, int64_t *size) {
  char buf[SCAN_PIECE_BYTES];
  struct body_reader body = body_reader_of(m);
  for (;;) {
    ssize_t n = body_read(&body, buf, sizeof buf);
    if (n <= 0) return (int)n;
    int rc = sys_write_all(to, buf, (size_t)n);
    if (rc < 0) return rc;
    *size += n;
  }
}

static const char mbox_head[] =
  "From ${if def:return_path{$return_path}{MAILER-DAEMON}} ${tod_bsdinbox}\n"
  "${if def:sender_address{X-Envelope-From: <${sender_address}>\n}}${if def:recipients{X-Envelope-To: ${recipients}\n}}";

static int write_copy(struct expand_ctx *x, int fd, int64_t *ret_size) {
  struct message *m = x->msg;
  struct strbuf head = strbuf_new(x->a);
  const char *text = expand_string(x, mbox_head);
  if (!text) return -EINVAL;
  strbuf_adds(&head, text);
  for (const struct header_line *h = m->headers; h; h = h->next)
    if (h->type != '*') strbuf_add(&head, h->text, h->n);
  strbuf_addc(&head, '\n');
  *ret_size = (int64_t)head.n;
  int rc = sys_write_all(fd, head.p, head.n);
  return rc < 0 ? rc : copy_body(m, fd, ret_size);
}

static int make_directory(const struct config *cfg, const char *id) {
  char rel[64];
  snprintf(rel, sizeof rel, "scan/%s", id);
  return sys_mkdir_path(cfg->spool_directory, rel, 0750, cfg->exim_uid, cfg->exim_gid);
}

int scan_spool(struct expand_ctx *x) {
  struct message *m = x->msg;
  struct scan_state *s = scan_state_of(m);
  if (s->eml) return 0;
  const char *dir = arena_printf(m->arena, "%s/scan/%s", m->cfg->spool_directory, m->id);
  const char *path = arena_printf(m->arena, "%s/%s.eml", dir, m->id);
  int rc = make_directory(m->cfg, m->id);
  int fd = rc < 0 ? rc : sys_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0640);
  if (fd >= 0) {
    s->dir = dir; /* from now on there is something to remove */
    rc = write_copy(x, fd, &s->eml_size);
    int closed = sys_close(fd);
    if (rc == 0) rc = closed;
  } else {
    rc = fd;
  }
  if (rc == 0) s->eml = path;
  else log_write(LS_ALWAYS, LOG_MAIN, "scan file %s cannot be written: %s", path, strerror(-rc));
  return rc;
}

/* ---- removing ---- */

/* The files of one directory and itself; x for narration or NULL. */
static void remove_directory(const struct expand_ctx *x, const char *path) {
  DIR *d = opendir(path);
  if (!d) return;
  for (struct dirent *e; (e = readdir(d));) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    if (x) narrate(x, D_ACL, "unspool_mbox(): unlinking '%s/%s'", path, e->d_name);
    int rc = sys_unlinkat(dirfd(d), e->d_name, 0);
    if (rc < 0) log_write(LS_ALWAYS, LOG_MAIN, "scan file %s/%s cannot be removed: %s", path, e->d_name, strerror(-rc));
  }
  closedir(d);
  int rc = sys_unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
  if (rc < 0 && rc != -ENOENT) log_write(LS_ALWAYS, LOG_MAIN, "scan directory %s cannot be removed: %s", path, strerror(-rc));
}

void scan_unspool(struct expand_ctx *x) {
  struct scan_state *s = x->msg ? x->msg->scan : NULL;
  if (!s || !s->dir) return;
  if (!x->msg->no_mbox_unspool) remove_directory(x, s->dir);
  s->dir = s->eml = NULL;
}

int scan_clean_leftovers(const struct config *cfg, int age_sec) {
  struct arena *a = arena_new("scan leftovers");
  const char *top = arena_printf(a, "%s/scan", cfg->spool_directory);
  time_t before = time_sec() - age_sec;
  int removed = 0;
  DIR *d = opendir(top);
  for (struct dirent *e; d && (e = readdir(d));) {
    struct stat st;
    if (!msgid_is_valid(str_c(e->d_name)) || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) continue;
    if (!S_ISDIR(st.st_mode) || st.st_mtime > before) continue;
    remove_directory(NULL, arena_printf(a, "%s/%s", top, e->d_name));
    removed++;
  }
  if (d) closedir(d);
  arena_free(a);
  return removed;
}

/* ---- reading ---- */

void scan_reader_init(struct scan_reader *r, int fd, off_t from) {
  r->fd = fd;
  r->next = from;
  r->at = r->n = 0;
  r->in_line = false;
  r->error = 0;
}

off_t scan_reader_tell(const struct scan_reader *r) { return r->next - (off_t)(r->n - r->at); }

static bool fill(struct scan_reader *r) {
  memmove(r->buf, r->buf + r->at, r->n - r->at);
  r->n -= r->at;
  r->at = 0;
  ssize_t got = sys_pread(r->fd, r->buf + r->n, sizeof r->buf - r->n, r->next);
  if (got < 0) r->error = (int)got;
  if (got <= 0) return false;
  r->n += (size_t)got;
  r->next += got;
  return true;
}

bool scan_read_piece(struct scan_reader *r, struct str *ret, bool *ret_starts_line) {
  const char *nl;
  while (!(nl = memchr(r->buf + r->at, '\n', r->n - r->at)) && r->n - r->at < sizeof r->buf)
    if (!fill(r)) break;
  size_t n = nl ? (size_t)(nl - (r->buf + r->at)) + 1 : r->n - r->at;
  if (n == 0 || r->error) return false;
  *ret = str_n(r->buf + r->at, n);
  *ret_starts_line = !r->in_line;
  r->in_line = !nl;
  r->at += n;
  return true;
}

enum mime_line scan_find_boundary(const char *const *boundaries, struct str line, size_t *ret_index) {
  if (!str_starts(line, STR("--"))) return MIME_LINE_TEXT;
  size_t count = 0;
  while (boundaries[count]) count++;
  for (size_t i = count; i-- > 0;) {
    enum mime_line k = mime_classify_line(line, boundaries[i]);
    if (k == MIME_LINE_TEXT) continue;
    *ret_index = i;
    return k;
  }
  return MIME_LINE_TEXT;
}
