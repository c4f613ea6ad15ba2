/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The notify command with mailto: URIs.  Floor: drivers.  RFC 5435, RFC 5436.
 *
 * It becomes a message for the autoreply transport: sent once for each delivery, with an empty return path.  A notification is not told of. */
#include <stdio.h>

#include "address.h"
#include "filters/sieve_mail.h"
#include "formats/codecs.h"
#include "message.h"

static bool is_notification(struct sieve_run *s) {
  const struct header_line *pos = NULL;
  struct str value;
  while (sieve_next_raw_header(s, STR("auto-submitted"), &pos, &value))
    if (str_startsic(str_trim(value), STR("auto-notified"))) return true;
  return false;
}

/* RFC 5436 section 2.7: what the script says, else the URI, else the message's own. */
static const char *subject_of(struct sieve_run *s, const struct sieve_notify *n, const struct sieve_mailto *m) {
  const struct header_line *pos = NULL;
  struct str value = STR_NULL;
  if (n->message.p) return sieve_mail_subject(s->a, n->message, false);
  if (m->subject) return sieve_mail_subject(s->a, str_c(m->subject), false);
  if (!sieve_next_header(s, STR("subject"), &pos, &value)) return "Notification";
  return sieve_mail_subject(s->a, value, false);
}

static const char *headers_of(struct sieve_run *s, const struct sieve_notify *n, const struct sieve_mailto *m, bool is_coded) {
  static const char *const importance[] = {"high", "normal", "low"};
  struct strbuf b = strbuf_new(s->a);
  strbuf_addl(&b, "Auto-Submitted: auto-notified; ", sieve_mail_line(s->a, str_c(s->env->notify_owner)), "\n", NULL);
  if (n->importance.p && n->importance.p[0] != '2') strbuf_addl(&b, "Importance: ", importance[n->importance.p[0] - '1'], "\n", NULL);
  strbuf_adds(&b, m->headers);
  if (is_coded) strbuf_adds(&b, SIEVE_MAIL_UTF8);
  return b.p;
}

bool sieve_notify(struct sieve_run *s, const struct sieve_command *c) {
  const struct sieve_notify *n = c->notify;
  struct sieve_mailto m;
  if (sieve_parse_mailto(s->a, n->method, &m)) return sieve_broken(s, c->line, "Syntactically invalid URI");
  if (s->env->is_verbose) fprintf(stderr, "notify `%.*s'\n", STR_FMT(n->method));
  if (s->env->is_test || is_notification(s)) return true;
  for (const struct filter_action *act = s->result.actions; act; act = act->next)
    if (act->is_notification && m.to && act->mail[MAIL_TO] && strcmp(act->mail[MAIL_TO], m.to) == 0) return true; /* told already */
  struct filter_action *act = sieve_add_action(s, c->line, ACTION_MAIL, m.to ? m.to : m.cc ? m.cc : m.bcc);
  if (!act) return false;
  act->is_notification = true;
  act->ignore_error = true; /* nothing of the sender's has failed */
  act->mail[MAIL_TO] = m.to;
  act->mail[MAIL_CC] = m.cc;
  act->mail[MAIL_BCC] = m.bcc;
  act->mail[MAIL_FROM] = n->from.p ? sieve_mail_line(s->a, n->from) : s->x->addr->address;
  act->mail[MAIL_SUBJECT] = subject_of(s, n, &m);
  act->mail[MAIL_EXTRA_HEADERS] = headers_of(s, n, &m, m.body != NULL);
  act->mail[MAIL_TEXT] = m.body ? sieve_mail_quoted_printable(s->a, str_c(m.body)) : NULL;
  return true;
}
