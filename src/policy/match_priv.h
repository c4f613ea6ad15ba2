/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to list matching.  Floor: policy.
 *
 * A struct list_run is one walk over one list: the engine (match_list.c) knows separators, negation, named lists, files and the special
 * items; what one item means is asked from check(), which is chosen by the kind of list. */
#ifndef POLICY_MATCH_PRIV_H
#define POLICY_MATCH_PRIV_H

#include "policy/match.h"
#include "policy/search.h"

enum { MATCH_DEPTH_MAX = 20 };

struct list_run {
  struct expand_ctx *x;
  enum list_kind kind;
  const char *subject;       /* as narrated: "host" for hosts */
  const char *text;          /* what is compared now (folded or not); for hosts NULL */
  const char *original;      /* the same with its case kept */
  struct match_host *host;   /* LIST_HOST only */
  const char *name;          /* for narration, or NULL */
  bool caseless;
  bool exact_domain;         /* behind +caseful: domains of address patterns must be written in lower case */
  bool specials;             /* "@", "@[]", "@mx_..." have a meaning */
  bool no_named;
  bool single_item;
  bool in_address;           /* domain half of an address pattern: captures are added behind the existing ones */
  bool no_captures;          /* leave $0, $1 ... alone (but for regular expressions) */
  const char *list;          /* for messages */
  int depth;
  const char *value;         /* of the item that matched */
  bool parted;               /* the lookup that matched left the parts of its key in $1 and $2 */
  bool unknown;              /* check() returned FAIL because information could not be found */
  const char *error;         /* then, or with DEFER: why */
};

/* Walk an expanded list. */
enum outcome list_run(struct list_run *r, const char *list);
/* One item of each kind of list. */
enum outcome match_check_string(struct list_run *r, const char *item);
enum outcome match_check_address(struct list_run *r, const char *item);
enum outcome match_check_host(struct list_run *r, const char *item);
/* "type;data" at the start of item?  Then the parsed type; a syntax error is in *ret_error.  is_address: "*@" may end the type. */
bool match_item_lookup(struct arena *a, const char *item, bool is_address, struct lookup_type *ret, const char **ret_data,
                       const char **ret_error);
/* Run such an item with the key given. */
enum outcome match_run_lookup(struct list_run *r, const struct lookup_type *t, const char *data, const char *key);
const struct match_hooks *match_hooks_get(void);

#endif
