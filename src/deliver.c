/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Delivering one message: the attempt as a whole.  Floor: flows.  Manual ch. 3, 49.
 *
 * deliver_message() runs in the calling process and leaves nothing behind: all memory is the message's arena.  The spool lock is held
 * throughout.  Durability (D1-D8): what was delivered is synced to -J batch by batch before anything else is sent; a bounce is on the spool
 * before its addresses count as done; -H is rewritten or all files are removed only at the end.  When the journal cannot be
 * written no further delivery is started: sending without a record would send twice. */
#include "deliver.h"

#include "deliver_priv.h"

#include <errno.h>
#include <unistd.h>

#include "filters/filter.h"
#include "formats/utf8_domain.h"
#include "os/debug.h"
#include "os/log.h"
#include "os/priv.h"
#include "os/process_info.h"
#include "os/sys.h"
#include "policy/event.h"
#include "policy/search.h"
#include "queue.h"
#include "retry.h"
#include "spool.h"
#include "transports/smtp_turned.h"

static void list_push(struct address **list, struct address *addr) {
  addr->next = *list;
  *list = addr;
}

/* --- marking ---------------------------------------------------------------------------------------- */

static void mark(struct deliver_run *run, const char *unique) {
  bool is_new;
  tree_insert(&run->m->nonrecipients, run->a, unique, &is_new);
  if (is_new) vec_push(&run->pending, (void *)unique);
}

void deliver_parent_done(struct deliver_run *run, struct address *addr) {
  struct address *p = addr->parent;
  if (!p || p->child_count <= 0) return;
  if (--p->child_count > 0) return;
  /* A copy made by "unseen" is the same address: it is told once, for the original. */
  bool is_copy = p->parent && strcmp(p->parent->address, p->address) == 0;
  if (run->msglog_fd >= 0 && !is_copy) log_msglog(run->msglog_fd, "%s: children all complete", p->address);
  deliver_mark_done(run, p);
}

void deliver_mark_done(struct deliver_run *run, struct address *addr) {
  /* A homonym that never reached a transport shares the ancestor's text: only the ancestor may mark that. */
  bool has_own_form = !addr->homonym || strchr(addr->unique, '/') != NULL;
  if (has_own_form) mark(run, addr->unique);
  deliver_parent_done(run, addr);
  for (struct address *d = run->dup; d; d = d->next)
    if (d->dupof == addr) deliver_parent_done(run, d);
}

/* A new -H says what was delivered and could not be noted. */
static void rewrite_header(struct deliver_run *run) {
  int rc = spool_rewrite(run->m, false);
  if (rc < 0) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to rewrite the header file: %s", strerror(-rc));
}

void deliver_flush_journal(struct deliver_run *run) {
  if (run->pending.n == 0 || run->journal_failed) return;
  int rc = spool_journal(run->m, (const char *const *)run->pending.v, run->pending.n);
  if (rc < 0) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to write the journal: %s: no further deliveries in this attempt", strerror(-rc));
    run->journal_failed = true;
    rewrite_header(run); /* now, not when the last of the parallel deliveries is over: until then a crash would repeat what is done */
    return;
  }
  run->pending.n = 0;
}

/* --- results ---------------------------------------------------------------------------------------- */

/* Events of an address: the transport's action, or the main one when there is no transport. */
static void raise(struct deliver_run *run, struct address *addr, const char *name, const char *data, int err) {
  struct expand_ctx x = run->x;
  const char *action = addr->transport ? addr->transport->o.event_action : run->cfg->o.event_action;
  x.host = addr->host_used;
  x.router_name = addr->router ? addr->router->name : NULL;
  x.transport_name = addr->transport ? addr->transport->name : NULL;
  struct address shown = *addr;
  x.addr = &shown;
  if (addr->is_file || addr->is_pipe || addr->is_reply) shown.local_part = addr->address;
  if (strcmp(addr->address, FILTER_BAD_REPLY) == 0) shown.domain = ""; /* it never had one */
  (void)event_raise(&x, action, addr->transport ? addr->transport->name : "main", name, data, err);
}

void deliver_raise_failed(struct deliver_run *run, struct address *addr) {
  raise(run, addr, addr->transport ? "msg:fail:delivery" : "msg:fail:internal", addr->message ? addr->message : "", 0);
}

/* disable_logging of the transport, or where there is none that of the router, silences failures and delays. */
static bool logs_trouble(const struct address *addr) {
  return addr->transport ? !addr->transport->o.disable_logging : !(addr->router && addr->router->o.disable_logging);
}

static void delivered(struct deliver_run *run, struct address *addr, bool is_first) {
  bool logs = !(addr->router && addr->router->o.disable_logging) && !(addr->transport && addr->transport->o.disable_logging);
  const char *flag = run->dont_deliver ? "*>" : is_first ? "=>" : "->";
  if (logs) log_write(LS_ALWAYS, LOG_MAIN, "%s", deliver_log_delivered(run->a, run->m, addr, flag));
  const char *by = addr->transport ? addr->transport->name : addr->is_file ? "**bypassed**" : NULL;
  if (run->msglog_fd >= 0 && by) /* disable_logging speaks of the main log */
    log_msglog(run->msglog_fd, "%s%s%s%s: %s transport succeeded", addr->address, addr->parent ? " <" : "",
               addr->parent ? addr->parent->address : "", addr->parent ? ">" : "", by);
  if (addr->transport) raise(run, addr, "msg:delivery", addr->confirmation ? addr->confirmation : "", 0);
  list_push(&run->succeed, addr);
  deliver_mark_done(run, addr);
}

static const char *errors_target(const struct deliver_run *run, const struct address *addr) {
  return addr->prop.errors_address ? addr->prop.errors_address : run->m->sender ? run->m->sender : "";
}

/* Nobody wants to be told of this failure: what the log says of that; NULL: somebody may. */
static const char *ignored_why(const struct address *addr) {
  if (addr->prop.ignore_error) return "";
  bool is_unwanted = addr->dsn_flags != 0 && !(addr->dsn_flags & DSN_FAILURE);
  return is_unwanted ? ": RFC 3461 DSN, failure notify not requested" : NULL;
}

static void failed(struct deliver_run *run, struct address *addr) {
  const char *line = deliver_log_failed(run->a, run->m, addr);
  /* As Exim: else when that is told, and not at all when more than this report was asked for. */
  bool wants_more = (addr->dsn_flags & DSN_FAILURE) && (addr->dsn_flags & (DSN_SUCCESS | DSN_DELAY));
  if (!ignored_why(addr) && !wants_more) deliver_raise_failed(run, addr);
  if (logs_trouble(addr)) log_write(LS_ALWAYS, LOG_MAIN, "** %s", line);
  bool was_routed = addr->router || (addr->transport && strcmp(addr->address, FILTER_BAD_REPLY) != 0);
  if (run->msglog_fd >= 0) log_msglog(run->msglog_fd, "%s%s", was_routed ? "" : "routing failed for ", line);
  addr->settled = ++run->settled;
  list_push(&run->failed, addr);
}

static void deferred(struct deliver_run *run, struct address *addr) {
  addr->settled = ++run->settled;
  const char *line = deliver_log_deferred(run->a, run->m, addr);
  /* as Exim: what was only put off, for its retry time or because it is not the time for it, is one kind in the logs */
  bool is_put_off = addr->basic_errno <= ERRNO_RRETRY && addr->basic_errno >= ERRNO_QUEUE_DOMAIN;
  if (run->o->first_pass && addr->basic_errno == ERRNO_LOCAL_ONLY) { /* nothing happened: its turn is the second pass */
    list_push(&run->defer, addr);
    return;
  }
  if (logs_trouble(addr) || addr->is_misconfigured)
    log_write(is_put_off ? LS_RETRY_DEFER : LS_ALWAYS, LOG_MAIN | (addr->is_misconfigured ? LOG_PANIC : 0u), "== %s", line);
  if (run->msglog_fd >= 0 && (!is_put_off || run->m->deliver_firsttime)) log_msglog(run->msglog_fd, "%s", line);
  if (addr->special_action == SPECIAL_FREEZE) {
    run->freeze = true;
  }
  list_push(&run->defer, addr);
}

void deliver_one_result(struct deliver_run *run, struct address *addr, bool is_first, bool by_transport) {
  enum outcome result = addr->result;
  /* Output that always goes back makes a failure of a success. */
  if (by_transport && result == OUTCOME_OK && addr->return_output && addr->return_file_when == ADDR_RETURN_ALWAYS) {
    addr->message = "return message generated";
    addr->basic_errno = 0;
    result = addr->result = OUTCOME_FAIL;
  }
  switch (result) {
    case OUTCOME_OK:
    case OUTCOME_DISCARD: delivered(run, addr, is_first); return;
    case OUTCOME_FAIL:
    case OUTCOME_FAIL_DROP:
      if (addr->special_action == SPECIAL_FREEZE) run->freeze = true;
      addr->result = OUTCOME_FAIL;
      failed(run, addr);
      return;
    case OUTCOME_DEFER:
    case OUTCOME_ERROR: break;
  }
  addr->result = OUTCOME_DEFER;
  deferred(run, addr);
}

void deliver_journal_batch(struct deliver_run *run, struct address *addrs) {
  for (struct address *addr = addrs; addr; addr = addr->next)
    if (addr->result == OUTCOME_OK && !(addr->return_output && addr->return_file_when == ADDR_RETURN_ALWAYS)) mark(run, addr->unique);
  deliver_flush_journal(run);
}

void deliver_batch_results(struct deliver_run *run, struct address *addrs) {
  /* Journal first: from here on a crash must not send again what the transport has handed over. */
  deliver_journal_batch(run, addrs);
  bool is_first = true;
  for (struct address *addr = addrs, *next; addr; addr = next) {
    next = addr->next;
    bool was_ok = addr->result == OUTCOME_OK;
    deliver_one_result(run, addr, is_first || addr->new_transaction, true);
    if (was_ok) is_first = false;
  }
  deliver_flush_journal(run);
}

/* --- the recipients --------------------------------------------------------------------------------- */

static const char *qualified(struct deliver_run *run, const char *address) {
  struct str local, domain;
  if (addr_split(address, &local, &domain)) return address;
  return arena_printf(run->a, "%s@%s", address, run->cfg->qualify_recipient);
}

struct address *deliver_open_recipients(struct deliver_run *run) {
  struct message *m = run->m;
  struct address *first = NULL, **tail = &first;
  for (size_t i = 0; i < m->recipient_count; i++) {
    struct recipient *r = &m->recipients[i];
    if (r->ignored) continue;
    struct address *addr = address_new(run->a, qualified(run, r->address));
    if (tree_find(&m->nonrecipients, addr->unique) || tree_find(&m->nonrecipients, r->address)) continue;
    addr->rcpt = r;
    addr->orcpt = r->orcpt;
    addr->dsn_flags = r->dsn_flags;
    addr->prop.errors_address = r->errors_to;
    int parent = r->one_time_parent;
    if (parent >= 0 && (size_t)parent < m->recipient_count) addr->onetime_parent = m->recipients[parent].address;
    *tail = addr;
    tail = &addr->next;
  }
  return first;
}

static bool has_filter_address(struct address *list) {
  for (; list; list = list->next)
    if (!address_top(list)->rcpt) return true;
  return false;
}

/* Nothing is left, neither of the recipients nor of what the system filter has added: those are no recipients, they are made anew each time. */
static bool all_recipients_done(struct deliver_run *run) {
  if (has_filter_address(run->defer) || has_filter_address(run->local) || has_filter_address(run->remote)) return false;
  return deliver_open_recipients(run) == NULL;
}

static void fail_all(struct deliver_run *run, const char *why, bool is_logged) {
  for (struct address *addr = deliver_open_recipients(run), *next; addr; addr = next) {
    next = addr->next;
    if (run->msglog_fd >= 0) log_msglog(run->msglog_fd, "%s: %s", addr->address, why);
    addr->result = OUTCOME_FAIL;
    raise(run, addr, "msg:fail:internal", why, 0);
    if (is_logged) {
      log_write(LS_ALWAYS, LOG_MAIN, "** %s: %s", addr->address, why);
      addr->message = why;
    }
    list_push(&run->failed, addr);
  }
}

/* --- frozen messages -------------------------------------------------------------------------------- */

enum frozen_action { FROZEN_GO_ON, FROZEN_SKIP, FROZEN_CANCEL };

static enum frozen_action check_frozen(struct message *m, const struct deliver_opts *o) {
  if (!m->frozen) return FROZEN_GO_ON;
  const struct main_options *mo = &m->cfg->o;
  time_t now = time_sec(), age = now - message_arrival(m, now);
  const char *why = NULL;
  if (mo->timeout_frozen_after > 0 && age >= mo->timeout_frozen_after) {
    log_write(LS_ALWAYS, LOG_MAIN, "cancelled by timeout_frozen_after");
    return FROZEN_CANCEL;
  }
  if (o->thaw) why = "Unfrozen by forced delivery";
  else if (m->sender && !*m->sender && age >= mo->ignore_bounce_errors_after)
    why = "Unfrozen by errmsg timer";
  else if (mo->auto_thaw > 0 && now > m->frozen_at + mo->auto_thaw && !m->manual_thaw) why = "Unfrozen by auto-thaw";
  if (o->give_up) return FROZEN_GO_ON;
  if (!why) {
    if (!mo->move_frozen_messages) log_write(LS_SKIP_DELIVERY, LOG_MAIN, "Message is frozen");
    return FROZEN_SKIP;
  }
  log_write(LS_ALWAYS, LOG_MAIN, "%s", why);
  if (o->thaw) m->manual_thaw = true;
  m->frozen = false;
  return FROZEN_GO_ON;
}

/* --- failures: bounces ------------------------------------------------------------------------------ */

static void ignored(struct deliver_run *run, struct address *addr, const char *why) {
  const char *text = deliver_log_address(run->a, addr, false), *parent = addr->parent ? addr->parent->address : NULL;
  /* An ancestor is told here even where it is spelled the same. */
  if (parent && strcmp(text, addr->address) == 0) text = arena_printf(run->a, "%s <%s>", text, parent);
  if (addr->is_file && strncmp(text, ADDRESS_SAVE, sizeof ADDRESS_SAVE - 1) == 0) text += sizeof ADDRESS_SAVE - 1;
  log_write(LS_ALWAYS, LOG_MAIN, "%s: error ignored%s", text, why);
  deliver_mark_done(run, addr);
}

/* A bounce that cannot be delivered: forgotten when old enough, else kept frozen. */
static void undeliverable_bounce(struct deliver_run *run, struct address *addr) {
  int64_t limit = run->cfg->o.ignore_bounce_errors_after;
  /* One that ran out of retries has been here long enough. */
  if (addr->timedout || time_sec() - message_arrival(run->m, time_sec()) >= limit) {
    ignored(run, addr, "");
    return;
  }
  run->freeze = true;
  run->freeze_why = " (delivery error message)";
  list_push(&run->defer, addr);
}

/* All with the target of the first: taken out of *list, in order. */
static struct address *take_group(struct deliver_run *run, struct address **list, const char *target) {
  struct address *group = NULL, **tail = &group;
  for (struct address **link = list; *link;) {
    struct address *addr = *link;
    if (strcmp(errors_target(run, addr), target) != 0) {
      link = &addr->next;
      continue;
    }
    *link = addr->next;
    addr->next = NULL;
    *tail = addr;
    tail = &addr->next;
  }
  return group;
}

static void send_bounces(struct deliver_run *run) {
  struct address *list = run->failed, *mail = NULL, **tail = &mail, *kept = NULL;
  run->failed = NULL;
  for (struct address *addr = list, *next; addr; addr = next) {
    next = addr->next;
    addr->next = NULL;
    const char *target = errors_target(run, addr);
    const char *why = ignored_why(addr);
    if (why && (*target || addr->prop.ignore_error)) {
      deliver_raise_failed(run, addr);
      ignored(run, addr, why);
    } else if (!*target) list_push(&kept, addr); /* NOTIFY= speaks of reports, and there would be none */
    else {
      *tail = addr;
      tail = &addr->next;
    }
  }
  for (struct address *addr = kept, *next; addr; addr = next) { /* whoever is told of them reads the last one first */
    next = addr->next;
    undeliverable_bounce(run, addr);
  }
  deliver_flush_journal(run);
  while (mail) {
    const char *target = errors_target(run, mail);
    struct address *group = take_group(run, &mail, target);
    /* What cannot be noted would be reported again by each attempt: then it waits. */
    if (!run->journal_failed && bounce_send(run->m, &run->x, group, target)) {
      for (struct address *addr = group; addr; addr = addr->next) deliver_mark_done(run, addr);
      deliver_flush_journal(run);
    } else {
      /* The report could not be stored: the addresses stay, so that it is tried again. */
      for (struct address *addr = group, *next; addr; addr = next) {
        next = addr->next;
        list_push(&run->defer, addr);
      }
    }
    log_set_message_id(run->m->id);
  }
}

/* --- successes -------------------------------------------------------------------------------------- */

/* Did the sender ask to be told that this went well, and will nobody further on tell him? */
static bool success_is_ours(const struct address *addr) {
  if (!(addr->dsn_flags & DSN_SUCCESS) || !addr->rcpt || !(addr->rcpt->dsn_flags & DSN_SUCCESS)) return false;
  bool is_remote = addr->transport && !addr->transport->driver->is_local;
  return addr->dsn_expanded || !is_remote || !addr->dsn_aware || (addr->router && addr->router->o.dsn_lasthop);
}

/* Copies on a new list, each recipient once; the request counts as met, also for later attempts. */
static void take_success(struct deliver_run *run, struct address ***tail, const struct address *addr) {
  if (!success_is_ours(addr)) return;
  struct address *copy = ARENA_NEW(run->a, struct address);
  *copy = *addr;
  copy->next = NULL;
  addr->rcpt->dsn_flags &= ~(unsigned)DSN_SUCCESS;
  **tail = copy;
  *tail = &copy->next;
}

static void send_success(struct deliver_run *run) {
  struct message *m = run->m;
  struct address *mail = NULL, **tail = &mail;
  if (!m->sender || !*m->sender || run->dont_deliver || run->journal_failed) return;
  for (size_t i = 0; i < run->expanded.n; i++) take_success(run, &tail, run->expanded.v[i]);
  struct vec v = vec_new(run->a);
  for (struct address *addr = run->succeed; addr; addr = addr->next) vec_push(&v, addr);
  for (size_t i = v.n; i-- > 0;) take_success(run, &tail, v.v[i]);
  for (struct address *dup = run->dup; dup; dup = dup->next)
    if (dup->dupof && dup->dupof->result == OUTCOME_OK) take_success(run, &tail, dup);
  if (mail) (void)bounce_send_success(m, &run->x, mail);
  log_set_message_id(m->id);
}

/* --- delays ----------------------------------------------------------------------------------------- */

/* Seconds after which the warning number n is due; 0: none. */
static int64_t warning_due(const char *list, int n) {
  struct str s = str_c(list);
  int64_t last = 0, gap = 0, t = 0;
  for (int i = 0; s.n; i++) {
    struct str item = str_trim(str_cut(&s, ':'));
    if (!time_parse_interval(item, false, &t) || t <= 0) return 0;
    gap = t - last;
    last = t;
    if (i == n) return t;
  }
  /* Behind the end of the list the last gap repeats. */
  int have = 0;
  for (const char *p = list; *p; p++)
    if (*p == ':') have++;
  return last + (int64_t)(n - have) * gap;
}

static bool wants_warning(const struct address *addr) {
  if (addr->dsn_flags == 0) return true;
  return (addr->dsn_flags & DSN_DELAY) != 0;
}

/* delay_warning_condition, with $domain set when all the addresses have the same one. */
static bool warnings_are_wanted(struct deliver_run *run) {
  const char *cond = run->cfg->o.delay_warning_condition;
  struct address shown = {.domain = run->defer->domain};
  for (const struct address *addr = run->defer; addr; addr = addr->next)
    if (!addr->domain || !shown.domain || strcmpic(addr->domain, shown.domain) != 0) shown.domain = NULL;
  struct expand_ctx x = run->x;
  x.addr = shown.domain ? &shown : NULL;
  enum outcome wanted = cond && *cond ? expand_condition_lax(&x, cond) : OUTCOME_OK;
  if (wanted != OUTCOME_OK && wanted != OUTCOME_FAIL && !x.forced_fail)
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to expand condition \"%s\" for delay_warning option: %s", cond, x.error ? x.error : "");
  return wanted == OUTCOME_OK;
}

static void send_warnings(struct deliver_run *run) {
  struct message *m = run->m;
  const char *list = run->cfg->o.delay_warning;
  if (!list || !*list || !run->defer || m->frozen || run->freeze || !m->sender || run->o->give_up) return;
  int64_t queued = time_sec() - message_arrival(m, time_sec());
  int64_t due = warning_due(list, m->warning_count);
  if (due <= 0 || queued < due || run->journal_failed) return;
  struct expand_ctx *x = &run->x;
  if (!warnings_are_wanted(run)) return;
  struct address *mail = NULL, **tail = &mail;
  for (struct address *addr = run->defer; addr; addr = addr->next) {
    if (!*errors_target(run, addr) || addr->prop.ignore_error || !wants_warning(addr)) continue;
    struct address *copy = ARENA_NEW(run->a, struct address);
    *copy = *addr;
    copy->next = NULL;
    *tail = copy;
    tail = &copy->next;
  }
  bool sent = false;
  while (mail) {
    const char *target = errors_target(run, mail);
    struct address *group = take_group(run, &mail, target);
    if (bounce_warn_delay(m, x, group, target, queued)) sent = true;
    log_set_message_id(m->id);
  }
  if (!sent) return;
  /* Warnings that were missed while nothing ran are not sent later. */
  do m->warning_count++;
  while ((due = warning_due(list, m->warning_count)) > 0 && queued >= due && m->warning_count < 1000);
}

/* --- the end ---------------------------------------------------------------------------------------- */

/* one_time: what is left of a list becomes a recipient of its own, the list address counts as done. */
static void apply_one_time(struct deliver_run *run) {
  struct message *m = run->m;
  struct vec deferred_in_order = vec_new(run->a);
  for (struct address *addr = run->defer; addr; addr = addr->next) vec_push(&deferred_in_order, addr);
  for (size_t k = deferred_in_order.n; k-- > 0;) { /* the newest stands first on the list */
    struct address *addr = deferred_in_order.v[k], *made = addr;
    while (made && !made->is_one_time) made = made->parent;
    if (!made) continue;
    struct address *top = address_top(made);
    int parent = -1;
    const char *origin = top->onetime_parent ? top->onetime_parent : top->address;
    bool is_known = false;
    for (size_t i = 0; i < m->recipient_count; i++) {
      if (parent < 0 && strcmp(m->recipients[i].address, origin) == 0) parent = (int)i;
      if (strcmp(m->recipients[i].address, made->address) == 0) is_known = true; /* local parts that differ in case may be two mailboxes */
    }
    if (!is_known) {
      struct recipient *r = message_add_recipient(m, made->address);
      r->one_time_parent = parent;
      r->errors_to = made->prop.errors_address;
      r->orcpt = made->orcpt;
      r->dsn_flags = made->dsn_flags;
    }
    tree_insert(&m->nonrecipients, run->a, top->unique, NULL);
  }
}

static void set_frozen(struct deliver_run *run) {
  struct message *m = run->m;
  m->frozen = true;
  m->frozen_at = time_sec();
  log_write(LS_ALWAYS, LOG_MAIN, "Frozen%s", run->freeze_why ? run->freeze_why : "");
  const char *line = arena_printf_t(run->a, UNTAINTED, "*** Frozen%s\n", run->freeze_why ? run->freeze_why : "");
  if (run->msglog_fd >= 0) (void)!sys_write_all(run->msglog_fd, line, strlen(line));
}

static int later_first(const void *a, const void *b) {
  return ((const struct address *)b)->settled - ((const struct address *)a)->settled;
}

/* Why the message is frozen: what went wrong last comes first. */
static struct address *troubles(struct deliver_run *run) {
  struct address *list = NULL;
  struct vec v = vec_new(run->a);
  for (struct address *addr = run->defer ? run->defer : deliver_open_recipients(run); addr; addr = addr->next) vec_push(&v, addr);
  if (run->defer) vec_sort(&v, later_first);
  for (size_t i = 0; i < v.n; i++) list_push(&list, v.v[run->defer ? v.n - 1 - i : i]);
  return list;
}

static void finish_message(struct deliver_run *run) {
  struct message *m = run->m;
  /* When all is done the removal of -H says as much as the journal would have, and it needs no room. */
  if (run->journal_failed && !all_recipients_done(run)) {
    rewrite_header(run); /* -J stays for the next attempt */
    return;
  }
  apply_one_time(run);
  if (all_recipients_done(run)) {
    /* The line comes first: a crash in between repeats a log line, never a delivery. */
    log_write(LS_ALWAYS, LOG_MAIN, "%s", deliver_log_completed(run->a, m));
    (void)event_raise(&run->x, run->cfg->o.event_action, "main", "msg:complete", NULL, 0);
    int rc = spool_remove(m);
    if (rc < 0) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to remove the spool files: %s", strerror(-rc));
    return;
  }
  if (run->freeze) {
    struct address *left = troubles(run);
    if (run->defer) run->defer = left;
    bounce_tell_frozen(m, &run->x, &(struct frozen_facts){.why = run->freeze_why, .deferred = left});
    set_frozen(run);
  }
  /* An open connection may leave addresses untried: then the next attempt is still the first, also for a filter that asks. */
  if (!run->local && !run->remote && !run->o->turn) m->deliver_firsttime = false;
  int rc = spool_rewrite(m, true);
  if (rc < 0) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to rewrite the header file: %s", strerror(-rc));
  else if (m->frozen) queue_move_frozen(m);
}

static void log_timeout(struct deliver_run *run, struct address *addr) {
  const char *text = addr->is_file ? address_file_name(addr) : addr->address;
  if (addr->parent) text = arena_printf(run->a, "%s <%s>", text, addr->parent->address);
  log_write(LS_ALWAYS, LOG_MAIN, "** %s: retry timeout exceeded", text);
  if (!*errors_target(run, addr) && !ignored_why(addr)) deliver_raise_failed(run, addr); /* as Exim: else the bounce is the event */
}

static void log_timeouts(struct deliver_run *run, const struct address *old_failed) {
  /* The newest batch stands first on the list: they are told in the order in which they timed out. */
  struct vec v = vec_new(run->a);
  for (struct address *addr = run->failed; addr && addr != old_failed; addr = addr->next) vec_push(&v, addr);
  for (size_t end = v.n, begin; end > 0; end = begin) {
    for (begin = end - 1; begin > 0 && address_same_batch(v.v[begin - 1], v.v[begin]);) begin--;
    for (size_t i = begin; i < end; i++) log_timeout(run, v.v[i]);
  }
}

void deliver_run_finish(struct deliver_run *run) {
  if (run->is_held) { /* as it was */
    if (run->msglog_fd >= 0) (void)!sys_close(run->msglog_fd);
    return;
  }
  struct address *old_failed = run->failed;
  run->x.addr = NULL;
  if (!run->dont_deliver && !run->cfg->o.mua_wrapper) {
    retry_update(&run->x, &run->defer, &run->failed, &run->succeed);
    log_timeouts(run, old_failed);
  }
  if (run->cfg->o.mua_wrapper) {
    deliver_mua_finish(run);
    deliver_flush_journal(run);
  } else {
    send_success(run);
    send_bounces(run);
    send_warnings(run);
  }
  finish_message(run);
  if (run->msglog_fd >= 0) (void)!sys_close(run->msglog_fd);
}

void deliver_run_start_routing(struct deliver_run *run) {
  enum system_filter f = deliver_system_filter(run);
  if (f == SYSTEM_FILTER_BROKEN) {
    run->is_held = true;
    return;
  }
  struct address **tail = &run->fresh; /* behind what the filter has put there */
  while (*tail) tail = &(*tail)->next;
  if (f == SYSTEM_FILTER_GO_ON) *tail = run->o->turn ? deliver_turn_recipients(run) : deliver_open_recipients(run);
  deliver_route_all(run);
}

/* What has been handed over and cannot be noted would be handed over again by each attempt until that is mended.  The only address of a message
 * needs no note: the message goes when it is delivered. */
static void reserve_journal(struct deliver_run *run) {
  enum { FOR_PARENTS = 4096 };
  const struct address *const lists[] = {run->local, run->remote};
  size_t bytes = FOR_PARENTS, count = 0;
  for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
    for (const struct address *addr = lists[i]; addr; addr = addr->next, count++) bytes += strlen(addr->unique) + 1;
  if (count == 0 || (count == 1 && !run->defer && !run->failed) || run->dont_deliver) return;
  int rc = spool_journal_reserve(run->m, bytes);
  if (rc == 0) return;
  bool is_full = rc == -ENOSPC || rc == -EDQUOT;
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s the journal: %s: no deliveries in this attempt", is_full ? "no room for" : "failed to open", strerror(-rc));
  run->journal_failed = true;
}

static void run_attempt(struct deliver_run *run) {
  deliver_run_start_routing(run);
  if (run->cfg->o.mua_wrapper && !deliver_mua_routed(run)) return;
  reserve_journal(run);
  if (run->local && !run->o->turn) deliver_local_all(run);
  if (run->remote && !run->o->local_only) deliver_remote_all(run);
  while (run->remote) {
    struct address *addr = run->remote;
    run->remote = addr->next;
    addr->message = "remote deliveries suppressed";
    addr->basic_errno = ERRNO_LOCAL_ONLY;
    addr->result = OUTCOME_DEFER;
    deliver_one_result(run, addr, true, false);
  }
}

bool deliver_run_init(struct deliver_run *run, const struct config *cfg, struct message *m, const struct deliver_opts *o) {
  *run = (struct deliver_run){.cfg = cfg, .o = o, .m = m, .a = m->arena, .msglog_fd = -1};
  run->x = expand_ctx_new(m->arena, cfg);
  run->x.msg = m;
  run->pending = vec_new(m->arena);
  run->expanded = vec_new(m->arena);
  run->dont_deliver = o->dont_deliver || m->dont_deliver;
  m->delivery_forced = o->forced;
  m->deliver_foreground = o->foreground;
  m->in_first_pass = o->first_pass;
  run->x.queue_running = o->in_queue_run;
  if (o->turn) run->x.atrn = o->turn->connection->turn;
  switch (check_frozen(m, o)) {
    case FROZEN_SKIP: return false;
    case FROZEN_CANCEL: run->cancelled = true; break;
    case FROZEN_GO_ON: break;
  }
  run->msglog_fd = spool_msglog(m);
  return true;
}

static enum deliver_result run_message(const struct config *cfg, struct message *m, const struct deliver_opts *o) {
  struct deliver_run run;
  if (!deliver_run_init(&run, cfg, m, o)) {
    queue_move_frozen(m);
    return DELIVER_NOT_ATTEMPTED;
  }
  if (o->remote_only && !deliver_is_all_remote(&run)) {
    if (run.msglog_fd >= 0) (void)!sys_close(run.msglog_fd);
    return DELIVER_NOT_ATTEMPTED;
  }
  if (o->give_up && o->cancelled_by) log_write(LS_ALWAYS, LOG_MAIN, "cancelled by %s", o->cancelled_by);
  if (run.cancelled || o->give_up)
    fail_all(&run, o->give_up ? "delivery cancelled by administrator" : "message has been frozen for too long", false);
  else if (m->received_count > cfg->o.received_headers_max)
    fail_all(&run, "Too many \"Received\" headers - suspected mail loop", true);
  else run_attempt(&run);
  /* Nobody is told about a bounce that is given up. */
  if ((run.cancelled || o->give_up) && m->sender && !*m->sender)
    while (run.failed) {
      struct address *addr = run.failed;
      run.failed = addr->next;
      deliver_mark_done(&run, addr);
    }
  if (!run.is_finished) deliver_run_finish(&run);
  deliver_remote_wait(&run);
  return run.mua_failed ? DELIVER_MUA_FAILED : o->first_pass && run.many_wait ? DELIVER_MANY_WAIT : DELIVER_DONE;
}

/* Some clients send UTF-8 without asking. */
static bool has_utf8_recipient(const struct message *m) {
  for (size_t i = 0; i < m->recipient_count; i++)
    if (!utf8_is_ascii(str_c(m->recipients[i].address))) return true;
  return false;
}

static enum deliver_result deliver_from_spool(const struct config *cfg, const char *id, const struct deliver_opts *o) {
  enum deliver_result result = DELIVER_NOT_ATTEMPTED;
  struct message *m = NULL;
  switch (spool_open(cfg, id, true, &m)) {
    case SPOOL_OPENED:
      log_set_utf8(m->smtputf8 || has_utf8_recipient(m));
      m->assumed_age_sec = o->assumed_age_sec;
      result = run_message(cfg, m, o);
      message_free(m);
      break;
    case SPOOL_LOCKED:
      log_write(LS_SKIP_DELIVERY, LOG_MAIN, "Spool file for %s is locked (another process is handling this message)", id);
      break;
    case SPOOL_GONE: /* between the runs over the queue that is nothing to tell */
      if (o->forced && !o->in_queue_run) log_write(LS_ALWAYS, LOG_MAIN, "Spool file %s-D not found", id);
      break;
    case SPOOL_BAD: break; /* the spool has reported it and set it aside */
    case SPOOL_IO_ERROR:
      log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "Error reading the spool files of %s", id);
      break;
  }
  return result;
}

enum deliver_result deliver_message(const struct config *cfg, const char *id, const struct deliver_opts *o) {
  char outer_id[MSGID_SIZE] = "";
  if (log_message_id()) memcpy(outer_id, log_message_id(), strnlen(log_message_id(), MSGID_SIZE - 1));
  sys_role(SYS_ROLE_DELIVERY);
  priv_leave_caller();
  if (cfg->o.deliver_drop_privilege && priv_can_raise() && priv_drop_forever(cfg->exim_uid, cfg->exim_gid, NULL) < 0) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "deliver_drop_privilege: cannot give up root: %s is not delivered", id);
    return DELIVER_NOT_ATTEMPTED;
  }
  process_info_set("delivering %s", id);
  DEBUG(D_V | D_DELIVER) {
    if (o->queue_run_pid) debug_printf("delivering %s (queue run pid %d)\n", id, (int)o->queue_run_pid);
    else debug_printf("delivering %s\n", id);
  }
  log_set_message_id(id);
  bool outer_utf8 = log_set_utf8(false);
  enum deliver_result result = deliver_from_spool(cfg, id, o);
  lookup_tidy();
  log_set_message_id(*outer_id ? outer_id : NULL);
  log_set_utf8(outer_utf8);
  return result;
}

void deliver_start_internal(const struct config *cfg, const char *id, bool foreground, bool hold_smtp) {
  const struct deliver_opts o = {.foreground = foreground, .hold_smtp = hold_smtp};
  bool overrides = foreground && cfg->o.queue_only_override;
  if (cfg->o.queue_only && !overrides) return; /* the next queue run has it */
  if (cfg->harness_mode || foreground) {
    (void)deliver_message(cfg, id, &o);
    return;
  }
  if (queue_notify(queue_get_notify_fd(), &(struct queue_notice){.id = id, .queue = cfg->queue_name, .hold_smtp = hold_smtp})) return;
  pid_t pid = sys_fork("delivery");
  if (pid == 0) {
    (void)deliver_message(cfg, id, &o);
    _exit(0);
  }
  /* No process to be had: the next queue run finds the message. */
}
