/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Conditions of ${if and of the items that take one (manual sections 11.7, 11.8).  Floor: policy.
 *
 * One sorted table of names.  A row says how many braced arguments there are and gives the test over the expanded arguments, or a parser
 * of its own for and, or, def, acl, the quantifiers and saslauthd.  Arguments are hostile text; those of match_* lists and patterns are
 * the administrator's. */
#include <crypt.h>
#include <sys/stat.h>

#include "base/ip.h"
#include "base/name_table.h"
#include "buildconfig.h"
#include "formats/codecs.h"
#include "message.h"
#include "os/library.h"
#include "policy/expand/expand_priv.h"
#include "policy/match.h"
#include "policy/search.h"

struct cond {
  const char *name;
  int nargs;
  bool raw_second; /* second argument is a list that is not expanded here */
  bool (*test)(struct expand_ctx *x, const struct cond *c, const char *const *args, bool *ret);
  bool (*parse)(struct parse *ps, const struct cond *c, bool *ret);
  int kind;
  const char *doc;
};

/* ---- texts to values ---- */

static int unit_shift(int c) {
  switch (ch_lower(c)) {
  case 'k': return 10;
  case 'm': return 20;
  case 'g': return 30;
  default: return 0;
  }
}

bool exp_integer(struct expand_ctx *x, const char *s, int64_t *ret) {
  const char *p = s;
  while (ch_isspace(*p)) p++;
  if (!*p) {
    *ret = 0;
    return true;
  }
  bool negative = *p == '-';
  if (*p == '-' || *p == '+') p++;
  if (!ch_isdigit(*p)) return exp_fail(x, "integer expected but \"%s\" found", s);
  bool overflow = false;
  int64_t v = 0;
  for (; ch_isdigit(*p); p++) {
    overflow |= __builtin_mul_overflow(v, (int64_t)10, &v);
    overflow |= negative ? __builtin_sub_overflow(v, (int64_t)(*p - '0'), &v) : __builtin_add_overflow(v, (int64_t)(*p - '0'), &v);
  }
  int shift = unit_shift(*p);
  if (shift) {
    overflow |= __builtin_mul_overflow(v, (int64_t)1 << shift, &v);
    p++;
  }
  while (ch_isspace(*p)) p++;
  if (*p) return exp_fail(x, "invalid integer \"%s\"", s);
  if (overflow) return exp_fail(x, "absolute value of integer \"%s\" is too large (overflow)", s);
  *ret = v;
  return true;
}

bool exp_truth(struct expand_ctx *x, const char *s, bool strict, bool *ret) {
  struct str t = str_trim(str_c(s));
  struct str digits = t;
  if (digits.n && *digits.p == '-') digits = str_n(digits.p + 1, digits.n - 1);
  size_t i = 0;
  bool nonzero = false;
  while (i < digits.n && ch_isdigit(digits.p[i])) nonzero |= digits.p[i++] != '0';
  if (i == digits.n) { /* the lax form knows 0 only as the one digit */
    *ret = nonzero || (!strict && t.n > 1);
  } else if (str_eqic_c(t, "true") || str_eqic_c(t, "yes")) {
    *ret = true;
  } else if (str_eqic_c(t, "false") || str_eqic_c(t, "no")) {
    *ret = false;
  } else if (strict) {
    return exp_fail(x, "unrecognised boolean value \"%s\"", s);
  } else {
    *ret = true;
  }
  return true;
}

/* ---- ordering ---- */

enum { ORD_LT = 1, ORD_EQ = 2, ORD_GT = 4, ORD_NUMERIC = 8, ORD_CASELESS = 16 };

static bool in_order(int cmp, int kind) {
  return (cmp < 0 && (kind & ORD_LT)) || (cmp == 0 && (kind & ORD_EQ)) || (cmp > 0 && (kind & ORD_GT));
}

static bool test_order(struct expand_ctx *x, const struct cond *c, const char *const *args, bool *ret) {
  int cmp;
  if (c->kind & ORD_NUMERIC) {
    int64_t a, b;
    if (!exp_integer(x, args[0], &a) || !exp_integer(x, args[1], &b)) return false;
    cmp = (a > b) - (a < b);
  } else {
    cmp = c->kind & ORD_CASELESS ? strcmpic(args[0], args[1]) : strcmp(args[0], args[1]);
  }
  *ret = in_order(cmp, c->kind);
  return true;
}

/* ---- simple tests ---- */

static bool test_bool(struct expand_ctx *x, const struct cond *c, const char *const *args, bool *ret) {
  return exp_truth(x, args[0], c->kind == 1, ret);
}

static bool test_isip(struct expand_ctx *x UNUSED, const struct cond *c, const char *const *args, bool *ret) {
  int kind = ip_text_kind(args[0], NULL);
  *ret = kind != 0 && (c->kind == 0 || c->kind == kind);
  return true;
}

static bool test_exists(struct expand_ctx *x, const struct cond *c UNUSED, const char *const *args, bool *ret) {
  struct stat st;
  if (x->forbid.exists) return exp_fail(x, "File existence tests are not permitted");
  *ret = stat(args[0], &st) == 0;
  return true;
}

static bool test_inbound_srs(struct expand_ctx *x, const struct cond *c UNUSED, const char *const *args, bool *ret) {
  *ret = exp_inbound_srs(x, args[0], args[1]);
  return true;
}

static bool test_first_delivery(struct expand_ctx *x, const struct cond *c UNUSED, const char *const *args UNUSED, bool *ret) {
  *ret = x->msg && x->msg->deliver_firsttime;
  return true;
}

static bool test_queue_running(struct expand_ctx *x, const struct cond *c UNUSED, const char *const *args UNUSED, bool *ret) {
  *ret = x->queue_running;
  return true;
}

static bool test_match(struct expand_ctx *x, const struct cond *c UNUSED, const char *const *args, bool *ret) {
  switch (regex_match(x, args[1], false, str_c(args[0]), true)) {
  case OUTCOME_OK: *ret = true; return true;
  case OUTCOME_FAIL: *ret = false; return true;
  case OUTCOME_DEFER:
  case OUTCOME_ERROR:
  case OUTCOME_FAIL_DROP:
  case OUTCOME_DISCARD: break;
  }
  return x->error ? false : exp_fail(x, "regular expression error in \"%s\"", args[1]);
}

static bool test_inlist(struct expand_ctx *x, const struct cond *c, const char *const *args, bool *ret) {
  const char *pos = args[1], *item;
  int sep = 0;
  *ret = false;
  while ((item = list_next(x->a, &pos, &sep)))
    if ((c->kind ? strcmpic(item, args[0]) : strcmp(item, args[0])) == 0) {
      x->s.value = item;
      *ret = true;
      break;
    }
  return true;
}

enum { IN_ADDRESS, IN_DOMAIN, IN_IP, IN_LOCAL_PART };

static bool test_in_list(struct expand_ctx *x, const struct cond *c, const char *const *args, bool *ret) {
  const char *value = NULL;
  enum outcome rc = OUTCOME_ERROR;
  /* The list is not expanded here (raw_brace), nor by matching. */
  const struct match_opts o = {.caseless = true, .no_expand = true, .allow_named = true, .ret_value = &value};
  x->error = NULL;
  switch (c->kind) {
  case IN_ADDRESS: rc = match_list(x, LIST_ADDRESS, args[0], args[1], &o); break;
  case IN_DOMAIN: rc = match_list(x, LIST_DOMAIN, args[0], args[1], &o); break;
  case IN_LOCAL_PART: rc = match_list(x, LIST_LOCALPART, args[0], args[1], &o); break;
  case IN_IP:
    if (*args[0] && !ip_text_kind(args[0], NULL)) return exp_fail(x, "\"%s\" is not an IP address", args[0]);
    rc = match_ip(x, args[0], args[1]);
    break;
  }
  switch (rc) {
  case OUTCOME_OK:
    *ret = true;
    if (value) x->s.value = value;
    return true;
  case OUTCOME_FAIL: *ret = false; return true;
  case OUTCOME_DEFER: x->lookup_deferred = true; break;
  case OUTCOME_ERROR:
  case OUTCOME_FAIL_DROP:
  case OUTCOME_DISCARD: break;
  }
  return exp_fail(x, "unable to complete match against \"%s\": %s", args[1], x->error ? x->error : "NULL");
}

/* ---- passwords ---- */

static bool digest_equals(struct expand_ctx *x, const char *name, const char *plain, const char *want) {
  uint8_t d[EXP_DIGEST_MAX];
  size_t n = exp_digest(name, plain, strlen(plain), d);
  size_t len = strlen(want);
  if (len == 2 * n) {
    struct strbuf hex = strbuf_new(x->a);
    char *lower = arena_strdup(x->a, want);
    exp_add_hex(&hex, d, n, false, UNTAINTED);
    for (char *p = lower; *p; p++) *p = (char)ch_lower(*p);
    return bytes_eq_secret(hex.p, lower, len);
  }
  const char *b64 = base64_encode(x->a, d, n);
  return len == strlen(b64) && bytes_eq_secret(b64, want, len);
}

#define CALLS(F) F(crypt_r)
static struct {
  CALLS(LIBRARY_MEMBER)
} lib;
static const char *const lib_names[] = {CALLS(LIBRARY_NAME)};

static bool crypt_equals(const char *plain, const char *want) {
  struct crypt_data data = {0};
  if (strlen(want) < 2) return false;
  const char *got = lib.crypt_r(plain, want, &data);
  return got && *got != '*' && strlen(got) == strlen(want) && bytes_eq_secret(got, want, strlen(want));
}

/* crypt() of the first eight characters; when there are more, eleven characters of the next eight follow, salted with the first two of the
 * first hash.  What is behind sixteen characters does not count. */
static bool crypt16_equals(const char *plain, const char *want) {
  enum { SALT = 2, HASH = 11, BLOCK = 8 };
  char key[BLOCK + 1] = "", got[SALT + 2 * HASH + 1] = "", salt[SALT + 1] = "";
  size_t len = strlen(plain), have = 0;
  if (strlen(want) < SALT) return false;
  memcpy(salt, want, SALT);
  for (size_t from = 0; from == 0 || (from < len && from < (size_t)2 * BLOCK); from += BLOCK) {
    struct crypt_data data = {0};
    size_t n = MIN(len - from, (size_t)BLOCK);
    memset(key, 0, sizeof(key));
    memcpy(key, plain + from, n);
    const char *half = lib.crypt_r(key, salt, &data);
    if (!half || *half == '*' || strlen(half) != SALT + HASH) return false;
    size_t skip = from ? SALT : 0;
    memcpy(got + have, half + skip, SALT + HASH - skip);
    have += SALT + HASH - skip;
    memcpy(salt, got + SALT, SALT);
  }
  return strlen(want) == have && bytes_eq_secret(got, want, have);
}

static bool test_crypteq(struct expand_ctx *x, const struct cond *c UNUSED, const char *const *args, bool *ret) {
  const char *want = args[1], *why = library_load(CFG_SONAME_CRYPT, lib_names, ARRAY_SIZE(lib_names), &lib);
  if (why) return exp_fail(x, "the library for crypt() cannot be used: %s", why);
  if (strncmpic(want, "{md5}", 5) == 0) {
    *ret = digest_equals(x, "md5", args[0], want + 5);
  } else if (strncmpic(want, "{sha1}", 6) == 0) {
    *ret = digest_equals(x, "sha1", args[0], want + 6);
  } else if (strncmpic(want, "{crypt}", 7) == 0) {
    *ret = crypt_equals(args[0], want + 7);
  } else if (strncmpic(want, "{crypt16}", 9) == 0) {
    *ret = crypt16_equals(args[0], want + 9);
  } else if (*want == '{') {
    return exp_fail(x, "unknown encryption mechanism in \"%s\"", want);
  } else {
    *ret = crypt_equals(args[0], want);
  }
  return true;
}

static bool test_unsupported(struct expand_ctx *x, const struct cond *c, const char *const *args UNUSED, bool *ret UNUSED) {
  return exp_fail(x, "support for \"%s\" not compiled", c->name);
}

static bool test_pwcheck(struct expand_ctx *x, const struct cond *c UNUSED, const char *const *args, bool *ret) {
  return exp_ask_pwcheck(x, args[0], ret);
}

#if CFG_SUPPORT_PAM
static bool test_pam(struct expand_ctx *x, const struct cond *c UNUSED, const char *const *args, bool *ret) { return exp_ask_pam(x, args[0], ret); }
#else
#define test_pam test_unsupported
#endif

static bool test_ldapauth(struct expand_ctx *x, const struct cond *c, const char *const *args, bool *ret) {
  const struct lookup_driver *d = lookup_find_driver(STR("ldap"));
  const char *error = NULL;
  if (!d) return test_unsupported(x, c, args, ret);
  enum outcome o = lookup_authenticate(x, d, args[0], &error);
  *ret = o == OUTCOME_OK;
  return o == OUTCOME_OK || o == OUTCOME_FAIL || exp_fail(x, "%s", error ? error : "ldapauth failed");
}

/* ---- conditions with a grammar of their own ---- */

static bool missing_open(struct parse *ps, const char *name) { return exp_fail(ps->x, "missing { after \"%s\"", name); }

static bool inside(struct parse *ps, const char *name, const char *tail) {
  ps->x->error = arena_printf(ps->x->a, "%s inside \"%s%s\" condition", ps->x->error, name, tail);
  return false;
}

static bool fail_subcondition(struct parse *ps, const char *name) {
  return exp_fail(ps->x, "each subcondition inside an \"%s{...}\" condition must be in its own {}", name);
}

static bool parse_and_or(struct parse *ps, const struct cond *c, bool *ret) {
  bool is_or = c->kind == 1, result = !is_or, was_skipping = ps->skip;
  exp_skip_space(ps);
  if (*ps->s != '{') return missing_open(ps, c->name);
  ps->s++;
  for (;;) {
    bool sub = false;
    exp_skip_space(ps);
    if (*ps->s == '}') break;
    if (*ps->s != '{') return fail_subcondition(ps, c->name);
    ps->s++;
    if (!exp_condition(ps, &sub)) return inside(ps, c->name, "{...}");
    exp_skip_space(ps);
    if (*ps->s != '}')
      return exp_fail(ps->x, "missing } at end of condition inside \"%s\" group", c->name);
    ps->s++;
    if (!ps->skip && sub == is_or) {
      result = is_or;
      ps->skip = true; /* the rest is parsed only */
    }
  }
  ps->s++;
  ps->skip = was_skipping;
  if (!ps->skip) *ret = result;
  return true;
}

static bool parse_def(struct parse *ps, const struct cond *c UNUSED, bool *ret) {
  if (*ps->s != ':') return exp_fail(ps->x, "\":\" expected after \"def\"");
  const char *start = ++ps->s;
  struct str name = exp_read_name(ps, 0);
  if (!name.n) return exp_fail(ps->x, "variable name omitted after \"def:\"");
  size_t prefix;
  if (exp_header_kind(name, &prefix)) {
    ps->s = start + prefix;
    struct str header = exp_read_header_name(ps);
    if (!ps->skip) *ret = exp_header_present(ps->x, header);
    return true;
  }
  bool known;
  if (ps->skip || ch_isdigit(*name.p)) {
    known = !ch_isdigit(*name.p) && exp_var_known(name);
  } else {
    /* On a connection that has not bound yet these two would force an early bind: they count as unset, without a trace. */
    if (ps->x->sending_ip_unavailable && (str_eq_c(name, "sending_ip_address") || str_eq_c(name, "sending_port"))) {
      *ret = false;
      return true;
    }
    const char *v = exp_var(ps->x, name, &known);
    if (known && !v) return false;
    if (v) *ret = *v != '\0';
  }
  if (known) return true;
  return exp_fail(ps->x, "unknown variable \"%.*s\" after \"def:\"%s", STR_FMT(name), exp_var_hint(name));
}

/* Arguments inside one more pair of braces: acl{{a}{b}}, saslauthd{{a}{b}}. */
static bool nested_args(struct parse *ps, const struct cond *c, int min, int max, const char **args, int *ret_n) {
  exp_skip_space(ps);
  if (*ps->s != '{') return missing_open(ps, c->name);
  ps->s++;
  exp_skip_space(ps);
  if (*ps->s != '{') return exp_fail(ps->x, "too few arguments or bracketing error for %s", c->name);
  return exp_args(ps, c->name, min, max, true, args, ret_n);
}

static bool parse_acl(struct parse *ps, const struct cond *c, bool *ret) {
  const char *args[EXP_MAX_ARGS], *message = NULL;
  int n;
  if (!nested_args(ps, c, 1, 10, args, &n)) return false;
  if (ps->skip) return true;
  enum outcome rc = exp_call_acl(ps->x, args, n, &message);
  switch (rc) {
  case OUTCOME_OK:
  case OUTCOME_FAIL:
  case OUTCOME_FAIL_DROP:
  case OUTCOME_DISCARD:
    ps->x->s.value = message ? message : "";
    *ret = rc == OUTCOME_OK || rc == OUTCOME_DISCARD;
    return true;
  case OUTCOME_DEFER: return exp_fail_forced(ps->x, "DEFER from acl \"%s\"", args[0]);
  case OUTCOME_ERROR: break;
  }
  return exp_fail(ps->x, "ERROR from acl \"%s\"", args[0]);
}

static bool parse_saslauthd(struct parse *ps, const struct cond *c, bool *ret) {
  const char *args[EXP_MAX_ARGS];
  int n;
  if (!nested_args(ps, c, 2, 4, args, &n)) return false;
  return ps->skip || exp_ask_saslauthd(ps->x, args, n, ret);
}

enum { QUANT_ANY = 1, QUANT_JSON = 2, QUANT_JSONS = 4 };

/* Next element for a quantifier; *ret_item NULL at the end. */
static bool next_element(struct parse *ps, const struct cond *c, const char **pos, int *sep, struct str *json,
                         const char **ret_item) {
  struct expand_ctx *x = ps->x;
  if (!(c->kind & (QUANT_JSON | QUANT_JSONS))) {
    *ret_item = list_next(x->a, pos, sep);
    return true;
  }
  struct str v;
  *ret_item = NULL;
  if (!json_next(json, &v)) return true;
  if (c->kind & QUANT_JSONS) {
    if (v.n < 2 || v.p[0] != '"') return exp_fail(x, "missing '\"' wrapping string result for extract jsons");
    v = str_n(v.p + 1, v.n - 2);
  }
  *ret_item = arena_strndup(x->a, v.p, v.n);
  return true;
}

/* "{list}{condition}": *ret_body is the text of the condition, parsed once for its syntax, whatever the list holds.  ps is then behind all. */
static bool parse_list_and_body(struct parse *ps, const struct cond *c, const char **ret_list, const char **ret_body) {
  bool was_skipping = ps->skip, unused = false;
  exp_skip_space(ps);
  if (*ps->s != '{') return missing_open(ps, c->name);
  if (!exp_brace(ps, ret_list)) return false;
  exp_skip_space(ps);
  if (*ps->s != '{') return missing_open(ps, c->name);
  *ret_body = ++ps->s;
  ps->skip = true;
  bool ok = exp_condition(ps, &unused);
  ps->skip = was_skipping;
  if (!ok) return inside(ps, c->name, "");
  exp_skip_space(ps);
  if (*ps->s != '}') return exp_fail(ps->x, "missing } at end of condition inside \"%s\"", c->name);
  ps->s++;
  return true;
}

/* forany, forall and their kin: any item for which the condition holds, or every one. */
static bool parse_quantifier(struct parse *ps, const struct cond *c, bool *ret) {
  struct expand_ctx *x = ps->x;
  const char *list = NULL, *body = NULL, *saved_item = x->s.item, *item;
  bool any = c->kind & QUANT_ANY, result = !any, sub = false;
  if (!parse_list_and_body(ps, c, &list, &body)) return false;
  const char *end = ps->s;
  struct str json = STR_NULL;
  if (!ps->skip && c->kind & (QUANT_JSON | QUANT_JSONS) && !json_array_inside(str_c(list), &json))
    return exp_fail(x, "missing '[' wrapping array for %s", c->name);
  int sep = 0;
  const char *pos = list;
  if (!ps->skip) result = false; /* what an empty list gives, for both kinds */
  while (!ps->skip) {
    if (!next_element(ps, c, &pos, &sep, &json, &item)) return false;
    if (!item) break;
    result = !any;
    x->s.item = item;
    ps->s = body;
    if (!exp_condition(ps, &sub)) return inside(ps, c->name, "");
    if (sub == any) {
      result = any;
      break;
    }
  }
  ps->s = end;
  x->s.item = saved_item;
  if (!ps->skip) *ret = result;
  return true;
}

/* ---- the table ---- */

static const struct cond conds[] = {
  {"<", 2, false, test_order, NULL, ORD_NUMERIC | ORD_LT, "number less"},
  {"<=", 2, false, test_order, NULL, ORD_NUMERIC | ORD_LT | ORD_EQ, "number not greater"},
  {"=", 2, false, test_order, NULL, ORD_NUMERIC | ORD_EQ, "numbers equal"},
  {"==", 2, false, test_order, NULL, ORD_NUMERIC | ORD_EQ, "numbers equal"},
  {">", 2, false, test_order, NULL, ORD_NUMERIC | ORD_GT, "number greater"},
  {">=", 2, false, test_order, NULL, ORD_NUMERIC | ORD_GT | ORD_EQ, "number not less"},
  {"acl", 0, false, NULL, parse_acl, 0, "an ACL accepts"},
  {"and", 0, false, NULL, parse_and_or, 0, "all conditions are true"},
  {"bool", 1, false, test_bool, NULL, 1, "strict truth value"},
  {"bool_lax", 1, false, test_bool, NULL, 0, "truth value as of a router's condition"},
  {"crypteq", 2, false, test_crypteq, NULL, 0, "password equals its encrypted form"},
  {"def", 0, false, NULL, parse_def, 0, "variable not empty, or header present"},
  {"eq", 2, false, test_order, NULL, ORD_EQ, "strings equal"},
  {"eqi", 2, false, test_order, NULL, ORD_EQ | ORD_CASELESS, "strings equal but for case"},
  {"exists", 1, false, test_exists, NULL, 0, "file exists"},
  {"first_delivery", 0, false, test_first_delivery, NULL, 0, "first delivery attempt"},
  {"forall", 0, false, NULL, parse_quantifier, 0, "condition true for all list items"},
  {"forall_json", 0, false, NULL, parse_quantifier, QUANT_JSON, "condition true for all array elements"},
  {"forall_jsons", 0, false, NULL, parse_quantifier, QUANT_JSONS, "condition true for all strings of an array"},
  {"forany", 0, false, NULL, parse_quantifier, QUANT_ANY, "condition true for a list item"},
  {"forany_json", 0, false, NULL, parse_quantifier, QUANT_ANY | QUANT_JSON, "condition true for an array element"},
  {"forany_jsons", 0, false, NULL, parse_quantifier, QUANT_ANY | QUANT_JSONS, "condition true for a string of an array"},
  {"ge", 2, false, test_order, NULL, ORD_GT | ORD_EQ, "string not less"},
  {"gei", 2, false, test_order, NULL, ORD_GT | ORD_EQ | ORD_CASELESS, "string not less, caseless"},
  {"gt", 2, false, test_order, NULL, ORD_GT, "string greater"},
  {"gti", 2, false, test_order, NULL, ORD_GT | ORD_CASELESS, "string greater, caseless"},
  {"inbound_srs", 2, false, test_inbound_srs, NULL, 0, "SRS address of ours"},
  {"inlist", 2, false, test_inlist, NULL, 0, "string is a list item"},
  {"inlisti", 2, false, test_inlist, NULL, 1, "string is a list item, caseless"},
  {"isip", 1, false, test_isip, NULL, 0, "IP address"},
  {"isip4", 1, false, test_isip, NULL, 4, "IPv4 address"},
  {"isip6", 1, false, test_isip, NULL, 6, "IPv6 address"},
  {"ldapauth", 1, false, test_ldapauth, NULL, 0, "LDAP bind succeeds"},
  {"le", 2, false, test_order, NULL, ORD_LT | ORD_EQ, "string not greater"},
  {"lei", 2, false, test_order, NULL, ORD_LT | ORD_EQ | ORD_CASELESS, "string not greater, caseless"},
  {"lt", 2, false, test_order, NULL, ORD_LT, "string less"},
  {"lti", 2, false, test_order, NULL, ORD_LT | ORD_CASELESS, "string less, caseless"},
  {"match", 2, false, test_match, NULL, 0, "regular expression matches"},
  {"match_address", 2, true, test_in_list, NULL, IN_ADDRESS, "address list"},
  {"match_domain", 2, true, test_in_list, NULL, IN_DOMAIN, "domain list"},
  {"match_ip", 2, true, test_in_list, NULL, IN_IP, "IP addresses of a host list"},
  {"match_local_part", 2, true, test_in_list, NULL, IN_LOCAL_PART, "local part list"},
  {"or", 0, false, NULL, parse_and_or, 1, "one condition is true"},
  {"pam", 1, false, test_pam, NULL, 0, "PAM authentication"},
  {"pwcheck", 1, false, test_pwcheck, NULL, 0, "pwcheck daemon"},
  {"queue_running", 0, false, test_queue_running, NULL, 0, "started by a queue runner"},
  {"radius", 1, false, test_unsupported, NULL, 0, "RADIUS authentication"},
  {"saslauthd", 0, false, NULL, parse_saslauthd, 0, "saslauthd daemon"},
};

static const struct cond *find_cond(struct str name) {
  return NAME_FIND(conds, ARRAY_SIZE(conds), name);
}

/* The list of a match_ condition is not expanded: only the escapes count in it and '$' is a plain character. */
static bool raw_brace(struct parse *ps, const char **ret) {
  const char *p = ps->s + 1;
  size_t plain = strcspn(p, "\\}");
  struct strbuf b = strbuf_new_t(ps->x->a, UNTAINTED, plain);
  strbuf_add(&b, p, plain);
  p += plain;
  for (bool protect = false; *p && (protect || *p != '}'); p++) {
    size_t used = 1;
    int c = *p;
    if (p[0] == '\\' && p[1] == 'N') {
      protect = !protect;
      p++;
      continue;
    }
    if (c == '\\' && !protect) c = escape_interpret(str_n(p, strnlen(p, 8)), &used);
    strbuf_addc(&b, (char)c);
    p += used - 1;
  }
  ps->s = p;
  if (*p != '}') return exp_fail(ps->x, "missing } at end of string");
  ps->s++;
  *ret = b.p;
  return true;
}

static bool plain_condition(struct parse *ps, const struct cond *c, bool *ret) {
  const char *args[2] = {"", ""};
  for (int i = 0; i < c->nargs; i++) {
    exp_skip_space(ps);
    if (*ps->s != '{') {
      if (i == 0) return missing_open(ps, c->name);
      return exp_fail(ps->x, "missing 2nd string in {} after \"%s\"", c->name);
    }
    bool ok = i == 1 && c->raw_second ? raw_brace(ps, &args[i]) : exp_brace(ps, &args[i]);
    if (!ok) return false;
  }
  return ps->skip || c->test(ps->x, c, args, ret);
}

static struct str read_cond_name(struct parse *ps) {
  const char *start = ps->s;
  if (ch_isalpha(*ps->s)) return exp_read_name(ps, 0);
  if (*ps->s == '=' || *ps->s == '<' || *ps->s == '>') {
    ps->s++;
    if (*ps->s == '=') ps->s++;
  }
  return str_n(start, (size_t)(ps->s - start));
}

bool exp_condition(struct parse *ps, bool *ret) {
  bool negate = false;
  for (exp_skip_space(ps); *ps->s == '!'; exp_skip_space(ps)) {
    negate = !negate;
    ps->s++;
  }
  struct str name = read_cond_name(ps);
  if (!name.n) return exp_fail(ps->x, "condition name expected, but found \"%.16s\"", ps->s);
  const struct cond *c = find_cond(name);
  if (!c) return exp_fail(ps->x, "unknown condition \"%.*s\"", STR_FMT(name));
  if (ps->x->depth >= EXPAND_MAX_DEPTH)
    return exp_fail(ps->x, "expansion nested too deeply (more than %d levels)", EXPAND_MAX_DEPTH);
  ps->x->depth++;
  bool yes = false;
  bool ok = exp_count_work(ps->x, 0) && (c->parse ? c->parse(ps, c, &yes) : plain_condition(ps, c, &yes));
  ps->x->depth--;
  if (ok && !ps->skip) *ret = yes != negate;
  return ok;
}

bool exp_is_order_condition(struct expand_ctx *x UNUSED, struct str name, bool *ret_known) {
  const struct cond *c = find_cond(name);
  *ret_known = c != NULL;
  return c && c->test == test_order && (c->kind & (ORD_LT | ORD_GT));
}

bool exp_order(struct expand_ctx *x, struct str name, const char *a, const char *b, bool *ret) {
  const struct cond *c = find_cond(name);
  const char *args[2] = {a, b};
  return exp_count_work(x, MIN(strlen(a), strlen(b))) && test_order(x, c, args, ret);
}

bool exp_item_if(struct parse *ps, struct strbuf *out) {
  struct exp_saved sv;
  bool yes = false;
  exp_save(ps->x, &sv);
  if (!exp_condition(ps, &yes)) return false;
  bool ok = exp_yes_no(ps, out, yes, "if");
  exp_restore(ps->x, &sv);
  return ok;
}
