/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Log lines and files: names (manual, section "Where the logs are written"), escapes as Debian's 4.96 writes them, selectors,
 * rotation, and what happens when a log cannot be written.  Floor: tests. */
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/timeutil.h"
#include "os/log.h"
#include "scratch.h"

static char pattern[300];

/* Take settings anew for a log_file_path below the scratch directory; the files of the case before are gone. */
static void begin(const char *path_below) {
  log_close();
  scratch_empty();
  log_set_message_id(NULL);
  snprintf(pattern, sizeof pattern, "%s/%s", scratch_dir, path_below);
  log_init(&(struct log_settings){.file_path = pattern, .exim_uid = geteuid(), .exim_gid = getegid(), .write_rejectlog = true});
}

/* The file's text with each date and time replaced by "T". */
static const char *lines_of(const char *name) {
  static char out[65536];
  const char *p = scratch_read(name);
  size_t n = 0;
  int y, mo, d, h, mi, s, len;
  while (*p) {
    len = 0;
    if ((p[0] == '2') && sscanf(p, "%4d-%2d-%2d %2d:%2d:%2d%n", &y, &mo, &d, &h, &mi, &s, &len) == 6 && len == 19) {
      out[n++] = 'T';
      p += len;
    }
    while (*p && (out[n++] = *p++) != '\n') {}
  }
  out[n] = '\0';
  return out;
}

/* Standard error of what fn does. */
static int stderr_kept;
static void catch_stderr(void) {
  fflush(stderr);
  stderr_kept = dup(2);
  int fd = open(scratch_path("stderr"), O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);
  dup2(fd, 2);
  close(fd);
}
static const char *caught_stderr(void) {
  fflush(stderr);
  dup2(stderr_kept, 2);
  close(stderr_kept);
  return lines_of("stderr");
}

static void lines(void **state) {
  (void)state;
  begin("%slog");
  log_write(LS_ALWAYS, LOG_MAIN, "Start queue run: pid=%d", 42);
  log_write(LS_ALWAYS, LOG_MAIN, "ends in a newline\n");
  log_set_message_id("1xVZqc-0005N0abcde-2R00");
  log_write(LS_ALWAYS, LOG_MAIN | LOG_REJECT, "=> %s", "a@b");
  CHECK_STR("id", log_message_id(), "1xVZqc-0005N0abcde-2R00");
  log_set_message_id(NULL);
  assert_null(log_message_id());
  log_write(LS_ALWAYS, LOG_MAIN, "last");
  log_write(LS_SUBJECT, LOG_MAIN, "not selected");
  CHECK_STR("main", lines_of("mainlog"),
            "T Start queue run: pid=42\nT ends in a newline\nT 1xVZqc-0005N0abcde-2R00 => a@b\nT last\n");
  CHECK_STR("reject", lines_of("rejectlog"), "T 1xVZqc-0005N0abcde-2R00 => a@b\n");
  assert_int_equal(access(scratch_path("paniclog"), F_OK), -1);
}

/* As the manual has it: "[n\\m]" for a line end, "[n/m]" for a line that was too long and for the last one; the numbers are the caller's. */
static const char *pieces_of(const char *line, const char *extra, size_t max) {
  static char out[256];
  struct log_pieces p = {.line = str_c(line), .extra = str_c(extra), .max = max};
  struct str piece;
  char end;
  size_t n = 0;
  while (log_next_piece(&p, &piece, &end)) n += (size_t)snprintf(out + n, sizeof out - n, "%.*s%c|", STR_FMT(piece), end);
  return out;
}

static void pieces(void **state) {
  (void)state;
  CHECK_STR("one", pieces_of("one", "", 10), "one/|");
  CHECK_STR("just fits", pieces_of("0123456789", "", 10), "0123456789/|");
  CHECK_STR("too long", pieces_of("0123456789a", "", 10), "0123456789/|a/|");
  CHECK_STR("never too long", pieces_of("0123456789a", "", 0), "0123456789a/|");
  CHECK_STR("lines", pieces_of("one\ntwo", "", 10), "one\\|two/|");
  CHECK_STR("more lines", pieces_of("one", "two\n\tthree\n", 10), "one\\|two\\|\tthree/|");
  CHECK_STR("a long one of several", pieces_of("one", "0123456789abc\nthree\n", 10), "one\\|0123456789/|abc\\|three/|");
  CHECK_STR("a line of just the length", pieces_of("0123456789", "three\n", 10), "0123456789\\|three/|");
}

static void prefixes(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  uint64_t old, mask;
  const char *error;
  char want[200];
  assert_true(log_selector_parse(a, "", &old, &error));
  assert_true(log_selector_parse(a, "+pid", &mask, &error));
  begin("%slog");
  log_selector_set(mask);
  log_set_message_id("1xVZqc-0005N0abcde-2R00");
  log_write(LS_ALWAYS, LOG_MAIN, "Completed");
  snprintf(want, sizeof want, "T [%d] 1xVZqc-0005N0abcde-2R00 Completed\n", (int)getpid());
  CHECK_STR("pid", lines_of("mainlog"), want);
  assert_true(log_selector_parse(a, "+millisec", &mask, &error));
  begin("%slog");
  log_selector_set(mask);
  log_write(LS_ALWAYS, LOG_MAIN, "Completed");
  int ms, len = 0;
  assert_int_equal(sscanf(lines_of("mainlog"), "T.%3d Completed%n", &ms, &len), 1);
  assert_int_equal(len, 15);
  log_selector_set(old);
  arena_free(a);
}

static void unprintables_are_escaped(void **state) {
  (void)state;
  static const struct {
    const char *in, *line, *escaped; /* inside a line the tab stays */
  } rows[] = {
    {"plain \\ text", "plain \\ text", "plain \\ text"},
    {"tab\tnl\nret\rbs\\ \001 \177 \351 \b \v \f end", "tab\tnl\\nret\\rbs\\ \\001 \\177 \\351 \\b \\v \\f end",
     "tab\\tnl\\nret\\rbs\\ \\001 \\177 \\351 \\b \\v \\f end"},
    {"\033[2J", "\\033[2J", "\\033[2J"},
    {"a\n2026-01-01 00:00:00 forged", "a\\n2026-01-01 00:00:00 forged", "a\\n2026-01-01 00:00:00 forged"},
  };
  struct arena *a = arena_new("test");
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    char want[200];
    begin("%slog");
    log_write(LS_ALWAYS, LOG_MAIN, "%s", rows[i].in);
    snprintf(want, sizeof want, "T %s\n", rows[i].line);
    CHECK_STR("line", lines_of("mainlog"), want);
    CHECK_STR("escape", log_escape(a, str_c(rows[i].in)), rows[i].escaped);
    assert_true(is_tainted(log_escape(a, str_c(arena_strdup_t(a, rows[i].in, TAINTED)))));
  }
  arena_free(a);
}

static void newlines_stay_when_asked(void **state) {
  (void)state;
  begin("%slog");
  log_write(LS_ALWAYS, LOG_MAIN | LOG_MULTILINE, "Exim configuration error in line 3 of f:\n  option \"\001\" unknown\n");
  CHECK_STR("main", lines_of("mainlog"), "T Exim configuration error in line 3 of f:\n  option \"\\001\" unknown\n");
}

static void long_lines_are_cut(void **state) {
  (void)state;
  static char text[20000];
  memset(text, 'x', sizeof text - 1);
  begin("%slog");
  log_write(LS_ALWAYS, LOG_MAIN, "%s", text);
  memset(text, '\001', sizeof text - 1);
  log_write(LS_ALWAYS, LOG_MAIN, "%s", text);
  log_write_reject(LOG_MAIN, text, NULL);
  const char *got = lines_of("mainlog");
  for (int i = 0; i < 3; i++) {
    const char *nl = strchr(got, '\n');
    assert_non_null(nl);
    assert_true(nl - got > 8000 && nl - got < 8192 + 300);
    got = nl + 1;
  }
  assert_int_equal(*got, '\0');
}

static void reject_log_has_more(void **state) {
  (void)state;
  begin("%slog");
  log_write_reject(LOG_MAIN | LOG_REJECT, "rejected\nRCPT", "Envelope-from: <a@b>\nEnvelope-to: <c@d>\n");
  CHECK_STR("main", lines_of("mainlog"), "T rejected\\nRCPT\n");
  CHECK_STR("reject", lines_of("rejectlog"), "T rejected\\nRCPT\nEnvelope-from: <a@b>\nEnvelope-to: <c@d>\n");
}

static void no_reject_log(void **state) {
  (void)state;
  begin("%slog");
  log_init(&(struct log_settings){.file_path = pattern, .exim_uid = geteuid(), .exim_gid = getegid()});
  log_write(LS_ALWAYS, LOG_MAIN | LOG_REJECT, "rejected");
  CHECK_STR("main", lines_of("mainlog"), "T rejected\n");
  assert_int_equal(access(scratch_path("rejectlog"), F_OK), -1);
}

static void names(void **state) {
  (void)state;
  char day[64], month[8];
  time_format(time_now(), TIME_LOGFILE, (struct time_opts){0}, day, sizeof day);
  snprintf(month, sizeof month, "%.6s", day);
  static const struct {
    const char *path, *main, *panic; /* D and M stand for the date */
  } rows[] = {
    {"%slog", "mainlog", "paniclog"},
    {"log/deep/%s", "log/deep/main", "log/deep/panic"},
    {"%slog-%D", "mainlog-D", "paniclog"},
    {"%s.%M.log", "main.M.log", "panic.log"},
    {"%D/%s", "D/main", "/panic"},
    {"exim_%s.%D", "exim_main.D", "exim_panic"},
    {"x%%", "x%%", "x%%"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    const char *const wanted[] = {rows[i].main, rows[i].panic};
    for (int k = 0; k < 2; k++) {
      char name[100];
      size_t n = 0;
      begin(rows[i].path);
      catch_stderr();
      log_write(LS_ALWAYS, (k ? LOG_PANIC : LOG_MAIN), "x");
      (void)caught_stderr();
      for (const char *p = wanted[k]; *p; p++) n += (size_t)snprintf(name + n, sizeof name - n, "%s", *p == 'D' ? day : *p == 'M' ? month : (char[]){*p, 0});
      CHECK_STR(rows[i].path, lines_of(name), "T x\n");
    }
  }
  begin("syslog : ");
  log_init(&(struct log_settings){.file_path = "syslog", .harness_mode = true, .syslog_timestamp = true, .exim_uid = geteuid()});
  catch_stderr();
  log_write(LS_ALWAYS, LOG_MAIN, "to syslog");
  const char *got = caught_stderr();
  assert_true(strncmp(got, "SYSLOG: '20", 11) == 0 && strstr(got, " to syslog'\n"));
}

static void rotation_is_noticed(void **state) {
  (void)state;
  begin("%slog");
  log_write(LS_ALWAYS, LOG_MAIN, "one");
  assert_int_equal(rename(scratch_path("mainlog"), scratch_path("mainlog.01")), 0);
  for (time_t now = time_sec(); time_sec() == now;) usleep(10000); /* it looks once in a second */
  log_write(LS_ALWAYS, LOG_MAIN, "two");
  CHECK_STR("old", lines_of("mainlog.01"), "T one\n");
  CHECK_STR("new", lines_of("mainlog"), "T two\n");
}

static void what_cannot_be_written_goes_to_panic(void **state) {
  (void)state;
  begin("%slog");
  assert_int_equal(mkdir(scratch_path("mainlog"), 0700), 0);
  catch_stderr();
  log_write(LS_ALWAYS, LOG_MAIN, "important");
  char want[400];
  const char *got = caught_stderr();
  snprintf(want, sizeof want, "exim: could not open main log %s: %s\nT important\n", scratch_path("mainlog"), strerror(EISDIR));
  (void)got;
  CHECK_STR("stderr", got, want);
  CHECK_STR("panic", lines_of("paniclog"), "T important\n");
  /* a link in the place of a log is not followed */
  begin("%slog");
  assert_int_equal(symlink("elsewhere", scratch_path("mainlog")), 0);
  catch_stderr();
  log_write(LS_ALWAYS, LOG_MAIN, "important");
  (void)caught_stderr();
  assert_int_equal(access(scratch_path("elsewhere"), F_OK), -1);
  CHECK_STR("panic", lines_of("paniclog"), "T important\n");
}

/* Neither file: syslog has it, once, and says why (manual ch. 53). */
static void what_no_file_takes_goes_to_syslog(void **state) {
  (void)state;
  begin("%slog");
  log_init(&(struct log_settings){.file_path = pattern, .harness_mode = true, .exim_uid = geteuid(), .exim_gid = getegid()});
  assert_int_equal(mkdir(scratch_path("mainlog"), 0700), 0);
  assert_int_equal(mkfifo(scratch_path("paniclog"), 0600), 0); /* nobody reads it: ENXIO, and no waiting */
  catch_stderr();
  log_write(LS_ALWAYS, LOG_MAIN, "important");
  char want[1000], main_path[300];
  snprintf(main_path, sizeof main_path, "%s", scratch_path("mainlog"));
  const char *got = caught_stderr();
  snprintf(want, sizeof want,
           "exim: could not open main log %s: %s\nT important\nexim: could not open panic log %s: %s\nT important\n"
           "SYSLOG: 'could not open panic log %s: %s'\nSYSLOG: 'important'\n",
           main_path, strerror(EISDIR), scratch_path("paniclog"), strerror(ENXIO), scratch_path("paniclog"), strerror(ENXIO));
  CHECK_STR("stderr", got, want);
}

static void panic_lines_are_shown(void **state) {
  (void)state;
  begin("%slog");
  catch_stderr();
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "trouble");
  log_write(LS_ALWAYS, LOG_PANIC | LOG_QUIET, "quiet trouble");
  CHECK_STR("stderr", caught_stderr(), "T trouble\n");
  CHECK_STR("main", lines_of("mainlog"), "T trouble\n");
  CHECK_STR("panic", lines_of("paniclog"), "T trouble\nT quiet trouble\n");
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    log_write(LS_ALWAYS, LOG_PANIC | LOG_QUIET | LOG_DIE, "the end");
    _exit(9);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 1 << 8);
  /* With panic_coredump the process asks for a core file (none is written here). */
  pid = fork();
  if (pid == 0) {
    const struct rlimit none = {0};
    (void)setrlimit(RLIMIT_CORE, &none);
    signal(SIGABRT, SIG_DFL);
    log_init(&(struct log_settings){.file_path = pattern, .exim_uid = geteuid(), .exim_gid = getegid(), .panic_coredump = true});
    log_write(LS_ALWAYS, LOG_PANIC | LOG_QUIET | LOG_DIE, "the end");
    _exit(9);
  }
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void message_logs(void **state) {
  (void)state;
  scratch_empty();
  int fd = open(scratch_path("msglog"), O_WRONLY | O_CREAT | O_APPEND, 0600);
  log_set_message_id("1xVZqc-0005N0abcde-2R00");
  log_msglog(fd, "=> %s\n", "a@b");
  log_msglog(fd, "nothing\nfalse");
  log_set_message_id(NULL);
  close(fd);
  CHECK_STR("msglog", lines_of("msglog"), "T => a@b\nT nothing\\nfalse\n");
}

static void selectors(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  uint64_t standard, got;
  const char *error;
  assert_true(log_selector_parse(a, NULL, &standard, &error));
  /* names in order, so that tables made from them are sorted */
  for (int i = 1; i < LS_COUNT; i++) assert_true(strcmp(log_selector_name(i - 1), log_selector_name(i)) < 0);
  static const struct {
    const char *text;
    int sel;
    bool want;
  } rows[] = {
    {"", LS_RETRY_DEFER, true},       {"", LS_SUBJECT, false},           {"+subject", LS_SUBJECT, true},
    {"-retry_defer", LS_RETRY_DEFER, false}, {"+all", LS_PID, true},     {"+all -pid", LS_PID, false},
    {"-all+pid", LS_PID, true},       {"-all+pid", LS_RETRY_DEFER, false}, {"+subject-subject", LS_SUBJECT, false},
    {"  +pid\n  -queue_run ", LS_QUEUE_RUN, false}, {"-rejected_headers", LS_REJECTED_HEADER, false},
    {"+tls_sni", LS_TLS_SNI, true}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    assert_true(log_selector_parse(a, rows[i].text, &got, &error));
    log_selector_set(got);
    CHECK_INT(rows[i].text, log_selects((enum log_sel)rows[i].sel), rows[i].want);
    assert_true(log_selects(LS_ALWAYS));
  }
  log_selector_set(standard);
  static const char *const bad[][2] = {
    {"pid", "malformed log_selector setting: + or - expected but found \"pid\""},
    {"+pid subject", "malformed log_selector setting: + or - expected but found \"subject\""},
    {"+nothing", "unknown log_selector setting: +nothing"},
    {"-nothing +pid", "unknown log_selector setting: -nothing"},
    {"+", "unknown log_selector setting: +"},
    {"+PID", "unknown log_selector setting: +PID"}};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    got = 7;
    error = "";
    CHECK_INT(bad[i][0], log_selector_parse(a, bad[i][0], &got, &error), false);
    CHECK_STR(bad[i][0], error, bad[i][1]);
    CHECK_INT(bad[i][0], got, 7);
  }
  arena_free(a);
}

static int teardown(void **state) {
  log_close();
  return scratch_teardown(state);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(lines), cmocka_unit_test(pieces), cmocka_unit_test(prefixes), cmocka_unit_test(unprintables_are_escaped),
    cmocka_unit_test(newlines_stay_when_asked), cmocka_unit_test(long_lines_are_cut), cmocka_unit_test(reject_log_has_more),
    cmocka_unit_test(no_reject_log), cmocka_unit_test(names), cmocka_unit_test(rotation_is_noticed),
    cmocka_unit_test(what_cannot_be_written_goes_to_panic), cmocka_unit_test(what_no_file_takes_goes_to_syslog), cmocka_unit_test(panic_lines_are_shown),
    cmocka_unit_test(message_logs), cmocka_unit_test(selectors)};
  return cmocka_run_group_tests(tests, scratch_setup, teardown);
}
