/* SPDX-License-Identifier: GPL-2.0-or-later */
/* testdb, testdb2, testdb_nq: lookups whose answer is in the query, for testing configurations.  Floor: drivers.  Manual ch. 9.4.
 *
 * "fail" is not found, "defer" defers; any other query is its own answer, and one that begins with "nocache" is not kept.  testdb_nq
 * has no quoting rule. */

#include "lookups/lookups_priv.h"

static enum outcome testdb_find(struct expand_ctx *x, void *handle, const char *file, const char *key, const char *opts,
                                struct lookup_result *ret) {
  (void)handle;
  (void)file;
  (void)opts;
  if (strcmp(key, "fail") == 0) return OUTCOME_FAIL;
  if (strcmp(key, "defer") == 0) {
    ret->error = "testdb lookup forced DEFER";
    return OUTCOME_DEFER;
  }
  ret->no_cache = strncmp(key, "nocache", 7) == 0;
  ret->data = arena_strdup_t(x->a, key, is_tainted(key) ? TAINTED : UNTAINTED); /* no more quoted for anything */
  return OUTCOME_OK;
}

static const char *testdb_quote(struct arena *a, const char *s, const char *opt) {
  return opt ? NULL : arena_strdup(a, s);
}

const struct lookup_driver lookup_testdb = {.name = "testdb", .flags = LOOKUP_QUERY, .find = testdb_find, .quote = testdb_quote, .quoter = "testdb"};
const struct lookup_driver lookup_testdb2 = {.name = "testdb2", .flags = LOOKUP_QUERY, .find = testdb_find, .quote = testdb_quote, .quoter = "testdb"};
const struct lookup_driver lookup_testdb_nq = {.name = "testdb_nq", .flags = LOOKUP_QUERY, .find = testdb_find};
