/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration language: the input is the text of a file.  Whatever it says, reading ends with a configuration or an error text. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "policy/readconf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char path[64];
  const char *error = NULL;
  struct config *partial = NULL;
  if (size > 16384) return 0;
  int fd = memfd_create("conf", MFD_CLOEXEC);
  if (fd < 0) abort();
  if (size && write(fd, data, size) != (ssize_t)size) abort();
  snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
  struct readconf_opts o = {.files = path, .keep_lines = true, .ret_partial = &partial};
  struct config *c = readconf_read(&o, &error);
  if (!c && !error) abort();
  close(fd);
  if (c) arena_free(c->arena);
  else if (partial) arena_free(partial->arena);
  return 0;
}
