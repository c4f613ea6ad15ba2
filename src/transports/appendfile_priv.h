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

enum append_format { APPEND_MBOX, APPEND_FILE, APPEND_MAILDIR };

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
};

/* Each sets the results of all addresses itself. */
void append_to_mbox(struct append_job *j);
void append_to_directory(struct append_job *j);

/* Prefix, message, suffix to j->fd.  0 or -errno; *ret_bytes (may be NULL) counts. */
int append_write(struct append_job *j, int64_t *ret_bytes);
void append_defer(struct append_job *j, int err, const char *fmt, ...) PRINTF(3, 4);
/* The same, and the message is to be frozen: something tampered with the mailbox. */
void append_freeze(struct append_job *j, int err, const char *fmt, ...) PRINTF(3, 4);
/* May something be created here (create_file)? */
bool append_may_create(const struct append_job *j, const char *path);
/* Missing directories up to and including dir.  False: deferred. */
MUST_CHECK bool append_make_directories(struct append_job *j, const char *dir);
/* Sync the directory that holds path: its new entry must survive a crash. 0 or -errno. */
int append_sync_parent(struct arena *a, const char *path);

#endif
