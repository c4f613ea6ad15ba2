/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "headers add" and "headers remove" of system filters.  Floor: drivers.  Manual ch. 47 section 6. */
#include "filters/filter.h"

#include <string.h>

#include "message.h"

/* Length of the first header line of text with the lines that continue it. */
static size_t first_line(struct str text) {
  size_t n = 0;
  while (n < text.n) {
    n += str_index(str_n(text.p + n, text.n - n), '\n') + 1;
    if (n >= text.n) return text.n;
    if (!ch_isblank(text.p[n])) return n;
  }
  return text.n;
}

static void add_lines(struct message *m, struct str text) {
  while (text.n) {
    size_t n = first_line(text);
    struct str line = str_n(text.p, n);
    while (line.n && line.p[line.n - 1] == '\n') line.n--;
    bool is_resent;
    if (line.n) {
      const char *copy = arena_printf(m->arena, "%.*s\n", STR_FMT(line));
      message_add_header(m, header_type_of(line, &is_resent), copy, line.n + 1);
    }
    text = str_n(text.p + n, text.n - n);
  }
}

static void remove_names(struct message *m, struct str names) {
  while (names.n) {
    struct str name = str_trim(str_cut(&names, ':')), found, value;
    for (struct header_line *h = m->headers; h && name.n; h = h->next)
      if (h->type != '*' && header_split(str_n(h->text, h->n), &found, &value) && str_eqic(found, name)) h->type = '*';
  }
}

void filter_change_header(struct message *m, bool add, const char *text) {
  if (add) add_lines(m, str_c(text));
  else remove_names(m, str_c(text));
}
