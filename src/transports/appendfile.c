/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The appendfile transport: where to, checks of the path, prefix and suffix.  Floor: drivers.  Manual ch. 26.
 *
 * Runs in a process that already is the recipient's user.  A path made from tainted text is refused unless create_file names a directory it provably
 * lies in.  Success is reported only after the data and the directory entry are synced; after any error a mailbox is cut back to
 * its old length and a new file is removed.  appendfile_mbox.c appends to one file, appendfile_maildir.c makes one file per message. */
#include "transports/appendfile_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "os/debug.h"
#include "os/sys.h"
#include "transports/drivers.h"

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct appendfile_opts, n, t, d, f)
static const struct option appendfile_options[] = {
#include "transports/appendfile_options.def"
};
#undef OPT_ROW

static const char default_prefix[] = "From ${if def:return_path{$return_path}{MAILER-DAEMON}} ${tod_bsdinbox}\n";

/* It is the options that say so, whatever the delivery comes to be: a filter may save a file of its own into a directory here. */
static bool is_mbox_transport(const struct appendfile_opts *ob) {
  return !ob->directory && !ob->use_bsmtp && !ob->maildir_format && !ob->mailstore_format;
}

/* For -bP. */
static void show_strings(struct appendfile_opts *ob, const struct opt_block *b) {
  bool is_mbox = is_mbox_transport(ob);
  if (!opt_was_set(b, "message_prefix") && is_mbox) ob->message_prefix = default_prefix;
  if (is_mbox) return;
  if (!opt_was_set(b, "message_suffix")) ob->message_suffix = NULL;
  if (ob->use_bsmtp || !opt_was_set(b, "check_string")) ob->check_string = ob->use_bsmtp ? "." : NULL;
  if (ob->use_bsmtp || !opt_was_set(b, "escape_string")) ob->escape_string = ob->use_bsmtp ? ".." : NULL;
}

/* Quotas that count files, or another directory than the one written to, are for directories.  Without either name it is a redirection that says
 * what is written, and when. */
static const char *quota_error(const struct opt_block *set, const struct appendfile_opts *ob) {
  if (ob->file && opt_was_set(set, "quota_filecount")) return "quota_filecount must not be set without \"directory\"";
  if (ob->file && ob->quota_directory) return "quota_directory must not be set without \"directory\"";
  if (!ob->directory || ob->quota) return NULL;
  if (ob->quota_filecount && strcmp(ob->quota_filecount, "0") != 0) return "quota must be set if quota_filecount is set";
  return ob->quota_directory ? "quota must be set if quota_directory is set" : NULL;
}

static const char *appendfile_init(struct arena *a, struct config *c, struct transport *t) {
  struct appendfile_opts *ob = t->ob;
  (void)c;
  append_mbx_default_locks(ob, t->ob_block);
  t->names_recipients = ob->use_bsmtp;
  if (ob->file && ob->directory)
    return "only one of \"file\" or \"directory\" can be specified";
  if (ob->file && !ob->use_lockfile && !ob->use_fcntl_lock && !ob->use_flock_lock && !ob->use_mbx_lock)
    return "no locking configured";
  if (ob->maildir_format && ob->mailstore_format)
    return "only one of maildir and mailstore may be specified";
  const char *bad_quota = quota_error(t->ob_block, ob);
  if (bad_quota) return bad_quota;
  show_strings(ob, t->ob_block);
  if (ob->quota_warn_threshold && !ob->quota_warn_message) ob->quota_warn_message = append_default_warning;
  const char *create = ob->create_file;
  if (create && strcmp(create, "anywhere") != 0 && strcmp(create, "belowhome") != 0 && strcmp(create, "inhome") != 0 && *create != '/')
    return arena_printf(a, "invalid value given for \"create_file\" for the %s transport: '%s'", t->name, create);
  return NULL;
}

static void set_all(struct append_job *j, int err, bool freeze, const char *fmt, va_list ap) PRINTF(4, 0);
static void set_all(struct append_job *j, int err, bool freeze, const char *fmt, va_list ap) {
  const char *text = arena_vprintf(j->d->arena, fmt, ap);
  transport_set_results(j->d->addrs, OUTCOME_DEFER, err, text);
  if (freeze)
    for (struct address *a = j->d->addrs; a; a = a->next) a->special_action = SPECIAL_FREEZE;
}

void append_defer(struct append_job *j, int err, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  set_all(j, err, false, fmt, ap);
  va_end(ap);
}

void append_misconfigured(struct append_job *j, int err, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  transport_set_misconfigured(j->d->addrs, err, arena_vprintf(j->d->arena, fmt, ap));
  va_end(ap);
}

void append_freeze(struct append_job *j, int err, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  set_all(j, err, true, fmt, ap);
  va_end(ap);
}

/* ---- writing ---------------------------------------------------------------------------------------------- */

static int to_fd(void *ctx, const void *p, size_t n) {
  struct append_job *j = ctx;
  j->counted += (int64_t)n;
  return j->is_counting ? 0 : sys_write_all(j->fd, p, n);
}

/* what: "prefix" or "suffix". */
static int write_extra(struct append_job *j, const char *what, const char *text) {
  struct delivery *d = j->d;
  if (!text || !*text) return 0;
  const char *s = expand_string(d->x, text);
  if (s) return to_fd(j, s, strlen(s));
  d->write_fault = (struct write_fault){.basic_errno = ERRNO_EXPANDFAIL, .is_complete = true,
                                        .text = arena_printf(d->arena, "Expansion of \"%s\" (%s for %s transport) failed", text, what, d->transport->name)};
  DEBUG(D_TRANSPORT) debug_printf("%s: %s\n", d->write_fault.text, d->x->error ? d->x->error : "");
  return -EPROTO;
}

int append_write(struct append_job *j, int64_t *ret_bytes) {
  int r = write_extra(j, "prefix", j->prefix);
  if (r == 0 && j->ob->use_bsmtp) r = transport_write_bsmtp_envelope(j->d, j->ob->use_crlf, to_fd, j);
  if (r == 0) r = transport_write_message(j->d, &j->write, to_fd, j, ret_bytes);
  if (r == 0) r = write_extra(j, "suffix", j->suffix);
  if (r == 0 && j->ob->use_bsmtp) r = j->ob->use_crlf ? to_fd(j, ".\r\n", 3) : to_fd(j, ".\n", 2);
  if (r == 0 && !j->no_sync && !j->is_counting) r = sys_fsync(j->fd);
  return r;
}

void append_write_failed(struct append_job *j, int r, const char *shown) {
  struct delivery *d = j->d;
  if (r == -EDQUOT) {
    append_defer(j, EDQUOT, "mailbox is full");
    return;
  }
  int err;
  const char *text = transport_write_error(d, r, arena_printf(d->arena, " while writing to %s", shown), &err);
  if (err < 0 && err != ERRNO_EXPANDFAIL) append_misconfigured(j, err, "%s", text);
  else append_defer(j, err, "%s", text);
}

/* ---- paths ------------------------------------------------------------------------------------------------ */

static bool lies_below(const char *path, const char *base) {
  struct str p = str_c(path), b = str_rtrim(str_c(base));
  while (b.n > 1 && b.p[b.n - 1] == '/') b.n--;
  return str_starts(p, b) && (b.n == 1 || p.p[b.n] == '/');
}

static const char *create_base(const struct append_job *j) {
  const char *c = j->ob->create_file;
  if (!c || strcmp(c, "anywhere") == 0) return NULL;
  return *c == '/' ? c : j->d->home ? j->d->home : "/nonexistent home";
}

/* The real place of the deepest existing directory of path, so that a link cannot lead out of the base. */
static bool really_below(struct arena *a, const char *path, const char *base) {
  char real_base[PATH_MAX], real[PATH_MAX];
  if (!realpath(base, real_base)) return false;
  for (char *part = arena_strdup(a, path); *part;) {
    if (realpath(part, real)) return strcmp(real, real_base) == 0 || lies_below(real, real_base);
    char *slash = strrchr(part, '/');
    if (!slash) break;
    *slash = '\0';
  }
  return false;
}

bool append_may_create(const struct append_job *j, const char *path) {
  const char *base = create_base(j);
  if (!base) return true;
  if (!lies_below(path, base)) return false;
  if (strcmp(j->ob->create_file, "inhome") == 0) {
    const char *last = strrchr(path, '/');
    size_t n = strlen(base);
    while (n > 1 && base[n - 1] == '/') n--;
    return last && (size_t)(last - path) == n;
  }
  return !strstr(path, "/../") && !str_ends(str_c(path), STR("/..")) && really_below(j->d->arena, path, base);
}

static const char *parent_of(struct arena *a, const char *path) {
  const char *slash = strrchr(path, '/');
  return slash && slash > path ? arena_strndup(a, path, (size_t)(slash - path)) : "/";
}

int append_sync_parent(struct arena *a, const char *path) {
  int fd = sys_open(parent_of(a, path), O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0) return fd == -EACCES ? 0 : fd; /* a spool directory that may be written but not read cannot be synced */
  int r = sys_fsync_dir(fd);
  int c = sys_close(fd);
  return r < 0 ? r : c;
}

/* The entries of the directories from top (the first that was missing) down to dir must last as long as the message in them. */
static int sync_new_directories(struct arena *a, const char *dir, const char *top) {
  int r = append_sync_parent(a, dir);
  for (const char *p = dir; r == 0 && strlen(p) > strlen(top);) {
    p = parent_of(a, p);
    r = append_sync_parent(a, p);
  }
  return r;
}

bool append_make_directories(struct append_job *j, const char *dir) {
  struct arena *a = j->d->arena;
  struct stat st;
  if (stat(dir, &st) == 0) return true;
  if (!j->ob->create_directory || !*dir) return true; /* the open that follows says what is missing */
  const char *top = dir;
  for (const char *p = parent_of(a, dir); stat(p, &st) < 0 && strlen(p) > 1; p = parent_of(a, p)) top = p;
  int r = sys_mkdir_path("/", dir + strspn(dir, "/"), (mode_t)j->ob->directory_mode, (uid_t)-1, (gid_t)-1);
  if (r == 0) r = sync_new_directories(a, dir, top);
  if (r == 0 || r == -EEXIST) return true;
  append_defer(j, -r, "failed to create directories for %s: %s", j->path, strerror(-r));
  return false;
}

/* Tainted text may become a path only when create_file confines it: the check is made on the final text. */
static bool accept_path(struct append_job *j, const char *path, bool is_slashed) {
  j->path = path;
  if (*path != '/') {
    append_defer(j, ERRNO_NOTABSOLUTE, "appendfile: file or directory name \"%s%s\" is not absolute", path, is_slashed ? "/" : "");
    return false;
  }
  if (!is_tainted(path)) return true;
  const char *create = j->ob->create_file;
  bool confined = create && (*create == '/' || strcmp(create, "belowhome") == 0);
  if (confined && append_may_create(j, path)) {
    j->path = arena_untaint_copy(j->d->arena, path, strlen(path)); /* lies below a directory of the configuration */
    return true;
  }
  append_misconfigured(j, ERRNO_UNKNOWNERROR, "Tainted '%s' (file or directory name for %s transport) not permitted", path, j->d->transport->name);
  return false;
}

static bool choose_path(struct append_job *j) {
  struct delivery *d = j->d;
  struct appendfile_opts *ob = j->ob;
  const char *text = ob->file ? ob->file : ob->directory;
  bool is_directory = ob->directory != NULL, is_slashed = false;
  const char *path;
  if (text) {
    path = expand_string(d->x, text);
    if (!path) {
      append_misconfigured(j, ERRNO_UNKNOWNERROR, "Expansion of \"%s\" (file or directory name for %s transport) failed: %s", text, d->transport->name,
                   d->x->error ? d->x->error : "");
      return false;
    }
    const char *wants_directory = is_directory ? NULL : ob->maildir_format ? "maildir" : ob->mailstore_format ? "mailstore" : NULL;
    if (wants_directory) {
      append_misconfigured(j, ERRNO_UNKNOWNERROR, "%s_format requires \"directory\" to be specified for the %s transport", wants_directory, d->transport->name);
      return false;
    }
  } else if (d->addrs->is_file) {
    path = d->addrs->address; /* the text of the redirection; its local part may have been cut at an @ */
    if (strncmp(path, "save ", 5) == 0) path += 5 + strspn(path + 5, " ");
    size_t n = strlen(path);
    if (n > 1 && path[n - 1] == '/') {
      is_directory = is_slashed = true;
      path = arena_strndup(d->arena, path, n - 1);
    }
  } else {
    append_misconfigured(j, ERRNO_UNKNOWNERROR, "Mandatory file or directory option missing from %s transport", d->transport->name);
    return false;
  }
  if (!accept_path(j, path, is_slashed)) return false;
  if (is_directory && j->limits && j->limits->directory && *j->limits->directory != '/') {
    append_defer(j, ERRNO_NOTABSOLUTE, "appendfile: quota_directory name \"%s\" is not absolute", j->limits->directory);
    return false;
  }
  for (struct address *a = d->addrs; a; a = a->next)
    if (a->is_file && (text || a->address[0] != '/')) a->file_used = path;
  j->format = ob->mailstore_format && is_directory ? APPEND_MAILSTORE : ob->maildir_format ? APPEND_MAILDIR : is_directory ? APPEND_FILE : APPEND_MBOX;
  return true;
}

static void choose_strings(struct append_job *j) {
  const struct opt_block *set = j->d->transport->ob_block;
  struct appendfile_opts *ob = j->ob;
  bool mbox = is_mbox_transport(ob);
  j->prefix = opt_was_set(set, "message_prefix") ? ob->message_prefix : mbox ? default_prefix : NULL;
  j->suffix = opt_was_set(set, "message_suffix") || mbox ? ob->message_suffix : NULL;
  j->write = transport_write_opts(j->d->transport);
  j->write.crlf = ob->use_crlf || (ob->mbx_format && j->format == APPEND_MBOX);
  j->write.check_string = opt_was_set(set, "check_string") || mbox ? ob->check_string : NULL;
  j->write.escape_string = opt_was_set(set, "escape_string") || mbox ? ob->escape_string : NULL;
  j->write.dot_stuff = ob->use_bsmtp; /* the final dot comes behind the suffix */
}

/* file_format: another transport delivers to the mailbox. */
static bool hand_over(struct delivery *d, struct transport *t) {
  const char *error = NULL;
  d->transport = t;
  d->setup_data = NULL;
  for (struct address *a = d->addrs; a; a = a->next) a->other_transport = t->name;
  if (t->driver->setup && t->driver->setup(d, &error) != OUTCOME_OK) {
    transport_set_misconfigured(d->addrs, ERRNO_UNKNOWNERROR, error);
    return true;
  }
  return t->driver->deliver(d);
}

static bool appendfile_deliver(struct delivery *d) {
  struct append_job j = {.d = d, .ob = d->transport->ob, .fd = -1, .mbx_lock_fd = -1, .limits = d->setup_data};
  if (transport_size_refused(d)) return true;
  if (!choose_path(&j)) return true;
  choose_strings(&j);
  j.mode = d->addrs->mode > 0 ? d->addrs->mode : j.ob->mode;
  if (strcmp(j.path, "/dev/null") == 0) {
    transport_set_results(d->addrs, OUTCOME_OK, 0, NULL);
    return true;
  }
  if (d->dont_deliver) {
    DEBUG(D_TRANSPORT) debug_printf("*** delivery by %s transport bypassed by -N option\n", d->transport->name);
    transport_set_results(d->addrs, OUTCOME_OK, 0, "delivery bypassed by -N option");
    return true;
  }
  struct transport *t = append_find_format(&j);
  if (!t) return true;
  if (t != d->transport) return hand_over(d, t);
  if (d->only_quota) {
    append_check_room(&j);
    return true;
  }
  if (j.format == APPEND_MBOX && append_is_fifo(&j))
    append_to_fifo(&j);
  else if (j.format == APPEND_MAILSTORE)
    append_to_mailstore(&j);
  else if (j.format == APPEND_MBOX)
    append_to_mbox(&j);
  else
    append_to_directory(&j);
  if (d->addrs->result == OUTCOME_OK) {
    append_note_crossing(&j);
    append_notify_comsat(&j);
  }
  return true;
}

const struct transport_driver appendfile_transport = {
  .name = "appendfile",
  .options = appendfile_options,
  .option_count = ARRAY_SIZE(appendfile_options),
  .ob_size = sizeof(struct appendfile_opts),
  .is_local = true,
  .knows_quota = true,
  .init = appendfile_init,
  .deliver = appendfile_deliver,
  .setup = append_setup,
  .finish = append_finish,
  .info = "maildir/mailstore/mbx",
};
