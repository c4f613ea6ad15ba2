/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared libraries that are loaded when they are first used.  Floor: os.
 *
 * A process of the daemon is forked for each connection, and each library it is linked with makes that a little dearer (some hundredths of a
 * session's whole CPU time, used or not).  So libraries that few configurations use are not linked:  a file that calls one lists the functions
 *
 *   #define CALLS(F) F(sqlite3_open) F(sqlite3_close)
 *   static struct { CALLS(LIBRARY_MEMBER) } lib;
 *   static const char *const names[] = {CALLS(LIBRARY_NAME)};
 *
 * and calls lib.sqlite3_open() after library_load(CFG_SONAME_SQLITE3, names, ARRAY_SIZE(names), &lib) has returned NULL.  The sonames are those of
 * the libraries the build saw.  What is loaded stays loaded, in the processes forked later too. */
#ifndef OS_LIBRARY_H
#define OS_LIBRARY_H

#include <stddef.h>

#define LIBRARY_MEMBER(function) __typeof__(&function) function;
#define LIBRARY_NAME(function) #function,

/* Fill functions, a struct of n pointers to the functions of these names; nothing is done when that was done before.  NULL, or what is wrong
 * (the loader's text, valid until the next call). */
const char *library_load(const char *soname, const char *const *names, size_t n, void *functions);

#endif
