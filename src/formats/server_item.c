/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of database servers, and the rows that they answer.  Floor: formats.  Manual ch. 9.21-9.25.
 *
 * Items come from options, or from the start of a query that may hold foreign text; fields are the database's.  Slices point into the input. */
#include "formats/server_item.h"

bool server_item_split(struct str item, int n, struct str *parts) {
  for (int i = n - 1; i > 0; i--) {
    size_t at = item.n;
    while (at > 0 && item.p[at - 1] != '/') at--;
    if (at == 0) return false;
    parts[i] = str_n(item.p + at, item.n - at);
    item.n = at - 1;
  }
  parts[0] = item;
  return true;
}

/* What is in brackets at the end of *text, which is cut off there. */
static bool cut_bracket(struct str *text, char open, char close, struct str *ret) {
  size_t at = str_index(*text, open);
  *ret = str_n(text->p + text->n, 0);
  if (at == text->n) return true;
  if (text->p[text->n - 1] != close) return false;
  *ret = str_n(text->p + at + 1, text->n - at - 2);
  text->n = at;
  return true;
}

bool server_item_parse_host(struct str text, struct server_item_host *ret) {
  struct server_item_host h;
  if (!cut_bracket(&text, '[', ']', &h.group) || !cut_bracket(&text, '(', ')', &h.socket)) return false;
  size_t colon = str_index(text, ':');
  h.name = str_n(text.p, colon);
  h.port = colon < text.n ? str_n(text.p + colon + 1, text.n - colon - 1) : str_n(text.p + text.n, 0);
  *ret = h;
  return true;
}

bool server_item_cut_prefix(struct str *query, struct str *ret_servers, bool *ret_bad) {
  struct str q = str_ltrim(*query);
  *ret_bad = false;
  if (!str_starts(q, STR("servers"))) return false;
  q = str_ltrim(str_n(q.p + 7, q.n - 7));
  if (!q.n || *q.p != '=') return false;
  q = str_n(q.p + 1, q.n - 1);
  size_t end = str_index(q, ';');
  *ret_bad = end == q.n;
  if (*ret_bad) return false;
  *ret_servers = str_trim(str_n(q.p, end));
  *query = str_ltrim(str_n(q.p + end + 1, q.n - end - 1));
  return true;
}

bool server_item_cut_words(struct arena *a, const char *text, struct server_item_words *ret) {
  ret->n = 0;
  for (;;) {
    while (ch_isspace(*text)) text++;
    if (!*text) return true;
    if (ret->n == SERVER_ITEM_WORDS_MAX) return false;
    struct strbuf b = strbuf_new_t(a, taint_kind(text), 16);
    for (; *text && !ch_isspace(*text); text++) {
      if (*text == '\\' && text[1]) text++;
      strbuf_addc(&b, *text);
    }
    ret->word[ret->n++] = b.p;
  }
}

void server_item_add_field(struct strbuf *out, const char *name, struct str value) {
  strbuf_addl(out, name, "=", NULL);
  bool is_plain = value.n > 0 && *value.p != '"';
  for (size_t i = 0; i < value.n; i++) is_plain = is_plain && !ch_isspace(value.p[i]);
  if (is_plain) {
    strbuf_addstr(out, value);
  } else {
    strbuf_addc(out, '"');
    for (size_t i = 0; i < value.n; i++) {
      if (value.p[i] == '"' || value.p[i] == '\\') strbuf_addc(out, '\\');
      strbuf_addc(out, value.p[i]);
    }
    strbuf_addc(out, '"');
  }
  strbuf_addc(out, ' ');
}
