/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The routers, transports and authenticators sections: instances, their generic and private options.  Floor: policy.  Manual ch. 15, 24, 33.
 *
 * The three kinds differ only in their structs; struct kind describes how to reach the common parts.  Instances live in the configuration. */
#include "auth.h"
#include "policy/match.h"
#include "policy/readconf_priv.h"
#include "policy/rewrite.h"
#include "router.h"
#include "transport.h"

struct driver_info {
  const char *name;
  const struct option *options;
  size_t option_count;
  size_t ob_size;
};

/* One instance being read. */
struct instance {
  const char *name;
  struct conf_pos pos;
  void *self;
  struct opt_block *block, *ob_block;
  void *ob;
};

struct kind {
  const char *word; /* "router" */
  const struct option *table;
  const size_t *table_count;
  bool (*start)(struct readconf *r, struct instance *i);               /* allocate and link */
  bool (*find)(const char *name, struct driver_info *ret, const void **ret_driver);
  void (*set_driver)(struct instance *i, const void *driver);
  bool (*finish)(struct readconf *r, struct instance *i);              /* defaults and init */
};

static size_t instance_name_len(const char *line) {
  size_t n = 0, k;
  if (!ch_isalpha(*line)) return 0;
  while (ch_isalnum(line[n]) || line[n] == '_') n++;
  for (k = n; ch_isspace(line[k]); k++) {}
  return line[k] == ':' ? n : 0;
}

/* Drivers that exist elsewhere: their users should not look for a spelling mistake. */
static bool is_left_out(const char *name) {
  static const char *const names[] = {"cyrus_sasl", "dovecot", "gsasl", "heimdal_gssapi", "iplookup", "lmtp", "queryprogram", "queuefile", "spa"};
  for (size_t n = 0; n < ARRAY_SIZE(names); n++)
    if (strcmp(names[n], name) == 0) return true;
  return false;
}

static bool choose_driver(struct readconf *r, const struct kind *k, struct instance *i, const char *name) {
  struct driver_info d;
  const void *driver;
  if (!k->find(name, &d, &driver))
    return rc_fail(r, "%s %s: cannot find %s driver \"%s\"%s", k->word, i->name, k->word, name,
                   is_left_out(name) ? " (a driver of Exim that is not part of this build)" : "");
  i->ob = arena_alloc(r->a, d.ob_size ? d.ob_size : 1);
  i->ob_block = opt_block_new(r->a, d.options, d.option_count, i->ob);
  k->set_driver(i, driver);
  return true;
}

static bool read_instance_option(struct readconf *r, const struct kind *k, struct instance *i, const char *line) {
  struct rc_setting s;
  if (!rc_split_setting(r, line, &s)) return false;
  const struct option *o = opt_find(k->table, *k->table_count, str_c(s.name));
  if (o && strcmp(o->name, "driver") == 0) {
    if (!rc_store(r, i->block, o, &s)) return false;
    return choose_driver(r, k, i, str_dup(r->a, s.value));
  }
  if (o) return rc_store(r, i->block, o, &s);
  if (!i->ob_block)
    return rc_fail(r, "option \"%s\" unknown (\"driver\" must be specified before any private options)", s.name);
  o = opt_find(i->ob_block->table, i->ob_block->count, str_c(s.name));
  if (!o) return rc_fail(r, "option \"%s\" unknown", s.name);
  return rc_store(r, i->ob_block, o, &s);
}

static bool end_instance(struct readconf *r, const struct kind *k, struct instance *i) {
  if (!i->name) return true;
  if (!i->ob_block) return rc_fail_plain(r, "no driver defined for %s \"%s\"", k->word, i->name);
  return k->finish(r, i);
}

static bool read_instances(struct readconf *r, const struct kind *k) {
  struct instance i = {0};
  const char *line;
  while ((line = rc_next_line(r))) {
    if (strncmp(line, "begin", 5) == 0 && ch_isblank(line[5])) {
      rc_unread_line(r);
      break;
    }
    size_t n = instance_name_len(line);
    if (!n && !i.name) return rc_fail(r, "%s name missing", k->word);
    if (!n) {
      if (!read_instance_option(r, k, &i, line)) return false;
      continue;
    }
    if (!end_instance(r, k, &i)) return false;
    i = (struct instance){.name = str_dup(r->a, str_n(line, n)), .pos = rc_pos(r)};
    if (str_trim(str_c(strchr(line, ':') + 1)).n) return rc_fail(r, "extra characters follow driver name %s", i.name);
    if (!k->start(r, &i)) return false;
  }
  return !r->error && end_instance(r, k, &i);
}

static bool two_of_a_name(struct readconf *r, const char *word, const char *name) {
  return rc_fail_plain(r, "there are two %ss called \"%s\"", word, name);
}

/* A user given by name brings its group along unless one was set. */
static void default_group(struct opt_block *b, struct opt_id *user, struct opt_id *group) {
  uid_t uid;
  gid_t gid;
  if (!user->is_set || opt_was_set(b, "group") || !opt_find_user(user->text, &uid, &gid) || gid == (gid_t)-1) return;
  group->is_set = true;
  group->id = gid;
}

/* ---- Routers ---- */

static bool router_start(struct readconf *r, struct instance *i) {
  struct router **tail = &r->cfg->routers;
  for (; *tail; tail = &(*tail)->next)
    if (strcmp((*tail)->name, i->name) == 0) return two_of_a_name(r, "router", i->name);
  struct router *rt = *tail = ARENA_NEW(r->a, struct router);
  rt->name = i->name;
  rt->pos = i->pos;
  rt->block = i->block = opt_block_new(r->a, router_option_table, router_option_count, &rt->o);
  i->self = rt;
  return true;
}

static bool router_find(const char *name, struct driver_info *ret, const void **ret_driver) {
  for (size_t n = 0; router_drivers[n]; n++) {
    const struct router_driver *d = router_drivers[n];
    if (strcmp(d->name, name) != 0) continue;
    *ret = (struct driver_info){d->name, d->options, d->option_count, d->ob_size};
    *ret_driver = d;
    return true;
  }
  return false;
}

static void router_set_driver(struct instance *i, const void *driver) {
  struct router *rt = i->self;
  rt->driver = driver;
  rt->ob = i->ob;
  rt->ob_block = i->ob_block;
}

static bool valid_self(const char *s) {
  static const char *const words[] = {"defer", "freeze", "send", "pass", "fail", "reroute:"};
  if (!s) return true;
  for (size_t n = 0; n < ARRAY_SIZE(words); n++)
    if (strcmp(s, words[n]) == 0) return true;
  return strncmp(s, "reroute:", 8) == 0;
}

static bool router_finish(struct readconf *r, struct instance *i) {
  struct router *rt = i->self;
  struct router_generic *o = &rt->o;
  default_group(rt->block, &o->user, &o->group);
  if (!opt_was_set(rt->block, "log_as_local")) o->log_as_local = strcmp(rt->driver->name, "accept") == 0;
  if (!opt_was_set(rt->block, "retry_use_local_part"))
    o->retry_use_local_part = o->check_local_user || o->local_parts || o->condition || o->local_part_prefix ||
                              o->local_part_suffix || o->senders || o->require_files;
  if (!valid_self(o->self))
    return rc_fail_for(r, rt->name, "router", arena_printf(r->a, "%s is not valid for the self option", o->self));
  const char *err = rt->driver->init ? rt->driver->init(r->a, r->cfg, rt) : NULL;
  return err ? rc_fail_for(r, rt->name, "router", err) : true;
}

/* pass_router must point forwards, redirect_router may point anywhere. */
static bool resolve_router(struct readconf *r, struct router *from, const char *name, bool forwards, struct router **ret) {
  if (!name) return true;
  struct router *to = config_router(r->cfg, name);
  if (!to) return rc_fail_plain(r, "new_router \"%s\" not found for \"%s\" router", name, from->name);
  if (forwards) {
    struct router *n = from->next;
    while (n && n != to) n = n->next;
    if (!n) return rc_fail_plain(r, "new_router \"%s\" does not follow \"%s\" router", name, from->name);
  }
  *ret = to;
  return true;
}

bool rc_read_routers(struct readconf *r) {
  static const struct kind kind = {"router",    router_option_table, &router_option_count, router_start,
                                   router_find, router_set_driver,   router_finish};
  if (!read_instances(r, &kind)) return false;
  for (struct router *rt = r->cfg->routers; rt; rt = rt->next)
    if (!resolve_router(r, rt, rt->o.pass_router, true, &rt->pass_router) ||
        !resolve_router(r, rt, rt->o.redirect_router, false, &rt->redirect_router))
      return false;
  return true;
}

/* ---- Transports ---- */

static bool transport_start(struct readconf *r, struct instance *i) {
  struct transport **tail = &r->cfg->transports;
  for (; *tail; tail = &(*tail)->next)
    if (strcmp((*tail)->name, i->name) == 0) return two_of_a_name(r, "transport", i->name);
  struct transport *t = *tail = ARENA_NEW(r->a, struct transport);
  t->name = i->name;
  t->pos = i->pos;
  t->block = i->block = opt_block_new(r->a, transport_option_table, transport_option_count, &t->o);
  i->self = t;
  return true;
}

static bool transport_find(const char *name, struct driver_info *ret, const void **ret_driver) {
  for (size_t n = 0; transport_drivers[n]; n++) {
    const struct transport_driver *d = transport_drivers[n];
    if (strcmp(d->name, name) != 0) continue;
    *ret = (struct driver_info){d->name, d->options, d->option_count, d->ob_size};
    *ret_driver = d;
    return true;
  }
  return false;
}

static void transport_set_driver(struct instance *i, const void *driver) {
  struct transport *t = i->self;
  t->driver = driver;
  t->ob = i->ob;
  t->ob_block = i->ob_block;
}

static bool parse_headers_rewrite(struct readconf *r, struct transport *t) {
  const char *pos = t->o.headers_rewrite;
  int sep = 0, number = 0;
  struct rewrite_rule **tail = &t->rewrite_rules;
  if (!pos) return true;
  for (const char *item; (item = list_next(r->a, &pos, &sep));) {
    struct rewrite_rule *rule = ARENA_NEW(r->a, struct rewrite_rule);
    const char *err = rewrite_parse_rule(r->a, item, t->pos, number++, rule);
    if (err) return rc_fail_for(r, t->name, "transport", err);
    *tail = rule;
    tail = &rule->next;
  }
  return true;
}

static bool transport_finish(struct readconf *r, struct instance *i) {
  struct transport *t = i->self;
  default_group(t->block, &t->o.user, &t->o.group);
  if (!opt_was_set(t->block, "retry_use_local_part")) t->o.retry_use_local_part = t->driver->is_local;
  if (t->o.body_only && t->o.headers_only)
    return rc_fail_plain(r, "%s transport: body_only and headers_only are mutually exclusive", t->name);
  if (!parse_headers_rewrite(r, t)) return false;
  const char *err = t->driver->init ? t->driver->init(r->a, r->cfg, t) : NULL;
  return err ? rc_fail_for(r, t->name, "transport", err) : true;
}

bool rc_read_transports(struct readconf *r) {
  static const struct kind kind = {"transport",    transport_option_table, &transport_option_count, transport_start,
                                   transport_find, transport_set_driver,   transport_finish};
  return read_instances(r, &kind);
}

/* ---- Authenticators ---- */

static bool auth_start(struct readconf *r, struct instance *i) {
  struct auth_instance **tail = &r->cfg->auths;
  for (; *tail; tail = &(*tail)->next)
    if (strcmp((*tail)->name, i->name) == 0) return two_of_a_name(r, "authenticator", i->name);
  struct auth_instance *au = *tail = ARENA_NEW(r->a, struct auth_instance);
  au->name = i->name;
  au->pos = i->pos;
  au->block = i->block = opt_block_new(r->a, auth_option_table, auth_option_count, &au->o);
  i->self = au;
  return true;
}

static bool auth_find(const char *name, struct driver_info *ret, const void **ret_driver) {
  for (size_t n = 0; auth_drivers[n]; n++) {
    const struct auth_driver *d = auth_drivers[n];
    if (strcmp(d->name, name) != 0) continue;
    *ret = (struct driver_info){d->name, d->options, d->option_count, d->ob_size};
    *ret_driver = d;
    return true;
  }
  return false;
}

static void auth_set_driver(struct instance *i, const void *driver) {
  struct auth_instance *au = i->self;
  au->driver = driver;
  au->ob = i->ob;
  au->ob_block = i->ob_block;
}

static bool auth_finish(struct readconf *r, struct instance *i) {
  struct auth_instance *au = i->self;
  if (!au->o.public_name) au->o.public_name = au->name;
  const char *err = au->driver->init ? au->driver->init(r->a, r->cfg, au) : NULL;
  if (err) return rc_fail_for(r, au->name, "authenticator", err);
  for (const struct auth_instance *p = r->cfg->auths; p != au; p = p->next) {
    if (strcmpic(p->o.public_name, au->o.public_name) != 0 || p->driver->is_implicit || au->driver->is_implicit) continue;
    bool client = p->is_client && au->is_client;
    if (client || (p->is_server && au->is_server))
      return rc_fail_plain(r, "two %s authenticators (%s and %s) have the same public name (%s)", client ? "client" : "server",
                           p->name, au->name, p->o.public_name);
  }
  return true;
}

bool rc_read_auths(struct readconf *r) {
  static const struct kind kind = {"authenticator", auth_option_table, &auth_option_count, auth_start,
                                   auth_find,       auth_set_driver,   auth_finish};
  return read_instances(r, &kind);
}

bool rc_finish_drivers(struct readconf *r) {
  for (struct router *rt = r->cfg->routers; rt; rt = rt->next)
    if (rt->o.transport && !strchr(rt->o.transport, '$')) rt->transport = config_transport(r->cfg, rt->o.transport);
  return !r->error;
}
