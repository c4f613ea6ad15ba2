/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Slices of JSON text: members, elements, values, as ${extract json and forany_json need them.  Floor: policy.
 *
 * Pure functions over hostile bytes; nothing is converted, the raw text of a value is what Exim's interface hands out.  Nesting is
 * followed by counting, not by recursion. */
#include "policy/expand/expand_priv.h"

/* Length of the string literal at the start of s, quotes included; 0 when unterminated. */
static size_t string_len(struct str s) {
  for (size_t i = 1; i < s.n; i++) {
    if (s.p[i] == '\\')
      i++;
    else if (s.p[i] == '"')
      return i + 1;
  }
  return 0;
}

/* Length of the value at the start of s, up to a comma or bracket that closes what is around it. */
static size_t value_len(struct str s) {
  int depth = 0;
  size_t i = 0;
  while (i < s.n) {
    char c = s.p[i];
    if (c == '"') {
      size_t n = string_len(str_n(s.p + i, s.n - i));
      if (!n) return s.n;
      i += n;
      continue;
    }
    if (c == '{' || c == '[') depth++;
    if ((c == '}' || c == ']') && depth-- == 0) return i;
    if (c == ',' && depth == 0) return i;
    i++;
  }
  return i;
}

static struct str advance(struct str s, size_t n) { return str_n(s.p + n, s.n - n); }

bool json_array_inside(struct str text, struct str *ret_inside) {
  struct str t = str_trim(text);
  if (t.n < 2 || t.p[0] != '[' || t.p[t.n - 1] != ']') return false;
  *ret_inside = str_trim(str_n(t.p + 1, t.n - 2));
  return true;
}

bool json_next(struct str *rest, struct str *ret_value) {
  struct str t = str_ltrim(*rest);
  if (!t.n) return false;
  size_t n = value_len(t);
  *ret_value = str_rtrim(str_n(t.p, n));
  *rest = advance(t, MIN(n + 1, t.n));
  return true;
}

int json_element(struct str text, int64_t number, struct str *ret_value) {
  struct str rest, v;
  if (!json_array_inside(text, &rest)) return -1;
  for (int64_t i = 1; json_next(&rest, &v); i++)
    if (i == number) {
      *ret_value = v;
      return 1;
    }
  return 0;
}

int json_member(struct str text, struct str key, struct str *ret_value) {
  struct str t = str_trim(text);
  if (t.n < 2 || t.p[0] != '{' || t.p[t.n - 1] != '}') return -1;
  struct str rest = str_trim(str_n(t.p + 1, t.n - 2));
  struct str member;
  while (json_next(&rest, &member)) {
    size_t n = member.n && member.p[0] == '"' ? string_len(member) : 0;
    if (!n) return 0;
    struct str after = str_ltrim(advance(member, n));
    if (!after.n || after.p[0] != ':') return 0;
    if (!str_eq(str_n(member.p + 1, n - 2), key)) continue;
    *ret_value = str_trim(advance(after, 1));
    return 1;
  }
  return 0;
}
