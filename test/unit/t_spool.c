/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The spool: a message's life in files from creation to removal, locks between processes, what is done with files that are damaged
 * or left over, and ids.  Floor: tests. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utime.h>

#include "base/timeutil.h"
#include "os/log.h"
#include "os/sys.h"
#include "policy/config.h"
#include "scratch.h"
#include "spool.h"

static struct config cfg;

static void start_empty(void) {
  log_close();
  scratch_empty();
  cfg.o.split_spool_directory = false;
}

/* before: "input/" ... */
static bool has(const char *before, const char *id, const char *suffix) {
  char name[100];
  snprintf(name, sizeof name, "%s%s%s", before, id, suffix);
  struct stat st;
  return lstat(scratch_path(name), &st) == 0;
}

/* "HDJ" for the files there are. */
static const char *files_of(const char *id) {
  static char got[8];
  size_t n = 0;
  if (has("input/", id, "-H")) got[n++] = 'H';
  if (has("input/", id, "-D")) got[n++] = 'D';
  if (has("input/", id, "-J")) got[n++] = 'J';
  got[n] = '\0';
  return got;
}

static struct message *receive_one(const char *body) {
  struct message *m = message_new(&cfg);
  m->sender = "sender@test.ex";
  m->login = "root";
  m->received_time = m->received_time_complete = time_now();
  struct origin *from = ARENA_NEW(m->arena, struct origin);
  from->protocol = "local";
  m->from = from;
  message_add_recipient(m, "a@test.ex");
  message_add_recipient(m, "b@test.ex");
  message_add_header(m, ' ', "Subject: x\n", 11);
  assert_int_equal(spool_create(m), 0);
  assert_int_equal(spool_append(m, body, strlen(body)), 0);
  return m;
}

/* A committed message nobody works on. */
static void queue_one(char id[MSGID_SIZE], const char *body) {
  struct message *m = receive_one(body);
  assert_int_equal(spool_commit(m), 0);
  memcpy(id, m->id, MSGID_SIZE);
  message_free(m);
}

static void reception(void **state) {
  (void)state;
  start_empty();
  struct message *m = receive_one("Hello\n"), *again;
  char id[MSGID_SIZE], first_line[40];
  memcpy(id, m->id, sizeof id);
  assert_true(msgid_is_valid(str_c(id)));
  CHECK_STR("before the commit", files_of(id), "D");
  assert_false(spool_exists(&cfg, id));
  assert_int_equal(spool_commit(m), 0);
  CHECK_STR("after it", files_of(id), "HD");
  assert_false(has("input/hdr.", id, ""));
  assert_true(spool_exists(&cfg, id));
  message_free(m);

  struct stat st;
  assert_int_equal(stat(spool_path(cfg.arena, &cfg, id, 'H'), &st), 0);
  assert_int_equal(st.st_mode & 07777, 0640);
  assert_int_equal(spool_open(&cfg, id, true, &again), SPOOL_OPENED);
  CHECK_STR("sender", again->sender, "sender@test.ex");
  assert_int_equal(again->recipient_count, 2);
  CHECK_STR("recipient", again->recipients[1].address, "b@test.ex");
  assert_non_null(message_find_header(again, "subject", NULL));
  assert_int_equal(again->body_size, 6);
  snprintf(first_line, sizeof first_line, "%s-D\n", id);
  assert_int_equal(again->data_start, strlen(first_line));
  char body[64] = "";
  assert_int_equal(pread(again->data_fd, body, sizeof body - 1, 0), (ssize_t)strlen(first_line) + 6);
  assert_true(strncmp(body, first_line, strlen(first_line)) == 0 && strcmp(body + strlen(first_line), "Hello\n") == 0);
  message_free(again);
}

static void a_reception_given_up_leaves_nothing(void **state) {
  (void)state;
  start_empty();
  struct message *m = receive_one("x\n");
  char id[MSGID_SIZE];
  memcpy(id, m->id, sizeof id);
  spool_abandon(m);
  CHECK_STR("abandoned", files_of(id), "");
  assert_int_equal(m->data_fd, -1);
  message_free(m);
}

/* Each kind of system call of a commit fails; the message then does not exist and its files are gone. */
static void a_commit_that_fails_leaves_nothing(void **state) {
  (void)state;
  static const char *const calls[] = {"fsync", "fdatasync", "fsyncdir", "rename", "open", "write", "close"};
  for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
    start_empty();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
      char plan[64];
      struct message *m = receive_one("x\n");
      snprintf(plan, sizeof plan, "%s:%lu:EIO", calls[i], sys_call_count(calls[i]) + 1);
      setenv("EXIM_FAULT", plan, 1);
      sys_faults_enable();
      int r = spool_commit(m);
      if (r != -EIO) dprintf(2, "%s: got %d\n", calls[i], r);
      _exit(r != -EIO ? 1 : files_of(m->id)[0] || has("input/hdr.", m->id, "") ? 2 : 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    CHECK_INT(calls[i], status, 0);
    size_t count = 9;
    assert_null(spool_list(cfg.arena, &cfg, true, &count));
    assert_int_equal(count, 0);
  }
}

/* A new directory is a name in the one above, which a power cut must not take back. */
static void new_directories_are_synced(void **state) {
  (void)state;
  static const struct {
    const char *queue;
    bool is_split;
    unsigned long syncs; /* of the directories above; then one for the message */
  } rows[] = {{NULL, false, 1}, {NULL, true, 2}, {"other", false, 2}, {"other", true, 3}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    start_empty();
    cfg.queue_name = rows[i].queue;
    cfg.o.split_spool_directory = rows[i].is_split;
    unsigned long before = sys_call_count("fsyncdir");
    struct message *m = receive_one("x\n");
    CHECK_INT("of a new directory", (long)(sys_call_count("fsyncdir") - before), (long)rows[i].syncs);
    assert_int_equal(spool_commit(m), 0);
    CHECK_INT("and of its message", (long)(sys_call_count("fsyncdir") - before), (long)rows[i].syncs + 1);
    message_free(m);
    if (rows[i].is_split) continue;
    before = sys_call_count("fsyncdir");
    m = receive_one("x\n");
    assert_int_equal(spool_commit(m), 0);
    CHECK_INT("of the next one", (long)(sys_call_count("fsyncdir") - before), 1);
    message_free(m);
  }
  cfg.queue_name = NULL;
  cfg.o.split_spool_directory = false;
}

/* What is acknowledged can be read again: more recipients than anybody would count, and header lines up to what a -H may hold. */
static void what_could_not_be_read_is_not_written(void **state) {
  (void)state;
  enum { MANY = 200002, LINE = 1024 * 1024, MIB = 64 };
  start_empty();
  struct message *m = receive_one("x\n"), *again;
  for (int i = 2; i < MANY; i++) message_add_recipient(m, "c@test.ex");
  char id[MSGID_SIZE];
  memcpy(id, m->id, sizeof id);
  assert_int_equal(spool_commit(m), 0);
  message_free(m);
  assert_int_equal(spool_open(&cfg, id, true, &again), SPOOL_OPENED);
  assert_int_equal(again->recipient_count, MANY);
  char *line = arena_alloc(cfg.arena, LINE);
  memset(line, 'x', LINE - 1);
  line[1] = ':';
  line[LINE - 1] = '\n';
  for (int i = 0; i < MIB; i++) message_add_header(again, ' ', line, LINE);
  assert_int_equal(spool_rewrite(again, true), -EMSGSIZE);
  CHECK_STR("the old one stays", files_of(id), "HD");
  message_free(again);
  assert_int_equal(spool_open(&cfg, id, true, &again), SPOOL_OPENED);
  message_free(again);

  m = receive_one("x\n");
  memcpy(id, m->id, sizeof id);
  for (int i = 0; i < MIB; i++) message_add_header(m, ' ', line, LINE);
  assert_int_equal(spool_commit(m), -EMSGSIZE);
  CHECK_STR("nothing stays", files_of(id), "");
  message_free(m);
}

static void delivery(void **state) {
  (void)state;
  start_empty();
  char id[MSGID_SIZE], path[64];
  struct message *m;
  queue_one(id, "Hello\n");
  assert_int_equal(spool_open(&cfg, id, true, &m), SPOOL_OPENED);
  int log = spool_msglog(m);
  assert_true(log >= 0);
  close(log);
  assert_true(has("msglog/", id, ""));
  assert_int_equal(spool_journal(m, NULL, 0), 0);
  CHECK_STR("an empty journal is none", files_of(id), "HD");
  assert_int_equal(spool_journal(m, (const char *const[]){"a@test.ex"}, 1), 0);
  assert_int_equal(spool_journal(m, (const char *const[]){"c@test.ex", "d@test.ex"}, 2), 0);
  CHECK_STR("journal", files_of(id), "HDJ");
  snprintf(path, sizeof path, "input/%s-J", id);
  CHECK_STR("journal", scratch_read(path), "a@test.ex\nc@test.ex\nd@test.ex\n");
  message_free(m); /* the delivery died here */

  assert_int_equal(spool_open(&cfg, id, true, &m), SPOOL_OPENED);
  assert_non_null(tree_find(&m->nonrecipients, "a@test.ex"));
  assert_non_null(tree_find(&m->nonrecipients, "d@test.ex"));
  assert_null(tree_find(&m->nonrecipients, "b@test.ex"));
  assert_int_equal(spool_rewrite(m, true), 0);
  CHECK_STR("rewritten", files_of(id), "HD");
  message_free(m);

  assert_int_equal(spool_peek(&cfg, id, &m), SPOOL_OPENED);
  assert_non_null(tree_find(&m->nonrecipients, "c@test.ex"));
  message_free(m);

  assert_int_equal(spool_open(&cfg, id, true, &m), SPOOL_OPENED);
  assert_int_equal(spool_journal(m, (const char *const[]){"b@test.ex"}, 1), 0);
  assert_int_equal(spool_remove(m), 0);
  message_free(m);
  CHECK_STR("finished", files_of(id), "");
  assert_false(has("msglog/", id, ""));
  assert_int_equal(spool_open(&cfg, id, true, &m), SPOOL_GONE);
}

/* The piece of a line that a killed writer left is neither an address nor the front of the next one. */
static void a_torn_journal_line_is_cut_off(void **state) {
  (void)state;
  static const struct {
    const char *what, *before, *after;
  } rows[] = {{"a piece behind lines", "a@test.ex\nb@test.e", "a@test.ex\nn@test.ex\n"},
              {"a piece alone", "b@test.e", "n@test.ex\n"},
              {"whole lines", "a@test.ex\n", "a@test.ex\nn@test.ex\n"},
              {"nothing", "", "n@test.ex\n"}};
  for (size_t i = 0; i <= ARRAY_SIZE(rows); i++) {
    start_empty();
    char id[MSGID_SIZE], path[64], torn[3000];
    struct message *m;
    const char *before = i < ARRAY_SIZE(rows) ? rows[i].before : torn, *after = i < ARRAY_SIZE(rows) ? rows[i].after : "a@test.ex\nn@test.ex\n";
    memset(torn, 'x', sizeof torn - 1); /* longer than what is looked at in one piece */
    torn[sizeof torn - 1] = '\0';
    memcpy(torn, "a@test.ex\n", 10);
    queue_one(id, "Hello\n");
    snprintf(path, sizeof path, "input/%s-J", id);
    int fd = open(scratch_path(path), O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, before, strlen(before)), (ssize_t)strlen(before));
    close(fd);
    assert_int_equal(spool_open(&cfg, id, true, &m), SPOOL_OPENED);
    assert_null(tree_find(&m->nonrecipients, "b@test.e"));
    assert_int_equal(spool_journal(m, (const char *const[]){"n@test.ex"}, 1), 0);
    CHECK_STR(i < ARRAY_SIZE(rows) ? rows[i].what : "a long piece", scratch_read(path), after);
    message_free(m);
  }
}

static void one_at_a_time(void **state) {
  (void)state;
  start_empty();
  char id[MSGID_SIZE], byte;
  struct message *m;
  queue_one(id, "x\n");
  int ready[2], release[2];
  assert_int_equal(pipe(ready), 0);
  assert_int_equal(pipe(release), 0);
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    close(release[1]);
    if (spool_open(&cfg, id, true, &m) != SPOOL_OPENED || write(ready[1], "x", 1) != 1) _exit(1);
    _exit(read(release[0], &byte, 1) == 0 ? 0 : 2);
  }
  close(ready[1]);
  close(release[0]);
  assert_int_equal(read(ready[0], &byte, 1), 1);
  assert_int_equal(spool_open(&cfg, id, true, &m), SPOOL_LOCKED);
  assert_int_equal(spool_open(&cfg, id, false, &m), SPOOL_OPENED); /* looking is free */
  message_free(m);
  close(release[1]);
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
  assert_int_equal(spool_open(&cfg, id, true, &m), SPOOL_OPENED);
  message_free(m);
  close(ready[0]);
}

/* The report about a message may be delivered by the process that works on the message. */
static void one_at_a_time_in_one_process(void **state) {
  (void)state;
  start_empty();
  char id[MSGID_SIZE];
  struct message *m, *again;
  queue_one(id, "x\n");
  for (int i = 0; i < 40; i++) { /* more than it remembers */
    assert_int_equal(spool_open(&cfg, id, true, &m), SPOOL_OPENED);
    assert_int_equal(spool_open(&cfg, id, true, &again), SPOOL_LOCKED);
    if (i < 39) message_free(m);
  }
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) _exit(spool_open(&cfg, id, true, &again) == SPOOL_LOCKED ? 0 : 1);
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0); /* it has not been given up */
  message_free(m);
  assert_int_equal(spool_open(&cfg, id, true, &m), SPOOL_OPENED);
  message_free(m);
}

static void damaged_messages_are_moved_aside_once(void **state) {
  (void)state;
  struct message *m;
  char id[MSGID_SIZE], path[64];
  for (int cut = 0; cut < 12; cut++) {
    struct stat st;
    start_empty();
    queue_one(id, "x\n");
    snprintf(path, sizeof path, "input/%s-H", id);
    assert_int_equal(stat(scratch_path(path), &st), 0);
    assert_int_equal(truncate(scratch_path(path), cut * (st.st_size - 1) / 11), 0);
    CHECK_INT("looking", spool_open(&cfg, id, false, &m), SPOOL_BAD);
    CHECK_STR("looking moves nothing", files_of(id), "HD");
    CHECK_INT("opening", spool_open(&cfg, id, true, &m), SPOOL_BAD);
    CHECK_STR("moved", files_of(id), "");
    assert_true(has("input.corrupt/", id, "-H") && has("input.corrupt/", id, "-D"));
    CHECK_INT("again", spool_open(&cfg, id, true, &m), SPOOL_GONE);
    const char *first = strstr(scratch_read("mainlog"), "Format error in spool file ");
    assert_non_null(first);
    assert_null(strstr(first + 1, "Format error"));
  }
}

/* What lies in input.corrupt goes only when keep_malformed is set, and when it was there that long. */
static void set_aside_for_a_while(void **state) {
  (void)state;
  struct message *m;
  char id[MSGID_SIZE], path[64];
  start_empty();
  struct arena *a = arena_new("options");
  struct main_options saved = cfg.o;
  cfg.main_block = opt_block_new(a, main_option_table, main_option_count, &cfg.o);
  cfg.o = saved;
  queue_one(id, "x\n");
  snprintf(path, sizeof path, "input/%s-H", id);
  assert_int_equal(truncate(scratch_path(path), 3), 0);
  assert_int_equal(spool_open(&cfg, id, true, &m), SPOOL_BAD);
  CHECK_INT("not set", spool_clean_set_aside(&cfg), 0);
  const struct option *keep = opt_find(main_option_table, main_option_count, STR("keep_malformed"));
  assert_null(opt_store(a, cfg.main_block, keep, STR("1h"), false, false, true));
  CHECK_INT("not yet", spool_clean_set_aside(&cfg), 0);
  assert_true(has("input.corrupt/", id, "-H") && has("input.corrupt/", id, "-D"));
  assert_null(opt_store(a, cfg.main_block, keep, STR("0s"), false, false, true));
  CHECK_INT("removed", spool_clean_set_aside(&cfg), 2);
  assert_false(has("input.corrupt/", id, "-H") || has("input.corrupt/", id, "-D"));
  assert_non_null(strstr(scratch_read("mainlog"), "-D removed from input.corrupt: it was there for more than 0s"));
  cfg.main_block = NULL;
  arena_free(a);
}

static void wrong_data_files(void **state) {
  (void)state;
  struct message *m;
  char id[MSGID_SIZE], path[64];
  start_empty();
  queue_one(id, "x\n");
  snprintf(path, sizeof path, "input/%s-D", id);
  assert_int_equal(unlink(scratch_path(path)), 0);
  assert_int_equal(spool_open(&cfg, id, true, &m), SPOOL_BAD);
  assert_true(has("input.corrupt/", id, "-H"));

  start_empty();
  queue_one(id, "x\n");
  int fd = open(scratch_path(path), O_WRONLY | O_CREAT, 0640); /* of the message before */
  close(fd);
  snprintf(path, sizeof path, "input/%s-D", id);
  fd = open(scratch_path(path), O_WRONLY);
  assert_int_equal(pwrite(fd, "?", 1, 0), 1);
  close(fd);
  assert_int_equal(spool_open(&cfg, id, true, &m), SPOOL_BAD);

  /* a link is not followed */
  start_empty();
  queue_one(id, "x\n");
  snprintf(path, sizeof path, "input/%s-H", id);
  assert_int_equal(rename(scratch_path(path), scratch_path("elsewhere")), 0);
  assert_int_equal(symlink("../elsewhere", scratch_path(path)), 0);
  assert_int_equal(spool_open(&cfg, id, true, &m), SPOOL_BAD);
  assert_int_equal(spool_open(&cfg, "../elsewhere", true, &m), SPOOL_GONE);
  assert_int_equal(spool_open(&cfg, "", true, &m), SPOOL_GONE);
}

static void listing(void **state) {
  (void)state;
  start_empty();
  char ids[6][MSGID_SIZE];
  for (int i = 0; i < 6; i++) {
    cfg.o.split_spool_directory = i % 2; /* both layouts are one queue */
    queue_one(ids[i], "x\n");
  }
  cfg.o.split_spool_directory = false;
  size_t count;
  struct spool_item *list = spool_list(cfg.arena, &cfg, true, &count);
  assert_int_equal(count, 6);
  for (int i = 0; i < 6; i++, list = list->next) {
    CHECK_STR("order", list->id, ids[i]);
    CHECK_INT("letter", list->subdir, i % 2 ? ids[i][5] : 0);
    struct message *m;
    assert_int_equal(spool_open(&cfg, ids[i], true, &m), SPOOL_OPENED);
    assert_int_equal(spool_remove(m), 0);
    message_free(m);
  }
  assert_null(list);
  assert_null(spool_list(cfg.arena, &cfg, false, &count));
  assert_int_equal(count, 0);
}

static void make_old(const char *path) {
  struct utimbuf old = {time_sec() - 5000, time_sec() - 5000};
  assert_int_equal(utime(scratch_path(path), &old), 0);
}

static void leftovers_are_removed(void **state) {
  (void)state;
  static const char *const names[] = {"input/1xVZqc-0005N0abcde-2R00-D", "input/hdr.1xVZqc-0005N0abcde-2R00",
                                      "input/1xVZqd-0005N0abcde-2R00-J", "input/core", "input/1xVZqe-D", "input/README-D"};
  start_empty();
  char id[MSGID_SIZE], path[64];
  queue_one(id, "x\n");
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
    close(open(scratch_path(names[i]), O_WRONLY | O_CREAT, 0640));
    make_old(names[i]);
  }
  struct message *young = receive_one("young\n"), *locked = receive_one("still coming\n");
  snprintf(path, sizeof path, "input/%s-D", id);
  make_old(path);
  snprintf(path, sizeof path, "input/%s-D", locked->id);
  make_old(path);
  snprintf(path, sizeof path, "input/%s-J", locked->id); /* as while it is moved here from another queue */
  close(open(scratch_path(path), O_WRONLY | O_CREAT, 0640));
  make_old(path);
  /* Locks of this process do not show to itself: another one cleans. */
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) _exit(spool_clean_orphans(&cfg, 3600));
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  CHECK_INT("removed", WEXITSTATUS(status), 3);
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) CHECK_INT(names[i], access(scratch_path(names[i]), F_OK) == 0, i >= 3);
  CHECK_STR("a message", files_of(id), "HD");
  CHECK_STR("young", files_of(young->id), "D");
  CHECK_STR("locked", files_of(locked->id), "DJ");
  spool_abandon(young);
  spool_abandon(locked);
  message_free(young);
  message_free(locked);
}

static void ids_ascend(void **state) {
  (void)state;
  enum { ROUNDS = 100000 };
  static const int host_numbers[] = {-1, 0, 5, 10};
  for (size_t k = 0; k < ARRAY_SIZE(host_numbers); k++) {
    char before[MSGID_SIZE] = "", id[MSGID_SIZE];
    cfg.host_number = host_numbers[k];
    for (int i = 0; i < ROUNDS / 4; i++) {
      spool_new_id(&cfg, id);
      if (strcmp(before, id) >= 0) fail_msg("host number %d: %s after %s", cfg.host_number, id, before);
      memcpy(before, id, sizeof id);
    }
    assert_true(msgid_is_valid(str_c(id)));
  }
  cfg.host_number = -1;
  char before[MSGID_SIZE] = "", id[MSGID_SIZE];
  for (int i = 0; i < ROUNDS; i++) {
    spool_new_id(&cfg, id);
    if (strcmp(before, id) >= 0) fail_msg("%s after %s", id, before);
    memcpy(before, id, sizeof id);
  }
}

static char log_pattern[300];
static int setup(void **state) {
  if (scratch_setup(state) < 0) return -1;
  cfg.arena = arena_new("test");
  cfg.spool_directory = scratch_dir;
  cfg.exim_uid = geteuid();
  cfg.exim_gid = getegid();
  cfg.host_number = -1;
  cfg.primary_hostname = "test.ex";
  cfg.o.message_logs = true;
  snprintf(log_pattern, sizeof log_pattern, "%s/%%slog", scratch_dir);
  log_init(&(struct log_settings){.file_path = log_pattern, .exim_uid = geteuid(), .exim_gid = getegid()});
  return 0;
}
static int teardown(void **state) {
  log_close();
  arena_free(cfg.arena);
  return scratch_teardown(state);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(reception), cmocka_unit_test(a_reception_given_up_leaves_nothing),
    cmocka_unit_test(a_commit_that_fails_leaves_nothing), cmocka_unit_test(new_directories_are_synced), cmocka_unit_test(what_could_not_be_read_is_not_written), cmocka_unit_test(delivery), cmocka_unit_test(a_torn_journal_line_is_cut_off),
    cmocka_unit_test(one_at_a_time), cmocka_unit_test(one_at_a_time_in_one_process),
    cmocka_unit_test(damaged_messages_are_moved_aside_once), cmocka_unit_test(set_aside_for_a_while),
    cmocka_unit_test(wrong_data_files), cmocka_unit_test(listing),
    cmocka_unit_test(leftovers_are_removed), cmocka_unit_test(ids_ascend)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
