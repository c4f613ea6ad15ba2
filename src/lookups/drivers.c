/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of lookup types.  Floor: drivers.
 *
 * The only place that names them all; the lookup core finds a type here and nowhere else.  Manual ch. 9.3 and 9.4. */

#include "buildconfig.h"
#include "lookups/lookups_priv.h"

const struct lookup_driver *const lookup_drivers[] = {
  &lookup_cdb,
  &lookup_dbm,
  &lookup_dbmjz,
  &lookup_dbmnz,
  &lookup_dnsdb,
  &lookup_dsearch,
  &lookup_iplsearch,
  &lookup_json,
#if CFG_LOOKUP_LDAP
  &lookup_ldap,
  &lookup_ldapdn,
  &lookup_ldapm,
#endif
  LOOKUP_LMDB_ROW
  &lookup_lsearch,
#if CFG_LOOKUP_MYSQL
  &lookup_mysql,
#endif
  &lookup_nwildlsearch,
  &lookup_passwd,
#if CFG_LOOKUP_PGSQL
  &lookup_pgsql,
#endif
#if CFG_LOOKUP_REDIS
  &lookup_redis,
#endif
  LOOKUP_SPF_ROW
#if CFG_LOOKUP_SQLITE
  &lookup_sqlite,
#endif
  &lookup_testdb,
  &lookup_testdb2,
  &lookup_testdb_nq,
  &lookup_wildlsearch,
  NULL,
};

const char *lookup_why_absent(struct str name) {
  static const struct {
    const char *name, *why;
  } absent[] = {
    {"ibase", "Interbase is not supported"},   {"ldap", "built without LOOKUP_LDAP"}, {"ldapdn", "built without LOOKUP_LDAP"},
    {"ldapm", "built without LOOKUP_LDAP"},        {"lmdb", "built without LOOKUP_LMDB"}, {"mysql", "built without LOOKUP_MYSQL"},
    {"nis", "NIS is not supported"},           {"nis0", "NIS is not supported"},      {"nisplus", "NIS+ is not supported"},
    {"nmh", "NMH is not supported"},           {"oracle", "Oracle is not supported"}, {"pgsql", "built without LOOKUP_PGSQL"},
    {"psl", "public suffix lists are not supported"}, {"redis", "built without LOOKUP_REDIS"}, {"regdom", "public suffix lists are not supported"},
    {"spf", "built without SUPPORT_SPF"},          {"sqlite", "built without LOOKUP_SQLITE"}, {"whoson", "whoson is not supported"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
    if (str_eq_c(name, absent[i].name)) return absent[i].why;
  return NULL;
}
