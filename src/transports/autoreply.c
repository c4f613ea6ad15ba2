/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The autoreply transport: one message, as a filter's command or the options say.  Floor: drivers.  Manual ch. 27.
 *
 * The reply is handed to this program's own submission side (-t), so that it is queued, synced and logged like any other message; it has an
 * empty envelope sender and cannot be answered by a bounce.  Header texts may hold sender-controlled bytes: a line end in one of them is
 * refused unless a blank follows, so that nobody can add header lines. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/rfc5322.h"
#include "os/sys.h"
#include "policy/match.h"
#include "base/timeutil.h"
#include "os/debug.h"
#include "os/log.h"
#include "transports/autoreply_once.h"
#include "transports/drivers.h"

struct autoreply_opts {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "transports/autoreply_options.def"
#undef OPT_ROW
};

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct autoreply_opts, n, t, d, f)
static const struct option autoreply_options[] = {
#include "transports/autoreply_options.def"
};
#undef OPT_ROW

/* What the message is made of: the filter's command when there is one, else the options, expanded.  NULL: not given. */
struct reply_job {
  struct delivery *d;
  struct autoreply_opts *ob;
  struct reply_item r;
  struct strbuf text; /* header and body as they go to the submission */
};

static bool refuse(struct reply_job *j, const char *fmt, ...) PRINTF(2, 3);
static bool refuse(struct reply_job *j, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  transport_set_results(j->d->addrs, OUTCOME_DEFER, ERRNO_EXPANDFAIL, arena_vprintf(j->d->arena, fmt, ap));
  va_end(ap);
  return false;
}

/* The same with the code of the system. */
static bool refuse_errno(struct reply_job *j, int err, const char *fmt, ...) PRINTF(3, 4);
static bool refuse_errno(struct reply_job *j, int err, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  transport_set_results(j->d->addrs, OUTCOME_DEFER, err, arena_vprintf(j->d->arena, fmt, ap));
  va_end(ap);
  return false;
}

static bool fail(struct reply_job *j, const char *text) {
  transport_set_results(j->d->addrs, OUTCOME_FAIL, 0, text);
  return false;
}

/* Expand; *ret NULL when unset.  A forced failure is one like any other. */
static bool option_text(struct reply_job *j, const char *name, const char *option, const char **ret) {
  *ret = NULL;
  if (!option) return true;
  *ret = expand_string(j->d->x, option);
  if (*ret) return true;
  const char *why = arena_printf(j->d->arena, "Expansion of \"%s\" failed in %s transport: %s", option, name, j->d->x->error ? j->d->x->error : "");
  transport_set_results(j->d->addrs, j->d->x->lookup_deferred ? OUTCOME_DEFER : OUTCOME_FAIL, 0, why);
  return false;
}

/* A byte that would begin a header line of its own, or that does not count as printing; 0: there is none.  What a filter says may have bytes of
 * 128 and above. */
static int bad_byte(const struct reply_job *j, const char *s) {
  bool takes_top_bit = j->d->addrs->reply || j->d->cfg->o.print_topbitchars;
  for (const char *p = s; *p; p++)
    if (*p == '\n' ? !ch_isblank(p[1]) : *p >= 128 ? !takes_top_bit : ch_iscntrl(*p) && *p != '\t') return *p;
  return 0;
}

/* option NULL: the text is a filter's, and what says whose. */
static bool check_header(struct reply_job *j, const char *what, const char *option, const char *value) {
  int bad = value ? bad_byte(j, value) : 0;
  if (!bad) return true;
  const char *text = option ? arena_printf(j->d->arena, "Expansion of \"%s\"", option) : arena_printf(j->d->arena, "The %s text of the filter", what);
  transport_set_results(j->d->addrs, OUTCOME_FAIL, 0,
                        arena_printf(j->d->arena, "%s in %s transport contains non-printing character %d", text, j->d->transport->name, bad));
  for (struct address *a = j->d->addrs; a; a = a->next) a->user_message = ""; /* the sender has no part in it */
  return false;
}

static bool header_text(struct reply_job *j, const char *name, const char *option, const char **ret) {
  return option_text(j, name, option, ret) && check_header(j, NULL, option, *ret);
}

/* All texts of the message; the options are looked at only when no filter has said anything. */
static bool take_texts(struct reply_job *j) {
  struct autoreply_opts *ob = j->ob;
  const char *name = j->d->transport->name, *repeat;
  if (j->d->addrs->reply) {
    j->r = *j->d->addrs->reply;
    return true;
  }
  bool ok = header_text(j, name, ob->from, &j->r.from) && header_text(j, name, ob->reply_to, &j->r.reply_to) &&
            header_text(j, name, ob->to, &j->r.to) && header_text(j, name, ob->cc, &j->r.cc) && header_text(j, name, ob->bcc, &j->r.bcc) &&
            header_text(j, name, ob->subject, &j->r.subject) && option_text(j, name, ob->headers, &j->r.headers) &&
            option_text(j, name, ob->text, &j->r.text) && option_text(j, name, ob->file, &j->r.file) &&
            option_text(j, name, ob->log, &j->r.logfile) && option_text(j, name, ob->once, &j->r.oncelog) &&
            option_text(j, name, ob->once_repeat, &repeat);
  j->r.file_expand = ob->file_expand;
  if (ok && repeat && !time_parse_interval(str_trim(str_c(repeat)), false, &j->r.once_repeat))
    return fail(j, arena_printf(j->d->arena, "Invalid time value \"%s\" for \"once_repeat\" in %s transport", repeat, name));
  return ok;
}

static bool add_header(struct reply_job *j, const char *name, const char *value) {
  if (!value || !*value) return true;
  if (j->d->addrs->reply && !check_header(j, name, NULL, value)) return false;
  strbuf_addl(&j->text, name, ": ", value, "\n", NULL);
  return true;
}

/* The list without those in never_mail (expanded; NULL: there is none); *ret NULL: nobody is left.  Texts stay as they are while nobody is taken out.
 * When it cannot be known who must never have mail, nobody gets any now. */
static bool mailable(struct reply_job *j, const char *never_mail, const char *list, const char **ret) {
  const struct match_opts o = {.caseless = true, .allow_named = true, .no_expand = true, .name = "never_mail"};
  struct str rest = str_c(list);
  struct strbuf kept = strbuf_new(j->d->arena);
  *ret = str_trim(rest).n ? list : NULL;
  if (!never_mail || !*ret) return true;
  while (rest.n) {
    size_t n = rfc5322_find_address_end(rest);
    struct str item = str_n(rest.p, n);
    const char *error;
    const char *address = rfc5322_extract_address(j->d->arena, item, (struct addr_opts){.allow_domain_literal = true}, NULL, &error);
    enum outcome never = address ? match_list(j->d->x, LIST_ADDRESS, address, never_mail, &o) : OUTCOME_FAIL;
    if (never != OUTCOME_OK && never != OUTCOME_FAIL) return refuse(j, "unable to check never_mail for %s transport", j->d->transport->name);
    if (never == OUTCOME_FAIL) {
      if (kept.n) strbuf_addc(&kept, ',');
      strbuf_addstr(&kept, item);
    }
    rest = n < rest.n ? str_n(rest.p + n + 1, rest.n - n - 1) : STR_NULL;
  }
  *ret = kept.n ? kept.p : NULL;
  return true;
}

/* Line by line; one that cannot be expanded stands as it is.  A filter's file may do what the filter may. */
static bool add_expanded(struct reply_job *j, const char *name, struct str rest) {
  struct delivery *d = j->d;
  struct expand_forbid before = d->x->forbid;
  bool ok = true;
  d->x->forbid = j->r.forbid;
  while (rest.n && ok) {
    const char *line = str_dup(d->arena, str_cut(&rest, '\n')), *text = expand_string(d->x, line);
    if (!text && d->x->lookup_deferred)
      ok = refuse(j, "Expansion of a line of file %s failed in %s transport: %s", name, d->transport->name, d->x->error ? d->x->error : "");
    strbuf_addl(&j->text, text ? text : line, "\n", NULL);
  }
  d->x->forbid = before;
  return ok;
}

/* To, Cc, Bcc; *ret_any: somebody is left. */
static bool take_recipients(struct reply_job *j, bool *ret_any) {
  const char **lists[] = {&j->r.to, &j->r.cc, &j->r.bcc};
  const char *never_mail = j->ob->never_mail ? expand_string(j->d->x, j->ob->never_mail) : NULL, *name = j->d->transport->name;
  *ret_any = false;
  if (j->ob->never_mail && !never_mail) return fail(j, arena_printf(j->d->arena, "Failed to expand \"%s\" for \"never_mail\" in %s transport", j->ob->never_mail, name));
  for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
    if (*lists[i] && !mailable(j, never_mail, *lists[i], lists[i])) return false;
    *ret_any = *ret_any || *lists[i];
  }
  return true;
}

static bool add_file(struct reply_job *j) {
  struct delivery *d = j->d;
  const char *name = j->r.file;
  char *data;
  size_t n;
  if (!name || !*name) return true;
  if (!d->addrs->reply && is_tainted(name))
    return refuse_errno(j, EACCES, "Tainted '%s' (file for %s transport) not permitted", name, d->transport->name);
  int fd = sys_open_file(name);
  if (fd < 0 && j->ob->file_optional) return true;
  if (fd < 0) return refuse_errno(j, -fd, "Failed to open file %s when sending message from %s transport: %s", name, d->transport->name, sys_open_file_error(fd));
  int r = sys_read_file(fd, d->arena, 4u << 20, &data, &n);
  (void)!sys_close(fd);
  if (r < 0) return refuse_errno(j, -r, "Failed to read file %s when sending message from %s transport: %s", name, d->transport->name, strerror(-r));
  /* Who chose the name of the file is trusted with expansions; not so when a sender did. */
  if (j->r.file_expand && !is_tainted(name)) return add_expanded(j, name, str_c(arena_untaint_copy(d->arena, data, n)));
  strbuf_add(&j->text, data, n);
  return true;
}

/* RFC 5322 section 3.6.4: the references of the message answered, and its own id. */
static void add_references(struct reply_job *j) {
  const char *id = expand_header(j->d->x, "message-id", 'h'), *before = expand_header(j->d->x, "references", 'h');
  if (!before) before = expand_header(j->d->x, "in-reply-to", 'h');
  if (id) strbuf_addl(&j->text, "In-Reply-To: ", id, "\n", NULL);
  if (!id && !before) return;
  enum { NEWEST = 11 }; /* of a long list the first and these are kept */
  struct vec words = vec_new(j->d->arena);
  struct str rest = str_c(before ? before : ""), word;
  while ((word = str_word(&rest)).n) vec_push(&words, str_dup(j->d->arena, word));
  strbuf_adds(&j->text, "References:");
  for (size_t i = 0; i < words.n; i++)
    if (i == 0 || i + NEWEST >= words.n) strbuf_addl(&j->text, " ", words.v[i], NULL);
  if (id) strbuf_addl(&j->text, " ", id, NULL);
  strbuf_addc(&j->text, '\n');
}

static bool add_body(struct reply_job *j) {
  if (j->r.headers && *j->r.headers) {
    strbuf_adds(&j->text, j->r.headers);
    if (!str_ends(str_c(j->r.headers), STR("\n"))) strbuf_addc(&j->text, '\n');
  }
  strbuf_addc(&j->text, '\n');
  if (j->r.text) strbuf_adds(&j->text, j->r.text);
  if (j->r.text && !str_ends(str_c(j->r.text), STR("\n"))) strbuf_addc(&j->text, '\n');
  return add_file(j);
}

static bool build_reply(struct reply_job *j) {
  if (!add_header(j, "From", j->r.from) || !add_header(j, "Reply-To", j->r.reply_to) ||
      !add_header(j, "To", j->r.to) || !add_header(j, "Cc", j->r.cc) || !add_header(j, "Bcc", j->r.bcc) ||
      !add_header(j, "Subject", j->r.subject))
    return false;
  if (!j->r.is_notification) {
    add_references(j);
    strbuf_adds(&j->text, "Auto-Submitted: auto-replied\n");
  }
  return add_body(j);
}

/* ---- sending ---------------------------------------------------------------------------------------------- */

static int to_fd(void *ctx, const void *p, size_t n) { return sys_write_all(*(int *)ctx, p, n); }

/* The original message behind the text, never whole in memory. */
static int write_original(void *ctx, int fd) {
  static const char all[] = "\n------ This is a copy of the message, including all the headers.\n\n";
  static const char cut[] = "\n------ The body of the message is too large to be returned: these are its headers.\n\n";
  struct delivery *d = ctx;
  struct write_opts o = transport_write_opts(d->transport);
  int64_t limit = d->cfg->o.bounce_return_size_limit, bytes;
  o.headers_only = limit > 0 && d->msg->message_size > limit;
  int rc = o.headers_only ? sys_write_all(fd, cut, sizeof cut - 1) : sys_write_all(fd, all, sizeof all - 1);
  return rc < 0 ? rc : transport_write_message(d, &o, to_fd, &fd, &bytes);
}

static void submit(struct reply_job *j) {
  struct delivery *d = j->d;
  bool returns = j->r.return_message || j->ob->return_message;
  int why = 0;
  switch (transport_submit(d, strbuf_str(&j->text), returns ? write_original : NULL, d, &why)) {
    case SUBMIT_DONE:
    case SUBMIT_NOBODY: transport_set_results(d->addrs, OUTCOME_OK, 0, NULL); return;
    case SUBMIT_NOT_STARTED:
      (void)refuse(j, "Failed to create child process to send message from %s transport: %s", d->transport->name, strerror(-why));
      return;
    case SUBMIT_FAILED: break;
  }
  transport_set_results(d->addrs, OUTCOME_DEFER, 0,
                        arena_printf(d->arena, "Failed to send message from %s transport (%d)", d->transport->name, WIFEXITED(why) ? WEXITSTATUS(why) : why));
}

/* For each message sent what it says, or whom it was not sent to again. */
static void write_log(struct reply_job *j, bool was_sent) {
  if (!j->r.logfile || !*j->r.logfile) return;
  struct strbuf line = strbuf_new(j->d->arena);
  char stamp[64];
  strbuf_addl(&line, time_format(time_now(), TIME_LOG_BARE, (struct time_opts){0}, stamp, sizeof stamp), "\n", NULL);
  if (!was_sent) strbuf_addl(&line, "  previously sent to ", log_escape(j->d->arena, str_c(j->r.to)), "\n", NULL);
  const char *fields[][2] = {{"From", j->r.from}, {"To", j->r.to}, {"Cc", j->r.cc}, {"Bcc", j->r.bcc}, {"Subject", j->r.subject}};
  for (size_t i = 0; was_sent && i < ARRAY_SIZE(fields); i++)
    if (fields[i][1] && *fields[i][1]) strbuf_addl(&line, "  ", fields[i][0], ": ", log_escape(j->d->arena, str_c(fields[i][1])), "\n", NULL);
  if (was_sent && j->r.headers && *j->r.headers) strbuf_addl(&line, "  ", j->r.headers, "\n", NULL);
  int fd = sys_open(j->r.logfile, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK, (mode_t)j->ob->mode);
  int rc = fd < 0 ? fd : sys_write_all(fd, line.p, line.n);
  if (fd >= 0) (void)!sys_close(fd);
  /* A log that cannot be written is no reason to send the message twice, and the file may be one that a user's filter chose. */
  DEBUG(D_DELIVER | D_TRANSPORT) if (rc < 0) debug_printf("%s transport: log file %s: %s\n", j->d->transport->name, j->r.logfile, strerror(-rc));
}

static bool files_are_safe(struct reply_job *j) {
  struct delivery *d = j->d;
  if (d->addrs->reply) return true; /* named by the filter's owner, as whom we run */
  const char *names[] = {j->r.logfile, j->r.oncelog};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    if (names[i] && is_tainted(names[i]))
      return refuse_errno(j, EACCES, "Tainted '%s' (%s for %s transport) not permitted", names[i], i ? "once file" : "log file", d->transport->name);
  return true;
}

/* Was this recipient answered a short time ago? */
static bool is_due(struct reply_job *j, bool *ret_due) {
  struct autoreply_once once = {.file = j->r.oncelog, .size_limit = j->ob->once_file_size, .repeat_sec = j->r.once_repeat,
                                .mode = (mode_t)j->ob->mode};
  *ret_due = true;
  if (!j->r.oncelog || !*j->r.oncelog || !j->r.to) return true;
  int rc = autoreply_once_check(&once, j->d->arena, j->r.to, ret_due);
  return rc == 0 || refuse_errno(j, -rc, "Failed to open %s file %s when sending message from %s transport: %s",
                                 j->ob->once_file_size > 0 ? "\"once\"" : "gdbm", j->r.oncelog, j->d->transport->name, strerror(-rc));
}

static void remember(struct reply_job *j) {
  struct autoreply_once once = {.file = j->r.oncelog, .size_limit = j->ob->once_file_size, .mode = (mode_t)j->ob->mode};
  if (!j->r.oncelog || !*j->r.oncelog || !j->r.to) return;
  int rc = autoreply_once_note(&once, j->d->arena, j->r.to);
  if (rc < 0) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s transport: %s: %s", j->d->transport->name, j->r.oncelog, strerror(-rc));
}

static bool autoreply_deliver(struct delivery *d) {
  struct reply_job j = {.d = d, .ob = d->transport->ob, .text = strbuf_new(d->arena)};
  bool any = false, due = true;
  if (transport_size_refused(d)) return true;
  transport_set_results(d->addrs, OUTCOME_OK, 0, NULL);
  if (!take_texts(&j) || !files_are_safe(&j) || !take_recipients(&j, &any) || !any) return true; /* nobody to send to: all is done */
  if (d->dont_deliver) {
    transport_set_results(d->addrs, OUTCOME_OK, 0, "delivery bypassed by -N option");
    return true;
  }
  if (!is_due(&j, &due)) return true;
  if (!due) {
    write_log(&j, false);
    return true;
  }
  if (!build_reply(&j)) return true;
  submit(&j);
  if (d->addrs->result != OUTCOME_OK) return true;
  remember(&j);
  write_log(&j, true);
  return true;
}

const struct transport_driver autoreply_transport = {
  .name = "autoreply",
  .options = autoreply_options,
  .option_count = ARRAY_SIZE(autoreply_options),
  .ob_size = sizeof(struct autoreply_opts),
  .is_local = true,
  .deliver = autoreply_deliver,
};
