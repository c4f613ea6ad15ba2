/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -bf and -bF: show what a filter or forward file would do with the message on stdin.  Floor: main.  Manual ch. 5, filter document ch. 1. */
#ifndef CMD_FILTER_H
#define CMD_FILTER_H

#include "cmdline.h"
#include "conn.h"

/* c: the caller, for rights and for the default addresses.  sender: -f or NULL.  Exit status. */
int cmd_test_filter(struct conn *c, const struct cmdline *cmd, const char *sender);

#endif
