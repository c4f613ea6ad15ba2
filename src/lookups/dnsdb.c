/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dnsdb: the DNS as a database.  Floor: drivers.  Manual ch. 9.10-9.13.
 *
 * Query: [>sep[,itemsep | ;]] [options,] [type=]name[:name...].  The query may hold hostile names, and every byte of an answer is
 * hostile: records reach this file only decoded and checked (formats/dns_message), chains are followed by dns.c.  Results are
 * tainted and never expanded again.  "Found" always has at least one record with text behind it; a temporary failure is never "not found" unless
 * defer_never asks for that. */

#include "base/ip.h"
#include "base/timeutil.h"
#include "dns.h"
#include "dns_csa.h"
#include "lookups/lookups_priv.h"
#include "policy/match.h"

/* A chunk of TLSA data longer than this is not shown further: no certificate association is as long. */
enum { TLSA_DATA_MAX = 8192, PARENTS_MAX = 64 };

enum mode { MODE_LAX, MODE_STRICT, MODE_NEVER };

enum pseudo { PLAIN, ADDRESSES, MX_HOSTS, ZONE_NS, CSA };

struct query {
  char sep;
  char item_sep;     /* 0: the type's default */
  bool join_items;   /* ";": nothing between items */
  enum mode defer, dnssec;
  struct dns_query_opts dns;
  int type;
  enum pseudo pseudo;
  const char *names;
};

static const struct {
  const char *name;
  int type;
  enum pseudo pseudo;
} types[] = {
  {"a", DNS_T_A, PLAIN},     {"a+", DNS_T_AAAA, ADDRESSES}, {"aaaa", DNS_T_AAAA, PLAIN}, {"cname", DNS_T_CNAME, PLAIN},
  {"csa", DNS_T_SRV, CSA},
  {"mx", DNS_T_MX, PLAIN},   {"mxh", DNS_T_MX, MX_HOSTS},   {"ns", DNS_T_NS, PLAIN},     {"ptr", DNS_T_PTR, PLAIN},
  {"soa", DNS_T_SOA, PLAIN}, {"spf", DNS_T_SPF, PLAIN},     {"srv", DNS_T_SRV, PLAIN},   {"tlsa", DNS_T_TLSA, PLAIN},
  {"txt", DNS_T_TXT, PLAIN}, {"zns", DNS_T_NS, ZONE_NS},
};

/* ---- the query text ---- */

static void parse_separators(const char **s, struct query *q) {
  if (**s != '>') return;
  (*s)++;
  if (**s) q->sep = *(*s)++;
  if (**s == ',') {
    (*s)++;
    if (**s) q->item_sep = *(*s)++;
  } else if (**s == ';') {
    (*s)++;
    q->join_items = true;
  }
  while (ch_isspace(**s)) (*s)++;
}

static bool parse_mode(struct str word, enum mode *ret) {
  if (str_eqic_c(word, "lax")) *ret = MODE_LAX;
  else if (str_eqic_c(word, "strict")) *ret = MODE_STRICT;
  else if (str_eqic_c(word, "never")) *ret = MODE_NEVER;
  else return false;
  return true;
}

/* One option word.  NULL when fine, else the error. */
static const char *parse_option(struct str w, struct query *q) {
  int64_t n;
  if (str_startsic(w, STR("defer_")))
    return parse_mode(str_n(w.p + 6, w.n - 6), &q->defer) ? NULL : "unsupported dnsdb defer behaviour";
  if (str_startsic(w, STR("dnssec_")))
    return parse_mode(str_n(w.p + 7, w.n - 7), &q->dnssec) ? NULL : "unsupported dnsdb dnssec behaviour";
  if (str_startsic(w, STR("retrans_"))) {
    if (!time_parse_interval(str_n(w.p + 8, w.n - 8), false, &n) || n <= 0 || n > 3600) return "unsupported dnsdb timeout value";
    q->dns.retrans_sec = (int)n;
    return NULL;
  }
  if (str_startsic(w, STR("retry_"))) {
    if (!str_parse_i64(str_n(w.p + 6, w.n - 6), &n) || n < 0 || n > 100) return "dnsdb modifier syntax error";
    q->dns.retry = (int)n;
    return NULL;
  }
  return "";
}

static const char *parse_options(const char **s, struct query *q) {
  for (;;) {
    size_t n = strcspn(*s, ",=:");
    if ((*s)[n] != ',') return NULL;
    const char *error = parse_option(str_trim(str_n(*s, n)), q);
    if (error) return *error ? error : NULL; /* "": no option, so the type or a name begins here */
    *s += n + 1;
    while (ch_isspace(**s)) (*s)++;
  }
}

static const char *parse_query(const char *s, struct query *q) {
  *q = (struct query){.sep = '\n', .type = DNS_T_TXT, .dns.cname_limit = -1};
  while (ch_isspace(*s)) s++;
  parse_separators(&s, q);
  const char *error = parse_options(&s, q);
  if (error) return error;
  const char *equals = strchr(s, '=');
  if (equals) {
    struct str name = str_trim(str_n(s, (size_t)(equals - s)));
    size_t i = 0;
    while (i < ARRAY_SIZE(types) && !str_eqic_c(name, types[i].name)) i++;
    if (i == ARRAY_SIZE(types)) return "unsupported DNS record type";
    q->type = types[i].type;
    q->pseudo = types[i].pseudo;
    s = equals + 1;
  }
  while (ch_isspace(*s)) s++;
  q->names = s;
  q->dns.want_dnssec = q->dnssec != MODE_NEVER;
  return NULL;
}

/* ---- records as text ---- */

static const char *host_text(const char *name) { return strcmp(name, ".") == 0 ? "" : name; }

/* A character string ends at its first NUL. */
static void add_chunk(struct strbuf *b, struct str s) { strbuf_add(b, s.p, strnlen(s.p, s.n)); }

static void add_txt(struct strbuf *b, const struct dns_rr *rr, const struct query *q) {
  bool all = q->join_items || q->item_sep || rr->type == DNS_T_SPF;
  size_t off = 0;
  struct str s;
  for (int i = 0; dns_txt_next(rr, &off, &s); i++) {
    if (i > 0 && !all) break;
    bool is_void_end = s.n == 0 && off >= rr->rdlen; /* an empty string at the end is not separated, as in Exim */
    if (i > 0 && q->item_sep && !q->join_items && !is_void_end) strbuf_addc(b, q->item_sep);
    add_chunk(b, s);
  }
}

static void add_tlsa(struct strbuf *b, const struct dns_rr *rr, const char *isep) {
  strbuf_addf(b, "%u%s%u%s%u%s", rr->tlsa[0], isep, rr->tlsa[1], isep, rr->tlsa[2], isep);
  strbuf_taint(b);
  for (int i = 3; i < rr->rdlen && i < TLSA_DATA_MAX; i++) strbuf_addf(b, "%02x", rr->rdata[i]);
}

static void add_record(struct strbuf *b, const struct dns_rr *rr, const struct query *q) {
  char isep[2] = {q->item_sep ? q->item_sep : ' ', '\0'};
  if (q->join_items) isep[0] = '\0';
  switch (rr->type) {
  case DNS_T_A:
  case DNS_T_AAAA: strbuf_adds(b, rr->address); break;
  case DNS_T_TXT:
  case DNS_T_SPF: add_txt(b, rr, q); break;
  case DNS_T_TLSA: add_tlsa(b, rr, isep); break;
  case DNS_T_MX:
    if (q->pseudo != MX_HOSTS) strbuf_addf(b, "%u%s", rr->pref, isep);
    strbuf_adds(b, host_text(rr->name));
    break;
  case DNS_T_SRV: strbuf_addf(b, "%u%s%u%s%u%s%s", rr->pref, isep, rr->weight, isep, rr->port, isep, host_text(rr->name)); break;
  case DNS_T_SOA:
    strbuf_adds(b, host_text(rr->name));
    if (!q->item_sep) break;
    strbuf_addl(b, isep, host_text(rr->rname), NULL);
    for (int i = 0; i < 5; i++) strbuf_addf(b, "%s%lu", isep, (unsigned long)rr->soa[i]);
    break;
  default: strbuf_adds(b, host_text(rr->name)); break;
  }
}

/* ---- asking ---- */

/* Name servers and SOA records are those of the nearest enclosing zone: drop labels until something is found. */
static enum dns_status ask(struct expand_ctx *x, const struct query *q, const char *name, int type, struct dns_answer *ret) {
  bool climbs = q->pseudo == ZONE_NS || type == DNS_T_SOA;
  enum dns_status st = dns_lookup(x, name, type, &q->dns, ret, NULL);
  for (int i = 0; climbs && i < PARENTS_MAX && (st == DNS_NOMATCH || st == DNS_NODATA); i++) {
    const char *dot = strchr(name, '.');
    if (!dot || !dot[1]) break;
    name = dot + 1;
    st = dns_lookup(x, name, type, &q->dns, ret, NULL);
  }
  return st;
}

struct outcome_so_far {
  struct strbuf text;
  int records;
  bool deferred, any_secure, any_insecure;
  uint32_t ttl_sec;
};

/* What a question without an answer means under the defer_ modifier.  false: stop at once, the whole lookup defers. */
static bool no_answer(const struct query *q, enum dns_status st, struct outcome_so_far *r) {
  if (st == DNS_NOMATCH || st == DNS_NODATA) return true;
  if (q->defer == MODE_STRICT) return false;
  if (q->defer == MODE_LAX) r->deferred = true;
  return true;
}

/* One name and type.  false: stop at once, the whole lookup defers. */
static bool one_name(struct expand_ctx *x, const struct query *q, const char *name, int type, struct outcome_so_far *r) {
  struct dns_answer ans = {0};
  enum dns_status st = ask(x, q, name, type, &ans);
  bool secure = st == DNS_SUCCEED && q->dnssec != MODE_NEVER && dns_is_secure(x, &ans);
  if (st == DNS_SUCCEED && q->dnssec == MODE_STRICT && !secure) st = DNS_AGAIN;
  if (st != DNS_SUCCEED) return no_answer(q, st, r);
  if (secure) r->any_secure = true;
  else r->any_insecure = true;
  r->ttl_sec = MIN(r->ttl_sec, ans.min_ttl);
  for (const struct dns_rr *rr = ans.answers; rr; rr = rr->next) {
    r->records++;
    if (r->text.n > 0) strbuf_addc(&r->text, q->sep);
    add_record(&r->text, rr, q);
  }
  return true;
}

/* Client SMTP authorization: the code and the host it is about. */
static bool one_csa(struct expand_ctx *x, const struct query *q, const char *item, struct outcome_so_far *r) {
  struct dns_answer ans = {0};
  const char *target = "";
  char code = '?';
  enum dns_status st = dns_csa_find(x, item, &q->dns, &code, &target, &ans);
  if (st != DNS_SUCCEED) return no_answer(q, st, r);
  r->any_insecure = true;
  r->ttl_sec = MIN(r->ttl_sec, ans.min_ttl);
  r->records++;
  if (r->text.n > 0) strbuf_addc(&r->text, q->sep);
  strbuf_addf(&r->text, "%c%c", code, q->item_sep ? q->item_sep : ' ');
  strbuf_adds(&r->text, host_text(target));
  return true;
}

static bool one_item(struct expand_ctx *x, const struct query *q, const char *item, struct outcome_so_far *r) {
  if (q->pseudo == CSA) return one_csa(x, q, item, r);
  char reversed[128];
  struct ip ip;
  if (q->type == DNS_T_PTR && ip_parse(str_c(item), &ip))
    item = arena_strdup_t(x->a, ip_reverse(&ip, true, reversed, sizeof reversed), is_tainted(item) ? TAINTED : UNTAINTED);
  if (!one_name(x, q, item, q->type, r)) return false;
  return q->pseudo != ADDRESSES || one_name(x, q, item, DNS_T_A, r);
}

static bool all_items(struct expand_ctx *x, const struct query *q, struct outcome_so_far *r) {
  const char *pos = q->names, *item;
  struct ip ip;
  int sep = 0;
  /* One bare v6 address is not a list, though it holds colons. */
  if (q->type == DNS_T_PTR && *pos != '<' && ip_parse(str_trim(str_c(pos)), &ip)) return one_item(x, q, str_dup(x->a, str_trim(str_c(pos))), r);
  while ((item = list_next(x->a, &pos, &sep)) != NULL)
    if (*item && !one_item(x, q, item, r)) return false;
  return true;
}

static enum outcome dnsdb_find(struct expand_ctx *x, void *handle, const char *file, const char *key, const char *opts,
                               struct lookup_result *ret) {
  (void)handle;
  (void)file;
  (void)opts;
  struct query q;
  struct outcome_so_far r = {.text = strbuf_new(x->a), .ttl_sec = UINT32_MAX};
  const char *error = parse_query(key, &q);
  if (error) {
    ret->error = error;
    return OUTCOME_DEFER;
  }
  x->match.lookup_dnssec = NULL;
  bool finished = all_items(x, &q, &r);
  if (!finished || (r.records == 0 && r.deferred)) {
    ret->error = ""; /* as Exim has it */
    return OUTCOME_DEFER;
  }
  if (r.any_secure || r.any_insecure) ret->dnssec = x->match.lookup_dnssec = q.dnssec == MODE_NEVER ? "" : r.any_insecure ? "no" : "yes";
  /* An answer with gaps (defer_lax) or none at all is not kept longer than a moment. */
  ret->ttl_sec = r.records == 0 || r.deferred ? 60 : r.ttl_sec;
  if (r.text.n == 0) return OUTCOME_FAIL; /* records that say nothing ("MXH" of a null MX, empty strings) are as good as none, as in Exim */
  ret->data = r.text.p;
  return OUTCOME_OK;
}

const struct lookup_driver lookup_dnsdb = {.name = "dnsdb", .flags = LOOKUP_QUERY, .find = dnsdb_find};
