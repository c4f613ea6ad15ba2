/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The DMARC check of a message that is being received.  Floor: drivers.  Manual 58.6. */
#ifndef DMARC_H
#define DMARC_H

#include "base/outcome.h"
#include "policy/dmarc.h"
#include "policy/expand.h"

/* The ACL condition dmarc_status: check (once) and look for the result in the list.  Writes a record to dmarc_history_file. */
enum outcome dmarc_condition(struct expand_ctx *x, const char *list, const char **ret_log);

#endif
