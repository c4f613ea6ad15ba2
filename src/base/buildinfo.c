/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What was decided when the program was built.  Floor: base.
 *
 * Owns nothing but constants.  The two marks are read through volatile pointers: the compiler must not
 * know their contents, because the test harness changes them in a copy of the finished binary. */
#include "base/buildinfo.h"

#include "buildconfig.h"

/* One object, so that the version's NUL and the mark stay together. */
static const char version_and_mark[] = "4.99-ep0.1\0<<eximversion>>";
static const char running_mark[] = ">>>running<<<";

static const struct build_info info = {
    .bin_directory = CFG_BIN_DIRECTORY,
    .configure_file = CFG_CONFIGURE_FILE,
    .spool_directory = CFG_SPOOL_DIRECTORY,
    .log_file_path = CFG_LOG_FILE_PATH,
    .pid_file_path = CFG_PID_FILE_PATH,
    .system_aliases_file = CFG_SYSTEM_ALIASES_FILE,
    .exim_tmpdir = CFG_EXIM_TMPDIR,
    .exim_user = CFG_EXIM_USER,
    .exim_group = CFG_EXIM_GROUP,
    .fixed_never_users = CFG_FIXED_NEVER_USERS,
    .configure_owner = CFG_CONFIGURE_OWNER,
    .configure_group = CFG_CONFIGURE_GROUP,
    .trusted_config_list = CFG_TRUSTED_CONFIG_LIST,
    .alt_config_prefix = CFG_ALT_CONFIG_PREFIX,
    .whitelist_d_macros = CFG_WHITELIST_D_MACROS,
    .headers_charset = CFG_HEADERS_CHARSET,
    .timezone_default = CFG_TIMEZONE_DEFAULT,
    .pipe_connect_keywords = CFG_PIPE_CONNECT_KEYWORDS,
    .syslog_log_pid = CFG_SYSLOG_LOG_PID,
    .syslog_long_lines = CFG_SYSLOG_LONG_LINES,
    .disable_d_option = CFG_DISABLE_D_OPTION,
    .have_pipe_connect = CFG_HAVE_PIPE_CONNECT,
#ifdef __clang__
    .cc = "clang " __clang_version__,
#else
    .cc = "gcc " __VERSION__,
#endif
};

const struct build_info *build_info(void) {
  return &info;
}

const char *build_version(void) {
  const char *volatile p = version_and_mark;
  return p;
}

const char *build_number(void) {
  return "1";
}

/* __DATE__ is "Mar  4 2025"; Exim shows "04-Mar-2025". */
#define D(i) __DATE__[i]
#define T(i) __TIME__[i]
static const char date_text[] = {D(4) == ' ' ? '0' : D(4),
                                 D(5),
                                 '-',
                                 D(0),
                                 D(1),
                                 D(2),
                                 '-',
                                 D(7),
                                 D(8),
                                 D(9),
                                 D(10),
                                 ' ',
                                 T(0),
                                 T(1),
                                 T(2),
                                 T(3),
                                 T(4),
                                 T(5),
                                 T(6),
                                 T(7),
                                 0};

const char *build_date(void) {
  return date_text;
}

bool build_in_harness_mode(void) {
  const volatile char *p = running_mark;
  return p[0] == '<' && p[3] == 't' && p[10] == '>';
}
