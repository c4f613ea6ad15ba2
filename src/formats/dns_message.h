/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DNS messages: a bounds-checked cursor with sticky error, and the answer walk.  Floor: formats (pure; input hostile).
 *
 * RFC 1035, 2181, 2782, 6698.  Rules (early-pipelining notes, "answer table"): compression pointers must go backwards, at most 128 hops, names at
 * most 255 octets; counts in the header are never trusted for allocation; a record whose RDLENGTH leaves the packet ends the walk; a record with
 * short or malformed RDATA is skipped alone; owner and class are checked against the question or its CNAME chain; a CNAME where an SRV, MX ... was
 * asked is followed inside the packet, and its target is offered to the caller for the next query. */
#ifndef FORMATS_DNS_MESSAGE_H
#define FORMATS_DNS_MESSAGE_H

#include "base/arena.h"
#include "base/str.h"
#include "base/strbuf.h"

enum dns_type {
  DNS_T_A = 1, DNS_T_NS = 2, DNS_T_CNAME = 5, DNS_T_SOA = 6, DNS_T_PTR = 12, DNS_T_MX = 15, DNS_T_TXT = 16,
  DNS_T_AAAA = 28, DNS_T_SRV = 33, DNS_T_TLSA = 52, DNS_T_SPF = 99
};

/* Cursor: after an overrun every read gives 0 and bad stays true. */
struct dns_cursor {
  const uint8_t *base, *p, *end;
  bool bad;
};
uint8_t dns_u8(struct dns_cursor *c);
uint16_t dns_u16(struct dns_cursor *c);
uint32_t dns_u32(struct dns_cursor *c);
/* A possibly compressed name in presentation form (escapes \. \\ \DDD), without final dot ("." alone for the root), into buf (>= 1025 bytes). */
MUST_CHECK bool dns_name(struct dns_cursor *c, char *buf, size_t size);

struct dns_rr {
  struct dns_rr *next;
  const char *owner;   /* presentation form, arena, tainted */
  uint16_t type, class_;
  uint32_t ttl;        /* values above 2^31-1 count as 0 (RFC 2181 §8) */
  const uint8_t *rdata;
  uint16_t rdlen;
  uint8_t section;     /* 1 answer, 2 authority */
  /* decoded, by type: */
  uint16_t pref, weight, port;         /* MX pref; SRV priority=pref, weight, port */
  const char *name;                    /* MX SRV NS PTR CNAME SOA(mname) target */
  const char *rname;                   /* SOA */
  uint32_t soa[5];                     /* serial refresh retry expire minimum */
  const char *address;                 /* A, AAAA as text */
  uint8_t tlsa[3];                     /* usage, selector, matching type; data = rdata+3 */
};

struct dns_answer {
  int rcode;
  bool aa, ad, tc;
  struct dns_rr *answers;    /* records of the type asked, in packet order, owner in the chain, class IN */
  size_t count;
  const char *final_name;    /* end of the CNAME chain inside the packet (the question when none) */
  bool chain_open;           /* a CNAME was followed and nothing of the type stands at its end: ask again for final_name */
  bool chain_loop;           /* CNAME loop: counts as a temporary failure */
  const char *cname_secure_name;
  uint32_t min_ttl;          /* of answers and chain; UINT32_MAX when none */
  int64_t negative_ttl;      /* from the SOA of the authority section: min(ttl, minimum); -1 none */
  const char *question;      /* the name that was really asked: qname, or its qualified form when the packet says so */
  bool malformed;            /* the walk had to stop early, or the message ends before its count: without usable answers this is a temporary failure */
  const char *bad_record;    /* static text about the first malformed record skipped, or NULL (for one log line) */
  struct dns_rr *all;        /* every parsed record of answer and authority sections (section in order) for TLSA/DNSSEC users */
};

/* Parse and walk.  qname as asked, qtype the type wanted (CNAME itself may be asked).  Accepts QDCOUNT 0.
 * false: not even a header (then treat as temporary failure).  Everything in *ret lives in the arena, tainted. */
MUST_CHECK bool dns_parse_answer(struct arena *a, const uint8_t *msg, size_t n, const char *qname, int qtype,
                                 struct dns_answer *ret);
/* Strings of a TXT/SPF RDATA one by one: *off starts at 0; false at the end; clipped at RDATA end. */
bool dns_txt_next(const struct dns_rr *rr, size_t *off, struct str *ret);
/* All of them without anything in between, tainted; none is added once max_bytes are there. */
struct strbuf dns_txt_join(struct arena *a, const struct dns_rr *rr, size_t max_bytes);
/* Case-insensitive compare of presentation names, final dot ignored. */
bool dns_name_eq(const char *a, const char *b);
const char *dns_type_name(int type);

#endif
