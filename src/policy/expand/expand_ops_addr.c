/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Expansion operators over mail and IP addresses.  Floor: policy.  Manual section 11.6.  Arguments are hostile. */
#include <idn2.h>
#include <stdlib.h>

#include "base/ip.h"
#include "formats/rfc5322.h"
#include "os/log.h"
#include "policy/expand/expand_priv.h"
#include "formats/utf8_domain.h"

#define OP_ARGS struct expand_ctx *x UNUSED, struct strbuf *out, struct str arg, const struct exp_op *op UNUSED, const char *suffix UNUSED

static struct addr_opts header_opts(const struct expand_ctx *x) {
  return (struct addr_opts){.allow_domain_literal = true,
                            .allow_utf8 = true,
                            .strip_angle_excess = x->cfg->o.strip_excess_angle_brackets,
                            .strip_trailing_dot = x->cfg->o.strip_trailing_dot};
}

/* address, local_part, domain: what does not parse gives an empty result. */
bool exp_op_address(OP_ARGS) {
  size_t domain = 0;
  const char *error;
  const char *r = rfc5322_extract_address(x->a, arg, header_opts(x), &domain, &error);
  if (!r) return true;
  if (op->kind == 'd') {
    if (domain) strbuf_adds(out, r + domain);
  } else if (op->kind == 'l' && domain) {
    strbuf_add(out, r, domain - 1);
  } else {
    strbuf_adds(out, r);
  }
  return true;
}

/* Index of the first of the specials outside quotes, comments and angle brackets; s.n when there is none. */
static size_t find_special(struct str s, const char *specials) {
  int depth = 0;
  bool in_angle = false;
  for (size_t i = 0; i < s.n; i++) {
    char c = s.p[i];
    if (rfc5322_skip_opaque(s, &i, &depth)) continue;
    if (c == '<' || c == '>') {
      in_angle = c == '<';
    } else if (c && !in_angle && strchr(specials, c)) {
      return i;
    }
  }
  return s.n;
}

static void add_address(struct expand_ctx *x, struct strbuf *out, struct str text, char sep, bool *first) {
  size_t domain;
  const char *error;
  const char *r = rfc5322_extract_address(x->a, text, header_opts(x), &domain, &error);
  if (!r || !*r) return;
  if (!*first) strbuf_addc(out, sep);
  *first = false;
  for (const char *p = r; *p; p++) {
    strbuf_add_t(out, p, 1, is_tainted(p) ? TAINTED : UNTAINTED);
    if (*p == sep) strbuf_addc(out, sep);
  }
}

/* Groups ("name: a, b;") count as their members. */
bool exp_op_addresses(OP_ARGS) {
  char sep = ':';
  bool first = true, in_group = false;
  struct str rest = str_ltrim(arg);
  if (rest.n > 1 && *rest.p == '>') {
    sep = rest.p[1];
    rest = str_n(rest.p + 2, rest.n - 2);
  }
  while (rest.n) {
    size_t n = find_special(rest, in_group ? ",;" : ",;:");
    char end = n < rest.n ? rest.p[n] : '\0';
    if (end != ':') add_address(x, out, str_n(rest.p, n), sep, &first);
    in_group = end == ':' || (in_group && end != ';');
    n = MIN(n + 1, rest.n);
    rest = str_n(rest.p + n, rest.n - n);
  }
  return true;
}

bool exp_op_quote_local_part(OP_ARGS) {
  strbuf_adds(out, addr_quote_local_part(x->a, arg));
  return true;
}

/* ---- IP addresses ---- */

static uint16_t ip_group(const struct ip *ip, int i) { return (uint16_t)(ip->b[2 * i] << 8 | ip->b[2 * i + 1]); }

static void add_groups(struct strbuf *out, const struct ip *ip, char sep) {
  for (int i = 0; i < 8; i++) {
    if (i) strbuf_addc(out, sep);
    strbuf_addf(out, "%04x", ip_group(ip, i));
  }
}

/* RFC 5952 without the dotted tail: the first longest run of two or more zero groups becomes "::". */
static void add_compressed(struct strbuf *out, const struct ip *ip) {
  int best = 8, best_len = 1;
  for (int i = 0; i < 8; i++) {
    int n = 0;
    while (i + n < 8 && ip_group(ip, i + n) == 0) n++;
    if (n > best_len) {
      best = i;
      best_len = n;
    }
  }
  for (int i = 0; i < 8; i++) {
    if (i == best) {
      strbuf_adds(out, "::");
      i += best_len - 1;
      continue;
    }
    if (i && i != best + best_len) strbuf_addc(out, ':');
    strbuf_addf(out, "%x", ip_group(ip, i));
  }
}

static struct ip ip_as_v6(struct ip ip) {
  if (ip.family == 6) return ip;
  struct ip r = {.family = 6};
  r.b[10] = r.b[11] = 0xff;
  memcpy(r.b + 12, ip.b, 4);
  return r;
}

bool exp_op_ipv6(OP_ARGS) {
  struct ip ip;
  if (!ip_parse(arg, &ip)) return exp_fail(x, "\"%s\" is not an IP address", arg.p);
  ip = ip_as_v6(ip);
  if (is_tainted(arg.p)) strbuf_taint(out);
  if (op->kind == 'd')
    add_groups(out, &ip, ':');
  else
    add_compressed(out, &ip);
  return true;
}

bool exp_op_mask(OP_ARGS) {
  struct ip ip;
  size_t slash = str_index(arg, '/');
  uint64_t bits = 0;
  struct str tail = slash < arg.n ? str_n(arg.p + slash + 1, arg.n - slash - 1) : STR_NULL;
  if (!ip_parse(str_n(arg.p, slash), &ip)) return exp_fail(x, "\"%s\" is not an IP address", arg.p);
  if (slash == arg.n) return exp_fail(x, "missing mask value in \"%s\"", arg.p);
  if (!str_parse_u64(tail, &bits)) return exp_fail(x, "\"%s\" is not an IP address", arg.p);
  int size = ip.family == 4 ? 4 : 16;
  if (bits > (uint64_t)size * 8) return exp_fail(x, "mask value too big in \"%s\"", arg.p);
  for (int i = 0; i < size; i++) {
    int keep = (int)bits - i * 8;
    ip.b[i] &= (uint8_t)(keep >= 8 ? 0xff : keep <= 0 ? 0 : 0xff << (8 - keep));
  }
  if (is_tainted(arg.p)) strbuf_taint(out);
  if (ip.family == 4)
    strbuf_addf(out, "%d.%d.%d.%d", ip.b[0], ip.b[1], ip.b[2], ip.b[3]);
  else if (suffix && strcmp(suffix, "n") == 0)
    add_compressed(out, &ip);
  else
    add_groups(out, &ip, '.');
  strbuf_addf(out, "/%d", (int)bits);
  return true;
}

bool exp_op_reverse_ip(OP_ARGS) {
  struct ip ip;
  char buf[128];
  size_t slash = str_index(arg, '/');
  if (!ip_parse(str_n(arg.p, slash), &ip)) return exp_fail(x, "reverse_ip() not given an IP address [%s]", arg.p);
  if (is_tainted(arg.p)) strbuf_taint(out);
  strbuf_adds(out, ip_reverse(&ip, false, buf, sizeof buf));
  return true;
}

/* ---- internationalised domains ---- */

bool exp_op_utf8_domain(OP_ARGS) {
  char *r = NULL;
  bool to_ascii = op->kind == 't', is_ascii = true;
  for (size_t i = 0; i < arg.n; i++) is_ascii &= (uint8_t)arg.p[i] < 128;
  if (to_ascii && is_ascii) { /* nothing to convert: not a letter changes */
    strbuf_addstr(out, arg);
    return true;
  }
  int rc = to_ascii ? idn2_to_ascii_8z(arg.p, &r, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) : idn2_to_unicode_8z8z(arg.p, &r, 0);
  if (rc != IDN2_OK)
    return to_ascii ? exp_fail(x, "error converting utf8 (%s) to alabel: %s", log_escape(x->a, arg), idn2_strerror(rc))
                    : exp_fail(x, "error converting alabel (%s) to utf8: %s", log_escape(x->a, arg), idn2_strerror(rc));
  strbuf_add_t(out, r, strlen(r), is_tainted(arg.p) ? TAINTED : UNTAINTED);
  idn2_free(r);
  return true;
}

bool exp_op_utf8_localpart(OP_ARGS) {
  const char *error = NULL;
  const char *r = op->kind == 'f' ? utf8_localpart_from_alabel(x->a, arg, &error) : utf8_localpart_to_alabel(x->a, arg, &error);
  if (!r && op->kind == 'f') return exp_fail(x, "error converting alabel (%s) to utf8: %s", log_escape(x->a, arg), error);
  if (!r) return exp_fail(x, "error converting utf8 (%s) to alabel: %s", log_escape(x->a, arg), error);
  strbuf_add_t(out, r, strlen(r), is_tainted(arg.p) ? TAINTED : UNTAINTED);
  return true;
}
