/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The chain of seals that hops behind a forwarder look at.
 *
 * Floor: drivers.  All three kinds of header lines are a stranger's: the number of instances is bounded, every set must be complete, and each is
 * signed with a key from the DNS.  A key that cannot be had now makes the chain fail, never pass.  The keys and digests are those of DKIM.  RFC 8617. */
#include "arc_verify.h"

#include <stdio.h>

#include "dkim_verify.h"
#include "message.h"
#include "policy/match.h"

static bool is_name(struct str line, const char *name, struct str *ret_value) {
  struct str got;
  return header_split(line, &got, ret_value) && str_eqic_c(got, name);
}

/* i= at the beginning of the value, 0 when it is not in the range. */
static int instance_of(struct str value) {
  struct str name, n;
  int i;
  if (dkim_tag_next(&value, &name, &n) != DKIM_TAG_OK || !str_eq(name, STR("i")) || !str_parse_int(n, &i)) return 0;
  return i >= 1 && i <= ARC_MAX_INSTANCES ? i : 0;
}

static void fault(struct arc_chain *c, int instance, const char *text) {
  if (c->fault) return;
  c->fault = text;
  c->fault_instance = instance;
}

static void put(struct arc_chain *c, int i, struct str *place, struct str line, const char *twice) {
  if (i == 0) {
    fault(c, 0, "instance number");
    return;
  }
  if (place->n > 0) fault(c, i, twice);
  *place = line;
  c->count = MAX(c->count, i);
}

static bool take_line(struct arena *a, struct arc_chain *c, struct str line) {
  struct str value;
  struct dkim_signature sig;
  if (is_name(line, "ARC-Authentication-Results", &value)) {
    int i = instance_of(value);
    put(c, i, &c->sets[i].results, line, "duplicate AAR");
    return true;
  }
  bool is_seal = is_name(line, "ARC-Seal", &value);
  if (!is_seal && !is_name(line, "ARC-Message-Signature", &value)) return false;
  if (!dkim_parse_arc(a, line, is_seal, &sig) || sig.fault != DKIM_SIG_OK || sig.instance > ARC_MAX_INSTANCES) {
    fault(c, 0, is_seal ? "AS format" : "AMS format");
    return true;
  }
  struct arc_set *set = &c->sets[sig.instance];
  if (is_seal) {
    put(c, sig.instance, &set->seal, line, "duplicate AS");
    set->as = sig;
  } else {
    put(c, sig.instance, &set->signature, line, "duplicate AMS");
    set->ams = sig;
  }
  return true;
}

struct arc_chain *arc_find_chain(struct arena *a, struct dkim_state *s, bool want_body) {
  struct arc_chain *c = ARENA_NEW(a, struct arc_chain);
  bool any = false;
  for (size_t i = 0; i < s->line_count; i++)
    if (str_startsic(s->lines[i], STR("ARC-")) && take_line(a, c, s->lines[i])) any = true;
  for (int i = 1; i <= c->count; i++) {
    const struct arc_set *set = &c->sets[i];
    if (set->results.n == 0 || set->signature.n == 0 || set->seal.n == 0) fault(c, i, "incomplete set");
  }
  for (int i = 1; want_body && i <= c->count && !c->fault; i++) c->sets[i].body = dkim_body_for(s, &c->sets[i].ams);
  return any ? c : NULL;
}

/* ---- checking ---- */

static bool is_signed(struct expand_ctx *x, const struct dkim_signature *sig, const struct dkim_sum *sum) {
  struct dkim_key key;
  int bits;
  const char *error;
  if (dkim_find_key(x, sig, &key) != DKIM_WHY_NOTHING || key.keytype != (int)sig->keytype || sig->hash == DKIM_SHA1) return false;
  return dkim_check_signature(sig->keytype, sig->hash, key.data, sum, sig->data, dkim_min_bits(x, sig->keytype), &bits, &error) == DKIM_CHECK_PASS;
}

static const char *check_message_signature(struct expand_ctx *x, const struct arc_set *set) {
  struct dkim_sum sum;
  if (!dkim_body_matches(set->body, &set->ams)) return "AMS body hash miscompare";
  dkim_sum_headers(x->a, x->msg->dkim, &set->ams, set->signature, &sum);
  return is_signed(x, &set->ams, &sum) ? NULL : "AMS sig nonverify";
}

static const char *check_seal(struct expand_ctx *x, const struct arc_chain *c, int instance) {
  const struct arc_set *last = &c->sets[instance];
  struct strbuf b = strbuf_new(x->a);
  struct dkim_digest d;
  struct dkim_sum sum;
  if (!str_eq(last->as.cv, instance == 1 ? STR("none") : STR("pass"))) return "AS cv";
  for (int i = 1; i <= instance; i++) {
    const struct arc_set *set = &c->sets[i];
    dkim_canon_header(&b, set->results, true, true);
    dkim_canon_header(&b, set->signature, true, true);
    if (i < instance) dkim_canon_header(&b, set->seal, true, true);
  }
  dkim_canon_header(&b, dkim_without_b(x->a, last->seal), true, false);
  dkim_digest_start(&d, last->as.hash);
  dkim_digest_add(&d, b.p, b.n);
  dkim_digest_end(&d, &sum);
  return is_signed(x, &last->as, &sum) ? NULL : "AS sig nonverify";
}

static void check_chain(struct expand_ctx *x, const struct arc_chain *c, struct arc_result *r) {
  struct strbuf domains = strbuf_new_t(x->msg->arena, TAINTED, 64);
  for (int i = 1; i <= c->count; i++)
    strbuf_addl(&domains, i > 1 ? ":" : "", c->sets[i].as.domain ? c->sets[i].as.domain : "", NULL);
  r->domains = domains.p;
  r->selector = c->sets[c->count].ams.selector;
  r->instance = c->fault ? c->fault_instance : c->count;
  r->state = "fail";
  r->reason = c->fault ? c->fault : "";
  if (c->fault) return;
  if (str_eq(c->sets[c->count].as.cv, STR("fail"))) r->reason = "AS cv=fail";
  else if ((r->reason = check_message_signature(x, &c->sets[c->count])) == NULL) r->reason = "";
  if (*r->reason) return;
  int oldest = c->count;
  while (oldest > 1 && !check_message_signature(x, &c->sets[oldest - 1])) oldest--;
  for (int i = c->count; i >= 1; i--) {
    const char *why = check_seal(x, c, i);
    if (!why) continue;
    r->reason = why;
    r->instance = i;
    return;
  }
  r->oldest_pass = oldest;
  r->state = "pass";
}

enum outcome arc_verify(struct expand_ctx *x, const char *list, const char **ret_log) {
  struct message *m = x->msg;
  if (!m->arc) {
    struct arc_result *r = ARENA_NEW(m->arena, struct arc_result);
    r->state = "none";
    r->reason = r->domains = "";
    if (m->dkim && m->dkim->arc && !m->dkim->error) check_chain(x, m->dkim->arc, r);
    m->arc = r;
  }
  if (match_string_list(x, m->arc->state, *list ? list : "none:pass", true, NULL) == OUTCOME_OK) return OUTCOME_OK;
  *ret_log = arena_printf(x->a, "ARC verification: %s%s%s", m->arc->state, *m->arc->reason ? " - " : "", m->arc->reason);
  return OUTCOME_FAIL;
}
