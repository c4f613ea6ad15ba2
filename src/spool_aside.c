/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Removing what was set aside in input.corrupt.  Floor: drivers.  Manual ch. 14 (keep_malformed), doc/durability.txt.
 *
 * Only where the configuration sets keep_malformed: otherwise these files stay until a person has looked at them.  The time counts from when
 * the file was moved there (the inode's change time), not from the message's arrival. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/timeutil.h"
#include "os/log.h"
#include "os/sys.h"
#include "policy/config.h"
#include "spool.h"

/* "ID-H", "ID-D", "ID-J" */
static bool is_set_aside(const char *name) {
  size_t n = msgid_prefix_len(str_c(name));
  return n && name[n] == '-' && name[n + 1] && strchr("HDJ", name[n + 1]) && !name[n + 2];
}

int spool_clean_set_aside(const struct config *cfg) {
  char dir[1024], path[sizeof dir + 256], keep[64];
  if (!opt_was_set(cfg->main_block, "keep_malformed")) return 0;
  time_t before = time_sec() - (time_t)cfg->o.keep_malformed;
  snprintf(dir, sizeof dir, "%s/input.corrupt", cfg->spool_directory);
  DIR *d = opendir(dir);
  struct dirent *e;
  int removed = 0;
  while (d && (e = readdir(d))) {
    struct stat st;
    if (!is_set_aside(e->d_name)) continue;
    snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
    if (lstat(path, &st) < 0 || st.st_ctime > before || sys_unlink(path) < 0) continue;
    log_write(LS_ALWAYS, LOG_MAIN, "%s removed from input.corrupt: it was there for more than %s", e->d_name,
              time_format_interval(cfg->o.keep_malformed, keep, sizeof keep));
    removed++;
  }
  if (d) closedir(d);
  return removed;
}
