/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared between readconf*.c.  Floor: policy.
 *
 * One struct readconf lives for one reading.  The first error is kept as finished text; from then on every function returns false or NULL. */
#ifndef POLICY_READCONF_PRIV_H
#define POLICY_READCONF_PRIV_H

#include "base/strbuf.h"
#include "policy/config.h"
#include "policy/options.h"
#include "policy/readconf.h"

struct rc_file {
  struct rc_file *up;
  const char *name;
  const char *p;      /* the unread rest */
  size_t n;
  int line;           /* number of the line read last */
};

enum { RC_MAX_COND = 64, RC_MAX_INCLUDE_DEPTH = 50, RC_MAX_FILE_BYTES = 16 << 20, RC_MAX_LINE_BYTES = 1 << 20,
       RC_MAX_MACRO_NAME = 63 };
enum rc_cond { RC_ACTIVE, RC_SEEKING /* no branch true yet */, RC_DONE /* a branch was taken */, RC_OUTER /* all skipped */ };
enum rc_section { RC_MAIN, RC_ACL, RC_ROUTERS, RC_TRANSPORTS, RC_AUTHS, RC_RETRY, RC_REWRITE, RC_LOCAL_SCAN, RC_SECTIONS };

struct readconf {
  struct arena *a;
  const struct readconf_opts *opts;
  struct config *cfg;
  struct rc_file *file;
  const char *last_name;  /* position of the newest line, also at the end of a file */
  int last_line;
  int depth;
  enum rc_cond cond[RC_MAX_COND];
  int cond_depth;
  enum rc_section section;
  bool seen[RC_SECTIONS];
  struct tree builtins;   /* data: struct macro * */
  struct macro **macro_tail;
  const char *line;       /* newest logical line */
  bool unread;
  const char *error;
};

/* Record an error once.  rc_fail adds file and line, rc_fail_plain does not, rc_fail_for names a driver instance. Always false. */
bool rc_fail(struct readconf *r, const char *fmt, ...) PRINTF(2, 3);
bool rc_fail_plain(struct readconf *r, const char *fmt, ...) PRINTF(2, 3);
bool rc_fail_for(struct readconf *r, const char *name, const char *kind, const char *text);
bool rc_fail_at(struct readconf *r, struct conf_pos pos, const char *text);

struct conf_pos rc_pos(const struct readconf *r);
/* Start on a file.  missing_ok: not existing is no error. */
bool rc_open_file(struct readconf *r, const char *name, bool missing_ok);
/* Next logical line, macros replaced, trimmed, never empty, macro definitions and directives done; NULL at the end or on error. */
const char *rc_next_line(struct readconf *r);
void rc_unread_line(struct readconf *r);

/* Macros (readconf_macros.c). */
void rc_macros_init(struct readconf *r);
/* Replace macros in text from offset from on; *ret_any when something was replaced. */
const char *rc_macros_replace(struct readconf *r, const char *text, size_t from, bool *ret_any);
/* Length of the name when the line has the form of a macro definition, else 0. */
size_t rc_macro_def_len(const char *line);
bool rc_macro_define(struct readconf *r, const char *line);

/* Name at the start of an option line: "hide", "no_" and the name itself. */
struct rc_setting {
  const char *name; /* without no_ */
  bool neg, hide;
  struct str value; /* what follows, unparsed */
};
bool rc_split_setting(struct readconf *r, const char *line, struct rc_setting *ret);
/* Check the form of a setting against the row's type and store it. */
bool rc_store(struct readconf *r, struct opt_block *b, const struct option *o, struct rc_setting *s);

bool rc_read_routers(struct readconf *r);
bool rc_read_transports(struct readconf *r);
bool rc_read_auths(struct readconf *r);
bool rc_read_retry(struct readconf *r);
bool rc_read_rewrite(struct readconf *r);
/* After the last line (readconf_finish.c). */
bool rc_finish_main(struct readconf *r);
bool rc_finish_drivers(struct readconf *r);

/* Expand text while the configuration is being read: with the rights of the Exim user, never root's.  NULL with *ret_error on failure. */
const char *rc_expand(struct readconf *r, const char *text, const char **ret_error);

#endif
