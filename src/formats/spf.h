/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sender Policy Framework: records, macros and the check itself (RFC 7208).  Floor: formats (pure; all input hostile).
 *
 * The DNS is asked through a function of the caller, so that everything here runs without one.  Records are checked as a whole before any term is
 * evaluated.  Limits (section 4.6.4): 10 terms that ask the DNS, 2 of them without an answer, 10 hosts of an MX, 10 names of an address. */
#ifndef FORMATS_SPF_H
#define FORMATS_SPF_H

#include "base/ip.h"
#include "base/strbuf.h"
#include "base/vec.h"

enum spf_result { SPF_NONE, SPF_NEUTRAL, SPF_PASS, SPF_FAIL, SPF_SOFTFAIL, SPF_TEMPERROR, SPF_PERMERROR, SPF_RESULT_COUNT };
extern const char *const spf_result_names[]; /* "none", "neutral" ... */

enum spf_kind { SPF_ALL, SPF_INCLUDE, SPF_A, SPF_MX, SPF_PTR, SPF_IP4, SPF_IP6, SPF_EXISTS };

/* One mechanism. */
struct spf_term {
  enum spf_kind kind;
  enum spf_result result;  /* what it says when it matches, by its qualifier */
  struct str domain;       /* domain-spec, macros unexpanded; n == 0: the current domain */
  int bits4, bits6;        /* of a, mx, ip4, ip6 */
  struct ip net;           /* ip4, ip6 */
};
struct spf_record {
  struct spf_term *terms;
  size_t count;
  struct str redirect, exp; /* n == 0: absent */
};

/* Is this text of a TXT record a version 1 record? */
bool spf_is_record(struct str text);
/* NULL and *ret (slices point into text), else a static text: what is wrong. */
const char *spf_parse_record(struct arena *a, struct str text, struct spf_record *ret);

/* What macros stand for. */
struct spf_names {
  const struct ip *ip;      /* the client */
  const char *sender;       /* whole address; the local part "postmaster" when it had none */
  const char *domain;       /* current */
  const char *helo;
  const char *validated;    /* %{p}: NULL unknown */
  const char *receiver;     /* for explanations only, like the next */
  int64_t now;
};
enum spf_macro_use { SPF_FOR_DOMAIN, SPF_FOR_EXPLANATION };
/* Expand macros.  False: not a macro-string (nothing is said about what was added to out so far).  A domain that grows longer than 253 octets loses
 * labels on its left. */
MUST_CHECK bool spf_expand(struct strbuf *out, struct str text, const struct spf_names *n, enum spf_macro_use use);
/* Does it need %{p}? */
bool spf_wants_validated(struct str text);

enum spf_ask { SPF_ASK_TXT, SPF_ASK_A, SPF_ASK_AAAA, SPF_ASK_MX, SPF_ASK_PTR };
enum spf_answer { SPF_ANSWER, SPF_NO_ANSWER /* no such name, or nothing of the type */, SPF_ANSWER_LATER /* anything else */ };

/* A check.  Fill the first part; the rest is the check's own. */
struct spf_check {
  struct arena *a;
  struct ip ip;
  const char *sender, *helo;
  /* Put texts (char *, NUL-terminated: TXT strings joined, addresses, names; MX in order of preference) into answers.  name of PTR: as for a query. */
  enum spf_answer (*ask)(void *ctx, enum spf_ask what, const char *name, struct vec *answers);
  void *ctx;
  /* results: */
  const char *problem;      /* for the errors: static text */
  bool by_mechanism;        /* one matched; else the end of the record was reached */
  /* own: */
  int lookups, voids;
  const char *validated;
  bool validated_known, is_guess;
};
/* check_host() for a domain; record: text to use in place of what the DNS has for it (a guess), NULL none. */
enum spf_result spf_check_host(struct spf_check *c, const char *domain, const char *record);

#endif
