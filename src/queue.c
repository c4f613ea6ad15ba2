/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queue runs (queue.h).  Floor: flows.
 *
 * The spool is the truth: a run takes the ids that are there when it begins and delivers each in a forked child, so that whatever goes wrong with one
 * message stops no other.  Nothing is exec'd, the configuration is not read again.  Manual ch. 5 (-q, -R, -S), ch. 3. */
#include "queue.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deliver.h"
#include "os/log.h"
#include "os/signals.h"
#include "os/sys.h"
#include "policy/config.h"
#include "policy/expand.h"
#include "policy/match.h"
#include "scan.h"
#include "spool.h"
#include "transport.h"

enum { ORPHAN_AGE_SEC = 3600 };

/* ---- one run ------------------------------------------------------------------------------------------------------ */

static struct deliver_opts deliver_opts_of(const struct queue_run_opts *o) {
  return (struct deliver_opts){.forced = o->forced, .thaw = o->force_thaw, .in_queue_run = true,
                               .local_only = o->local_only, .dont_deliver = o->dont_deliver};
}

/* "-qqff" and the selections, as the Start/End lines show them; "" for a plain run. */
static const char *run_flags(struct arena *a, const struct queue_run_opts *o) {
  struct strbuf b = strbuf_new(a);
  if (o->two_stage || o->first_only || o->forced || o->local_only)
    strbuf_addl(&b, " -q", o->two_stage ? "q" : "", o->first_only ? "i" : "", o->force_thaw ? "ff" : o->forced ? "f" : "",
                o->local_only ? "l" : "", NULL);
  if (o->match_recipient) strbuf_addf(&b, " -R%s %s", o->recipient_is_regex ? "r" : "", o->match_recipient);
  if (o->match_sender) strbuf_addf(&b, " -S%s %s", o->sender_is_regex ? "r" : "", o->match_sender);
  return b.p;
}

static bool text_matches(struct expand_ctx *x, const char *text, const char *pattern, bool is_regex) {
  if (is_regex) return regex_match(x, pattern, true, str_c(text), false) == OUTCOME_OK;
  return strstric(text, pattern) != NULL;
}

/* A pattern of -Rr or -Sr with a mistake selects nothing: it is said once, instead of for each message or not at all. */
static bool pattern_is_good(const struct config *cfg, const char *pattern, bool is_regex) {
  if (!pattern || !is_regex) return true;
  struct arena *a = arena_new("pattern");
  struct expand_ctx x = expand_ctx_new(a, cfg);
  bool is_good = regex_match(&x, pattern, true, STR(""), false) != OUTCOME_ERROR;
  if (!is_good) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s", x.error);
  arena_free(a);
  return is_good;
}

/* -R/-S and "first attempt only": needs a look into the message. */
static bool is_selected(const struct config *cfg, const char *id, const struct queue_run_opts *o) {
  if (!o->match_sender && !o->match_recipient && !o->first_only) return true;
  struct message *m;
  if (spool_peek(cfg, id, &m) != SPOOL_OPENED) return !o->first_only; /* deliver_message reports what is wrong */
  struct expand_ctx x = expand_ctx_new(m->arena, cfg);
  bool ok = !o->first_only || m->deliver_firsttime;
  if (ok && o->match_sender) ok = text_matches(&x, m->sender, o->match_sender, o->sender_is_regex);
  if (ok && o->match_recipient) {
    ok = false;
    for (size_t i = 0; i < m->recipient_count && !ok; i++)
      ok = !tree_find(&m->nonrecipients, m->recipients[i].address) &&
           text_matches(&x, m->recipients[i].address, o->match_recipient, o->recipient_is_regex);
  }
  message_free(m);
  return ok;
}

enum { EXIT_MANY_WAIT = 3 };

static pid_t start_child(const struct config *cfg, const char *id, const struct deliver_opts *d) {
  transports_preload(cfg);
  pid_t pid = sys_fork("qrun-delivery");
  if (pid == 0 && cfg->harness_mode) pause_ms(300); /* ages of messages there count on it */
  if (pid == 0) {
    enum deliver_result r = deliver_message(cfg, id, d);
    _exit(r == DELIVER_DONE ? 0 : r == DELIVER_MANY_WAIT ? EXIT_MANY_WAIT : 1);
  }
  if (pid < 0) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "fork of delivery process failed in queue run: %s", strerror((int)-pid));
  return pid;
}

/* Deliver in a child, so that whatever goes wrong there stops one message only.  True: EXIT_MANY_WAIT. */
static bool deliver_in_child(const struct config *cfg, const char *id, const struct deliver_opts *d) {
  pid_t pid = start_child(cfg, id, d);
  int status = 0;
  if (pid < 0 || sys_waitpid(pid, &status, 0) != pid) return false;
  if (WIFSIGNALED(status))
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "queue run: process %d crashed with signal %d while delivering %s", (int)pid,
              WTERMSIG(status), id);
  return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_MANY_WAIT;
}

/* Deliveries that queue_fast_ramp has started in the first pass. */
enum { RAMP_MAX = 8 };
struct ramp {
  pid_t pids[RAMP_MAX];
  size_t n;
};

static void ramp_reap(struct ramp *r, bool wait_for_all) {
  size_t kept = 0;
  for (size_t i = 0; i < r->n; i++) {
    int status;
    if (sys_waitpid(r->pids[i], &status, wait_for_all ? 0 : WNOHANG) == 0) r->pids[kept++] = r->pids[i];
  }
  r->n = kept;
}

/* Enough messages wait for one host of this one: its delivery takes them along while the pass goes on. */
static void ramp_start(const struct config *cfg, struct ramp *r, const char *id, const struct deliver_opts *first) {
  struct deliver_opts d = *first;
  d.first_pass = false;
  ramp_reap(r, false);
  if (r->n == RAMP_MAX) return;
  pid_t pid = start_child(cfg, id, &d);
  if (pid > 0) r->pids[r->n++] = pid;
}

/* The next of "5s/1h/": 0 when it is empty or there is none.  As in Exim a time counts when a slash ends it. */
static int64_t next_age(struct str *ages) {
  int64_t sec = 0;
  if (ages->n == 0 || !memchr(ages->p, '/', ages->n)) return 0;
  struct str item = str_cut(ages, '/');
  return item.n && time_parse_interval(item, false, &sec) ? sec : 0;
}

static void one_pass(const struct config *cfg, const struct queue_run_opts *o, bool first_pass) {
  struct arena *a = arena_new("queue_run");
  struct ramp ramp = {0};
  struct deliver_opts d = deliver_opts_of(o);
  d.first_pass = first_pass;
  d.queue_run_pid = getpid();
  struct str ages = str_c(o->ages);
  bool is_selection = o->start_id || o->match_sender || o->match_recipient;
  bool had_first = !o->match_sender && !o->match_recipient;
  struct spool_item *i = spool_list(a, cfg, cfg->o.queue_run_in_order || is_selection, NULL);
  for (; i; i = i->next) {
    if (o->start_id && strcmp(i->id, o->start_id) < 0) continue;
    if (o->stop_id && strcmp(i->id, o->stop_id) > 0) break;
    if (!is_selected(cfg, i->id, o)) continue;
    double load;
    if (cfg->o.deliver_queue_load_max >= 0 && getloadavg(&load, 1) == 1 && load * 1000 > (double)cfg->o.deliver_queue_load_max) {
      log_write(LS_QUEUE_RUN, LOG_MAIN, "Abandon queue run: pid=%d%s (load %.2f, max %.2f)", (int)getpid(), run_flags(a, o), load,
                (double)cfg->o.deliver_queue_load_max / 1000);
      break;
    }
    /* The first message that -R or -S selects ignores retry times; its successes make the others due. */
    struct deliver_opts first = d;
    first.forced = d.forced || !had_first;
    first.assumed_age_sec = next_age(&ages);
    if (deliver_in_child(cfg, i->id, &first) && cfg->o.queue_fast_ramp) ramp_start(cfg, &ramp, i->id, &first);
    had_first = true;
  }
  ramp_reap(&ramp, true);
  arena_free(a);
}

bool queue_run(const struct config *main_cfg, const struct queue_run_opts *o) {
  struct arena *a = arena_new("queue_run");
  const struct config *cfg = o->name ? config_for_queue(a, main_cfg, o->name) : main_cfg;
  const char *which = o->name && *o->name ? arena_printf(a, "'%s' ", o->name) : "";
  const char *flags = run_flags(a, o);
  int pid = (int)getpid();
  log_write(LS_QUEUE_RUN, LOG_MAIN, "Start %squeue run: pid=%d%s", which, pid, flags);
  bool is_good = pattern_is_good(cfg, o->match_recipient, o->recipient_is_regex) && pattern_is_good(cfg, o->match_sender, o->sender_is_regex);
  if (!is_good) {
    arena_free(a);
    return false;
  }
  if (o->two_stage) one_pass(cfg, o, true);
  one_pass(cfg, o, false);
  if (!o->start_id && !o->match_sender && !o->match_recipient) {
    (void)spool_clean_orphans(cfg, ORPHAN_AGE_SEC);
    (void)spool_clean_set_aside(cfg);
    (void)scan_clean_leftovers(cfg, ORPHAN_AGE_SEC);
  }
  log_write(LS_QUEUE_RUN, LOG_MAIN, "End %squeue run: pid=%d%s", which, pid, flags);
  arena_free(a);
  return true;
}
