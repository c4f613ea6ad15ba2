/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Conditions of Exim filters.  Floor: drivers.  Manual: filter document ch. 3, sections 21-30.
 *
 * Texts are expanded just before they are compared, so that $1 of one sub-condition serves the next.  With -bf -v every outcome is narrated.
 * Hostile: everything the expansions bring. */
#include "filters/filter_priv.h"

#include <string.h>
#include <unistd.h>

#include "address.h"
#include "message.h"
#include "os/debug.h"
#include "policy/match.h"
#include "policy/rewrite.h"

static const char *const test_words[] = {
  [TEST_BEGINS] = "begins", [TEST_ENDS] = "ends", [TEST_IS] = "is", [TEST_CONTAINS] = "contains", [TEST_MATCHES] = "matches",
  [TEST_ABOVE] = "above", [TEST_BELOW] = "below", [TEST_DELIVERED] = "delivered", [TEST_ERROR_MESSAGE] = "error_message",
  [TEST_FIRST_DELIVERY] = "first_delivery", [TEST_FORANYADDRESS] = "foranyaddress", [TEST_MANUALLY_THAWED] = "manually_thawed",
  [TEST_PERSONAL] = "personal",
};
static const char *const negative_words[] = {
  [TEST_BEGINS] = "does not begin", [TEST_ENDS] = "does not end", [TEST_IS] = "is not", [TEST_CONTAINS] = "does not contain",
  [TEST_MATCHES] = "does not match", [TEST_ABOVE] = "not above", [TEST_BELOW] = "not below",
};

/* ---- narration ---- */

static void show_word(struct strbuf *b, const struct filter_cond *c) {
  const char *word = c->negated ? negative_words[c->test] : test_words[c->test];
  for (const char *p = word; *p; p++) {
    strbuf_addc(b, c->caseful ? (char)ch_upper(*p) : *p);
  }
}

static void show(struct strbuf *b, const struct filter_cond *c, bool is_top) {
  bool is_binary = c->test >= TEST_BEGINS && c->test <= TEST_BELOW;
  if (c->test == TEST_AND || c->test == TEST_OR) {
    bool bracket = c->negated || (c->test == TEST_OR && !is_top);
    strbuf_adds(b, c->negated ? "not (" : bracket ? "(" : "");
    show(b, c->a, c->test == TEST_OR && c->a->test == TEST_OR);
    strbuf_adds(b, c->test == TEST_AND ? "and " : "or ");
    show(b, c->b, false);
    if (bracket) {
      strbuf_truncate(b, b->n - 1);
      strbuf_adds(b, ") ");
    }
    return;
  }
  if (is_binary) {
    strbuf_addl(b, c->left, " ", NULL);
    show_word(b, c);
    strbuf_addl(b, " ", c->right, " ", NULL);
    return;
  }
  strbuf_addl(b, c->negated ? "not " : "", test_words[c->test], " ", NULL);
  if (c->test != TEST_FORANYADDRESS) return;
  strbuf_addl(b, c->left, " (", NULL);
  show(b, c->a, true);
  strbuf_truncate(b, b->n - 1);
  strbuf_adds(b, ") ");
}

static void narrate_outcome(struct filter_run *f, const struct filter_cond *c, bool is_true, bool is_top) {
  if (!f->env->is_verbose) return;
  struct strbuf b = strbuf_new(f->a);
  show(&b, c, true);
  debug_printf("%*s%sondition is %s: %s\n", f->depth * 2 + 1, "", is_top ? "C" : "Sub-c", is_true ? "true" : "false", b.p);
}

/* ---- tests ---- */

static bool compare(const struct filter_cond *c, const char *l, const char *r) {
  struct str a = str_c(l), b = str_c(r);
  bool fold = !c->caseful;
  switch (c->test) {
    case TEST_IS: return fold ? str_eqic(a, b) : str_eq(a, b);
    case TEST_BEGINS: return a.n >= b.n && (a.n = b.n, fold ? str_eqic(a, b) : str_eq(a, b));
    case TEST_ENDS: return a.n >= b.n && (a.p += a.n - b.n, a.n = b.n, fold ? str_eqic(a, b) : str_eq(a, b));
    case TEST_CONTAINS: return fold ? b.n > 0 && strstric(l, r) : strstr(l, r) != NULL; /* nothing is in a text only with regard to case, as in 4.96 */
    default: return false;
  }
}

static enum outcome test_string(struct filter_run *f, const struct filter_cond *c) {
  const char *l = filter_expand(f, "if", c->left), *r = l ? filter_expand(f, "if", c->right) : NULL;
  if (!r) return OUTCOME_ERROR;
  if (c->test != TEST_MATCHES) return compare(c, l, r) ? OUTCOME_OK : OUTCOME_FAIL;
  if (f->env->is_verbose) debug_printf("%*sMatch expanded arguments:\n%*sSubject = %s\n%*sPattern = %s\n", f->depth * 2 + 1, "",
                                       f->depth * 2 + 3, "", l, f->depth * 2 + 3, "", r);
  enum outcome o = regex_match(f->x, r, !c->caseful, str_c(l), true);
  if (o == OUTCOME_OK || o == OUTCOME_FAIL) return o;
  static const char own_words[] = "regular expression error in ";
  const char *why = f->x->error ? f->x->error : "cannot be matched";
  if (strncmp(why, own_words, sizeof own_words - 1) == 0) why += sizeof own_words - 1;
  (void)filter_broken(f, o == OUTCOME_DEFER, "error while compiling regular expression %s", why);
  return OUTCOME_ERROR;
}

/* Digits with K or M behind them. */
static bool number(struct filter_run *f, const char *text, int64_t *ret) {
  const char *s = filter_expand(f, "if", text);
  if (!s) return false;
  struct str t = str_trim(str_c(s));
  int64_t unit = 1;
  if (t.n && (ch_lower(t.p[t.n - 1]) == 'k' || ch_lower(t.p[t.n - 1]) == 'm')) {
    unit = ch_lower(t.p[t.n - 1]) == 'k' ? 1024 : 1024 * 1024;
    t.n--;
  }
  int64_t v;
  if (!str_parse_i64(t, &v) || v > INT64_MAX / unit || v < INT64_MIN / unit) return filter_broken(f, false, "malformed numerical string \"%s\"", s);
  *ret = v * unit;
  return true;
}

static enum outcome test_number(struct filter_run *f, const struct filter_cond *c) {
  int64_t l, r;
  if (!number(f, c->left, &l) || !number(f, c->right, &r)) return OUTCOME_ERROR;
  return (c->test == TEST_ABOVE ? l > r : l < r) ? OUTCOME_OK : OUTCOME_FAIL;
}

/* The next address of a header-like list; NULL at the end.  Malformed ones are passed over. */
static const char *next_address(struct filter_run *f, struct str *list) {
  const struct main_options *o = &f->x->cfg->o;
  while (list->n) {
    size_t n = rfc5322_find_address_end(*list);
    struct str item = rfc5322_strip_group(str_n(list->p, n));
    *list = n < list->n ? str_n(list->p + n + 1, list->n - n - 1) : STR_NULL;
    struct addr_opts ao = {.allow_domain_literal = o->allow_domain_literals, .allow_utf8 = o->allow_utf8_domains};
    const char *error, *address = rfc5322_extract_address(f->a, item, ao, NULL, &error);
    if (address) return address;
    if (f->env->is_verbose && item.n) debug_printf("Failed to extract address from %.*s: %s\n", STR_FMT(item), error);
  }
  return NULL;
}

static enum outcome test_foranyaddress(struct filter_run *f, const struct filter_cond *c) {
  const char *text = filter_expand(f, "if", c->left), *address;
  if (!text) return OUTCOME_ERROR;
  struct str list = str_c(text);
  while ((address = next_address(f, &list))) {
    f->x->this_address = address;
    if (f->env->is_verbose) debug_printf("%*sExtracted address %s\n", f->depth * 2 + 1, "", address);
    enum outcome o = filter_test_condition(f, c->a);
    if (o != OUTCOME_FAIL) return o;
  }
  return OUTCOME_FAIL;
}

/* ---- personal ---- */

/* All address forms that stand for the user: with and without affixes, rewritten as in the header lines of place, and the aliases given.
 * The filter's owner has no right to the log. */
static struct vec own_addresses(struct filter_run *f, const struct filter_cond *c, unsigned place) {
  struct vec v = vec_new(f->a);
  if (geteuid() != f->x->cfg->exim_uid) place |= REWRITE_UNLOGGED;
  const struct address *addr = f->x->addr;
  if (addr) {
    const char *plain = arena_printf(f->a, "%s@%s", addr->local_part ? addr->local_part : "", addr->domain ? addr->domain : "");
    vec_push(&v, (void *)(uintptr_t)plain);
    if (addr->prefix || addr->suffix)
      vec_push(&v, arena_printf(f->a, "%s%s%s@%s", addr->prefix ? addr->prefix : "", addr->local_part, addr->suffix ? addr->suffix : "",
                                addr->domain));
    if (f->x->cfg->rewrite_rules)
      vec_push(&v, (void *)(uintptr_t)rewrite_address(f->x, plain, place, f->x->cfg->rewrite_rules));
  }
  for (size_t i = 0; i < c->aliases.n; i++) {
    const char *alias = filter_expand(f, "if", c->aliases.v[i]);
    if (alias) vec_push(&v, (void *)(uintptr_t)alias);
  }
  return v;
}

static bool is_own(const struct vec *own, const char *address) {
  for (size_t i = 0; i < own->n; i++)
    if (strcmpic(own->v[i], address) == 0) return true;
  return false;
}

static bool any_address(struct filter_run *f, const char *header, const struct vec *own, bool or_robot) {
  static const char *const robots[] = {"server@", "daemon@", "root@", "listserv@", "majordomo@", "-request@"};
  const char *text = expand_header(f->x, header, 'h'), *address;
  struct str list = str_c(text ? text : "");
  while ((address = next_address(f, &list))) {
    if (is_own(own, address)) return true;
    if (!or_robot) continue;
    for (size_t i = 0; i < ARRAY_SIZE(robots); i++)
      if (strstric(address, robots[i])) return true;
    if (str_startsic(str_c(address), STR("owner-")) && strchr(address + 6, '@') && address[6] != '@') return true;
  }
  return false;
}

static bool header_contains(struct filter_run *f, const char *header, const char *word) {
  const char *text = expand_header(f->x, header, 'h');
  return text && strstric(text, word);
}

/* The filter document's section "Details of the personal condition". */
static bool is_personal(struct filter_run *f, const struct filter_cond *c) {
  static const char *const list_headers[] = {"list-id", "list-help", "list-subscribe", "list-unsubscribe", "list-post", "list-owner", "list-archive"};
  static const char *const bulk[] = {"bulk", "list", "junk"};
  struct vec own_from = own_addresses(f, c, REWRITE_FROM), own = own_addresses(f, c, REWRITE_TO);
  if (!f->x->msg->sender || !*f->x->msg->sender) return false;
  for (size_t i = 0; i < ARRAY_SIZE(list_headers); i++)
    if (expand_header(f->x, list_headers[i], 'h')) return false;
  const char *automatic = expand_header(f->x, "auto-submitted", 'h');
  if (automatic && strcmpic(automatic, "no") != 0) return false;
  for (size_t i = 0; i < ARRAY_SIZE(bulk); i++)
    if (header_contains(f, "precedence", bulk[i])) return false;
  return any_address(f, "to", &own, false) && !any_address(f, "from", &own_from, true) && !any_address(f, "reply-to", &own_from, false);
}

/* ---- all ---- */

static enum outcome as_outcome(bool is_true) { return is_true ? OUTCOME_OK : OUTCOME_FAIL; }

static enum outcome evaluate(struct filter_run *f, const struct filter_cond *c) {
  const struct message *m = f->x->msg;
  enum outcome o;
  switch (c->test) {
    case TEST_AND:
      o = filter_test_condition(f, c->a);
      return o == OUTCOME_OK ? filter_test_condition(f, c->b) : o;
    case TEST_OR:
      o = filter_test_condition(f, c->a);
      return o == OUTCOME_FAIL ? filter_test_condition(f, c->b) : o;
    case TEST_BEGINS: case TEST_ENDS: case TEST_IS: case TEST_CONTAINS: case TEST_MATCHES: return test_string(f, c);
    case TEST_ABOVE: case TEST_BELOW: return test_number(f, c);
    case TEST_DELIVERED: return as_outcome(f->result.is_significant);
    case TEST_ERROR_MESSAGE: return as_outcome(!m->sender || !*m->sender);
    case TEST_FIRST_DELIVERY: return as_outcome(m->deliver_firsttime);
    case TEST_MANUALLY_THAWED: return as_outcome(m->manual_thaw);
    case TEST_FORANYADDRESS: return test_foranyaddress(f, c);
    case TEST_PERSONAL: return as_outcome(is_personal(f, c));
  }
  return OUTCOME_ERROR;
}

static enum outcome tested(struct filter_run *f, const struct filter_cond *c, bool is_top) {
  enum outcome o = evaluate(f, c);
  if (o != OUTCOME_OK && o != OUTCOME_FAIL) return OUTCOME_ERROR;
  if (c->negated) o = o == OUTCOME_OK ? OUTCOME_FAIL : OUTCOME_OK;
  narrate_outcome(f, c, o == OUTCOME_OK, is_top);
  return o;
}

enum outcome filter_test_condition(struct filter_run *f, const struct filter_cond *c) { return tested(f, c, false); }
enum outcome filter_test_top(struct filter_run *f, const struct filter_cond *c) { return tested(f, c, true); }
