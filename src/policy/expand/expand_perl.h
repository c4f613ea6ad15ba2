/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Start of the embedded Perl interpreter at the start of the program.  Floor: policy.  Manual ch. 12. */
#ifndef POLICY_EXPAND_EXPAND_PERL_H
#define POLICY_EXPAND_EXPAND_PERL_H

#include "policy/config.h"

/* Run perl_startup now, as -ps and perl_at_start ask; without Perl in the build or perl_startup nothing happens.  False: *ret_error, in a. */
bool expand_perl_start(struct arena *a, const struct config *cfg, const char **ret_error);

#endif
