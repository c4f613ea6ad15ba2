/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One question to LDAP servers, and their connections.  Floor: drivers.  Private to lookups/ldap*.c. */
#ifndef LOOKUPS_LDAP_PRIV_H
#define LOOKUPS_LDAP_PRIV_H

#include <ldap.h>

#include "formats/ldap_query.h"
#include "lookups/server_pool.h"
#include "policy/search.h"

enum ldap_mode { LDAP_ONE_ENTRY, LDAP_MANY_ENTRIES, LDAP_NAME_ONLY, LDAP_BIND_ONLY };

/* What came of asking a server.  NOT_FOUND is a definite no (of a bind: wrong user or password); NEXT_SERVER and GIVE_UP are temporary failures. */
enum ldap_verdict { LDAP_ANSWERED, LDAP_NOT_FOUND, LDAP_NEXT_SERVER, LDAP_GIVE_UP };

struct ldap_link;

struct ldap_search {
  struct expand_ctx *x;
  struct server_pool *pool;
  enum ldap_mode mode;
  struct ldap_query q;
  LDAPURLDesc *url;
  struct lookup_result *ret;
  enum taint found_taint;
  const char *server;  /* being asked, for messages */
  bool timed_out;      /* the last wait for an answer took too long */
  /* what was found */
  struct strbuf text;
  size_t line_n;       /* where the newest entry begins in it */
  int entries;
  bool any_value;
  const char *dn;      /* of the last entry */
};

/* Put the text into s->ret->error and return v.  PRINTF arguments hold no password. */
enum ldap_verdict ldap_say(struct ldap_search *s, enum ldap_verdict v, const char *fmt, ...) PRINTF(3, 4);

/* open and close of the drivers: the pool of connections is the handle. */
enum outcome ldap_open_pool(struct expand_ctx *x, const char *file, void **ret_handle, const char **ret_error);
void ldap_close_pool(void *handle);

/* A connection to host (a path: its socket; NULL: the library's default) as the query wants it, kept or new.  ANSWERED with *ret. */
enum ldap_verdict ldap_link_get(struct ldap_search *s, const char *host, int port, struct ldap_link **ret, bool *ret_was_kept);
/* Bind as the query's user, unless that is who the connection is bound as. */
enum ldap_verdict ldap_link_bind(struct ldap_search *s, struct ldap_link *l);
LDAP *ldap_link_handle(struct ldap_link *l);
/* Close one that is no longer of use. */
void ldap_link_drop(struct ldap_search *s, const struct ldap_link *l);

/* The next message that answers request id; to be freed with ldap_msgfree().  NULL: none came, maybe in time (s->timed_out). */
LDAPMessage *ldap_await(struct ldap_search *s, LDAP *ld, int id);

#endif
