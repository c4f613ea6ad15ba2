/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of database servers as options and queries have them.  Floor: formats (pure; input may be foreign).  Manual ch. 9.22-9.25. */
#ifndef FORMATS_SERVER_ITEM_H
#define FORMATS_SERVER_ITEM_H

#include "base/strbuf.h"

enum { SERVER_ITEM_PARTS_MAX = 4 };

/* Cut item into its parts between slashes: n of them, counted from the end, so that the first may hold slashes (of a socket's path).
 * False: there are fewer. */
MUST_CHECK bool server_item_split(struct str item, int n, struct str *parts);

/* The first part of an item: NAME:PORT(SOCKET)[GROUP], each may be absent (empty then). */
struct server_item_host {
  struct str name, port, socket, group;
};
/* False: a bracket has no end, or something stands behind it. */
MUST_CHECK bool server_item_parse_host(struct str text, struct server_item_host *ret);

/* "servers=LIST;" in front of a query (the older way): the list is returned in *ret_servers and *query begins behind it.  False: there is none.
 * *ret_bad: there is one that does not end. */
bool server_item_cut_prefix(struct str *query, struct str *ret_servers, bool *ret_bad);

/* The words of a command: cut at white space, a backslash takes the character behind it as it is.  False: there are too many.  Arena text, tainted as
 * the command is. */
enum { SERVER_ITEM_WORDS_MAX = 64 };
struct server_item_words {
  int n;
  const char *word[SERVER_ITEM_WORDS_MAX];
};
MUST_CHECK bool server_item_cut_words(struct arena *a, const char *text, struct server_item_words *ret);

/* Append one field of a row with several: name=value and a space, the value in quotes where it needs them. */
void server_item_add_field(struct strbuf *out, const char *name, struct str value);

#endif
