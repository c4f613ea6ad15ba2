/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mua_wrapper: one synchronous attempt for a caller who is told the outcome at once.  Floor: flows.  Manual ch. 52.
 *
 * All recipients go to one host in one transaction or none does.  Whatever is left undone fails: no bounce, no retry data, nothing stays on the spool.
 * The reason goes to the log and to the standard error stream; the caller of the delivery learns of it by DELIVER_MUA_FAILED. */
#include <stdio.h>
#include <string.h>

#include "deliver_priv.h"
#include "os/log.h"

/* The recipient who is told: a file or command means nothing to the caller. */
static const char *shown(struct address *addr) {
  bool is_pseudo = addr->is_file || addr->is_pipe || addr->is_reply;
  return is_pseudo && addr->parent ? addr->parent->address : addr->address;
}

/* The first of the list, which has the newest in front. */
static struct address *first_of(struct address *list) {
  while (list && list->next) list = list->next;
  return list;
}

static void tell_routing(struct address *addr, const char *kind, bool is_logged) {
  const char *why = addr->user_message ? addr->user_message : addr->message;
  if (is_logged) log_write(LS_ALWAYS, LOG_MAIN, "** %s routing yielded a %s delivery", shown(addr), kind);
  fprintf(stderr, "routing %s yielded a %s delivery%s%s\n", shown(addr), kind, why ? ": " : "", why ? why : "");
}

static void forget(struct deliver_run *run) {
  for (struct address *addr = deliver_open_recipients(run), *next; addr; addr = next) {
    next = addr->next;
    deliver_mark_done(run, addr);
  }
  run->local = run->remote = run->defer = run->failed = NULL;
  run->freeze = false;
  run->mua_failed = true;
  fflush(stderr);
}

bool deliver_mua_routed(struct deliver_run *run) {
  if (run->local) tell_routing(run->local, "local", true);
  else if (run->defer) tell_routing(first_of(run->defer), "deferred", true);
  else if (run->failed) tell_routing(first_of(run->failed), "failed", false);
  else return true;
  forget(run);
  return false;
}

void deliver_mua_not_one(struct deliver_run *run) {
  log_write(LS_ALWAYS, LOG_MAIN, "** mua_wrapper is set but recipients cannot all be delivered in one transaction");
  fputs("delivery to smarthost failed (configuration problem)\n", stderr);
  forget(run);
}

static void force(const struct address *addr) {
  log_write(LS_ALWAYS, LOG_MAIN, "** %s mua_wrapper forced failure for deferred delivery", addr->address);
}

void deliver_mua_finish(struct deliver_run *run) {
  const struct address *first = run->failed ? first_of(run->failed) : first_of(run->defer);
  if (!first) return;
  const char *why = first->basic_errno > 0 ? strerror(first->basic_errno) : "", *text = first->message ? first->message : "", *gap = *why ? ": " : "";
  fprintf(stderr, "Delivery failed: %s", why);
  if (first->host_used && (*text || first->basic_errno <= 0)) {
    fprintf(stderr, "%sH=%s", gap, first->host_used->name);
    if (first->host_used->address) fprintf(stderr, " [%s]", first->host_used->address);
    gap = ": ";
  }
  fprintf(stderr, "%s%s\n", *text ? gap : "", text);
  for (const struct address *addr = run->defer; addr; addr = addr->next) force(addr);
  if (run->m->sender && !*run->m->sender) /* as a bounce it would be kept */
    for (const struct address *addr = run->failed; addr; addr = addr->next) force(addr);
  forget(run);
}
