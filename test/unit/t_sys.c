/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The system call facade: planned faults and deaths as the environment asks for them, counts, reading with a limit, making
 * paths, locks between processes.  Everything that changes the process's fault plan happens in a forked child.  Floor: tests. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "os/sys.h"
#include "scratch.h"

/* Run fn in a child with these environment settings (NAME, value, ..., NULL); raw wait status. */
static int in_child(int (*fn)(void), const char *const *env) {
  fflush(NULL);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    for (; *env; env += 2) setenv(env[0], env[1], 1);
    sys_faults_enable();
    _exit(fn());
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  return status;
}

static bool exists(const char *name) { return access(scratch_path(name), F_OK) == 0; }

/* ---- faults -------------------------------------------------------------------------------------------- */

static int make_dir(const char *name) { return sys_mkdir(scratch_path(name), 0700); }

/* Which of three directories could be made: bits of the exit status; 64 when an error was not the one planned. */
static int planned_errno;
static int three_mkdirs(void) {
  static const char *const names[] = {"a", "b", "c"};
  int made = 0;
  for (int i = 0; i < 3; i++) {
    int r = make_dir(names[i]);
    if (r == 0)
      made |= 1 << i;
    else if (r != -planned_errno)
      return 64;
  }
  return made;
}

static void faults_hit_the_nth_call(void **state) {
  (void)state;
  static const struct {
    const char *plan, *role;
    int error, made;
  } rows[] = {
    {"mkdir:1:EIO", NULL, EIO, 6},
    {"mkdir:2:ENOSPC", NULL, ENOSPC, 5},
    {"mkdir:2:EDQUOT:sticky", NULL, EDQUOT, 1},
    {"mkdir:1:ENOSPC:sticky", NULL, ENOSPC, 0},
    {"mkdir:3:13", NULL, EACCES, 3},
    {"mkdir:4:EIO", NULL, EIO, 7},
    {"any:2:EMFILE", NULL, EMFILE, 5},
    {"open:1:EIO", NULL, EIO, 7},
    {"mkdir:2:EROFS", "any", EROFS, 5},
    {"mkdir:1:EIO:sticky", "delivery", EIO, 7},  /* no role was declared */
    {"mkdir:1:EIO:sticky", "reception", EIO, 7},
    /* what is no plan plants nothing */
    {"", NULL, EIO, 7},
    {"mkdir", NULL, EIO, 7},
    {"mkdir:", NULL, EIO, 7},
    {"mkdir:x:EIO", NULL, EIO, 7},
    {"mkdirs:1:EIO", NULL, EIO, 7},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    scratch_empty();
    planned_errno = rows[i].error;
    const char *env[] = {"EXIM_FAULT", rows[i].plan, rows[i].role ? "EXIM_FAULT_ROLE" : NULL, rows[i].role, NULL};
    int status = in_child(three_mkdirs, env);
    assert_true(WIFEXITED(status));
    CHECK_INT(rows[i].plan, WEXITSTATUS(status), rows[i].made);
  }
}

static int two_roles(void) {
  int r1 = make_dir("a"); /* before any role */
  sys_role(SYS_ROLE_RECEPTION);
  int r2 = make_dir("b");
  sys_role(SYS_ROLE_DELIVERY);
  int r3 = make_dir("c");
  return (r1 == 0) | (r2 == 0) << 1 | (r3 == 0) << 2;
}

static void a_role_has_its_own_count(void **state) {
  (void)state;
  scratch_empty();
  int status = in_child(two_roles, (const char *[]){"EXIM_FAULT", "mkdir:1:EIO", "EXIM_FAULT_ROLE", "delivery", NULL});
  CHECK_INT("delivery", WEXITSTATUS(status), 3);
  scratch_empty();
  status = in_child(two_roles, (const char *[]){"EXIM_FAULT", "mkdir:1:EIO", "EXIM_FAULT_ROLE", "reception", NULL});
  CHECK_INT("reception", WEXITSTATUS(status), 5);
}

/* One directory here, one in a child, one in a grandchild. */
static int three_generations(void) {
  IGNORE_RESULT(make_dir("a")); /* the files left tell */
  for (int i = 0; i < 2; i++) {
    pid_t pid = sys_fork("test");
    if (pid > 0) {
      sys_waitpid(pid, NULL, 0);
      return 0;
    }
    IGNORE_RESULT(make_dir(i == 0 ? "b" : "c"));
  }
  return 0;
}

static void a_depth_picks_the_generation(void **state) {
  (void)state;
  static const char *const depths[] = {"0", "1", "2"};
  for (int i = 0; i < 3; i++) {
    scratch_empty();
    in_child(three_generations,
             (const char *[]){"EXIM_FAULT", "mkdir:1:EIO:sticky", "EXIM_FAULT_DEPTH", depths[i], NULL});
    CHECK_INT(depths[i], exists("a") | exists("b") << 1 | exists("c") << 2, 7 & ~(1 << i));
  }
}

static void deaths_come_before_or_after_the_call(void **state) {
  (void)state;
  static const struct {
    const char *plan;
    int made;
    bool dies;
  } rows[] = {{"mkdir:1:before", 0, true}, {"mkdir:1:after", 1, true}, {"mkdir:2:before", 1, true},
              {"mkdir:2:after", 3, true},  {"any:3:before", 3, true},  {"any:3:after", 7, true},
              {"mkdir:4:before", 7, false}, {"rename:1:before", 7, false}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    scratch_empty();
    int status = in_child(three_mkdirs, (const char *[]){"EXIM_KILL", rows[i].plan, NULL});
    CHECK_INT(rows[i].plan, WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, rows[i].dies);
    CHECK_INT(rows[i].plan, exists("a") | exists("b") << 1 | exists("c") << 2, rows[i].made);
  }
}

/* A planned failure leaves the world as it was, except that close really closes: nobody may try it again. */
static int failing_calls(void) {
  int fd = sys_open(scratch_path("f"), O_RDWR | O_CREAT, 0600);
  if (fd != -EIO) return 1;
  fd = sys_open(scratch_path("f"), O_RDWR | O_CREAT, 0600);
  if (fd < 0) return 2;
  if (!(fcntl(fd, F_GETFD) & FD_CLOEXEC)) return 3;
  int r = sys_close(fd);
  if (r != 0) return 4;
  return 0;
}
static int failing_close(void) {
  int fd = sys_open(scratch_path("f"), O_RDWR | O_CREAT, 0600);
  if (sys_close(fd) != -EIO) return 1;
  return fcntl(fd, F_GETFD) < 0 && errno == EBADF ? 0 : 2;
}

static void failures_are_clean(void **state) {
  (void)state;
  scratch_empty();
  assert_int_equal(in_child(failing_calls, (const char *[]){"EXIM_FAULT", "open:1:EIO", NULL}), 0);
  assert_int_equal(in_child(failing_close, (const char *[]){"EXIM_FAULT", "close:1:EIO", NULL}), 0);
}

static int traced_calls(void) {
  IGNORE_RESULT(make_dir("a")); /* only the trace counts */
  IGNORE_RESULT(sys_unlink(scratch_path("none")));
  IGNORE_RESULT(make_dir("b"));
  return sys_call_count("mkdir") == 2 && sys_call_count("unlink") == 1 && sys_call_count("any") == 3 &&
             sys_call_count("nothing") == 0
           ? 0
           : 1;
}

static void calls_are_counted_and_traced(void **state) {
  (void)state;
  scratch_empty();
  int fds[2];
  assert_int_equal(pipe(fds), 0);
  char number[16], got[512] = "", want[128];
  snprintf(number, sizeof number, "%d", fds[1]);
  assert_int_equal(in_child(traced_calls, (const char *[]){"EXIM_SYSLOG_FD", number, NULL}), 0);
  close(fds[1]);
  ssize_t n = read(fds[0], got, sizeof got - 1);
  close(fds[0]);
  assert_true(n > 0);
  int pid;
  assert_int_equal(sscanf(got, "%d", &pid), 1);
  snprintf(want, sizeof want, "%d mkdir 1 1 0\n%d unlink 2 1 0\n%d mkdir 3 2 0\n", pid, pid, pid);
  CHECK_STR("trace", got, want);
  unsigned long before = sys_call_count("unlink");
  assert_int_equal(sys_unlink(scratch_path("none")), -ENOENT);
  assert_int_equal(sys_call_count("unlink"), before + 1);
}

/* ---- files --------------------------------------------------------------------------------------------- */

static void read_file_keeps_its_limit(void **state) {
  (void)state;
  static const struct {
    size_t size, limit;
    int want;
  } rows[] = {{0, 10, 0},   {0, 0, 0},           {1, 0, -EFBIG},        {9, 10, 0},
              {10, 10, 0},  {11, 10, -EFBIG},    {16384, 16384, 0},     {16385, 16384, -EFBIG},
              {40000, 40000, 0}, {40000, 39999, -EFBIG}};
  scratch_empty();
  static char bytes[40000];
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 7);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("test");
    int fd = sys_open(scratch_path("f"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(sys_write_all(fd, bytes, rows[i].size), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    char *p = NULL;
    size_t n = 77;
    CHECK_INT("read_file", sys_read_file(fd, a, rows[i].limit, &p, &n), rows[i].want);
    if (rows[i].want == 0) {
      assert_int_equal(n, rows[i].size);
      assert_memory_equal(p, bytes, n);
      assert_int_equal(p[n], '\0');
      assert_true(is_tainted(p));
    } else {
      assert_true(p == NULL && n == 77);
    }
    assert_int_equal(sys_close(fd), 0);
    arena_free(a);
  }
}

/* A pipe tells no size beforehand: the limit holds all the same. */
static void read_file_of_a_pipe(void **state) {
  (void)state;
  int fds[2];
  struct arena *a = arena_new("test");
  char *p;
  size_t n;
  assert_int_equal(sys_pipe(fds), 0);
  assert_int_equal(sys_write_all(fds[1], "12345", 5), 0);
  assert_int_equal(sys_close(fds[1]), 0);
  assert_int_equal(sys_read_file(fds[0], a, 4, &p, &n), -EFBIG);
  assert_int_equal(sys_close(fds[0]), 0);
  arena_free(a);
}

/* Opening what is no file answers at once, whether somebody is at the other end or not. */
static void open_file_takes_files(void **state) {
  (void)state;
  scratch_empty();
  int fd = sys_open(scratch_path("file"), O_WRONLY | O_CREAT, 0600);
  assert_true(fd >= 0 && sys_close(fd) == 0);
  assert_int_equal(mkfifo(scratch_path("fifo"), 0600), 0);
  const struct {
    const char *path;
    int want; /* 0: a descriptor */
  } rows[] = {{scratch_path("file"), 0}, {"/dev/null", 0}, {scratch_path("none"), -ENOENT}, {scratch_path("fifo"), -ENXIO}, {"/dev/zero", -ENXIO}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    fd = sys_open_file(rows[i].path);
    CHECK_INT(rows[i].path, fd < 0 ? fd : 0, rows[i].want);
    if (fd >= 0) assert_int_equal(sys_close(fd), 0);
  }
  int writer = sys_open(scratch_path("fifo"), O_RDWR, 0);
  assert_true(writer >= 0);
  assert_int_equal(sys_open_file(scratch_path("fifo")), -ENXIO);
  assert_int_equal(sys_close(writer), 0);
  assert_string_equal(sys_open_file_error(-ENXIO), "not a regular file");
  assert_string_equal(sys_open_file_error(-ENOENT), strerror(ENOENT));
}

static void writev_writes_all_pieces(void **state) {
  (void)state;
  scratch_empty();
  struct iovec iov[] = {{(void *)(uintptr_t) "ab", 2}, {NULL, 0}, {(void *)(uintptr_t) "cde", 3}};
  int fd = sys_open(scratch_path("f"), O_RDWR | O_CREAT, 0600);
  assert_int_equal(sys_writev_all(fd, iov, 3), 0);
  char got[8] = "";
  assert_int_equal(sys_pread(fd, got, sizeof got, 0), 5);
  CHECK_STR("bytes", got, "abcde");
  assert_int_equal(sys_close(fd), 0);
  assert_int_equal(sys_write_all(fd, "x", 1), -EBADF);
}

static void mkdir_path_makes_each_level(void **state) {
  (void)state;
  struct stat st;
  scratch_empty();
  mode_t old = umask(077); /* the mode asked for holds all the same */
  assert_int_equal(sys_mkdir_path(scratch_path(""), "x/y/z", 0751, (uid_t)-1, (gid_t)-1), 0);
  umask(old);
  static const char *const levels[] = {"x", "x/y", "x/y/z"};
  for (int i = 0; i < 3; i++) {
    assert_int_equal(stat(scratch_path(levels[i]), &st), 0);
    CHECK_INT(levels[i], st.st_mode & 07777, 0751);
  }
  assert_int_equal(sys_mkdir_path(scratch_path(""), "x/y/z", 0700, (uid_t)-1, (gid_t)-1), 0);
  assert_int_equal(stat(scratch_path("x"), &st), 0);
  CHECK_INT("an existing level keeps its mode", st.st_mode & 07777, 0751);
  assert_int_equal(sys_mkdir_path(scratch_path("none"), "x", 0700, (uid_t)-1, (gid_t)-1), -ENOENT);
  int fd = sys_open(scratch_path("file"), O_WRONLY | O_CREAT, 0600);
  assert_int_equal(sys_close(fd), 0);
  assert_int_equal(sys_mkdir_path(scratch_path(""), "file/x", 0700, (uid_t)-1, (gid_t)-1), -ENOTDIR);
  static char longer[5000];
  memset(longer, 'a', sizeof longer - 1);
  assert_int_equal(sys_mkdir_path(scratch_path(""), longer, 0700, (uid_t)-1, (gid_t)-1), -ENAMETOOLONG);
}

/* ---- locks --------------------------------------------------------------------------------------------- */

/* A child that holds a lock on [0,10) until the returned pipe end is closed. */
static pid_t hold_lock(short type, int *ret_release) {
  int ready[2], release[2];
  char byte;
  assert_int_equal(pipe(ready), 0);
  assert_int_equal(pipe(release), 0);
  fflush(NULL);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    close(release[1]);
    int fd = sys_open(scratch_path("lock"), O_RDWR | O_CREAT, 0600);
    if (sys_lock(fd, type, 0, 10, false) < 0) _exit(1);
    if (write(ready[1], "x", 1) != 1) _exit(2);
    _exit(read(release[0], &byte, 1) == 0 ? 0 : 3);
  }
  close(ready[1]);
  close(release[0]);
  assert_int_equal(read(ready[0], &byte, 1), 1);
  close(ready[0]);
  *ret_release = release[1];
  return pid;
}

static void let_go(pid_t pid, int release) {
  int status;
  close(release);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
}

static void locks_keep_others_out(void **state) {
  (void)state;
  scratch_empty();
  int release, fd = sys_open(scratch_path("lock"), O_RDWR | O_CREAT, 0600);
  pid_t pid = hold_lock(F_WRLCK, &release);
  assert_int_equal(sys_lock(fd, F_WRLCK, 0, 10, false), -EAGAIN);
  assert_int_equal(sys_lock(fd, F_RDLCK, 9, 1, false), -EAGAIN);
  assert_int_equal(sys_lock(fd, F_WRLCK, 10, 1, false), 0); /* beyond the range */
  int64_t begun = time_mono_ms();
  assert_int_equal(sys_lock_until(fd, F_WRLCK, 0, 10, deadline_in_ms(120)), -EAGAIN);
  int64_t took = time_mono_ms() - begun;
  assert_true(took >= 100 && took < 5000);
  let_go(pid, release);
  assert_int_equal(sys_lock_until(fd, F_WRLCK, 0, 10, deadline_in_ms(2000)), 0);
  assert_int_equal(sys_lock(fd, F_UNLCK, 0, 0, false), 0);

  pid = hold_lock(F_RDLCK, &release);
  assert_int_equal(sys_lock(fd, F_RDLCK, 0, 10, false), 0); /* readers share */
  assert_int_equal(sys_lock(fd, F_WRLCK, 0, 10, false), -EAGAIN);
  let_go(pid, release);
  assert_int_equal(sys_lock(fd, F_WRLCK, 0, 10, true), 0);
  assert_int_equal(sys_close(fd), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(faults_hit_the_nth_call), cmocka_unit_test(a_role_has_its_own_count),
    cmocka_unit_test(a_depth_picks_the_generation), cmocka_unit_test(deaths_come_before_or_after_the_call),
    cmocka_unit_test(failures_are_clean), cmocka_unit_test(calls_are_counted_and_traced),
    cmocka_unit_test(read_file_keeps_its_limit), cmocka_unit_test(read_file_of_a_pipe), cmocka_unit_test(open_file_takes_files),
    cmocka_unit_test(writev_writes_all_pieces), cmocka_unit_test(mkdir_path_makes_each_level),
    cmocka_unit_test(locks_keep_others_out)};
  return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
