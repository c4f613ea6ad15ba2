/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Remote deliveries: batches for one host list, in parallel children, further messages on an open connection.  Floor: flows.
 * Manual ch. 30, 49.
 *
 * A single batch runs in this process; several run in up to remote_max_parallel children whose answers come over pipes.  A child without a
 * complete answer means "unknown": its addresses are deferred.  Before another message is sent on a connection the outcome of the one
 * before is in its journal, and a child has told its parent, which finishes the message without waiting for the others.  The message of another spool item is locked, delivered and finished wholly inside the process that found it. */
#include "deliver_priv.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/debug.h"
#include "os/log.h"
#include "os/signals.h"
#include "os/sys.h"
#include "policy/match.h"
#include "retry.h"
#include "spool.h"

enum { REMOTE_MAX_CHILDREN = 64, EXTRA_MAX_TRIES = 20 };

/* --- further messages for the same host ------------------------------------------------------------- */

struct remote_ctx {
  struct deliver_run *run; /* of the message the connection was made for */
  struct vec extras;       /* struct extra *: finished ones live on until the connection is over */
  bool is_last;            /* no other batch of the message is left: it can be finished before the connection goes on */
  int answer_fd;           /* where a child tells its results, else -1 */
  bool is_told;            /* it has, or this process has logged them */
  struct timeval start;
  struct vec others;       /* ids: for the host, but not for this connection */
  struct host *others_host;
};

struct extra {
  struct deliver_run run;
  struct remote_ctx *base;
  struct address *batch;
  char outer_id[MSGID_SIZE];
};

static const struct deliver_opts extra_opts = {.in_queue_run = true};

/* max_rcpt and multi_domain are expanded for the address that leads.  What does not expand counts as one and no: the transport then says why. */
static int64_t most_recipients(struct deliver_run *run, struct address *lead) {
  const char *text = deliver_transport_str(lead->transport, "max_rcpt");
  int64_t max = 100;
  if (run->cfg->o.mua_wrapper) return INT64_MAX;
  run->x.addr = lead;
  if (text && !expand_int(&run->x, text, &max)) return 1;
  return max > 0 ? max : INT64_MAX;
}

static bool mixes_domains(struct deliver_run *run, struct address *lead) {
  const struct opt_bool_exp *o = deliver_transport_bool_exp(lead->transport, "multi_domain");
  if (!o) return true;
  if (!o->expand) return o->value;
  run->x.addr = lead;
  run->x.host = lead->host_list;
  bool mixes = expand_condition_strict(&run->x, o->expand) == OUTCOME_OK;
  run->x.host = NULL;
  return mixes;
}

static struct host *hosts_of(struct deliver_run *run, struct address *addr) {
  run->x.addr = addr;
  run->x.transport = addr->transport;
  if (!addr->transport || !addr->transport->driver->hosts_of) return addr->host_list;
  return addr->transport->driver->hosts_of(&run->x, addr->transport, addr);
}

/* Is that host one of the address's?  What DANE demands hangs on names and addresses having come with DNSSEC. */
static bool goes_to(struct deliver_run *run, struct address *addr, const struct host *host) {
  for (const struct host *h = hosts_of(run, addr); h; h = h->next) {
    bool same_name = strcmpic(h->name, host->name) == 0 || (host->cert_name && strcmpic(h->name, host->cert_name) == 0);
    if (same_name && (!h->port || h->port == host->port) && (!h->address || h->dnssec == host->dnssec) && h->tls == host->tls) return true;
  }
  return false;
}

static struct address *extra_take_batch(struct deliver_run *run, const struct transport *t, const struct host *host) {
  struct address *batch = NULL, **tail = &batch;
  int64_t max = INT64_MAX;
  bool multi_domain = true;
  for (struct address **link = &run->remote; *link && max > 0;) {
    struct address *addr = *link;
    bool fits = addr->transport == t && goes_to(run, addr, host);
    if (fits && batch) fits = deliver_same_batch(batch, addr, true) && (multi_domain || strcmp(batch->domain, addr->domain) == 0);
    if (!fits) {
      link = &addr->next;
      continue;
    }
    *link = addr->next;
    addr->next = NULL;
    if (!batch) {
      max = most_recipients(run, addr);
      multi_domain = mixes_domains(run, addr);
    }
    max--;
    addr->first = batch ? batch : addr;
    *tail = addr;
    tail = &addr->next;
  }
  return batch;
}

static void extra_close(struct extra *e) {
  deliver_run_finish(&e->run);
  message_close_files(e->run.m); /* the lock goes now; the memory stays, the caller still holds pointers into it */
  log_set_message_id(*e->outer_id ? e->outer_id : NULL);
}

static void extra_done(struct delivery *d) {
  struct extra *e = d->ctx;
  for (struct address *p = e->batch; p; p = p->next) p->pass_message = true;
  deliver_batch_results(&e->run, e->batch);
  extra_close(e);
}

static void extra_offer(struct delivery *d);

/* Open, lock and route another message; NULL when it has nothing for this host. */
static struct delivery *extra_open(struct remote_ctx *base, const struct delivery *d, const char *id, const struct host *host) {
  struct message *m = NULL;
  if (spool_open(d->cfg, id, true, &m) != SPOOL_OPENED) return NULL;
  struct extra *e = ARENA_NEW(m->arena, struct extra);
  e->base = base;
  memcpy(e->outer_id, base->run->m->id, sizeof(e->outer_id));
  if (m->frozen) {
    message_free(m);
    return NULL;
  }
  log_set_message_id(id);
  (void)deliver_run_init(&e->run, d->cfg, m, &extra_opts);
  vec_push(&base->extras, e);
  deliver_run_start_routing(&e->run);
  e->batch = extra_take_batch(&e->run, d->transport, host);
  if (!e->batch) {
    extra_close(e);
    return NULL;
  }
  struct delivery *next = deliver_new_delivery(&e->run, d->transport, e->batch);
  next->one_done = extra_done;
  next->ctx = e;
  extra_offer(next);
  if (deliver_prepare(&e->run, next)) return next;
  extra_done(next);
  return NULL;
}

/* What the connection has delivered for the first message must be on disk before it carries anything else. */
static bool journal_first(struct remote_ctx *base, const struct delivery *d) {
  struct vec done = vec_new(d->arena);
  for (const struct address *addr = d->addrs; addr; addr = addr->next)
    if (addr->result == OUTCOME_OK) vec_push(&done, (void *)addr->unique);
  return done.n == 0 || spool_journal(base->run->m, (const char *const *)done.v, done.n) == 0;
}

static void finish_batch(struct deliver_run *run, struct address *batch) {
  for (struct address *addr = batch; addr; addr = addr->next) addr->pass_message = true;
  deliver_batch_results(run, deliver_take_fallback(run, batch));
}

static void note_time(struct address *addrs, struct timeval start) {
  struct timeval end = time_now();
  for (; addrs; addrs = addrs->next)
    addrs->delivery_usec = (int)((end.tv_sec - start.tv_sec) * 1000000 + (end.tv_usec - start.tv_usec));
}

/* The server has put it off, and there is no other to ask. */
static bool is_put_off(const struct address *addr) {
  bool only_one = addr->host_list && !addr->host_list->next && !deliver_has_fallback(addr);
  return addr->result == OUTCOME_DEFER && addr->basic_errno == ERRNO_RCPT4XX && only_one;
}

static bool is_settled(const struct address *addrs) {
  for (; addrs; addrs = addrs->next)
    if (addrs->result != OUTCOME_OK && addrs->result != OUTCOME_FAIL && !is_put_off(addrs)) return false;
  return true;
}

static bool tell_results(struct remote_ctx *base, struct address *batch) {
  struct strbuf b = strbuf_new(base->run->a);
  note_time(batch, base->start);
  deliver_results_encode(&b, batch);
  base->is_told = sys_write_all(base->answer_fd, b.p, b.n) == 0;
  return base->is_told;
}

/* Log and journal the batch of the first message before the connection carries another one, and end the message when there is no other batch, or
 * tell the parent; when something of the batch is left to do, only journal it. */
static bool finish_first(struct remote_ctx *base, struct delivery *d) {
  struct deliver_run *run = base->run;
  if (base->is_told) return !run->journal_failed;
  bool is_child = base->answer_fd >= 0;
  if (!is_settled(d->addrs)) return journal_first(base, d);
  if (is_child) return journal_first(base, d) && tell_results(base, d->addrs);
  note_time(d->addrs, base->start);
  finish_batch(run, d->addrs);
  base->is_told = true;
  if (run->journal_failed) return false;
  if (!base->is_last) return true;
  deliver_run_finish(run);
  run->is_finished = true;
  return true;
}

static bool extra_exists(void *ctx, const char *id) { return spool_exists(ctx, id); }

/* Messages that are for the host but not for this connection wait on, for the next one. */
static void extras_wait_on(struct remote_ctx *base, const struct transport *t) {
  for (size_t i = 0; i < base->others.n; i++) wait_add(base->run->cfg, t->name, base->others_host, base->others.v[i]);
  base->others.n = 0;
}

/* It goes to this host, but not now and here. */
static void extra_wait_on(struct remote_ctx *base, struct delivery *next) {
  struct extra *e = next->ctx;
  struct address **tail = &e->batch;
  vec_push(&base->others, arena_strdup(base->run->a, next->msg->id));
  while (*tail) tail = &(*tail)->next;
  *tail = e->run.remote;
  e->run.remote = e->batch;
  e->batch = NULL;
  extra_close(e);
}

static struct remote_ctx *base_of(const struct delivery *d) { return d->one_done ? ((struct extra *)d->ctx)->base : d->ctx; }

/* The next message for the host; finish: what the connection has done for the first one is over, so it can be ended. */
static struct delivery *extra_find(struct delivery *d, const struct host *host, bool finish, bool (*fits)(void *ctx, struct delivery *next), void *ctx) {
  struct remote_ctx *base = base_of(d);
  /* The filter runs once in an attempt and may add deliveries of any kind; here only what goes to this host is tried. */
  if (d->cfg->o.system_filter) return NULL;
  if (!base->others_host) {
    base->others_host = ARENA_NEW(base->run->a, struct host);
    base->others_host->name = host->name;
  }
  const struct wait_who who = {.exclude_id = base->run->m->id, .exists = extra_exists, .ctx = (void *)d->cfg};
  for (int i = 0; i < EXTRA_MAX_TRIES; i++) {
    char id[MSGID_SIZE];
    enum wait_found found = wait_next(d->cfg, base->run->a, d->transport->name, host->name, &who, id);
    if (found == WAIT_NONE) return NULL;
    if (finish && !finish_first(base, d)) return NULL; /* the id is lost from the hints only */
    /* a lock says nothing to the process that holds it */
    struct delivery *next = strcmp(id, d->msg->id) != 0 ? extra_open(base, d, id, host) : NULL;
    if (next && fits(ctx, next)) {
      if (d->cfg->harness_mode) pause_ms(500); /* as long as another process would take there */
      return next;
    }
    if (next) extra_wait_on(base, next);
    if (found == WAIT_LAST) return NULL;
  }
  return NULL;
}

static struct delivery *extra_next(struct delivery *d, const struct host *host, bool (*fits)(void *ctx, struct delivery *next), void *ctx) {
  return extra_find(d, host, !d->one_done, fits, ctx);
}

static struct delivery *extra_find_next(struct delivery *d, const struct host *host, bool (*fits)(void *ctx, struct delivery *next), void *ctx) {
  struct delivery *next = extra_find(d, host, false, fits, ctx);
  log_set_message_id(d->msg->id);
  return next;
}

static bool extra_waits(struct delivery *d, const struct host *host) {
  struct remote_ctx *base = base_of(d);
  struct wait_who who = {.exclude_id = base->run->m->id, .exists = extra_exists, .ctx = (void *)d->cfg};
  return !d->cfg->o.system_filter && wait_any(d->cfg, base->run->a, d->transport->name, host->name, &who);
}

static bool extra_go_on(struct delivery *d, struct delivery *next) {
  if (!d->one_done && !finish_first(d->ctx, d)) return false;
  log_set_message_id(next->msg->id);
  return true;
}

static void extra_give_back(struct delivery *next) { extra_wait_on(base_of(next), next); }

/* The connection of d may take other messages. */
static void extra_offer(struct delivery *d) {
  d->next_for_host = extra_next;
  d->find_next = extra_find_next;
  d->waits_for_host = extra_waits;
  d->go_on = extra_go_on;
  d->give_back = extra_give_back;
}

/* --- batches ---------------------------------------------------------------------------------------- */

static struct address *take_batch(struct deliver_run *run) {
  struct address *lead = run->remote;
  run->remote = lead->next;
  lead->next = NULL;
  lead->first = lead;
  int64_t max = most_recipients(run, lead);
  bool multi_domain = mixes_domains(run, lead);
  /* More batches than run side by side bring nothing: the transport sends group after group of one on a connection.  With max_rcpt = 1
   * each address is expanded for itself. */
  if (max > 1) max = MAX(max, run->remote_count / MAX(run->cfg->o.remote_max_parallel, 1));
  struct address **tail = &lead->next;
  for (struct address **link = &run->remote; *link && max > 1;) {
    struct address *b = *link;
    if (!deliver_same_batch(lead, b, true) || (strcmp(lead->domain, b->domain) != 0 && !(multi_domain && mixes_domains(run, b)))) {
      link = &b->next;
      continue;
    }
    *link = b->next;
    b->next = NULL;
    b->first = lead;
    *tail = b;
    tail = &b->next;
    max--;
  }
  return lead;
}

static struct remote_ctx *run_transport(struct deliver_run *run, struct address *batch, bool is_last, int answer_fd) {
  struct delivery *d = deliver_new_delivery(run, batch->transport, batch);
  struct remote_ctx *ctx = ARENA_NEW(run->a, struct remote_ctx);
  ctx->run = run;
  ctx->start = time_now();
  ctx->is_last = is_last;
  ctx->answer_fd = answer_fd;
  ctx->extras = vec_new(run->a);
  ctx->others = vec_new(run->a);
  d->ctx = ctx;
  if (!run->dont_deliver && !d->turned) extra_offer(d);
  const char *error = NULL;
  if (deliver_prepare(run, d)) {
    enum outcome o = d->transport->driver->setup ? d->transport->driver->setup(d, &error) : OUTCOME_OK;
    if (o != OUTCOME_OK) transport_set_results(batch, o == OUTCOME_FAIL ? OUTCOME_FAIL : OUTCOME_DEFER, ERRNO_BADTRANSPORT, error);
    else if (!transport_deliver(d))
      transport_set_results(batch, OUTCOME_DEFER, ERRNO_UNKNOWNERROR, "transport gave no result");
  }
  extras_wait_on(ctx, batch->transport);
  for (size_t i = 0; i < ctx->extras.n; i++) message_free(((struct extra *)ctx->extras.v[i])->run.m);
  if (ctx->is_told) return ctx;
  note_time(batch, ctx->start);
  for (struct address *addr = batch; addr; addr = addr->next) {
    if (run->dont_deliver && addr->result == OUTCOME_OK && !addr->confirmation) {
      addr->confirmation = "delivery bypassed by -N option";
      addr->message = NULL;
    }
  }
  return ctx;
}

/* In this process, if max_parallel allows. */
static void run_here(struct deliver_run *run, struct address *batch, bool held, bool is_last) {
  const struct transport *t = batch->transport;
  struct remote_ctx *ctx = run_transport(run, batch, is_last, -1);
  if (held) deliver_slot_give(run, t);
  if (!ctx->is_told) finish_batch(run, batch);
}

/* --- parallel children ------------------------------------------------------------------------------ */

struct slot {
  pid_t pid;
  int fd;
  struct address *batch;
  bool held;             /* counted for max_parallel */
  bool has_results;      /* the batch is done; the child goes on with other messages */
  struct strbuf answer;
};
/* The children of a message. */
struct deliver_children {
  struct slot slots[REMOTE_MAX_CHILDREN];
};

static bool slot_start(struct deliver_run *run, struct slot *s, struct address *batch) {
  int fds[2];
  if (sys_pipe(fds) < 0) return false;
  pid_t parent = getpid(), pid = sys_fork("remote delivery");
  if (pid == 0) {
    /* The lock is the parent's: when that is killed another process may take the message, so this one must not go on sending it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    struct remote_ctx *ctx = run_transport(run, batch, false, fds[1]);
    _exit(ctx->is_told || tell_results(ctx, batch) ? 0 : 1);
  }
  (void)!sys_close(fds[1]);
  if (pid < 0) {
    (void)!sys_close(fds[0]);
    return false;
  }
  *s = (struct slot){.pid = pid, .fd = fds[0], .batch = batch, .answer = strbuf_new_t(run->a, TAINTED, 1024)};
  return true;
}

/* A whole answer ends with an empty record 'E'. */
static void slot_take_results(struct deliver_run *run, struct slot *s) {
  struct str in = strbuf_str(&s->answer);
  if (s->has_results || in.n < 5 || memcmp(in.p + in.n - 5, "E\0\0\0", 5) != 0) return;
  s->has_results = deliver_results_decode(run->a, in, s->batch);
  if (s->has_results) finish_batch(run, s->batch);
}

static void slot_finish(struct deliver_run *run, struct slot *s) {
  (void)!sys_close(s->fd);
  int status = 0;
  sys_waitpid(s->pid, &status, 0);
  s->pid = 0;
  if (s->held) deliver_slot_give(run, s->batch->transport);
  if (s->has_results) return;
  const char *what = arena_printf(run->a, "remote delivery process ended without a result: status 0x%04x", status);
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s", what);
  transport_set_results(s->batch, OUTCOME_DEFER, ERRNO_UNKNOWNERROR, what);
  finish_batch(run, s->batch);
}

/* Wait until something was read; true when a slot came free. */
static bool slots_poll(struct deliver_run *run, struct slot *slots, size_t count) {
  struct pollfd fds[REMOTE_MAX_CHILDREN];
  size_t index[REMOTE_MAX_CHILDREN], n = 0;
  for (size_t i = 0; i < count; i++) {
    if (!slots[i].pid) continue;
    fds[n] = (struct pollfd){.fd = slots[i].fd, .events = POLLIN};
    index[n++] = i;
  }
  if (n == 0 || poll(fds, (nfds_t)n, -1) < 0) return n == 0;
  bool freed = false;
  for (size_t k = 0; k < n; k++) {
    if (!(fds[k].revents & (POLLIN | POLLHUP | POLLERR))) continue;
    struct slot *s = &slots[index[k]];
    char buf[8192];
    ssize_t got = sys_read(s->fd, buf, sizeof(buf));
    if (got > 0 && s->answer.n + (size_t)got <= deliver_answer_max(s->batch)) strbuf_add_t(&s->answer, buf, (size_t)got, TAINTED);
    if (got > 0) slot_take_results(run, s);
    if (got > 0) continue;
    slot_finish(run, s);
    freed = true;
  }
  return freed;
}

static size_t slots_busy(const struct slot *slots, size_t count) {
  size_t n = 0;
  for (size_t i = 0; i < count; i++) n += slots[i].pid != 0;
  return n;
}

static bool slots_owe_results(const struct slot *slots, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (slots[i].pid && !slots[i].has_results) return true;
  return false;
}

void deliver_remote_wait(struct deliver_run *run) {
  if (!run->children) return;
  while (slots_busy(run->children->slots, REMOTE_MAX_CHILDREN) > 0) (void)slots_poll(run, run->children->slots, REMOTE_MAX_CHILDREN);
}

static void run_parallel(struct deliver_run *run, struct vec *batches, size_t max) {
  if (!run->children) run->children = ARENA_NEW(run->a, struct deliver_children); /* some may go on from the first time */
  struct slot *slots = run->children->slots;
  for (size_t i = 0; i < batches->n; i++) {
    struct address *batch = batches->v[i];
    bool held;
    if (!deliver_slot_take(run, batch, &held)) {
      finish_batch(run, batch);
      continue;
    }
    while (slots_busy(slots, max) >= max)
      while (!slots_poll(run, slots, max)) continue;
    if (run->journal_failed) {
      if (held) deliver_slot_give(run, batch->transport);
      for (struct address *addr = batch, *next; addr; addr = next) {
        next = addr->next;
        deliver_not_started(run, addr);
      }
      continue;
    }
    size_t at = 0;
    while (slots[at].pid) at++;
    if (slot_start(run, &slots[at], batch)) {
      slots[at].held = held;
      if (run->cfg->harness_mode) pause_ms(i + 1 < batches->n ? 600 : 100); /* a fixed order of log lines */
      continue;
    }
    /* No process or pipe to be had: do it here. */
    run_here(run, batch, held, false);
  }
  while (slots_owe_results(slots, max)) (void)slots_poll(run, slots, max);
}

/* queue_smtp_domains, and the first pass of -qq: routed now, sent by a queue run; the hosts' waiting lists are filled meanwhile. */
static void hold_for_queue_run(struct deliver_run *run) {
  const char *list = run->o->first_pass || run->o->hold_smtp ? "*" : run->cfg->o.queue_smtp_domains;
  if (!list || (!run->o->first_pass && (run->o->forced || run->o->in_queue_run))) return;
  if (run->cfg->harness_mode && run->o->hold_smtp && run->remote) pause_ms(300); /* the session's lines come first there */
  for (struct address **link = &run->remote; *link;) {
    struct address *addr = *link;
    run->x.addr = addr;
    enum outcome o = match_domain(&run->x, addr->domain, list, NULL);
    if (o == OUTCOME_FAIL) {
      link = &addr->next;
      continue;
    }
    *link = addr->next;
    struct host *hosts = hosts_of(run, addr);
    if (hosts && wait_add(run->cfg, addr->transport->name, hosts, run->m->id)) run->many_wait = true;
    addr->basic_errno = run->o->first_pass ? ERRNO_LOCAL_ONLY : run->o->hold_smtp ? 0 : ERRNO_UNKNOWNERROR;
    addr->message = run->o->hold_smtp ? "SMTP delivery explicitly queued"
                  : o == OUTCOME_OK   ? "first-pass only routing due to -odqs, queue_smtp_domains or control=queue"
                                    : "queue_smtp_domains lookup deferred";
    addr->result = OUTCOME_DEFER;
    deliver_one_result(run, addr, true, false);
  }
}

/* remote_sort_domains: the addresses in the order of the list's items; what matches none, or cannot be looked up, comes last. */
static void sort_by_domain(struct deliver_run *run) {
  const char *pos = run->cfg->o.remote_sort_domains, *pattern;
  int sep = 0;
  if (!pos || !run->remote || !run->remote->next) return;
  if (!(pos = expand_option(&run->x, "remote_sort_domains", pos))) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to expand remote_sort_domains: %s", run->x.error ? run->x.error : "");
    return;
  }
  struct match_opts o = {.caseless = true, .no_expand = true, .allow_named = true, .single_item = true};
  struct address *sorted = NULL, **tail = &sorted;
  while (run->remote && (pattern = list_next(run->a, &pos, &sep))) {
    for (struct address **link = &run->remote; *link;) {
      struct address *addr = *link;
      run->x.addr = addr;
      if (match_list(&run->x, LIST_DOMAIN, addr->domain, pattern, &o) != OUTCOME_OK) {
        link = &addr->next;
        continue;
      }
      *link = addr->next;
      addr->next = NULL;
      *tail = addr;
      tail = &addr->next;
    }
  }
  *tail = run->remote;
  run->remote = sorted;
}

/* All of run->remote, batch by batch. */
static void remote_pass(struct deliver_run *run) {
  run->remote_count = 0;
  for (const struct address *a = run->remote; a; a = a->next) run->remote_count++;
  struct vec batches = vec_new(run->a);
  while (run->remote) vec_push(&batches, take_batch(run));
  if (run->cfg->o.mua_wrapper && batches.n > 1) {
    deliver_mua_not_one(run);
    return;
  }
  int64_t max = run->cfg->o.remote_max_parallel;
  if (max > REMOTE_MAX_CHILDREN) max = REMOTE_MAX_CHILDREN;
  if (batches.n > 1 && max > 1 && !run->o->turn) { /* one connection, one batch at a time */
    run_parallel(run, &batches, (size_t)max);
    return;
  }
  for (size_t i = 0; i < batches.n; i++) {
    struct address *batch = batches.v[i];
    if (run->journal_failed) {
      for (struct address *addr = batch, *next; addr; addr = next) {
        next = addr->next;
        deliver_not_started(run, addr);
      }
      continue;
    }
    bool held;
    if (deliver_slot_take(run, batch, &held)) run_here(run, batch, held, i + 1 == batches.n && !run->fallback);
    else finish_batch(run, batch);
  }
}

void deliver_remote_all(struct deliver_run *run) {
  hold_for_queue_run(run);
  sort_by_domain(run);
  remote_pass(run);
  if (!run->fallback) return;
  run->remote = run->fallback;
  run->fallback = NULL;
  remote_pass(run);
}
