/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines of an lsearch file.  Floor: formats. */
#include "formats/lsearch_line.h"

#include "base/strbuf.h"
#include "formats/codecs.h"

/* line.p[0] is the quote. */
static struct str quoted_key(struct arena *a, struct str line, struct str *ret_rest) {
  struct strbuf b = strbuf_new(a);
  size_t i = 1;
  while (i < line.n && line.p[i] != '"') {
    size_t used = 1;
    strbuf_addc(&b, line.p[i] == '\\' ? (char)escape_interpret(str_n(line.p + i, line.n - i), &used) : line.p[i]);
    i += used;
  }
  if (i < line.n) i++;
  *ret_rest = str_n(line.p + i, line.n - i);
  return strbuf_str(&b);
}

struct str lsearch_key(struct arena *a, struct str line, struct str *ret_rest) {
  size_t i = 0;
  if (line.n > 0 && line.p[0] == '"') return quoted_key(a, line, ret_rest);
  while (i < line.n && line.p[i] != ':' && !ch_isspace(line.p[i])) i++;
  *ret_rest = str_n(line.p + i, line.n - i);
  return str_n(line.p, i);
}

const char *lsearch_data(struct arena *a, struct str rest, struct str following, struct str whole_line, bool want_full) {
  struct str first = str_ltrim(rest);
  if (first.n > 0 && first.p[0] == ':') first = str_ltrim(str_n(first.p + 1, first.n - 1));
  struct strbuf b = strbuf_new(a);
  if (want_full && str_starts(whole_line, STR("\""))) { /* a key is given back without its quotes */
    strbuf_addstr(&b, lsearch_key(a, whole_line, &rest));
    first = rest;
  } else if (want_full) {
    first = whole_line;
  }
  strbuf_addstr(&b, str_rtrim(first));
  while (following.n > 0) {
    struct str line = str_cut(&following, '\n');
    struct str t = str_trim(line);
    /* The manual has empty lines and comments inside an item skipped; Exim 4.96 ends the item there, and so does this. */
    if (t.n == 0 || !ch_isspace(line.p[0])) break;
    strbuf_addc(&b, ' ');
    strbuf_addstr(&b, t);
  }
  return b.p;
}
