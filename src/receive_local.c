/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages submitted on a file descriptor: -bm, -t, and the messages this program sends itself.
 *
 * Floor: flows.  The caller may be an untrusted local user: only what his rights allow is taken from him (sender, "From "
 * line).  CR, LF and CR LF all end lines; a line with a single dot ends the message unless -i.  Errors go to the sender by
 * mail or to stderr (-oe...).  Manual ch. 5 (-bm -t -f -oe), ch. 47. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "deliver.h"
#include "formats/utf8_domain.h"
#include "os/sys.h"
#include "policy/match.h"
#include "policy/rewrite.h"
#include "receive_priv.h"
#include "router.h"
#include "spool.h"
#include "verify.h"

struct local_source {
  struct body_source src;
  struct stream *io;
  struct arena *a;
  int64_t timeout_sec;
  bool dot_ends, ended;
  bool after_cr, at_line_start, held_dot, in_headers;
  char out[8192 + 8];
  size_t out_n;
};

struct submission {
  struct conn *c;
  const struct submit_opts *o;
  struct message *m;
  struct expand_ctx x;
  struct reception r;
  struct strbuf bad;         /* lines "address: error" */
  int bad_count;
  const char *first_bad, *first_error;
  bool is_taken;             /* accepted, although not for all that the header lines named */
};

/* ---- the source ---- */

static void put(struct local_source *l, char c) {
  l->out[l->out_n++] = c;
  l->at_line_start = false;
}

static void end_line(struct local_source *l) {
  if (l->at_line_start) l->in_headers = false;
  put(l, '\n');
  l->at_line_start = true;
}

/* A CR without LF is a line break that no dot ends a message after; in a header it must not begin another one. */
static void bare_cr(struct local_source *l) {
  put(l, '\n');
  if (l->in_headers) put(l, ' ');
}

static void after_cr(struct local_source *l, bool newline_follows) {
  l->after_cr = false;
  if (newline_follows && l->held_dot) l->ended = true;
  else if (newline_follows) end_line(l);
  else {
    if (l->held_dot) put(l, '.');
    l->held_dot = false;
    bare_cr(l);
  }
}

static void feed(struct local_source *l, char c) {
  if (l->after_cr) {
    after_cr(l, c == '\n');
    if (c == '\n') return;
  }
  if (c == '\r') {
    l->after_cr = true;
    return;
  }
  if (l->held_dot) {
    if (c == '\n') {
      l->ended = true;
      return;
    }
    l->held_dot = false;
    put(l, '.');
  }
  if (c == '\n') end_line(l);
  else if (c == '.' && l->at_line_start && l->dot_ends) l->held_dot = true;
  else put(l, c);
}

static ssize_t local_next(struct body_source *src, const char **ret_p) {
  struct local_source *l = src->ctx;
  l->out_n = 0;
  while (l->out_n == 0 && !l->ended) {
    struct str in;
    deadline_ms d = l->timeout_sec > 0 ? deadline_in_sec(l->timeout_sec) : DEADLINE_NEVER;
    enum stream_status st = stream_fill(l->io, d, &in);
    if (st == STREAM_EOF) {
      if (l->after_cr) after_cr(l, true);
      else if (l->held_dot) put(l, '.');
      l->held_dot = false;
      l->ended = true;
      break;
    }
    if (st == STREAM_TIMEOUT) return BODY_TIMEOUT;
    if (st != STREAM_OK) return BODY_IO;
    size_t i = 0;
    while (i < in.n && !l->ended && l->out_n + 4 < sizeof(l->out)) feed(l, in.p[i++]);
    stream_consume(l->io, i);
  }
  *ret_p = l->out;
  return (ssize_t)l->out_n;
}

static void local_drain(struct body_source *src) {
  const char *p;
  while (local_next(src, &p) > 0) continue;
}

/* ---- errors ---- */

static void add_first_lines(struct submission *s, struct strbuf *b, const char *subject, const char *what) {
  const struct config *cfg = s->c->cfg;
  strbuf_addf(b, "Auto-Submitted: auto-replied\nFrom: Mail Delivery System <Mailer-Daemon@%s>\nTo: %s\n", cfg->qualify_domain, s->m->sender);
  const char *references = bounce_references(s->x.a, s->m);
  if (references) strbuf_adds(b, references);
  strbuf_addf(b, "Subject: %s\n\nA message that you sent %s\n\n", subject, what);
}

/* What was read of the message and, when its reading stopped early, what still comes; the body up to a limit. */
static void add_copy(struct submission *s, struct strbuf *b) {
  int64_t limit = s->c->cfg->o.bounce_return_size_limit;
  if (s->r.size_limit > 0 && s->r.size_limit < limit) limit = s->r.size_limit;
  struct strbuf body = strbuf_new_t(s->x.a, TAINTED, 4096);
  const char *p;
  char buf[4096];
  ssize_t n = 0;
  if (s->r.src) ((struct local_source *)s->r.src->ctx)->dot_ends = false;
  bool is_kept = s->r.keep_body && s->r.kept_body_fd >= 0;
  off_t at = s->m->data_start;
  if (!is_kept) strbuf_add_t(&body, s->r.rest.p, s->r.rest.n, TAINTED); /* came with the header lines */
  while ((int64_t)body.n <= limit) {
    n = is_kept ? sys_pread(s->r.kept_body_fd, buf, sizeof(buf), at) : s->r.src ? local_next(s->r.src, &p) : 0;
    if (n <= 0) break;
    strbuf_add_t(&body, is_kept ? buf : p, (size_t)n, TAINTED);
    at += n;
  }
  bool is_cut = (int64_t)body.n > limit;
  if (is_cut) strbuf_addf(b, "------ This is a copy of your message, including all the headers.\n"
                          "------ No more than %lld characters of the body are included.\n\n", (long long)limit);
  else strbuf_adds(b, "------ This is a copy of your message, including all the headers. ------\n\n");
  if (s->m->received_header && !s->is_taken) strbuf_adds(b, s->m->received_header->text);
  for (const struct header_line *h = s->m->headers; h; h = h->next)
    if (h->type != '*' && h != s->m->received_header) strbuf_add_t(b, h->text, h->n, TAINTED);
  strbuf_addc(b, '\n');
  strbuf_add_t(b, body.p, is_cut ? (size_t)limit : body.n, TAINTED);
}

/* What Exim itself submits comes from its own user. */
static void become_exim(struct conn *c) {
  c->is_trusted = true;
  c->uid = c->cfg->exim_uid;
  c->gid = c->cfg->exim_gid;
  c->login = c->from.ident = route_exim_login(c->arena, c->cfg);
}

/* Mail the caller about a message that could not be taken. */
static bool mail_sender(struct submission *s, const char *subject, const char *what) {
  if (s->o->is_bounce_machine || !s->m->sender || !*s->m->sender) return false;
  struct strbuf b = strbuf_new(s->x.a);
  add_first_lines(s, &b, subject, what);
  if (s->bad.n) strbuf_addl(&b, s->bad.p, "\n", NULL);
  add_copy(s, &b);
  int fd = memfd_create("report", MFD_CLOEXEC);
  if (fd < 0) return false;
  int status = 1;
  if (sys_write_all(fd, b.p, b.n) == 0 && lseek(fd, 0, SEEK_SET) == 0) {
    const char *to[] = {s->m->sender};
    const char *id = log_message_id(); /* a message whose headers never ended is nobody's */
    bool foreground = s->o->delivery_foreground || s->c->cfg->harness_mode; /* in the harness: log lines in a fixed order */
    const struct main_options *opt = &s->c->cfg->o;
    bool queue_only = opt->queue_only && !(opt->queue_only_override && s->o->delivery_foreground); /* -odq was said of the message alone */
    struct submit_opts o = {.recipients = to, .recipient_count = 1, .sender = "", .is_bounce_machine = true, .bounce_of = id ? s->m->id : NULL,
                            .error_handling = ERRORS_SENDER, .fd = fd, .queue_only = queue_only,
                            .delivery_foreground = foreground};
    struct conn caller = *s->c;
    become_exim(s->c);
    status = receive_submission(s->c, &o);
    *s->c = caller;
    log_set_message_id(s->m->id);
    if (status != 0) log_write(LS_ALWAYS, LOG_MAIN, "Child mail process returned status %d", status);
  }
  return sys_close(fd) == 0;
}

/* Errors are for the sender, and there is none: the log has to do. */
static bool is_for_nobody(const struct submission *s) { return s->o->error_handling == ERRORS_SENDER && s->m->sender && !*s->m->sender; }

static void log_untold(struct submission *s, const char *text) {
  const char *of = s->o->bounce_of ? arena_printf(s->x.a, " (R=%s)", s->o->bounce_of) : "";
  log_write(LS_ALWAYS, LOG_MAIN, "Error while reading message with no usable sender address%s: %s", of, text);
}

static const char *malformed(struct submission *s) {
  return arena_printf(s->x.a, "at least one malformed recipient address: %s - %s", s->first_bad, s->first_error);
}

/* text: what follows "exim: " on stderr. */
static int fail(struct submission *s, int status, const char *text, const char *subject, const char *what) {
  if (is_for_nobody(s)) {
    size_t skip = strncmp(text, "message ", 8) == 0 && strncmp(text + 8, "rejected by", 11) == 0 ? 8 : 0;
    log_untold(s, text + skip);
    return MAX(s->o->error_exit, status);
  }
  if (s->o->error_handling == ERRORS_SENDER && mail_sender(s, subject, what)) return s->o->error_exit; /* -oee: 0 once it is told */
  fprintf(stderr, "exim: %s\n", text);
  return s->o->error_exit ? s->o->error_exit : status;
}

static const char bad_subject[] = "Mail failure - malformed recipient address";
static const char bad_in_headers[] = "contained one or more recipient addresses that were\nincorrectly constructed:";
static const char bad_one[] = "\nThis address has been ignored. ", bad_many[] = "\nThese addresses have been ignored. ";

/* A recipient on the command line that is none: nobody gets the message. */
static int bad_argument(struct submission *s) {
  strbuf_clear(&s->bad);
  bool has_dot = str_ends(str_c(s->first_bad), STR("."));
  strbuf_addf(&s->bad, "  %s  %s\n%s\nThe message has not been delivered to any recipients.\n", s->first_bad, s->first_error,
              has_dot ? "\nRecipient addresses must not end with a '.' character.\n" : "");
  const char *text = is_for_nobody(s) ? malformed(s) : arena_printf(s->x.a, "bad recipient address \"%s\": %s", s->first_bad, s->first_error);
  return fail(s, 1, text, bad_subject,
              "contained a recipient address that was incorrectly\nconstructed:");
}

/* -t: the message is on its way to those of its header whose addresses could be read. */
static void tell_ignored(struct submission *s) {
  if (is_for_nobody(s)) return; /* it was logged before the message was taken */
  strbuf_adds(&s->bad, s->bad_count > 1 ? bad_many : bad_one);
  strbuf_adds(&s->bad, "The other addresses in the message were\nsyntactically valid and have been passed on for an attempt at delivery.\n");
  s->is_taken = true;
  s->r.keep_body = true;
  s->r.kept_body_fd = sys_open(spool_path(s->x.a, s->c->cfg, s->m->id, 'D'), O_RDONLY | O_NOFOLLOW, 0);
  (void)mail_sender(s, bad_subject, bad_in_headers);
}

static void note_bad(struct submission *s, struct str address, const char *error) {
  if (s->bad_count++ == 0) {
    s->first_bad = str_dup(s->x.a, address);
    s->first_error = error;
  }
  strbuf_addf(&s->bad, "  %.*s: %s\n", STR_FMT(address), error);
}

/* ---- envelope ---- */

static const char *qualify(struct submission *s, const char *address, size_t domain, bool is_sender) {
  if (domain || (is_sender && !*address)) return address;
  return arena_printf(s->x.a, "%s@%s", address, is_sender ? s->c->cfg->qualify_domain : s->c->cfg->qualify_recipient);
}

static void add_recipient_text(struct submission *s, struct str text, bool into_nonrecipients) {
  struct addr_opts o = {.allow_domain_literal = s->c->cfg->o.allow_domain_literals,
                        .strip_angle_excess = s->c->cfg->o.strip_excess_angle_brackets,
                        .strip_trailing_dot = s->c->cfg->o.strip_trailing_dot, .allow_utf8 = true};
  size_t domain = 0;
  const char *error = NULL, *a = rfc5322_extract_address(s->x.a, text, o, &domain, &error);
  if (!a) {
    if (error && strcmp(error, "empty address") != 0) note_bad(s, text, error);
    return;
  }
  if (!domain && s->c->no_qualify) {
    note_bad(s, text, "unqualified recipient address not allowed");
    return;
  }
  if (!utf8_is_ascii(str_c(a))) s->m->smtputf8 = true;
  const char *raw = a;
  a = arena_strdup_t(s->x.a, qualify(s, a, domain, false), TAINTED);
  if (into_nonrecipients) tree_insert(&s->m->nonrecipients, s->m->arena, a, NULL);
  else receive_add_recipient(s->m, a, raw);
}

static void add_address_list(struct submission *s, struct str list, bool into_nonrecipients) {
  while (list.n > 0) {
    size_t n = rfc5322_find_address_end(list);
    struct str one = rfc5322_trim(rfc5322_strip_group(str_n(list.p, n)));
    if (one.n > 0) add_recipient_text(s, one, into_nonrecipients);
    if (n >= list.n) break;
    list = str_n(list.p + n + 1, list.n - n - 1);
  }
}

static bool may_set_sender(struct submission *s, const char *sender) {
  if (s->c->is_trusted || !*sender || s->o->examine) return true; /* a test of a filter sends nothing */
  return match_address(&s->x, sender, s->c->cfg->o.untrusted_set_sender, true, NULL) == OUTCOME_OK;
}

static const char *own_address(struct submission *s) {
  return arena_printf(s->x.a, "%s@%s", s->c->login ? addr_quote_local_part(s->x.a, str_c(s->c->login)) : "unknown", s->c->cfg->qualify_domain);
}

static void set_sender(struct submission *s, const char *text) {
  const char *sender = NULL, *error;
  size_t domain = 0;
  if (text) {
    struct addr_opts o = {.allow_empty = true, .allow_domain_literal = s->c->cfg->o.allow_domain_literals, .allow_utf8 = true};
    sender = *text ? rfc5322_extract_address(s->x.a, str_c(text), o, &domain, &error) : "";
    if (sender) sender = qualify(s, sender, domain, true);
    if (sender && !may_set_sender(s, sender)) sender = NULL;
  }
  s->c->sender_is_own = sender == NULL;
  if (!s->m->raw_sender) s->m->raw_sender = arena_strdup(s->m->arena, sender ? sender : own_address(s));
  if (!sender) sender = own_address(s);
  else if (!s->c->is_trusted) s->m->sender_set_untrusted = strcmp(sender, own_address(s)) != 0;
  s->m->sender = arena_strdup(s->m->arena, sender);
  if (!utf8_is_ascii(str_c(sender))) s->m->smtputf8 = true;
  struct origin *f = &s->c->from;
  if (s->c->sender_is_own || (!s->c->is_trusted && s->c->is_local_caller)) {
    if (!f->auth_sender) f->auth_sender = arena_strdup(s->c->arena, own_address(s));
  } else if (!f->host_address && f->auth_sender && s->r.from_line_sender) {
    f->auth_sender = NULL; /* a "From " line said otherwise */
  }
}

/* ---- -t ---- */

static void take_recipients(struct submission *s, bool resent) {
  for (struct header_line *h = s->m->headers; h; h = h->next) {
    struct str name, value;
    bool is_resent;
    char type = header_type_of(str_n(h->text, h->n), &is_resent);
    if ((type == 'T' || type == 'C' || type == 'B') && is_resent == resent && header_split(str_n(h->text, h->n), &name, &value))
      add_address_list(s, value, false);
  }
}

static void drop_nonrecipients(struct submission *s) {
  struct message *m = s->m;
  size_t kept = 0;
  bool has_raw = m->raw_recipients.n == m->recipient_count;
  for (size_t i = 0; i < m->recipient_count; i++) {
    if (tree_find(&m->nonrecipients, m->recipients[i].address)) continue;
    if (has_raw) m->raw_recipients.v[kept] = m->raw_recipients.v[i];
    m->recipients[kept++] = m->recipients[i];
  }
  m->recipient_count = kept;
  m->raw_recipients.n = has_raw ? kept : 0;
}

static bool finish_envelope(struct reception *r, struct receive_reply *ret) {
  struct submission *s = r->ctx;
  if (!s->o->sender && r->from_line_sender && s->c->is_trusted) set_sender(s, r->from_line_sender);
  if (!s->o->extract_recipients) return true;
  take_recipients(s, r->saw_resent);
  if (s->c->cfg->o.extract_addresses_remove_arguments) drop_nonrecipients(s);
  if (s->o->examine) return true;
  bool has_some = s->m->recipient_count > 0;
  if (has_some && s->bad_count == 0) return true;
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s %s found in headers", s->m->id, s->bad_count ? "bad addresses" : "no recipients");
  if (has_some && is_for_nobody(s)) log_untold(s, malformed(s));
  if (has_some && s->o->error_handling == ERRORS_SENDER) return true; /* the others get it, the sender is told */
  receive_fix_headers(r); /* the sender sees them as others would have */
  spool_abandon(s->m);
  *ret = (struct receive_reply){.result = RECEIVE_REJECTED, .smtp_text = "recipients"};
  return false;
}

/* ---- outcome ---- */

static int report(struct submission *s, const struct receive_reply *reply) {
  const char *t = reply->smtp_text;
  if (t && strcmp(t, "recipients") == 0) {
    if (s->bad_count == 0)
      return fail(s, s->o->error_handling == ERRORS_SENDER ? 2 : 1, is_for_nobody(s) ? "no recipient addresses" : "no recipients in message",
                  "Mail failure - no recipient addresses", "contained no recipient addresses, and therefore no\ndelivery could be attempted.");
    strbuf_adds(&s->bad, s->bad_count > 1 ? bad_many : bad_one);
    strbuf_adds(&s->bad, "There were no other addresses in your\nmessage, and so no attempt at delivery was possible.\n");
    const char *text = is_for_nobody(s) ? malformed(s) : arena_printf(s->x.a, "invalid address: %s: %s", s->first_bad, s->first_error);
    return fail(s, 1, text, bad_subject, bad_in_headers);
  }
  if (reply->result == RECEIVE_LOST) return s->o->error_exit ? s->o->error_exit : 1; /* who stopped sending needs no mail */
  if (!t) t = "550 message rejected";
  if (strncmp(t, "552 Message size", 16) == 0)
    return fail(s, 1, s->m->sender && !*s->m->sender && s->o->error_handling == ERRORS_SENDER
                        ? arena_printf(s->x.a, "message too big (limit set to %lld)", (long long)s->r.size_limit)
                        : arena_printf(s->x.a, "message rejected: message too big (max=%lld)", (long long)s->r.size_limit),
                "Mail failure - message too big", "was longer than the maximum size allowed on this\nsystem. It was not delivered to any recipients.");
  strbuf_addf(&s->bad, "  %s\n", t + 4);
  return fail(s, 1, arena_printf(s->x.a, "message rejected%s: %s", reply->by_acl ? " by non-SMTP ACL" : "", t + 4),
              reply->by_acl ? "Mail failure - rejected by local scanning code" : "Mail failure - rejected message",
              reply->by_acl ? "was rejected by the local scanning code that\nchecks incoming messages on this system. The following error was given:"
                            : "contained something that made it unacceptable:");
}

static void prepare(struct submission *s) {
  struct conn *c = s->c;
  struct message *m = s->m;
  m->from = &c->from;
  m->login = c->login;
  m->uid = c->uid;
  m->gid = c->gid;
  m->allow_unqualified_sender = m->allow_unqualified_recipient = !c->no_qualify;
  m->bounce_of = s->o->bounce_of;
  m->local_error_message = s->o->is_local_error;
  if (s->o->full_name) {
    c->real_name = s->o->full_name;
    m->sender_name_forced = true;
  }
  if (!c->from.protocol) c->from.protocol = "local";
  if (!c->from.ident) {
    c->from.ident = c->login;
    origin_set_fullhost(c->arena, &c->from, log_selects(LS_INCOMING_PORT));
  }
  if (!c->from.auth_id && (!s->o->sender || !c->is_trusted)) c->from.auth_id = c->login;
  set_sender(s, s->o->sender);
  for (size_t i = 0; i < s->o->recipient_count; i++)
    add_address_list(s, str_c(s->o->recipients[i]), s->o->extract_recipients && c->cfg->o.extract_addresses_remove_arguments);
}

static void start_acl(struct submission *s, struct acl_env *env) {
  const char *acl = s->c->cfg->o.acl_not_smtp_start;
  if (!acl) return;
  (void)acl_check(&s->x, env, ACL_WHERE_NOTSMTP_START, NULL, acl); /* its verdict does not count, its modifiers do */
}

static bool too_many_recipients(struct submission *s) {
  int64_t max;
  if (!s->c->cfg->o.recipients_max || !expand_int(&s->x, s->c->cfg->o.recipients_max, &max)) max = 50000;
  return max > 0 && s->m->recipient_count > (size_t)max;
}

/* Nothing is read when it is not known how much may be. */
static bool has_size_limit(struct submission *s) {
  int64_t limit;
  const char *what;
  if (receive_size_limit(&s->x, &limit, &what)) return true;
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s message_size_limit: %s", strcmp(what, "invalid") == 0 ? "invalid value for" : "failed to expand",
            s->x.error);
  return false;
}

/* The caller is told before anything is read. */
static bool has_space(struct submission *s) {
  if (s->o->examine || receive_space_available(s->c->cfg, 0)) return true;
  fputs("exim: insufficient disk space\n", stderr);
  return false;
}

static int run(struct submission *s) {
  struct acl_env env = {.session = NULL};
  struct local_source *l = arena_alloc(s->x.a, sizeof(*l));
  *l = (struct local_source){.a = s->x.a, .dot_ends = s->o->dot_ends, .at_line_start = true, .in_headers = true,
                             .timeout_sec = s->c->cfg->o.receive_timeout};
  l->src = (struct body_source){.next = local_next, .drain = local_drain, .ctx = l};
  l->io = stream_new(s->x.a, s->o->fd, s->o->fd, false);
  s->r.src = &l->src;
  verify_fill_acl_env(&env);
  s->x.acl_env = &env;
  if (s->bad_count > 0) return bad_argument(s);
  if (too_many_recipients(s))
    return fail(s, 1, "too many recipients", "Mail failure - too many recipients",
                "contained more recipients than allowed on this\nsystem. It was not delivered to any recipients.");
  if (!s->o->examine) start_acl(s, &env);
  s->r = (struct reception){.c = s->c, .m = s->m, .x = &s->x, .env = &env, .src = &l->src, .after_headers = finish_envelope,
                            .ctx = s, .extract_recipients = s->o->extract_recipients, .accepted_from_line = true,
                            .keep_body = s->o->error_handling == ERRORS_SENDER, .kept_body_fd = -1, .examined_by = s->o->examine ? s->o : NULL};
  struct receive_reply reply = receive_run_reception(&s->r);
  /* What an ACL discarded was taken and is not on its way: the caller may know. */
  bool is_gone = reply.result == RECEIVE_DISCARDED && !s->o->examine;
  int status = is_gone ? 1 : reply.result == RECEIVE_DISCARDED || reply.result == RECEIVE_ACCEPTED ? 0 : report(s, &reply);
  if (reply.result == RECEIVE_ACCEPTED && s->bad_count > 0) tell_ignored(s);
  stream_close(l->io);
  if (s->r.kept_body_fd >= 0 && sys_close(s->r.kept_body_fd) < 0) errno = 0; /* only read from */
  if (reply.result != RECEIVE_ACCEPTED) return status;
  bool queue = s->o->queue_only || s->m->queue_only_policy;
  if (s->m->queue_only_policy || s->m->hold_smtp) log_write(LS_DELAY_DELIVERY, LOG_MAIN, "no immediate delivery: queued by ACL");
  double load;
  if (!queue && receive_load_is_high(s->c, &load)) {
    queue = true;
    log_write(LS_DELAY_DELIVERY, LOG_MAIN, "no immediate delivery: load average %.2f", load);
  }
  if (!s->m->frozen) receive_start_delivery(s->c, s->m, s->o->delivery_foreground, queue);
  return s->c->mua_failed ? 1 : 0;
}

int receive_submission(struct conn *c, const struct submit_opts *o) {
  struct arena *tmp = arena_new("submission");
  struct submission s = {.c = c, .o = o, .m = message_new(c->cfg), .x = expand_ctx_new(tmp, c->cfg)};
  s.bad = strbuf_new(tmp);
  s.x.conn = c;
  s.x.msg = s.m;
  s.m->dont_deliver = c->dont_deliver;
  s.m->suppress_local_fixups = c->suppress_local_fixups;
  if (c->started.tv_sec == 0) c->started = time_now();
  if (!c->connection_id) c->connection_id = conn_make_id(c->arena, time_now());
  prepare(&s);
  int status = has_size_limit(&s) && has_space(&s) ? run(&s) : 1;
  message_free(s.m);
  arena_free(tmp);
  log_set_message_id(NULL);
  return status;
}
