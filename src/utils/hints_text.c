/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What exim_dumpdb, exim_tidydb and exim_fixdb share (hints_text.h).  Floor: main.  Manual ch. 54 "Hints databases".
 *
 * Records are hostile (they hold texts of remote servers): unprintable bytes are shown as escapes. */
#include "utils/hints_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/base62.h"
#include "base/timeutil.h"
#include "os/log.h"
#include "pipe_connect.h"

static const char names[] = "  <database-name> = retry | misc | wait-<transport-name> | callout | ratelimit | tls | seen";

static enum hints_kind kind_of(const char *name) {
  static const struct {
    const char *name;
    enum hints_kind kind;
  } table[] = {{"retry", KIND_RETRY}, {"misc", KIND_MISC}, {"callout", KIND_CALLOUT}, {"ratelimit", KIND_RATELIMIT}, {"tls", KIND_TLS},
               {"seen", KIND_SEEN}};
  if (str_starts(str_c(name), STR("wait-"))) return KIND_WAIT;
  for (size_t i = 0; i < ARRAY_SIZE(table); i++)
    if (strcmp(table[i].name, name) == 0) return table[i].kind;
  return KIND_UNKNOWN;
}

static bool usage(const char *program, const char *options) {
  printf("Usage: %s%s%s%s <spool-directory> <database-name>\n%s\n", program, strchr(options, 'k') ? " [-k]" : "",
         strchr(options, 'z') ? " [-z]" : "", strchr(options, 't') ? " [-t time]" : "", names);
  return false;
}

bool hints_parse_args(int argc, char **argv, const char *program, const char *options, struct hints_args *ret) {
  struct hints_args args = {.age_sec = 30 * 86400};
  int i = 1;
  for (; i < argc && argv[i][0] == '-' && argv[i][1] && !argv[i][2]; i++) {
    char c = argv[i][1];
    if (!strchr(options, c)) return usage(program, options);
    if (c == 'k') args.keys_only = true;
    if (c == 'z') args.utc = true;
    if (c == 'e') args.early = true;
    if (c == 't' && (++i >= argc || !time_parse_interval(str_c(argv[i]), false, &args.age_sec))) return usage(program, options);
  }
  if (argc - i != 2) return usage(program, options);
  args.spool = argv[i];
  args.name = argv[i + 1];
  args.kind = kind_of(args.name);
  if (args.kind == KIND_UNKNOWN) return usage(program, options);
  *ret = args;
  return true;
}

const char *hints_time_text(struct arena *a, int64_t sec, bool utc) {
  static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  char buf[64];
  struct timeval tv = {.tv_sec = (time_t)sec};
  time_format(tv, TIME_LOG_BARE, (struct time_opts){.utc = utc}, buf, sizeof buf); /* yyyy-mm-dd hh:mm:ss */
  int month = (buf[5] - '0') * 10 + (buf[6] - '0');
  if (strlen(buf) < 19 || month < 1 || month > 12) return "?";
  return arena_printf(a, "%.2s-%.3s-%.4s %.8s", buf + 8, months + (month - 1) * 3, buf, buf + 11);
}

/* A server may have said a page; what comes behind this many characters is cut, as in Exim. */
enum { RETRY_TEXT_SHOWN = 150 };

static const char *retry_text(struct arena *a, const struct hints_args *args, const char *key, struct str record) {
  struct hints_retry r;
  if (!hints_get_retry(a, record, &r)) return "";
  return arena_printf(a, "  %s %d %d %.*s\n%s  %s  %s %s\n", key, r.basic_errno, r.more_errno, RETRY_TEXT_SHOWN, log_escape(a, str_c(r.text ? r.text : "")),
                      hints_time_text(a, r.first_failed, args->utc), hints_time_text(a, r.last_try, args->utc),
                      hints_time_text(a, r.next_try, args->utc), r.expired ? "*" : "");
}

static const char *misc_text(struct arena *a, const struct hints_args *args, const char *key, struct str record) {
  static const char *const counted[] = {"etrn-", "tpt-serialize-", "host-serialize-"};
  int64_t stamp;
  if (!hints_get_stamp(record, &stamp)) return "";
  const char *head = arena_printf(a, "%s %s\n", hints_time_text(a, stamp, args->utc), key);
  struct hints_serialize s;
  for (size_t i = 0; i < ARRAY_SIZE(counted); i++)
    if (str_starts(str_c(key), str_c(counted[i])) && hints_get_serialize(record, &s))
      return arena_printf(a, "%sserialize %.*s: %d running\n", head, (int)strlen(counted[i]) - 1, counted[i], s.count);
  if (str_starts(str_c(key), STR("fastopen-")) && hints_get_serialize(record, &s)) return arena_printf(a, "%sFast Open has stalled: %d in a row\n", head, s.count);
  struct hints_ehlo e;
  const char *line = hints_get_ehlo(record, &e) ? pipe_connect_dump(a, key, &e) : NULL;
  return line ? arena_printf(a, "%s%s\n", head, line) : head;
}

const char *hints_early_text(struct arena *a, const char *key, struct str record) {
  struct hints_ehlo e;
  struct str k = str_c(log_escape(a, str_c(key)));
  if (!str_ends(k, STR(".EHLO")) || !hints_get_ehlo(record, &e)) return "";
  return arena_printf(a, "%.*s clear=%04x crypted=%04x stamp=%lld failed=%u suspended=%lld rtt_us=%u\n", (int)(k.n - 5), k.p, e.clear_features,
                      e.crypted_features, (long long)e.stamp, e.fail_count, (long long)e.suspend_until, e.rtt_us);
}

static const char *wait_text(struct arena *a, const char *key, struct str record) {
  struct hints_wait w;
  if (!hints_get_wait(a, record, &w)) return "";
  struct strbuf b = strbuf_new(a);
  strbuf_addf(&b, "%s ", key);
  for (int i = 0; i < w.count; i++) strbuf_addf(&b, "%.*s ", MSGID_LEN, w.ids + (size_t)i * MSGID_LEN);
  strbuf_addc(&b, '\n');
  return b.p;
}

static const char *verdict(int v) { return v == 1 ? "accept" : v == 2 ? "reject" : v == 3 ? "reject mail from null" : "unknown"; }

static const char *callout_text(struct arena *a, const struct hints_args *args, const char *key, struct str record) {
  struct hints_callout c;
  if (!hints_get_callout(record, &c)) return "";
  struct strbuf b = strbuf_new(a);
  strbuf_addf(&b, "%s %s callout=%s", hints_time_text(a, c.stamp, args->utc), key, verdict(c.result));
  if (c.is_domain) {
    strbuf_addf(&b, " postmaster=%s", verdict(c.postmaster_result));
    if (c.postmaster_result) strbuf_addf(&b, " (%s)", hints_time_text(a, c.postmaster_stamp, args->utc));
    strbuf_addf(&b, " random=%s", verdict(c.random_result));
    if (c.random_result) strbuf_addf(&b, " (%s)", hints_time_text(a, c.random_stamp, args->utc));
  }
  strbuf_addc(&b, '\n');
  return b.p;
}

const char *hints_record_text(struct arena *a, const struct hints_args *args, const char *key, struct str record) {
  struct hints_ratelimit rate;
  int64_t stamp;
  key = log_escape(a, str_c(key));
  switch (args->kind) {
    case KIND_RETRY: return retry_text(a, args, key, record);
    case KIND_MISC: return misc_text(a, args, key, record);
    case KIND_WAIT: return wait_text(a, key, record);
    case KIND_CALLOUT: return callout_text(a, args, key, record);
    case KIND_RATELIMIT:
      if (!hints_get_ratelimit(a, record, &rate)) return "";
      return arena_printf(a, "%s.%06d rate: %10.3f key: %s\n", hints_time_text(a, rate.stamp, args->utc), rate.usec, rate.rate, key);
    case KIND_TLS: return arena_printf(a, "%s\n", key);
    case KIND_SEEN: return hints_get_stamp(record, &stamp) ? arena_printf(a, "%s\t%s\n", key, hints_time_text(a, stamp, args->utc)) : "";
    case KIND_UNKNOWN: break;
  }
  return "";
}

static int compare_keys(const void *a, const void *b) { return strcmp(a, b); }

struct vec hints_all_keys(struct hints_db *db, struct arena *a) {
  struct vec keys = vec_new(a);
  for (const char *k = hints_first_key(db, a); k; k = hints_next_key(db, a, k)) vec_push(&keys, arena_strdup(a, k));
  vec_sort(&keys, compare_keys);
  return keys;
}

bool hints_id_is_queued(const char *spool, const char *id) {
  char path[1200];
  struct stat st;
  /* split spool directories are named by the sixth character of the id */
  snprintf(path, sizeof path, "%s/input/%s-D", spool, id);
  if (stat(path, &st) == 0) return true;
  snprintf(path, sizeof path, "%s/input/%c/%s-D", spool, id[5], id);
  return stat(path, &st) == 0;
}
