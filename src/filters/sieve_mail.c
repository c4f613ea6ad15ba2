/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Texts of the messages that Sieve scripts make (sieve_mail.h).  Floor: drivers (pure; the texts are hostile). */
#include "filters/sieve_mail.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "formats/codecs.h"

enum { QP_LINE = 75 };

const char *sieve_mail_line(struct arena *a, struct str s) {
  char *p = arena_strndup(a, s.p ? s.p : "", s.n);
  for (size_t i = 0; i < s.n; i++)
    if (ch_iscntrl(p[i])) p[i] = ' ';
  return p;
}

const char *sieve_mail_subject(struct arena *a, struct str s, bool always) {
  const char *line = sieve_mail_line(a, s);
  const char *coded = always ? rfc2047_encode_always(a, str_c(line), "utf-8") : rfc2047_encode(a, str_c(line), "utf-8");
  struct strbuf b = strbuf_new_t(a, taint_kind(coded), 128);
  for (; *coded; coded++) { /* each word on a line of its own */
    if (*coded == ' ' && (always || coded[1] == '=') && coded[1]) strbuf_addc(&b, '\n');
    strbuf_addc(&b, *coded);
  }
  return b.p;
}

const char *sieve_mail_text(struct arena *a, struct str s) {
  struct strbuf b = strbuf_new_t(a, taint_kind(s.p), s.n + 1);
  for (size_t i = 0; i < s.n; i++)
    if (s.p[i] != '\0' && s.p[i] != '\r') strbuf_addc(&b, s.p[i]);
  return b.p;
}

static void add_qp_line(struct strbuf *out, struct str line) {
  static const char hex[] = "0123456789ABCDEF";
  size_t column = 0, text_end = line.n;
  while (text_end && ch_isblank(line.p[text_end - 1])) text_end--;
  for (size_t i = 0; i < line.n; i++) {
    unsigned char c = (unsigned char)line.p[i];
    bool plain = (ch_isprint(c) && c != '=') || c == '\t';
    if (i >= text_end) plain = false;
    size_t width = plain ? 1 : 3;
    if (column + width > QP_LINE) {
      strbuf_adds(out, "=\n");
      column = 0;
    }
    if (plain) strbuf_addc(out, (char)c);
    else strbuf_add_t(out, (const char[]){'=', hex[c >> 4], hex[c & 15]}, 3, UNTAINTED);
    column += width;
  }
}

const char *sieve_mail_quoted_printable(struct arena *a, struct str s) {
  struct strbuf b = strbuf_new_t(a, taint_kind(s.p), s.n + 1);
  while (s.n) {
    bool has_end = str_index(s, '\n') < s.n;
    struct str line = str_cut(&s, '\n');
    if (has_end && line.n && line.p[line.n - 1] == '\r') line.n--;
    add_qp_line(&b, line);
    if (has_end) strbuf_addc(&b, '\n');
  }
  return b.p;
}

const char *sieve_mail_digest(struct arena *a, struct str s) {
  unsigned char d[16];
  struct strbuf b = strbuf_new(a);
  if (gnutls_hash_fast(GNUTLS_DIG_MD5, s.p, s.n, d) != 0) return "answers";
  for (size_t i = 0; i < sizeof d; i++) strbuf_addf(&b, "%02X", (unsigned)d[i]);
  return b.p;
}
