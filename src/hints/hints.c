/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hints databases on GDBM (hints.h).  Floor: drivers.
 *
 * GDBM's own locking is off; the lock file NAME.lockfile is what this program and its tools agree on.  Nothing here can fail a delivery:
 * every problem ends as "no hints".  A file GDBM calls damaged is renamed to NAME.corrupt and made anew. */
#include "hints/hints.h"

#include <errno.h>
#include <fcntl.h>
#include <gdbm.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/debug.h"
#include "os/log.h"
#include "os/sys.h"

enum { LOCK_TIMEOUT_SEC = 60, SOON_MS = 500, PATH_BYTES = 1024 };

struct hints_db {
  GDBM_FILE g;
  int lock_fd;
  bool for_write;
  char path[PATH_BYTES];
};

/* A name becomes part of a path: letters, digits, '-', '_', '.', and no leading dot. */
static bool name_is_safe(const char *name) {
  if (!*name || *name == '.') return false;
  for (const char *p = name; *p; p++)
    if (!ch_isalnum(*p) && !strchr("-_.", *p)) return false;
  return true;
}

/* How a database is opened. */
struct manner {
  bool for_write;
  bool makes_nothing; /* on the disk */
  bool is_soon;       /* now or not at all */
};

static bool open_lock(const char *spool_directory, const char *path, const struct manner *how, int *ret_fd) {
  char lock_path[PATH_BYTES + 16];
  snprintf(lock_path, sizeof lock_path, "%s.lockfile", path);
  bool for_write = how->for_write;
  int flags = (for_write ? O_RDWR : O_RDONLY) | (how->makes_nothing ? 0 : O_CREAT) | O_NOFOLLOW | O_NONBLOCK;
  int fd = sys_open(lock_path, flags, 0640);
  if (fd == -ENOENT && !how->makes_nothing) {
    if (sys_mkdir_path(spool_directory, "db", 0750, (uid_t)-1, (gid_t)-1) < 0) return false;
    fd = sys_open(lock_path, flags, 0640);
  }
  if (fd < 0) {
    DEBUG(D_HINTS) debug_printf("hints: %s: %s\n", lock_path, strerror(-fd));
    return false;
  }
  int r = sys_lock_until(fd, for_write ? F_WRLCK : F_RDLCK, 0, 0, how->is_soon ? deadline_in_ms(SOON_MS) : deadline_in_sec(LOCK_TIMEOUT_SEC));
  if (r < 0 && how->is_soon) {
    DEBUG(D_HINTS) debug_printf("hints: %s: %s\n", lock_path, strerror(-r));
    close(fd);
    return false;
  }
  if (r < 0) {
    log_write(LS_ALWAYS, LOG_MAIN, "Failed to get %s lock for %s: %s", for_write ? "write" : "read", lock_path,
              r == -EAGAIN ? "timed out" : strerror(-r));
    close(fd);
    return false;
  }
  *ret_fd = fd;
  return true;
}

static void set_aside(const char *path, const char *why) {
  char bad[PATH_BYTES + 16];
  snprintf(bad, sizeof bad, "%s.corrupt", path);
  int r = sys_rename(path, bad);
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "hints database %s is damaged (%s): %s", path, why,
            r < 0 ? "could not be moved aside" : "moved aside, starting afresh");
}

/* What GDBM says of the file's contents; all else is about the way to it. */
static bool error_means_damage(int gdbm_error) {
  static const int others[] = {GDBM_NO_ERROR,        GDBM_MALLOC_ERROR,   GDBM_FILE_OPEN_ERROR, GDBM_FILE_WRITE_ERROR,
                               GDBM_FILE_READ_ERROR, GDBM_CANT_BE_READER, GDBM_CANT_BE_WRITER,  GDBM_FILE_STAT_ERROR};
  for (size_t i = 0; i < ARRAY_SIZE(others); i++)
    if (gdbm_error == others[i]) return false;
  return true;
}

/* A file, opened without waiting for whoever has the other end of what only has its name.  -errno otherwise. */
static int open_file(const char *path, bool for_write) {
  struct stat st;
  int fd = sys_open(path, (for_write ? O_RDWR | O_CREAT : O_RDONLY) | O_NONBLOCK | O_NOCTTY, 0640);
  if (fd < 0 || (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))) return fd;
  close(fd);
  return -EINVAL;
}

static GDBM_FILE open_gdbm(const char *path, bool for_write) {
  int mode = for_write ? GDBM_WRCREAT : GDBM_READER;
  for (int attempt = 0; attempt < 2; attempt++) {
    int fd = open_file(path, for_write);
    if (fd < 0) {
      DEBUG(D_HINTS) debug_printf("hints: open %s: %s\n", path, strerror(-fd));
      return NULL;
    }
    GDBM_FILE g = gdbm_fd_open(fd, path, 0, mode | GDBM_NOLOCK | GDBM_CLOERROR, NULL);
    if (g) return g;
    int error = errno, gdbm_error = gdbm_errno;
    DEBUG(D_HINTS) debug_printf("hints: open %s: %s (%s)\n", path, gdbm_strerror(gdbm_error), strerror(error));
    if (!for_write || !error_means_damage(gdbm_error)) return NULL;
    set_aside(path, gdbm_strerror(gdbm_error));
  }
  return NULL;
}

static struct hints_db *open_for(const struct manner *how, const char *spool_directory, const char *name) {
  bool for_write = how->for_write;
  char path[PATH_BYTES];
  int lock_fd;
  if (!name_is_safe(name) || snprintf(path, sizeof path, "%s/db/%s", spool_directory, name) >= (int)sizeof path)
    return NULL;
  if (!open_lock(spool_directory, path, how, &lock_fd)) return NULL;
  GDBM_FILE g = open_gdbm(path, for_write);
  struct hints_db *db = g ? malloc(sizeof *db) : NULL;
  if (!db) {
    if (g) gdbm_close(g);
    close(lock_fd);
    return NULL;
  }
  *db = (struct hints_db){.g = g, .lock_fd = lock_fd, .for_write = for_write};
  memcpy(db->path, path, sizeof path);
  return db;
}

struct hints_db *hints_open(const char *spool_directory, const char *name, bool for_write) {
  return open_for(&(struct manner){.for_write = for_write}, spool_directory, name);
}

struct hints_db *hints_open_soon(const char *spool_directory, const char *name, bool for_write) {
  return open_for(&(struct manner){.for_write = for_write, .is_soon = true}, spool_directory, name);
}

struct hints_db *hints_peek(const char *spool_directory, const char *name) {
  return open_for(&(struct manner){.makes_nothing = true, .is_soon = true}, spool_directory, name);
}

struct hints_db *hints_inspect(const char *spool_directory, const char *name) {
  return open_for(&(struct manner){.makes_nothing = true}, spool_directory, name);
}

void hints_close(struct hints_db *db) {
  if (!db) return;
  /* Damage inside that a call ran into would meet every later one. */
  bool is_damaged = db->for_write && gdbm_needs_recovery(db->g);
  gdbm_close(db->g);
  if (is_damaged) set_aside(db->path, "found in use");
  close(db->lock_fd); /* and with it the lock */
  free(db);
}

static datum key_datum(const char *key) { return (datum){(char *)(uintptr_t)key, (int)strlen(key) + 1}; }

bool hints_get(struct hints_db *db, struct arena *a, const char *key, struct str *ret) {
  datum d = gdbm_fetch(db->g, key_datum(key));
  if (!d.dptr) return false;
  *ret = str_n(arena_strndup_t(a, d.dptr, (size_t)d.dsize, TAINTED), (size_t)d.dsize);
  free(d.dptr);
  return true;
}

int hints_put(struct hints_db *db, const char *key, struct str record) {
  datum d = {(char *)(uintptr_t)record.p, (int)record.n};
  return gdbm_store(db->g, key_datum(key), d, GDBM_REPLACE) == 0 ? 0 : -EIO;
}

int hints_delete(struct hints_db *db, const char *key) {
  return gdbm_delete(db->g, key_datum(key)) == 0 ? 0 : -ENOENT;
}

static bool stored_equals(struct hints_db *db, const char *key, struct str old) {
  datum d = gdbm_fetch(db->g, key_datum(key));
  bool same = d.dptr && (size_t)d.dsize == old.n && memcmp(d.dptr, old.p, old.n) == 0;
  free(d.dptr);
  return same;
}

bool hints_replace_if(struct hints_db *db, const char *key, struct str old, struct str record) {
  return stored_equals(db, key, old) && hints_put(db, key, record) == 0;
}

bool hints_delete_if(struct hints_db *db, const char *key, struct str old) {
  return stored_equals(db, key, old) && hints_delete(db, key) == 0;
}

static const char *take_key(struct arena *a, datum d) {
  if (!d.dptr) return NULL;
  /* strndup adds the NUL that a foreign key may lack */
  const char *key = arena_strndup_t(a, d.dptr, strnlen(d.dptr, (size_t)d.dsize), TAINTED);
  free(d.dptr);
  return key;
}

const char *hints_first_key(struct hints_db *db, struct arena *a) { return take_key(a, gdbm_firstkey(db->g)); }

const char *hints_next_key(struct hints_db *db, struct arena *a, const char *prev) {
  return take_key(a, gdbm_nextkey(db->g, key_datum(prev)));
}
