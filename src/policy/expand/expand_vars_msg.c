/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Expansion variables of the message: its recipients, its queue, what DKIM, ARC and content scanning found.  Floor: policy.  Manual 11.9.
 *
 * What came from outside carries its taint in the pointer. */
#include "address.h"
#include "message.h"
#include "os/daemon_notify.h"
#include "policy/arc.h"
#include "policy/dkim.h"
#include "policy/dmarc.h"
#include "policy/spf.h"
#include "policy/expand/expand_vars_priv.h"
#include "policy/match.h"
#include "policy/scan.h"

/* ---- what was found in it ---- */

const char *exp_get_arc(struct expand_ctx *x, const struct var *v) { return arc_variable(x, v->text); }
const char *exp_get_dmarc(struct expand_ctx *x, const struct var *v) { return dmarc_variable(x, v->text); }
const char *exp_get_spf(struct expand_ctx *x, const struct var *v) { return spf_variable(x, v->text); }
const char *exp_get_dkim(struct expand_ctx *x, const struct var *v) { return dkim_variable(x, v->text); }

/* Content scanning: what the message has, and the part that a MIME ACL looks at. */
const char *exp_get_scan(struct expand_ctx *x, const struct var *v) { return exp_var_str_at(x->msg ? x->msg->scan : NULL, v->at); }
static const struct scan_part *part_of(const struct expand_ctx *x) { return x->msg && x->msg->scan ? x->msg->scan->part : NULL; }
const char *exp_get_part(struct expand_ctx *x, const struct var *v) { return exp_var_str_at(part_of(x), v->at); }
const char *exp_get_mime_number(struct expand_ctx *x, const struct var *v) {
  const struct scan_part *p = part_of(x);
  if (!p) return "0";
  const int64_t values[] = {[MIME_ANOMALY_LEVEL] = p->f.anomaly_level, [MIME_CONTENT_SIZE] = p->decoded_kb, [MIME_IS_COVERLETTER] = p->is_coverletter,
                            [MIME_IS_MULTIPART] = mime_is_multipart(&p->f), [MIME_IS_RFC822] = p->is_in_message};
  return exp_var_number(x, values[v->at]);
}
const char *exp_get_mime_part_count(struct expand_ctx *x, const struct var *v UNUSED) {
  return exp_var_number(x, x->msg && x->msg->scan ? x->msg->scan->part_count : -1);
}

/* ---- the message ---- */

const char *exp_get_headers_added(struct expand_ctx *x, const struct var *v UNUSED) {
  struct strbuf b = strbuf_new(x->a);
  for (const struct header_line *h = x->msg ? x->msg->added_headers : NULL; h; h = h->next)
    list_append(&b, '\n', arena_strndup(x->a, h->text, h->n - (h->n > 0 && h->text[h->n - 1] == '\n')));
  return b.p;
}

const char *exp_get_message_age(struct expand_ctx *x, const struct var *v UNUSED) {
  return x->msg && x->msg->received_time.tv_sec ? exp_var_number(x, MAX((int64_t)(time_sec() - x->msg->received_time.tv_sec), 0)) : "0";
}
const char *exp_get_message_id(struct expand_ctx *x, const struct var *v UNUSED) {
  return x->msg ? arena_strdup(x->a, x->msg->id) : NULL;
}
const char *exp_get_received_time(struct expand_ctx *x, const struct var *v UNUSED) {
  return exp_var_number(x, x->msg ? (int64_t)x->msg->received_time.tv_sec : 0);
}

/* ---- recipients and queue ---- */

/* No harm in a command or a file name: letters, digits and what addresses need. */
static bool is_plain_address(const char *s) {
  for (const char *p = s; *p; p++)
    if (!ch_isalnum(*p) && (!strchr("@._-+=", *p) || (p == s && *p == '-'))) return false;
  return true;
}

/* ", " between them. */
static const char *recipients_text(struct expand_ctx *x) {
  struct strbuf b = strbuf_new(x->a);
  bool is_plain = true;
  for (size_t i = 0; x->msg && i < x->msg->recipient_count; i++) {
    if (i) strbuf_adds(&b, ", ");
    strbuf_adds(&b, x->msg->recipients[i].address);
    is_plain = is_plain && is_plain_address(x->msg->recipients[i].address);
  }
  return is_plain && x->recipients_for_shell ? arena_strdup_t(x->a, b.p, UNTAINTED) : b.p;
}

const char *exp_get_recipients(struct expand_ctx *x, const struct var *v) {
  struct strbuf b = strbuf_new(x->a);
  if (x->recipients_hidden) {
    (void)exp_fail(x, "$%s is not available here", v->name);
    return NULL;
  }
  if (!v->at) return recipients_text(x);
  for (size_t i = 0; x->msg && i < x->msg->recipient_count; i++) {
    const char *r = x->msg->recipients[i].address;
    if (i) strbuf_adds(&b, ":");
    for (; *r; r++) {
      strbuf_add_t(&b, r, 1, is_tainted(r) ? TAINTED : UNTAINTED);
      if (*r == ':') strbuf_addc(&b, ':');
    }
  }
  return b.p;
}

/* Asked of the daemon, which counts; nobody to ask: empty. */
const char *exp_get_queue_size(struct expand_ctx *x, const struct var *v UNUSED) {
  struct expand_ctx inner = expand_ctx_new(x->a, x->cfg);
  const char *name = x->cfg->o.notifier_socket ? expand_string(&inner, x->cfg->o.notifier_socket) : NULL;
  int64_t count;
  return name && *name && daemon_notify_ask(name, &count) == 0 ? exp_var_number(x, count) : "";
}

const char *exp_get_recipients_count(struct expand_ctx *x, const struct var *v UNUSED) {
  return exp_var_number(x, x->msg ? (int64_t)x->msg->recipient_count : 0);
}
