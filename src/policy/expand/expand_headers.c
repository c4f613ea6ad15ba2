/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Header lines and the message's body as values: $h_, $bh_, $rh_, $lh_, $message_headers, $reply_address, $message_body.
 *
 * Floor: policy.  Manual section 11.5 ("$header_").  Header contents are hostile and tainted where they were received.  Decoding of
 * RFC 2047 words is done per header line; lists of addresses are joined with a comma. */
#include <sys/stat.h>

#include "base/buildinfo.h"
#include "formats/codecs.h"
#include "formats/rfc5322.h"
#include "message_body.h"
#include "policy/expand/expand_priv.h"

enum { HEADER_VALUE_MAX = 65536 };

const char *exp_charset(const struct expand_ctx *x) {
  if (x->headers_charset) return x->headers_charset;
  return x->cfg->o.headers_charset ? x->cfg->o.headers_charset : build_info()->headers_charset;
}

char exp_header_kind(struct str name, size_t *ret_prefix_len) {
  static const struct {
    const char *prefix;
    char kind;
  } kinds[] = {{"h_", 'h'},  {"header_", 'h'},  {"bh_", 'b'}, {"bheader_", 'b'},
               {"rh_", 'r'}, {"rheader_", 'r'}, {"lh_", 'l'}, {"lheader_", 'l'}};
  if (name.n < 2 || !strchr("hbrl", *name.p)) return 0; /* most names */
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
    if (str_starts(name, str_c(kinds[i].prefix))) {
      *ret_prefix_len = strlen(kinds[i].prefix);
      return kinds[i].kind;
    }
  return 0;
}

struct str exp_read_header_name(struct parse *ps) {
  const char *start = ps->s;
  while (ch_isgraph(*ps->s) && *ps->s != ':') {
    if (*ps->s == '}') ps->brace_in_header = true;
    ps->s++;
  }
  struct str name = str_n(start, (size_t)(ps->s - start));
  if (*ps->s == ':') ps->s++;
  return name;
}

/* Next line of that name after prev (NULL: from the start) and its text behind the colon, newline included. */
static const struct header_line *next_header(const struct expand_ctx *x, struct str name, const struct header_line *prev,
                                             struct str *ret_value) {
  const struct header_line *h = prev ? prev->next : x->msg ? x->msg->headers : NULL;
  for (; h; h = h->next) {
    if (h->type == '*' || h->n <= name.n || !str_startsic(str_n(h->text, h->n), name)) continue;
    size_t i = name.n;
    while (i < h->n && ch_isblank(h->text[i])) i++;
    if (i == h->n || h->text[i] != ':') continue;
    *ret_value = str_n(h->text + i + 1, h->n - i - 1);
    return h;
  }
  return NULL;
}

bool exp_header_present(struct expand_ctx *x, struct str name) {
  struct str value;
  return next_header(x, name, NULL, &value) != NULL;
}

/* Header texts are cut at HEADER_VALUE_MAX (manual 11.5). */
static void add_limited(struct strbuf *b, struct str s) {
  strbuf_addstr(b, str_n(s.p, MIN(s.n, HEADER_VALUE_MAX - MIN(b->n, (size_t)HEADER_VALUE_MAX))));
}

static const char *raw_header(struct expand_ctx *x, struct str name) {
  struct strbuf b = strbuf_new(x->a);
  const struct header_line *h = NULL;
  struct str v;
  while ((h = next_header(x, name, h, &v)) && b.n < HEADER_VALUE_MAX) add_limited(&b, v);
  return b.p;
}

/* Colon list of the lines; colons inside are doubled. */
static const char *list_header(struct expand_ctx *x, struct str name) {
  struct strbuf b = strbuf_new(x->a);
  const struct header_line *h = NULL;
  struct str v;
  bool first = true;
  while ((h = next_header(x, name, h, &v)) && b.n < HEADER_VALUE_MAX) {
    if (!first) strbuf_addc(&b, ':');
    first = false;
    if (v.n && v.p[v.n - 1] == '\n') v.n--;
    while (v.n) {
      size_t n = str_index(v, ':');
      strbuf_add(&b, v.p, n);
      if (n < v.n) strbuf_adds(&b, "::");
      v = str_n(v.p + MIN(n + 1, v.n), v.n - MIN(n + 1, v.n));
    }
  }
  return b.p;
}

static bool holds_addresses(const struct header_line *h) {
  bool resent;
  char type = header_type_of(str_n(h->text, h->n), &resent);
  return type && strchr("BCFRST", type);
}

static const char *decoded_header(struct expand_ctx *x, struct str name, const char *charset) {
  struct strbuf b = strbuf_new(x->a);
  const struct header_line *h = NULL;
  struct str v;
  while ((h = next_header(x, name, h, &v)) && b.n < HEADER_VALUE_MAX) {
    v = str_trim(v);
    if (!v.n) continue;
    if (b.n) strbuf_adds(&b, holds_addresses(h) ? ",\n" : "\n");
    add_limited(&b, memchr(v.p, '?', v.n) ? str_c(rfc2047_decode(x->a, v, charset, x->cfg->o.check_rfc2047_length, '?')) : v);
  }
  return b.p;
}

const char *exp_header(struct expand_ctx *x, struct str name, char kind) {
  if (!exp_header_present(x, name)) return NULL;
  switch (kind) {
  case 'r': return raw_header(x, name);
  case 'l': return list_header(x, name);
  case 'b': return decoded_header(x, name, NULL);
  default: return decoded_header(x, name, exp_charset(x));
  }
}

const char *expand_header(struct expand_ctx *x, const char *name, char kind) { return exp_header(x, str_c(name), kind); }

const char *exp_message_headers(struct expand_ctx *x, bool raw) {
  struct strbuf b = strbuf_new(x->a);
  for (const struct header_line *h = x->msg ? x->msg->headers : NULL; h; h = h->next) {
    struct str line = str_n(h->text, h->n);
    if (h->type == '*') continue;
    if (b.n && !raw) strbuf_addc(&b, '\n');
    add_limited(&b, raw ? line : str_c(rfc2047_decode(x->a, str_rtrim(line), NULL, x->cfg->o.check_rfc2047_length, '?')));
  }
  return b.p;
}

/* Reply-To, or From when there is none; as it stands but for the line breaks. */
const char *exp_reply_address(struct expand_ctx *x) {
  struct str v = str_trim(str_c(raw_header(x, STR("reply-to"))));
  if (!v.n) v = str_trim(str_c(raw_header(x, STR("from"))));
  char *s = str_dup(x->a, v);
  for (char *p = s; *p; p++)
    if (*p == '\n') *p = ' ';
  return s;
}

const char *exp_message_body(struct expand_ctx *x, bool end) {
  const struct message *m = x->msg;
  struct stat st;
  int64_t want = x->cfg->o.message_body_visible;
  if (!m || m->data_fd < 0 || want <= 0 || fstat(m->data_fd, &st) != 0) return "";
  int64_t have = (int64_t)st.st_size - (int64_t)m->data_start;
  if (have <= 0) return "";
  int64_t room = MIN(m->spool_wireformat ? 2 * want : want, have); /* each character shown may be a CR LF in the file */
  struct body_reader body = body_reader_of(m);
  if (end) body.at += (off_t)(have - room);
  char *p = arena_alloc_t(x->a, (size_t)room + 2, TAINTED);
  int64_t got = 0;
  while (got < room) {
    ssize_t n = body_read(&body, p + got, (size_t)MAX(room - got, 2));
    if (n <= 0) break;
    got += n;
  }
  if (end && got > want) p += got - want;
  got = MIN(got, want);
  for (int64_t i = 0; i < got; i++)
    if (p[i] == '\0' || (p[i] == '\n' && !x->cfg->o.message_body_newlines)) p[i] = ' ';
  p[got] = '\0';
  return p;
}
