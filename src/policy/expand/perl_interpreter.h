/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The embedded Perl interpreter, apart from everything else: Perl's headers and ours do not go into one file.  Floor: policy.  Manual ch. 12.
 *
 * One interpreter a process, made once and inherited by what the process forks. */
#ifndef POLICY_EXPAND_PERL_INTERPRETER_H
#define POLICY_EXPAND_PERL_INTERPRETER_H

#include <stdbool.h>

/* What Perl code may call: Exim::expand_string, Exim::log_write, Exim::debug_write. */
struct perl_callbacks {
  /* The expanded text, valid until the next call; NULL: *ret_error is set, or NULL after a forced failure.  context is the call's. */
  const char *(*expand)(void *context, const char *text, const char **ret_error);
  void (*log)(const char *text);
  void (*debug)(const char *text);
};

enum perl_result {
  PERL_TEXT,  /* *ret_text is the value */
  PERL_UNDEF, /* there is no value */
  PERL_DIED   /* *ret_text says why */
};

/* Start the interpreter and run code in it (perl_startup); does nothing when it runs.  Code that dies is logged, no more.
 * False: it does not compile, *ret_error says why, no interpreter is left.  The texts returned belong to Perl and last until the next call. */
bool perl_interpreter_start(const char *code, bool taint_mode, const struct perl_callbacks *callbacks, const char **ret_error);
/* Call sub with count arguments, in scalar context. */
enum perl_result perl_interpreter_call(const char *sub, int count, const char *const *arguments, void *context, const char **ret_text);

#endif
