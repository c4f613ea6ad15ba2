/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Cutthrough delivery (cutthrough.h).  Floor: flows.
 *
 * What the manual promises and what is kept here: a definite answer of the next host is handed on, and then nothing is queued; a temporary one queues the
 * message, or is handed on when defer=pass.  A recipient that goes another way, is local or is refused ends the cutthrough for the whole
 * message.  Hostile: the replies. */
#include "cutthrough.h"

#include <string.h>

#include "deliver_priv.h"
#include "os/debug.h"
#include "os/log.h"
#include "policy/narrate.h"
#include "receive.h"
#include "transports/drivers.h"
#include "transports/smtp_probe.h"
#include "verify.h"

void cutthrough_cancel(struct conn *c) {
  smtp_probe_close(c->held);
  c->held = NULL;
}

void cutthrough_given_away(struct conn *c) {
  smtp_probe_abandon(c->held);
  c->held = NULL;
}

/* The other server's reply as we pass it on: its code stands once, in front of the first line, as smtp_reply wants it. */
static const char *one_code(struct arena *a, const char *reply) {
  struct strbuf b = strbuf_new(a);
  for (struct str rest = str_c(reply); rest.n > 0;) {
    struct str line = str_cut(&rest, '\n');
    if (b.n) strbuf_addc(&b, '\n');
    else strbuf_addf(&b, "%.3s ", line.n >= 3 ? line.p : "450");
    if (line.n > 4) strbuf_addf(&b, "%.*s", (int)(line.n - 4), line.p + 4);
  }
  return b.p;
}

/* ---- RCPT ------------------------------------------------------------------------------------------------- */

static bool is_taken(const struct conn *c, const char *recipient) {
  if (!c->held) return false;
  for (const struct address *a = smtp_probe_recipients(c->held, NULL); a; a = a->next)
    if (strcmp(address_top((struct address *)a)->address, recipient) == 0) return true;
  return false;
}

static void stop(struct expand_ctx *x) {
  x->msg->cutthrough = CUTTHROUGH_OFF;
  cutthrough_cancel(x->conn);
}

void cutthrough_rcpt_refused(struct expand_ctx *x) {
  if (x->msg->cutthrough != CUTTHROUGH_OFF) stop(x);
}

/* A test delivers nothing: the connection of a callout is not kept, and none is made. */
static void only_narrate(struct acl_env *env, struct expand_ctx *x, const char *recipient) {
  struct verify_report report = {.user = NULL};
  if (x->conn->held) {
    unsigned before = debug_selector;
    debug_selector |= D_V; /* the end of the dialogue, too */
    debug_prefix(">>> ");
    cutthrough_cancel(x->conn);
    debug_prefix("");
    debug_selector = before;
    narrate_flat(x, D_ACL, "----------- cutthrough shutdown (host-checking mode) ------------");
  } else if (!x->conn->host_checking_callout && x->msg->recipient_count == 0) {
    narrate_flat(x, D_ACL, "----------- start cutthrough setup ------------");
    (void)verify_for_cutthrough(env, x, recipient, &report);
    narrate_flat(x, D_ACL, "----------- end cutthrough setup ------------");
  }
}

bool cutthrough_rcpt(struct acl_env *env, struct expand_ctx *x, const char *recipient, struct acl_result *ret) {
  struct message *m = x->msg;
  struct conn *c = x->conn;
  if (m->cutthrough == CUTTHROUGH_OFF) return true;
  if (c->host_checking) {
    only_narrate(env, x, recipient);
    return true;
  }
  if (is_taken(c, recipient)) return true;
  struct verify_report report = {.user = NULL};
  if (m->recipient_count > 0 && !c->held) { /* the first one did not get that far */
    stop(x);
    return true;
  }
  enum outcome o = verify_for_cutthrough(env, x, recipient, &report);
  if (o == OUTCOME_OK && is_taken(c, recipient)) return true;
  bool pass = m->cutthrough == CUTTHROUGH_PASS;
  stop(x);
  if (o == OUTCOME_OK || !report.by_callout) return true;
  *ret = (struct acl_result){.outcome = o, .log_message = ""};
  if (o == OUTCOME_FAIL) return false;
  if (!pass) return true;
  ret->user_message = report.rcpt_reply ? one_code(x->a, report.rcpt_reply) : NULL;
  return false;
}

/* ---- the message ------------------------------------------------------------------------------------------ */

/* Is each recipient of the message one that the next host took, and the other way round? */
static bool has_all(const struct conn *c, const struct message *m) {
  size_t n;
  (void)smtp_probe_recipients(c->held, &n);
  if (n != m->recipient_count) return false;
  for (size_t i = 0; i < m->recipient_count; i++)
    if (!is_taken(c, m->recipients[i].address)) return false;
  return true;
}

static bool is_wanted(const struct conn *c, const struct message *m) {
  return c->held && !c->host_checking && !m->frozen && !m->fake_reject && !m->fake_defer && !m->used_chunking &&
         !m->prdr_requested && !m->discarded && !m->discarded_by && !m->dont_deliver && m->recipient_count > 0;
}

/* A line, and what kind it was: a line that is removed changes that. */
struct noted_header {
  struct header_line *line;
  char type;
};

void cutthrough_note_headers(struct expand_ctx *x) {
  struct message *m = x->msg;
  if (!x->conn || !x->conn->held || m->cutthrough == CUTTHROUGH_OFF) return;
  m->cutthrough_headers = vec_new(m->arena);
  for (struct header_line *h = m->headers; h; h = h->next) {
    struct noted_header *noted = ARENA_NEW(m->arena, struct noted_header);
    *noted = (struct noted_header){h, h->type};
    vec_push(&m->cutthrough_headers, noted);
  }
}

void cutthrough_settle_headers(struct expand_ctx *x) {
  struct message *m = x->msg;
  size_t noted = m->cutthrough_headers.n, now = 0;
  if (!noted || m->cutthrough == CUTTHROUGH_OFF || !is_wanted(x->conn, m) || !has_all(x->conn, m)) return;
  for (const struct header_line *h = m->headers; h; h = h->next) now++;
  bool changed = now != noted;
  struct header_line **tail = &m->headers;
  for (size_t i = 0; i < noted; i++) {
    const struct noted_header *was = m->cutthrough_headers.v[i];
    changed = changed || was->line->type != was->type;
    was->line->type = was->type;
    *tail = was->line;
    tail = &was->line->next;
  }
  *tail = NULL;
  m->headers_tail = tail;
  if (changed) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "Header modification in data ACLs will not take effect on cutthrough deliveries");
}

static void log_refusal(struct expand_ctx *x, const char *ident, const struct probe_answer *a, bool temporary) {
  const struct conn *c = x->conn;
  const struct address *addr = smtp_probe_recipients(c->held, NULL);
  const struct host *h = smtp_probe_host(c->held);
  struct strbuf b = strbuf_new(x->a);
  strbuf_addf(&b, "%s%s%s", ident, *ident ? " " : "", deliver_log_address(x->a, addr, false));
  strbuf_addf(&b, " F=<%s>", x->msg->sender);
  if (log_selects(LS_RETURN_PATH_ON_DELIVERY)) strbuf_addf(&b, " P=<%s>", addr->return_path);
  strbuf_addf(&b, " %s after DATA:", temporary ? "tmp-reject from cutthrough" : "rejected");
  if (addr->router) strbuf_addf(&b, " R=%s", addr->router->name);
  strbuf_addf(&b, " T=%s H=%s [%s]%s C=\"%s\"", addr->transport->name, h->name, h->address, deliver_log_tls(x->a, addr), log_escape(x->a, str_c(a->reply)));
  if (temporary) log_write(LS_ALWAYS, LOG_MAIN, "%s", b.p);
  else receive_log_reject(x->msg, LOG_MAIN | LOG_REJECT, b.p);
}

static enum cutthrough_end finish(struct expand_ctx *x, const char *ident, const struct probe_answer *a, const char **ret_reply) {
  struct message *m = x->msg;
  if (a->verdict == PROBE_YES) {
    for (const struct address *addr = smtp_probe_recipients(x->conn->held, NULL); addr; addr = addr->next)
      log_write(LS_ALWAYS, LOG_MAIN, "%s", deliver_log_delivered(x->a, m, addr, ">>"));
    return CUTTHROUGH_DELIVERED;
  }
  if (a->stage < PROBE_AT_END) return CUTTHROUGH_NOT_DONE; /* no content has left */
  if (a->reply) {
    log_refusal(x, ident, a, a->verdict != PROBE_NO);
    *ret_reply = one_code(x->a, a->reply);
    if (a->verdict == PROBE_NO) return CUTTHROUGH_REFUSED;
  } else {
    *ret_reply = "450 Onward transmission not accepted";
  }
  m->is_put_off = true; /* "queued for later delivery": the same again at once would help nobody */
  return m->cutthrough == CUTTHROUGH_PASS ? CUTTHROUGH_LATER : CUTTHROUGH_NOT_DONE;
}

enum cutthrough_end cutthrough_send(struct expand_ctx *x, const char *ident, const char **ret_reply) {
  struct message *m = x->msg;
  struct conn *c = x->conn;
  if (!c || m->cutthrough == CUTTHROUGH_OFF) return CUTTHROUGH_NOT_DONE;
  if (!is_wanted(c, m) || !has_all(c, m)) {
    cutthrough_cancel(c);
    return CUTTHROUGH_NOT_DONE;
  }
  struct expand_ctx own = *x;
  struct address *addrs = smtp_probe_recipients(c->held, NULL);
  const char *sender = smtp_probe_sender(c->held);
  for (struct address *a = addrs; a; a = a->next) {
    a->first = addrs;
    a->return_path = sender;
  }
  own.a = m->arena;
  own.addr = addrs;
  own.router = addrs->router;
  own.router_name = addrs->router ? addrs->router->name : NULL;
  own.transport = addrs->transport;
  own.transport_name = addrs->transport->name;
  own.return_path = sender;
  struct delivery d = {.cfg = x->cfg, .arena = m->arena, .msg = m, .transport = addrs->transport, .addrs = addrs, .x = &own,
                       .return_path = sender, .msglog_fd = -1, .sequence = 1};
  struct probe_answer a;
  enum cutthrough_end end = CUTTHROUGH_NOT_DONE;
  smtp_probe_use(c->held, m->arena);
  if (!transport_size_refused(&d)) {
    (void)smtp_probe_send(c->held, &d, &a);
    end = finish(x, ident, &a, ret_reply);
  }
  cutthrough_cancel(c);
  return end;
}
