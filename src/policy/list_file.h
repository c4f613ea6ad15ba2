/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that stand in lists ("domains = /etc/mail/domains"), split into their lines.  Floor: policy.  Manual ch. 10.3.
 *
 * A file that was read is kept while it is the same file with the same size and times, and looked at again (stat) at each use.  Names of
 * files are the caller's to judge (taint); the texts of the lines are the administrator's own and clean. */
#ifndef POLICY_LIST_FILE_H
#define POLICY_LIST_FILE_H

#include "policy/config.h"

struct list_line {
  const char *text; /* as it is shown: with the '!' */
  const char *item; /* behind the '!' */
  size_t item_n;
  bool negated;
  /* The item is no pattern of a list of domains or local parts, or of a list of addresses: it can only match a subject of its length that
   * begins with its first letter, whatever its case. */
  bool is_literal, is_literal_address;
};

struct list_file {
  const struct list_line *lines;
  size_t count;
};

/* Comments begin with a '#': anywhere in a line in lists of domains and hosts, else only at its start or behind white space.
 * 0 and the file, which stays as it is until list_file_done(); else -errno. */
MUST_CHECK int list_file_get(const char *path, enum list_kind kind, const struct list_file **ret);
void list_file_done(const struct list_file *f);
/* Drop what is kept (the process took on other rights). */
void list_file_forget(void);

#endif
