/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The spool in Exim's file layout (spool.h).  Floor: drivers.
 *
 * Reception writes -D, then hdr.ID, syncs both, renames to -H and syncs the directory; only then does a message exist.  Delivery
 * appends to -J with a sync per batch and removes -H first, -J last.  A failed sync is final: the files are removed, nothing is tried twice.
 * The lock that says "someone works on this message" is an fcntl write lock on the first line of -D.
 * Conversion between messages and -H bytes is in spool_convert.c. */
#include "spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/rand.h"
#include "os/debug.h"
#include "os/log.h"
#include "os/sys.h"
#include "policy/config.h"
#include "spool_priv.h"

enum {
  SPOOL_PATH_MAX = 1024,
  SPOOL_DIR_MAX = SPOOL_PATH_MAX + 16,
  DATA_LINE_LEN = MSGID_LEN + 3, /* "ID-D\n" */
  WRITEBACK_STEP = 1024 * 1024,
  HEADER_FILE_MAX = 64 * 1024 * 1024, /* nothing larger is written, as it could not be read again */
  JOURNAL_FILE_MAX = 256 * 1024 * 1024
};

/* ---- ids ------------------------------------------------------------------------------------------------------ */

/* Newest id time handed out by this process: each id gets a later one, so no waiting for the clock is needed. */
static struct {
  int64_t sec;
  int usec_step;
  pid_t pid;
} last_id;

void spool_new_id(const struct config *cfg, char ret_id[MSGID_SIZE]) {
  int resolution_us = cfg->host_number >= 0 ? 2 : 1;
  struct timeval now = time_now();
  int step = (int)(now.tv_usec / resolution_us);
  int64_t sec = now.tv_sec;
  if (last_id.pid == getpid() && (sec < last_id.sec || (sec == last_id.sec && step <= last_id.usec_step))) {
    sec = last_id.sec;
    step = last_id.usec_step + 1;
    if (step >= 1000000 / resolution_us) {
      step = 0;
      sec++;
    }
  }
  last_id.sec = sec;
  last_id.usec_step = step;
  last_id.pid = getpid();
  uint64_t host_part = cfg->host_number >= 0 ? (uint64_t)cfg->host_number * (1000000 / (unsigned)resolution_us) : 0;
  base62_encode((uint64_t)sec, 6, ret_id);
  ret_id[6] = '-';
  base62_encode((uint64_t)getpid(), 11, ret_id + 7);
  ret_id[18] = '-';
  base62_encode(host_part + (uint64_t)step, 4, ret_id + 19);
  ret_id[MSGID_LEN] = '\0';
}

/* ---- paths ---------------------------------------------------------------------------------------------------- */

struct path {
  char s[SPOOL_PATH_MAX];
};

/* The directory of the queue this configuration works on; msglog and input lie in it. */
static struct path queue_directory(const struct config *cfg) {
  struct path p;
  const char *name = cfg->queue_name ? cfg->queue_name : "";
  int n = snprintf(p.s, sizeof p.s, "%s%s%s", cfg->spool_directory, *name ? "/" : "", name);
  INVARIANT(n > 0 && n < (int)sizeof p.s);
  return p;
}

static const char *area_name(const struct config *cfg, const char *area) {
  if (!cfg->is_frozen_area) return area;
  return strcmp(area, "input") == 0 ? "Finput" : "Fmsglog";
}

/* which: 'H' 'D' 'J', 'h' for hdr.ID, 'L' for msglog; subdir 0 for none. */
static struct path make_path(const struct config *cfg, const char *id, char which, char subdir) {
  struct path p;
  const char *area = which == 'L' ? area_name(cfg, "msglog") : area_name(cfg, "input");
  struct path q = queue_directory(cfg);
  const char *top = q.s;
  char sub[3] = {subdir, subdir ? '/' : '\0', '\0'};
  int n;
  if (which == 'h')
    n = snprintf(p.s, sizeof p.s, "%s/%s/%shdr.%s", top, area, sub, id);
  else if (which == 'L')
    n = snprintf(p.s, sizeof p.s, "%s/%s/%s%s", top, area, sub, id);
  else
    n = snprintf(p.s, sizeof p.s, "%s/%s/%s%s-%c", top, area, sub, id, which);
  INVARIANT(n > 0 && n < (int)sizeof p.s);
  return p;
}

/* New messages go where split_spool_directory says; the letter is the last of the time part. */
static char subdir_for_new(const struct config *cfg, const char *id) { return cfg->o.split_spool_directory ? id[5] : 0; }

/* Where an existing message lies: both layouts are searched, the configured one first. */
static char subdir_of(const struct config *cfg, const char *id, char which) {
  char first = subdir_for_new(cfg, id), second = first ? 0 : id[5];
  if (access(make_path(cfg, id, which, first).s, F_OK) == 0) return first;
  return access(make_path(cfg, id, which, second).s, F_OK) == 0 ? second : first;
}

const char *spool_path(struct arena *a, const struct config *cfg, const char *id, char which) {
  return arena_strdup(a, make_path(cfg, id, which, subdir_of(cfg, id, 'H')).s);
}

bool spool_exists(const struct config *cfg, const char *id) {
  return msgid_is_valid(str_c(id)) && access(make_path(cfg, id, 'H', subdir_of(cfg, id, 'H')).s, F_OK) == 0;
}

static int sync_dir(const char *path) {
  int fd = sys_open(path, O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0) return fd;
  int r = sys_fsync_dir(fd), c = sys_close(fd);
  return r < 0 ? r : c;
}

/* The names of new directories must outlast a power cut before what lies in them can be promised to. */
static int sync_above_input(const struct config *cfg, char subdir) {
  char input[SPOOL_DIR_MAX];
  struct path q = queue_directory(cfg);
  if (cfg->o.disable_fsync) return 0;
  snprintf(input, sizeof input, "%s/%s", q.s, area_name(cfg, "input"));
  int r = subdir ? sync_dir(input) : 0;
  if (r == 0) r = sync_dir(q.s);
  if (r == 0 && cfg->queue_name && *cfg->queue_name) r = sync_dir(cfg->spool_directory);
  return r;
}

static int make_area(const struct config *cfg, const char *area, char subdir) {
  char rel[128];
  const char *name = cfg->queue_name ? cfg->queue_name : "";
  int n = snprintf(rel, sizeof rel, "%s%s%s", name, *name ? "/" : "", area_name(cfg, area));
  if (subdir) snprintf(rel + n, sizeof rel - (size_t)n, "/%c", subdir);
  int r = sys_mkdir_path(cfg->spool_directory, rel, 0750, cfg->exim_uid, cfg->exim_gid);
  return r == 0 && strcmp(area, "input") == 0 ? sync_above_input(cfg, subdir) : r;
}

static void input_dir_path(const struct config *cfg, char subdir, char ret[SPOOL_DIR_MAX]) {
  char sub[3] = {subdir ? '/' : '\0', subdir, '\0'};
  snprintf(ret, SPOOL_DIR_MAX, "%s/%s%s", queue_directory(cfg).s, area_name(cfg, "input"), sub);
}

static int open_input_dir(const struct config *cfg, char subdir) {
  char path[SPOOL_DIR_MAX];
  input_dir_path(cfg, subdir, path);
  return sys_open(path, O_RDONLY | O_DIRECTORY, 0);
}

static int sync_input_dir(const struct config *cfg, char subdir) {
  char path[SPOOL_DIR_MAX];
  if (cfg->o.disable_fsync) return 0;
  input_dir_path(cfg, subdir, path);
  return sync_dir(path);
}

/* ---- reception: R1 - R7 ------------------------------------------------------------------------------------------ */

static size_t id_line_len(const char *id) { return strlen(id) + 3; }

int spool_create(struct message *m) {
  const struct config *cfg = m->cfg;
  for (int attempt = 0; attempt < 10; attempt++) {
    spool_new_id(cfg, m->id);
    char sub = subdir_for_new(cfg, m->id);
    struct path p = make_path(cfg, m->id, 'D', sub);
    int fd = sys_open(p.s, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0640);
    if (fd == -ENOENT) {
      int r = make_area(cfg, "input", sub);
      if (r < 0) return r;
      fd = sys_open(p.s, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0640);
    }
    if (fd == -EEXIST) continue; /* another host's or an older process's id */
    if (fd < 0) return fd;
    char line[DATA_LINE_LEN + 1];
    int n = snprintf(line, sizeof line, "%s-D\n", m->id);
    m->data_fd = fd;
    m->data_start = n;
    int r = sys_lock(fd, F_WRLCK, 0, n, false);
    if (r == 0) r = sys_write_all(fd, line, (size_t)n);
    if (r < 0) spool_abandon(m);
    return r;
  }
  return -EEXIST;
}

int spool_append(struct message *m, const void *p, size_t n) {
  int r = sys_write_all(m->data_fd, p, n);
  if (r < 0) return r;
  if ((m->body_size + (int64_t)n) / WRITEBACK_STEP != m->body_size / WRITEBACK_STEP) sys_start_writeback(m->data_fd);
  m->body_size += (int64_t)n;
  return 0;
}

/* Write bytes to a new file and sync it: 0 or -errno, the file is then removed. */
static int write_synced_file(const struct config *cfg, const char *path, struct str bytes, int also_sync_fd) {
  int fd = sys_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0640);
  if (fd < 0) return fd;
  int r = sys_write_all(fd, bytes.p, bytes.n);
  if (r == 0 && !cfg->o.disable_fsync) {
    sys_start_writeback(fd);
    if (also_sync_fd >= 0) r = sys_fdatasync(also_sync_fd);
    if (r == 0) r = sys_fsync(fd);
  }
  int c = sys_close(fd);
  if (r == 0) r = c;
  if (r < 0 && sys_unlink(path) < 0) return r; /* the first error is the one to tell */
  return r;
}

int spool_commit(struct message *m) {
  char sub = subdir_for_new(m->cfg, m->id);
  struct path tmp = make_path(m->cfg, m->id, 'h', sub), final = make_path(m->cfg, m->id, 'H', sub);
  struct strbuf b = spool_header_bytes(m);
  int r = b.n > HEADER_FILE_MAX ? -EMSGSIZE : write_synced_file(m->cfg, tmp.s, strbuf_str(&b), m->data_fd);
  if (r == 0) r = sys_rename(tmp.s, final.s);
  if (r == 0) r = sync_input_dir(m->cfg, sub);
  if (r < 0) {
    if (sys_unlink(tmp.s) < 0) DEBUG(D_RECEIVE) debug_printf("no %s to remove\n", tmp.s);
    spool_abandon(m);
  }
  return r;
}

static int unlink_if_there(const char *path) {
  int r = sys_unlink(path);
  return r == -ENOENT ? 0 : r;
}

void spool_abandon(struct message *m) {
  if (!m->id[0]) return;
  static const char order[] = {'H', 'h', 'D', 'J'};
  char sub = subdir_for_new(m->cfg, m->id);
  for (size_t i = 0; i < sizeof order; i++) {
    int r = unlink_if_there(make_path(m->cfg, m->id, order[i], sub).s);
    if (r < 0)
      log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to unlink spool file %s-%c: %s", m->id, order[i], strerror(-r));
  }
  IGNORE_RESULT(unlink_if_there(make_path(m->cfg, m->id, 'L', sub).s)); /* a message log alone harms nothing */
  if (m->data_fd >= 0) IGNORE_RESULT(sys_close(m->data_fd));             /* the file is gone */
  m->data_fd = -1;
}

/* ---- delivery: D1, D2 ----------------------------------------------------------------------------------------------- */

/* Move what cannot be used out of the queue's way: once reported, never deleted. */
static void set_aside(const struct config *cfg, const char *id, char sub, const char *why) {
  static const char which[] = {'H', 'D', 'J'};
  int r = sys_mkdir_path(cfg->spool_directory, "input.corrupt", 0750, cfg->exim_uid, cfg->exim_gid);
  for (size_t i = 0; r == 0 && i < sizeof which; i++) {
    char to[SPOOL_PATH_MAX];
    snprintf(to, sizeof to, "%s/input.corrupt/%s-%c", cfg->spool_directory, id, which[i]);
    int moved = sys_rename(make_path(cfg, id, which[i], sub).s, to);
    if (moved < 0 && moved != -ENOENT) r = moved;
  }
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "Format error in spool file %s-H: %s; %s%s", id, why,
            r == 0 ? "moved to input.corrupt" : "could not be moved to input.corrupt: ", r == 0 ? "" : strerror(-r));
}

static void add_journal_line(void *ctx, const char *address) {
  struct message *m = ctx;
  tree_insert(&m->nonrecipients, m->arena, address, NULL);
}

/* Lines of a -J left by a stopped delivery join the non-recipients.  -errno only when the file exists and cannot be read: delivering
 * then could deliver twice. */
static int merge_journal(struct message *m, char sub) {
  int fd = sys_open(make_path(m->cfg, m->id, 'J', sub).s, O_RDONLY | O_NOFOLLOW, 0);
  if (fd == -ENOENT) return 0;
  if (fd < 0) return fd;
  char *p;
  size_t n;
  int r = sys_read_file(fd, m->arena, JOURNAL_FILE_MAX, &p, &n);
  IGNORE_RESULT(sys_close(fd)); /* only read */
  if (r == 0) spool_read_journal(m->arena, str_n(p, n), add_journal_line, m);
  return r;
}

/* A lock says nothing to the process that holds it, which loses it when it closes another descriptor of the file.  So what this process has locked
 * is known here: the report about a message may be delivered in the middle of the message's own delivery, and take others along.  An entry counts as
 * long as its descriptor is that of the file. */
enum { HELD_MAX = 32 };
static struct held {
  pid_t pid;
  int fd;
  dev_t dev;
  ino_t ino;
} held[HELD_MAX];

static bool is_current(const struct held *h) {
  struct stat st;
  return h->pid == getpid() && fstat(h->fd, &st) == 0 && st.st_dev == h->dev && st.st_ino == h->ino;
}

static bool is_held_here(const char *path) {
  struct stat st;
  if (stat(path, &st) < 0) return false;
  for (size_t i = 0; i < HELD_MAX; i++)
    if (held[i].ino == st.st_ino && held[i].dev == st.st_dev && is_current(&held[i])) return true;
  return false;
}

static void note_held(int fd) {
  struct stat st;
  size_t i = 0;
  while (i < HELD_MAX && is_current(&held[i])) i++;
  if (i < HELD_MAX && fstat(fd, &st) == 0) held[i] = (struct held){getpid(), fd, st.st_dev, st.st_ino};
}

static enum spool_open_result open_data(const struct config *cfg, const char *id, char sub, bool want_lock, int *ret_fd) {
  struct path path = make_path(cfg, id, 'D', sub);
  if (want_lock && is_held_here(path.s)) return SPOOL_LOCKED;
  int fd = sys_open(path.s, (want_lock ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK, 0);
  if (fd == -ENOENT) return SPOOL_GONE;
  if (fd < 0) return SPOOL_IO_ERROR;
  if (want_lock) {
    int r = sys_lock(fd, F_WRLCK, 0, (off_t)id_line_len(id), false);
    if (r < 0) {
      IGNORE_RESULT(sys_close(fd)); /* only looked at */
      return r == -EAGAIN ? SPOOL_LOCKED : SPOOL_IO_ERROR;
    }
    note_held(fd);
  }
  *ret_fd = fd;
  return SPOOL_OPENED;
}

/* First line of -D must name the message. */
static bool data_file_is_ours(int fd, const char *id) {
  char line[DATA_LINE_LEN + 1];
  size_t n = id_line_len(id);
  return sys_pread(fd, line, n, 0) == (ssize_t)n && strncmp(line, id, strlen(id)) == 0 &&
         memcmp(line + n - 3, "-D\n", 3) == 0;
}

static enum spool_open_result read_header_file(struct message *m, char sub, bool envelope_only, const char **ret_why) {
  int fd = sys_open(make_path(m->cfg, m->id, 'H', sub).s, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
  if (fd == -ENOENT) return SPOOL_GONE;
  struct stat st;
  if (fd == -ELOOP || (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode))) {
    if (fd >= 0) IGNORE_RESULT(sys_close(fd)); /* nothing was read */
    *ret_why = "not a regular file";
    return SPOOL_BAD;
  }
  if (fd < 0) return SPOOL_IO_ERROR;
  char *p;
  size_t n;
  int r = sys_read_file(fd, m->arena, HEADER_FILE_MAX, &p, &n);
  IGNORE_RESULT(sys_close(fd)); /* only read */
  if (r < 0 && r != -EFBIG) return SPOOL_IO_ERROR;
  *ret_why = r == -EFBIG ? "too large" : spool_message_from_bytes(m, str_n(p, n), envelope_only);
  return *ret_why ? SPOOL_BAD : SPOOL_OPENED;
}

/* -H without -D, seen in this order: -D missing, -H there, -D still missing. */
static bool header_file_alone(const struct config *cfg, const char *id, char *ret_sub) {
  struct stat st;
  char sub = subdir_of(cfg, id, 'H');
  if (lstat(make_path(cfg, id, 'H', sub).s, &st) < 0 || access(make_path(cfg, id, 'D', sub).s, F_OK) == 0) return false;
  *ret_sub = sub;
  return true;
}

static enum spool_open_result open_message(const struct config *cfg, const char *id, bool want_lock, bool envelope_only,
                                           struct message **ret) {
  if (!msgid_is_valid(str_c(id))) return SPOOL_GONE;
  char sub = subdir_of(cfg, id, 'D');
  struct message *m = message_new(cfg);
  snprintf(m->id, sizeof m->id, "%s", id);
  const char *why = NULL;
  enum spool_open_result r = open_data(cfg, id, sub, want_lock, &m->data_fd);
  /* A finished message loses -H before -D, so whoever finds -H and then no -D looks at damage, not at a delivery's end. */
  if (r == SPOOL_GONE && header_file_alone(cfg, id, &sub)) {
    why = "there is no -D file";
    r = SPOOL_BAD;
  }
  if (r == SPOOL_OPENED) r = read_header_file(m, sub, envelope_only, &why);
  if (r == SPOOL_OPENED && !data_file_is_ours(m->data_fd, id)) {
    why = "the -D file does not belong to it";
    r = SPOOL_BAD;
  }
  if (r == SPOOL_OPENED && merge_journal(m, sub) < 0) r = SPOOL_IO_ERROR;
  if (r != SPOOL_OPENED) {
    if (r == SPOOL_BAD && want_lock) set_aside(cfg, id, sub, why);
    message_free(m);
    return r;
  }
  struct stat st;
  m->data_start = (off_t)id_line_len(id);
  m->body_size = fstat(m->data_fd, &st) == 0 ? (int64_t)st.st_size - m->data_start : 0;
  spool_count_message_size(m);
  *ret = m;
  return SPOOL_OPENED;
}

enum spool_open_result spool_open(const struct config *cfg, const char *id, bool want_lock, struct message **ret) {
  return open_message(cfg, id, want_lock, false, ret);
}

enum spool_open_result spool_peek(const struct config *cfg, const char *id, struct message **ret) {
  return open_message(cfg, id, false, false, ret);
}

/* ---- delivery: D4, D7, D8 ------------------------------------------------------------------------------------------ */

/* A write that was cut short (a kill, a full disk) leaves a piece of a line, which must become neither the front of the next address nor,
 * with a newline added, an address of its own. */
static int cut_torn_line(int fd) {
  struct stat st;
  char piece[1024];
  if (fstat(fd, &st) < 0) return -errno;
  off_t end = st.st_size;
  while (end > 0) {
    off_t from = end > (off_t)sizeof piece ? end - (off_t)sizeof piece : 0;
    ssize_t n = sys_pread(fd, piece, (size_t)(end - from), from);
    if (n < 0) return (int)n;
    if (n != (ssize_t)(end - from)) return -EIO;
    while (n > 0 && piece[n - 1] != '\n') n--;
    end = from + n;
    if (n > 0) break;
  }
  return end == st.st_size ? 0 : sys_ftruncate(fd, end);
}

/* Everything that noting a delivery needs is opened here: behind a delivery there may be no descriptor left. */
static int journal_open(struct message *m) {
  if (m->journal_fd >= 0) return 0;
  char sub = subdir_of(m->cfg, m->id, 'D');
  struct path path = make_path(m->cfg, m->id, 'J', sub);
  bool is_new = access(path.s, F_OK) < 0;
  int fd = sys_open(path.s, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW, 0640), dir = -1;
  if (fd < 0) return fd;
  int r = is_new && !m->cfg->o.disable_fsync ? dir = open_input_dir(m->cfg, sub) : 0;
  if (r < 0) {
    sys_drop(&fd);
    if (is_new) IGNORE_RESULT(unlink_if_there(path.s)); /* it is empty */
    return r;
  }
  m->journal_fd = fd;
  m->journal_dir_fd = dir;
  return 0;
}

int spool_journal(struct message *m, const char *const *unique, size_t count) {
  if (count == 0) return 0;
  struct strbuf b = strbuf_new(m->arena);
  for (size_t i = 0; i < count; i++) {
    INVARIANT(!strpbrk(unique[i], "\r\n"));
    strbuf_addl(&b, unique[i], "\n", NULL);
  }
  int r = journal_open(m);
  if (r == 0) r = cut_torn_line(m->journal_fd); /* of another process, too */
  if (r == 0) r = sys_write_all(m->journal_fd, b.p, b.n);
  if (r == 0 && !m->cfg->o.disable_fsync) r = sys_fdatasync(m->journal_fd);
  if (r == 0 && m->journal_dir_fd >= 0) r = sys_fsync_dir(m->journal_dir_fd);
  sys_drop(&m->journal_dir_fd);
  return r;
}

/* Far from full?  Then nothing need be reserved, which would cost each message a change of the file system. */
static bool has_plenty(const struct message *m) {
  enum { PLENTY_BYTES = 64 << 20, PLENTY_INODES = 1000 };
  struct statvfs st;
  return fstatvfs(m->data_fd, &st) == 0 && st.f_bavail > PLENTY_BYTES / st.f_frsize && (st.f_files == 0 || st.f_favail > PLENTY_INODES);
}

int spool_journal_reserve(struct message *m, size_t bytes) {
  struct stat st;
  int r = journal_open(m);
  if (r < 0 || has_plenty(m)) return r;
  r = fstat(m->journal_fd, &st) < 0 ? -errno : sys_allocate(m->journal_fd, st.st_size, (off_t)bytes);
  return r == -EOPNOTSUPP ? 0 : r;
}

int spool_rewrite(struct message *m, bool remove_journal) {
  char sub = subdir_of(m->cfg, m->id, 'D');
  struct path tmp = make_path(m->cfg, m->id, 'h', sub), final = make_path(m->cfg, m->id, 'H', sub);
  struct strbuf b = spool_header_bytes(m);
  int r = b.n > HEADER_FILE_MAX ? -EMSGSIZE : write_synced_file(m->cfg, tmp.s, strbuf_str(&b), -1);
  if (r == 0) r = sys_rename(tmp.s, final.s);
  if (r == 0) r = sync_input_dir(m->cfg, sub);
  if (r < 0 || !remove_journal) return r;
  sys_drop(&m->journal_fd); /* what is noted from now on belongs in a new one */
  sys_drop(&m->journal_dir_fd);
  return unlink_if_there(make_path(m->cfg, m->id, 'J', sub).s);
}

/* A finished message's log: removed, or kept in msglog.OLD when the administrator wants that. */
static void finish_msglog(struct message *m, char sub) {
  struct path log = make_path(m->cfg, m->id, 'L', sub);
  if (m->cfg->o.preserve_message_logs && access(log.s, F_OK) == 0) {
    char old[SPOOL_PATH_MAX];
    snprintf(old, sizeof old, "%s/msglog.OLD/%s", m->cfg->spool_directory, m->id);
    if (sys_mkdir_path(m->cfg->spool_directory, "msglog.OLD", 0750, m->cfg->exim_uid, m->cfg->exim_gid) == 0 &&
        sys_rename(log.s, old) == 0)
      return;
  }
  int r = unlink_if_there(log.s);
  if (r < 0) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to unlink %s: %s", log.s, strerror(-r));
}

int spool_remove(struct message *m) {
  char sub = subdir_of(m->cfg, m->id, 'D');
  int r = unlink_if_there(make_path(m->cfg, m->id, 'H', sub).s);
  if (r < 0) return r; /* with -H still there -J must stay, or everything would be sent again */
  finish_msglog(m, sub);
  r = unlink_if_there(make_path(m->cfg, m->id, 'D', sub).s);
  int j = unlink_if_there(make_path(m->cfg, m->id, 'J', sub).s);
  return r < 0 ? r : j;
}

int spool_msglog(struct message *m) {
  if (!m->cfg->o.message_logs) return -1;
  char sub = subdir_of(m->cfg, m->id, 'D');
  struct path p = make_path(m->cfg, m->id, 'L', sub);
  const int flags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW;
  int fd = sys_open(p.s, flags, 0640);
  if (fd == -ENOENT && make_area(m->cfg, "msglog", sub) == 0) fd = sys_open(p.s, flags, 0640);
  return fd < 0 ? -1 : fd;
}

/* ---- listing --------------------------------------------------------------------------------------------------------- */

/* "ID-H" gives the id's length, else 0. */
static size_t header_file_id_len(const char *name) {
  size_t n = msgid_prefix_len(str_c(name));
  return n && strcmp(name + n, "-H") == 0 ? n : 0;
}

static void list_dir(struct vec *v, struct arena *a, const char *dir, char subdir) {
  DIR *d = opendir(dir);
  if (!d) return;
  struct dirent *e;
  while ((e = readdir(d))) {
    size_t n = header_file_id_len(e->d_name);
    if (!n) continue;
    struct spool_item *i = ARENA_NEW(a, struct spool_item);
    memcpy(i->id, e->d_name, n);
    i->subdir = subdir;
    vec_push(v, i);
  }
  closedir(d);
}

static int by_id(const void *x, const void *y) {
  return strcmp(((const struct spool_item *)x)->id, ((const struct spool_item *)y)->id);
}

/* Fisher-Yates, as queue runs without queue_run_in_order want. */
static void shuffle(struct vec *v) {
  for (size_t i = v->n; i > 1; i--) {
    size_t k = rand_below((unsigned)i);
    void *t = v->v[i - 1];
    v->v[i - 1] = v->v[k];
    v->v[k] = t;
  }
}

struct spool_item *spool_list(struct arena *a, const struct config *cfg, bool sorted, size_t *ret_count) {
  char dir[SPOOL_DIR_MAX];
  struct vec v = vec_new(a);
  snprintf(dir, sizeof dir, "%s/input", queue_directory(cfg).s);
  list_dir(&v, a, dir, 0);
  for (const char *c = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"; *c; c++) {
    snprintf(dir, sizeof dir, "%s/input/%c", queue_directory(cfg).s, *c);
    if (access(dir, F_OK) == 0) list_dir(&v, a, dir, *c);
  }
  if (sorted)
    vec_sort(&v, by_id);
  else
    shuffle(&v);
  struct spool_item *head = NULL, **tail = &head;
  for (size_t i = 0; i < v.n; i++) {
    *tail = v.v[i];
    tail = &(*tail)->next;
  }
  *tail = NULL;
  if (ret_count) *ret_count = v.n;
  return head;
}

/* ---- another queue ---------------------------------------------------------------------------------------------------- */

static bool is_same_file(const char *a, const char *b) {
  struct stat x, y;
  return lstat(a, &x) == 0 && lstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* 0 when it is there already, of a move that was interrupted, or when there is none. */
static int link_over(const struct config *from, const struct config *to, const char *id, char which, char old_sub, char new_sub) {
  struct path old = make_path(from, id, which, old_sub), new = make_path(to, id, which, new_sub);
  int r = sys_link(old.s, new.s);
  return r == -ENOENT || (r == -EEXIST && is_same_file(old.s, new.s)) ? 0 : r;
}

static int rename_over(const struct config *from, const struct config *to, const char *id, char which, char old_sub, char new_sub) {
  return sys_rename(make_path(from, id, which, old_sub).s, make_path(to, id, which, new_sub).s);
}

/* What an interrupted move has left there, without an -H, is no message; but it may be somebody else's, or older than what is here. */
static int clear_target(const struct config *from, const struct config *to, const char *id, char old_sub, char new_sub) {
  struct path d = make_path(to, id, 'D', new_sub);
  if (spool_exists(to, id) || (access(d.s, F_OK) == 0 && !is_same_file(d.s, make_path(from, id, 'D', old_sub).s))) return -EEXIST;
  return unlink_if_there(make_path(to, id, 'J', new_sub).s);
}

/* -D and -J are linked, then -H is renamed: at any moment there is one -H, and beside it all that belongs to it. */
int spool_move(struct message *m, const struct config *to) {
  const struct config *from = m->cfg;
  char old_sub = subdir_of(from, m->id, 'D'), new_sub = subdir_for_new(to, m->id);
  int r = make_area(to, "input", new_sub);
  if (r == -EEXIST) r = 0;
  if (r == 0) r = clear_target(from, to, m->id, old_sub, new_sub);
  if (r < 0) return r;
  r = link_over(from, to, m->id, 'D', old_sub, new_sub);
  if (r == 0) r = link_over(from, to, m->id, 'J', old_sub, new_sub);
  if (r == 0) r = sync_input_dir(to, new_sub);
  if (r == 0) r = rename_over(from, to, m->id, 'H', old_sub, new_sub);
  if (r < 0) {
    IGNORE_RESULT(unlink_if_there(make_path(to, m->id, 'J', new_sub).s));
    IGNORE_RESULT(unlink_if_there(make_path(to, m->id, 'D', new_sub).s));
    return r;
  }
  r = sync_input_dir(to, new_sub);
  if (r == 0) r = sync_input_dir(from, old_sub);
  if (r < 0) return r; /* what is left there harms nothing */
  int d = unlink_if_there(make_path(from, m->id, 'D', old_sub).s), j = unlink_if_there(make_path(from, m->id, 'J', old_sub).s);
  if (access(make_path(from, m->id, 'L', old_sub).s, F_OK) == 0 && make_area(to, "msglog", new_sub) == 0)
    IGNORE_RESULT(rename_over(from, to, m->id, 'L', old_sub, new_sub)); /* a log, no mail */
  return d < 0 ? d : j;
}

/* ---- leftovers of interrupted receptions ---------------------------------------------------------------------------- */

static bool is_orphan_name(const struct config *cfg, const char *name, char sub) {
  if (strncmp(name, "hdr.", 4) == 0) return msgid_is_valid(str_c(name + 4));
  size_t n = msgid_prefix_len(str_c(name));
  if (!n || (strcmp(name + n, "-D") != 0 && strcmp(name + n, "-J") != 0)) return false;
  char id[MSGID_SIZE] = {0};
  memcpy(id, name, n);
  return access(make_path(cfg, id, 'H', sub).s, F_OK) < 0;
}

/* The lock of a message is on its -D, whichever of its files is looked at: what is moved to another queue has a -J there before it has a -H. */
static bool nobody_works_on(const char *dir, const char *name) {
  char path[SPOOL_DIR_MAX + 256];
  size_t skip = strncmp(name, "hdr.", 4) == 0 ? 4 : 0;
  snprintf(path, sizeof path, "%s/%.*s-D", dir, (int)msgid_prefix_len(str_c(name + skip)), name + skip);
  if (is_held_here(path)) return false;
  int fd = sys_open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0);
  if (fd < 0) return fd == -ENOENT;
  bool free_now = sys_lock(fd, F_WRLCK, 0, DATA_LINE_LEN, false) == 0;
  IGNORE_RESULT(sys_close(fd)); /* only looked at */
  return free_now;
}

static int clean_dir(const struct config *cfg, const char *dir, char sub, time_t before) {
  DIR *d = opendir(dir);
  struct dirent *e;
  int removed = 0;
  while (d && (e = readdir(d))) {
    char path[SPOOL_DIR_MAX + 256];
    struct stat st;
    if (!is_orphan_name(cfg, e->d_name, sub)) continue;
    snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
    if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode) || st.st_mtime > before || !nobody_works_on(dir, e->d_name)) continue;
    if (!is_orphan_name(cfg, e->d_name, sub)) continue; /* its reception committed before it let go of the lock */
    if (sys_unlink(path) == 0) removed++;
  }
  if (d) closedir(d);
  return removed;
}

int spool_clean_orphans(const struct config *cfg, int age_sec) {
  char dir[SPOOL_DIR_MAX];
  time_t before = time_sec() - age_sec;
  snprintf(dir, sizeof dir, "%s/input", queue_directory(cfg).s);
  int removed = clean_dir(cfg, dir, 0, before);
  for (const char *c = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"; *c; c++) {
    snprintf(dir, sizeof dir, "%s/input/%c", queue_directory(cfg).s, *c);
    removed += clean_dir(cfg, dir, *c, before);
  }
  return removed;
}
