/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A directory of its own for one test program, removed at the end.  Floor: tests. */
#ifndef TEST_SCRATCH_H
#define TEST_SCRATCH_H

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macros.h"

static char scratch_dir[] = "/tmp/exim-unit-XXXXXX";

UNUSED static int scratch_setup(void **state) {
  (void)state;
  /* other users' processes in these tests have to get in */
  return mkdtemp(scratch_dir) && chmod(scratch_dir, 0755) == 0 ? 0 : -1;
}

/* Path of a file in it; the last four answers stay valid. */
static inline const char *scratch_path(const char *name) {
  static char path[4][PATH_MAX];
  static unsigned turn;
  char *p = path[turn++ % 4];
  snprintf(p, PATH_MAX, "%s%s%s", scratch_dir, *name ? "/" : "", name);
  return p;
}

static void scratch_empty_at(int dir_fd) {
  DIR *d = fdopendir(dir_fd);
  struct dirent *e;
  while (d && (e = readdir(d))) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (fd >= 0) scratch_empty_at(fd);
    (void)unlinkat(dirfd(d), e->d_name, fd >= 0 ? AT_REMOVEDIR : 0);
  }
  if (d) closedir(d);
}

static void scratch_empty(void) {
  int fd = open(scratch_dir, O_RDONLY | O_DIRECTORY);
  if (fd >= 0) scratch_empty_at(fd);
}

UNUSED static int scratch_teardown(void **state) {
  (void)state;
  scratch_empty();
  return rmdir(scratch_dir);
}

/* Whole contents of a file in it (up to 64 KiB); "" when it is not there. */
static inline const char *scratch_read(const char *name) {
  static char text[65536];
  int fd = open(scratch_path(name), O_RDONLY);
  ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
  if (fd >= 0) close(fd);
  text[n > 0 ? n : 0] = '\0';
  return text;
}

#endif
