/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Option tables.  Floor: policy.
 *
 * A table is an X-macro file (main_options.def, router_options.def, ... ) with sorted rows
 *     OPT_ROW(name, TYPE, default-text-or-NULL, flags)
 * that is included twice: once to declare the struct fields (OPT_FIELD_TYPE) and once to make the array of struct option.
 * The default is configuration text, parsed with the same code as a file's value; NULL means unset/0/false.
 * flags: OPT_BUILT obeyed by this build; without it, giving the option any value but one that equals "off" (unset, empty, false, 0, or its
 * default) is refused: `option "x" is not supported by this build`.  OPT_EXPANDED: value is expanded at use (documentation, taint checks).
 * OPT_HIDDEN_FEATURE: row belongs to a feature not in this build; then the name is unknown. OPT_REP_CON, OPT_REP_STR: repeatable; values are joined
 * (condition: with a space and "and" semantics; headers_add: newline; headers_remove and lists: ":").
 *
 * String values stay as written (after quoting); NULL is unset.  Lists (STRLIST, HOSTLIST, ...) are strings too; the kind is kept for checks and docs. */
#ifndef POLICY_OPTIONS_H
#define POLICY_OPTIONS_H

#include <sys/types.h>

#include "base/arena.h"
#include "base/str.h"
#include "buildconfig.h"

enum opt_type {
  OPT_T_BOOL,      /* bool */
  OPT_T_BOOL_EXP,  /* struct opt_bool_exp: a boolean that may be an expanded string (more, hosts_randomize ...) */
  OPT_T_INT,       /* int64_t; decimal, 0 octal, 0x hex, K M G */
  OPT_T_INT_EXP,   /* const char *: expanded at use to an integer (smtp_accept_max_per_host ...) */
  OPT_T_MKINT,     /* int64_t like INT; shown with K or M when it divides evenly */
  OPT_T_KINT,      /* int64_t in units of KiB; "10M" is 10240; shown with K/M */
  OPT_T_OCTAL,     /* int64_t */
  OPT_T_FIXED,     /* int64_t thousandths (1.5 is 1500); unset is -1 */
  OPT_T_TIME,      /* int64_t seconds */
  OPT_T_TIMELIST,  /* const char * colon list of times */
  OPT_T_STR,       /* const char * */
  OPT_T_STRLIST, OPT_T_DOMAINLIST, OPT_T_HOSTLIST, OPT_T_ADDRLIST, OPT_T_LOCALLIST, /* const char * */
  OPT_T_UID,       /* struct opt_id: a literal user name/number resolved at reading, or expanded at use */
  OPT_T_GID,
  OPT_T_UIDLIST, OPT_T_GIDLIST, /* const char * */
  OPT_T_TRANSPORT, /* const char *: name of a transport, may be expanded */
  OPT_T_FUNC       /* const char * raw, post-processed by the driver's init */
};

struct opt_bool_exp {
  bool value;
  const char *expand; /* non-NULL: expand at use */
};
struct opt_id {
  bool is_set;
  uint32_t id;
  const char *expand; /* non-NULL: expand at use */
  const char *text;   /* as written */
};

#define OPT_FIELD_BOOL(n) bool n;
#define OPT_FIELD_BOOL_EXP(n) struct opt_bool_exp n;
#define OPT_FIELD_INT(n) int64_t n;
#define OPT_FIELD_INT_EXP(n) const char *n;
#define OPT_FIELD_MKINT(n) int64_t n;
#define OPT_FIELD_KINT(n) int64_t n;
#define OPT_FIELD_OCTAL(n) int64_t n;
#define OPT_FIELD_FIXED(n) int64_t n;
#define OPT_FIELD_TIME(n) int64_t n;
#define OPT_FIELD_TIMELIST(n) const char *n;
#define OPT_FIELD_STR(n) const char *n;
#define OPT_FIELD_STRLIST(n) const char *n;
#define OPT_FIELD_DOMAINLIST(n) const char *n;
#define OPT_FIELD_HOSTLIST(n) const char *n;
#define OPT_FIELD_ADDRLIST(n) const char *n;
#define OPT_FIELD_LOCALLIST(n) const char *n;
#define OPT_FIELD_UID(n) struct opt_id n;
#define OPT_FIELD_GID(n) struct opt_id n;
#define OPT_FIELD_UIDLIST(n) const char *n;
#define OPT_FIELD_GIDLIST(n) const char *n;
#define OPT_FIELD_TRANSPORT(n) const char *n;
#define OPT_FIELD_FUNC(n) const char *n;

enum {
  OPT_BUILT = 1,
  OPT_EXPANDED = 2,
  OPT_HIDDEN_FEATURE = 4,
  OPT_REP_CON = 8,
  OPT_REP_STR = 16,
  OPT_REP_LIST = 32,
  OPT_ALIAS = 128,     /* old name of another option: same field; not shown by -bP all */
  OPT_NOSHOW = 256,    /* not shown by -bP */
  OPT_REP_SEMI = 512   /* repeatable, joined with ";" (set) */
};

/* Options of embedded Perl: refused in a build without it. */
#define OPT_PERL (CFG_EXIM_PERL ? OPT_BUILT : 0)

/* Options of early pipelining: unknown names in a build without it. */
#ifdef EXPERIMENTAL_PIPE_CONNECT
#define OPT_PIPE_CONNECT OPT_BUILT
#else
#define OPT_PIPE_CONNECT OPT_HIDDEN_FEATURE
#endif

/* Options of ARC: the same. */
#define OPT_ARC (CFG_EXPERIMENTAL_ARC ? OPT_BUILT : OPT_HIDDEN_FEATURE)
/* Options of DMARC, SPF and DKIM: the same. */
#define OPT_DMARC (CFG_SUPPORT_DMARC ? OPT_BUILT : OPT_HIDDEN_FEATURE)
#define OPT_SPF (CFG_SUPPORT_SPF ? OPT_BUILT : OPT_HIDDEN_FEATURE)
#define OPT_DKIM (CFG_SUPPORT_DKIM ? OPT_BUILT : OPT_HIDDEN_FEATURE)

/* Options of lookup types that need a library: refused without it. */
#define OPT_LDAP (CFG_LOOKUP_LDAP ? OPT_BUILT : 0)
#define OPT_MYSQL (CFG_LOOKUP_MYSQL ? OPT_BUILT : 0)
#define OPT_PGSQL (CFG_LOOKUP_PGSQL ? OPT_BUILT : 0)
#define OPT_REDIS (CFG_LOOKUP_REDIS ? OPT_BUILT : 0)

/* Options of content scanning: refused without it. */
#define OPT_SCAN (CFG_WITH_CONTENT_SCAN ? OPT_BUILT : 0)

struct option {
  const char *name;
  enum opt_type type;
  size_t offset;
  unsigned flags;
  const char *def;
};

/* Array rows from a .def file:
 *   #define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct smtp_opts, n, t, d, f)
 *   static const struct option smtp_options[] = {
 *   #include "transports/smtp_options.def"
 *   }; */
#define OPT_TABLE_ROW(strct, n, t, d, f) {#n, OPT_T_##t, offsetof(strct, n), (f), (d)},

/* The generic tables (options_tables.c). */
extern const struct option main_option_table[], router_option_table[], transport_option_table[], auth_option_table[];
extern const size_t main_option_count, router_option_count, transport_option_count, auth_option_count;

/* Which of an instance's options were set in the file (bit per table row), kept beside the options struct. */
/* is_set of an option that was set by its old name only: the name of today may follow once. */
#define OPT_SET_BY_ALIAS 3

struct opt_block {
  const struct option *table;
  size_t count;
  void *base;      /* the options struct */
  uint8_t *is_set; /* count bytes: 1 set in file, 2 set with "hide", or OPT_SET_BY_ALIAS */
};

/* New block with defaults filled in.  base: storage of the struct (already allocated, zeroed). */
struct opt_block *opt_block_new(struct arena *a, const struct option *table, size_t count, void *base);
const struct option *opt_find(const struct option *table, size_t count, struct str name);
/* Was this option set in the file? */
bool opt_was_set(const struct opt_block *b, const char *name);
/* Parse and store one value.  NULL on success, else an error text (arena). neg: no_/not_ form (value empty). */
const char *opt_store(struct arena *a, struct opt_block *b, const struct option *o, struct str value, bool neg,
                      bool hide, bool ignore_repeat);
/* "name = value" or "no_name"/"name" as -bP shows it (arena). */
const char *opt_show(struct arena *a, const struct opt_block *b, const struct option *o, bool name_too, bool admin);
/* The value part of a string setting: quoted text with escapes undone, or the text itself.  NULL and *ret_error (arena) when malformed. */
const char *opt_parse_string(struct arena *a, const char *name, struct str value, const char **ret_error);
/* User and group names or numbers. */
bool opt_find_user(const char *name, uid_t *ret_uid, gid_t *ret_gid);
bool opt_find_group(const char *name, gid_t *ret);

#endif
