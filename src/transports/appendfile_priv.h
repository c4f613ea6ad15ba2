/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of the appendfile transport.  Floor: drivers.  Manual ch. 26.
 *
 * The delivering process already runs as the recipient's user.  Every path used here was checked for taint in appendfile.c. */
#ifndef TRANSPORTS_APPENDFILE_PRIV_H
#define TRANSPORTS_APPENDFILE_PRIV_H

#include "transport.h"

struct appendfile_opts {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "transports/appendfile_options.def"
#undef OPT_ROW
};

enum append_format { APPEND_MBOX, APPEND_FILE, APPEND_MAILSTORE, APPEND_MAILDIR };

/* What the options about quotas come to; expanded before the change to the user. */
struct append_limits {
  int64_t bytes, files;          /* 0 none */
  bool bytes_no_check, files_no_check;
  int64_t given_bytes, given_files; /* mailbox_size, mailbox_filecount; -1 unset */
  const char *directory;         /* quota_directory or NULL */
  int64_t warn_bytes;            /* quota_warn_threshold, 0 none */
};

struct append_usage {
  int64_t bytes, files;
};

/* One delivery to a file or directory. */
struct append_job {
  struct delivery *d;
  struct appendfile_opts *ob;
  const char *path;              /* file or directory, absolute, clean */
  enum append_format format;
  int64_t mode;
  const char *prefix, *suffix;   /* unexpanded, NULL none */
  struct write_opts write;
  int fd;
  const struct append_limits *limits; /* NULL: none */
  struct append_usage usage;     /* before this message; valid when is_counted */
  bool is_counted;
  const char *sizefile;          /* maildirsize to keep, or NULL */
  bool no_sync;                  /* a named pipe */
  bool is_counting;              /* append_write() writes nothing, counted grows */
  int64_t counted;
  const char *mbx_lock_name;     /* use_mbx_lock: the second file, held while mbx_lock_fd >= 0 */
  int mbx_lock_fd;
  int64_t size_before, size_after; /* of what is there, around the delivery; 0 not known */
};

/* Each sets the results of all addresses itself. */
void append_to_mbox(struct append_job *j);
void append_to_directory(struct append_job *j);

/* Prefix, message, suffix to j->fd.  0 or -errno; *ret_bytes (may be NULL) counts. */
/* The result after append_write() gave r: shown is the file as log lines name it. */
void append_write_failed(struct append_job *j, int r, const char *shown);
int append_write(struct append_job *j, int64_t *ret_bytes);
void append_defer(struct append_job *j, int err, const char *fmt, ...) PRINTF(3, 4);
/* The same: the configuration is at fault, which the panic log is told too. */
void append_misconfigured(struct append_job *j, int err, const char *fmt, ...) PRINTF(3, 4);
/* The same, and the message is to be frozen: something tampered with the mailbox. */
void append_freeze(struct append_job *j, int err, const char *fmt, ...) PRINTF(3, 4);
/* May something be created here (create_file)? */
bool append_may_create(const struct append_job *j, const char *path);
/* Missing directories up to and including dir.  False: deferred. */
MUST_CHECK bool append_make_directories(struct append_job *j, const char *dir);
/* Sync the directory that holds path: its new entry must survive a crash. 0 or -errno. */
int append_sync_parent(struct arena *a, const char *path);

/* appendfile_more.c.  The transport the existing mailbox asks for (file_format); NULL: deferred. */
struct transport *append_find_format(struct append_job *j);
bool append_is_fifo(const struct append_job *j);
void append_to_fifo(struct append_job *j);
void append_to_mailstore(struct append_job *j);

/* appendfile_mbx.c.  mbx_format chooses its own way of locking when nothing is said about it. */
void append_mbx_default_locks(struct appendfile_opts *ob, const struct opt_block *set);
/* Lock the open mailbox as c-client does, until append_mbx_unlock() and the closing of the mailbox.  0 or -errno. */
MUST_CHECK int append_mbx_lock(struct append_job *j, deadline_ms deadline);
void append_mbx_unlock(struct append_job *j);
/* append_write() for a mailbox in MBX format that had size_before bytes. */
MUST_CHECK int append_mbx_write(struct append_job *j, off_t size_before, int64_t *ret_bytes);

/* appendfile_comsat.c.  After a delivery: tell comsat (notify_comsat). */
enum { COMSAT_PORT = 512 };
void append_notify_comsat(struct append_job *j);
void append_send_comsat(struct arena *a, int port, const char *user, int64_t offset);

/* appendfile_warn.c.  After a delivery: mark the addresses when it took the mailbox over quota_warn_threshold. */
void append_note_crossing(struct append_job *j);
/* In the parent: send the warning for addresses so marked. */
void append_finish(struct delivery *d);
/* What quota_warn_message is where only the threshold is set. */
extern const char append_default_warning[];

/* appendfile_quota.c.  "10.5M/no_check": NULL or an error text. */
const char *append_parse_quota(const char *text, int64_t *ret_value, bool *ret_no_check);
/* A maildirsize file: its first line must be head.  False: to be counted anew. */
bool append_parse_sizefile(struct str text, const char *head, struct append_usage *ret, int *ret_entries);
/* In the parent: expand the limits. */
enum outcome append_setup(struct delivery *d, const char **ret_error);
/* Fill j->usage from a directory (before anything is created there) or from the size of an open file. */
void append_count_usage(struct append_job *j);
void append_note_file_size(struct append_job *j, int64_t bytes);
/* "quota" or "filecount quota" when one is exceeded, else NULL. */
const char *append_over_quota(const struct append_job *j);
/* verify = recipient/quota: the result is OK, or that of a delivery that finds no room.  Nothing is made or written. */
void append_check_room(struct append_job *j);
/* last_read: when the mailbox was read last, 0 unknown. */
void append_defer_quota(struct append_job *j, const char *which, const char *shown, time_t last_read);
/* A message of that size was added: note it in maildirsize. */
void append_note_size(struct append_job *j, int64_t bytes);

#endif
