/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lmtp transport: LMTP to a command's standard input and output, or over a Unix socket.  Floor: drivers.  Manual ch. 28; RFC 2033.
 *
 * A local transport: the process already runs as the user of the delivery.  The dialogue goes step by step; after the content each accepted
 * recipient has a reply of its own and nothing but that reply decides its fate.  Whatever breaks the dialogue defers the recipients without a final
 * reply.  Every wait is bounded by timeout.  Hostile: all replies (bounded lines, bounded text, tainted); command and socket name must not be tainted. */
#include <errno.h>
#include <string.h>

#include "os/child.h"
#include "os/debug.h"
#include "os/log.h"
#include "os/net.h"
#include "os/stream.h"
#include "transport_command.h"
#include "transports/drivers.h"
#include "transports/smtp_priv.h"

struct lmtp_opts {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "transports/lmtp_options.def"
#undef OPT_ROW
};

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct lmtp_opts, n, t, d, f)
static const struct option lmtp_options[] = {
#include "transports/lmtp_options.def"
};
#undef OPT_ROW

struct lmtp {
  struct delivery *d;
  struct lmtp_opts *ob;
  struct arena *a;
  struct stream *io;
  struct child child;
  bool has_child;
  bool was_refused;     /* the message as a whole, by a reply */
  int64_t written;      /* of the content */
  const char *last;     /* what went out last, for texts */
  int code;             /* of the last reply */
  const char *reply;
};

static const char *lmtp_init(struct arena *a, struct config *c, struct transport *t) {
  const struct lmtp_opts *ob = t->ob;
  (void)c;
  if ((ob->command != NULL) == (ob->socket != NULL))
    return arena_printf(a, "one (and only one) of command or socket must be set for the %s transport", t->name);
  if (ob->timeout <= 0) return arena_printf(a, "timeout value is zero for %s transport", t->name);
  t->names_recipients = true;
  return NULL;
}

/* ---- results ---------------------------------------------------------------------------------------------- */

/* Recipients whose fate is still open wait with DEFER and no text. */
static bool is_open(const struct address *a) { return a->result == OUTCOME_DEFER && !a->message; }

static void set_open(struct lmtp *l, enum outcome result, int err, const char *text) {
  for (struct address *a = l->d->addrs; a; a = a->next) {
    if (!is_open(a)) continue;
    a->result = result;
    a->basic_errno = err;
    a->more_errno = 0;
    a->message = text;
  }
}

static const char *error_text(struct lmtp *l) { return arena_printf(l->a, "LMTP error after %s: %s", l->last, l->reply); }

static void refuse(struct lmtp *l, struct address *a, int err_4xx) {
  a->result = l->code / 100 == 5 ? OUTCOME_FAIL : OUTCOME_DEFER;
  a->basic_errno = l->code / 100 == 5 ? 0 : err_4xx;
  a->more_errno = l->code / 100 == 5 ? 0 : (l->code % 100) << 8;
  a->message = error_text(l);
  a->pass_message = l->code / 100 == 5; /* the sender of the message is told what was said about this recipient */
}

/* The last reply refused the whole message. */
static bool refuse_all(struct lmtp *l, int err_4xx) {
  for (struct address *a = l->d->addrs; a; a = a->next)
    if (is_open(a)) {
      refuse(l, a, err_4xx);
      a->pass_message = false;
    }
  l->was_refused = true;
  return false;
}

static bool broken(struct lmtp *l, enum stream_status st, const char *malformed) {
  const char *bytes = l->written > 0 ? arena_printf(l->a, " (%lld bytes written)", (long long)l->written) : "";
  if (malformed)
    set_open(l, OUTCOME_DEFER, ERRNO_SMTPFORMAT, arena_printf(l->a, "Malformed LMTP response after %s: %s", l->last, malformed));
  else if (st == STREAM_TIMEOUT)
    set_open(l, OUTCOME_DEFER, ERRNO_UNKNOWNERROR, arena_printf(l->a, "LMTP timeout after %s%s", l->last, bytes));
  else
    set_open(l, OUTCOME_DEFER, ERRNO_UNKNOWNERROR, arena_printf(l->a, "LMTP connection closed after %s", l->last));
  return false;
}

/* ---- dialogue --------------------------------------------------------------------------------------------- */

static bool read_reply(struct lmtp *l) {
  struct strbuf text = strbuf_new_t(l->a, TAINTED, 128);
  deadline_ms deadline = deadline_in_sec(l->ob->timeout);
  int code = 0, r = 0;
  while (r == 0) {
    struct str line;
    enum stream_status st = stream_read_line(l->io, SMTP_REPLY_LINE_MAX, true, deadline, &line, NULL);
    if (st == STREAM_TOOLONG) return broken(l, st, "line too long");
    if (st != STREAM_OK) return broken(l, st, NULL);
    DEBUG(D_TRANSPORT | D_V) debug_printf("%s%s\n", code ? "         " : "  LMTP<< ", log_escape(l->a, line));
    r = smtp_reply_add_line(&text, line, &code);
    if (r < 0) return broken(l, st, arena_strndup_t(l->a, line.p, MIN(line.n, (size_t)512), TAINTED));
  }
  l->code = code;
  l->reply = text.p;
  return true;
}

static bool send_command(struct lmtp *l, const char *command) {
  if (strpbrk(command, "\r\n")) { /* must not become a command of its own */
    set_open(l, OUTCOME_DEFER, ERRNO_UNKNOWNERROR, "line end in an LMTP command");
    return false;
  }
  l->last = command;
  DEBUG(D_TRANSPORT | D_V) debug_printf("  LMTP>> %s\n", command);
  stream_puts(l->io, command);
  stream_puts(l->io, "\r\n");
  return read_reply(l);
}

/* Is the keyword in the reply to LHLO? */
static bool offers(const char *reply, const char *keyword) {
  struct str rest = str_c(reply);
  (void)str_cut(&rest, '\n');
  while (rest.n) {
    struct str line = str_cut(&rest, '\n');
    if (line.n <= 4) continue;
    line = str_n(line.p + 4, line.n - 4);
    if (str_eqic_c(str_word(&line), keyword)) return true;
  }
  return false;
}

static bool greet(struct lmtp *l, bool *ret_ignore_quota) {
  l->last = "initial connection";
  if (!read_reply(l)) return false;
  if (l->code / 100 != 2) return refuse_all(l, ERRNO_UNKNOWNERROR);
  if (!send_command(l, arena_printf(l->a, "LHLO %s", l->d->cfg->primary_hostname))) return false;
  if (l->code / 100 != 2) return refuse_all(l, ERRNO_UNKNOWNERROR);
  *ret_ignore_quota = l->ob->ignore_quota && offers(l->reply, "IGNOREQUOTA");
  return true;
}

static bool send_envelope(struct lmtp *l, bool ignore_quota, size_t *ret_accepted) {
  const char *sender = l->d->return_path ? l->d->return_path : "";
  if (!send_command(l, arena_printf(l->a, "MAIL FROM:<%s>", sender))) return false;
  if (l->code / 100 != 2) return refuse_all(l, ERRNO_MAIL4XX);
  for (struct address *a = l->d->addrs; a; a = a->next) {
    const char *rcpt = arena_printf(l->a, "RCPT TO:<%s>", address_rcpt_text(l->a, a));
    if (!send_command(l, ignore_quota ? arena_printf(l->a, "%s IGNOREQUOTA", rcpt) : rcpt)) return false;
    l->last = rcpt;
    if (l->code / 100 == 2) (*ret_accepted)++;
    else refuse(l, a, ERRNO_RCPT4XX);
  }
  return true;
}

static int sink_write(void *ctx, const void *p, size_t n) {
  struct lmtp *l = ctx;
  stream_put(l->io, p, n);
  l->written += (int64_t)n;
  enum stream_status st = stream_flush(l->io, deadline_in_sec(l->ob->timeout));
  return st == STREAM_OK ? 0 : st == STREAM_TIMEOUT ? -ETIMEDOUT : -EPIPE;
}

static bool send_content(struct lmtp *l) {
  struct write_opts o = transport_write_opts(l->d->transport);
  int64_t bytes = 0;
  o.crlf = true;
  o.dot_stuff = true;
  o.end_dot = true;
  if (!send_command(l, "DATA")) return false;
  if (l->code / 100 != 3) return refuse_all(l, ERRNO_DATA4XX);
  l->last = "sending data block";
  DEBUG(D_TRANSPORT | D_V) debug_printf("  LMTP>> writing message and terminating \".\"\n");
  int r = transport_write_message(l->d, &o, sink_write, l, &bytes);
  if (r == -EPIPE || r == -ETIMEDOUT) return broken(l, r == -EPIPE ? STREAM_EOF : STREAM_TIMEOUT, NULL);
  if (r < 0) {
    int err;
    const char *text = transport_write_error(l->d, r, "", &err);
    set_open(l, OUTCOME_DEFER, err, text);
    return false;
  }
  for (struct address *a = l->d->addrs; a; a = a->next) a->delivered_size = bytes;
  return true;
}

/* One reply for each accepted recipient, in order. */
static bool take_final_replies(struct lmtp *l) {
  l->last = "end of data";
  for (struct address *a = l->d->addrs; a; a = a->next) {
    if (!is_open(a)) continue;
    if (!read_reply(l)) return false;
    if (l->code / 100 != 2) {
      refuse(l, a, ERRNO_DATA4XX);
      continue;
    }
    a->result = OUTCOME_OK;
    a->basic_errno = a->more_errno = 0;
    a->confirmation = log_escape(l->a, str_c(l->reply));
  }
  return true;
}

static bool converse(struct lmtp *l) {
  bool ignore_quota = false;
  size_t accepted = 0;
  if (!greet(l, &ignore_quota) || !send_envelope(l, ignore_quota, &accepted)) return false;
  return accepted == 0 || (send_content(l) && take_final_replies(l));
}

/* ---- the other end ---------------------------------------------------------------------------------------- */

static bool open_socket(struct lmtp *l) {
  struct expand_ctx *x = l->d->x;
  const char *path = expand_string(x, l->ob->socket);
  if (!path || expand_taint_refused(x, path, "socket of lmtp transport")) {
    set_open(l, OUTCOME_DEFER, ERRNO_UNKNOWNERROR, arena_printf(l->a, "Expansion of \"%s\" (socket setting for %s transport) failed: %s", l->ob->socket,
                                                              l->d->transport->name, x->error ? x->error : ""));
    return false;
  }
  int fd = net_connect_unix(path, deadline_in_sec(l->ob->timeout));
  if (fd < 0) {
    set_open(l, OUTCOME_DEFER, ERRNO_UNKNOWNERROR,
             arena_printf(l->a, "Failed to connect to socket %s for %s transport: %s", path, l->d->transport->name, strerror(-fd)));
    return false;
  }
  l->io = stream_new(l->a, fd, fd, true);
  return true;
}

static bool start_command(struct lmtp *l) {
  struct vec argv = vec_new(l->a);
  const char *what = arena_printf(l->a, "%s transport", l->d->transport->name);
  bool is_tainted;
  const char *error = transport_expand_command(l->d, l->ob->command, what, &argv, &is_tainted);
  if (error) {
    if (is_tainted) transport_set_results(l->d->addrs, OUTCOME_FAIL, 0, error);
    else transport_set_misconfigured(l->d->addrs, ERRNO_UNKNOWNERROR, error);
    return false;
  }
  struct child_spec spec = {.argv = (const char *const *)argv.v, .uid = (uid_t)-1, .gid = (gid_t)-1, .umask = -1, .new_session = true,
                            .cwd = l->d->cwd, .stdin_fd = -1, .stdout_fd = -1};
  int r = child_run(&spec, &l->child);
  if (r == -ENOENT || r == -EACCES) { /* it says as much as a program that ends at once */
    l->last = "initial connection";
    return broken(l, STREAM_EOF, NULL);
  }
  if (r < 0) {
    set_open(l, OUTCOME_DEFER, -r, arena_printf(l->a, "Failed to create child process for %s transport", l->d->transport->name));
    return false;
  }
  l->has_child = true;
  l->io = stream_new(l->a, l->child.out_fd, l->child.in_fd, true);
  return true;
}

/* The outcome is known; a program that does not end is ended. */
static void hang_up(struct lmtp *l, bool politely) {
  int status;
  if (politely) {
    stream_puts(l->io, "QUIT\r\n");
    DEBUG(D_TRANSPORT | D_V) debug_printf("  LMTP>> QUIT\n");
    struct str line;
    if (stream_flush(l->io, deadline_in_sec(1)) == STREAM_OK)
      IGNORE_RESULT(stream_read_line(l->io, SMTP_REPLY_LINE_MAX, true, deadline_in_sec(1), &line, NULL));
  }
  stream_close(l->io);
  if (!l->has_child) return;
  if (!politely) child_kill(&l->child);
  IGNORE_RESULT(child_wait(&l->child, deadline_in_sec(l->ob->timeout), &status));
}

static bool lmtp_deliver(struct delivery *d) {
  struct lmtp l = {.d = d, .ob = d->transport->ob, .a = d->arena};
  if (transport_size_refused(d)) return true;
  transport_set_results(d->addrs, OUTCOME_DEFER, 0, NULL);
  if (d->dont_deliver) {
    transport_set_results(d->addrs, OUTCOME_OK, 0, NULL);
    return true;
  }
  if (!(l.ob->socket ? open_socket(&l) : start_command(&l))) return true;
  bool finished = converse(&l);
  hang_up(&l, finished || l.was_refused);
  return true;
}

const struct transport_driver lmtp_transport = {
  .name = "lmtp",
  .options = lmtp_options,
  .option_count = ARRAY_SIZE(lmtp_options),
  .ob_size = sizeof(struct lmtp_opts),
  .is_local = true,
  .init = lmtp_init,
  .deliver = lmtp_deliver,
};
