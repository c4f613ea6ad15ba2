/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The argument of ATRN.  Floor: formats.
 *
 * Hostile: all of it.  Nothing but plain names passes: what a client says here is compared with the domains of recipients and shown in the log, and
 * must never be taken for a pattern or a lookup.  RFC 2645 section 5.2; domains as in RFC 5321 section 4.1.2, with '_' because they exist. */
#include "formats/atrn_domains.h"

enum { LABEL_MAX = 63 };

static bool is_label(struct str s) {
  if (s.n == 0 || s.n > LABEL_MAX || s.p[0] == '-' || s.p[s.n - 1] == '-') return false;
  for (size_t i = 0; i < s.n; i++)
    if (!ch_isalnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_') return false;
  return true;
}

bool atrn_domain_is_valid(struct str name) {
  if (name.n == 0 || name.n > ATRN_DOMAIN_MAX || name.p[name.n - 1] == '.') return false;
  while (name.n > 0)
    if (!is_label(str_cut(&name, '.'))) return false;
  return true;
}

bool atrn_next_domain(struct str *list, struct str *ret) {
  struct str rest = *list, name = str_cut(&rest, ',');
  bool is_open = name.n < list->n && rest.n == 0; /* a comma with nothing behind it */
  if (is_open || !atrn_domain_is_valid(name)) return false;
  *list = rest;
  *ret = name;
  return true;
}

bool atrn_list_is_valid(struct str list) {
  struct str name;
  while (list.n > 0)
    if (!atrn_next_domain(&list, &name)) return false;
  return true;
}
