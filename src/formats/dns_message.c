/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DNS messages: cursor, names, and the answer walk.  Floor: formats.
 *
 * Pure functions over (bytes, length); every byte is hostile.  RFC 1035, 2181, 2782, 6698.
 * The walk works in two steps: first each record of the answer and authority sections is decoded on its own (one that does not
 * fit its type is dropped alone), then the CNAME chain is followed from the question through the decoded list.
 * Nothing is allocated by a count of the header.  Memory: all results lie in the arena given; texts and RDATA are tainted.
 * Costs: records are at most 65535/11, the chain at most CHAIN_MAX names, so the walk stays far from quadratic. */

#include "formats/dns_message.h"

#include <stdio.h>

#include "base/ip.h"

enum { NAME_MAX_WIRE = 255, NAME_MAX_HOPS = 128, NAME_BUF = 1025, CHAIN_MAX = 32, CLASS_IN = 1 };

uint8_t dns_u8(struct dns_cursor *c) {
  if (c->bad || c->p >= c->end) {
    c->bad = true;
    return 0;
  }
  return *c->p++;
}

uint16_t dns_u16(struct dns_cursor *c) {
  unsigned hi = dns_u8(c);
  return (uint16_t)(hi << 8 | dns_u8(c));
}

uint32_t dns_u32(struct dns_cursor *c) {
  uint32_t hi = dns_u16(c);
  return hi << 16 | dns_u16(c);
}

/* One byte of a label in presentation form.  The set of escaped characters is the one resolver libraries use. */
static size_t put_label_byte(char *out, uint8_t ch) {
  if (ch <= ' ' || ch >= 127) {
    out[0] = '\\';
    out[1] = (char)('0' + ch / 100);
    out[2] = (char)('0' + ch / 10 % 10);
    out[3] = (char)('0' + ch % 10);
    return 4;
  }
  if (strchr("\".;\\()@$", ch)) {
    out[0] = '\\';
    out[1] = (char)ch;
    return 2;
  }
  out[0] = (char)ch;
  return 1;
}

/* A pointer must lead before the place where the present run of labels began: then each hop moves strictly backwards and no
 * loop is possible; the hop limit only bounds the work. */
bool dns_name(struct dns_cursor *c, char *buf, size_t size) {
  const uint8_t *p = c->p, *run = c->p, *after = NULL;
  size_t wire = 1, len = 0;
  int hops = 0;

  if (c->bad || size < NAME_BUF) goto bad;
  for (;;) {
    if (p >= c->end) goto bad;
    unsigned n = *p++;
    if (n == 0) break;
    if ((n & 0xc0) == 0xc0) {
      if (p >= c->end || ++hops > NAME_MAX_HOPS) goto bad;
      const uint8_t *to = c->base + ((n & 0x3f) << 8 | *p++);
      if (!after) after = p;
      if (to >= run) goto bad;
      p = run = to;
      continue;
    }
    if (n & 0xc0) goto bad;
    wire += n + 1;
    if (wire > NAME_MAX_WIRE || (size_t)(c->end - p) < n) goto bad;
    if (len > 0) buf[len++] = '.';
    for (; n > 0; n--) len += put_label_byte(buf + len, *p++);
  }
  if (len == 0) buf[len++] = '.';
  buf[len] = '\0';
  c->p = after ? after : p;
  return true;
bad:
  c->bad = true;
  buf[0] = '\0';
  return false;
}

/* The next character of a presentation name: a byte value, LABEL_END for a separating dot, or NAME_END. */
enum { LABEL_END = 256, NAME_END = 257 };
static int next_name_char(const char **p) {
  unsigned ch = (unsigned char)**p;
  if (ch == 0) return NAME_END;
  (*p)++;
  if (ch == '.') return **p ? LABEL_END : NAME_END;
  if (ch != '\\' || **p == '\0') return ch_lower((int)ch);
  const char *d = *p;
  if (ch_isdigit(d[0]) && ch_isdigit(d[1]) && ch_isdigit(d[2])) {
    *p += 3;
    return ch_lower(((d[0] - '0') * 100 + (d[1] - '0') * 10 + (d[2] - '0')) & 0xff);
  }
  (*p)++;
  return ch_lower((unsigned char)d[0]);
}

bool dns_name_eq(const char *a, const char *b) {
  int ca, cb;
  do {
    ca = next_name_char(&a);
    cb = next_name_char(&b);
    if (ca != cb) return false;
  } while (ca != NAME_END);
  return true;
}

/* Is name equal to prefix, or prefix followed by further labels (what a search list makes of it)? */
static bool name_extends(const char *name, const char *prefix) {
  for (;;) {
    int ca = next_name_char(&name), cb = next_name_char(&prefix);
    if (cb == NAME_END) return ca == NAME_END || ca == LABEL_END;
    if (ca != cb) return false;
  }
}

static const struct {
  const char *name;
  int type;
} type_names[] = {
  {"A", DNS_T_A},     {"AAAA", DNS_T_AAAA}, {"CNAME", DNS_T_CNAME}, {"MX", DNS_T_MX},   {"NS", DNS_T_NS},     {"PTR", DNS_T_PTR},
  {"SOA", DNS_T_SOA}, {"SPF", DNS_T_SPF},   {"SRV", DNS_T_SRV},     {"TLSA", DNS_T_TLSA}, {"TXT", DNS_T_TXT},
};

const char *dns_type_name(int type) {
  for (size_t i = 0; i < ARRAY_SIZE(type_names); i++)
    if (type_names[i].type == type) return type_names[i].name;
  return "???";
}

bool dns_txt_next(const struct dns_rr *rr, size_t *off, struct str *ret) {
  if (*off >= rr->rdlen) return false;
  size_t n = rr->rdata[*off], room = rr->rdlen - *off - 1;
  *ret = str_n((const char *)rr->rdata + *off + 1, MIN(n, room));
  *off += 1 + ret->n;
  return true;
}

struct strbuf dns_txt_join(struct arena *a, const struct dns_rr *rr, size_t max_bytes) {
  struct strbuf b = strbuf_new_t(a, TAINTED, 256);
  struct str part;
  for (size_t off = 0; b.n < max_bytes && dns_txt_next(rr, &off, &part);) strbuf_add_t(&b, part.p, part.n, TAINTED);
  return b;
}

/* ---------------------------------------------------------------------------------------------------------
 * Decoding one record */

static const char *keep_name(struct arena *a, struct dns_cursor *c) {
  char buf[NAME_BUF];
  return dns_name(c, buf, sizeof buf) ? arena_strdup_t(a, buf, TAINTED) : NULL;
}

static const char *keep_address(struct arena *a, const struct dns_rr *rr, int family) {
  struct ip ip = {.family = family};
  char buf[IP_TEXT_SIZE];
  memcpy(ip.b, rr->rdata, rr->rdlen);
  return arena_strdup_t(a, ip_format(&ip, buf), TAINTED);
}

/* Fill the decoded fields.  The cursor ends at the RDATA's end, so that no field or name can read beyond it; only the target of a
 * compression pointer lies before.  NULL when fine, else what is wrong. */
static const char *decode_rdata(struct arena *a, const uint8_t *base, struct dns_rr *rr) {
  struct dns_cursor c = {base, rr->rdata, rr->rdata + rr->rdlen, false};
  switch (rr->type) {
    case DNS_T_A:
      if (rr->rdlen != 4) return "A record whose length is not 4";
      rr->address = keep_address(a, rr, 4);
      return NULL;
    case DNS_T_AAAA:
      if (rr->rdlen != 16) return "AAAA record whose length is not 16";
      rr->address = keep_address(a, rr, 6);
      return NULL;
    case DNS_T_MX:
      rr->pref = dns_u16(&c);
      return (rr->name = keep_name(a, &c)) ? NULL : "malformed MX record";
    case DNS_T_SRV:
      rr->pref = dns_u16(&c);
      rr->weight = dns_u16(&c);
      rr->port = dns_u16(&c);
      return (rr->name = keep_name(a, &c)) ? NULL : "malformed SRV record";
    case DNS_T_NS:
    case DNS_T_PTR:
    case DNS_T_CNAME:
      return (rr->name = keep_name(a, &c)) ? NULL : "malformed NS, PTR or CNAME record";
    case DNS_T_SOA:
      if (!(rr->name = keep_name(a, &c)) || !(rr->rname = keep_name(a, &c))) return "malformed SOA record";
      for (int i = 0; i < 5; i++) rr->soa[i] = dns_u32(&c);
      return c.bad ? "malformed SOA record" : NULL;
    case DNS_T_TLSA:
      for (int i = 0; i < 3; i++) rr->tlsa[i] = dns_u8(&c);
      return c.bad ? "TLSA record shorter than 3" : NULL;
    case DNS_T_TXT:
    case DNS_T_SPF:
      return rr->rdlen > 0 ? NULL : "TXT record without a string";
    default:
      return NULL;
  }
}

/* State of one walk: the copy of the message and the list being built. */
struct walk {
  struct arena *a;
  struct dns_cursor c;
  struct dns_answer *ans;
  struct dns_rr **tail;
};

/* Read one record of a section.  false: the position of the next one is unknown, the walk ends. */
static bool read_record(struct walk *w, uint8_t section) {
  struct dns_cursor *c = &w->c;
  char owner[NAME_BUF];
  if (!dns_name(c, owner, sizeof owner)) return false;
  struct dns_rr rr = {.section = section};
  rr.type = dns_u16(c);
  rr.class_ = dns_u16(c);
  rr.ttl = dns_u32(c);
  rr.rdlen = dns_u16(c);
  if (c->bad || (size_t)(c->end - c->p) < rr.rdlen) return false;
  if (rr.ttl > 0x7fffffffu) rr.ttl = 0;
  rr.rdata = c->p;
  c->p += rr.rdlen;
  if (rr.class_ != CLASS_IN) return true;
  const char *wrong = decode_rdata(w->a, c->base, &rr);
  if (wrong) {
    if (!w->ans->bad_record) w->ans->bad_record = wrong;
    return true;
  }
  struct dns_rr *keep = ARENA_NEW(w->a, struct dns_rr);
  *keep = rr;
  keep->owner = arena_strdup_t(w->a, owner, TAINTED);
  *w->tail = keep;
  w->tail = &keep->next;
  return true;
}

/* ---------------------------------------------------------------------------------------------------------
 * The chain */

struct chain {
  const char *name[CHAIN_MAX];
  int n;
};

static bool chain_has(const struct chain *ch, const char *name) {
  for (int i = 0; i < ch->n; i++)
    if (dns_name_eq(ch->name[i], name)) return true;
  return false;
}

static const struct dns_rr *find_cname(const struct dns_answer *ans, const char *owner) {
  for (const struct dns_rr *rr = ans->all; rr; rr = rr->next)
    if (rr->section == 1 && rr->type == DNS_T_CNAME && dns_name_eq(rr->owner, owner)) return rr;
  return NULL;
}

/* Follow CNAMEs from the question; true when they end, false for a loop or an absurd length. */
static bool follow_chain(struct dns_answer *ans, struct chain *ch) {
  const struct dns_rr *rr;
  while ((rr = find_cname(ans, ch->name[ch->n - 1])) != NULL) {
    ans->min_ttl = MIN(ans->min_ttl, rr->ttl);
    if (ch->n == CHAIN_MAX || chain_has(ch, rr->name)) return false;
    ch->name[ch->n++] = rr->name;
  }
  return true;
}

static void collect_answers(struct arena *a, struct dns_answer *ans, const struct chain *ch, int qtype) {
  struct dns_rr **tail = &ans->answers;
  for (const struct dns_rr *rr = ans->all; rr; rr = rr->next) {
    if (rr->section != 1 || rr->type != qtype || !chain_has(ch, rr->owner)) continue;
    struct dns_rr *copy = ARENA_NEW(a, struct dns_rr);
    *copy = *rr;
    copy->next = NULL;
    *tail = copy;
    tail = &copy->next;
    ans->count++;
    ans->min_ttl = MIN(ans->min_ttl, rr->ttl);
  }
}

static void note_negative_ttl(struct dns_answer *ans) {
  for (const struct dns_rr *rr = ans->all; rr; rr = rr->next)
    if (rr->section == 2 && rr->type == DNS_T_SOA) {
      ans->negative_ttl = MIN(rr->ttl, rr->soa[4]);
      return;
    }
}

/* The name asked, as the packet shows it: a search list may have made qname longer.  Without a question section (name servers of the
 * test harness) the owner of the first record tells, for names of one label only. */
static const char *real_question(struct arena *a, const struct dns_answer *ans, const char *in_packet, const char *qname) {
  if (in_packet) return name_extends(in_packet, qname) ? arena_strdup_t(a, in_packet, TAINTED) : qname;
  if (!strchr(qname, '.') && ans->all && ans->all->section == 1 && name_extends(ans->all->owner, qname))
    return ans->all->owner;
  return qname;
}

/* Walk over the questions; the first one into name.  False: there was none that can be read. */
static bool read_questions(struct walk *w, unsigned count, char name[NAME_BUF]) {
  bool have_first = false;
  for (unsigned i = 0; i < count && !w->ans->malformed; i++) {
    char other[NAME_BUF];
    bool is_name = dns_name(&w->c, i == 0 ? name : other, NAME_BUF);
    (void)dns_u32(&w->c); /* type and class */
    w->ans->malformed = !is_name || w->c.bad;
    if (i == 0) have_first = !w->ans->malformed;
  }
  return have_first;
}

static void read_section(struct walk *w, uint8_t section, unsigned count) {
  for (unsigned i = 0; i < count && !w->ans->malformed; i++) {
    /* The message ends before its count says so: what came counts; that nothing came says nothing. */
    if (w->c.p == w->c.end) {
      w->ans->malformed = section == 1;
      return;
    }
    w->ans->malformed = !read_record(w, section);
  }
}

bool dns_parse_answer(struct arena *a, const uint8_t *msg, size_t n, const char *qname, int qtype,
                      struct dns_answer *ret) {
  if (n < 12) return false;
  uint8_t *copy = arena_alloc_t(a, n, TAINTED);
  memcpy(copy, msg, n);
  struct dns_answer ans = {.negative_ttl = -1, .min_ttl = UINT32_MAX};
  struct walk w = {a, {copy, copy + 2, copy + n, false}, &ans, &ans.all};
  unsigned flags = dns_u16(&w.c), counts[4];
  for (int i = 0; i < 4; i++) counts[i] = dns_u16(&w.c);
  ans.rcode = (int)(flags & 15);
  ans.aa = (flags & 0x0400) != 0;
  ans.tc = (flags & 0x0200) != 0;
  ans.ad = (flags & 0x0020) != 0;

  char question[NAME_BUF];
  bool have_question = read_questions(&w, counts[0], question);
  read_section(&w, 1, counts[1]);
  read_section(&w, 2, counts[2]);

  ans.question = real_question(a, &ans, have_question ? question : NULL, qname);
  struct chain ch = {{ans.question}, 1};
  bool ends = qtype == DNS_T_CNAME || follow_chain(&ans, &ch);
  collect_answers(a, &ans, &ch, qtype);
  ans.final_name = ch.name[ch.n - 1];
  ans.chain_loop = !ends && ans.count == 0;
  ans.chain_open = ends && ch.n > 1 && ans.count == 0;
  if (ch.n > 1 && ans.ad) ans.cname_secure_name = ans.final_name;
  note_negative_ttl(&ans);
  *ret = ans;
  return true;
}
