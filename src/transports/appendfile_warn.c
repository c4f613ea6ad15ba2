/* SPDX-License-Identifier: GPL-2.0-or-later */
/* appendfile: the message about a mailbox that has crossed quota_warn_threshold.  Floor: drivers.  Manual ch. 26.
 *
 * The child that delivered notices the crossing; the text is made and sent here, by the process that started it, because the user whose mailbox it is may
 * neither be trusted nor be able to use this configuration.  The text is expanded with the rights of Exim's user; what is run as root is Exim alone, with
 * fixed arguments and the text as its input.  The message is delivered, whatever becomes of the warning. */
#include <string.h>

#include "os/log.h"
#include "os/priv.h"
#include "os/sys.h"
#include "transports/appendfile_priv.h"

const char append_default_warning[] = "To: $local_part@$domain\nSubject: Your mailbox\n\n"
                                      "This message is automatically created by mail delivery software (Exim).\n\n"
                                      "The size of your mailbox has exceeded a warning threshold that is\nset by the system administrator.\n";

static bool has_header(const char *text, const char *name) {
  struct str rest = str_c(text);
  while (rest.n) {
    struct str line = str_cut(&rest, '\n'), field;
    if (!line.n) return false;
    field = str_trim(str_cut(&line, ':'));
    if (str_eqic_c(field, name)) return true;
  }
  return false;
}

struct warning {
  struct delivery *d;
  struct strbuf text;
};

static int submit(void *ctx) {
  struct warning *w = ctx;
  int why = 0;
  return transport_submit(w->d, strbuf_str(&w->text), NULL, NULL, &why) != SUBMIT_DONE;
}

/* As root where that can be had: the message must come from a trusted user. */
static bool submit_as_trusted(struct warning *w) {
  int status = 0;
  if (!priv_can_raise()) return submit(w) == 0;
  pid_t pid = priv_run_as(0, 0, NULL, true, "quota warning", submit, w);
  return pid > 0 && sys_waitpid(pid, &status, 0) == pid && status == 0;
}

static void send_warning(struct delivery *d, const struct transport *t, const char *text) {
  struct warning w = {.d = d, .text = strbuf_new(d->arena)};
  if (d->cfg->o.errors_reply_to && !has_header(text, "Reply-To")) strbuf_addl(&w.text, "Reply-To: ", d->cfg->o.errors_reply_to, "\n", NULL);
  strbuf_adds(&w.text, "Auto-Submitted: auto-replied\n");
  const char *from = has_header(text, "From") ? NULL : expand_option(d->x, "dsn_from", d->cfg->o.dsn_from);
  if (from) strbuf_addl(&w.text, "From: ", from, "\n", NULL);
  strbuf_adds(&w.text, text);
  if (!str_ends(str_c(text), STR("\n"))) strbuf_addc(&w.text, '\n');
  if (!submit_as_trusted(&w)) log_write(LS_ALWAYS, LOG_MAIN, "the quota warning of the %s transport could not be sent", t->name);
}

void append_note_crossing(struct append_job *j) {
  const struct append_limits *l = j->limits;
  if (!l || l->warn_bytes <= 0 || j->size_before > l->warn_bytes || j->size_after <= l->warn_bytes) return;
  for (struct address *a = j->d->addrs; a; a = a->next) a->quota_crossed = true;
}

void append_finish(struct delivery *d) {
  const struct address *a = d->addrs;
  while (a && !(a->result == OUTCOME_OK && a->quota_crossed)) a = a->next;
  if (!a) return;
  const struct transport *t = a->other_transport ? config_transport(d->cfg, a->other_transport) : d->transport;
  if (!t || strcmp(t->driver->name, "appendfile") != 0) return; /* file_format chose another kind */
  const struct appendfile_opts *ob = t->ob;
  const char *text = ob->quota_warn_message;
  if (!text) return;
  const char *expanded = expand_option(d->x, "quota_warn_message", text);
  if (expanded) send_warning(d, t, expanded);
  else if (!d->x->forced_fail)
    log_write(LS_ALWAYS, LOG_MAIN, "Failed to expand \"%s\" (warning message for %s transport): %s", text, t->name, d->x->error ? d->x->error : "");
}
