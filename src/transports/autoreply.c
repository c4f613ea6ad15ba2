/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The autoreply transport, simple form: one message to the addresses of its options.  Floor: drivers.  Manual ch. 27.
 *
 * The reply is handed to this program's own submission side (-t), so that it is queued, synced and logged like any other message; it has an
 * empty envelope sender and cannot be answered by a bounce.  Header texts may hold sender-controlled bytes: a line end in one of them is
 * refused unless a blank follows, so that nobody can add header lines. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buildinfo.h"
#include "formats/rfc5322.h"
#include "os/child.h"
#include "os/debug.h"
#include "os/sys.h"
#include "policy/match.h"
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

struct reply_job {
  struct delivery *d;
  struct autoreply_opts *ob;
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

/* Expand; *ret NULL when unset or forced to fail. */
static bool option_text(struct reply_job *j, const char *name, const char *option, const char **ret) {
  *ret = NULL;
  if (!option) return true;
  *ret = expand_string(j->d->x, option);
  if (*ret || j->d->x->forced_fail) return true;
  return refuse(j, "Expansion of \"%s\" failed in %s transport: %s", option, name, j->d->x->error ? j->d->x->error : "");
}

static bool is_one_header(const char *s) {
  for (const char *p = s; *p; p++) {
    if (*p == '\n' && !ch_isblank(p[1])) return false;
    if (ch_iscntrl(*p) && *p != '\n' && *p != '\t') return false;
  }
  return true;
}

static bool add_header(struct reply_job *j, const char *name, const char *option) {
  const char *value;
  if (!option_text(j, j->d->transport->name, option, &value)) return false;
  if (!value || !*value) return true;
  if (!is_one_header(value))
    return refuse(j, "invalid line end in \"%s\" for the message of the %s transport", name, j->d->transport->name);
  strbuf_addl(&j->text, name, ": ", value, "\n", NULL);
  return true;
}

static bool is_never_mailed(struct reply_job *j, struct str list) {
  while (j->ob->never_mail && list.n) {
    size_t n = rfc5322_find_address_end(list);
    const char *error;
    const char *address = rfc5322_extract_address(j->d->arena, str_n(list.p, n), (struct addr_opts){0}, NULL, &error);
    if (address && match_address(j->d->x, address, j->ob->never_mail, true, NULL) == OUTCOME_OK) return true;
    list = n < list.n ? str_n(list.p + n + 1, list.n - n - 1) : STR_NULL;
  }
  return false;
}

/* To, Cc, Bcc; *ret_any: somebody is left. */
static bool add_recipients(struct reply_job *j, bool *ret_any) {
  const struct {
    const char *name, *option;
  } lists[] = {{"To", j->ob->to}, {"Cc", j->ob->cc}, {"Bcc", j->ob->bcc}};
  *ret_any = false;
  for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
    const char *value;
    if (!option_text(j, j->d->transport->name, lists[i].option, &value)) return false;
    if (!value || !str_trim(str_c(value)).n || is_never_mailed(j, str_c(value))) continue;
    if (!is_one_header(value))
      return refuse(j, "invalid line end in \"%s\" for the message of the %s transport", lists[i].name, j->d->transport->name);
    strbuf_addl(&j->text, lists[i].name, ": ", value, "\n", NULL);
    *ret_any = true;
  }
  return true;
}

static bool add_file(struct reply_job *j) {
  struct delivery *d = j->d;
  const char *name;
  char *data;
  size_t n;
  if (!option_text(j, d->transport->name, j->ob->file, &name)) return false;
  if (!name) return true;
  if (expand_taint_refused(d->x, name, arena_printf(d->arena, "file for %s transport", d->transport->name)))
    return refuse(j, "%s", d->x->error);
  int fd = sys_open(name, O_RDONLY | O_NONBLOCK, 0); /* a FIFO has no writer to wait for */
  if (fd < 0 && j->ob->file_optional) return true;
  if (fd < 0) return refuse(j, "Failed to open file %s when sending message from %s transport: %s", name, d->transport->name, strerror(-fd));
  int r = sys_read_file(fd, d->arena, 4u << 20, &data, &n);
  (void)!sys_close(fd);
  if (r < 0) return refuse(j, "Failed to read file %s when sending message from %s transport: %s", name, d->transport->name, strerror(-r));
  if (!j->ob->file_expand) {
    strbuf_add(&j->text, data, n);
    return true;
  }
  const char *text = expand_string(d->x, data);
  if (!text) return refuse(j, "Expansion of file %s failed in %s transport: %s", name, d->transport->name, d->x->error ? d->x->error : "");
  strbuf_adds(&j->text, text);
  return true;
}

static bool add_body(struct reply_job *j) {
  const char *headers, *text;
  if (!option_text(j, j->d->transport->name, j->ob->headers, &headers)) return false;
  if (headers && *headers) {
    strbuf_adds(&j->text, headers);
    if (!str_ends(str_c(headers), STR("\n"))) strbuf_addc(&j->text, '\n');
  }
  strbuf_addc(&j->text, '\n');
  if (!option_text(j, j->d->transport->name, j->ob->text, &text)) return false;
  if (text) strbuf_adds(&j->text, text);
  if (text && !str_ends(str_c(text), STR("\n"))) strbuf_addc(&j->text, '\n');
  return add_file(j);
}

static bool build_reply(struct reply_job *j, bool *ret_any) {
  const struct message *m = j->d->msg;
  if (!add_recipients(j, ret_any) || !*ret_any) return *ret_any;
  if (!add_header(j, "From", j->ob->from) || !add_header(j, "Reply-To", j->ob->reply_to) || !add_header(j, "Subject", j->ob->subject))
    return false;
  if (m->message_id_header) strbuf_addl(&j->text, "In-Reply-To: ", m->message_id_header, "\n", NULL);
  if (!j->ob->headers || !strstric(j->ob->headers, "auto-submitted:")) strbuf_adds(&j->text, "Auto-Submitted: auto-replied\n");
  return add_body(j);
}

static void submit(struct reply_job *j) {
  struct delivery *d = j->d;
  const char *exim = d->cfg->o.exim_path ? d->cfg->o.exim_path : arena_printf(d->arena, "%s/exim", build_info()->bin_directory);
  const char *argv[9] = {exim, "-t", "-oem", "-oi", "-f", "<>"};
  if (strcmp(d->cfg->file, build_info()->configure_file) != 0) {
    argv[6] = "-C";
    argv[7] = d->cfg->file;
  }
  struct child_spec spec = {.argv = argv, .uid = (uid_t)-1, .gid = (gid_t)-1, .cwd = "/", .umask = -1, .new_session = true, .stdin_fd = -1,
                            .stdout_fd = -2};
  struct child c;
  int status = 0;
  int r = child_run(&spec, &c);
  if (r < 0) {
    (void)refuse(j, "Failed to create child process to send message from %s transport: %s", d->transport->name, strerror(-r));
    return;
  }
  int w = sys_write_all(c.in_fd, j->text.p, j->text.n);
  close(c.in_fd);
  r = child_wait(&c, deadline_in_sec(300), &status);
  if (w < 0 || r < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
    transport_set_results(d->addrs, OUTCOME_DEFER, ERRNO_UNKNOWNERROR,
                          arena_printf(d->arena, "message from %s transport could not be submitted (status %d)", d->transport->name, status));
  else
    transport_set_results(d->addrs, OUTCOME_OK, 0, NULL);
}

static bool autoreply_deliver(struct delivery *d) {
  struct reply_job j = {.d = d, .ob = d->transport->ob, .text = strbuf_new(d->arena)};
  bool any = false;
  if (transport_size_refused(d)) return true;
  transport_set_results(d->addrs, OUTCOME_OK, 0, NULL);
  if (!build_reply(&j, &any)) return true; /* refused, or nobody to send to: then all is done */
  if (d->dont_deliver) {
    transport_set_results(d->addrs, OUTCOME_OK, 0, "delivery bypassed by -N option");
    return true;
  }
  submit(&j);
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
