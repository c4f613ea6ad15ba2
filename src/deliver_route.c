/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The routing phase of a delivery: every recipient and every child it gives, until all are on a transport's list or done.  Floor: flows.
 *
 * Order matters for the log and follows Exim: addresses are collected from the front of the list, routed from its end, and children
 * go to the front.  The retry data base is open only while records are read, never while DNS or lookups run. */
#include "deliver_priv.h"
#include "os/debug.h"
#include "os/log.h"
#include "policy/match.h"
#include "retry.h"

static void list_push(struct address **list, struct address *addr) {
  addr->next = *list;
  *list = addr;
}

/* Key for the set of addresses seen: a homonym differs from the ancestor it is spelled like. */
static const char *seen_key(struct deliver_run *run, const struct address *addr) {
  return addr->homonym ? arena_printf(run->a, "\\%s", addr->unique) : addr->unique;
}

static bool was_delivered(const struct deliver_run *run, const struct address *addr) {
  return tree_find(&run->m->nonrecipients, addr->unique) != NULL;
}

/* True when another address of this message stands for this one. */
static bool is_duplicate(struct deliver_run *run, struct address *addr) {
  bool is_new;
  struct tree_node *node = tree_insert(&run->seen, run->a, seen_key(run, addr), &is_new);
  if (is_new) {
    node->data = addr;
    return false;
  }
  DEBUG(D_DELIVER | D_ROUTE) debug_printf("%s is a duplicate address: discarded\n", addr->address);
  addr->dupof = node->data;
  addr->next_duplicate = addr->dupof->duplicates;
  addr->dupof->duplicates = addr;
  list_push(&run->dup, addr);
  if (was_delivered(run, addr->dupof)) deliver_parent_done(run, addr); /* the other one is done already: nobody comes back to this one */
  return true;
}

static void finish(struct deliver_run *run, struct address *addr, enum outcome result) {
  addr->result = result;
  deliver_one_result(run, addr, true, false);
}

/* A pipe, file or reply made by a redirection: its transport is known already. */
static void take_pseudo(struct deliver_run *run, struct address *addr) {
  if (is_duplicate(run, addr)) return;
  if (was_delivered(run, addr)) {
    deliver_parent_done(run, addr);
    return;
  }
  if (addr->basic_errno == ERRNO_FORBIDPIPE || addr->basic_errno == ERRNO_FORBIDFILE || addr->basic_errno == ERRNO_FORBIDREPLY) {
    addr->basic_errno = 0;
    addr->user_message = ""; /* the sender need not know what local users may do */
    finish(run, addr, OUTCOME_FAIL);
    return;
  }
  if (addr->basic_errno == ERRNO_BADADDRESS2) {
    addr->basic_errno = 0;
    finish(run, addr, OUTCOME_FAIL);
    return;
  }
  if (addr->is_file && strcmp(addr->address, "/dev/null") == 0) {
    addr->transport = NULL;
    finish(run, addr, OUTCOME_OK);
    return;
  }
  if (!addr->transport) {
    finish(run, addr, OUTCOME_DEFER);
    return;
  }
  list_push(addr->transport->driver->is_local ? &run->local : &run->remote, addr);
}

/* hold_domains: DEFER text set and true when the address must wait. */
static bool is_held(struct deliver_run *run, struct address *addr) {
  const char *hold = run->cfg->o.hold_domains;
  if (!hold || run->o->forced) return false;
  run->x.addr = addr;
  enum outcome o = match_domain(&run->x, addr->domain, hold, NULL);
  if (o == OUTCOME_FAIL) return false;
  addr->basic_errno = o == OUTCOME_OK ? ERRNO_HELD : ERRNO_LISTDEFER;
  addr->message = o == OUTCOME_OK ? "domain is held" : "hold_domains lookup deferred";
  return true;
}

static bool is_queued_domain(struct deliver_run *run, struct address *addr) {
  const char *list = run->cfg->o.queue_domains;
  if (!list || run->o->forced || run->o->in_queue_run) return false;
  run->x.addr = addr;
  enum outcome o = match_domain(&run->x, addr->domain, list, NULL);
  if (o == OUTCOME_FAIL) return false;
  addr->basic_errno = o == OUTCOME_OK ? ERRNO_QUEUE_DOMAIN : ERRNO_LISTDEFER;
  addr->message = o == OUTCOME_OK ? "domain is in queue_domains" : "queue_domains lookup deferred";
  return true;
}

/* Collect: everything fresh that must be routed, last one first. */
static struct address *collect(struct deliver_run *run, struct route_ctx *rc) {
  struct address *todo = NULL;
  while (run->fresh) {
    struct address *addr = run->fresh;
    run->fresh = addr->next;
    addr->next = NULL;
    if (addr->is_pipe || addr->is_file || addr->is_reply) {
      take_pseudo(run, addr);
      continue;
    }
    enum route_result hacked = route_percent_hack(rc, addr);
    if (hacked == ROUTE_DEFER) finish(run, addr, OUTCOME_DEFER);
    if (hacked != ROUTE_OK) continue;
    if (!addr->homonym && was_delivered(run, addr)) {
      deliver_parent_done(run, addr);
      continue;
    }
    if (is_held(run, addr)) {
      finish(run, addr, OUTCOME_DEFER);
      continue;
    }
    addr->domain_retry_key = arena_printf(run->a, "R:%s", addr->domain);
    addr->address_retry_key = arena_printf(run->a, "R:%s@%s", addr->cc_local_part, addr->domain);
    list_push(&todo, addr);
  }
  return todo;
}

/* One record: key is cleared when there is none; true when it is not yet time. */
static bool must_wait(struct deliver_run *run, struct hints_db *db, const char **key, const struct address *addr, time_t now) {
  struct hints_retry r;
  if (!retry_get(db, run->a, *key, &r) || !retry_is_fresh(run->cfg, &r, now)) {
    *key = NULL;
    return false;
  }
  /* A message that has just arrived is tried as usual: only queue runs wait. */
  if (run->o->forced || !run->o->in_queue_run || now >= r.next_try || r.expired) return false;
  return !retry_ultimate_address_timeout(&run->x, *key + 2, addr->domain, &r, now);
}

/* Take out the addresses whose routing must not be tried yet; they are told of in the order of the message. */
static struct address *check_retry_times(struct deliver_run *run, struct address *todo) {
  struct address *keep = NULL, **tail = &keep, *late = NULL;
  struct hints_db *db = hints_open(run->cfg->spool_directory, "retry", false);
  time_t now = time_sec();
  for (struct address *addr = todo, *next; addr; addr = next) {
    next = addr->next;
    addr->next = NULL;
    const char *sender_key = arena_printf(run->a, "%s:<%s>", addr->address_retry_key, run->m->sender ? run->m->sender : "");
    bool wait = false;
    if (db) {
      wait = must_wait(run, db, &addr->domain_retry_key, addr, now);
      wait = must_wait(run, db, &addr->address_retry_key, addr, now) || wait;
      if (!addr->address_retry_key && strcmp(addr->cc_local_part, addr->lc_local_part) != 0) {
        addr->address_retry_key = arena_printf(run->a, "R:%s@%s", addr->lc_local_part, addr->domain);
        wait = must_wait(run, db, &addr->address_retry_key, addr, now) || wait;
      }
      wait = must_wait(run, db, &sender_key, addr, now) || wait;
    } else {
      addr->domain_retry_key = addr->address_retry_key = NULL;
    }
    if (db && sender_key && !wait) retry_add_item(run->a, addr, sender_key, NULL, RETRY_DELETE);
    if (wait) {
      list_push(&late, addr);
      continue;
    }
    *tail = addr;
    tail = &addr->next;
  }
  if (db) hints_close(db);
  for (struct address *addr = late, *next; addr; addr = next) {
    next = addr->next;
    addr->message = "retry time not reached";
    addr->basic_errno = ERRNO_RRETRY;
    finish(run, addr, OUTCOME_DEFER);
  }
  return keep;
}

/* retry_use_local_part defaults to true on routers whose conditions look at the local part. */
static bool uses_local_part(const struct router *r) {
  if (!r) return true;
  if (opt_was_set(r->block, "retry_use_local_part")) return r->o.retry_use_local_part;
  return r->o.check_local_user || r->o.local_parts || r->o.condition || r->o.local_part_prefix || r->o.local_part_suffix ||
         r->o.senders || r->o.require_files;
}

static void retry_after_routing(struct deliver_run *run, struct address *addr, enum route_result res) {
  if (res == ROUTE_DEFER) {
    bool caseful = addr->router && addr->router->o.caseful_local_part;
    const char *key = uses_local_part(addr->router) ? arena_printf(run->a, "R:%s@%s", caseful ? addr->cc_local_part : addr->lc_local_part, addr->domain)
                                                    : arena_printf(run->a, "R:%s", addr->domain);
    retry_add_item(run->a, addr, key, addr->message, 0);
    return;
  }
  if (addr->domain_retry_key) retry_add_item(run->a, addr, addr->domain_retry_key, NULL, RETRY_DELETE);
  if (addr->address_retry_key) retry_add_item(run->a, addr, addr->address_retry_key, NULL, RETRY_DELETE);
}

/* queue_domains, for all addresses before the first is routed. */
static struct address *put_off_queued(struct deliver_run *run, struct address *todo) {
  for (struct address **link = &todo; *link;) {
    struct address *addr = *link;
    if (!is_queued_domain(run, addr)) {
      link = &addr->next;
      continue;
    }
    *link = addr->next;
    addr->next = NULL;
    finish(run, addr, OUTCOME_DEFER);
  }
  return todo;
}

static void route_one(struct deliver_run *run, struct route_ctx *rc, struct address *addr) {
  enum route_result res = route_address(rc, addr);
  retry_after_routing(run, addr, res);
  if (addr->syntax_report && res != ROUTE_DEFER) bounce_syntax_errors(run->m, &run->x, addr->syntax_report->to, addr->syntax_report->text);
  switch (res) {
    case ROUTE_OK: return;
    case ROUTE_REROUTED: {
      if (addr->dsn_expanded) vec_push(&run->expanded, addr);
      /* The address itself is finished; its retry records go with the message's other changes. */
      for (struct address *c = run->fresh; c; c = c->next)
        if (c->parent == addr && addr->retries) {
          c->retries = addr->retries;
          break;
        }
      if (addr->child_count == 0) deliver_mark_done(run, addr);
      return;
    }
    case ROUTE_DISCARD: {
      const char *line = arena_printf(run->a, "=> %s <%s> R=%s", addr->is_filter_discard ? "discarded" : ":blackhole:", addr->address, addr->router ? addr->router->name : "");
      log_write(LS_ALWAYS, LOG_MAIN, "%s", line);
      addr->result = OUTCOME_OK;
      list_push(&run->succeed, addr);
      deliver_mark_done(run, addr);
      return;
    }
    case ROUTE_FAIL: finish(run, addr, OUTCOME_FAIL); return;
    case ROUTE_DEFER: finish(run, addr, OUTCOME_DEFER); return;
    case ROUTE_DECLINE:
    case ROUTE_PASS:
    case ROUTE_ERROR: break;
  }
  INVARIANT(!"route_address gave an inner result");
}

/* One address may be reached on several ways.  Only those that end at a transport stand for each other: what became of an address
 * on the way depends on its ancestors and on redirect_router. */
static void drop_duplicates(struct deliver_run *run, struct address **list) {
  for (struct address **link = list; *link;) {
    struct address *addr = *link, *next = addr->next;
    if (addr->is_pipe || addr->is_file || addr->is_reply || !is_duplicate(run, addr)) link = &addr->next;
    else *link = next; /* addr is on the list of duplicates now */
  }
}

/* Addresses routed to a transport whose unique form (with transport and router) is done already. */
static void drop_done(struct deliver_run *run, struct address **list) {
  for (struct address **link = list; *link;) {
    struct address *addr = *link;
    bool exim_form = addr->homonym && addr->transport && addr->router &&
                     tree_find(&run->m->nonrecipients,
                               arena_printf(run->a, "%.*s", (int)(strlen(addr->unique) - strlen(addr->router->name) - 1),
                                            addr->unique));
    if (!addr->homonym || !(was_delivered(run, addr) || exim_form)) {
      link = &addr->next;
      continue;
    }
    *link = addr->next;
    deliver_parent_done(run, addr);
  }
}

void deliver_route_all(struct deliver_run *run) {
  struct route_ctx rc = {.x = &run->x, .local = &run->local, .remote = &run->remote, .children = &run->fresh};
  while (run->fresh) {
    struct address *todo = collect(run, &rc);
    if (todo) todo = check_retry_times(run, todo);
    todo = put_off_queued(run, todo);
    while (todo) {
      struct address *addr = todo;
      todo = addr->next;
      addr->next = NULL;
      route_one(run, &rc, addr);
    }
    deliver_flush_journal(run);
  }
  drop_done(run, &run->local);
  drop_done(run, &run->remote);
  drop_duplicates(run, &run->local);
  drop_duplicates(run, &run->remote);
  deliver_flush_journal(run);
}
