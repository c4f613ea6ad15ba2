/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Root is kept for three duties only and can be given up for good.  Each case runs in a child, for it changes the ids of its
 * process; all of them need root.  Floor: tests. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/priv.h"
#include "os/sys.h"
#include "scratch.h"

enum { EXIM_ID = 4242, USER_ID = 4343, OTHER_ID = 4444 };

/* In a child: the number of the first line that does not hold is shown by the parent. */
#define HOLDS(x)                                                             \
  do {                                                                       \
    if (!(x)) {                                                              \
      dprintf(2, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #x);       \
      return 1;                                                              \
    }                                                                        \
  } while (0)

static void run_in_child(int (*fn)(void)) {
  if (geteuid() != 0) skip();
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    priv_init(EXIM_ID, EXIM_ID);
    _exit(fn());
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
}

static bool is_exim_now(void) {
  gid_t groups[4];
  return geteuid() == EXIM_ID && getegid() == EXIM_ID && getgroups(4, groups) == 1 && groups[0] == EXIM_ID;
}

static int make_file(const char *name, uid_t uid, mode_t mode) {
  int fd = open(scratch_path(name), O_WRONLY | O_CREAT | O_TRUNC, mode);
  int r = fd >= 0 && fchmod(fd, mode) == 0 && fchown(fd, uid, uid) == 0 && write(fd, "x", 1) == 1 ? 0 : -1;
  close(fd);
  return r;
}

static int starts_as_exim(void) {
  HOLDS(is_exim_now());
  HOLDS(priv_can_raise() && !priv_is_raised());
  HOLDS(priv_real_uid() == 0);
  uid_t r, e, s;
  HOLDS(getresuid(&r, &e, &s) == 0 && s == 0);
  return 0;
}

/* The user who called could send signals to his real uid. */
static int leaves_its_caller(void) {
  uid_t r, e, s;
  priv_leave_caller();
  HOLDS(getresuid(&r, &e, &s) == 0 && r == EXIM_ID && e == EXIM_ID && s == 0);
  HOLDS(is_exim_now() && priv_can_raise());
  HOLDS(priv_open_as(USER_ID, USER_ID, scratch_path("user"), O_RDONLY, 0) >= 0);
  HOLDS(is_exim_now());
  HOLDS(priv_drop_forever(USER_ID, USER_ID, NULL) == 0);
  HOLDS(getresuid(&r, &e, &s) == 0 && r == USER_ID && e == USER_ID && s == USER_ID);
  return 0;
}

static int opens_as_a_user(void) {
  int fd = priv_open_as(USER_ID, USER_ID, scratch_path("user"), O_RDONLY, 0);
  HOLDS(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC));
  HOLDS(is_exim_now() && !priv_is_raised());
  HOLDS(priv_open_as(OTHER_ID, OTHER_ID, scratch_path("user"), O_RDONLY, 0) == -EACCES);
  HOLDS(is_exim_now());
  HOLDS(priv_open_as(USER_ID, USER_ID, scratch_path("root"), O_RDONLY, 0) == -EACCES);
  HOLDS(priv_open_as(USER_ID, USER_ID, scratch_path("link"), O_RDONLY, 0) >= 0);
  HOLDS(priv_open_as(USER_ID, USER_ID, scratch_path("link"), O_RDONLY | O_NOFOLLOW, 0) == -ELOOP);
  HOLDS(priv_open_as(OTHER_ID, OTHER_ID, scratch_path("link"), O_RDONLY, 0) == -EACCES);
  HOLDS(open(scratch_path("user"), O_RDONLY) < 0); /* exim itself may not */
  HOLDS(is_exim_now());
  return 0;
}

static int looks_as_a_user(void) {
  HOLDS(priv_access_as(USER_ID, USER_ID, scratch_path("user"), R_OK) == 0);
  HOLDS(priv_access_as(OTHER_ID, OTHER_ID, scratch_path("user"), R_OK) == -EACCES);
  HOLDS(priv_access_as(OTHER_ID, OTHER_ID, scratch_path("user"), F_OK) == 0);
  HOLDS(priv_access_as(USER_ID, USER_ID, scratch_path("none"), F_OK) == -ENOENT);
  HOLDS(is_exim_now());
  return 0;
}

/* A set-uid start by a user who has lowered his limits. */
static int lifts_limits(void) {
  static const struct {
    int resource;
    rlim_t low, least;
  } rows[] = {{RLIMIT_STACK, 64 << 10, 8 << 20}, {RLIMIT_NOFILE, 20, 1000}, {RLIMIT_FSIZE, 512, RLIM_INFINITY}, {RLIMIT_CPU, 100, RLIM_INFINITY}};
  struct rlimit l;
  HOLDS(seteuid(0) == 0 && setresuid(USER_ID, 0, 0) == 0);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    HOLDS(getrlimit(rows[i].resource, &l) == 0);
    l.rlim_cur = rows[i].low;
    HOLDS(setrlimit(rows[i].resource, &l) == 0);
  }
  priv_init(EXIM_ID, EXIM_ID);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
    HOLDS(getrlimit(rows[i].resource, &l) == 0 && l.rlim_cur >= MIN(rows[i].least, l.rlim_max));
  return 0;
}

static int report_ids(void *ctx) {
  (void)ctx;
  uid_t r, e, s;
  gid_t rg, eg, sg;
  HOLDS(getresuid(&r, &e, &s) == 0 && r == USER_ID && e == USER_ID && s == USER_ID);
  HOLDS(getresgid(&rg, &eg, &sg) == 0 && rg == USER_ID && eg == USER_ID && sg == USER_ID);
  gid_t groups[4];
  HOLDS(getgroups(4, groups) == 1 && groups[0] == USER_ID);
  HOLDS(!priv_can_raise() && setuid(0) < 0 && seteuid(0) < 0);
  HOLDS(priv_open_as(0, 0, scratch_path("root"), O_RDONLY, 0) == -EPERM);
  return 17;
}

static int runs_as_a_user(void) {
  int status;
  pid_t pid = priv_run_as(USER_ID, USER_ID, NULL, false, "test", report_ids, NULL);
  HOLDS(pid > 0 && sys_waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 17);
  HOLDS(is_exim_now() && priv_can_raise());
  HOLDS(priv_run_as(0, 0, NULL, false, "test", report_ids, NULL) == -EPERM);
  return 0;
}

static int effective_uid(void *ctx) {
  (void)ctx;
  return priv_is_raised() ? (int)geteuid() : -1;
}

static int gives_root_up(void) {
  HOLDS(priv_with_root(effective_uid, NULL) == 0);
  HOLDS(is_exim_now() && !priv_is_raised());
  HOLDS(priv_drop_forever(EXIM_ID, EXIM_ID, NULL) == 0);
  HOLDS(!priv_can_raise() && getuid() == EXIM_ID && setuid(0) < 0);
  HOLDS(priv_with_root(effective_uid, NULL) == -1);
  HOLDS(priv_open_as(USER_ID, USER_ID, scratch_path("user"), O_RDONLY, 0) == -EPERM);
  HOLDS(priv_run_as(USER_ID, USER_ID, NULL, false, "test", report_ids, NULL) == -EPERM);
  HOLDS(priv_drop_forever(USER_ID, USER_ID, NULL) == -EPERM);
  return 0;
}

#define CASE(name) \
  static void case_##name(void **state) { (void)state; run_in_child(name); }
CASE(starts_as_exim)
CASE(leaves_its_caller)
CASE(opens_as_a_user)
CASE(looks_as_a_user)
CASE(lifts_limits)
CASE(runs_as_a_user)
CASE(gives_root_up)

static int setup(void **state) {
  if (scratch_setup(state) < 0) return -1;
  if (geteuid() != 0) return 0;
  if (make_file("user", USER_ID, 0600) < 0 || make_file("root", 0, 0600) < 0) return -1;
  return symlink("user", scratch_path("link"));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(case_starts_as_exim), cmocka_unit_test(case_leaves_its_caller),
                                     cmocka_unit_test(case_opens_as_a_user),
                                     cmocka_unit_test(case_looks_as_a_user), cmocka_unit_test(case_lifts_limits), cmocka_unit_test(case_runs_as_a_user),
                                     cmocka_unit_test(case_gives_root_up)};
  return cmocka_run_group_tests(tests, setup, scratch_teardown);
}
