/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Syntax of alias and forward lists.  Floor: formats (pure; the text is hostile).  Manual ch. 22 "Redirection data". */
#ifndef ROUTERS_REDIRECT_LIST_H
#define ROUTERS_REDIRECT_LIST_H

#include "base/arena.h"
#include "base/str.h"

enum redirect_kind {
  REDIRECT_ADDRESS,
  REDIRECT_PIPE,      /* text starts with | */
  REDIRECT_FILE,      /* text starts with / */
  REDIRECT_INCLUDE,   /* text: path */
  REDIRECT_BLACKHOLE,
  REDIRECT_UNKNOWN,
  REDIRECT_DEFER,     /* text: the rest of the line, may be "" */
  REDIRECT_FAIL,
  REDIRECT_BAD        /* text: what is wrong, with the item in quotes */
};

struct redirect_item {
  struct redirect_item *next;
  enum redirect_kind kind;
  const char *text;
  bool is_qualified;  /* ADDRESS: has a domain */
  bool keep_domain;   /* ADDRESS: unqualified and written with a leading backslash */
};

enum redirect_filter { REDIRECT_NO_FILTER, REDIRECT_EXIM_FILTER, REDIRECT_SIEVE_FILTER };

/* Does the text say in its first line that it is a filter? */
enum redirect_filter redirect_filter_kind(struct str text);
/* Items in order, in the arena (taint as the text); NULL for an empty list.  :defer: and :fail: end the list. */
struct redirect_item *redirect_list_parse(struct arena *a, struct str text, bool allow_domain_literal, bool allow_utf8);

#endif
