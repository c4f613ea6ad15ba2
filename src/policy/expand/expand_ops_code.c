/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Expansion operators that encode, decode or digest: base 32/62/64, md5, sha*, rfc2047.  Floor: policy.  Manual section 11.6.
 *
 * Digests come from GnuTLS.  Decoded bytes are hostile and keep the taint of what they were decoded from. */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "base/base62.h"
#include "formats/codecs.h"
#include "policy/expand/expand_priv.h"

#define OP_ARGS struct expand_ctx *x UNUSED, struct strbuf *out, struct str arg, const struct exp_op *op UNUSED, const char *suffix UNUSED

static enum taint taint_of(struct str s) { return is_tainted(s.p) ? TAINTED : UNTAINTED; }

/* ---- digests ---- */

static const struct digest {
  const char *name;
  gnutls_digest_algorithm_t digest;
  gnutls_mac_algorithm_t mac;
} digests[] = {
  {"md5", GNUTLS_DIG_MD5, GNUTLS_MAC_MD5},
  {"sha1", GNUTLS_DIG_SHA1, GNUTLS_MAC_SHA1},
  {"sha256", GNUTLS_DIG_SHA256, GNUTLS_MAC_UNKNOWN},
  {"sha384", GNUTLS_DIG_SHA384, GNUTLS_MAC_UNKNOWN},
  {"sha512", GNUTLS_DIG_SHA512, GNUTLS_MAC_UNKNOWN},
  {"sha3_224", GNUTLS_DIG_SHA3_224, GNUTLS_MAC_UNKNOWN},
  {"sha3_256", GNUTLS_DIG_SHA3_256, GNUTLS_MAC_UNKNOWN},
  {"sha3_384", GNUTLS_DIG_SHA3_384, GNUTLS_MAC_UNKNOWN},
  {"sha3_512", GNUTLS_DIG_SHA3_512, GNUTLS_MAC_UNKNOWN},
};

static const struct digest *find_digest(const char *name) {
  for (size_t i = 0; i < ARRAY_SIZE(digests); i++)
    if (strcmp(digests[i].name, name) == 0) return &digests[i];
  return NULL;
}

size_t exp_digest(const char *name, const void *p, size_t n, uint8_t *out) {
  const struct digest *d = find_digest(name);
  if (!d || gnutls_hash_fast(d->digest, p, n, out) < 0) return 0;
  return gnutls_hash_get_len(d->digest);
}

bool exp_hmac(const char *name, const char *key, const char *text, uint8_t *out, size_t *ret_n) {
  const struct digest *d = find_digest(name);
  if (!d || d->mac == GNUTLS_MAC_UNKNOWN || gnutls_hmac_fast(d->mac, key, strlen(key), text, strlen(text), out) < 0)
    return false;
  *ret_n = gnutls_hmac_get_len(d->mac);
  return true;
}

void exp_add_hex(struct strbuf *out, const uint8_t *p, size_t n, bool upper, enum taint t) {
  const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
  for (size_t i = 0; i < n; i++) {
    char pair[2] = {digits[p[i] >> 4], digits[p[i] & 15]};
    strbuf_add_t(out, pair, 2, t);
  }
}

static bool add_digest(struct expand_ctx *x, struct strbuf *out, struct str arg, const char *name, bool upper) {
  uint8_t d[EXP_DIGEST_MAX];
  size_t n = exp_digest(name, arg.p, arg.n, d);
  if (!n) return exp_fail(x, "digest \"%s\" is not available", name);
  exp_add_hex(out, d, n, upper, taint_of(arg));
  return true;
}

/* The base 64 body of a certificate variable's PEM text (line breaks real, or as \\n), in one piece; NULL for any other text. */
static const char *certificate_base64(struct arena *a, struct str arg) {
  static const char begin[] = "-----BEGIN CERTIFICATE-----", end[] = "-----END CERTIFICATE-----";
  if (!str_starts(arg, STR(begin))) return NULL;
  const char *p = arg.p + sizeof begin - 1, *stop = strstr(p, end);
  if (!stop) return NULL;
  struct strbuf b = strbuf_new_t(a, taint_of(arg), arg.n);
  for (; p < stop; p++) {
    if (p[0] == '\\' && p[1] == 'n')
      p++;
    else if (!ch_isspace(*p))
      strbuf_addc(&b, *p);
  }
  return b.p;
}

bool exp_op_digest(OP_ARGS) {
  const char *cert = certificate_base64(x->a, arg);
  size_t n;
  char *der = cert ? base64_decode(x->a, str_c(cert), &n) : NULL;
  if (der) /* fingerprints are shown in upper case, the MD5 one too */
    return add_digest(x, out, str_n(der, n), op->kind == 'm' ? "md5" : op->kind == '2' ? "sha256" : "sha1", true);
  return op->kind == 'm' ? add_digest(x, out, arg, "md5", false)
                         : add_digest(x, out, arg, op->kind == '2' ? "sha256" : "sha1", true);
}

static bool sized_digest(struct expand_ctx *x, struct strbuf *out, struct str arg, const char *family, const char *prefix,
                         const char *suffix) {
  const char *name = arena_printf(x->a, "%s%s", prefix, suffix ? suffix : "256");
  if (!find_digest(name)) return exp_fail(x, "unrecognised %s variant", family);
  return add_digest(x, out, arg, name, true);
}

bool exp_op_sha2(OP_ARGS) { return sized_digest(x, out, arg, "sha2", suffix && strcmp(suffix, "1") == 0 ? "-" : "sha", suffix); }
bool exp_op_sha3(OP_ARGS) { return sized_digest(x, out, arg, "sha3", "sha3_", suffix); }

/* ---- numbers in other bases ---- */

static bool not_a_number(struct expand_ctx *x, const struct exp_op *op, struct str arg, const char *kind) {
  return exp_fail(x, "argument for %s operator is \"%s\", which is not a %s number", op->name, arg.p, kind);
}

static bool decimal_arg(struct expand_ctx *x, const struct exp_op *op, struct str arg, uint64_t *ret) {
  *ret = 0;
  for (size_t i = 0; i < arg.n; i++)
    if (!ch_isdigit(arg.p[i])) return not_a_number(x, op, arg, "decimal");
  if (arg.n && !str_parse_u64(arg, ret))
    return exp_fail(x, "argument for %s operator is \"%s\", which is too large", op->name, arg.p);
  return true;
}

bool exp_op_base32(OP_ARGS) {
  uint64_t v;
  if (!decimal_arg(x, op, arg, &v)) return false;
  if (v) strbuf_adds(out, base32_encode_u64(x->a, v));
  return true;
}

bool exp_op_base32d(OP_ARGS) {
  uint64_t v = 0;
  for (size_t i = 0; i < arg.n; i++) {
    char c = arg.p[i];
    int d = c >= 'a' && c <= 'z' ? c - 'a' : c >= '2' && c <= '7' ? c - '2' + 26 : -1;
    if (d < 0 || __builtin_mul_overflow(v, (uint64_t)32, &v)) return not_a_number(x, op, arg, "base 32");
    v += (uint64_t)d;
  }
  strbuf_addf(out, "%llu", (unsigned long long)v);
  return true;
}

bool exp_op_base62(OP_ARGS) {
  uint64_t v;
  char digits[6];
  if (!decimal_arg(x, op, arg, &v)) return false;
  base62_encode(v, (int)sizeof digits, digits);
  strbuf_add(out, digits, sizeof digits);
  return true;
}

bool exp_op_base62d(OP_ARGS) {
  uint64_t v = 0;
  if (arg.n && !base62_decode(arg, &v)) return not_a_number(x, op, arg, "base 62");
  strbuf_addf(out, "%llu", (unsigned long long)v);
  return true;
}

/* ---- base 64 ---- */

bool exp_op_base64(OP_ARGS) {
  const char *r = certificate_base64(x->a, arg);
  if (!r) r = base64_encode(x->a, arg.p, arg.n);
  strbuf_add_t(out, r, strlen(r), taint_of(arg));
  return true;
}

bool exp_op_base64d(OP_ARGS) {
  struct strbuf packed = strbuf_new_t(x->a, taint_of(arg), arg.n + 1);
  size_t n;
  for (size_t i = 0; i < arg.n; i++)
    if (!ch_isspace(arg.p[i])) strbuf_addc(&packed, arg.p[i]);
  char *r = base64_decode(x->a, strbuf_str(&packed), &n);
  if (!r) return exp_fail(x, "string \"%s\" is not well-formed for \"%s\" operator", arg.p, op->name);
  strbuf_add_t(out, r, n, taint_of(arg));
  return true;
}

bool exp_op_hex2b64(OP_ARGS) {
  uint8_t *bytes = arena_alloc(x->a, arg.n / 2 + 1);
  for (size_t i = 0; i < arg.n; i++) {
    int d = ch_hexval(arg.p[i]);
    if (d < 0) return exp_fail(x, "\"%s\" is not a hex string", arg.p);
    bytes[i / 2] = (uint8_t)(bytes[i / 2] << 4 | d);
  }
  if (arg.n % 2) return exp_fail(x, "\"%s\" contains an odd number of characters", arg.p);
  const char *r = base64_encode(x->a, bytes, arg.n / 2);
  strbuf_add_t(out, r, strlen(r), taint_of(arg));
  return true;
}

/* ---- RFC 2047 ---- */

/* Also characters that mean something in a header make a word of the text. */
static bool has_header_special(struct str s) {
  for (size_t i = 0; i < s.n; i++)
    if (s.p[i] && strchr("?=()<>@,;:\\\".[]_\n", s.p[i])) return true;
  return false;
}

bool exp_op_rfc2047(OP_ARGS) {
  const char *r = has_header_special(arg) ? rfc2047_encode_always(x->a, arg, exp_charset(x))
                                          : rfc2047_encode(x->a, arg, exp_charset(x));
  strbuf_add_t(out, r, strlen(r), taint_of(arg));
  return true;
}

bool exp_op_rfc2047d(OP_ARGS) {
  const char *r = rfc2047_decode(x->a, arg, exp_charset(x), x->cfg->o.check_rfc2047_length, '?');
  strbuf_add_t(out, r, strlen(r), taint_of(arg));
  return true;
}
