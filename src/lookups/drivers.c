/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of lookup types.  Floor: drivers.
 *
 * The only place that names them all; the lookup core finds a type here and nowhere else.  Manual ch. 9.3 and 9.4. */

#include "lookups/lookups_priv.h"

const struct lookup_driver *const lookup_drivers[] = {
  &lookup_dbm,    &lookup_dbmjz,  &lookup_dbmnz,   &lookup_dnsdb,     &lookup_dsearch,      &lookup_iplsearch, &lookup_json,
  &lookup_lsearch, &lookup_nwildlsearch, &lookup_passwd, &lookup_testdb, &lookup_testdb2, &lookup_testdb_nq, &lookup_wildlsearch,
  NULL,
};
