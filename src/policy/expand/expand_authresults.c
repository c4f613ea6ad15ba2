/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ${authresults {ID}}: an Authentication-Results: header line (RFC 8601) from what is known of the session or was kept with the message.
 *
 * Floor: policy.  One function per method, in the order of the table; a method that was not tried adds nothing.  Names and ids come from outside
 * and are tainted; they hold no control characters, so they cannot add a header line. */
#include "conn.h"
#include "message.h"
#include "policy/arc.h"
#include "policy/dkim.h"
#include "policy/dmarc.h"
#include "policy/expand/expand_priv.h"
#include "policy/spf.h"

static void add_iprev(struct strbuf *out, const struct origin *o) {
  if (!o->host_address || !(o->host_name || o->host_lookup_failed || o->host_lookup_deferred)) return;
  strbuf_adds(out, ";\n\tiprev=");
  if (o->host_name) strbuf_addf(out, "pass (%s)", o->host_name);
  else strbuf_adds(out, o->host_lookup_deferred ? "temperror" : "fail");
  strbuf_addf(out, " smtp.remote-ip=%s", o->host_address);
}

static void add_auth(struct strbuf *out, const struct origin *o) {
  if (!o->auth_name) return;
  strbuf_addf(out, ";\n\tauth=pass (%s) smtp.auth=%s", o->auth_pubname ? o->auth_pubname : o->auth_name, o->auth_id ? o->auth_id : "");
  if (o->auth_sender) strbuf_addf(out, " smtp.mailfrom=%s", o->auth_sender);
}

bool exp_item_authresults(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs UNUSED) {
  static void (*const methods[])(struct strbuf *out, const struct origin *o) = {add_iprev, add_auth};
  const struct origin *o = x->conn ? &x->conn->from : x->msg ? x->msg->from : NULL;
  strbuf_addf(out, "Authentication-Results: %s", args[0]);
  for (size_t i = 0; o && i < ARRAY_SIZE(methods); i++) methods[i](out, o);
  exp_authresults_spf(out, x->msg);
  exp_authresults_dkim(out, x->msg);
  exp_authresults_dmarc(out, x->msg);
  exp_authresults_arc(out, x->msg, o ? o->host_address : NULL);
  return true;
}
