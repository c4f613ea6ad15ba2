/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The spool: where accepted messages live.  Floor: drivers.
 *
 * An interface (create, commit, open, journal, rewrite, remove, list) with Exim's file layout as its store: input/[x/]ID-H, ID-D, ID-J, msglog/ID.  Another store must fit
 * behind it without touching a caller.  Durability: order R1-R11 and D1-D8 of doc/durability.txt; a failed sync is final.
 * All functions return 0 or -errno unless said otherwise; a file that does not parse gives -EBADMSG after it was moved to input.corrupt/ and reported once. */
#ifndef SPOOL_H
#define SPOOL_H

#include "base/base62.h"
#include "base/strbuf.h"
#include "message.h"

/* Message ids: from the clock, the pid and a counter; no waiting.  Unique per host and process within a resolution step. */
void spool_new_id(const struct config *cfg, char ret_id[MSGID_SIZE]);

/* R1: create and lock ID-D for m (m->id is set here), write its first line; m->data_fd, m->data_start are set. */
MUST_CHECK int spool_create(struct message *m);
/* R2: append body bytes (already in spool form: LF endings, no dots).  Starts write-back every MiB. */
MUST_CHECK int spool_append(struct message *m, const void *p, size_t n);
/* R4-R7: write hdr.ID, sync both, rename to ID-H, sync the directory.  After 0 the message exists. On failure everything is removed. */
MUST_CHECK int spool_commit(struct message *m);
/* Remove an uncommitted or committed message's files (client gone, rejected, disk full). */
void spool_abandon(struct message *m);

enum spool_open_result { SPOOL_OPENED, SPOOL_LOCKED, SPOOL_GONE, SPOOL_BAD, SPOOL_IO_ERROR };
/* D1-D2: open and lock ID-D without waiting, read -H and merge -J into nonrecipients.  On SPOOL_OPENED *ret is complete (from->..., headers, recipients).
 * want_lock false: read only (-bp, -Mvh). */
enum spool_open_result spool_open(const struct config *cfg, const char *id, bool want_lock, struct message **ret);
/* Just the envelope for listings: as spool_open but headers are skipped. */
enum spool_open_result spool_peek(const struct config *cfg, const char *id, struct message **ret);
/* Rewrite -H (D7): after that -J is removed when remove_journal. */
MUST_CHECK int spool_rewrite(struct message *m, bool remove_journal);
/* D4: append addresses (unique forms) to -J with one write and one sync. */
MUST_CHECK int spool_journal(struct message *m, const char *const *unique, size_t count);
/* Before D4: have the journal open, as there may be no descriptor left later; and will so many bytes find room in it?  Where the disk is nearly full they
 * are reserved.  So what has been handed over can be noted.  0, or -EMFILE, -ENOSPC and the like. */
MUST_CHECK int spool_journal_reserve(struct message *m, size_t bytes);
/* D8: remove all files of a finished message: -H, -D, msglog, -J last. */
MUST_CHECK int spool_remove(struct message *m);

/* Move a message, locked here, to the queue of another configuration.  It has one -H at any moment, and is complete where that is; an interrupted move
 * leaves nothing else than a -D and a -J without one. */
MUST_CHECK int spool_move(struct message *m, const struct config *to);

/* Copy -D and -H into a directory, synced; the copied -H knows who has had the message so far.  What is there under these names is replaced. */
MUST_CHECK int spool_copy(struct message *m, const char *directory);

/* Descriptor of msglog/ID for appending; -1 when message_logs is off or it cannot be opened. */
int spool_msglog(struct message *m);
/* Path of a file of the message ('H','D','J', 'L' msglog) for -Mvh etc. */
const char *spool_path(struct arena *a, const struct config *cfg, const char *id, char which);

struct spool_item {
  struct spool_item *next;
  char id[MSGID_SIZE];
  char subdir;            /* 0 or the split directory's letter */
};
/* All complete messages (those with -H), in the order of ids when sorted, else random per subdirectory as queue_run_in_order wants. */
struct spool_item *spool_list(struct arena *a, const struct config *cfg, bool sorted, size_t *ret_count);
/* Does the message exist? */
bool spool_exists(const struct config *cfg, const char *id);
/* Remove leftovers (-D without -H, hdr.*) older than age_sec that nobody locks; number removed. */
int spool_clean_orphans(const struct config *cfg, int age_sec);
/* Where keep_malformed is set: remove files that were moved to input.corrupt longer ago, each with a line in the main log; number removed. */
int spool_clean_set_aside(const struct config *cfg);

#endif
