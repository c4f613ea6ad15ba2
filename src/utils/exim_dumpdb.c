/* SPDX-License-Identifier: GPL-2.0-or-later */
/* exim_dumpdb [-k] [-z] [-e] spool-directory name: show a hints database.  Floor: main.  Manual ch. 54.
 *
 * Exit status 1 for wrong use or when the database cannot be opened. */
#include <stdio.h>

#include "utils/hints_text.h"

int main(int argc, char **argv) {
  struct hints_args args;
  if (!hints_parse_args(argc, argv, "exim_dumpdb", "kze", &args)) return 1;
  struct arena *a = arena_new("dumpdb");
  struct hints_db *db = hints_inspect(args.spool, args.name);
  if (!db) {
    printf("Failed to open hintsdb file %s/db/%s\n", args.spool, args.name);
    return 1;
  }
  struct vec keys = hints_all_keys(db, a);
  for (size_t i = 0; i < keys.n; i++) {
    struct arena_mark mark = arena_mark(a);
    struct str record;
    if (args.early && hints_get(db, a, keys.v[i], &record))
      fputs(hints_early_text(a, keys.v[i], record), stdout);
    else if (args.keys_only)
      printf("  %s\n", (const char *)keys.v[i]);
    else if (hints_get(db, a, keys.v[i], &record))
      fputs(hints_record_text(a, &args, keys.v[i], record), stdout);
    arena_release(a, mark);
  }
  hints_close(db);
  arena_free(a);
  return 0;
}
