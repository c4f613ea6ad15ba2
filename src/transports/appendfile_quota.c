/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Quotas of appendfile: the limits, the size of what is there, the maildirsize file.  Floor: drivers.  Manual ch. 26 "quota", maildir++.
 *
 * The limits are expanded by the parent, which may read what the user may not; everything else runs as the user.  Names and the
 * maildirsize file belong to the user and are hostile: the walk follows no links and has a depth, the file a greatest size.  The
 * file is a cache: when it is damaged, old or says "over quota" it is counted anew, and an error in keeping it loses no mail. */
#include "transports/appendfile_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "os/debug.h"
#include "os/sys.h"
#include "policy/match.h"

enum { SIZEFILE_MAX_BYTES = 5120, SIZEFILE_MAX_AGE_SEC = 15 * 60, WALK_MAX_DEPTH = 20 };

/* ---- values ----------------------------------------------------------------------------------------------- */

const char *append_parse_quota(const char *text, int64_t *ret_value, bool *ret_no_check) {
  struct str s = str_trim(str_c(text));
  size_t i = 0;
  int64_t value = 0, thousandths = 0, unit = 1;
  for (; i < s.n && ch_isdigit(s.p[i]); i++)
    if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, s.p[i] - '0', &value)) return "too large a number";
  if (i == 0) return "malformed value";
  if (i < s.n && s.p[i] == '.')
    for (int64_t weight = 100; ++i < s.n && ch_isdigit(s.p[i]); weight /= 10) thousandths += weight * (s.p[i] - '0');
  if (i < s.n && strchr("KkMmGg", s.p[i])) {
    char c = s.p[i++];
    unit = c == 'K' || c == 'k' ? INT64_C(1) << 10 : c == 'M' || c == 'm' ? INT64_C(1) << 20 : INT64_C(1) << 30;
  }
  if (__builtin_mul_overflow(value, unit, &value) || __builtin_add_overflow(value, thousandths * unit / 1000, &value))
    return "too large a number";
  bool no_check = false;
  s = str_n(s.p + i, s.n - i);
  if (s.n > 0 && s.p[0] != '/') return "malformed value";
  while (s.n > 0) {
    struct str word = str_trim(str_cut(&s, '/'));
    if (str_eqic_c(word, "no_check")) no_check = true;
    else if (word.n > 0) return "unknown modifier";
  }
  *ret_value = value;
  *ret_no_check = no_check;
  return NULL;
}

static const char *one_limit(struct delivery *d, const char *name, const char *text, int64_t *ret, bool *ret_no_check) {
  bool ignored;
  if (!text || !*text) return NULL;
  const char *value = expand_string(d->x, text);
  if (!value)
    return arena_printf(d->arena, "Expansion of \"%s\" in %s transport failed: %s", text, d->transport->name, d->x->error ? d->x->error : "");
  if (!str_trim(str_c(value)).n) return NULL; /* no limit for this one */
  const char *error = append_parse_quota(value, ret, ret_no_check ? ret_no_check : &ignored);
  if (!error) return NULL;
  if (strcmp(error, "malformed value") == 0)
    return arena_printf(d->arena, "Malformed value \"%s\" (expansion of \"%s\") in %s transport", value, text, d->transport->name);
  return arena_printf(d->arena, "%s in expansion of \"%s\" in %s transport: \"%s\"", error, name, d->transport->name, value);
}

/* "75%" is a share of the quota; without one it counts for nothing. */
static const char *warn_threshold(struct delivery *d, const char *text, struct append_limits *l) {
  int64_t percent;
  if (!text || !*text || strcmp(text, "0") == 0) return NULL;
  const char *value = expand_option(d->x, "quota_warn_threshold", text);
  struct str s = str_trim(str_c(value ? value : ""));
  if (!value || !s.n || s.p[s.n - 1] != '%') return value && !s.n ? NULL : one_limit(d, "quota_warn_threshold", text, &l->warn_bytes, NULL);
  if (!str_parse_i64(str_n(s.p, s.n - 1), &percent) || percent < 0 || percent > 100)
    return arena_printf(d->arena, "malformed value in expansion of \"quota_warn_threshold\" in %s transport: \"%s\"", d->transport->name, value);
  l->warn_bytes = l->bytes > 0 ? l->bytes / 100 * percent + l->bytes % 100 * percent / 100 : 0;
  return NULL;
}

enum outcome append_setup(struct delivery *d, const char **ret_error) {
  const struct appendfile_opts *ob = d->transport->ob;
  struct append_limits *l = ARENA_NEW(d->arena, struct append_limits);
  *l = (struct append_limits){.given_bytes = -1, .given_files = -1};
  const char *error = one_limit(d, "quota", ob->quota, &l->bytes, &l->bytes_no_check);
  if (!error) error = one_limit(d, "quota_filecount", ob->quota_filecount, &l->files, &l->files_no_check);
  if (!error) error = one_limit(d, "mailbox_size", ob->mailbox_size, &l->given_bytes, NULL);
  if (!error) error = one_limit(d, "mailbox_filecount", ob->mailbox_filecount, &l->given_files, NULL);
  if (!error) error = warn_threshold(d, ob->quota_warn_threshold, l);
  if (!error && ob->quota_directory) {
    l->directory = expand_string(d->x, ob->quota_directory);
    if (!l->directory)
      error = arena_printf(d->arena, "Expansion of \"%s\" (quota_directory name for %s transport) failed: %s", ob->quota_directory,
                           d->transport->name, d->x->error ? d->x->error : "");
  }
  if (error) {
    *ret_error = error;
    return OUTCOME_DEFER;
  }
  d->setup_data = l;
  return OUTCOME_OK;
}

/* ---- what is there ---------------------------------------------------------------------------------------- */

struct walk {
  struct append_job *j;
  struct append_usage sum;
  bool maildir;                  /* count as maildir++ does: only below directories the regular expression wants */
  int error;
};

static bool size_in_name(const struct append_job *j, const char *name, int64_t *ret) {
  struct expand_ctx *x = j->d->x;
  const char *re = j->ob->quota_size_regex;
  struct str size;
  if (!re || regex_match(x, re, false, str_c(name), true) != OUTCOME_OK || x->s.ncaptures < 2) return false;
  size = str_c(x->s.captures[1]);
  return str_parse_i64(size, ret);
}

static void walk_directory(struct walk *w, int fd, int depth, bool counted);

static void walk_entry(struct walk *w, int dir, const char *name, int depth, bool counted) {
  struct stat st;
  int64_t size;
  if (counted && !(w->maildir && *name == '.') && size_in_name(w->j, name, &size)) {
    w->sum.bytes += size;
    w->sum.files++;
    return;
  }
  if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return; /* moved by a reader */
  if (S_ISREG(st.st_mode) && counted) {
    w->sum.bytes += st.st_size / (int64_t)MAX(st.st_nlink, 1);
    w->sum.files++;
  } else if (S_ISDIR(st.st_mode) && depth < WALK_MAX_DEPTH) {
    if (!w->maildir) w->sum.files++; /* the count is one of inodes */
    if (w->maildir && regex_match(w->j->d->x, w->j->ob->maildir_quota_directory_regex, false, str_c(name), false) != OUTCOME_OK) return;
    int fd = sys_openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (fd >= 0) walk_directory(w, fd, depth + 1, !w->maildir || *name != '.');
  }
}

/* Takes fd. */
static void walk_directory(struct walk *w, int fd, int depth, bool counted) {
  DIR *dir = fdopendir(fd);
  if (!dir) {
    w->error = errno;
    (void)!sys_close(fd);
    return;
  }
  const struct dirent *e;
  while ((e = readdir(dir)) != NULL)
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) walk_entry(w, dirfd(dir), e->d_name, depth, counted);
  closedir(dir);
}

static struct append_usage count_directory(struct append_job *j, const char *path, bool maildir) {
  struct walk w = {.j = j, .maildir = maildir};
  int fd = sys_open(path, O_RDONLY | O_DIRECTORY, 0);
  if (fd >= 0) walk_directory(&w, fd, 0, !maildir);
  DEBUG(D_TRANSPORT) debug_printf("quota: %s holds %" PRId64 " bytes in %" PRId64 " files\n", path, w.sum.bytes, w.sum.files);
  return w.sum;
}

/* ---- maildirsize ------------------------------------------------------------------------------------------ */

static const char *sizefile_head(const struct append_job *j) {
  return arena_printf(j->d->arena, "%" PRId64 "S,%" PRId64 "C", j->limits->bytes, j->limits->files);
}

/* Would this message go over a limit, if the sums are right? */
static bool over(const struct append_job *j, struct append_usage u) {
  const struct append_limits *l = j->limits;
  if (j->ob->quota_is_inclusive) {
    u.bytes += j->d->msg->message_size;
    u.files++;
  }
  return (l->bytes > 0 && u.bytes > l->bytes) || (l->files > 0 && u.files > l->files);
}

bool append_parse_sizefile(struct str text, const char *head, struct append_usage *ret, int *ret_entries) {
  struct append_usage u = {0};
  int entries = 0;
  if (!str_eq_c(str_trim(str_cut(&text, '\n')), head)) return false;
  while (text.n > 0) {
    struct str line = str_trim(str_cut(&text, '\n')), bytes = str_trim(str_cut(&line, ' '));
    int64_t b, n;
    if (!str_parse_i64(bytes, &b) || !str_parse_i64(str_trim(line), &n)) return false;
    if (__builtin_add_overflow(u.bytes, b, &u.bytes) || __builtin_add_overflow(u.files, n, &u.files)) return false;
    entries++;
  }
  if (u.bytes < 0 || u.files < 0) return false;
  *ret = u;
  *ret_entries = entries;
  return entries > 0;
}

/* The cached sums, unless they should be counted anew. */
static bool read_sizefile(struct append_job *j, const char *path, struct append_usage *ret) {
  char *p;
  size_t n;
  int entries;
  struct stat st;
  int fd = sys_open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0); /* the user may have put a FIFO there */
  if (fd < 0) return false;
  bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size < SIZEFILE_MAX_BYTES &&
            sys_read_file(fd, j->d->arena, SIZEFILE_MAX_BYTES, &p, &n) == 0 &&
            append_parse_sizefile(str_n(p, n), sizefile_head(j), ret, &entries);
  (void)!sys_close(fd);
  if (!ok) return false;
  return !over(j, *ret) || (entries == 1 && time_sec() - st.st_mtime < SIZEFILE_MAX_AGE_SEC);
}

static void write_sizefile(struct append_job *j, const char *dir, const char *path, struct append_usage u) {
  struct arena *a = j->d->arena;
  const char *temp = arena_printf(a, "%s/tmp/maildirsize.%ld.%s", dir, (long)getpid(), j->d->cfg->primary_hostname);
  const char *text = arena_printf(a, "%s\n%" PRId64 " %" PRId64 "\n", sizefile_head(j), u.bytes, u.files);
  (void)!append_make_directories(j, arena_printf(a, "%s/tmp", dir));
  int fd = sys_open(temp, O_WRONLY | O_CREAT | O_EXCL, (mode_t)j->mode);
  if (fd < 0) return;
  int r = sys_write_all(fd, text, strlen(text)), c = sys_close(fd);
  if (r < 0 || c < 0 || sys_rename(temp, path) < 0) (void)!sys_unlink(temp);
}

/* A directory that is not part of the quota takes mail without being counted. */
static bool is_excluded(const struct append_job *j, const char *dir) {
  size_t n = strlen(dir);
  if (strncmp(j->path, dir, n) != 0 || j->path[n] != '/') return false;
  const char *folder = j->path + n + 1;
  return regex_match(j->d->x, j->ob->maildir_quota_directory_regex, false, str_c(folder), false) != OUTCOME_OK;
}

static bool count_maildir(struct append_job *j, const char *dir, struct append_usage *ret) {
  if (!j->ob->maildir_use_size_file) {
    *ret = count_directory(j, dir, false);
    return true;
  }
  if (is_excluded(j, dir)) return false;
  j->sizefile = arena_printf(j->d->arena, "%s/maildirsize", dir);
  if (read_sizefile(j, j->sizefile, ret)) return true;
  *ret = count_directory(j, dir, true);
  write_sizefile(j, dir, j->sizefile, *ret);
  return true;
}

void append_note_size(struct append_job *j, int64_t bytes) {
  if (!j->sizefile) return;
  int fd = sys_open(j->sizefile, O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK, 0);
  if (fd < 0) return;
  const char *line = arena_printf(j->d->arena, "%" PRId64 " 1\n", bytes);
  int r = sys_write_all(fd, line, strlen(line)), c = sys_close(fd);
  if (r < 0 || c < 0) (void)!sys_unlink(j->sizefile); /* better counted anew than wrong */
}

/* ---- the check -------------------------------------------------------------------------------------------- */

static const char *quota_directory(const struct append_job *j) {
  struct stat st;
  if (j->limits->directory) return j->limits->directory;
  if (j->format != APPEND_MAILDIR || lstat(arena_printf(j->d->arena, "%s/maildirfolder", j->path), &st) < 0) return j->path;
  const char *slash = strrchr(j->path, '/');
  return slash && slash > j->path ? arena_strndup(j->d->arena, j->path, (size_t)(slash - j->path)) : j->path;
}

static bool append_has_quota(const struct append_job *j) {
  return j->limits && (j->limits->bytes > 0 || j->limits->files > 0 || j->limits->warn_bytes > 0);
}

/* Before the new file is made, so that it does not count itself. */
void append_count_usage(struct append_job *j) {
  const struct append_limits *l = j->limits;
  bool keeps_file = j->format == APPEND_MAILDIR && j->ob->maildir_use_size_file;
  j->is_counted = false;
  if (!l || (!append_has_quota(j) && !keeps_file)) return;
  bool all_given = l->given_bytes >= 0 && (l->files <= 0 || l->given_files >= 0);
  if (!all_given || keeps_file) {
    const char *dir = quota_directory(j);
    if (j->format == APPEND_MAILDIR) {
      if (!count_maildir(j, dir, &j->usage)) return;
    } else {
      j->usage = count_directory(j, dir, false);
    }
  }
  if (l->given_bytes >= 0) j->usage.bytes = l->given_bytes;
  if (l->given_files >= 0) j->usage.files = l->given_files;
  j->is_counted = true;
}

void append_note_file_size(struct append_job *j, int64_t bytes) {
  j->usage = (struct append_usage){.bytes = j->limits && j->limits->given_bytes >= 0 ? j->limits->given_bytes : bytes};
  j->is_counted = append_has_quota(j);
}

const char *append_over_quota(const struct append_job *j) {
  const struct append_limits *l = j->limits;
  if (!j->is_counted) return NULL;
  bool inclusive = j->ob->quota_is_inclusive;
  if (l->files > 0 && !l->files_no_check && j->format != APPEND_MBOX && j->usage.files + (inclusive ? 1 : 0) > l->files)
    return "filecount quota";
  if (l->bytes > 0 && !l->bytes_no_check && j->usage.bytes + (inclusive ? j->d->msg->message_size : 0) > l->bytes) return "quota";
  return NULL;
}

void append_defer_quota(struct append_job *j, const char *which, const char *shown, time_t last_read) {
  append_defer(j, ERRNO_EXIMQUOTA, "mailbox is full (MTA-imposed %s exceeded while writing to %s)", which, shown);
  for (struct address *a = j->d->addrs; a; a = a->next) {
    a->more_errno = last_read > 0 ? (int)MAX(0, time_sec() - last_read) : 0;
    a->user_message = "mailbox is full";
  }
}

/* What is not there yet is empty. */
static bool look_at_mailbox(struct append_job *j) {
  struct stat st;
  if (j->format == APPEND_MBOX) {
    bool there = stat(j->path, &st) == 0;
    if (!there && errno != ENOENT) return false;
    append_note_file_size(j, there ? st.st_size : 0);
    return true;
  }
  int fd = sys_open(quota_directory(j), O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0 && fd != -ENOENT) {
    errno = -fd;
    return false;
  }
  if (fd >= 0) {
    (void)!sys_close(fd);
    append_count_usage(j);
  } else {
    j->usage = (struct append_usage){.bytes = MAX(j->limits->given_bytes, 0), .files = MAX(j->limits->given_files, 0)};
    j->is_counted = true;
  }
  return true;
}

void append_check_room(struct append_job *j) {
  if (append_has_quota(j) && !look_at_mailbox(j)) {
    append_defer(j, errno, "failed to check the quota of %s: %s", j->path, strerror(errno));
    return;
  }
  const char *full = append_has_quota(j) ? append_over_quota(j) : NULL;
  if (full) append_defer_quota(j, full, j->path, 0);
  else transport_set_results(j->d->addrs, OUTCOME_OK, 0, NULL);
}
