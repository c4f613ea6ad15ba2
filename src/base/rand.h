/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random numbers.  Floor: base.
 *
 * rand_below() is for host shuffling and the like: normally from getrandom(); with a seed set (harness mode: first
 * seed 42) it is the documented generator seed*1103515245+12345, (seed >> 16) % limit. */
#ifndef BASE_RAND_H
#define BASE_RAND_H

#include "base/macros.h"

/* 0 .. limit-1; 0 when limit <= 1. */
unsigned rand_below(unsigned limit);
/* Switch to the repeatable generator. */
void rand_set_seed(unsigned seed);
/* Bytes fit for secrets. */
void rand_bytes(void *buf, size_t n);

#endif
