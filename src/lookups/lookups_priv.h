/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lookup drivers of this build, one per file of this folder.  Floor: drivers. */
#ifndef LOOKUPS_LOOKUPS_PRIV_H
#define LOOKUPS_LOOKUPS_PRIV_H

#include "buildconfig.h"
#include "policy/search.h"

extern const struct lookup_driver lookup_lsearch, lookup_wildlsearch, lookup_nwildlsearch, lookup_iplsearch, lookup_dsearch,
  lookup_passwd, lookup_dnsdb, lookup_testdb, lookup_testdb2, lookup_testdb_nq, lookup_dbm, lookup_dbmnz, lookup_dbmjz, lookup_json, lookup_cdb, lookup_sqlite, lookup_ldap, lookup_ldapdn, lookup_ldapm, lookup_lmdb, lookup_mysql, lookup_pgsql, lookup_redis,
  lookup_spf;

/* Their rows in the list of types. */
#if CFG_LOOKUP_LMDB
#define LOOKUP_LMDB_ROW &lookup_lmdb,
#else
#define LOOKUP_LMDB_ROW
#endif
#if CFG_SUPPORT_SPF
#define LOOKUP_SPF_ROW &lookup_spf,
#else
#define LOOKUP_SPF_ROW
#endif

#endif
