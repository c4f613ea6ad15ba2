/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bounces and delay warnings.  Floor: flows.  Manual ch. 51 "Customizing bounce and warning messages", RFC 3464.
 *
 * The report is made inside this process as a new spool item and goes through the same durable steps as any message: when bounce_send()
 * returns true it is synced.  Whatever it quotes comes from the network and is hostile; header texts are kept on their lines by
 * replacing line ends.  Memory: the arena of the new message. */
#include "bounce_priv.h"

#include <errno.h>
#include <unistd.h>

#include "base/rand.h"
#include "buildconfig.h"
#include "deliver.h"
#include "formats/rfc5322.h"
#include "message_body.h"
#include "os/log.h"
#include "os/sys.h"
#include "policy/match.h"
#include "receive_priv.h"
#include "router.h"
#include "spool.h"
#include "transport.h"
#include "verify.h"

/* --- making a message ------------------------------------------------------------------------------- */

void report_header(struct report *r, const char *text) {
  message_add_header(r->m, ' ', text, strlen(text));
}

/* A value on one line. */
const char *report_one_line(struct arena *a, const char *s) {
  char *copy = arena_strdup(a, s);
  for (char *p = copy; *p; p++)
    if (*p == '\n' || *p == '\r') *p = ' ';
  return copy;
}

bool report_open(struct report *r, struct message *old, struct expand_ctx *x, const char *to) {
  const struct config *cfg = config_default_queue(old->cfg);
  *r = (struct report){.old = old, .x = x, .to = to, .m = message_new(cfg)};
  r->a = r->m->arena;
  r->c = ARENA_NEW(r->a, struct conn);
  r->c->arena = r->a;
  r->c->cfg = cfg;
  r->c->is_local_caller = true;
  r->c->login = r->c->from.ident = route_exim_login(r->a, cfg);
  r->c->from.protocol = "local";
  r->c->from.auth_sender = cfg->o.bounce_sender_authentication;
  r->c->from.host_aliases = vec_new(r->a);
  r->c->uid = cfg->exim_uid;
  r->c->gid = cfg->exim_gid;
  r->c->command_names = vec_new(r->a);
  r->m->from = &r->c->from;
  r->m->login = r->c->login;
  r->m->uid = cfg->exim_uid;
  r->m->gid = cfg->exim_gid;
  r->m->sender = "";
  r->m->received_time = time_now();
  r->m->local_error_message = true;
  r->m->is_local = true;
  r->m->deliver_firsttime = true;
  r->m->dont_deliver = old->dont_deliver;
  r->m->smtputf8 = old->smtputf8;
  r->m->bounce_of = arena_strdup(r->a, old->id);
  message_add_recipient(r->m, arena_strdup_t(r->a, to, TAINTED));
  r->body = strbuf_new_t(r->a, TAINTED, 4096);
  int rc = spool_create(r->m);
  if (rc == 0) return true;
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to create the spool file of a bounce message: %s", strerror(-rc));
  message_free(r->m);
  return false;
}

static void flush_body(struct report *r) {
  if (r->failed_write || r->body.n == 0) return;
  int rc = spool_append(r->m, r->body.p, r->body.n);
  if (rc < 0) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to write a bounce message: %s", strerror(-rc));
    r->failed_write = true;
  }
  for (size_t i = 0; i < r->body.n; i++)
    if (r->body.p[i] == '\n') r->m->body_linecount++;
  strbuf_clear(&r->body);
}

static void count_size(struct message *m) {
  m->message_size = m->body_size;
  for (const struct header_line *h = m->headers; h; h = h->next) m->message_size += (int64_t)h->n;
  m->message_size++;
}

/* acl_not_smtp sees reports as it sees other local messages.  What it refuses is sent all the same: a report that is lost is mail lost.
 * True: deliver at once. */
static bool is_for_now(struct report *r, struct expand_ctx *rx) {
  const char *acl = r->old->cfg->o.acl_not_smtp;
  struct acl_env env = {.session = NULL};
  if (!acl) return true;
  verify_fill_acl_env(&env);
  rx->acl_env = &env;
  struct acl_result a = acl_check(rx, &env, ACL_WHERE_NOTSMTP, NULL, acl);
  if (a.outcome != OUTCOME_OK) log_write(LS_ALWAYS, LOG_MAIN, "F=<> not accepted by non-SMTP ACL: a report goes all the same");
  receive_apply_acl_headers(rx, r->m);
  return !r->m->queue_only_policy && !r->m->hold_smtp;
}

/* Received: in front, commit, "<=" line, deliver. */
bool report_close(struct report *r) {
  flush_body(r);
  struct expand_ctx rx = expand_ctx_new(r->a, r->old->cfg);
  rx.msg = r->m;
  rx.conn = r->c;
  if (r->m->recipient_count == 1) rx.received_for = r->to;
  struct reception rec = {.c = r->c, .m = r->m, .x = &rx, .is_local = true};
  r->m->received_time_complete = time_now();
  log_set_message_id(r->m->id);
  bool at_once = is_for_now(r, &rx);
  bool ok = !r->failed_write && receive_make_received(&rec, false);
  if (ok) {
    count_size(r->m);
    int rc = spool_commit(r->m);
    ok = rc == 0;
    if (!ok) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to store a bounce message: %s", strerror(-rc));
  } else {
    spool_abandon(r->m);
  }
  bool foreground = r->old->deliver_foreground;
  char id[MSGID_SIZE];
  memcpy(id, r->m->id, sizeof(id));
  if (ok) receive_log_arrival(&rec);
  if (ok && !at_once) log_write(LS_DELAY_DELIVERY, LOG_MAIN, "no immediate delivery: queued by ACL");
  const struct config *cfg = config_default_queue(r->old->cfg);
  bool holds_smtp = r->old->in_first_pass;
  message_free(r->m); /* gives up the lock, so that the delivery can have it */
  log_set_message_id(r->old->id);
  if (ok && at_once) deliver_start_internal(cfg, id, foreground, holds_smtp);
  return ok;
}

/* --- headers ---------------------------------------------------------------------------------------- */

static const char *id_list(struct arena *a, const struct message *m, const char *name) {
  struct header_line *h = message_find_header(m, name, NULL);
  struct str n, v;
  if (!h || !header_split(str_n(h->text, h->n), &n, &v)) return NULL;
  return report_one_line(a, str_dup(a, str_trim(v)));
}

static void from_header(struct report *r) {
  struct arena *a = r->a;
  const struct config *cfg = r->old->cfg;
  const char *from = expand_string(r->x, cfg->o.dsn_from);
  if (!from) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "Failed to expand dsn_from (using default): %s", r->x->error ? r->x->error : "");
    from = arena_printf(a, "Mail Delivery System <Mailer-Daemon@%s>", cfg->qualify_domain);
  }
  const char *line = arena_printf(a, "From: %s\n", report_one_line(a, from));
  message_add_header(r->m, 'F', line, strlen(line));
}

static void to_header(struct report *r) {
  message_add_header(r->m, 'T', arena_printf(r->a, "To: %s\n", r->to), strlen(r->to) + 5);
}

static bool was_sent_again(const struct message *m) {
  bool resent = false;
  for (struct header_line *h = m->headers; h && !resent; h = h->next)
    if (h->type != '*') (void)header_type_of(str_n(h->text, h->n), &resent);
  return resent;
}

const char *bounce_references(struct arena *a, const struct message *m) {
  const char *refs = id_list(a, m, "References"), *id = id_list(a, m, was_sent_again(m) ? "Resent-Message-ID" : "Message-ID");
  if (!refs) refs = id_list(a, m, "In-Reply-To");
  return id ? arena_printf(a, "References: %s%s%s\n", refs ? refs : "", refs ? " " : "", id) : NULL;
}

static void report_references(struct report *r) {
  const char *line = bounce_references(r->a, r->old);
  if (line) report_header(r, line);
}

static void report_type_headers(struct report *r) {
  struct arena *a = r->a;
  report_references(r);
  r->boundary = arena_printf_t(a, UNTAINTED, "%lld-eximdsn-%u", (long long)time_sec(), rand_below(2000000000));
  report_header(r, arena_printf(a, "Content-Type: multipart/report; report-type=delivery-status; boundary=%s\n", r->boundary));
  report_header(r, "MIME-Version: 1.0\n");
}

static void report_date_headers(struct report *r) {
  struct arena *a = r->a;
  const struct config *cfg = r->old->cfg;
  const char *mid = arena_printf(a, "Message-Id: <E%s@%s>\n", r->m->id, cfg->primary_hostname);
  message_add_header(r->m, 'I', mid, strlen(mid));
  r->m->message_id_header = arena_printf(r->m->arena, "E%s@%s", r->m->id, cfg->primary_hostname);
  r->m->message_id_made = true;
  char buf[64];
  struct time_opts o = {.utc = cfg->o.timezone && strcmpic(cfg->o.timezone, "utc") == 0};
  report_header(r, arena_printf(a, "Date: %s\n", time_format(time_now(), TIME_FULL, o, buf, sizeof(buf))));
}

/* Message-Id:, Date:, and the head of the text part. */
static void last_headers(struct report *r) {
  report_date_headers(r);
  strbuf_addf(&r->body, "--%s\nContent-type: text/plain; charset=us-ascii\n\n", r->boundary);
}

/* errors_reply_to.  In bounces it comes before the others, in warnings behind From:, in plain letters not at all, as in Exim. */
static void reply_to_header(struct report *r) {
  const char *to = r->old->cfg->o.errors_reply_to;
  if (to && !message_find_header(r->m, "Reply-To", NULL)) message_add_header(r->m, 'R', arena_printf(r->a, "Reply-To: %s\n", to), strlen(to) + 11);
}

static void first_headers(struct report *r, bool is_letter) {
  report_header(r, "Auto-Submitted: auto-replied\n");
  from_header(r);
  if (!is_letter) reply_to_header(r);
  to_header(r);
}

static void common_headers(struct report *r, const char *subject) {
  first_headers(r, false);
  report_type_headers(r);
  if (r->items[0]) report_add_template_headers(r, r->items[0]);
  else report_header(r, arena_printf(r->a, "Subject: %s\n", report_one_line(r->a, subject)));
  last_headers(r);
}

void report_plain_headers(struct report *r, const char *subject, bool references_in_body) {
  first_headers(r, true);
  const char *references = bounce_references(r->a, r->old);
  if (references && references_in_body) strbuf_adds(&r->body, references);
  else if (references) report_header(r, references);
  report_header(r, arena_printf(r->a, "Subject: %s\n", report_one_line(r->a, subject)));
  report_date_headers(r);
}

/* --- the list of addresses -------------------------------------------------------------------------- */

static const char *top_text(const struct address *addr) {
  const struct address *top = address_top((struct address *)(uintptr_t)addr);
  return top->onetime_parent ? top->onetime_parent : top->address;
}

/* Whose filter or list made a file, a pipe, or a reply of it. */
static const char *maker_text(const struct address *addr) { return addr->parent ? addr->parent->address : top_text(addr); }

/* "  address" or what stands for it, and where it came from.  False: the reason must not be shown. */
static bool report_add_name(struct strbuf *b, const struct address *addr, const char *indent) {
  const char *parent = addr->parent || addr->onetime_parent ? top_text(addr) : NULL;
  if (addr->hide_child && parent) {
    strbuf_addf(b, "an undisclosed address\n%s(generated from %s)", indent, parent);
    return false;
  }
  if (addr->is_pipe || addr->is_file || addr->is_reply) {
    const char *what = addr->is_pipe ? "pipe to " : addr->is_file ? "save to " : "mail to ", *file = address_file_name(addr);
    strbuf_addl(b, what, file ? file : addr->is_reply ? addr->address + 1 : addr->address, NULL);
    if (parent) strbuf_addf(b, "\n%sgenerated by %s", indent, maker_text(addr));
    if (parent && strcmp(parent, maker_text(addr)) != 0) strbuf_addf(b, "\n%s(ultimately generated from %s)", indent, parent);
    return true;
  }
  strbuf_adds(b, addr->address);
  const char *how = addr->parent && addr->parent->parent ? "ultimately " : "";
  if (parent && strcmp(parent, addr->address) != 0) strbuf_addf(b, "\n%s(%sgenerated from %s)", indent, how, parent);
  return true;
}

static bool is_pseudo(const struct address *addr) { return addr->is_pipe || addr->is_file || addr->is_reply; }

/* Is there a line end at p: a real one, or one that was written out for the log?  Its length. */
static size_t line_end(const char *p) { return *p == '\n' ? 1 : *p == '\\' && p[1] == 'n' ? 2 : 0; }

/* Each line indented; the reply of a remote server starts a line of its own, and its lines are cut at a length for people. */
static void add_reason_lines(struct strbuf *b, const char *text, const char *lead, bool from_host) {
  enum { REPLY_LINE_MAX = 255 };
  strbuf_addl(b, "    ", lead, NULL);
  size_t start = b->n, end;
  bool may_break = from_host && !str_starts(str_c(text), STR("LMTP"));
  for (const char *p = text; *p; p++) {
    if ((end = line_end(p)) > 0) {
      p += end - 1;
      if (*p == '\n' && !p[1]) break;
      strbuf_adds(b, "\n    ");
      start = b->n;
    } else if (may_break && *p == ':' && p[1] == ' ' && ch_isdigit(p[2])) {
      strbuf_adds(b, ":\n    ");
      start = b->n;
      p++;
      may_break = false;
    } else if (from_host && b->n - start >= REPLY_LINE_MAX) {
      strbuf_adds(b, "[truncated]");
      while (p[1] && !line_end(p + 1)) p++;
    } else {
      strbuf_add(b, p, 1);
    }
  }
  strbuf_addc(b, '\n');
}

/* Why the address failed. */
static void add_reason(struct strbuf *b, const struct address *addr, const char *lead) {
  const char *text = addr->message;
  bool is_local = addr->transport && addr->transport->driver->is_local;
  if (is_local && !addr->pass_message) {
    if (addr->user_message) text = addr->user_message;
    else text = addr->basic_errno ? "local delivery failed" : NULL; /* without a code only the log says what was in the way */
  } else if (addr->user_message && !addr->transport) {
    text = addr->user_message;
  }
  if ((!text || !*text) && addr->basic_errno > 0 && !is_local) text = strerror(addr->basic_errno);
  if (addr->host_used && !is_local) {
    strbuf_addl(b, "  host ", addr->host_used->name, NULL);
    if (addr->host_used->address) strbuf_addl(b, " [", addr->host_used->address, "]", NULL);
    strbuf_addc(b, '\n');
  }
  bool is_secret = (addr->user_message && !*addr->user_message) || addr->basic_errno == ERRNO_UTF8_FWD;
  if (is_secret || !text || !*text) return;
  add_reason_lines(b, text, lead, addr->host_used != NULL);
}

static bool output_wanted(const struct address *addr) {
  return addr->return_output && addr->return_file_when != ADDR_RETURN_NONE;
}

/* With the line ends of a message here. */
static void add_text(struct strbuf *b, const char *text) {
  for (; *text; text++)
    if (*text != '\r' || text[1] != '\n') strbuf_addc(b, *text);
}

static void add_output(struct report *r, struct address *list) {
  size_t n = 0;
  for (const struct address *p = list; p; p = p->next) n += output_wanted(p);
  if (n == 0) return;
  if (r->items[2]) strbuf_addl(&r->body, r->items[2], "\n", NULL);
  else strbuf_addf(&r->body, "The following text was generated during the delivery attempt%s:\n\n", n > 1 ? "s" : "");
  for (struct address *p = list; p; p = p->next) {
    if (!output_wanted(p)) continue;
    strbuf_adds(&r->body, "------ ");
    (void)report_add_name(&r->body, p, "       ");
    strbuf_adds(&r->body, " ------\n");
    /* One output may belong to several addresses in a row. */
    if (p->next && output_wanted(p->next) && p->next->return_output == p->return_output) continue;
    strbuf_addc(&r->body, '\n');
    add_text(&r->body, p->return_output);
    if (!str_ends(str_c(p->return_output), STR("\n"))) strbuf_addc(&r->body, '\n');
    strbuf_addc(&r->body, '\n');
  }
}

/* --- message/delivery-status ------------------------------------------------------------------------ */

static const char *smtp_reply_in(const char *message) {
  if (!message) return NULL;
  for (const char *p = strstr(message, ": "); p; p = strstr(p + 1, ": ")) {
    const char *s = p + 2;
    if (ch_isdigit(s[0]) && ch_isdigit(s[1]) && ch_isdigit(s[2]) && (s[3] == ' ' || s[3] == '-')) return s;
  }
  return NULL;
}

static void add_recipient_fields(struct report *r, const struct address *addr, const char *action, const char *status) {
  struct strbuf *b = &r->body;
  if (addr->orcpt && *addr->orcpt) strbuf_addf(b, "Original-Recipient: %s\n", report_one_line(r->a, addr->orcpt));
  strbuf_addf(b, "Action: %s\nFinal-Recipient: rfc822;%s\nStatus: %s\n", action, report_one_line(r->a, top_text(addr)), status);
}

/* The reply as the value of a header field, a line for each of its lines; of an endless one the beginning. */
static void add_folded(struct strbuf *b, const char *reply) {
  enum { DIAGNOSTIC_MAX = 928 };
  size_t start = b->n;
  for (const char *p = reply; *p; p++) {
    if (b->n - start >= DIAGNOSTIC_MAX) {
      strbuf_adds(b, "[truncated]");
      break;
    }
    if (*p == '\n') strbuf_adds(b, "\n ");
    else strbuf_add(b, p, 1);
  }
  strbuf_addc(b, '\n');
}

/* EXPERIMENTAL_DSN_INFO: which of a name's addresses answered, and what it said of itself; of long replies the first line. */
static void add_peer_fields(struct strbuf *b, struct arena *a, const struct address *addr) {
  const struct host *h = addr->host_used;
  if (h->address) strbuf_addf(b, h->port > 0 && h->port != 25 ? "Remote-MTA: X-ip; [%s]:%d\n" : "Remote-MTA: X-ip; [%s]\n", h->address, h->port);
  const struct {
    const char *field, *text;
  } said[] = {{"X-Remote-MTA-smtp-greeting", addr->smtp_greeting}, {"X-Remote-MTA-helo-response", addr->helo_response}};
  for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
    if (!said[i].text || !*said[i].text) continue;
    const char *line = arena_strndup(a, said[i].text, strcspn(said[i].text, "\r\n"));
    strbuf_addf(b, "%s: X-str; %s\n", said[i].field, line);
  }
}

static void add_status(struct report *r, const struct address *addr, const char *action, const char *status) {
  struct strbuf *b = &r->body;
  add_recipient_fields(r, addr, action, status);
  bool is_remote = addr->transport && !addr->transport->driver->is_local;
  if (is_remote && addr->host_used && addr->host_used->name) {
    strbuf_addf(b, "Remote-MTA: dns; %s\n", addr->host_used->name);
    if (CFG_EXPERIMENTAL_DSN_INFO) add_peer_fields(b, r->a, addr);
    const char *reply = smtp_reply_in(addr->message);
    if (reply) {
      strbuf_adds(b, "Diagnostic-Code: smtp; ");
      add_folded(b, reply);
    }
  }
  strbuf_addc(b, '\n');
}

static void open_status(struct report *r) {
  strbuf_addf(&r->body, "--%s\nContent-type: message/%sdelivery-status\n\nReporting-MTA: dns; %s\n", r->boundary, r->old->smtputf8 ? "global-" : "",
              r->old->cfg->primary_hostname);
  /* As it came, in xtext, and so is Original-Recipient: what Exim writes. */
  if (r->old->dsn_envid) strbuf_addf(&r->body, "Original-Envelope-ID: %s\n", report_one_line(r->a, r->old->dsn_envid));
  strbuf_addc(&r->body, '\n');
}

/* --- the copy of the message ------------------------------------------------------------------------ */

static void add_old_headers(struct report *r) {
  strbuf_addf(&r->body, "Return-path: <%s>\n", r->old->sender ? r->old->sender : "");
  for (const struct header_line *h = r->old->headers; h; h = h->next)
    if (h->type != '*') strbuf_add(&r->body, h->text, h->n);
}

static void add_old_body(struct report *r) {
  char buf[8192];
  struct body_reader body = body_reader_of(r->old);
  ssize_t n;
  char last = '\n';
  while (!r->failed_write && (n = body_read(&body, buf, sizeof(buf))) > 0) {
    strbuf_add_t(&r->body, buf, (size_t)n, TAINTED);
    last = buf[n - 1];
    flush_body(r);
  }
  if (last != '\n') strbuf_addc(&r->body, '\n');
}

/* The manual: the cutoff may be greater than the value given, by chunks of 8K. */
static int64_t whole_chunks(int64_t limit) { return (limit / 8192 + 1) * 8192; }

static void add_copy(struct report *r, bool want_body) {
  const struct main_options *o = &r->old->cfg->o;
  if (!o->bounce_return_message) {
    strbuf_addf(&r->body, "--%s--\n", r->boundary);
    return;
  }
  bool body = want_body && o->bounce_return_body && r->old->dsn_ret != DSN_RET_HDRS, limited = false;
  if (body && o->bounce_return_size_limit > 0 && r->old->body_size > whole_chunks(o->bounce_return_size_limit)) limited = true;
  if (body && o->bounce_return_linesize_limit > 0 && r->old->max_received_linelength > o->bounce_return_linesize_limit) limited = true;
  if (limited) body = false;
  strbuf_addf(&r->body, "--%s\nContent-type: %s\n\n", r->boundary, !body ? "text/rfc822-headers" : r->old->smtputf8 ? "message/global" : "message/rfc822");
  add_old_headers(r);
  if (limited) strbuf_adds(&r->body, "X-Exim-DSN-Information: Due to administrative limits only headers are returned\n");
  strbuf_addc(&r->body, '\n');
  if (body) add_old_body(r);
  strbuf_addf(&r->body, "\n--%s--\n", r->boundary);
}

/* --- the two reports -------------------------------------------------------------------------------- */

static bool to_sender(const struct report *r) { return r->old->sender && strcmp(r->old->sender, r->to) == 0; }

static void failed_recipients_header(struct report *r, const struct address *failed) {
  struct strbuf b = strbuf_new(r->a);
  for (const struct address *p = failed; p; p = p->next) {
    if (p->hide_child && p->parent) continue;
    const char *t = report_one_line(r->a, is_pseudo(p) ? maker_text(p) : p->address);
    strbuf_addl(&b, b.n ? ",\n  " : "X-Failed-Recipients: ", t, NULL);
  }
  if (b.n > 0) {
    strbuf_addc(&b, '\n');
    report_header(r, b.p);
  }
  reply_to_header(r);
}

/* Those with output: batch by batch, the last one first. */
static void add_output_statuses(struct report *r, const struct address *failed) {
  struct vec all = vec_new(r->a);
  for (const struct address *p = failed; p; p = p->next)
    if (output_wanted(p)) vec_push(&all, (void *)p);
  for (size_t end = all.n, i = all.n; i-- > 0;) {
    const struct address *p = all.v[i], *before = i ? all.v[i - 1] : NULL;
    if (before && before->return_output == p->return_output) continue;
    for (size_t k = i; k < end; k++) add_status(r, all.v[k], "failed", "5.0.0");
    end = i;
  }
}

static void failed_status_list(struct report *r, struct address *failed) {
  open_status(r);
  add_output_statuses(r, failed);
  struct vec plain = vec_new(r->a);
  for (struct address *p = failed; p; p = p->next)
    if (!output_wanted(p)) vec_push(&plain, p);
  for (size_t i = plain.n; i-- > 0;) add_status(r, plain.v[i], "failed", "5.0.0");
}

/* The pattern of an item of errors_copy, quoted when it has spaces; *item moves to the addresses behind it. */
static const char *copy_pattern(struct arena *a, struct str *item) {
  *item = str_trim(*item);
  if (item->n == 0 || item->p[0] != '"') return str_dup(a, str_word(item));
  struct strbuf b = strbuf_new(a);
  size_t i = 1;
  for (; i < item->n && item->p[i] != '"'; i++) {
    if (item->p[i] == '\\' && i + 1 < item->n) i++;
    strbuf_add(&b, item->p + i, 1);
  }
  i = MIN(i + 1, item->n);
  *item = str_n(item->p + i, item->n - i);
  return b.p;
}

static void add_copies_to(struct report *r, const char *list) {
  struct str rest = str_c(list);
  while ((rest = str_trim(rest)).n > 0) {
    size_t n = rfc5322_find_address_end(rest), domain;
    const char *error, *address = rfc5322_extract_address(r->a, str_n(rest.p, n), (struct addr_opts){0}, &domain, &error);
    if (address && *address && !domain) address = arena_printf(r->a, "%s@%s", address, r->old->cfg->qualify_recipient);
    if (address && *address) message_add_recipient(r->m, address);
    else if (!address) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "bad address in errors_copy: %s", error);
    rest = str_n(rest.p + MIN(n + 1, rest.n), rest.n - MIN(n + 1, rest.n));
  }
}

/* errors_copy: the first item whose pattern fits the recipient of the bounce gives more recipients. */
static void add_copies(struct report *r) {
  const char *pos = r->old->cfg->o.errors_copy, *text;
  struct expand_ctx x = *r->x;
  struct str local, domain;
  int sep = 0;
  if (!pos || !addr_split(r->to, &local, &domain)) return;
  x.a = r->a;
  x.local_part_override = str_dup(r->a, local);
  x.domain_override = str_dup_lower(r->a, domain);
  while ((text = list_next(r->a, &pos, &sep)) != NULL) {
    struct str item = str_c(text);
    const char *pattern = copy_pattern(r->a, &item);
    struct match_opts o = {.no_expand = true, .allow_named = true, .want_captures = true, .single_item = true};
    enum outcome found = match_list(&x, LIST_ADDRESS, r->to, pattern, &o);
    if (found != OUTCOME_OK) continue;
    const char *list = expand_string(&x, str_dup(r->a, str_trim(item)));
    if (list) add_copies_to(r, list);
    else if (!x.forced_fail)
      log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to expand \"%.*s\" in errors_copy: %s", STR_FMT(item), x.error ? x.error : "");
    return;
  }
}

static void bounce_intro(struct report *r) {
  struct strbuf *b = &r->body;
  strbuf_adds(b, "This message was created automatically by mail delivery software.\n");
  const char *own = r->old->cfg->o.bounce_message_text;
  strbuf_addl(b, own ? own : "", "\n", NULL);
  if (to_sender(r))
    strbuf_adds(b, "A message that you sent could not be delivered to one or more of its\nrecipients. "
                   "This is a permanent error. The following address(es) failed:\n");
  else
    strbuf_addf(b, "A message sent by\n\n  <%s>\n\ncould not be delivered to one or more of its recipients. The following\n"
                   "address(es) failed:\n", r->old->sender ? r->old->sender : "");
}

bool bounce_send(struct message *m, struct expand_ctx *x, struct address *failed, const char *errors_to) {
  struct report r;
  if (!report_open(&r, m, x, errors_to)) return false;
  x->bounce_recipient = errors_to;
  report_read_template(&r, "bounce_message_file", m->cfg->o.bounce_message_file, 6);
  add_copies(&r);
  failed_recipients_header(&r, failed);
  common_headers(&r, to_sender(&r) ? "Mail delivery failed: returning message to sender" : "Mail delivery failed");
  struct strbuf *b = &r.body;
  if (r.items[1]) strbuf_adds(b, r.items[1]);
  else bounce_intro(&r);
  strbuf_addc(b, '\n');
  for (const struct address *p = failed; p; p = p->next) {
    strbuf_adds(b, "  ");
    bool show = report_add_name(b, p, "    ");
    strbuf_addc(b, '\n');
    if (show) add_reason(b, p, "");
  }
  strbuf_addc(b, '\n');
  add_output(&r, failed);
  failed_status_list(&r, failed);
  add_copy(&r, true);
  bool ok = report_close(&r);
  x->bounce_recipient = NULL;
  return ok;
}

static const char *delay_text(struct arena *a, int64_t queued_sec) {
  long hours = (long)(queued_sec / 3600), minutes = (long)(queued_sec / 60);
  if (queued_sec < 120 * 60) return arena_printf_t(a, UNTAINTED, "%ld minutes", minutes);
  return arena_printf_t(a, UNTAINTED, "%ld hours", hours);
}

static const char *header_value(struct report *r, const char *name) { return id_list(r->a, r->old, name); }

static void warning_intro(struct report *r, const char *delay, bool several) {
  struct strbuf *b = &r->body;
  strbuf_adds(b, "This message was created automatically by mail delivery software.\n");
  if (to_sender(r))
    strbuf_addf(b, "A message that you sent has not yet been delivered to one or more of its\nrecipients after more than "
                   "%s on the queue on %s.\n\n", delay, r->old->cfg->primary_hostname);
  else
    strbuf_addf(b, "A message sent by\n\n  <%s>\n\nhas not yet been delivered to one or more of its recipients after more than \n"
                   "%s on the queue on %s.\n\n", r->old->sender ? r->old->sender : "", delay, r->old->cfg->primary_hostname);
  strbuf_addf(b, "The message identifier is:     %s\n", r->old->id);
  const char *subject = header_value(r, "Subject"), *date = header_value(r, "Date");
  if (subject) strbuf_addf(b, "The subject of the message is: %s\n", subject);
  if (date) strbuf_addf(b, "The date of the message is:    %s\n", date);
  strbuf_addf(b, "\nThe address%s to which the message has not yet been delivered %s:\n\n", several ? "es" : "",
              several ? "are" : "is");
}

bool bounce_warn_delay(struct message *m, struct expand_ctx *x, struct address *deferred, const char *errors_to, int64_t queued_sec) {
  struct report r;
  if (!report_open(&r, m, x, errors_to)) return false;
  const char *delay = delay_text(r.a, queued_sec);
  x->warnmsg_delay = delay;
  x->warnmsg_recipients = errors_to;
  report_read_template(&r, "warn_message_file", m->cfg->o.warn_message_file, 3);
  common_headers(&r, arena_printf(r.a, "Warning: message %s delayed %s", m->id, delay));
  struct strbuf *b = &r.body;
  if (r.items[1]) strbuf_addl(b, r.items[1], "\n", NULL);
  else warning_intro(&r, delay, deferred->next != NULL);
  for (const struct address *p = deferred; p; p = p->next) {
    strbuf_adds(b, "  ");
    bool show = report_add_name(b, p, "    ");
    strbuf_addc(b, '\n');
    bool is_local = p->transport && p->transport->driver->is_local;
    if (show && p->message && *p->message && !is_local && !p->is_pipe && !p->is_file && !p->is_reply)
      add_reason(b, p, "Delay reason: ");
  }
  if (r.items[2]) strbuf_addl(b, "\n", r.items[2], "\n", NULL);
  else strbuf_adds(b, "\nNo action is required on your part. Delivery attempts will continue for\n"
                 "some time, and this warning may be repeated at intervals if the message\n"
                 "remains undelivered. Eventually the mail delivery software will give up,\n"
                 "and when that happens, the message will be returned to you.\n\n");
  open_status(&r);
  for (const struct address *p = deferred; p; p = p->next) add_status(&r, p, "delayed", "4.0.0");
  add_copy(&r, false);
  bool ok = report_close(&r);
  x->warnmsg_delay = x->warnmsg_recipients = NULL;
  return ok;
}

/* --- successes (RFC 3461 section 6.2) ----------------------------------------------------------------- */

static bool went_by_smtp(const struct address *addr) {
  return !addr->dsn_expanded && addr->transport && !addr->transport->driver->is_local;
}

static const char *success_kind(const struct address *addr) {
  if (!went_by_smtp(addr)) return "relayed via non \"Remote SMTP\" router";
  return addr->dsn_aware ? "relayed via non DSN router" : "relayed to non-DSN-aware mailer";
}

static void add_success_status(struct report *r, const struct address *addr) {
  struct strbuf *b = &r->body;
  add_recipient_fields(r, addr, "delivered", "2.0.0");
  if (!went_by_smtp(addr)) {
    strbuf_adds(b, "Diagnostic-Code: X-Exim; relayed via non SMTP router\n\n");
    return;
  }
  if (addr->host_used && addr->host_used->name) strbuf_addf(b, "Remote-MTA: dns; %s\n", addr->host_used->name);
  strbuf_adds(b, "Diagnostic-Code: smtp; 250 Ok\n\n");
}

bool bounce_send_success(struct message *m, struct expand_ctx *x, struct address *done) {
  struct report r;
  if (!report_open(&r, m, x, m->sender)) return false;
  x->bounce_recipient = m->sender;
  from_header(&r);
  report_header(&r, "Auto-Submitted: auto-generated\n");
  to_header(&r);
  report_header(&r, "Subject: Delivery Status Notification\n");
  report_type_headers(&r);
  last_headers(&r);
  struct strbuf *b = &r.body;
  strbuf_adds(b, "This message was created automatically by mail delivery software.\n"
                 " ----- The following addresses had successful delivery notifications -----\n");
  for (const struct address *p = done; p; p = p->next) strbuf_addf(b, "<%s> (%s)\n\n", report_one_line(r.a, top_text(p)), success_kind(p));
  open_status(&r);
  for (const struct address *p = done; p; p = p->next) add_success_status(&r, p);
  strbuf_addf(b, "--%s\nContent-type: text/rfc822-headers\n\n", r.boundary);
  add_old_headers(&r);
  strbuf_addf(b, "\n\n--%s--\n", r.boundary);
  bool ok = report_close(&r);
  x->bounce_recipient = NULL;
  return ok;
}
