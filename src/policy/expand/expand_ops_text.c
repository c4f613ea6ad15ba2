/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Expansion operators over plain text, lists and files.  Floor: policy.  Manual section 11.6.
 *
 * Arguments are hostile; results keep their taint (bytes are added through strbuf from the argument itself, or the buffer is marked). */
#include <errno.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/rand.h"
#include "formats/codecs.h"
#include "policy/expand/expand_priv.h"
#include "policy/match.h"
#include "policy/search.h"

#define OP_ARGS struct expand_ctx *x UNUSED, struct strbuf *out, struct str arg, const struct exp_op *op UNUSED, const char *suffix UNUSED

/* Mark the result when it is made byte by byte. */
static void carry_taint(struct strbuf *out, struct str arg) {
  if (is_tainted(arg.p)) strbuf_taint(out);
}

bool exp_op_case(OP_ARGS) {
  size_t start = out->n;
  strbuf_addstr(out, arg);
  char *p = out->p + start;
  if (op->kind == 'l')
    for (size_t i = 0; i < arg.n; i++) p[i] = (char)ch_lower(p[i]);
  else
    for (size_t i = 0; i < arg.n; i++) p[i] = (char)ch_upper(p[i]);
  return true;
}

bool exp_op_strlen(OP_ARGS) {
  strbuf_add_int(out, (int64_t)arg.n);
  return true;
}

bool exp_op_expand(OP_ARGS) {
  const char *r;
  if (!exp_nested(x, arg.p, &r)) {
    x->error = arena_printf(x->a, "internal expansion of \"%s\" failed: %s", arg.p, x->error);
    return false;
  }
  strbuf_adds(out, r);
  return true;
}

/* ---- quoting ---- */

bool exp_op_quote(OP_ARGS) {
  size_t plain = 0;
  while (plain < arg.n && (ch_isalnum(arg.p[plain]) || memchr("_-.", arg.p[plain], 3))) plain++;
  if (arg.n && plain == arg.n) {
    strbuf_addstr(out, arg);
    return true;
  }
  carry_taint(out, arg);
  strbuf_addc(out, '"');
  for (size_t i = 0; i < arg.n; i++) {
    char c = arg.p[i];
    if (c == '\n') {
      strbuf_adds(out, "\\n");
    } else if (c == '\r') {
      strbuf_adds(out, "\\r");
    } else {
      if (c == '"' || c == '\\') strbuf_addc(out, '\\');
      strbuf_addc(out, c);
    }
  }
  strbuf_addc(out, '"');
  return true;
}

bool exp_op_quote_lookup(OP_ARGS) {
  struct str type = str_c(suffix), option = STR_NULL;
  const struct lookup_driver *d = lookup_find_driver(type);
  size_t under = str_index(type, '_');
  if (!d && under < type.n) {
    option = str_n(type.p + under + 1, type.n - under - 1);
    type.n = under;
    d = lookup_find_driver(type);
  }
  if (!d) return exp_fail(x, "unknown lookup type \"%s\"", suffix);
  if (!d->quote) {
    strbuf_addstr(out, arg);
    return true;
  }
  const char *r = d->quote(x->a, arg.p, option.p);
  if (!r) return exp_fail(x, "\"%s\" unrecognized after \"${quote_%.*s\"", option.p ? option.p : "", STR_FMT(type));
  strbuf_add_t(out, r, strlen(r), is_tainted(arg.p) ? lookup_quoted_kind(d) : UNTAINTED);
  return true;
}

bool exp_op_rxquote(OP_ARGS) {
  carry_taint(out, arg);
  for (size_t i = 0; i < arg.n; i++) {
    if (!ch_isalnum(arg.p[i])) strbuf_addc(out, '\\');
    strbuf_addc(out, arg.p[i]);
  }
  return true;
}

/* Escapes as the operators write them; printf would be the work of a whole body of 8-bit text. */
static void add_hex_escape(struct strbuf *out, unsigned c) {
  static const char hex[] = "0123456789abcdef";
  strbuf_add(out, (const char[]){'\\', 'x', hex[c >> 4], hex[c & 15]}, 4);
}

static void add_octal_escape(struct strbuf *out, unsigned c) {
  strbuf_add(out, (const char[]){'\\', (char)('0' + (c >> 6)), (char)('0' + (c >> 3 & 7)), (char)('0' + (c & 7))}, 4);
}

bool exp_op_hexquote(OP_ARGS) {
  carry_taint(out, arg);
  for (size_t i = 0; i < arg.n; i++) {
    if (ch_isgraph(arg.p[i]))
      strbuf_addc(out, arg.p[i]);
    else
      add_hex_escape(out, (unsigned char)arg.p[i]);
  }
  return true;
}

bool exp_op_escape(OP_ARGS) {
  carry_taint(out, arg);
  for (size_t i = 0; i < arg.n; i++) {
    int c = arg.p[i];
    if (c == '\n')
      strbuf_adds(out, "\\n");
    else if (c == '\r')
      strbuf_adds(out, "\\r");
    else if (ch_isprint(c) || c == '\t' || (c >= 128 && x->cfg->o.print_topbitchars))
      strbuf_addc(out, (char)c);
    else
      add_octal_escape(out, (unsigned)c);
  }
  return true;
}

bool exp_op_escape8(OP_ARGS) {
  carry_taint(out, arg);
  for (size_t i = 0; i < arg.n; i++) {
    int c = arg.p[i];
    if (c < 127 && c != '\\')
      strbuf_addc(out, (char)c);
    else
      add_octal_escape(out, (unsigned)c);
  }
  return true;
}

bool exp_op_xtextd(OP_ARGS) {
  carry_taint(out, arg);
  for (size_t i = 0; i < arg.n; i++) {
    if (arg.p[i] == '+' && i + 2 < arg.n && ch_isxdigit(arg.p[i + 1]) && ch_isxdigit(arg.p[i + 2])) {
      strbuf_addc(out, (char)(ch_hexval(arg.p[i + 1]) * 16 + ch_hexval(arg.p[i + 2])));
      i += 2;
    } else {
      strbuf_addc(out, arg.p[i]);
    }
  }
  return true;
}

/* Fold at white space so that lines stay within cols (default 80); what is over limit bytes (998) in all is cut off. */
bool exp_op_headerwrap(OP_ARGS) {
  int64_t cols = 80, limit = 998;
  if (suffix) {
    struct str rest = str_c(suffix), first = str_cut(&rest, '_');
    if (!str_parse_i64(first, &cols) || (rest.n && !str_parse_i64(rest, &limit)) || cols < 2 || limit < 1)
      return exp_fail(x, "bad numbers in \"headerwrap_%s\"", suffix);
  }
  carry_taint(out, arg);
  struct str s = str_n(arg.p, MIN(arg.n, (size_t)limit));
  size_t width = (size_t)cols;
  while (s.n > width) {
    size_t cut = width;
    while (cut > 0 && !ch_isblank(s.p[cut])) cut--;
    if (cut == 0) break; /* one long word: nothing to fold at */
    strbuf_add(out, s.p, cut);
    strbuf_adds(out, "\n\t");
    s = str_n(s.p + cut + 1, s.n - cut - 1);
    width = (size_t)cols - 1;
  }
  strbuf_addstr(out, s);
  return true;
}

/* ---- UTF-8 ---- */

size_t exp_utf8_sequence(struct str s, uint32_t *ret_code, size_t *ret_bad) {
  uint8_t c = (uint8_t)s.p[0];
  size_t need = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : (c & 0xf0) == 0xe0 ? 2 : c >= 0xf0 && c < 0xf8 ? 3 : 9;
  *ret_bad = 1;
  if (need == 9) return 0;
  uint32_t code = need == 0 ? c : c & (0x3f >> need);
  for (size_t i = 1; i <= need; i++) {
    if (i >= s.n || ((uint8_t)s.p[i] & 0xc0) != 0x80) {
      *ret_bad = i;
      return 0;
    }
    code = code << 6 | ((uint8_t)s.p[i] & 0x3f);
  }
  *ret_bad = need + 1;
  if ((need == 2 && (code < 0x800 || (code >= 0xd800 && code < 0xe000))) || (need == 3 && (code < 0x10000 || code > 0x10ffff)))
    return 0;
  *ret_code = code;
  return need + 1;
}

bool exp_op_utf8clean(OP_ARGS) {
  uint32_t code;
  size_t bad;
  for (size_t i = 0; i < arg.n;) {
    size_t n = exp_utf8_sequence(str_n(arg.p + i, arg.n - i), &code, &bad);
    if (n)
      strbuf_add(out, arg.p + i, n);
    else
      strbuf_addc(out, '?');
    i += n ? n : bad;
  }
  return true;
}

bool exp_op_from_utf8(OP_ARGS) {
  uint32_t code;
  size_t bad;
  carry_taint(out, arg);
  for (size_t i = 0; i < arg.n;) {
    size_t n = exp_utf8_sequence(str_n(arg.p + i, arg.n - i), &code, &bad);
    strbuf_addc(out, n && code < 256 ? (char)code : '_');
    i += n ? n : bad;
  }
  return true;
}

/* ---- lists ---- */

bool exp_op_listcount(OP_ARGS) {
  const char *pos = arg.p;
  int sep = 0;
  size_t n = 0;
  while (list_next(x->a, &pos, &sep)) n++;
  strbuf_add_int(out, (int64_t)n);
  return true;
}

static const struct {
  char letter;
  const char *name;
  enum list_kind kind;
} list_kinds[] = {
  {'d', "domain", LIST_DOMAIN}, {'h', "host", LIST_HOST}, {'a', "address", LIST_ADDRESS}, {'l', "localpart", LIST_LOCALPART}};

static void add_named_list(struct expand_ctx *x, struct strbuf *out, const struct named_list *list, enum list_kind kind,
                           bool *first, int depth) {
  const char *pos = list->text, *item;
  int sep = 0;
  while ((item = list_next(x->a, &pos, &sep))) {
    const struct named_list *inner = *item == '+' && depth < 20 ? config_named_list(x->cfg, kind, item + 1) : NULL;
    if (inner) {
      add_named_list(x, out, inner, kind, first, depth + 1);
      continue;
    }
    if (!*first) strbuf_adds(out, " : ");
    *first = false;
    for (const char *p = item; *p; p++) {
      strbuf_addc(out, *p);
      if (*p == ':') strbuf_addc(out, ':');
    }
  }
}

bool exp_op_listnamed(OP_ARGS) {
  const char *name = *arg.p == '+' ? arg.p + 1 : arg.p;
  bool first = true;
  for (size_t i = 0; i < ARRAY_SIZE(list_kinds); i++) {
    if (suffix && !(suffix[0] == list_kinds[i].letter && !suffix[1])) continue;
    const struct named_list *list = config_named_list(x->cfg, list_kinds[i].kind, name);
    if (!list && suffix) return exp_fail(x, "\"%s\" is not a %s named list", name, list_kinds[i].name);
    if (!list) continue;
    add_named_list(x, out, list, list_kinds[i].kind, &first, 0);
    return true;
  }
  if (suffix) return exp_fail(x, "bad suffix on \"list\" operator");
  return exp_fail(x, "\"%s\" is not a named list", name);
}

/* ---- files, chance ---- */

bool exp_op_stat(OP_ARGS) {
  struct stat st;
  static const char bits[] = "rwxrwxrwx", types[] = "?pc?d?b?-?l?s???";
  char smode[11];
  if (x->forbid.exists) return exp_fail(x, "Use of the stat() expansion is not permitted");
  if (stat(arg.p, &st) != 0) return exp_fail(x, "stat(%s) failed: %s", arg.p, strerror(errno));
  smode[0] = types[(st.st_mode & S_IFMT) >> 12];
  for (int i = 0; i < 9; i++) smode[i + 1] = st.st_mode & (0400u >> i) ? bits[i] : '-';
  if (st.st_mode & S_ISUID) smode[3] = smode[3] == 'x' ? 's' : 'S';
  if (st.st_mode & S_ISGID) smode[6] = smode[6] == 'x' ? 's' : 'S';
  if (st.st_mode & S_ISVTX) smode[9] = smode[9] == 'x' ? 't' : 'T';
  smode[10] = '\0';
  strbuf_addf(out, "mode=%04lo smode=%s inode=%llu device=%llu links=%llu uid=%lu gid=%lu size=%lld", (long)(st.st_mode & 07777),
              smode, (unsigned long long)st.st_ino, (unsigned long long)st.st_dev, (unsigned long long)st.st_nlink,
              (unsigned long)st.st_uid, (unsigned long)st.st_gid, (long long)st.st_size);
  strbuf_addf(out, " atime=%lld mtime=%lld ctime=%lld", (long long)st.st_atime, (long long)st.st_mtime, (long long)st.st_ctime);
  return true;
}

bool exp_op_randint(OP_ARGS) {
  int64_t limit;
  if (!exp_integer(x, arg.p, &limit)) return false;
  if (limit < 0) return exp_fail(x, "non-negative integer expected but \"%s\" found", arg.p);
  strbuf_addf(out, "%u", rand_below((unsigned)MIN(limit, (int64_t)UINT32_MAX)));
  return true;
}
