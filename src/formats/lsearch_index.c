/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding the line of a key in the text of an lsearch file.  Floor: formats (pure).
 *
 * The index is a hash table with open addressing, at most half full, of the offsets of the lines.  It is built in the order of the lines,
 * so that of equal keys the first one is met first.  Texts made to collide make it as slow as a scan, not slower. */
#include "formats/lsearch_index.h"

#include "formats/lsearch_line.h"

enum { INDEXED_TEXT_MAX = 64 << 20 };

struct slot {
  uint32_t hash;
  uint32_t line; /* offset of the line plus 1; 0: free */
};

struct lsearch_index {
  struct str text;
  struct slot *slots;
  size_t mask; /* number of slots - 1 */
};

static struct str line_at(struct str text, size_t at) {
  const char *newline = memchr(text.p + at, '\n', text.n - at);
  return str_n(text.p + at, newline ? (size_t)(newline - text.p) - at : text.n - at);
}

/* Does the line have this key?  Most lines differ in the first bytes: only those that do not are taken apart. */
static bool has_key(struct arena *a, struct str line, const char *key, struct str *ret_rest) {
  if (line.p[0] != '"' && ch_lower(line.p[0]) != ch_lower(key[0]) && line.p[0] != ':') return false;
  return str_eqic_c(lsearch_key(a, line, ret_rest), key);
}

static bool hit(struct arena *a, struct str text, struct str line, const char *key, struct lsearch_hit *ret) {
  struct str rest;
  if (!has_key(a, line, key, &rest)) return false;
  size_t end = (size_t)(line.p - text.p) + line.n;
  end += end < text.n; /* the newline */
  *ret = (struct lsearch_hit){line, rest, str_n(text.p + end, text.n - end)};
  return true;
}

bool lsearch_scan(struct arena *a, struct str text, const char *key, struct lsearch_hit *ret) {
  struct arena_mark mark = arena_mark(a);
  for (size_t at = 0; at < text.n;) {
    struct str line = line_at(text, at);
    if (lsearch_is_item(line)) {
      if (hit(a, text, line, key, ret)) return true;
      if (line.p[0] == '"') arena_release(a, mark);
    }
    at += line.n + 1;
  }
  return false;
}

static uint32_t hash_of(struct str key) {
  uint32_t h = 2166136261u;
  for (size_t i = 0; i < key.n; i++) h = (h ^ (uint32_t)ch_lower(key.p[i])) * 16777619u;
  return h ^ h >> 15;
}

const struct lsearch_index *lsearch_index_new(struct arena *a, struct str text) {
  if (text.n > INDEXED_TEXT_MAX) return NULL;
  size_t lines = 1, slots = 16;
  for (size_t at = 0; at < text.n; at += line_at(text, at).n + 1) lines++;
  while (slots < lines * 2) slots *= 2;
  struct lsearch_index *ix = ARENA_NEW(a, struct lsearch_index);
  *ix = (struct lsearch_index){.text = text, .slots = ARENA_NEW_N(a, struct slot, slots), .mask = slots - 1};
  struct arena_mark mark = arena_mark(a);
  for (size_t at = 0; at < text.n;) {
    struct str line = line_at(text, at), rest;
    if (lsearch_is_item(line)) {
      uint32_t h = hash_of(lsearch_key(a, line, &rest));
      size_t i = h & ix->mask;
      while (ix->slots[i].line) i = (i + 1) & ix->mask;
      ix->slots[i] = (struct slot){h, (uint32_t)at + 1};
      if (line.p[0] == '"') arena_release(a, mark);
    }
    at += line.n + 1;
  }
  return ix;
}

bool lsearch_index_find(const struct lsearch_index *ix, struct arena *a, const char *key, struct lsearch_hit *ret) {
  uint32_t h = hash_of(str_c(key));
  for (size_t i = h & ix->mask; ix->slots[i].line; i = (i + 1) & ix->mask)
    if (ix->slots[i].hash == h && hit(a, ix->text, line_at(ix->text, ix->slots[i].line - 1), key, ret)) return true;
  return false;
}
