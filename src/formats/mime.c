/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MIME (mime.h).  Floor: formats.
 *
 * Parameters are cut at semicolons outside of quotes, where any quote opens or closes: what clients make of broken ones is unknown, and a name
 * must not hide behind one.  Sections of a parameter (RFC 2231) are joined in the order of their numbers, wherever they stand. */
#include "formats/mime.h"

#include "formats/codecs.h"

/* ---- parameters ---- */

struct parameter {
  struct str name;      /* with the marks of RFC 2231 */
  const char *value;    /* without quotes */
};

/* The next parameter of *rest. */
static bool next_parameter(struct arena *a, struct str *rest, struct parameter *ret) {
  while (rest->n > 0 && (ch_isspace(rest->p[0]) || rest->p[0] == ';')) *rest = str_n(rest->p + 1, rest->n - 1);
  if (rest->n == 0) return false;
  size_t i = 0;
  while (i < rest->n && rest->p[i] != '=' && rest->p[i] != ';') i++;
  ret->name = str_trim(str_n(rest->p, i));
  struct strbuf v = strbuf_new_t(a, TAINTED, 16);
  if (i < rest->n && rest->p[i] == '=') {
    bool quoted = false;
    for (i++; i < rest->n && ch_isspace(rest->p[i]);) i++;
    for (; i < rest->n && (quoted || rest->p[i] != ';'); i++) {
      if (rest->p[i] == '"') quoted = !quoted;
      else if (quoted && rest->p[i] == '\\' && i + 1 < rest->n) strbuf_addc(&v, rest->p[++i]);
      else if (rest->p[i] != '\n' && rest->p[i] != '\r' && rest->p[i] != '\0') strbuf_addc(&v, rest->p[i]);
    }
    while (!quoted && v.n > 0 && ch_isspace(v.p[v.n - 1])) strbuf_truncate(&v, v.n - 1);
  }
  ret->value = v.p;
  *rest = str_n(rest->p + i, rest->n - i);
  return true;
}

/* Sections of one parameter. */
struct sections {
  const char *value[MIME_MAX_SECTIONS];
  bool is_extended[MIME_MAX_SECTIONS];
  const char *plain;     /* given as a whole */
  const char *extended;  /* as name*= */
  bool any;
};

/* Is name that of the parameter, with a section number or not?  Then keep it. */
static void collect(struct sections *s, const char *wanted, const struct parameter *p) {
  size_t n = strlen(wanted);
  if (p->name.n < n || !str_eqic(str_n(p->name.p, n), str_c(wanted))) return;
  struct str marks = str_n(p->name.p + n, p->name.n - n);
  if (marks.n == 0) {
    if (!s->plain) s->plain = p->value;
    return;
  }
  if (marks.p[0] != '*') return;
  if (marks.n == 1) {
    if (!s->extended) s->extended = p->value;
    return;
  }
  bool extended = marks.p[marks.n - 1] == '*';
  int number;
  struct str digits = str_n(marks.p + 1, marks.n - 1 - extended);
  if (digits.n == 0 || digits.n > 3 || !ch_isdigit(digits.p[0]) || !str_parse_int(digits, &number) || number >= MIME_MAX_SECTIONS) return;
  if (s->value[number]) return;
  s->value[number] = p->value;
  s->is_extended[number] = extended;
  s->any = true;
}

static void add_unescaped(struct strbuf *b, const char *p) {
  for (; *p; p++) {
    char c = *p;
    if (c == '%' && ch_isxdigit(p[1]) && ch_isxdigit(p[2])) {
      c = (char)(ch_hexval(p[1]) * 16 + ch_hexval(p[2]));
      p += 2;
    }
    strbuf_addc(b, c ? c : '?');
  }
}

/* "charset'language'text": the charset, and p moved behind it.  Without both apostrophes there is none. */
static struct str take_charset(const char **p) {
  const char *q = strchr(*p, '\''), *end = q ? strchr(q + 1, '\'') : NULL;
  if (!end) return STR("");
  struct str cs = str_n(*p, (size_t)(q - *p));
  *p = end + 1;
  return cs;
}

static const char *convert(struct arena *a, struct str charset, struct str bytes, const char *to) {
  if (charset.n == 0 || !to || bytes.n == 0) return str_dup(a, bytes);
  const char *word = arena_printf(a, "=?%.*s?B?%s?=", STR_FMT(charset), base64_encode(a, bytes.p, bytes.n));
  const char *text = rfc2047_decode(a, str_c(word), to, false, '?');
  return strcmp(text, word) == 0 ? str_dup(a, bytes) : text;
}

/* RFC 2231 first: it is what newer clients prefer. */
static const char *join(struct arena *a, const struct sections *s, const char *to) {
  struct strbuf b = strbuf_new_t(a, TAINTED, 32);
  struct str charset = STR("");
  if (s->extended) {
    const char *p = s->extended;
    charset = take_charset(&p);
    add_unescaped(&b, p);
    return convert(a, charset, strbuf_str(&b), to);
  }
  if (!s->any) return s->plain ? rfc2047_decode(a, str_c(s->plain), to, false, '?') : NULL;
  for (int i = 0; i < MIME_MAX_SECTIONS; i++) { /* a missing one is passed over: the end of a name must not be lost */
    const char *p = s->value[i];
    if (!p) continue;
    if (s->is_extended[i] && i == 0) charset = take_charset(&p);
    if (s->is_extended[i]) add_unescaped(&b, p);
    else strbuf_adds(&b, p);
  }
  return convert(a, charset, strbuf_str(&b), to);
}

/* ---- fields ---- */

void mime_note_anomaly(struct mime_fields *f, int level, const char *text) {
  if (level <= f->anomaly_level) return;
  f->anomaly_level = level;
  f->anomaly_text = text;
}

static const char *lower_value(struct arena *a, struct str s) {
  struct str v = str_trim(s);
  struct strbuf b = strbuf_new_t(a, TAINTED, v.n + 1);
  for (size_t i = 0; i < v.n; i++)
    if (v.p[i] != '\n' && v.p[i] != '\r' && v.p[i] != '\0') strbuf_addc(&b, ch_lower(v.p[i]));
  return b.p;
}

/* The value without parameters and comments, as one word. */
static const char *main_value(struct arena *a, struct str s) {
  struct str v = str_trim(str_n(s.p, str_index(s, ';')));
  size_t i = 0;
  while (i < v.n && !ch_isspace(v.p[i]) && v.p[i] != '(') i++;
  return lower_value(a, str_n(v.p, i));
}

static void take_parameters(struct arena *a, struct mime_fields *f, struct str value, bool is_type, const char *charset) {
  struct sections filename = {0}, name = {0}, boundary = {0}, cs = {0};
  size_t semicolon = str_index(value, ';');
  struct strbuf b = strbuf_new_t(a, TAINTED, value.n + 2);
  strbuf_add_t(&b, value.p + semicolon, value.n - semicolon, TAINTED);
  strbuf_addc(&b, ';');
  struct str rest = strbuf_str(&b);
  for (struct parameter p; next_parameter(a, &rest, &p);) {
    collect(&filename, "filename", &p);
    collect(&name, "name", &p);
    if (!is_type) continue;
    collect(&boundary, "boundary", &p);
    collect(&cs, "charset", &p);
  }
  const char *v = join(a, &filename, charset);
  if (!v) v = join(a, &name, charset);
  if (v && (!f->filename || !*f->filename || (!is_type && *v))) f->filename = v; /* Content-Disposition is the one that clients obey */
  if (!is_type) return;
  f->boundary = join(a, &boundary, NULL);
  f->charset = join(a, &cs, NULL);
  if (f->boundary && strlen(f->boundary) > MIME_MAX_BOUNDARY) {
    mime_note_anomaly(f, 1, "Boundary too long");
    f->boundary = arena_strndup(a, f->boundary, MIME_MAX_BOUNDARY); /* compared as far as that */
  }
}

void mime_take_field(struct arena *a, struct mime_fields *f, struct str field, const char *charset) {
  if (!str_startsic(field, STR("Content-"))) return;
  struct str value = field, name = str_trim(str_cut(&value, ':'));
  if (name.n == field.n) return;
  if (value.n > MIME_MAX_FIELD_BYTES) {
    value.n = MIME_MAX_FIELD_BYTES;
    mime_note_anomaly(f, 1, "Header field too long");
  }
  if (str_eqic_c(name, "Content-Type") && !f->type) {
    f->type = main_value(a, value);
    take_parameters(a, f, value, true, charset);
  } else if (str_eqic_c(name, "Content-Disposition") && !f->disposition) {
    f->disposition = main_value(a, value);
    take_parameters(a, f, value, false, charset);
  } else if (str_eqic_c(name, "Content-Transfer-Encoding") && !f->encoding) {
    f->encoding = main_value(a, value);
  } else if (str_eqic_c(name, "Content-ID") && !f->id) {
    f->id = lower_value(a, value);
  } else if (str_eqic_c(name, "Content-Description") && !f->description) {
    f->description = lower_value(a, value);
  }
}

bool mime_is_multipart(const struct mime_fields *f) { return f->type && str_starts(str_c(f->type), STR("multipart/")); }
bool mime_is_message(const struct mime_fields *f) { return f->type && str_starts(str_c(f->type), STR("message/rfc822")); }
bool mime_parts_belong_together(const struct mime_fields *f) {
  return f->type && (str_starts(str_c(f->type), STR("multipart/alternative")) || str_starts(str_c(f->type), STR("multipart/related")));
}

enum mime_encoding mime_encoding_of(const struct mime_fields *f) {
  if (f->encoding && strcmp(f->encoding, "base64") == 0) return MIME_BASE64;
  return f->encoding && strcmp(f->encoding, "quoted-printable") == 0 ? MIME_QUOTED_PRINTABLE : MIME_IDENTITY;
}

enum mime_line mime_classify_line(struct str line, const char *boundary) {
  size_t n = strlen(boundary);
  if (line.n < n + 2 || line.p[0] != '-' || line.p[1] != '-' || memcmp(line.p + 2, boundary, n) != 0) return MIME_LINE_TEXT;
  struct str rest = str_n(line.p + 2 + n, line.n - n - 2);
  if (str_starts(rest, STR("--"))) return MIME_LINE_CLOSE;
  return n >= MIME_MAX_BOUNDARY || str_trim(rest).n == 0 ? MIME_LINE_PART : MIME_LINE_TEXT;
}

/* ---- decoders ---- */

static int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static size_t decode_base64(struct mime_decoder *d, struct str in, char *out) {
  size_t n = 0;
  for (size_t i = 0; i < in.n; i++) {
    char c = in.p[i];
    int v = base64_digit(c);
    if (c == '=') {
      if (d->nbits == 6) d->is_broken = true; /* one digit makes no byte */
      d->ended = true;
      d->bits = 0;
      d->nbits = 0; /* what stands behind is a new text, as several clients have it */
    } else if (v >= 0) {
      d->bits = d->bits << 6 | (unsigned)v;
      d->nbits += 6;
      if (d->nbits < 8) continue;
      d->nbits -= 8;
      out[n++] = (char)(d->bits >> d->nbits & 0xff);
      d->bits &= (1u << d->nbits) - 1;
    } else if (!ch_isspace(c)) {
      d->is_broken = true;
    }
  }
  return n;
}

static size_t put_blanks(struct mime_decoder *d, char *out) {
  size_t n = d->nblanks;
  memcpy(out, d->blanks, n);
  d->nblanks = 0;
  return n;
}

/* One byte behind "=". */
static size_t decode_escape(struct mime_decoder *d, char c, char *out) {
  if (d->escape == 1 && (c == '\n' || c == '\r' || c == ' ' || c == '\t')) { /* a soft line break, perhaps with blanks before it */
    d->escape = c == '\n' ? 0 : -1;
    return 0;
  }
  if (d->escape == -1) {
    if (c == '\n') d->escape = 0;
    if (c == '\n' || c == '\r' || c == ' ' || c == '\t') return 0;
  } else if (ch_isxdigit(c)) {
    if (d->escape == 1) {
      d->first = c;
      d->escape = 2;
      return 0;
    }
    out[0] = (char)(ch_hexval(d->first) * 16 + ch_hexval(c));
    d->escape = 0;
    return 1;
  }
  size_t n = 0; /* as it stands */
  d->is_broken = true;
  out[n++] = '=';
  if (d->escape == 2) out[n++] = d->first;
  out[n++] = c;
  d->escape = 0;
  return n;
}

/* At most one byte comes out for each that went in, apart from what was kept back: 64 blanks, or two bytes of an escape. */
static size_t decode_quoted(struct mime_decoder *d, struct str in, char *out) {
  size_t n = 0;
  for (size_t i = 0; i < in.n; i++) {
    char c = in.p[i];
    if (d->escape != 0) {
      n += decode_escape(d, c, out + n);
    } else if (c == ' ' || c == '\t' || c == '\r') {
      if (d->nblanks == sizeof d->blanks) n += put_blanks(d, out + n);
      d->blanks[d->nblanks++] = c;
    } else if (c == '\n') {
      d->nblanks = 0;
      out[n++] = c;
    } else {
      n += put_blanks(d, out + n);
      if (c == '=') d->escape = 1;
      else out[n++] = c;
    }
  }
  return n;
}

size_t mime_decode(struct mime_decoder *d, struct str in, char *out) {
  switch (d->encoding) {
  case MIME_BASE64: return decode_base64(d, in, out);
  case MIME_QUOTED_PRINTABLE: return decode_quoted(d, in, out);
  case MIME_IDENTITY: break;
  }
  memcpy(out, in.p, in.n);
  return in.n;
}

size_t mime_decode_end(struct mime_decoder *d, char *out) {
  if (d->encoding == MIME_BASE64 && d->nbits >= 6) d->is_broken = true;
  if (d->encoding != MIME_QUOTED_PRINTABLE) return 0;
  if (d->escape > 0) {
    d->is_broken = true;
    out[0] = '=';
    if (d->escape == 2) out[1] = d->first;
    return (size_t)d->escape;
  }
  return put_blanks(d, out);
}

const char *mime_broken_text(const struct mime_decoder *d) {
  return d->encoding == MIME_BASE64 ? "Broken BASE64 encoding detected" : "Broken Quoted-Printable encoding detected";
}
