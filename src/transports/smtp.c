/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The smtp transport: hosts, attempts, transactions.  Floor: drivers.  Manual ch. 30, 49.
 *
 * A delivery works down a host list until every recipient is settled.  Each host gets one attempt; when that attempt talked early (pipe_connect)
 * and ended in a way that may only be due to a stale record, the same host gets exactly one plain attempt before anything is recorded, logged or
 * decided (rule K6).  The outcome of the plain attempt is the one that counts.
 * The phases are in smtp_connect, smtp_greeting, smtp_envelope, smtp_data; replies in smtp_reply; meanings in smtp_result.
 * All memory is the delivery's arena: texts of replies end in addresses. */
#include "transports/smtp_priv.h"

#include <errno.h>
#include <string.h>

#include "host.h"
#include "os/debug.h"
#include "os/log.h"
#include "os/signals.h"
#include "policy/match.h"
#include "retry.h"
#include "transport_filter.h"
#include "transports/drivers.h"
#include "transports/smtp_probe.h"
#include "transports/smtp_turned.h"

enum { HARNESS_PAUSE_MS = 500 };

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct smtp_opts, n, t, d, f)
static const struct option smtp_options[] = {
#include "transports/smtp_options.def"
};
#undef OPT_ROW

/* For -bP; which port is used without the option is default_port()'s to say: a system need not know the name "lmtp". */
static const char *port_word(const char *protocol) {
  if (protocol && strcmpic(protocol, "lmtp") == 0) return "lmtp";
  return protocol && strcmpic(protocol, "smtps") == 0 ? "smtps" : "smtp";
}

static const char *smtp_init(struct arena *a, struct config *c, struct transport *t) {
  struct smtp_opts *ob = t->ob;
  (void)c;
  if (ob->protocol && strcmpic(ob->protocol, "smtp") != 0 && strcmpic(ob->protocol, "lmtp") != 0 && strcmpic(ob->protocol, "smtps") != 0)
    return arena_printf(a, "protocol \"%s\" is not supported by this build: use smtp, smtps or lmtp (%s transport)", ob->protocol, t->name);
  if (ob->command_timeout <= 0 || ob->data_timeout <= 0 || ob->final_timeout <= 0)
    return arena_printf(a, "command, data, or final timeout value is zero for %s transport", t->name);
  if (!opt_was_set(t->ob_block, "port")) ob->port = port_word(ob->protocol);
  return NULL;
}

static bool is_lmtp(const struct smtp_opts *ob) { return ob->protocol && strcmpic(ob->protocol, "lmtp") == 0; }

static bool any_pending(const struct smtp_job *job) {
  for (size_t i = 0; i < job->rcpt_count; i++)
    if (job->rcpts[i].state != RCPT_DONE) return true;
  return false;
}

/* ---- one attempt ------------------------------------------------------------------------------------------ */

/* LIMITS RCPTDOMAINMAX: may a recipient of this domain join the transaction? */
static bool domain_fits(struct vec *domains, const char *domain, uint32_t max) {
  if (max == 0 || !domain) return true;
  for (size_t i = 0; i < domains->n; i++)
    if (strcmpic(domains->v[i], domain) == 0) return true;
  if (domains->n >= max) return false;
  vec_push(domains, (void *)domain);
  return true;
}

struct smtp_rcpt *smtp_next_group(struct smtp_attempt *s, size_t *at, size_t *ret_n) {
  struct smtp_job *job = s->job;
  size_t limit = smtp_group_limit(s), start = *at, found = 0;
  struct vec domains = vec_new(s->a);
  while (*at < job->rcpt_count && found < limit) {
    struct smtp_rcpt *r = &job->rcpts[*at];
    if (smtp_is_due(r) && !domain_fits(&domains, r->addr->domain, s->facts.limit_rcptdommax)) break;
    if (smtp_is_due(r)) found++;
    ++*at;
  }
  *ret_n = *at - start;
  return found ? &job->rcpts[start] : NULL;
}

/* mua_wrapper: the message is for all recipients, or its content is not sent. */
static bool is_given_up(struct smtp_attempt *s) {
  struct smtp_job *job = s->job;
  size_t accepted = 0;
  if (!job->all_or_none || s->t.mail_refused) return false;
  for (size_t i = 0; i < job->rcpt_count; i++) accepted += job->rcpts[i].state == RCPT_ACCEPTED;
  if (accepted == job->rcpt_count) return false;
  for (size_t i = 0; i < job->rcpt_count; i++) job->rcpts[i].state = RCPT_DONE;
  return true;
}

static bool finish_transaction(struct smtp_attempt *s, struct smtp_rcpt *first, size_t n) {
  if (!smtp_reap_envelope(s)) return false;
  if (s->was_ahead && smtp_next_is_asked_again(s, first, n)) return !s->dead;
  if (is_given_up(s)) return true;
  if (s->t.bdat_used) return smtp_reap_chunk(s, first, n);
  bool any = false;
  for (size_t i = 0; i < n; i++) any = any || first[i].state == RCPT_ACCEPTED;
  if (any && !s->t.mail_refused && !s->t.data_sent && !smtp_use_chunking(s)) {
    smtp_send(s, AT_DATA, NULL, "DATA");
    s->t.data_sent = true;
    if (!smtp_reap_envelope(s)) return false;
  }
  return smtp_send_content(s, first, n);
}

/* A failed transaction leaves the server in the middle of one. */
bool smtp_reset_server(struct smtp_attempt *s) {
  struct smtp_awaited what;
  struct smtp_reply r;
  if (s->dead) return false;
  smtp_send(s, AT_RSET, NULL, "RSET");
  s->reply_deadline = deadline_in_sec(s->ob->command_timeout);
  return smtp_read_reply(s, &what, &r) && r.code / 100 == 2;
}

/* The server's limit of transactions for one connection, or ours. */
static bool mailmax_reached(const struct smtp_attempt *s) {
  int64_t ours = s->ob->connection_max_messages, theirs = s->facts.limit_mailmax;
  return (theirs > 0 && s->sequence >= theirs) || (ours > 0 && s->sequence >= ours);
}

/* What comes from here on waits for another connection to the same host. */
static void put_off(struct smtp_job *job, struct smtp_rcpt *first) {
  for (struct smtp_rcpt *r = first; r < job->rcpts + job->rcpt_count; r++)
    if (smtp_is_due(r)) r->turn = TURN_LATER;
}

/* One transaction.  *ret_sent: its content left; false: the connection is of no use any more. */
static bool run_group(struct smtp_attempt *s, struct smtp_rcpt *first, size_t n, bool in_flight, bool *ret_sent) {
  bool earlier = !in_flight && s->content_sent, ok = true;
  if (!in_flight) {
    s->pipelining = smtp_may_pipeline(s);
    s->content_sent = false;
    s->t = (struct smtp_transaction){0};
    smtp_write_envelope(s, first, n, !smtp_use_chunking(s));
    ok = !s->dead && (!smtp_chunk_rides_along(s) || smtp_send_chunk_ahead(s));
  }
  ok = ok && finish_transaction(s, first, n);
  *ret_sent = s->content_sent;
  s->content_sent = s->content_sent || earlier;
  return ok;
}

/* The transaction came to nothing, because the recipients are no good: the next message may have better ones. */
static bool is_only_refused(const struct smtp_job *job) {
  for (size_t i = 0; i < job->rcpt_count && !job->all_or_none; i++)
    if (job->rcpts[i].state == RCPT_DONE && job->rcpts[i].addr->result == OUTCOME_FAIL) return true;
  return false;
}

/* A command that cannot be is found out before the server has heard of the message. */
static bool check_filter(struct smtp_attempt *s) {
  bool is_tainted;
  const char *error = transport_expand_filter(s->d, arena_printf(s->a, "%s transport filter", s->d->transport->name), &is_tainted);
  if (!error) return true;
  transport_set_results(s->d->addrs, is_tainted ? OUTCOME_FAIL : OUTCOME_DEFER, 0, error);
  for (size_t i = 0; i < s->job->rcpt_count; i++) s->job->rcpts[i].state = RCPT_DONE;
  return false;
}

bool smtp_run_message(struct smtp_attempt *s, size_t at, size_t n, bool in_flight) {
  struct smtp_rcpt *first = in_flight ? &s->job->rcpts[0] : NULL;
  bool clean = true;
  if (!in_flight && !check_filter(s)) return false;
  if (!in_flight && !smtp_utf8_decide(s)) return false;
  if (!in_flight && !smtp_auth_prepare_mail(s)) return false;
  if (!in_flight) first = smtp_next_group(s, &at, &n);
  while (first) {
    bool sent, was_ahead = s->was_ahead;
    if (!run_group(s, first, n, in_flight, &sent)) return false;
    in_flight = false;
    if (was_ahead && !sent) at = 0; /* some may have to be asked again */
    clean = sent && s->fail.trouble == TROUBLE_NONE;
    if (s->fail.trouble != TROUBLE_NONE) return false;
    if (s->inconclusive) return false;
    if (sent && s->pipelining && smtp_reopen_excess(s)) at = 0; /* else the next queue run tries them, as senders without PIPELINING always did */
    first = smtp_next_group(s, &at, &n);
    if (first && mailmax_reached(s)) {
      put_off(s->job, first);
      return clean;
    }
    if (first) s->sequence++;
    if (first && !clean && !smtp_reset_server(s)) {
      s->was_ahead = was_ahead && !sent; /* it has not begun */
      return false;
    }
  }
  s->must_reset = !clean;
  return clean || (!s->is_lmtp && is_only_refused(s->job));
}

/* ---- one host --------------------------------------------------------------------------------------------- */

static struct smtp_attempt *attempt_new(struct smtp_job *job, struct host *h, int port) {
  struct smtp_attempt *s = ARENA_NEW(job->d->arena, struct smtp_attempt);
  s->job = job;
  s->d = job->d;
  s->ob = job->ob;
  s->a = job->d->arena;
  s->host = ARENA_NEW(s->a, struct host);
  *s->host = *h; /* with the port, as logs show it */
  s->host->port = port;
  s->port = port;
  s->is_lmtp = is_lmtp(job->ob) && !h->tls;
  s->flight = strbuf_new(s->a);
  s->sequence = 1;
  s->interface = job->interface;
  return s;
}

static void reopen_recipients(struct smtp_job *job) {
  for (size_t i = 0; i < job->rcpt_count; i++)
    if (job->rcpts[i].state != RCPT_DONE) job->rcpts[i].state = RCPT_PENDING;
}

/* With DANE only the domain whose records were looked up goes on the connection (manual: multi_domain); the rest have their own. */
static void one_domain_only(struct smtp_job *job) {
  const char *domain = NULL;
  for (size_t i = 0; i < job->rcpt_count; i++) {
    struct smtp_rcpt *r = &job->rcpts[i];
    if (!smtp_is_due(r)) continue;
    if (!domain) domain = r->addr->domain;
    if (strcmpic(domain, r->addr->domain) != 0) r->turn = TURN_LATER;
  }
}

/* Connect, greet, send.  The meaning is left to the caller: s->fail. */
static void run_attempt(struct smtp_attempt *s, bool allow_early) {
  struct expand_ctx *x = s->d->x;
  x->host = s->host;
  x->sending_ip_address = NULL;
  x->sending_port = 0;
  x->tls_out = &s->tls;
  if (!smtp_serialize_begin(s)) {
    s->job->any_busy = true;
    return;
  }
  if (!smtp_tls_policy(s)) return;
  if (s->dane) one_domain_only(s->job);
  if (!smtp_plan_early(s, !allow_early)) return;
  if (!smtp_connect(s) || !smtp_greet(s)) return;
  bool again = smtp_run_message(s, s->group_at, s->group_n, s->group_in_flight);
  smtp_continue_connection(s, again && !s->inconclusive);
}

static bool all_taken(const struct smtp_job *job) {
  for (size_t i = 0; i < job->rcpt_count; i++)
    if (job->rcpts[i].addr->result != OUTCOME_OK) return false;
  return true;
}

/* Early pipelining: what the end of the attempt means for the record about the server, and for the message.  True: the recipients that are
 * left are tried once more, without talking early.  job: the one that began the connection. */
static bool early_says_again(struct smtp_job *job, struct smtp_attempt *s) {
  enum pipe_event event = s->job == job ? smtp_early_event(s) : PIPE_EV_GENUINE;
  const struct pipe_failure_rule *rule = pipe_connect_rule(event);
  if (event == PIPE_EV_LOST_WITH_CONTENT || (event == PIPE_EV_LOST_AFTER_CONTENT && s->content_in_flight)) smtp_blame_end(s);
  if (event == PIPE_EV_LOST_WITH_CONTENT) job->host_may_have_it = true;
  if (s->early || event == PIPE_EV_AUTH_REFUSED) {
    DEBUG(D_TRANSPORT) debug_printf("early attempt ended as %s%s\n", rule->classes, rule->replain ? ": plain attempt follows" : "");
    if (rule->drop_record) pipe_connect_failed(job->d->x, &s->plan, &s->need);
  }
  bool again = rule->replain || (event == PIPE_EV_LOST_AFTER_CONTENT && smtp_settle_lost(s));
  if (!again || !any_pending(job)) return false;
  if (!rule->drop_record) pipe_connect_mismatched(job->d->x, &s->plan, &s->need);
  return true;
}

/* The attempt was the last one on this address: close, and record how it went. */
static void end_attempts(struct smtp_job *job, struct smtp_attempt *s) {
  bool first_message = s->job == job;
  /* what is about the message is told before the connection's end, what is about the host behind it */
  bool is_reply = s->fail.trouble == TROUBLE_REPLY && s->fail.at >= AT_MAIL && !s->dead;
  bool close_is_told_last = s->tcp_is_open && (is_reply || (s->fail.trouble != TROUBLE_NONE && s->fail.at == AT_END));
  if (close_is_told_last) s->tcp_is_open = false;
  smtp_disconnect(s, s->greeting && s->fail.trouble != TROUBLE_TIMEOUT);
  DEBUG(D_TRANSPORT | D_V) debug_printf(s->said.n ? "cmdlog: '%s'\n" : "cmdlog: (unset)\n", s->said.n ? s->said.p : "");
  if (first_message && s->fail.trouble != TROUBLE_NONE) smtp_record_failure(s);
  if (close_is_told_last) (void)smtp_event(s, NULL, "tcp:close", NULL, 0);
  if (first_message) smtp_clear_retry(s);
  /* the test suite's server goes away after its script: the bounce must not find it still listening */
  if (job->d->cfg->harness_mode && !all_taken(job)) pause_ms(100);
}

/* At most one early attempt, then a plain one, then at most one that avoids TLS. */
static void try_connection(struct smtp_job *job, struct host *h, int port) {
  bool allow_early = true, avoid_tls = false;
  const char *cipher_std = NULL; /* of a session whose certificate was refused: still visible after it, as in Exim */
  for (;;) {
    struct smtp_attempt *s = attempt_new(job, h, port);
    s->avoid_tls = avoid_tls;
    s->tls.cipher_std = cipher_std;
    run_attempt(s, allow_early);
    smtp_fastopen_judge(s);
    bool first_message = s->job == job; /* a connection that went on to other messages has done with this one */
    if (smtp_srv_fall_back(s, &port, &h)) continue;
    if (early_says_again(job, s)) {
      smtp_disconnect(s, !s->dead);
    } else if (first_message && smtp_tls_try_clear(s)) {
      smtp_disconnect(s, false);
      avoid_tls = true;
      cipher_std = s->tls.cipher_std;
    } else {
      end_attempts(job, s);
      return;
    }
    reopen_recipients(job);
    allow_early = false;
  }
}

static void try_host(struct smtp_job *job, struct host *h, int port) {
  bool more = true;
  while (more) {
    try_connection(job, h, port);
    more = false;
    for (size_t i = 0; i < job->rcpt_count; i++) {
      struct smtp_rcpt *r = &job->rcpts[i];
      more = more || r->turn == TURN_LATER;
      r->turn = r->turn == TURN_LATER ? TURN_OPEN : TURN_OVER;
    }
  }
  for (size_t i = 0; i < job->rcpt_count; i++) job->rcpts[i].turn = TURN_OPEN;
}

/* ---- the host list ---------------------------------------------------------------------------------------- */

static int default_port(struct smtp_job *job, const char **ret_error) {
  struct expand_ctx *x = job->d->x;
  if (!job->ob->port || !opt_was_set(job->d->transport->ob_block, "port"))
    return is_lmtp(job->ob) ? 24 : job->ob->protocol && strcmpic(job->ob->protocol, "smtps") == 0 ? 465 : 25;
  const char *text = expand_string(x, job->ob->port);
  if (!text) {
    *ret_error = arena_printf(job->d->arena, "failed to expand \"%s\" (\"port\" option) for %s transport: %s", job->ob->port,
                              job->d->transport->name, x->error ? x->error : "");
    return -1;
  }
  int port = net_service_port(text);
  if (port < 0)
    *ret_error = arena_printf(job->d->arena, "TCP port \"%s\" is not defined for %s transport", text, job->d->transport->name);
  return port;
}

/* Addresses for a host that came by name only.  False: unusable, reason noted in the pending recipients. */
static bool look_up_host(struct smtp_job *job, struct host *h) {
  struct delivery *d = job->d;
  unsigned how = HOST_FIND_BY_A | HOST_FIND_BY_AAAA;
  if (job->ob->dns_qualify_single) how |= HOST_FIND_QUALIFY_SINGLE;
  if (job->ob->dns_search_parents) how |= HOST_FIND_SEARCH_PARENTS;
  struct host_find_opts o = {.how = how, .dnssec_request_domains = job->ob->dnssec_request_domains,
                             .dnssec_require_domains = job->ob->dnssec_require_domains};
  const char *fqdn = NULL;
  bool by_name = job->ob->gethostbyname || ip_text_kind(h->name, NULL) != 0;
  enum host_find r = by_name ? host_find_byname(d->x, h, &o, &fqdn) : host_find_bydns(d->x, h, &o, &fqdn, NULL);
  if (r == HOST_FOUND || (r == HOST_FOUND_LOCAL && job->ob->allow_localhost)) return true;
  const char *text;
  int err = ERRNO_UNKNOWNHOST;
  if (r == HOST_FOUND_LOCAL) {
    text = arena_printf(d->arena, "%s transport found host %s to be local", d->transport->name, h->name);
    err = ERRNO_HOST_IS_LOCAL;
  } else if (r == HOST_FIND_AGAIN || r == HOST_FIND_SECURITY) {
    text = arena_printf(d->arena, "lookup of host \"%s\" did not complete in %s transport", h->name, d->transport->name);
    err = ERRNO_DNSDEFER;
  } else {
    text = arena_printf(d->arena, "failed to lookup IP address for %s", h->name);
  }
  for (size_t i = 0; i < job->rcpt_count; i++) {
    struct address *a = job->rcpts[i].addr;
    if (job->rcpts[i].state == RCPT_DONE || job->rcpts[i].deferred_by_reply) continue;
    a->basic_errno = err;
    a->message = text;
  }
  job->any_not_found = true;
  h->status = HOST_UNUSABLE;
  h->why = r == HOST_FIND_AGAIN ? HOST_WHY_DEFERRED : HOST_WHY_FAILED;
  return false;
}

/* Does a later host of the list have a higher MX value? */
static struct host *higher_mx(struct host *h) {
  for (struct host *n = h->next; n; n = n->next)
    if (n->mx > h->mx) return n;
  return NULL;
}

/* What the options say for this host.  False: the pending recipients are deferred with the reason. */
static void set_misconfigured(struct address *a, const char *error) {
  a->message = error;
  a->basic_errno = ERRNO_UNKNOWNERROR;
  a->is_misconfigured = true; /* the panic log has it too */
}

static bool prepare_host(struct smtp_job *job, struct host *h) {
  const char *error = NULL;
  job->d->x->host = h;
  if (smtp_job_interface(job, h, &job->interface, &error) &&
      smtp_bool_option(job->d->x, "retry_include_ip_address", &job->ob->retry_include_ip_address, &job->include_ip, &error))
    return true;
  for (size_t i = 0; i < job->rcpt_count; i++)
    if (job->rcpts[i].state != RCPT_DONE) set_misconfigured(job->rcpts[i].addr, error);
  return false;
}

static bool retry_allows(struct smtp_job *job, struct host *h, int port, bool *ret_expired) {
  struct delivery *d = job->d;
  if (!prepare_host(job, h)) return false;
  const struct retry_use use = {.port = port, .include_ip = job->include_ip, .interface = job->interface, .domain = d->addrs->domain,
                                .msg = d->msg};
  struct hints_db *db = hints_open(d->cfg->spool_directory, "retry", false);
  *ret_expired = retry_check_host(d->x, db, h, &use, &job->retry_keys);
  if (db) hints_close(db);
  if (h->status == HOST_UNUSABLE_EXPIRED) job->any_expired = true;
  if (h->status == HOST_UNUSABLE) job->any_retry_skip = true;
  return h->status == HOST_USABLE || h->status == HOST_USABLE_UNKNOWN;
}

/* Say why this host did not serve where it is not the last of the list, whether or not the next one is going to be tried. */
static void log_deferred(const struct smtp_job *job) {
  for (size_t i = 0; i < job->rcpt_count; i++) {
    const struct smtp_rcpt *r = &job->rcpts[i];
    const struct address *a = r->addr;
    if (r->state == RCPT_DONE || !r->deferred_by_reply || r->is_told || !a->host_used) continue;
    log_write(LS_ALWAYS, LOG_MAIN, "H=%s [%s] %s", a->host_used->name, a->host_used->address, a->message);
  }
}

/* Recipients that this host deferred may try the next one. */
static void reopen_deferred(struct smtp_job *job) {
  for (size_t i = 0; i < job->rcpt_count; i++) {
    struct smtp_rcpt *r = &job->rcpts[i];
    if (r->state == RCPT_DONE || !r->deferred_by_reply) continue;
    r->deferred_by_reply = false;
    r->state = RCPT_PENDING;
  }
}

/* delay_after_cutoff = false: past its cutoff, but not tried since the message came. */
static bool is_due_once_more(const struct smtp_job *job, const struct host *h) {
  return h->status == HOST_UNUSABLE_EXPIRED && h->last_try < job->d->msg->received_time.tv_sec;
}

/* All hosts are to be considered before an address times out (manual 30.5). */
static void note_left(struct smtp_job *job) {
  job->any_left = true;
  for (size_t i = 0; i < job->rcpt_count; i++) job->rcpts[i].addr->hosts_left = true;
}

/* As many hosts as hosts_max_try allows have been tried: the next is one of a higher MX, or an expired one (manual 30.5).  NULL: none. */
static struct host *host_beyond_max(struct smtp_job *job, struct host *h, bool is_expired) {
  struct host *up = higher_mx(h);
  if (!up && !is_expired) note_left(job);
  return up ? up : is_expired ? h : NULL;
}

static void work_hosts(struct smtp_job *job, struct host *list, bool once_more) {
  const char *error = NULL;
  int port = default_port(job, &error);
  if (port < 0) {
    transport_set_misconfigured(job->d->addrs, ERRNO_UNKNOWNERROR, error);
    return;
  }
  int counted = 0, tried = 0;
  struct host *h;
  for (h = list; h && any_pending(job) && !job->host_may_have_it; h = h->next) {
    if (!h->address && !look_up_host(job, h)) continue;
    int host_port = h->port ? h->port : port;
    bool expired;
    if (!retry_allows(job, h, host_port, &expired) && !(once_more && is_due_once_more(job, h))) continue;
    if (tried >= job->ob->hosts_max_try_hardlimit) break;
    DEBUG(D_TRANSPORT | D_V) {
      if (h->port && h->port != port) debug_printf("Transport port=%d replaced by host-specific port=%d\n", port, h->port);
    }
    if (counted >= job->ob->hosts_max_try) {
      struct host *next = host_beyond_max(job, h, expired);
      if (!next) break;
      bool is_other = next != h;
      h = next;
      if (!h->address && !look_up_host(job, h)) continue;
      host_port = h->port ? h->port : port;
      if (is_other && !retry_allows(job, h, host_port, &expired)) continue;
    } else if (!expired && h->next && !retry_outlived(job->d->x, h)) {
      counted++; /* manual 30.5; of the last one it does not matter */
    }
    tried++;
    if (job->any_tried) reopen_deferred(job);
    job->is_later_host = job->any_tried;
    job->any_tried = true;
    job->blamed = NULL;
    try_host(job, h, host_port);
    if (h->next) log_deferred(job);
    if (job->d->cfg->harness_mode && any_pending(job)) pause_ms(HARNESS_PAUSE_MS); /* retry times there count on it */
  }
  if (h) job->any_left = true;
}

static struct host *smtp_hosts_of(struct expand_ctx *x, struct transport *t, struct address *addr) {
  const struct smtp_opts *ob = t->ob;
  if (addr->host_list && (addr->is_fallback || !(ob->hosts && ob->hosts_override))) return addr->host_list;
  const char *list = ob->hosts ? expand_string(x, ob->hosts) : NULL;
  return list ? host_build_list(x, list, false) : NULL;
}

static struct host *own_host_list(struct smtp_job *job, const char **ret_error) {
  struct delivery *d = job->d;
  if (!job->ob->hosts) {
    *ret_error = arena_printf(d->arena, "%s transport called with no hosts set", d->transport->name);
    return NULL;
  }
  const char *list = expand_string(d->x, job->ob->hosts);
  if (!list) {
    *ret_error = arena_printf(d->arena, "failed to expand list of hosts \"%s\" in %s transport: %s", job->ob->hosts, d->transport->name,
                              d->x->error ? d->x->error : "");
    return NULL;
  }
  struct host *hosts = host_build_list(d->x, list, job->randomize);
  if (!hosts) *ret_error = arena_printf(d->arena, "%s transport called with no hosts set", d->transport->name);
  return hosts;
}

static struct host *smtp_fallback_of(struct expand_ctx *x, const struct transport *t) {
  const struct smtp_opts *ob = t->ob;
  if (!ob->fallback_hosts) return NULL;
  const char *list = expand_option(x, "fallback_hosts", ob->fallback_hosts);
  if (!list && !x->forced_fail) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s", x->error ? x->error : "fallback_hosts: expansion failed");
  return list ? host_build_list(x, list, false) : NULL;
}

static bool is_for_fallback(const struct smtp_job *job, const struct address *addr) {
  return addr->is_fallback || (!addr->we_are_an_mx && (addr->fallback_hosts || job->ob->fallback_hosts));
}

/* Every host is past its cutoff (manual 32.8): new mail for them is returned as well, until one of them is due. */
static void fail_at_once(struct smtp_job *job, struct address *addr) {
  const char *when = job->ob->delay_after_cutoff ? "(and retry time not reached)" : "and were last tried after this message arrived";
  addr->message = arena_printf(job->d->arena, "all hosts for '%s' have been failing for a long time %s", addr->domain, when);
  if (!job->any_tried && !job->any_not_found && !job->any_left) addr->result = OUTCOME_FAIL;
}

static void explain_untried(struct smtp_job *job) {
  struct arena *a = job->d->arena;
  for (size_t i = 0; i < job->rcpt_count; i++) {
    struct address *addr = job->rcpts[i].addr;
    /* one host takes no mail at all, another could not be asked: that is no final word */
    bool others = job->any_retry_skip || job->any_busy || job->any_not_found || job->any_left;
    if (job->rcpts[i].state != RCPT_DONE && addr->result == OUTCOME_FAIL && others) addr->result = OUTCOME_DEFER;
    bool partly = job->any_not_found && !job->any_tried && (job->any_retry_skip || job->any_busy) && addr->basic_errno != ERRNO_HOST_IS_LOCAL;
    if (job->rcpts[i].state == RCPT_DONE || (!partly && (addr->message || addr->basic_errno))) continue;
    addr->result = OUTCOME_DEFER;
    addr->basic_errno = job->any_retry_skip || job->any_expired || job->any_busy ? ERRNO_HRETRY : ERRNO_UNKNOWNERROR;
    if (partly)
      addr->message = arena_printf(a, "some host address lookups failed and retry time not reached for other hosts or connection limit reached for '%s'",
                                   addr->domain);
    else if (job->any_busy)
      addr->message = arena_printf(a, "connection limit reached for '%s'", addr->domain);
    else if (job->any_retry_skip)
      addr->message = arena_printf(a, "retry time not reached for any host for '%s'", addr->domain);
    else if (job->any_expired) {
      fail_at_once(job, addr);
      if (is_for_fallback(job, addr)) addr->result = OUTCOME_DEFER; /* who names a second way wants the mail kept longer */
    }
    else
      addr->message = "no host could be tried";
  }
}

static bool lines_too_long(const struct smtp_job *job) {
  int64_t limit = job->ob->message_linelength_limit;
  return limit > 0 && job->d->msg->max_received_linelength > limit;
}

/* -N: the first host that would have been tried took them all.  False: none would have been, results are not set. */
static bool pretend(struct smtp_job *job, struct host *list) {
  const char *error = NULL;
  int port = default_port(job, &error);
  bool expired;
  if (port < 0) {
    transport_set_misconfigured(job->d->addrs, ERRNO_UNKNOWNERROR, error);
    return true;
  }
  struct host *h = list;
  while (h && ((!h->address && !look_up_host(job, h)) || !retry_allows(job, h, h->port ? h->port : port, &expired))) h = h->next;
  for (size_t i = 0; h && i < job->rcpt_count; i++) {
    job->rcpts[i].addr->host_used = h;
    job->rcpts[i].addr->result = OUTCOME_OK;
    job->rcpts[i].addr->message = "delivery bypassed by -N option";
  }
  return h != NULL;
}

static bool deliver_to_hosts(struct delivery *d) {
  struct smtp_job *job = smtp_job_new(d);
  struct host *list = d->addrs->host_list;
  const char *error = NULL;
  if (transport_size_refused(d)) return true;
  if (lines_too_long(job)) {
    transport_set_results(d->addrs, OUTCOME_FAIL, 0, "message has lines too long for transport");
    return true;
  }
  if (!smtp_job_options(job, &error)) {
    transport_set_results(d->addrs, OUTCOME_DEFER, ERRNO_EXPANDFAIL, error);
    return true;
  }
  if (!list || (job->ob->hosts && job->ob->hosts_override && !d->addrs->is_fallback)) list = own_host_list(job, &error);
  else list = smtp_shuffle_hosts(job, list);
  if (!list) {
    transport_set_misconfigured(d->addrs, ERRNO_UNKNOWNERROR, error);
    return true;
  }
  if (d->dont_deliver) {
    if (!pretend(job, list)) explain_untried(job);
    return true;
  }
  if (d->turned) {
    smtp_turned_deliver(d, list);
    return true;
  }
  if (smtp_probe_take_over(d, list)) return true;
  work_hosts(job, list, false);
  if (!job->ob->delay_after_cutoff && job->any_expired && !job->any_retry_skip && !job->any_tried) work_hosts(job, list, true);
  smtp_raise_defer(job);
  explain_untried(job);
  for (size_t i = 0; i < job->rcpt_count; i++) job->rcpts[i].addr->may_fall_back = !job->host_may_have_it && !job->all_or_none;
  if ((job->host_error_seen || job->any_retry_skip || job->late_deferral) && any_pending(job)) wait_add(d->cfg, d->transport->name, list, d->msg->id);
  return true;
}

/* mua_wrapper: one reason for all, and it is final.  A mistake of the configuration stays what it is: it is told in the panic log. */
static void fail_together(struct address *addrs) {
  const struct address *bad = addrs;
  while (bad && bad->result == OUTCOME_OK) bad = bad->next;
  for (const struct address *a = bad; a && !bad->message; a = a->next)
    if (a->result != OUTCOME_OK && a->message) bad = a;
  for (struct address *a = addrs; bad && a; a = a->next) {
    if (a->is_misconfigured) continue;
    a->result = OUTCOME_FAIL;
    a->message = bad->message;
    a->user_message = bad->user_message;
    a->basic_errno = bad->basic_errno;
    a->more_errno = bad->more_errno;
    a->host_used = bad->host_used;
  }
}

static bool smtp_deliver(struct delivery *d) {
  bool is_done = deliver_to_hosts(d);
  if (d->cfg->o.mua_wrapper) fail_together(d->addrs);
  return is_done;
}

/* ---- for callouts (smtp_probe.c) --------------------------------------------------------------------------- */

struct smtp_attempt *smtp_probe_attempt(const struct smtp_probe_start *o, const char **ret_error) {
  struct smtp_job *job = smtp_job_new(o->d);
  struct expand_ctx *x = o->d->x;
  job->ob = o->ob;
  x->host = o->host;
  x->sending_ip_address = NULL;
  x->sending_port = 0;
  if (!smtp_job_interface(job, o->host, &job->interface, ret_error)) return NULL;
  struct smtp_attempt *s = attempt_new(job, o->host, o->port);
  x->tls_out = &s->tls;
  s->avoid_tls = o->avoid_tls;
  s->probe = o->probe;
  if (smtp_tls_policy(s)) IGNORE_RESULT(smtp_plan_early(s, !o->allow_early)); /* a failure is in s->fail */
  return s;
}

struct smtp_attempt *smtp_plan_attempt(struct expand_ctx *x, struct transport *t, struct address *addr, struct host *h, int port,
                                       const char **ret_error) {
  struct delivery *d = ARENA_NEW(x->a, struct delivery);
  *d = (struct delivery){.cfg = x->cfg, .arena = x->a, .msg = x->msg, .transport = t, .addrs = addr, .x = x, .msglog_fd = -1};
  x->addr = addr;
  x->transport = t;
  x->host = h;
  x->sending_ip_address = NULL;
  struct smtp_job *job = smtp_job_new(d);
  if (!smtp_job_interface(job, h, &job->interface, ret_error)) return NULL;
  struct smtp_attempt *s = attempt_new(job, h, port);
  if (!smtp_tls_policy(s)) return NULL;
  s->helo = smtp_expand_helo(s, true);
  smtp_choose_plan(s, false);
  return s;
}

bool smtp_probe_interface(struct delivery *d, const struct host *h, const char **ret_interface, const char **ret_error) {
  return smtp_job_interface(smtp_job_new(d), h, ret_interface, ret_error);
}

struct smtp_job *smtp_probe_job(struct delivery *d) { return smtp_job_new(d); }

struct host *smtp_probe_hosts(struct delivery *d, const char **ret_error) {
  struct smtp_job *job = smtp_job_new(d);
  struct host *list = d->addrs->host_list;
  if (!list || (job->ob->hosts && job->ob->hosts_override)) list = own_host_list(job, ret_error);
  return list;
}

int smtp_probe_port(struct delivery *d, const char **ret_error) { return default_port(smtp_job_new(d), ret_error); }

bool smtp_probe_look_up(struct delivery *d, struct host *h) { return look_up_host(smtp_job_new(d), h); }

const struct transport_driver smtp_transport = {
  .name = "smtp",
  .options = smtp_options,
  .option_count = ARRAY_SIZE(smtp_options),
  .ob_size = sizeof(struct smtp_opts),
  .is_local = false,
  .init = smtp_init,
  .deliver = smtp_deliver,
  .hosts_of = smtp_hosts_of,
  .fallback_of = smtp_fallback_of,
  .preload = smtp_tls_client_preload,
};
