/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What was decided when the program was built.  Floor: base.
 *
 * The values come from Local/Makefile through the generated buildconfig.h; this is the only module that
 * needs them as text, so that changing a site choice recompiles little.  Files that need a size or a driver
 * switch include "buildconfig.h" themselves (CFG_... names: strings, numbers, switches as 0 or 1).
 *
 * Two strings of the binary are marks for the test harness, which makes a patched copy of it:
 *   the version text lies directly before the mark <<eximversion>>, separated by its NUL;
 *   the mark >>>running<<< is changed to <<<testing>>> (same length) to make a copy for test runs.
 * Nothing else switches that mode on: no argument, no environment variable, no configuration. */
#ifndef BASE_BUILDINFO_H
#define BASE_BUILDINFO_H

#include "base/macros.h"

struct build_info {
  const char *bin_directory;
  const char *configure_file; /* colon-separated list, first existing one is used */
  const char *spool_directory;
  const char *log_file_path;  /* "" when not set: logs go below the spool directory */
  const char *pid_file_path;  /* "" when not set */
  const char *system_aliases_file;
  const char *exim_tmpdir; /* "" when not set: TMPDIR for children */
  const char *exim_user;   /* name or number */
  const char *exim_group;  /* name or number; "" means the user's login group */
  const char *fixed_never_users; /* colon-separated */
  const char *configure_owner;   /* name or number; "" when not set */
  const char *configure_group;
  const char *trusted_config_list; /* file name; "" when not set */
  const char *alt_config_prefix;
  const char *whitelist_d_macros; /* colon-separated */
  const char *headers_charset;
  const char *timezone_default;
  const char *pipe_connect_keywords; /* Exim list, default of pipelining_connect_keywords */
  bool syslog_log_pid;
  bool syslog_long_lines;
  bool disable_d_option;
  bool have_pipe_connect; /* built with early pipelining */
  const char *cc;         /* compiler and its version */
};

const struct build_info *build_info(void);

/* Version text, e.g. "4.99-ep0.1": what $version_number and the banner show. */
const char *build_version(void);
/* Number of the build (always "1") and date of compilation, e.g. "04-Mar-2025 10:11:12". */
const char *build_number(void);
const char *build_date(void);
/* True only in a copy of the binary that the test harness has patched. */
bool build_in_harness_mode(void);

#endif
