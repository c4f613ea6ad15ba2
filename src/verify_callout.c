/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Callouts (verify_callout.h): the cache, the hosts in turn, the dialogue with one of them, the texts.  Floor: flows.
 *
 * Only a reply to a command decides: 2xx accepts, 5xx refuses, everything else leaves the question to the next host and ends as "defer".  What
 * an early connection says is only heard here when it may be believed (smtp_probe.h), so nothing inconclusive can get into the cache.  Nothing
 * temporary is written to it either.
 * Hostile: all replies; they are shown to clients up to the first byte that is not printable.  Manual ch. 44 "Callout verification". */
#include "verify_callout.h"

#include <errno.h>
#include <string.h>

#include "hints/callout_cache.h"
#include "message.h"
#include "os/debug.h"
#include "os/log.h"
#include "policy/narrate.h"
#include "router.h"
#include "transports/smtp_probe.h"

struct callout {
  struct acl_env *env;
  struct expand_ctx *x;
  struct address *addr;
  const struct verify_opts *o;
  struct verify_report *ret;
  struct callout_facts facts;
  const char *key, *from;      /* of the address's record; sender in MAIL */
  const char *random;          /* local part nobody has, NULL: no such test (any more) */
  struct host *host;           /* now asked */
  int port;
  deadline_ms deadline;        /* no new host behind it */
  bool many_hosts;
  bool keep;                   /* a connection on which the address is accepted stays open */
  const char *trouble;         /* why the last host gave no verdict: "name [ip] : text" */
};

enum kind { KIND_ADDRESS, KIND_SETUP, KIND_POSTMASTER };

/* ---- texts ------------------------------------------------------------------------------------------------ */

static const char *who(const struct callout *k) { return k->o->what == VERIFY_OF_RECIPIENT ? "recipient" : "sender"; }

/* A reply for the client's eyes. */
static const char *presentable(struct arena *a, const char *reply) {
  for (const char *p = reply; *p; p++)
    if (*p != '\n' && *p != '\t' && !ch_isprint((unsigned char)*p)) return arena_printf(a, "%.*s(truncated)", (int)(p - reply), reply);
  return reply;
}

/* Heading and closing words of an explanation for the client, by what was refused. */
static const struct {
  const char *head, *tail;
} explanations[] = {
  [KIND_ADDRESS] = {"Verification failed for", ""},
  [KIND_SETUP] = {"Callback setup failed while verifying",
                  "\nThe initial connection, or a HELO or MAIL FROM:<> command was\nrejected. Refusing MAIL FROM:<> does not help fight "
                  "spam, disregards\nRFC requirements, and stops you from receiving standard bounce\nmessages. This host does not accept "
                  "mail from domains whose servers\nrefuse bounces."},
  [KIND_POSTMASTER] = {"Postmaster verification failed while checking",
                       "\nSeveral RFCs state that you are required to have a postmaster\nmailbox for each mail domain. This host does not "
                       "accept mail\nfrom domains whose servers reject the postmaster address."},
};

static const char *explain(struct callout *k, enum kind kind, const char *facts) {
  return arena_printf(k->x->a, "%s <%s>\n%s%s", explanations[kind].head, k->addr->address, facts, explanations[kind].tail);
}

static const char *failure_word(enum kind kind, bool before_rcpt) {
  return kind == KIND_POSTMASTER ? "postmaster" : kind == KIND_SETUP || before_rcpt ? "mail" : "recipient";
}

/* What one command said, for the log. */
static const char *log_text(struct callout *k, const struct probe_answer *a) {
  struct arena *ar = k->x->a;
  const char *text = a->text;
  if (a->stage == PROBE_AT_MAIL && a->reply) text = arena_printf(ar, "response to \"%s\" was: %s", a->command, a->reply);
  if ((a->stage == PROBE_AT_MAIL || a->stage == PROBE_AT_RCPT) && a->was_closed)
    text = arena_printf(ar, "response to \"%s\" was: connection dropped", a->command);
  return arena_printf(ar, "%s [%s] : %s", k->host->name, k->host->address, log_escape(ar, str_c(text ? text : "")));
}

static enum outcome refused(struct callout *k, enum kind kind, const struct probe_answer *a) {
  struct arena *ar = k->x->a;
  const char *reply = presentable(ar, a->reply ? a->reply : "");
  /* Before MAIL the command that stays in mind is the QUIT that ended it. */
  const char *sent = a->stage < PROBE_AT_MAIL ? "QUIT" : a->command;
  k->ret->failure = failure_word(kind, a->stage < PROBE_AT_RCPT);
  k->ret->log = log_text(k, a);
  if (k->o->what == VERIFY_OF_RECIPIENT)
    k->ret->user = arena_printf(ar, "Callout verification failed:\n%s", reply);
  else
    k->ret->details = explain(k, kind, arena_printf(ar, "Called:   %s\nSent:     %s\nResponse: %s", k->host->address, sent, reply));
  return OUTCOME_FAIL;
}

static enum outcome refused_before(struct callout *k, enum kind kind, const char *text) {
  k->ret->failure = failure_word(kind, false);
  if (k->o->what == VERIFY_OF_RECIPIENT) k->ret->user = text;
  else k->ret->details = explain(k, kind, text);
  return OUTCOME_FAIL;
}

static enum outcome undecided(struct callout *k) {
  struct arena *ar = k->x->a;
  const char *dull = arena_printf(ar, "Could not complete %s verify callout", who(k));
  k->ret->log = k->trouble && !k->many_hosts ? arena_printf(ar, "%s: %s", dull, k->trouble) : dull;
  k->ret->user = dull;
  if (!k->x->cfg->o.smtp_return_error_details) return OUTCOME_DEFER;
  const char *tail = k->o->what == VERIFY_OF_RECIPIENT
                       ? "the address will never be accepted."
                       : "you need to change the address or create an MX record for its domain\nif it is supposed to be generally accessible "
                         "from the Internet.\nTalk to your mail administrator for details.";
  k->ret->details = k->ret->log;
  k->ret->user = arena_printf(ar, "%s for <%s>.\nThe mail server(s) for the domain may be temporarily unreachable, or\nthey may be permanently "
                              "unreachable from this server. In the latter case,\n%s", dull, k->addr->address, tail);
  return OUTCOME_DEFER;
}

/* ---- the cache -------------------------------------------------------------------------------------------- */

static enum outcome random_accepted(struct callout *k) {
  k->ret->failure = "random";
  return OUTCOME_OK;
}

/* True: *ret is the verdict. */
static bool known_of_domain(struct callout *k, enum outcome *ret) {
  const struct hints_callout *d = &k->facts.domain;
  if (d->result == CALLOUT_REJECT || (d->result == CALLOUT_REJECT_NULL && !*k->from)) {
    narrate(k->x, D_VERIFY, "callout cache: domain gave initial rejection, or does not accept HELO or MAIL FROM:<>");
    *ret = refused_before(k, KIND_SETUP, "(result of an earlier callout reused).");
    k->ret->failure = "mail";
    return true;
  }
  if (k->o->random && d->random_result == CALLOUT_ACCEPT) {
    narrate(k->x, D_VERIFY, "callout cache: domain accepts random addresses");
    *ret = random_accepted(k);
    return true;
  }
  if (k->o->random && d->random_result) narrate(k->x, D_VERIFY, "callout cache: domain rejects random addresses");
  if (!k->o->postmaster_mailfrom || !d->postmaster_result) return false;
  if (d->postmaster_result == CALLOUT_REJECT) {
    narrate(k->x, D_VERIFY, "callout cache: domain does not accept RCPT TO:<postmaster@domain>");
    *ret = refused_before(k, KIND_POSTMASTER, "(result of earlier verification reused).");
    return true;
  }
  narrate(k->x, D_VERIFY, "callout cache: domain accepts RCPT TO:<postmaster@domain>");
  return false;
}

/* A cutthrough needs the connection whatever is known, and leaves the records to callouts. */
static bool without_cache(const struct callout *k) {
  return k->o->no_cache || (k->keep && k->x->msg->cutthrough != CUTTHROUGH_OFF);
}

static bool known_before(struct callout *k, enum outcome *ret) {
  if (without_cache(k)) {
    narrate(k->x, D_VERIFY, "callout cache: disabled by %s", k->o->no_cache ? "no_cache" : "cutthrough_delivery");
    k->facts.domain.is_domain = true;
    return false;
  }
  callout_cache_read_domain(k->x, k->addr->domain, &k->facts);
  if (known_of_domain(k, ret)) return true;
  callout_cache_read_address(k->x, k->key, &k->facts);
  if (k->facts.address_result == CALLOUT_UNKNOWN) return false;
  bool is_good = k->facts.address_result == CALLOUT_ACCEPT;
  narrate(k->x, D_VERIFY, "callout cache: address record is %s", is_good ? "positive" : "negative");
  *ret = is_good ? OUTCOME_OK : refused_before(k, KIND_ADDRESS, "Previous (cached) callout verification failure");
  return true;
}

/* ---- the dialogue with one host --------------------------------------------------------------------------- */

static enum outcome no_verdict(struct callout *k, const struct probe_answer *a) {
  k->trouble = log_text(k, a);
  return OUTCOME_DEFER;
}

static int64_t known_size(const struct callout *k) {
  return k->o->what == VERIFY_OF_RECIPIENT && k->x->msg ? k->x->msg->message_size : -1;
}

static enum outcome say_mail(struct callout *k, struct smtp_probe *p, int64_t size) {
  struct probe_answer a;
  struct hints_callout *d = &k->facts.domain;
  if (smtp_probe_mail(p, k->from, size, &a)) {
    if (!*k->from || d->result != CALLOUT_REJECT_NULL) d->result = CALLOUT_ACCEPT;
    k->facts.domain_is_new = true;
    return OUTCOME_OK;
  }
  if (a.verdict != PROBE_NO) return no_verdict(k, &a);
  if (!*k->from) d->result = CALLOUT_REJECT_NULL;
  else if (d->result != CALLOUT_REJECT_NULL) d->result = CALLOUT_ACCEPT; /* it answers; what it has against is one sender */
  k->facts.domain_is_new = true;
  return refused(k, *k->from ? KIND_ADDRESS : KIND_SETUP, &a);
}

static const char *random_address(struct callout *k) { return arena_printf(k->x->a, "%s@%s", k->random, k->addr->domain); }

/* Is anybody taken?  *ret_again: a new connection is needed for the real question.  FAIL: the answer is no, go on. */
static enum outcome say_random(struct callout *k, struct smtp_probe *p, bool *ret_again) {
  struct probe_answer a;
  bool yes = smtp_probe_rcpt(p, random_address(k), &a);
  if (!yes && a.verdict != PROBE_NO) return no_verdict(k, &a);
  k->facts.domain.random_result = yes ? CALLOUT_ACCEPT : CALLOUT_REJECT;
  k->facts.domain.random_stamp = time_sec();
  k->random = NULL;
  if (yes) return random_accepted(k);
  *ret_again = !smtp_probe_rset(p, &a);
  return OUTCOME_FAIL;
}

/* What the server accepted is safe to use as text, the manual says: but never as a part of a path. */
static void untaint_accepted(struct callout *k) {
  struct address *addr = k->addr;
  if (k->o->what != VERIFY_OF_RECIPIENT || strchr(addr->local_part, '/')) return;
  if (!addr->prop.domain_data) addr->prop.domain_data = arena_untaint_copy(k->x->a, addr->domain, strlen(addr->domain));
  if (!addr->prop.localpart_data) addr->prop.localpart_data = arena_untaint_copy(k->x->a, addr->local_part, strlen(addr->local_part));
}

static enum outcome say_rcpt(struct callout *k, struct smtp_probe *p) {
  struct probe_answer a;
  bool yes = smtp_probe_rcpt(p, address_rcpt_text(k->x->a, k->addr), &a);
  if (!yes && a.verdict != PROBE_NO) {
    k->ret->rcpt_reply = a.reply;
    return no_verdict(k, &a);
  }
  k->facts.address_result = yes ? CALLOUT_ACCEPT : CALLOUT_REJECT;
  k->facts.address_is_new = true;
  if (!yes) return refused(k, KIND_ADDRESS, &a);
  untaint_accepted(k);
  return OUTCOME_OK;
}

static enum outcome say_postmaster(struct callout *k, struct smtp_probe *p) {
  struct probe_answer a, first;
  narrate_flat(k->x, D_V | D_VERIFY, "Cutthrough cancelled by presence of postmaster verify");
  bool yes = smtp_probe_rset(p, &a) && smtp_probe_mail(p, k->o->postmaster_mailfrom, -1, &a) &&
             smtp_probe_rcpt(p, arena_printf(k->x->a, "postmaster@%s", k->addr->domain), &a);
  first = a;
  if (!yes && k->o->full_postmaster && !a.is_lost && a.stage == PROBE_AT_RCPT) yes = smtp_probe_rcpt(p, "postmaster", &a);
  if (!yes && a.verdict != PROBE_NO) return no_verdict(k, &a);
  k->facts.domain.postmaster_result = yes ? CALLOUT_ACCEPT : CALLOUT_REJECT;
  k->facts.domain.postmaster_stamp = time_sec();
  k->facts.domain_is_new = true;
  if (yes) return OUTCOME_OK;
  enum outcome o = refused(k, KIND_POSTMASTER, &a);
  k->ret->log = log_text(k, &first);
  return o;
}

static enum outcome dialogue(struct callout *k, struct smtp_probe *p, bool *ret_again) {
  enum outcome o = say_mail(k, p, k->random ? -1 : known_size(k));
  if (o != OUTCOME_OK) return o;
  if (k->random) {
    o = say_random(k, p, ret_again);
    if (o != OUTCOME_FAIL || *ret_again) return o;
    if ((o = say_mail(k, p, known_size(k))) != OUTCOME_OK) return o;
  }
  o = say_rcpt(k, p);
  bool ask_postmaster = k->o->postmaster_mailfrom && k->facts.domain.postmaster_result == CALLOUT_UNKNOWN;
  return o == OUTCOME_OK && ask_postmaster ? say_postmaster(k, p) : o;
}

/* Not about the domain and not for long: nothing is cached. */
static enum outcome lacks_utf8(struct callout *k) {
  static const char text[] = "533 no support for internationalised mailbox name";
  k->ret->failure = "mail";
  k->ret->log = arena_printf(k->x->a, "%s [%s] : response to \"EHLO\" did not include SMTPUTF8", k->host->name, k->host->address);
  if (k->o->what == VERIFY_OF_RECIPIENT) k->ret->user = text;
  else k->ret->details = explain(k, KIND_ADDRESS, text);
  return OUTCOME_FAIL;
}

static enum outcome connect_and_ask(struct callout *k, bool *ret_again) {
  struct probe_answer a;
  struct probe_opts po = {.x = k->x, .transport = k->addr->transport, .addr = k->addr, .host = k->host, .port = k->port,
                          .connect_timeout = k->o->connect_sec, .command_timeout = k->o->timeout_sec,
                          .sender = k->from, .size = k->random ? -1 : known_size(k),
                          .recipient = k->random ? random_address(k) : address_rcpt_text(k->x->a, k->addr)};
  struct arena *keep = k->x->conn ? k->x->conn->arena : k->x->a;
  k->x->callout_address = arena_printf(keep, "[%s]:%d", k->host->address, k->host->port ? k->host->port : k->port);
  struct smtp_probe *p = smtp_probe_open(&po, &a);
  if (!p) {
    bool is_local = a.stage == PROBE_AT_CONNECT && !a.connect_errno;
    if (a.connect_errno == EADDRNOTAVAIL) /* the interface option names an address that is not ours */
      log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "recipient verify defer (making callout connection): T=%s %s", k->addr->transport->name, a.text);
    if (is_local) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "<%s>: %s", k->addr->address, a.text ? a.text : "");
    return a.verdict == PROBE_NO ? refused(k, KIND_ADDRESS, &a) : no_verdict(k, &a);
  }
  enum outcome o = smtp_probe_lacks_utf8(p) ? lacks_utf8(k) : dialogue(k, p, ret_again);
  if (o != OUTCOME_OK || !k->keep) {
    smtp_probe_close(p);
    return o;
  }
  narrate_flat(k->x, D_V | D_VERIFY, "holding verify callout open for cutthrough delivery");
  smtp_probe_close(k->x->conn->held);
  k->x->conn->held = p;
  smtp_probe_keep(p, k->addr);
  return o;
}

/* A host that the transport names has its address when it is asked for. */
static bool has_address(struct callout *k, struct host *h) {
  const char *error = NULL;
  if (h->address || smtp_probe_find(k->x, k->addr->transport, k->addr, h, &error)) return true;
  narrate(k->x, D_VERIFY, "%s", error ? error : "host not found");
  return false;
}

/* One more recipient on a connection that is open.  False: that is not possible. */
static bool ask_held(struct callout *k, struct host *first, enum outcome *ret) {
  struct conn *c = k->x->conn;
  struct smtp_probe *p = k->keep ? c->held : NULL;
  if (!p) return false;
  if (!has_address(k, first) || !smtp_probe_fits(p, k->x, k->addr, first, k->port, k->from)) {
    smtp_probe_close(p);
    c->held = NULL;
    if (k->x->msg->cutthrough != CUTTHROUGH_OFF) k->keep = false; /* all or none */
    return false;
  }
  smtp_probe_use(p, k->x->a);
  k->host = smtp_probe_host(p);
  *ret = say_rcpt(k, p);
  if (*ret == OUTCOME_OK) {
    smtp_probe_keep(p, k->addr);
    return true;
  }
  if (*ret == OUTCOME_DEFER) *ret = undecided(k);
  smtp_probe_close(p);
  c->held = NULL;
  return true;
}

static enum outcome ask_host(struct callout *k) {
  for (int i = 0; i < 2; i++) {
    bool again = false;
    enum outcome o = connect_and_ask(k, &again);
    if (!again) return o;
  }
  return OUTCOME_DEFER;
}

/* ---- the hosts -------------------------------------------------------------------------------------------- */

static enum outcome ask_hosts(struct callout *k, struct host *list) {
  enum outcome held;
  if (ask_held(k, list, &held)) return held;
  k->many_hosts = list->next != NULL;
  for (struct host *h = list; h; h = h->next) {
    k->host = h;
    if (!has_address(k, h)) continue;
    if (h != list && deadline_passed(k->deadline)) {
      narrate(k->x, D_VERIFY, "overall timeout for callout exceeded");
      break;
    }
    enum outcome o = ask_host(k);
    if (o != OUTCOME_DEFER) return o;
  }
  return undecided(k);
}

static const char *choose_sender(struct callout *k) {
  const struct verify_opts *o = k->o;
  bool as_transport = o->use_tptsender || (k->x->msg && k->x->msg->cutthrough_own_sender);
  if (o->use_sender && as_transport && k->addr->transport && k->addr->transport->o.return_path) {
    const char *path = expand_string(k->x, k->addr->transport->o.return_path);
    if (path && *path) return path;
  }
  if (o->use_sender) return k->x->msg && k->x->msg->sender ? k->x->msg->sender : "";
  if (o->use_postmaster) return arena_printf(k->x->a, "postmaster@%s", k->x->cfg->qualify_domain);
  return o->mailfrom ? o->mailfrom : "";
}

/* Is the connection good for the message that comes? */
static bool may_keep(const struct callout *k) {
  const struct verify_opts *o = k->o;
  const struct message *m = k->x->msg;
  if (!m || !k->x->conn || o->what != VERIFY_OF_RECIPIENT || !o->use_sender || o->random || o->postmaster_mailfrom) return false;
  if (!k->addr->transport || k->addr->transport->o.transport_filter) return false;
  return o->hold || m->cutthrough != CUTTHROUGH_OFF;
}

static const char *random_local_part(struct callout *k) {
  if (!k->o->random || k->facts.domain.random_result) return NULL;
  const char *text = expand_string(k->x, k->x->cfg->o.callout_random_local_part);
  if (!text && !k->x->forced_fail)
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to expand callout_random_local_part: %s", k->x->error ? k->x->error : "");
  return text && *text ? text : NULL;
}

/* -bhc shows the dialogue like everything else. */
static enum outcome ask_narrated(struct callout *k, struct host *list) {
  unsigned before = debug_selector;
  bool checking = k->x->conn && k->x->conn->host_checking;
  if (checking) debug_selector |= D_V;
  debug_prefix(checking ? ">>> " : "");
  int level = narrate_indent(0);
  (void)debug_indent(level);
  enum outcome o = ask_hosts(k, list);
  (void)debug_indent(-level);
  debug_prefix("");
  debug_selector = before;
  return o;
}

static enum outcome ask(struct callout *k, struct host *list) {
  enum outcome o;
  k->from = choose_sender(k);
  k->keep = may_keep(k);
  k->key = callout_cache_key(k->x->a, k->addr->address, k->from);
  if (known_before(k, &o)) return o;
  if (!k->addr->transport) {
    narrate_flat(k->x, D_VERIFY, "cannot callout via null transport");
    return undecided(k);
  }
  k->random = random_local_part(k);
  k->deadline = deadline_in_sec(k->o->maxwait_sec);
  if (k->env && k->env->flush && !(k->x->conn && k->x->conn->no_callout_flush)) k->env->flush(k->env);
  bool is_cached = !without_cache(k);
  o = ask_narrated(k, list);
  if (is_cached) callout_cache_write(k->x, k->addr->domain, k->key, &k->facts);
  return o;
}

enum outcome callout_verify(struct acl_env *env, struct expand_ctx *x, struct address *addr, const struct verify_opts *o,
                            struct verify_report *ret) {
  struct callout k = {.env = env, .x = x, .addr = addr, .o = o, .ret = ret};
  const struct transport *t = addr->transport;
  const char *error = NULL;
  struct host *list = addr->host_list;
  if (t && !t->driver->is_local) list = smtp_probe_possible(t) ? smtp_probe_host_list(x, addr->transport, addr, &k.port, &error) : NULL;
  if (!list || (t && t->driver->is_local)) {
    if (error) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "<%s>: %s", addr->address, error);
    narrate_flat(x, D_VERIFY, "Cannot do callout: neither router nor transport provided a host list, or transport is not smtp");
    return OUTCOME_OK;
  }
  ret->by_callout = true;
  narrate_flat(x, D_VERIFY, "Attempting full verification using callout");
  if (x->conn && x->conn->host_checking && !x->conn->host_checking_callout) {
    narrate_flat(x, D_VERIFY, "... callout omitted by default when host testing");
    narrate_flat(x, D_VERIFY, "(Use -bhc if you want the callouts to happen.)");
    return OUTCOME_OK;
  }
  enum outcome result = ask(&k, list);
  bool let_it_pass = result == OUTCOME_DEFER && o->callout_defer_ok;
  return let_it_pass ? OUTCOME_OK : result;
}
