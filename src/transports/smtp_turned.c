/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Deliveries over a connection that was turned round, and asking for one (smtp_turned.h).  Floor: drivers.  RFC 2645.
 *
 * Early pipelining has no place here: the greeting is read before anything is said, and nothing is learnt about the host.  The greeting, EHLO and a
 * handshake leave their texts in the connection's arena, because messages come and go; the rest of an attempt is its message's. */
#include "transports/smtp_turned.h"

#include <errno.h>
#include <string.h>

#include "os/debug.h"
#include "os/log.h"
#include "transports/smtp_priv.h"

enum { QUIT_WAIT_SEC = 5 };

/* ---- the provider ---- */

static struct host *the_host(const struct smtp_turned *t, struct host *list) {
  while (list && !(list->address && strcmp(list->address, t->host_address) == 0) && !(!list->address && strcmp(list->name, t->host_address) == 0))
    list = list->next;
  return list;
}

/* An attempt that has the connection already. */
static struct smtp_attempt *attempt_on(struct delivery *d, struct smtp_turned *t, struct host *list, const char **ret_error) {
  struct smtp_opts *ob = d->transport->ob;
  if (ob->protocol && strcmpic(ob->protocol, "smtp") != 0) {
    *ret_error = arena_printf(d->arena, "protocol \"%s\" cannot be spoken to a host that sent ATRN", ob->protocol);
    return NULL;
  }
  struct host *h = the_host(t, list);
  if (!h) {
    *ret_error = "not routed to the host that sent ATRN";
    return NULL;
  }
  h->address = t->host_address;
  struct smtp_probe_start start = {.d = d, .ob = ob, .host = h, .port = t->host_port, .avoid_tls = t->tls.active};
  struct smtp_attempt *s = smtp_probe_attempt(&start, ret_error);
  if (!s || !smtp_job_options(s->job, ret_error)) return NULL;
  s->plan.use = s->plan.learn = s->early = false;
  s->need.avoid_pipelining = true; /* as with Exim: one command at a time, whatever the other side offers */
  s->io = t->io;
  s->in_tls = s->tls_was_read = t->tls.active;
  s->tls = t->tls;
  smtp_learn_local_end(s);
  return s;
}

/* What was found out stays with the connection. */
static void remember(struct smtp_turned *t, const struct smtp_attempt *s) {
  t->is_greeted = true;
  t->facts = s->facts;
  t->greeting = s->greeting;
  t->ehlo_reply = s->ehlo_reply;
  t->tls = s->tls;
  t->auth_name = s->auth_name;
  t->auth_id = s->auth_id;
}

static void recall(const struct smtp_turned *t, struct smtp_attempt *s) {
  s->facts = t->facts;
  s->facts_are_real = true;
  s->greeting = t->greeting;
  s->ehlo_reply = t->ehlo_reply;
  s->auth_name = t->auth_name;
  s->auth_id = t->auth_id;
  s->sequence = t->sequence;
}

static bool greet(struct smtp_turned *t, struct smtp_attempt *s) {
  struct arena *of_message = s->a;
  s->a = t->a;
  s->reply_deadline = deadline_in_sec(s->ob->command_timeout);
  bool ok = smtp_greet(s);
  s->a = of_message;
  if (ok) remember(t, s);
  return ok;
}

static bool make_ready(struct smtp_turned *t, struct smtp_attempt *s) {
  if (s->fail.trouble != TROUBLE_NONE) return false;
  t->sequence++;
  if (!t->is_greeted) return greet(t, s);
  recall(t, s);
  if (!t->is_dirty) return true;
  t->is_dirty = false;
  return smtp_reset_server(s);
}

static void explain(struct delivery *d, const char *why) {
  transport_set_results(d->addrs, OUTCOME_DEFER, ERRNO_UNKNOWNERROR, why);
}

/* Only what was refused for good is settled; nothing else is held against the host, or makes a message too old. */
static void stop_clocks(struct delivery *d) {
  for (struct address *a = d->addrs; a; a = a->next) {
    if (a->result == OUTCOME_DEFER) a->timedout = false;
    if (a->result == OUTCOME_DEFER && !a->message && !a->basic_errno) a->basic_errno = ERRNO_UNKNOWNERROR;
    a->retries = NULL;
  }
}

void smtp_turned_deliver(struct delivery *d, struct host *list) {
  struct smtp_turned *t = d->turned;
  const char *error = NULL;
  struct smtp_attempt *s = t->is_dead ? NULL : attempt_on(d, t, list, &error);
  if (!s) {
    explain(d, error ? error : "the connection that was turned round is gone");
    return;
  }
  bool is_clean = make_ready(t, s) && smtp_run_message(s, 0, 0, false);
  bool never_greeted = !t->is_greeted; /* what cannot greet the first message greets none */
  if (s->fail.trouble != TROUBLE_NONE) smtp_record_failure(s);
  t->sequence = MAX(t->sequence, s->sequence);
  t->is_dirty = t->is_greeted && (!is_clean || s->must_reset);
  bool is_full = t->facts.limit_mailmax && t->sequence >= (int)t->facts.limit_mailmax;
  t->is_dead = t->is_dead || s->dead || s->awaited_count > 0 || (never_greeted && s->greeting) || is_full;
  stop_clocks(d);
}

static bool read_whole_reply(struct smtp_turned *t) {
  struct str line;
  int code = 0, r = 0;
  struct strbuf text = strbuf_new_t(t->a, TAINTED, 64);
  deadline_ms deadline = deadline_in_sec(QUIT_WAIT_SEC);
  while (r == 0 && text.n < SMTP_REPLY_MAX) {
    if (stream_read_line(t->io, SMTP_REPLY_LINE_MAX, true, deadline, &line, NULL) != STREAM_OK) return false;
    r = smtp_reply_add_line(&text, line, &code);
  }
  return r > 0;
}

void smtp_turned_quit(struct smtp_turned *t) {
  if (t->is_dead || (!t->is_greeted && !read_whole_reply(t))) return;
  stream_puts(t->io, "QUIT\r\n");
  if (stream_flush(t->io, deadline_in_sec(QUIT_WAIT_SEC)) == STREAM_OK) (void)read_whole_reply(t);
  t->is_dead = true;
}

/* ---- the customer ---- */

/* False: not this host; *ret->text says why. */
static bool ask_host(struct delivery *d, struct host *h, int port, const char *domains, struct turned_answer *ret) {
  struct smtp_probe_start start = {.d = d, .ob = d->transport->ob, .host = h, .port = h->port ? h->port : port};
  const char *error = NULL;
  struct smtp_attempt *s = smtp_probe_attempt(&start, &error);
  ret->host_name = h->name;
  ret->host_address = h->address;
  ret->host_port = start.port;
  if (!s) {
    ret->text = error;
    return false;
  }
  s->plan.learn = false;
  bool ok = s->fail.trouble == TROUBLE_NONE && smtp_connect(s) && smtp_greet(s);
  if (ok) {
    struct smtp_awaited what;
    struct smtp_reply r;
    smtp_send(s, AT_ATRN, NULL, "ATRN%s%s", *domains ? " " : "", domains);
    s->reply_deadline = deadline_in_sec(s->ob->command_timeout);
    ok = smtp_read_reply(s, &what, &r);
    ret->code = ok ? r.code : 0;
    ret->text = ok ? r.text : NULL;
    ret->is_turned = ok && r.code / 100 == 2 && stream_buffered(s->io).n == 0; /* the next word is ours */
    if (ok && r.code / 100 == 2 && !ret->is_turned) ret->text = "data behind the reply to ATRN";
  }
  if (ret->is_turned) {
    ret->io = s->io;
    ret->tls = s->tls;
    ret->tls.on_connect = false; /* said of the server's ports */
    return true;
  }
  int err = 0, more;
  if (!ret->text) ret->text = smtp_failure_text(s, &s->fail, &err, &more);
  if (!ret->text || err > 0) ret->text = arena_printf(s->a, "%s%s%s", ret->text ? ret->text : "", ret->text ? ": " : "", strerror(err > 0 ? err : EIO));
  smtp_disconnect(s, !s->dead);
  return ret->code != 0; /* it has decided */
}

void smtp_turned_ask(struct expand_ctx *x, struct transport *t, struct address *addr, const char *domains, struct turned_answer *ret) {
  *ret = (struct turned_answer){.text = "no host could be tried"};
  x->addr = addr;
  x->transport = t;
  x->transport_name = t->name;
  struct delivery *d = ARENA_NEW(x->a, struct delivery); /* the attempt may look at it as long as there is TLS */
  *d = (struct delivery){.cfg = x->cfg, .arena = x->a, .msg = x->msg, .transport = t, .addrs = addr, .x = x, .msglog_fd = -1};
  const char *error = NULL;
  int port = smtp_probe_port(d, &error);
  struct host *list = port < 0 ? NULL : smtp_probe_hosts(d, &error);
  if (!list) {
    ret->text = error;
    return;
  }
  for (struct host *h = list; h; h = h->next) {
    ret->text = NULL;
    if (h->address || smtp_probe_look_up(d, h)) {
      if (ask_host(d, h, port, domains, ret)) return;
    } else {
      ret->text = addr->message;
      ret->host_name = h->name;
    }
  }
}
