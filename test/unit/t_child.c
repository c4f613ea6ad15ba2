/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running programs: arguments, environment, directory, mask and descriptors as asked for, failures reported, deadlines kept.
 * Floor: tests. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/child.h"
#include "scratch.h"

static struct child_spec spec_of(const char *const *argv) {
  return (struct child_spec){.argv = argv, .uid = (uid_t)-1, .gid = (gid_t)-1, .umask = -1, .stdin_fd = -2, .stdout_fd = -1};
}

/* What the child writes, up to its end. */
static const char *output_of(struct child *c) {
  static char text[8192];
  size_t n = 0;
  ssize_t r;
  while (n < sizeof text - 1 && (r = read(c->out_fd, text + n, sizeof text - 1 - n)) > 0) n += (size_t)r;
  text[n] = '\0';
  close(c->out_fd);
  return text;
}

static void check_run(const char *what, const struct child_spec *spec, const char *want_text, int want_status) {
  struct child c;
  int status;
  CHECK_INT(what, child_run(spec, &c), 0);
  CHECK_STR(what, output_of(&c), want_text);
  CHECK_INT(what, child_wait(&c, deadline_in_sec(20), &status), 0);
  CHECK_INT(what, status, want_status);
}

static void arguments_and_environment(void **state) {
  (void)state;
  const char *argv[] = {"/bin/sh", "-c", "printf '<%s>' \"$@\"; exit 3", "sh", "a b", "", "$(id)", "'\"\\", NULL};
  struct child_spec spec = spec_of(argv);
  check_run("arguments are never parsed", &spec, "<a b><><$(id)><'\"\\>", 3 << 8);

  const char *env_argv[] = {"/usr/bin/env", NULL};
  spec = spec_of(env_argv);
  spec.envp = (const char *const[]){"A=1", "B=x y", NULL};
  check_run("environment", &spec, "A=1\nB=x y\n", 0);
  spec.envp = (const char *const[]){NULL};
  check_run("no environment", &spec, "", 0);

  setenv("EXIM_UNIT_VARIABLE", "inherited", 1);
  const char *one[] = {"/bin/sh", "-c", "echo $EXIM_UNIT_VARIABLE", NULL};
  spec = spec_of(one);
  check_run("inherited environment", &spec, "inherited\n", 0);
}

static void directory_and_mask(void **state) {
  (void)state;
  const char *argv[] = {"/bin/sh", "-c", "pwd; umask", NULL};
  struct child_spec spec = spec_of(argv);
  char want[200];
  spec.cwd = scratch_dir;
  spec.umask = 027;
  snprintf(want, sizeof want, "%s\n0027\n", scratch_dir);
  check_run("cwd and umask", &spec, want, 0);
  spec.cwd = "/nonexistent";
  struct child c = {.pid = 5};
  assert_int_equal(child_run(&spec, &c), -ENOENT);
  assert_int_equal(c.pid, 5);
}

/* 0, 1 and 2 are there, everything else is closed, close-on-exec or not; standard error joins standard output. */
static void descriptors(void **state) {
  (void)state;
  int high = fcntl(0, F_DUPFD, 40), low = open("/dev/null", O_RDONLY); /* neither has close-on-exec */
  const char *argv[] = {"/bin/sh", "-c", "for f in 3 4 5 6 7 8 9; do (: <&$f) 2>/dev/null && echo $f is open; done; "
                        "test -e /proc/self/fd/40 && echo 40 is open; echo to stderr >&2; cat", NULL};
  struct child_spec spec = spec_of(argv);
  check_run("closed", &spec, "to stderr\n", 0);
  spec.stdin_fd = -1;
  struct child c;
  int status;
  assert_int_equal(child_run(&spec, &c), 0);
  assert_true(fcntl(c.in_fd, F_GETFD) & FD_CLOEXEC);
  assert_true(fcntl(c.out_fd, F_GETFD) & FD_CLOEXEC);
  assert_int_equal(write(c.in_fd, "fed\n", 4), 4);
  close(c.in_fd);
  CHECK_STR("pipes", output_of(&c), "to stderr\nfed\n");
  assert_int_equal(child_wait(&c, DEADLINE_NEVER, &status), 0);
  assert_int_equal(status, 0);

  int file = open(scratch_path("out"), O_RDWR | O_CREAT, 0600);
  const char *echo[] = {"/bin/echo", "into the file", NULL};
  spec = spec_of(echo);
  spec.stdout_fd = file;
  assert_int_equal(child_run(&spec, &c), 0);
  assert_int_equal(c.in_fd, -1);
  assert_int_equal(c.out_fd, -1);
  assert_int_equal(child_wait(&c, deadline_in_sec(20), &status), 0);
  CHECK_STR("file", scratch_read("out"), "into the file\n");
  close(file);
  close(high);
  close(low);
}

static void signals_are_reset(void **state) {
  (void)state;
  signal(SIGPIPE, SIG_IGN);
  const char *argv[] = {"/bin/sh", "-c", "kill -PIPE $$; echo survived", NULL};
  struct child_spec spec = spec_of(argv);
  check_run("SIGPIPE", &spec, "", SIGPIPE);
  signal(SIGPIPE, SIG_DFL);
}

static void exec_failures_are_reported(void **state) {
  (void)state;
  static const struct {
    const char *path;
    int want;
  } rows[] = {{"/nonexistent/program", -ENOENT}, {"/etc/passwd", -EACCES}, {"/tmp", -EACCES}, {"/etc/passwd/x", -ENOTDIR}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    const char *argv[] = {rows[i].path, NULL};
    struct child_spec spec = spec_of(argv);
    struct child c = {.pid = 5};
    CHECK_INT(rows[i].path, child_run(&spec, &c), rows[i].want);
    assert_int_equal(c.pid, 5);
  }
  assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left behind */
  assert_int_equal(errno, ECHILD);
}

/* The deadline ends the program and those it started: the sleeper would keep the output open. */
static void a_deadline_kills_the_group(void **state) {
  (void)state;
  const char *argv[] = {"/bin/sh", "-c", "echo begun; sleep 60 & wait", NULL};
  struct child_spec spec = spec_of(argv);
  spec.new_session = true;
  struct child c;
  int status = -7;
  char text[16];
  assert_int_equal(child_run(&spec, &c), 0);
  assert_int_equal(read(c.out_fd, text, sizeof text), 6);
  int64_t begun = time_mono_ms();
  assert_int_equal(child_wait(&c, deadline_in_ms(50), &status), -ETIMEDOUT);
  assert_int_equal(status, -7);
  CHECK_STR("end of output", output_of(&c), "");
  assert_true(time_mono_ms() - begun < 20000);
  assert_int_equal(kill(c.pid, 0), -1); /* it was waited for */
}

static void another_user(void **state) {
  (void)state;
  if (geteuid() != 0) skip();
  const char *argv[] = {"/bin/sh", "-c", "id -u; id -g; id -G", NULL};
  struct child_spec spec = spec_of(argv);
  spec.uid = 4242;
  spec.gid = 4343;
  check_run("ids", &spec, "4242\n4343\n4343\n", 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(arguments_and_environment), cmocka_unit_test(directory_and_mask), cmocka_unit_test(descriptors),
    cmocka_unit_test(signals_are_reset), cmocka_unit_test(exec_failures_are_reported),
    cmocka_unit_test(a_deadline_kills_the_group), cmocka_unit_test(another_user)};
  return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
