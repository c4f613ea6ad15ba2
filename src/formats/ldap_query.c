/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queries of the ldap lookups as text.  Floor: formats.  Manual ch. 9.14-9.19, RFC 4514, 4515, 4516.
 *
 * Settings "NAME=value" in front of a URL, quoting for filters and names, values of attributes, and hiding passwords.  All input may be hostile: a
 * configuration puts foreign text into queries, values are the server's.  Results are arena text, tainted as what they are made of. */
#include "formats/ldap_query.h"

#include "formats/codecs.h"

static const char hex_digits[] = "0123456789ABCDEF";

bool ldap_query_is_url(const char *url) {
  struct str s = str_c(url);
  return str_startsic(s, STR("ldap://")) || str_startsic(s, STR("ldaps://")) || str_startsic(s, STR("ldapi://"));
}

/* ---- settings ---- */

/* The value at *s, in double quotes or up to a space; false: the quotes have no end. */
static bool read_value(struct arena *a, const char **s, const char **ret) {
  struct strbuf b = strbuf_new_t(a, taint_kind(*s), 32);
  const char *p = *s;
  if (*p != '"') {
    while (*p && !ch_isspace(*p)) p++;
    strbuf_add(&b, *s, (size_t)(p - *s));
  } else {
    for (p++; *p && *p != '"';) {
      size_t used = 1;
      int c = *p == '\\' ? escape_interpret(str_n(p, strnlen(p, 8)), &used) : *p;
      if (c) strbuf_addc(&b, (char)c);
      p += used;
    }
    if (!*p) return false;
    p++;
  }
  *s = p;
  *ret = b.p;
  return true;
}

/* Without URL quoting.  "%00" and what is no pair of digits stay. */
static const char *url_decode(struct arena *a, const char *s) {
  struct strbuf b = strbuf_new_t(a, taint_kind(s), strlen(s) + 1);
  for (; *s; s++) {
    int high = *s == '%' ? ch_hexval(s[1]) : -1, low = high >= 0 ? ch_hexval(s[2]) : -1;
    if (low < 0 || high + low == 0) {
      strbuf_addc(&b, *s);
    } else {
      strbuf_addc(&b, (char)(high * 16 + low));
      s += 2;
    }
  }
  return b.p;
}

enum setting { NETTIME, DEREFERENCE, PASS, REFERRALS, SERVERS, SIZE, TIME, USER };

static const struct {
  const char *name;
  enum setting setting;
} settings[] = {
  {"connect", NETTIME}, {"dereference", DEREFERENCE}, {"nettime", NETTIME}, {"pass", PASS}, {"referrals", REFERRALS},
  {"servers", SERVERS}, {"size", SIZE},               {"time", TIME},       {"user", USER},
};

/* The number that text begins with, 0 when it begins with none: what else stands there was never complained of. */
static int64_t leading_number(const char *text) {
  size_t n = 0;
  int64_t v;
  while (ch_isdigit(text[n])) n++;
  return str_parse_i64(str_n(text, n), &v) ? MIN(v, INT32_MAX) : 0;
}

static enum ldap_query_deref deref_of(const char *word) {
  static const char *const words[] = {"never", "searching", "finding", "always"};
  for (size_t i = 0; i < ARRAY_SIZE(words); i++)
    if (strcmpic(word, words[i]) == 0) return (enum ldap_query_deref)i;
  return LDAP_QUERY_DEREF_UNSET;
}

static const char *apply(struct arena *a, struct ldap_query *q, enum setting setting, const char *value) {
  switch (setting) {
  case NETTIME: q->nettime_sec = leading_number(value); break;
  case DEREFERENCE: q->deref = deref_of(value); break;
  case PASS: q->password = value; break;
  case SERVERS: q->servers = value; break;
  case SIZE: q->size_entries = leading_number(value); break;
  case TIME: q->time_sec = leading_number(value); break;
  case USER: q->user = url_decode(a, value); break;
  case REFERRALS:
    q->follow_referrals = strcmpic(value, "follow") == 0;
    if (!q->follow_referrals && strcmpic(value, "nofollow") != 0) return "LDAP option REFERRALS is not \"follow\" or \"nofollow\"";
    break;
  }
  return NULL;
}

/* One setting at *s, which is not at a space.  The name is all up to its equals sign. */
static const char *read_setting(struct arena *a, const char **s, struct ldap_query *q) {
  static const char malformed[] = "malformed parameter setting precedes LDAP URL";
  const char *value;
  struct str name = str_n(*s, strcspn(*s, "="));
  if (!(*s)[name.n]) return malformed;
  *s += name.n + 1;
  if (!read_value(a, s, &value) || (**s && !ch_isspace(**s))) return malformed;
  for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
    if (str_eqic_c(name, settings[i].name)) return apply(a, q, settings[i].setting, value);
  if (!**s) return malformed;
  /* Only its last word: the end of a password without quotes may stand before it. */
  name = str_rtrim(name);
  for (size_t i = name.n; i > 0; i--)
    if (ch_isspace(name.p[i - 1])) {
      name = str_n(name.p + i, name.n - i);
      break;
    }
  return arena_printf(a, "unknown parameter \"%.*s=\" precedes LDAP URL", STR_FMT(name));
}

const char *ldap_query_parse(struct arena *a, const char *text, struct ldap_query *ret) {
  struct ldap_query q = {.deref = LDAP_QUERY_DEREF_UNSET, .follow_referrals = true};
  for (;;) {
    while (ch_isspace(*text)) text++;
    if (!*text || strncmpic(text, "ldap", 4) == 0) break;
    const char *error = read_setting(a, &text, &q);
    if (error) return error;
  }
  q.url = text;
  *ret = q;
  return NULL;
}

/* ---- quoting ---- */

static void add_url_char(struct strbuf *out, char c) {
  if (ch_isalnum(c) || (c && strchr("!$'-._()*+", c))) {
    strbuf_addc(out, c);
  } else {
    strbuf_addc(out, '%');
    strbuf_addc(out, hex_digits[(uint8_t)c >> 4]);
    strbuf_addc(out, hex_digits[c & 15]);
  }
}

void ldap_query_quote_filter(struct strbuf *out, struct str text) {
  for (size_t i = 0; i < text.n; i++) {
    char c = text.p[i];
    if (c && strchr("*()\\", c)) {
      strbuf_adds(out, "%5C");
      strbuf_addc(out, hex_digits[(uint8_t)c >> 4]);
      strbuf_addc(out, hex_digits[c & 15]);
    } else {
      add_url_char(out, c);
    }
  }
}

void ldap_query_quote_dn(struct strbuf *out, struct str text) {
  size_t lead = 0, end = text.n;
  while (lead < text.n && (text.p[lead] == ' ' || text.p[lead] == '#')) lead++;
  while (end > lead && text.p[end - 1] == ' ') end--;
  for (size_t i = 0; i < text.n; i++) {
    char c = text.p[i];
    if (i < lead || i >= end || (c && strchr(",+\"\\<>;", c))) strbuf_adds(out, "%5C");
    add_url_char(out, c);
  }
}

/* ---- results ---- */

void ldap_query_add_value(struct strbuf *out, struct str value, bool is_quoted) {
  for (size_t i = 0; i < value.n && value.p[i]; i++) {
    char c = value.p[i];
    if (is_quoted && c == '\n') {
      strbuf_adds(out, "\\n");
      continue;
    }
    if (c == ',') strbuf_addc(out, ',');
    else if (is_quoted && (c == '"' || c == '\\')) strbuf_addc(out, '\\');
    strbuf_addc(out, c);
  }
}

/* ---- passwords ---- */

static bool starts_password(const char *text, const char *p) {
  return strncmpic(p, "pass=", 5) == 0 && (p == text || !ch_isalnum(p[-1]));
}

/* Does another setting, or the URL, begin here? */
static bool starts_more(const char *p) {
  if (strncmpic(p, "ldap", 4) == 0) return true;
  struct str name = str_n(p, strcspn(p, "= \t"));
  for (size_t i = 0; p[name.n] == '=' && i < ARRAY_SIZE(settings); i++)
    if (str_eqic_c(name, settings[i].name)) return true;
  return false;
}

/* Where the password at p ends.  One that is written wrongly ends where something else clearly begins. */
static const char *password_end(const char *p) {
  if (*p == '"') {
    for (p++; *p && !(*p == '"' && (!p[1] || ch_isspace(p[1]))); p++)
      if (*p == '\\' && p[1]) p++;
    if (*p) p++;
  }
  while (*p && !(ch_isspace(*p) && starts_more(p + 1))) p++;
  return p;
}

const char *ldap_query_hide(struct arena *a, const char *text) {
  if (!strstric(text, "pass=")) return text;
  struct strbuf b = strbuf_new_t(a, taint_kind(text), strlen(text) + 8);
  for (const char *p = text; *p;) {
    if (!starts_password(text, p)) {
      strbuf_addc(&b, *p++);
      continue;
    }
    strbuf_add(&b, p, 5);
    strbuf_adds(&b, "XXX");
    p = password_end(p + 5);
  }
  return b.p;
}
