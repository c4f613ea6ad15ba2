/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sieve filters: parsing and obeying.  Floor: drivers.  RFC 5228, 3894 (copy), 5230 (vacation), 5233 (subaddress), 5435 and 5436 (enotify, mailto);
 * "Exim's interfaces to mail filtering" ch. 2.
 *
 * sieve_parse() is pure: text in, a tree of commands out; both work in the arena of the caller.  sieve_obey() walks the tree and collects the same
 * actions as an Exim filter (filter.h).  A script is obeyed in a process of its owner; what it looks at comes from a stranger. */
#ifndef FILTERS_SIEVE_H
#define FILTERS_SIEVE_H

#include "filters/filter.h"

enum {
  SIEVE_SCRIPT_MAX = 1 << 20,   /* bytes */
  SIEVE_NESTING_MAX = 64,       /* blocks and tests within each other */
  SIEVE_NODES_MAX = 20000,      /* commands and tests */
  SIEVE_ACTIONS_MAX = 200,
  SIEVE_REDIRECTS_MAX = 50,
  SIEVE_WORK_MAX = 256 << 20    /* steps of comparisons in a run */
};

enum sieve_verb {
  SIEVE_KEEP, SIEVE_DISCARD, SIEVE_STOP, SIEVE_REDIRECT, SIEVE_FILEINTO, SIEVE_VACATION, SIEVE_NOTIFY, SIEVE_IF
};
enum sieve_test_kind {
  SIEVE_TRUE, SIEVE_FALSE, SIEVE_NOT, SIEVE_ANYOF, SIEVE_ALLOF, SIEVE_ADDRESS, SIEVE_ENVELOPE, SIEVE_HEADER, SIEVE_EXISTS, SIEVE_SIZE,
  SIEVE_VALID_METHOD, SIEVE_METHOD_CAPABILITY
};
enum sieve_match { SIEVE_IS, SIEVE_CONTAINS, SIEVE_MATCHES };
enum sieve_comparator { SIEVE_CASEMAP, SIEVE_OCTET, SIEVE_NUMERIC };
enum sieve_part { SIEVE_ALL, SIEVE_LOCALPART, SIEVE_DOMAIN, SIEVE_USER, SIEVE_DETAIL };

/* Strings may hold NUL bytes. */
struct sieve_strings {
  struct str *v;
  size_t n;
};

struct sieve_test {
  struct sieve_test *next;               /* in anyof, allof */
  enum sieve_test_kind kind;
  unsigned line;
  enum sieve_match match;
  enum sieve_comparator comparator;
  bool is_unrequired;                    /* the comparator: a mistake when it comes to comparing, as Exim has it */
  enum sieve_part part;
  struct sieve_strings names, keys;      /* names: header fields, envelope parts, URIs; of a capability: URI, capability */
  struct sieve_test *inner;              /* not, anyof, allof */
  bool is_over;
  int64_t size;
};

struct sieve_vacation {
  int64_t days;                          /* -1: not given */
  struct str subject, from, handle, reason; /* p NULL: not given */
  struct sieve_strings addresses;
  bool is_mime;
};
struct sieve_notify {
  struct str from, importance, message, method;
};

struct sieve_command {
  struct sieve_command *next;
  enum sieve_verb verb;
  unsigned line;
  struct str arg;                        /* redirect: the bare address; fileinto: folder */
  bool is_copy;
  struct sieve_vacation *vacation;
  struct sieve_notify *notify;
  struct sieve_test *test;               /* if: one branch of it; NULL for else */
  struct sieve_command *then_part;
  struct sieve_command *otherwise;       /* the next branch: an if that hangs on this one alone */
};

/* What this script may ask for. */
struct sieve_rights {
  bool has_vacation, has_notify;
};

/* The commands before the first mistake are obeyed; a script that stops before it never meets the mistake. */
struct sieve_script {
  struct sieve_command *commands;
  const char *error;                     /* NULL: none */
  unsigned error_line;
};
/* text: with its first line ("# Sieve filter"), no NUL bytes. */
struct sieve_script sieve_parse(struct arena *a, struct str text, struct sieve_rights rights);
/* Names of the extensions, sorted; NULL behind the last. */
const char *sieve_capability(size_t i);

/* ---- mailto: URIs (RFC 5436, RFC 6068) ---- */
struct sieve_mailto {
  const char *to, *cc, *bcc, *subject, *body; /* decoded; NULL not given */
  const char *headers;                   /* other header lines, each with its newline; "" none */
};
/* NULL, or what is wrong with the URI. */
const char *sieve_parse_mailto(struct arena *a, struct str uri, struct sieve_mailto *ret);

/* ---- obeying ---- */
struct sieve_env {
  struct expand_ctx *x;                  /* with msg and addr */
  bool is_test, is_verbose;              /* -bf: nothing is created; -v with it: tells on standard error what happens */
  const char *inbox;                     /* folder of keep */
  const char *user, *detail;             /* sieve_useraddress, sieve_subaddress; NULL unset */
  const char *vacation_directory;        /* NULL: none */
  const char *notify_owner;              /* sieve_enotify_mailto_owner */
  /* results beside the actions */
  bool is_kept;                          /* by the implicit keep */
  const char *error;                     /* "... in line 3"; NULL none */
};
/* Never fails: after an error what was asked for before it is done, and the message is kept. */
struct filter_result sieve_obey(struct sieve_env *env, const struct sieve_script *script);

#endif
