/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACL variables: acl_c* live with the connection, acl_m* with the message.
 *
 * Floor: policy.  The trees are keyed by the name without "acl_c"/"acl_m" ("0", "_foo"), data is the value
 * (const char *, NULL when deleted); values live in the connection's or message's arena.  At delivery there is no
 * connection: the message then carries the acl_c values it was stored with.  Manual ch. 44 "ACL variables".
 *
 * A client can have a variable set for every command it sends.  So a new value takes the place of the one before, in the same memory; who asks
 * for a value gets a copy. */
#include "policy/acl/acl_priv.h"

/* Where the values of a variable are put. */
struct room {
  char *p[TAINT_KINDS];
  size_t size[TAINT_KINDS];
};

static const char *put_value(struct tree *rooms, struct arena *a, const char *name, const char *value) {
  struct tree_node *n = tree_insert(rooms, a, name, NULL);
  if (!n->data) n->data = ARENA_NEW(a, struct room);
  struct room *r = n->data;
  enum taint t = taint_kind(value);
  size_t bytes = strlen(value) + 1;
  if (bytes > r->size[t]) {
    r->size[t] = MAX(bytes, 2 * r->size[t]); /* all that a growing value leaves behind is no more than twice its size */
    r->p[t] = arena_alloc_t(a, r->size[t], t);
  }
  return memmove(r->p[t], value, bytes);
}

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
  struct tree *rooms = name[4] == 'c' && x->conn ? &x->conn->acl_rooms : &x->msg->acl_rooms;
  struct tree_node *n = value ? tree_insert(t, a, name + 5, NULL) : tree_find(t, name + 5);
  if (n) n->data = value ? (void *)(uintptr_t)put_value(rooms, a, name + 4, value) : NULL;
}

const char *acl_var_get(struct expand_ctx *x, const char *name) {
  struct arena *a;
  struct tree *t = tree_of(x, name, &a);
  struct tree_node *n = t ? tree_find(t, name + 5) : NULL;
  return n && n->data ? arena_strdup(x->a, n->data) : NULL;
}
