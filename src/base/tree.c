/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ordered map: AVL tree.  Floor: base.
 *
 * height is that of the subtree, 1 for a leaf.  Insertion recurses; the depth is bounded by the balance
 * (1.44 log2 n), so hostile keys cannot make it deep. */
#include "base/tree.h"

#include <string.h>

struct tree_node *tree_find(const struct tree *t, const char *name) {
  struct tree_node *node = t->root;
  while (node) {
    int c = strcmp(name, node->name);
    if (c == 0) {
      return node;
    }
    node = c < 0 ? node->left : node->right;
  }
  return NULL;
}

static int height(const struct tree_node *node) {
  return node ? node->height : 0;
}

static void update(struct tree_node *node) {
  node->height = 1 + MAX(height(node->left), height(node->right));
}

static struct tree_node *rotate_right(struct tree_node *node) {
  struct tree_node *top = node->left;
  node->left = top->right;
  top->right = node;
  update(node);
  update(top);
  return top;
}

static struct tree_node *rotate_left(struct tree_node *node) {
  struct tree_node *top = node->right;
  node->right = top->left;
  top->left = node;
  update(node);
  update(top);
  return top;
}

/* Restore the balance of node, whose subtrees are balanced; returns the new top. */
static struct tree_node *balance(struct tree_node *node) {
  int lean = height(node->right) - height(node->left);
  if (lean > 1) {
    if (height(node->right->left) > height(node->right->right)) {
      node->right = rotate_right(node->right);
    }
    return rotate_left(node);
  }
  if (lean < -1) {
    if (height(node->left->right) > height(node->left->left)) {
      node->left = rotate_left(node->left);
    }
    return rotate_right(node);
  }
  update(node);
  return node;
}

static struct tree_node *insert_below(struct tree_node *top, struct tree_node *new_node) {
  if (!top) {
    return new_node;
  }
  if (strcmp(new_node->name, top->name) < 0) {
    top->left = insert_below(top->left, new_node);
  } else {
    top->right = insert_below(top->right, new_node);
  }
  return balance(top);
}

struct tree_node *tree_insert(struct tree *t, struct arena *a, const char *name, bool *ret_new) {
  struct tree_node *node = tree_find(t, name);
  if (ret_new) {
    *ret_new = node == NULL;
  }
  if (node) {
    return node;
  }
  node = ARENA_NEW(a, struct tree_node);
  node->height = 1;
  node->name = arena_strdup(a, name);
  t->root = insert_below(t->root, node);
  t->count++;
  return node;
}

static bool walk_below(struct tree_node *node, bool (*fn)(struct tree_node *node, void *ctx), void *ctx) {
  return !node || (walk_below(node->left, fn, ctx) && fn(node, ctx) && walk_below(node->right, fn, ctx));
}

void tree_walk(const struct tree *t, bool (*fn)(struct tree_node *node, void *ctx), void *ctx) {
  (void)walk_below(t->root, fn, ctx);
}
