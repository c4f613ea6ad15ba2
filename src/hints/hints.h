/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hints databases (spool/db/NAME, GDBM).  Floor: drivers.  Manual ch. 54 "Hints".
 *
 * Hints are advice: a failure to open, lock, read or write never fails a delivery.  A lock file NAME.lockfile is locked with fcntl (shared for reading) for
 * as long as the handle is open; handles are short-lived and never held across DNS or network I/O.  A damaged file is renamed to NAME.corrupt and made anew, once logged.
 * Keys are stored with their trailing NUL.  Files are created 0640 exim:exim in a 0750 directory. */
#ifndef HINTS_HINTS_H
#define HINTS_HINTS_H

#include "base/arena.h"
#include "base/str.h"
#include "formats/hints_record.h"

struct hints_db;

/* Open spool_directory/db/name.  NULL when it cannot be had (missing file on read-only open, lock timeout of 60 s ...): treat as "no hints".  The
 * directory and the lock file are made where they are missing, for reading too: who deletes hints finds files by the names of Exim's. */
struct hints_db *hints_open(const char *spool_directory, const char *name, bool for_write);
/* For what a delivery can do without: NULL when the lock is not free within half a second, without a word.  Peek: for
 * reading, and nothing is made. */
struct hints_db *hints_open_soon(const char *spool_directory, const char *name, bool for_write);
struct hints_db *hints_peek(const char *spool_directory, const char *name);
/* For tools, which may run as root: for reading, and nothing is made. */
struct hints_db *hints_inspect(const char *spool_directory, const char *name);
void hints_close(struct hints_db *db);
/* Record bytes in the arena (tainted), false when absent. */
MUST_CHECK bool hints_get(struct hints_db *db, struct arena *a, const char *key, struct str *ret);
/* 0 or -errno. */
int hints_put(struct hints_db *db, const char *key, struct str record);
int hints_delete(struct hints_db *db, const char *key);
/* Delete or replace only while the stored bytes still equal old (rule R5). True when done. */
bool hints_replace_if(struct hints_db *db, const char *key, struct str old, struct str record);
bool hints_delete_if(struct hints_db *db, const char *key, struct str old);
/* Scan: keys in file order; NULL at the end.  Deleting during a scan is not allowed (collect first). */
const char *hints_first_key(struct hints_db *db, struct arena *a);
const char *hints_next_key(struct hints_db *db, struct arena *a, const char *prev);

#endif
