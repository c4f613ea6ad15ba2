/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The "once" memory (autoreply_once.h).  Floor: drivers. */
#include "transports/autoreply_once.h"

#include <errno.h>
#include <fcntl.h>
#include <gdbm.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"
#include "base/strbuf.h"
#include "base/timeutil.h"
#include "os/signals.h"
#include "os/sys.h"

static bool is_due(const struct autoreply_once *o, time_t then) {
  return o->repeat_sec > 0 && time_sec() - then >= o->repeat_sec;
}

/* ---- GDBM --------------------------------------------------------------------------------------------------- */

/* GDBM locks the file for as long as it is open: somebody else's short look is waited for. */
static GDBM_FILE open_dbm(const struct autoreply_once *o) {
  char name[PATH_MAX];
  deadline_ms end = deadline_in_sec(30);
  if (strlen(o->file) >= sizeof name) return NULL;
  memcpy(name, o->file, strlen(o->file) + 1);
  for (;;) {
    GDBM_FILE f = gdbm_open(name, 0, GDBM_WRCREAT | GDBM_CLOEXEC, (int)o->mode, NULL);
    if (f || deadline_passed(end) || (gdbm_errno != GDBM_CANT_BE_WRITER && errno != EAGAIN)) return f;
    pause_ms(50);
  }
}

static datum key_of(const char *address) { return (datum){(char *)(uintptr_t)address, (int)strlen(address) + 1}; }

static int check_dbm(const struct autoreply_once *o, const char *address, bool *ret_due) {
  GDBM_FILE f = open_dbm(o);
  time_t then;
  if (!f) return errno ? -errno : -EIO;
  datum v = gdbm_fetch(f, key_of(address));
  gdbm_close(f);
  *ret_due = true;
  if (!v.dptr) return 0;
  if (v.dsize == (int)sizeof then) {
    memcpy(&then, v.dptr, sizeof then);
    *ret_due = is_due(o, then);
  }
  free(v.dptr);
  return 0;
}

static int note_dbm(const struct autoreply_once *o, const char *address) {
  GDBM_FILE f = open_dbm(o);
  time_t now = time_sec();
  if (!f) return errno ? -errno : -EIO;
  int rc = gdbm_store(f, key_of(address), (datum){(char *)&now, sizeof now}, GDBM_REPLACE);
  gdbm_close(f);
  return rc == 0 ? 0 : -EIO;
}

/* ---- the plain file ------------------------------------------------------------------------------------------- */

enum { ONCE_FILE_MAX = 16 << 20 };

static int open_file(const struct autoreply_once *o, struct arena *a, struct str *ret) {
  char *p = NULL;
  size_t n = 0;
  int fd = sys_open(o->file, O_RDWR | O_CREAT | O_NONBLOCK, o->mode);
  if (fd < 0) return fd;
  int rc = sys_lock_until(fd, F_WRLCK, 0, 0, deadline_in_sec(30));
  if (rc == 0) rc = sys_read_file(fd, a, ONCE_FILE_MAX, &p, &n);
  if (rc < 0) {
    (void)!sys_close(fd);
    return rc;
  }
  *ret = str_n(p, n);
  return fd;
}

/* The next record of *rest; false at the end or where no record is. */
static bool next_record(struct str *rest, time_t *ret_then, struct str *ret_address, struct str *ret_whole) {
  if (rest->n <= sizeof *ret_then) return false;
  const char *address = rest->p + sizeof *ret_then, *end = memchr(address, 0, rest->n - sizeof *ret_then);
  if (!end) return false;
  memcpy(ret_then, rest->p, sizeof *ret_then);
  *ret_address = str_n(address, (size_t)(end - address));
  *ret_whole = str_n(rest->p, (size_t)(end + 1 - rest->p));
  *rest = str_n(end + 1, rest->n - ret_whole->n);
  return true;
}

static int check_file(const struct autoreply_once *o, struct arena *a, const char *address, bool *ret_due) {
  struct str rest, found, whole;
  time_t then;
  int fd = open_file(o, a, &rest);
  if (fd < 0) return fd;
  (void)!sys_close(fd);
  *ret_due = true;
  while (next_record(&rest, &then, &found, &whole))
    if (str_eqic_c(found, address)) *ret_due = is_due(o, then);
  return 0;
}

/* Newest last: the record of this address goes to the end, the oldest ones go while there are too many bytes. */
static int note_file(const struct autoreply_once *o, struct arena *a, const char *address) {
  struct str rest, found, whole;
  struct strbuf kept = strbuf_new(a);
  time_t then, now = time_sec();
  int fd = open_file(o, a, &rest);
  if (fd < 0) return fd;
  while (next_record(&rest, &then, &found, &whole))
    if (!str_eqic_c(found, address)) strbuf_addstr(&kept, whole);
  strbuf_add_t(&kept, (const char *)&now, sizeof now, UNTAINTED);
  strbuf_add(&kept, address, strlen(address) + 1);
  rest = strbuf_str(&kept);
  struct str keep = rest;
  /* what was there may have the size, the new record comes on top */
  size_t added = sizeof now + strlen(address) + 1;
  while (keep.n > added && keep.n - added > (size_t)o->size_limit && next_record(&rest, &then, &found, &whole)) {
    if (!rest.n) break; /* one record always fits */
    keep = rest;
  }
  int rc = sys_ftruncate(fd, 0);
  if (rc == 0 && lseek(fd, 0, SEEK_SET) < 0) rc = -errno;
  if (rc == 0) rc = sys_write_all(fd, keep.p, keep.n);
  (void)!sys_close(fd);
  return rc;
}

int autoreply_once_check(const struct autoreply_once *o, struct arena *a, const char *address, bool *ret_due) {
  return o->size_limit > 0 ? check_file(o, a, address, ret_due) : check_dbm(o, address, ret_due);
}

int autoreply_once_note(const struct autoreply_once *o, struct arena *a, const char *address) {
  return o->size_limit > 0 ? note_file(o, a, address) : note_dbm(o, address);
}
