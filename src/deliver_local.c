/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Local deliveries: batching, user and group, the child that runs as the recipient.  Floor: flows.  Manual ch. 23, 25.
 *
 * Everything that needs expansion is expanded here, before the child drops to the user.  The child's answer comes over a pipe and is
 * hostile (deliver_results.c).  A child that dies without a complete answer means "not delivered as far as we know": its addresses are
 * deferred.  A user on never_users is never used: the delivery is deferred, not bounced. */
#include "deliver_priv.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buildinfo.h"
#include "os/debug.h"
#include "os/log.h"
#include "os/priv.h"
#include "os/sys.h"
#include "policy/match.h"
#include "policy/search.h"
#include "retry.h"

static void *option_at(const struct transport *t, const char *name, const struct option **ret) {
  const struct opt_block *b = t->ob_block;
  if (!b) return NULL;
  *ret = opt_find(b->table, b->count, str_c(name));
  return *ret ? (char *)b->base + (*ret)->offset : NULL;
}

/* An integer or boolean option of a transport's driver by name ("max_rcpt"); fallback when it has none. */
static int64_t deliver_transport_int(const struct transport *t, const char *name, int64_t fallback) {
  const struct option *o;
  const void *p = option_at(t, name, &o);
  if (!p) return fallback;
  if (o->type == OPT_T_BOOL) return *(const bool *)p;
  if (o->type == OPT_T_INT || o->type == OPT_T_TIME || o->type == OPT_T_OCTAL || o->type == OPT_T_KINT) return *(const int64_t *)p;
  return fallback;
}

const struct opt_bool_exp *deliver_transport_bool_exp(const struct transport *t, const char *name) {
  const struct option *o;
  const void *p = option_at(t, name, &o);
  return p && o->type == OPT_T_BOOL_EXP ? p : NULL;
}

const char *deliver_transport_str(const struct transport *t, const char *name) {
  const struct option *o;
  const void *p = option_at(t, name, &o);
  return p && (o->type == OPT_T_STR || o->type == OPT_T_STRLIST || o->type == OPT_T_INT_EXP) ? *(const char *const *)p : NULL;
}

static bool text_mentions(const char *text, const char *name) {
  size_t n = strlen(name);
  for (const char *p = text; p && (p = strchr(p, '$')); p++) {
    const char *s = p + 1;
    if (*s == '{') s++;
    if (strncmp(s, name, n) == 0) return true;
  }
  return false;
}

/* A name inside an operator or item ("${lc:$domain}") has its own dollar sign, so looking at each one is enough. */
static bool block_mentions(const struct opt_block *b, const char *name) {
  for (size_t i = 0; b && i < b->count; i++) {
    const struct option *o = &b->table[i];
    const char *base = b->base;
    switch (o->type) {
      case OPT_T_STR:
      case OPT_T_STRLIST:
      case OPT_T_DOMAINLIST:
      case OPT_T_HOSTLIST:
      case OPT_T_ADDRLIST:
      case OPT_T_LOCALLIST:
      case OPT_T_INT_EXP:
        if (text_mentions(*(const char *const *)(base + o->offset), name)) return true;
        break;
      case OPT_T_UID:
      case OPT_T_GID:
        if (text_mentions(((const struct opt_id *)(base + o->offset))->expand, name)) return true;
        break;
      default: break;
    }
  }
  return false;
}

/* Does any option of the transport mention $name or ${name? */
static bool deliver_transport_mentions(const struct transport *t, const char *name) {
  return block_mentions(t->block, name) || block_mentions(t->ob_block, name);
}

static bool text_same(const char *a, const char *b) { return a == b || (a && b && strcmp(a, b) == 0); }

/* Names before CNAMEs count only where delivery hangs on what the certificate says. */
static bool hosts_same(const struct host *a, const struct host *b, bool must_prove) {
  for (; a && b; a = a->next, b = b->next)
    if (strcmpic(a->name, b->name) != 0 || !text_same(a->address, b->address) || a->port != b->port || a->mx != b->mx || a->tls != b->tls ||
        a->dnssec != b->dnssec || ((must_prove || a->dnssec) && !text_same(a->cert_name, b->cert_name)))
      return false;
  return !a && !b;
}

static bool headers_same(const struct header_line *a, const struct header_line *b) {
  for (; a && b; a = a->next, b = b->next)
    if (strcmp(a->text, b->text) != 0) return false;
  return !a && !b;
}

bool deliver_same_batch(const struct address *l, const struct address *b, bool is_remote) {
  if (l->transport != b->transport || !text_same(l->prop.errors_address, b->prop.errors_address) ||
      !text_same(l->prop.remove_headers, b->prop.remove_headers) || !headers_same(l->prop.extra_headers, b->prop.extra_headers) ||
      !hosts_same(l->host_list, b->host_list, is_remote && deliver_transport_str(l->transport, "tls_verify_hosts") != NULL) || l->prop.utf8_msg != b->prop.utf8_msg)
    return false;
  if (is_remote) return text_same(l->self_hostname, b->self_hostname);
  return l->uid_set == b->uid_set && l->gid_set == b->gid_set && (!l->uid_set || l->uid == b->uid) &&
         (!l->gid_set || l->gid == b->gid) && l->initgroups == b->initgroups && text_same(l->home_dir, b->home_dir) &&
         text_same(l->current_dir, b->current_dir);
}

/* --- before a transport runs ------------------------------------------------------------------------ */

/* $domain of a batch is that of all, if they have the same; what belongs to one recipient is not set. */
static void show_batch(struct expand_ctx *x, struct arena *a) {
  struct address *shown = ARENA_NEW(a, struct address);
  *shown = *x->addr;
  for (const struct address *addr = x->addr->next; addr; addr = addr->next)
    if (strcmp(addr->domain, shown->domain) != 0) shown->domain = "";
  shown->local_part = "";
  shown->prefix = shown->suffix = shown->prefix_v = shown->suffix_v = NULL;
  x->addr = shown;
  x->original_domain = x->original_local_part = x->parent_domain = x->parent_local_part = "";
}

struct delivery *deliver_new_delivery(struct deliver_run *run, struct transport *t, struct address *addrs) {
  struct delivery *d = ARENA_NEW(run->a, struct delivery);
  *d = (struct delivery){.cfg = run->cfg, .arena = run->a, .msg = run->m, .transport = t, .addrs = addrs, .x = &run->x,
                         .dont_deliver = run->dont_deliver, .held = run->o->held,
                         .turned = run->o->turn ? run->o->turn->connection : NULL, .msglog_fd = run->msglog_fd, .sequence = 1};
  struct expand_ctx *x = &run->x;
  x->addr = addrs;
  x->router = addrs->router;
  x->router_name = NULL;
  x->transport = t;
  x->transport_name = t->name;
  x->home = addrs->home_dir;
  x->self_hostname = addrs->self_hostname;
  x->address_pipe = addrs->is_pipe ? addrs->address : NULL;
  x->address_file = address_file_name(addrs);
  x->match = (struct match_data){.domain_data = addrs->prop.domain_data, .local_part_data = addrs->prop.localpart_data};
  x->host = addrs->host_list; /* the first of them, until a connection says which */
  x->original_domain = x->original_local_part = x->parent_domain = x->parent_local_part = NULL;
  if (addrs->parent) {
    const struct address *top = address_top(addrs);
    x->original_domain = top->domain;
    x->original_local_part = address_local_part_given(run->a, top);
    x->parent_domain = addrs->parent->domain;
    x->parent_local_part = address_local_part_given(run->a, addrs->parent);
  }
  if (addrs->next) show_batch(x, run->a);
  return d;
}

static bool refuse(struct delivery *d, enum outcome result, int basic_errno, const char *message) {
  bool is_ours = basic_errno == ERRNO_EXPANDFAIL || basic_errno == ERRNO_GIDFAIL || basic_errno == ERRNO_NOTABSOLUTE;
  if (is_ours) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s", message);
  transport_set_results(d->addrs, result, basic_errno, message);
  return false;
}

static bool set_return_path(struct deliver_run *run, struct delivery *d) {
  const struct transport *t = d->transport;
  const char *rp = d->addrs->prop.errors_address ? d->addrs->prop.errors_address : run->m->sender;
  d->return_path = rp ? rp : "";
  run->x.return_path = d->return_path;
  if (opt_was_set(t->block, "return_path")) { /* set to nothing is set */
    const char *s = t->o.return_path ? expand_string(&run->x, t->o.return_path) : "";
    if (s) d->return_path = s;
    else if (!run->x.forced_fail) {
      const char *why = run->x.error ? run->x.error : "";
      if (t->driver->is_local)
        return refuse(d, OUTCOME_DEFER, ERRNO_EXPANDFAIL,
                      arena_printf(run->a, "Failed to expand return path \"%s\" in %s transport: %s", t->o.return_path, t->name, why));
      transport_set_misconfigured(d->addrs, ERRNO_UNKNOWNERROR, arena_printf(run->a, "Failed to expand return path \"%s\": %s", t->o.return_path, why));
      return false;
    }
  }
  run->x.return_path = d->return_path;
  for (struct address *p = d->addrs; p; p = p->next) p->return_path = d->return_path;
  return true;
}

static bool check_size(struct deliver_run *run, struct delivery *d) {
  const struct transport *t = d->transport;
  if (!t->o.message_size_limit) return true;
  int64_t limit;
  if (!expand_int(&run->x, t->o.message_size_limit, &limit) || limit < 0) {
    const char *why = run->x.error ? run->x.error : "not a number";
    const char *what = strncmp(why, "invalid integer", 15) == 0 || strncmp(why, "not a number", 12) == 0 || strncmp(why, "integer expected", 16) == 0 ? "invalid" : "failed to expand";
    return refuse(d, OUTCOME_DEFER, ERRNO_UNKNOWNERROR, arena_printf(run->a, "%s message_size_limit in %s transport: %s", what, t->name, why));
  }
  if (limit == 0 || run->m->message_size <= limit) return true;
  return refuse(d, OUTCOME_FAIL, 0, arena_printf(run->a, "message is too big (transport limit = %lld)", (long long)limit));
}

bool deliver_prepare(struct deliver_run *run, struct delivery *d) {
  if (d->transport->o.debug_print) {
    const char *s = expand_string(&run->x, d->transport->o.debug_print);
    if (!s) s = d->transport->o.debug_print;
    DEBUG(D_V) debug_printf("%s%s", s, *s && s[strlen(s) - 1] == '\n' ? "" : "\n");
  }
  return set_return_path(run, d) && check_size(run, d);
}

/* --- user and group --------------------------------------------------------------------------------- */

struct run_as {
  uid_t uid;
  gid_t gid;
  const char *initgroups;
};

static bool in_id_list(struct deliver_run *run, const char *list, uid_t uid) {
  const char *pos = list, *item;
  int sep = 0;
  while (list && (item = list_next(run->a, &pos, &sep))) {
    struct passwd_entry pw;
    if (*item && route_find_user(run->a, item, &pw) && pw.uid == uid) return true;
  }
  return false;
}

static const char *expanded_id(struct deliver_run *run, const struct opt_id *o) {
  return o->expand ? expand_string(&run->x, o->expand) : o->text;
}

/* name NULL: the expansion failed. */
static bool no_such_id(struct deliver_run *run, struct delivery *d, const char *kind, const struct opt_id *o, const char *name) {
  const char *given = o->expand ? o->expand : o->text, *t = d->transport->name;
  const char *text = name ? arena_printf(run->a, "Failed to find %s \"%s\" from expanded string \"%s\" for the %s transport", kind, name, given, t)
                          : arena_printf(run->a, "Failed to expand %s string \"%s\" for the %s transport: %s", kind, given, t,
                                         run->x.error ? run->x.error : "");
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s", text);
  transport_set_results(d->addrs, OUTCOME_DEFER, *kind == 'u' ? ERRNO_UIDFAIL : ERRNO_GIDFAIL, text);
  return false;
}

static bool is_never_user(struct deliver_run *run, struct delivery *d, uid_t uid) {
  const char *list = in_id_list(run, build_info()->fixed_never_users, uid) ? "fixed_never_users"
                     : in_id_list(run, run->cfg->o.never_users, uid) ? "never_users" : NULL;
  if (!list) return false;
  const char *text = arena_printf(run->a, "User %lu set for %s transport is on the %s list", (unsigned long)uid, d->transport->name, list);
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s", text);
  transport_set_results(d->addrs, OUTCOME_DEFER, ERRNO_UIDFAIL, text);
  return true;
}

/* The transport's group, else what came with the user, else the address's.  *gid_set: has a group been found so far?  False: refused. */
static bool find_group(struct deliver_run *run, struct delivery *d, bool has_user, struct run_as *as, bool *gid_set) {
  const struct transport *t = d->transport;
  const struct address *addr = d->addrs;
  if (opt_was_set(t->block, "group") && (t->o.group.is_set || t->o.group.expand)) {
    const char *name = expanded_id(run, &t->o.group);
    if (!name || !route_find_group(name, &as->gid)) return no_such_id(run, d, "group", &t->o.group, name);
    *gid_set = true;
  } else if (!has_user && !*gid_set && addr->gid_set) {
    as->gid = addr->gid;
    *gid_set = true;
  }
  return true;
}

static bool find_user(struct deliver_run *run, struct delivery *d, struct run_as *as) {
  const struct transport *t = d->transport;
  const struct address *addr = d->addrs;
  struct passwd_entry pw;
  bool gid_set = false, has_user = opt_was_set(t->block, "user") && (t->o.user.is_set || t->o.user.expand);
  as->uid = run->cfg->exim_uid;
  as->gid = run->cfg->exim_gid;
  if (t->driver->takes_whole_message) return true;
  if (has_user) {
    const char *name = expanded_id(run, &t->o.user);
    if (!name) return no_such_id(run, d, "user", &t->o.user, NULL);
    if (!route_find_user(run->a, name, &pw)) return no_such_id(run, d, "user", &t->o.user, name);
    as->uid = pw.uid;
    gid_set = pw.gid != (gid_t)-1;
    if (gid_set) as->gid = pw.gid;
  } else if (deliver_transport_int(t, "pipe_as_creator", 0)) {
    as->uid = run->m->uid;
    as->gid = run->m->gid;
    gid_set = true;
  } else if (addr->uid_set) {
    as->uid = addr->uid;
  }
  if (!find_group(run, d, has_user, as, &gid_set)) return false;
  bool is_exim = as->uid == run->cfg->exim_uid;
  if (!gid_set && !is_exim)
    return refuse(d, OUTCOME_DEFER, ERRNO_GIDFAIL,
                  arena_printf(run->a, "User set without group for %s transport", t->name));
  if (opt_was_set(t->block, "initgroups") ? t->o.initgroups : addr->initgroups) {
    struct strbuf b = strbuf_new(run->a);
    strbuf_addf(&b, "%lu", (unsigned long)as->uid);
    if (route_find_user(run->a, b.p, &pw)) as->initgroups = pw.name;
  }
  return !is_never_user(run, d, as->uid);
}

static bool find_directories(struct deliver_run *run, struct delivery *d) {
  const struct transport *t = d->transport;
  const char *home = d->addrs->home_dir, *cwd = d->addrs->current_dir;
  if (t->o.home_directory) {
    home = expand_string(&run->x, t->o.home_directory);
    if (!home)
      return refuse(d, OUTCOME_DEFER, ERRNO_EXPANDFAIL,
                    arena_printf(run->a, "home directory \"%s\" failed to expand for %s transport: %s", t->o.home_directory,
                                 t->name, run->x.error ? run->x.error : ""));
  }
  run->x.home = home;
  if (t->o.current_directory) {
    cwd = expand_string(&run->x, t->o.current_directory);
    if (!cwd)
      return refuse(d, OUTCOME_DEFER, ERRNO_EXPANDFAIL,
                    arena_printf(run->a, "current directory \"%s\" failed to expand for %s transport: %s", t->o.current_directory,
                                 t->name, run->x.error ? run->x.error : ""));
  }
  d->home = home;
  d->cwd = cwd ? cwd : home ? home : "/";
  bool is_home = home && *home && *home != '/';
  if (!is_home && *d->cwd == '/') return true;
  const char *why = arena_printf(run->a, "%s directory path \"%s\" is not absolute for %s transport", is_home ? "home" : "current",
                                 is_home ? home : d->cwd, t->name);
  return refuse(d, OUTCOME_DEFER, ERRNO_NOTABSOLUTE, why);
}

/* --- the child -------------------------------------------------------------------------------------- */

struct child_work {
  struct delivery *d;
  int fd;
  pid_t parent;
};

static void deliver_each(struct delivery *d) {
  if (transport_deliver(d)) return;
  struct address *all = d->addrs;
  for (struct address *addr = all; addr; addr = addr->next) {
    struct address *next = addr->next;
    addr->next = NULL;
    d->addrs = addr;
    d->x->addr = addr;
    if (!transport_deliver(d)) transport_set_results(addr, OUTCOME_DEFER, ERRNO_UNKNOWNERROR, "transport gave no result");
    addr->next = next;
  }
  d->addrs = all;
}

static int child_main(void *ctx) {
  struct child_work *w = ctx;
  const char *cwd = w->d->cwd;
  priv_limit_core(w->d->transport->permits_core);
  w->d->parent = w->parent;
  lookup_forget(); /* a file that is expanded here is the user's (autoreply): it learns nothing that the user may not read */
  if (chdir(cwd) < 0) transport_set_results(w->d->addrs, OUTCOME_DEFER, errno, arena_printf(w->d->arena, "failed to chdir to %s", cwd));
  else deliver_each(w->d);
  struct strbuf b = strbuf_new(w->d->arena);
  deliver_results_encode(&b, w->d->addrs);
  return sys_write_all(w->fd, b.p, b.n) < 0 ? 1 : 0;
}

static void read_answer(int fd, struct strbuf *out, size_t max_bytes) {
  char buf[8192];
  ssize_t n;
  while ((n = sys_read(fd, buf, sizeof(buf))) > 0)
    if (out->n + (size_t)n <= max_bytes) strbuf_add_t(out, buf, (size_t)n, TAINTED);
}

/* Without root nobody else can be become (deliver_drop_privilege): somebody must look at it, so the message is frozen. */
static void lacks_privilege(struct deliver_run *run, struct delivery *d, const struct run_as *as) {
  const unsigned dest = LOG_MAIN | LOG_PANIC;
  log_write(LS_ALWAYS, dest, "unable to set gid=%ld or uid=%ld (euid=%ld): local delivery to %s transport=%s", (long)as->gid, (long)as->uid, (long)geteuid(),
            deliver_log_address(run->a, d->addrs, true), d->transport->name);
  log_write(LS_ALWAYS, dest, "failed to read delivery status for %s from delivery subprocess", d->addrs->address);
  log_write(LS_ALWAYS, dest, "%s transport process returned non-zero status 0x0100: exit code 1", d->transport->driver->name);
  transport_set_results(d->addrs, OUTCOME_DEFER, ERRNO_UNKNOWNERROR, NULL);
  for (struct address *a = d->addrs; a; a = a->next) a->special_action = SPECIAL_FREEZE;
}

static void run_child(struct deliver_run *run, struct delivery *d, const struct run_as *as) {
  int fds[2];
  int rc = sys_pipe(fds);
  if (rc < 0) {
    transport_set_results(d->addrs, OUTCOME_DEFER, -rc, "unable to create a pipe for local delivery");
    return;
  }
  struct child_work w = {.d = d, .fd = fds[1], .parent = getpid()};
  transport_set_results(d->addrs, OUTCOME_DEFER, ERRNO_UNKNOWNERROR, NULL);
  pid_t pid = priv_run_as(as->uid, as->gid, as->initgroups, false, "local delivery", child_main, &w);
  (void)!sys_close(fds[1]);
  if (pid == -EPERM) {
    (void)!sys_close(fds[0]);
    lacks_privilege(run, d, as);
    return;
  }
  if (pid < 0) {
    (void)!sys_close(fds[0]);
    transport_set_results(d->addrs, OUTCOME_DEFER, (int)-pid,
                          arena_printf(run->a, "failed to start a local delivery as uid=%lu gid=%lu", (unsigned long)as->uid,
                                       (unsigned long)as->gid));
    return;
  }
  struct strbuf answer = strbuf_new_t(run->a, TAINTED, 512);
  read_answer(fds[0], &answer, deliver_answer_max(d->addrs));
  (void)!sys_close(fds[0]);
  int status = 0;
  sys_waitpid(pid, &status, 0);
  if (deliver_results_decode(run->a, strbuf_str(&answer), d->addrs)) {
    if (d->transport->driver->finish) d->transport->driver->finish(d);
    return;
  }
  const char *what = WIFSIGNALED(status)
                         ? arena_printf(run->a, "%s transport process was killed by signal %d", d->transport->name, WTERMSIG(status))
                         : arena_printf(run->a, "%s transport process returned no result: status 0x%04x", d->transport->name, status);
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s", what);
  transport_set_results(d->addrs, OUTCOME_DEFER, ERRNO_UNKNOWNERROR, what);
}

void deliver_not_started(struct deliver_run *run, struct address *addr) {
  addr->message = "not attempted because the journal could not be written";
  addr->basic_errno = ERRNO_UNKNOWNERROR;
  addr->result = OUTCOME_DEFER;
  deliver_one_result(run, addr, true, false);
}

/* First line of captured output for the log. */
static void log_output(struct address *addr) {
  const char *text = addr->return_output;
  if (!text || !(addr->log_output || (addr->log_failed_output && addr->result != OUTCOME_OK))) return;
  size_t len = MIN(str_index(str_c(text), '\n'), (size_t)511);
  while (len && ch_isspace(text[len - 1])) len--;
  if (*text) log_write(LS_ALWAYS, LOG_MAIN, "<%s>: %s transport output: %.*s", addr->address, addr->transport->name, (int)len, text);
}

/* --- batches ---------------------------------------------------------------------------------------- */

static const char *local_retry_key(struct deliver_run *run, const struct address *addr) {
  const struct transport *t = addr->transport;
  if (!t->o.retry_use_local_part) return arena_printf(run->a, "T:%s", addr->domain);
  if (addr->is_pipe || addr->is_file || addr->is_reply) return arena_printf(run->a, "T:%s:%s@%s", addr->address, addr->cc_local_part, addr->domain);
  return arena_printf(run->a, "T:%s@%s", addr->cc_local_part, addr->domain);
}

/* Not yet its time?  Remembers the key of an existing record for deletion after success. */
static bool is_too_early(struct deliver_run *run, struct address *addr, bool *ret_has_record) {
  struct hints_retry r;
  struct hints_db *db = hints_open(run->cfg->spool_directory, "retry", false);
  if (!db) return false;
  bool found = retry_get(db, run->a, local_retry_key(run, addr), &r);
  hints_close(db);
  time_t now = time_sec();
  if (!found || !retry_is_fresh(run->cfg, &r, now)) return false;
  *ret_has_record = true;
  if (run->o->forced || !run->o->in_queue_run || now >= r.next_try || r.expired) return false;
  return !retry_ultimate_address_timeout(&run->x, local_retry_key(run, addr) + 2, NULL, &r, now);
}

static void defer_early(struct deliver_run *run, struct address *addr) {
  addr->message = "Retry time not yet reached";
  addr->basic_errno = ERRNO_LRETRY;
  addr->result = OUTCOME_DEFER;
  deliver_one_result(run, addr, true, false);
}

static bool is_pseudo(const struct address *a) { return a->is_pipe || a->is_file || a->is_reply; }

/* Files and pipes of redirections go together when they are the same ones. */
static bool same_kind(const struct address *l, const struct address *b) {
  if (l->is_reply || b->is_reply) return false;
  return is_pseudo(l) || is_pseudo(b) ? l->is_pipe == b->is_pipe && l->is_file == b->is_file && strcmp(l->address, b->address) == 0
                                      : true;
}

static const char *batch_id_of(struct deliver_run *run, struct address *addr, const char *batch_id) {
  struct address *next = addr->next;
  addr->next = NULL;
  (void)deliver_new_delivery(run, addr->transport, addr);
  addr->next = next;
  return expand_string(&run->x, batch_id);
}

/* Take from the list the next address, and those that may share its delivery (batch_max). */
static struct address *take_batch(struct deliver_run *run) {
  struct address *lead = run->local;
  run->local = lead->next;
  lead->next = NULL;
  const struct transport *t = lead->transport;
  int64_t max = t->driver->takes_whole_message ? INT64_MAX : deliver_transport_int(t, "batch_max", 1);
  if (max <= 1 || lead->is_reply) return lead;
  const char *batch_id = deliver_transport_str(t, "batch_id");
  bool by_local = deliver_transport_mentions(t, "local_part"), by_domain = deliver_transport_mentions(t, "domain");
  const char *lead_id = NULL;
  if (batch_id) {
    lead_id = batch_id_of(run, lead, batch_id);
    if (!lead_id) return lead;
  }
  struct address **tail = &lead->next;
  for (struct address **link = &run->local; *link && max > 1;) {
    struct address *b = *link;
    bool ok = same_kind(lead, b) && deliver_same_batch(lead, b, false) &&
              (!by_local || strcmp(lead->local_part, b->local_part) == 0) && (!by_domain || strcmp(lead->domain, b->domain) == 0);
    if (ok && batch_id) {
      const char *id = batch_id_of(run, b, batch_id);
      ok = id && strcmp(id, lead_id) == 0;
    }
    if (!ok) {
      link = &b->next;
      continue;
    }
    *link = b->next;
    b->next = NULL;
    *tail = b;
    tail = &b->next;
    max--;
  }
  return lead;
}

static struct address *drop_early(struct deliver_run *run, struct address *batch, struct tree *known) {
  struct address *keep = NULL, **tail = &keep;
  for (struct address *addr = batch, *next; addr; addr = next) {
    next = addr->next;
    addr->next = NULL;
    bool has_record = false;
    if (is_too_early(run, addr, &has_record)) {
      defer_early(run, addr);
      continue;
    }
    if (has_record) tree_insert(known, run->a, addr->unique, NULL);
    *tail = addr;
    tail = &addr->next;
  }
  return keep;
}

/* Let the driver expand what needs the rights of this process, before it gives them up. */
static bool set_up_driver(struct delivery *d) {
  const char *error = NULL;
  if (!d->transport->driver->setup || d->transport->driver->setup(d, &error) == OUTCOME_OK) return true;
  transport_set_misconfigured(d->addrs, ERRNO_UNKNOWNERROR, error);
  return false;
}

/* --- shadow transports ------------------------------------------------------------------------------ */

static bool shadow_wanted(struct deliver_run *run, const struct transport *t) {
  if (!t->o.shadow_condition) return true;
  switch (expand_condition_lax(&run->x, t->o.shadow_condition)) {
    case OUTCOME_OK: return true;
    case OUTCOME_FAIL: return false;
    case OUTCOME_DEFER:
    case OUTCOME_ERROR:
    case OUTCOME_FAIL_DROP:
    case OUTCOME_DISCARD: break;
  }
  if (!run->x.forced_fail)
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to expand shadow_condition \"%s\" for %s transport: %s", t->o.shadow_condition,
              t->name, run->x.error ? run->x.error : "");
  return false;
}

/* Copies of the delivered addresses for the shadow; originals[i] is the one the i-th copy was made of. */
static struct address *shadow_copies(struct deliver_run *run, struct address *batch, struct transport *shadow, struct vec *originals) {
  struct address *first = NULL, **tail = &first;
  for (struct address *addr = batch; addr; addr = addr->next) {
    if (addr->result != OUTCOME_OK) continue;
    struct address *copy = ARENA_NEW(run->a, struct address);
    *copy = *addr;
    copy->next = NULL;
    copy->first = first;
    copy->transport = shadow;
    copy->result = OUTCOME_DEFER;
    copy->basic_errno = copy->more_errno = 0;
    copy->message = copy->user_message = copy->confirmation = NULL;
    copy->return_output = NULL;
    copy->return_file_when = ADDR_RETURN_NONE;
    vec_push(originals, addr);
    *tail = copy;
    tail = &copy->next;
  }
  return first;
}

/* The delivery was a success: pass the message to the shadow too, whose result is only mentioned in the log line. */
static void deliver_shadow(struct deliver_run *run, struct address *batch, const struct transport *t) {
  struct transport *shadow = config_transport(run->cfg, t->o.shadow_transport);
  if (!shadow || !shadow->driver->is_local) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s transport: shadow_transport \"%s\" is not a local transport", t->name,
              t->o.shadow_transport);
    return;
  }
  if (!shadow_wanted(run, t)) return;
  struct vec originals = vec_new(run->a);
  struct address *copies = shadow_copies(run, batch, shadow, &originals);
  if (!copies) return;
  deliver_journal_batch(run, batch);
  struct delivery *d = deliver_new_delivery(run, shadow, copies);
  struct run_as as = {0};
  if (deliver_prepare(run, d) && find_user(run, d, &as) && find_directories(run, d) && set_up_driver(d)) {
    d->uid = as.uid;
    d->gid = as.gid;
    run_child(run, d, &as);
  }
  size_t i = 0;
  for (struct address *c = copies; c && i < originals.n; c = c->next, i++) {
    struct address *addr = originals.v[i];
    const char *why = c->result == OUTCOME_OK ? NULL : c->message ? c->message : c->basic_errno > 0 ? strerror(c->basic_errno) : "failed";
    addr->shadow_message = why ? arena_printf(run->a, " ST=%s (%s)", shadow->name, why) : arena_printf(run->a, " ST=%s", shadow->name);
  }
}

/* --- one batch -------------------------------------------------------------------------------------- */

static void deliver_batch(struct deliver_run *run, struct address *batch) {
  struct tree known = {0};
  batch = drop_early(run, batch, &known);
  if (!batch) return;
  struct timeval start = time_now();
  struct delivery *d = deliver_new_delivery(run, batch->transport, batch);
  struct run_as as = {0};
  bool started = false, held = false, prepared = deliver_prepare(run, d), has_user = prepared && find_user(run, d, &as);
  if (has_user && find_directories(run, d) && set_up_driver(d) && deliver_slot_take(run, batch, &held)) {
    d->uid = as.uid;
    d->gid = as.gid;
    started = true;
    if (run->dont_deliver) transport_set_results(batch, OUTCOME_OK, 0, NULL);
    else run_child(run, d, &as);
    if (held) deliver_slot_give(run, batch->transport);
  }
  for (struct address *addr = batch; addr; addr = addr->next) /* what the log says */
    if (addr->other_transport && config_transport(run->cfg, addr->other_transport)) addr->transport = config_transport(run->cfg, addr->other_transport);
  struct timeval end = time_now();
  for (struct address *addr = batch; addr; addr = addr->next) {
    addr->delivery_usec = (int)((end.tv_sec - start.tv_sec) * 1000000 + (end.tv_usec - start.tv_usec));
    log_output(addr);
    /* A configuration that cannot be used is no reason to time an address out. */
    bool counts = started || (prepared && !has_user); /* a user that is not there may never come */
    if (!counts || addr->is_misconfigured) continue;
    if (addr->result == OUTCOME_DEFER || addr->result == OUTCOME_ERROR)
      retry_add_item(run->a, addr, local_retry_key(run, addr), addr->message, 0);
    else if (tree_find(&known, addr->unique)) retry_add_item(run->a, addr, local_retry_key(run, addr), NULL, RETRY_DELETE);
  }
  if (started && !run->dont_deliver && batch->transport->o.shadow_transport) deliver_shadow(run, batch, batch->transport);
  deliver_batch_results(run, batch);
}

void deliver_local_all(struct deliver_run *run) {
  while (run->local && !run->journal_failed) {
    struct address *batch = take_batch(run);
    deliver_batch(run, batch);
  }
  while (run->local) {
    struct address *addr = run->local;
    run->local = addr->next;
    deliver_not_started(run, addr);
  }
}

enum outcome deliver_check_quota(struct expand_ctx *x, struct address *addr, int64_t size) {
  if (!addr->transport || !addr->transport->driver->knows_quota) return OUTCOME_OK;
  struct message copy = *x->msg;
  copy.message_size = MAX(size, INT64_C(0));
  struct deliver_opts none = {.forced = false};
  struct deliver_run run = {.cfg = x->cfg, .o = &none, .m = &copy, .a = x->a, .x = *x};
  run.x.msg = &copy;
  struct delivery *d = deliver_new_delivery(&run, addr->transport, addr);
  struct run_as as = {0};
  d->only_quota = true;
  if (deliver_prepare(&run, d) && find_user(&run, d, &as) && find_directories(&run, d) && set_up_driver(d)) {
    d->uid = as.uid;
    d->gid = as.gid;
    if (priv_can_raise()) run_child(&run, d, &as);
    else deliver_each(d);
  }
  if (addr->result == OUTCOME_DEFER && addr->basic_errno == ERRNO_EXIMQUOTA) return OUTCOME_FAIL;
  return addr->result;
}
