/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Items and conditions about addresses and folders: ${srs_encode, inbound_srs, ${imapfolder.  Floor: policy.
 *
 * Manual sections 11.5, 58.5, 60.2.  An SRS address is SRS0=<hash>=<day>=<domain>=<local part>: the hash is the first four hex digits of
 * the HMAC-MD5 of the address in lower case, the day two base 32 digits of the day number modulo 1024.  It holds for ten days.  Everything
 * in an address that arrives is hostile; what is decoded from it stays tainted. */
#include "base/timeutil.h"
#include "formats/rfc5322.h"
#include "message.h"
#include "policy/expand/expand_priv.h"

enum { SRS_DAYS = 10, SRS_DAY_CYCLE = 1024, SRS_HASH_CHARS = 4 };

static const char base32[] = "abcdefghijklmnopqrstuvwxyz234567";

/* ---- SRS ---- */

static unsigned srs_today(void) { return (unsigned)(time_sec() / 86400 % SRS_DAY_CYCLE); }

static const char *srs_hash(struct expand_ctx *x, const char *secret, const char *local, const char *domain) {
  uint8_t mac[64];
  size_t n = 0;
  struct strbuf b = strbuf_new(x->a);
  const char *text = arena_printf(x->a, "%s@%s", local, domain);
  if (!exp_hmac("md5", secret, str_dup_lower(x->a, str_c(text)), mac, &n)) return "";
  exp_add_hex(&b, mac, n, false, UNTAINTED);
  strbuf_truncate(&b, SRS_HASH_CHARS);
  return b.p;
}

bool exp_item_srs_encode(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs UNUSED) {
  const char *error = NULL;
  size_t at = 0;
  struct addr_opts o = {.allow_empty = true, .allow_domain_literal = true};
  if (!*args[1]) return true;
  const char *address = rfc5322_extract_address(x->a, str_c(args[1]), o, &at, &error);
  if (!address) return exp_fail(x, "%s", error);
  const char *domain = at ? address + at : "";
  struct str local = str_n(address, at ? at - 1 : strlen(address));
  bool quoted = local.n > 1 && local.p[0] == '"' && local.p[local.n - 1] == '"';
  if (quoted) local = str_n(local.p + 1, local.n - 2);
  const char *text = str_dup(x->a, local);
  unsigned day = srs_today();
  const char *q = quoted ? "\"" : "";
  strbuf_addf(out, "%sSRS0=%s=%c%c=%s=%s%s@%s", q, srs_hash(x, args[0], text, domain), base32[day >> 5], base32[day & 31], domain, text, q,
              args[2]);
  return true;
}

/* The four fields behind SRS0=; false when the local part has not that form. */
static bool srs_split(struct str s, struct str field[4]) {
  if (!str_startsic(s, STR("SRS0="))) return false;
  s = str_n(s.p + 5, s.n - 5);
  for (int i = 0; i < 3; i++) {
    if (str_index(s, '=') == s.n) return false;
    field[i] = str_cut(&s, '=');
  }
  field[3] = s;
  return field[0].n > 0 && field[1].n == 2 && field[2].n > 0;
}

static bool srs_day_is_good(struct str day) {
  unsigned number = 0;
  for (int i = 0; i < 2; i++) {
    const char *at = day.p[i] ? strchr(base32, ch_lower(day.p[i])) : NULL;
    if (!at) return false;
    number = number << 5 | (unsigned)(at - base32);
  }
  return (srs_today() + SRS_DAY_CYCLE - number) % SRS_DAY_CYCLE <= SRS_DAYS;
}

/* Compares in the same time wherever the texts differ. */
static bool same_text(struct str a, const char *b) {
  unsigned char different = a.n != strlen(b);
  for (size_t i = 0; i < a.n && b[i]; i++) different |= (unsigned char)(a.p[i] ^ b[i]);
  return !different;
}

bool exp_inbound_srs(struct expand_ctx *x, const char *local_part, const char *secret) {
  struct str field[4];
  if (!srs_split(str_c(local_part), field)) return false;
  const char *domain = str_dup(x->a, field[2]), *local = str_dup(x->a, field[3]);
  struct arena *a = x->msg ? x->msg->arena : x->a; /* the value is read by other options of the router */
  x->srs_recipient = arena_printf(a, "%s@%s", addr_quote_local_part(x->a, str_c(local)), domain);
  /* Without a secret only the form counts. */
  return !*secret || (srs_day_is_good(field[1]) && same_text(field[0], srs_hash(x, secret, local, domain)));
}

/* ---- folders ---- */

/* Modified UTF-7 (RFC 3501 section 5.1.3): UTF-16 in base 64 with a comma for the slash, between & and -. */
static void add_utf7(struct strbuf *out, const uint16_t *units, size_t n) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";
  uint32_t bits = 0;
  int have = 0;
  strbuf_addc(out, '&');
  for (size_t i = 0; i < n; i++) {
    bits = bits << 16 | units[i];
    for (have += 16; have >= 6; have -= 6) strbuf_addc(out, digits[bits >> (have - 6) & 63]);
  }
  if (have > 0) strbuf_addc(out, digits[bits << (6 - have) & 63]);
  strbuf_addc(out, '-');
}

struct folder {
  struct strbuf *out;
  uint16_t *units; /* room for as many as the name has bytes */
  size_t n;
};

static void flush_units(struct folder *f) {
  if (f->n) add_utf7(f->out, f->units, f->n);
  f->n = 0;
}

static void add_code(struct folder *f, uint32_t code) {
  if (code >= 0x10000) {
    f->units[f->n++] = (uint16_t)(0xd800 + ((code - 0x10000) >> 10));
    code = 0xdc00 + ((code - 0x10000) & 0x3ff);
  }
  f->units[f->n++] = (uint16_t)code;
}

/* One level of the name, up to the separator. */
static bool add_level(struct expand_ctx *x, struct folder *f, struct str level, char sep, const char *special) {
  uint32_t code;
  for (size_t used; level.n > 0; level = str_n(level.p + used, level.n - used)) {
    size_t bad;
    used = exp_utf8_sequence(level, &code, &bad);
    if (!used) return exp_fail(x, "imapfolder: \"%.*s\" is not UTF-8", STR_FMT(level));
    if ((code == '.' || code == '/') && code != (unsigned char)sep)
      return exp_fail(x, "imapfolder: illegal character '%c'", (int)code);
    if (code >= 128 || ch_iscntrl((int)code) || strchr(special, (int)code)) {
      add_code(f, code);
      continue;
    }
    flush_units(f);
    strbuf_addc(f->out, (char)code);
    if (code == '&') strbuf_addc(f->out, '-');
  }
  flush_units(f);
  return true;
}

bool exp_item_imapfolder(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs) {
  char sep = nargs > 1 ? args[1][0] : '/';
  if (nargs > 1 && (!args[1][0] || args[1][1])) return exp_fail(x, "IMAP folder separator must be one character, found \"%s\"", args[1]);
  struct strbuf name = strbuf_new_t(x->a, is_tainted(args[0]) ? TAINTED : UNTAINTED, 64);
  struct folder f = {&name, ARENA_NEW_N(x->a, uint16_t, strlen(args[0]) + 1), 0};
  struct str rest = str_c(args[0]);
  while (rest.n > 0) {
    struct str level = str_cut(&rest, sep);
    if (level.n == 0) continue;
    if (name.n) strbuf_addc(&name, '.');
    if (!add_level(x, &f, level, sep, nargs > 2 ? args[2] : "")) return false;
  }
  strbuf_adds(out, name.p);
  return true;
}
