/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The embedded Perl interpreter (perl_interpreter.h).  Floor: policy.  perlembed(1), perlcall(1), perlguts(1).
 *
 * Built only with EXIM_PERL, and in it the only file that sees Perl's headers.  The code is the administrator's; arguments and answers are bytes. */
#define PERL_NO_GET_CONTEXT
#include <EXTERN.h>
#include <perl.h>

#include <XSUB.h>

#include "policy/expand/perl_interpreter.h"

static PerlInterpreter *interpreter;
static const struct perl_callbacks *callbacks;
static void *call_context; /* of the running call */

/* The argument of a function that Perl can call (Exim::expand_string and its like), which takes exactly one. */
#define ONLY_ARGUMENT(name) \
  (items == 1 ? SvPV_nolen(ST(0)) : (Perl_croak(aTHX_ "Usage: Exim::" name "(string)"), ""))

XS(xs_expand_string);
XS(xs_expand_string) {
  dXSARGS;
  const char *text = ONLY_ARGUMENT("expand_string"), *error = NULL;
  (void)cv;
  const char *result = callbacks->expand(call_context, text, &error);
  if (!result && error) Perl_croak(aTHX_ "syntax error in Exim::expand_string argument: %s", error);
  ST(0) = result ? sv_2mortal(newSVpv(result, 0)) : &PL_sv_undef;
  XSRETURN(1);
}

XS(xs_log_write);
XS(xs_log_write) {
  dXSARGS;
  (void)cv;
  callbacks->log(ONLY_ARGUMENT("log_write"));
  XSRETURN_EMPTY;
}

XS(xs_debug_write);
XS(xs_debug_write) {
  dXSARGS;
  (void)cv;
  callbacks->debug(ONLY_ARGUMENT("debug_write"));
  XSRETURN_EMPTY;
}

EXTERN_C void boot_DynaLoader(pTHX_ CV *cv);

static void add_functions(pTHX) {
  static const char file[] = __FILE__;
  newXS("DynaLoader::boot_DynaLoader", boot_DynaLoader, file); /* for modules with compiled parts */
  newXS("Exim::expand_string", xs_expand_string, file);
  newXS("Exim::log_write", xs_log_write, file);
  newXS("Exim::debug_write", xs_debug_write, file);
}

/* Warnings go to the log, until the startup code says otherwise. */
static const char warn_handler[] = "$SIG{__WARN__} = sub { my $text = $_[0]; $text =~ s/\\n$//; Exim::log_write($text) };";

bool perl_interpreter_start(const char *code, bool taint_mode, const struct perl_callbacks *c, const char **ret_error) {
  if (interpreter) return true;
  static char name[] = "exim-perl", taint[] = "-T", option[] = "-e", nothing[] = "0";
  static char *with_taint[] = {name, taint, option, nothing, NULL}, *without[] = {name, option, nothing, NULL};
  char **arguments = taint_mode ? with_taint : without;
  int count = taint_mode ? 4 : 3;
  static bool has_system;
  if (!has_system) PERL_SYS_INIT3(&count, &arguments, &environ);
  has_system = true;
  callbacks = c;
  PerlInterpreter *my_perl = perl_alloc();
  if (!my_perl) {
    *ret_error = "cannot make a Perl interpreter";
    return false;
  }
  PERL_SET_CONTEXT(my_perl);
  perl_construct(my_perl);
  PL_exit_flags |= PERL_EXIT_DESTRUCT_END;
  perl_parse(my_perl, add_functions, count, arguments, NULL);
  perl_run(my_perl);
  interpreter = my_perl;
  eval_pv(warn_handler, FALSE);
  SV *text = newSVpvf("$Exim::is_compiled = 1; %s", code); /* on the code's first line, which messages count from */
  eval_sv(text, G_SCALAR | G_DISCARD);
  SvREFCNT_dec(text);
  if (!SvTRUE(ERRSV)) return true;
  static char why[1024];
  snprintf(why, sizeof why, "%s", SvPV_nolen(ERRSV));
  if (SvTRUE(get_sv("Exim::is_compiled", GV_ADD))) { /* it has died: what it had defined by then is there */
    callbacks->log(why);
    return true;
  }
  *ret_error = why;
  perl_destruct(my_perl);
  perl_free(my_perl);
  interpreter = NULL;
  return false;
}

enum perl_result perl_interpreter_call(const char *sub, int count, const char *const *arguments, void *context, const char **ret_text) {
  static SV *kept; /* the answer, until the next call */
  dTHXa(interpreter);
  PERL_SET_CONTEXT(my_perl);
  dSP;
  void *outer_context = call_context;
  call_context = context;
  ENTER;
  SAVETMPS;
  PUSHMARK(SP);
  for (int i = 0; i < count; i++) XPUSHs(sv_2mortal(newSVpv(arguments[i], 0)));
  PUTBACK;
  (void)call_pv(sub, G_SCALAR | G_EVAL);
  SPAGAIN;
  SV *answer = POPs;
  bool died = SvTRUE(ERRSV), is_undef = !died && !SvOK(answer);
  if (!kept) kept = newSV(0);
  if (!is_undef) sv_setsv(kept, died ? ERRSV : answer);
  PUTBACK;
  FREETMPS;
  LEAVE;
  call_context = outer_context;
  if (is_undef) return PERL_UNDEF;
  *ret_text = SvPV_nolen(kept);
  return died ? PERL_DIED : PERL_TEXT;
}
