/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queries of the ldap lookups as text.  Floor: formats (pure; input hostile).  Manual ch. 9.14-9.19, RFC 4514, 4515, 4516.
 *
 * A query is a URL with NAME=value settings before it.  The URL itself is read by the LDAP library; here it is only found. */
#ifndef FORMATS_LDAP_QUERY_H
#define FORMATS_LDAP_QUERY_H

#include "base/strbuf.h"

enum ldap_query_deref { LDAP_QUERY_DEREF_UNSET = -1, LDAP_QUERY_DEREF_NEVER, LDAP_QUERY_DEREF_SEARCHING, LDAP_QUERY_DEREF_FINDING, LDAP_QUERY_DEREF_ALWAYS };

struct ldap_query {
  const char *user, *password, *servers; /* NULL: not given; user is without URL quoting */
  enum ldap_query_deref deref;
  int64_t nettime_sec, time_sec, size_entries; /* 0: no limit */
  bool follow_referrals;
  const char *url;                       /* part of the text: what is behind the settings, maybe "" */
};

/* Read the settings in front: NULL, or what is wrong.  Strings live in the arena and are tainted as the text is. */
const char *ldap_query_parse(struct arena *a, const char *text, struct ldap_query *ret);
/* Does it begin as a URL of these lookups does: ldap:// ldaps:// ldapi:// in any case? */
bool ldap_query_is_url(const char *url);

/* Append text for a filter, or for a distinguished name, of a URL. */
void ldap_query_quote_filter(struct strbuf *out, struct str text);
void ldap_query_quote_dn(struct strbuf *out, struct str text);

/* Append one value of an attribute: its commas doubled; is_quoted: for the inside of double quotes. */
void ldap_query_add_value(struct strbuf *out, struct str value, bool is_quoted);

/* The query as it may be shown: what follows each "pass=", up to another setting or the URL, becomes XXX. */
const char *ldap_query_hide(struct arena *a, const char *text);

#endif
