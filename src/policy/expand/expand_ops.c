/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Table of expansion operators ${name:text} and ${name_suffix:text} (manual section 11.6).  Floor: policy.  Sorted by name. */
#include "policy/expand/expand_priv.h"

#include "base/name_table.h"
#include "base/timeutil.h"

static const struct exp_op ops[] = {
  {"address", exp_op_address, 0, "address of a mailbox"},
  {"addresses", exp_op_addresses, 0, "list of the addresses of a header"},
  {"base32", exp_op_base32, 0, "number to base 32"},
  {"base32d", exp_op_base32d, 0, "base 32 to number"},
  {"base62", exp_op_base62, 0, "number to six base 62 digits"},
  {"base62d", exp_op_base62d, 0, "base 62 to number"},
  {"base64", exp_op_base64, 0, "base 64 of a string"},
  {"base64d", exp_op_base64d, 0, "decode base 64"},
  {"domain", exp_op_address, 'd', "domain of an address"},
  {"escape", exp_op_escape, 0, "show unprintable characters as escapes"},
  {"escape8bit", exp_op_escape8, 0, "show 8-bit characters as escapes"},
  {"eval", exp_op_eval, 0, "arithmetic"},
  {"eval10", exp_op_eval, 10, "arithmetic on decimal numbers"},
  {"expand", exp_op_expand, 0, "expand once more"},
  {"from_utf8", exp_op_from_utf8, 0, "UTF-8 to ISO-8859-1"},
  {"h", exp_op_numeric, 'h', "short for hash"},
  {"hash", exp_op_numeric, 'h', "textual hash"},
  {"headerwrap", exp_op_headerwrap, 0, "fold a header line"},
  {"hex2b64", exp_op_hex2b64, 0, "hex digits to base 64"},
  {"hexquote", exp_op_hexquote, 0, "unprintable bytes as \\xNN"},
  {"ipv6denorm", exp_op_ipv6, 'd', "IPv6 address in full"},
  {"ipv6norm", exp_op_ipv6, 'n', "IPv6 address in canonical form"},
  {"l", exp_op_numeric, 'l', "short for length"},
  {"lc", exp_op_case, 'l', "lower case"},
  {"length", exp_op_numeric, 'l', "first bytes"},
  {"listcount", exp_op_listcount, 0, "number of items of a list"},
  {"listnamed", exp_op_listnamed, 0, "contents of a named list"},
  {"local_part", exp_op_address, 'l', "local part of an address"},
  {"mask", exp_op_mask, 0, "network address"},
  {"md5", exp_op_digest, 'm', "MD5 digest"},
  {"nh", exp_op_numeric, 'n', "short for nhash"},
  {"nhash", exp_op_numeric, 'n', "numeric hash"},
  {"quote", exp_op_quote, 0, "double quotes when needed"},
  {"quote_local_part", exp_op_quote_local_part, 0, "quote as RFC 5322 demands"},
  {"randint", exp_op_randint, 0, "random number"},
  {"reverse_ip", exp_op_reverse_ip, 0, "address as DNS lists want it"},
  {"rfc2047", exp_op_rfc2047, 0, "encode for headers"},
  {"rfc2047d", exp_op_rfc2047d, 0, "decode from headers"},
  {"rxquote", exp_op_rxquote, 0, "escape for regular expressions"},
  {"s", exp_op_numeric, 's', "short for substr"},
  {"sha1", exp_op_digest, 's', "SHA-1 digest"},
  {"sha2", exp_op_sha2, 0, "SHA-2 digests"},
  {"sha256", exp_op_digest, '2', "SHA-256 digest"},
  {"sha3", exp_op_sha3, 0, "SHA-3 digests"},
  {"stat", exp_op_stat, 0, "properties of a file"},
  {"str2b64", exp_op_base64, 0, "old name of base64"},
  {"strlen", exp_op_strlen, 0, "length in bytes"},
  {"substr", exp_op_numeric, 's', "part of a string"},
  {"time_eval", exp_op_time_eval, 0, "time interval to seconds"},
  {"time_interval", exp_op_time_interval, 0, "seconds to time interval"},
  {"uc", exp_op_case, 'u', "upper case"},
  {"utf8_domain_from_alabel", exp_op_utf8_domain, 'f', "domain in UTF-8"},
  {"utf8_domain_to_alabel", exp_op_utf8_domain, 't', "domain in ASCII"},
  {"utf8_localpart_from_alabel", exp_op_utf8_localpart, 'f', "local part in UTF-8"},
  {"utf8_localpart_to_alabel", exp_op_utf8_localpart, 't', "local part in ASCII"},
  {"utf8clean", exp_op_utf8clean, 0, "replace what is not UTF-8"},
  {"xtextd", exp_op_xtextd, 0, "decode RFC 3461 xtext"},
};

static const struct exp_op *find_op(struct str name) {
  return NAME_FIND(ops, ARRAY_SIZE(ops), name);
}

static const struct exp_op quote_lookup = {"quote_", exp_op_quote_lookup, 0, "quote for a lookup type"};

const struct exp_op *exp_op_find(struct expand_ctx *x, struct str name, const char **ret_suffix) {
  *ret_suffix = NULL;
  size_t n = str_index(name, '_');
  /* No name of an operator has a digit behind its first underscore: those are its numbers. */
  const bool numbers = n + 1 < name.n && ch_isdigit(name.p[n + 1]);
  const struct exp_op *op = numbers ? NULL : find_op(name);
  if (op || n == name.n) return op;
  op = find_op(str_n(name.p, n));
  *ret_suffix = str_dup(x->a, str_n(name.p + n + 1, name.n - n - 1));
  if (op && op->apply == exp_op_quote) return &quote_lookup;
  return op;
}

/* ---- substr, length, hash, nhash with their numbers in the name ---- */

/* "3", "3_5", "-3"; empty is 0. */
static bool parse_numbers(const char *suffix, bool may_be_negative, bool two, int64_t *ret_n, int64_t *ret_m, bool *ret_has_m) {
  struct str s = str_c(suffix), m = STR_NULL;
  size_t under = str_index(s, '_');
  *ret_has_m = two && under < s.n;
  *ret_n = *ret_m = 0;
  if (*ret_has_m) {
    m = str_n(s.p + under + 1, s.n - under - 1);
    s.n = under;
    if (!s.n || !m.n || !ch_isdigit(*m.p) || !str_parse_i64(m, ret_m)) return false;
  }
  if (!s.n) return true;
  if (!ch_isdigit(*s.p) && !(may_be_negative && *s.p == '-')) return false;
  return str_parse_i64(s, ret_n);
}

bool exp_op_numeric(struct expand_ctx *x, struct strbuf *out, struct str arg, const struct exp_op *op, const char *suffix) {
  int64_t n, m;
  bool has_m;
  if (!suffix) return exp_fail(x, "missing values after %s", op->name);
  if (!parse_numbers(suffix, op->kind == 's', op->kind != 'l', &n, &m, &has_m))
    return exp_fail(x, "non-digit after underscore in \"%s_%s\"", op->name, suffix);
  switch (op->kind) {
  case 'h': return exp_hash(x, out, arg, n, has_m ? m : 26);
  case 'n': return exp_nhash(x, out, arg, n, m, has_m);
  case 'l': exp_substr(out, arg, 0, n, true); return true;
  default: exp_substr(out, arg, n, m, has_m); return true;
  }
}

/* ---- time and chance ---- */

bool exp_op_time_eval(struct expand_ctx *x, struct strbuf *out, struct str arg, const struct exp_op *op UNUSED,
                      const char *suffix UNUSED) {
  int64_t sec;
  if (!arg.n || ch_isdigit(arg.p[arg.n - 1]) || !time_parse_interval(arg, false, &sec))
    return exp_fail(x, "string \"%s\" is not an Exim time interval in \"time_eval\" operator", arg.p);
  if (is_tainted(arg.p)) strbuf_taint(out);
  strbuf_add_int(out, sec);
  return true;
}

bool exp_op_time_interval(struct expand_ctx *x, struct strbuf *out, struct str arg, const struct exp_op *op UNUSED,
                          const char *suffix UNUSED) {
  char buf[64];
  uint64_t sec = 0;
  if (arg.n && (!str_parse_u64(arg, &sec) || sec > INT64_MAX))
    return exp_fail(x, "string \"%s\" is not a positive number in \"time_interval\" operator", arg.p);
  strbuf_adds(out, time_format_interval((int64_t)sec, buf, sizeof buf));
  return true;
}
