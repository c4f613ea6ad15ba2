/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From what a filter decided to the addresses that carry it to a transport.  Floor: drivers.  Used by redirect routers and for the system filter. */
#include "address.h"
#include "filters/filter.h"

const char *filter_reply_name(struct arena *a, const char *to) {
  struct strbuf b = strbuf_new(a);
  struct str list = str_c(to);
  strbuf_addc(&b, '>');
  while (list.n) {
    size_t n = rfc5322_find_address_end(list);
    struct str item = rfc5322_strip_group(str_n(list.p, n));
    list = n < list.n ? str_n(list.p + n + 1, list.n - n - 1) : STR_NULL;
    const char *error;
    const char *address = rfc5322_extract_address(a, item, (struct addr_opts){.allow_domain_literal = true, .allow_utf8 = true}, NULL, &error);
    if (address) strbuf_addl(&b, b.n > 1 ? "," : "", address, NULL);
  }
  return b.n > 1 ? b.p : FILTER_BAD_REPLY;
}

static struct reply_item *reply_of(struct arena *a, const struct filter_action *act) {
  struct reply_item *r = ARENA_NEW(a, struct reply_item);
  *r = (struct reply_item){.to = act->mail[MAIL_TO], .cc = act->mail[MAIL_CC], .bcc = act->mail[MAIL_BCC], .from = act->mail[MAIL_FROM],
                           .reply_to = act->mail[MAIL_REPLY_TO], .subject = act->mail[MAIL_SUBJECT],
                           .headers = act->mail[MAIL_EXTRA_HEADERS], .text = act->mail[MAIL_TEXT], .file = act->mail[MAIL_FILE],
                           .logfile = act->mail[MAIL_LOG], .oncelog = act->mail[MAIL_ONCE], .once_repeat = act->once_repeat,
                           .file_expand = act->file_expand, .return_message = act->return_message,
                           .is_notification = act->is_notification};
  return r;
}

bool filter_refuse_bad_reply(struct address *addr) {
  if (strcmp(addr->address, FILTER_BAD_REPLY) != 0) return false;
  addr->basic_errno = ERRNO_BADADDRESS2;
  addr->message = "filter autoreply generated syntactically invalid recipient";
  addr->has_own_errors_to = true;
  addr->prop.errors_address = "";
  return true;
}

void filter_fill_address(struct arena *a, const struct filter_action *act, struct address *addr) {
  addr->mode = act->mode;
  if (act->kind == ACTION_MAIL) addr->reply = reply_of(a, act);
  if (act->kind != ACTION_PIPE) return;
  addr->allow_expand_pipe = true;
  addr->pipe_this_address = act->this_address;
  addr->pipe_expand_count = act->ncaptures;
  addr->pipe_expandn = ARENA_NEW_N(a, const char *, EXPAND_MAX_CAPTURES);
  for (int i = 0; i < act->ncaptures; i++) addr->pipe_expandn[i] = act->captures[i];
}
