/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Internationalised messages on their way out: pass on, convert the envelope to A-labels, or refuse.  Floor: drivers.  RFC 6531; manual
 * ch. 60.
 *
 * utf8_downconvert of the transport decides when it is set there, else the control of that name, else "-1": convert where SMTPUTF8 is not
 * offered.  A message that may not be converted fails for good at such a host. */
#include "formats/utf8_domain.h"
#include "os/debug.h"
#include "transports/smtp_priv.h"

enum downconvert { DOWNCONVERT_NEVER = 0, DOWNCONVERT_ALWAYS = 1, DOWNCONVERT_IF_NEEDED = -1 };

static enum downconvert wanted(const struct smtp_attempt *s) {
  const struct message *m = s->d->msg;
  struct expand_ctx *x = s->d->x;
  bool is_set = s->d->transport->ob_block && opt_was_set(s->d->transport->ob_block, "utf8_downconvert");
  int64_t v;
  if (is_set && s->ob->utf8_downconvert) {
    const char *text = expand_option(x, "utf8_downconvert", s->ob->utf8_downconvert);
    if (text && str_parse_i64(str_trim(str_c(text)), &v) && v >= -1 && v <= 1) return (enum downconvert)v;
  }
  if (m->utf8_downcvt) return DOWNCONVERT_ALWAYS;
  return DOWNCONVERT_IF_NEEDED;
}

bool smtp_utf8_forced(const struct smtp_attempt *s) { return s->d->msg->smtputf8 && wanted(s) == DOWNCONVERT_ALWAYS; }

static bool refuse(struct smtp_attempt *s, const char *text) {
  smtp_note_failure(s, (struct smtp_failure){.trouble = TROUBLE_LOCAL, .at = AT_MAIL, .err = ERRNO_UTF8_FWD, .is_final = true, .reply = text});
  return false;
}

static bool converts(struct smtp_attempt *s, const char *address) {
  const char *error = NULL;
  return utf8_address_to_alabel(s->a, address, &error) != NULL;
}

bool smtp_utf8_decide(struct smtp_attempt *s) {
  s->downconvert = false;
  if (!s->d->msg->smtputf8) return true;
  bool offered = (s->facts.features & EHLO_SMTPUTF8) != 0;
  switch (wanted(s)) {
    case DOWNCONVERT_NEVER: break;
    case DOWNCONVERT_ALWAYS: s->downconvert = true; break;
    case DOWNCONVERT_IF_NEEDED: s->downconvert = !offered; break;
  }
  if (!s->downconvert) return offered || refuse(s, "utf8 support required but not offered for forwarding");
  bool ok = !s->d->return_path || converts(s, s->d->return_path);
  for (struct address *addr = s->d->addrs; ok && addr; addr = addr->next) {
    ok = converts(s, addr->address);
    if (ok && !addr->sent_as) addr->sent_as = smtp_utf8_address(s, address_rcpt_text(s->a, addr)); /* also when MAIL is refused */
  }
  DEBUG(D_TRANSPORT) debug_printf("converting the envelope to A-labels%s\n", ok ? "" : " is not possible");
  return ok || refuse(s, "an address could not be converted to ASCII");
}

const char *smtp_utf8_address(struct smtp_attempt *s, const char *address) {
  const char *error = NULL, *text = s->downconvert ? utf8_address_to_alabel(s->a, address, &error) : address;
  return text ? text : address;
}
