/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DKIM texts: tag lists, the DKIM-Signature: header, the key record, the header that a signer writes.
 * Floor: formats (pure; input hostile).  RFC 6376, RFC 8301, RFC 8463; manual ch. 58.
 *
 * Slices in results point into the text that was parsed; decoded and unfolded values live in the arena and carry the taint of the text. */
#ifndef FORMATS_DKIM_H
#define FORMATS_DKIM_H

#include "base/arena.h"
#include "base/strbuf.h"

/* What is signed unless dkim_sign_headers says otherwise, and a list that also says what must not be added (manual 58.2). */
#define DKIM_SIGN_HEADERS \
  "From:Sender:Reply-To:Subject:Date:Message-ID:To:Cc:MIME-Version:Content-Type:Content-Transfer-Encoding:Content-ID:" \
  "Content-Description:Resent-Date:Resent-From:Resent-Sender:Resent-To:Resent-Cc:Resent-Message-ID:In-Reply-To:" \
  "References:List-Id:List-Help:List-Unsubscribe:List-Subscribe:List-Post:List-Owner:List-Archive"
#define DKIM_OVERSIGN_HEADERS \
  "+From:+Sender:+Reply-To:+Subject:+Date:+Message-ID:+To:+Cc:+MIME-Version:+Content-Type:+Content-Transfer-Encoding:" \
  "+Content-ID:+Content-Description:+Resent-Date:+Resent-From:+Resent-Sender:+Resent-To:+Resent-Cc:+Resent-Message-ID:" \
  "+In-Reply-To:+References:+List-Id:+List-Help:+List-Unsubscribe:+List-Subscribe:+List-Post:+List-Owner:+List-Archive"

enum { DKIM_LINE_MAX = 78 /* of a header that is written */, DKIM_MAX_TAGS = 200, DKIM_MAX_NAMES = 300 /* in h= */ };
enum dkim_keytype { DKIM_KEY_RSA, DKIM_KEY_ED25519, DKIM_KEYTYPE_COUNT };
enum dkim_hash { DKIM_SHA1, DKIM_SHA256, DKIM_SHA512, DKIM_HASH_COUNT };
extern const char *const dkim_keytype_names[DKIM_KEYTYPE_COUNT]; /* "rsa", "ed25519" */
extern const char *const dkim_hash_names[DKIM_HASH_COUNT];       /* "sha1", ... */
/* Index of a name in one of these tables, -1 when it is none. */
int dkim_find_keytype(struct str name);
int dkim_find_hash(struct str name);

/* The next NAME=VALUE of a tag list; *rest moves behind it.  Blanks and line folds around both are taken off. */
enum dkim_tag { DKIM_TAG_END, DKIM_TAG_OK, DKIM_TAG_BAD /* no such form */ };
enum dkim_tag dkim_tag_next(struct str *rest, struct str *ret_name, struct str *ret_value);

/* What is wrong with a signature that can be named all the same. */
enum dkim_sig_fault { DKIM_SIG_OK, DKIM_SIG_TAG /* missing or invalid */, DKIM_SIG_VERSION };

struct dkim_signature {
  enum dkim_sig_fault fault;
  enum dkim_keytype keytype;
  enum dkim_hash hash;
  bool relaxed_headers, relaxed_body;
  struct str algorithm;          /* a= as it stands */
  const char *domain, *selector; /* NULL: missing */
  const char *identity;          /* i= unfolded, NULL none */
  const char *header_names;      /* h= without blanks, NULL missing */
  const char *copied_headers;    /* z= unfolded, NULL none */
  struct str body_hash;          /* bh= decoded; n 0: missing or no base64 */
  struct str data;               /* b= decoded; the same */
  int64_t body_length;           /* l=, -1 none */
  int64_t created, expires;      /* t=, x=; 0 none */
  int instance;                  /* ARC: i= */
  struct str cv;                 /* ARC-Seal: cv= */
};

/* Parse the header line (name included).  False: no tag list, or an algorithm that is unknown: to be ignored. */
MUST_CHECK bool dkim_parse_signature(struct arena *a, struct str header, struct dkim_signature *ret);
/* The same for ARC-Message-Signature: and ARC-Seal: (RFC 8617 section 4.1). */
MUST_CHECK bool dkim_parse_arc(struct arena *a, struct str header, bool is_seal, struct dkim_signature *ret);
/* The same header with the value of b= left out, as it is signed.  When there is no b= it is the header. */
struct str dkim_without_b(struct arena *a, struct str header);

struct dkim_key {
  int keytype;              /* enum dkim_keytype, -1: a word we do not know */
  const char *hashes;       /* h=, NULL: any */
  const char *service;      /* s=, "*" when missing */
  const char *granularity;  /* g=, the same */
  const char *notes;        /* n=, "" when missing */
  bool is_testing, no_subdomains; /* t= */
  struct str data;          /* p= decoded; n 0: revoked */
};
/* Parse a TXT record (its strings joined).  False: not a key record for mail. */
MUST_CHECK bool dkim_parse_key(struct arena *a, struct str record, struct dkim_key *ret);

/* Is the name (or a word like it) an item of a colon-separated list, folding case? */
bool dkim_list_has(const char *list, struct str name);
/* May a signature of this domain speak for the identity "[local]@domain"?  exactly: not for a subdomain. */
bool dkim_identity_fits(const char *identity, const char *domain, bool exactly);

/* ---- writing ---- */

struct dkim_header_spec {
  const char *name;         /* "DKIM-Signature" */
  int instance;             /* > 0: an ARC header; i= instead of v= and q= */
  const char *chain_state;  /* cv=, NULL none */
  bool has_canon;           /* c= */
  const char *algorithm;    /* "rsa-sha256" */
  bool relaxed;             /* both canonicalizations */
  const char *domain, *selector, *identity; /* identity NULL none */
  const char *names;        /* h=, NULL none */
  const char *body_hash;    /* base64, NULL none */
  int64_t created, expires; /* written when > 0 */
  const char *data;         /* b= in base64, "" for the form that is signed */
};
/* The whole header line with folds, ended by LF. */
const char *dkim_make_header(struct arena *a, const struct dkim_header_spec *s);

/* A header being written: words with folds so that no line is longer than DKIM_LINE_MAX. */
struct dkim_folder {
  struct strbuf b;
  size_t column;
};

/* Which header lines h= means: for each name of the colon list, from the last line of that name upwards (RFC 6376 section 5.4.2).
 * lines: count of them, whole lines.  ret: index of the line for the i-th name, -1 there is none (more); room for as many as dkim_count_names(). */
size_t dkim_count_names(const char *names);
void dkim_select_headers(struct arena *a, const struct str *lines, size_t count, const char *names, int *ret);
/* h= for a signer: the lines that are there from the last one upwards, then what is missing; items of the list may have "=" or "+" in front (manual 58.2). */
const char *dkim_choose_names(struct arena *a, const struct str *lines, size_t count, const char *list);

#endif
