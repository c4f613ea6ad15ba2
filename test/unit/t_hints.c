/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hints databases: reading, writing and conditional changes; names that are none; a damaged file is moved aside and made anew, once
 * reported, and never stops anybody.  Floor: tests. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hints/hints.h"
#include "os/log.h"
#include "os/sys.h"
#include "scratch.h"

static struct arena *a;

static void start_empty(void) {
  log_close();
  scratch_empty();
}

static void check_record(struct hints_db *db, const char *key, const char *want) {
  struct str got;
  CHECK_INT(key, hints_get(db, a, key, &got), want != NULL);
  if (!want) return;
  assert_int_equal(got.n, strlen(want));
  assert_memory_equal(got.p, want, got.n);
  assert_true(is_tainted(got.p));
}

static void records(void **state) {
  (void)state;
  start_empty();
  assert_null(hints_inspect(scratch_dir, "retry")); /* a tool makes nothing */
  assert_int_equal(access(scratch_path("db"), F_OK), -1);
  assert_null(hints_open(scratch_dir, "retry", false)); /* a reader leaves the lock file, and no hints */
  assert_int_equal(access(scratch_path("db/retry.lockfile"), F_OK), 0);
  assert_int_equal(access(scratch_path("db/retry"), F_OK), -1);
  struct hints_db *db = hints_open(scratch_dir, "retry", true);
  assert_non_null(db);
  check_record(db, "T:host", NULL);
  assert_int_equal(hints_put(db, "T:host", STR("one")), 0);
  assert_int_equal(hints_put(db, "T:host2", STR("two")), 0);
  assert_int_equal(hints_put(db, "", STR("empty key")), 0);
  check_record(db, "T:host", "one");
  check_record(db, "T:hos", NULL); /* the key is stored with its end */
  assert_int_equal(hints_put(db, "T:host", STR("one again")), 0);
  hints_close(db);
  db = hints_open(scratch_dir, "retry", false);
  check_record(db, "T:host", "one again");
  check_record(db, "T:host2", "two");
  check_record(db, "", "empty key");
  assert_true(hints_put(db, "x", STR("y")) < 0);
  hints_close(db);
  db = hints_open(scratch_dir, "retry", true);
  check_record(db, "x", NULL);
  assert_int_equal(hints_delete(db, "T:host"), 0);
  assert_int_equal(hints_delete(db, "T:host"), -ENOENT);
  check_record(db, "T:host", NULL);
  hints_close(db);
  hints_close(NULL);
  struct stat st;
  assert_int_equal(stat(scratch_path("db/retry"), &st), 0);
  assert_int_equal(st.st_mode & 07777, 0640);
  assert_int_equal(stat(scratch_path("db/retry.lockfile"), &st), 0);
  assert_int_equal(st.st_mode & 07777, 0640);
  assert_int_equal(stat(scratch_path("db"), &st), 0);
  assert_int_equal(st.st_mode & 07777, 0750);
}

static void changes_only_of_what_was_seen(void **state) {
  (void)state;
  start_empty();
  struct hints_db *db = hints_open(scratch_dir, "misc", true);
  assert_false(hints_replace_if(db, "k", STR("old"), STR("new")));
  assert_int_equal(hints_put(db, "k", STR("old")), 0);
  assert_false(hints_replace_if(db, "k", STR("older"), STR("new")));
  assert_false(hints_replace_if(db, "k", STR("ol"), STR("new")));
  assert_false(hints_delete_if(db, "k", STR("")));
  check_record(db, "k", "old");
  assert_true(hints_replace_if(db, "k", STR("old"), STR("new")));
  check_record(db, "k", "new");
  assert_false(hints_delete_if(db, "k", STR("old")));
  assert_true(hints_delete_if(db, "k", STR("new")));
  check_record(db, "k", NULL);
  hints_close(db);
}

static void scanning(void **state) {
  (void)state;
  start_empty();
  struct hints_db *db = hints_open(scratch_dir, "wait-smtp", true);
  assert_null(hints_first_key(db, a));
  bool seen[200] = {false};
  char key[16];
  for (int i = 0; i < 200; i++) {
    snprintf(key, sizeof key, "host%d", i);
    assert_int_equal(hints_put(db, key, STR("x")), 0);
  }
  int n = 0;
  for (const char *k = hints_first_key(db, a); k; k = hints_next_key(db, a, k)) {
    int i = -1;
    assert_true(strncmp(k, "host", 4) == 0 && str_parse_int(str_c(k + 4), &i));
    assert_true(i >= 0 && i < 200 && !seen[i]);
    assert_true(is_tainted(k));
    seen[i] = true;
    n++;
  }
  assert_int_equal(n, 200);
  hints_close(db);
}

static void names(void **state) {
  (void)state;
  static const char *const bad[] = {"", ".", "..", "../x", "a/b", "/etc/passwd", ".hidden", "a b", "a\nb", "a%b", "\xc3\xa9"};
  start_empty();
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    CHECK_INT(bad[i], hints_open(scratch_dir, bad[i], true) != NULL, false);
    CHECK_INT(bad[i], hints_open(scratch_dir, bad[i], false) != NULL, false);
  }
  assert_int_equal(access(scratch_path("db"), F_OK), -1);
  static const char *const good[] = {"wait-remote_smtp", "a.b", "X0"};
  for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
    struct hints_db *db = hints_open(scratch_dir, good[i], true);
    CHECK_INT(good[i], db != NULL, true);
    hints_close(db);
  }
  static char longer[2000];
  memset(longer, 'a', sizeof longer - 1);
  assert_null(hints_open(scratch_dir, longer, true));
}

/* A symbolic link in the place of the lock file is not followed. */
static void links(void **state) {
  (void)state;
  start_empty();
  assert_int_equal(mkdir(scratch_path("db"), 0750), 0);
  assert_int_equal(symlink("../victim", scratch_path("db/retry.lockfile")), 0);
  assert_null(hints_open(scratch_dir, "retry", true));
  assert_int_equal(access(scratch_path("victim"), F_OK), -1);
}

/* What is no file is no database, and nobody waits for what stands at its other end (the alarm ends a test that would). */
static void no_files(void **state) {
  (void)state;
  start_empty();
  assert_int_equal(mkdir(scratch_path("db"), 0750), 0);
  assert_int_equal(mkfifo(scratch_path("db/retry"), 0600), 0);
  assert_int_equal(mkdir(scratch_path("db/wait-there"), 0700), 0);
  assert_int_equal(mkfifo(scratch_path("db/misc.lockfile"), 0600), 0);
  alarm(60);
  assert_null(hints_open(scratch_dir, "retry", false));
  assert_null(hints_open(scratch_dir, "retry", true));
  assert_null(hints_inspect(scratch_dir, "retry"));
  assert_null(hints_open(scratch_dir, "wait-there", true));
  assert_null(hints_open(scratch_dir, "misc", false));
  hints_close(hints_open(scratch_dir, "misc", true));
  alarm(0);
  struct stat st;
  assert_true(stat(scratch_path("db/retry"), &st) == 0 && S_ISFIFO(st.st_mode)); /* it is not ours to remove */
}

static void fill(void) {
  struct hints_db *db = hints_open(scratch_dir, "retry", true);
  char key[32];
  assert_non_null(db);
  for (int i = 0; i < 40; i++) {
    snprintf(key, sizeof key, "T:host%d", i);
    assert_int_equal(hints_put(db, key, STR("a record that is not very short")), 0);
  }
  hints_close(db);
}

/* Whatever is left of the file: it opens for writing, takes a record and gives it back; reading never ends the process. */
static void check_usable(const char *what) {
  struct str got;
  struct hints_db *db = hints_open(scratch_dir, "retry", false);
  for (const char *k = db ? hints_first_key(db, a) : NULL; k; k = hints_next_key(db, a, k))
    if (hints_get(db, a, k, &got)) assert_true(got.n < 1000);
  hints_close(db);
  for (int attempt = 0; attempt < 2; attempt++) {
    db = hints_open(scratch_dir, "retry", true);
    CHECK_INT(what, db != NULL, true);
    bool done = hints_put(db, "fresh", STR("record")) == 0 && hints_get(db, a, "fresh", &got) && str_eq_c(got, "record");
    hints_close(db);
    if (done) return;
  }
  fail_msg("%s: a record written is not read back", what);
}

static void truncated_files(void **state) {
  (void)state;
  struct stat st;
  start_empty();
  fill();
  assert_int_equal(stat(scratch_path("db/retry"), &st), 0);
  const long long sizes[] = {0, 1, 8, 20, 64, 200, 4000, 4096, 5000, (long long)st.st_size / 2, (long long)st.st_size - 1};
  for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
    char what[40];
    if (sizes[i] >= st.st_size) continue;
    start_empty();
    fill();
    assert_int_equal(truncate(scratch_path("db/retry"), sizes[i]), 0);
    snprintf(what, sizeof what, "cut to %lld", sizes[i]);
    check_usable(what);
  }
}

static void foreign_files(void **state) {
  (void)state;
  static char text[9000];
  memset(text, 'j', sizeof text);
  start_empty();
  assert_int_equal(mkdir(scratch_path("db"), 0750), 0);
  int fd = open(scratch_path("db/retry"), O_WRONLY | O_CREAT, 0640);
  assert_int_equal(write(fd, text, sizeof text), (ssize_t)sizeof text);
  close(fd);
  check_usable("foreign");
  struct stat st;
  assert_int_equal(stat(scratch_path("db/retry.corrupt"), &st), 0);
  assert_int_equal(st.st_size, sizeof text);
  const char *log = scratch_read("mainlog"), *first = strstr(log, "hints database");
  assert_non_null(first);
  assert_null(strstr(first + 1, "hints database")); /* once */
}

/* Bytes changed in the header, the directory and the buckets. */
static void damaged_files(void **state) {
  (void)state;
  static const long places[] = {0, 4, 8, 12, 16, 20, 24, 28, 32, 40, 64, 100, 512, 4096, 4100, 4104, 4200, 5000, 8192, 8200};
  for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
    char what[40];
    start_empty();
    fill();
    int fd = open(scratch_path("db/retry"), O_RDWR);
    assert_int_equal(pwrite(fd, "\xff\x7f\xff\xff", 4, places[i]), 4);
    close(fd);
    snprintf(what, sizeof what, "changed at %ld", places[i]);
    check_usable(what);
  }
}

static void a_reader_shares_and_a_writer_waits(void **state) {
  (void)state;
  start_empty();
  fill();
  struct hints_db *db = hints_open(scratch_dir, "retry", false);
  assert_non_null(db);
  int done[2];
  assert_int_equal(pipe(done), 0);
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    struct hints_db *second = hints_open(scratch_dir, "retry", false); /* at once */
    if (!second || write(done[1], "r", 1) != 1) _exit(1);
    hints_close(second);
    second = hints_open(scratch_dir, "retry", true); /* after the other has closed */
    if (!second || write(done[1], "w", 1) != 1) _exit(2);
    hints_close(second);
    _exit(0);
  }
  close(done[1]);
  char c = 0;
  assert_int_equal(read(done[0], &c, 1), 1);
  assert_int_equal(c, 'r');
  assert_int_equal(fcntl(done[0], F_SETFL, O_NONBLOCK), 0);
  usleep(60 * 1000);
  assert_int_equal(read(done[0], &c, 1), -1); /* the writer waits */
  hints_close(db);
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
  close(done[0]);
}

static char log_pattern[300];
static int setup(void **state) {
  if (scratch_setup(state) < 0) return -1;
  a = arena_new("test");
  snprintf(log_pattern, sizeof log_pattern, "%s/%%slog", scratch_dir);
  log_init(&(struct log_settings){.file_path = log_pattern, .exim_uid = geteuid(), .exim_gid = getegid(), .to_stderr = false});
  return 0;
}
static int teardown(void **state) {
  log_close();
  arena_free(a);
  return scratch_teardown(state);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(records),         cmocka_unit_test(changes_only_of_what_was_seen), cmocka_unit_test(scanning),
    cmocka_unit_test(names),           cmocka_unit_test(links),                         cmocka_unit_test(no_files),
    cmocka_unit_test(truncated_files),
    cmocka_unit_test(foreign_files),   cmocka_unit_test(damaged_files),                 cmocka_unit_test(a_reader_shares_and_a_writer_waits)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
