/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vacation command.  Floor: drivers.  RFC 5230.
 *
 * It becomes a reply for the autoreply transport, whose "once" file remembers who was answered: one file for each different answer, in
 * sieve_vacation_directory.  Who sent the message is a stranger; the answer goes to the return path alone, and to nobody who is a program. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "address.h"
#include "filters/sieve_mail.h"
#include "formats/codecs.h"
#include "message.h"
#include "os/sys.h"

enum { DAYS_DEFAULT = 7, DAYS_MAX = 365, SECONDS_A_DAY = 86400 };

/* ---- to whom (RFC 5230 sections 4.5 and 4.6) ---- */

static bool is_robot(struct str local) {
  static const char *const names[] = {"mailer-daemon", "listserv", "majordomo"};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    if (str_eqic_c(local, names[i])) return true;
  return str_startsic(local, STR("owner-")) || str_endsic(local, STR("-owner")) || str_endsic(local, STR("-request"));
}

static bool is_own(const struct sieve_run *s, const struct sieve_vacation *v, const char *address) {
  for (const struct address *a = s->x->addr; a; a = a->parent)
    if (strcmpic(a->address, address) == 0) return true;
  for (size_t i = 0; i < v->addresses.n; i++)
    if (str_eqic_c(str_trim(v->addresses.v[i]), address)) return true;
  return false;
}

static bool list_names_owner(struct sieve_run *s, const struct sieve_vacation *v, struct str list) {
  while (list.n) {
    const char *error;
    size_t n = rfc5322_find_address_end(list);
    struct addr_opts o = {.allow_domain_literal = true, .allow_utf8 = true};
    const char *address = rfc5322_extract_address(s->a, rfc5322_strip_group(str_n(list.p, n)), o, NULL, &error);
    if (address && is_own(s, v, address)) return true;
    list = n < list.n ? str_n(list.p + n + 1, list.n - n - 1) : STR_NULL;
  }
  return false;
}

static bool is_addressed(struct sieve_run *s, const struct sieve_vacation *v) {
  static const char *const fields[] = {"to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc"};
  for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
    const struct header_line *pos = NULL;
    struct str value;
    while (sieve_next_raw_header(s, str_c(fields[i]), &pos, &value))
      if (list_names_owner(s, v, str_trim(value))) return true;
  }
  return false;
}

/* Written by a program, or for a list. */
static bool is_automatic(struct sieve_run *s) {
  static const char *const bulk[] = {"bulk", "list", "junk"};
  struct str value, name, rest;
  const struct header_line *pos = NULL;
  while (sieve_next_raw_header(s, STR("auto-submitted"), &pos, &value))
    if (!str_eqic_c(str_trim(value), "no")) return true;
  while (sieve_next_raw_header(s, STR("precedence"), &pos, &value))
    for (size_t i = 0; i < ARRAY_SIZE(bulk); i++)
      if (str_eqic_c(str_trim(value), bulk[i])) return true;
  for (const struct header_line *h = s->x->msg->headers; h; h = h->next)
    if (h->type != '*' && header_split(str_n(h->text, h->n), &name, &rest) && str_startsic(name, STR("list-"))) return true;
  return false;
}

static bool is_personal(struct sieve_run *s, const struct sieve_vacation *v) {
  const char *sender = s->x->msg->sender;
  struct str local, domain;
  if (!sender || !*sender || !addr_split(sender, &local, &domain)) return false;
  return !is_robot(local) && !is_own(s, v, sender) && !is_automatic(s) && is_addressed(s, v);
}

/* ---- what it says ---- */

static const char *subject_of(struct sieve_run *s, const struct sieve_vacation *v) {
  const struct header_line *pos = NULL;
  struct str value;
  if (v->subject.p) return sieve_mail_subject(s->a, v->subject, false);
  if (!sieve_next_header(s, STR("subject"), &pos, &value) || !value.n) return "Automated reply";
  return sieve_mail_subject(s->a, str_c(arena_printf(s->a, "Auto: %s", sieve_mail_line(s->a, value))), true);
}

/* :mime: the script's own MIME header lines and body.  Other header lines would be the script's way to more recipients: they are left out. */
static void take_mime(struct sieve_run *s, struct str text, const char **ret_headers, const char **ret_text) {
  struct strbuf headers = strbuf_new_t(s->a, taint_kind(text.p), 128);
  bool is_taken = false;
  while (text.n) {
    struct str line = str_cut(&text, '\n');
    if (line.n && line.p[line.n - 1] == '\r') line.n--;
    if (!line.n) break;
    if (!ch_isblank(*line.p)) is_taken = header_is_valid_start(line) && (str_startsic(line, STR("content-")) || str_startsic(line, STR("mime-version")));
    if (!is_taken) continue;
    strbuf_addstr(&headers, line);
    strbuf_addc(&headers, '\n');
  }
  *ret_headers = headers.p;
  *ret_text = sieve_mail_text(s->a, text);
}

/* The name of the file: different answers are remembered apart (RFC 5230 section 4.2). */
static const char *once_file(struct sieve_run *s, const struct sieve_vacation *v) {
  struct strbuf b = strbuf_new(s->a);
  const struct str parts[] = {v->subject, v->from, v->is_mime ? STR("mime") : STR(""), v->reason};
  if (v->handle.p) strbuf_addstr(&b, v->handle);
  for (size_t i = 0; !v->handle.p && i < ARRAY_SIZE(parts); i++) {
    strbuf_addstr(&b, parts[i]);
    strbuf_addc(&b, '\n');
  }
  const char *digest = sieve_mail_digest(s->a, strbuf_str(&b));
  return arena_printf(s->a, "%s/%s", s->env->vacation_directory, digest);
}

bool sieve_vacation(struct sieve_run *s, const struct sieve_command *c) {
  const struct sieve_vacation *v = c->vacation;
  if (s->has_answered) return sieve_broken(s, c->line, "trying to execute vacation more than once");
  s->has_answered = true;
  bool wants = is_personal(s, v);
  if (s->env->is_verbose) fputs(wants ? "Sieve: vacation would answer\n" : "Sieve: mail was not personal, vacation would ignore it\n", stderr);
  if (!wants || s->env->is_test) return true;
  int rc = sys_mkdir(s->env->vacation_directory, 0700);
  if (rc < 0 && rc != -EEXIST) return sieve_broken(s, c->line, "cannot make %s: %s", s->env->vacation_directory, strerror(-rc));
  struct filter_action *act = sieve_add_action(s, c->line, ACTION_MAIL, s->x->msg->sender);
  if (!act) return false;
  int64_t days = v->days < 0 ? DAYS_DEFAULT : MAX(1, MIN(v->days, DAYS_MAX));
  act->ignore_error = true; /* the message has arrived, whatever becomes of the answer */
  act->mail[MAIL_TO] = s->x->msg->sender;
  act->mail[MAIL_FROM] = v->from.p ? sieve_mail_line(s->a, v->from) : s->x->addr->address;
  act->mail[MAIL_SUBJECT] = subject_of(s, v);
  act->mail[MAIL_ONCE] = once_file(s, v);
  act->once_repeat = days * SECONDS_A_DAY;
  if (v->is_mime) {
    take_mime(s, v->reason, &act->mail[MAIL_EXTRA_HEADERS], &act->mail[MAIL_TEXT]);
  } else {
    act->mail[MAIL_EXTRA_HEADERS] = SIEVE_MAIL_UTF8;
    act->mail[MAIL_TEXT] = sieve_mail_quoted_printable(s->a, v->reason);
  }
  return true;
}
