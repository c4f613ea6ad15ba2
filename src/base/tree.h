/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ordered map from names to data: an AVL tree.  Floor: base.
 *
 * Used for named lists, ACL variables, duplicate and non-recipient sets.  The nodes are visible because the -H spool
 * file stores such a tree in pre-order with its shape (formats/spool_file).  Keys are compared bytewise.
 * Keys are copied into the arena given at insertion; data pointers are the caller's. */
#ifndef BASE_TREE_H
#define BASE_TREE_H

#include "base/arena.h"

struct tree_node {
  struct tree_node *left, *right;
  int height;
  void *data;
  int64_t val;
  const char *name;
};

struct tree {
  struct tree_node *root;
  size_t count;
};

/* Node with that key, or NULL. */
struct tree_node *tree_find(const struct tree *t, const char *name);
/* Insert; when the key exists its node is returned with *ret_new false (ret_new may be NULL). */
struct tree_node *tree_insert(struct tree *t, struct arena *a, const char *name, bool *ret_new);
/* Visit in key order; stops when fn returns false. */
void tree_walk(const struct tree *t, bool (*fn)(struct tree_node *node, void *ctx), void *ctx);
/* In-order successor walking without recursion is not needed; trees here are small or walked once. */

#endif
