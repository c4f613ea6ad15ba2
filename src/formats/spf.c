/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SPF records and macros (spf.h).  Floor: formats.  RFC 7208 sections 4.5, 4.6.1, 5, 6, 7, 12. */
#include "formats/spf.h"

const char *const spf_result_names[] = {"none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"};

enum { DOMAIN_MAX = 253, EXPANSION_MAX = 4096 };

/* ---- macro-strings ---- */

static const char delimiters[] = ".-+,/_=";

/* The inside of %{...}. */
struct macro {
  char letter;
  unsigned keep;           /* right-hand parts, 0: all */
  bool reverse;
  struct str delims;
};

static bool parse_macro(struct str s, struct macro *ret) {
  size_t i = 1;
  uint64_t keep = 0;
  if (s.n == 0 || !ch_isalpha(s.p[0]) || !strchr("slodiphcrtv", ch_lower(s.p[0]))) return false;
  while (i < s.n && ch_isdigit(s.p[i])) i++;
  if (i > 1 && (!str_parse_u64(str_n(s.p + 1, i - 1), &keep) || keep == 0)) return false;
  *ret = (struct macro){.letter = s.p[0], .keep = keep > 1000 ? 1000 : (unsigned)keep};
  if (i < s.n && ch_lower(s.p[i]) == 'r') {
    ret->reverse = true;
    i++;
  }
  ret->delims = str_n(s.p + i, s.n - i);
  for (; i < s.n; i++)
    if (!memchr(delimiters, s.p[i], sizeof delimiters - 1)) return false;
  return true;
}

/* The next piece: literal text, or a macro.  False at the end; *ret_bad when it is malformed. */
static bool next_piece(struct str *rest, struct str *ret_text, struct macro *ret_macro, bool *ret_is_macro, bool *ret_bad) {
  *ret_bad = *ret_is_macro = false;
  if (rest->n == 0) return false;
  size_t n = str_index(*rest, '%');
  if (n > 0) {
    *ret_text = str_n(rest->p, n);
  } else if (rest->n >= 2 && (rest->p[1] == '%' || rest->p[1] == '_' || rest->p[1] == '-')) {
    *ret_text = rest->p[1] == '%' ? STR("%") : rest->p[1] == '_' ? STR(" ") : STR("%20");
    n = 2;
  } else {
    size_t end = str_index(*rest, '}');
    *ret_is_macro = true;
    *ret_bad = rest->n < 2 || rest->p[1] != '{' || end == rest->n || !parse_macro(str_n(rest->p + 2, end - 2), ret_macro);
    if (*ret_bad) return true;
    n = end + 1;
  }
  *rest = str_n(rest->p + n, rest->n - n);
  return true;
}

/* macro-string; letters c, r, t only in explanations. */
static bool macros_are_good(struct str s, bool is_explanation) {
  struct str text;
  struct macro m;
  bool is_macro, bad;
  for (size_t i = 0; i < s.n; i++)
    if (!ch_isgraph(s.p[i]) && !(is_explanation && s.p[i] == ' ')) return false;
  while (next_piece(&s, &text, &m, &is_macro, &bad))
    if (bad || (is_macro && !is_explanation && strchr("crt", ch_lower(m.letter)))) return false;
  return true;
}

bool spf_wants_validated(struct str s) {
  struct str text;
  struct macro m;
  bool is_macro, bad;
  while (next_piece(&s, &text, &m, &is_macro, &bad))
    if (bad) return false;
    else if (is_macro && ch_lower(m.letter) == 'p') return true;
  return false;
}

/* "2.0.0.1." ... of IPv6, dots of IPv4. */
static void add_dotted(struct strbuf *out, const struct ip *ip) {
  char text[IP_TEXT_SIZE];
  if (ip->family == 4) {
    strbuf_adds(out, ip_format(ip, text));
    return;
  }
  for (int i = 0; i < 16; i++) strbuf_addf(out, "%s%x.%x", i ? "." : "", ip->b[i] >> 4, ip->b[i] & 15);
}

static struct str value_of(struct strbuf *tmp, char letter, const struct spf_names *n) {
  struct str sender = str_c(n->sender);
  size_t at = sender.n;
  char text[IP_TEXT_SIZE];
  while (at > 0 && sender.p[at - 1] != '@') at--;
  switch (ch_lower(letter)) {
  case 's': return sender;
  case 'l': return at > 1 ? str_n(sender.p, at - 1) : STR("postmaster");
  case 'o': return str_n(sender.p + at, sender.n - at);
  case 'd': return str_c(n->domain);
  case 'h': return str_c(n->helo ? n->helo : "unknown");
  case 'p': return str_c(n->validated ? n->validated : "unknown");
  case 'v': return n->ip->family == 4 ? STR("in-addr") : STR("ip6");
  case 'r': return str_c(n->receiver ? n->receiver : "unknown");
  case 'i': add_dotted(tmp, n->ip); break;
  case 'c': strbuf_adds(tmp, ip_format(n->ip, text)); break;
  case 't': strbuf_add_int(tmp, n->now); break;
  default: break;
  }
  return strbuf_str(tmp);
}

static void add_escaped(struct strbuf *out, struct str s, bool url) {
  for (size_t i = 0; i < s.n; i++)
    if (!url || ch_isalnum(s.p[i]) || (s.p[i] && strchr("-._~", s.p[i]))) strbuf_add(out, s.p + i, 1);
    else strbuf_addf(out, "%%%02x", (unsigned)(unsigned char)s.p[i]);
}

/* Parts of the value, all or the right-hand ones, perhaps turned round, with dots between. */
static void add_macro(struct strbuf *out, const struct macro *m, struct str value, bool url) {
  struct str parts[128];
  size_t n = 0;
  struct str delims = m->delims.n ? m->delims : STR(".");
  if (!m->keep && !m->reverse && !m->delims.n) {
    add_escaped(out, value, url);
    return;
  }
  for (size_t from = 0, i = 0; i <= value.n; i++) {
    if (i < value.n && (!memchr(delims.p, value.p[i], delims.n) || n + 1 == ARRAY_SIZE(parts))) continue;
    parts[n++] = str_n(value.p + from, i - from);
    from = i + 1;
  }
  for (size_t i = 0; m->reverse && i < n / 2; i++) {
    struct str t = parts[i];
    parts[i] = parts[n - 1 - i];
    parts[n - 1 - i] = t;
  }
  for (size_t i = m->keep && m->keep < n ? n - m->keep : 0, first = i; i < n; i++) {
    if (i > first) strbuf_addc(out, '.');
    add_escaped(out, parts[i], url);
  }
}

bool spf_expand(struct strbuf *out, struct str s, const struct spf_names *names, enum spf_macro_use use) {
  struct str text;
  struct macro m;
  bool is_macro, bad;
  size_t start = out->n;
  if (!macros_are_good(s, use == SPF_FOR_EXPLANATION)) return false;
  while (next_piece(&s, &text, &m, &is_macro, &bad) && out->n - start < EXPANSION_MAX) {
    struct strbuf tmp = strbuf_new(out->a);
    if (is_macro) add_macro(out, &m, value_of(&tmp, m.letter, names), ch_isupper(m.letter));
    else strbuf_addstr(out, text);
  }
  if (use == SPF_FOR_EXPLANATION) return true;
  struct str all = str_n(out->p + start, out->n - start);
  if (all.n && all.p[all.n - 1] == '.') all.n--;
  size_t cut = 0;
  while (all.n - cut > DOMAIN_MAX) {
    size_t dot = str_index(str_n(all.p + cut, all.n - cut), '.');
    if (dot == all.n - cut) break;
    cut += dot + 1;
  }
  if (cut) memmove(out->p + start, out->p + start + cut, all.n - cut);
  strbuf_truncate(out, start + all.n - cut);
  return true;
}

/* ---- terms ---- */

static bool toplabel_is_good(struct str s) {
  bool any_alpha = false;
  if (s.n == 0 || !ch_isalnum(s.p[0]) || !ch_isalnum(s.p[s.n - 1])) return false;
  for (size_t i = 0; i < s.n; i++) {
    if (!ch_isalnum(s.p[i]) && s.p[i] != '-') return false;
    any_alpha = any_alpha || !ch_isdigit(s.p[i]);
  }
  return any_alpha;
}

/* domain-spec: ends in a macro, or in a dot and a label that is no number. */
static bool domain_is_good(struct str s) {
  if (!macros_are_good(s, false)) return false;
  struct str rest = s, text = STR_NULL;
  struct macro m;
  bool is_macro = false, last_is_macro = false, bad;
  while (next_piece(&rest, &text, &m, &is_macro, &bad)) last_is_macro = is_macro;
  if (s.n == 0 || last_is_macro) return s.n > 0;
  if (s.p[s.n - 1] == '.') s.n--;
  size_t dot = s.n;
  while (dot > 0 && s.p[dot - 1] != '.') dot--;
  return dot > 0 && toplabel_is_good(str_n(s.p + dot, s.n - dot));
}

static bool parse_bits(struct str s, int max, int *ret) {
  uint64_t n;
  if (s.n == 0 || s.n > 3 || (s.n > 1 && s.p[0] == '0') || !str_parse_u64(s, &n) || n > (uint64_t)max) return false;
  *ret = (int)n;
  return true;
}

/* Take "/24", "//64" or both off the end of s. */
static bool take_dual_cidr(struct str *s, struct spf_term *t) {
  size_t at = s->n;
  while (at > 0 && (ch_isdigit(s->p[at - 1]) || s->p[at - 1] == '/')) at--;
  while (at < s->n && s->p[at] != '/') at++;
  /* A slash may be a delimiter of a macro, but then a brace follows it. */
  struct str cidr = str_n(s->p + at, s->n - at);
  t->bits4 = 32;
  t->bits6 = 128;
  if (cidr.n == 0) return true;
  s->n = at;
  size_t two = 0;
  while (two + 1 < cidr.n && !(cidr.p[two] == '/' && cidr.p[two + 1] == '/')) two++;
  if (two + 1 >= cidr.n) two = cidr.n;
  if (two > 0 && !parse_bits(str_n(cidr.p + 1, two - 1), 32, &t->bits4)) return false;
  return two == cidr.n || parse_bits(str_n(cidr.p + two + 2, cidr.n - two - 2), 128, &t->bits6);
}

static bool parse_net(struct str s, struct spf_term *t) {
  size_t slash = str_index(s, '/');
  int want = t->kind == SPF_IP4 ? 4 : 6, *bits = want == 4 ? &t->bits4 : &t->bits6;
  *bits = want == 4 ? 32 : 128;
  if (!ip_parse(str_n(s.p, slash), &t->net) || t->net.family != want || t->net.scope) return false;
  return slash == s.n || parse_bits(str_n(s.p + slash + 1, s.n - slash - 1), *bits, bits);
}

static const struct {
  const char *name;
  enum spf_kind kind;
  enum { ARG_NONE, ARG_DOMAIN, ARG_MAYBE, ARG_CIDR, ARG_NET } arg;
} mechanisms[] = {
  {"all", SPF_ALL, ARG_NONE},   {"include", SPF_INCLUDE, ARG_DOMAIN}, {"a", SPF_A, ARG_CIDR},    {"mx", SPF_MX, ARG_CIDR},
  {"ptr", SPF_PTR, ARG_MAYBE},  {"ip4", SPF_IP4, ARG_NET},            {"ip6", SPF_IP6, ARG_NET}, {"exists", SPF_EXISTS, ARG_DOMAIN},
};

static bool parse_mechanism(struct str s, struct spf_term *t) {
  static const enum spf_result by_qualifier[] = {SPF_PASS, SPF_FAIL, SPF_SOFTFAIL, SPF_NEUTRAL};
  static const char qualifiers[] = "+-~?";
  const char *q = s.p[0] ? strchr(qualifiers, s.p[0]) : NULL;
  *t = (struct spf_term){.result = q ? by_qualifier[q - qualifiers] : SPF_PASS, .bits4 = 32, .bits6 = 128};
  if (q) s = str_n(s.p + 1, s.n - 1);
  size_t n = 0;
  while (n < s.n && s.p[n] != ':' && s.p[n] != '/') n++;
  struct str name = str_n(s.p, n), arg = str_n(s.p + n, s.n - n);
  for (size_t i = 0; i < ARRAY_SIZE(mechanisms); i++) {
    if (!str_eqic_c(name, mechanisms[i].name)) continue;
    t->kind = mechanisms[i].kind;
    if (mechanisms[i].arg == ARG_NONE) return arg.n == 0;
    if (mechanisms[i].arg == ARG_CIDR && !take_dual_cidr(&arg, t)) return false;
    if (arg.n == 0) return mechanisms[i].arg == ARG_CIDR || mechanisms[i].arg == ARG_MAYBE;
    if (arg.p[0] != ':') return false;
    arg = str_n(arg.p + 1, arg.n - 1);
    t->domain = arg;
    return mechanisms[i].arg == ARG_NET ? parse_net(arg, t) : domain_is_good(arg);
  }
  return false;
}

/* NAME=VALUE?  *ret_ok: and it is well-formed. */
static bool is_modifier(struct str s, struct spf_record *r, bool *ret_ok) {
  size_t n = 0;
  while (n < s.n && (ch_isalnum(s.p[n]) || (n > 0 && strchr("-_.", s.p[n])))) n++;
  if (n == 0 || n == s.n || s.p[n] != '=' || !ch_isalpha(s.p[0])) return false;
  struct str name = str_n(s.p, n), value = str_n(s.p + n + 1, s.n - n - 1);
  struct str *slot = str_eqic_c(name, "redirect") ? &r->redirect : str_eqic_c(name, "exp") ? &r->exp : NULL;
  *ret_ok = slot ? slot->n == 0 && domain_is_good(value) : macros_are_good(value, false);
  if (slot) *slot = value;
  return true;
}

bool spf_is_record(struct str s) { return str_startsic(s, STR("v=spf1")) && (s.n == 6 || s.p[6] == ' '); }

const char *spf_parse_record(struct arena *a, struct str s, struct spf_record *ret) {
  size_t max = 1;
  if (!spf_is_record(s)) return "no version";
  for (size_t i = 0; i < s.n; i++) max += s.p[i] == ' ';
  *ret = (struct spf_record){.terms = ARENA_NEW_N(a, struct spf_term, max)};
  s = str_n(s.p + 6, s.n - 6);
  while (s.n > 0) {
    struct str one = str_cut(&s, ' ');
    bool ok;
    if (one.n == 0) continue;
    if (is_modifier(one, ret, &ok)) {
      if (!ok) return "malformed modifier";
    } else {
      if (!parse_mechanism(one, &ret->terms[ret->count])) return "malformed or unknown mechanism";
      ret->count++;
    }
  }
  return NULL;
}
