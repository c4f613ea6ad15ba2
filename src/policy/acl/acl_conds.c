/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of ACL conditions and modifiers, and the plain conditions.
 *
 * Floor: policy.  One sorted table says where each may stand and who handles it.  Known names without a
 * subsystem in this build are refused when the configuration is read.  Manual ch. 44 "ACL conditions". */
#include "buildconfig.h"
#include "base/strbuf.h"
#include "formats/codecs.h"
#include "os/debug.h"
#include "policy/acl/acl_priv.h"
#include "policy/dkim.h"
#include "policy/match.h"
#include "policy/narrate.h"

static const struct acl_hooks *hooks; /* set once at start-up */

void acl_set_hooks(const struct acl_hooks *h) { hooks = h; }
const struct acl_hooks *acl_get_hooks(void) { return hooks; }

static enum outcome cond_dnslists(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  if (1u << r->where & ACL_NOTSMTP_BITS && !strchr(arg, '/')) { /* without a host there must be keys */
    r->log_text = arena_printf(r->x->a, "cannot test auto-keyed dnslists condition in %s ACL", acl_where_name(r->where));
    return OUTCOME_ERROR;
  }
  return hooks ? hooks->dnslists(r->x, arg, &r->log_text) : OUTCOME_ERROR;
}

static enum outcome cond_seen(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  return hooks && hooks->seen ? hooks->seen(r->x, arg, &r->log_text) : OUTCOME_ERROR;
}

static enum outcome cond_scan(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  return hooks && hooks->scan && r->x->msg ? hooks->scan(r->x, r->where, c->type->name, arg, &r->log_text) : OUTCOME_ERROR;
}

static enum outcome cond_spf(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  return hooks && hooks->spf ? hooks->spf(r->x, strcmp(c->type->name, "spf_guess") == 0, arg, &r->log_text) : OUTCOME_ERROR;
}

static enum outcome cond_dmarc(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  return hooks && hooks->dmarc ? hooks->dmarc(r->x, arg, &r->log_text) : OUTCOME_ERROR;
}

static enum outcome mod_udpsend(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  return hooks && hooks->udpsend ? hooks->udpsend(r->x, arg, &r->log_text) : OUTCOME_ERROR;
}

static enum outcome cond_dkim_signers(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  const struct dkim_state *s = r->x->msg ? r->x->msg->dkim : NULL;
  return s && s->cur_signer ? match_string_list(r->x, s->cur_signer, arg, true, NULL) : OUTCOME_FAIL;
}

/* In the DKIM ACL the signature at hand, elsewhere any of those it has seen. */
static enum outcome cond_dkim_status(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  enum outcome o = OUTCOME_FAIL;
  const char *list = dkim_variable(r->x, "verify_status"), *item;
  int sep = ':';
  if (!list) list = "none"; /* no signature, or none that was looked at */
  while (o == OUTCOME_FAIL && (item = list_next(r->x->a, &list, &sep))) o = match_string_list(r->x, item, arg, true, NULL);
  return o;
}

static enum outcome cond_ratelimit(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  return hooks ? hooks->ratelimit(r->x, r->where, arg, &r->log_text) : OUTCOME_ERROR;
}

/* A word of the statement as it stands in the file: in quotes, or up to white space, also where that is inside of an expansion. */
static const char *next_arg_word(struct arena *a, struct str *rest) {
  struct strbuf b = strbuf_new(a);
  struct str s = str_ltrim(*rest);
  bool quoted = s.n > 0 && *s.p == '"';
  size_t used = 1;
  for (s = str_n(s.p + quoted, s.n - quoted); s.n > 0 && (quoted ? *s.p != '"' : !ch_isspace(*s.p)); s = str_n(s.p + used, s.n - used)) {
    used = 1;
    strbuf_addc(&b, quoted && *s.p == '\\' ? (char)escape_interpret(s, &used) : *s.p);
  }
  quoted = quoted && s.n > 0;
  *rest = str_n(s.p + quoted, s.n - quoted);
  return b.p ? b.p : "";
}

/* The values behind the name of an ACL, as $acl_arg1 and so on.  False: one cannot be expanded. */
static bool take_values(struct expand_ctx *x, struct str rest) {
  const char *args[ACL_MAX_ARGS] = {NULL};
  int n = 0;
  for (rest = str_ltrim(rest); n < ACL_MAX_ARGS && rest.n > 0; rest = str_ltrim(rest), n++) {
    args[n] = expand_string(x, next_arg_word(x->a, &rest));
    if (!args[n]) return false;
  }
  memcpy(x->s.acl_args, args, sizeof(args));
  x->s.acl_narg = n;
  return true;
}

static const char *cannot_expand(struct acl_run *r, const char *text) {
  struct expand_ctx *x = r->x;
  if (!x->forced_fail) r->log_text = arena_printf(x->a, "failed to expand ACL string \"%s\": %s", text, x->error ? x->error : "");
  return NULL;
}

/* Name and values are expanded by themselves, so that what a value holds makes no words (manual ch. 44).  What is no name is an ACL itself. */
static const char *take_args(struct acl_run *r, const char *raw) {
  struct expand_ctx *x = r->x;
  struct str rest = str_c(raw);
  const char *word = next_arg_word(x->a, &rest), *name = expand_string(x, word);
  if (!name) return cannot_expand(r, word);
  bool is_named = config_acl(x->cfg, name) || (*name == '/' && !is_tainted(name));
  if (is_named) return take_values(x, rest) ? name : cannot_expand(r, name);
  if (!acl_is_text(raw)) return name;
  const char *whole = expand_string(x, raw);
  return whole && is_tainted(whole) ? raw : whole; /* what a client said does not become a statement: it is expanded when its turn comes */
}

static enum outcome cond_acl(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  struct expand_ctx *x = r->x;
  struct expand_scope saved = x->s;
  struct acl_run inner = {.x = x, .env = r->env, .where = r->where, .recipient = r->recipient, .depth = r->depth + 1, .stmt = r->stmt};
  const char *text = take_args(r, arg);
  if (!text) {
    x->s = saved;
    return x->lookup_deferred ? OUTCOME_DEFER : OUTCOME_ERROR;
  }
  narrate_indent(1);
  enum outcome o = acl_run_text(&inner, text);
  narrate_indent(-1);
  x->s = saved;
  r->user_text = inner.user_text;
  r->log_text = inner.log_text;
  if (o == OUTCOME_FAIL_DROP) {
    r->nested_drop = true;
    return OUTCOME_FAIL;
  }
  if (o == OUTCOME_DISCARD && r->stmt->verb != ACL_ACCEPT && r->stmt->verb != ACL_DISCARD) {
    r->log_text = arena_printf(x->a, "nested ACL returned \"discard\" for \"%s\" command (only allowed with "
                               "\"accept\" or \"discard\")", acl_verb_names[r->stmt->verb]);
    return OUTCOME_ERROR;
  }
  return o;
}

static enum outcome cond_authenticated(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  const char *name = r->x->conn ? r->x->conn->from.auth_name : NULL;
  return name ? match_string_list(r->x, name, arg, true, NULL) : OUTCOME_FAIL;
}

static enum outcome cond_condition(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  struct str s = str_c(arg);
  int64_t n;
  struct str digits = s.n > 0 && s.p[0] == '-' ? str_n(s.p + 1, s.n - 1) : s;
  bool numeric = digits.n > 0;
  for (size_t i = 0; i < digits.n; i++) numeric = numeric && ch_isdigit(digits.p[i]);
  if (numeric) return str_parse_i64(s, &n) && n == 0 ? OUTCOME_FAIL : OUTCOME_OK;
  if (s.n == 0 || str_eqic(s, STR("no")) || str_eqic(s, STR("false"))) return OUTCOME_FAIL;
  if (str_eqic(s, STR("yes")) || str_eqic(s, STR("true"))) return OUTCOME_OK;
  r->log_text = arena_printf(r->x->a, "invalid \"condition\" value \"%s\"", arg);
  return OUTCOME_DEFER;
}

static enum outcome cond_domains(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  r->x->match.domain_data = NULL; /* what does not match takes the value away */
  return match_domain(r->x, r->x->domain_override ? r->x->domain_override : "", arg, &r->x->match.domain_data);
}

static enum outcome cond_encrypted(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  const struct tls_info *t = r->x->conn ? &r->x->conn->from.tls : NULL;
  if (!t || !t->active) return OUTCOME_FAIL;
  return strcmp(arg, "*") == 0 ? OUTCOME_OK : match_string_list(r->x, t->cipher ? t->cipher : "", arg, true, NULL);
}

static enum outcome cond_hosts(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  return match_sender_host(r->x, NULL, arg);
}

static enum outcome cond_atrn_domains(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  return r->env && r->env->atrn_domains ? r->env->atrn_domains(r->env, r->x, arg, &r->log_text) : OUTCOME_ERROR;
}

static enum outcome cond_local_parts(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  struct str as_given, domain;
  const char *local = r->x->local_part_override ? r->x->local_part_override : "";
  /* The list folds case itself, unless it says +caseful. */
  if (r->recipient && addr_split(r->recipient, &as_given, &domain)) local = addr_dequote_local_part(r->x->a, as_given);
  r->x->match.local_part_data = NULL;
  return match_local_part(r->x, local, arg, true, &r->x->match.local_part_data);
}

static enum outcome cond_recipients(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  return match_address(r->x, r->recipient ? r->recipient : "", arg, true, &r->x->match.recipient_data);
}

static const char *sender_of(const struct acl_run *r) {
  return r->x->msg && r->x->msg->sender ? r->x->msg->sender : "";
}

static enum outcome cond_senders(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  return match_address(r->x, sender_of(r), arg, true, &r->x->match.sender_data);
}

static enum outcome cond_sender_domains(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  struct str local, domain;
  const char *d = addr_split(sender_of(r), &local, &domain) ? str_dup(r->x->a, domain) : "";
  return match_domain(r->x, d, arg, NULL);
}

#define NO_SENDER_BITS                                                                                          \
  (ACL_BIT(AUTH) | ACL_BIT(CONNECT) | ACL_BIT(ETRN) | ACL_BIT(EXPN) | ACL_BIT(HELO) | ACL_BIT(MAILAUTH) |          \
   ACL_BIT(QUIT) | ACL_BIT(STARTTLS) | ACL_BIT(VRFY))
#define ONLY_RCPT_PRDR_VRFY (~(ACL_BIT(RCPT) | ACL_BIT(PRDR) | ACL_BIT(VRFY)))
#define ONLY_RECEIVING                                                                                          \
  (~(ACL_BIT(RCPT) | ACL_BIT(MAIL) | ACL_BIT(PREDATA) | ACL_BIT(MIME) | ACL_BIT(DKIM) | ACL_BIT(DATA) |            \
     ACL_BIT(PRDR) | ACL_NOTSMTP_BITS))
#define MOD ACL_COND_MODIFIER
#define EXP ACL_COND_EXPAND
#define UNBUILT ACL_COND_UNBUILT
#define SCAN_FLAGS (CFG_WITH_CONTENT_SCAN ? EXP : UNBUILT)
#define ONLY_WHOLE_MESSAGE (~(ACL_BIT(DATA) | ACL_BIT(PRDR) | ACL_BIT(NOTSMTP)))
#define DMARC_FLAGS (CFG_SUPPORT_DMARC ? EXP : UNBUILT)
#define SPF_FLAGS (CFG_SUPPORT_SPF ? EXP : UNBUILT)
#define NO_SPF_BITS                                                                                                                             \
  (ACL_NOTSMTP_BITS | ACL_BIT(AUTH) | ACL_BIT(CONNECT) | ACL_BIT(HELO) | ACL_BIT(MAILAUTH) | ACL_BIT(ETRN) | ACL_BIT(EXPN) |                    \
   ACL_BIT(STARTTLS) | ACL_BIT(VRFY))
#define DKIM_FLAGS (CFG_SUPPORT_DKIM ? 0 : UNBUILT)

/* Sorted by name. */
const struct acl_cond_type acl_cond_types[] = {
  {"acl", 0, 0, cond_acl, "run another ACL; true when it accepts"},
  {"add_header", MOD | EXP, ONLY_RECEIVING, acl_mod_add_header, "add header lines when the message is accepted"},
  {"atrn_domains", EXP, ~ACL_BIT(ATRN), cond_atrn_domains, "mail waits for one of these domains, which ATRN is to hand over"},
  {"authenticated", 0, ACL_NOTSMTP_BITS | ACL_BIT(CONNECT) | ACL_BIT(HELO), cond_authenticated,
   "name of the authenticator is in the list"},
  {"condition", EXP, 0, cond_condition, "expanded text is true"},
  {"continue", MOD | EXP, 0, acl_mod_continue, "expand for side effects"},
  {"control", MOD | EXP, 0, acl_mod_control, "switch something for the session or the message"},
  {"dcc", UNBUILT, 0, NULL, "DCC check"},
  {"decode", SCAN_FLAGS, ~ACL_BIT(MIME), cond_scan, "decode a MIME part"},
  {"delay", MOD | EXP, ACL_BIT(NOTQUIT), acl_mod_delay, "wait"},
  {"dkim_signers", DKIM_FLAGS, ~ACL_BIT(DKIM), cond_dkim_signers, "DKIM signer is in the list"},
  {"dkim_status", DKIM_FLAGS, ~(ACL_BIT(MIME) | ACL_BIT(DKIM) | ACL_BIT(DATA) | ACL_BIT(PRDR)), cond_dkim_status, "DKIM verification result"},
  {"dmarc_status", DMARC_FLAGS, ~ACL_BIT(DATA), cond_dmarc, "DMARC result"},
  {"dnslists", 0, 0, cond_dnslists, "host or key is on a DNS list"},
  {"domains", 0, ONLY_RCPT_PRDR_VRFY, cond_domains, "domain of the recipient is in the list"},
  {"encrypted", 0, ACL_NOTSMTP_BITS, cond_encrypted, "cipher of the session is in the list"},
  {"endpass", MOD | ACL_COND_NOARG | ACL_COND_SILENT, 0, NULL, "from here on a false condition denies"},
  {"hosts", 0, ACL_NOTSMTP_BITS, cond_hosts, "calling host is in the list"},
  {"local_parts", 0, ONLY_RCPT_PRDR_VRFY, cond_local_parts, "local part of the recipient is in the list"},
  {"log_message", MOD | ACL_COND_SILENT, 0, NULL, "text for the log"},
  {"log_reject_target", MOD | EXP, 0, acl_mod_log_reject_target, "logs that get rejections"},
  {"logwrite", MOD | EXP, 0, acl_mod_logwrite, "write a log line now"},
  {"malware", SCAN_FLAGS, ONLY_WHOLE_MESSAGE & ~ACL_BIT(DKIM), cond_scan, "virus scanner"},
  {"message", MOD | ACL_COND_SILENT, 0, NULL, "text of the reply"},
  {"mime_regex", SCAN_FLAGS, ~ACL_BIT(MIME), cond_scan, "regular expressions over a MIME part"},
  {"queue", MOD | EXP, ACL_HAVE_DATA_BITS, acl_mod_queue,
   "named queue of the message, or where ATRN looks for mail"},
  {"ratelimit", EXP, 0, cond_ratelimit, "rate of the sender has reached the limit"},
  {"recipients", 0, ~ACL_BIT(RCPT), cond_recipients, "recipient is in the address list"},
  {"regex", SCAN_FLAGS, ONLY_WHOLE_MESSAGE & ~ACL_BIT(MIME), cond_scan, "regular expressions over the message"},
  {"remove_header", MOD | EXP, ONLY_RECEIVING, acl_mod_remove_header, "remove header lines at acceptance"},
  {"seen", EXP, 0, cond_seen, "was this key seen before"},
  {"sender_domains", 0, NO_SENDER_BITS, cond_sender_domains, "domain of the sender is in the list"},
  {"senders", 0, NO_SENDER_BITS, cond_senders, "sender is in the address list"},
  {"set", MOD | EXP, 0, acl_mod_set, "set a variable"},
  {"spam", SCAN_FLAGS, ONLY_WHOLE_MESSAGE, cond_scan, "spam scanner"},
  {"spf", SPF_FLAGS, NO_SPF_BITS, cond_spf, "SPF result"},
  {"spf_guess", SPF_FLAGS, NO_SPF_BITS, cond_spf, "SPF best guess"},
  {"udpsend", MOD | EXP, 0, mod_udpsend, "send a datagram"},
  {"verify", EXP, 0, acl_cond_verify, "verification of addresses, headers, HELO, host name"},
};
const size_t acl_cond_type_count = ARRAY_SIZE(acl_cond_types);

const char *acl_word(size_t i, bool *ret_is_modifier) {
  for (const struct acl_cond_type *t = acl_cond_types; t < acl_cond_types + acl_cond_type_count; t++) {
    if (t->flags & ACL_COND_UNBUILT || i-- > 0) continue;
    *ret_is_modifier = t->flags & ACL_COND_MODIFIER;
    return t->name;
  }
  return NULL;
}

const struct acl_cond_type *acl_find_cond_type(struct str name) {
  size_t lo = 0, hi = acl_cond_type_count;
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    int cmp = str_cmpic(name, str_c(acl_cond_types[mid].name));
    if (cmp == 0) return &acl_cond_types[mid];
    if (cmp < 0) hi = mid;
    else lo = mid + 1;
  }
  return NULL;
}
