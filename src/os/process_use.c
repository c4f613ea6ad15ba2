/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See process_use.h.  Floor: os. */
#include "os/process_use.h"

static bool is_used_up;

void process_use_up(void) { is_used_up = true; }
bool process_is_used_up(void) { return is_used_up; }
void process_use_begin(void) { is_used_up = false; }
