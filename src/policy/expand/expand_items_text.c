/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Expansion items over strings: substr, length, tr, sg, hash, nhash, hmac, prvs, prvscheck, env, acl, listquote.  Floor: policy.
 *
 * Manual section 11.5.  Subjects are hostile; patterns and replacements come from the configuration (a tainted replacement with '$' is
 * refused by exp_nested). */
#include <stdlib.h>

#include "base/timeutil.h"
#include "policy/expand/expand_priv.h"
#include "policy/match.h"

/* The number argument i of item name.  positive: no sign allowed. */
static bool number_arg(struct expand_ctx *x, const char *name, const char *text, bool positive, int64_t *ret) {
  struct str t = str_trim(str_c(text));
  *ret = 0;
  if (t.n == 0) return true; /* nothing is 0 */
  if (str_parse_i64(t, ret) && !(positive && *ret < 0)) return true;
  return exp_fail(x, "\"%s\" is not a %snumber (in \"%s\" expansion)", text, positive ? "positive " : "", name);
}

void exp_substr(struct strbuf *out, struct str s, int64_t start, int64_t len, bool has_len) {
  int64_t n = (int64_t)s.n, from, count;
  if (start >= 0) {
    from = MIN(start, n);
    count = has_len ? MIN(len, n - from) : n - from;
  } else if (!has_len) { /* everything before that point */
    from = 0;
    count = MAX(n + MAX(start, -n), 0);
  } else {
    from = start < -n ? 0 : n + start;
    count = start < -n ? MAX(len - (-start - n), 0) : len;
    count = MIN(count, n - from);
  }
  strbuf_add(out, s.p + from, (size_t)count);
}

bool exp_item_substr(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs) {
  int64_t start, len = 0;
  if (!number_arg(x, "substr", args[0], false, &start)) return false;
  if (nargs == 3 && !number_arg(x, "substr", args[1], true, &len)) return false;
  exp_substr(out, str_c(args[nargs - 1]), start, len, nargs == 3);
  return true;
}

bool exp_item_length(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs UNUSED) {
  int64_t len;
  if (!number_arg(x, "length", args[0], true, &len)) return false;
  exp_substr(out, str_c(args[1]), 0, len, true);
  return true;
}

/* The order of the letters s and t is part of the interface: stored files are named by this hash. */
static const char hash_alphabet[] = "abcdefghijklmnopqrtsuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/* The first n bytes; each later byte j, rotated left by (byte + j) mod 8, is xor-ed into them in turn. */
bool exp_hash(struct expand_ctx *x, struct strbuf *out, struct str s, int64_t n, int64_t m) {
  if (m > (int64_t)sizeof hash_alphabet - 1) return exp_fail(x, "hash count \"%lld\" too big", (long long)m);
  if (n < 0) return exp_fail(x, "hash length \"%lld\" is negative", (long long)n);
  if (n >= (int64_t)s.n) {
    strbuf_addstr(out, s);
    return true;
  }
  if (n == 0 || m <= 0) return true;
  size_t len = (size_t)n, at = 0;
  uint8_t *h = arena_alloc(x->a, len);
  memcpy(h, s.p, len);
  for (size_t j = len; j < s.n; j++) {
    unsigned c = (uint8_t)s.p[j], shift = (unsigned)((c + j) % 8);
    h[at] = (uint8_t)(h[at] ^ (c << shift | c >> (8 - shift)));
    at = at + 1 == len ? 0 : at + 1;
  }
  for (size_t i = 0; i < len; i++)
    strbuf_add_t(out, &hash_alphabet[h[i] % (unsigned)m], 1, is_tainted(s.p) ? TAINTED : UNTAINTED);
  return true;
}

bool exp_item_hash(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs) {
  int64_t n, m = 26;
  if (!number_arg(x, "hash", args[0], false, &n)) return false;
  if (nargs == 3 && !number_arg(x, "hash", args[1], false, &m)) return false;
  return exp_hash(x, out, str_c(args[nargs - 1]), n, m);
}

/* Sum of the bytes weighted with falling primes; two numbers are quotient and remainder of it. */
bool exp_nhash(struct expand_ctx *x UNUSED, struct strbuf *out, struct str s, int64_t n, int64_t m, bool has_m) {
  static const uint8_t weights[] = {113, 109, 107, 103, 101, 97, 89, 83, 79, 73, 71, 67, 61, 59, 53,
                                    47,  43,  41,  37,  31,  29, 23, 19, 17, 13, 11, 7,  5,  3};
  uint64_t total = 0;
  for (size_t i = 0; i < s.n; i++) total += (uint64_t)(uint8_t)s.p[i] * weights[i % ARRAY_SIZE(weights)];
  if (n <= 0 || (has_m && m <= 0)) return true;
  if (is_tainted(s.p)) strbuf_taint(out);
  if (!has_m) {
    strbuf_addf(out, "%llu", (unsigned long long)(total % (uint64_t)n));
    return true;
  }
  uint64_t product;
  if (!__builtin_mul_overflow((uint64_t)n, (uint64_t)m, &product)) total %= product;
  strbuf_addf(out, "%llu/%llu", (unsigned long long)(total / (uint64_t)m), (unsigned long long)(total % (uint64_t)m));
  return true;
}

bool exp_item_nhash(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs) {
  int64_t n, m = 0;
  if (!number_arg(x, "nhash", args[0], false, &n)) return false;
  if (nargs == 3 && !number_arg(x, "nhash", args[1], false, &m)) return false;
  return exp_nhash(x, out, str_c(args[nargs - 1]), n, m, nargs == 3);
}

bool exp_item_hmac(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs UNUSED) {
  uint8_t d[EXP_DIGEST_MAX];
  size_t n;
  if (strcmp(args[0], "md5") != 0 && strcmp(args[0], "sha1") != 0)
    return exp_fail(x, "hmac algorithm \"%s\" is not recognised", args[0]);
  if (!exp_hmac(args[0], args[1], args[2], d, &n)) return exp_fail(x, "hmac algorithm \"%s\" failed", args[0]);
  exp_add_hex(out, d, n, false, is_tainted(args[1]) || is_tainted(args[2]) ? TAINTED : UNTAINTED);
  return true;
}

bool exp_item_tr(struct expand_ctx *x UNUSED, struct strbuf *out, const char *const *args, int nargs UNUSED) {
  size_t n_to = strlen(args[2]);
  int map[256];
  if (n_to == 0) {
    strbuf_adds(out, args[0]);
    return true;
  }
  for (int i = 0; i < 256; i++) map[i] = i;
  for (size_t i = 0; args[1][i]; i++) map[(uint8_t)args[1][i]] = args[2][MIN(i, n_to - 1)];
  if (is_tainted(args[2]) || is_tainted(args[1])) strbuf_taint(out);
  size_t start = out->n;
  strbuf_adds(out, args[0]);
  for (size_t i = start; i < out->n; i++) out->p[i] = (char)map[(uint8_t)out->p[i]];
  return true;
}

bool exp_item_listquote(struct expand_ctx *x UNUSED, struct strbuf *out, const char *const *args, int nargs UNUSED) {
  if (!*args[1]) {
    strbuf_addc(out, ' ');
    return true;
  }
  for (const char *p = args[1]; *p; p++) {
    strbuf_add_t(out, p, 1, is_tainted(p) ? TAINTED : UNTAINTED);
    if (*p == *args[0]) strbuf_addc(out, *p);
  }
  return true;
}

bool exp_item_env(struct parse *ps, struct strbuf *out) {
  struct expand_ctx *x = ps->x;
  const char *key;
  exp_skip_space(ps);
  if (*ps->s != '{') return exp_fail(x, "missing '{' for name arg of env");
  if (!exp_brace(ps, &key)) return false;
  const char *saved = x->s.value, *found = NULL;
  if (!ps->skip) {
    struct str name = str_trim(str_c(key));
    if (name.n) found = getenv(str_dup(x->a, name));
    if (found) x->s.value = arena_strdup_t(x->a, found, TAINTED);
  }
  bool ok = exp_yes_no(ps, out, found != NULL, "env");
  x->s.value = saved;
  return ok;
}

bool exp_item_acl(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs) {
  const char *message = NULL;
  switch (exp_call_acl(x, args, nargs, &message)) {
  case OUTCOME_OK:
  case OUTCOME_FAIL:
  case OUTCOME_FAIL_DROP:
  case OUTCOME_DISCARD:
    if (message) strbuf_adds(out, message);
    return true;
  case OUTCOME_DEFER: return exp_fail_forced(x, "DEFER from acl \"%s\"", args[0]);
  case OUTCOME_ERROR: break;
  }
  return exp_fail(x, "ERROR from acl \"%s\"", args[0]);
}

/* ---- address tags of BATV: prvs=KDDDHHHHHH=address, day DDD modulo 1000, HHHHHH the start of an HMAC-SHA1 ---- */

static int64_t today_number(void) { return (int64_t)time_sec() / 86400; }

static const char *prvs_hash(struct expand_ctx *x, const char *address, const char *secret, char key, const char *day) {
  uint8_t d[EXP_DIGEST_MAX];
  size_t n;
  const char *text = arena_printf(x->a, "%c%.3s%s", key, day, address);
  if (!exp_hmac("sha1", secret, text, d, &n)) return "";
  struct strbuf b = strbuf_new(x->a);
  exp_add_hex(&b, d, 3, false, UNTAINTED);
  return b.p;
}

bool exp_item_prvs(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs) {
  char key = '0';
  if (!strchr(args[0], '@') || args[0][0] == '@')
    return exp_fail(x, "prvs first argument must be a qualified email address");
  if (nargs == 3) {
    if (!ch_isdigit(args[2][0]) || args[2][1]) return exp_fail(x, "prvs third argument must be a single digit");
    key = args[2][0];
  }
  const char *day = arena_printf(x->a, "%03d", (int)((today_number() + 7) % 1000));
  strbuf_addf(out, "prvs=%c%s%s=%s", key, day, prvs_hash(x, args[0], args[1], key, day), args[0]);
  return true;
}

/* Split a tagged address; false when it has not the form. */
static bool prvs_parse(struct expand_ctx *x, const char *s, const char **ret_address, char *ret_key, const char **ret_day,
                       const char **ret_hash) {
  if (strncmpic(s, "prvs=", 5) != 0) return false;
  const char *p = s + 5;
  for (int i = 0; i < 4; i++)
    if (!ch_isdigit(p[i])) return false;
  for (int i = 4; i < 10; i++)
    if (!ch_isxdigit(p[i])) return false;
  const char *at = strchr(p, '@');
  if (p[10] != '=' || !at || at <= p + 11 || !at[1]) return false;
  *ret_key = *p;
  *ret_day = arena_strndup(x->a, p + 1, 3);
  *ret_hash = arena_strndup(x->a, p + 4, 6);
  *ret_address = arena_strdup(x->a, p + 11);
  return true;
}

static bool prvs_valid(struct expand_ctx *x, const char *secret, char key, const char *day, const char *hash) {
  int expiry;
  if (!str_parse_int(str_c(day), &expiry)) return false;
  int64_t today = today_number() % 1000;
  int64_t left = (expiry - today + 1000) % 1000; /* days until it ends, on the circle of 1000 */
  return left <= 500 && strcmpic(prvs_hash(x, x->prvscheck_address, secret, key, day), hash) == 0;
}

/* An optional third argument, then the closing brace. */
static bool prvs_finish(struct parse *ps, const char **ret_text) {
  *ret_text = "";
  exp_skip_space(ps);
  if (*ps->s == '{' && !exp_brace(ps, ret_text)) return false;
  exp_skip_space(ps);
  if (*ps->s != '}') return exp_fail(ps->x, "missing '}' after 'prvscheck'");
  ps->s++;
  return true;
}

bool exp_item_prvscheck(struct parse *ps, struct strbuf *out) {
  struct expand_ctx *x = ps->x;
  const char *tagged = "", *secret, *address = NULL, *day = NULL, *hash = NULL, *text;
  char key = '0';
  bool was_skipping = ps->skip;
  exp_skip_space(ps);
  if (*ps->s != '{') return exp_fail(x, "Not enough arguments for 'prvscheck' (min is 1)");
  if (!exp_brace(ps, &tagged)) return false;
  bool is_tagged = !ps->skip && prvs_parse(x, tagged, &address, &key, &day, &hash);
  ps->skip = was_skipping || !is_tagged;
  if (is_tagged) {
    x->prvscheck_address = address;
    x->prvscheck_keynum = arena_strndup(x->a, &key, 1);
  }
  exp_skip_space(ps);
  if (*ps->s != '{') return exp_fail(x, "Not enough arguments for 'prvscheck' (min is 1)");
  if (!exp_brace(ps, &secret)) return false;
  if (is_tagged) x->prvscheck_result = prvs_valid(x, secret, key, day, hash) ? "1" : NULL;
  bool ok = prvs_finish(ps, &text);
  ps->skip = was_skipping;
  x->prvscheck_address = x->prvscheck_keynum = NULL;
  if (ok && is_tagged) strbuf_adds(out, *text ? text : address);
  return ok;
}

/* ---- ${sg ---- */

/* What is left of the subject; where nothing is, the result does not become tainted by it. */
static void copy_rest(struct strbuf *out, struct str subject, size_t from, size_t to) {
  if (to > from) strbuf_add(out, subject.p + from, to - from);
}

/* Perl's s///g: after an empty match a non-empty one is tried at the same place, else one byte is copied. */
bool exp_item_sg(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs UNUSED) {
  struct exp_saved sv;
  struct str subject = str_c(args[0]);
  size_t at = 0, copied = 0, span[2];
  bool after_empty = false, ok = true;
  exp_save(x, &sv);
  while (ok) {
    x->error = NULL;
    enum outcome rc = regex_match_from(x, args[1], REGEX_SET_CAPTURES | (after_empty ? REGEX_NONEMPTY_HERE : 0u), subject, at, span);
    if (rc != OUTCOME_OK && rc != OUTCOME_FAIL) {
      ok = x->error ? false : exp_fail(x, "regular expression error in \"%s\"", args[1]);
    } else if (rc == OUTCOME_OK) {
      const char *text;
      copy_rest(out, subject, copied, span[0]);
      ok = exp_nested(x, args[2], &text);
      if (ok) strbuf_adds(out, text);
      copied = at = span[1];
      after_empty = span[0] == span[1];
    } else if (after_empty && at < subject.n) {
      at++;
      after_empty = false;
    } else {
      break;
    }
  }
  exp_restore(x, &sv);
  if (ok) copy_rest(out, subject, copied, subject.n);
  return ok;
}
