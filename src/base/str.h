/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Slices, ASCII character classes, number parsing.  Floor: base.
 *
 * struct str is a (pointer, length) slice passed by value; it owns nothing and is not NUL-terminated.
 * C strings are used at API edges.  All character tests and case folding are ASCII only, independent of the locale.
 * Number parsers return true and set *ret only when the whole slice was a number in range. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <string.h>

#include "base/macros.h"

struct arena;

struct str {
  const char *p;
  size_t n;
};

#define STR(lit) ((struct str){(lit), sizeof(lit) - 1})
#define STR_NULL ((struct str){NULL, 0})
/* For "%.*s". */
#define STR_FMT(s) (int)(s).n, (s).p

static inline struct str str_c(const char *s) { return (struct str){s, s ? strlen(s) : 0}; }
static inline struct str str_n(const char *p, size_t n) { return (struct str){p, n}; }

static inline bool ch_isdigit(int c) { return c >= '0' && c <= '9'; }
static inline bool ch_isupper(int c) { return c >= 'A' && c <= 'Z'; }
static inline bool ch_islower(int c) { return c >= 'a' && c <= 'z'; }
static inline bool ch_isalpha(int c) { return ch_isupper(c) || ch_islower(c); }
static inline bool ch_isalnum(int c) { return ch_isalpha(c) || ch_isdigit(c); }
static inline bool ch_isspace(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static inline bool ch_isblank(int c) { return c == ' ' || c == '\t'; }
static inline bool ch_isprint(int c) { return c >= 32 && c < 127; }
static inline bool ch_iscntrl(int c) { return (c >= 0 && c < 32) || c == 127; }
static inline bool ch_isgraph(int c) { return c > 32 && c < 127; }
static inline bool ch_ispunct(int c) { return ch_isgraph(c) && !ch_isalnum(c); }
static inline bool ch_isxdigit(int c) {
  return ch_isdigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
static inline int ch_lower(int c) { return ch_isupper(c) ? c + 32 : c; }
static inline int ch_upper(int c) { return ch_islower(c) ? c - 32 : c; }
/* The UTF-8 character that s begins with; its length, 0 when it is none (empty, overlong, surrogate, too large, cut off). */
size_t utf8_next(struct str s, uint32_t *ret);
/* Value of a hex digit, -1 when it is none. */
int ch_hexval(int c);

/* Comparisons; the ic forms fold ASCII case. */
bool str_eq(struct str a, struct str b);
bool str_eqic(struct str a, struct str b);
int str_cmpic(struct str a, struct str b);
/* Equality of secrets of n bytes: takes as long wherever they differ. */
bool bytes_eq_secret(const void *a, const void *b, size_t n);
bool str_eq_c(struct str a, const char *b);
bool str_eqic_c(struct str a, const char *b);
/* Does the value of a condition of the configuration mean no: empty, "0", "no", "false"? */
bool text_means_no(const char *s);
bool str_starts(struct str s, struct str prefix);
bool str_startsic(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
bool str_endsic(struct str s, struct str suffix);
/* Case-folding compares of C strings (strcasecmp/strncasecmp without the locale). */
int strcmpic(const char *a, const char *b);
int strncmpic(const char *a, const char *b, size_t n);
/* Case-folding strstr; NULL when absent. */
const char *strstric(const char *hay, const char *needle);

/* Index of c, or s.n when absent. */
size_t str_index(struct str s, char c);
/* White space (ch_isspace) removed from the left, right, both. */
struct str str_ltrim(struct str s);
struct str str_rtrim(struct str s);
struct str str_trim(struct str s);
/* Cut s at the first sep: the part before is returned, *s becomes the rest after sep (or empty). */
struct str str_cut(struct str *s, char sep);
/* The next word (run of non-space) of *s, which moves behind it; empty at the end. */
struct str str_word(struct str *s);

/* NUL-terminated copies, taint as the source. */
char *str_dup(struct arena *a, struct str s);
char *str_dup_lower(struct arena *a, struct str s);

MUST_CHECK bool str_parse_u64(struct str s, uint64_t *ret);
MUST_CHECK bool str_parse_i64(struct str s, int64_t *ret);
MUST_CHECK bool str_parse_int(struct str s, int *ret);
MUST_CHECK bool str_parse_hex(struct str s, uint64_t *ret);

#endif
