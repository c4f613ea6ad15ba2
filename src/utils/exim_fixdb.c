/* SPDX-License-Identifier: GPL-2.0-or-later */
/* exim_fixdb [-z] spool-directory name: look at single records, delete them, change fields of retry records.  Floor: main.  Manual ch. 54.
 *
 * Dialogue: a key shows its record; then "d" deletes it, "N value" sets field N of a retry record; an empty line or "q" ends it.
 * The database is open only for single operations. */
#include <stdio.h>
#include <time.h>

#include "base/timeutil.h"
#include "os/log.h"
#include "utils/hints_text.h"

/* yymmddhhmm, colons optional. */
static bool parse_time(struct str s, int64_t *ret) {
  int v[5], n = 0;
  for (size_t i = 0; i < s.n && n < 5;) {
    if (s.p[i] == ':') {
      i++;
      continue;
    }
    if (i + 1 >= s.n || !ch_isdigit(s.p[i]) || !ch_isdigit(s.p[i + 1])) return false;
    v[n++] = (s.p[i] - '0') * 10 + (s.p[i + 1] - '0');
    i += 2;
  }
  if (n != 5) return false;
  struct tm tm = {.tm_year = v[0] >= 70 ? v[0] : v[0] + 100, .tm_mon = v[1] - 1, .tm_mday = v[2], .tm_hour = v[3], .tm_min = v[4],
                  .tm_isdst = -1};
  time_t t = mktime(&tm);
  if (t == (time_t)-1) return false;
  *ret = t;
  return true;
}

static void show_retry(struct arena *a, const struct hints_args *args, const struct hints_retry *r) {
  printf("%s\n", hints_time_text(a, r->stamp, args->utc));
  printf("0 error number: %d %s\n1 extra data:   %d\n2 first failed: %s\n3 last try:     %s\n4 next try:     %s\n5 expired:      %s\n",
         r->basic_errno, log_escape(a, str_c(r->text ? r->text : "")), r->more_errno, hints_time_text(a, r->first_failed, args->utc), hints_time_text(a, r->last_try, args->utc),
         hints_time_text(a, r->next_try, args->utc), r->expired ? "yes" : "no");
}

static bool set_field(struct hints_retry *r, int field, struct str value) {
  switch (field) {
    case 0: return str_parse_int(value, &r->basic_errno);
    case 1: return str_parse_int(value, &r->more_errno);
    case 2: return parse_time(value, &r->first_failed);
    case 3: return parse_time(value, &r->last_try);
    case 4: return parse_time(value, &r->next_try);
    case 5: r->expired = str_eqic_c(value, "yes"); return r->expired || str_eqic_c(value, "no");
    default: return false;
  }
}

static void change(struct arena *a, const struct hints_args *args, const char *key, struct str record, struct str line) {
  struct hints_db *db = hints_open(args->spool, args->name, true);
  struct hints_retry r;
  int field;
  if (!db) {
    printf("Failed to open hintsdb file %s/db/%s\n", args->spool, args->name);
    return;
  }
  if (str_eq_c(line, "d")) {
    printf("%s\n", hints_delete_if(db, key, record) ? "deleted" : "record changed meanwhile: not deleted");
  } else if (args->kind != KIND_RETRY) {
    printf("Can't change contents of %s database record\n", args->name);
  } else {
    struct str word = str_word(&line);
    if (!hints_get_retry(a, record, &r) || !str_parse_int(word, &field) || field > 5) {
      printf("unknown field number\n");
    } else if (!set_field(&r, field, str_trim(line))) {
      printf("bad %s value\n", field >= 2 && field <= 4 ? "time" : field == 5 ? "yes/no" : "number");
    } else {
      struct strbuf out = strbuf_new(a);
      r.stamp = (int64_t)time_sec();
      hints_put_retry(&out, &r);
      if (!hints_replace_if(db, key, record, strbuf_str(&out))) printf("record changed meanwhile: left alone\n");
      show_retry(a, args, &r);
    }
  }
  hints_close(db);
}

static bool look_up(struct arena *a, const struct hints_args *args, const char *key, struct str *ret) {
  struct hints_db *db = hints_inspect(args->spool, args->name);
  if (!db) return false;
  bool found = hints_get(db, a, key, ret);
  hints_close(db);
  return found;
}

static void show(struct arena *a, const struct hints_args *args, const char *key, struct str record) {
  struct hints_retry r;
  if (args->kind == KIND_RETRY && hints_get_retry(a, record, &r))
    show_retry(a, args, &r);
  else
    fputs(hints_record_text(a, args, key, record), stdout);
}

int main(int argc, char **argv) {
  struct hints_args args;
  if (!hints_parse_args(argc, argv, "exim_fixdb", "z", &args)) return 1;
  struct arena *a = arena_new("fixdb");
  printf("Modifying Exim hints database %s/db/%s\n", args.spool, args.name);
  const char *key = NULL;
  char line[1024];
  for (;;) {
    fputs("> ", stdout);
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin)) break;
    struct str s = str_trim(str_c(line));
    struct str record;
    if (!s.n || str_eq_c(s, "q")) {
      if (!key) break;
      key = NULL;
      continue;
    }
    bool is_order = key && (str_eq_c(s, "d") || ch_isdigit(s.p[0]));
    if (!is_order) key = str_dup(a, s);
    if (!look_up(a, &args, key, &record)) {
      printf("record %s not found\n", key);
      key = NULL;
    } else if (is_order) {
      change(a, &args, key, record, s);
      if (str_eq_c(s, "d")) key = NULL;
    } else {
      show(a, &args, key, record);
    }
  }
  fputc('\n', stdout);
  arena_free(a);
  return 0;
}
