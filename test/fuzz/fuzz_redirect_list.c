/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Alias and forward lists: no read outside the text, every item has a text, parsing ends. */
#include <stdlib.h>

#include "base/arena.h"
#include "routers/redirect_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena *a = arena_new("fuzz");
  /* The router refuses files with NUL bytes before the parser sees them. */
  char *copy = malloc(size ? size : 1);
  if (!copy) abort();
  memcpy(copy, data, size);
  struct str text = str_n(copy, size ? strnlen(copy, size) : 0);
  (void)redirect_filter_kind(text);
  size_t items = 0;
  for (int flags = 0; flags < 4; flags++)
    for (struct redirect_item *it = redirect_list_parse(a, text, flags & 1, flags & 2); it; it = it->next) {
      if (!it->text) abort();
      if ((it->kind == REDIRECT_PIPE && it->text[0] != '|') || (it->kind == REDIRECT_FILE && it->text[0] != '/')) abort();
      if (++items > 4 * (size + 1)) abort();
    }
  free(copy);
  arena_free(a);
  return 0;
}
