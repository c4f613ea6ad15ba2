/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The answer walk over DNS messages.  Expected results: the rules for hostile answers in RFC 1035, 2181 §10.3, 2782 and the head of
 * formats/dns_message.h.  The case the whole walk exists for is an SRV question answered by a CNAME: see test_srv_meets_cname. */
#include "unit.h"

#include <stdio.h>

#include "formats/dns_message.h"

/* ---- building messages ---- */

struct pkt {
  uint8_t b[65600];
  size_t n;
};

static void put(struct pkt *p, const void *d, size_t n) {
  memcpy(p->b + p->n, d, n);
  p->n += n;
}
static void put8(struct pkt *p, unsigned v) { p->b[p->n++] = (uint8_t)v; }
static void put16(struct pkt *p, unsigned v) {
  put8(p, v >> 8);
  put8(p, v & 255);
}
static void put32(struct pkt *p, uint32_t v) {
  put16(p, v >> 16);
  put16(p, v & 0xffff);
}
/* "a.b" as labels; "" or "." is the root. */
static void put_name(struct pkt *p, const char *s) {
  while (*s && strcmp(s, ".") != 0) {
    size_t n = strcspn(s, ".");
    put8(p, (unsigned)n);
    put(p, s, n);
    s += n + (s[n] == '.');
  }
  put8(p, 0);
}
static void begin(struct pkt *p, unsigned flags, int qd, int an, int ns) {
  p->n = 0;
  put16(p, 1);
  put16(p, flags);
  put16(p, (unsigned)qd);
  put16(p, (unsigned)an);
  put16(p, (unsigned)ns);
  put16(p, 0);
}
static void question(struct pkt *p, const char *name, int type) {
  put_name(p, name);
  put16(p, (unsigned)type);
  put16(p, 1);
}
static void rr_head(struct pkt *p, const char *owner, int type, unsigned class_, uint32_t ttl, unsigned rdlen) {
  put_name(p, owner);
  put16(p, (unsigned)type);
  put16(p, class_);
  put32(p, ttl);
  put16(p, rdlen);
}
static size_t name_len(const char *s) { return *s == 0 || strcmp(s, ".") == 0 ? 1 : strlen(s) + 2; }
static void put_cname(struct pkt *p, const char *owner, const char *target) {
  rr_head(p, owner, DNS_T_CNAME, 1, 300, (unsigned)name_len(target));
  put_name(p, target);
}
static void put_srv(struct pkt *p, const char *owner, int prio, int weight, int port, const char *target) {
  rr_head(p, owner, DNS_T_SRV, 1, 600, (unsigned)name_len(target) + 6);
  put16(p, (unsigned)prio);
  put16(p, (unsigned)weight);
  put16(p, (unsigned)port);
  put_name(p, target);
}

/* "prio weight port target" of each answer, joined by ';'. */
static const char *srv_text(struct arena *a, const struct dns_answer *ans) {
  char buf[4096] = "";
  size_t n = 0;
  for (const struct dns_rr *rr = ans->answers; rr; rr = rr->next)
    n += (size_t)snprintf(buf + n, sizeof buf - n, "%s%u %u %u %s", n ? ";" : "", rr->pref, rr->weight, rr->port, rr->name);
  return arena_strdup(a, buf);
}

static struct dns_answer parse(struct arena *a, const struct pkt *p, const char *q, int type) {
  struct dns_answer ans = {0};
  assert_true(dns_parse_answer(a, p->b, p->n, q, type, &ans));
  return ans;
}

#define Q "_submission._tcp.example.org"

/* An SRV question answered by a CNAME.  Zone content must not be so (RFC 2181 §10.3 speaks of targets, RFC 2782 is silent), but
 * resolvers return it.  Rules: the target's records in the same packet are used; without them the target is handed to the caller for
 * one more query, however few labels it has; a loop is never "success, empty". */
static void test_srv_meets_cname(void **state) {
  (void)state;
  static const struct {
    const char *what;
    const char *target;       /* of the CNAME at the question */
    const char *srv_owner;    /* owner of an SRV record in the packet, NULL none */
    const char *second;       /* CNAME at target to this, NULL none */
    const char *want_srv;
    const char *want_final;
    bool want_open, want_loop;
  } rows[] = {
      {"no label, nothing more", ".", NULL, NULL, "", ".", true, false},
      {"one label", "x", NULL, NULL, "", "x", true, false},
      {"two labels", "x.y", NULL, NULL, "", "x.y", true, false},
      {"many labels", "_s._t.a.b.c.d.e.f", NULL, NULL, "", "_s._t.a.b.c.d.e.f", true, false},
      {"root with records", ".", ".", NULL, "1 2 3 host.example", ".", false, false},
      {"one label with records", "x", "x", NULL, "1 2 3 host.example", "x", false, false},
      {"two labels with records", "x.y", "x.y", NULL, "1 2 3 host.example", "x.y", false, false},
      {"case of owner differs", "x.y", "X.Y", NULL, "1 2 3 host.example", "x.y", false, false},
      {"chain of two with records", "x.y", "z", "z", "1 2 3 host.example", "z", false, false},
      {"chain of two, open", "x.y", NULL, "z", "", "z", true, false},
      {"record of a stranger", "x.y", "other.example", NULL, "", "x.y", true, false},
      {"self loop", Q, NULL, NULL, "", Q, false, true},
      {"loop of two", "x.y", NULL, Q, "", "x.y", false, true},
      {"loop behind", "x.y", NULL, "x.y", "", "x.y", false, true},
  };
  struct arena *a = arena_new("t");
  static struct pkt p;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    for (int reversed = 0; reversed < 2; reversed++) {
      begin(&p, 0x8180, 1, 1 + (rows[i].srv_owner != NULL) + (rows[i].second != NULL), 0);
      question(&p, Q, DNS_T_SRV);
      if (!reversed) put_cname(&p, Q, rows[i].target);
      if (rows[i].second) put_cname(&p, rows[i].target, rows[i].second);
      if (rows[i].srv_owner) put_srv(&p, rows[i].srv_owner, 1, 2, 3, "host.example");
      if (reversed) put_cname(&p, Q, rows[i].target);
      struct dns_answer ans = parse(a, &p, Q, DNS_T_SRV);
      CHECK_STR(rows[i].what, srv_text(a, &ans), rows[i].want_srv);
      CHECK_STR(rows[i].what, ans.final_name, rows[i].want_final);
      CHECK_INT(rows[i].what, ans.chain_open, rows[i].want_open);
      CHECK_INT(rows[i].what, ans.chain_loop, rows[i].want_loop);
      assert_true(is_tainted(ans.final_name));
    }
  }
  arena_free(a);
}

static void test_plain(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  static struct pkt p;
  begin(&p, 0x85a0, 1, 3, 0); /* AA, AD */
  question(&p, Q, DNS_T_SRV);
  put_srv(&p, Q, 10, 0, 587, "b.example");
  put_srv(&p, Q, 5, 9, 465, ".");
  rr_head(&p, Q, 46, 1, 1, 4); /* a signature among them */
  put32(&p, 0);
  struct dns_answer ans = parse(a, &p, Q, DNS_T_SRV);
  CHECK_STR("order of the packet", srv_text(a, &ans), "10 0 587 b.example;5 9 465 .");
  CHECK_INT("aa", ans.aa, 1);
  CHECK_INT("ad", ans.ad, 1);
  CHECK_INT("ttl", ans.min_ttl, 600);
  CHECK_INT("count larger than content", (p.b[7] = 0xff, parse(a, &p, Q, DNS_T_SRV).count), 2);
  CHECK_INT("and malformed, which counts when nothing came", parse(a, &p, Q, DNS_T_SRV).malformed, 1);
  /* ANCOUNT 0 with bytes following */
  p.b[7] = 0;
  CHECK_INT("ancount 0", parse(a, &p, Q, DNS_T_SRV).count, 0);
  arena_free(a);
}

/* RDATA of every length from 0 to the minimum: the record is dropped alone, the next one is used. */
static void test_short_rdata(void **state) {
  (void)state;
  static const struct {
    int type;
    unsigned min; /* smallest good length of this RDATA */
    uint8_t rdata[40];
    unsigned len; /* of rdata given */
    bool exact;   /* longer is wrong too */
  } rows[] = {
      {DNS_T_A, 4, {1, 2, 3, 4, 5}, 5, true},
      {DNS_T_AAAA, 16, {0x20, 1}, 17, true},
      {DNS_T_MX, 3, {0, 10, 0, 9}, 4, false},
      {DNS_T_SRV, 7, {0, 1, 0, 2, 0, 3, 0, 9}, 8, false},
      {DNS_T_TLSA, 3, {3, 1, 1, 9}, 4, false},
      {DNS_T_SOA, 22, {0, 0, 0, 0, 0, 1}, 23, false},
      {DNS_T_PTR, 1, {0, 9}, 2, false},
      {DNS_T_NS, 1, {0, 9}, 2, false},
  };
  struct arena *a = arena_new("t");
  static struct pkt p;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    for (unsigned len = 0; len <= rows[i].len; len++) {
      begin(&p, 0x8180, 1, 2, 0);
      question(&p, "q.example", rows[i].type);
      rr_head(&p, "q.example", rows[i].type, 1, 60, len);
      put(&p, rows[i].rdata, len);
      rr_head(&p, "q.example", rows[i].type, 1, 60, rows[i].min);
      put(&p, rows[i].rdata, rows[i].min);
      struct dns_answer ans = parse(a, &p, "q.example", rows[i].type);
      bool good = len == rows[i].min || (len > rows[i].min && !rows[i].exact);
      char what[64];
      (void)snprintf(what, sizeof what, "%s with %u bytes", dns_type_name(rows[i].type), len);
      CHECK_INT(what, ans.count, good ? 2 : 1);
      CHECK_INT(what, ans.bad_record != NULL, !good);
    }
  }
  arena_free(a);
}

/* RDLENGTH smaller than the name in it, and beyond the packet. */
static void test_rdlength_lies(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  static struct pkt p;
  begin(&p, 0x8180, 1, 2, 0);
  question(&p, Q, DNS_T_SRV);
  rr_head(&p, Q, DNS_T_SRV, 1, 60, 9);
  put(&p, "\0\1\0\2\0\3\11so", 9); /* a label of 9 with two bytes of it inside */
  put_srv(&p, Q, 4, 5, 6, "ok.example");
  struct dns_answer ans = parse(a, &p, Q, DNS_T_SRV);
  CHECK_STR("name leaves its RDATA", srv_text(a, &ans), "4 5 6 ok.example");

  static const unsigned beyond[] = {1, 60000};
  for (size_t i = 0; i < ARRAY_SIZE(beyond); i++) {
    begin(&p, 0x8180, 1, 2, 0);
    question(&p, Q, DNS_T_SRV);
    put_srv(&p, Q, 4, 5, 6, "ok.example");
    rr_head(&p, Q, DNS_T_SRV, 1, 60, 7 + beyond[i] > 65535 ? 65535 : 7 + beyond[i]);
    put(&p, "\0\1\0\2\0\3\0", 7);
    ans = parse(a, &p, Q, DNS_T_SRV);
    CHECK_STR("record beyond the packet", srv_text(a, &ans), "4 5 6 ok.example");
    CHECK_INT("walk stopped", ans.malformed, 1);
  }
  arena_free(a);
}

/* Names in an SRV target: raw bytes behind the three numbers; the record's start is at offset 12 + question. */
static void test_names(void **state) {
  (void)state;
  static const struct {
    const char *what;
    const char *raw;
    size_t n;
    const char *want; /* NULL: dropped */
  } rows[] = {
      {"dot, backslash and blank", "\5a.b\\ \0", 7, "a\\.b\\\\\\032"},
      {"NUL, LF, 8 bit", "\3\0\n\351\0", 5, "\\000\\010\\233"},
      {"dollar and quote", "\2$\"\0", 4, "\\$\\\""},
      {"pointer to the question", "\300\14", 2, Q},
      {"pointer to the header", "\300\0", 2, NULL},
      {"pointer forward", "\377\377", 2, NULL},
      {"pointer cut", "\300", 1, NULL},
      {"label type 0x40", "\101a\0", 3, NULL},
      {"label type 0x80", "\201a\0", 3, NULL},
      {"label without end", "\1a", 2, NULL},
  };
  struct arena *a = arena_new("t");
  static struct pkt p;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    begin(&p, 0x8180, 1, 1, 0);
    question(&p, Q, DNS_T_SRV);
    rr_head(&p, Q, DNS_T_SRV, 1, 60, (unsigned)(6 + rows[i].n));
    put(&p, "\0\1\0\2\0\3", 6);
    put(&p, rows[i].raw, rows[i].n);
    struct dns_answer ans = parse(a, &p, Q, DNS_T_SRV);
    if (strcmp(rows[i].what, "pointer to the header") == 0) {
      /* Its bytes are 0 1 ...: the root name.  Harmless, and inside the rules. */
      CHECK_STR(rows[i].what, ans.answers ? ans.answers->name : "(none)", ".");
      continue;
    }
    CHECK_STR(rows[i].what, ans.answers ? ans.answers->name : "(none)", rows[i].want ? rows[i].want : "(none)");
  }
  /* A pointer to itself, and to the pointer before it. */
  begin(&p, 0x8180, 1, 2, 0);
  question(&p, Q, DNS_T_NS);
  for (int i = 0; i < 2; i++) {
    rr_head(&p, Q, DNS_T_NS, 1, 60, 2);
    put16(&p, 0xc000 | (unsigned)(i == 0 ? p.n : p.n));
  }
  CHECK_INT("pointers to themselves", parse(a, &p, Q, DNS_T_NS).count, 0);
  arena_free(a);
}

static void test_long_names(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  static struct pkt p;
  char label[64], name[400] = "";
  memset(label, 'a', 63);
  label[63] = 0;
  for (int i = 0; i < 3; i++) (void)snprintf(name + strlen(name), sizeof name - strlen(name), "%s.", label);
  /* 3 * 64 + n + 2 octets */
  static const struct {
    int last;
    int want;
  } rows[] = {{61, 1}, {62, 0}, {63, 0}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    char full[500];
    (void)snprintf(full, sizeof full, "%s%.*s", name, rows[i].last, label);
    begin(&p, 0x8180, 1, 1, 0);
    question(&p, "q", DNS_T_PTR);
    rr_head(&p, "q", DNS_T_PTR, 1, 60, (unsigned)name_len(full));
    put_name(&p, full);
    CHECK_INT("255 octets and no more", parse(a, &p, "q", DNS_T_PTR).count, rows[i].want);
  }
  /* A chain of pointers, each to the one before: 128 hops pass, 200 do not. */
  static const int hops[] = {100, 200};
  for (size_t k = 0; k < ARRAY_SIZE(hops); k++) {
    begin(&p, 0x8180, 1, 2, 0);
    question(&p, "q", DNS_T_PTR);
    rr_head(&p, "q", DNS_T_TXT, 1, 60, (unsigned)(2 * hops[k] + 3));
    size_t at = p.n;
    put(&p, "\1z\0", 3);
    for (int i = 0; i < hops[k]; i++) {
      size_t here = p.n;
      put16(&p, 0xc000 | (unsigned)at);
      at = here;
    }
    rr_head(&p, "q", DNS_T_PTR, 1, 60, 2);
    put16(&p, 0xc000 | (unsigned)at);
    CHECK_INT("hops", parse(a, &p, "q", DNS_T_PTR).count, k == 0);
  }
  arena_free(a);
}

static void test_strangers(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  static struct pkt p;
  begin(&p, 0x8180, 1, 4, 0);
  question(&p, "q.example", DNS_T_A);
  rr_head(&p, "other.example", DNS_T_A, 1, 60, 4);
  put32(&p, 0x01020304);
  rr_head(&p, "q.example", DNS_T_A, 3, 60, 4); /* class CH */
  put32(&p, 0x01020305);
  rr_head(&p, "q.example", DNS_T_TXT, 1, 60, 1);
  put8(&p, 0);
  rr_head(&p, "Q.Example", DNS_T_A, 1, 0xffffffff, 4);
  put32(&p, 0x01020306);
  struct dns_answer ans = parse(a, &p, "q.example.", DNS_T_A);
  CHECK_INT("one is ours", ans.count, 1);
  CHECK_STR("which", ans.answers->address, "1.2.3.6");
  CHECK_INT("TTL beyond 2^31-1 is 0", ans.min_ttl, 0);
  arena_free(a);
}

static void test_negative_ttl(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  static struct pkt p;
  for (int cut = 0; cut < 2; cut++) {
    begin(&p, 0x8183, 1, 0, 1);
    question(&p, "q.example", DNS_T_MX);
    rr_head(&p, "example", DNS_T_SOA, 1, 900, cut ? 10 : 22);
    put(&p, "\0\0", 2);
    for (int i = 0; i < 5; i++) put32(&p, i == 4 ? 120u : 1u);
    if (cut) p.n -= 12;
    struct dns_answer ans = parse(a, &p, "q.example", DNS_T_MX);
    CHECK_INT("rcode", ans.rcode, 3);
    CHECK_INT("negative ttl", ans.negative_ttl, cut ? -1 : 120);
  }
  arena_free(a);
}

static void test_questions(void **state) {
  (void)state;
  static const unsigned counts[] = {0, 2, 65535};
  struct arena *a = arena_new("t");
  static struct pkt p;
  for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
    begin(&p, 0x8180, 0, 1, 0);
    p.b[4] = (uint8_t)(counts[i] >> 8);
    p.b[5] = (uint8_t)counts[i];
    for (unsigned k = 0; k < MIN(counts[i], 2u); k++) question(&p, "q.example", DNS_T_A);
    rr_head(&p, "q.example", DNS_T_A, 1, 60, 4);
    put32(&p, 1);
    struct dns_answer ans = parse(a, &p, "q.example", DNS_T_A);
    CHECK_INT("qdcount", ans.count, counts[i] < 3);
    CHECK_INT("qdcount malformed", ans.malformed, counts[i] == 65535);
  }
  /* A search list made the name longer: the packet says so. */
  begin(&p, 0x8180, 1, 1, 0);
  question(&p, "short.example", DNS_T_A);
  rr_head(&p, "short.example", DNS_T_A, 1, 60, 4);
  put32(&p, 1);
  struct dns_answer ans = parse(a, &p, "short", DNS_T_A);
  CHECK_INT("qualified", ans.count, 1);
  CHECK_STR("question", ans.question, "short.example");
  CHECK_INT("another question is not ours", parse(a, &p, "shor", DNS_T_A).count, 0);
  arena_free(a);
}

/* The packet cut at every byte: no crash, and a record is only there when all of it is. */
static void test_cut_everywhere(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  static struct pkt p;
  struct dns_answer ans;
  begin(&p, 0x8180, 1, 2, 0);
  question(&p, Q, DNS_T_SRV);
  put_cname(&p, Q, "x.y");
  put_srv(&p, "x.y", 1, 2, 3, "t.example");
  for (size_t n = 0; n < p.n; n++) {
    uint8_t *exact = malloc(n + 1); /* so that a sanitizer sees an overrun */
    memcpy(exact, p.b, n);
    bool ok = dns_parse_answer(a, exact, n, Q, DNS_T_SRV, &ans);
    CHECK_INT("header", ok, n >= 12);
    if (ok) CHECK_INT("nothing of a cut record", ans.count, 0);
    free(exact);
  }
  arena_free(a);
}

static void test_txt(void **state) {
  (void)state;
  static const uint8_t rd[] = {2, 'a', 'b', 0, 9, 'c', 'd'};
  struct dns_rr rr = {.type = DNS_T_TXT, .rdata = rd, .rdlen = sizeof rd};
  static const char *const want[] = {"ab", "", "cd"};
  size_t off = 0;
  struct str s;
  int i = 0;
  for (; dns_txt_next(&rr, &off, &s); i++) {
    assert_true(i < 3);
    assert_true(str_eq_c(s, want[i]));
  }
  CHECK_INT("strings", i, 3);
}

static void test_name_eq(void **state) {
  (void)state;
  assert_true(dns_name_eq("A.b", "a.B."));
  assert_true(dns_name_eq("a\\.b.c", "a\\046b.c"));
  assert_false(dns_name_eq("a\\.b.c", "a.b.c"));
  assert_false(dns_name_eq("a.b", "a.b.c"));
  assert_true(dns_name_eq(".", ""));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_srv_meets_cname), cmocka_unit_test(test_plain),     cmocka_unit_test(test_short_rdata),
      cmocka_unit_test(test_rdlength_lies),   cmocka_unit_test(test_names),     cmocka_unit_test(test_long_names),
      cmocka_unit_test(test_strangers),       cmocka_unit_test(test_negative_ttl), cmocka_unit_test(test_questions),
      cmocka_unit_test(test_cut_everywhere),  cmocka_unit_test(test_txt),       cmocka_unit_test(test_name_eq),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
