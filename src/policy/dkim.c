/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Results of DKIM verification: their texts in log lines and headers, variables, and what an ACL may change.
 *
 * Floor: policy (objects).  The texts of signatures are a stranger's; they were freed from control characters when they were parsed.
 * Manual 58.3; RFC 8601 section 2.7.1 for the words of Authentication-Results:. */
#include "policy/dkim.h"

#include "message.h"
#include "policy/expand.h"

const char *const dkim_status_names[] = {"none", "invalid", "fail", "pass"};

/* What is wrong: for $dkim_verify_reason, for the log, for Authentication-Results:. */
static const struct {
  const char *word, *log, *header;
} reasons[DKIM_REASON_COUNT] = {
  [DKIM_WHY_NOTHING] = {"", "unspecified reason", "unspecified reason"},
  [DKIM_WHY_KEY_UNAVAILABLE] = {"pubkey_unavailable", "public key record (currently?) unavailable", "pubkey unavailable"},
  [DKIM_WHY_KEY_RECORD] = {"pubkey_dns_syntax", "syntax error in public key record", "public key record import problem"},
  [DKIM_WHY_KEY_DATA] = {"pubkey_der_syntax", "syntax error in public key record", "public key record import problem"},
  [DKIM_WHY_KEY_SHORT] = {"pubkey_too_short", "signature invalid (key too short)", "public key too short"},
  [DKIM_WHY_TAG] = {"", "signature tag missing or invalid", "signature tag missing or invalid"},
  [DKIM_WHY_VERSION] = {"", "unsupported DKIM version", "unsupported DKIM version"},
  [DKIM_WHY_BODY] = {"bodyhash_mismatch", "body hash mismatch (body probably modified in transit)",
                     "body hash mismatch; body probably modified in transit"},
  [DKIM_WHY_SIGNATURE] = {"signature_incorrect", "signature did not verify (headers probably modified in transit)",
                          "signature did not verify; headers probably modified in transit"},
};

const char *dkim_status_text(const struct dkim_result *r) { return r->status_set ? r->status_set : dkim_status_names[r->status]; }
const char *dkim_reason_text(const struct dkim_result *r) { return r->reason_set ? r->reason_set : reasons[r->reason].word; }

static bool is_set_by_acl(const struct dkim_result *r) { return r->status_set || r->reason_set; }

static const char *canon_name(bool relaxed) { return relaxed ? "relaxed" : "simple"; }

const char *dkim_log_text(struct arena *a, const struct dkim_result *r) {
  const struct dkim_signature *s = &r->sig;
  struct strbuf b = strbuf_new(a);
  strbuf_addf(&b, "DKIM: d=%s s=%s c=%s/%s a=%.*s b=%zu", s->domain, s->selector ? s->selector : "<UNSET>", canon_name(s->relaxed_headers),
              canon_name(s->relaxed_body), STR_FMT(s->algorithm), s->data.n * 8);
  if (s->identity) strbuf_addf(&b, " i=%s", s->identity);
  if (s->created > 0) strbuf_addf(&b, " t=%lld", (long long)s->created);
  if (s->expires > 0) strbuf_addf(&b, " x=%lld", (long long)s->expires);
  if (s->body_length >= 0) strbuf_addf(&b, " l=%lld", (long long)s->body_length);
  if (is_set_by_acl(r)) {
    strbuf_addf(&b, " [%s - %s]", dkim_status_text(r), dkim_reason_text(r));
    return b.p;
  }
  switch (r->status) {
  case DKIM_NONE: strbuf_adds(&b, " [not verified]"); break;
  case DKIM_INVALID: strbuf_addf(&b, " [invalid - %s]", reasons[r->reason].log); break;
  case DKIM_FAIL: strbuf_addf(&b, " [verification failed - %s]", reasons[r->reason].log); break;
  case DKIM_PASS: strbuf_adds(&b, " [verification succeeded]"); break;
  }
  return b.p;
}

const char *dkim_passed_domain(const struct dkim_state *s) {
  const struct dkim_result *newest = NULL;
  for (size_t i = 0; s && i < s->count; i++) {
    const struct dkim_result *r = &s->sigs[i];
    if (r->report_number == 0 || strcmp(dkim_status_text(r), "pass") != 0) continue;
    if (!newest || r->report_number > newest->report_number) newest = r;
  }
  return newest ? newest->sig.domain : NULL;
}

/* ---- ${authresults ---- */

static void add_verdict(struct strbuf *out, const struct dkim_result *r) {
  if (is_set_by_acl(r)) {
    strbuf_addf(out, "policy (%s - %s)", dkim_status_text(r), dkim_reason_text(r));
    return;
  }
  switch (r->status) {
  case DKIM_NONE: strbuf_adds(out, "none"); return;
  case DKIM_PASS: strbuf_adds(out, "pass"); return;
  case DKIM_INVALID: strbuf_adds(out, r->reason == DKIM_WHY_KEY_UNAVAILABLE ? "tmperror" : "neutral"); break;
  case DKIM_FAIL: strbuf_adds(out, "fail"); break;
  }
  strbuf_addf(out, " (%s", reasons[r->reason].header);
  if (r->reason == DKIM_WHY_KEY_SHORT) strbuf_addf(out, ": %d bits", r->key_bits);
  strbuf_adds(out, ")\n\t\t");
}

void exp_authresults_dkim(struct strbuf *out, const struct message *m) {
  const struct dkim_state *s = m ? m->dkim : NULL;
  for (size_t i = 0; s && !s->error && i < s->count; i++) {
    const struct dkim_result *r = &s->sigs[i];
    strbuf_adds(out, ";\n\tdkim=");
    add_verdict(out, r);
    if (r->sig.domain) strbuf_addl(out, " header.d=", r->sig.domain, NULL);
    if (r->sig.identity) strbuf_addl(out, " header.i=", r->sig.identity, NULL);
    if (r->sig.selector) strbuf_addl(out, " header.s=", r->sig.selector, NULL);
    strbuf_addf(out, " header.a=%.*s", STR_FMT(r->sig.algorithm));
  }
}

/* ---- variables ---- */

static const char *number(struct expand_ctx *x, int64_t n) {
  struct strbuf b = strbuf_new(x->a);
  strbuf_add_int(&b, n);
  return b.p;
}

static const char no_limit[] = "9999999999999";

static const char *sig_algo(struct expand_ctx *x, const struct dkim_result *r) { return str_dup(x->a, r->sig.algorithm); }
static const char *sig_length(struct expand_ctx *x, const struct dkim_result *r) {
  return r->sig.body_length < 0 ? no_limit : number(x, r->sig.body_length);
}
static const char *sig_canon_body(struct expand_ctx *x UNUSED, const struct dkim_result *r) { return canon_name(r->sig.relaxed_body); }
static const char *sig_canon_headers(struct expand_ctx *x UNUSED, const struct dkim_result *r) { return canon_name(r->sig.relaxed_headers); }
static const char *sig_copied(struct expand_ctx *x UNUSED, const struct dkim_result *r) { return r->sig.copied_headers; }
static const char *sig_created(struct expand_ctx *x, const struct dkim_result *r) { return number(x, r->sig.created); }
static const char *sig_domain(struct expand_ctx *x UNUSED, const struct dkim_result *r) { return r->sig.domain; }
static const char *sig_expires(struct expand_ctx *x, const struct dkim_result *r) {
  return r->sig.expires ? number(x, r->sig.expires) : no_limit;
}
static const char *sig_names(struct expand_ctx *x UNUSED, const struct dkim_result *r) { return r->sig.header_names; }
static const char *sig_identity(struct expand_ctx *x UNUSED, const struct dkim_result *r) { return r->sig.identity; }
static const char *key_granularity(struct expand_ctx *x UNUSED, const struct dkim_result *r) { return r->key.granularity ? r->key.granularity : "*"; }
static const char *key_length(struct expand_ctx *x, const struct dkim_result *r) { return number(x, r->key_bits); }
static const char *key_nosub(struct expand_ctx *x UNUSED, const struct dkim_result *r) { return r->key.no_subdomains ? "1" : "0"; }
static const char *key_notes(struct expand_ctx *x UNUSED, const struct dkim_result *r) { return r->key.notes; }
static const char *key_service(struct expand_ctx *x UNUSED, const struct dkim_result *r) { return r->key.service ? r->key.service : "*"; }
static const char *key_testing(struct expand_ctx *x UNUSED, const struct dkim_result *r) { return r->key.is_testing ? "1" : "0"; }
static const char *sig_selector(struct expand_ctx *x UNUSED, const struct dkim_result *r) { return r->sig.selector; }

/* Of the signature an ACL is looking at; sorted. */
static const struct {
  const char *name;
  const char *(*get)(struct expand_ctx *x, const struct dkim_result *r);
  const char *none;
} sig_variables[] = {
  {"algo", sig_algo, NULL}, {"bodylength", sig_length, no_limit}, {"canon_body", sig_canon_body, NULL},
  {"canon_headers", sig_canon_headers, NULL}, {"copiedheaders", sig_copied, NULL}, {"created", sig_created, "0"},
  {"domain", sig_domain, NULL}, {"expires", sig_expires, no_limit}, {"headernames", sig_names, NULL}, {"identity", sig_identity, NULL},
  {"key_granularity", key_granularity, "*"}, {"key_length", key_length, "0"}, {"key_nosubdomains", key_nosub, "0"},
  {"key_notes", key_notes, NULL}, {"key_srvtype", key_service, "*"}, {"key_testing", key_testing, "0"}, {"selector", sig_selector, NULL},
};

/* What an ACL sees of the signature before, when the signer it runs for has made none. */
static bool outlives_run(const char *name) {
  return strcmp(name, "domain") == 0 || strcmp(name, "selector") == 0 || strcmp(name, "key_length") == 0;
}

static const char *signature_variable(struct expand_ctx *x, const struct dkim_state *s, size_t i) {
  bool is_known = s && s->shown && (!s->in_acl || s->cur || outlives_run(sig_variables[i].name));
  return is_known ? sig_variables[i].get(x, s->shown) : sig_variables[i].none;
}

const char *dkim_variable(struct expand_ctx *x, const char *name) {
  const struct dkim_state *s = x->msg ? x->msg->dkim : NULL;
  /* The transport signs: $dkim_domain and $dkim_selector are its own. */
  if (strcmp(name, "domain") == 0 && x->dkim_domain) return x->dkim_domain;
  if (strcmp(name, "selector") == 0 && x->dkim_selector) return x->dkim_selector;
  for (size_t i = 0; i < ARRAY_SIZE(sig_variables); i++)
    if (strcmp(name, sig_variables[i].name) == 0) return signature_variable(x, s, i);
  if (!s) return NULL;
  if (strcmp(name, "cur_signer") == 0) return s->cur_signer;
  if (strcmp(name, "signers") == 0) return s->signers;
  if (strcmp(name, "verify_signers") == 0) return s->verify_signers;
  if (strcmp(name, "verify_reason") == 0) return !s->in_acl ? s->reason : s->cur ? dkim_reason_text(s->cur) : "";
  if (strcmp(name, "verify_status") == 0) return !s->in_acl ? s->status_list : s->cur ? dkim_status_text(s->cur) : "none";
  return NULL;
}

void dkim_set_by_acl(struct expand_ctx *x, const char *name, const char *value) {
  struct dkim_state *s = x->msg ? x->msg->dkim : NULL;
  if (!s) return;
  const char *copy = arena_strdup(x->msg->arena, value ? value : "");
  if (strcmp(name, "signers") == 0) s->verify_signers = copy;
  else if (s->in_acl && s->cur && strcmp(name, "status") == 0) s->cur->status_set = copy;
  else if (s->in_acl && s->cur && strcmp(name, "reason") == 0) s->cur->reason_set = copy;
  else if (!s->in_acl && strcmp(name, "status") == 0) s->status_list = copy;
  else if (!s->in_acl && strcmp(name, "reason") == 0) s->reason = copy;
}

void dkim_state_free(struct dkim_state *s) {
  for (size_t i = 0; s && i < s->body_count; i++)
    if (s->bodies[i].digest.handle) dkim_digest_end(&s->bodies[i].digest, NULL);
}
