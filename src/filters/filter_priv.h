/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of filters/.  Floor: drivers. */
#ifndef FILTERS_FILTER_PRIV_H
#define FILTERS_FILTER_PRIV_H

#include "filters/filter.h"

extern const char *const filter_verb_names[FILTER_VERBS];
extern const char *const filter_mail_names[MAIL_ARGS];

struct filter_run {
  struct filter_env *env;
  struct expand_ctx *x;
  struct arena *a;
  struct filter_result result;
  struct filter_action **tail;
  struct tree vars;            /* what $n0.. and $sn0.. show: const char * */
  const struct tree *sn;       /* the system filter's values, NULL none */
  const char *log_path;        /* of the logfile command that was obeyed last */
  int log_mode, log_fd;
  int depth;                   /* nesting, for the narration */
};

/* End the run as broken.  Always false. */
bool filter_broken(struct filter_run *f, bool is_temporary, const char *fmt, ...) PRINTF(3, 4);
/* Expand a text of a command; NULL and broken when that fails. */
const char *filter_expand(struct filter_run *f, const char *verb, const char *text);
/* The truth of a condition: OK, FAIL, or ERROR with the run broken. */
enum outcome filter_test_condition(struct filter_run *f, const struct filter_cond *c);
/* The same for the whole condition of an if: its narration says so. */
enum outcome filter_test_top(struct filter_run *f, const struct filter_cond *c);

#endif
