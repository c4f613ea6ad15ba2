/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parsing of DKIM-Signature: headers and of key records.
 *
 * Floor: formats.  Both are tag lists written by strangers: a header says what is signed and how, a TXT record in the DNS holds the key.  What is
 * not understood is passed over where RFC 6376 says so, and makes the whole invalid where it says that; nothing is guessed.  Values that
 * variables or log lines show are unfolded here, so that no line end of the header gets into them. */
#include "formats/dkim.h"

#include "formats/codecs.h"

const char *const dkim_keytype_names[DKIM_KEYTYPE_COUNT] = {"rsa", "ed25519"};
const char *const dkim_hash_names[DKIM_HASH_COUNT] = {"sha1", "sha256", "sha512"};

static int find_name(const char *const *names, size_t n, struct str name) {
  for (size_t i = 0; i < n; i++)
    if (str_eqic_c(name, names[i])) return (int)i;
  return -1;
}

int dkim_find_keytype(struct str name) { return find_name(dkim_keytype_names, DKIM_KEYTYPE_COUNT, name); }
int dkim_find_hash(struct str name) { return find_name(dkim_hash_names, DKIM_HASH_COUNT, name); }

/* ---- tag lists ---- */

static bool is_tag_name(struct str s) {
  if (s.n == 0 || !ch_isalpha(s.p[0])) return false;
  for (size_t i = 1; i < s.n; i++)
    if (!ch_isalnum(s.p[i]) && s.p[i] != '_') return false;
  return true;
}

enum dkim_tag dkim_tag_next(struct str *rest, struct str *ret_name, struct str *ret_value) {
  if (str_trim(*rest).n == 0) return DKIM_TAG_END; /* a semicolon at the end is allowed */
  struct str item = str_cut(rest, ';');
  size_t eq = str_index(item, '=');
  struct str name = str_trim(str_n(item.p, eq));
  if (eq == item.n || !is_tag_name(name)) return DKIM_TAG_BAD;
  *ret_name = name;
  *ret_value = str_trim(str_n(item.p + eq + 1, item.n - eq - 1));
  return DKIM_TAG_OK;
}

/* Without any white space, or without line ends only. */
static const char *squeeze(struct arena *a, struct str s, bool keep_blanks) {
  struct strbuf b = strbuf_new(a);
  for (size_t i = 0; i < s.n; i++)
    if (keep_blanks ? s.p[i] != '\r' && s.p[i] != '\n' : !ch_isspace(s.p[i])) strbuf_add(&b, s.p + i, 1);
  if (b.n == 0) strbuf_add(&b, s.p, 0);
  return b.p;
}

static struct str decode(struct arena *a, struct str s) {
  size_t n;
  char *p = base64_decode(a, str_c(squeeze(a, s, false)), &n);
  return p ? str_n(p, n) : STR_NULL;
}

static bool has_control(const char *s) {
  for (; *s; s++)
    if (ch_iscntrl(*s) && *s != '\t') return true;
  return false;
}

bool dkim_list_has(const char *list, struct str name) {
  for (struct str rest = str_c(list); rest.n > 0;)
    if (str_eqic(str_trim(str_cut(&rest, ':')), name)) return true;
  return false;
}

/* ---- the signature ---- */

/* KEYTYPE-HASH. */
static bool parse_algorithm(struct str v, struct dkim_signature *s) {
  size_t dash = str_index(v, '-');
  if (dash == v.n) return false;
  int keytype = dkim_find_keytype(str_n(v.p, dash)), hash = dkim_find_hash(str_n(v.p + dash + 1, v.n - dash - 1));
  if (keytype < 0 || hash < 0) return false;
  s->algorithm = v;
  s->keytype = (enum dkim_keytype)keytype;
  s->hash = (enum dkim_hash)hash;
  return true;
}

static void parse_canon(struct str v, struct dkim_signature *s) {
  struct str headers = str_cut(&v, '/');
  s->relaxed_headers = str_eqic(headers, STR("relaxed"));
  s->relaxed_body = str_eqic(v, STR("relaxed"));
}

static void parse_number(struct str v, int64_t *ret, struct dkim_signature *s) {
  uint64_t n;
  if (str_parse_u64(v, &n) && n <= INT64_MAX / 2) *ret = (int64_t)n;
  else s->fault = DKIM_SIG_TAG;
}

/* A name for a question to the DNS, or NULL. */
static const char *dns_text(struct arena *a, struct str v) {
  if (v.n == 0 || v.n > 253) return NULL;
  for (size_t i = 0; i < v.n; i++)
    if (!ch_isalnum(v.p[i]) && v.p[i] != '-' && v.p[i] != '_' && v.p[i] != '.' && v.p[i] < 0x80) return NULL;
  return str_dup(a, v);
}

static const char *shown_text(struct arena *a, struct str v, bool keep_blanks, struct dkim_signature *s) {
  const char *t = squeeze(a, v, keep_blanks);
  if (!has_control(t) && strlen(t) > 0) return t;
  s->fault = DKIM_SIG_TAG;
  return NULL;
}

/* One letter each; what is longer is none of ours. */
static bool take_tag(struct arena *a, char name, struct str v, struct dkim_signature *s, struct str *ret_version) {
  switch (name) {
  case 'v': *ret_version = v; break;
  case 'a': return parse_algorithm(v, s);
  case 'c': parse_canon(v, s); break;
  case 'd': s->domain = dns_text(a, v); break;
  case 's': s->selector = dns_text(a, v); break;
  case 'i': s->identity = shown_text(a, v, false, s); break;
  case 'h': s->header_names = shown_text(a, v, false, s); break;
  case 'z': s->copied_headers = shown_text(a, v, true, s); break;
  case 'b': s->data = decode(a, v); break;
  case 'l': parse_number(v, &s->body_length, s); break;
  case 't': parse_number(v, &s->created, s); break;
  case 'x': parse_number(v, &s->expires, s); break;
  default: break;
  }
  return true;
}

bool dkim_identity_fits(const char *identity, const char *domain, bool exactly) {
  const char *at = strrchr(identity, '@');
  struct str d = str_c(domain), of = str_c(at ? at + 1 : identity);
  if (!at || of.n < d.n) return false;
  if (of.n == d.n) return str_eqic(of, d);
  return !exactly && of.p[of.n - d.n - 1] == '.' && str_endsic(of, d);
}

/* False: no known algorithm, or more tags than anybody needs.  is_arc: i= is the number of the set. */
static bool parse_tags(struct arena *a, struct str header, bool is_arc, struct dkim_signature *s, struct str *ret_version) {
  struct str rest = header, name, value;
  enum dkim_tag t;
  int count = 0;
  (void)str_cut(&rest, ':');
  while ((t = dkim_tag_next(&rest, &name, &value)) != DKIM_TAG_END) {
    if (++count > DKIM_MAX_TAGS) return false;
    if (t == DKIM_TAG_BAD) s->fault = DKIM_SIG_TAG;
    else if (str_eq(name, STR("bh"))) s->body_hash = decode(a, value);
    else if (is_arc && str_eq(name, STR("cv"))) s->cv = value;
    else if (is_arc && str_eq(name, STR("i"))) {
      if (!str_parse_int(value, &s->instance)) s->fault = DKIM_SIG_TAG;
    } else if (name.n == 1 && !take_tag(a, name.p[0], value, s, ret_version)) return false;
  }
  if (s->header_names && dkim_count_names(s->header_names) > DKIM_MAX_NAMES) s->fault = DKIM_SIG_TAG;
  return s->algorithm.n > 0;
}

bool dkim_parse_arc(struct arena *a, struct str header, bool is_seal, struct dkim_signature *ret) {
  struct dkim_signature s = {.body_length = -1};
  struct str version = STR_NULL;
  if (!parse_tags(a, header, true, &s, &version)) return false;
  if (version.p || s.instance < 1 || !s.domain || !s.selector || s.data.n == 0) s.fault = DKIM_SIG_TAG;
  if (is_seal ? s.cv.n == 0 || s.header_names : !s.header_names || s.body_hash.n == 0) s.fault = DKIM_SIG_TAG;
  *ret = s;
  return true;
}

bool dkim_parse_signature(struct arena *a, struct str header, struct dkim_signature *ret) {
  struct dkim_signature s = {.body_length = -1};
  struct str version = STR_NULL;
  if (!parse_tags(a, header, false, &s, &version)) return false;
  if (version.p && !str_eq(version, STR("1"))) s.fault = DKIM_SIG_VERSION;
  if (!version.p || !s.domain || !s.selector || !s.header_names || s.data.n == 0) s.fault = DKIM_SIG_TAG;
  if (s.identity && s.domain && !dkim_identity_fits(s.identity, s.domain, false)) s.fault = DKIM_SIG_TAG;
  *ret = s;
  return true;
}

struct str dkim_without_b(struct arena *a, struct str header) {
  struct str rest = header;
  (void)str_cut(&rest, ':');
  while (rest.n > 0) {
    struct str item = str_cut(&rest, ';');
    size_t eq = str_index(item, '=');
    if (eq == item.n || !str_eq(str_trim(str_n(item.p, eq)), STR("b"))) continue;
    const char *from = item.p + eq + 1, *to = item.p + item.n;
    if (to == header.p + header.n && item.n > 0) /* the line end is no part of the value */
      while (to > from && (to[-1] == '\n' || to[-1] == '\r')) to--;
    struct strbuf b = strbuf_new(a);
    strbuf_add(&b, header.p, (size_t)(from - header.p));
    strbuf_add(&b, to, (size_t)(header.p + header.n - to));
    return strbuf_str(&b);
  }
  return header;
}

/* ---- the key record ---- */

static void parse_flags(struct str v, struct dkim_key *k) {
  while (v.n > 0) {
    struct str flag = str_trim(str_cut(&v, ':'));
    if (str_eq(flag, STR("y"))) k->is_testing = true;
    if (str_eq(flag, STR("s"))) k->no_subdomains = true;
  }
}

static const char *key_text(struct arena *a, struct str v) {
  const char *t = squeeze(a, v, true);
  return has_control(t) ? "" : t;
}

bool dkim_parse_key(struct arena *a, struct str record, struct dkim_key *ret) {
  struct dkim_key k = {.keytype = DKIM_KEY_RSA, .service = "*", .granularity = "*", .notes = ""};
  struct str name, value, key = STR_NULL;
  enum dkim_tag t;
  int count = 0;
  while ((t = dkim_tag_next(&record, &name, &value)) != DKIM_TAG_END) {
    if (++count > DKIM_MAX_TAGS) return false;
    if (t == DKIM_TAG_BAD || name.n != 1) continue;
    switch (name.p[0]) {
    case 'v': if (!str_eq(value, STR("DKIM1"))) return false; break;
    case 'k': k.keytype = dkim_find_keytype(value); break;
    case 'h': k.hashes = key_text(a, value); break;
    case 's': k.service = key_text(a, value); break;
    case 'g': k.granularity = key_text(a, value); break;
    case 'n': k.notes = key_text(a, value); break;
    case 't': parse_flags(value, &k); break;
    case 'p': key = value; break;
    default: break;
    }
  }
  if (!key.p || !(dkim_list_has(k.service, STR("*")) || dkim_list_has(k.service, STR("email")))) return false;
  k.data = decode(a, key);
  if (str_trim(key).n > 0 && k.data.n == 0) return false;
  *ret = k;
  return true;
}
