/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACL variables: acl_c* live with the connection, acl_m* with the message.
 *
 * Floor: policy.  The trees are keyed by the name without "acl_c"/"acl_m" ("0", "_foo"), data is the value
 * (const char *, NULL when deleted); values live in the connection's or message's arena.  At delivery there is no
 * connection: the message then carries the acl_c values it was stored with.  Manual ch. 44 "ACL variables". */
#include "policy/acl/acl_priv.h"

static struct tree *tree_of(struct expand_ctx *x, const char *name, struct arena **ret_arena) {
  if (strncmp(name, "acl_", 4) != 0) return NULL;
  if (name[4] == 'c' && x->conn) {
    *ret_arena = x->conn->arena;
    return &x->conn->acl_c;
  }
  if (!x->msg) return NULL;
  *ret_arena = x->msg->arena;
  if (name[4] == 'c') return &x->msg->acl_c;
  return name[4] == 'm' ? &x->msg->acl_m : NULL;
}

void acl_var_set(struct expand_ctx *x, const char *name, const char *value) {
  struct arena *a = NULL;
  struct tree *t = tree_of(x, name, &a);
  if (!t) return;
  struct tree_node *n = value ? tree_insert(t, a, name + 5, NULL) : tree_find(t, name + 5);
  if (n) n->data = value ? arena_strdup(a, value) : NULL;
}

const char *acl_var_get(struct expand_ctx *x, const char *name) {
  struct arena *a;
  struct tree *t = tree_of(x, name, &a);
  struct tree_node *n = t ? tree_find(t, name + 5) : NULL;
  return n ? n->data : NULL;
}
