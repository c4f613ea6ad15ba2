/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mailto: URIs of the notify command.  Floor: drivers (pure; the text is hostile).  RFC 6068, RFC 5436 section 2.
 *
 * Fields that say where a message comes from or what it is are the program's alone (RFC 5436 section 2.7): such hnames are passed over. */
#include "filters/sieve.h"
#include "formats/rfc5322.h"

enum { MAILTO_MAX = 4096 };
#define INVALID "Syntactically invalid URI"

/* Percent escapes undone; line ends become LF and are allowed in bodies only.  NULL for a malformed text. */
static const char *decode(struct arena *a, struct str s, bool is_body) {
  struct strbuf b = strbuf_new_t(a, taint_kind(s.p), s.n + 1);
  for (size_t i = 0; i < s.n; i++) {
    int c = s.p[i];
    if (c == '%') {
      if (i + 2 >= s.n || ch_hexval(s.p[i + 1]) < 0 || ch_hexval(s.p[i + 2]) < 0) return NULL;
      c = ch_hexval(s.p[i + 1]) * 16 + ch_hexval(s.p[i + 2]);
      i += 2;
    }
    if (is_body && c == '\r') continue;
    if (ch_iscntrl(c) && !(is_body && (c == '\n' || c == '\t'))) return NULL;
    strbuf_addc(&b, (char)c);
  }
  return b.p;
}

/* Addresses separated by commas, each of them good. */
static bool are_addresses(struct arena *a, struct str list) {
  while (list.n) {
    const char *error;
    size_t n = rfc5322_find_address_end(list);
    struct addr_opts o = {.allow_domain_literal = true, .allow_utf8 = true};
    if (!rfc5322_extract_address(a, str_n(list.p, n), o, NULL, &error)) return false;
    list = n < list.n ? str_n(list.p + n + 1, list.n - n - 1) : STR_NULL;
  }
  return true;
}

static bool add_recipients(struct arena *a, const char **list, const char *more) {
  if (!more || !are_addresses(a, str_c(more))) return false;
  if (*more) *list = *list ? arena_printf(a, "%s, %s", *list, more) : more;
  return true;
}

static bool is_passed_on(struct str name) {
  static const char *const names[] = {"in-reply-to", "references", "keywords", "comments", "importance", "priority"};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    if (str_eqic_c(name, names[i])) return true;
  return str_startsic(name, STR("x-")) && name.n > 2;
}

static bool add_field(struct arena *a, struct sieve_mailto *m, struct strbuf *headers, struct str field) {
  size_t n = str_index(field, '=');
  const char *name = decode(a, str_n(field.p, n), false);
  if (n == field.n || !name || !*name) return false;
  const char *value = decode(a, str_n(field.p + n + 1, field.n - n - 1), strcmpic(name, "body") == 0);
  if (!value) return false;
  if (strcmpic(name, "to") == 0) return add_recipients(a, &m->to, value);
  if (strcmpic(name, "cc") == 0) return add_recipients(a, &m->cc, value);
  if (strcmpic(name, "bcc") == 0) return add_recipients(a, &m->bcc, value);
  if (strcmpic(name, "subject") == 0) m->subject = value;
  else if (strcmpic(name, "body") == 0) m->body = value;
  else if (!header_is_valid_start(str_c(arena_printf(a, "%s:", name)))) return false;
  else if (is_passed_on(str_c(name))) strbuf_addl(headers, name, ": ", value, "\n", NULL);
  return true;
}

const char *sieve_parse_mailto(struct arena *a, struct str uri, struct sieve_mailto *ret) {
  struct sieve_mailto m = {0};
  struct strbuf headers = strbuf_new_t(a, taint_kind(uri.p), 64);
  if (!str_startsic(uri, STR("mailto:"))) return "Unknown URI scheme";
  if (uri.n > MAILTO_MAX || memchr(uri.p, '\0', uri.n)) return INVALID;
  uri = str_n(uri.p + 7, uri.n - 7);
  bool has_fields = str_index(uri, '?') < uri.n;
  struct str to = str_cut(&uri, '?');
  if (!add_recipients(a, &m.to, decode(a, to, false))) return INVALID;
  if (has_fields && !uri.n) return INVALID;
  while (uri.n)
    if (!add_field(a, &m, &headers, str_cut(&uri, '&'))) return INVALID;
  if (!m.to && !m.cc && !m.bcc) return INVALID;
  m.headers = headers.p;
  *ret = m;
  return NULL;
}
