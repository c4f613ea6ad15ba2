/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Table of expansion items (manual section 11.5).  Floor: policy.
 *
 * Each row: name, number of braced arguments, evaluation over expanded arguments, or a parser of its own, and one line of documentation.
 * Sorted by name.  Items of features that this build does not have are refused with their own text. */
#include "buildconfig.h"
#include "base/name_table.h"
#include "policy/expand/expand_priv.h"

#if !CFG_EXPAND_DLFUNC
bool exp_item_dlfunc(struct expand_ctx *x, struct strbuf *out UNUSED, const char *const *args UNUSED, int nargs UNUSED) {
  return exp_fail(x, "\"${dlfunc\" is not supported by this build");
}
#endif

static const struct exp_item items[] = {
  {"acl", 1, 10, exp_item_acl, NULL, "message of an ACL run with arguments"},
  {"authresults", 1, 1, exp_item_authresults, NULL, "Authentication-Results: header text"},
  {"certextract", 0, 0, NULL, exp_item_certextract, "field of a certificate"},
  {"dlfunc", 2, 10, exp_item_dlfunc, NULL, "function of a loadable object"},
  {"env", 0, 0, NULL, exp_item_env, "environment variable"},
  {"extract", 0, 0, NULL, exp_item_extract, "field by name or number; JSON member"},
  {"filter", 0, 0, NULL, exp_item_filter, "list items for which a condition is true"},
  {"hash", 2, 3, exp_item_hash, NULL, "textual hash"},
  {"hmac", 3, 3, exp_item_hmac, NULL, "keyed hash (RFC 2104)"},
  {"if", 0, 0, NULL, exp_item_if, "conditional"},
  {"imapfolder", 1, 3, exp_item_imapfolder, NULL, "folder name in modified UTF-7"},
  {"length", 2, 2, exp_item_length, NULL, "first bytes of a string"},
  {"listextract", 0, 0, NULL, exp_item_listextract, "list item by number"},
  {"listquote", 2, 2, exp_item_listquote, NULL, "double the separator"},
  {"lookup", 0, 0, NULL, exp_item_lookup, "data from files and databases"},
  {"map", 0, 0, NULL, exp_item_map, "transform each list item"},
  {"nhash", 2, 3, exp_item_nhash, NULL, "numeric hash"},
  {"perl", 1, 9, exp_item_perl, NULL, "embedded Perl subroutine"},
  {"prvs", 2, 3, exp_item_prvs, NULL, "sign an address (BATV)"},
  {"prvscheck", 0, 0, NULL, exp_item_prvscheck, "check a signed address (BATV)"},
  {"readfile", 1, 2, exp_item_readfile, NULL, "contents of a file"},
  {"readsocket", 0, 0, NULL, exp_item_readsocket, "answer of a socket service"},
  {"reduce", 0, 0, NULL, exp_item_reduce, "fold a list into one value"},
  {"run", 0, 0, NULL, exp_item_run, "output of a command"},
  {"sg", 3, 3, exp_item_sg, NULL, "substitute matches of a regular expression"},
  {"sort", 0, 0, NULL, exp_item_sort, "sort a list"},
  {"srs_encode", 3, 3, exp_item_srs_encode, NULL, "SRS form of an address"},
  {"substr", 2, 3, exp_item_substr, NULL, "part of a string"},
  {"tr", 3, 3, exp_item_tr, NULL, "transliterate characters"},
};

const struct exp_item *exp_item_find(struct str name) {
  return NAME_FIND(items, ARRAY_SIZE(items), name);
}
