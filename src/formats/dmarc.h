/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DMARC records and public suffixes (RFC 7489).  Floor: formats (pure; input hostile). */
#ifndef FORMATS_DMARC_H
#define FORMATS_DMARC_H

#include "base/str.h"

enum dmarc_policy { DMARC_UNSPECIFIED, DMARC_POLICY_NONE, DMARC_POLICY_QUARANTINE, DMARC_POLICY_REJECT };
extern const char *const dmarc_policy_names[]; /* "", "none" ... */

struct dmarc_record {
  enum dmarc_policy policy, subdomain_policy; /* p=, sp= */
  bool strict_dkim, strict_spf;
  int percent;
  struct str rua, ruf;   /* as they stand, n == 0: absent */
};

/* Is this text of a TXT record one of version 1? */
bool dmarc_is_record(struct str text);
/* False: it asks for nothing that can be used and counts as none (section 6.6.3). */
MUST_CHECK bool dmarc_parse_record(struct str text, struct dmarc_record *ret);

/* The domain that somebody has registered below a public suffix, by the list of publicsuffix.org (text of the file); the domain itself when it is no
 * longer than that.  domain: lower case, no final dot; the result is its end. */
struct str dmarc_org_domain(struct str list, struct str domain);
/* Does an authenticated domain speak for the one in From:?  Relaxed: both belong to one organization. */
bool dmarc_is_aligned(struct str list, struct str authenticated, struct str from, bool strict);

#endif
