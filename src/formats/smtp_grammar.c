/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMTP lines: commands with parameters, BDAT arguments, reply codes, xtext.
 *
 * Floor: formats.  Pure functions over slices; every byte of the input is hostile.  Results point into the
 * input or live in the caller's arena.  RFC 5321 §4.1, 2920, 3030, 3461 §4, 1870; manual ch. 48. */
#include "formats/smtp_grammar.h"

#include "base/strbuf.h"

static const struct verb_name {
  const char *name;
  enum smtp_verb verb;
} verb_names[] = {
  {"HELO", VERB_HELO}, {"EHLO", VERB_EHLO}, {"LHLO", VERB_LHLO}, {"DATA", VERB_DATA}, {"BDAT", VERB_BDAT},
  {"RSET", VERB_RSET}, {"NOOP", VERB_NOOP}, {"QUIT", VERB_QUIT}, {"VRFY", VERB_VRFY}, {"EXPN", VERB_EXPN},
  {"HELP", VERB_HELP}, {"ETRN", VERB_ETRN}, {"ATRN", VERB_ATRN}, {"AUTH", VERB_AUTH},
  {"STARTTLS", VERB_STARTTLS}, {"XCLIENT", VERB_XCLIENT}, {"WELLKNOWN", VERB_WELLKNOWN},
};

const char *smtp_verb_name(enum smtp_verb v) {
  if (v == VERB_MAIL) return "MAIL";
  if (v == VERB_RCPT) return "RCPT";
  for (size_t i = 0; i < ARRAY_SIZE(verb_names); i++)
    if (verb_names[i].verb == v) return verb_names[i].name;
  return "?";
}

/* Two words and a colon ("MAIL FROM:", "RCPT TO :"): blanks may stand around the second word. */
static bool take_two_words(struct str line, struct str first, struct str second, struct str *ret_rest) {
  if (!str_startsic(line, first) || line.n == first.n || !ch_isspace(line.p[first.n])) return false;
  struct str s = str_ltrim(str_n(line.p + first.n, line.n - first.n));
  if (!str_startsic(s, second)) return false;
  s = str_ltrim(str_n(s.p + second.n, s.n - second.n));
  if (s.n == 0 || s.p[0] != ':') return false;
  *ret_rest = str_trim(str_n(s.p + 1, s.n - 1));
  return true;
}

enum smtp_verb smtp_parse_verb(struct str line, struct str *ret_arg, bool *ret_bad_form) {
  *ret_bad_form = false;
  line = str_ltrim(line);
  if (take_two_words(line, STR("MAIL"), STR("FROM"), ret_arg)) return VERB_MAIL;
  if (take_two_words(line, STR("RCPT"), STR("TO"), ret_arg)) return VERB_RCPT;
  struct str rest = line, word = str_word(&rest);
  *ret_arg = str_trim(rest);
  if (str_eqic(word, STR("MAIL")) || str_eqic(word, STR("RCPT"))) {
    *ret_bad_form = true;
    return VERB_UNKNOWN;
  }
  for (size_t i = 0; i < ARRAY_SIZE(verb_names); i++)
    if (str_eqic_c(word, verb_names[i].name)) return verb_names[i].verb;
  return VERB_UNKNOWN;
}

bool smtp_next_param(struct str *rest, struct str *ret_key, struct str *ret_value, bool *ret_has_value) {
  struct str s = str_ltrim(*rest);
  if (s.n == 0) return false;
  struct str word = str_word(&s);
  size_t eq = str_index(word, '=');
  if (eq == 0) return false;
  *ret_has_value = eq < word.n;
  *ret_key = str_n(word.p, eq);
  *ret_value = *ret_has_value ? str_n(word.p + eq + 1, word.n - eq - 1) : str_n(word.p + word.n, 0);
  *rest = s;
  return true;
}

/* What stands right behind the '>' belongs to the path, and spoils it. */
static size_t glued_len(struct str arg, size_t at) {
  while (at < arg.n && !ch_isspace(arg.p[at])) at++;
  return at;
}

size_t smtp_path_len(struct str arg) {
  bool in_quotes = false, in_angles = arg.n > 0 && arg.p[0] == '<';
  int depth = 0;
  for (size_t i = 0; i < arg.n; i++) {
    char c = arg.p[i];
    if (c == '\\' && i + 1 < arg.n) {
      i++;
    } else if (c == '"') {
      in_quotes = !in_quotes;
    } else if (in_quotes) {
      continue;
    } else if (in_angles && c == '<') {
      depth++;
    } else if (in_angles && c == '>') {
      if (--depth <= 0) return glued_len(arg, i + 1);
    } else if (!in_angles && ch_isspace(c)) {
      return i;
    }
  }
  return arg.n;
}

bool smtp_parse_bdat(struct str arg, uint64_t *ret_size, bool *ret_last) {
  struct str rest = str_trim(arg), number = str_word(&rest);
  uint64_t size;
  if (number.n == 0 || !ch_isdigit(number.p[0]) || !str_parse_u64(number, &size)) return false;
  if (size > UINT64_C(1) << 62) return false;
  rest = str_trim(rest);
  if (rest.n != 0 && !str_eqic(rest, STR("LAST"))) return false;
  *ret_size = size;
  *ret_last = rest.n != 0;
  return true;
}

/* Up to three digits. */
static size_t digits_len(struct str s, size_t at) {
  size_t n = 0;
  while (n < 4 && at + n < s.n && ch_isdigit(s.p[at + n])) n++;
  return n <= 3 ? n : 0;
}

size_t smtp_enhanced_code_len(struct str text, int first_digit) {
  if (text.n < 6 || text.p[0] != '0' + first_digit || text.p[1] != '.') return 0;
  size_t subject = digits_len(text, 2);
  if (subject == 0 || 2 + subject >= text.n || text.p[2 + subject] != '.') return 0;
  size_t at = 3 + subject, detail = digits_len(text, at);
  if (detail == 0 || at + detail >= text.n || text.p[at + detail] != ' ') return 0;
  return at + detail + 1;
}

const char *xtext_encode(struct arena *a, struct str s) {
  static const char hex[] = "0123456789ABCDEF";
  struct strbuf b = strbuf_new(a);
  if (is_tainted(s.p)) strbuf_taint(&b);
  for (size_t i = 0; i < s.n; i++) {
    unsigned char c = (unsigned char)s.p[i];
    if (c < 33 || c > 126 || c == '+' || c == '=') {
      strbuf_addc(&b, '+');
      strbuf_addc(&b, hex[c >> 4]);
      strbuf_addc(&b, hex[c & 15]);
    } else {
      strbuf_addc(&b, (char)c);
    }
  }
  return b.p;
}

const char *xtext_decode(struct arena *a, struct str s) {
  struct strbuf b = strbuf_new(a);
  if (is_tainted(s.p)) strbuf_taint(&b);
  for (size_t i = 0; i < s.n; i++) {
    char c = s.p[i];
    if (c == '+') {
      if (i + 2 >= s.n) return NULL;
      int high = ch_hexval(s.p[i + 1]), low = ch_hexval(s.p[i + 2]);
      if (high < 0 || low < 0 || (high == 0 && low == 0)) return NULL;
      strbuf_addc(&b, (char)(high * 16 + low));
      i += 2;
    } else if (c < 33 || c > 126 || c == '=') {
      return NULL;
    } else {
      strbuf_addc(&b, c);
    }
  }
  return b.p;
}

bool smtp_is_keyword(struct str s) {
  if (s.n == 0 || !ch_isalnum(s.p[0])) return false;
  for (size_t i = 1; i < s.n; i++)
    if (!ch_isalnum(s.p[i]) && s.p[i] != '-') return false;
  return true;
}
