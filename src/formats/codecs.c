/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base64, base32, hex, RFC 2047, escapes, UTF-8 (codecs.h).  Floor: formats, pure; input hostile.
 * Charset conversion is iconv's. */
#include "formats/codecs.h"

#include <errno.h>
#include <iconv.h>

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static enum taint taint_of(const void *p) { return is_tainted(p) ? TAINTED : UNTAINTED; }

/* ---- base64, base32, hex ---------------------------------------------------------------------------------- */

const char *base64_encode(struct arena *a, const void *p, size_t n) {
  const unsigned char *in = p;
  char *out = arena_alloc_t(a, size_add(size_mul((n + 2) / 3, 4), 1), taint_of(p)), *o = out;
  for (; n >= 3; n -= 3, in += 3) {
    *o++ = base64_digits[in[0] >> 2];
    *o++ = base64_digits[(in[0] & 3) << 4 | in[1] >> 4];
    *o++ = base64_digits[(in[1] & 15) << 2 | in[2] >> 6];
    *o++ = base64_digits[in[2] & 63];
  }
  if (n > 0) {
    unsigned second = n > 1 ? in[1] : 0;
    *o++ = base64_digits[in[0] >> 2];
    *o++ = base64_digits[(in[0] & 3) << 4 | second >> 4];
    *o++ = n > 1 ? base64_digits[(second & 15) << 2] : '=';
    *o++ = '=';
  }
  *o = '\0';
  return out;
}

static int base64_value(char c) {
  if (ch_isupper(c)) return c - 'A';
  if (ch_islower(c)) return c - 'a' + 26;
  if (ch_isdigit(c)) return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

char *base64_decode(struct arena *a, struct str s, size_t *ret_n) {
  if (s.n % 4 != 0) return NULL;
  size_t pad = s.n && s.p[s.n - 1] == '=' ? 1 + (s.p[s.n - 2] == '=') : 0, digits = s.n - pad;
  char *out = arena_alloc_t(a, s.n / 4 * 3 + 1, taint_of(s.p));
  unsigned acc = 0;
  size_t n = 0;
  int bits = 0;
  for (size_t i = 0; i < digits; i++) {
    int v = base64_value(s.p[i]);
    if (v < 0) return NULL;
    acc = acc << 6 | (unsigned)v;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out[n++] = (char)(acc >> bits & 0xff);
    }
  }
  out[n] = '\0';
  *ret_n = n;
  return out;
}

const char *base32_encode_u64(struct arena *a, uint64_t v) {
  static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
  char buf[16];
  size_t at = sizeof buf;
  do {
    buf[--at] = digits[v & 31];
    v >>= 5;
  } while (v && at > 0);
  return arena_strndup(a, buf + at, sizeof buf - at);
}

const char *hex_encode(struct arena *a, const void *p, size_t n) {
  static const char digits[] = "0123456789abcdef";
  const unsigned char *in = p;
  char *out = arena_alloc_t(a, size_add(size_mul(n, 2), 1), taint_of(p));
  for (size_t i = 0; i < n; i++) {
    out[2 * i] = digits[in[i] >> 4];
    out[2 * i + 1] = digits[in[i] & 15];
  }
  return out;
}

/* ---- escapes and UTF-8 ------------------------------------------------------------------------------------- */

int escape_interpret(struct str s, size_t *ret_used) {
  *ret_used = 1;
  if (s.n < 2) return '\\';
  unsigned char c = (unsigned char)s.p[1];
  size_t i = 2;
  if (c >= '0' && c <= '7') {
    int v = c - '0';
    while (i < s.n && i < 4 && s.p[i] >= '0' && s.p[i] <= '7') v = v * 8 + (s.p[i++] - '0');
    *ret_used = i;
    return v & 0xff;
  }
  if (c == 'x') {
    int v = 0;
    while (i < s.n && i < 4 && ch_isxdigit(s.p[i])) v = v * 16 + ch_hexval(s.p[i++]);
    *ret_used = i;
    return v;
  }
  *ret_used = 2;
  switch (c) {
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'v': return '\v';
    default: return c;
  }
}

/* ---- RFC 2047 ------------------------------------------------------------------------------------------------ */

struct encoded_word {
  struct str charset, text;
  char encoding; /* 'b' or 'q' */
  size_t used;   /* bytes of the whole word */
};

/* Is there an encoded word at the start of s?  *no_end is kept by the caller for one text: once no end mark was found, none comes later, and
 * a text full of beginnings costs no square of its length. */
static bool parse_word(struct str s, bool check_length, bool *no_end, struct encoded_word *ret) {
  if (*no_end || !str_starts(s, STR("=?"))) return false;
  struct str rest = str_n(s.p + 2, s.n - 2);
  struct str charset = str_cut(&rest, '?');
  if (charset.n == 0 || rest.n < 2) return false;
  struct str enc = str_cut(&rest, '?');
  char e = enc.n == 1 ? (char)ch_lower(enc.p[0]) : 0;
  if (e != 'b' && e != 'q') return false;
  size_t end = 0;
  while (end + 1 < rest.n && !(rest.p[end] == '?' && rest.p[end + 1] == '=')) {
    /* blanks are not legal inside; b text never holds '?' */
    if (e == 'b' && (ch_isspace(rest.p[end]) || rest.p[end] == '?')) return false;
    end++;
  }
  if (end + 1 >= rest.n) {
    *no_end = true;
    return false;
  }
  ret->charset = str_n(charset.p, str_index(charset, '*')); /* RFC 2231 language suffix */
  ret->text = str_n(rest.p, end);
  ret->encoding = e;
  ret->used = (size_t)(rest.p + end + 2 - s.p);
  return !check_length || ret->used <= 75;
}

static bool decode_q(struct strbuf *out, struct str t) {
  for (size_t i = 0; i < t.n; i++) {
    char c = t.p[i];
    if (c == '_') {
      c = ' ';
    } else if (c == '=') {
      if (i + 2 >= t.n || !ch_isxdigit(t.p[i + 1]) || !ch_isxdigit(t.p[i + 2])) return false;
      c = (char)(ch_hexval(t.p[i + 1]) * 16 + ch_hexval(t.p[i + 2]));
      i += 2;
    }
    strbuf_addc(out, c);
  }
  return true;
}

/* Asking iconv for a character set it does not know is slow: after some such names no more are tried for one text. */
enum { UNKNOWN_CHARSETS_MAX = 20 };

static void convert_charset(struct strbuf *out, struct arena *a, struct str bytes, struct str from, const char *to, int *unknown) {
  const char *from_c = str_dup(a, from);
  bool convert = to && strcmpic(from_c, to) != 0 && *unknown < UNKNOWN_CHARSETS_MAX;
  iconv_t ic = convert ? iconv_open(to, from_c) : (iconv_t)-1;
  if (ic == (iconv_t)-1) {
    *unknown += convert;
    strbuf_addstr(out, bytes);
    return;
  }
  char *in = (char *)(uintptr_t)bytes.p, chunk[256];
  size_t in_left = bytes.n;
  while (in_left > 0) {
    char *o = chunk;
    size_t o_left = sizeof chunk;
    size_t r = iconv(ic, &in, &in_left, &o, &o_left);
    strbuf_add(out, chunk, sizeof chunk - o_left);
    if (r == (size_t)-1 && errno != E2BIG && in_left > 0) { /* a byte that cannot be converted stands as itself; with //IGNORE the error may come behind the last */
      strbuf_addc(out, *in++);
      in_left--;
    }
  }
  iconv_close(ic);
}

const char *rfc2047_decode(struct arena *a, struct str s, const char *charset, bool check_length, char zero_as) {
  struct strbuf out = strbuf_new_t(a, taint_of(s.p), s.n + 1);
  bool after_word = false, no_end = false;
  int unknown_charsets = 0;
  for (size_t i = 0; i < s.n;) {
    struct encoded_word w;
    struct str here = str_n(s.p + i, s.n - i);
    size_t blanks = 0;
    while (after_word && blanks < here.n && ch_isspace(here.p[blanks])) blanks++;
    /* blanks between two encoded words disappear */
    bool skip_blanks = blanks && parse_word(str_n(here.p + blanks, here.n - blanks), check_length, &no_end, &w);
    if (skip_blanks) {
      i += blanks;
      continue;
    }
    if (!parse_word(here, check_length, &no_end, &w)) {
      strbuf_addc(&out, s.p[i++]);
      after_word = false;
      continue;
    }
    struct strbuf bytes = strbuf_new_t(a, taint_of(s.p), w.text.n + 1);
    size_t n = 0;
    char *decoded = w.encoding == 'b' ? base64_decode(a, w.text, &n) : NULL;
    if (decoded) strbuf_add(&bytes, decoded, n);
    if (w.encoding == 'b' ? !decoded : !decode_q(&bytes, w.text)) {
      strbuf_add(&out, s.p + i, w.used);
    } else {
      for (size_t k = 0; k < bytes.n; k++)
        if (bytes.p[k] == '\0') bytes.p[k] = zero_as;
      convert_charset(&out, a, strbuf_str(&bytes), w.charset, charset, &unknown_charsets);
    }
    i += w.used;
    after_word = true;
  }
  return out.p;
}

static bool needs_word(struct str s) {
  for (size_t i = 0; i < s.n; i++)
    if (!ch_isprint(s.p[i]) && s.p[i] != '\n') return true;
  return false;
}

const char *rfc2047_encode(struct arena *a, struct str s, const char *charset) {
  return needs_word(s) ? rfc2047_encode_always(a, s, charset) : str_dup(a, s);
}

const char *rfc2047_encode_always(struct arena *a, struct str s, const char *charset) {
  struct strbuf out = strbuf_new_t(a, taint_of(s.p), s.n * 2 + 32);
  static const char hex[] = "0123456789ABCDEF";
  const char *open = arena_printf(a, "=?%s?Q?", charset);
  size_t line_start = 0;
  strbuf_adds(&out, open);
  for (size_t i = 0; i < s.n; i++) {
    unsigned char c = (unsigned char)s.p[i];
    /* words of at most 75 octets, the closing ?= included */
    if (out.n - line_start > 67) {
      strbuf_adds(&out, "?= ");
      line_start = out.n;
      strbuf_adds(&out, open);
    }
    if (c == ' ')
      strbuf_addc(&out, '_');
    else if (!ch_isgraph(c) || strchr("=?_\"()<>@,;:\\[].", c))
      strbuf_add(&out, (const char[]){'=', hex[c >> 4], hex[c & 15]}, 3);
    else
      strbuf_addc(&out, (char)c);
  }
  strbuf_adds(&out, "?=");
  return out.p;
}
