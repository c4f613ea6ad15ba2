/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding things in a finished configuration.  Floor: policy. */
#include "policy/config.h"

#include "base/buildinfo.h"
#include "router.h"
#include "transport.h"

const struct named_list *config_named_list(const struct config *c, enum list_kind kind, const char *name) {
  const struct tree_node *t = tree_find(&c->named_lists[kind], name);
  return t ? t->data : NULL;
}

const struct acl *config_acl(const struct config *c, const char *name) {
  const struct tree_node *t = tree_find(&c->acls, name);
  return t ? t->data : NULL;
}

struct transport *config_transport(const struct config *c, const char *name) {
  struct transport *t = c->transports;
  while (t && strcmp(t->name, name) != 0) t = t->next;
  return t;
}

struct router *config_router(const struct config *c, const char *name) {
  struct router *r = c->routers;
  while (r && strcmp(r->name, name) != 0) r = r->next;
  return r;
}

const struct config *config_default_queue(const struct config *c) { return c->default_queue ? c->default_queue : c; }

const struct config *config_for_queue(struct arena *a, const struct config *c, const char *queue_name) {
  const struct config *base = config_default_queue(c);
  if (!queue_name || !*queue_name) return base;
  struct config *named = ARENA_NEW(a, struct config);
  *named = *base;
  named->queue_name = arena_strdup_t(a, queue_name, UNTAINTED); /* checked by config_queue_name_is_valid() */
  named->default_queue = base;
  return named;
}

bool config_queue_name_is_valid(const char *name) {
  static const char *const taken[] = {"input", "msglog", "db", "log", "scan", "input.corrupt", "msglog.OLD"};
  if (strlen(name) > 64 || *name == '.') return false;
  for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
    if (strcmp(name, taken[i]) == 0) return false;
  for (const char *p = name; *p; p++)
    if (!ch_isalnum(*p) && !strchr("-_.", *p)) return false;
  return true;
}
