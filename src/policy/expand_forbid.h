/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the expansions of somebody's filter may not do (forbid_filter_... of the redirect router, manual ch. 22).  Floor: policy. */
#ifndef POLICY_EXPAND_FORBID_H
#define POLICY_EXPAND_FORBID_H

#include <stdbool.h>

struct expand_forbid {
  bool run, readfile, readsocket, lookup, exists, dlfunc, perl;
};

#endif
