/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Option tables: finding a row, parsing a value into the options struct, showing it again.  Floor: policy.
 *
 * Values come from configuration files and are trusted but may be wrong in any way: each wrong form has its own error text (the wording is
 * Exim's, because administrators and test suites look for it).  All memory belongs to the arena handed in.  Manual ch. 6. */
#include "policy/options.h"

#include <grp.h>
#include <inttypes.h>
#include <pwd.h>

#include "base/name_table.h"
#include "base/strbuf.h"
#include "base/timeutil.h"

/* Old or collective names and the options they set. */
static const struct {
  const char *name, *target[2];
} aliases[] = {
    {"daemon_smtp_port", {"daemon_smtp_ports", NULL}},
    {"fail_verify", {"fail_verify_recipient", "fail_verify_sender"}},
    {"return_size_limit", {"bounce_return_size_limit", NULL}},
    {"verify", {"verify_recipient", "verify_sender"}},
};

#define FIELD(b, o, type) ((type *)(void *)((char *)(b)->base + (o)->offset))

const struct option *opt_find(const struct option *table, size_t count, struct str name) {
  const struct option *o = NAME_FIND(table, count, name);
  return o && !(o->flags & OPT_HIDDEN_FEATURE) ? o : NULL;
}

bool opt_was_set(const struct opt_block *b, const char *name) {
  const struct option *o = opt_find(b->table, b->count, str_c(name));
  return o && b->is_set[o - b->table];
}

/* ---- Users and groups ---- */

static bool all_digits(const char *s) {
  if (!*s) return false;
  for (; *s; s++)
    if (!ch_isdigit(*s)) return false;
  return true;
}

bool opt_find_user(const char *name, uid_t *ret_uid, gid_t *ret_gid) {
  uint64_t n;
  if (all_digits(name) && str_parse_u64(str_c(name), &n) && n < UINT32_MAX) {
    const struct passwd *pw = getpwuid((uid_t)n);
    *ret_uid = (uid_t)n;
    if (ret_gid) *ret_gid = pw ? pw->pw_gid : (gid_t)-1;
    return true;
  }
  const struct passwd *pw = *name ? getpwnam(name) : NULL;
  if (!pw) return false;
  *ret_uid = pw->pw_uid;
  if (ret_gid) *ret_gid = pw->pw_gid;
  return true;
}

bool opt_find_group(const char *name, gid_t *ret) {
  uint64_t n;
  if (all_digits(name) && str_parse_u64(str_c(name), &n) && n < UINT32_MAX) {
    *ret = (gid_t)n;
    return true;
  }
  const struct group *gr = *name ? getgrnam(name) : NULL;
  if (!gr) return false;
  *ret = gr->gr_gid;
  return true;
}

static const char *parse_id(struct arena *a, const struct option *o, const char *text, struct opt_id *ret) {
  bool is_user = o->type == OPT_T_UID;
  struct opt_id id = {.text = text};
  if ((o->flags & OPT_EXPANDED) && strchr(text, '$')) {
    id.expand = text;
  } else {
    uid_t uid = 0;
    gid_t gid = 0;
    if (is_user ? !opt_find_user(text, &uid, NULL) : !opt_find_group(text, &gid))
      return arena_printf(a, "%s %s was not found", is_user ? "user" : "group", text);
    id.id = is_user ? uid : gid;
    id.is_set = true;
  }
  *ret = id;
  return NULL;
}

/* Names are shown and kept in the normal form "a:b"; an unknown name is an error, a number need not have a name. */
static const char *parse_id_list(struct arena *a, const struct option *o, const char *text, const char **ret) {
  bool is_user = o->type == OPT_T_UIDLIST;
  struct strbuf b = strbuf_new(a);
  struct str rest = str_c(text);
  while (rest.n) {
    struct str item = str_trim(str_cut(&rest, ':'));
    if (!item.n) continue;
    const char *name = str_dup(a, item);
    uid_t uid = 0;
    gid_t gid = 0;
    if (is_user ? !opt_find_user(name, &uid, NULL) : !opt_find_group(name, &gid))
      return arena_printf(a, "%s %s was not found", is_user ? "user" : "group", name);
    strbuf_addl(&b, b.n ? ":" : "", name, NULL);
  }
  *ret = b.n ? b.p : NULL;
  return NULL;
}

/* ---- Values ---- */

static size_t octal_escape(struct str s, unsigned *ret) {
  size_t i = 0;
  unsigned v = 0;
  for (; i < 3 && i < s.n && s.p[i] >= '0' && s.p[i] <= '7'; i++) v = v * 8 + (unsigned)(s.p[i] - '0');
  *ret = v;
  return i;
}

static size_t hex_escape(struct str s, unsigned *ret) {
  size_t i = 0;
  unsigned v = 0;
  for (; i < 2 && i < s.n && ch_isxdigit(s.p[i]); i++) v = v * 16 + (unsigned)ch_hexval(s.p[i]);
  *ret = v;
  return i;
}

/* s starts behind a backslash; appends what it stands for and returns the bytes used. */
static size_t unescape(struct strbuf *b, struct str s) {
  unsigned v;
  size_t n = octal_escape(s, &v);
  if (n) {
    strbuf_addc(b, (char)v);
    return n;
  }
  switch (s.p[0]) {
  case 'b': strbuf_addc(b, '\b'); break;
  case 'f': strbuf_addc(b, '\f'); break;
  case 'n': strbuf_addc(b, '\n'); break;
  case 'r': strbuf_addc(b, '\r'); break;
  case 't': strbuf_addc(b, '\t'); break;
  case 'v': strbuf_addc(b, '\v'); break;
  case 'x':
    n = hex_escape(str_n(s.p + 1, s.n - 1), &v);
    strbuf_addc(b, n ? (char)v : 'x');
    return n + 1;
  default: strbuf_addc(b, s.p[0]);
  }
  return 1;
}

const char *opt_parse_string(struct arena *a, const char *name, struct str value, const char **ret_error) {
  if (!value.n || value.p[0] != '"') return str_dup(a, value);
  struct strbuf b = strbuf_new(a);
  size_t i = 1;
  while (i < value.n && value.p[i] != '"') {
    if (value.p[i] == '\\' && i + 1 < value.n)
      i += 1 + unescape(&b, str_n(value.p + i + 1, value.n - i - 1));
    else
      strbuf_addc(&b, value.p[i++]);
  }
  if (i >= value.n) {
    *ret_error = arena_printf(a, "missing quote at end of string value for %s", name);
    return NULL;
  }
  if (str_trim(str_n(value.p + i + 1, value.n - i - 1)).n) {
    *ret_error = arena_printf(a, "extra characters follow string value for %s", name);
    return NULL;
  }
  return b.p;
}

/* A number with C's prefixes at the start of v; the rest goes to *rest.  False when there is no digit.  *overflow: beyond int64_t. */
static bool number_prefix(struct str v, int base, int64_t *ret, struct str *rest, bool *overflow) {
  size_t i = 0;
  bool neg = false;
  *overflow = false;
  if (i < v.n && (v.p[i] == '-' || v.p[i] == '+')) neg = v.p[i++] == '-';
  if (base == 0) {
    base = 10;
    if (i + 2 < v.n && v.p[i] == '0' && ch_lower(v.p[i + 1]) == 'x' && ch_isxdigit(v.p[i + 2])) {
      base = 16;
      i += 2;
    } else if (i < v.n && v.p[i] == '0') {
      base = 8;
    }
  }
  size_t start = i;
  int64_t n = 0;
  for (; i < v.n; i++) {
    int d = ch_hexval(v.p[i]);
    if (d < 0 || d >= base) break;
    if (__builtin_mul_overflow(n, base, &n) || __builtin_add_overflow(n, d, &n)) {
      *overflow = true;
      n = 0;
    }
  }
  if (i == start) return false;
  *ret = neg ? -n : n;
  *rest = str_n(v.p + i, v.n - i);
  return true;
}

/* INT and MKINT are bounded by a C int, as Exim's; KINT counts KiB and is not. */
static const char *parse_int(struct arena *a, const struct option *o, const char *name, struct str v, int64_t *ret) {
  static const char units[] = "KMGTPEZ";
  int64_t n = 0;
  struct str rest;
  bool overflow;
  if (!number_prefix(v, 0, &n, &rest, &overflow)) return arena_printf(a, "integer expected for %s", name);
  bool is_k = o->type == OPT_T_KINT;
  const char *u = rest.n ? memchr(units, ch_upper(rest.p[0]), is_k ? 7 : 3) : NULL;
  if (u) {
    rest.p++;
    rest.n--;
    for (long i = u - units + 1 - is_k; i > 0; i--) overflow |= __builtin_mul_overflow(n, (int64_t)1024, &n);
  } else if (is_k) {
    n = (n + 1023) / 1024;
  }
  if (overflow || (!is_k && (n > INT32_MAX || n < -INT32_MAX)))
    return arena_printf(a, "absolute value of integer \"%.*s\" is too large (overflow)", STR_FMT(v));
  if (str_trim(rest).n) return arena_printf(a, "extra characters follow integer value for %s", name);
  *ret = n;
  return NULL;
}

static const char *parse_octal(struct arena *a, const char *name, struct str v, int64_t *ret) {
  int64_t n = 0;
  struct str rest;
  bool overflow;
  if (!number_prefix(v, 8, &n, &rest, &overflow) || overflow)
    return arena_printf(a, "octal integer expected for %s", name);
  if (str_trim(rest).n) return arena_printf(a, "extra characters follow octal integer value for %s", name);
  *ret = n;
  return NULL;
}

static const char *parse_fixed(struct arena *a, const char *name, struct str v, int64_t *ret) {
  int64_t n = 0;
  struct str rest;
  bool overflow;
  if (!number_prefix(v, 10, &n, &rest, &overflow)) return arena_printf(a, "fixed-point number expected for %s", name);
  if (overflow || n > INT32_MAX / 1000 || n < -INT32_MAX / 1000)
    return arena_printf(a, "integer \"%.*s\" is too large (overflow)", STR_FMT(v));
  n *= 1000;
  if (rest.n && rest.p[0] == '.') {
    int64_t place = 100;
    for (rest.p++, rest.n--; rest.n && ch_isdigit(rest.p[0]); rest.p++, rest.n--, place /= 10)
      n += place * (rest.p[0] - '0');
  }
  if (str_trim(rest).n) return arena_printf(a, "extra characters follow fixed-point value for %s", name);
  *ret = n;
  return NULL;
}

static const char *parse_time_list(struct arena *a, const char *name, const char *text, const char **ret) {
  struct strbuf b = strbuf_new(a);
  struct str rest = str_c(text);
  while (rest.n) {
    struct str item = str_trim(str_cut(&rest, ':'));
    char buf[64];
    int64_t sec;
    if (!item.n) continue;
    if (!time_parse_interval(item, false, &sec)) return arena_printf(a, "invalid time value for %s", name);
    strbuf_addl(&b, b.n ? ":" : "", time_format_interval(sec, buf, sizeof(buf)), NULL);
  }
  *ret = b.n ? b.p : NULL;
  return NULL;
}

static bool parse_bool(struct str v, bool *ret) {
  if (str_eqic_c(v, "true") || str_eqic_c(v, "yes")) *ret = true;
  else if (str_eqic_c(v, "false") || str_eqic_c(v, "no")) *ret = false;
  else return false;
  return true;
}

/* Repeatable options: what the file said before and what it says now, as one value. */
static const char *join_repeated(struct arena *a, const struct option *o, const char *old, const char *new) {
  static const char first[] = "${if and{", last[] = "}}";
  if (o->flags & OPT_REP_CON) {
    size_t n = strlen(old);
    if (str_starts(str_c(old), STR("${if and{{bool_lax{")) && str_ends(str_c(old), STR("}}}}")))
      return arena_printf(a, "%.*s{bool_lax{%s}}%s", (int)(n - 2), old, new, last);
    return arena_printf(a, "%s{bool_lax{%s}}{bool_lax{%s}}%s", first, old, new, last);
  }
  if (o->flags & OPT_REP_STR) {
    size_t n = strlen(old);
    return arena_printf(a, "%s%s%s", old, n && old[n - 1] == '\n' ? "" : "\n", new);
  }
  return arena_printf(a, "%s%c%s", old, o->flags & OPT_REP_SEMI ? ';' : ':', new);
}

enum { OPT_REPEATABLE = OPT_REP_CON | OPT_REP_STR | OPT_REP_LIST | OPT_REP_SEMI };

static const char *store_string(struct arena *a, struct opt_block *b, const struct option *o, const char *name,
                                struct str value) {
  const char *err = NULL;
  const char *text = opt_parse_string(a, name, value, &err);
  if (!text) return err;
  switch (o->type) {
  case OPT_T_UID:
  case OPT_T_GID: return parse_id(a, o, text, FIELD(b, o, struct opt_id));
  case OPT_T_UIDLIST:
  case OPT_T_GIDLIST: return parse_id_list(a, o, text, FIELD(b, o, const char *));
  case OPT_T_TIMELIST: return parse_time_list(a, name, text, FIELD(b, o, const char *));
  default: break;
  }
  const char **f = FIELD(b, o, const char *);
  if ((o->flags & OPT_REPEATABLE) && b->is_set[o - b->table] && *f) text = join_repeated(a, o, *f, text);
  /* An empty list stays a list: it matches nothing, where an unset one is not looked at. */
  bool is_list = o->type == OPT_T_DOMAINLIST || o->type == OPT_T_HOSTLIST || o->type == OPT_T_ADDRLIST || o->type == OPT_T_LOCALLIST;
  /* So does an empty condition: it is not true. */
  *f = *text || is_list || (o->flags & OPT_REP_CON) ? text : NULL;
  return NULL;
}

static const char *store_bool(struct arena *a, const char *name, struct str value, bool *ret) {
  if (!value.n || parse_bool(value, ret)) {
    *ret = *ret || !value.n;
    return NULL;
  }
  size_t n = 0;
  bool ignored;
  while (n < value.n && ch_isalpha(value.p[n])) n++;
  struct str word = str_n(value.p, n);
  if (parse_bool(word, &ignored)) return arena_printf(a, "extra characters follow \"%.*s\" for boolean option %s", STR_FMT(word), name);
  return arena_printf(a, "\"%.*s\" is not a valid value for the \"%s\" option", STR_FMT(word), name);
}

/* A value that is parsed as it stands, without a preceding check of the table. */
static const char *store_value(struct arena *a, struct opt_block *b, const struct option *o, const char *name,
                               struct str value) {
  switch (o->type) {
  case OPT_T_BOOL: return store_bool(a, name, value, FIELD(b, o, bool));
  case OPT_T_BOOL_EXP: { /* what would expand to itself is no reason to wait with the complaint */
    struct opt_bool_exp e = {.value = true};
    const char *err = NULL;
    bool expands = value.n && memchr(value.p, '$', value.n);
    if (!expands) err = store_bool(a, name, value, &e.value);
    else if (!(e.expand = opt_parse_string(a, name, value, &err))) return err;
    if (!err) *FIELD(b, o, struct opt_bool_exp) = e;
    return err;
  }
  case OPT_T_INT:
  case OPT_T_MKINT:
  case OPT_T_KINT: return parse_int(a, o, name, value, FIELD(b, o, int64_t));
  case OPT_T_OCTAL: return parse_octal(a, name, value, FIELD(b, o, int64_t));
  case OPT_T_FIXED: return parse_fixed(a, name, value, FIELD(b, o, int64_t));
  case OPT_T_TIME:
    return time_parse_interval(value, false, FIELD(b, o, int64_t)) ? NULL
                                                                    : arena_printf(a, "invalid time value for %s", name);
  case OPT_T_INT_EXP:
  case OPT_T_TIMELIST:
  case OPT_T_STR:
  case OPT_T_STRLIST:
  case OPT_T_DOMAINLIST:
  case OPT_T_HOSTLIST:
  case OPT_T_ADDRLIST:
  case OPT_T_LOCALLIST:
  case OPT_T_UID:
  case OPT_T_GID:
  case OPT_T_UIDLIST:
  case OPT_T_GIDLIST:
  case OPT_T_TRANSPORT:
  case OPT_T_FUNC: return store_string(a, b, o, name, value);
  }
  return NULL;
}

static void store_default(struct arena *a, struct opt_block *b, const struct option *o) {
  if (o->type == OPT_T_FIXED && !o->def) *FIELD(b, o, int64_t) = -1;
  if (!o->def) return;
  if (o->type == OPT_T_UID || o->type == OPT_T_GID || o->type == OPT_T_UIDLIST || o->type == OPT_T_GIDLIST) return;
  const char *err = store_value(a, b, o, o->name, str_c(o->def));
  INVARIANT(err == NULL);
}

struct opt_block *opt_block_new(struct arena *a, const struct option *table, size_t count, void *base) {
  struct opt_block *b = ARENA_NEW(a, struct opt_block);
  b->table = table;
  b->count = count;
  b->base = base;
  b->is_set = arena_alloc(a, count ? count : 1);
  for (size_t i = 0; i < count; i++) {
    INVARIANT(i == 0 || strcmp(table[i - 1].name, table[i].name) < 0);
    store_default(a, b, &table[i]);
  }
  return b;
}

static bool same_text(const char *a, const char *b) {
  return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool is_numeric_type(enum opt_type t) {
  return t == OPT_T_INT || t == OPT_T_MKINT || t == OPT_T_KINT || t == OPT_T_OCTAL || t == OPT_T_FIXED || t == OPT_T_TIME;
}

/* Has the option, which this build does not obey, a value that asks for nothing: off, empty or the default? */
static bool value_asks_nothing(struct arena *a, const struct opt_block *b, const struct option *o) {
  struct opt_bool_exp exp_default = {0};
  switch (o->type) {
  case OPT_T_BOOL: return !*FIELD(b, o, bool) || (o->def && str_eq_c(STR("true"), o->def));
  case OPT_T_BOOL_EXP:
    exp_default.value = o->def && str_eq_c(STR("true"), o->def);
    return !FIELD(b, o, struct opt_bool_exp)->expand && FIELD(b, o, struct opt_bool_exp)->value == exp_default.value;
  case OPT_T_UID:
  case OPT_T_GID: return !FIELD(b, o, struct opt_id)->is_set && !FIELD(b, o, struct opt_id)->expand;
  default: break;
  }
  if (is_numeric_type(o->type)) {
    int64_t got = *FIELD(b, o, int64_t), def = 0;
    struct option row = *o;
    struct opt_block tmp = {.table = &row, .count = 1, .base = &def, .is_set = (uint8_t[1]){0}};
    row.offset = 0;
    store_default(a, &tmp, &row);
    return got == 0 || got == def;
  }
  const char *text = *FIELD(b, o, const char *);
  return !text || !*text || same_text(text, o->def) || (o->type != OPT_T_STR && same_text(text, ":"));
}

static const char *store_alias(struct arena *a, struct opt_block *b, const struct option *o, struct str value, bool neg,
                               bool hide) {
  for (size_t i = 0; i < ARRAY_SIZE(aliases); i++) {
    if (strcmp(aliases[i].name, o->name) != 0) continue;
    for (size_t k = 0; k < 2 && aliases[i].target[k]; k++) {
      const struct option *t = opt_find(b->table, b->count, str_c(aliases[i].target[k]));
      INVARIANT(t != NULL);
      uint8_t *is_set = &b->is_set[t - b->table];
      bool was_unset = *is_set == 0;
      const char *err = opt_store(a, b, t, value, neg, hide, true);
      if (err) return err;
      if (was_unset && *is_set == 1) *is_set = OPT_SET_BY_ALIAS;
    }
  }
  return NULL;
}

const char *opt_store(struct arena *a, struct opt_block *b, const struct option *o, struct str value, bool neg,
                      bool hide, bool ignore_repeat) {
  uint8_t *is_set = &b->is_set[o - b->table];
  bool is_bool = o->type == OPT_T_BOOL || o->type == OPT_T_BOOL_EXP;
  const char *err = NULL;
  if (*is_set && *is_set != OPT_SET_BY_ALIAS && !ignore_repeat && !(o->flags & OPT_REPEATABLE))
    return arena_printf(a, "\"%s\" option set for the second time", o->name);
  if (neg && !is_bool) return "negation prefix applied to a non-boolean option";
  if (neg && value.n) return arena_printf(a, "extra characters follow boolean option no_%s", o->name);
  if (o->flags & OPT_ALIAS) {
    err = store_alias(a, b, o, value, neg, hide);
  } else if (neg && o->type == OPT_T_BOOL) {
    *FIELD(b, o, bool) = false;
  } else if (neg) {
    *FIELD(b, o, struct opt_bool_exp) = (struct opt_bool_exp){.value = false};
  } else {
    err = store_value(a, b, o, o->name, value);
  }
  if (err) return err;
  *is_set = hide || *is_set == 2 ? 2 : 1;
  if (!(o->flags & (OPT_BUILT | OPT_ALIAS)) && !value_asks_nothing(a, b, o))
    return arena_printf(a, "option \"%s\" is not supported by this build", o->name);
  return NULL;
}

/* ---- Showing ---- */

/* Control characters as escapes, so that a value stays on one line. */
static const char *printable(struct arena *a, const char *s) {
  struct strbuf b = strbuf_new(a);
  for (; *s; s++) {
    switch (*s) {
    case '\n': strbuf_adds(&b, "\\n"); break;
    case '\r': strbuf_adds(&b, "\\r"); break;
    case '\b': strbuf_adds(&b, "\\b"); break;
    case '\v': strbuf_adds(&b, "\\v"); break;
    case '\f': strbuf_adds(&b, "\\f"); break;
    case '\t': strbuf_adds(&b, "\\t"); break;
    default:
      if (ch_iscntrl(*s)) strbuf_addf(&b, "\\%03o", (unsigned)(unsigned char)*s);
      else strbuf_addc(&b, *s);
    }
  }
  return b.p;
}

static const char *show_scaled(struct arena *a, int64_t v, const char *units) {
  int64_t n = v;
  const char *u = units;
  if (n == 0) return "0";
  while (u[1] && n % 1024 == 0) {
    n /= 1024;
    u++;
  }
  return *u == ' ' ? arena_printf(a, "%" PRId64, n) : arena_printf(a, "%" PRId64 "%c", n, *u);
}

static const char *show_fixed(struct arena *a, int64_t v) {
  if (v < 0) return "";
  char *s = arena_printf(a, "%" PRId64 ".%03d", v / 1000, (int)(v % 1000));
  size_t n = strlen(s);
  while (s[n - 1] == '0' && s[n - 2] != '.') s[--n] = 0;
  return s;
}

static const char *show_id(struct arena *a, const struct option *o, const struct opt_id *id) {
  if (id->expand) return printable(a, id->expand);
  if (!id->is_set) return "";
  if (o->type == OPT_T_UID) {
    const struct passwd *pw = getpwuid(id->id);
    return pw ? arena_strdup(a, pw->pw_name) : arena_printf(a, "%u", id->id);
  }
  const struct group *gr = getgrgid(id->id);
  return gr ? arena_strdup(a, gr->gr_name) : arena_printf(a, "%u", id->id);
}

/* Each under its name where it has one. */
static const char *show_id_list(struct arena *a, bool is_user, const char *text) {
  struct strbuf b = strbuf_new(a);
  struct str rest = str_c(text);
  while (rest.n) {
    const char *item = str_dup(a, str_cut(&rest, ':'));
    uid_t uid = 0;
    gid_t gid = 0;
    const struct passwd *pw = is_user && opt_find_user(item, &uid, NULL) ? getpwuid(uid) : NULL;
    const struct group *gr = !is_user && opt_find_group(item, &gid) ? getgrgid(gid) : NULL;
    strbuf_addl(&b, b.n ? ":" : "", pw ? pw->pw_name : gr ? gr->gr_name : item, NULL);
  }
  return b.p;
}

static const char *show_value(struct arena *a, const struct opt_block *b, const struct option *o) {
  char buf[64];
  switch (o->type) {
  case OPT_T_INT: return arena_printf(a, "%" PRId64, *FIELD(b, o, int64_t));
  case OPT_T_MKINT: return show_scaled(a, *FIELD(b, o, int64_t), " KM");
  case OPT_T_KINT: return show_scaled(a, *FIELD(b, o, int64_t), "KMGT");
  case OPT_T_OCTAL: return arena_printf(a, "%#" PRIo64, *FIELD(b, o, int64_t));
  case OPT_T_FIXED: return show_fixed(a, *FIELD(b, o, int64_t));
  case OPT_T_TIME: return arena_strdup(a, time_format_interval(*FIELD(b, o, int64_t), buf, sizeof(buf)));
  case OPT_T_UID:
  case OPT_T_GID: return show_id(a, o, FIELD(b, o, struct opt_id));
  case OPT_T_BOOL_EXP: return printable(a, FIELD(b, o, struct opt_bool_exp)->expand);
  default: break;
  }
  const char *text = *FIELD(b, o, const char *);
  if (text && (o->type == OPT_T_UIDLIST || o->type == OPT_T_GIDLIST)) return show_id_list(a, o->type == OPT_T_UIDLIST, text);
  return text ? printable(a, text) : "";
}

const char *opt_show(struct arena *a, const struct opt_block *b, const struct option *o, bool name_too, bool admin) {
  uint8_t set = b->is_set[o - b->table];
  if (set == 2 && !admin)
    return name_too ? arena_printf(a, "%s = <value not displayable>", o->name) : "<value not displayable>";
  if (o->type == OPT_T_BOOL) return arena_printf(a, "%s%s", *FIELD(b, o, bool) ? "" : "no_", o->name);
  if (o->type == OPT_T_BOOL_EXP && !FIELD(b, o, struct opt_bool_exp)->expand)
    return arena_printf(a, "%s%s", FIELD(b, o, struct opt_bool_exp)->value ? "" : "no_", o->name);
  const char *v = show_value(a, b, o);
  if (!name_too) return v;
  /* Unset lists of users and unset fixed-point numbers have no blank behind the equals sign in Exim's output. */
  bool bare = !*v && (o->type == OPT_T_UIDLIST || o->type == OPT_T_GIDLIST || o->type == OPT_T_FIXED);
  return arena_printf(a, "%s =%s%s", o->name, bare ? "" : " ", v);
}
