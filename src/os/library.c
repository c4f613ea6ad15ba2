/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared libraries loaded at need (library.h).  Floor: os.  Names come from the build, never from a configuration or a peer; the loader looks in
 * the system's places only, since the program may be set-user-id. */
#include "os/library.h"

#include <dlfcn.h>
#include <string.h>

const char *library_load(const char *soname, const char *const *names, size_t n, void *functions) {
  void *first, *found;
  memcpy(&first, functions, sizeof first);
  if (first) return NULL;
  void *handle = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
  if (!handle) return dlerror();
  for (size_t i = n; i-- > 0;) { /* the first one last: it says that all are there */
    found = dlsym(handle, names[i]);
    if (!found) return dlerror();
    memcpy((char *)functions + i * sizeof found, &found, sizeof found);
  }
  return NULL;
}
