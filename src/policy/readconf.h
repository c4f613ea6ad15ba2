/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading the configuration.  Floor: policy.  Manual ch. 6, 7.
 *
 * The whole grammar in one pass into a fresh struct config.  Errors: "Exim configuration error in line N of FILE:\n  text" on stderr and the panic log,
 * and exit 1 from readconf_or_die(); readconf_read() returns the text instead. */
#ifndef POLICY_READCONF_H
#define POLICY_READCONF_H

#include "policy/config.h"

struct readconf_opts {
  const char *files;          /* colon list to try (-C or built in) */
  bool from_command_line;     /* -C was used: ownership rules differ */
  const struct macro *cmd_macros; /* -D, newest first */
  bool check_files;           /* owner and mode checks on */
  bool only_main;             /* stop after the main section (-bP of simple values, -bV) */
  bool keep_lines;            /* keep text_lines for -bP config */
  uid_t configure_owner;
  gid_t configure_group;
  struct config **ret_partial; /* NULL, or: on error the configuration as far as it was read (for its log_file_path) */
};

/* NULL on error with *ret_error. */
struct config *readconf_read(const struct readconf_opts *o, const char **ret_error);
/* -bP: print what is asked ("", "name", "+list", "config", "routers", "router NAME", "macros", ...).  Exit status. */
int readconf_print(const struct config *c, const char *what, const char *name, bool no_labels, bool is_admin);
/* -be: macro definitions and replacement outside the file.  readconf_define_macro: the name, NULL with *ret_error. */
bool readconf_is_macro_definition(const char *line);
const char *readconf_define_macro(struct config *c, const char *line, const char **ret_error);
const char *readconf_replace_macros(struct config *c, struct arena *a, const char *text);
/* WHITELIST_D_MACROS names it, and its value has no strange characters: the exim user may give it with -D and keep root's rights. */
bool readconf_macro_is_whitelisted(const struct macro *m);
/* An error name of a retry rule (-brt): basic_errno and more_errno of *ret.  NULL ok, else error text. */
const char *readconf_retry_error(struct arena *a, const char *name, struct retry_rule *ret);

#endif
