/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -bV: what this binary is and can do.  Floor: main.  The shape is Exim's: tools and the test harness read it. */
#ifndef VERSION_H
#define VERSION_H

#include <stdio.h>

#include "policy/config.h"

/* with_libraries: -d was given, so library versions follow. */
void version_print(FILE *f, bool with_libraries);
/* The two lines about configuration files that follow for -bV. */
void version_print_config(const struct config *cfg);

#endif
