/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The spf lookup: a sender's address as key, the client's address in place of the file; the value is the result of a check.  Floor: drivers.
 * Manual 58.4.  The key is hostile; the value is one of our words. */
#include "lookups/lookups_priv.h"
#include "spf.h"

/* There is nothing to open. */
static enum outcome spf_open(struct expand_ctx *x UNUSED, const char *file UNUSED, void **ret_handle, const char **ret_error UNUSED) {
  *ret_handle = NULL;
  return OUTCOME_OK;
}

static enum outcome spf_find(struct expand_ctx *x, void *handle UNUSED, const char *file, const char *key, const char *opts UNUSED,
                             struct lookup_result *ret) {
  struct ip ip;
  if (!file || !ip_parse(str_c(file), &ip)) return OUTCOME_FAIL;
  ret->data = spf_result_names[spf_check_address(x, key, &ip)];
  return OUTCOME_OK;
}

const struct lookup_driver lookup_spf = {.name = "spf", .flags = LOOKUP_NO_CACHE, .open = spf_open, .find = spf_find};
