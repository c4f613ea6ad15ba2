/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of database servers and the start of queries: parts lie inside the text, and a value that is quoted cannot end its field. */
#include "formats/server_item.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct str part, struct str whole) { INVARIANT(part.p >= whole.p && part.p + part.n <= whole.p + whole.n); }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct str text = str_n((const char *)data, size), parts[SERVER_ITEM_PARTS_MAX], query = text, list;
  struct server_item_host h;
  for (int n = 3; n <= SERVER_ITEM_PARTS_MAX; n++) {
    if (!server_item_split(text, n, parts)) continue;
    for (int i = 0; i < n; i++) check_inside(parts[i], text);
    for (int i = 1; i < n; i++) INVARIANT(str_index(parts[i], '/') == parts[i].n);
  }
  if (server_item_parse_host(text, &h)) {
    check_inside(h.name, text);
    check_inside(h.port, text);
    check_inside(h.socket, text);
    check_inside(h.group, text);
  }
  bool bad;
  if (server_item_cut_prefix(&query, &list, &bad)) {
    check_inside(list, text);
    check_inside(query, text);
    INVARIANT(str_index(list, ';') == list.n);
  }
  struct arena *a = arena_new("fuzz");
  struct strbuf b = strbuf_new(a);
  server_item_add_field(&b, "n", text);
  if (b.p[2] == '"') {
    size_t i = 3;
    while (i < b.n && b.p[i] != '"') i += b.p[i] == '\\' ? 2 : 1;
    INVARIANT(i == b.n - 2);
  }
  struct server_item_words w;
  const char *command = arena_strndup(a, (const char *)data, strnlen((const char *)data, size));
  if (server_item_cut_words(a, command, &w)) {
    size_t total = 0;
    for (int i = 0; i < w.n; i++) {
      INVARIANT(*w.word[i]);
      total += strlen(w.word[i]);
    }
    INVARIANT(total <= strlen(command));
  }
  arena_free(a);
  return 0;
}
