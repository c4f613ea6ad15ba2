/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of policy/acl: parsed statements, the state of one run, and the rows of the tables.
 * Floor: policy.  Parsed ACLs are constant; a struct acl_run lives on the stack of acl_check(). */
#ifndef POLICY_ACL_PRIV_H
#define POLICY_ACL_PRIV_H

#include "conn.h"
#include "message.h"
#include "policy/acl.h"

enum acl_verb { ACL_ACCEPT, ACL_DEFER, ACL_DENY, ACL_DISCARD, ACL_DROP, ACL_REQUIRE, ACL_WARN, ACL_VERB_COUNT };
extern const char *const acl_verb_names[ACL_VERB_COUNT];

#define ACL_BIT(w) (1u << ACL_WHERE_##w)
enum { ACL_MAX_NESTING = 20 };
/* Places where no SMTP client is there / where message data exists. */
#define ACL_NOTSMTP_BITS (ACL_BIT(NOTSMTP) | ACL_BIT(NOTSMTP_START))
#define ACL_HAVE_DATA_BITS (ACL_BIT(DATA) | ACL_BIT(PRDR) | ACL_BIT(MIME) | ACL_BIT(DKIM) | ACL_BIT(NOTSMTP))

/* Where there is something to discard. */
#define ACL_DISCARD_BITS (ACL_BIT(MAIL) | ACL_BIT(RCPT) | ACL_HAVE_DATA_BITS)

struct acl_run;
struct acl_cond;

enum {
  ACL_COND_MODIFIER = 1,   /* may not be negated */
  ACL_COND_EXPAND = 2,     /* the argument is expanded before the handler sees it */
  ACL_COND_UNBUILT = 4,    /* known name, refused when the configuration is read */
  ACL_COND_NOARG = 8,
  ACL_COND_SILENT = 16     /* message, log_message, endpass: handled and narrated by the run itself */
};

struct acl_cond_type {
  const char *name;
  unsigned flags;
  unsigned forbidden;      /* bits of enum acl_where */
  enum outcome (*run)(struct acl_run *r, const struct acl_cond *c, const char *arg);
  const char *doc;
};

struct acl_cond {
  struct acl_cond *next;
  const struct acl_cond_type *type;
  bool negated;
  const char *var;         /* set: name of the variable */
  const char *arg;
};

struct acl_stmt {
  struct acl_stmt *next;
  enum acl_verb verb;
  struct acl_cond *conds;
  struct conf_pos pos;
};

struct acl_run {
  struct expand_ctx *x;
  struct acl_env *env;
  enum acl_where where;
  const char *recipient;
  int depth;
  const char *label;            /* `ACL name` or `inline ACL`, for narration */
  const struct acl_stmt *stmt;
  const char *message, *log_message; /* raw text of the modifiers of this statement */
  const char *user_text, *log_text;  /* from conditions */
  const char *warn_header, *warn_text; /* what a warn statement adds to the message, and to the log */
  bool log_is_user;                  /* the log text is the user's, for want of one: a log_message replaces it */
  bool endpass_seen, nested_drop;
};

extern const struct acl_cond_type acl_cond_types[];
extern const size_t acl_cond_type_count;
const struct acl_cond_type *acl_find_cond_type(struct str name);

/* What acl_set_hooks() was given, NULL nothing. */
const struct acl_hooks *acl_get_hooks(void);

/* Run one ACL by name or text at a nesting depth. */
enum outcome acl_run_text(struct acl_run *outer, const char *text);

/* Does an option or argument itself hold the ACL, "accept hosts = ..."? */
bool acl_is_text(const char *text);

/* acl_mods.c */
enum outcome acl_mod_add_header(struct acl_run *r, const struct acl_cond *c, const char *arg);
enum outcome acl_mod_queue(struct acl_run *r, const struct acl_cond *c, const char *arg);
enum outcome acl_mod_continue(struct acl_run *r, const struct acl_cond *c, const char *arg);
enum outcome acl_mod_delay(struct acl_run *r, const struct acl_cond *c, const char *arg);
enum outcome acl_mod_log_reject_target(struct acl_run *r, const struct acl_cond *c, const char *arg);
enum outcome acl_mod_logwrite(struct acl_run *r, const struct acl_cond *c, const char *arg);
enum outcome acl_mod_remove_header(struct acl_run *r, const struct acl_cond *c, const char *arg);
enum outcome acl_mod_set(struct acl_run *r, const struct acl_cond *c, const char *arg);
void acl_add_header_text(struct acl_run *r, const char *text);
void acl_log_warning(struct acl_run *r, const char *text);

/* acl_controls.c */
enum outcome acl_mod_control(struct acl_run *r, const struct acl_cond *c, const char *arg);
/* Configuration-time check of a constant control argument: error text or NULL. */
const char *acl_control_refusal(struct arena *a, const char *arg);

/* acl_verify_opts.c */
/* Options behind the word; whole: the argument of verify, for error texts.  An error text or NULL. */
const char *acl_parse_verify_opts(struct arena *a, const char *whole, struct str options, struct verify_opts *ret);

/* acl_verify.c */
/* As acl_control_refusal() for verify: arc and quota checks are refused when the configuration is read, not when a client waits. */
const char *acl_verify_refusal(struct arena *a, const char *arg);
enum outcome acl_cond_verify(struct acl_run *r, const struct acl_cond *c, const char *arg);

#endif
