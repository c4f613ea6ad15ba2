/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command line tests: -be, -bmalware, -brt, -brw, -bI.  Floor: main.  Each returns the exit status. */
#ifndef CMD_TEST_H
#define CMD_TEST_H

#include "cmdline.h"

struct conn;
/* k: for what the variables about the caller say. */
int cmd_expand(struct config *cfg, const struct cmdline *c, struct conn *k, const char *sender);
/* -bmalware: what av_scanner's scanner says of a file or directory.  1 when something is found, or the scanner cannot be asked. */
int cmd_malware(struct config *cfg, const struct cmdline *c);
int cmd_test_retry(struct config *cfg, const struct cmdline *c);
int cmd_test_rewrite(struct config *cfg, const struct cmdline *c);
int cmd_info(const char *what);

#endif
