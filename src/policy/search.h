/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lookup core: one driver struct per lookup type, open-handle cache, result cache, partial and default matching.  Floor: policy (core) / drivers in lookups/.
 * Manual ch. 9.  A key that is tainted gives a tainted result except where the manual says the result is clean.
 * A query that holds tainted text not quoted for its type is carried out, and told in the main and panic logs:
 * "tainted search query is not properly quoted: QUERY". */
#ifndef POLICY_SEARCH_H
#define POLICY_SEARCH_H

#include "policy/expand.h"

/* ABSFILE: the file's name must be absolute.  QUERY: no file.  ABSFILEQUERY: a query to a file, whose name lookup_run() takes from the
 * option file=, the first word of a query that begins with '/', or sqlite_dbfile. */
enum { LOOKUP_ABSFILE = 1, LOOKUP_QUERY = 2, LOOKUP_ABSFILEQUERY = 4, LOOKUP_NO_CACHE = 8 };

struct lookup_result {
  const char *data;        /* arena of the ctx */
  bool no_cache;
  bool forget_all;         /* this lookup may have changed data: results kept so far are dropped */
  uint32_t ttl_sec;        /* UINT32_MAX: no limit */
  const char *error;       /* for DEFER/ERROR */
  const char *dnssec;      /* a literal for $lookup_dnssec_authenticated, NULL none */
  const char *ldap_dn;     /* of what was found, for $ldap_dn; else NULL */
  const char *wild, *fixed; /* after a partial lookup: the two parts of the key ("" and the whole for an exact match); after a default
                             * ("*", "*@"): what the asterisk stands for, and ""; else NULL */
};

/* ABI of a lookup driver.  open returns a handle in ret_handle (NULL allowed for query types). */
struct lookup_driver {
  const char *name;
  unsigned flags;
  enum outcome (*open)(struct expand_ctx *x, const char *file, void **ret_handle, const char **ret_error);
  /* check file type, mode and owners on an open handle; NULL: none. */
  enum outcome (*check)(void *handle, const char *file, int mode_mask, const uid_t *owners, const gid_t *owngroups, const char **ret_error);
  enum outcome (*find)(struct expand_ctx *x, void *handle, const char *file, const char *key, const char *opts, struct lookup_result *ret);
  void (*close)(void *handle);
  const char *(*quote)(struct arena *a, const char *s, const char *opt); /* NULL result: bad option */
  const char *quoter;      /* with quote: the name of its rules, one of formats/spool_file.h; types may share them */
  const char *(*hide)(struct arena *a, const char *query); /* the query as it may be shown, without passwords; NULL: as it is */
  const struct lookup_driver *handle_of; /* whose handle it works with; NULL: one of its own */
  const char *(*preload)(void); /* load the library it needs, now; what is wrong with that is said when it is used.  NULL: nothing to load */
  /* Are the user and password in the query right?  OK, FAIL, or DEFER with *ret_error.  NULL: no such question. */
  enum outcome (*authenticate)(struct expand_ctx *x, void *handle, const char *query, const char **ret_error);
};

/* Null-terminated table in lookups/drivers.c. */
extern const struct lookup_driver *const lookup_drivers[];
const struct lookup_driver *lookup_find_driver(struct str name);
/* Load the libraries of the types that a line of the configuration mentions, for all processes to come. */
void lookup_preload(const char *line);
/* The kind of tainted text that was quoted by this type's rules; UNTAINTED when it has none. */
enum taint lookup_quoted_kind(const struct lookup_driver *d);
/* The taint of what a query to trusted data finds: none (manual ch. 9.1), unless it holds foreign text that was not quoted for it, which may have
 * made another query of it. */
enum taint lookup_found_taint(const struct lookup_driver *d, const char *query);
/* Is this a type that Exim knows and this build does not have?  Then why (a literal), else NULL. */
const char *lookup_why_absent(struct str name);

/* Parsed lookup type: "partial2(.)-lsearch,opts*@": arena text on error. */
struct lookup_type {
  const struct lookup_driver *driver;
  int partial;             /* -1 none, else minimum of non-wild components */
  const char *affix;       /* "*." by default */
  bool star, starat;
  const char *opts;        /* options text after comma, NULL none */
  bool ret_key;            /* ret=key */
};
const char *lookup_parse_type(struct arena *a, struct str text, struct lookup_type *ret);
/* Look up.  OK with ret->data, FAIL not found, DEFER.  file NULL for query types. */
enum outcome lookup_run(struct expand_ctx *x, const struct lookup_type *t, const char *file, const char *key, struct lookup_result *ret);
/* The query as it may be shown in logs and to the debugging administrator. */
const char *lookup_shown(struct arena *a, const struct lookup_driver *d, const char *query);
/* Ask a type's authenticate(); it must have one. */
enum outcome lookup_authenticate(struct expand_ctx *x, const struct lookup_driver *d, const char *query, const char **ret_error);
/* The distinguished name that the last successful LDAP lookup of this process found, "" none.  Valid until the next lookup. */
const char *lookup_last_ldap_dn(void);
/* Close all handles and forget cached results, those of named lists and of ${readsocket too (end of a message). */
void lookup_tidy(void);
/* In a child that has taken another user's rights: forget what was opened and found with the rights it had.  The handles belong to the parent and are
 * not closed (a database library must not see them closed twice); the descriptors end with the child. */
void lookup_forget(void);

#endif
