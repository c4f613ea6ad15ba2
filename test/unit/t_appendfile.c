/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The appendfile transport on real files.  Expected behaviour: manual ch. 26 "Operational details". */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "transport.h"
#include "transports/appendfile_priv.h"
#include "transports/drivers.h"
#include "unit.h"

struct fixture {
  struct arena *a;
  struct config cfg;
  struct transport t;
  struct message *m;
  struct delivery d;
  struct expand_ctx x;
  char dir[64];
};

static void start(struct fixture *f, const char *body) {
  memset(f, 0, sizeof *f);
  f->a = arena_new("append");
  snprintf(f->dir, sizeof f->dir, "/tmp/t_append_XXXXXX");
  assert_non_null(mkdtemp(f->dir));
  f->cfg.arena = f->a;
  f->cfg.primary_hostname = "me.test";
  f->t.name = "t1";
  f->t.driver = &appendfile_transport;
  f->t.ob = arena_alloc(f->a, appendfile_transport.ob_size);
  f->t.ob_block = opt_block_new(f->a, appendfile_transport.options, appendfile_transport.option_count, f->t.ob);
  f->m = message_new(&f->cfg);
  f->m->sender = "s@me.test";
  message_add_header(f->m, ' ', "A: b\n", 5);
  FILE *file = tmpfile();
  assert_non_null(file);
  fputs(body, file);
  fflush(file);
  f->m->data_fd = dup(fileno(file));
  fclose(file);
  f->x = expand_ctx_new(f->a, &f->cfg);
  f->x.msg = f->m;
  f->x.return_path = "s@me.test";
  f->d = (struct delivery){.cfg = &f->cfg, .arena = f->a, .msg = f->m, .transport = &f->t, .x = &f->x, .return_path = "s@me.test"};
  f->d.addrs = address_new(f->a, "u@x.test");
  f->x.addr = f->d.addrs;
}

static void stop(struct fixture *f) {
  message_free(f->m);
  char *cmd[] = {(char *)(uintptr_t) "rm", (char *)(uintptr_t) "-rf", f->dir, NULL};
  pid_t pid = fork();
  if (pid == 0) {
    execvp("rm", cmd);
    _exit(1);
  }
  waitpid(pid, NULL, 0);
  arena_free(f->a);
}

static void option(struct fixture *f, const char *name, const char *value) {
  const struct option *o = opt_find(appendfile_transport.options, appendfile_transport.option_count, str_c(name));
  assert_non_null(o);
  const char *error = opt_store(f->a, f->t.ob_block, o, str_c(value), false, false, true);
  if (error) fail_msg("%s: %s", name, error);
}

static const char *path_in(struct fixture *f, const char *name) { return arena_printf(f->a, "%s/%s", f->dir, name); }

static void put_file(struct fixture *f, const char *name, const char *text, mode_t mode) {
  int fd = open(path_in(f, name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
  fchmod(fd, mode);
  close(fd);
}

static const char *get_file(struct fixture *f, const char *name) {
  static char buf[4096];
  int fd = open(path_in(f, name), O_RDONLY);
  if (fd < 0) return "(none)";
  ssize_t n = read(fd, buf, sizeof buf - 1);
  close(fd);
  buf[n > 0 ? n : 0] = 0;
  return buf;
}

static void deliver(struct fixture *f, enum outcome want, const char *message) {
  appendfile_transport.deliver(&f->d);
  struct address *a = f->d.addrs;
  if (a->result != want) fail_msg("result %d, wanted %d: %s", a->result, want, a->message ? a->message : "-");
  if (message && (!a->message || !strstr(a->message, message))) fail_msg("message \"%s\" lacks \"%s\"", a->message ? a->message : "-", message);
}

static int count_files(struct fixture *f, const char *name, char *ret_last, size_t size) {
  DIR *d = opendir(path_in(f, name));
  int n = 0;
  struct dirent *e;
  if (!d) return -1;
  while ((e = readdir(d)))
    if (e->d_name[0] != '.') {
      n++;
      snprintf(ret_last, size, "%s/%s", name, e->d_name);
    }
  closedir(d);
  return n;
}

static void test_new_and_append(void **state) {
  (void)state;
  struct fixture f;
  struct stat st;
  start(&f, "From x\ny\n");
  option(&f, "file", path_in(&f, "sub/deep/box"));
  option(&f, "message_prefix", "From me\\n");
  deliver(&f, OUTCOME_OK, NULL);
  assert_string_equal(get_file(&f, "sub/deep/box"), "From me\nA: b\n\n>From x\ny\n\n");
  assert_int_equal(stat(path_in(&f, "sub/deep/box"), &st), 0);
  assert_int_equal(st.st_mode & 07777, 0600);
  assert_int_equal(stat(path_in(&f, "sub/deep"), &st), 0);
  assert_int_equal(st.st_mode & 07777, 0700);
  deliver(&f, OUTCOME_OK, NULL);
  assert_string_equal(get_file(&f, "sub/deep/box"), "From me\nA: b\n\n>From x\ny\n\nFrom me\nA: b\n\n>From x\ny\n\n");
  char last[300];
  assert_int_equal(count_files(&f, "sub/deep", last, sizeof last), 1); /* no lock file left */
  stop(&f);
}

/* Another program makes the mailbox, fails, and removes it while we wait for its lock: nothing goes into the file without a name. */
static void test_removed_under_lock(void **state) {
  (void)state;
  struct fixture f;
  int ready[2];
  char c;
  start(&f, "y\n");
  option(&f, "file", path_in(&f, "box"));
  option(&f, "use_lockfile", "false");
  option(&f, "lock_fcntl_timeout", "10s");
  option(&f, "message_prefix", "From me\n");
  put_file(&f, "box", "", 0600);
  assert_int_equal(pipe(ready), 0);
  pid_t pid = fork();
  if (pid == 0) {
    int fd = open(path_in(&f, "box"), O_RDWR);
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fd < 0 || fcntl(fd, F_SETLK, &fl) < 0 || write(ready[1], "x", 1) != 1) _exit(1);
    usleep(300 * 1000);
    unlink(path_in(&f, "box"));
    _exit(0);
  }
  assert_int_equal(read(ready[0], &c, 1), 1);
  deliver(&f, OUTCOME_OK, NULL);
  assert_string_equal(get_file(&f, "box"), "From me\nA: b\n\ny\n\n");
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
  close(ready[0]);
  close(ready[1]);
  stop(&f);
}

static void test_checks(void **state) {
  (void)state;
  struct fixture f;
  struct stat st;
  start(&f, "x\n");
  option(&f, "file", path_in(&f, "box"));
  option(&f, "message_prefix", "");
  option(&f, "mode", "0600");
  put_file(&f, "box", "old\n", 0666); /* more generous: reduced */
  deliver(&f, OUTCOME_OK, NULL);
  assert_int_equal(stat(path_in(&f, "box"), &st), 0);
  assert_int_equal(st.st_mode & 07777, 0600);
  assert_string_equal(get_file(&f, "box"), "old\nA: b\n\nx\n\n");
  put_file(&f, "box", "old\n", 0400); /* narrower */
  deliver(&f, OUTCOME_DEFER, "has the wrong mode 400 (600 expected)");
  assert_string_equal(get_file(&f, "box"), "old\n");
  unlink(path_in(&f, "box"));
  put_file(&f, "other", "keep\n", 0600);
  assert_int_equal(symlink("other", path_in(&f, "box")), 0);
  deliver(&f, OUTCOME_DEFER, "is not a regular file");
  assert_string_equal(get_file(&f, "other"), "keep\n");
  unlink(path_in(&f, "box"));
  assert_int_equal(link(path_in(&f, "other"), path_in(&f, "box")), 0);
  deliver(&f, OUTCOME_DEFER, "too many links");
  unlink(path_in(&f, "box"));
  assert_int_equal(mkdir(path_in(&f, "box"), 0700), 0);
  deliver(&f, OUTCOME_DEFER, "mailbox");
  rmdir(path_in(&f, "box"));
  option(&f, "file_must_exist", "true");
  deliver(&f, OUTCOME_DEFER, "does not exist, but file_must_exist is set");
  if (geteuid() == 0) {
    put_file(&f, "box", "", 0600);
    assert_int_equal(chown(path_in(&f, "box"), 12345, 0), 0);
    deliver(&f, OUTCOME_DEFER, "has wrong uid (12345 != 0)");
  }
  stop(&f);
}

static void test_locks(void **state) {
  (void)state;
  struct fixture f;
  start(&f, "x\n");
  option(&f, "file", path_in(&f, "box"));
  option(&f, "lock_retries", "0");
  put_file(&f, "box", "old\n", 0600);
  put_file(&f, "box.lock", "", 0600);
  deliver(&f, OUTCOME_DEFER, "failed to lock mailbox");
  assert_int_equal(f.d.addrs->basic_errno, ERRNO_LOCKFAILED);
  assert_string_equal(get_file(&f, "box.lock"), ""); /* somebody else's: stays */
  unlink(path_in(&f, "box.lock"));
  int ready[2], done[2];
  assert_int_equal(pipe(ready) | pipe(done), 0);
  pid_t pid = fork();
  if (pid == 0) { /* another program holds an fcntl lock */
    struct flock l = {.l_type = F_WRLCK};
    int fd = open(path_in(&f, "box"), O_RDWR);
    char c = fcntl(fd, F_SETLK, &l) == 0;
    if (write(ready[1], &c, 1) != 1 || read(done[0], &c, 1) < 0) _exit(1);
    _exit(0);
  }
  char c = 0;
  assert_int_equal(read(ready[0], &c, 1), 1);
  assert_int_equal(c, 1);
  deliver(&f, OUTCOME_DEFER, "(fcntl/flock)");
  assert_int_equal(write(done[1], &c, 1), 1);
  waitpid(pid, NULL, 0);
  assert_string_equal(get_file(&f, "box"), "old\n");
  deliver(&f, OUTCOME_OK, NULL);
  stop(&f);
}

static void test_create_file(void **state) {
  (void)state;
  struct fixture f;
  start(&f, "x\n");
  f.d.home = path_in(&f, "home");
  mkdir(path_in(&f, "home"), 0700);
  mkdir(path_in(&f, "out"), 0700);
  option(&f, "create_file", "belowhome");
  option(&f, "file", path_in(&f, "home/../out/box"));
  deliver(&f, OUTCOME_DEFER, "creation outside the home directory is not permitted");
  option(&f, "file", path_in(&f, "out/box"));
  deliver(&f, OUTCOME_DEFER, "creation outside the home directory is not permitted");
  assert_int_equal(f.d.addrs->basic_errno, ERRNO_BADCREATE);
  assert_int_equal(symlink("../out", path_in(&f, "home/link")), 0);
  option(&f, "file", path_in(&f, "home/link/box"));
  deliver(&f, OUTCOME_DEFER, "creation outside the home directory is not permitted");
  option(&f, "file", path_in(&f, "home/a/box"));
  deliver(&f, OUTCOME_OK, NULL);
  option(&f, "create_file", "inhome");
  option(&f, "file", path_in(&f, "home/b/box"));
  deliver(&f, OUTCOME_DEFER, "creating lock file hitching post"); /* the directory is not made */
  assert_int_equal(f.d.addrs->basic_errno, ENOENT);
  option(&f, "file", path_in(&f, "home/box"));
  deliver(&f, OUTCOME_OK, NULL);
  stop(&f);
}

static void test_taint(void **state) {
  (void)state;
  struct fixture f;
  start(&f, "x\n");
  f.d.addrs->is_file = true;
  f.d.addrs->address = arena_strdup_t(f.a, path_in(&f, "box"), TAINTED);
  deliver(&f, OUTCOME_DEFER, "ainted");
  assert_string_equal(get_file(&f, "box"), "(none)");
  option(&f, "create_file", f.dir); /* confined: allowed */
  deliver(&f, OUTCOME_OK, NULL);
  f.d.addrs->address = arena_strdup_t(f.a, path_in(&f, "../escape"), TAINTED);
  deliver(&f, OUTCOME_DEFER, "ainted");
  f.d.addrs->address = "save relative";
  deliver(&f, OUTCOME_DEFER, "file or directory name \"relative\" is not absolute");
  stop(&f);
}

static void test_maildir(void **state) {
  (void)state;
  struct fixture f;
  char name[300];
  start(&f, "From x\n");
  option(&f, "directory", path_in(&f, "md"));
  option(&f, "maildir_format", "true");
  deliver(&f, OUTCOME_OK, NULL);
  deliver(&f, OUTCOME_OK, NULL);
  assert_int_equal(count_files(&f, "md/new", name, sizeof name), 2);
  assert_string_equal(get_file(&f, name), "A: b\n\nFrom x\n");
  assert_non_null(strstr(name, ".M"));
  assert_true(str_ends(str_c(name), STR(".me.test")));
  assert_int_equal(count_files(&f, "md/tmp", name, sizeof name), 0);
  assert_int_equal(count_files(&f, "md/cur", name, sizeof name), 0);
  stop(&f);
}

static void test_maildir_that_is_none(void **state) {
  (void)state;
  struct fixture f;
  start(&f, "x\n");
  option(&f, "maildir_format", "true");
  put_file(&f, "box", "", 0600);
  option(&f, "directory", path_in(&f, "box"));
  deliver(&f, OUTCOME_DEFER, "box is not a directory");
  assert_int_equal(f.d.addrs->basic_errno, ERRNO_NOTDIRECTORY);
  option(&f, "create_directory", "false");
  option(&f, "directory", path_in(&f, "none"));
  deliver(&f, OUTCOME_DEFER, "stat() error for ");
  assert_int_equal(f.d.addrs->basic_errno, ENOENT);
  stop(&f);
}

static void test_plain_directory(void **state) {
  (void)state;
  struct fixture f;
  char name[300];
  start(&f, "x\n");
  option(&f, "directory", path_in(&f, "dir"));
  deliver(&f, OUTCOME_OK, NULL);
  assert_int_equal(count_files(&f, "dir", name, sizeof name), 1);
  assert_non_null(strstr(name, "dir/q"));
  option(&f, "directory_file", "fixed");
  deliver(&f, OUTCOME_OK, NULL);
  deliver(&f, OUTCOME_DEFER, "while renaming");
  assert_int_equal(f.d.addrs->basic_errno, EEXIST);
  assert_int_equal(count_files(&f, "dir", name, sizeof name), 2);
  stop(&f);
}

static void test_mbx(void **state) {
  (void)state;
  struct fixture f;
  start(&f, "From x\nlast\n");
  option(&f, "file", path_in(&f, "box"));
  option(&f, "mbx_format", "true");
  option(&f, "use_mbx_lock", "true");
  option(&f, "use_lockfile", "false");
  option(&f, "message_prefix", "");
  option(&f, "message_suffix", "");
  for (int i = 0; i < 2; i++) deliver(&f, OUTCOME_OK, NULL);
  int fd = open(path_in(&f, "box"), O_RDONLY);
  char head[2049] = "", rest[1024] = "";
  assert_int_equal(read(fd, head, 2048), 2048);
  assert_true(read(fd, rest, sizeof rest - 1) > 0);
  close(fd);
  assert_memory_equal(head, "*mbx*\r\n", 7);
  assert_memory_equal(head + 15, "00000000\r\n\r\n", 12);
  assert_int_equal(strlen(head), 25 + 60);
  /* "dd-Mmm-yyyy hh:mm:ss +zzzz,SIZE;flags-uid": SIZE leads to the next such line, and to the end */
  char *at = rest;
  for (int i = 0; i < 2; i++) {
    char *comma = strchr(at, ','), *end = strchr(at, '\n');
    assert_int_equal(comma - at, 26);
    assert_memory_equal(strchr(comma, ';'), ";000000000000-00000000\r\n", 24);
    long size = strtol(comma + 1, NULL, 10);
    assert_memory_equal(end + 1 + size - 15, ">From x\r\nlast\r\n", 15);
    at = end + 1 + size;
  }
  assert_int_equal(*at, 0);
  put_file(&f, "plain", "From somebody\n", 0600);
  option(&f, "file", path_in(&f, "plain"));
  deliver(&f, OUTCOME_DEFER, "mailbox file format unrecognized");
  assert_string_equal(get_file(&f, "plain"), "From somebody\n");
  stop(&f);
}

static void test_mbx_lock(void **state) {
  (void)state;
  struct fixture f;
  struct stat st;
  char name[64];
  start(&f, "x\n");
  option(&f, "file", path_in(&f, "box"));
  option(&f, "mbx_format", "true");
  option(&f, "use_mbx_lock", "true");
  option(&f, "use_lockfile", "false");
  option(&f, "lock_retries", "0");
  deliver(&f, OUTCOME_OK, NULL);
  assert_int_equal(stat(path_in(&f, "box"), &st), 0);
  snprintf(name, sizeof name, "/tmp/.%lx.%lx", (unsigned long)st.st_dev, (unsigned long)st.st_ino);
  assert_int_equal(access(name, F_OK), -1); /* gone with the lock */
  assert_int_equal(symlink(path_in(&f, "elsewhere"), name), 0);
  deliver(&f, OUTCOME_DEFER, "failed to lock mailbox");
  assert_int_equal(access(path_in(&f, "elsewhere"), F_OK), -1);
  assert_int_equal(unlink(name), 0);
  stop(&f);
}

static void test_comsat(void **state) {
  (void)state;
  struct fixture f;
  struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof sin;
  char got[64] = "";
  start(&f, "x\n");
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof sin), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
  append_send_comsat(f.a, ntohs(sin.sin_port), "jill", 295);
  assert_int_equal(recv(fd, got, sizeof got, 0), 10);
  assert_memory_equal(got, "jill@295\n", 10);
  close(fd);
  stop(&f);
}

static void test_write_failure_restores(void **state) {
  (void)state;
  struct fixture f;
  struct stat before, after;
  start(&f, "x\n");
  option(&f, "file", path_in(&f, "box"));
  option(&f, "message_suffix", "${nonsense");
  put_file(&f, "box", "old\n", 0600);
  stat(path_in(&f, "box"), &before);
  deliver(&f, OUTCOME_DEFER, NULL);
  stat(path_in(&f, "box"), &after);
  assert_string_equal(get_file(&f, "box"), "old\n");
  assert_int_equal(before.st_mtim.tv_sec, after.st_mtim.tv_sec);
  assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
  unlink(path_in(&f, "box"));
  deliver(&f, OUTCOME_DEFER, "Expansion of \"${nonsense\" (suffix for t1 transport) failed");
  assert_string_equal(get_file(&f, "box"), ""); /* made, and left empty */
  option(&f, "file", "/dev/null");
  deliver(&f, OUTCOME_OK, NULL);
  stop(&f);
}

/* What -bP shows where nothing was set, as Debian's Exim shows it: that of a mailbox file unless the options name another form. */
static void test_shown_strings(void **state) {
  (void)state;
  static const struct {
    const char *option, *value, *check, *suffix;
    bool prefix;
  } rows[] = {
      {NULL, NULL, "From ", "\\n", true},          {"file", "/x", "From ", "\\n", true},
      {"directory", "/x", NULL, NULL, false},     {"maildir_format", "true", NULL, NULL, false},
      {"mailstore_format", "true", NULL, NULL, false}, {"use_bsmtp", "true", ".", NULL, false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct fixture f;
    start(&f, "x\n");
    if (rows[i].option) option(&f, rows[i].option, rows[i].value);
    assert_null(appendfile_transport.init(f.a, &f.cfg, &f.t));
    const struct appendfile_opts *ob = f.t.ob;
    if (rows[i].check) assert_string_equal(ob->check_string, rows[i].check);
    else assert_null(ob->check_string);
    if (rows[i].suffix) assert_string_equal(ob->message_suffix, rows[i].suffix);
    else assert_null(ob->message_suffix);
    assert_int_equal(ob->message_prefix && strncmp(ob->message_prefix, "From ", 5) == 0, rows[i].prefix);
    stop(&f);
  }
}

/* Who waited for a lock while its parent was killed delivers nothing: a queue run will. */
static void test_orphan(void **state) {
  (void)state;
  struct fixture f;
  start(&f, "x\n");
  option(&f, "file", path_in(&f, "box"));
  put_file(&f, "box", "old\n", 0600);
  f.d.parent = getpid();
  deliver(&f, OUTCOME_DEFER, NULL);
  assert_string_equal(get_file(&f, "box"), "old\n");
  f.d.parent = getppid();
  deliver(&f, OUTCOME_OK, NULL);
  stop(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_shown_strings),
    cmocka_unit_test(test_new_and_append),  cmocka_unit_test(test_removed_under_lock), cmocka_unit_test(test_checks),          cmocka_unit_test(test_locks),
    cmocka_unit_test(test_create_file),     cmocka_unit_test(test_taint),           cmocka_unit_test(test_maildir), cmocka_unit_test(test_maildir_that_is_none),
    cmocka_unit_test(test_plain_directory), cmocka_unit_test(test_write_failure_restores),
    cmocka_unit_test(test_mbx),             cmocka_unit_test(test_mbx_lock),        cmocka_unit_test(test_comsat), cmocka_unit_test(test_orphan),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
