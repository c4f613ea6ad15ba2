/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The smtp transport: the job of a delivery, before a host is asked.  Floor: drivers.  Manual ch. 30 (max_rcpt, hosts_randomize, interface).
 *
 * Every recipient begins as deferred: what nobody decides is tried again.  Memory: the delivery's arena. */
#include "transports/smtp_priv.h"

#include "policy/match.h"

struct smtp_job *smtp_job_new(struct delivery *d) {
  struct smtp_job *job = ARENA_NEW(d->arena, struct smtp_job);
  job->d = d;
  job->ob = d->transport->ob;
  job->all_or_none = d->cfg->o.mua_wrapper;
  for (struct address *a = d->addrs; a; a = a->next) job->rcpt_count++;
  job->rcpts = ARENA_NEW_N(d->arena, struct smtp_rcpt, job->rcpt_count);
  size_t i = 0;
  for (struct address *a = d->addrs; a; a = a->next) {
    job->rcpts[i++].addr = a;
    a->result = OUTCOME_DEFER;
    a->may_fall_back = false;
    if (a->is_fallback) continue; /* what its own hosts said holds unless others are asked */
    a->basic_errno = a->more_errno = 0;
    a->message = NULL;
  }
  return job;
}

bool smtp_job_options(struct smtp_job *job, const char **ret_error) {
  struct expand_ctx *x = job->d->x;
  job->include_ip = job->ob->retry_include_ip_address.value;
  if (job->ob->max_rcpt && !expand_int(x, job->ob->max_rcpt, &job->max_rcpt)) {
    *ret_error = arena_printf(x->a, "failed to expand \"max_rcpt\" option: %s", x->error ? x->error : "not a number");
    return false;
  }
  return smtp_bool_option(x, "hosts_randomize", &job->ob->hosts_randomize, &job->randomize, ret_error);
}

bool smtp_job_interface(struct smtp_job *job, const struct host *h, const char **ret_interface, const char **ret_error) {
  struct delivery *d = job->d;
  *ret_interface = NULL;
  if (!job->ob->interface) return true;
  const char *list = expand_string(d->x, job->ob->interface);
  if (!list && d->x->forced_fail) return true;
  if (!list) {
    *ret_error = arena_printf(d->arena, "failed to expand \"interface\" option for %s transport: %s", d->transport->name, d->x->error);
    return false;
  }
  int sep = -':';
  const char *item;
  int family = ip_text_kind(h->address, NULL);
  while ((item = list_next(d->arena, &list, &sep))) {
    int kind = ip_text_kind(item, NULL);
    if (kind == 0) {
      *ret_error = arena_printf(d->arena, "\"%s\" is not a valid IP address for the \"interface\" option for %s transport", item,
                                d->transport->name);
      return false;
    }
    if (kind == family) {
      *ret_interface = item;
      return true;
    }
  }
  return true;
}
